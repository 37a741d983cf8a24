/**
 * Ticks of a periodic task: what one is, and which is next, and when, by an
 * interval or by a schedule on the wall clock. Nothing here runs anything.
 *
 * @module
 */
import { dateAt } from "../host/timing.ts";
import { inspect } from "../loop/checks.ts";
import { currentTask } from "../loop/current.ts";
import type { Task } from "../loop/task.ts";
import type { SeededRandom } from "../structures/random.ts";
import type { PeriodicTask } from "./periodic_task.ts";

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

/**
 * Ticks on a grid: the k-th is due at anchor + k x interval. That is a product
 * and not a sum, so that errors of rounding do not add up.
 */
export class IntervalTicks implements Ticks {
  readonly exhausted = false;
  index: number;
  readonly intervalMs: number;
  readonly #jitter: Jitter | null;
  #anchorMs: number;
  /** The number of the tick that falls on the anchor. */
  #anchorIndex: number;
  #jitterMs = 0;
  #dueMs: number;

  /**
   * @param anchorIndex The tick at `anchorMs`.
   * @param first Which one is the first to run: the anchor itself, which is not
   * put off, or the one after it.
   */
  constructor(
    intervalMs: number,
    anchorMs: number,
    anchorIndex: number,
    first: "anchor" | "after",
    jitter: Jitter | null,
  ) {
    this.intervalMs = intervalMs;
    this.#jitter = jitter;
    this.#anchorMs = anchorMs;
    this.#anchorIndex = anchorIndex;
    this.index = anchorIndex;
    this.#dueMs = anchorMs;
    if (first === "after") this.#goOn();
  }

  start(nowMs: number): void {
    this.#anchorMs = nowMs;
    this.#dueMs = this.#at(this.index);
  }

  /** Whether all that begin at the same moment with the same interval have the same ticks. */
  get isShareable(): boolean {
    return this.#jitter === null && this.#anchorIndex === 0;
  }

  /** Makes another tick the one that is due next. */
  moveTo(index: number): void {
    this.index = index;
    this.#dueMs = this.#at(index);
  }

  dueMs(_nowMs: number): number {
    return this.#dueMs;
  }

  lateMs(nowMs: number): number {
    return nowMs - this.#dueMs;
  }

  wakeMs(_nowMs: number): number {
    return this.#dueMs;
  }

  momentMs(): null {
    return null;
  }

  advance(nowMs: number, missed: MissedTicks): number {
    if (missed === "delay" && nowMs - this.#dueMs > LATE_MS) {
      this.#anchorMs = nowMs;
      this.#anchorIndex = this.index;
    }
    this.#goOn();
    return missed === "skip" && this.#dueMs < nowMs ? this.skipTo(nowMs) : 0;
  }

  skipTo(nowMs: number): number {
    if (this.#dueMs >= nowMs) return 0;
    const from = this.index;
    let index = this.#anchorIndex +
      Math.ceil((nowMs - this.#jitterMs - this.#anchorMs) / this.intervalMs);
    // The quotient is rounded: it may be one off.
    if (index > from && this.#at(index - 1) >= nowMs) index--;
    if (this.#at(index) < nowMs) index++;
    this.index = index;
    this.#dueMs = this.#at(index);
    return index - from;
  }

  resume(nowMs: number, missed: MissedTicks): void {
    if (missed === "burst" || this.#dueMs >= nowMs) return;
    if (missed === "skip") {
      this.skipTo(nowMs);
      return;
    }
    this.#anchorMs = nowMs;
    this.#anchorIndex = this.index - 1;
    this.#dueMs = this.#at(this.index);
  }

  #goOn(): void {
    this.index++;
    if (this.#jitter !== null) this.#jitterMs = this.#jitter.drawMs();
    this.#dueMs = this.#at(this.index);
  }

  #at(index: number): number {
    return this.#anchorMs + (index - this.#anchorIndex) * this.intervalMs +
      this.#jitterMs;
  }
}

/**
 * Says when something is to happen, on the wall clock. A `Cron` of the package
 * `croner` is one as it is, time zones included.
 */
export interface Schedule {
  /**
   * Gives the first moment after another one.
   *
   * @param after The other one.
   * @returns The moment, or `null` if there is none any more.
   */
  nextRun(after: Date): Date | null;
}

/** A schedule that gives the same moment again is asked for what is this much later. */
const LATER_MS = [0, 1, 1_000, 60_000, 3_600_000];

/**
 * The moments of a schedule.
 *
 * They are on the wall clock, which can be set, while the timers of the loop are
 * on one that cannot. So each look compares with the wall clock anew: nothing is
 * early, and a clock that was set back brings no moment a second time.
 */
export class ScheduleTicks implements Ticks {
  index: number;
  readonly #schedule: Schedule;
  readonly #wallClockMs: () => number;
  /** How long to wait at most until the wall clock is looked at again. */
  readonly #recheckMs: number;
  readonly #jitter: Jitter | null;
  #momentMs: number;
  #jitterMs = 0;
  /** No moment up to this one comes again. */
  #lastMs: number;

  /**
   * @param index The number of the tick that is the first to run.
   * @param first Whether that is at once, or the next moment of the schedule.
   * @throws {TypeError} If the schedule gives something else than moments.
   * @throws {RangeError} If it does not go on.
   */
  constructor(
    schedule: Schedule,
    wallClockMs: () => number,
    recheckMs: number,
    index: number,
    first: "now" | "next",
    jitter: Jitter | null,
  ) {
    this.#schedule = schedule;
    this.#wallClockMs = wallClockMs;
    this.#recheckMs = recheckMs;
    this.#jitter = jitter;
    this.index = index;
    this.#lastMs = wallClockMs();
    this.#momentMs = this.#lastMs;
    if (first === "next") this.#plan(this.#after(this.#lastMs));
  }

  get exhausted(): boolean {
    return this.#momentMs === Infinity;
  }

  start(_nowMs: number): void {
    // Its moments are its own.
  }

  dueMs(nowMs: number): number {
    return nowMs - this.lateMs(nowMs);
  }

  lateMs(_nowMs: number): number {
    return this.#wallClockMs() - (this.#momentMs + this.#jitterMs);
  }

  wakeMs(nowMs: number): number {
    return nowMs + Math.min(-this.lateMs(nowMs), this.#recheckMs);
  }

  momentMs(): number {
    return this.#momentMs;
  }

  advance(_nowMs: number, missed: MissedTicks): number {
    this.#lastMs = this.#momentMs;
    const next = this.#after(this.#lastMs);
    this.index++;
    this.#plan(next);
    return missed === "burst" ? 0 : this.#skipPassed();
  }

  skipTo(_nowMs: number): number {
    return this.#skipPassed();
  }

  resume(_nowMs: number, missed: MissedTicks): void {
    if (missed !== "burst") this.#skipPassed();
  }

  /** Nobody knows how many were missed without asking for each: they count as one. */
  #skipPassed(): number {
    const wallMs = this.#wallClockMs();
    if (this.#momentMs + this.#jitterMs >= wallMs) return 0;
    this.#momentMs = this.#after(wallMs);
    return 1;
  }

  #plan(momentMs: number): void {
    this.#momentMs = momentMs;
    if (this.#jitter !== null) this.#jitterMs = this.#jitter.drawMs();
  }

  /** The first moment after `wallMs` that has not been. */
  #after(wallMs: number): number {
    for (const laterMs of LATER_MS) {
      const date: unknown = this.#schedule.nextRun(dateAt(wallMs + laterMs));
      if (date === null) return Infinity;
      const momentMs = date instanceof Date ? date.getTime() : NaN;
      if (Number.isNaN(momentMs)) {
        throw new TypeError(
          `Cannot go by a schedule as nextRun() must return a valid Date or null: received ${
            inspect(date)
          }`,
        );
      }
      if (momentMs > this.#lastMs) return momentMs;
    }
    throw new RangeError(
      `Cannot go by a schedule as nextRun() must return later moments: received one that is not after ${
        dateAt(this.#lastMs).toISOString()
      }, again and again`,
    );
  }
}

/** One tick of a {@linkcode PeriodicTask}: what its function is given, and what iterating gives. */
export class Tick {
  /** The periodic task, to be paused, rescheduled or cancelled. */
  readonly job: PeriodicTask;
  /**
   * Which tick it is: the k-th is due k intervals after the start, and numbers
   * that are missing were dropped. -1 if it was triggered.
   */
  readonly index: number;
  /** When it was due, on the clock of the loop, in milliseconds. */
  readonly dueMs: number;
  #lateMs = 0;
  /** How many ticks of the job were dropped before this one came, then how many since the last run. */
  #skipped: number;
  readonly #momentMs: number | null;
  #task: Task<unknown> | null = null;

  /** @ignore */
  constructor(
    job: PeriodicTask,
    index: number,
    dueMs: number,
    momentMs: number | null,
    skipped: number,
  ) {
    this.job = job;
    this.index = index;
    this.dueMs = dueMs;
    this.#skipped = skipped;
    this.#momentMs = momentMs;
  }

  /** Whether it is one by {@linkcode PeriodicTask.trigger}. */
  get triggered(): boolean {
    return this.index < 0;
  }

  /** How long after {@linkcode dueMs} it began, in milliseconds; never below 0. */
  get lateMs(): number {
    return this.#lateMs;
  }

  /** How many ticks were dropped between the last one that ran and this one. */
  get skipped(): number {
    return this.#skipped;
  }

  /** The moment that the schedule gave, on the wall clock; `null` with an interval. */
  get moment(): Date | null {
    return this.#momentMs === null ? null : dateAt(this.#momentMs);
  }

  /** Aborts when this run is cancelled, alone or with its periodic task: for `fetch` and the like. */
  get signal(): AbortSignal {
    return (this.#task ?? currentTask() ?? this.job).signal;
  }

  /** It begins. Takes and returns how many were dropped before the tick of a run came. */
  private begin(nowMs: number, skippedBefore: number): number {
    this.#lateMs = Math.max(nowMs - this.dueMs, 0);
    const skipped = this.#skipped;
    this.#skipped = Math.max(skipped - skippedBefore, 0);
    return skipped;
  }

  /** It runs as `task`. */
  private runAs(task: Task<unknown>): void {
    this.#task = task;
  }
}
