/**
 * Semaphores: a number of tasks at a time.
 *
 * @module
 */
import { listHolders, takeCancellation } from "../loop/waiters.ts";
import { checkInteger } from "../loop/checks.ts";
import { findTask } from "../loop/current.ts";
import type { Suspension } from "../loop/future.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Urgency } from "../loop/priority_inheritance.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";
import { resourceWatch } from "../loop/resource_watch.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";
import type { Permit } from "./permit.ts";
import { Waiter, WaitQueue } from "./wait_queue.ts";

class SemaphorePermit implements Permit, ListNode<SemaphorePermit> {
  list: LinkedList<SemaphorePermit> | undefined = undefined;
  nextNode: SemaphorePermit | undefined = undefined;
  previousNode: SemaphorePermit | undefined = undefined;
  readonly #semaphore: Semaphore;
  /** The task that acquired it. */
  readonly task: Task<unknown> | null;
  /** Task that is raised to the priority of the waiters meanwhile; null if none is. */
  readonly urgency: Urgency | null;
  #held = true;

  constructor(
    semaphore: Semaphore,
    task: Task<unknown> | null,
    urgency: Urgency | null,
  ) {
    this.#semaphore = semaphore;
    this.task = task;
    this.urgency = urgency;
  }

  get held(): boolean {
    return this.#held;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    internals.putBack(this.#semaphore, this);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The private side of a semaphore: for its permits, its waits, and bounded ones. */
interface SemaphoreInternals {
  /** Returns the list of the permits that are held, in the order in which they were acquired. */
  permitsOf(semaphore: Semaphore): LinkedList<SemaphorePermit>;
  /** Adds a waiter at the end of the line. */
  enter(semaphore: Semaphore): PermitWaiter;
  /** Removes a woken waiter, and returns the permit that was set aside for it. */
  leave(semaphore: Semaphore, waiter: PermitWaiter): Permit;
  /** Removes a waiter; a permit that was set aside for it is for others. */
  giveUp(semaphore: Semaphore, waiter: PermitWaiter): void;
  /** Takes in a permit that is released. */
  putBack(semaphore: Semaphore, permit: SemaphorePermit): void;
}

/** Set by {@linkcode Semaphore} when it is loaded. */
let internals: SemaphoreInternals;

/** Snapshot of a semaphore: the result of {@linkcode Semaphore.statistics}. */
export interface SemaphoreStatistics {
  /** How many permits are available. */
  readonly value: number;
  /** How many permits are held. */
  readonly permitsHeld: number;
  /** The tasks that hold them, in the order in which they got them, a task once for each permit. */
  readonly holders: readonly Task<unknown>[];
  /** How many tasks wait in line: neither woken nor cancelled. */
  readonly tasksWaiting: number;
  /** The largest `tasksWaiting` so far. */
  readonly tasksWaitingPeak: number;
}

/**
 * A semaphore: lets a number of tasks at a time inside.
 *
 * Like asyncio's `Semaphore`: a counter that {@linkcode acquire} lowers and
 * {@linkcode release} raises, in the order in which tasks asked. Release
 * permits by disposing of them: doing that twice does no harm, while each
 * `release()` adds one to the counter, whoever calls it. Use one way or the
 * other, or a {@linkcode BoundedSemaphore}. All methods take constant time,
 * whatever waits.
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
  readonly #waiters = new WaitQueue("Semaphore.acquire()", this, "held");
  #value: number;
  /** Permits that are held, in the order in which they were acquired. */
  readonly #permits: LinkedList<SemaphorePermit> = new LinkedList();

  static {
    internals = {
      permitsOf: (semaphore) => semaphore.#permits,
      enter: (semaphore) => semaphore.#enter(),
      leave: (semaphore, waiter) => semaphore.#leave(waiter),
      giveUp: (semaphore, waiter) => semaphore.#giveUp(waiter),
      putBack: (semaphore, permit) => semaphore.#putBack(permit),
    };
  }

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

  /** How many permits are available. Permits set aside for woken waiters are not. */
  get value(): number {
    return this.#value;
  }

  /**
   * Returns whether {@linkcode acquire} would wait.
   *
   * @returns Whether no permit is available, or tasks are in line.
   */
  locked(): boolean {
    return this.#value === 0 || this.#waiters.length > 0;
  }

  /**
   * Acquires a permit; waits while none is available or other tasks are in line.
   *
   * Cancelling the wait acquires nothing; a permit that was set aside for this
   * waiter goes to the next. From a plain callback, use {@linkcode tryAcquire}.
   * An async function that may leave the wait behind, as in a `Promise.race`,
   * should end it by a signal: else the permit is acquired and nobody releases
   * it.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the permit. It does nothing until it
   * is awaited.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return new AcquirePermit(this, options);
  }

  /**
   * Acquires a permit if that is possible at once. It overtakes neither tasks
   * that are in line, nor those that are woken and have not run. May be called
   * from a plain callback.
   *
   * @returns The permit, or `null`.
   */
  tryAcquire(): Permit | null {
    if (this.locked()) return null;
    this.#value--;
    return this.#makePermit();
  }

  #makePermit(): Permit {
    resourceWatch.current?.taken("permit", this, "Semaphore");
    const task = findTask();
    const urgency = this.#waiters.takenBy(task);
    const permit = new SemaphorePermit(this, task, urgency);
    this.#permits.append(permit);
    return permit;
  }

  /** Lists the tasks that hold a permit, as far as that is known. */
  [listHolders](): Task<unknown>[] {
    const tasks: Task<unknown>[] = [];
    for (const { task } of this.#permits) if (task !== null) tasks.push(task);
    return tasks;
  }

  /**
   * Returns the numbers and the holders of this moment, as far as permits were not
   * made by `release()` alone. Takes time in proportion to the number of holders.
   *
   * @returns A frozen snapshot.
   */
  statistics(): SemaphoreStatistics {
    return Object.freeze({
      value: this.#value,
      permitsHeld: this.#permits.length,
      holders: Object.freeze(this[listHolders]()),
      tasksWaiting: this.#waiters.pendingCount,
      tasksWaitingPeak: this.#waiters.pendingPeak,
    });
  }

  /** Adds a permit, and wakes the first in line, if any. */
  release(): void {
    this.#forgetPermit();
    this.#add();
  }

  /** A permit that is given back by its number alone leaves the list of those held: that of the task, or the oldest. */
  #forgetPermit(): void {
    const { first, last } = this.#permits;
    if (last === undefined) return;
    const own = last.task === findTask() ? last : first!;
    this.#permits.remove(own);
  }

  #add(): void {
    resourceWatch.current?.returned(this);
    this.#value++;
    this.#wakeNext();
  }

  #putBack(permit: SemaphorePermit): void {
    this.#permits.remove(permit);
    this.#waiters.givenBack(permit.urgency);
    this.#add();
  }

  /** Sets a permit aside for the first in line, which owns it before it runs. */
  #wakeNext(): boolean {
    if (this.#waiters.peek() === undefined) return false;
    this.#value--;
    this.#waiters.wakeNext();
    return true;
  }

  #enter(): PermitWaiter {
    const waiter = new PermitWaiter(this, this.#waiters);
    this.#waiters.append(waiter);
    return waiter;
  }

  #leave(waiter: PermitWaiter): Permit {
    this.#leaveLine(waiter);
    return this.#makePermit();
  }

  #giveUp(waiter: PermitWaiter): void {
    if (waiter.woken) this.#value++;
    this.#leaveLine(waiter);
  }

  #leaveLine(waiter: PermitWaiter): void {
    this.#waiters.leave(waiter);
    // Newcomers may have had to wait, just because this one was in line.
    while (this.#value > 0 && this.#wakeNext());
  }
}

/**
 * Waiter for a permit. The waiter is the iterator of the wait as well, which
 * saves a second object: very many may wait for long.
 */
class PermitWaiter extends Waiter {
  readonly #semaphore: Semaphore;

  constructor(semaphore: Semaphore, queue: WaitQueue) {
    super(queue.open(), queue.label, queue, undefined, undefined);
    this.#semaphore = semaphore;
  }

  // As a future it yields and returns booleans, as an iterator of the wait a permit.

  protected override next(): IteratorResult<Suspension, never> {
    if (!this.done()) return super.next() as IteratorResult<Suspension, never>;
    if (this.cancelled()) this.throw(this[takeCancellation]());
    const value = internals.leave(this.#semaphore, this);
    return { done: true, value: value as never };
  }

  protected override throw(error: unknown): never {
    internals.giveUp(this.#semaphore, this);
    throw error;
  }

  protected override return(
    value: boolean,
  ): IteratorResult<Suspension, boolean> {
    internals.giveUp(this.#semaphore, this);
    return { done: true, value };
  }
}

/**
 * A semaphore that never has more permits than it began with.
 *
 * A `release()` too many, which is always a mistake, throws at its caller: as
 * soon as no permit is held, also if permits are on their way to woken waiters.
 * (CPython's throws later, at a task that releases what it has acquired.)
 *
 * `release()` and disposing of permits may be mixed here, as each `release()`
 * spends a permit: disposing of that one later does nothing. The semaphore keeps
 * a list of the permits that are held.
 *
 * @example A release too many
 * ```ts
 * import { BoundedSemaphore } from "@rota/rota";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const semaphore = new BoundedSemaphore(2);
 * const permit = semaphore.tryAcquire();
 * semaphore.release(); // spends the permit
 * permit?.release(); // does nothing
 * assertThrows(() => semaphore.release(), RangeError);
 * assertEquals(semaphore.value, 2);
 * ```
 */
export class BoundedSemaphore extends Semaphore {
  readonly #valueMax: number;
  readonly #permits: LinkedList<SemaphorePermit>;

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
    this.#permits = internals.permitsOf(this);
  }

  /**
   * Releases a permit, and wakes the first in line, if any.
   *
   * Releases the last permit that the current task acquired and still holds. If
   * the task holds none, as it releases for another task, releases the one that
   * is held longest. Takes time in proportion to the permits that are held.
   *
   * @throws {RangeError} If no permit is held.
   */
  override release(): void {
    const task = findTask();
    let spent = this.#permits.first;
    for (let at = this.#permits.last; at !== undefined; at = at.previousNode) {
      if (at.task !== task) continue;
      spent = at;
      break;
    }
    if (spent === undefined) {
      throw new RangeError(
        this.value === this.#valueMax
          ? `Cannot release a bounded semaphore: all ${this.#valueMax} permits are there already`
          : "Cannot release a bounded semaphore: its permits are there or on their way to others",
      );
    }
    spent.release();
  }
}

class AcquirePermit extends AttemptOperation<Permit> {
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
    // The waiter is the iterator itself; only `yield*` goes through it.
    return internals.enter(this.#semaphore) as unknown as Coroutine<Permit>;
  }
}

const ACQUIRE = { name: "Semaphore.acquire()" };
