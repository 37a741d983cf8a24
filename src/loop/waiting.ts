/**
 * How tasks and async functions wait: what the two things that step a generator
 * have in common, and the waits of async functions.
 *
 * @module
 */
import { CancelledError, MisuseError } from "../errors.ts";
import type { Block } from "./block.ts";
import { core } from "./core.ts";
import { inspect } from "./checks.ts";
import { findPlace, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future, Suspension } from "./future.ts";
import type { Runnable } from "./runnable.ts";
import type { Task } from "./task.ts";

/** Go on with the result of what was waited for. */
export const NOT_INTERRUPTED = 0;
/** Throw a cancellation for `interruptReason`, unless what was waited for brings its own. */
export const CANCEL = 1;
/** Throw `interruptReason` itself. */
export const THROW = 2;

/** Something that steps a generator and can be interrupted in its wait. */
export interface Stepper extends Runnable {
  readonly loop: EventLoop;
  /** What the generator waits for; still there when its turn has come. */
  waitingOn: Future<unknown> | null;
  interruption: number;
  interruptReason: unknown;
  /** The innermost open block around the generator's place; null if none is open. */
  block: Block | null;
}

/** The error of a cancellation that arrives at a wait for `awaited`. */
export function cancellationFor(
  awaited: Future<unknown> | null,
  reason: unknown,
): unknown {
  // A cancellation that is there already goes first, with its own reason. Any
  // other failure of what was awaited stays unseen, for somebody else to look at.
  if (awaited !== null && awaited.done()) {
    if (awaited.cancelled()) return awaited["takeCancellation"]();
    if (awaited["value"] instanceof CancelledError) return awaited.exception();
  }
  return reason instanceof CancelledError ? reason : new CancelledError(reason);
}

/** What to throw at an interrupted stepper, which is then no longer interrupted. */
export function takeInterruption(stepper: Stepper): unknown {
  const { interruption, interruptReason } = stepper;
  stepper.interruption = NOT_INTERRUPTED;
  if (interruption === THROW) {
    stepper.interruptReason = undefined;
    return interruptReason;
  }
  // The reason stays: gather() may ask for it when the task has ended.
  return cancellationFor(stepper.waitingOn, interruptReason);
}

/** Cancels the wait of a stepper, or else marks it, so that its next step throws. */
export function interrupt(stepper: Stepper, reason: unknown): void {
  const awaited = stepper.waitingOn;
  if (awaited !== null) {
    if (awaited.cancel(reason)) return;
    if (awaited["isHandingOn"]()) {
      // The last in a ring of tasks that wait for each other: nobody wakes it.
      awaited["removeWaiter"](stepper);
      stepper.waitingOn = null;
      stepper.loop[core].schedule(stepper);
    }
  }
  stepper.interruption = CANCEL;
  stepper.interruptReason = reason;
}

/** Takes an interruption back that has not been thrown yet. */
export function rescind(stepper: Stepper): void {
  if (stepper.interruption === CANCEL) stepper.interruption = NOT_INTERRUPTED;
}

/** What the generator yielded decides when it is stepped next. */
export function suspend(
  stepper: Stepper,
  target: Suspension,
  lastYielded: { future: Future<unknown> | null },
): void {
  if (target === undefined) {
    stepper.loop[core].schedule(stepper);
    return;
  }
  // A future of this loop, yielded by its own iterator, that is not the stepper itself.
  if (
    lastYielded.future === target && target as unknown !== null &&
    target.loop === stepper.loop &&
    target !== stepper as unknown
  ) {
    lastYielded.future = null;
    stepper.waitingOn = target;
    target["addWaiter"](stepper);
    if (
      stepper.interruption === CANCEL && target.cancel(stepper.interruptReason)
    ) stepper.interruption = NOT_INTERRUPTED;
    return;
  }
  // A cancellation that is under way is worth more than the complaint.
  if (stepper.interruption === NOT_INTERRUPTED) {
    stepper.interruption = THROW;
    stepper.interruptReason = complaint(stepper, target, lastYielded.future);
  }
  lastYielded.future = null;
  stepper.loop[core].schedule(stepper);
}

/** What is wrong with a value that a generator yielded. */
function complaint(
  stepper: Stepper,
  target: unknown,
  future: Future<unknown> | null,
): Error {
  if (target === stepper) {
    return new MisuseError("Cannot wait for a task in itself");
  }
  if (future !== null && future === target) {
    return new MisuseError(
      `Cannot wait for ${
        future["describe"]()
      }: it belongs to another event loop`,
    );
  }
  return new MisuseError(
    `Cannot wait for ${
      inspect(target)
    }: use "yield*" with an operation, future or task, ` +
      `and "yield* until(promise)" with a promise`,
  );
}

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
    loop[core].promiseResumed = true;
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
  /** Neighbours in the list of the task; written by the task. */
  declare private nextWait: Wait<unknown, unknown, unknown> | null;
  declare private previousWait: Wait<unknown, unknown, unknown> | null;
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
    this.nextWait = null;
    this.previousWait = null;
    this.onFulfilled = onFulfilled;
    this.onRejected = onRejected;
    if (task !== null) {
      task["enterWait"](this as Wait<unknown, unknown, unknown>);
    } else {loop[core].strays.enterStray(
        this as Wait<unknown, unknown, unknown>,
      );}
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
    } else {this.loop[core].strays.leaveStray(
        this as Wait<unknown, unknown, unknown>,
      );}
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
    this.loop[core].schedule(this);
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
