/**
 * Job of a limit: the future that `run` returns, in line, running or done.
 *
 * @module
 */
import {
  checkWaiter,
  explain,
  inWords,
  isHandingOn,
  pressureOf,
} from "../loop/waiters.ts";
import { cancellationIn } from "../loop/cancellation.ts";
import { type CancelledError, MisuseError } from "../errors.ts";
import { isGeneratorFunction } from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future, Suspension } from "../loop/future.ts";
import { type Priority, requirePriority } from "../loop/priority.ts";
import { Relay } from "../loop/priority_inheritance.ts";
import {
  cancellationBy,
  subscribe,
  type Subscription,
} from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { WaitFacts } from "../loop/waits.ts";
import type { Origin, WorkOutcome, WorkRunner } from "../loop/work_runner.ts";
import { Claim } from "./claim.ts";
import type { LimitCore, LimitedWork } from "./limit_core.ts";

/**
 * Function that a limit runs: an async function, a generator function or a
 * plain function, without parameters.
 *
 * @typeParam T Type of the result.
 */
export type JobBody<T> = () => Coroutine<T> | PromiseLike<T> | T;

/**
 * Job of a limit, which {@linkcode ConcurrencyLimit.run} returns: a future of
 * what the function will produce. It may be in line, running or done.
 *
 * Wait for it like for any future. An error that nobody looks at is reported to
 * the loop's exception handler, once. Waiting for it in a task that itself runs
 * in a slot of the same limit, while it is in line, throws a
 * {@linkcode MisuseError}, also by `gather`, `shield`, `wait`, `asCompleted`, `until`
 * and the like. (`wait` for the first of several is not refused, if another one
 * may be that.)
 *
 * @typeParam T Type of the result.
 */
export interface Job<T> extends Future<T> {
  /** Name that was given; `""` if there was none. */
  readonly name: string;
  /** Priority as a number: higher first. */
  readonly priority: number;
  /**
   * State of the job: `"pending"` in line, `"running"` while it has its slots,
   * `"done"` with a result, an error or a cancellation.
   */
  readonly phase: "pending" | "running" | "done";
  /**
   * Changes the priority of a job in line: the job goes behind those of the new
   * priority, also if that is the old one. If it is now the first and there is
   * room, it begins. A job that has begun keeps its priority.
   *
   * @param priority The new priority.
   * @returns Whether it was in line.
   * @throws {TypeError} If `priority` is none.
   */
  setPriority(priority: Priority): boolean;
  /**
   * Cancels the job. In line, it leaves the line and never runs, at once. While
   * it runs, its task is cancelled as by {@linkcode Task.cancel}: the job is done,
   * and its slots are free, when that has cleaned up.
   *
   * @param reason Cause, of any type.
   * @returns Whether the job had not ended.
   */
  cancel(reason?: unknown): boolean;
}

/**
 * Job, as its limit sees it. A job in a list is pending, one with a runner is
 * running, any other is done.
 */
export class LimitJob<T> extends Claim<T> implements Job<T>, LimitedWork {
  readonly core: LimitCore;
  #body: JobBody<T> | null;
  #runner: WorkRunner | null = null;
  readonly origin: Origin | null;
  #subscription: Subscription | null = null;
  /** Hands the priority of the waiting tasks on to the task of the job. */
  #relay: Relay | null = null;

  constructor(
    core: LimitCore,
    loop: EventLoop,
    body: JobBody<T>,
    rank: number,
    weight: number,
    origin: Origin | null,
    name: string,
  ) {
    super(loop, name, rank, weight);
    this.core = core;
    this.#body = body;
    this.origin = origin;
  }

  override get isJob(): boolean {
    return true;
  }

  get isCoroutine(): boolean {
    return isGeneratorFunction(this.#body);
  }

  get taskName(): string {
    return this.label;
  }

  get name(): string {
    return this.label;
  }

  get phase(): "pending" | "running" | "done" {
    if (this.done()) return "done";
    return this.list === undefined ? "running" : "pending";
  }

  get priority(): number {
    return this.rank;
  }

  setPriority(priority: Priority): boolean {
    const rank = requirePriority(priority, "set the priority of a job");
    if (this.list === undefined) return false;
    this.core.move(this as Claim<unknown>, rank);
    return true;
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#runner !== null) return this.#runner.cancelWork(this, reason);
    const inLine = this.list !== undefined;
    this.#finish();
    super.cancel(reason);
    this.core.cancelled++;
    if (inLine) this.core.withdraw(this as Claim<unknown>);
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
    if (this.done()) return; // there was no room for it
    this.#subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
  }

  begin(): void {
    this.core.giveWork(this.loop, this);
  }

  begun(runner: WorkRunner): void {
    this.#runner = runner;
    this.#relay?.dependOn(runner as Future<unknown>);
  }

  /** Priority node under which waiting tasks press on the job. */
  override [pressureOf](): object {
    if (this.#relay === null) {
      this.#relay = new Relay(this.loop);
      if (this.#runner !== null) {
        this.#relay.dependOn(this.#runner as Future<unknown>);
      }
    }
    return this.#relay.pressure;
  }

  launched(): void {
    this.core.launched();
  }

  call(): unknown {
    return this.#body!();
  }

  lost(reason: CancelledError): void {
    this.core.loseLoop(reason);
  }

  drop(error: Error): void {
    this.#finish();
    const cancelled = cancellationIn(error);
    if (cancelled !== null) super.cancel(cancelled);
    else super.setException(error);
  }

  ended(
    outcome: WorkOutcome,
    value: unknown,
    runner: WorkRunner | null,
  ): void {
    const core = this.core;
    core[outcome]++;
    this.#finish();
    if (outcome === "done") super.setResult(value as T);
    else if (outcome === "failed") super.setException(value);
    else this.finishCancelled(value);
    core.release(this.weight, runner);
  }

  #finish(): void {
    this.#body = null;
    this.#runner = null;
    this.#relay?.end();
    if (this.#subscription === null) return;
    this.#subscription.unsubscribe();
    this.#subscription = null;
  }

  /** Throws if the task that is about to wait may keep the job from ever having a slot. */
  override [checkWaiter](): void {
    if (this.list === undefined) return;
    this.core.refuseInside(
      `wait for ${this[inWords]()}`,
      "do not wait for it in here, or give it no slot of its own: call its function",
    );
  }

  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    this[checkWaiter]();
    return super[Symbol.iterator]();
  }

  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    this[checkWaiter]();
    return super.then(onFulfilled, onRejected);
  }

  get whose(): Future<unknown> {
    return this as Future<unknown>;
  }

  /** Facts about a wait for the job: its task ends it, or those that have the slots. */
  override [explain](): WaitFacts {
    const isInLine = this.#runner === null;
    return {
      kind: "job",
      target: this,
      behind: isInLine
        ? this.core.runners() as Future<unknown>[]
        : [this.#runner as Future<unknown>],
      isHeld: isInLine,
    };
  }

  /** Whether its task is handing a cancellation on to others. */
  override [isHandingOn](): boolean {
    return this.#runner !== null && this.#runner[isHandingOn]();
  }

  /** Name of the job in messages. */
  override [inWords](): string {
    return this.label === "" ? "a job" : `job "${this.label}"`;
  }

  override get [Symbol.toStringTag](): string {
    return "Job";
  }
}
