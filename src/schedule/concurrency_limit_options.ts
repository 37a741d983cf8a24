/**
 * Options and statistics of a {@linkcode ConcurrencyLimit}, and their checks.
 *
 * @module
 */
import { checkInteger } from "../loop/checks.ts";
import type { Priority } from "../loop/priority.ts";

/** Ways to deal with a job for which there is no room in line: see {@linkcode ConcurrencyLimitOptions.overload}. */
export type OverloadStrategy =
  | "block"
  | "reject"
  | "drop-oldest"
  | "drop-newest";

/** Options of a {@linkcode ConcurrencyLimit}. */
export interface ConcurrencyLimitOptions {
  /**
   * Most jobs that may be in line; `overload` decides about the next one. Jobs
   * that run do not count.
   *
   * @default {Infinity}
   */
  readonly highWaterMark?: number | undefined;
  /**
   * Fate of a job that can neither begin nor join the line.
   *
   * - `"block"`: it waits for a place in line, behind all others that do,
   *   whatever its priority; waiting for the job takes longer. The caller of
   *   `run` is not held up, so that a plain callback or a loop that never waits
   *   can still pile up jobs. Such code should wait for `onSizeBelow`.
   * - `"reject"`: `run` throws an {@linkcode OverloadError}.
   * - `"drop-oldest"`, `"drop-newest"`: of the jobs in line and the new one,
   *   among those with the lowest priority, the oldest or the newest is rejected
   *   with an {@linkcode OverloadError}.
   *
   * @default {"block"}
   */
  readonly overload?: OverloadStrategy | undefined;
}

/** Options of {@linkcode ConcurrencyLimit.run}. */
export interface JobOptions {
  /** Name of the job, and of its task, in messages. */
  readonly name?: string | undefined;
  /**
   * Place in line: higher first, and first come, first served among equals.
   *
   * @default {"user-visible"}
   */
  readonly priority?: Priority | undefined;
  /** Cancels the job, in line or running, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Number of slots it takes, at most as many as there are.
   *
   * @default {1}
   */
  readonly weight?: number | undefined;
  /**
   * Whether the job may be put in line from inside a job of the same limit.
   * Nothing in there may then wait for it.
   *
   * @default {false}
   */
  readonly detached?: boolean | undefined;
}

/** Counts of a {@linkcode ConcurrencyLimit}, as its `stats` returns them. */
export interface ConcurrencyLimitStats {
  /** How many slots there are. */
  readonly size: number;
  /** How many of them are taken. */
  readonly used: number;
  /** The most that were taken at a time. */
  readonly peak: number;
  /** How many jobs, and items of maps, have slots. */
  readonly running: number;
  /** How many jobs have not begun, those without a place in line included. */
  readonly pending: number;
  /** How many of these have no place in line yet: see `overload: "block"`. */
  readonly blocked: number;
  /** How many jobs and items have ended with a result. */
  readonly done: number;
  /** How many jobs and items have failed. */
  readonly failed: number;
  /** How many jobs and items were cancelled, in line or running. */
  readonly cancelled: number;
  /** How many jobs were turned away, dropped or cleared. */
  readonly dropped: number;
}

/** All overload strategies. */
export const OVERLOAD_STRATEGIES: readonly OverloadStrategy[] = [
  "block",
  "reject",
  "drop-oldest",
  "drop-newest",
];

/** Throws unless `weight` is a number of slots that a limit of `size` can give. */
export function checkWeight(weight: unknown, size: number, what: string): void {
  checkInteger(weight, 1, what, "weight");
  if ((weight as number) > size) {
    throw new RangeError(
      `Cannot ${what} as weight must be at most ${size}, the size of the limit: received ${weight}`,
    );
  }
}
