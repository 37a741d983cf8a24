/**
 * Clock of a pool: graces, backoff and time limits run on the time of the
 * machine, as a virtual clock stands still while a job is outside of its loop.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";
import { after } from "../host/timers.ts";

/** How long tasks that jobs have left behind may take to end in a worker that closes, once they are cancelled. */
export const CLOSE_GRACE_MS = 1_000;
/** How much longer than the grace of a cancellation a pool waits for a worker that closes: that may use its own up. */
export const CLOSE_MARGIN_MS = 500;

/** A timer that was set. */
export interface PoolTimer {
  /** Withdraws it; does nothing once it has fired. */
  cancel(): void;
}

/** The time, and timers that do not keep the process alive. */
export interface PoolClock {
  /** Returns the time in milliseconds; it never goes back. */
  nowMs(): number;
  /**
   * Calls `fn` once, no sooner than `ms` milliseconds from now, and never inside
   * this call. A delay of more than 24 days may end early.
   */
  after(ms: number, fn: () => void): PoolTimer;
}

/** The clock of the machine. */
export const MACHINE_CLOCK: PoolClock = {
  nowMs: monotonicMs,
  after: (ms, fn) => after(ms, fn, false),
};

/** Sets a timer, unless it is to ring never. */
export function setTimer(
  clock: PoolClock,
  ms: number,
  fn: () => void,
): PoolTimer | null {
  return ms === Infinity ? null : clock.after(Math.max(ms, 0), fn);
}
