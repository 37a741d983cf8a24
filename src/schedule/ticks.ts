/**
 * Ticks of periodic tasks: what one is; which is next, and when, by an interval
 * or by a schedule on the wall clock; and which of them share a timer.
 *
 * @module
 */
import { dateAt } from "../host/clock.ts";
import { core } from "../loop/core.ts";
import { inspect } from "../loop/checks.ts";
import { findTask } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Task } from "../loop/task.ts";
import type { SeededRandom } from "../structures/random.ts";
import { NOT_QUEUED } from "../structures/timer_queue.ts";
import type { PeriodicTask } from "./periodic.ts";

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
    return (this.#task ?? findTask() ?? this.job).signal;
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

// -- What ticks together --

// A thousand jobs that started together are due together. With a timer each, the
// loop would queue, sort and take out a thousand of them for each tick, and
// touch memory that was last touched an interval ago, which is what most of the
// time goes into. So the first job that is armed for a tick of the grid sets the
// timer, the others get in line behind it, and run in that order.

/** So many jobs are read together. */
const JOBS_AHEAD = 16;

/** Room for so many is kept though few use it. */
const ROOM_MIN = 64;

/** The ticks of an interval from one moment on, for all jobs that go by them. */
export class Grid {
  readonly loop: EventLoop;
  readonly #intervalMs: number;
  readonly #anchorMs: number;
  /** Those that are armed, by the number of the tick. */
  readonly #beats: Map<number, Beat> = new Map();
  /** The one that was joined last, which most will join. */
  #latest: Beat | null = null;
  /** One that is over, to be used again. */
  #spare: Beat | null = null;

  constructor(loop: EventLoop, intervalMs: number, anchorMs: number) {
    this.loop = loop;
    this.#intervalMs = intervalMs;
    this.#anchorMs = anchorMs;
  }

  /** When a tick is due. A product and not a sum: errors of rounding do not add up. */
  dueMs(index: number): number {
    return this.#anchorMs + index * this.#intervalMs;
  }

  /** Arms `job`, which is armed for nothing, for a tick. */
  join(job: PeriodicTask, index: number): void {
    const latest = this.#latest;
    if (latest !== null && latest.index === index && latest.isAhead) {
      latest.add(job);
    } else this.#find(index).add(job);
  }

  #find(index: number): Beat {
    let beat = this.#beats.get(index);
    if (beat === undefined || !beat.isAhead) {
      beat = this.#spare ?? new Beat(this);
      this.#spare = null;
      beat.set(index, this.dueMs(index), this.dueMs(index + 1));
      this.#beats.set(index, beat);
    }
    return this.#latest = beat;
  }

  /** `beat` can be joined no more. */
  close(beat: Beat): void {
    if (this.#beats.get(beat.index) === beat) this.#beats.delete(beat.index);
    if (this.#latest === beat) this.#latest = null;
  }

  /** Nobody needs `beat` any more. */
  giveBack(beat: Beat): void {
    this.#spare = beat;
  }
}

/** One tick of a grid, and who is armed for it. */
export class Beat {
  /** The number of the tick. */
  index = 0;
  dueMs = 0;
  /** When the one after it is due. */
  nextDueMs = 0;
  readonly #grid: Grid;
  readonly #timer: TimerHandle;
  /** In the order in which they were armed; null for who has left or had its turn. */
  readonly #jobs: (PeriodicTask | null)[] = [];
  #end = 0;
  #left = 0;
  /** Whose turn is next, once they run. */
  #head = 0;
  #running = false;
  /** The jobs before this one have been read. */
  #readEnd = 0;
  /** What became of reading them, as what is not used is not read at all. */
  readAhead = NaN;

  constructor(grid: Grid) {
    this.#grid = grid;
    this.#timer = grid.loop[core].timers.createTickTimer(
      Beat.tickTogether,
      this,
    );
  }

  /** Whether its moment has not come. What is armed after that has its turn after it. */
  get isAhead(): boolean {
    return this.#timer.queueBucket !== NOT_QUEUED;
  }

  /** Makes it that of another tick, for which nobody is armed yet. */
  set(index: number, dueMs: number, nextDueMs: number): void {
    this.index = index;
    this.dueMs = dueMs;
    this.nextDueMs = nextDueMs;
    this.#timer.reschedule(dueMs);
  }

  /** Arms one more for it. */
  add(job: PeriodicTask): void {
    if (this.#end > ROOM_MIN && this.#end > 2 * this.#left) this.#closeUp();
    job["beat"] = this;
    job["slot"] = this.#end;
    this.#jobs[this.#end++] = job;
    this.#left++;
  }

  /** Disarms one that is armed for it. */
  remove(job: PeriodicTask): void {
    job["beat"] = null;
    this.#jobs[job["slot"]] = null;
    if (--this.#left > 0 || this.#running) return;
    this.#grid.close(this);
    this.#timer.cancel();
  }

  /** Lets those who are there move up to where others have left. */
  #closeUp(): void {
    const jobs = this.#jobs;
    let end = 0;
    for (let slot = 0; slot < this.#end; slot++) {
      const job = jobs[slot]!;
      if (job === null) continue;
      job["slot"] = end;
      jobs[end++] = job;
    }
    this.#end = jobs.length = end;
  }

  /** What all timers call; its name is what messages call them. */
  static readonly tickTogether = (beat: Beat, readMs: number): number =>
    beat.#run(readMs);

  /**
   * Its moment has come: gives everybody a turn, as far as the loop lets it go on
   * without a look at the clock. The rest have theirs right after that.
   */
  #run(readMs: number): number {
    const { loop } = this.#grid;
    if (!this.#running) {
      this.#running = true;
      this.#grid.close(this);
    }
    const budget = loop[core].tickBudget();
    let ran = 0;
    let nowMs = readMs;
    while (this.#head < this.#end) {
      if (this.#head >= this.#readEnd) this.#readOn();
      const job = this.#jobs[this.#head]!;
      if (job !== null && ran === budget) {
        loop[core].tickedFor(ran, this.#timer);
        return NaN;
      }
      this.#jobs[this.#head++] = null;
      if (job === null) continue;
      ran++;
      this.#left--;
      job["beat"] = null;
      try {
        if (Number.isNaN(nowMs)) nowMs = loop.time();
        nowMs = job["beatCame"](this, nowMs);
      } catch (error) {
        nowMs = NaN;
        loop[core].runnableFailed(this.#timer, error);
      }
    }
    loop[core].tickedFor(ran, null);
    this.#reset();
    return nowMs;
  }

  /**
   * Reads the next jobs all at once: after an interval they are in no cache any
   * more, and the processor waits for several together if nothing is done in
   * between.
   */
  #readOn(): void {
    const end = Math.min(this.#end, this.#head + JOBS_AHEAD);
    let sum = 0;
    for (let slot = this.#head; slot < end; slot++) {
      sum += this.#jobs[slot]?.["readAhead"]() ?? 0;
    }
    this.#readEnd = end;
    this.readAhead = sum;
  }

  #reset(): void {
    this.#running = false;
    this.#readEnd = 0;
    if (this.#jobs.length > ROOM_MIN && this.#jobs.length > 2 * this.#end) {
      this.#jobs.length = this.#end;
    }
    this.#head = this.#end = this.#left = 0;
    this.#grid.giveBack(this);
  }
}
