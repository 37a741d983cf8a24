/**
 * Pool of threads.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { hardwareThreads, OS } from "../host/platform.ts";
import { ffiGranted, readGranted } from "../host/process.ts";
import type { ThreadResourceLimits } from "../host/thread.ts";
import type { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import { BaseExecutor } from "./base_executor.ts";
import { checkEnvironment, checkResourceLimits } from "./checks.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "./executor.ts";
import { lazyStarter } from "./lazy_link.ts";
import { type ExecutorTask, type JobResult, toTaskRef } from "./module_task.ts";
import { PoolCore } from "./pool_core.ts";
import {
  checkDetection,
  type PoolOptions,
  settlePoolOptions,
} from "./pool_options.ts";
import { checkSubmitOptions, copyArguments } from "./submit_options.ts";
import { THREAD_SCRIPT } from "./thread_script.ts";
import { transportedLocals } from "./transport.ts";

const CREATE = "create a thread pool";

/** Options of a {@linkcode ThreadPool}. */
export interface ThreadPoolOptions extends PoolOptions {
  /**
   * Limits of the memory of each thread. A thread that needs more dies, and its
   * jobs fail as `"out-of-memory"`, or, where the runtime does not tell, as
   * `"unresponsive"`. Array buffers do not count. Limits with which the runtime
   * would end the whole program are refused: `maxOldGenerationSizeMb` must be at
   * least 8, `codeRangeSizeMb` at most 4,096.
   */
  readonly resourceLimits?: ThreadResourceLimits | undefined;
  /** Environment variables that `process.env` shows in the threads, instead of those of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

const NO_OPTIONS: ThreadPoolOptions = Object.freeze({});

/**
 * Pool of threads: calls functions elsewhere, so that those that compute or block
 * do not hold up the loop.
 *
 * Threads are started with the first jobs, as many as there are jobs and at most
 * `maxWorkers`, and end when they have been idle for long. They have this
 * program's permissions, and hold neither the process nor a processor while they
 * have nothing to do. A thread that is busy can be killed, whatever JavaScript it
 * runs; in native code that does not return it goes on, and counts in
 * `stats().lostThreads`.
 *
 * Arguments and results are copied as `structuredClone` does, or moved if
 * `transfer` or {@linkcode withTransfer} says so. Small ones go by memory that
 * both threads share, which takes half of the time of a message. There, a `Proxy`
 * around a plain object is copied as that object instead of being refused.
 *
 * A job in a thread takes some 30 us more than a call, a thread 40 ms to start
 * and some 7 MB.
 *
 * Needs `--allow-read` for the files of Rota and those of the tasks, unless they
 * are imported from a registry. With `--allow-ffi` (on Linux) it also finds
 * threads that do not react any more, or live on after their end.
 *
 * @example A function of a module
 * ```ts ignore
 * import { run, taskModule, ThreadPool } from "@rota/rota";
 *
 * const jobs = taskModule<typeof import("./jobs.ts")>(
 *   new URL("./jobs.ts", import.meta.url),
 * );
 * await run(async () => {
 *   await using pool = new ThreadPool();
 *   const hash = await pool.submit(jobs.hash, ["secret"]);
 * });
 * ```
 *
 * @example A function that needs nothing around it
 * ```ts
 * import { run, ThreadPool } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using pool = new ThreadPool({ maxWorkers: 2 });
 *   const squares = await pool.map((n: number) => n * n, [1, 2, 3]);
 *   assertEquals(squares, [1, 4, 9]);
 * });
 * ```
 *
 * @example The same in a generator
 * ```ts
 * import { run, scoped, ThreadPool } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(function* () {
 *   return yield* scoped(new ThreadPool(), function* (pool) {
 *     return yield* pool.submit((a: number, b: number) => a + b, [1, 2]);
 *   });
 * });
 * assertEquals(sum, 3);
 * ```
 */
export class ThreadPool extends BaseExecutor {
  readonly #core: PoolCore;

  /**
   * Makes a pool. No thread is started before the first job.
   *
   * @param options Name, sizes, time limits and so on.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {MisuseError} If threads cannot be started as a permission is missing.
   * @throws {DetectionUnsupportedError} If `unresponsiveMs` is given and can have no effect.
   */
  constructor(options: ThreadPoolOptions = NO_OPTIONS) {
    super();
    const settings = settlePoolOptions(options, CREATE, hardwareThreads());
    const { resourceLimits, env } = options;
    if (resourceLimits !== undefined) {
      checkResourceLimits(resourceLimits, CREATE);
    }
    if (env !== undefined) checkEnvironment(env, CREATE);
    checkPermissions();
    checkDetection(
      options,
      CREATE,
      () => OS === "linux" && ffiGranted(),
      "--allow-ffi",
    );
    const { name } = settings;
    const link = {
      name: name === "" ? "ThreadPool" : name,
      env,
      resourceLimits,
    };
    const starter = lazyStarter(async () => {
      const { loadThreadStarter } = await import("./thread_link.ts");
      return await loadThreadStarter(link);
    });
    this.#core = new PoolCore(starter, settings, {
      pool: name === "" ? "ThreadPool" : `ThreadPool ${JSON.stringify(name)}`,
      kind: "thread",
    }, { transportedLocals });
  }

  /** How many jobs it runs at a time at most. */
  get capacity(): number {
    return this.#core.capacity;
  }

  /**
   * Has a function called in a thread. The job begins at once if a thread is
   * free, else it is in line, by priority and then in the order of submission.
   *
   * Cancelling the future, or aborting the `signal`, ends the job: in line it
   * never begins. If it runs, its own signal aborts, and if it has not ended after
   * `cancelGraceMs` its thread is killed; then the future ends.
   *
   * @typeParam A Types of the arguments.
   * @typeParam R Type of its result.
   * @param task The function: `{ module, name }`, a member of {@linkcode taskModule},
   * or a function that needs nothing around it.
   * @param args Its arguments. They are copied when the job begins, not now: leave
   * alone what is in them until then.
   * @param options Name, signal, priority, deadline and so on.
   * @returns A future of the result. It fails with the error of the function, a
   * {@linkcode WorkerCrashError} if the thread dies, a {@linkcode TimeoutError} at the
   * deadline, or a `DataCloneError` if something cannot be copied.
   * @throws {TypeError} If an argument or option is of the wrong type.
   * @throws {RangeError} If the deadline has passed.
   * @throws {ExecutorShutDownError} After `shutdown`.
   * @throws {OverloadError} If the line is full, with `overload: "reject"`.
   * @throws {MisuseError} If no loop is running, or the pool is in use on another one.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    const ref = toTaskRef(task, "submit a job");
    const given = copyArguments(args);
    return this.#core.submit(ref, given, checkSubmitOptions(options));
  }

  /**
   * Takes no more jobs, lets the others end, and ends the threads. Calling it
   * again joins the first call, and may shorten its grace.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation that ends when no job and no thread is left.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `graceMs` is negative or `NaN`.
   */
  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.#core.shutdown(options);
  }

  /**
   * Returns the counts of jobs and threads.
   *
   * @returns A copy.
   */
  stats(): ExecutorStats {
    return this.#core.stats();
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"ThreadPool"`.
   */
  get [Symbol.toStringTag](): string {
    return "ThreadPool";
  }
}

function checkPermissions(): void {
  if (!THREAD_SCRIPT.startsWith("file:") || readGranted(THREAD_SCRIPT)) return;
  throw new MisuseError(
    `Cannot ${CREATE}: the permission to read ${THREAD_SCRIPT} is missing, run with --allow-read`,
  );
}
