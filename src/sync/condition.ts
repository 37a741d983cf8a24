import { CancelledError, MisuseError } from "../errors.ts";
import {
  checkFunction,
  checkInteger,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { currentTask } from "../loop/current.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { Lock } from "./lock.ts";
import type { Permit } from "./permit.ts";
import { WaitQueue } from "./wait_queue.ts";

/**
 * Lets tasks that hold a lock wait, without the lock, for a change that another
 * one makes while it holds the lock.
 *
 * It is asyncio's. Several conditions may share one lock. A wait may also end
 * without a reason, so look again, or use {@linkcode waitFor}, which does.
 *
 * @example Waiting for enough
 * ```ts
 * import { Condition, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let coins = 0;
 * const bought = await run(async () => {
 *   const condition = new Condition();
 *   const buyer = getRunningLoop().createTask(function* () {
 *     using _permit = yield* condition.acquire();
 *     yield* condition.waitFor(() => coins >= 2);
 *     return `for ${coins}`;
 *   });
 *   for (let n = 0; n < 3; n++) {
 *     await sleep(10);
 *     using _permit = await condition.acquire();
 *     coins++;
 *     condition.notifyAll();
 *   }
 *   return await buyer;
 * }, { host: "virtual" });
 * assertEquals(bought, "for 2");
 * ```
 */
export class Condition {
  /** The lock under which everything happens. */
  readonly lock: Lock;
  readonly #waiters = new WaitQueue("Condition.wait()");

  /**
   * Makes a condition.
   *
   * @param lock The lock to use; a new one if there is none.
   * @throws {TypeError} If `lock` is not a {@linkcode Lock}.
   */
  constructor(lock: Lock = new Lock()) {
    if (!(lock instanceof Lock)) {
      throw new TypeError(
        `Cannot create a condition as lock must be a Lock: received ${
          inspect(lock)
        }`,
      );
    }
    this.lock = lock;
  }

  /**
   * Takes the lock: {@linkcode Lock.acquire}.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the permit.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return this.lock.acquire(options);
  }

  /**
   * Gives the lock back: {@linkcode Lock.release}.
   *
   * @throws {MisuseError} If nobody has it.
   */
  release(): void {
    this.lock.release();
  }

  /**
   * Tells whether somebody has the lock: {@linkcode Lock.locked}.
   *
   * @returns Whether somebody has.
   */
  locked(): boolean {
    return this.lock.locked();
  }

  /**
   * Gives the lock back, waits to be notified, and takes the lock again.
   *
   * The permit under which it is called is not {@linkcode Permit.held} in
   * between, and is the valid one again afterwards. That is so whatever ends the
   * wait: a cancellation or an abort is only thrown once the lock is back, and
   * one that arrives while the lock is being taken takes the place of an earlier
   * one. Whoever leaves with an error passes the notification on, if it had one.
   * If the permit is given back during the wait, the wait ends without the lock.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives `true`, as asyncio's does.
   * @throws {MisuseError} If nobody has the lock.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  wait(options?: WaitOptions): Operation<true> {
    const signal = checkWaitOptions(options, "wait for a condition");
    return new Operation(() => this.waitOnce(signal), WAIT);
  }

  /**
   * Waits until `predicate` gives something truthy. It is called at once, and
   * after each notification, under the lock.
   *
   * @typeParam T What the predicate gives.
   * @param predicate What to wait for. What it throws ends the wait.
   * @param options A signal that ends the wait.
   * @returns An operation that gives the last result of `predicate`.
   * @throws {MisuseError} If it has to wait and nobody has the lock.
   * @throws {TypeError} If `predicate` is not a function or `signal` not an `AbortSignal`.
   */
  waitFor<T>(predicate: () => T, options?: WaitOptions): Operation<T> {
    checkFunction(predicate, "wait for a condition", "predicate");
    const signal = checkWaitOptions(options, "wait for a condition");
    return new Operation(() => this.waitUntil(predicate, signal), WAIT_FOR);
  }

  /**
   * Wakes the first `count` of those who wait and have not been woken or
   * cancelled. They go on when they get the lock, which the caller still has.
   *
   * @param count How many to wake.
   * @throws {MisuseError} If nobody has the lock.
   * @throws {TypeError} If `count` is not a number.
   * @throws {RangeError} If it is neither an integer >= 0 nor `Infinity`.
   */
  notify(count: number = 1): void {
    checkInteger(count, 0, "notify", "count", "or Infinity");
    if (!this.locked()) {
      throw new MisuseError("Cannot notify: the condition's lock is not held");
    }
    this.wake(count);
  }

  /**
   * Wakes all who wait, in the order in which they came.
   *
   * @throws {MisuseError} If nobody has the lock.
   */
  notifyAll(): void {
    this.notify(Infinity);
  }

  /** Wakes the first `count`, also without the lock. */
  private wake(count: number): void {
    for (let n = 0; n < count; n++) {
      if (this.#waiters.wakeNext() === undefined) return;
    }
  }

  /** Waits again and again. */
  private *waitUntil<T>(
    predicate: () => T,
    signal: AbortSignal | undefined,
  ): Coroutine<T> {
    let result = predicate();
    while (!result) {
      yield* this.waitOnce(signal);
      result = predicate();
    }
    return result;
  }

  /** Waits once, as asyncio's `wait()`. */
  private *waitOnce(signal: AbortSignal | undefined): Coroutine<true> {
    if (!this.locked()) {
      throw new MisuseError(
        "Cannot wait for a condition: its lock is not held",
      );
    }
    signal?.throwIfAborted();
    const waiter = this.#waiters.enter(undefined);
    const permit = this.lock["putAside"]();
    try {
      try {
        // The signal ends this wait, but not that for the lock.
        yield* signal === undefined ? waiter : new Operation(
          () => waiter[Symbol.iterator](),
          { ...WAIT, signal },
        );
      } finally {
        this.#waiters.leave(waiter);
        yield* this.#takeBack(permit);
      }
    } catch (error) {
      // It may have been notified, and cannot make use of it: somebody else may.
      this.wake(1);
      throw error;
    }
    return true;
  }

  /** Takes the lock in any case, and only then throws what has come meanwhile. */
  *#takeBack(permit: ReturnType<Lock["putAside"]>): Coroutine<void> {
    let last: { readonly error: unknown } | null = null;
    let refuse: ((reason: unknown) => void) | undefined;
    for (;;) {
      try {
        yield* this.lock["takeBack"](permit, refuse);
        break;
      } catch (error) {
        // It would be thrown again and again; anything else came from outside.
        if (error instanceof MisuseError) throw error;
        last = { error };
        // So would the cancellation of a scope that is not left yet.
        if (currentTask()?.isLevelCancelled()) {
          refuse = (reason) => {
            last = {
              error: reason instanceof CancelledError
                ? reason
                : new CancelledError(reason),
            };
          };
        }
      }
    }
    if (last !== null) throw last.error;
  }
}

const WAIT = { name: "Condition.wait()" };
const WAIT_FOR = { name: "Condition.waitFor()" };
