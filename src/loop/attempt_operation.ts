/**
 * Operations that first try to do without a wait: `acquire`, `get`, `put` and
 * the like.
 *
 * @module
 */
import { checkWaitOptions } from "./checks.ts";
import type { Suspension } from "./future.ts";
import {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./operation.ts";
import { Outcome } from "./promise_wait.ts";
import { findStrand } from "./strand.ts";
import type { Coroutine } from "./task_body.ts";

/**
 * An operation that can often succeed at once: it tries first, and runs a
 * generator that waits only if the attempt fails. Locks and queues are built on
 * it.
 *
 * The uncontended case costs little: an operation that succeeds at once is its
 * own iterator, and `await` makes no wait for it.
 *
 * @example A counter that can only be decremented while it is above zero
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
 * @typeParam T Type of the result.
 */
export abstract class AttemptOperation<T> extends Operation<T> {
  private result: IteratorReturnResult<T> | null = null;

  /**
   * Makes an operation. Nothing is tried yet.
   *
   * @param named An object that has the name and nothing else, shared by all of a kind.
   * @param options Options given by the caller.
   * @throws {TypeError} If `options` is not an object or `signal` not an `AbortSignal`.
   */
  constructor(named: OperationOptions, options: WaitOptions | undefined) {
    super(
      undefined,
      options === undefined ? named : withSignal(named, options),
    );
  }

  /**
   * Tries to do it now, without waiting.
   *
   * @returns The result as an iterator returns it, or `undefined` if the
   * operation has to wait.
   */
  protected abstract attempt(): IteratorReturnResult<T> | undefined;

  /**
   * Waits until the operation is possible, and does it.
   *
   * @returns A coroutine that returns the result.
   */
  protected abstract wait(): Coroutine<T>;

  /**
   * Tries, and returns the iterator to step: the wait itself, so that this
   * object need not outlive the attempt, or this object if there is no wait.
   *
   * @returns An iterator, for `yield*` only.
   */
  protected override begin(): Iterator<Suspension, T, unknown> {
    const result = this.attempt();
    if (result === undefined) return this.wait();
    this.result = result;
    return this as unknown as Iterator<Suspension, T, unknown>;
  }

  /**
   * Starts the operation in an async function: `await operation` calls this.
   *
   * @param onFulfilled Called with the result; at once, if the attempt
   * succeeds.
   * @param onRejected Called with the error.
   * @returns The value that the callback returned.
   * @throws {MisuseError} If the operation was started before.
   */
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const strand = findStrand();
    if (
      strand === null || typeof onFulfilled !== "function" ||
      typeof onRejected !== "function" ||
      this.options.signal !== undefined || strand.due !== null ||
      strand.level !== null || !strand.runner!.kernel.mayStartAtOnce()
    ) return super.then(onFulfilled, onRejected);
    const { kernel } = strand.runner!;
    const madeAt = this.madeAt();
    this.start();
    let result: IteratorReturnResult<T> | undefined;
    try {
      result = this.attempt();
    } catch (error) {
      const outcome = new Outcome<A | B>();
      outcome.follow(kernel, onRejected, error);
      return outcome;
    }
    if (result === undefined) {
      const wait = this.waitIn(strand, onFulfilled, onRejected);
      if (madeAt !== null) kernel.debug.keepStack(wait, madeAt);
      return wait;
    }
    const outcome = new Outcome<A | B>();
    outcome.follow(kernel, onFulfilled, result.value);
    return outcome;
  }

  /** Returns the result, as the iterator of a `yield*` expression. */
  private next(): IteratorResult<Suspension, T> {
    return this.result!;
  }
}

/**
 * Asks whether the async function that runs may have a result without a wait, as `then` of an
 * {@linkcode AttemptOperation} gives it: nothing is due in its task, and it has not gone on so
 * too often. A caller that is told yes hands out the result, and nothing else.
 */
export function mayGoOnAtOnce(): boolean {
  const strand = findStrand();
  if (strand === null || strand.due !== null || strand.level !== null) {
    return false;
  }
  const { kernel } = strand.runner!;
  if (!kernel.mayStartAtOnce()) return false;
  kernel.promiseResumed = true;
  return true;
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
