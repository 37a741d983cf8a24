/**
 * Options of periodic tasks: policies, checks and defaults.
 *
 * @module
 */
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
} from "../loop/checks.ts";
import { checkPriority, type Priority } from "../loop/priority.ts";
import type { LoopOptions } from "../structured/waitable.ts";
import type { Schedule } from "./schedule_ticks.ts";
import type { Tick } from "./tick.ts";
import { MISSED_TICKS, type MissedTicks } from "./ticks.ts";

/**
 * Function that a {@linkcode PeriodicTask} runs: an async function, a generator
 * function or a plain one. A run lasts until its result has settled.
 */
export type PeriodicBody = (tick: Tick) => unknown;

/**
 * Fate of a tick that comes while the run of an earlier one has not ended.
 *
 * - `"skip"`: the tick is dropped.
 * - `"queue"`: it waits in line, for as long as it takes. If runs are always
 *   slower than ticks, the line grows without bound; `stats().queued` shows it.
 * - `"concurrent"`: it runs beside the earlier one.
 * - `"cancel-previous"`: the earlier run is cancelled, and the tick runs when
 *   that has cleaned up. If more ticks come before, only the last one runs.
 */
export type OverrunPolicy =
  | "skip"
  | "queue"
  | "concurrent"
  | "cancel-previous";

/**
 * Reaction to a run that fails.
 *
 * - `"report"`: the error goes to the exception handler of the loop, and the job
 *   goes on.
 * - `"stop"`: the job ends, and waiting for it throws the error.
 * - A function is called with the error and the tick, and the job goes on. If the
 *   function throws, the job ends with that error, as with `"stop"`. It may be an
 *   async function or a generator function. It runs in a task, a child of the
 *   job, which goes on meanwhile and does not end before it.
 */
export type PeriodicErrorPolicy =
  | "report"
  | "stop"
  | ((error: unknown, tick: Tick) => unknown);

/** Options of {@linkcode every}. */
export interface PeriodicOptions extends LoopOptions {
  /**
   * Name of the job in messages.
   *
   * @default {`every(10)` for an interval of 10 ms, else `every(schedule)`}
   */
  readonly name?: string | undefined;
  /** Cancels the job, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Fate of ticks that could not run in time.
   *
   * @default {"skip"}
   */
  readonly missedTicks?: MissedTicks | undefined;
  /**
   * Fate of a tick that comes while an earlier one still runs.
   *
   * @default {"skip"}
   */
  readonly overrun?: OverrunPolicy | undefined;
  /**
   * Delays each tick by a random time from 0 up to, but not including, so many
   * milliseconds. Delays do not add up. A delay that exceeds the interval makes
   * ticks miss their time.
   *
   * @default {0}
   */
  readonly jitterMs?: number | undefined;
  /**
   * Seed of the random delays: a safe integer.
   *
   * @default {a different one for each job}
   */
  readonly seed?: number | undefined;
  /**
   * Number of runs after which the job ends, triggered ones included.
   *
   * @default {Infinity}
   */
  readonly maxRuns?: number | undefined;
  /**
   * Whether tick 0 runs at once, in the next turn. Else the first tick comes
   * after an interval.
   *
   * @default {false}
   */
  readonly immediate?: boolean | undefined;
  /**
   * Priority of the runs. With another than the default each run is a task that
   * waits its turn; without, a run begins in the turn of its tick.
   *
   * @default {that of the task that makes the job, else "user-visible"}
   */
  readonly priority?: Priority | undefined;
  /**
   * Reaction to a run that fails.
   *
   * @default {"report"}
   */
  readonly onError?: PeriodicErrorPolicy | undefined;
  /**
   * Wall clock that a schedule goes by: returns milliseconds since 1970, like
   * `Date.now()`.
   *
   * @default {that of the machine; on a virtual host, the time of the loop}
   */
  readonly wallClockMs?: (() => number) | undefined;
}

/** All policies for ticks that come during a run. */
const OVERRUN: readonly OverrunPolicy[] = [
  "skip",
  "queue",
  "concurrent",
  "cancel-previous",
];

/** All options, checked, each with its value. */
export interface PeriodicSettings {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly missedTicks: MissedTicks;
  readonly overrun: OverrunPolicy;
  readonly jitterMs: number;
  readonly seed: number | undefined;
  readonly maxRuns: number;
  readonly immediate: boolean;
  /** Priority of the job; it inherits one if this is undefined. */
  readonly priority: Priority | undefined;
  readonly onError: PeriodicErrorPolicy;
  readonly wallClockMs: (() => number) | undefined;
}

/** Checks the options and fills in the defaults. Each is read once. */
export function settleOptions(
  interval: number | Schedule,
  options: PeriodicOptions,
  what: string,
): PeriodicSettings {
  checkOptions(options, what);
  const {
    name = typeof interval === "number"
      ? `every(${interval})`
      : "every(schedule)",
    signal,
    missedTicks = "skip",
    overrun = "skip",
    jitterMs = 0,
    seed,
    maxRuns = Infinity,
    immediate = false,
    priority,
    onError = "report",
    wallClockMs,
  } = options;
  const settings: PeriodicSettings = {
    name,
    signal,
    missedTicks,
    overrun,
    jitterMs,
    seed,
    maxRuns,
    immediate,
    priority,
    onError,
    wallClockMs,
  };
  checkSettings(settings, what);
  return settings;
}

function checkSettings(settings: PeriodicSettings, what: string): void {
  const { name, signal, priority, immediate, onError, wallClockMs } = settings;
  if (priority !== undefined) checkPriority(priority, what);
  checkString(name, what, "name");
  checkSignal(signal, what);
  checkTicks(settings, what);
  checkOneOf(immediate, [true, false], what, "immediate");
  if (typeof onError !== "function") {
    checkOneOf(onError, ["report", "stop"], what, "onError");
  }
  if (wallClockMs !== undefined) {
    checkFunction(wallClockMs, what, "wallClockMs");
  }
}

function checkTicks(settings: PeriodicSettings, what: string): void {
  const { missedTicks, overrun, jitterMs, seed, maxRuns } = settings;
  checkOneOf(missedTicks, MISSED_TICKS, what, "missedTicks");
  checkOneOf(overrun, OVERRUN, what, "overrun");
  checkNotNegative(jitterMs, what, "jitterMs");
  if (jitterMs === Infinity) {
    throw new RangeError(
      `Cannot ${what} as jitterMs must be finite: received Infinity`,
    );
  }
  if (seed !== undefined) {
    checkInteger(seed, Number.MIN_SAFE_INTEGER, what, "seed");
    if (!Number.isSafeInteger(seed)) {
      throw new RangeError(
        `Cannot ${what} as seed must be a safe integer: received ${seed}`,
      );
    }
  }
  checkInteger(maxRuns, 1, what, "maxRuns", "or Infinity");
}
