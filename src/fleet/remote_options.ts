/**
 * Options of remote executors and of their jobs, checked.
 *
 * @module
 */
import {
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { Backoff } from "../supervise/backoff.ts";
import { ExponentialBackoff } from "../structures/backoff.ts";
import type { SeededRandom } from "../structures/random.ts";
import { checkPositive, checkSeed, nextSeed } from "../workers/checks.ts";
import type { Executor, SubmitOptions } from "../workers/executor.ts";
import { hardwareThreads } from "../host/platform.ts";
import type { RetryPlan } from "./envelope.ts";

/** Delays between the attempts of a job. */
export interface RetryBackoffOptions {
  /**
   * Delay after the first failure, in milliseconds.
   *
   * @default {1_000}
   */
  readonly initialMs?: number | undefined;
  /**
   * Factor by which each further failure makes the delay longer.
   *
   * @default {2}
   */
  readonly factor?: number | undefined;
  /**
   * Longest delay, in milliseconds.
   *
   * @default {60_000}
   */
  readonly maxMs?: number | undefined;
  /**
   * `"full"`: the delay is a random part of what the failures make it, so that
   * jobs that failed together do not come back together. `"none"`: all of that.
   *
   * @default {"full"}
   */
  readonly jitter?: "full" | "none" | undefined;
}

/** Options of jobs of a fleet, beside those that all executors have. */
export interface RemoteSubmitOptions extends SubmitOptions {
  /**
   * Of jobs with the same key, one at a time is in the store: while it waits or
   * runs, a submission with its key, of any program, joins it and gets its outcome.
   * Cancelling a submission that has joined another program's job leaves that job
   * alone. If a job is removed while it waits, by the program that has added it, those
   * that have joined it submit theirs; if it is cancelled as it runs, so are they.
   */
  readonly dedupeKey?: string | undefined;
  /**
   * How long the job waits before it may begin.
   *
   * @default {0}
   */
  readonly delayMs?: number | undefined;
  /**
   * How often the job is begun at most if it fails. Runs whose worker has died do
   * not count, but for stores that cannot tell.
   *
   * @default {that of the executor}
   */
  readonly attempts?: number | undefined;
  /** Delays between attempts; those of the executor if it is left out. */
  readonly backoff?: RetryBackoffOptions | undefined;
}

/** Options of a {@linkcode RemoteExecutor}. */
export interface RemoteExecutorOptions {
  /**
   * Part of this program: submit jobs, work on those of all programs, or both.
   *
   * @default {"both"}
   */
  readonly role?: "both" | "submit" | "work" | undefined;
  /**
   * Where the functions of jobs run that this program takes. An executor that is
   * given stays open at the end.
   *
   * @default {a ThreadPool with as many threads as `concurrency`}
   */
  readonly executor?: Executor | undefined;
  /**
   * How many jobs this program takes at a time.
   *
   * @default {the capacity of `executor`, else the number of hardware threads}
   */
  readonly concurrency?: number | undefined;
  /**
   * How many jobs `map` and load balancers have in the store at a time. `submit`
   * takes any number.
   *
   * @default {100}
   */
  readonly capacity?: number | undefined;
  /**
   * How long the lease on a job holds if it is not renewed: after so long, at the
   * earliest, another worker takes the job of one that has died. Renewals come several times in
   * this time.
   *
   * @default {30_000}
   */
  readonly leaseMs?: number | undefined;
  /**
   * How many leases of a job may run out, as its workers died, before it is given
   * up and fails with a {@linkcode WorkerCrashError}.
   *
   * @default {10}
   */
  readonly maxLostLeases?: number | undefined;
  /**
   * How often a job is begun at most if it fails.
   *
   * @default {1}
   */
  readonly attempts?: number | undefined;
  /** Delays between attempts of a job. */
  readonly backoff?: RetryBackoffOptions | undefined;
  /**
   * How long the store may take to accept a job, connecting included. Attempts go
   * on until then; the job fails with a {@linkcode RemoteStoreError} after it.
   *
   * @default {10_000}
   */
  readonly storeTimeoutMs?: number | undefined;
  /**
   * How often jobs whose outcome has not been heard of are looked up in the store,
   * and cancellations are repeated.
   *
   * @default {5_000}
   */
  readonly checkMs?: number | undefined;
  /**
   * How long a future waits, once it was cancelled or its deadline has passed, to
   * hear that its job has ended. It ends after that in any case.
   *
   * @default {5_000}
   */
  readonly cancelGraceMs?: number | undefined;
  /**
   * How long the store keeps the outcome of a job.
   *
   * @default {3_600_000}
   */
  readonly keepResultsMs?: number | undefined;
  /**
   * How long the store keeps a job that has failed.
   *
   * @default {604_800_000}
   */
  readonly keepFailedMs?: number | undefined;
  /**
   * Folder of the modules of jobs. They are named by their path from there, so that
   * machines may have them in different places; and a worker runs no others, nor
   * functions that were sent by their source. Without it, a worker runs whatever
   * the store says.
   */
  readonly root?: string | URL | undefined;
  /**
   * Seed of the random parts of delays: a safe integer.
   *
   * @default {a different one for each executor}
   */
  readonly seed?: number | undefined;
}

/** The options of a remote executor, checked and complete. */
export interface RemoteSettings {
  readonly submits: boolean;
  readonly works: boolean;
  readonly executor: Executor | null;
  readonly concurrency: number;
  readonly capacity: number;
  readonly leaseMs: number;
  readonly maxLostLeases: number;
  readonly retry: RetryPlan;
  readonly storeTimeoutMs: number;
  readonly checkMs: number;
  readonly cancelGraceMs: number;
  readonly keepResultsMs: number;
  readonly keepFailedMs: number;
  readonly root: string | null;
  readonly seed: number;
}

/** Options of a job of a fleet, checked. */
export interface RemoteJobSettings {
  readonly dedupeKey: string | null;
  readonly delayMs: number;
  readonly retry: RetryPlan;
}

const DAY_MS = 86_400_000;

/**
 * Checks the options of a remote executor and fills in the defaults.
 *
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function settleRemoteOptions(
  options: RemoteExecutorOptions,
  what: string,
): RemoteSettings {
  checkOptions(options, what);
  const { role = "both", executor, seed = nextSeed() } = options;
  checkOneOf(role, ["both", "submit", "work"], what, "role");
  checkExecutor(executor, what);
  checkSeed(seed, what, "seed");
  return {
    submits: role !== "work",
    works: role !== "submit",
    executor: executor ?? null,
    ...settleNumbers(options, what),
    ...settleTimes(options, what),
    retry: settleRetry(options, what, DEFAULT_RETRY),
    root: settleRoot(options.root, what),
    seed,
  };
}

function settleNumbers(options: RemoteExecutorOptions, what: string) {
  const { executor, capacity = 100, maxLostLeases = 10 } = options;
  const {
    concurrency = Math.max(1, executor?.capacity ?? hardwareThreads()),
  } = options;
  checkInteger(concurrency, 1, what, "concurrency");
  checkInteger(capacity, 1, what, "capacity");
  checkInteger(maxLostLeases, 0, what, "maxLostLeases", "or Infinity");
  return { concurrency, capacity, maxLostLeases };
}

function settleTimes(options: RemoteExecutorOptions, what: string) {
  const {
    leaseMs = 30_000,
    storeTimeoutMs = 10_000,
    checkMs = 5_000,
    cancelGraceMs = 5_000,
    keepResultsMs = 3_600_000,
    keepFailedMs = 7 * DAY_MS,
  } = options;
  checkInteger(leaseMs, 100, what, "leaseMs");
  checkPositive(storeTimeoutMs, what, "storeTimeoutMs");
  checkPositive(checkMs, what, "checkMs");
  checkNotNegative(cancelGraceMs, what, "cancelGraceMs");
  checkPositive(keepResultsMs, what, "keepResultsMs");
  checkPositive(keepFailedMs, what, "keepFailedMs");
  return {
    leaseMs,
    storeTimeoutMs,
    checkMs,
    cancelGraceMs,
    keepResultsMs,
    keepFailedMs,
  };
}

const DEFAULT_RETRY: RetryPlan = Object.freeze({
  attempts: 1,
  initialMs: 1_000,
  factor: 2,
  maxMs: 60_000,
  isRandom: true,
});

function settleRetry(
  options: {
    readonly attempts?: number | undefined;
    readonly backoff?: RetryBackoffOptions | undefined;
  },
  what: string,
  usual: RetryPlan,
): RetryPlan {
  const { attempts = usual.attempts, backoff } = options;
  checkInteger(attempts, 1, what, "attempts");
  if (backoff === undefined) {
    return attempts === usual.attempts ? usual : { ...usual, attempts };
  }
  new Backoff(backoff, what); // checks
  const {
    initialMs = usual.initialMs,
    factor = usual.factor,
    maxMs = usual.maxMs,
    jitter = usual.isRandom ? "full" : "none",
  } = backoff;
  return { attempts, initialMs, factor, maxMs, isRandom: jitter === "full" };
}

/** The delay of a job after so many failures. */
export function retryDelayMs(
  plan: RetryPlan,
  failures: number,
  random: SeededRandom,
): number {
  const { initialMs, factor, maxMs, isRandom } = plan;
  const backoff = new ExponentialBackoff(initialMs, factor, maxMs);
  return Math.round(backoff.delayMs(failures, isRandom ? random : null));
}

function checkExecutor(executor: unknown, what: string): void {
  if (executor === undefined) return;
  const { submit, shutdown } = (executor ?? {}) as Partial<Executor>;
  if (typeof submit === "function" && typeof shutdown === "function") return;
  throw new TypeError(
    `Cannot ${what} as executor must be an executor: received ${
      inspect(executor)
    }`,
  );
}

function settleRoot(root: unknown, what: string): string | null {
  if (root === undefined) return null;
  const url = root instanceof URL || typeof root === "string"
    ? URL.parse(root)
    : null;
  if (url === null || !url.pathname.endsWith("/")) {
    throw new TypeError(
      `Cannot ${what} as root must be the URL of a folder, with a slash at its end: received ${
        inspect(root)
      }`,
    );
  }
  return url.href;
}

const SUBMIT = "submit a job";
const NO_OPTIONS: RemoteSubmitOptions = Object.freeze({});

/**
 * Checks the options of a job that other executors do not have.
 *
 * @param usual Retries of jobs that say nothing of them.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function checkRemoteSubmit(
  options: RemoteSubmitOptions | undefined,
  usual: RetryPlan,
): RemoteJobSettings {
  const { dedupeKey, delayMs = 0 } = options ?? NO_OPTIONS;
  if (dedupeKey !== undefined) {
    checkString(dedupeKey, SUBMIT, "dedupeKey");
    if (dedupeKey === "") {
      throw new RangeError(
        `Cannot ${SUBMIT} as dedupeKey must not be empty: received ""`,
      );
    }
  }
  checkNotNegative(delayMs, SUBMIT, "delayMs");
  if (delayMs === Infinity) {
    throw new RangeError(
      `Cannot ${SUBMIT} as delayMs must be finite: received Infinity`,
    );
  }
  return {
    dedupeKey: dedupeKey ?? null,
    delayMs,
    retry: settleRetry(options ?? NO_OPTIONS, SUBMIT, usual),
  };
}
