/**
 * The wait of an async function for an operation: steps the operation's generator
 * on its behalf.
 *
 * @module
 */
import { inWords } from "./waiters.ts";
import type { Block } from "./block.ts";
import {
  CancelRequest,
  handTo,
  hold,
  levelAt,
  passOn,
  prune,
  take,
  toThrow,
} from "./cancellation.ts";
import { current } from "./current.ts";
import { type Future, lastYielded, type Suspension } from "./future.ts";
import { Wait } from "./promise_wait.ts";
import { quits, type Stepper, suspend } from "./stepping.ts";
import type { Strand } from "./strand_tree.ts";

/** The operation, as its wait sees it. */
export interface Startable<T> {
  /** Whether it starts although a cancellation is due. */
  readonly entersCancelled: boolean;
  /** Begins it. */
  iterate(): Iterator<Suspension, T, unknown>;
  /** Called when the operation is not begun after all. */
  refused(): void;
}

/** An async function that waits for an operation. */
export class OperationWait<T, A, B> extends Wait<T, A, B> implements Stepper {
  waitingOn: Future<unknown> | null = null;
  block: Block | null = null;
  readonly #label: string;
  /** Begun by the first step; then null. */
  #operation: Startable<T> | null = null;
  #iterator: Iterator<Suspension, T, unknown> | null = null;
  #abandoned = false;

  constructor(
    strand: Strand,
    label: string,
    onFulfilled: ((value: T) => A | PromiseLike<A>) | null,
    onRejected: ((reason: unknown) => B | PromiseLike<B>) | null,
  ) {
    super(strand.runner!.kernel, strand, onFulfilled, onRejected);
    this.#label = label;
  }

  get innermostBlock(): Block | null {
    return this.block ?? this.strand!.place;
  }

  get innermostStrand(): Strand {
    return this.block ?? this.strand!;
  }

  /** A failure goes first: see the rules in cancellation.ts. */
  get replacesFailures(): boolean {
    return false;
  }

  /** Takes the first step at once, as awaiting a coroutine does in asyncio. */
  start(operation: Startable<T>): void {
    this.#operation = operation;
    const strand = this.strand!;
    if (strand.due !== null || strand.level !== null) {
      passOn(strand, this);
      if (!operation.entersCancelled) this.#refuse(strand);
    }
    // An operation that is refused does not begin. And an async function that finds
    // one thing after the other ready has to let the loop have its turn.
    if (
      this.due !== null && !operation.entersCancelled ||
      !this.kernel.mayStartAtOnce()
    ) {
      this.kernel.schedule(this);
      return;
    }
    const { loop, task, stepper } = current;
    current.loop = this.kernel.loop;
    try {
      this.run();
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  /** Has the first step throw what is due, or the level request that applies. */
  #refuse(strand: Strand): void {
    const { level } = strand;
    if (prune(this, level) === null && level !== null) hold(this, level);
  }

  run(): void {
    current.task = this.task;
    current.stepper = this;
    let step!: IteratorResult<Suspension, T>;
    let failed = false;
    let error: unknown;
    try {
      const iterator = this.#iterator;
      const thrown = iterator === null || this.due === null
        ? undefined
        : toThrow(this);
      this.waitingOn = null;
      if (iterator === null) step = this.#firstStep();
      else if (thrown === undefined) step = iterator.next();
      else {
        error = thrown.error;
        // Throwing and catching takes some 400 ns.
        failed = quits(iterator);
        if (!failed) step = iterator.throw!(error);
      }
    } catch (thrown) {
      failed = true;
      error = thrown;
    }
    current.task = null;
    if (failed) this.#end(error);
    else if (step.done !== true) suspend(this, step.value, lastYielded);
    else if (this.#abandoned) this.due = null;
    else this.succeed(step.value);
  }

  #firstStep(): IteratorResult<Suspension, T> {
    const operation = this.#operation!;
    this.#operation = null;
    if (this.due !== null && !operation.entersCancelled) {
      const due = prune(this, levelAt(this.innermostBlock));
      if (due !== null) {
        operation.refused();
        throw take(this, due, null);
      }
    }
    this.#iterator = operation.iterate();
    return this.#iterator.next();
  }

  #end(error: unknown): void {
    // After the end of its task no code listens any more. A failed clean-up is
    // still reported; only the cancellation itself is dropped.
    if (this.#abandoned || !this.hasListener()) {
      this.kernel.failures.reportUnheard(this.#label, error);
    }
    if (!this.#abandoned) this.fail(error);
  }

  interrupt(request: CancelRequest): void {
    // A shield that the operation has put up keeps a scope's cancellation out.
    if (request.isLevel && levelAt(this.innermostBlock) === null) return;
    handTo(this, request);
  }

  abandon(): void {
    this.#abandoned = true;
    handTo(this, new CancelRequest(null, undefined, false));
  }

  [inWords](): string {
    return this.waitingOn === null ? this.#label : this.waitingOn[inWords]();
  }
}
