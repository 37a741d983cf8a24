/**
 * Timers for the ticks of periodic work, which pass the time from one to the next.
 *
 * @module
 */
import type { TimerCore } from "./core.ts";
import { NO_ARGUMENTS } from "./handle.ts";
import { TimerHandle } from "./timer_handle.ts";

/**
 * Callback of a {@linkcode TickTimer}, called with the time if it is known, else `NaN`.
 * Returns the time if it was read when all was done, else `NaN`.
 */
export type TickCallback<T> = (target: T, readMs: number) => number;

/**
 * A timer whose callback has to know when it begins and when it has ended. Of
 * several that run one after the other, each begins when the one before has
 * ended: they pass the time on, as reading the clock costs as much as half of
 * all else. The loop sees to it that nothing else runs in between.
 */
export class TickTimer<T> extends TimerHandle {
  readonly #target: T;

  constructor(timers: TimerCore, callback: TickCallback<T>, target: T) {
    super(timers, Infinity, callback, NO_ARGUMENTS);
    this.#target = target;
  }

  override run(): void {
    this.runAt(NaN);
  }

  /** Runs the callback; parameter and result are those of {@linkcode TickCallback}. */
  runAt(readMs: number): number {
    // With an async context the callback is wrapped, so it is read from the
    // handle.
    const callback = this.callback as TickCallback<T> | null;
    return this.takeTurn() && callback !== null
      ? callback(this.#target, readMs)
      : readMs;
  }
}

/** The `run` of all of them, by which the kernel recognizes one. */
export const TICK_RUN = TickTimer.prototype.run;
