/**
 * Counts of a periodic task.
 *
 * @module
 */
/** Counts of a {@linkcode PeriodicTask} at one moment, as its `stats` returns them. */
export interface PeriodicStats {
  /** How many runs have begun. */
  readonly runs: number;
  /** How many runs began more than 5 ms after they were due. */
  readonly late: number;
  /** The most that a run was late, in milliseconds. */
  readonly maxLateMs: number;
  /**
   * How many ticks were dropped, as they were missed or came during a run. Ticks
   * of a schedule that were missed in one go count as one.
   */
  readonly skipped: number;
  /** How many runs have failed. */
  readonly failed: number;
  /** How many runs were cancelled. */
  readonly cancelled: number;
  /** Error of the last run that failed; `undefined` if none has failed. */
  readonly lastError: unknown;
  /** How many runs have begun and not ended. */
  readonly running: number;
  /** How many ticks wait for a run to end. */
  readonly queued: number;
  /** When the next tick is due, on the clock of the loop; `null` if none is planned. */
  readonly nextDueMs: number | null;
}
