/**
 * The waits of async functions: `await` of an operation or a future calls
 * `then`, which makes one of these.
 *
 * @module
 */
import {
  inWords,
  isHandingOn,
  isUnseen,
  onBehalf,
  peekError,
} from "./waiters.ts";
import { MisuseError } from "../errors.ts";
import { runOwned } from "../host/async_context.ts";
import {
  type CancelRequest,
  type Due,
  hold,
  type Holder,
  isFailure,
  markThrown,
  passBackToStrand,
  passOn,
  prune,
  take,
} from "./cancellation.ts";
import type { LoopCore } from "./core.ts";
import { current } from "./current.ts";
import type { Future } from "./future.ts";
import type { Runnable } from "./runnable.ts";
import { enterWait, findStrand, leaveWait } from "./strand.ts";
import type { Strand } from "./strand_tree.ts";
import type { Task } from "./task.ts";

type OnFulfilled<T, A> = ((value: T) => A | PromiseLike<A>) | null;
type OnRejected<B> = ((reason: unknown) => B | PromiseLike<B>) | null;

const WAITING = 0;
export const FULFILLED = 1;
const REJECTED = 2;

/**
 * Promise-like that `then` returns. Its promise is only made when `then` is
 * called on it, which `await` never does.
 */
export class Outcome<R> implements PromiseLike<R> {
  declare private derived: PromiseWithResolvers<R> | null;
  declare private state: number;
  declare private outcome: unknown;

  constructor() {
    this.derived = null;
    this.state = WAITING;
    this.outcome = undefined;
  }

  /** Whether an error would reach a callback. */
  hasFollower(): boolean {
    return this.derived !== null;
  }

  /** Calls the callback given to `then`, whose outcome becomes the outcome of this. */
  follow<V>(kernel: LoopCore, callback: (value: V) => unknown, value: V): void {
    kernel.promiseResumed = true;
    let result: unknown;
    try {
      result = callback(value);
    } catch (error) {
      if (this.derived === null) {
        kernel.loop.callExceptionHandler({
          message: "A callback given to then() threw",
          exception: error,
        });
      }
      this.settle(REJECTED, error);
      return;
    }
    this.settle(FULFILLED, result);
  }

  /**
   * The same for a function that a strand waits for. A function of the program,
   * given to `then`, runs as a part of the strand, and so does what it returns.
   * Functions of the runtime, given by `await`, need none of this: nobody follows
   * those.
   */
  followIn<V>(
    strand: Strand | null,
    kernel: LoopCore,
    callback: (value: V) => unknown,
    value: V,
  ): void {
    if (strand === null || !this.hasFollower()) {
      return this.follow(kernel, callback, value);
    }
    const { loop, task, stepper } = current;
    current.loop = current.task = current.stepper = null;
    try {
      runOwned(strand, () => this.follow(kernel, callback, value));
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  /** Sets the outcome: FULFILLED or REJECTED, and its value. */
  settle(state: number, outcome: unknown): void {
    this.state = state;
    this.outcome = outcome;
    if (this.derived === null) return;
    if (state === FULFILLED) this.derived.resolve(outcome as R);
    else this.derived.reject(outcome);
  }

  then<C = R, D = never>(
    onFulfilled?: ((value: R) => C | PromiseLike<C>) | null,
    onRejected?: ((reason: unknown) => D | PromiseLike<D>) | null,
  ): Promise<C | D> {
    if (this.derived === null) {
      this.derived = Promise.withResolvers();
      if (this.state !== WAITING) this.settle(this.state, this.outcome);
    }
    return this.derived.promise.then(onFulfilled, onRejected);
  }
}

/**
 * Wait of an async function: a `then` on something of the loop.
 *
 * The same object is the runnable in the ready queue, a wait in the list of its
 * strand, and the promise-like that `then` returns.
 */
export abstract class Wait<T, A, B> extends Outcome<A | B>
  implements Runnable, Holder {
  declare readonly kernel: LoopCore;
  /** The strand that waits; null if no cancellation concerns this wait. */
  declare strand: Strand | null;
  /** Neighbours in the list of the strand; written by that list only. */
  declare nextWait: Wait<unknown, unknown, unknown> | null;
  declare previousWait: Wait<unknown, unknown, unknown> | null;
  declare due: Due | null;
  /** Turn in which it began, modulo 2 to the power of 32. */
  declare since: number;
  declare private readonly onFulfilled: OnFulfilled<T, A>;
  declare private readonly onRejected: OnRejected<B>;

  constructor(
    kernel: LoopCore,
    strand: Strand | null,
    onFulfilled: OnFulfilled<T, A>,
    onRejected: OnRejected<B>,
  ) {
    super();
    this.kernel = kernel;
    this.strand = strand;
    this.nextWait = null;
    this.previousWait = null;
    this.due = null;
    this.since = kernel.turns | 0;
    this.onFulfilled = onFulfilled;
    this.onRejected = onRejected;
    if (strand !== null) {
      enterWait(strand, this as Wait<unknown, unknown, unknown>);
    } else kernel.strays.enterStray(this as Wait<unknown, unknown, unknown>);
  }

  /** The task that waits. */
  get task(): Task<unknown> | null {
    return this.strand === null ? null : this.strand.runner;
  }

  /** The future that it waits for; null while it waits for none. */
  abstract readonly waitingOn: Future<unknown> | null;

  abstract run(): void;

  /** The task that waits. */
  [onBehalf](): Future<unknown> | null {
    return this.task;
  }

  /** Throws a request into this wait, now or when its turn comes. */
  abstract interrupt(request: CancelRequest): void;

  /** Ends the wait without telling the function: its task has ended. */
  abstract abandon(): void;

  /** Describes what the function waits for. */
  abstract [inWords](): string;

  /** Wakes a waiter outside the loop directly, as the loop has closed. */
  close(error: MisuseError): void {
    this.fail(error);
  }

  /** Whether an error would reach a callback. */
  protected hasListener(): boolean {
    return this.onRejected !== null || this.hasFollower();
  }

  protected leave(): void {
    const { strand } = this;
    if (strand === null) {
      this.kernel.strays.leaveStray(this as Wait<unknown, unknown, unknown>);
      return;
    }
    leaveWait(strand, this as Wait<unknown, unknown, unknown>);
    if (this.due !== null) passBackToStrand(this, strand);
  }

  protected succeed(value: T): void {
    this.leave();
    if (this.onFulfilled === null) this.settle(FULFILLED, value);
    else this.resume(this.onFulfilled, value);
  }

  protected fail(error: unknown): void {
    this.leave();
    if (this.onRejected === null) this.settle(REJECTED, error);
    else this.resume(this.onRejected, error);
  }

  private resume<V>(callback: (value: V) => unknown, value: V): void {
    const { kernel, task } = this;
    if (task !== null && kernel.observing && kernel.noteResume(task)) {
      kernel.resumeObserved(
        task,
        () => this.followIn(this.strand, kernel, callback, value),
      );
    } else this.followIn(this.strand, kernel, callback, value);
  }
}

/** An async function, or a mere listener, that waits for a future. */
export class PromiseWait<T, A, B> extends Wait<T, A, B> {
  private readonly future: Future<T>;

  constructor(
    future: Future<T>,
    onFulfilled: OnFulfilled<T, A>,
    onRejected: OnRejected<B>,
  ) {
    // `await` passes both callbacks. A call with only one is a listener; it
    // must not cancel the future when the task is cancelled.
    const waits = onFulfilled !== null && onRejected !== null;
    super(future.kernel, waits ? findStrand() : null, onFulfilled, onRejected);
    this.future = future;
    const { strand } = this;
    if (strand !== null && (strand.due !== null || strand.level !== null)) {
      this.beginInterrupted(strand);
    }
  }

  /** A request has been due before the wait began. */
  private beginInterrupted(strand: Strand): void {
    passOn(strand, this);
    const due = prune(this, strand.level);
    if (due === null) {
      if (strand.level !== null) this.interrupt(strand.level);
    } else if (
      due.request !== null && this.future.cancel(due.request.reason)
    ) take(this, due, null);
  }

  get waitingOn(): Future<unknown> | null {
    return this.future as Future<unknown>;
  }

  /** Whether the task that waits is one of another loop. */
  isForeign(): boolean {
    return this.task !== null && this.task.kernel !== this.kernel;
  }

  run(): void {
    const { future, due } = this;
    if (due !== null && this.throwDue()) return;
    if (this.waitsForItself()) {
      return this.fail(new MisuseError("Cannot wait for a task in itself"));
    }
    if (!future.done()) return; // interrupted before the future was done
    if (!this.hasListener() && future[isUnseen]()) {
      return this.fail(future[peekError]());
    }
    let value: T;
    try {
      value = future.result();
    } catch (error) {
      return this.fail(error);
    }
    if (value as unknown === future) {
      return this.fail(
        new MisuseError(
          `Cannot wait for ${this[inWords]()}: its result is itself`,
        ),
      );
    }
    this.succeed(value);
  }

  /** Throws what is due, unless the future has failed: that is delivered first. */
  private throwDue(): boolean {
    const due = prune(this, this.strand!.level);
    if (due === null || isFailure(this.future)) return false;
    this.fail(take(this, due, this.future));
    return true;
  }

  /** Whether {@linkcode run} has something to deliver. */
  protected isOver(): boolean {
    return this.due !== null || this.future.done();
  }

  interrupt(request: CancelRequest): void {
    if (this.future.cancel(request.reason)) {
      markThrown(request);
      return;
    }
    hold(this, request);
    if (this.waitsForItself() || !this.future[isHandingOn]()) return;
    // The last in a ring of tasks that wait for each other: no other task wakes
    // it.
    this.future.removeWaiter(this);
    this.kernel.schedule(this);
  }

  /** Whether a task waits for its own end. */
  waitsForItself(): boolean {
    return this.task !== null && this.task === this.future as Future<unknown>;
  }

  override close(error: MisuseError): void {
    if (this.future.done()) this.run();
    else this.fail(error);
  }

  abandon(): void {
    // The future may have other waiters, so it is left alone.
    this.leave();
  }

  [inWords](): string {
    return this.future[inWords]();
  }
}
