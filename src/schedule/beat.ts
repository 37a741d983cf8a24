/**
 * What ticks together: jobs on the same grid share a timer.
 *
 * A thousand jobs that started together are due together. With a timer each, the
 * loop would queue, sort and take out a thousand of them for each tick, and
 * touch memory that was last touched an interval ago, which is what most of the
 * time goes into. So the first job that is armed for a tick of the grid sets the
 * timer, the others get in line behind it, and run in that order.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/handle.ts";
import { NOT_QUEUED } from "../structures/timer_queue.ts";
import type { PeriodicTask } from "./periodic_task.ts";

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
    this.#timer = grid.loop["createTickTimer"](Beat.tickTogether, this);
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
    const budget = loop["tickBudget"]();
    let ran = 0;
    let nowMs = readMs;
    while (this.#head < this.#end) {
      if (this.#head >= this.#readEnd) this.#readOn();
      const job = this.#jobs[this.#head]!;
      if (job !== null && ran === budget) {
        loop["tickedFor"](ran, this.#timer);
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
        loop["runnableFailed"](this.#timer, error);
      }
    }
    loop["tickedFor"](ran, null);
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
