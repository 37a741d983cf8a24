/**
 * The contract of executors: what every pool, balancer and remote engine offers.
 *
 * @module
 */
import type { Future } from "../loop/future.ts";
import type { OperationIterable } from "../loop/each.ts";
import type { Operation } from "../loop/operation.ts";
import type { Priority } from "../loop/priority.ts";
import type { LimitMap } from "../schedule/limit_map.ts";
import type { ExecutorTask, JobResult } from "./module_task.ts";

/**
 * Options of {@linkcode Executor.submit}.
 *
 * A job whose module takes more than ten seconds to load in a worker of a pool
 * fails with a `TimeoutError`, whatever the options say.
 */
export interface SubmitOptions {
  /** Name of the job in messages. */
  readonly name?: string | undefined;
  /** Cancels the job when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Place in line: higher first, then first come, first served. */
  readonly priority?: Priority | undefined;
  /** Subject of the job: a balancer with the strategy `"hash"` gives all jobs of a key to one member. */
  readonly key?: string | number | undefined;
  /**
   * Moment of the loop's clock by which the job must have ended. A job that has
   * not is cancelled, and fails with a `TimeoutError`. As a virtual clock stands
   * still while a job is outside, the time until then is that of the machine.
   */
  readonly deadlineMs?: number | undefined;
  /** Objects of the arguments that are moved to the worker instead of copied. */
  readonly transfer?: readonly Transferable[] | undefined;
  /** Whether the job may run more than once, if its worker dies. */
  readonly idempotent?: boolean | undefined;
  /** Called on the loop with each value that the job gives to `progress`. */
  readonly onProgress?: ((value: unknown) => void) | undefined;
}

/** Options of {@linkcode Executor.map}. */
export interface ExecutorMapOptions {
  /** Whether results come in the order of the items; else each as it comes. */
  readonly ordered?: boolean | undefined;
  /** Priority of the jobs. */
  readonly priority?: Priority | undefined;
  /** Ends the map when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the jobs may run more than once, if their worker dies. */
  readonly idempotent?: boolean | undefined;
}

/** Options of {@linkcode Executor.shutdown}. */
export interface ShutdownOptions {
  /**
   * How long jobs may take to end. The others are
   * cancelled then.
   *
   * @default {Infinity}
   */
  readonly graceMs?: number | undefined;
  /**
   * Whether jobs that have not begun are cancelled at once.
   *
   * @default {false}
   */
  readonly cancelPending?: boolean | undefined;
}

/** Median and 99th percentile, in milliseconds; `NaN` before there is a value. Correct within 4 %. */
export interface Percentiles {
  /** Half of the values are at most this. */
  readonly p50: number;
  /** All but a hundredth of the values are at most this. */
  readonly p99: number;
}

/** Counts of an executor, from {@linkcode Executor.stats}. */
export interface ExecutorStats {
  /** Jobs that have not begun. */
  readonly queued: number;
  /** Jobs that are with a worker. */
  readonly running: number;
  /** Jobs that returned a result. */
  readonly done: number;
  /** Jobs that failed with an error of their own. */
  readonly failed: number;
  /** Jobs that were cancelled, missed their deadline, or were dropped as the line was full. */
  readonly cancelled: number;
  /** Jobs that failed because their worker died. */
  readonly crashed: number;
  /** Times that a job was begun again after its worker had died. */
  readonly rerun: number;
  /** Workers by their state. */
  readonly workers: {
    readonly starting: number;
    readonly idle: number;
    readonly busy: number;
    /** Workers that are being replaced, cancelled or shut down. */
    readonly stopping: number;
  };
  /** Threads that go on although they were killed, as native code does not return. */
  readonly lostThreads: number;
  /** Time from `submit` until the job began. */
  readonly waitMs: Percentiles;
  /** Time from the beginning of a job until its result was there. */
  readonly runMs: Percentiles;
}

/**
 * Contract of all that runs functions elsewhere: in threads, in processes, on other
 * machines, or on several of these.
 *
 * A job ends exactly once: with its result, its error, a cancellation, or a
 * {@linkcode WorkerCrashError} if what ran it has died.
 */
export interface Executor extends AsyncDisposable {
  /** How many jobs it runs at a time at most. */
  readonly capacity: number;
  /**
   * Has a function called elsewhere.
   *
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments, which are copied, or moved if `transfer` says so,
   * when the job begins: leave alone what is in them until then.
   * @param options Name, signal, priority, deadline and so on.
   * @returns A future of the result, which cancels the job when it is cancelled.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>>;
  /**
   * Has a function called for each item of a source. The next item is pulled
   * when there is room for it.
   *
   * @param task The function, of one argument.
   * @param source Anything that `for await` takes.
   * @param options Order, priority, signal.
   * @returns An operation: await it for an array, or iterate it.
   */
  map<T, R>(
    task: ExecutorTask<readonly [T], R>,
    source: OperationIterable<T> | AsyncIterable<T> | Iterable<T>,
    options?: ExecutorMapOptions,
  ): LimitMap<JobResult<R>>;
  /**
   * Takes no more jobs, lets the others end, and ends the workers. Calling it
   * again joins the first call, and may shorten its grace.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation that ends when nothing is left.
   */
  shutdown(options?: ShutdownOptions): Operation<void>;
  /**
   * Returns the counts.
   *
   * @returns A copy.
   */
  stats(): ExecutorStats;
}
