/**
 * A flag that tasks can wait for.
 *
 * @module
 */
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { WaitQueue } from "./wait_queue.ts";

/** Snapshot of a flag: the result of {@linkcode Flag.statistics}. */
export interface FlagStatistics {
  /** Whether it is set. */
  readonly isSet: boolean;
  /** How many tasks wait in line: neither woken nor cancelled. */
  readonly tasksWaiting: number;
  /** The largest `tasksWaiting` so far. */
  readonly tasksWaitingPeak: number;
}

/**
 * A flag: `wait()` returns once it is set.
 *
 * Like asyncio's `Event`; an `Event` on the web is something else, so it has
 * the word of asyncio's own description. Waiting for a flag that is set takes
 * no turn. Setting it takes time in proportion to the waiters, everything else
 * is constant.
 *
 * @example All tasks wait for the start
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
  readonly #waiters = new WaitQueue("Flag.wait()", this);
  #set = false;

  /**
   * Returns whether the flag is set.
   *
   * @returns Whether it is; at first it is not.
   */
  isSet(): boolean {
    return this.#set;
  }

  /**
   * Sets the flag and wakes all waiters, in the order in which they came. If it
   * is set already, nothing happens. May be called from a plain callback.
   */
  set(): void {
    if (this.#set) return;
    this.#set = true;
    this.#waiters.wakeAll();
  }

  /** Clears the flag: from now on, `wait()` waits for the next {@linkcode set}. */
  clear(): void {
    this.#set = false;
  }

  /**
   * Waits until the flag is set.
   *
   * A woken waiter does not look at the flag again: a `set()` followed by a
   * `clear()` wakes all that were waiting. Cancelling the wait has no effect on
   * other waiters.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is `true`, as in asyncio.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  wait(options?: WaitOptions): Operation<true> {
    return new FlagOperation(this, this.#waiters, options);
  }

  /**
   * Returns the numbers of this moment.
   *
   * @returns A frozen snapshot.
   */
  statistics(): FlagStatistics {
    return Object.freeze({
      isSet: this.#set,
      tasksWaiting: this.#waiters.pendingCount,
      tasksWaitingPeak: this.#waiters.pendingPeak,
    });
  }
}

class FlagOperation extends AttemptOperation<true> {
  readonly #flag: Flag;
  readonly #waiters: WaitQueue;

  constructor(
    flag: Flag,
    waiters: WaitQueue,
    options: WaitOptions | undefined,
  ) {
    super(WAIT, options);
    this.#flag = flag;
    this.#waiters = waiters;
  }

  protected attempt(): IteratorReturnResult<true> | undefined {
    return this.#flag.isSet() ? SET : undefined;
  }

  protected wait(): Coroutine<true> {
    return waitToBeSet(this.#waiters);
  }
}

function* waitToBeSet(waiters: WaitQueue): Coroutine<true> {
  const waiter = waiters.enter(undefined);
  try {
    yield* waiter;
    return true;
  } finally {
    waiters.leave(waiter);
  }
}

const WAIT = { name: "Flag.wait()" };
const SET: IteratorReturnResult<true> = { done: true, value: true };
