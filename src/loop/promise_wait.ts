import { MisuseError } from "../errors.ts";
import type { Block } from "./block.ts";
import { findPlace, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import type { Runnable } from "./handle.ts";
import { cancellationFor } from "./stepping.ts";
import type { Task } from "./task.ts";

type OnFulfilled<T, A> = ((value: T) => A | PromiseLike<A>) | null;
type OnRejected<B> = ((reason: unknown) => B | PromiseLike<B>) | null;

const WAITING = 0;
export const FULFILLED = 1;
const REJECTED = 2;

/**
 * What `then` returns: a promise-like whose promise is only made when somebody
 * calls `then` on it, which `await` never does.
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

  /** Whether somebody would get an error. */
  hasFollower(): boolean {
    return this.derived !== null;
  }

  /** Calls what was given to `then`; what comes of it is the outcome. */
  follow<V>(loop: EventLoop, callback: (value: V) => unknown, value: V): void {
    loop["promiseResumed"] = true;
    let result: unknown;
    try {
      result = callback(value);
    } catch (error) {
      if (this.derived === null) {
        loop.callExceptionHandler({
          message: "A callback given to then() threw",
          exception: error,
        });
      }
      this.settle(REJECTED, error);
      return;
    }
    this.settle(FULFILLED, result);
  }

  /** Sets the outcome: FULFILLED or REJECTED, and with what. */
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
 * One `then` on something of the loop: how an async function waits.
 *
 * It is the runnable that sits in the ready queue, one of the waits of its task,
 * and the promise-like that `then` returns, in one object.
 */
export abstract class Wait<T, A, B> extends Outcome<A | B> implements Runnable {
  declare protected readonly loop: EventLoop;
  /** The task that waits; null if nobody's cancellation concerns this wait. */
  declare protected readonly task: Task<unknown> | null;
  /** The block of the task in which it waits; null if that is in none. */
  declare readonly place: Block | null;
  declare private readonly onFulfilled: OnFulfilled<T, A>;
  declare private readonly onRejected: OnRejected<B>;

  constructor(
    loop: EventLoop,
    task: Task<unknown> | null,
    onFulfilled: OnFulfilled<T, A>,
    onRejected: OnRejected<B>,
  ) {
    super();
    this.loop = loop;
    this.task = task;
    this.place = task !== null && task["hasBlocks"]() ? findPlace(task) : null;
    this.onFulfilled = onFulfilled;
    this.onRejected = onRejected;
    if (task !== null) {
      task["enterWait"](this as Wait<unknown, unknown, unknown>);
    } else loop["enterStray"](this as Wait<unknown, unknown, unknown>);
  }

  abstract run(): void;

  /** The innermost block around what is waited for, which may have been opened by the wait itself. */
  innermost(): Block | null {
    return this.place;
  }

  /** Throws a cancellation into this wait: true if it was delivered or will be. */
  abstract interrupt(reason: unknown): void;

  /** Takes back a cancellation that has not been thrown yet. */
  abstract rescind(): void;

  /** The task has ended, and with it every reason to go on waiting. */
  abstract abandon(): void;

  /** What is being waited for, in words. */
  abstract describe(): string;

  /** The loop has closed: whoever waits outside of it is told directly. */
  close(error: MisuseError): void {
    this.fail(error);
  }

  /** Whether somebody would get an error. */
  protected hasListener(): boolean {
    return this.onRejected !== null || this.hasFollower();
  }

  protected leave(): void {
    if (this.task !== null) {
      this.task["leaveWait"](this as Wait<unknown, unknown, unknown>);
    } else this.loop["leaveStray"](this as Wait<unknown, unknown, unknown>);
  }

  protected succeed(value: T): void {
    this.leave();
    if (this.onFulfilled === null) this.settle(FULFILLED, value);
    else this.follow(this.loop, this.onFulfilled, value);
  }

  protected fail(error: unknown): void {
    this.leave();
    if (this.onRejected === null) this.settle(REJECTED, error);
    else this.follow(this.loop, this.onRejected, error);
  }
}

/** An async function, or a mere listener, that waits for a future. */
export class PromiseWait<T, A, B> extends Wait<T, A, B> {
  private readonly future: Future<T>;
  private cancelled = false;
  private reason: unknown = undefined;

  constructor(
    future: Future<T>,
    onFulfilled: OnFulfilled<T, A>,
    onRejected: OnRejected<B>,
  ) {
    // `await` gives both callbacks. Who gives only one does not wait: it
    // listens, and must not take the future along when its task is cancelled.
    const waits = onFulfilled !== null && onRejected !== null;
    super(future.loop, waits ? findTask() : null, onFulfilled, onRejected);
    this.future = future;
    const pending = this.task?.["takePendingCancellation"](this.place);
    if (pending !== undefined) this.interrupt(pending.reason);
  }

  /** Whether the task that waits is one of another loop. */
  isForeign(): boolean {
    return this.task !== null && this.task.loop !== this.loop;
  }

  run(): void {
    if (this.cancelled) {
      return this.fail(cancellationFor(this.future, this.reason));
    }
    const future = this.future;
    if (this.waitsForItself()) {
      return this.fail(new MisuseError("Cannot wait for a task in itself"));
    }
    if (!future.done()) return; // interrupted before the future was done
    if (!this.hasListener() && future["isUnseen"]()) {
      return this.fail(future["value"]);
    }
    let value: T;
    try {
      value = future.result();
    } catch (error) {
      return this.fail(error);
    }
    this.succeed(value);
  }

  /** Whether {@linkcode run} has something to deliver. */
  protected isOver(): boolean {
    return this.cancelled || this.future.done();
  }

  interrupt(reason: unknown): void {
    if (this.future.cancel(reason)) return;
    this.cancelled = true;
    this.reason = reason;
    if (this.waitsForItself() || !this.future["isHandingOn"]()) return;
    // The last in a ring of tasks that wait for each other: nobody wakes it.
    this.future["removeWaiter"](this);
    this.loop["schedule"](this);
  }

  rescind(): void {
    this.cancelled = false;
    this.reason = undefined;
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
    // The future may be anybody's, so it is left alone.
    this.leave();
  }

  describe(): string {
    return this.future["describe"]();
  }
}
