/**
 * Shutdown of a pool: its grace, and the waits for its end.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { checkNotNegative, checkOneOf, checkOptions } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { ShutdownOptions } from "./executor.ts";
import { type PoolClock, type PoolTimer, setTimer } from "./pool_clock.ts";

/** A pool, as its shutdown sees it. */
export interface ShutdownOwner {
  /** Takes no more jobs from now on; cancels those in line, if `cancelled` is given. */
  leave(cancelled: CancelledError | null): void;
  /** Cancels all jobs. They may take time to end. */
  cancelAll(reason: CancelledError): void;
  /** Whether no job and no worker is left. */
  isEmpty(): boolean;
  /** Called once, when nothing is left. */
  emptied(): void;
}

/** Options of a shutdown, checked: {@linkcode ShutdownOptions}. */
export interface ShutdownSettings {
  readonly graceMs: number;
  readonly cancelPending: boolean;
}

const NO_OPTIONS: ShutdownOptions = Object.freeze({});

/**
 * Checks the options of `shutdown`.
 *
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If `graceMs` is negative or `NaN`.
 */
export function checkShutdownOptions(
  options: ShutdownOptions = NO_OPTIONS,
): ShutdownSettings {
  const what = "shut down an executor";
  checkOptions(options, what);
  const { graceMs = Infinity, cancelPending = false } = options;
  checkNotNegative(graceMs, what, "graceMs");
  checkOneOf(cancelPending, [true, false], what, "cancelPending");
  return { graceMs, cancelPending };
}

/** The shutdown of one pool, which any number of calls may ask for. */
export class PoolShutdown {
  readonly #owner: ShutdownOwner;
  readonly #clock: PoolClock;
  readonly #poolInWords: string;
  /** Whether the jobs run outside of the loop; else whatever runs them tells the loop. */
  readonly #isOutside: boolean;
  #hasBegun = false;
  #isDown = false;
  /** When the jobs that are left are cancelled. */
  #dueMs = Infinity;
  #timer: PoolTimer | null = null;
  readonly #waiters: Set<Future<void>> = new Set();

  constructor(
    owner: ShutdownOwner,
    clock: PoolClock,
    poolInWords: string,
    isOutside: boolean = true,
  ) {
    this.#owner = owner;
    this.#isOutside = isOutside;
    this.#clock = clock;
    this.#poolInWords = poolInWords;
  }

  /** Whether the pool takes no more jobs. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Returns an operation that begins or joins the shutdown, and ends with it. */
  operation(settings: ShutdownSettings): Operation<void> {
    const name = `${this.#poolInWords}.shutdown()`;
    const begin = () => this.#begin(settings);
    const join = () => this.#join(name);
    return new Operation(function* () {
      begin();
      yield* join();
    }, { name });
  }

  #begin({ graceMs, cancelPending }: ShutdownSettings): void {
    if (this.#isDown) return;
    this.#hasBegun = true;
    const reason = new CancelledError(`${this.#poolInWords} was shut down`);
    const dueMs = this.#clock.nowMs() + graceMs;
    if (dueMs < this.#dueMs) {
      this.#dueMs = dueMs;
      this.#timer?.cancel();
      this.#timer = setTimer(this.#clock, graceMs, () => {
        this.#timer = null;
        this.#owner.cancelAll(reason);
      });
    }
    this.#owner.leave(cancelPending ? reason : null);
  }

  /** Waits until nothing is left. The wait may be cancelled; the shutdown goes on. */
  *#join(name: string): Coroutine<void> {
    if (this.#isDown) return;
    const loop = getRunningLoop();
    const down = new Future<void>(loop, name);
    this.#waiters.add(down);
    if (this.#isOutside) loop[core].outside.outsideBegan();
    try {
      yield* down;
    } finally {
      if (this.#isOutside) loop[core].outside.outsideEnded();
      this.#waiters.delete(down);
    }
  }

  /** Ends the shutdown if nothing is left. */
  check(): void {
    if (!this.#hasBegun || this.#isDown || !this.#owner.isEmpty()) return;
    this.#isDown = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#owner.emptied();
    for (const waiter of this.#waiters) {
      if (!waiter.done()) waiter.setResult();
    }
  }
}
