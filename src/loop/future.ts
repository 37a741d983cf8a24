/**
 * Futures: results that will be there later. Their states, their waiters, and
 * failures that nobody looks at.
 *
 * @module
 */
import {
  type Awaited,
  checkWaiter,
  explain,
  failureRecord,
  inWords,
  isAwaitedBy,
  isHandingOn,
  isUnseen,
  listWaiters,
  onBehalf,
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
import type { Task } from "./task.ts";
import { kindOf, tasksWaitingFor, type WaitFacts } from "./waits.ts";

/**
 * Value that a generator coroutine yields to its task: a future to wait for, or
 * `undefined` to go on in the next turn. Programs write `yield*` and never see
 * it.
 */
export type Suspension = Future<unknown> | undefined;

const PENDING = 0;
const FULFILLED = 1;
/** Failed, and nobody has looked at the error yet. */
const UNSEEN = 2;
const REJECTED = 3;
const CANCELLED = 4;
/** Cancelled, and `value` is the error to throw at the first caller. */
const CANCELLED_BY_ERROR = 5;

/** The future whose iterator yielded last, by which a task distinguishes `yield*` from a bare `yield`. */
export const lastYielded: { future: Future<unknown> | null } = { future: null };

/**
 * A result that is not there yet.
 *
 * Like asyncio's `Future`. A call of {@linkcode setResult},
 * {@linkcode setException} or {@linkcode cancel} completes it, once; all
 * waiters go on in the next turn of the loop, in the order in which they began
 * to wait. Wait with `yield* future` in a generator coroutine and
 * `await future` in an async function; both throw the error with which the
 * future failed.
 *
 * Cancelling a task that waits for a future cancels the future, as in asyncio.
 * A failure that is never looked at is reported to the loop's exception handler
 * when the future is collected or the loop closes, once.
 *
 * @example A task waits for a value from another task
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
 * @typeParam T Type of the result.
 */
export class Future<T>
  implements PromiseLike<T>, Iterable<Suspension, T, unknown>, Awaited {
  // Declared here and assigned in the constructor, as in all classes that others
  // of the hot paths extend: V8 makes a super() call that defines fields cost
  // 10 ns more.

  /**
   * The core of its loop: a field of its own, as it is on every hot path.
   *
   * @ignore
   */
  declare readonly kernel: LoopCore;
  declare private state: number;
  /** The result, the error, or the reason of the cancellation. */
  declare protected value: unknown;
  /**
   * Waiters, queued in order when this future is done; most often one. After
   * that, the record of a failure that is to be reported if nobody looks at it.
   */
  declare private waiters: Runnable | Set<Runnable> | null;
  /** Name in deadlock reports, such as "Queue.get()"; the name of a task, or "". */
  declare protected label: string;

  /**
   * Makes a pending future. {@linkcode EventLoop.createFuture} does the same.
   *
   * @param loop The loop of the future.
   * @param label Name of the future in messages.
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
    // The usual case reads this one field, which only the core of a loop has.
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
   * Returns whether there is a result, an error or a cancellation.
   *
   * @returns Whether the future is done.
   */
  done(): boolean {
    return this.state !== PENDING;
  }

  /**
   * Returns whether the future was cancelled.
   *
   * @returns Whether it was. A `CancelledError` given to
   * {@linkcode setException} does not count.
   */
  cancelled(): boolean {
    return this.state >= CANCELLED;
  }

  /**
   * Returns the result, or throws the error or cancellation. The error counts
   * as seen, and is not reported.
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
   * Returns the error with which the future failed, or `undefined` if it has a
   * result.
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
   * Returns whether there is an error. Unlike after {@linkcode exception}, the
   * error does not count as seen.
   *
   * @returns Whether the future failed. A cancellation is no failure.
   */
  failed(): boolean {
    return this.state === UNSEEN || this.state === REJECTED;
  }

  /**
   * Returns the argument of {@linkcode cancel}. The waiter still gets the
   * original error of the cancellation.
   *
   * @returns The reason; `undefined` if there is none, and for a task that ended
   * by throwing a `CancelledError`.
   */
  cancelReason(): unknown {
    return this.state === CANCELLED ? this.value : undefined;
  }

  /** Error that a future without a result throws at its caller. */
  private failure(what: string): unknown {
    if (this.state === PENDING) {
      return new InvalidStateError(
        `Cannot ${what} ${this[inWords]()}: it is not done`,
      );
    }
    if (this.state >= CANCELLED) return this[takeCancellation]();
    return this.seen();
  }

  // A future that is done has no waiters, so the field of the waiters holds the
  // record.

  /** Record of a failed future that is watched, for the report. */
  get [failureRecord](): FailureRecord | null {
    return this.waiters as unknown as FailureRecord | null;
  }

  set [failureRecord](record: FailureRecord | null) {
    this.waiters = record as unknown as null;
  }

  /** Returns the error, which counts as seen from now on. */
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

  /** The error of a cancellation: the stored one for the first caller, then new ones. */
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
   * Sets the result and queues all waiters.
   *
   * @param value The result.
   * @throws {InvalidStateError} If the future is done already.
   */
  setResult(value: T): void {
    if (this.state !== PENDING) throw this.alreadyDone("set the result of");
    this.finish(FULFILLED, value);
  }

  /**
   * Makes the future fail and queues all waiters.
   *
   * @param error Error to throw at them.
   * @throws {InvalidStateError} If the future is done already.
   */
  setException(error: unknown): void {
    if (this.state !== PENDING) throw this.alreadyDone("set the exception of");
    this.fail(error);
  }

  /**
   * Cancels the future, unless it is done: the waiters throw a
   * {@linkcode CancelledError} with `reason`. A reason that is itself a
   * `CancelledError` is thrown as it is.
   *
   * @param reason Cause, of any type.
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
   * @param callback Function to run. Its errors go to the loop's exception
   * handler.
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
   * Withdraws `callback`, as often as {@linkcode addDoneCallback} has added it.
   * Does nothing once the future is done.
   *
   * @param callback Function that was added.
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

  /**
   * Queues `waiter` once the future is done, at once if it is.
   *
   * @ignore
   */
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

  /**
   * Forgets a waiter: O(1).
   *
   * @ignore
   */
  removeWaiter(waiter: Runnable): void {
    this.waiterLeaves();
    if (this.waiters === waiter) this.waiters = null;
    else if (this.waiters instanceof Set) this.waiters.delete(waiter);
  }

  /** Called when a waiter is about to be taken away, which an abort does. */
  protected waiterLeaves(): void {}

  /** The `Pressure` of the waiters if the future depends on tasks, which then inherit their priority; else null. */
  [pressureOf](): object | null {
    return null;
  }

  /**
   * Throws if the wait that is about to begin would keep the future from ever being done.
   *
   * @ignore
   */
  [checkWaiter](): void {}

  /** Returns the waiters, in order. */
  [listWaiters](): readonly Runnable[] {
    const { waiters } = this;
    return waiters === null || this.state !== PENDING
      ? []
      : waiters instanceof Set
      ? [...waiters]
      : [waiters];
  }

  /** Whether `waiter` is among the waiters. */
  [isAwaitedBy](waiter: Runnable): boolean {
    if (this.state !== PENDING) return false;
    return this.waiters instanceof Set
      ? this.waiters.has(waiter)
      : this.waiters === waiter;
  }

  /** Facts about a wait for this. */
  [explain](): WaitFacts {
    return { kind: kindOf(this.label), target: this, behind: [] };
  }

  /** A future that waits for another one does so for its own waiters. */
  [onBehalf](awaited: Future<unknown>): Future<unknown> | null {
    return awaited === this as Future<unknown> ? null : this as Future<unknown>;
  }

  /**
   * Lists the tasks that wait for this future at this moment, in the order in
   * which they began: directly, and through `gather`, `shield`, `wait`,
   * `asCompleted`, task groups and limits. Empty once the future is done.
   *
   * Takes time in proportion to the number of waiters. A callback that was added
   * with {@linkcode addDoneCallback} is no task.
   *
   * @example
   * ```ts
   * import { createTask, gather, getRunningLoop, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await run(function* () {
   *   const answer = getRunningLoop().createFuture<number>();
   *   const reader = createTask(function* () {
   *     yield* answer;
   *   });
   *   const collector = createTask(function* () {
   *     yield* gather([answer, sleep(1)]);
   *   });
   *   yield* sleep(0);
   *   assertEquals(answer.awaitedBy(), [reader, collector]);
   *   answer.setResult(42);
   * }, { host: "virtual" });
   * ```
   *
   * @returns The tasks, each once, in a new array.
   */
  awaitedBy(): Task<unknown>[] {
    return tasksWaitingFor(this as Future<unknown>);
  }

  /** Whether the future has waiters. */
  protected hasWaiter(): boolean {
    if (this.state !== PENDING) return false;
    return this.waiters instanceof Set
      ? this.waiters.size > 0
      : this.waiters !== null;
  }

  /** Ends the future with an error, which is reported if it is never looked at. */
  protected fail(error: unknown): void {
    this.finish(UNSEEN, error);
    this.kernel.failures.noteFailure(this as Future<unknown>);
  }

  /** Ends the future and queues its waiters. */
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

  /**
   * Where a request for cancellation goes that reaches a wait for this future.
   *
   * @ignore
   */
  requestsGo(_request: CancelRequest): RequestsGo {
    return "here";
  }

  /**
   * Called when a request has reached a wait for this future, and goes inside.
   *
   * @ignore
   */
  askToEnd(_request: CancelRequest): void {}

  /** Whether a cancellation that this future hands on to others is still on its way. */
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

  /** Returns the error for completing a future twice. */
  private alreadyDone(what: string): InvalidStateError {
    return new InvalidStateError(
      `Cannot ${what} ${this[inWords]()}: it is done already`,
    );
  }

  /** Name in messages. */
  [inWords](): string {
    return this.label;
  }

  /**
   * Waits for the future in an async function: `await future` calls this.
   *
   * `onFulfilled` or `onRejected` is called in the turn in which a generator
   * coroutine would go on. Inside a task, a call with both counts as a wait of
   * that task: cancelling the task cancels the future. With `onFulfilled` alone
   * it only listens, and an error does not count as seen. An async function
   * that awaits the returned promise waits for a promise outside the loop, for
   * which the virtual clock stands still.
   *
   * @param onFulfilled Called with the result.
   * @param onRejected Called with the error.
   * @returns A promise for the value that the callback returns, made on demand.
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

  // A future is its own iterator, which saves an object for each wait: whether
  // it is done is all the state that an iterator needs.

  /** @ignore */
  protected next(): IteratorResult<Suspension, T> {
    if (this.state !== PENDING) return { done: true, value: this.result() };
    // Other code than a task steps the iterator: `[...task]`,
    // `Promise.all(task)`.
    if (lastYielded.future === this as Future<unknown>) this.refuseIteration();
    lastYielded.future = this as Future<unknown>;
    return { done: false, value: this as Future<unknown> };
  }

  /** Throws at whoever goes through a future by mistake: `[...task]`, `Promise.all(task)`. */
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
   * Shows the future in one line, in `console.log` and `Deno.inspect`: its
   * class, name and state.
   *
   * @returns The text.
   */
  [Symbol.for("Deno.customInspect")](): string {
    return `${this[Symbol.toStringTag]} (${
      this[inWords]()
    }, ${this.stateName()})`;
  }

  /**
   * Returns an object for `JSON.stringify`: name and state.
   *
   * @returns A plain object.
   */
  toJSON(): { readonly name: string; readonly state: string } {
    return { name: this[inWords](), state: this.stateName() };
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"Future"`, or the name of the class derived from it.
   */
  get [Symbol.toStringTag](): string {
    return "Future";
  }
}

/**
 * Returns whether `value` is a {@linkcode Future}; a {@linkcode Task} is one
 * too.
 *
 * @param value Anything.
 * @returns Whether it is.
 */
export function isFuture(value: unknown): value is Future<unknown> {
  return value instanceof Future;
}
