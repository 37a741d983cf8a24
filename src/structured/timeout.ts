/**
 * `timeout` and `timeoutAt`, like asyncio's: a body is cancelled, once, when its time
 * is over.
 *
 * @module
 */
import { MisuseError, TimeoutError } from "../errors.ts";
import type { Block } from "../loop/block.ts";
import { endsAt, requestsBeforeTimeout } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkNumber,
  checkWaitOptions,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { Suspension } from "../loop/future.ts";
import type { Handle } from "../loop/handle.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { type BlockBody, taskFor } from "./block_body.ts";

/** Function that makes the operation or body inside of a block. */
type Inside<T> = (block: Block) => Iterable<Suspension, T, unknown>;

/** Enters a timeout, waits for the operation or body inside of it, and leaves it. */
export let runInTimeout: <T>(
  scope: Timeout,
  inside: Inside<T>,
) => Coroutine<T>;

/**
 * The block in which {@linkcode timeout} runs a body. Like asyncio's `Timeout`.
 */
export class Timeout {
  #state:
    | "created"
    | "active"
    | "expiring" // the time is over, and the body has not ended
    | "aborting" // the signal has aborted, and the body has not ended
    | "expired"
    | "finished" = "created";
  #whenMs: number | null;
  /** The limit in words, for the error. */
  #limit: string;
  #block: Block | null = null;
  #timer: Handle | null = null;
  /** The task's requests for cancellation at entry. */
  #requests = 0;
  readonly #signal: AbortSignal | undefined;

  /**
   * Made by {@linkcode timeout} and {@linkcode timeoutAt}.
   *
   * @ignore
   */
  constructor(
    whenMs: number | null,
    limit: string,
    signal: AbortSignal | undefined,
  ) {
    this.#whenMs = whenMs;
    this.#limit = limit;
    this.#signal = signal;
  }

  /**
   * Returns the moment when the time is over.
   *
   * @returns A moment on the clock of the loop, in milliseconds, or `null` if
   * there is no limit.
   */
  when(): number | null {
    return this.#whenMs;
  }

  /**
   * Sets another deadline.
   *
   * @example A limit on each line instead of on all of them
   * ```ts
   * import { getRunningLoop, run, sleep, timeout } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const tookMs = await run(function* () {
   *   const loop = getRunningLoop();
   *   yield* timeout(50, function* (scope) {
   *     for (let line = 0; line < 5; line++) {
   *       yield* sleep(40);
   *       scope.reschedule(loop.time() + 50);
   *     }
   *   });
   *   return loop.time();
   * }, { host: "virtual" });
   * assertEquals(tookMs, 200);
   * ```
   *
   * @param whenMs A moment on the clock of the loop; one that is not in the
   * future means the next turn. `null` takes the limit away.
   * @throws {TypeError} If `whenMs` is neither a number nor `null`.
   * @throws {RangeError} If it is `NaN`.
   * @throws {MisuseError} If the time is over already, or the block has ended.
   */
  reschedule(whenMs: number | null): void {
    if (whenMs !== null) checkNumber(whenMs, "reschedule a timeout", "whenMs");
    if (this.#state !== "active" && this.#state !== "aborting") {
      throw new MisuseError(
        `Cannot reschedule a timeout: it is ${this.#state}`,
      );
    }
    this.#limit = "by its deadline";
    this.#schedule(whenMs);
  }

  /**
   * Returns whether the time was over before the body had ended.
   *
   * @returns Whether it was, even if the body has not been interrupted yet.
   */
  expired(): boolean {
    return this.#state === "expiring" || this.#state === "expired";
  }

  /**
   * A signal for `fetch` and similar functions: it aborts when the time is
   * over, or the task is cancelled.
   *
   * @throws {MisuseError} If the block was not entered yet.
   */
  get signal(): AbortSignal {
    if (this.#block === null) {
      throw new MisuseError(
        "Cannot get the signal of a timeout: it is created",
      );
    }
    return this.#block.signal;
  }

  #schedule(whenMs: number | null): void {
    this.#whenMs = whenMs;
    this.#timer?.cancel();
    this.#timer = null;
    const block = this.#block!;
    block.deadlineMs = whenMs ?? Infinity;
    if (whenMs === null) return;
    const { loop } = block.task;
    this.#timer = whenMs <= loop.time()
      ? loop.callSoon(Timeout.#expire, this)
      : loop.callAt(whenMs, Timeout.#expire, this);
  }

  /** The callback of all deadlines. */
  static readonly #expire = (timeout: Timeout): void => {
    if (timeout.#state !== "active") return;
    const block = timeout.#block!;
    block.cancel();
    timeout.#state = "expiring";
    block.deadlineMs = Infinity;
    timeout.#timer = null;
  };

  static {
    // For the functions beside, which are no part of the interface.
    runInTimeout = (scope, inside) => scope.#run(inside);
  }

  *#run<T>(inside: Inside<T>): Coroutine<T> {
    const task = taskFor("enter a timeout");
    this.#signal?.throwIfAborted();
    const block = this.#block = task.openBlock();
    this.#state = "active";
    this.#requests = requestsBeforeTimeout(block);
    this.#schedule(this.#whenMs);
    const subscription = this.#subscribe();
    let value: T;
    try {
      value = yield* inside(block);
    } catch (error) {
      subscription?.unsubscribe();
      throw this.#leave(error);
    }
    subscription?.unsubscribe();
    this.#leave(null);
    return value;
  }

  #subscribe(): Subscription | null {
    const signal = this.#signal;
    if (signal === undefined) return null;
    return subscribe(signal, () => {
      if (this.#state !== "active") return;
      this.#state = "aborting";
      this.#block!.cancel(signal.reason);
    });
  }

  /** Ends the block; returns the error that is thrown instead of `error`. */
  #leave(error: unknown): unknown {
    this.#timer?.cancel();
    this.#timer = null;
    const block = this.#block!;
    const state = this.#state;
    // The block has made a request: it ends here unless there are others.
    const isOwn = state !== "active" &&
      endsAt(block, error, block.uncancel(), this.#requests);
    this.#state = state === "expiring" ? "expired" : "finished";
    block.close();
    if (!isOwn) return error;
    if (state === "aborting") return this.#signal!.reason;
    return new TimeoutError(`Timed out: it had to be done ${this.#limit}`, {
      cause: error,
    });
  }
}

/**
 * Runs `body`, and cancels it if it takes longer than `delayMs`.
 *
 * Like asyncio's `timeout`. The body runs inside the current task. When the time is over, a {@linkcode CancelledError}
 * is thrown at the point where it waits, once; when the body throws it on, it becomes a {@linkcode TimeoutError}. So a
 * body that takes its time to clean up ends late, and the value of a body that catches the error and returns is
 * returned. If the task, or a scope around, was cancelled as well, it decides: the `CancelledError` goes on.
 * Other errors of the body go on as they are.
 *
 * If the time is over while an async function awaits something that has failed, the
 * failure is delivered first; the request stays due, and its next operation throws.
 * If it ends without another one, its own outcome counts.
 *
 * With a delay of 0 or less the body runs up to its first wait. Timeouts nest;
 * of several with the same deadline the outermost throws. An async body that
 * waits for a foreign promise is not interrupted there: its next operation
 * throws. So pass `scope.signal` to the code that makes the promise, or wait
 * for it with `until`, which ends at once. Costs a few hundred nanoseconds.
 *
 * @example In both styles
 * ```ts
 * import { run, sleep, timeout, TimeoutError } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   await assertRejects(
 *     async () => await timeout(50, async () => await sleep(60)),
 *     TimeoutError,
 *   );
 *   const inTime = timeout(50, function* (scope) {
 *     yield* sleep(40);
 *     return scope.expired();
 *   });
 *   assertEquals(await inTime, false);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param delayMs The limit, in milliseconds from the moment the operation
 * starts; `null` or `Infinity` for none, which the body may set.
 * @param body A generator function or async function, called with the
 * {@linkcode Timeout}.
 * @param options A signal that ends it: its reason is then thrown.
 * @returns An operation of the body's result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `delayMs` is `NaN`.
 * @throws {TimeoutError} If the time was over.
 */
export function timeout<T>(
  delayMs: number | null,
  body: BlockBody<Timeout, T>,
  options: WaitOptions = {},
): Operation<T> {
  const what = "set a timeout";
  if (delayMs !== null) checkNumber(delayMs, what, "delayMs");
  checkFunction(body, what, "body");
  const signal = checkWaitOptions(options, what);
  return new Operation(() => {
    const scope = timeoutAfter(delayMs, signal);
    return runInTimeout(scope, (block) => block.run(body, scope));
  }, { name: "timeout()", whenCancelled: "enter" });
}

/** Makes a timeout whose time begins to run now. */
export function timeoutAfter(
  delayMs: number | null,
  signal: AbortSignal | undefined,
): Timeout {
  const whenMs = delayMs === null ? null : getRunningLoop().time() + delayMs;
  return new Timeout(whenMs, `within ${delayMs} ms`, signal);
}

/**
 * Runs `body`, and cancels it if it is not done at the moment `whenMs`.
 *
 * Like asyncio's `timeout_at`; otherwise like {@linkcode timeout}.
 *
 * @example
 * ```ts
 * import { getRunningLoop, run, sleep, TimeoutError, timeoutAt } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const loop = getRunningLoop();
 *   const endMs = loop.time() + 100;
 *   for (const step of [1, 2]) {
 *     await timeoutAt(endMs, () => sleep(40));
 *     assertEquals(loop.time(), step * 40);
 *   }
 *   await assertRejects(async () => await timeoutAt(endMs, () => sleep(40)), TimeoutError);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param whenMs A moment on the clock of the loop, in milliseconds; `null` for
 * no limit.
 * @param body A generator function or async function, called with the
 * {@linkcode Timeout}.
 * @param options A signal that ends it: its reason is then thrown.
 * @returns An operation of the body's result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `whenMs` is `NaN`.
 * @throws {TimeoutError} If it was not done in time.
 */
export function timeoutAt<T>(
  whenMs: number | null,
  body: BlockBody<Timeout, T>,
  options: WaitOptions = {},
): Operation<T> {
  const what = "set a timeout";
  if (whenMs !== null) checkNumber(whenMs, what, "whenMs");
  checkFunction(body, what, "body");
  const signal = checkWaitOptions(options, what);
  return new Operation(() => {
    const scope = new Timeout(whenMs, "by its deadline", signal);
    return runInTimeout(scope, (block) => block.run(body, scope));
  }, { name: "timeoutAt()", whenCancelled: "enter" });
}
