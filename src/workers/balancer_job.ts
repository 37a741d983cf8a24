/**
 * Job of a load balancer: the future that `submit` returns, in line, with a
 * member, or done.
 *
 * @module
 */
import { MisuseError, TimeoutError } from "../errors.ts";
import { cancellation, cancellationIn } from "../loop/cancellation.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { WaitFacts } from "../loop/waits.ts";
import type { Future } from "../loop/future.ts";
import {
  cancellationBy,
  subscribe,
  type Subscription,
} from "../loop/signal_hub.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { explain, inWords, isHandingOn } from "../loop/waiters.ts";
import { Claim, type Droppable } from "../schedule/claim.ts";
import type { ClaimQueue } from "../schedule/claim_queue.ts";
import type { Member } from "./balancer_member.ts";
import type { Placing } from "./balancing.ts";
import type { Executor } from "./executor.ts";
import type { JobSettings } from "./submit_options.ts";

/** A job, whatever its result is. */
export type AnyBalancerJob = BalancerJob<unknown>;

/** A job that a member was given, until the member's future is done and that has been heard. */
export interface Run {
  readonly job: AnyBalancerJob;
  readonly member: Member;
  readonly future: Future<unknown>;
  readonly begunMs: number;
  heard: boolean;
}

/** The balancer, as its jobs see it. */
export interface JobKeeper {
  /** A job in line is to leave it, and has been counted. */
  withdraw(job: AnyBalancerJob): void;
  /** The member's future is done, and that has not been heard yet. */
  hear(run: Run): void;
  /** A job has ended that is neither in line nor with a member. */
  unbegun(): void;
}

/** How a job is handed to an executor. */
export type Begin<T> = (executor: Executor) => Future<T>;

/** Job, as its balancer sees it: in line, it is in a list; with a member, it has a run. */
export class BalancerJob<T> extends Claim<T>
  implements Droppable, Placing<Member> {
  readonly keeper: JobKeeper;
  readonly settings: JobSettings;
  readonly submittedMs: number;
  /** Member in whose line it is, or which runs it; null for neither. Only the balancer writes these. */
  member: Member | null = null;
  /** Queue in which it is. */
  queue: ClaimQueue | null = null;
  run: Run | null = null;
  /** Member that crashed under it last, or refused it. */
  avoided: Member | null = null;
  /** Members that had no room for it; null if there are none. */
  refusers: Set<Member> | null = null;
  /** How often it was begun. */
  runs = 0;
  #begin: Begin<T> | null;
  #subscription: Subscription | null = null;
  #timer: TimerHandle | null = null;
  /** The first cancellation that the member has accepted. */
  #accepted: { readonly reason: unknown } | null = null;

  constructor(
    keeper: JobKeeper,
    loop: EventLoop,
    begin: Begin<T>,
    settings: JobSettings,
    nowMs: number,
  ) {
    super(loop, settings.name, settings.rank, 1);
    this.keeper = keeper;
    this.settings = settings;
    this.submittedMs = nowMs;
    this.#begin = begin;
  }

  override get isJob(): boolean {
    return true;
  }

  get key(): string | number | undefined {
    return this.settings.key;
  }

  /** Whether it was cancelled, and its member is about to end it. */
  get isCancelling(): boolean {
    return this.#accepted !== null;
  }

  /** Whether it may go to a member if there are others. */
  shuns(member: Member): boolean {
    return member === this.avoided ||
      this.refusers !== null && this.refusers.has(member);
  }

  /** Whether the job may be begun once more. */
  mayRunAgain(retriesMax: number): boolean {
    return this.settings.idempotent && this.settings.transfer.length === 0 &&
      this.runs <= retriesMax && this.#accepted === null;
  }

  override begin(): void {
    throw new MisuseError("Cannot begin a job: its balancer does");
  }

  /** Hands the job to an executor. Throws what that throws. */
  submitTo(executor: Executor): Future<T> {
    return this.#begin!(executor);
  }

  /** Takes note that a member has it. */
  begun(run: Run): void {
    this.run = run;
    this.runs++;
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Sets the timer of the deadline, which the member watches while it has the job. */
  watchDeadline(): void {
    const { deadlineMs } = this.settings;
    if (deadlineMs === Infinity || this.#timer !== null) return;
    this.#timer = this.loop.callAt(deadlineMs, () => this.expire());
  }

  /** Cancels the job when `signal` aborts. */
  follow(signal: AbortSignal): void {
    if (this.done()) return; // there was no room for it
    this.#subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
    if (this.done()) this.#finish(); // the signal had aborted
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.run?.future.done() === true) {
      this.keeper.hear(this.run);
      if (this.done()) return false;
    }
    if (this.run !== null) {
      const accepted = this.run.future.cancel(reason);
      if (accepted) this.#accepted ??= { reason };
      return accepted;
    }
    this.#finish();
    super.cancel(reason);
    this.#leave();
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

  /** Ends the job, which is in no line any more, with an error. */
  drop(error: unknown): void {
    this.#finish();
    const cancelled = cancellationIn(error);
    if (cancelled !== null) super.cancel(cancelled);
    else super.setException(error);
  }

  /** Puts the job back: its member has not begun it, or crashed. */
  returned(): void {
    this.run = null;
    this.member = null;
  }

  /** Ends the job as its member's future has ended. */
  settle(future: Future<unknown>): "done" | "failed" | "cancelled" {
    const accepted = this.#accepted;
    this.#finish();
    let value: T;
    try {
      value = future.result() as T;
    } catch (error) {
      if (future.cancelled()) {
        this.finishCancelled(error);
        return "cancelled";
      }
      super.setException(error);
      return "failed";
    }
    // A result that comes after the cancellation was accepted comes too late.
    if (accepted !== null) {
      this.finishCancelled(cancellation(accepted.reason));
      return "cancelled";
    }
    super.setResult(value);
    return "done";
  }

  /** Ends a job whose deadline has passed before it was begun. */
  expire(): void {
    if (this.done() || this.run !== null) return;
    const error = new TimeoutError(
      `Cannot run ${this[inWords]()}: its deadline passed while it was in line`,
    );
    this.#finish();
    super.setException(error);
    this.#leave();
  }

  #leave(): void {
    if (this.list !== undefined) this.keeper.withdraw(this as AnyBalancerJob);
    else this.keeper.unbegun();
  }

  #finish(): void {
    this.#begin = null;
    this.run = null;
    this.#timer?.cancel();
    this.#timer = null;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
  }

  /** Whether its member is handing a cancellation on to others. */
  override [isHandingOn](): boolean {
    return this.run !== null && this.run.future[isHandingOn]();
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
    return "Job";
  }
}
