/**
 * Cancel scopes, like trio's: parts of a task that stay cancelled until they are
 * left.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import type { Block } from "../loop/block.ts";
import { endsAt, requestsBefore } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkNumber,
  checkOneOf,
  checkWaitOptions,
} from "../loop/checks.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { subscribe } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { type BlockBody, taskFor } from "./block_body.ts";

/** Options of {@linkcode moveOnAfter}, {@linkcode failAfter} and the like. */
export interface ScopeOptions extends WaitOptions {
  /**
   * Whether scopes around this one cannot cancel its body. It does not protect the
   * tasks of a group inside, nor from `task.cancel()`, {@linkcode timeout} and
   * groups.
   *
   * @default {false}
   */
  readonly shield?: boolean | undefined;
}

/** Options of a {@linkcode CancelScope}. */
export interface CancelScopeOptions extends ScopeOptions {
  /**
   * The moment when the scope is cancelled by itself, on the clock of the loop, in
   * milliseconds.
   *
   * @default {Infinity}
   */
  readonly deadlineMs?: number | undefined;
  /**
   * The same as a span in milliseconds, counted from the moment the scope is
   * entered. Give one or the other.
   *
   * @default {Infinity}
   */
  readonly delayMs?: number | undefined;
}

/**
 * The outcome of a {@linkcode CancelScope}'s body: its value, or that the scope's
 * cancellation ended it.
 *
 * @typeParam T The type of the body's result.
 */
export type ScopeOutcome<T> =
  | { readonly cancelledCaught: false; readonly value: T }
  | { readonly cancelledCaught: true; readonly value: undefined };

/** Source of a scope's cancellation. */
type Canceller = "call" | "deadline" | "signal";

/** Why a scope was cancelled. */
interface Cancelled {
  readonly by: Canceller;
  readonly reason: unknown;
}

/**
 * A part of a task that can be cancelled by itself, and stays so. Like trio's
 * `CancelScope`. {@linkcode cancelScope} makes and runs one.
 *
 * Once the scope is cancelled, every wait inside throws a
 * {@linkcode CancelledError}, clean-up included, until the scope is left; there
 * the cancellation ends, without an error. That differs from
 * {@linkcode Task.cancel} and {@linkcode timeout}, which throw once. Clean-up
 * that has to wait does so in a scope with `shield`.
 *
 * Tasks of a group inside are cancelled as by `task.cancel()`, once, also if the
 * group's body is in a scope with `shield`: that protects the body only. If several
 * scopes around a wait are cancelled, the outermost decides where the
 * cancellation ends: it goes through the inner ones. A wait that was interrupted
 * keeps the reason with which that was done first.
 */
export class CancelScope {
  #deadlineMs: number;
  #delayMs: number | undefined;
  #shield: boolean;
  readonly #signal: AbortSignal | undefined;
  /** Left after its body has ended, or caught: after its cancellation has ended the body. */
  #state: "created" | "open" | "left" | "caught" = "created";
  #cancelled: Cancelled | null = null;
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
    this.#signal = checkWaitOptions(options, what);
    const { deadlineMs, delayMs, shield = false } = options;
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
  }

  /**
   * The moment when the scope is cancelled by itself, on the clock of the loop, in
   * milliseconds, or `Infinity`. May be set at any time; a moment that has passed
   * cancels at once. With `delayMs` it is known once the scope is entered.
   *
   * @example A deadline that is set later
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
   * Whether scopes around this one cannot cancel its body. May be set at any time;
   * once it is false, their cancellation arrives at the next wait. The tasks of a
   * group inside are not protected, nor the body from `task.cancel()`,
   * {@linkcode timeout} and groups.
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

  /** Whether the scope was cancelled, by a call, by its deadline or by its signal. */
  get cancelCalled(): boolean {
    return this.#cancelled !== null;
  }

  /** Whether the body was ended by the cancellation; known once the scope is left. */
  get cancelledCaught(): boolean {
    return this.#state === "caught";
  }

  /** The argument of {@linkcode cancel}; `"deadline"` if the deadline has cancelled the scope. */
  get reason(): unknown {
    return this.#cancelled?.reason;
  }

  /**
   * A signal that aborts when the body is cancelled; to hand to `fetch` and the
   * like.
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
   * Cancels the body: every wait throws from now on. Before the scope is entered
   * it takes effect then; a second time, and after it was left, nothing happens.
   *
   * @param reason The cause: the `reason` of the {@linkcode CancelledError}.
   */
  cancel(reason?: unknown): void {
    this.#cancel("call", reason);
  }

  #cancel(by: Canceller, reason: unknown): void {
    const isLeft = this.#state === "left" || this.#state === "caught";
    if (this.#cancelled !== null || isLeft) return;
    this.#cancelled = { by, reason };
    this.#stopTimer();
    if (this.#state === "open") this.#block!.cancel(reason);
  }

  #schedule(): void {
    this.#stopTimer();
    if (this.#cancelled !== null) return;
    const block = this.#block!;
    block.deadlineMs = this.#deadlineMs;
    const { loop } = block.task;
    if (this.#deadlineMs <= loop.time()) CancelScope.#expire(this);
    else if (this.#deadlineMs !== Infinity) {
      this.#timer = loop.callAt(this.#deadlineMs, CancelScope.#expire, this);
    }
  }

  /** The callback of all deadlines. */
  static readonly #expire = (scope: CancelScope): void =>
    scope.#cancel("deadline", "deadline");

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /**
   * Runs `body` inside the scope, as {@linkcode cancelScope} does.
   *
   * @typeParam T The type of the body's result.
   * @param body A generator function or async function.
   * @returns An operation of the outcome.
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
    const block = this.#enter();
    const requests = requestsBefore(block);
    const signal = this.#signal;
    const subscription = signal === undefined
      ? null
      : subscribe(signal, () => this.#cancel("signal", signal.reason));
    let end: "left" | "caught" = "left";
    let value: T | undefined;
    try {
      value = yield* block.run(body, this);
    } catch (error) {
      if (!this.#isOwn(block, error, requests)) throw error;
      end = "caught";
    } finally {
      subscription?.unsubscribe();
      this.#stopTimer();
      this.#state = end;
      block.close();
    }
    if (end === "left") return { cancelledCaught: false, value: value as T };
    if (this.#cancelled!.by === "signal") throw this.#cancelled!.reason;
    return { cancelledCaught: true, value: undefined };
  }

  #enter(): Block {
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
    this.#state = "open";
    if (this.#delayMs !== undefined) {
      this.#deadlineMs = task.loop.time() + this.#delayMs;
    }
    if (this.#cancelled !== null) block.cancel(this.#cancelled.reason);
    else this.#schedule();
    return block;
  }

  /** Whether an error came of cancelling this scope, and of nothing else. */
  #isOwn(block: Block, error: unknown, requests: number): boolean {
    return block.cancellation !== null &&
      endsAt(block, error, block.cancelling(), requests);
  }
}

/**
 * Runs `body` in a {@linkcode CancelScope}: cancelled once, it stays cancelled
 * until the scope is left.
 *
 * Like trio's `CancelScope`. When the scope is cancelled, by
 * {@linkcode CancelScope.cancel}, its deadline or its signal, every wait in the body
 * throws a {@linkcode CancelledError}, ready or not; the outcome then says that it was
 * caught, and there is no error. If the body ends all the same, its value counts.
 * Other errors of the body go on, and so does a cancellation of the task or of a
 * scope around.
 *
 * Scopes nest, and the outermost that is cancelled decides: an inner one that is
 * cancelled too lets the cancellation through. A scope with `shield` keeps the
 * cancellation of scopes around it out, as clean-up needs that waits. It protects
 * its body, not the tasks of a group inside: these are cancelled, once, and the group
 * waits for them. If what an async function awaits has failed, the failure is
 * delivered first, and the next wait throws.
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
 * @typeParam T The type of the body's result.
 * @param body A generator function or async function, called with the scope.
 * @param options Deadline or delay, whether to shield; a signal that cancels
 * the scope: its reason is then thrown.
 * @returns An operation of the outcome.
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
