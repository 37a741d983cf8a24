/**
 * Mutual exclusion: one task at a time.
 *
 * @module
 */
import { listHolders } from "../loop/waiters.ts";
import { MisuseError } from "../errors.ts";
import { findTask } from "../loop/current.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Urgency } from "../loop/priority_inheritance.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { resourceWatch } from "../loop/resource_watch.ts";
import type { Task } from "../loop/task.ts";
import type { Permit } from "./permit.ts";
import { WaitQueue } from "./wait_queue.ts";

/** The permit of a lock. While a condition has put it aside, it is not `held` either. */
export class LockPermit implements Permit {
  readonly #lock: Lock;
  /** Whether it has been released. */
  spent = false;
  /** Task that is raised to the priority of the waiters meanwhile; null if none is. */
  urgency: Urgency | null = null;
  /** Task that has taken the lock; null for code outside of tasks. */
  task: Task<unknown> | null = null;

  constructor(lock: Lock) {
    this.#lock = lock;
  }

  get held(): boolean {
    return lockInternals.isHeldBy(this.#lock, this);
  }

  release(): void {
    if (this.held) this.#lock.release();
    else this.spent = true;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The private side of a lock: for its permits, for its waits, and for conditions. */
export interface LockInternals {
  /** Whether `permit` is the one that is held. */
  isHeldBy(lock: Lock, permit: LockPermit): boolean;
  /**
   * Waits in line until `permit` holds the lock.
   *
   * @param refuse Makes the wait uncancellable: this is called instead, with the reason.
   */
  waitFor(
    lock: Lock,
    permit: LockPermit,
    refuse?: (reason: unknown) => void,
  ): Coroutine<Permit>;
  /** Releases a lock that is held, and returns its permit, which may be taken back. */
  putAside(lock: Lock): LockPermit;
  /** Takes the lock for a permit that was put aside, unless that was released meanwhile. */
  takeBack(
    lock: Lock,
    permit: LockPermit,
    refuse?: (reason: unknown) => void,
  ): Coroutine<void>;
}

/** Snapshot of a lock: the result of {@linkcode Lock.statistics}. */
export interface LockStatistics {
  /** Whether it is held. */
  readonly locked: boolean;
  /** The task that holds it; `null` if none does, or if code outside of tasks does. */
  readonly holder: Task<unknown> | null;
  /** How many tasks wait in line: neither woken nor cancelled. */
  readonly tasksWaiting: number;
  /** The largest `tasksWaiting` so far. */
  readonly tasksWaitingPeak: number;
}

/** Set by {@linkcode Lock} when it is loaded. */
export let lockInternals: LockInternals;

/**
 * A mutual exclusion lock: lets one task at a time inside.
 *
 * Like asyncio's `Lock`. Tasks acquire it in the order in which they asked: a
 * free lock with a task in line is not for newcomers. It has no owner and is
 * not re-entrant: a task that acquires it twice waits for itself. All methods
 * take constant time, whatever waits.
 *
 * @example Tasks of both styles, one after the other
 * ```ts
 * import { getRunningLoop, Lock, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const lock = new Lock();
 *   const other = getRunningLoop().createTask(function* () {
 *     using _permit = yield* lock.acquire();
 *     log.push("generator in");
 *     yield* sleep(10);
 *     log.push("generator out");
 *   });
 *   await sleep(1);
 *   {
 *     using _permit = await lock.acquire();
 *     log.push("async in");
 *   }
 *   await other;
 * }, { host: "virtual" });
 * assertEquals(log, ["generator in", "generator out", "async in"]);
 * ```
 */
export class Lock {
  readonly #waiters = new WaitQueue("Lock.acquire()", this, "held");
  #holder: LockPermit | null = null;

  static {
    lockInternals = {
      isHeldBy: (lock, permit) => lock.#holder === permit,
      waitFor: (lock, permit, refuse) => lock.#waitFor(permit, refuse),
      putAside: (lock) => lock.#putAside(),
      takeBack: (lock, permit, refuse) => lock.#takeBack(permit, refuse),
    };
  }

  /**
   * Returns whether the lock is held.
   *
   * @returns Whether it is; false also while a woken waiter, which is the next
   * to hold it, has not run yet.
   */
  locked(): boolean {
    return this.#holder !== null;
  }

  /**
   * Acquires the lock; waits while it is held or other tasks are in line.
   *
   * Cancelling the wait acquires nothing; if this waiter had been woken, the
   * next in line is woken instead. From a plain callback, use
   * {@linkcode tryAcquire}. An async function that may leave the wait behind,
   * as in a `Promise.race`, should end it by a signal: else the lock is
   * acquired and nobody releases it.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the permit. It does nothing until it
   * is awaited.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return new AcquireLock(this, options);
  }

  /**
   * Acquires the lock if that is possible at once. It does not overtake tasks
   * that are in line. May be called from a plain callback.
   *
   * @returns The permit, or `null`.
   */
  tryAcquire(): Permit | null {
    if (this.#holder !== null || this.#waiters.length > 0) return null;
    return this.#grant(new LockPermit(this));
  }

  /**
   * Releases the lock, whoever holds it, and wakes the first in line. The
   * permit under which it was held is void from now on.
   *
   * @throws {MisuseError} If it is not held.
   */
  release(): void {
    if (this.#holder === null) {
      throw new MisuseError("Cannot release a lock: it is not locked");
    }
    this.#holder.spent = true;
    this.#free(this.#holder);
  }

  /**
   * Returns the numbers of this moment, and the holder.
   *
   * @returns A frozen snapshot.
   */
  statistics(): LockStatistics {
    return Object.freeze({
      locked: this.locked(),
      holder: this.#holder?.task ?? null,
      tasksWaiting: this.#waiters.pendingCount,
      tasksWaitingPeak: this.#waiters.pendingPeak,
    });
  }

  #grant(permit: LockPermit): LockPermit {
    const task = permit.task = findTask();
    permit.urgency = this.#waiters.takenBy(task);
    resourceWatch.current?.taken("permit", this, "Lock");
    return this.#holder = permit;
  }

  /** The task that holds the lock. */
  [listHolders](): Task<unknown>[] {
    const task = this.#holder?.task ?? null;
    return task === null ? [] : [task];
  }

  #free(holder: LockPermit): void {
    this.#holder = null;
    holder.task = null;
    resourceWatch.current?.returned(this);
    this.#waiters.givenBack(holder.urgency);
    this.#waiters.wakeHead();
  }

  *#waitFor(
    permit: LockPermit,
    refuse: ((reason: unknown) => void) | undefined,
  ): Coroutine<Permit> {
    const waiter = this.#waiters.enter(undefined, refuse);
    let isFirst = false;
    try {
      yield* waiter;
      isFirst = true;
    } finally {
      this.#waiters.leave(waiter);
      // A wake-up that was for this one is for the next.
      if (!isFirst && this.#holder === null) this.#waiters.wakeHead();
    }
    return this.#grant(permit);
  }

  #putAside(): LockPermit {
    const permit = this.#holder!;
    this.#free(permit);
    return permit;
  }

  *#takeBack(
    permit: LockPermit,
    refuse: ((reason: unknown) => void) | undefined,
  ): Coroutine<void> {
    if (this.#holder === null && this.#waiters.length === 0) {
      this.#grant(permit);
    } else yield* this.#waitFor(permit, refuse);
    // The permit was released while it was put aside.
    if (permit.spent) this.#free(permit);
  }
}

class AcquireLock extends AttemptOperation<Permit> {
  readonly #lock: Lock;

  constructor(lock: Lock, options: WaitOptions | undefined) {
    super(ACQUIRE, options);
    this.#lock = lock;
  }

  protected attempt(): IteratorReturnResult<Permit> | undefined {
    const permit = this.#lock.tryAcquire();
    return permit === null ? undefined : { done: true, value: permit };
  }

  protected wait(): Coroutine<Permit> {
    return lockInternals.waitFor(this.#lock, new LockPermit(this.#lock));
  }
}

const ACQUIRE = { name: "Lock.acquire()" };
