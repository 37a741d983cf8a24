/**
 * Operations that wait for time or for a turn: `sleep`, `yieldNow` and
 * `checkpoint`.
 *
 * @module
 */
import { NOT_QUEUED } from "../structures/timer_queue.ts";
import { AttemptOperation } from "./attempt_operation.ts";
import {
  cancellation,
  type CancelRequest,
  takeAtYield,
} from "./cancellation.ts";
import { Operation, TRUSTED, type WaitOptions } from "./operation.ts";
import { core } from "./core.ts";
import { checkNumber, checkOptions, checkSignal } from "./checks.ts";
import { getRunningLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future, type Suspension } from "./future.ts";
import type { Runnable, Timer } from "./runnable.ts";
import type { TimerHandle } from "./timer_handle.ts";
import { FULFILLED, Outcome } from "./promise_wait.ts";
import { quit } from "./stepping.ts";
import { findStrand } from "./strand.ts";
import type { Strand } from "./strand_tree.ts";
import type { Coroutine } from "./task_body.ts";
import type { Task } from "./task.ts";

/** Options of {@linkcode sleep}. */
export interface SleepOptions<T> extends WaitOptions {
  /** Value that the wait returns. */
  readonly value?: T;
}

/**
 * Waits for `delayMs` milliseconds.
 *
 * A delay of 0 or less lets everything that is ready run once, and returns in
 * the next turn; it costs some 40 ns in a generator coroutine. Longer delays
 * are not rounded, and never end early on the loop's clock. They take two
 * turns: the timer's and the waiter's. Cancelling the wait removes the timer.
 *
 * @example Two tasks take turns
 * ```ts
 * import { getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const other = getRunningLoop().createTask(function* () {
 *     yield* sleep(15);
 *     log.push("other");
 *   });
 *   await sleep(10);
 *   log.push("main");
 *   await other;
 * }, { host: "virtual" });
 * assertEquals(log, ["main", "other"]);
 * ```
 *
 * @typeParam T Type of the value.
 * @param delayMs How long, in milliseconds. `Infinity` waits until cancelled.
 * @param options A value to return, and a signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `delayMs` is not a number or `signal` no `AbortSignal`.
 * @throws {RangeError} If `delayMs` is `NaN`.
 */
export function sleep<T = void>(
  delayMs: number,
  options?: SleepOptions<T>,
): Operation<T> {
  if (typeof delayMs !== "number" || Number.isNaN(delayMs)) {
    checkNumber(delayMs, "sleep", "delayMs");
  }
  if (options !== undefined) checkOptions(options, "sleep");
  const signal = options?.signal;
  if (signal !== undefined) checkSignal(signal, "sleep");
  return delayMs > 0
    ? new SleepOperation(delayMs, options?.value as T, signal)
    : new YieldOperation(options?.value as T, signal);
}

// The two operations below are the most frequent waits of any program. They are
// written by hand, without a generator: 40 ns for a switch instead of 84.

/** Step of a bare `yield`, as the stepper sees it. Never written to. */
const BARE_YIELD: IteratorResult<Suspension, never> = {
  done: false,
  value: undefined,
};

/** The end of a wait without a value. Never written to. */
const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Waits for one turn. Its own iterator, and in async functions its own wait. */
export class YieldOperation<T> extends Operation<T> implements Runnable {
  readonly #value: T;
  #yielded = false;
  #strand: Strand | null = null;
  #onFulfilled: ((value: T) => unknown) | null = null;
  #onRejected: ((reason: unknown) => unknown) | null = null;
  #outcome: Outcome<unknown> | null = null;

  constructor(value: T, signal?: AbortSignal) {
    super(
      undefined,
      signal === undefined ? TRUSTED : { name: "sleep(0)", signal },
    );
    this.#value = value;
  }

  protected override begin(): Iterator<Suspension, T, unknown> {
    return this;
  }

  next(): IteratorResult<Suspension, T> {
    if (!this.#yielded) {
      this.#yielded = true;
      return BARE_YIELD;
    }
    const value = this.#value;
    return value === undefined
      ? DONE as IteratorReturnResult<T>
      : { done: true, value };
  }

  throw(error: unknown): never {
    throw error;
  }

  [quit](): boolean {
    return true;
  }

  return(value: T): IteratorResult<Suspension, T> {
    return { done: true, value };
  }

  // Called by `await`. In a task that is not being cancelled, the task counts
  // the wait instead of holding it, and no further object is made for it.
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const strand = findStrand();
    if (
      strand === null || typeof onFulfilled !== "function" ||
      typeof onRejected !== "function" || this.options !== TRUSTED ||
      strand.due !== null || strand.level !== null
    ) return super.then(onFulfilled, onRejected);
    this.start();
    strand.yields++;
    this.#strand = strand;
    this.#onFulfilled = onFulfilled;
    this.#onRejected = onRejected;
    strand.runner!.kernel.schedule(this);
    return new YieldOutcome<A | B>(this);
  }

  /** The task that waits by `await`; null if none does. */
  get task(): Task<unknown> | null {
    return this.#strand === null ? null : this.#strand.runner;
  }

  /** Outcome of the callback given to `then`. Made on demand: `await` does not ask for it. */
  outcome(): Outcome<unknown> {
    if (this.#outcome !== null) return this.#outcome;
    const outcome = this.#outcome = new Outcome<unknown>();
    if (this.#strand === null) outcome.settle(FULFILLED, undefined);
    return outcome;
  }

  // No #private method: it would cost each of these objects a brand.
  private runObserved(strand: Strand, request: CancelRequest | null): void {
    const task = strand.runner!;
    const { kernel } = task;
    kernel.resumeObserved(task, () => {
      if (request === null) {
        this.outcome().followIn(
          strand,
          kernel,
          this.#onFulfilled!,
          this.#value,
        );
      } else {
        const error = cancellation(request.reason);
        this.outcome().followIn(strand, kernel, this.#onRejected!, error);
      }
    });
  }

  /**
   * Runs in the next turn.
   *
   * @ignore
   */
  run(): void {
    const strand = this.#strand!;
    const { kernel } = strand.runner!;
    strand.yields--;
    const request = strand.dueYields === null ? null : takeAtYield(strand);
    if (kernel.observing && kernel.noteResume(strand.runner!)) {
      this.runObserved(strand, request);
    } else if (request !== null) {
      const error = cancellation(request.reason);
      this.outcome().followIn(strand, kernel, this.#onRejected!, error);
    } else if (this.#outcome !== null) {
      this.#outcome.followIn(strand, kernel, this.#onFulfilled!, this.#value);
    } else {
      kernel.promiseResumed = true;
      let result: unknown;
      try {
        result = this.#onFulfilled!(this.#value);
      } catch (error) {
        this.outcome().follow(kernel, rethrow, error);
        return;
      }
      // The callback that `await` passes returns nothing, and its outcome is
      // not asked for.
      if (result !== undefined || this.#outcome !== null) {
        this.outcome().settle(FULFILLED, result);
      }
      this.#strand = null;
    }
  }
}

function rethrow(error: unknown): never {
  throw error;
}

/** The `run` of all of them, which only resumes a function. */
export const YIELD_RUN = YieldOperation.prototype.run;

/** Promise-like that `then` of a {@linkcode YieldOperation} returns. */
class YieldOutcome<R> implements PromiseLike<R> {
  readonly #operation: { outcome(): Outcome<unknown> };

  constructor(operation: { outcome(): Outcome<unknown> }) {
    this.#operation = operation;
  }

  then<C = R, D = never>(
    onFulfilled?: ((value: R) => C | PromiseLike<C>) | null,
    onRejected?: ((reason: unknown) => D | PromiseLike<D>) | null,
  ): Promise<C | D> {
    return (this.#operation.outcome() as Outcome<R>).then(
      onFulfilled,
      onRejected,
    );
  }
}

const SLEEP_OPTIONS = { name: "sleep()" };

/** Sets the result of a sleeper's future; all sleepers share this function. */
function wakeSleeper(future: Future<void>): void {
  if (!future.done()) future.setResult();
}

/** Future of a sleeper and the timer that sets it, in one object. */
export class SleepFuture extends Future<void> implements Timer {
  whenMs: number;
  sequence = 0;
  queueBucket: number = NOT_QUEUED;
  queueIndex = 0;

  constructor(loop: EventLoop, whenMs: number) {
    super(loop, "sleep()");
    this.whenMs = whenMs;
    loop[core].timers.startTimer(this);
  }

  holdsProcess(): boolean {
    return this.whenMs !== Infinity;
  }

  fallDue(): void {}

  run(): void {
    wakeSleeper(this);
  }

  stop(): void {
    this.kernel.timers.dropTimer(this);
  }
}

/** The same for a loop that wants to see all timers. */
class ObservedSleepFuture extends Future<void> {
  readonly #timer: TimerHandle;

  constructor(loop: EventLoop, whenMs: number) {
    super(loop, "sleep()");
    this.#timer = loop.callAt(whenMs, wakeSleeper, this as Future<void>);
    loop[core].ranking?.noteTimer(this.#timer, this as Future<unknown>);
  }

  stop(): void {
    this.#timer.cancel();
  }
}

/** Waits for a timer. Its own iterator. */
class SleepOperation<T> extends Operation<T> {
  /** Value that the wait returns; without the field it returns nothing. */
  declare private readonly value: T;
  /** Future of the wait; until the wait begins, the delay in milliseconds. */
  #future: SleepFuture | ObservedSleepFuture | number;

  constructor(delayMs: number, value: T, signal?: AbortSignal) {
    super(
      undefined,
      signal === undefined ? SLEEP_OPTIONS : { name: "sleep()", signal },
    );
    this.#future = delayMs;
    if (value !== undefined) this.value = value;
  }

  protected override begin(): Iterator<Suspension, T, unknown> {
    return this;
  }

  next(): IteratorResult<Suspension, T> {
    let future = this.#future;
    if (typeof future === "number") {
      const loop = getRunningLoop();
      const whenMs = loop.time() + future;
      future = this.#future = loop[core].overridden
        ? new ObservedSleepFuture(loop, whenMs)
        : new SleepFuture(loop, whenMs);
    } else if (future.done()) {
      // First the timer: the future throws if the wait was cancelled.
      future.stop();
      future.result();
      return { done: true, value: this.value };
    }
    return (future as unknown as Iterator<Suspension, T>).next();
  }

  throw(error: unknown): never {
    this.#stop();
    throw error;
  }

  [quit](): boolean {
    this.#stop();
    return true;
  }

  return(value: T): IteratorResult<Suspension, T> {
    this.#stop();
    return { done: true, value };
  }

  #stop(): void {
    if (typeof this.#future !== "number") this.#future.stop();
  }
}

/**
 * Lets everything that is ready run once, then returns: `sleep(0)` under a name
 * that says why.
 *
 * @example Two tasks alternate
 * ```ts
 * import { getRunningLoop, run, yieldNow } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const say = (name: string) =>
 *   function* () {
 *     for (let n = 1; n <= 2; n++) {
 *       log.push(`${name}${n}`);
 *       yield* yieldNow();
 *     }
 *   };
 * await run(function* () {
 *   const other = getRunningLoop().createTask(say("b"));
 *   yield* say("a")();
 *   yield* other;
 * });
 * assertEquals(log, ["a1", "b1", "a2", "b2"]);
 * ```
 *
 * @param options A signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `signal` is not an `AbortSignal`.
 */
export function yieldNow(options: WaitOptions = {}): Operation<void> {
  return sleep(0, options);
}

/**
 * Lets other tasks run if it is time for that, and throws a pending
 * cancellation; else returns at once. For long computations between waits.
 *
 * A turn passes when the loop has not looked at its timers and descriptors for
 * about a millisecond; on the virtual host, where work takes no time, at every
 * 128th call. Costs some 150 ns otherwise.
 *
 * @example A computation that does not hold up the rest
 * ```ts
 * import { checkpoint, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(function* () {
 *   let sum = 0;
 *   for (let n = 1; n <= 10_000; n++) {
 *     sum += n;
 *     yield* checkpoint();
 *   }
 *   return sum;
 * });
 * assertEquals(sum, 50_005_000);
 * ```
 *
 * @returns An operation: nothing happens until it is waited for.
 */
export function checkpoint(): Operation<void> {
  return new Checkpoint(CHECKPOINT, undefined);
}

const CHECKPOINT = { name: "checkpoint()" };
const GO_ON: IteratorReturnResult<void> = { done: true, value: undefined };

class Checkpoint extends AttemptOperation<void> {
  protected attempt(): IteratorReturnResult<void> | undefined {
    return getRunningLoop()[core].isTimeToYield() ? undefined : GO_ON;
  }

  protected *wait(): Coroutine<void> {
    yield;
  }
}
