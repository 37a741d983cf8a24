/**
 * Strands: the lines of async code that run as a task or as a part of one.
 *
 * An async function cannot be stepped, so the loop has to know by other means
 * what it is doing. Each function that the loop calls for a task is a strand:
 * the body of the task, the body of a block inside of it, and the functions
 * that `until`, `each` and `scoped` call. Strands nest as the calls do, so
 * those of a task form a tree. A strand knows the waits that were started in
 * it, and is *outside* while it runs and has none: then it waits for a promise
 * that is not of the loop.
 *
 * @module
 */
import { ownerOfContinuation } from "../host/async_context.ts";
import type { CancelledError } from "../errors.ts";
import type { Block } from "./block.ts";
import { CancelRequest, type Due, type DueYields } from "./cancellation.ts";
import { current, type Owner } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Task } from "./task.ts";
import { type AnyWait, listWaits, type Strand } from "./strand_tree.ts";

/** An async function waits in an operation of the loop. */
export function enterWait(strand: Strand, wait: AnyWait): void {
  const first = strand.firstWait;
  if (first === null) {
    const task = strand.runner!;
    if (strand.isOutside()) task.kernel.outside.cameInside();
    strand.firstWait = wait.previousWait = wait;
    task.calmDown();
    return;
  }
  const last = first.previousWait!;
  last.nextWait = wait;
  wait.previousWait = last;
  first.previousWait = wait;
}

/** An async function waits in that operation no longer. */
export function leaveWait(strand: Strand, wait: AnyWait): void {
  const previous = wait.previousWait;
  if (previous === null) return; // its task has ended, and dropped them all
  const first = strand.firstWait!;
  const next = wait.nextWait;
  if (wait === first) strand.firstWait = next;
  else previous.nextWait = next;
  if (next !== null) next.previousWait = previous;
  else if (wait !== first) first.previousWait = previous;
  wait.nextWait = wait.previousWait = null;
  if (strand.firstWait === null && strand.isOutside()) {
    const task = strand.runner!;
    task.since = task.kernel.turns | 0;
    task.kernel.outside.wentOutside();
  }
}

/** Takes all waits out of the list of a strand that has ended, and returns them. */
export function dropWaits(strand: Strand): readonly AnyWait[] {
  const waits = strand.listWaits();
  strand.firstWait = null;
  for (const wait of waits) wait.nextWait = wait.previousWait = null;
  return waits;
}

/**
 * A strand inside of a task: what {@linkcode Block} and {@linkcode Call} have in common.
 *
 * @internal
 */
export abstract class InnerStrand implements Strand {
  readonly task: Task<unknown>;
  /** The strand around this one; null for the root of the tree. */
  around: InnerStrand | null;
  due: Due | null = null;
  firstWait: AnyWait | null = null;
  yields = 0;
  dueYields: DueYields | null = null;
  level: CancelRequest | null = null;
  inner: Set<InnerStrand> | null = null;
  /** How many async functions run here; more than one if a block is run twice. */
  private running = 0;
  /** How many blocks an async function has opened here by itself, and is in. */
  private openedInside = 0;
  private isClosed = false;

  constructor(task: Task<unknown>, around: InnerStrand | null) {
    this.task = task;
    this.around = around;
    if (around === null) return;
    (around.inner ??= new Set()).add(this);
    this.level = around.level;
  }

  /** @ignore */
  abstract readonly place: Block | null;
  /** @ignore */
  abstract inheritLevel(): void;

  /** @ignore */
  get runner(): Task<unknown> {
    return this.task;
  }

  /** @ignore */
  get loop(): EventLoop {
    return this.task.loop;
  }

  /**
   * The innermost open strand at or around this one; null once the task has ended.
   *
   * @ignore
   */
  get strandNow(): Strand | null {
    const { task } = this;
    if (task.done()) return null;
    // deno-lint-ignore no-this-alias
    let strand: InnerStrand = this;
    while (strand.isClosed) strand = strand.around!;
    return strand.isRoot ? task.innermostStrand : strand;
  }

  /**
   * Whether nothing runs here any more.
   *
   * @ignore
   */
  get closed(): boolean {
    return this.isClosed;
  }

  /** @ignore */
  abort(_error: CancelledError): void {}

  /** @ignore */
  levelCame(): void {}

  /** @ignore */
  isOutside(): boolean {
    return this.running > 0 && this.firstWait === null &&
      this.openedInside === 0;
  }

  /** @ignore */
  listWaits(): readonly AnyWait[] {
    return this.firstWait === null ? [] : listWaits(this.firstWait);
  }

  /**
   * An async function begins here.
   *
   * @ignore
   */
  enter(): void {
    const { kernel } = this.task;
    if (this.running++ === 0 && this.isOutside()) {
      kernel.outside.wentOutside();
    }
    kernel.outside.asyncTaskStarted();
  }

  /**
   * An async function that began here has ended.
   *
   * @ignore
   */
  exit(): void {
    if (this.running === 0) return; // after the end of the task
    const { kernel } = this.task;
    const wasOutside = this.isOutside();
    this.running--;
    if (wasOutside && !this.isOutside()) kernel.outside.cameInside();
    kernel.outside.asyncTaskEnded();
  }

  /**
   * An async function enters a block that it has opened here by itself, or leaves it.
   *
   * @ignore
   */
  step(into: boolean): void {
    const { kernel } = this.task;
    const wasOutside = this.isOutside();
    this.openedInside += into ? 1 : -1;
    const isOutside = this.isOutside();
    if (wasOutside && !isOutside) kernel.outside.cameInside();
    if (!wasOutside && isOutside) kernel.outside.wentOutside();
  }

  /**
   * Takes this out of the tree. Its remaining waits pass to the strand around it.
   *
   * @ignore
   */
  close(): void {
    const { around } = this;
    if (this.isClosed || around === null) return;
    this.isClosed = true;
    around.inner!.delete(this);
    if (this.inner !== null) {
      for (const strand of this.inner) {
        strand.around = around;
        around.inner!.add(strand);
      }
      this.inner = null;
    }
    for (const wait of this.listWaits()) {
      leaveWait(this, wait);
      const strand = around.isRoot ? this.task : around;
      wait.strand = strand;
      enterWait(strand, wait);
    }
  }

  /**
   * Whether this stands for the task as a whole.
   *
   * @ignore
   */
  get isRoot(): boolean {
    return this.around === null;
  }

  /**
   * Lets go of the functions that run here: their task has ended.
   *
   * @ignore
   */
  abandon(): void {
    while (this.running > 0) this.exit();
    for (const wait of dropWaits(this)) {
      // A wait of a function outside of blocks just leaves. A wait inside a
      // block throws, so that the block's body cleans up.
      if (this.place === null) wait.abandon();
      else wait.interrupt(new CancelRequest(null, undefined, false));
    }
  }
}

/** The strand of a function that is called on behalf of a task, outside of any block of its own. */
export class Call extends InnerStrand {
  get place(): Block | null {
    return placeOf(this.around);
  }

  inheritLevel(): void {
    this.level = this.around!.level;
  }
}

/** The innermost block at or around a strand; null for the task as a whole. */
export function placeOf(strand: InnerStrand | null): Block | null {
  for (; strand !== null && !strand.isRoot; strand = strand.around) {
    if (!(strand instanceof Call)) return strand as unknown as Block;
  }
  return null;
}

/** The strand that the running code belongs to; null outside of tasks, and when its task has ended. */
export function findStrand(): Strand | null {
  if (current.loop !== null) {
    return current.task === null ? null : current.stepper!.innermostStrand;
  }
  const owner = ownerOfContinuation() as Owner | undefined;
  return owner === undefined ? null : owner.strandNow;
}

/** Whether the next wait of the running code has to throw. */
export function isInterrupted(): boolean {
  const strand = findStrand();
  if (strand === null) return false;
  if (strand.due !== null || strand.level !== null) return true;
  return current.loop !== null && current.stepper!.due !== null;
}
