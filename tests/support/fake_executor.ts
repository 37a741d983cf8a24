/**
 * Executor that runs its jobs on the loop, with a script: how long they take, and
 * who crashes.
 *
 * @module
 */
import {
  type EventLoop,
  Future,
  getRunningLoop,
  Operation,
  OverloadError,
  type TimerHandle,
} from "../../mod.ts";
import { ExecutorShutDownError, WorkerCrashError } from "../../src/errors.ts";
import { BaseExecutor } from "../../src/workers/base_executor.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "../../src/workers/executor.ts";
import type { ExecutorTask, JobResult } from "../../src/workers/module_task.ts";

/** A job of a fake executor: it ends when a timer says so. */
export class FakeJob<T> extends Future<T> {
  readonly executor: FakeExecutor;
  readonly options: SubmitOptions;
  readonly #call: () => T;
  #timer: TimerHandle;

  constructor(
    executor: FakeExecutor,
    loop: EventLoop,
    ms: number,
    call: () => T,
    options: SubmitOptions,
  ) {
    super(loop, options.name);
    this.executor = executor;
    this.options = options;
    this.#call = call;
    this.#timer = loop.callLater(ms, () => this.#end());
  }

  #end(): void {
    this.#leave();
    let value: T;
    try {
      value = this.#call();
    } catch (error) {
      super.setException(error);
      return;
    }
    super.setResult(value);
  }

  /** Ends the job with an error. */
  failWith(error: Error): void {
    this.#leave();
    super.setException(error);
  }

  /** Ends the job as cancelled, after the time that the executor takes for that. */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    const { cancelMs } = this.executor;
    this.#timer.cancel();
    if (cancelMs === 0) this.#endCancelled(reason);
    else {
      this.#timer = this.loop.callLater(
        cancelMs,
        () => this.#endCancelled(reason),
      );
    }
    return true;
  }

  #endCancelled(reason: unknown): void {
    this.#leave();
    super.cancel(reason);
  }

  #leave(): void {
    this.#timer.cancel();
    this.executor.jobs.delete(this as FakeJob<unknown>);
    if (this.executor.jobs.size === 0) this.executor.emptied();
  }
}

/** Settings of a fake executor. */
export interface FakeSettings {
  readonly capacity?: number;
  /** Service time of a job; the first argument of the job if it is left out. */
  readonly serviceMs?: (...args: readonly unknown[]) => number;
}

/** An executor for tests. */
export class FakeExecutor extends BaseExecutor {
  capacity: number;
  readonly serviceMs: (...args: readonly unknown[]) => number;
  /** Whether each job crashes instead of ending. */
  isCrashing = false;
  /** Error that `submit` throws; null for none. */
  refusal: Error | null = null;
  /** How long a cancelled job takes to end. */
  cancelMs = 0;
  readonly jobs = new Set<FakeJob<unknown>>();
  /** Names of the jobs that have begun, in order. */
  readonly begun: string[] = [];
  /** The most jobs at a time. */
  peak = 0;
  isDown = false;
  /** What `shutdown` was called with. */
  readonly shutdowns: ShutdownOptions[] = [];
  readonly #waiters: Future<void>[] = [];

  constructor({ capacity = 1, serviceMs }: FakeSettings = {}) {
    super();
    this.capacity = capacity;
    this.serviceMs = serviceMs ?? ((ms) => typeof ms === "number" ? ms : 0);
  }

  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options: SubmitOptions = {},
  ): Future<JobResult<R>> {
    if (this.isDown) throw new ExecutorShutDownError("the fake is down");
    if (this.refusal !== null) throw this.refusal;
    const call = () => {
      if (this.isCrashing) throw new WorkerCrashError("crashed", "exit", 7);
      return (task as (...args: A) => R)(...args) as JobResult<R>;
    };
    const job = new FakeJob<JobResult<R>>(
      this,
      getRunningLoop(),
      this.serviceMs(...args),
      call,
      options,
    );
    this.jobs.add(job as FakeJob<unknown>);
    this.begun.push(options.name ?? "");
    this.peak = Math.max(this.peak, this.jobs.size);
    return job;
  }

  /** Has all jobs that run here fail, as their worker has died. */
  crash(): void {
    for (const job of [...this.jobs]) {
      job.failWith(new WorkerCrashError("crashed", "killed", null));
    }
  }

  /** Has `submit` refuse all jobs, as there is no room. */
  fill(): void {
    this.refusal = new OverloadError("the fake is full");
  }

  emptied(): void {
    for (const waiter of this.#waiters.splice(0)) {
      if (!waiter.done()) waiter.setResult();
    }
  }

  shutdown(options: ShutdownOptions = {}): Operation<void> {
    const { jobs } = this;
    const begin = () => {
      this.shutdowns.push(options);
      this.isDown = true;
      for (const job of jobs) if (job.loop.isClosed()) jobs.delete(job);
      const waiter = new Future<void>(getRunningLoop(), "the fake's shutdown");
      if (jobs.size === 0) waiter.setResult();
      else this.#waiters.push(waiter);
      return waiter;
    };
    return new Operation(function* () {
      yield* begin();
    });
  }

  stats(): ExecutorStats {
    const none = { p50: NaN, p99: NaN };
    const busy = Math.min(this.jobs.size, this.capacity);
    return {
      queued: this.jobs.size - busy,
      running: busy,
      done: 0,
      failed: 0,
      cancelled: 0,
      crashed: 0,
      rerun: 0,
      workers: { starting: 0, idle: this.capacity - busy, busy, stopping: 0 },
      lostThreads: 0,
      waitMs: none,
      runMs: none,
    };
  }
}
