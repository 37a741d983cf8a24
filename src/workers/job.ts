/**
 * Job of a pool: the future that `submit` returns, and what is sent to a worker.
 *
 * @module
 */
import { cancellationBy, subscribe } from "../loop/signal_hub.ts";
import type { Subscription } from "../loop/signal_hub.ts";
import { explain, inWords } from "../loop/waiters.ts";
import { MisuseError, TimeoutError } from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { WaitFacts } from "../loop/waits.ts";
import { Claim } from "../schedule/claim.ts";
import type { JobSpec } from "./link.ts";
import type { TaskRef } from "./module_task.ts";
import type { PoolTimer } from "./pool_clock.ts";
import type { PoolWorker } from "./pool_worker.ts";
import type { JobSettings } from "./submit_options.ts";
import { addSite } from "./submit_site.ts";

/** A job, whatever its result is. */
export type AnyJob = PoolJob<unknown>;

/**
 * Outcome of a job: its function returned or threw, its worker died, the line had
 * no room for it, or it ended as it was asked to.
 */
export type JobOutcome =
  | "returned"
  | "threw"
  | "crashed"
  | "dropped"
  | "asked";

/** Task-local values that go along with a job. */
export type JobLocals = Readonly<Record<string, unknown>> | null;

/** A pool, as its jobs see it. */
export interface JobOwner {
  /** Ends a job, or asks its worker to; the job has not ended. */
  cancelJob(job: AnyJob, reason: unknown): void;
  /** Called when no call of `onProgress` is outstanding, and the job has an outcome. */
  progressTold(job: AnyJob): void;
  /** Time until a moment of the pool's clock. */
  msUntil(whenMs: number): number;
}

const NOTHING: readonly never[] = Object.freeze([]);

/**
 * A function that is called elsewhere, and the future of its result.
 *
 * A job in a list is in line; with a worker it is running, and being cancelled
 * if it has an `ending`; else it has ended, or is about to.
 */
export class PoolJob<T> extends Claim<T> implements JobSpec {
  // Declared here and assigned in the constructor, as in Future.

  declare readonly owner: JobOwner;
  declare readonly settings: JobSettings;
  declare task: TaskRef;
  declare args: readonly unknown[];
  declare transfer: readonly Transferable[];
  declare locals: JobLocals;
  /** Number of the current run. */
  declare id: number;
  /** How often it has begun. */
  declare runs: number;
  /** Worker that has it; a job may have ended while its worker goes on with it. */
  declare worker: PoolWorker | null;
  /** Why it has to end, if it has. */
  declare ending: "cancelled" | "deadline" | null;
  /** Reason of the cancellation. */
  declare reason: unknown;
  /** Whether its deadline has passed. */
  declare late: boolean;
  /** Whether it was given time to end and has not used it. */
  declare overdue: boolean;
  /** Moments of the pool's clock. */
  declare submittedMs: number;
  declare begunMs: number;
  declare deadlineAtMs: number;
  declare deadlineTimer: PoolTimer | null;
  declare graceTimer: PoolTimer | null;
  /** Place where it was submitted, if that was noted. */
  declare site: Error | null;
  /** Outcome that waits for calls of `onProgress`, with the result or the error. */
  declare outcome: JobOutcome | null;
  declare outcomeValue: unknown;
  declare private progressLeft: number;
  declare private subscription: Subscription | null;

  constructor(
    owner: JobOwner,
    loop: EventLoop,
    task: TaskRef,
    args: readonly unknown[],
    settings: JobSettings,
    locals: JobLocals,
  ) {
    super(loop, settings.name || nameOf(task), settings.rank, 1);
    this.owner = owner;
    this.settings = settings;
    this.task = task;
    this.args = args;
    this.transfer = settings.transfer;
    this.locals = locals;
    this.id = 0;
    this.runs = 0;
    this.worker = null;
    this.ending = null;
    this.reason = undefined;
    this.late = false;
    this.overdue = false;
    this.submittedMs = 0;
    this.begunMs = 0;
    this.deadlineAtMs = Infinity;
    this.deadlineTimer = null;
    this.graceTimer = null;
    this.site = null;
    this.outcome = null;
    this.outcomeValue = undefined;
    this.progressLeft = 0;
    this.subscription = null;
  }

  override get isJob(): boolean {
    return true;
  }

  /** Name in messages: the one that was given, else that of the function, else "". */
  get name(): string {
    return this.label;
  }

  get remainingMs(): number {
    return this.deadlineAtMs === Infinity
      ? Infinity
      : this.owner.msUntil(this.deadlineAtMs);
  }

  /** Counts a run: it has a worker. */
  override begin(): void {
    this.runs++;
  }

  /**
   * Whether it may go to another worker if this one dies. Objects that were moved
   * to a worker are gone with it.
   */
  mayRunAgain(retriesMax: number): boolean {
    return this.settings.idempotent && this.transfer.length === 0 &&
      this.runs <= retriesMax;
  }

  /**
   * Takes back its last run, which its worker has not begun. Returns false if the
   * job is to end, or has nothing left that it could begin with.
   *
   * @param wasSent Whether objects that it moves are gone.
   */
  takeBack(wasSent: boolean): boolean {
    if (this.ending !== null) return false;
    if (wasSent && this.transfer.length > 0) return false;
    this.runs--;
    return true;
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    this.owner.cancelJob(this as AnyJob, reason);
    return true;
  }

  override setResult(_value: T): never {
    throw new MisuseError(
      `Cannot set the result of ${this[inWords]()}: its function decides it`,
    );
  }

  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this[inWords]()}: its function decides it`,
    );
  }

  /** Cancels the job when `signal` aborts. */
  follow(signal: AbortSignal): void {
    this.subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
  }

  // -- Progress --

  /** Has the loop call `onProgress`. */
  progressed(value: unknown): void {
    if (
      this.settings.onProgress === null || this.done() || this.loop.isClosed()
    ) return;
    this.progressLeft++;
    this.loop.callSoon(tellProgress, this as AnyJob, value);
  }

  /** Calls `onProgress`, unless the job has ended meanwhile. */
  tell(value: unknown): void {
    this.progressLeft--;
    if (this.done()) return;
    try {
      this.settings.onProgress!(value);
    } finally {
      if (!this.isBeingTold() && this.outcome !== null && !this.done()) {
        this.owner.progressTold(this as AnyJob);
      }
    }
  }

  /** Whether calls of `onProgress` are outstanding. */
  isBeingTold(): boolean {
    return this.progressLeft > 0;
  }

  // -- The end --

  /** The worker has it no more. */
  leaveWorker(): void {
    this.worker = null;
    if (this.graceTimer === null) return;
    this.graceTimer.cancel();
    this.graceTimer = null;
  }

  /** Ends with the result. */
  succeed(value: unknown): void {
    this.dropAll();
    super.setResult(value as T);
  }

  /** Ends with an error, to which the place of the submission is added. */
  failWith(error: unknown): void {
    addSite(error, this.site);
    this.dropAll();
    this.fail(error);
  }

  /** Ends as cancelled, by an error that its function threw. */
  cancelledBy(error: unknown): void {
    this.dropAll();
    this.finishCancelled(error);
  }

  /** Ends for the reason that was given. */
  endAsAsked(): void {
    const { ending, reason } = this;
    this.dropAll();
    if (ending === "deadline") {
      this.fail(
        new TimeoutError(
          `Cannot finish ${this[inWords]()}: its deadline has passed`,
        ),
      );
    } else super.cancel(reason);
  }

  /** Drops what a job that has ended does not need. */
  private dropAll(): void {
    this.args = NOTHING;
    this.transfer = NOTHING;
    this.locals = null;
    this.site = null;
    this.outcome = null;
    this.outcomeValue = undefined;
    if (this.deadlineTimer !== null) {
      this.deadlineTimer.cancel();
      this.deadlineTimer = null;
    }
    if (this.subscription !== null) {
      this.subscription.unsubscribe();
      this.subscription = null;
    }
  }

  /** Facts about a wait for the job, which ends elsewhere. */
  override [explain](): WaitFacts {
    return { kind: "job", target: this, behind: [] };
  }

  /** Name of the job in messages. */
  override [inWords](): string {
    return this.label === "" ? "a job" : `job "${this.label}"`;
  }

  override get [Symbol.toStringTag](): string {
    return "PoolJob";
  }
}

function nameOf(task: TaskRef): string {
  return "name" in task ? task.name : "";
}

function tellProgress(job: AnyJob, value: unknown): void {
  job.tell(value);
}
