/**
 * How a precise loop meets its deadlines: it gets up ahead of them, and spends
 * the last microseconds polling.
 *
 * @module
 */
import type { Host } from "../host/host.ts";
import { macrotask, microtask } from "../host/timing.ts";

/** Bounds of what a precise loop gets up ahead of a deadline. */
const AHEAD_MS_MIN = 0.05;
const AHEAD_MS_MAX = 2.5;
const AHEAD_MS_FIRST = 0.25;
/** The last stretch before a deadline is waited for without giving up the thread. */
const SPIN_MS = 0.02;

/** Learns how late wake-ups are, and makes up for it. */
export class Precision {
  /** How long before a deadline the host is to wake the loop. */
  aheadMs = AHEAD_MS_FIRST;
  private readonly host: Host;

  constructor(host: Host) {
    this.host = host;
  }

  /** Gets up further ahead after a late wake-up, and a little less far after each early one. */
  learn(lateMs: number): void {
    const wantedMs = lateMs * 1.25;
    const step = wantedMs > this.aheadMs ? 0.5 : 0.05;
    const aheadMs = this.aheadMs + (wantedMs - this.aheadMs) * step;
    this.aheadMs = Math.min(Math.max(aheadMs, AHEAD_MS_MIN), AHEAD_MS_MAX);
  }

  /**
   * Spends what is left until a deadline that is close; false if it is not.
   * `spent` goes on once it is reached, `passed` after a pass of the runtime.
   */
  spin(
    dueMs: number,
    nowMs: number,
    spent: () => void,
    passed: () => void,
  ): boolean {
    const leftMs = dueMs - nowMs;
    if (!(leftMs <= this.aheadMs)) return false;
    if (leftMs <= SPIN_MS) {
      while (this.host.now() < dueMs);
      microtask(spent);
    } else macrotask(passed);
    return true;
  }
}
