/**
 * Executor whose jobs run on the loop itself, as tasks.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { monotonicMs } from "../host/clock.ts";
import { after } from "../host/timers.ts";
import { cancellation } from "../loop/cancellation.ts";
import { checkOptions } from "../loop/checks.ts";
import { findLoop, getRunningLoop, type LocalValue } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import { until } from "../loop/until.ts";
import { BaseExecutor } from "./base_executor.ts";
import {
  type JobLease,
  jobLocal,
  type JobState,
  leaseIn,
} from "./current_job.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "./executor.ts";
import { dropHandles, packHandles, unpackHandles } from "./handle_arguments.ts";
import type { JobSpec, LinkListener, WorkerLink } from "./link.ts";
import { type JobFunction, ModuleLoader } from "./module_loader.ts";
import { type ExecutorTask, type JobResult, toTaskRef } from "./module_task.ts";
import type { PoolClock } from "./pool_clock.ts";
import { PoolCore } from "./pool_core.ts";
import { type PoolSettings, settlePoolOptions } from "./pool_options.ts";
import { checkSubmitOptions, copyArguments } from "./submit_options.ts";
import { takeTransfer } from "./transfer.ts";
import { transportedLocals, withTransported } from "./transport.ts";

/** Options of a {@linkcode LoopExecutor}. */
export interface LoopExecutorOptions {
  /** Name of the executor in messages. */
  readonly name?: string | undefined;
  /**
   * How many jobs run at a time.
   *
   * @default {1}
   */
  readonly concurrency?: number | undefined;
}

const CREATE = "create a loop executor";
const NO_OPTIONS: LoopExecutorOptions = Object.freeze({});

/** The clock of the loop that uses an executor; that of the machine where none runs. */
export const LOOP_CLOCK: PoolClock = {
  nowMs: () => findLoop()?.time() ?? monotonicMs(),
  after: (ms, fn) => {
    const loop = findLoop();
    return loop === null ? after(ms, fn, false) : loop.callLater(ms, fn);
  },
};

/** Settings of a core with a single worker that never fails, is never idle for too long and never killed. */
export function singleWorker(
  name: string,
  concurrency: number,
  what: string,
): PoolSettings {
  return settlePoolOptions(
    {
      name,
      concurrency,
      maxWorkers: 1,
      cancelGraceMs: Infinity,
      idleTimeoutMs: Infinity,
      startTimeoutMs: Infinity,
      unresponsiveMs: Infinity,
    },
    what,
    1,
  );
}

/**
 * An executor that runs its jobs on the loop, as tasks: for jobs that wait rather
 * than compute, for tests, and for a program that is to run in one thread today
 * and in pools tomorrow.
 *
 * A job sees the same as in a thread: its arguments and its result are copied, a
 * function that is sent by its source sees nothing of what is around it, and
 * `currentJob()` is there. Only a job that blocks, blocks the loop; and a job that
 * does not react when it is cancelled is waited for.
 *
 * @example The same jobs without threads
 * ```ts
 * import { run } from "@rota/rota/loop";
 * import { LoopExecutor } from "@rota/rota/workers";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(async () => {
 *   await using executor = new LoopExecutor();
 *   return await executor.submit((a: number, b: number) => a + b, [1, 2]);
 * });
 * assertEquals(sum, 3);
 * ```
 */
export class LoopExecutor extends BaseExecutor {
  readonly #core: PoolCore;

  /**
   * Makes an executor.
   *
   * @param options Name, and how many jobs run at a time.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `concurrency` is no whole number from 1.
   */
  constructor(options: LoopExecutorOptions = NO_OPTIONS) {
    super();
    checkOptions(options, CREATE);
    const { name = "", concurrency = 1 } = options;
    const settings = singleWorker(name, concurrency, CREATE);
    const pool = name === ""
      ? "LoopExecutor"
      : `LoopExecutor ${JSON.stringify(name)}`;
    this.#core = new PoolCore(
      (listener) => new LoopLink(listener, this),
      settings,
      { pool, kind: "loop" },
      { clock: LOOP_CLOCK, transportedLocals, isOutside: false },
    );
  }

  /** How many jobs it runs at a time. */
  get capacity(): number {
    return this.#core.capacity;
  }

  /**
   * Has a function called on the loop, in a task of its own, a turn later at the
   * earliest.
   *
   * Cancelling the future, or aborting the signal, takes a job out of line; the
   * task of a running one is cancelled, and its own signal aborted.
   *
   * @typeParam A Types of the arguments.
   * @typeParam R Type of what the function returns.
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments. They are copied when the job begins.
   * @param options Name, signal, priority, deadline and so on.
   * @returns A future of the result.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If `deadlineMs` is `NaN` or has passed.
   * @throws {ExecutorShutDownError} After `shutdown`.
   * @throws {MisuseError} If no loop is running, or the executor is in use on another one.
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

  /** Throws if a job of a job would have to wait for ever. */
  refuseNested(): void {
    this.#core.refuseNested();
  }

  /**
   * Takes no more jobs, and lets the others end. Calling it again joins the first
   * call, and may shorten its grace.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation that ends when no job is left.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `graceMs` is negative or `NaN`.
   */
  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.#core.shutdown(options);
  }

  /**
   * Returns the counts.
   *
   * @returns A copy.
   */
  stats(): ExecutorStats {
    return this.#core.stats();
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"LoopExecutor"`.
   */
  get [Symbol.toStringTag](): string {
    return "LoopExecutor";
  }
}

/** The one worker of a {@linkcode LoopExecutor}. */
class LoopLink implements WorkerLink {
  readonly #listener: LinkListener;
  readonly #executor: LoopExecutor;
  readonly #loader = new ModuleLoader();
  readonly #jobs = new Map<number, LoopJob>();

  constructor(listener: LinkListener, executor: LoopExecutor) {
    this.#listener = listener;
    this.#executor = executor;
    getRunningLoop().callSoon(() => listener.ready());
  }

  send(spec: JobSpec): void {
    const loop = getRunningLoop();
    const job = new LoopJob(spec, copyOf(spec.args, spec.transfer), loop, this);
    this.#jobs.set(spec.id, job);
    loop.callSoon(begin, this, job);
  }

  /** Calls the function of a job in a task, once its module is loaded. */
  begin(job: LoopJob): void {
    if (job.abortion !== null) return this.threw(job, job.abortion.reason);
    const { task } = job.spec;
    try {
      const fn = this.#loader.find(task);
      if (fn !== null) return this.#start(job, fn);
    } catch (error) {
      return this.threw(job, error);
    }
    const load = () => until(this.#loader.load(task));
    job.task = job.loop.createTask<unknown>(load, { name: job.name });
    job.task.addDoneCallback((loading) => {
      try {
        this.#start(job, loading.result() as JobFunction);
      } catch (error) {
        this.threw(job, error);
      }
    });
  }

  #start(job: LoopJob, fn: JobFunction): void {
    // A job may be cancelled in the turn after its module was loaded: too late for the loading task.
    if (job.abortion !== null) return this.threw(job, job.abortion.reason);
    const { name, loop, spec } = job;
    const task = loop.createTask<unknown>(() => fn(...job.args), { name });
    task.localValues = withTransported(spec.locals, {
      local: jobLocal as LocalValue["local"],
      value: job,
      next: null,
    });
    job.task = task;
    task.addDoneCallback((task) => this.#finish(job, task));
  }

  #finish(job: LoopJob, task: Task<unknown>): void {
    let value: unknown;
    try {
      value = task.result();
    } catch (error) {
      return this.threw(job, error);
    }
    if (!this.#end(job)) return;
    let copy: unknown;
    try {
      copy = isPlain(value)
        ? value
        : structuredClone(value, { transfer: [...takeTransfer(value)] });
    } catch (error) {
      return this.#listener.threw(job.spec.id, error);
    }
    this.#listener.returned(job.spec.id, copy);
  }

  threw(job: LoopJob, error: unknown): void {
    if (this.#end(job)) this.#listener.threw(job.spec.id, error);
  }

  /** Whether the job had not ended. */
  #end(job: LoopJob): boolean {
    if (job.ended) return false;
    this.#jobs.delete(job.spec.id);
    job.end();
    return true;
  }

  progressed(job: LoopJob, value: unknown): void {
    const copy = isPlain(value) ? value : structuredClone(value);
    this.#listener.progressed(job.spec.id, copy);
  }

  /** Submits a job from inside a job. */
  nested<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    this.#executor.refuseNested();
    return this.#executor.submit(task, args, options);
  }

  abort(id: number, reason: unknown): void {
    this.#jobs.get(id)?.abort(reason);
  }

  ping(): void {
    getRunningLoop().callSoon(() => this.#listener.answered(0));
  }

  close(): void {
    getRunningLoop().callSoon(() =>
      this.#listener.ended({ kind: "closed", exitCode: null, cause: undefined })
    );
  }

  kill(): void {
    this.close(); // tasks cannot be killed: nothing asks for it
  }

  cpuMs(): number {
    return NaN;
  }

  livesOn(): boolean {
    return false;
  }
}

function begin(link: LoopLink, job: LoopJob): void {
  link.begin(job);
}

/** A job of a {@linkcode LoopExecutor}, from its sending to its end. */
class LoopJob implements JobState {
  readonly spec: JobSpec;
  readonly args: readonly unknown[];
  readonly loop: EventLoop;
  readonly deadlineMs: number;
  ended = false;
  task: Task<unknown> | null = null;
  abortion: { readonly reason: unknown } | null = null;
  readonly #link: LoopLink;
  readonly #nested = new Set<Future<unknown>>();
  #controller: AbortController | null = null;

  constructor(
    spec: JobSpec,
    args: readonly unknown[],
    loop: EventLoop,
    link: LoopLink,
  ) {
    this.spec = spec;
    this.args = args;
    this.loop = loop;
    this.#link = link;
    this.deadlineMs = loop.time() + spec.remainingMs;
  }

  get name(): string {
    return this.spec.name;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.abortion !== null) this.#abortSignal(this.abortion.reason);
    }
    return this.#controller.signal;
  }

  get lease(): JobLease | null {
    return leaseIn(this.spec.locals);
  }

  progress(value: unknown): boolean {
    if (this.ended) return false;
    this.#link.progressed(this, value);
    return true;
  }

  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    if (this.ended) {
      throw new MisuseError(
        `Cannot submit a job: ${
          this.name === "" ? "the job" : `job "${this.name}"`
        } has ended`,
      );
    }
    const future = this.#link.nested(task, args, options);
    const nested = future as Future<unknown>;
    this.#nested.add(nested);
    nested.addDoneCallback(() => this.#nested.delete(nested));
    return future;
  }

  abort(reason: unknown): void {
    if (this.abortion !== null) return;
    this.abortion = { reason };
    if (this.#controller !== null) this.#abortSignal(reason);
    this.task?.cancel(reason);
  }

  #abortSignal(reason: unknown): void {
    this.#controller!.abort(
      reason instanceof Error ? reason : cancellation(reason),
    );
  }

  /** Notes that its outcome is known, and cancels the jobs that it has submitted. */
  end(): void {
    this.ended = true;
    for (const nested of this.#nested) nested.cancel("the job has ended");
  }
}

/** Copies arguments, takes what is to be moved, and makes a handle of its own of each loop handle. */
function copyOf(
  args: readonly unknown[],
  transfer: readonly Transferable[],
): readonly unknown[] {
  if (transfer.length === 0 && args.every(isPlain)) return args;
  const moved = [...transfer];
  const packed = packHandles(args, moved);
  try {
    return unpackHandles(structuredClone(packed, { transfer: moved }));
  } catch (error) {
    if (packed !== args) dropHandles(packed);
    throw error;
  }
}

/** Whether a value is its own copy. */
function isPlain(value: unknown): boolean {
  if (typeof value === "object") return value === null;
  return typeof value !== "function" && typeof value !== "symbol";
}
