/**
 * Pool whose code is loaded with its first job: a program that never uses a pool
 * does not load what pools need.
 *
 * @module
 */
import { type CancelledError, WorkerCrashError } from "../errors.ts";
import { detached } from "../host/microtask.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import { inWords } from "../loop/waiters.ts";
import type { ExecutorStats, ShutdownOptions } from "./executor.ts";
import { type AnyJob, type JobOwner, PoolJob } from "./job.ts";
import type { PoolPlan } from "./make_pool.ts";
import type { TaskRef } from "./module_task.ts";
import { MACHINE_CLOCK } from "./pool_clock.ts";
import type { PoolCore } from "./pool_core.ts";
import { lineFull } from "./pool_options.ts";
import {
  checkShutdownOptions,
  PoolShutdown,
  type ShutdownOwner,
} from "./pool_shutdown.ts";
import { PoolCounts } from "./pool_stats.ts";
import { type KeptJobs, PoolUse } from "./pool_use.ts";
import type { JobSettings } from "./submit_options.ts";
import { SubmitSites } from "./submit_site.ts";
import { transportedLocals } from "./transport.ts";

/** Makes a pool. */
type MakePool = (plan: PoolPlan) => PoolCore;

/** The code of pools, which is loaded once. */
export class PoolCode {
  /** Makes a pool; null until the code is loaded. */
  makePool: MakePool | null = null;
  readonly #import: () => Promise<{ readonly makePool: MakePool }>;

  constructor(
    load: () => Promise<{ readonly makePool: MakePool }> = () =>
      import("./make_pool.ts"),
  ) {
    this.#import = load;
  }

  /** Loads the code. Calling it again is harmless. */
  async load(): Promise<MakePool> {
    const { makePool } = await this.#import();
    return this.makePool = makePool;
  }
}

const CODE = new PoolCode();

const NO_WORKERS: ExecutorStats["workers"] = Object.freeze({
  starting: 0,
  idle: 0,
  busy: 0,
  stopping: 0,
});

/**
 * A pool that is made with its first job. Jobs that come before its code is loaded
 * wait here, and go to the pool together, in the order in which they came. Once
 * the code is loaded, pools are made at once.
 */
export class LazyPool implements JobOwner, KeptJobs, ShutdownOwner {
  readonly #plan: PoolPlan;
  readonly #code: PoolCode;
  readonly #counts: PoolCounts = new PoolCounts();
  readonly #shutdown: PoolShutdown;
  #core: PoolCore | null = null;
  /** Jobs that wait for the pool. The code is being loaded if there are any. */
  readonly #jobs = new Set<AnyJob>();
  readonly #use: PoolUse;
  readonly #sites = new SubmitSites();
  #isLoading = false;

  /**
   * Makes a pool. Nothing is loaded before the first job.
   *
   * @param plan Options, names in messages, and what starts a worker.
   * @param code The code of pools, for tests.
   */
  constructor(
    plan: Pick<PoolPlan, "loadStarter" | "settings" | "names">,
    code: PoolCode = CODE,
  ) {
    const { pool } = plan.names;
    this.#shutdown = new PoolShutdown(this, MACHINE_CLOCK, pool);
    this.#plan = { ...plan, counts: this.#counts, shutdown: this.#shutdown };
    this.#code = code;
    this.#use = new PoolUse(this, pool);
  }

  // -- What executors offer --

  /** How many jobs it runs at a time at most. */
  get capacity(): number {
    const { maxWorkers, concurrency } = this.#plan.settings;
    return maxWorkers * concurrency;
  }

  /** Takes a job: see {@linkcode PoolCore.submit}. */
  submit<T>(
    task: TaskRef,
    args: readonly unknown[],
    settings: JobSettings,
  ): Future<T> {
    const core = this.#core ?? this.#makeNow();
    return core === null
      ? this.#keep(task, args, settings)
      : core.submit(task, args, settings);
  }

  /** Takes no more jobs, lets the others end, and ends the workers. */
  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.#shutdown.operation(checkShutdownOptions(options));
  }

  /** Returns the counts. */
  stats(): ExecutorStats {
    return this.#core?.stats() ??
      this.#counts.snapshot(this.#jobs.size, 0, { ...NO_WORKERS }, 0);
  }

  // -- Jobs wait for the pool --

  /** Makes the pool if its code is loaded and no job waits; else returns null. */
  #makeNow(): PoolCore | null {
    const { makePool } = this.#code;
    if (makePool === null || this.#jobs.size > 0) return null;
    return this.#core = makePool(this.#plan);
  }

  #keep<T>(
    task: TaskRef,
    args: readonly unknown[],
    settings: JobSettings,
  ): Future<T> {
    this.#shutdown.refuseIfBegun("submit a job");
    const loop = getRunningLoop();
    this.#use.bind(loop);
    const { signal, deadlineMs } = settings;
    if (signal?.aborted !== true) this.#refuseIfFull();
    const locals = transportedLocals();
    const job = new PoolJob<T>(this, loop, task, args, settings, locals);
    const nowMs = MACHINE_CLOCK.nowMs();
    job.submittedMs = nowMs;
    job.site = this.#sites.take(nowMs, loop.debug);
    job.deadlineAtMs = nowMs + deadlineMs - loop.time();
    this.#jobs.add(job as AnyJob);
    this.#use.jobCame();
    if (signal !== undefined) job.follow(signal);
    if (!job.done() && !this.#isLoading) this.#beginLoading();
    return job;
  }

  #refuseIfFull(): void {
    const { overload, highWaterMark } = this.#plan.settings;
    if (
      overload === "reject" && this.#jobs.size >= this.capacity + highWaterMark
    ) {
      throw lineFull("submit a job", this.#plan.names.pool, highWaterMark);
    }
  }

  #beginLoading(): void {
    this.#isLoading = true;
    detached(() => {
      this.#code.load().then(
        (makePool) => this.#arrived(makePool),
        (cause) => this.#failed(cause),
      );
    });
  }

  /** Hands the jobs to the pool. Loading is too short for a timer for each deadline. */
  #arrived(makePool: MakePool): void {
    this.#isLoading = false;
    for (const job of [...this.#jobs]) {
      if (job.remainingMs <= 0) this.#end(job, "deadline", undefined);
    }
    if (this.#jobs.size === 0) return;
    const core = this.#core = makePool(this.#plan);
    const jobs = [...this.#jobs];
    this.#jobs.clear();
    for (const job of jobs) {
      core.adopt(job);
      this.#use.jobWent();
    }
    if (this.#shutdown.hasBegun) core.leave(null);
  }

  /** Fails the jobs. The next one has the code loaded again. */
  #failed(cause: unknown): void {
    this.#isLoading = false;
    const { pool, kind } = this.#plan.names;
    for (const job of [...this.#jobs]) {
      const message = `Cannot begin ${
        job[inWords]()
      }: no ${kind} of ${pool} could be started, as the code of pools could not be loaded`;
      job.failWith(new WorkerCrashError(message, "start", null, { cause }));
      this.#ended(job, "crashed");
    }
  }

  // -- Their ends: JobOwner and KeptJobs --

  cancelJob(job: AnyJob, reason: unknown): void {
    this.#end(job, "cancelled", reason);
  }

  #end(
    job: AnyJob,
    ending: "cancelled" | "deadline",
    reason: unknown,
  ): void {
    job.ending = ending;
    job.reason = reason;
    job.endAsAsked();
    this.#ended(job, "cancelled");
  }

  #ended(job: AnyJob, end: "cancelled" | "crashed"): void {
    this.#jobs.delete(job);
    this.#counts[end]++;
    this.#use.jobWent();
    this.#shutdown.check();
  }

  progressTold(): void {
    // No job has begun.
  }

  msUntil(whenMs: number): number {
    return whenMs - MACHINE_CLOCK.nowMs();
  }

  cancelAll(reason: unknown): void {
    for (const job of [...this.#jobs]) this.cancelJob(job, reason);
  }

  loseLoop(reason: CancelledError): void {
    this.cancelAll(reason);
  }

  // -- The end: ShutdownOwner, until the pool is made --

  leave(cancelled: CancelledError | null): void {
    if (cancelled !== null) this.cancelAll(cancelled);
    this.#shutdown.check();
  }

  isEmpty(): boolean {
    return this.#jobs.size === 0;
  }

  emptied(): void {
    // No timer was set.
  }
}
