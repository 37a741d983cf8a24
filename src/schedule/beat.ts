/**
 * Jobs that tick together: one timer for all that are due at one moment.
 *
 * A thousand jobs that started together are due together. With a timer each, the
 * loop would queue, sort and take out a thousand timers for each tick, and touch
 * memory that was last touched an interval ago, which would take most of the
 * time. So the first job that is armed for a tick of a grid sets a timer, and the
 * others get in line behind it, and run in that order.
 *
 * @module
 */
import { core } from "../loop/core.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { NOT_QUEUED } from "../structures/timer_queue.ts";
import type { Grid } from "./grid.ts";
import type { PeriodicCore } from "./periodic_core.ts";

/** How many jobs are read together. */
const JOBS_AHEAD = 16;

/** Room for so many jobs is kept though few use it. */
const ROOM_MIN = 64;

/** Tick of a grid, with the jobs that are armed for it. */
export class Beat {
  /** Number of the tick. */
  index = 0;
  dueMs = 0;
  /** When the tick after it is due. */
  nextDueMs = 0;
  readonly grid: Grid;
  readonly #timer: TimerHandle;
  /** Jobs in the order in which they were armed; null for one that has left or had its turn. */
  readonly #jobs: (PeriodicCore | null)[] = [];
  #end = 0;
  #left = 0;
  /** Place of the job whose turn is next, once they run. */
  #head = 0;
  #running = false;
  /** Whether jobs may still be added. */
  #open = false;
  /** Jobs before this place have been read. */
  #readEnd = 0;
  /** Sum of all that was read: the compiler drops reads that are not used. */
  readAhead = NaN;

  constructor(grid: Grid) {
    this.grid = grid;
    this.#timer = grid.metronome.loop[core].timers.createTickTimer(
      Beat.tickTogether,
      this,
    );
  }

  /**
   * Whether a job that is armed now may be added. Not when its moment has come,
   * nor when something else was armed for that moment since: the job would run
   * before that.
   */
  get isOpen(): boolean {
    return this.#open && this.#timer.queueBucket !== NOT_QUEUED;
  }

  /** Lets no more jobs be added. */
  close(): void {
    this.#open = false;
  }

  /** Makes it another tick, for which no job is armed yet. */
  set(index: number, dueMs: number, nextDueMs: number): void {
    this.index = index;
    this.dueMs = dueMs;
    this.nextDueMs = nextDueMs;
    this.#open = true;
    this.#timer.reschedule(dueMs);
  }

  /** Arms a job for it. */
  add(job: PeriodicCore): void {
    if (this.#end > ROOM_MIN && this.#end > 2 * this.#left) this.#closeUp();
    job.beat = this;
    job.slot = this.#end;
    this.#jobs[this.#end++] = job;
    this.#left++;
  }

  /** Disarms a job that is armed for it. */
  remove(job: PeriodicCore): void {
    job.beat = null;
    this.#jobs[job.slot] = null;
    if (--this.#left > 0 || this.#running) return;
    this.grid.leave(this);
    this.#timer.cancel();
  }

  /** Moves jobs up to where others have left. */
  #closeUp(): void {
    const jobs = this.#jobs;
    let end = 0;
    for (let slot = 0; slot < this.#end; slot++) {
      const job = jobs[slot]!;
      if (job === null) continue;
      job.slot = end;
      jobs[end++] = job;
    }
    this.#end = jobs.length = end;
  }

  /** Callback of all timers; messages call it by this name. */
  static readonly tickTogether = (beat: Beat, readMs: number): number =>
    beat.#run(readMs);

  /**
   * Runs the jobs, as its moment has come: as many as the loop lets run without a
   * look at the clock. The rest run right after that.
   */
  #run(readMs: number): number {
    const { loop } = this.grid.metronome;
    if (!this.#running) {
      this.#running = true;
      this.grid.leave(this);
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
      job.beat = null;
      try {
        if (Number.isNaN(nowMs)) nowMs = loop.time();
        nowMs = job.beatCame(this, nowMs);
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
   * Reads the next jobs at once: after an interval they are in no cache any more,
   * and the processor waits for several together if nothing is done in between.
   */
  #readOn(): void {
    const end = Math.min(this.#end, this.#head + JOBS_AHEAD);
    let sum = 0;
    for (let slot = this.#head; slot < end; slot++) {
      sum += this.#jobs[slot]?.readAhead() ?? 0;
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
    this.grid.giveBack(this);
  }
}
