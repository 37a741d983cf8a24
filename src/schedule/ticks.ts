/**
 * Which tick is next: what all plans have in common.
 *
 * @module
 */
import type { SeededRandom } from "../structures/random.ts";

/**
 * What becomes of ticks that nobody could run in time, as the thread was busy or
 * the machine asleep. The names are those of tokio's `MissedTickBehavior`.
 *
 * The tick that was waited for runs, late. Then:
 *
 * - `"skip"`: those that have passed meanwhile are dropped. The next one is the
 *   first on the grid that has not passed.
 * - `"burst"`: they run as well, one after the other, until they are made up for.
 * - `"delay"`: if it was more than 5 ms late, the next one is a full interval
 *   after it, and the grid begins anew there.
 *
 * A schedule has no interval: on one, `"delay"` is the same as `"skip"`.
 */
export type MissedTicks = "burst" | "delay" | "skip";

/** All of them. */
export const MISSED_TICKS: readonly MissedTicks[] = ["burst", "delay", "skip"];

/** How late a tick may be and still count as in time, as in tokio. */
export const LATE_MS = 5;

/**
 * The plan of a periodic task: the one tick that is due next. Moments are on the
 * clock of the loop.
 */
export interface Ticks {
  /** The number of that tick. */
  readonly index: number;
  /** Whether there is none, nor will be. */
  readonly exhausted: boolean;
  /** The job starts: what is counted from the start is counted from now. */
  start(nowMs: number): void;
  /** When it is, or was, due. */
  dueMs(nowMs: number): number;
  /** How late it is; below 0 if it is not due yet. */
  lateMs(nowMs: number): number;
  /** When to look for it: no later than it is due. */
  wakeMs(nowMs: number): number;
  /** The moment it stands for on the wall clock, if it stands for one. */
  momentMs(): number | null;
  /** Goes on to the next one. Returns how many were dropped. */
  advance(nowMs: number, missed: MissedTicks): number;
  /** Drops those that are due before `nowMs`. Returns how many. */
  skipTo(nowMs: number): number;
  /** Goes on after a pause, in which none counted as missed but by `"burst"`. */
  resume(nowMs: number, missed: MissedTicks): void;
}

/** Random delays, the same for the same seed. */
export class Jitter {
  readonly #random: SeededRandom;
  readonly #jitterMs: number;

  constructor(random: SeededRandom, jitterMs: number) {
    this.#random = random;
    this.#jitterMs = jitterMs;
  }

  /** The next delay: at least 0, below what was given. */
  drawMs(): number {
    return this.#random.next() * this.#jitterMs;
  }
}
