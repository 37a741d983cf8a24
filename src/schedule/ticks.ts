/**
 * Plan of a periodic task, and what happens to ticks that are missed.
 *
 * @module
 */
/**
 * Fate of ticks that could not run in time, as the thread was busy or the machine
 * asleep. The names are those of tokio's `MissedTickBehavior`.
 *
 * The tick that is due runs, late. Then:
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

/** All policies for missed ticks. */
export const MISSED_TICKS: readonly MissedTicks[] = ["burst", "delay", "skip"];

/** How late a tick may be and still count as in time, like tokio's. */
export const LATE_MS = 5;

/** Plan of a periodic task: its next tick. Moments are on the clock of the loop. */
export interface Ticks {
  /** Number of the next tick. */
  readonly index: number;
  /** Whether there are no more ticks. */
  readonly exhausted: boolean;
  /** Counts intervals from `startMs` on: the start of the job. */
  start(startMs: number): void;
  /** Returns when it is, or was, due. */
  dueMs(nowMs: number): number;
  /** Returns how late it is; below 0 if it is not due yet. */
  lateMs(nowMs: number): number;
  /** Returns when to look for it: no later than it is due. */
  wakeMs(nowMs: number): number;
  /** Returns its moment on the wall clock; null if it has none. */
  momentMs(): number | null;
  /** Goes on to the next tick. Returns how many were dropped. */
  advance(nowMs: number, missed: MissedTicks): number;
  /** Drops ticks that are due before `nowMs`. Returns how many. */
  skipTo(nowMs: number): number;
  /** Goes on after a pause. Ticks of the pause were missed only with `"burst"`. */
  resume(nowMs: number, missed: MissedTicks): void;
}
