/**
 * The part that thread pools and process pools share: jobs, workers, and who gets
 * what.
 *
 *     submit() ─▶ in line ─▶ with a worker ─▶ held ─▶ ended
 *                  ▲  │       │  │                      ▲
 *                  │  │       │  └──────────────────────┤ no progress is left to be told
 *                  │  └───────┼─────────────────────────┘ cancelled, late, dropped, or no worker starts
 *                  └──────────┘ its worker has died, and it had not begun or may run again
 *
 * A job with a worker that is cancelled or late stays there, with its `ending` noted, until its function has ended or its
 * worker has. A job is held while it has an outcome, and calls of `onProgress` are outstanding.
 *
 * Each part of a pool calls it by an interface of its own:
 *
 * | Interface | Caller | Calls |
 * |---|---|---|
 * | `JobOwner` | a job | `cancelJob`; `progressTold` when it need not be held any more |
 * | `EndsOwner` | `JobEnds` | `leaveLine` when a job in line is to end; `jobOverdue` after the grace; `jobEnded` |
 * | `WorkerOwner` | a worker | `workerReady`, `jobReturned`, `workerEnded` and so on, as its link tells them |
 * | `CrewOwner` | `Crew` | `crewChanged` when the line may have other workers than before; `crewGaveUp` |
 * | `KeptJobs` | `PoolUse` | `cancelAll` at the end of `run`; `loseLoop` when the loop gives its tasks up or was closed |
 * | `ShutdownOwner` | `PoolShutdown` | `leave` at its beginning; `isEmpty`; `emptied` at its end |
 *
 * A call of `link.send` runs code of the user's, such as getters of arguments: jobs may come and be cancelled meanwhile.
 *
 * @module
 */
import {
  CancelledError,
  ExecutorShutDownError,
  MisuseError,
} from "../errors.ts";
import { findLoop, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { type ExceptionContext, reportToConsole } from "../loop/exceptions.ts";
import type { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import { inWords } from "../loop/waiters.ts";
import {
  crashError,
  deathOf,
  type PoolNames,
  type WorkerDeath,
} from "./crash.ts";
import { Crew, type CrewOwner } from "./crew.ts";
import type { ExecutorStats, ShutdownOptions } from "./executor.ts";
import { Heartbeat } from "./heartbeat.ts";
import { type AnyJob, type JobLocals, type JobOwner, PoolJob } from "./job.ts";
import { type EndsOwner, JobEnds } from "./job_ends.ts";
import type { LinkEnd, LinkStarter, NestedSpec } from "./link.ts";
import { LostThreads } from "./lost_threads.ts";
import type { TaskRef } from "./module_task.ts";
import { MACHINE_CLOCK, type PoolClock } from "./pool_clock.ts";
import { PoolLine } from "./pool_line.ts";
import type { PoolSettings } from "./pool_options.ts";
import {
  checkShutdownOptions,
  PoolShutdown,
  type ShutdownOwner,
} from "./pool_shutdown.ts";
import { PoolCounts } from "./pool_stats.ts";
import { type KeptJobs, PoolUse } from "./pool_use.ts";
import type { PoolWorker } from "./pool_worker.ts";
import { type JobSettings, NO_JOB_SETTINGS } from "./submit_options.ts";
import { SubmitSites } from "./submit_site.ts";

/** How often a worker is asked for its memory, if that is limited. */
const MEMORY_MS = 250;

/** Parts that a pool takes from its surroundings. */
export interface PoolParts {
  /** Clock of graces, backoff and time limits; that of the machine by default. */
  readonly clock?: PoolClock | undefined;
  /** Collects the task-local values that go along with a job; none by default. */
  readonly transportedLocals?: (() => JobLocals) | undefined;
  /**
   * Whether the jobs run outside of the loop, so that a virtual clock stands still
   * for them; else whatever runs them tells the loop.
   *
   * @default {true}
   */
  readonly isOutside?: boolean | undefined;
}

/**
 * A pool of workers: takes jobs, starts workers for them, and sees to it that
 * each job ends exactly once, whatever becomes of its worker.
 *
 * Only the starter knows of what kind the workers are.
 */
export class PoolCore
  implements JobOwner, CrewOwner, EndsOwner, KeptJobs, ShutdownOwner {
  readonly #settings: PoolSettings;
  readonly #names: PoolNames;
  readonly #clock: PoolClock;
  readonly #transportedLocals: () => JobLocals;
  readonly #counts: PoolCounts = new PoolCounts();
  readonly #line: PoolLine;
  readonly #crew: Crew;
  readonly #ends: JobEnds;
  readonly #use: PoolUse;
  readonly #heartbeat: Heartbeat;
  readonly #lost: LostThreads;
  readonly #shutdown: PoolShutdown;
  readonly #sites = new SubmitSites();
  #lastId = 0;

  /**
   * Makes a pool. No worker is started before the first job.
   *
   * @param starter Starts a worker.
   * @param settings Options, checked by `settlePoolOptions`.
   * @param names Names in messages.
   * @param parts A clock and more, for tests and for what is above this layer.
   */
  constructor(
    starter: LinkStarter,
    settings: PoolSettings,
    names: PoolNames,
    parts: PoolParts = {},
  ) {
    const { clock = MACHINE_CLOCK, transportedLocals = () => null } = parts;
    const { isOutside = true } = parts;
    this.#settings = settings;
    this.#names = names;
    this.#clock = clock;
    this.#transportedLocals = transportedLocals;
    const { highWaterMark, overload, cancelGraceMs, unresponsiveMs } = settings;
    this.#line = new PoolLine(highWaterMark, overload, names.pool);
    this.#crew = new Crew(this, starter, settings, clock);
    this.#ends = new JobEnds(this, clock, cancelGraceMs, this.#counts);
    this.#use = new PoolUse(
      this,
      names.pool,
      isOutside ? "outside" : "with members",
    );
    this.#heartbeat = new Heartbeat(
      clock,
      unresponsiveMs,
      this.#crew.workers,
      (worker) => this.#workerStuck(worker),
    );
    this.#lost = new LostThreads(
      clock,
      (jobName) => this.#threadLost(jobName),
      () => this.#shutdown.check(),
    );
    this.#shutdown = new PoolShutdown(this, clock, names.pool, isOutside);
  }

  // -- What executors offer --

  /** How many jobs it runs at a time at most. */
  get capacity(): number {
    return this.#settings.maxWorkers * this.#settings.concurrency;
  }

  /**
   * Takes a job. It goes to a worker at once if one is free and nothing is in
   * line.
   *
   * @param task The function, as it goes to the worker.
   * @param args Its arguments.
   * @param settings Options of the job, checked by `checkSubmitOptions`.
   * @returns The job, as a future of the result.
   * @throws {ExecutorShutDownError} After `shutdown`.
   * @throws {MisuseError} If no loop is running, or the pool is in use on another one.
   * @throws {OverloadError} If there is no room, with `overload: "reject"`.
   */
  submit<T>(
    task: TaskRef,
    args: readonly unknown[],
    settings: JobSettings = NO_JOB_SETTINGS,
  ): Future<T> {
    if (this.#shutdown.hasBegun) {
      throw new ExecutorShutDownError(
        `Cannot submit a job: ${this.#names.pool} was shut down`,
      );
    }
    const loop = getRunningLoop();
    this.#use.bind(loop);
    const job = new PoolJob<T>(
      this,
      loop,
      task,
      args,
      settings,
      this.#transportedLocals(),
    );
    this.#admit(job as AnyJob, loop);
    return job;
  }

  /**
   * Throws if a job would have to wait for the one that submits it: all workers
   * have jobs, and there is none that could be started.
   *
   * @throws {MisuseError} If that is so.
   */
  refuseNested(): void {
    if (this.#crew.slotsLeft > this.#line.length) return;
    throw new MisuseError(
      `Cannot submit a job from inside a job of ${this.#names.pool}: all its workers are busy, ` +
        "and it would wait for ever if all jobs did so; call the function itself, or use another pool",
    );
  }

  /**
   * Takes no more jobs, lets the others end, and ends the workers.
   *
   * @returns An operation that ends when nothing is left.
   */
  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.#shutdown.operation(checkShutdownOptions(options));
  }

  /** Returns the counts. */
  stats(): ExecutorStats {
    const queued = this.#line.length;
    return this.#counts.snapshot(
      queued,
      this.#use.open - queued,
      this.#crew.count(),
      this.#lost.count,
    );
  }

  // -- Jobs come --

  #admit(job: AnyJob, loop: EventLoop): void {
    const { signal, deadlineMs } = job.settings;
    const nowMs = this.#clock.nowMs();
    job.submittedMs = nowMs;
    job.site = this.#sites.take(nowMs, loop.debug);
    if (signal !== undefined && signal.aborted) {
      this.#use.jobCame();
      job.follow(signal);
      return;
    }
    const worker = this.#line.length === 0 ? this.#crew.pick() : null;
    const dropped = worker === null
      ? this.#line.enter(job, this.#slots())
      : null;
    this.#use.jobCame();
    if (signal !== undefined) job.follow(signal);
    if (deadlineMs !== Infinity) {
      job.deadlineAtMs = nowMs + deadlineMs - loop.time();
      this.#ends.setDeadline(job);
    }
    if (worker !== null) {
      this.#send(job, worker, nowMs);
      // A getter of an argument may have submitted a job that waits for this one.
      if (this.#line.length > 0) this.#pump();
      return;
    }
    this.#crew.jobCame();
    if (dropped !== null) {
      const error = this.#line.overloaded("keep a job in line");
      this.#ends.settle(dropped, "dropped", error);
    }
    this.#pump();
  }

  /** For how many jobs beside those that run there is, or could be, a worker, if that matters. */
  #slots(): number {
    return this.#line.isBounded ? this.#crew.slotsLeft : 0;
  }

  /** Hands the jobs in line to the workers that have room, and starts workers for the others. */
  #pump(nowMs: number = NaN): void {
    while (this.#line.length > 0) {
      const worker = this.#crew.pick();
      if (worker === null) break;
      const job = this.#line.take(this.#slots())!;
      if (Number.isNaN(nowMs)) nowMs = this.#clock.nowMs();
      this.#send(job, worker, nowMs);
    }
    this.#crew.provide(this.#line.length);
    if (this.#shutdown.hasBegun) this.#goOnLeaving();
  }

  #send(job: AnyJob, worker: PoolWorker, nowMs: number): void {
    job.id = ++this.#lastId;
    job.worker = worker;
    job.begunMs = nowMs;
    job.begin();
    worker.jobs.set(job.id, job);
    try {
      worker.link.send(job);
      // A getter of an argument has cancelled it, before the worker knew of it.
      if (job.ending !== null) this.#ends.sendAbort(job, worker);
    } catch (error) {
      worker.jobs.delete(job.id);
      job.leaveWorker();
      this.#ends.conclude(job, "threw", error);
      this.#crew.freed(worker, nowMs);
      return;
    }
    if (job.runs === 1) this.#counts.waitMs.add(nowMs - job.submittedMs);
    else this.#counts.rerun++;
    this.#heartbeat.wake();
  }

  // -- Jobs end: JobOwner and EndsOwner --

  cancelJob(job: AnyJob, reason: unknown): void {
    this.#ends.ask(job, "cancelled", reason);
  }

  progressTold(job: AnyJob): void {
    this.#ends.release(job);
  }

  msUntil(whenMs: number): number {
    return whenMs - this.#clock.nowMs();
  }

  leaveLine(job: AnyJob): void {
    this.#line.remove(job, this.#slots());
  }

  jobOverdue(worker: PoolWorker): void {
    this.#crew.condemn(worker);
    this.#pump();
  }

  jobEnded(): void {
    this.#use.jobWent();
    if (this.#shutdown.hasBegun) this.#goOnLeaving();
  }

  /** Ends workers that the shutdown does not need any more, and the shutdown itself. */
  #goOnLeaving(): void {
    if (this.#line.length === 0) this.#crew.dismissIdle();
    this.#shutdown.check();
  }

  // -- Workers: CrewOwner --

  jobReturned(worker: PoolWorker, job: AnyJob, value: unknown): void {
    const nowMs = this.#clock.nowMs();
    if (!job.done()) {
      this.#counts.runMs.add(nowMs - job.begunMs);
      this.#ends.conclude(job, "returned", value);
    }
    this.#freed(worker, nowMs);
  }

  jobThrew(worker: PoolWorker, job: AnyJob, error: unknown): void {
    const nowMs = this.#clock.nowMs();
    if (!job.done()) {
      this.#counts.runMs.add(nowMs - job.begunMs);
      this.#ends.conclude(job, "threw", error);
    }
    this.#freed(worker, nowMs);
  }

  #freed(worker: PoolWorker, nowMs: number): void {
    this.#crew.jobDone();
    this.#crew.freed(worker, nowMs);
    if (
      this.#settings.recycleAboveBytes !== Infinity && worker.accepts &&
      nowMs - worker.askedMs >= MEMORY_MS
    ) {
      worker.askedMs = nowMs;
      worker.ping(nowMs);
    }
    this.#pump(nowMs);
  }

  /**
   * Takes a job that a job submits, as long as that runs: also after the beginning
   * of a shutdown, which lets jobs end properly.
   */
  jobNests(
    parent: AnyJob,
    spec: NestedSpec,
    onProgress: ((value: unknown) => void) | null,
  ): AnyJob {
    if (parent.done() || parent.ending !== null) {
      throw new CancelledError(`${parent[inWords]()} is to end`);
    }
    this.refuseNested();
    const { loop } = parent;
    const { name, task, args, transfer, remainingMs, locals } = spec;
    const { rank, idempotent } = spec;
    const deadlineMs = loop.time() + remainingMs;
    const settings: JobSettings = {
      ...NO_JOB_SETTINGS,
      ...{ name, rank, deadlineMs, transfer, idempotent, onProgress },
    };
    const job = new PoolJob(this, loop, task, args, settings, locals);
    this.#admit(job, loop);
    return job;
  }

  workerReady(worker: PoolWorker): void {
    const untold = this.#crew.ready(worker, this.#clock.nowMs());
    if (untold !== null) this.#reportDeath(untold);
    this.#pump();
  }

  workerAnswered(worker: PoolWorker, usedBytes: number): void {
    if (usedBytes <= this.#settings.recycleAboveBytes) return;
    this.#crew.recycle(worker, this.#clock.nowMs());
  }

  crewChanged(): void {
    this.#pump();
  }

  crewGaveUp(death: WorkerDeath): void {
    const jobs = this.#line.toArray();
    if (jobs.length === 0) this.#reportDeath(death);
    // Of a worker that has died before it had a job: the jobs in line have no part in that.
    const failure: WorkerDeath = { ...death, kind: "start" };
    for (const job of jobs) {
      this.#line.remove(job, this.#slots());
      this.#crash(job, failure);
    }
  }

  workerEnded(worker: PoolWorker, end: LinkEnd): void {
    const jobs = [...worker.jobs.values()];
    worker.jobs.clear();
    for (const job of jobs) job.leaveWorker();
    // Begun before anything ends, as a shutdown waits for it.
    if (worker.killedAs !== null || end.kind !== "closed") {
      this.#lost.watch(worker.link, jobs[0]?.name ?? "");
    }
    const { unresponsiveMs } = this.#settings;
    const silentMs = worker.silentMs ?? unresponsiveMs;
    const death = deathOf(end, worker.killedAs, silentMs);
    const { unread = [], unsent = [] } = end;
    const hadJob = jobs.some(({ id }) =>
      !unread.includes(id) && !unsent.includes(id)
    );
    const isUnasked = this.#crew.ended(worker, end, hadJob);
    let isKnown = false;
    const untaken: AnyJob[] = [];
    for (const job of jobs) {
      if (job.done()) continue;
      const wasSent = !unsent.includes(job.id);
      const isUntaken = !wasSent || unread.includes(job.id);
      if (isUntaken && job.takeBack(wasSent)) {
        untaken.push(job);
        continue;
      }
      if (job.ending === null) isKnown = true;
      this.#orphaned(job, death);
    }
    this.#takeBack(untaken);
    if (isUnasked && !this.#crew.giveUpIfHopeless(death) && !isKnown) {
      this.#reportDeath(death);
    }
    this.#pump();
    if (this.#crew.workers.size > 0) return;
    this.#crew.stopIdling();
    this.#heartbeat.stop();
  }

  /** Puts jobs that their worker has not begun back to where they were in line. */
  #takeBack(jobs: readonly AnyJob[]): void {
    for (const job of jobs.toReversed()) {
      if (job.runs > 0) this.#counts.rerun--;
      this.#line.putBack(job);
      this.#crew.jobCame();
    }
  }

  /** The worker of a job has died. */
  #orphaned(job: AnyJob, death: WorkerDeath): void {
    const { onCrash, retriesMax } = this.#settings;
    if (
      job.ending === null && onCrash === "retry" && job.mayRunAgain(retriesMax)
    ) this.#again(job);
    else this.#crash(job, death);
  }

  /** Puts a job back in line. */
  #again(job: AnyJob): void {
    this.#line.enterAgain(job);
    this.#crew.jobCame();
  }

  #crash(job: AnyJob, death: WorkerDeath): void {
    const error = crashError(this.#names, job[inWords](), death);
    this.#ends.conclude(job, "crashed", error);
  }

  #workerStuck(worker: PoolWorker): void {
    this.#crew.kill(worker, "unresponsive");
    this.#pump();
  }

  // -- The loop: KeptJobs --

  cancelAll(reason: unknown): void {
    for (const job of this.#openJobs()) job.cancel(reason);
  }

  loseLoop(reason: CancelledError): void {
    for (const job of this.#openJobs()) this.#ends.abandon(job, reason);
  }

  #openJobs(): AnyJob[] {
    const jobs = [...this.#line.toArray(), ...this.#ends.held];
    for (const worker of this.#crew.workers) {
      for (const job of worker.jobs.values()) if (!job.done()) jobs.push(job);
    }
    return jobs;
  }

  // -- The end: ShutdownOwner --

  leave(cancelled: CancelledError | null): void {
    this.#crew.leave();
    if (cancelled !== null) {
      for (const job of this.#line.toArray()) job.cancel(cancelled);
    }
    this.#pump();
  }

  isEmpty(): boolean {
    return this.#use.open === 0 && this.#crew.workers.size === 0 &&
      !this.#lost.isLooking;
  }

  emptied(): void {
    this.#crew.stopTimers();
    this.#heartbeat.stop();
  }

  // -- Reports --

  #reportDeath(death: WorkerDeath): void {
    const exception = crashError(this.#names, null, death);
    this.#report({ message: exception.message, exception });
  }

  #threadLost(jobName: string): void {
    const { pool, kind } = this.#names;
    const of = jobName === "" ? "" : ` that ran job "${jobName}"`;
    const unready = jobName === "" ? ", or has never been ready" : "";
    this.#report({
      message:
        `A ${kind} of ${pool}${of} was killed and goes on all the same: it is in native code that does not return${unready}`,
      ...(jobName !== "" && { name: jobName }),
    });
  }

  /** Calls the exception handler of the loop that uses the pool, or of the one that is running. */
  #report(context: ExceptionContext): void {
    const { loop: user } = this.#use;
    const loop = user !== null && !user.isClosed() ? user : findLoop();
    if (loop === null) reportToConsole(context);
    else loop.callExceptionHandler(context);
  }
}
