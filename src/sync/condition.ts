/**
 * Waiting, without a lock, for a change that is made under the lock.
 *
 * @module
 */
import { cancellation } from "../loop/cancellation.ts";
import { MisuseError } from "../errors.ts";
import {
  checkFunction,
  checkInteger,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { findTask } from "../loop/current.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import {
  Lock,
  lockInternals,
  type LockPermit,
  type LockStatistics,
} from "./lock.ts";
import type { Permit } from "./permit.ts";
import { type Waiter, WaitQueue } from "./wait_queue.ts";

/** Has the waits for a condition, which was just made, go by the name of what is built on it. */
export let waitAs: (
  condition: Condition,
  label: string,
  owner: object,
) => void;

/** Snapshot of a condition: the result of {@linkcode Condition.statistics}. */
export interface ConditionStatistics {
  /** How many tasks wait for a notification. */
  readonly tasksWaiting: number;
  /** The largest `tasksWaiting` so far. */
  readonly tasksWaitingPeak: number;
  /** The numbers of the lock. */
  readonly lock: LockStatistics;
}

/**
 * A condition variable: tasks that hold a lock wait, without the lock, until
 * another task, which holds it meanwhile, notifies them of a change.
 *
 * Like asyncio's `Condition`. Several conditions may share one lock. A wait may
 * also end without a change, so look again, or use {@linkcode waitFor}, which
 * does.
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
  /** The lock that guards the condition. */
  readonly lock: Lock;
  #waiters = new WaitQueue("Condition.wait()", this);

  static {
    waitAs = (condition, label, owner) => {
      condition.#waiters = new WaitQueue(label, owner);
    };
  }

  /**
   * Makes a condition.
   *
   * @param lock The lock to use; a new one by default.
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
   * Acquires the lock: {@linkcode Lock.acquire}. From a plain callback, use
   * `condition.lock.tryAcquire()`.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the permit.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return this.lock.acquire(options);
  }

  /**
   * Releases the lock: {@linkcode Lock.release}.
   *
   * @throws {MisuseError} If it is not held.
   */
  release(): void {
    this.lock.release();
  }

  /**
   * Returns whether the lock is held: {@linkcode Lock.locked}.
   *
   * @returns Whether it is.
   */
  locked(): boolean {
    return this.lock.locked();
  }

  /**
   * Releases the lock, waits for a notification, and acquires the lock again.
   *
   * The permit under which it is called is not {@linkcode Permit.held} in
   * between, and is valid again afterwards, whatever ends the wait: a
   * cancellation or an abort is thrown only once the lock is acquired again,
   * and one that arrives during that takes the place of an earlier one. A
   * waiter that leaves with an error wakes the next one in its place, so that no
   * notification is lost. If the permit is released during the wait, the wait
   * ends without the lock.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is `true`, as in asyncio.
   * @throws {MisuseError} If the lock is not held.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  wait(options?: WaitOptions): Operation<true> {
    const signal = checkWaitOptions(options, "wait for a condition");
    return new Operation(() => this.#wait(signal), WAIT);
  }

  /**
   * Waits until `predicate` returns something truthy. The predicate is called at
   * once and after each notification, under the lock.
   *
   * @typeParam T The result of the predicate.
   * @param predicate The condition to wait for. An error that it throws ends the wait.
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the last result of `predicate`.
   * @throws {MisuseError} If it has to wait and the lock is not held.
   * @throws {TypeError} If `predicate` is not a function or `signal` not an `AbortSignal`.
   */
  waitFor<T>(predicate: () => T, options?: WaitOptions): Operation<T> {
    checkFunction(predicate, "wait for a condition", "predicate");
    const signal = checkWaitOptions(options, "wait for a condition");
    return new Operation(() => this.#waitFor(predicate, signal), WAIT_FOR);
  }

  /**
   * Wakes the first `count` waiters that are neither woken nor cancelled. They
   * go on when they acquire the lock, which the caller still holds.
   *
   * @param count How many to wake.
   * @throws {MisuseError} If the lock is not held.
   * @throws {TypeError} If `count` is not a number.
   * @throws {RangeError} If it is neither an integer >= 0 nor `Infinity`.
   */
  notify(count: number = 1): void {
    checkInteger(count, 0, "notify", "count", "or Infinity");
    if (!this.locked()) {
      throw new MisuseError("Cannot notify: the condition's lock is not held");
    }
    for (let n = 0; n < count; n++) {
      if (this.#waiters.wakeNext() === undefined) return;
    }
  }

  /**
   * Wakes all waiters, in the order in which they came.
   *
   * @throws {MisuseError} If the lock is not held.
   */
  notifyAll(): void {
    this.notify(Infinity);
  }

  /**
   * Returns the numbers of this moment, with those of the lock.
   *
   * @returns A frozen snapshot.
   */
  statistics(): ConditionStatistics {
    return Object.freeze({
      tasksWaiting: this.#waiters.pendingCount,
      tasksWaitingPeak: this.#waiters.pendingPeak,
      lock: this.lock.statistics(),
    });
  }

  *#waitFor<T>(
    predicate: () => T,
    signal: AbortSignal | undefined,
  ): Coroutine<T> {
    let result = predicate();
    while (!result) {
      yield* this.#wait(signal);
      result = predicate();
    }
    return result;
  }

  *#wait(signal: AbortSignal | undefined): Coroutine<true> {
    if (!this.locked()) {
      throw new MisuseError(
        "Cannot wait for a condition: its lock is not held",
      );
    }
    signal?.throwIfAborted();
    const waiter = this.#waiters.enter(undefined);
    const permit = lockInternals.putAside(this.lock);
    let notified = false;
    try {
      try {
        // The signal ends this wait, but not that for the lock.
        yield* signal === undefined ? waiter : guarded(waiter, signal);
      } finally {
        this.#waiters.leave(waiter);
        yield* takeBack(this.lock, permit);
      }
      notified = true;
    } finally {
      // A notification that it cannot make use of is for somebody else. Also
      // without one, as in asyncio: a wait may end without a change.
      if (!notified) this.#waiters.wakeNext();
    }
    return true;
  }
}

function guarded(waiter: Waiter, signal: AbortSignal): Operation<boolean> {
  return new Operation(() => waiter[Symbol.iterator](), { ...WAIT, signal });
}

/** Acquires the lock in any case, and only then throws the last error that came meanwhile. */
function* takeBack(lock: Lock, permit: LockPermit): Coroutine<void> {
  let last: { readonly error: unknown } | null = null;
  let refuse: ((reason: unknown) => void) | undefined;
  for (;;) {
    try {
      yield* lockInternals.takeBack(lock, permit, refuse);
      break;
    } catch (error) {
      // A `MisuseError` would be thrown again and again; any other error came
      // from outside.
      if (error instanceof MisuseError) throw error;
      last = { error };
      // The cancellation of a scope that is not left yet would be thrown again
      // as well.
      if (findTask()?.isLevelCancelled()) {
        refuse = (reason) => {
          last = { error: cancellation(reason) };
        };
      }
    }
  }
  if (last !== null) throw last.error;
}

const WAIT = { name: "Condition.wait()" };
const WAIT_FOR = { name: "Condition.waitFor()" };
