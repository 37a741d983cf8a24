import { BrokenBarrierError } from "../errors.ts";
import { checkInteger, checkWaitOptions } from "../loop/checks.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { Condition } from "./condition.ts";

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
    return new Operation(() => this.#wait(signal), WAIT);
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

const WAIT = { name: "Barrier.wait()" };
const RESET = { name: "Barrier.reset()" };
const ABORT = { name: "Barrier.abort()" };
