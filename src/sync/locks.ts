/**
 * What tasks wait for until another one says so: a lock, a flag, a condition, a
 * barrier.
 *
 * @module
 */
import { BrokenBarrierError, CancelledError, MisuseError } from "../errors.ts";
import {
  AttemptOperation,
  Operation,
  type WaitOptions,
} from "../loop/operation.ts";
import {
  checkFunction,
  checkInteger,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { currentTask } from "../loop/current.ts";
import type { Coroutine } from "../loop/task.ts";
import type { Urgency } from "../loop/scheduler.ts";
import { type Permit, WaitQueue } from "./wait_queue.ts";

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
