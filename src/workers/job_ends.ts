/**
 * Ends of the jobs of a pool: cancellation, deadlines, and what becomes of an
 * outcome.
 *
 * @module
 */
import {
  cancellation,
  cancellationIn,
  isCancellation,
} from "../loop/cancellation.ts";
import { inWords } from "../loop/waiters.ts";
import { TimeoutError } from "../errors.ts";
import type { AnyJob, JobOutcome } from "./job.ts";
import { type PoolClock, setTimer } from "./pool_clock.ts";
import type { JobEnd, PoolCounts } from "./pool_stats.ts";
import type { PoolWorker } from "./pool_worker.ts";

/** A pool, as the ends of its jobs see it. */
export interface EndsOwner {
  /** Takes a job out of line. */
  leaveLine(job: AnyJob): void;
  /** Called when a job in a worker has not ended in time. */
  jobOverdue(worker: PoolWorker): void;
  /** Called when a job has ended. */
  jobEnded(): void;
}

/** Ends the jobs of a pool, each exactly once. */
export class JobEnds {
  readonly #owner: EndsOwner;
  readonly #clock: PoolClock;
  readonly #cancelGraceMs: number;
  readonly #counts: PoolCounts;
  /** Jobs that have an outcome, and wait for calls of `onProgress`. */
  readonly #held: Set<AnyJob> = new Set();

  constructor(
    owner: EndsOwner,
    clock: PoolClock,
    cancelGraceMs: number,
    counts: PoolCounts,
  ) {
    this.#owner = owner;
    this.#clock = clock;
    this.#cancelGraceMs = cancelGraceMs;
    this.#counts = counts;
  }

  /** Jobs that have an outcome and have not ended. */
  get held(): readonly AnyJob[] {
    return [...this.#held];
  }

  // -- Asking a job to end --

  /** Ends a job that has not begun; has the worker of another one end it. The first request counts. */
  ask(job: AnyJob, ending: "cancelled" | "deadline", reason: unknown): void {
    if (!this.#note(job, ending, reason)) return;
    if (job.worker === null) this.#endNow(job);
    else this.#abort(job, job.worker);
  }

  /** Ends a job at once, as its loop is given up, whatever its worker does. */
  abandon(job: AnyJob, reason: unknown): void {
    const isFirst = this.#note(job, "cancelled", reason);
    // The worker may be killed for it, although nobody waits any more.
    if (job.worker !== null && isFirst) this.#abort(job, job.worker);
    this.#endNow(job);
  }

  /** Notes why a job is to end. Returns whether it is the first request. */
  #note(
    job: AnyJob,
    ending: "cancelled" | "deadline",
    reason: unknown,
  ): boolean {
    const { ending: before } = job;
    if (ending === "deadline") job.late = true;
    // A waiter that was cancelled has to hear of that, also after the deadline.
    if (before === null || (before === "deadline" && ending === "cancelled")) {
      job.ending = ending;
      job.reason = reason;
    }
    return before === null;
  }

  #endNow(job: AnyJob): void {
    if (job.list !== undefined) this.#owner.leaveLine(job);
    this.settle(job, "asked", undefined);
  }

  /** Asks the worker to end a job that has to. The worker must have been sent the job. */
  sendAbort(job: AnyJob, worker: PoolWorker): void {
    const error = job.ending === "deadline"
      ? new TimeoutError(`The deadline of ${job[inWords]()} has passed`)
      : cancellation(job.reason);
    worker.link.abort(job.id, error);
  }

  #abort(job: AnyJob, worker: PoolWorker): void {
    this.sendAbort(job, worker);
    job.graceTimer = setTimer(this.#clock, this.#cancelGraceMs, () => {
      job.graceTimer = null;
      job.overdue = true;
      this.#owner.jobOverdue(worker);
    });
  }

  /** Asks a job to end when its deadline has passed. */
  setDeadline(job: AnyJob): void {
    job.deadlineTimer = setTimer(this.#clock, job.remainingMs, () => {
      job.deadlineTimer = null;
      if (job.remainingMs > 0) this.setDeadline(job); // further away than timers reach
      else this.ask(job, "deadline", undefined);
    });
  }

  // -- The outcome --

  /** Ends a job with its outcome, once all progress that it has told before is known. */
  conclude(job: AnyJob, outcome: JobOutcome, value: unknown): void {
    if (job.isBeingTold() && !job.loop.isClosed()) {
      job.outcome = outcome;
      job.outcomeValue = value;
      this.#held.add(job);
    } else this.settle(job, outcome, value);
  }

  /** Ends a job that was held back. */
  release(job: AnyJob): void {
    this.settle(job, job.outcome!, job.outcomeValue);
  }

  /** Ends a job. */
  settle(job: AnyJob, outcome: JobOutcome, value: unknown): void {
    if (job.outcome !== null) this.#held.delete(job);
    const end = job.ending !== null && agrees(job, outcome, value)
      ? endAsAsked(job)
      : endBy(job, outcome, value);
    this.#counts[end]++;
    this.#owner.jobEnded();
  }
}

/** Whether a job that was to end has done so, and did not fail on the way. */
function agrees(job: AnyJob, outcome: JobOutcome, value: unknown): boolean {
  return outcome !== "threw" || isCancellation(value) || isAbort(value) ||
    (job.late && value instanceof TimeoutError);
}

/** Whether an error says that a signal has aborted. */
function isAbort(error: unknown): boolean {
  try {
    return error instanceof Error && error.name === "AbortError";
  } catch {
    return false; // a proxy or a getter that throws
  }
}

function endAsAsked(job: AnyJob): JobEnd {
  job.endAsAsked();
  return "cancelled";
}

function endBy(job: AnyJob, outcome: JobOutcome, value: unknown): JobEnd {
  if (outcome === "returned") {
    job.succeed(value);
    return "done";
  }
  const cancelled = outcome === "threw" ? cancellationIn(value) : null;
  if (cancelled !== null) {
    job.cancelledBy(cancelled);
    return "cancelled";
  }
  job.failWith(value);
  if (outcome === "threw") return "failed";
  return outcome === "crashed" ? "crashed" : "cancelled";
}
