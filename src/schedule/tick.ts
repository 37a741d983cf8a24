import { dateAt } from "../host/timing.ts";
import { currentTask } from "../loop/current.ts";
import type { Task } from "../loop/task.ts";
import type { PeriodicTask } from "./periodic_task.ts";

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
