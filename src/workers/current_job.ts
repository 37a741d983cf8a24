/**
 * `currentJob`: what a job of an executor knows of itself, in the worker.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { findLocals, TaskLocal } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { SubmitOptions } from "./executor.ts";
import type { ExecutorTask, JobResult } from "./module_task.ts";
import type { NestedLine } from "./nested_line.ts";

/**
 * Lease of a job that came from a store of jobs, of a fleet: the right of one
 * worker to run it, which ends when the worker does not renew it in time.
 *
 * A job runs at least once. It may run again, also while an earlier run still goes
 * on whose worker has lost the lease without noticing. `id` is the same in all
 * runs, for writes that must happen once; `fencingToken` grows from one run to the
 * next, for stores that can refuse the writes of a run with a smaller one.
 */
export interface JobLease {
  /** Id of the job in the store, the same in every run. */
  readonly id: string;
  /** Number that is larger in each later run of this job. Not to be compared with those of other jobs. */
  readonly fencingToken: number;
  /** Number of the attempt, from 1. */
  readonly attempt: number;
  /** The `dedupeKey` of the submission; `null` if there was none. */
  readonly dedupeKey: string | null;
}

/** Name under which a lease goes along with a job, beside the task-local values. */
export const LEASE = "rota:lease";

/** Returns the lease among the values that came with a job; null if there is none. */
export function leaseIn(
  values: Readonly<Record<string, unknown>> | null,
): JobLease | null {
  if (values === null || !Object.hasOwn(values, LEASE)) return null;
  return values[LEASE] as JobLease;
}

/** A job, as the function that it runs sees it. */
export interface CurrentJob {
  /** Name that was given to `submit`; `""` if there was none. */
  readonly name: string;
  /**
   * Aborts when the job is cancelled or misses its deadline, with the reason.
   * Pass it to `fetch` and the like. Made on first use.
   */
  readonly signal: AbortSignal;
  /**
   * Moment by which the job must have ended, on the clock of
   * `performance.now()` and of loops in this worker; `Infinity` if it has no
   * deadline.
   */
  readonly deadlineMs: number;
  /**
   * Lease of a job that came from the store of a fleet, with its fencing token;
   * `null` for jobs of pools. Jobs that this one submits have the same lease.
   */
  readonly lease: JobLease | null;
  /**
   * Sends a value to the `onProgress` of the submitter. Values arrive in order,
   * before the result. After the end of the job it does nothing.
   *
   * @param value Any value that can be cloned.
   * @returns Whether the job had not ended.
   * @throws {DOMException} If the value cannot be cloned.
   */
  progress(value: unknown): boolean;
  /**
   * Has a function called by another worker of the pool that runs this job: for
   * work that divides itself.
   *
   * Await the future in an async function, or `yield*` it in a generator function.
   * A plain function cannot wait, but may return the future.
   *
   * The new job belongs to this one. When this one is cancelled, misses its
   * deadline, ends, or loses its worker, the new one is cancelled if it has not
   * ended; so all that a plain function submits and does not return is cancelled
   * as soon as it returns. Cancelling the future, or aborting the `signal`,
   * cancels the job; the future ends when the job has. During a `shutdown` of the
   * pool, a job that runs may still submit others.
   *
   * While this job waits it keeps its place in the pool, so the new one needs
   * another. If there is none, the new job might wait for ever: the future fails
   * with a {@linkcode MisuseError}, and the caller may catch that and call the
   * function itself. The future fails as well with whatever else the pool refuses
   * the job for.
   *
   * Arguments and results go by way of the pool's loop: the trip takes two to
   * four times as long as that of a job which that loop submits. The first call starts the
   * worker's loop. `key` has no effect; the moment `deadlineMs` is on the clock of
   * loops in this worker.
   *
   * @example Half of the work in another thread
   * ```ts
   * import { run, ThreadPool } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * async function sum(rota: string, numbers: number[]): Promise<number> {
   *   // A function that is sent by its source; one of a module imports as usual.
   *   const { currentJob } = await import(rota) as typeof import("@rota/rota");
   *   const add = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
   *   const middle = numbers.length >> 1;
   *   const right = currentJob()!.submit(add, [numbers.slice(middle)]);
   *   return add(numbers.slice(0, middle)) + await right;
   * }
   *
   * const total = await run(async () => {
   *   await using pool = new ThreadPool({ maxWorkers: 2 });
   *   const rota = import.meta.resolve("@rota/rota");
   *   return await pool.submit(sum, [rota, [1, 2, 3, 4]]);
   * });
   * assertEquals(total, 10);
   * ```
   *
   * @example In a generator function of a module
   * ```ts ignore
   * import { type Coroutine, currentJob, gather, taskModule } from "@rota/rota";
   *
   * const jobs = taskModule<typeof import("./jobs.ts")>(import.meta.url);
   *
   * export function* hashAll(paths: string[]): Coroutine<string[]> {
   *   const job = currentJob()!;
   *   return yield* gather(paths.map((path) => job.submit(jobs.hash, [path])));
   * }
   * ```
   *
   * @typeParam A Types of the arguments.
   * @typeParam R Type of the result of the function.
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments, which are copied, or moved if `transfer` says so.
   * @param options Name, signal, priority, deadline and so on.
   * @returns A future of the result, of the worker's loop. It fails with the error
   * of the function, a {@linkcode WorkerCrashError} if the worker of the new job
   * dies, a {@linkcode TimeoutError} at its deadline, a {@linkcode MisuseError} if
   * the pool is full, or a `DataCloneError` if something cannot be copied.
   * @throws {TypeError} If an argument or option is of the wrong type.
   * @throws {RangeError} If the deadline has passed.
   * @throws {MisuseError} If this job has ended.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>>;
}

/** A job, as the part of the worker that runs it knows it. */
export interface JobState extends CurrentJob {
  /** Whether its outcome has been sent. */
  readonly ended: boolean;
}

/** The job that a task, and every task that it makes, belongs to. */
export const jobLocal: TaskLocal<JobState | null> = new TaskLocal<
  JobState | null
>(null);

/** Submits a job from inside the job `parentId`. */
export type MakeNested = <A extends readonly unknown[], R>(
  line: NestedLine,
  parentId: number,
  loop: EventLoop,
  task: ExecutorTask<A, R>,
  args: A,
  options: SubmitOptions | undefined,
) => Future<JobResult<R>>;

let make: MakeNested | null = null;

/** Sets the function that submits jobs from inside jobs: `nested_job.ts` does, when it is loaded. */
export function provideNested(submit: MakeNested): void {
  make = submit;
}

/**
 * Submits a job from inside a job.
 *
 * @throws {MisuseError} If that was not loaded.
 */
export const makeNested: MakeNested = (line, parentId, loop, task, ...rest) => {
  if (make === null) {
    throw new MisuseError(
      'Cannot submit a job: the job has not imported "@rota/rota"',
    );
  }
  return make(line, parentId, loop, task, ...rest);
};

/**
 * Returns the job that the running code belongs to, or `null` outside of jobs.
 *
 * Call it in a function that an executor runs, before or after any `await`, or
 * in a task that such a function makes. Of several jobs in one worker it returns
 * the right one. `null` once the job has ended. Costs some ten nanoseconds.
 *
 * @example A job that tells how far it is, and can be cancelled between steps
 * ```ts
 * import { currentJob } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * function sum(numbers: readonly number[]): number {
 *   const job = currentJob();
 *   let total = 0;
 *   for (const [index, number] of numbers.entries()) {
 *     job?.signal.throwIfAborted();
 *     total += number;
 *     job?.progress(index + 1);
 *   }
 *   return total;
 * }
 * assertEquals(sum([1, 2, 3]), 6); // called directly, outside of a job
 * ```
 *
 * @returns The job, or `null`.
 */
export function currentJob(): CurrentJob | null {
  for (let at = findLocals(); at !== null; at = at.next) {
    if (at.local !== jobLocal) continue;
    const job = at.value as JobState;
    return job.ended ? null : job;
  }
  return null;
}
