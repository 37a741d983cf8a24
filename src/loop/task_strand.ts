/**
 * A task as a strand and as a stepper: its waits, its blocks, and the requests for
 * its cancellation. {@linkcode Task} adds the life of a task.
 *
 * @module
 */
import { Block } from "./block.ts";
import {
  cancellation,
  CancelRequest,
  type Due,
  type DueYields,
  hold,
} from "./cancellation.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import type { Stepper } from "./stepping.ts";
import { type AnyWait, listWaits, type Strand } from "./strand_tree.ts";
import type { TaskBody } from "./task_body.ts";
import { Extras } from "./task_extras.ts";
import { PROMISED } from "./task_step.ts";
import type { Task } from "./task.ts";
import { isHandingOn } from "./waiters.ts";

const NO_WAITS: readonly AnyWait[] = [];

/**
 * The part of {@linkcode Task} that its waits, blocks and cancellation see.
 *
 * @ignore
 *
 * @internal
 */
export abstract class TaskStrand<T> extends Future<T>
  implements Stepper, Strand {
  /**
   * How many `sleep(0)` of its async function are in the ready queue.
   *
   * @ignore
   */
  declare yields: number;
  /**
   * The first of the waits of its async function; its `previousWait` is the last.
   *
   * @ignore
   */
  declare firstWait: AnyWait | null;
  /**
   * The future that its generator waits for.
   *
   * @ignore
   */
  declare waitingOn: Future<unknown> | null;
  /**
   * Turn in which it began to wait, or was made, modulo 2 to the power of 32.
   *
   * @ignore
   */
  declare since: number;
  /**
   * The requests that are thrown next.
   *
   * @ignore
   */
  declare due: Due | null;
  /**
   * The reason of the last request that was not thrown at once, also after the
   * end: `gather` asks for it, as CPython does.
   *
   * @ignore
   */
  declare heldReason: unknown;
  /** How many requests for its cancellation are outstanding. */
  declare protected requests: number;
  declare protected extras: Extras | null;
  /** @ignore */
  declare body: TaskBody<unknown> | typeof PROMISED | null;

  constructor(loop: EventLoop, label: string) {
    super(loop, label);
    this.yields = 0;
    this.firstWait = null;
    this.waitingOn = null;
    this.since = this.kernel.turns | 0;
    this.due = null;
    this.heldReason = undefined;
    this.requests = 0;
    this.extras = null;
    this.body = null;
  }

  /**
   * The task of async functions that were called by the body.
   *
   * @ignore
   */
  abstract get runner(): Task<unknown>;

  /** @ignore */
  abstract run(): void;

  /**
   * Where the async function of the task runs now; null once it has ended.
   *
   * @ignore
   */
  get strandNow(): Strand | null {
    if (this.done()) return null;
    const { extras } = this;
    return extras === null || extras.block === null ? this : extras.block;
  }

  /** Returns the state that few tasks need, made on first use. */
  protected extra(): Extras {
    return this.extras ??= new Extras();
  }

  /**
   * The block of the task as a whole, made on first use.
   *
   * @ignore
   */
  rootBlock(): Block {
    const extras = this.extra();
    if (extras.root === null) {
      const task = this.runner;
      extras.root = new Block(task, null, this, {}, null);
      if (this.requests > 0) {
        extras.root.abort(cancellation(extras.lastReason));
      }
    }
    return extras.root;
  }

  /**
   * The root of the blocks of the task; null if it never had one.
   *
   * @ignore
   */
  get blockTree(): Block | null {
    return this.extras === null ? null : this.extras.root;
  }

  /** @ignore */
  get block(): Block | null {
    return this.extras === null ? null : this.extras.block;
  }

  /** @ignore */
  set block(block: Block | null) {
    if (this.extras !== null || block !== null) this.extra().block = block;
  }

  /** @ignore */
  get innermostBlock(): Block | null {
    return this.extras === null ? null : this.extras.block;
  }

  /** @ignore */
  get enterContext(): (<R>(fn: () => R) => R) | null {
    return this.extras === null ? null : this.extras.enter;
  }

  /** @ignore */
  get innermostStrand(): Strand {
    return this.block ?? this;
  }

  /**
   * As in CPython.
   *
   * @ignore
   */
  get replacesFailures(): boolean {
    return true;
  }

  /**
   * A request was taken: it counts from now on.
   *
   * @ignore
   */
  noteRequest(request: CancelRequest): void {
    this.requests++;
    this.extra().noteRequest(request);
  }

  /**
   * A block with so many outstanding requests is closed, or has taken one back.
   *
   * @ignore
   */
  forgetRequestsOfBlock(count: number): void {
    if (this.extras !== null) this.extras.requestsOfBlocks -= count;
  }

  /**
   * The requests that concern a block: all but those of blocks beside it and inside.
   *
   * @ignore
   */
  requestsAt(block: Block): number {
    const { extras } = this;
    if (this.requests === 0 || extras === null) return this.requests;
    let requests = this.requests - extras.requestsOfBlocks;
    for (let at: Block | null = block; at !== null; at = at.outer) {
      requests += at.ownRequests;
    }
    return Math.max(requests, 0);
  }

  /**
   * Whether it is an async function, which has begun.
   *
   * @ignore
   */
  get promised(): boolean {
    return this.body === PROMISED;
  }

  /**
   * The newest request to the task as a whole that has not been thrown.
   *
   * @ignore
   */
  dueRequest(): CancelRequest | null {
    return this.extras === null ? null : this.extras.dueRequest();
  }

  /**
   * Has the loop report the task if it does not react to its cancellation.
   *
   * @ignore
   */
  warnIfStuck(): void {
    const extras = this.extra();
    if (extras.warning !== null) return;
    extras.warning = this.kernel.warnOfStuckTask(this.runner);
  }

  /**
   * Drops the warning, as the task has reacted: an async function waits in an operation.
   *
   * @ignore
   */
  calmDown(): void {
    if (this.extras !== null) this.extras.dropWarning();
  }

  /**
   * Makes a request due again that was thrown, without counting it once more: it
   * arrives at the next wait of `stepper`.
   *
   * @ignore
   */
  rearm(stepper: Stepper, reason: unknown): void {
    const request = new CancelRequest(null, reason, false);
    this.extra().requests.push(request);
    hold(stepper, request);
  }

  /** @ignore */
  get inner(): Iterable<Strand> | null {
    return null; // those inside are in the tree of blocks
  }

  /** @ignore */
  get level(): CancelRequest | null {
    return null;
  }

  /** @ignore */
  get place(): Block | null {
    return this.block;
  }

  /** @ignore */
  get dueYields(): DueYields | null {
    return this.extras === null ? null : this.extras.dueYields;
  }

  /** @ignore */
  set dueYields(due: DueYields | null) {
    this.extra().dueYields = due;
  }

  /** @ignore */
  isOutside(): boolean {
    return this.promised && this.firstWait === null &&
      (this.extras === null || this.extras.openedInside === 0);
  }

  /** @ignore */
  listWaits(): readonly AnyWait[] {
    return this.firstWait === null ? NO_WAITS : listWaits(this.firstWait);
  }

  /** @ignore */
  step(into: boolean): void {
    const { kernel } = this;
    const wasOutside = this.isOutside();
    this.extra().openedInside += into ? 1 : -1;
    const isOutside = this.isOutside();
    if (wasOutside && !isOutside) kernel.outside.cameInside();
    if (!wasOutside && isOutside) kernel.outside.wentOutside();
  }

  /** Whether a cancellation that the task hands on to others is on its way through them. */
  override [isHandingOn](): boolean {
    return this.extras !== null && this.extras.handingOn;
  }

  /** @ignore */
  setHandingOn(isOn: boolean): void {
    if (this.extras !== null) this.extras.handingOn = isOn;
  }

  /** @ignore */
  inheritLevel(): void {}

  /** @ignore */
  abort(): void {}

  /** @ignore */
  levelCame(): void {}
}
