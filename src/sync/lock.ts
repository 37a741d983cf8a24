import { MisuseError } from "../errors.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Urgency } from "../loop/urgency.ts";
import type { Permit } from "./permit.ts";
import { WaitQueue } from "./wait_queue.ts";

class LockPermit implements Permit {
  readonly #lock: Lock;
  /** Whether it has been given back. One that is not held may also be put aside by a condition. */
  spent = false;
  /** Whose priority counts while it is held; null if none does. */
  urgency: Urgency | null = null;

  constructor(lock: Lock) {
    this.#lock = lock;
  }

  get held(): boolean {
    return this.#lock["holder"] === this;
  }

  release(): void {
    if (this.held) this.#lock.release();
    else this.spent = true;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Lets one task at a time inside.
 *
 * It is asyncio's. Tasks get the lock in the order in which they asked for it:
 * a free lock with somebody in line is not for newcomers. It has no owner,
 * and is not re-entrant: a task that acquires it twice waits for itself. All
 * methods take constant time, whatever waits.
 *
 * @example One after the other, in both styles
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
  readonly #waiters = new WaitQueue("Lock.acquire()", "held");
  /** The permit that is held. */
  private holder: LockPermit | null = null;

  /**
   * Tells whether somebody has the lock.
   *
   * @returns False also while it is on its way to the next in line.
   */
  locked(): boolean {
    return this.holder !== null;
  }

  /**
   * Takes the lock; waits while somebody has it or was in line before.
   *
   * Cancelling the wait takes nothing, and if the lock was on its way to this
   * waiter, it goes to the next. From a plain callback, use
   * {@linkcode tryAcquire}. In an async function that may leave the wait
   * behind, as in a `Promise.race`, end it by a signal: else the lock is
   * acquired for nobody.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the permit: nothing is acquired until it
   * is waited for.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return new AcquireOperation(this, options);
  }

  /**
   * Takes the lock if that is possible at once. It does not push in before
   * those in line.
   *
   * @returns The permit, or `null`.
   */
  tryAcquire(): Permit | null {
    if (this.holder !== null || this.#waiters.length > 0) return null;
    return this.#grant(new LockPermit(this));
  }

  /**
   * Gives the lock back, whoever has it, and wakes the first in line. The
   * permit of whoever had it is void from now on.
   *
   * @throws {MisuseError} If nobody has it.
   */
  release(): void {
    if (this.holder === null) {
      throw new MisuseError("Cannot release a lock: it is not locked");
    }
    this.holder.spent = true;
    this.#free();
  }

  #grant(permit: LockPermit): LockPermit {
    permit.urgency = this.#waiters.taken();
    return this.holder = permit;
  }

  #free(): void {
    const { urgency } = this.holder!;
    this.holder = null;
    this.#waiters.givenBack(urgency);
    this.#waiters.wakeHead();
  }

  /** Waits in line for the turn of `permit`. */
  private *waitFor(
    permit: LockPermit,
    refuse?: (reason: unknown) => void,
  ): Coroutine<Permit> {
    const waiter = this.#waiters.enter(undefined, refuse);
    try {
      try {
        yield* waiter;
      } finally {
        this.#waiters.leave(waiter);
      }
    } catch (error) {
      if (this.holder === null) this.#waiters.wakeHead();
      throw error;
    }
    return this.#grant(permit);
  }

  /** Gives the lock back for a while: the permit stays good. */
  private putAside(): LockPermit {
    const permit = this.holder!;
    this.#free();
    return permit;
  }

  /** Takes the lock again for a permit that was put aside; with `refuse`, whoever cancels. */
  private *takeBack(
    permit: LockPermit,
    refuse?: (reason: unknown) => void,
  ): Coroutine<void> {
    if (this.holder === null && this.#waiters.length === 0) {
      this.#grant(permit);
    } else yield* this.waitFor(permit, refuse);
    // It was given back while it was put aside.
    if (permit.spent) this.#free();
  }
}

class AcquireOperation extends AttemptOperation<Permit> {
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
    return this.#lock["waitFor"](new LockPermit(this.#lock));
  }
}

const ACQUIRE = { name: "Lock.acquire()" };
