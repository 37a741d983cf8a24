import { checkInteger } from "../loop/checks.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Urgency } from "../loop/urgency.ts";
import type { Permit } from "./permit.ts";
import { WaitQueue } from "./wait_queue.ts";

class SemaphorePermit implements Permit {
  readonly #semaphore: Semaphore;
  readonly #waiters: WaitQueue;
  /** Whose priority counts while it is held; null if none does. */
  readonly #urgency: Urgency | null;
  #held = true;

  constructor(semaphore: Semaphore, waiters: WaitQueue) {
    this.#semaphore = semaphore;
    this.#waiters = waiters;
    this.#urgency = waiters.taken();
  }

  get held(): boolean {
    return this.#held;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#waiters.givenBack(this.#urgency);
    this.#semaphore.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Lets a number of tasks at a time inside.
 *
 * It is asyncio's, a counter that {@linkcode acquire} lowers and
 * {@linkcode release} raises, in the order in which tasks asked. Give permits
 * back by disposing of them: that can be done twice without harm, while each
 * `release()` adds one to the counter, whoever calls it. Use one way or the other.
 * All methods take constant time, whatever waits.
 *
 * @example At most two at once
 * ```ts
 * import { getRunningLoop, run, Semaphore, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let inside = 0;
 * let insideMax = 0;
 * await run(async () => {
 *   const loop = getRunningLoop();
 *   const semaphore = new Semaphore(2);
 *   const visits = Array.from({ length: 6 }, () =>
 *     loop.createTask(function* () {
 *       using _permit = yield* semaphore.acquire();
 *       insideMax = Math.max(insideMax, ++inside);
 *       yield* sleep(10);
 *       inside--;
 *     }));
 *   for (const visit of visits) await visit;
 *   assertEquals(loop.time(), 30);
 * }, { host: "virtual" });
 * assertEquals(insideMax, 2);
 * ```
 */
export class Semaphore {
  readonly #waiters = new WaitQueue("Semaphore.acquire()", "held");
  #value: number;

  /**
   * Makes a semaphore.
   *
   * @param value How many permits there are to begin with.
   * @throws {TypeError} If `value` is not a number.
   * @throws {RangeError} If it is not an integer >= 0.
   */
  constructor(value: number = 1) {
    checkInteger(value, 0, "create a semaphore", "value");
    this.#value = value + 0; // which makes -0 a 0
  }

  /** How many permits are there for the taking. Those on their way to a woken waiter are not. */
  get value(): number {
    return this.#value;
  }

  /**
   * Tells whether {@linkcode acquire} would wait.
   *
   * @returns Whether no permit is left, or somebody is in line.
   */
  locked(): boolean {
    return this.#value === 0 || this.#waiters.length > 0;
  }

  /**
   * Takes a permit; waits while there is none or somebody was in line before.
   *
   * Cancelling the wait takes nothing, and if a permit was on its way to this
   * waiter, it goes to the next. From a plain callback, use
   * {@linkcode tryAcquire}. In an async function that may leave the wait
   * behind, as in a `Promise.race`, end it by a signal: else the permit is
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
   * Takes a permit if that is possible at once. It does not push in before
   * those in line, nor before those who are woken but have not had their turn.
   *
   * @returns The permit, or `null`.
   */
  tryAcquire(): Permit | null {
    if (this.locked()) return null;
    this.#value--;
    return new SemaphorePermit(this, this.#waiters);
  }

  /** Adds a permit, and wakes the first in line if there is one. */
  release(): void {
    this.#value++;
    this.#wakeNext();
  }

  /** A woken waiter owns its permit already, before it runs. */
  #wakeNext(): boolean {
    if (this.#waiters.peek() === undefined) return false;
    this.#value--;
    this.#waiters.wakeNext();
    return true;
  }

  /** Waits in line. */
  private *waitForPermit(): Coroutine<Permit> {
    const waiter = this.#waiters.enter(undefined);
    try {
      yield* waiter;
    } catch (error) {
      if (waiter.woken) this.#value++;
      throw error;
    } finally {
      this.#waiters.leave(waiter);
      // Newcomers may have had to wait, just because somebody was in line.
      while (this.#value > 0 && this.#wakeNext());
    }
    return new SemaphorePermit(this, this.#waiters);
  }
}

/**
 * A semaphore that never has more permits than it began with: giving back too
 * many, which is always a mistake, throws.
 *
 * @example One release too many
 * ```ts
 * import { BoundedSemaphore } from "@rota/rota";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const semaphore = new BoundedSemaphore(2);
 * const permit = semaphore.tryAcquire();
 * permit?.release();
 * permit?.release(); // does nothing
 * assertThrows(() => semaphore.release(), RangeError);
 * assertEquals(semaphore.value, 2);
 * ```
 */
export class BoundedSemaphore extends Semaphore {
  readonly #valueMax: number;

  /**
   * Makes a semaphore.
   *
   * @param value How many permits there are, to begin with and at most.
   * @throws {TypeError} If `value` is not a number.
   * @throws {RangeError} If it is not an integer >= 0.
   */
  constructor(value: number = 1) {
    super(value);
    this.#valueMax = value;
  }

  /**
   * Adds a permit, and wakes the first in line if there is one.
   *
   * @throws {RangeError} If all permits are there already.
   */
  override release(): void {
    if (this.value >= this.#valueMax) {
      throw new RangeError(
        `Cannot release a bounded semaphore: all ${this.#valueMax} permits are there already`,
      );
    }
    super.release();
  }
}

class AcquireOperation extends AttemptOperation<Permit> {
  readonly #semaphore: Semaphore;

  constructor(semaphore: Semaphore, options: WaitOptions | undefined) {
    super(ACQUIRE, options);
    this.#semaphore = semaphore;
  }

  protected attempt(): IteratorReturnResult<Permit> | undefined {
    const permit = this.#semaphore.tryAcquire();
    return permit === null ? undefined : { done: true, value: permit };
  }

  protected wait(): Coroutine<Permit> {
    return this.#semaphore["waitForPermit"]();
  }
}

const ACQUIRE = { name: "Semaphore.acquire()" };
