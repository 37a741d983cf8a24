import { checkWaitOptions } from "./checks.ts";
import { findTask } from "./current.ts";
import type { Suspension } from "./future.ts";
import {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./operation.ts";
import { Outcome } from "./promise_wait.ts";
import type { Coroutine } from "./task.ts";

/**
 * An operation that is often over at once: it tries, and only if that fails
 * runs a generator that waits. Locks and queues are built on it.
 *
 * It is an iterator of its own, and `await` makes no wait for what is over at
 * once, so that the uncontended case costs little.
 *
 * @example A counter that one may only take from while it is above zero
 * ```ts
 * import { AttemptOperation, type Coroutine, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let count = 1;
 * class Take extends AttemptOperation<number> {
 *   protected attempt(): IteratorReturnResult<number> | undefined {
 *     return count > 0 ? { done: true, value: --count } : undefined;
 *   }
 *   protected *wait(): Coroutine<number> {
 *     while (count === 0) yield* sleep(1);
 *     return --count;
 *   }
 * }
 * const taken = await run(async () => {
 *   return await new Take({ name: "take" }, {});
 * });
 * assertEquals([taken, count], [0, 0]);
 * ```
 *
 * @typeParam T What waiting for it gives.
 */
export abstract class AttemptOperation<T> extends Operation<T> {
  private waiting: Coroutine<T> | null = null;

  /**
   * Makes an operation. Nothing is tried yet.
   *
   * @param named An object that has the name and nothing else, shared by all of a kind.
   * @param options What the caller gave.
   * @throws {TypeError} If `options` is not an object or `signal` not an `AbortSignal`.
   */
  constructor(named: OperationOptions, options: WaitOptions | undefined) {
    super(
      undefined,
      options === undefined ? named : withSignal(named, options),
    );
  }

  /**
   * Does it now if that is possible.
   *
   * @returns The result in the form an iterator gives it, or `undefined`.
   */
  protected abstract attempt(): IteratorReturnResult<T> | undefined;

  /**
   * Waits until it is possible, and does it.
   *
   * @returns A coroutine that gives the result.
   */
  protected abstract wait(): Coroutine<T>;

  /**
   * Gives the iterator that does the waiting: this object.
   *
   * @returns This object.
   */
  protected override begin(): Iterator<Suspension, T, unknown> {
    return this as unknown as Iterator<Suspension, T, unknown>;
  }

  /**
   * Starts the operation in an async function: `await operation` calls this.
   *
   * @param onFulfilled What to call with the result; at once, if it is over at once.
   * @param onRejected What to call with the error.
   * @returns What the callback returned.
   * @throws {MisuseError} If the operation was started before.
   */
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const task = findTask();
    if (
      task === null || typeof onFulfilled !== "function" ||
      typeof onRejected !== "function" ||
      this["options"].signal !== undefined || task["isInterrupted"]() ||
      !task.loop["mayStartAtOnce"]()
    ) return super.then(onFulfilled, onRejected);
    this.start();
    let result: IteratorReturnResult<T> | undefined;
    try {
      result = this.attempt();
    } catch (error) {
      const outcome = new Outcome<A | B>();
      outcome.follow(task.loop, onRejected, error);
      return outcome;
    }
    if (result === undefined) {
      return this["waitIn"](task, onFulfilled, onRejected);
    }
    const outcome = new Outcome<A | B>();
    outcome.follow(task.loop, onFulfilled, result.value);
    return outcome;
  }

  // The iterator, for `yield*` only.

  /** Goes on with the wait, as the iterator of a `yield*` expression. */
  private next(): IteratorResult<Suspension, T> {
    if (this.waiting === null) {
      const result = this.attempt();
      if (result !== undefined) return result;
      this.waiting = this.wait();
    }
    return this.waiting.next();
  }

  /** Throws an error into the wait. */
  private throw(error: unknown): IteratorResult<Suspension, T> {
    if (this.waiting === null) throw error;
    return this.waiting.throw(error);
  }

  /** Ends the wait with a value. */
  private return(value: T): IteratorResult<Suspension, T> {
    return this.waiting === null
      ? { done: true, value }
      : this.waiting.return(value);
  }
}

/** The options of the operation: those of its kind, with the signal of the caller. */
function withSignal(
  named: OperationOptions,
  options: WaitOptions,
): OperationOptions {
  const what = `wait for ${named?.name ?? "an operation"}`;
  const signal = checkWaitOptions(options, what);
  return signal === undefined ? named : { ...named, signal };
}
