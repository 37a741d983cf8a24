/**
 * Options that thread pools and process pools share, and their checks.
 *
 * @module
 */
import { DetectionUnsupportedError } from "../errors.ts";
import {
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
} from "../loop/checks.ts";
import {
  OVERLOAD_STRATEGIES,
  type OverloadStrategy,
} from "../schedule/concurrency_limit_options.ts";
import { checkPositive, checkSeed, nextSeed } from "./checks.ts";

/** When a worker is replaced by a fresh one: see {@linkcode PoolOptions.recycle}. */
export interface RecycleOptions {
  /**
   * After so many jobs.
   *
   * @default {Infinity}
   */
  readonly afterJobs?: number | undefined;
  /**
   * Once it uses so much memory.
   *
   * @default {Infinity}
   */
  readonly aboveBytes?: number | undefined;
}

/**
 * Delays between attempts to start a worker, after failures in a row. The first
 * attempt after a failure comes at once; the delays before those after it are
 * random, up to a limit that begins with `minMs` and doubles each time.
 */
export interface PoolBackoffOptions {
  /**
   * Limit of the first delay.
   *
   * @default {100}
   */
  readonly minMs?: number | undefined;
  /**
   * Most that the limit grows to.
   *
   * @default {10_000}
   */
  readonly maxMs?: number | undefined;
  /**
   * Seed of the random numbers: a safe integer.
   *
   * @default {a different one for each pool}
   */
  readonly seed?: number | undefined;
}

/** Options of a pool of workers, be they threads or processes. */
export interface PoolOptions {
  /** Name of the pool in messages. */
  readonly name?: string | undefined;
  /**
   * Workers that stay, however long they have nothing to do. They are started
   * with the first job.
   *
   * @default {0}
   */
  readonly minWorkers?: number | undefined;
  /**
   * Most workers at a time. Workers that are being replaced, killed or shut down
   * do not count.
   *
   * @default {the number of hardware threads, or minWorkers if that is more}
   */
  readonly maxWorkers?: number | undefined;
  /**
   * How many jobs a worker runs at a time. More than one is for jobs that wait
   * most of the time; a job that computes keeps the others of its worker from
   * going on.
   *
   * @default {1}
   */
  readonly concurrency?: number | undefined;
  /**
   * How long a worker may be idle before it is ended, if there are more than
   * `minWorkers`.
   *
   * @default {30_000}
   */
  readonly idleTimeoutMs?: number | undefined;
  /**
   * How long a worker may take to start. It takes some 50 ms, but much longer on
   * a machine that is overloaded, or while the runtime checks types.
   *
   * @default {30_000}
   */
  readonly startTimeoutMs?: number | undefined;
  /**
   * Most jobs that may be in line beside those for which there is, or can be, a
   * worker; `overload` decides about the next one.
   *
   * @default {Infinity}
   */
  readonly highWaterMark?: number | undefined;
  /**
   * Fate of a job that finds the line full, as with a {@linkcode ConcurrencyLimit}.
   * Jobs that are dropped count as cancelled.
   *
   * - `"block"`: the job waits for a place in line, whatever its priority. The
   *   caller of `submit` is not held up.
   * - `"reject"`: `submit` throws an {@linkcode OverloadError}.
   * - `"drop-oldest"`, `"drop-newest"`: of the jobs in line and the new one,
   *   among those with the lowest priority, the oldest or the newest is rejected
   *   with an {@linkcode OverloadError}.
   *
   * @default {"block"}
   */
  readonly overload?: OverloadStrategy | undefined;
  /**
   * When a worker is replaced, against leaks. The new worker is started first;
   * the old one takes jobs until that is ready, then ends those that it has.
   *
   * A worker keeps every module that it has loaded, and every function that was
   * sent by its source: a program that makes ever new ones, such as `data:` URLs,
   * should have its workers replaced.
   *
   * @default {never}
   */
  readonly recycle?: RecycleOptions | undefined;
  /**
   * How long a cancelled job may take to end. Then its worker is killed. Other
   * jobs that the worker has may end before that, if it still reacts: one that
   * does not answer for the same time, or 1,000 ms if that is longer, is killed
   * with all that it has.
   *
   * @default {1_000}
   */
  readonly cancelGraceMs?: number | undefined;
  /**
   * Fate of a job whose worker dies. `"reject"`: it fails with a
   * {@linkcode WorkerCrashError}. `"retry"`: it goes back in line, if it was
   * submitted as `idempotent` and transfers nothing; others fail.
   *
   * @default {"reject"}
   */
  readonly onCrash?: "reject" | "retry" | undefined;
  /**
   * How often a job is begun again at most, with `onCrash: "retry"`.
   *
   * @default {2}
   */
  readonly retriesMax?: number | undefined;
  /**
   * How many workers in a row may fail to start, or die before they have had a
   * job, before the pool gives up: the jobs in line fail with the last cause. The
   * next job makes it try again.
   *
   * @default {5}
   */
  readonly maxRestarts?: number | undefined;
  /**
   * Failures to start that are further apart are not in a row.
   *
   * @default {60_000}
   */
  readonly withinMs?: number | undefined;
  /** Delays between attempts to start a worker. */
  readonly backoff?: PoolBackoffOptions | undefined;
  /**
   * How long a worker that has jobs may answer nothing while it uses no CPU time.
   * Then it is killed, and its jobs fail as `"unresponsive"`. Needs to know the CPU
   * time of a worker, which takes Linux, and `--allow-ffi` for threads, `--allow-all`
   * for processes. Where that is not so, the default has no effect, and a time that is
   * asked for is refused.
   *
   * @default {30_000}
   */
  readonly unresponsiveMs?: number | undefined;
}

/** The options of a pool, checked and complete. */
export interface PoolSettings {
  readonly name: string;
  readonly minWorkers: number;
  readonly maxWorkers: number;
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly highWaterMark: number;
  readonly overload: OverloadStrategy;
  readonly recycleAfterJobs: number;
  readonly recycleAboveBytes: number;
  readonly cancelGraceMs: number;
  readonly onCrash: "reject" | "retry";
  readonly retriesMax: number;
  readonly maxRestarts: number;
  readonly withinMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  readonly seed: number;
  readonly unresponsiveMs: number;
}

/**
 * Checks the options of a pool and fills in the defaults.
 *
 * @param options Options as they were given.
 * @param what The refused action in messages, such as "create a thread pool".
 * @param workersDefault Default of `maxWorkers`.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function settlePoolOptions(
  options: PoolOptions,
  what: string,
  workersDefault: number,
): PoolSettings {
  checkOptions(options, what);
  const { name = "", overload = "block", onCrash = "reject" } = options;
  checkString(name, what, "name");
  checkOneOf(overload, OVERLOAD_STRATEGIES, what, "overload");
  checkOneOf(onCrash, ["reject", "retry"], what, "onCrash");
  return {
    name,
    overload,
    onCrash,
    ...settleSizes(options, what, workersDefault),
    ...settleTimes(options, what),
    ...settleRecycling(options.recycle, what),
    ...settleRestarts(options, what),
  };
}

function settleSizes(
  options: PoolOptions,
  what: string,
  workersDefault: number,
) {
  const { minWorkers = 0, concurrency = 1, highWaterMark = Infinity } = options;
  checkInteger(minWorkers, 0, what, "minWorkers");
  const maxWorkers = options.maxWorkers ?? Math.max(workersDefault, minWorkers);
  checkInteger(maxWorkers, 1, what, "maxWorkers");
  if (maxWorkers < minWorkers) {
    throw new RangeError(
      `Cannot ${what} as maxWorkers must be at least minWorkers, ${minWorkers}: received ${maxWorkers}`,
    );
  }
  checkInteger(concurrency, 1, what, "concurrency", "or Infinity");
  checkInteger(highWaterMark, 0, what, "highWaterMark", "or Infinity");
  return { minWorkers, maxWorkers, concurrency, highWaterMark };
}

function settleTimes(options: PoolOptions, what: string) {
  const {
    idleTimeoutMs = 30_000,
    startTimeoutMs = 30_000,
    cancelGraceMs = 1_000,
    unresponsiveMs = 30_000,
  } = options;
  checkNotNegative(idleTimeoutMs, what, "idleTimeoutMs");
  checkPositive(startTimeoutMs, what, "startTimeoutMs");
  checkNotNegative(cancelGraceMs, what, "cancelGraceMs");
  checkPositive(unresponsiveMs, what, "unresponsiveMs");
  return { idleTimeoutMs, startTimeoutMs, cancelGraceMs, unresponsiveMs };
}

/** Throws if unresponsive workers are to be found, and cannot be. */
export function checkDetection(
  { unresponsiveMs = Infinity }: PoolOptions,
  what: string,
  canKnow: () => boolean,
  permission: string,
): void {
  if (unresponsiveMs === Infinity || canKnow()) return;
  throw new DetectionUnsupportedError(
    `Cannot ${what} with unresponsiveMs: the CPU time of its workers can be known on Linux only, with ${permission}`,
  );
}

function settleRecycling(
  recycle: RecycleOptions | undefined,
  what: string,
) {
  if (recycle !== undefined) checkOptions(recycle, what);
  const { afterJobs = Infinity, aboveBytes = Infinity } = recycle ?? {};
  checkInteger(afterJobs, 1, what, "recycle.afterJobs", "or Infinity");
  checkInteger(aboveBytes, 1, what, "recycle.aboveBytes", "or Infinity");
  return { recycleAfterJobs: afterJobs, recycleAboveBytes: aboveBytes };
}

function settleRestarts(options: PoolOptions, what: string) {
  const { retriesMax = 2, maxRestarts = 5, withinMs = 60_000, backoff } =
    options;
  checkInteger(retriesMax, 0, what, "retriesMax", "or Infinity");
  checkInteger(maxRestarts, 0, what, "maxRestarts", "or Infinity");
  checkNotNegative(withinMs, what, "withinMs");
  if (backoff !== undefined) checkOptions(backoff, what);
  const { minMs = 100, maxMs = Math.max(10_000, minMs), seed = nextSeed() } =
    backoff ?? {};
  checkNotNegative(minMs, what, "backoff.minMs");
  checkNotNegative(maxMs, what, "backoff.maxMs");
  if (maxMs < minMs) {
    throw new RangeError(
      `Cannot ${what} as backoff.maxMs must be at least backoff.minMs, ${minMs}: received ${maxMs}`,
    );
  }
  checkSeed(seed, what, "backoff.seed");
  return {
    retriesMax,
    maxRestarts,
    withinMs,
    backoffMinMs: minMs,
    backoffMaxMs: maxMs,
    seed,
  };
}
