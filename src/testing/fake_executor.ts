/**
 * Executor whose jobs run on the loop of the test, by a script: how long they take,
 * who crashes, what is refused.
 *
 * @module
 */
import {
  ExecutorShutDownError,
  OverloadError,
  WorkerCrashError,
} from "../errors.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOptions,
  checkPlainFunction,
  isThenable,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { BaseExecutor } from "../workers/base_executor.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "../workers/executor.ts";
import type { ExecutorTask, JobResult } from "../workers/module_task.ts";

/** Ends of a job, as they are counted. */
type JobEnd = "done" | "failed" | "cancelled" | "crashed";

/** Executor, as its jobs see it. */
interface JobOwner {
  readonly cancelMs: number;
  /** A job has ended. */
  jobEnded(job: FakeJob<unknown>, end: JobEnd): void;
}

/**
 * A job of a {@linkcode FakeExecutor}: its function is called when its service time
 * is over.
 *
 * @typeParam T Type of the result.
 */
export class FakeJob<T> extends Future<T> {
  /** Options that the job was submitted with. */
  readonly options: SubmitOptions;
  readonly #owner: JobOwner;
  readonly #call: () => T;
  #timer: TimerHandle;
  #subscription: Subscription | null = null;

  /** @ignore */
  constructor(
    owner: JobOwner,
    loop: EventLoop,
    ms: number,
    call: () => T,
    options: SubmitOptions,
  ) {
    super(loop, options.name ?? "a job of a fake executor");
    this.#owner = owner;
    this.options = options;
    this.#call = call;
    this.#timer = loop.callLater(ms, () => this.#end());
    const { signal } = options;
    if (signal !== undefined) {
      this.#subscription = subscribe(signal, (reason) => this.cancel(reason));
    }
  }

  #end(): void {
    let value: T;
    try {
      value = this.#call();
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (isThenable(value)) this.#follow(value);
    else this.#succeed(value);
  }

  /** Waits for what an async function has returned. */
  #follow(promise: PromiseLike<T>): void {
    const { outside } = this.loop[core];
    outside.outsideBegan();
    promise.then((value) => {
      outside.outsideEnded();
      if (!this.done()) this.#succeed(value);
    }, (error) => {
      outside.outsideEnded();
      if (!this.done()) this.#fail(error);
    });
  }

  #succeed(value: T): void {
    this.#leave("done");
    super.setResult(value);
  }

  #fail(error: unknown): void {
    this.#leave(error instanceof WorkerCrashError ? "crashed" : "failed");
    super.setException(error);
  }

  /**
   * Ends the job with an error; does nothing if it has ended.
   *
   * @param error The error, of any type. A `WorkerCrashError` counts as a crash.
   */
  failWith(error: unknown): void {
    if (!this.done()) this.#fail(error);
  }

  /**
   * Cancels the job, which ends after the time that the executor takes for that.
   *
   * @param reason Cause, of any type.
   * @returns Whether the job had not ended.
   */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    const { cancelMs } = this.#owner;
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
    this.#leave("cancelled");
    super.cancel(reason);
  }

  #leave(end: JobEnd): void {
    this.#timer.cancel();
    this.#subscription?.unsubscribe();
    this.#owner.jobEnded(this as FakeJob<unknown>, end);
  }
}

/** Options of a {@linkcode FakeExecutor}. */
export interface FakeExecutorOptions {
  /**
   * How many jobs it says that it runs at a time. It runs more if it gets them, and
   * counts those as queued.
   *
   * @default {1}
   */
  readonly capacity?: number | undefined;
  /** Service time of a job in milliseconds, from its arguments; the first argument if it is left out, 0 if that is no number. */
  readonly serviceMs?: ((...args: readonly unknown[]) => number) | undefined;
}

/**
 * An executor for tests: it runs its jobs on the loop, at virtual times, without
 * any thread or process.
 *
 * A job ends when its service time is over; its function is called at that moment,
 * with the very arguments, which a real executor would have copied. Everything
 * else is up to the test, which may change it at any time: jobs that crash, a
 * refusal at `submit`, cancellations that take time. Of the options of `submit`,
 * `name` and `signal` count.
 *
 * @example A pool that crashes is survived
 * ```ts
 * import { getRunningLoop, run, WorkerCrashError } from "@rota/rota";
 * import { FakeExecutor } from "@rota/rota/testing";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const double = (n: number) => n * 2;
 * await run(async () => {
 *   const executor = new FakeExecutor({ capacity: 2, serviceMs: () => 50 });
 *   const loop = getRunningLoop();
 *   assertEquals(await loop.runInExecutor(executor, double, 21), 42);
 *   assertEquals(loop.time(), 50);
 *
 *   const job = loop.runInExecutor(executor, double, 1);
 *   executor.crash();
 *   await assertRejects(async () => await job, WorkerCrashError);
 * }, { host: "virtual" });
 * ```
 */
export class FakeExecutor extends BaseExecutor {
  /** How many jobs it says that it runs at a time. */
  capacity: number;
  /** Service time of a job in milliseconds, from its arguments. */
  readonly serviceMs: (...args: readonly unknown[]) => number;
  /** Whether each job crashes at its end, as if its worker had died. */
  isCrashing = false;
  /** Error that `submit` throws; `null` for none. */
  refusal: Error | null = null;
  /** How long a cancelled job takes to end, in milliseconds. */
  cancelMs = 0;
  /** Jobs that have not ended, in the order of `submit`. */
  readonly jobs: Set<FakeJob<unknown>> = new Set();
  /** Names of all jobs, in the order of `submit`; `""` for one without a name. */
  readonly begun: string[] = [];
  /** The most jobs at a time so far. */
  peak = 0;
  /** Whether `shutdown` has begun. */
  isDown = false;
  /** Options of each call of `shutdown`. */
  readonly shutdowns: ShutdownOptions[] = [];
  readonly #ends: Record<JobEnd, number> = {
    done: 0,
    failed: 0,
    cancelled: 0,
    crashed: 0,
  };
  readonly #waiters: Future<void>[] = [];
  readonly #owner: JobOwner;

  /**
   * Makes an executor without jobs.
   *
   * @param options Its capacity, and how long jobs take.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `capacity` is not an integer >= 0.
   */
  constructor(options: FakeExecutorOptions = {}) {
    super();
    const what = "make a fake executor";
    checkOptions(options, what);
    const { capacity = 1, serviceMs } = options;
    checkInteger(capacity, 0, what, "capacity", "or Infinity");
    if (serviceMs !== undefined) checkFunction(serviceMs, what, "serviceMs");
    this.capacity = capacity;
    this.serviceMs = serviceMs ?? ((ms) => typeof ms === "number" ? ms : 0);
    const cancelMs = () => this.cancelMs;
    this.#owner = {
      get cancelMs() {
        return cancelMs();
      },
      jobEnded: (job, end) => this.#jobEnded(job, end),
    };
  }

  /**
   * Takes on a job. Its service time begins now.
   *
   * @typeParam A Types of the arguments.
   * @typeParam R Type of what the function returns.
   * @param task The function. An export of a module, named by a `ModuleTask`, is
   * not loaded.
   * @param args Its arguments.
   * @param options Name and signal; the others are kept in `job.options`.
   * @returns The job, a {@linkcode FakeJob}.
   * @throws {TypeError} If `task` is not a function, or `serviceMs` gives no number.
   * @throws {RangeError} If `serviceMs` gives `NaN` or a negative number.
   * @throws {ExecutorShutDownError} If it was shut down.
   * @throws {Error} The `refusal`, if one is set.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options: SubmitOptions = {},
  ): Future<JobResult<R>> {
    const what = "submit a job";
    checkPlainFunction(task, what, "task");
    checkOptions(options, what);
    if (this.isDown) {
      throw new ExecutorShutDownError(
        "Cannot submit a job: the fake executor has been shut down",
      );
    }
    if (this.refusal !== null) throw this.refusal;
    const call = () => {
      if (this.isCrashing) throw crashError();
      return (task as (...args: A) => R)(...args) as JobResult<R>;
    };
    const ms = this.serviceMs(...args);
    checkNotNegative(ms, what, "the result of serviceMs");
    const job = new FakeJob<JobResult<R>>(
      this.#owner,
      getRunningLoop(),
      ms,
      call,
      options,
    );
    if (!job.done()) this.jobs.add(job as FakeJob<unknown>);
    this.begun.push(options.name ?? "");
    this.peak = Math.max(this.peak, this.jobs.size);
    return job;
  }

  /** Has all jobs that run fail now, with a `WorkerCrashError`. */
  crash(): void {
    for (const job of [...this.jobs]) job.failWith(crashError("killed"));
  }

  /** Has `submit` refuse jobs from now on with an `OverloadError`, until `refusal` is set to `null`. */
  fill(): void {
    this.refusal = new OverloadError(
      "Cannot submit a job: the fake executor is full",
    );
  }

  #jobEnded(job: FakeJob<unknown>, end: JobEnd): void {
    this.#ends[end]++;
    this.jobs.delete(job);
    if (this.jobs.size > 0) return;
    for (const waiter of this.#waiters.splice(0)) {
      if (!waiter.done()) waiter.setResult();
    }
  }

  /**
   * Takes no more jobs, and waits for those that run. Grace is not applied: the
   * options are kept in `shutdowns`.
   *
   * @param options Options of a real executor.
   * @returns An operation that ends when nothing is left.
   */
  shutdown(options: ShutdownOptions = {}): Operation<void> {
    checkOptions(options, "shut down a fake executor");
    const begin = () => this.#beginShutdown(options);
    return new Operation(function* () {
      yield* begin();
    }, { name: "FakeExecutor.shutdown()" });
  }

  #beginShutdown(options: ShutdownOptions): Future<void> {
    const { jobs } = this;
    this.shutdowns.push(options);
    this.isDown = true;
    for (const job of jobs) if (job.loop.isClosed()) jobs.delete(job);
    const waiter = new Future<void>(
      getRunningLoop(),
      "FakeExecutor.shutdown()",
    );
    if (jobs.size === 0) waiter.setResult();
    else this.#waiters.push(waiter);
    return waiter;
  }

  /**
   * Returns the counts. Times are `NaN`.
   *
   * @returns A copy.
   */
  stats(): ExecutorStats {
    const none = { p50: NaN, p99: NaN };
    const busy = Math.min(this.jobs.size, this.capacity);
    return {
      queued: this.jobs.size - busy,
      running: busy,
      ...this.#ends,
      rerun: 0,
      workers: { starting: 0, idle: this.capacity - busy, busy, stopping: 0 },
      lostThreads: 0,
      waitMs: none,
      runMs: none,
    };
  }
}

function crashError(kind: "exit" | "killed" = "exit"): WorkerCrashError {
  return new WorkerCrashError(
    "The worker of a fake executor died",
    kind,
    kind === "exit" ? 7 : null,
  );
}
