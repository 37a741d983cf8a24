/**
 * The last microseconds before a deadline, on a loop whose timers are precise.
 *
 * @module
 */
import { macrotask } from "../host/macrotask.ts";
import { microtask } from "../host/microtask.ts";

/** Bounds of what a precise loop gets up ahead of a deadline. */
const AHEAD_MS_MIN = 0.05;
const AHEAD_MS_MAX = 2.5;
const AHEAD_MS_FIRST = 0.25;
/** The last stretch before a deadline is waited for without giving up the thread. */
const SPIN_MS = 0.02;

/** Whether a deadline is so close that the thread is not given up before it. */
export function isImminent(leftMs: number): boolean {
  return leftMs <= SPIN_MS;
}

/** Learns how late wake-ups are, and makes up for it. */
export class Precision {
  /** How long before a deadline the host is to wake the loop. */
  aheadMs = AHEAD_MS_FIRST;

  /** Gets up further ahead after a late wake-up, and a little less far after each early one. */
  learn(lateMs: number): void {
    const wantedMs = lateMs * 1.25;
    const step = wantedMs > this.aheadMs ? 0.5 : 0.05;
    const aheadMs = this.aheadMs + (wantedMs - this.aheadMs) * step;
    this.aheadMs = Math.min(Math.max(aheadMs, AHEAD_MS_MIN), AHEAD_MS_MAX);
  }

  /**
   * Whether a deadline is so close that the loop does not park. It goes on with
   * `passed` after a pass of the runtime, with `spin` if there is no time for one.
   */
  approach(leftMs: number, passed: () => void, spin: () => void): boolean {
    if (!(leftMs <= this.aheadMs)) return false;
    if (isImminent(leftMs)) microtask(spin);
    else macrotask(passed);
    return true;
  }
}
