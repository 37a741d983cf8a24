/**
 * Blocks that end early: cancel scopes, trio's, and timeouts, asyncio's.
 *
 * @module
 */
import { MisuseError, TimeoutError } from "../errors.ts";
import { type Block, currentBlock } from "../loop/block.ts";
import {
  endsAt,
  isCancellation,
  requestsBefore,
  requestsBeforeTimeout,
} from "../loop/cancellation.ts";
import { checkFunction, checkNumber, checkOneOf } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future, type Suspension } from "../loop/future.ts";
import type { Handle } from "../loop/handle.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { claim, Operation, type WaitOptions } from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task.ts";
import { until } from "../loop/until.ts";
import {
  checkLoop,
  checkOptions,
  checkWaitable,
  release,
  startWaitable,
  taskFor,
  type Waitable,
  type Waited,
} from "./wait.ts";

/** How to make a {@linkcode CancelScope}. */
export interface CancelScopeOptions extends WaitOptions {
  /**
   * When the scope is cancelled by itself: a moment on the clock of the loop, in
   * milliseconds.
   *
   * @default {Infinity}
   */
  readonly deadlineMs?: number | undefined;
  /**
   * The same as a span, counted from the moment the scope is entered. Give one
   * or the other.
   *
   * @default {Infinity}
   */
  readonly delayMs?: number | undefined;
  /**
   * Whether scopes around this one cannot cancel what is inside.
   *
   * @default {false}
   */
  readonly shield?: boolean | undefined;
}

/**
 * What became of a {@linkcode CancelScope}'s body: its value, or that the scope's
 * cancellation ended it.
 *
 * @typeParam T What the body gives.
 */
export type ScopeOutcome<T> =
  | { readonly cancelledCaught: false; readonly value: T }
  | { readonly cancelledCaught: true; readonly value: undefined };

/**
 * A part of a task that can be cancelled by itself, and stays so: trio's cancel
 * scope. {@linkcode cancelScope} makes and runs one.
 *
 * Once the scope is cancelled, every wait inside throws a
 * {@linkcode CancelledError}, clean-up included, until the scope is left; there
 * the cancellation ends, without an error. That differs from
 * {@linkcode Task.cancel} and {@linkcode timeout}, which throw once. Clean-up
 * that has to wait does so in a scope with `shield`.
 *
 * Tasks of a group inside are cancelled as by `task.cancel()`, once.
 */
export class CancelScope {
  #deadlineMs: number;
  #delayMs: number | undefined;
  #shield: boolean;
  readonly #signal: AbortSignal | undefined;
  #signalled = false;
  #state: "created" | "open" | "left" = "created";
  #called: { readonly reason: unknown } | null = null;
  #caught = false;
  #block: Block | null = null;
  #timer: TimerHandle | null = null;

  /**
   * Makes a scope, which may be handed out, and cancelled, before it runs.
   *
   * @param options Deadline or delay, whether to shield; a signal that cancels
   * the scope: its reason is then thrown.
   * @throws {TypeError} If an option is of the wrong type, or both deadline and
   * delay are given.
   * @throws {RangeError} If a number is `NaN`.
   */
  constructor(options: CancelScopeOptions = {}) {
    const what = "make a cancel scope";
    checkOptions(options, what);
    const { deadlineMs, delayMs, shield = false, signal } = options;
    if (deadlineMs !== undefined) checkNumber(deadlineMs, what, "deadlineMs");
    if (delayMs !== undefined) checkNumber(delayMs, what, "delayMs");
    if (deadlineMs !== undefined && delayMs !== undefined) {
      throw new TypeError(
        `Cannot ${what} as only one of deadlineMs and delayMs may be given: received both`,
      );
    }
    checkOneOf(shield, [true, false], what, "shield");
    this.#deadlineMs = deadlineMs ?? Infinity;
    this.#delayMs = delayMs;
    this.#shield = shield;
    this.#signal = signal;
  }

  /**
   * When the scope is cancelled by itself: a moment on the clock of the loop,
   * in milliseconds, or `Infinity`. May be set at any time; a moment that has
   * passed cancels at once. With `delayMs` it is known once the scope is entered.
   *
   * @example Time that starts to run late
   * ```ts
   * import { cancelScope, getRunningLoop, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await run(async () => {
   *   const loop = getRunningLoop();
   *   const { cancelledCaught } = await cancelScope(async (scope) => {
   *     await sleep(100); // may take as long as it likes
   *     scope.deadlineMs = loop.time() + 10;
   *     await sleep(100);
   *   });
   *   assertEquals([cancelledCaught, loop.time()], [true, 110]);
   * }, { host: "virtual" });
   * ```
   *
   * @throws {TypeError} If it is set to something else than a number.
   * @throws {RangeError} If it is set to `NaN`.
   */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  set deadlineMs(deadlineMs: number) {
    checkNumber(deadlineMs, "set the deadline of a cancel scope", "deadlineMs");
    this.#deadlineMs = deadlineMs;
    this.#delayMs = undefined;
    if (this.#state === "open") this.#schedule();
  }

  /**
   * Whether scopes around this one cannot cancel what is inside. May be set at
   * any time; once it is false, their cancellation arrives at the next wait.
   *
   * @throws {TypeError} If it is set to something else than a boolean.
   */
  get shield(): boolean {
    return this.#shield;
  }

  set shield(shield: boolean) {
    checkOneOf(shield, [true, false], "shield a cancel scope", "shield");
    this.#shield = shield;
    if (this.#state === "open") this.#block!.shielded = shield;
  }

  /** Whether the scope was cancelled, by a call or by its deadline. */
  get cancelCalled(): boolean {
    return this.#called !== null;
  }

  /** Whether the body was ended by the cancellation; known once the scope is left. */
  get cancelledCaught(): boolean {
    return this.#caught;
  }

  /** What was given to {@linkcode cancel}. */
  get reason(): unknown {
    return this.#called?.reason;
  }

  /**
   * A signal that aborts when what is inside is cancelled; to hand to `fetch`
   * and its like.
   *
   * @throws {MisuseError} If the scope was not entered yet.
   */
  get signal(): AbortSignal {
    if (this.#block === null) {
      throw new MisuseError(
        "Cannot get the signal of a cancel scope: it has not been entered",
      );
    }
    return this.#block.signal;
  }

  /**
   * Cancels what is inside: every wait throws from now on. Before the scope is
   * entered it takes effect then; a second time, and after it was left, nothing
   * happens.
   *
   * @param reason What to say about the cause: the `reason` of the
   * {@linkcode CancelledError}.
   */
  cancel(reason?: unknown): void {
    if (this.#called !== null || this.#state === "left") return;
    this.#called = { reason };
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#state === "open") this.#block!.cancel(reason);
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#called !== null) return;
    const block = this.#block!;
    block.deadlineMs = this.#deadlineMs;
    const { loop } = block.task;
    if (this.#deadlineMs <= loop.time()) this.cancel("deadline");
    else if (this.#deadlineMs !== Infinity) {
      this.#timer = loop.callAt(this.#deadlineMs, expireScope, this);
    }
  }

  /**
   * Runs `body` inside the scope: what {@linkcode cancelScope} does.
   *
   * @typeParam T What the body gives.
   * @param body A generator function or async function.
   * @returns An operation that tells how it ended.
   * @throws {TypeError} If `body` is not a function.
   * @throws {MisuseError} If the scope was run before.
   */
  run<T>(body: BlockBody<this, T>): Operation<ScopeOutcome<T>> {
    checkFunction(body, "run a cancel scope", "body");
    return new Operation(() => this.#run(body), {
      name: "a cancel scope",
      whenCancelled: "enter",
    });
  }

  *#run<T>(body: BlockBody<this, T>): Coroutine<ScopeOutcome<T>> {
    if (this.#state !== "created") {
      throw new MisuseError(
        "Cannot enter a cancel scope: it has been entered before",
      );
    }
    const task = taskFor("enter a cancel scope");
    this.#signal?.throwIfAborted();
    const block = this.#block = task.openBlock({
      cancels: "level",
      shielded: this.#shield,
    });
    const requests = requestsBefore(block);
    this.#state = "open";
    if (this.#delayMs !== undefined) {
      this.#deadlineMs = task.loop.time() + this.#delayMs;
    }
    if (this.#called !== null) block.cancel(this.#called.reason);
    else this.#schedule();
    const subscription = this.#signal === undefined
      ? null
      : subscribe(this.#signal, () => {
        this.#signalled = this.#called === null;
        this.cancel(this.#signal!.reason);
      });
    let value: T | undefined;
    try {
      value = yield* block.run(body, this);
    } catch (error) {
      if (!this.#isOwn(error, requests)) throw error;
      this.#caught = true;
    } finally {
      subscription?.unsubscribe();
      this.#timer?.cancel();
      this.#timer = null;
      this.#state = "left";
      block.close();
    }
    if (!this.#caught) return { cancelledCaught: false, value: value as T };
    if (this.#signalled) throw this.#signal!.reason;
    return { cancelledCaught: true, value: undefined };
  }

  /** Whether an error is what came of cancelling this scope, and of nothing else. */
  #isOwn(error: unknown, requests: number): boolean {
    const block = this.#block!;
    return block.cancellation !== null &&
      endsAt(block, error, block.cancelling(), requests);
  }
}

/** The callback of all deadlines. */
function expireScope(scope: CancelScope): void {
  scope.cancel("deadline");
}

/**
 * Runs `body` in a {@linkcode CancelScope}: cancelled once, it stays cancelled
 * until the scope is left.
 *
 * It is trio's. When the scope is cancelled, by {@linkcode CancelScope.cancel}
 * or its deadline, every wait in the body throws a {@linkcode CancelledError};
 * the outcome then tells that it was caught, and there is no error. If the body
 * ends all the same, its value counts. Other errors of the body go on, and so
 * does a cancellation of the task or of a scope around. Scopes nest; one with
 * `shield` keeps the cancellation of those around it out, as clean-up needs
 * that waits.
 *
 * The body runs inside the current task.
 *
 * @example Clean-up that may take a second
 * ```ts
 * import { cancelScope, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const outcome = await run(function* () {
 *   return yield* cancelScope(function* (scope) {
 *     try {
 *       scope.cancel("not needed");
 *       yield* sleep(10);
 *     } finally {
 *       yield* cancelScope(function* () {
 *         yield* sleep(10);
 *         log.push("said goodbye");
 *       }, { shield: true, delayMs: 1_000 });
 *     }
 *   });
 * }, { host: "virtual" });
 * assertEquals(outcome, { cancelledCaught: true, value: undefined });
 * assertEquals(log, ["said goodbye"]);
 * ```
 *
 * @typeParam T What the body gives.
 * @param body A generator function or async function; it is given the scope.
 * @param options Deadline or delay, whether to shield; a signal that cancels
 * the scope: its reason is then thrown.
 * @returns An operation that tells how it ended.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If a number is `NaN`.
 */
export function cancelScope<T>(
  body: BlockBody<CancelScope, T>,
  options: CancelScopeOptions = {},
): Operation<ScopeOutcome<T>> {
  checkFunction(body, "run a cancel scope", "body");
  return new CancelScope(options).run(body);
}

/**
 * Runs `body` for at most `delayMs` milliseconds, and goes on without it.
 *
 * It is trio's: a {@linkcode cancelScope} with a deadline. With a delay of 0 or
 * less the first wait throws.
 *
 * @example A guess instead of the answer
 * ```ts
 * import { moveOnAfter, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const price = await run(async () => {
 *   const asked = await moveOnAfter(100, () => sleep(5_000, { value: 42 }));
 *   return asked.cancelledCaught ? 40 : asked.value;
 * }, { host: "virtual" });
 * assertEquals(price, 40);
 * ```
 *
 * @typeParam T What the body gives.
 * @param delayMs How long, in milliseconds from the moment the operation starts.
 * @param body A generator function or async function; it is given the scope.
 * @param options A signal: its reason is then thrown.
 * @returns An operation that tells how it ended.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `delayMs` is `NaN`.
 */
export function moveOnAfter<T>(
  delayMs: number,
  body: BlockBody<CancelScope, T>,
  options: WaitOptions = {},
): Operation<ScopeOutcome<T>> {
  checkNumber(delayMs, "move on", "delayMs");
  checkFunction(body, "move on", "body");
  checkOptions(options, "move on");
  return cancelScope(body, { signal: options.signal, delayMs });
}

/**
 * Runs `body` until the moment `deadlineMs`, and goes on without it. In all else
 * it is {@linkcode moveOnAfter}.
 *
 * @example
 * ```ts
 * import { getRunningLoop, moveOnAt, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const endMs = getRunningLoop().time() + 10;
 *   const { cancelledCaught } = yield* moveOnAt(endMs, () => sleep(20));
 *   assertEquals(cancelledCaught, true);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T What the body gives.
 * @param deadlineMs A moment on the clock of the loop, in milliseconds.
 * @param body A generator function or async function; it is given the scope.
 * @param options A signal: its reason is then thrown.
 * @returns An operation that tells how it ended.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `deadlineMs` is `NaN`.
 */
export function moveOnAt<T>(
  deadlineMs: number,
  body: BlockBody<CancelScope, T>,
  options: WaitOptions = {},
): Operation<ScopeOutcome<T>> {
  checkNumber(deadlineMs, "move on", "deadlineMs");
  checkFunction(body, "move on", "body");
  checkOptions(options, "move on");
  return cancelScope(body, { signal: options.signal, deadlineMs });
}

/**
 * Runs `body` for at most `delayMs` milliseconds, and throws if that did not do.
 *
 * It is trio's: {@linkcode moveOnAfter} with a {@linkcode TimeoutError} at the
 * end. Unlike in a {@linkcode timeout}, every wait in the body throws once the
 * time is over, clean-up included.
 *
 * @example
 * ```ts
 * import { failAfter, run, sleep, TimeoutError } from "@rota/rota";
 * import { assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   await assertRejects(async () => await failAfter(100, () => sleep(200)), TimeoutError);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T What the body gives.
 * @param delayMs How long, in milliseconds from the moment the operation starts.
 * @param body A generator function or async function; it is given the scope.
 * @param options A signal: its reason is then thrown.
 * @returns An operation that gives what the body gives.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `delayMs` is `NaN`.
 * @throws {TimeoutError} If the time was over.
 */
export function failAfter<T>(
  delayMs: number,
  body: BlockBody<CancelScope, T>,
  options: WaitOptions = {},
): Operation<T> {
  checkNumber(delayMs, "set a time limit", "delayMs");
  checkFunction(body, "set a time limit", "body");
  checkOptions(options, "set a time limit");
  const scope = new CancelScope({ signal: options.signal, delayMs });
  return orFail(scope, body, "failAfter()", `within ${delayMs} ms`);
}

/**
 * Runs `body` until the moment `deadlineMs`, and throws if that did not do. In
 * all else it is {@linkcode failAfter}.
 *
 * @example
 * ```ts
 * import { failAt, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const endMs = getRunningLoop().time() + 10;
 *   assertEquals(yield* failAt(endMs, () => sleep(5, { value: "in time" })), "in time");
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T What the body gives.
 * @param deadlineMs A moment on the clock of the loop, in milliseconds.
 * @param body A generator function or async function; it is given the scope.
 * @param options A signal: its reason is then thrown.
 * @returns An operation that gives what the body gives.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `deadlineMs` is `NaN`.
 * @throws {TimeoutError} If the time was over.
 */
export function failAt<T>(
  deadlineMs: number,
  body: BlockBody<CancelScope, T>,
  options: WaitOptions = {},
): Operation<T> {
  checkNumber(deadlineMs, "set a time limit", "deadlineMs");
  checkFunction(body, "set a time limit", "body");
  checkOptions(options, "set a time limit");
  const scope = new CancelScope({ signal: options.signal, deadlineMs });
  return orFail(scope, body, "failAt()", "by its deadline");
}

function orFail<T>(
  scope: CancelScope,
  body: BlockBody<CancelScope, T>,
  name: string,
  limit: string,
): Operation<T> {
  return new Operation(function* () {
    const outcome = yield* scope.run(body);
    if (!outcome.cancelledCaught) return outcome.value;
    throw new TimeoutError(`Timed out: it had to be done ${limit}`);
  }, { name, whenCancelled: "enter" });
}

/**
 * Tells when, at the latest, what runs now will be cancelled because its time is
 * over: the earliest deadline of all {@linkcode CancelScope}s and
 * {@linkcode timeout}s around it in its task. Scopes outside of one with
 * `shield` do not count.
 *
 * @example How much time is left for it
 * ```ts
 * import { currentEffectiveDeadline, moveOnAfter, run, timeout } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   assertEquals(currentEffectiveDeadline(), Infinity);
 *   yield* timeout(50, function* () {
 *     yield* moveOnAfter(100, function* () {
 *       assertEquals(currentEffectiveDeadline(), 50);
 *     });
 *   });
 * }, { host: "virtual" });
 * ```
 *
 * @returns A moment on the clock of the loop, in milliseconds: `Infinity` if
 * there is no limit, `-Infinity` if a scope has been cancelled already.
 */
export function currentEffectiveDeadline(): number {
  let deadlineMs = Infinity;
  let shielded = false;
  for (let block = currentBlock(); block !== null; block = block.outer) {
    if (!shielded || block.cancels === "once") {
      if (block.cancellation !== null) return -Infinity;
      deadlineMs = Math.min(deadlineMs, block.deadlineMs);
    }
    shielded ||= block.shielded;
  }
  return deadlineMs;
}

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
      ? loop.callSoon(expireTimeout, this)
      : loop.callAt(whenMs, expireTimeout, this);
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
    this.#requests = requestsBeforeTimeout(block);
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
        endsAt(block, error, block.uncancel(), this.#requests)
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
function expireTimeout(timeout: Timeout): void {
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
    if (!isCancellation(error)) throw error;
    throw new TimeoutError("Timed out: it had to be done at once", {
      cause: error,
    });
  }
}
