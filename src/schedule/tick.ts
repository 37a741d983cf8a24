/**
 * Tick of a periodic task.
 *
 * @module
 */
import { dateAt } from "../host/clock.ts";
import { findTask } from "../loop/current.ts";
import type { Task } from "../loop/task.ts";
import type { PeriodicTask } from "./periodic_task.ts";

/** Notes that a run begins. Takes and returns how many ticks the job had dropped when a run came. */
export let beginTick: (
  tick: Tick,
  nowMs: number,
  skippedBefore: number,
) => number;
/** Notes the task that a run has. */
export let runTickAs: (tick: Tick, task: Task<unknown>) => void;

/** Tick of a {@linkcode PeriodicTask}: the argument of its function, and the item when it is iterated. */
export class Tick {
  /** The periodic task, to be paused, rescheduled or cancelled. */
  readonly job: PeriodicTask;
  /**
   * Number of the tick: the k-th is due k intervals after the start, and numbers
   * that are missing were dropped. -1 if it was triggered.
   */
  readonly index: number;
  /** When it was due, on the clock of the loop, in milliseconds. */
  readonly dueMs: number;
  #lateMs = 0;
  /** Ticks that the job had dropped when this one came; once it has begun, those since the last run. */
  #skipped: number;
  readonly #momentMs: number | null;
  #task: Task<unknown> | null = null;

  static {
    beginTick = (tick, nowMs, skippedBefore) => {
      tick.#lateMs = Math.max(nowMs - tick.dueMs, 0);
      const skipped = tick.#skipped;
      tick.#skipped = Math.max(skipped - skippedBefore, 0);
      return skipped;
    };
    runTickAs = (tick, task) => {
      tick.#task = task;
    };
  }

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

  /** Whether it was made by {@linkcode PeriodicTask.trigger}. */
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

  /** Moment of the schedule, on the wall clock; `null` with an interval. */
  get moment(): Date | null {
    return this.#momentMs === null ? null : dateAt(this.#momentMs);
  }

  /** Aborts when this run is cancelled, alone or with its periodic task: for `fetch` and the like. */
  get signal(): AbortSignal {
    return (this.#task ?? findTask() ?? this.job).signal;
  }
}
