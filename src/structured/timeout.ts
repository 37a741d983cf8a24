import { CancelledError, MisuseError, TimeoutError } from "../errors.ts";
import { type Block, isFromOutside } from "../loop/block.ts";
import { checkFunction, checkNumber } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future, type Suspension } from "../loop/future.ts";
import type { Handle } from "../loop/handle.ts";
import { claim, Operation, type WaitOptions } from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task.ts";
import { until } from "../loop/until.ts";
import { release } from "./wait.ts";
import {
  checkLoop,
  checkOptions,
  checkWaitable,
  startWaitable,
  taskFor,
  type Waitable,
  type Waited,
} from "./waitable.ts";

/**
 * What a block calls: a generator function or an async function.
 *
 * @typeParam S The block, for the body to hold on to.
 * @typeParam T What the body gives.
 */
export type BlockBody<S, T> = (
  scope: S,
) => Coroutine<T> | PromiseLike<T> | T;

/**
 * The block that {@linkcode timeout} runs a body in: asyncio's `Timeout`.
 */
export class Timeout {
  #state: "created" | "active" | "expiring" | "expired" | "finished" =
    "created";
  #whenMs: number | null;
  /** In words, for the error. */
  #limit: string;
  #block: Block | null = null;
  #timer: Handle | null = null;
  /** The task's requests for cancellation at entry. */
  #requests = 0;
  readonly #signal: AbortSignal | undefined;
  #signalled = false;

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
   * Tells when the time is over.
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
    if (this.#state !== "active") {
      throw new MisuseError(
        `Cannot reschedule a timeout: it is ${this.#state}`,
      );
    }
    this.#limit = "by its deadline";
    this.#schedule(whenMs);
  }

  /**
   * Tells whether the time was over before the body had ended.
   *
   * @returns Whether it was, be the body interrupted yet or not.
   */
  expired(): boolean {
    return this.#state === "expiring" || this.#state === "expired";
  }

  /**
   * A signal that aborts when the time is over, or the task is cancelled; to
   * hand to `fetch` and its like.
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
      ? loop.callSoon(expire, this)
      : loop.callAt(whenMs, expire, this);
  }

  /** The time is over. */
  private expire(): void {
    if (this.#state !== "active" || this.#signalled) return;
    this.#block!.cancel();
    this.#state = "expiring";
    this.#block!.deadlineMs = Infinity;
    this.#timer = null;
  }

  /** Goes through with the body. `call` gives what is to be waited for. */
  private *run<T>(
    call: (block: Block) => Iterable<Suspension, T, unknown>,
  ): Coroutine<T> {
    const task = taskFor("enter a timeout");
    this.#signal?.throwIfAborted();
    const block = this.#block = task.openBlock();
    this.#state = "active";
    this.#requests = block.cancelling();
    this.#schedule(this.#whenMs);
    const subscription = this.#subscribe();
    let value: T;
    try {
      value = yield* call(block);
    } catch (error) {
      subscription?.unsubscribe();
      throw this.#leave(error);
    }
    subscription?.unsubscribe();
    this.#leave(null);
    return value;
  }

  #subscribe(): Subscription | null {
    if (this.#signal === undefined) return null;
    return subscribe(this.#signal, () => {
      if (this.#state !== "active") return;
      this.#signalled = true;
      this.#block!.cancel(this.#signal!.reason);
    });
  }

  /** Ends the block; returns what is to be thrown instead of `error`. */
  #leave(error: unknown): unknown {
    this.#timer?.cancel();
    this.#timer = null;
    const block = this.#block!;
    let outcome = error;
    if (this.#state === "expiring" || this.#signalled) {
      // If there are no other requests, this one is dealt with here.
      if (
        block.uncancel() <= this.#requests &&
        error instanceof CancelledError && !isFromOutside(error, block)
      ) {
        outcome = this.#signalled
          ? this.#signal!.reason
          : new TimeoutError(`Timed out: it had to be done ${this.#limit}`, {
            cause: error,
          });
      }
    }
    this.#state = this.#state === "expiring" ? "expired" : "finished";
    block.close();
    return outcome;
  }
}

/** The callback of all deadlines. */
function expire(timeout: Timeout): void {
  timeout["expire"]();
}

/**
 * Runs `body`, and cancels it if it takes longer than `delayMs`.
 *
 * It is asyncio's `timeout`. The body runs inside the current task. When the
 * time is over, a {@linkcode CancelledError} is thrown at the point where it
 * waits, once; when that has come out of the body, it becomes a
 * {@linkcode TimeoutError}. So a body that takes its time to clean up ends late,
 * and one that catches the error and returns has its value returned. If the task
 * was cancelled as well, that goes first and the `CancelledError` goes on.
 * Other errors of the body go on as they are.
 *
 * With a delay of 0 or less the body runs up to its first wait. Timeouts nest;
 * of several with the same deadline the outermost throws. An async function that
 * waits for a promise from outside is not interrupted there, so hand
 * `scope.signal` to whatever made it. Costs a few hundred nanoseconds.
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
 * @typeParam T What the body gives.
 * @param delayMs How long, in milliseconds from the moment the operation
 * starts; `null` or `Infinity` for no limit, which the body may set.
 * @param body A generator function or async function; it is given the
 * {@linkcode Timeout}.
 * @param options A signal that ends it: its reason is then thrown.
 * @returns An operation that gives what the body gives.
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
  checkOptions(options, what);
  return new Operation(() => {
    const scope = after(delayMs, options.signal);
    return scope["run"]((block) => block.run(body, scope));
  }, { name: "timeout()", whenCancelled: "enter" });
}

function after(
  delayMs: number | null,
  signal: AbortSignal | undefined,
): Timeout {
  const whenMs = delayMs === null ? null : getRunningLoop().time() + delayMs;
  return new Timeout(whenMs, `within ${delayMs} ms`, signal);
}

/**
 * Runs `body`, and cancels it if it is not done at the moment `whenMs`.
 *
 * In all else it is {@linkcode timeout}.
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
 * @typeParam T What the body gives.
 * @param whenMs A moment on the clock of the loop, in milliseconds; `null` for
 * no limit.
 * @param body A generator function or async function.
 * @param options A signal that ends it: its reason is then thrown.
 * @returns An operation that gives what the body gives.
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
  checkOptions(options, what);
  return new Operation(() => {
    const scope = new Timeout(whenMs, "by its deadline", options.signal);
    return scope["run"]((block) => block.run(body, scope));
  }, { name: "timeoutAt()", whenCancelled: "enter" });
}

/**
 * Waits for something for at most `timeoutMs`; then it is cancelled.
 *
 * It is asyncio's `wait_for`: a {@linkcode timeout} around a wait in the current
 * task. A future or task that is not done in time is cancelled, and the wait
 * goes on until it has ended; put it into a {@linkcode shield} to let it live.
 * Only a promise is left alone.
 *
 * With a limit of 0 or less it gives the result of a future that is done. Anything
 * else is cancelled, a coroutine before it has begun.
 *
 * @example
 * ```ts
 * import { Queue, run, TimeoutError, waitFor } from "@rota/rota";
 * import { assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const queue = new Queue<string>();
 *   await assertRejects(async () => await waitFor(queue.get(), 100), TimeoutError);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam W What is waited for.
 * @param waitable A future, task, function, coroutine, operation or promise.
 * @param timeoutMs How long, in milliseconds; `null` for no limit.
 * @param options A signal that ends it: its reason is then thrown.
 * @returns An operation that gives the result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `timeoutMs` is `NaN`.
 * @throws {TimeoutError} If it was not done in time.
 */
export function waitFor<W extends Waitable<unknown>>(
  waitable: W,
  timeoutMs: number | null,
  options: WaitOptions = {},
): Operation<Waited<W>> {
  const what = "wait for something";
  checkWaitable(waitable, what, "waitable");
  if (timeoutMs !== null) checkNumber(timeoutMs, what, "timeoutMs");
  checkOptions(options, what);
  claim(waitable); // who forgets this one is told of this one
  return new Operation(
    (() =>
      timeoutMs !== null && timeoutMs <= 0
        ? withoutTime(waitable, options.signal)
        : after(timeoutMs, options.signal)["run"]((block) =>
          typeof waitable === "function"
            ? block.run(waitable, undefined)
            : Symbol.iterator in waitable
            ? waitable as Iterable<Suspension, unknown, unknown>
            : until(waitable)
        )) as () => Coroutine<Waited<W>>,
    { name: "waitFor()" },
  );
}

function* withoutTime<T>(
  waitable: Waitable<T>,
  signal: AbortSignal | undefined,
): Coroutine<T> {
  signal?.throwIfAborted();
  const loop = getRunningLoop();
  checkLoop(waitable, loop, "wait for something");
  const future = startWaitable(waitable, loop);
  if (future.done()) return future.result();
  const waiter = new Future<void>(loop, "a cancelled future in waitFor()");
  const ended = () => release(waiter);
  future.addDoneCallback(ended);
  try {
    future.cancel();
    // Not the future itself, so that this wait can be cancelled too.
    yield* new Operation(() => waiter[Symbol.iterator](), { signal });
  } finally {
    future.removeDoneCallback(ended);
  }
  try {
    return future.result();
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    throw new TimeoutError("Timed out: it had to be done at once", {
      cause: error,
    });
  }
}
