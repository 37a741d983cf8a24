import {
  type Awaited,
  checkWaiter,
  failureRecord,
  inWords,
  isHandingOn,
  isUnseen,
  listWaiters,
  peekError,
  pressureOf,
  takeCancellation,
} from "./waiters.ts";
import { InvalidStateError, LoopClosedError, MisuseError } from "../errors.ts";
import { microtask } from "../host/microtask.ts";
import { core, type LoopCore } from "./core.ts";
import { checkFunction, checkString, inspect } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import { DoneCallback } from "./done_callback.ts";
import type { Runnable } from "./runnable.ts";
import type { FailureRecord } from "./unseen_failures.ts";
import {
  cancellation,
  type CancelRequest,
  levelOf,
  levels,
  type RequestsGo,
} from "./cancellation.ts";
import { current } from "./current.ts";
import { PromiseWait } from "./promise_wait.ts";
import { priorityLoops } from "./priority_inheritance.ts";

/**
 * What a generator coroutine yields to its task: a future to wait for, or
 * nothing to go on in the next turn. Programs write `yield*` and never see it.
 */
export type Suspension = Future<unknown> | undefined;

const PENDING = 0;
const FULFILLED = 1;
/** Failed, and nobody has looked at the error yet. */
const UNSEEN = 2;
const REJECTED = 3;
const CANCELLED = 4;
/** Cancelled, and `value` is the very error to throw at the first who asks. */
const CANCELLED_BY_ERROR = 5;

/** The future whose iterator yielded last: how a task tells `yield*` from a mere `yield`. */
export const lastYielded: { future: Future<unknown> | null } = { future: null };

/**
 * A result that is not there yet.
 *
 * It is asyncio's `Future`: somebody calls {@linkcode setResult},
 * {@linkcode setException} or {@linkcode cancel} once, and everybody who waits
 * goes on in the next turn of the loop, in the order in which they began to
 * wait. Wait with `yield* future` in a generator coroutine and `await future`
 * in an async function; both throw what the future failed with.
 *
 * Cancelling a task that waits for a future cancels the future, as in asyncio.
 * A failure that nobody ever looks at is reported to the loop's exception
 * handler when the future is collected or the loop closes, once.
 *
 * @example One task waits for what another produces
 * ```ts
 * import { getRunningLoop, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const answer = await run(function* () {
 *   const loop = getRunningLoop();
 *   const future = loop.createFuture<number>();
 *   loop.callLater(5, () => future.setResult(42));
 *   return yield* future;
 * }, { host: "virtual" });
 * assertEquals(answer, 42);
 * ```
 *
 * @typeParam T What the result will be.
 */
export class Future<T>
  implements PromiseLike<T>, Iterable<Suspension, T, unknown>, Awaited {
  // Declared here and assigned in the constructor, as in all classes that others
  // of the hot paths extend: V8 makes a super() call that defines fields cost
  // 10 ns more.

  /** The core of its loop: a field of its own, as it is on every hot path. @ignore */
  declare readonly kernel: LoopCore;
  declare private state: number;
  /** The result, the error, or the reason of the cancellation. */
  declare protected value: unknown;
  /**
   * What to queue when this future is done, in order; most often one thing. After
   * that, what is to be reported of it if nobody looks at the error.
   */
  declare private waiters: Runnable | Set<Runnable> | null;
  /** What this is, for deadlock reports: "Queue.get()". The name of a task, or "". */
  declare protected label: string;

  /**
   * Makes a pending future. {@linkcode EventLoop.createFuture} does the same.
   *
   * @param loop The loop it belongs to.
   * @param label What it stands for, in words, for messages.
   */
  constructor(loop: EventLoop, label = "a future") {
    if (typeof label !== "string") {
      checkString(label, "create a future", "label");
    }
    this.kernel = loop?.[core];
    this.state = PENDING;
    this.value = undefined;
    this.waiters = null;
    this.label = label;
    // One field to read for the usual case, which also is what only a loop has.
    if (this.kernel?.instrumented !== false) this.instrument(loop);
  }

  /** Checks the loop, and notes where the future is being made in debug mode. */
  private instrument(loop: unknown): void {
    if (this.kernel?.instrumented !== true) {
      throw new TypeError(
        `Cannot create a future as loop must be an EventLoop: received ${
          inspect(loop)
        }`,
      );
    }
    this.kernel.debug.noteCreation(this);
  }

  /** The loop this future belongs to. */
  get loop(): EventLoop {
    return this.kernel.loop;
  }

  /**
   * Tells whether there is a result, an error or a cancellation.
   *
   * @returns Whether the future is done.
   */
  done(): boolean {
    return this.state !== PENDING;
  }

  /**
   * Tells whether the future was cancelled.
   *
   * @returns Whether it was. A `CancelledError` given to
   * {@linkcode setException} does not count.
   */
  cancelled(): boolean {
    return this.state >= CANCELLED;
  }

  /**
   * Gives the result, or throws what there is instead of one. Whoever calls it
   * has looked: the error will not be reported as unseen.
   *
   * @returns The result.
   * @throws {InvalidStateError} If the future is not done.
   * @throws {CancelledError} If it was cancelled.
   */
  result(): T {
    if (this.state === FULFILLED) return this.value as T;
    throw this.failure("get the result of");
  }

  /**
   * Gives the error the future failed with, or `undefined` if it has a result.
   *
   * @returns The error, which counts as seen from now on.
   * @throws {InvalidStateError} If the future is not done.
   * @throws {CancelledError} If it was cancelled.
   */
  exception(): unknown {
    if (this.state === FULFILLED) return undefined;
    if (this.state === UNSEEN || this.state === REJECTED) return this.seen();
    throw this.failure("get the exception of");
  }

  /**
   * Tells whether there is an error. Unlike {@linkcode exception}, this does
   * not count as having looked at it.
   *
   * @returns Whether the future failed. A cancellation is no failure.
   */
  failed(): boolean {
    return this.state === UNSEEN || this.state === REJECTED;
  }

  /**
   * Gives what {@linkcode cancel} was called with, without taking the error of
   * the cancellation away from the one who waits.
   *
   * @returns The reason; `undefined` if there is none, and for a task that ended
   * by throwing a `CancelledError`.
   */
  cancelReason(): unknown {
    return this.state === CANCELLED ? this.value : undefined;
  }

  /** What a future without a result throws at the one who asks. */
  private failure(what: string): unknown {
    if (this.state === PENDING) {
      return new InvalidStateError(
        `Cannot ${what} ${this[inWords]()}: it is not done`,
      );
    }
    if (this.state >= CANCELLED) return this[takeCancellation]();
    return this.seen();
  }

  // Nobody waits for what is done, so that few futures pay for a field of this.

  /** What is to be reported of a future that has failed, once it is watched. */
  get [failureRecord](): FailureRecord | null {
    return this.waiters as unknown as FailureRecord | null;
  }

  set [failureRecord](record: FailureRecord | null) {
    this.waiters = record as unknown as null;
  }

  /** The error, which somebody is looking at now. */
  private seen(): unknown {
    if (this.state === UNSEEN) {
      this.state = REJECTED;
      const record = this[failureRecord];
      if (record !== null) {
        this[failureRecord] = null;
        this.kernel.failures.remove(record);
      }
    }
    return this.value;
  }

  /** The error of a cancellation: the stored one for the first who asks, then new ones. */
  [takeCancellation](): unknown {
    if (this.state === CANCELLED) {
      const reason = this.value;
      return cancellation(reason);
    }
    const error = this.value;
    this.state = CANCELLED;
    this.value = undefined;
    return error;
  }

  /**
   * Gives the future its result and queues everybody who waits.
   *
   * @param value The result.
   * @throws {InvalidStateError} If the future is done already.
   */
  setResult(value: T): void {
    if (this.state !== PENDING) throw this.alreadyDone("set the result of");
    this.finish(FULFILLED, value);
  }

  /**
   * Makes the future fail and queues everybody who waits.
   *
   * @param error What to throw at them.
   * @throws {InvalidStateError} If the future is done already.
   */
  setException(error: unknown): void {
    if (this.state !== PENDING) throw this.alreadyDone("set the exception of");
    this.fail(error);
  }

  /**
   * Cancels the future, unless it is done: whoever waits gets a
   * {@linkcode CancelledError} with `reason`. A reason that is itself a
   * `CancelledError` is thrown as it is.
   *
   * @param reason What to say about the cause.
   * @returns Whether the future was pending.
   */
  cancel(reason?: unknown): boolean {
    if (this.state !== PENDING) return false;
    this.finish(CANCELLED, reason);
    return true;
  }

  /**
   * Runs `callback` with this future in the turn after the one in which it is
   * done; in the next turn, if it is done already. Callbacks and waiting tasks
   * go in the order in which they came. The same callback may be added several
   * times.
   *
   * @param callback What to run. What it throws goes to the loop's exception handler.
   * @throws {TypeError} If `callback` is not a function.
   */
  addDoneCallback(callback: (future: this) => unknown): void {
    checkFunction(callback, "add a done callback", "callback");
    const handle = new DoneCallback(
      callback as (...args: never[]) => unknown,
      this,
    );
    if (this.kernel.instrumented) {
      this.kernel.debug.instrument(handle, callback);
    }
    this.addWaiter(handle);
  }

  /**
   * Withdraws all that {@linkcode addDoneCallback} was given of `callback`.
   * Once the future is done there is nothing left to withdraw.
   *
   * @param callback What was added.
   * @returns How often it had been added.
   */
  removeDoneCallback(callback: (future: this) => unknown): number {
    checkFunction(callback, "remove a done callback", "callback");
    if (this.state !== PENDING) return 0;
    let removed = 0;
    const isIt = (waiter: Runnable) =>
      waiter instanceof DoneCallback &&
      waiter.isFor(callback as (...args: never[]) => unknown);
    const { waiters } = this;
    if (waiters instanceof Set) {
      for (const waiter of waiters) {
        if (isIt(waiter)) {
          waiters.delete(waiter);
          removed++;
        }
      }
    } else if (waiters !== null && isIt(waiters)) {
      this.waiters = null;
      removed++;
    }
    return removed;
  }

  /** Queues `waiter` once the future is done, at once if it is. @ignore */
  addWaiter(waiter: Runnable): void {
    const { waiters } = this;
    if (this.state !== PENDING) {
      this.kernel.schedule(waiter);
      return;
    }
    if (waiters === null) this.waiters = waiter;
    else if (waiters instanceof Set) waiters.add(waiter);
    else this.waiters = new Set([waiters, waiter]);
    if (priorityLoops.count > 0) {
      this.kernel.ranking?.noteWait(waiter, this as Future<unknown>);
    }
  }

  /** Forgets a waiter: O(1). @ignore */
  removeWaiter(waiter: Runnable): void {
    this.waiterLeaves();
    if (this.waiters === waiter) this.waiters = null;
    else if (this.waiters instanceof Set) this.waiters.delete(waiter);
  }

  /** Called when a waiter is about to be taken away, which an abort does. */
  protected waiterLeaves(): void {}

  /** What those share who wait for this, a `Pressure`, if it depends on tasks: they lend them their priority. */
  [pressureOf](): object | null {
    return null;
  }

  /** Throws if who is about to wait would keep the future from ever being done. @ignore */
  [checkWaiter](): void {}

  /** Who waits for the future, in order. */
  [listWaiters](): readonly Runnable[] {
    const { waiters } = this;
    return waiters === null || this.state !== PENDING
      ? []
      : waiters instanceof Set
      ? [...waiters]
      : [waiters];
  }

  /** Whether somebody waits for the future. */
  protected hasWaiter(): boolean {
    if (this.state !== PENDING) return false;
    return this.waiters instanceof Set
      ? this.waiters.size > 0
      : this.waiters !== null;
  }

  /** Ends the future with an error, which is reported if nobody looks at it. */
  protected fail(error: unknown): void {
    this.finish(UNSEEN, error);
    this.kernel.failures.noteFailure(this as Future<unknown>);
  }

  /** Ends the future and queues those who wait for it. */
  private finish(state: number, value: unknown): void {
    this.state = state;
    this.value = value;
    const { waiters, kernel } = this;
    if (waiters === null) return;
    this.waiters = null;
    if (waiters instanceof Set) {
      for (const waiter of waiters) kernel.schedule(waiter);
    } else kernel.schedule(waiters);
  }

  /** Ends the future as cancelled, with the error that was thrown for it. */
  protected finishCancelled(error: unknown): void {
    this.finish(CANCELLED_BY_ERROR, error);
  }

  /** Where a request for cancellation goes that comes to a wait for this. @ignore */
  requestsGo(_request: CancelRequest): RequestsGo {
    return "here";
  }

  /** A request has come to a wait for this, and goes inside. @ignore */
  askToEnd(_request: CancelRequest): void {}

  /** Whether a cancellation that this hands on to others is on its way through them. */
  [isHandingOn](): boolean {
    return false;
  }

  /** @ignore */
  [peekError](): unknown {
    return this.value;
  }

  /** @ignore */
  [isUnseen](): boolean {
    return this.state === UNSEEN;
  }

  /** Makes the error for what cannot be done to a future twice. */
  private alreadyDone(what: string): InvalidStateError {
    return new InvalidStateError(
      `Cannot ${what} ${this[inWords]()}: it is done already`,
    );
  }

  /** What to call this in messages. */
  [inWords](): string {
    return this.label;
  }

  /**
   * Waits for the future in an async function: `await future` calls this.
   *
   * `onFulfilled` or `onRejected` is called in the turn in which a generator
   * coroutine would go on. Inside a task, a call with both counts as a wait of
   * that task: cancelling the task cancels the future. With `onFulfilled` alone
   * it only listens, and does not count as having looked at an error; an async
   * function that waits for what this gives then waits for a promise outside the
   * loop, which the virtual clock stands still for.
   *
   * @param onFulfilled What to call with the result.
   * @param onRejected What to call with the error.
   * @returns What the callback returned, as a promise that is made when
   * somebody asks for it.
   */
  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const wait = new PromiseWait<T, A, B>(
      this,
      onFulfilled ?? null,
      onRejected ?? null,
    );
    if (this.loop.isClosed()) {
      const error = new LoopClosedError(
        `Cannot wait for ${this[inWords]()}: its loop is closed`,
      );
      microtask(() => wait.close(error));
    } else if (wait.isForeign()) {
      const error = new MisuseError(
        `Cannot wait for ${this[inWords]()}: it belongs to another event loop`,
      );
      microtask(() => wait.close(error));
    } else if (wait.waitsForItself()) this.kernel.schedule(wait);
    else this.addWaiter(wait);
    return wait;
  }

  /**
   * Waits for the future in a generator coroutine: `yield* future` calls this.
   *
   * @returns An iterator for `yield*` only.
   */
  [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    if (levels.open > 0 && this.state !== PENDING) {
      const level = levelOf(current.stepper);
      if (level !== null) throw level.reason;
    }
    return this as unknown as Iterator<Suspension, T, unknown>;
  }

  // A future is its own iterator, as all there is to remember is whether it is
  // done: three methods instead of an object for each wait.

  /** @ignore */
  protected next(): IteratorResult<Suspension, T> {
    if (this.state !== PENDING) return { done: true, value: this.result() };
    // Somebody else than a task goes through it: `[...task]`, `Promise.all(task)`.
    if (lastYielded.future === this as Future<unknown>) this.refuseIteration();
    lastYielded.future = this as Future<unknown>;
    return { done: false, value: this as Future<unknown> };
  }

  private refuseIteration(): never {
    lastYielded.future = null;
    throw new MisuseError(
      `Cannot go through ${
        this[inWords]()
      }: wait for it with "yield*" or "await", and give a list of futures as an array`,
    );
  }

  /** @ignore */
  protected throw(error: unknown): never {
    throw error;
  }

  /** @ignore */
  protected return(value: T): IteratorResult<Suspension, T> {
    return { done: true, value };
  }

  /** Whether it is pending, or how it has ended. */
  private stateName(): "pending" | "done" | "failed" | "cancelled" {
    if (this.state === PENDING) return "pending";
    if (this.state === FULFILLED) return "done";
    return this.state >= CANCELLED ? "cancelled" : "failed";
  }

  /**
   * Shows the future in one line, in `console.log` and `Deno.inspect`: its class,
   * what it stands for, and its state.
   *
   * @returns The text.
   */
  [Symbol.for("Deno.customInspect")](): string {
    return `${this[Symbol.toStringTag]} (${
      this[inWords]()
    }, ${this.stateName()})`;
  }

  /**
   * Returns what `JSON.stringify` writes: what the future stands for, and its state.
   *
   * @returns A plain object.
   */
  toJSON(): { readonly name: string; readonly state: string } {
    return { name: this[inWords](), state: this.stateName() };
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"Future"`, or the name of the class derived from it.
   */
  get [Symbol.toStringTag](): string {
    return "Future";
  }
}

/**
 * Tells whether `value` is a {@linkcode Future}; a {@linkcode Task} is one too.
 *
 * @param value Anything.
 * @returns Whether it is.
 */
export function isFuture(value: unknown): value is Future<unknown> {
  return value instanceof Future;
}
