/**
 * Jobs of a load balancer that are with a member: how they are handed over, and
 * what becomes of them when the member is done with them or does not take them.
 *
 * @module
 */
import {
  ExecutorShutDownError,
  MisuseError,
  OverloadError,
  TimeoutError,
  WorkerCrashError,
} from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { DecayingMean } from "../structures/decaying_mean.ts";
import type { AnyBalancerJob, Run } from "./balancer_job.ts";
import type { Member } from "./balancer_member.ts";
import type { BalancerSettings } from "./balancer_options.ts";
import type { Outliers } from "./outliers.ts";
import type { JobEnd, PoolCounts } from "./pool_stats.ts";

/** How many members may refuse a job that they have no room for. */
const REFUSALS_MAX = 16;
/** Clocks of a member and of the loop may differ by so much. */
const CLOCK_SLACK_MS = 1;

/** The balancer, as the jobs with members need it. */
export interface RunHost {
  readonly settings: BalancerSettings;
  readonly counts: PoolCounts;
  readonly watched: ReadonlySet<Member>;
  /** Whether no job is begun any more. */
  readonly isCancelling: boolean;
  nowMs(): number;
  /** Puts a job in line again. */
  place(job: AnyBalancerJob): void;
  /** Counts a job that has ended. */
  ended(outcome: JobEnd): void;
  /** Takes away a member that takes no jobs any more. */
  lost(member: Member): void;
  /** A member may have room. */
  freed(member: Member): void;
}

/** Jobs that are with members. */
export class BalancerRuns {
  /** Run times of all jobs. */
  readonly runMs: DecayingMean;
  readonly #host: RunHost;
  readonly #outliers: Outliers<Member>;
  readonly #all = new Set<Run>();

  constructor(host: RunHost, outliers: Outliers<Member>) {
    this.#host = host;
    this.#outliers = outliers;
    this.runMs = new DecayingMean(host.settings.averageMs);
  }

  get size(): number {
    return this.#all.size;
  }

  /** Hands a job, which is in no line, to a member. */
  hand(member: Member, job: AnyBalancerJob, nowMs: number): void {
    let future: Future<unknown>;
    try {
      future = checked(job.submitTo(member.executor), job.loop, member);
    } catch (error) {
      this.#refused(member, job, error, nowMs);
      return;
    }
    const run: Run = { job, member, future, begunMs: nowMs, heard: false };
    this.#all.add(run);
    member.running++;
    future.addDoneCallback(() => this.hear(run));
    if (job.done()) future.cancel(); // by what the executor has called
    else {
      const { counts } = this.#host;
      if (job.runs > 0) counts.rerun++;
      else counts.waitMs.add(nowMs - job.submittedMs);
      job.begun(run);
    }
  }

  /** Ends a job, or finds another member for it, once its member is done with it. */
  hear(run: Run): void {
    if (run.heard) return;
    run.heard = true;
    this.#all.delete(run);
    const { job, member, future } = run;
    member.running--;
    // Asking for the error counts as having seen it, also if nobody wants it any more.
    const error = future.failed() ? future.exception() : undefined;
    const isCrash = error instanceof WorkerCrashError;
    if (job.run !== run) this.#note(run, isCrash ? "crashed" : "cancelled");
    else if (isCrash && this.#mayRunAgain(job)) {
      this.#note(run, "crashed");
      this.#sendOn(job, member);
    } else {
      const ended = job.settle(future);
      const outcome = isCrash
        ? "crashed"
        : this.#isLate(job, error)
        ? "cancelled"
        : ended;
      this.#note(run, outcome);
      this.#host.ended(outcome);
    }
    this.#host.freed(member);
  }

  /** Cancels all jobs that are with members. */
  cancelAll(reason: unknown): void {
    for (const { job } of [...this.#all]) job.cancel(reason);
  }

  /** Ends all jobs at once, and forgets what members do with them. */
  loseAll(reason: Error): void {
    for (const run of this.#all) {
      run.heard = true;
      run.member.running--;
      if (run.job.run !== run) continue;
      run.job.drop(reason);
      this.#host.ended("cancelled");
    }
    this.#all.clear();
  }

  #mayRunAgain(job: AnyBalancerJob): boolean {
    const { isCancelling, settings } = this.#host;
    return !isCancelling && job.mayRunAgain(settings.retriesMax);
  }

  #sendOn(job: AnyBalancerJob, avoided: Member): void {
    job.returned();
    job.avoided = avoided;
    this.#host.place(job);
  }

  /** Finds another member for a job that one has not taken, or has the job fail. */
  #refused(
    member: Member,
    job: AnyBalancerJob,
    error: unknown,
    nowMs: number,
  ): void {
    const isFull = error instanceof OverloadError;
    const isGone = error instanceof ExecutorShutDownError;
    if (member.probe === job) this.#probed(member, isFull ? Infinity : NaN);
    else if (isFull) this.#outliers.noteCrash(member, nowMs);
    if (isGone) this.#host.lost(member);
    if (job.done()) return;
    if (job.settings.deadlineMs <= this.#host.nowMs()) {
      job.expire(); // it passed on the way
      return;
    }
    if (isGone || isFull && this.#mayAskOthers(job, member)) {
      this.#sendOn(job, member);
    } else {
      job.drop(error);
      // A job that was dropped for lack of room counts as it does in a pool.
      const isDropped = isFull || job.cancelled();
      this.#host.ended(isDropped ? "cancelled" : "failed");
    }
  }

  /** Whether there is a member that has not refused a job for which `refuser` has no room. */
  #mayAskOthers(job: AnyBalancerJob, refuser: Member): boolean {
    const refusers = job.refusers ??= new Set();
    if (refusers.has(refuser)) return false; // the others are ejected
    refusers.add(refuser);
    return refusers.size < Math.min(REFUSALS_MAX, this.#host.watched.size);
  }

  #isLate({ settings }: AnyBalancerJob, error: unknown): boolean {
    return error instanceof TimeoutError &&
      settings.deadlineMs <= this.#host.nowMs() + CLOCK_SLACK_MS;
  }

  /** Notes at a member how a job has ended there, and what that says of its health. */
  #note({ job, member, begunMs }: Run, outcome: JobEnd): void {
    const nowMs = this.#host.nowMs();
    const isProbe = member.probe === job;
    member[outcome]++;
    if (outcome === "crashed") {
      if (isProbe) this.#probed(member, Infinity);
      else this.#outliers.noteCrash(member, nowMs);
    } else if (outcome === "cancelled") {
      if (isProbe) this.#probed(member, NaN);
    } else {
      const runMs = nowMs - begunMs;
      this.#host.counts.runMs.add(runMs);
      this.runMs.add(runMs, nowMs);
      member.runMs.add(runMs, nowMs);
      if (isProbe) this.#probed(member, runMs);
      this.#outliers.noteRun(member, nowMs);
    }
  }

  #probed(member: Member, runMs: number): void {
    member.probe = null;
    this.#outliers.probed(member, runMs, this.#host.nowMs());
  }
}

/** Throws unless an executor has returned a future of the loop. */
function checked(
  future: unknown,
  loop: EventLoop,
  { name }: Member,
): Future<unknown> {
  if (!(future instanceof Future)) {
    throw new TypeError(
      `Cannot submit a job to ${name}: it has not returned a Future`,
    );
  }
  if (future.loop === loop) return future;
  future.cancel();
  throw new MisuseError(
    `Cannot submit a job to ${name}: it is in use on another event loop`,
  );
}
