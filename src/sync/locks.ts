/**
 * What tasks wait for until another one says so: a lock, a flag, a condition, a
 * barrier; and so many at a time: semaphores, and the limiter that knows who is
 * inside.
 *
 * @module
 */
import { BrokenBarrierError, CancelledError, MisuseError } from "../errors.ts";
import {
  checkFunction,
  checkInteger,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { currentTask, findTask } from "../loop/current.ts";
import type { Suspension } from "../loop/future.ts";
import {
  AttemptOperation,
  Operation,
  type WaitOptions,
} from "../loop/operation.ts";
import type { Urgency } from "../loop/priority_inheritance.ts";
import { type Coroutine, Task } from "../loop/task.ts";
import { LinkedList, type ListNode } from "../structures/queues.ts";
import { type Permit, Waiter, WaitQueue } from "./wait_queue.ts";

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
    return new AcquireLock(this, options);
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

class AcquireLock extends AttemptOperation<Permit> {
  readonly #lock: Lock;

  constructor(lock: Lock, options: WaitOptions | undefined) {
    super(ACQUIRE_LOCK, options);
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

const ACQUIRE_LOCK = { name: "Lock.acquire()" };

/**
 * Something that is so or is not, and that tasks can wait for.
 *
 * It is asyncio's `Event`, under the word that its own description uses: an
 * `Event` on the web is something else. Waiting for a flag that is set is over
 * at once. Setting it takes time in proportion to those who wait, everything
 * else is constant.
 *
 * @example Everybody waits for the start
 * ```ts
 * import { Flag, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const started = new Flag();
 *   const loop = getRunningLoop();
 *   loop.createTask(function* () {
 *     yield* started.wait();
 *     log.push("generator");
 *   });
 *   loop.createTask(async () => {
 *     await started.wait();
 *     log.push("async");
 *   });
 *   await sleep(10);
 *   log.push("go");
 *   started.set();
 *   await sleep(1);
 * }, { host: "virtual" });
 * assertEquals(log, ["go", "generator", "async"]);
 * ```
 */
export class Flag {
  readonly #waiters = new WaitQueue("Flag.wait()");
  #set = false;

  /**
   * Tells whether the flag is set.
   *
   * @returns Whether it is; at first it is not.
   */
  isSet(): boolean {
    return this.#set;
  }

  /**
   * Sets the flag and wakes all who wait, in the order in which they came. If it
   * is set already, nothing happens.
   */
  set(): void {
    if (this.#set) return;
    this.#set = true;
    this.#waiters.wakeAll();
  }

  /** Takes the flag back: who waits from now on waits for the next {@linkcode set}. */
  clear(): void {
    this.#set = false;
  }

  /**
   * Waits until the flag is set.
   *
   * Who has been woken does not look again: a `set()` that is followed by a
   * `clear()` lets all go who waited. Cancelling the wait has no effect on others.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives `true`, as asyncio's does.
   */
  wait(options?: WaitOptions): Operation<true> {
    return new FlagOperation(this, options);
  }

  /** Waits in line. */
  private *waitToBeSet(): Coroutine<true> {
    const waiter = this.#waiters.enter(undefined);
    try {
      yield* waiter;
      return true;
    } finally {
      this.#waiters.leave(waiter);
    }
  }
}

class FlagOperation extends AttemptOperation<true> {
  readonly #flag: Flag;

  constructor(flag: Flag, options: WaitOptions | undefined) {
    super(FLAG_WAIT, options);
    this.#flag = flag;
  }

  protected attempt(): IteratorReturnResult<true> | undefined {
    return this.#flag.isSet() ? DONE : undefined;
  }

  protected wait(): Coroutine<true> {
    return this.#flag["waitToBeSet"]();
  }
}

const FLAG_WAIT = { name: "Flag.wait()" };
const DONE: IteratorReturnResult<true> = { done: true, value: true };

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
    return new Operation(() => this.waitOnce(signal), CONDITION_WAIT);
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
          { ...CONDITION_WAIT, signal },
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
        if (findTask()?.isLevelCancelled()) {
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

const CONDITION_WAIT = { name: "Condition.wait()" };
const WAIT_FOR = { name: "Condition.waitFor()" };

type State = "filling" | "draining" | "resetting" | "broken";

/**
 * A place where tasks wait until a given number of them has come; then they go
 * on together, and it serves again.
 *
 * It is asyncio's. A waiter that is cancelled leaves, and the others wait for one
 * more; the barrier does not break. Those who come while the last lot is still
 * on its way out wait until it is.
 *
 * @example Nobody starts the second half before all have done the first
 * ```ts
 * import { Barrier, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(async () => {
 *   const barrier = new Barrier(2);
 *   const slow = getRunningLoop().createTask(function* () {
 *     yield* sleep(10);
 *     log.push("slow: first half");
 *     const index = yield* barrier.wait();
 *     log.push(`slow: second half, came as ${index}`);
 *   });
 *   log.push("fast: first half");
 *   const index = await barrier.wait();
 *   log.push(`fast: second half, came as ${index}`);
 *   await slow;
 * }, { host: "virtual" });
 * assertEquals(log, [
 *   "fast: first half",
 *   "slow: first half",
 *   "slow: second half, came as 1",
 *   "fast: second half, came as 0",
 * ]);
 * ```
 */
export class Barrier {
  /** How many it takes. */
  readonly parties: number;
  readonly #condition = new Condition();
  #state: State = "filling";
  /** How many are in {@linkcode wait} and have been let in. */
  #count = 0;

  /**
   * Makes a barrier.
   *
   * @param parties How many tasks it takes.
   * @throws {TypeError} If `parties` is not a number.
   * @throws {RangeError} If it is not an integer >= 1.
   */
  constructor(parties: number) {
    checkInteger(parties, 1, "create a barrier", "parties");
    this.parties = parties;
  }

  /** How many wait for the others to come: 0 as soon as all have. */
  get nWaiting(): number {
    return this.#state === "filling" ? this.#count : 0;
  }

  /** Whether {@linkcode abort} was called, and no {@linkcode reset} since. */
  get broken(): boolean {
    return this.#state === "broken";
  }

  /**
   * Waits until all parties have come. The last one does not wait.
   *
   * Those who waited go on one after the other, in the order in which they came,
   * a turn or more apart.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the place in the order of arrival, from 0.
   * @throws {BrokenBarrierError} If the barrier is aborted, before or during the
   * wait, or reset during it.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  wait(options?: WaitOptions): Operation<number> {
    const signal = checkWaitOptions(options, "wait at a barrier");
    return new Operation(() => this.#wait(signal), BARRIER_WAIT);
  }

  /**
   * Makes the barrier as new: those who wait get a {@linkcode BrokenBarrierError},
   * and newcomers are let in when the last of them has left. An aborted barrier
   * serves again.
   *
   * @param options A signal that ends the wait for the barrier's own lock.
   * @returns An operation: nothing happens until it is waited for.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  reset(options?: WaitOptions): Operation<void> {
    return new Operation(() => this.#reset(), {
      ...RESET,
      signal: checkWaitOptions(options, "reset a barrier"),
    });
  }

  /**
   * Breaks the barrier: those who wait, and newcomers, get a
   * {@linkcode BrokenBarrierError}, until somebody calls {@linkcode reset}.
   *
   * @param options A signal that ends the wait for the barrier's own lock.
   * @returns An operation: nothing happens until it is waited for.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  abort(options?: WaitOptions): Operation<void> {
    return new Operation(() => this.#abort(), {
      ...ABORT,
      signal: checkWaitOptions(options, "abort a barrier"),
    });
  }

  *#reset(): Coroutine<void> {
    using _permit = yield* this.#condition.acquire();
    this.#state = this.#count > 0 ? "resetting" : "filling";
    this.#condition.notifyAll();
  }

  *#abort(): Coroutine<void> {
    using _permit = yield* this.#condition.acquire();
    this.#state = "broken";
    this.#condition.notifyAll();
  }

  *#wait(signal: AbortSignal | undefined): Coroutine<number> {
    const options = { signal };
    using _permit = yield* this.#condition.acquire(options);
    yield* this.#block(signal);
    try {
      const index = this.#count++;
      if (index + 1 === this.parties) this.#release();
      else yield* this.#fill(signal);
      return index;
    } finally {
      this.#count--;
      this.#exit();
    }
  }

  /** Waits until the last lot is out. */
  *#block(signal: AbortSignal | undefined): Coroutine<void> {
    yield* this.#condition["waitUntil"](
      () => this.#state === "filling" || this.#state === "broken",
      signal,
    );
    if (this.#state === "broken") {
      throw new BrokenBarrierError(
        "Cannot wait at a barrier: it has been aborted",
      );
    }
  }

  /** All are there. */
  #release(): void {
    this.#state = "draining";
    this.#condition.notifyAll();
  }

  /** Waits for the others. */
  *#fill(signal: AbortSignal | undefined): Coroutine<void> {
    yield* this.#condition["waitUntil"](
      () => this.#state !== "filling",
      signal,
    );
    const state: State = this.#state;
    if (state === "broken" || state === "resetting") {
      throw new BrokenBarrierError(
        `Cannot wait at a barrier: it was ${
          state === "broken" ? "aborted" : "reset"
        } meanwhile`,
      );
    }
  }

  /** The last one out lets newcomers in. */
  #exit(): void {
    if (this.#count > 0) return;
    if (this.#state === "resetting" || this.#state === "draining") {
      this.#state = "filling";
    }
    this.#condition["wake"](Infinity);
  }
}

const BARRIER_WAIT = { name: "Barrier.wait()" };
const RESET = { name: "Barrier.reset()" };
const ABORT = { name: "Barrier.abort()" };

// -- So many at a time --

class SemaphorePermit implements Permit {
  readonly #semaphore: Semaphore;
  /** Whose priority counts while it is held; null if none does. */
  readonly urgency: Urgency | null;
  #held = true;

  constructor(semaphore: Semaphore, urgency: Urgency | null) {
    this.#semaphore = semaphore;
    this.urgency = urgency;
  }

  get held(): boolean {
    return this.#held;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#semaphore["putBack"](this);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** A permit of a bounded semaphore, which knows all that are held. */
class BoundedPermit extends SemaphorePermit implements ListNode<BoundedPermit> {
  list: LinkedList<BoundedPermit> | undefined = undefined;
  nextNode: BoundedPermit | undefined = undefined;
  previousNode: BoundedPermit | undefined = undefined;
  /** Who acquired it. */
  readonly task: Task<unknown> | null = currentTask();
}

/**
 * Lets a number of tasks at a time inside.
 *
 * It is asyncio's, a counter that {@linkcode acquire} lowers and
 * {@linkcode release} raises, in the order in which tasks asked. Give permits
 * back by disposing of them: that can be done twice without harm, while each
 * `release()` adds one to the counter, whoever calls it. Use one way or the
 * other, or a {@linkcode BoundedSemaphore}.
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
  /** The permits that are held, in the order in which they were acquired; null if nobody asks. */
  private permits: LinkedList<BoundedPermit> | null = null;

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
    return new AcquirePermit(this, options);
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
    return this.#makePermit();
  }

  #makePermit(): Permit {
    const urgency = this.#waiters.taken();
    if (this.permits === null) return new SemaphorePermit(this, urgency);
    const permit = new BoundedPermit(this, urgency);
    this.permits.append(permit);
    return permit;
  }

  /** Adds a permit, and wakes the first in line if there is one. */
  release(): void {
    this.#add();
  }

  #add(): void {
    this.#value++;
    this.#wakeNext();
  }

  /** A permit is given back. */
  private putBack(permit: SemaphorePermit): void {
    this.permits?.remove(permit as BoundedPermit);
    this.#waiters.givenBack(permit.urgency);
    this.#add();
  }

  /** A woken waiter owns its permit already, before it runs. */
  #wakeNext(): boolean {
    if (this.#waiters.peek() === undefined) return false;
    this.#value--;
    this.#waiters.wakeNext();
    return true;
  }

  /** Gets in line. */
  private enter(): PermitWaiter {
    const waiter = new PermitWaiter(this, this.#waiters);
    this.#waiters.append(waiter);
    return waiter;
  }

  /** Gets out of the line, with a permit. */
  private leave(waiter: PermitWaiter): Permit {
    this.#leave(waiter);
    return this.#makePermit();
  }

  /** Gets out of the line without one; what was on its way is for others. */
  private giveUp(waiter: PermitWaiter): void {
    if (waiter.woken) this.#value++;
    this.#leave(waiter);
  }

  #leave(waiter: PermitWaiter): void {
    this.#waiters.leave(waiter);
    // Newcomers may have had to wait, just because somebody was in line.
    while (this.#value > 0 && this.#wakeNext());
  }
}

/**
 * One who waits for a permit. It is the iterator of the wait as well, where a
 * generator would be a second object: many wait for long.
 */
class PermitWaiter extends Waiter {
  readonly #semaphore: Semaphore;

  constructor(semaphore: Semaphore, queue: WaitQueue) {
    super(queue.open(), queue.label, queue, undefined, undefined);
    this.#semaphore = semaphore;
  }

  protected override next(): IteratorResult<Suspension, never> {
    if (!this.done()) return super.next() as IteratorResult<Suspension, never>;
    if (this.cancelled()) this.throw(this["takeCancellation"]());
    const value = this.#semaphore["leave"](this);
    return { done: true, value: value as never };
  }

  protected override throw(error: unknown): never {
    this.#semaphore["giveUp"](this);
    throw error;
  }

  protected override return(
    value: boolean,
  ): IteratorResult<Suspension, boolean> {
    this.#semaphore["giveUp"](this);
    return { done: true, value };
  }
}

/**
 * A semaphore that never has more permits than it began with: giving back too
 * many, which is always a mistake, throws.
 *
 * Here `release()` and disposing of permits may be mixed, as each `release()`
 * spends a permit: disposing of that one later does nothing. To know which are
 * held, it keeps them until they are given back.
 *
 * @example One release too many
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
    this["permits"] = new LinkedList();
  }

  /**
   * Gives a permit back, and wakes the first in line if there is one.
   *
   * It is the last that the current task acquired and still holds. If that has
   * none, as it gives back what another task acquired, it is the one that is held
   * longest. Takes time in proportion to the permits that are held.
   *
   * @throws {RangeError} If no permit is held.
   */
  override release(): void {
    const permits = this["permits"]!;
    const task = findTask();
    let spent = permits.first;
    for (let at = permits.last; at !== undefined; at = at.previousNode) {
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
    super(ACQUIRE_PERMIT, options);
    this.#semaphore = semaphore;
  }

  protected attempt(): IteratorReturnResult<Permit> | undefined {
    const permit = this.#semaphore.tryAcquire();
    return permit === null ? undefined : { done: true, value: permit };
  }

  protected wait(): Coroutine<Permit> {
    return this.#semaphore["enter"]() as unknown as Coroutine<Permit>;
  }
}

const ACQUIRE_PERMIT = { name: "Semaphore.acquire()" };

/** What {@linkcode CapacityLimiter.statistics} tells. */
export interface CapacityLimiterStatistics {
  /** How many tokens are out. */
  readonly borrowedTokens: number;
  /** How many there are. */
  readonly totalTokens: number;
  /** Who has one, in the order in which they got it. */
  readonly borrowers: readonly object[];
  /** How many wait for one. */
  readonly tasksWaiting: number;
}

class BorrowedToken implements Permit {
  readonly #limiter: CapacityLimiter;
  readonly #borrower: object;
  /** Whose priority counts while it is held; null if none does. */
  readonly urgency: Urgency | null;
  #held = true;

  constructor(
    limiter: CapacityLimiter,
    borrower: object,
    urgency: Urgency | null,
  ) {
    this.#limiter = limiter;
    this.#borrower = borrower;
    this.urgency = urgency;
  }

  get held(): boolean {
    return this.#held && this.#limiter["isTokenOf"](this.#borrower, this);
  }

  release(): void {
    if (this.held) this.#limiter.releaseOnBehalfOf(this.#borrower);
    this.#held = false;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Lets a number of borrowers at a time inside, and knows who they are.
 *
 * It is trio's. A borrower is a task, or any other object on whose behalf a token
 * is taken. Each may have one: asking for a second, which with a semaphore would
 * wait for itself, throws at once. Tokens are handed out in the order in which
 * they were asked for. How many there are can be changed at any time. All
 * methods take constant time, except {@linkcode statistics}.
 *
 * A token belongs to its borrower until it is given back, also when a task has
 * ended; `using` sees to it. On a loop that goes by priority a task that has one
 * is raised to the priority of those who wait; other borrowers cannot be.
 *
 * @example A second token would never come
 * ```ts
 * import { CapacityLimiter, MisuseError, run } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const limiter = new CapacityLimiter(1);
 *   {
 *     using _token = await limiter.acquire();
 *     await assertRejects(async () => await limiter.acquire(), MisuseError);
 *     assertEquals(limiter.availableTokens, 0);
 *   }
 *   assertEquals(limiter.availableTokens, 1);
 * });
 * ```
 */
export class CapacityLimiter {
  readonly #waiters = new WaitQueue<object>(
    "CapacityLimiter.acquire()",
    "held",
  );
  #totalTokens: number;
  readonly #borrowers = new Map<object, BorrowedToken>();
  /** Those who wait, or were woken and have not had their turn. */
  readonly #waiting = new Map<object, Waiter<object>>();

  /**
   * Makes a limiter.
   *
   * @param totalTokens How many tokens there are: an integer >= 0, or `Infinity`.
   * @throws {TypeError} If `totalTokens` is not a number.
   * @throws {RangeError} If it is not one it may be.
   */
  constructor(totalTokens: number) {
    checkTotal(totalTokens, "create a capacity limiter");
    this.#totalTokens = totalTokens + 0; // which makes -0 a 0
  }

  /**
   * How many tokens there are. With more, those in line get them. With fewer,
   * those that are out stay out, and none is handed out until enough are back.
   *
   * @throws {TypeError} If it is set to something else than a number.
   * @throws {RangeError} If it is not an integer >= 0, or `Infinity`.
   */
  get totalTokens(): number {
    return this.#totalTokens;
  }

  set totalTokens(totalTokens: number) {
    checkTotal(totalTokens, "resize a capacity limiter");
    this.#totalTokens = totalTokens + 0;
    this.#wakeNext();
  }

  /** How many tokens are out, those included that are on their way to a woken waiter. */
  get borrowedTokens(): number {
    return this.#borrowers.size;
  }

  /** How many tokens can be handed out: less than 0 never, also if too many are out. */
  get availableTokens(): number {
    return Math.max(this.#totalTokens - this.#borrowers.size, 0);
  }

  /**
   * Takes a token for the current task; waits while there is none or somebody
   * was in line before.
   *
   * Cancelling the wait takes nothing, and if a token was on its way to this
   * waiter, it goes to the next.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the token, to be disposed of. Waiting for it
   * throws a {@linkcode MisuseError} if the task has a token or waits for one.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return new AcquireToken(this, null, options);
  }

  /**
   * Takes a token for the current task if that is possible at once.
   *
   * @returns The token, or `null`.
   * @throws {MisuseError} If the task has a token already or waits for one, or no
   * task is running.
   */
  tryAcquire(): Permit | null {
    return this.tryAcquireOnBehalfOf(this.currentBorrower());
  }

  /**
   * Takes a token for somebody else than the current task; in all else it is
   * {@linkcode acquire}.
   *
   * @param borrower Any object.
   * @param options A signal that ends the wait.
   * @returns An operation that gives the token, to be disposed of.
   * @throws {TypeError} If `borrower` is not an object.
   */
  acquireOnBehalfOf(
    borrower: object,
    options?: WaitOptions,
  ): Operation<Permit> {
    checkBorrower(borrower);
    return new AcquireToken(this, borrower, options);
  }

  /**
   * Takes a token for somebody else if that is possible at once.
   *
   * @param borrower Any object.
   * @returns The token, or `null`.
   * @throws {TypeError} If `borrower` is not an object.
   * @throws {MisuseError} If it has a token or waits for one.
   */
  tryAcquireOnBehalfOf(borrower: object): Permit | null {
    checkBorrower(borrower);
    if (this.#borrowers.has(borrower) || this.#isWaiting(borrower)) {
      throw new MisuseError(
        `Cannot acquire a token: the borrower ${
          this.#borrowers.has(borrower) ? "has one" : "waits for one"
        } already`,
      );
    }
    if (this.availableTokens === 0 || this.#waiters.length > 0) return null;
    return this.#lend(borrower);
  }

  /**
   * Gives back the token of the current task.
   *
   * @throws {MisuseError} If it has none, or no task is running.
   */
  release(): void {
    this.releaseOnBehalfOf(this.currentBorrower());
  }

  /**
   * Gives back the token of a borrower, and hands it to the first in line.
   *
   * @param borrower Who has the token.
   * @throws {TypeError} If `borrower` is not an object.
   * @throws {MisuseError} If it has none.
   */
  releaseOnBehalfOf(borrower: object): void {
    checkBorrower(borrower);
    if (this.#isWaiting(borrower) || !this.#takeBack(borrower)) {
      throw new MisuseError(
        "Cannot release a token: the borrower has none",
      );
    }
    this.#wakeNext();
  }

  /**
   * Tells who has tokens. Takes time in proportion to how many have.
   *
   * @returns A frozen snapshot.
   */
  statistics(): CapacityLimiterStatistics {
    let tasksWaiting = 0;
    for (const borrower of this.#waiting.keys()) {
      if (this.#isWaiting(borrower)) tasksWaiting++;
    }
    return Object.freeze({
      borrowedTokens: this.borrowedTokens,
      totalTokens: this.#totalTokens,
      borrowers: Object.freeze([...this.#borrowers.keys()]),
      tasksWaiting,
    });
  }

  /** The task on whose behalf is asked for what names nobody. */
  private currentBorrower(): object {
    const task = currentTask();
    if (task === null) {
      throw new MisuseError(
        "Cannot use a token of the current task: no task is running, name a borrower",
      );
    }
    return task;
  }

  /** Whether a token is the one that the borrower has. */
  private isTokenOf(borrower: object, token: Permit): boolean {
    return this.#borrowers.get(borrower) === token;
  }

  #isWaiting(borrower: object): boolean {
    const waiter = this.#waiting.get(borrower);
    if (waiter === undefined) return false;
    if (!waiter.loop.isClosed()) return true;
    this.#waiting.delete(borrower); // the loop was closed under it
    return false;
  }

  #lend(borrower: object): Permit {
    const token = new BorrowedToken(
      this,
      borrower,
      this.#waiters.takenBy(borrower instanceof Task ? borrower : null),
    );
    this.#borrowers.set(borrower, token);
    return token;
  }

  /** Takes its token away from a borrower; false if it has none. */
  #takeBack(borrower: object): boolean {
    const token = this.#borrowers.get(borrower);
    if (token === undefined) return false;
    this.#borrowers.delete(borrower);
    this.#waiters.givenBack(token.urgency);
    return true;
  }

  /** A woken waiter has its token already, before it runs. */
  #wakeNext(): void {
    while (this.availableTokens > 0) {
      const next = this.#waiters.peek();
      if (next === undefined) return;
      this.#lend(next.item);
      this.#waiters.wakeNext();
    }
  }

  /** Waits in line. */
  private *waitForToken(borrower: object): Coroutine<Permit> {
    this.#waiters.open();
    // Those who stood in line may have gone with their loop.
    if (this.availableTokens > 0 && this.#waiters.length === 0) {
      return this.#lend(borrower);
    }
    const waiter = this.#waiters.enter(borrower);
    this.#waiting.set(borrower, waiter);
    try {
      yield* waiter;
    } catch (error) {
      if (waiter.woken) this.#takeBack(borrower);
      throw error;
    } finally {
      this.#waiting.delete(borrower);
      this.#waiters.leave(waiter);
      this.#wakeNext();
    }
    return this.#borrowers.get(borrower)!;
  }
}

class AcquireToken extends AttemptOperation<Permit> {
  readonly #limiter: CapacityLimiter;
  #borrower: object | null;

  constructor(
    limiter: CapacityLimiter,
    borrower: object | null,
    options: WaitOptions | undefined,
  ) {
    super(ACQUIRE_TOKEN, options);
    this.#limiter = limiter;
    this.#borrower = borrower;
  }

  protected attempt(): IteratorReturnResult<Permit> | undefined {
    this.#borrower ??= this.#limiter["currentBorrower"]();
    const token = this.#limiter.tryAcquireOnBehalfOf(this.#borrower);
    return token === null ? undefined : { done: true, value: token };
  }

  protected wait(): Coroutine<Permit> {
    return this.#limiter["waitForToken"](this.#borrower!);
  }
}

const ACQUIRE_TOKEN = { name: "CapacityLimiter.acquire()" };

function checkTotal(totalTokens: unknown, what: string): void {
  checkInteger(totalTokens, 0, what, "totalTokens", "or Infinity");
}

function checkBorrower(borrower: unknown): void {
  if (
    (typeof borrower !== "object" || borrower === null) &&
    typeof borrower !== "function"
  ) {
    throw new TypeError(
      `Cannot use a token as borrower must be an object: received ${
        inspect(borrower)
      }`,
    );
  }
}
