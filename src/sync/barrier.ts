/**
 * A meeting point for a given number of tasks.
 *
 * @module
 */
import { BrokenBarrierError } from "../errors.ts";
import { checkInteger, checkWaitOptions } from "../loop/checks.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Condition, waitAs } from "./condition.ts";

/** Filling: waits for more. Draining: all have come. Resetting: they are sent away. */
type State = "filling" | "draining" | "resetting" | "broken";

/** A wait that takes part in the current round. */
interface Party {
  /** Place in the order of arrival; known once all have come. */
  place: number;
}

/**
 * A barrier: tasks wait until a given number of them has come, then all of them
 * go on, and the next round begins.
 *
 * Like asyncio's `Barrier`. A waiter that is cancelled before all have come
 * leaves, and the others wait for one more; the barrier does not break. A wait
 * that is cancelled later does not hold up the others either. Tasks that come
 * while the last round is still on its way out wait until it is.
 *
 * @example No task starts the second half before all have done the first
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
 *     const place = yield* barrier.wait();
 *     log.push(`slow: second half, came as ${place}`);
 *   });
 *   log.push("fast: first half");
 *   const place = await barrier.wait();
 *   log.push(`fast: second half, came as ${place}`);
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
  /** How many tasks have to come. */
  readonly parties: number;
  readonly #condition = new Condition();
  #state: State = "filling";
  /** Waits of the current round, in the order of arrival. */
  readonly #round = new Set<Party>();

  /**
   * Makes a barrier.
   *
   * @param parties How many tasks have to come.
   * @throws {TypeError} If `parties` is not a number.
   * @throws {RangeError} If it is not an integer >= 1.
   */
  constructor(parties: number) {
    checkInteger(parties, 1, "create a barrier", "parties");
    this.parties = parties;
    waitAs(this.#condition, "Barrier.wait()", this);
  }

  /** How many tasks wait for the others to come: 0 as soon as all have. */
  get nWaiting(): number {
    return this.#state === "filling" ? this.#round.size : 0;
  }

  /** Whether {@linkcode abort} was called, and no {@linkcode reset} since. */
  get broken(): boolean {
    return this.#state === "broken";
  }

  /**
   * Waits until all parties have come. The last one does not wait.
   *
   * Waiting tasks go on one after the other, a turn or more apart: in the
   * order in which they came, unless tasks were cancelled meanwhile. Each has a
   * place of its own, from 0 to `parties - 1`. The places are given out when the
   * last one comes, in the order of arrival, so that tasks that were cancelled
   * before have none. (In CPython two tasks may then have the same place.) If a
   * task is cancelled after that, before it goes on, nobody gets its place.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the place in the order of arrival, from 0.
   * @throws {BrokenBarrierError} If the barrier is aborted, before or during the
   * wait, or reset during it.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  wait(options?: WaitOptions): Operation<number> {
    const signal = checkWaitOptions(options, "wait at a barrier");
    return new Operation(() => this.#wait(signal), WAIT);
  }

  /**
   * Makes the barrier as new: waiting tasks get a {@linkcode BrokenBarrierError},
   * and newcomers are let in when the last of them has left. An aborted barrier
   * can be used again.
   *
   * @param options A signal that ends the wait for the barrier's own lock.
   * @returns An operation. It does nothing until it is awaited.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  reset(options?: WaitOptions): Operation<void> {
    return new Operation(() => this.#reset(), {
      ...RESET,
      signal: checkWaitOptions(options, "reset a barrier"),
    });
  }

  /**
   * Breaks the barrier: waiting tasks and newcomers get a
   * {@linkcode BrokenBarrierError}, until {@linkcode reset} is called.
   *
   * @param options A signal that ends the wait for the barrier's own lock.
   * @returns An operation. It does nothing until it is awaited.
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
    this.#state = this.#round.size > 0 ? "resetting" : "filling";
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
    yield* this.#waitForRound(options);
    const party: Party = { place: -1 };
    this.#round.add(party);
    try {
      if (this.#round.size === this.parties) this.#release();
      else yield* this.#waitForOthers(options);
      return party.place;
    } finally {
      this.#round.delete(party);
      this.#exit();
    }
  }

  /** Waits until the last round is out. */
  *#waitForRound(options: WaitOptions): Coroutine<void> {
    yield* this.#condition.waitFor(
      () => this.#state === "filling" || this.#state === "broken",
      options,
    );
    if (this.#state === "broken") {
      throw new BrokenBarrierError(
        "Cannot wait at a barrier: it has been aborted",
      );
    }
  }

  /** All have come: gives out the places, and wakes those that wait. */
  #release(): void {
    this.#state = "draining";
    let place = 0;
    for (const party of this.#round) party.place = place++;
    this.#condition.notifyAll();
  }

  *#waitForOthers(options: WaitOptions): Coroutine<void> {
    yield* this.#condition.waitFor(() => this.#state !== "filling", options);
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
    if (this.#round.size > 0) return;
    if (this.#state === "resetting" || this.#state === "draining") {
      this.#state = "filling";
    }
    // Without the lock if it could not be acquired again: on another loop.
    if (this.#condition.locked()) this.#condition.notifyAll();
  }
}

const WAIT = { name: "Barrier.wait()" };
const RESET = { name: "Barrier.reset()" };
const ABORT = { name: "Barrier.abort()" };
