/**
 * Executor whose jobs wait in a store, and run in whatever program takes them.
 *
 * @module
 */
import {
  CancelledError,
  ExecutorShutDownError,
  MisuseError,
  RemoteStoreError,
} from "../errors.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { sleep } from "../loop/sleep.ts";
import { until } from "../loop/until.ts";
import { ExponentialBackoff } from "../structures/backoff.ts";
import { SeededRandom } from "../structures/random.ts";
import { BaseExecutor } from "../workers/base_executor.ts";
import type {
  Executor,
  ExecutorStats,
  ShutdownOptions,
} from "../workers/executor.ts";
import { singleWorker } from "../workers/loop_executor.ts";
import {
  type ExecutorTask,
  type JobResult,
  toTaskRef,
} from "../workers/module_task.ts";
import { PoolCore } from "../workers/pool_core.ts";
import { checkShutdownOptions } from "../workers/pool_shutdown.ts";
import {
  checkSubmitOptions,
  copyArguments,
} from "../workers/submit_options.ts";
import { ThreadPool } from "../workers/thread_pool.ts";
import { transportedLocals } from "../workers/transport.ts";
import type { EngineListener, RemoteEngine, RemoteOutcome } from "./engine.ts";
import {
  checkRemoteSubmit,
  type RemoteExecutorOptions,
  type RemoteSettings,
  type RemoteSubmitOptions,
  settleRemoteOptions,
} from "./remote_options.ts";
import { Station } from "./station.ts";
import { type SubmittedSettings, Submitter } from "./submitter.ts";

const CREATE = "create a remote executor";
/** How long a shutdown whose grace is over waits for a store, at most, at each step. */
const AWAY_LIMIT_MS = 5_000;

/**
 * An executor whose jobs go through a store, such as Redis or NATS, to any program
 * that works on them: to other processes and other machines. Made by
 * {@linkcode bullmqExecutor}, {@linkcode jetstreamExecutor} or
 * {@linkcode memoryExecutor}, or over an engine of your own.
 *
 * A job runs **at least once**. A worker holds a job by a lease, which is renewed
 * while the function runs, blocks or computes, as it runs elsewhere: in `executor`.
 * If the worker dies, the lease runs out, and another worker begins the job again;
 * so it may happen that a job has run, in part or in whole, and runs once more. If a
 * worker only seemed dead, the signal of its job aborts once it learns that, and the
 * store refuses its outcome. Writes of the job to other systems are beyond the reach of
 * the store: pass the id or the fencing token of `currentJob().lease` on to systems that
 * can tell.
 *
 * Functions are best exported by a module that all programs have. Arguments,
 * results, progress and errors are structured clones, and task-local values made
 * for transport go along. `transfer` and `idempotent` have no effect.
 *
 * The executor belongs to the loop on which it is made, and connects at once. While
 * the store is away, nothing is lost: jobs that it has taken are still there when it
 * comes back, and new ones are offered to it again and again, for `storeTimeoutMs`.
 * The first of a row of failures is told to the exception handler of the loop.
 *
 * Shut it down, or use `await using`. At the end of a `run` that has not, what runs
 * here goes back to the store, and the connections are closed.
 *
 * @example A store in memory, for tests
 * ```ts
 * import { run } from "@rota/rota/loop";
 * import { LoopExecutor } from "@rota/rota/workers";
 * import { memoryExecutor, MemoryStore } from "@rota/rota/fleet";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(async () => {
 *   const store = new MemoryStore();
 *   await using worker = memoryExecutor({
 *     store,
 *     role: "work",
 *     executor: new LoopExecutor(),
 *   });
 *   await using fleet = memoryExecutor({ store, role: "submit" });
 *   return await fleet.submit((a: number, b: number) => a + b, [1, 2]);
 * }, { host: "virtual" });
 * assertEquals(sum, 3);
 * ```
 */
export class RemoteExecutor extends BaseExecutor {
  readonly #engine: RemoteEngine;
  readonly #settings: RemoteSettings;
  readonly #loop: EventLoop;
  readonly #random: SeededRandom;
  readonly #core: PoolCore;
  readonly #submitter: Submitter;
  /** Where functions run; null if this program does not work. */
  readonly #executor: Executor | null;
  readonly #station: Station | null;
  readonly #opened: Future<void>;
  readonly #opening: Task<void>;
  /** Whether a failure of the store was reported, and it has not answered since. */
  #isAway = false;
  /** Whether the engine is being closed. */
  #isClosed = false;
  #isShutDown = false;
  #closing: Task<void> | null = null;
  #stopping: Promise<void> | null = null;
  /** Moment at which jobs that run here are given back. */
  #releaseAtMs = Infinity;
  #releasing: { cancel(): void } | null = null;
  #isReleasing = false;
  /** Whether the engine has not ended in time. */
  #isAbandoned = false;
  /** Ends the wait for the engine. */
  #giveUp: (() => void) | null = null;
  #waitLimit: TimerHandle | null = null;
  /** Told if the loop ends before a shutdown. */
  readonly #end: EndListener = {
    loopEnds: () => this.#loopEnds(),
    loopClosed: () => this.#loopClosed(),
  };

  /**
   * Makes an executor, and begins to connect.
   *
   * @param engine The store.
   * @param options Role, concurrency, lease and so on.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {MisuseError} If no loop is running.
   */
  constructor(engine: RemoteEngine, options: RemoteExecutorOptions = {}) {
    super();
    const settings = settleRemoteOptions(options, CREATE);
    const loop = getRunningLoop();
    this.#engine = engine;
    this.#settings = settings;
    this.#loop = loop;
    this.#random = new SeededRandom(settings.seed);
    this.#submitter = new Submitter(engine, loop, settings, {
      storeFailed: (error) => this.#storeFailed(error),
      storeAnswered: () => this.#isAway = false,
    }, this.#random);
    this.#core = this.#makeCore(loop);
    this.#executor = this.#makeExecutor();
    this.#station = this.#executor === null
      ? null
      : new Station(loop, this.#executor, settings.root, this.#random);
    this.#opened = new Future(loop, `the connection to ${engine.inWords}`);
    this.#opening = loop.createTask(() => this.#open(), {
      name: `connecting to ${engine.inWords}`,
    });
    this.#opening.addDoneCallback((opening) => this.#openEnded(opening));
    loop[core].endings.add(this.#end);
  }

  #makeCore(loop: EventLoop): PoolCore {
    return new PoolCore(
      (listener) => this.#submitter.attach(listener),
      singleWorker("", Infinity, CREATE),
      { pool: this.#engine.inWords, kind: "store" },
      {
        clock: {
          nowMs: () => loop.time(),
          after: (ms, fn) => loop.callLater(ms, fn),
        },
        transportedLocals,
        isOutside: this.#engine.isOutside,
      },
    );
  }

  #makeExecutor(): Executor | null {
    const { works, executor, concurrency } = this.#settings;
    if (!works) return null;
    return executor ?? new ThreadPool({ maxWorkers: concurrency });
  }

  // -- Connecting --

  /** Opens the engine, as often as it takes. */
  *#open(): Coroutine<void> {
    const { submits, works, leaseMs, maxLostLeases } = this.#settings;
    const { keepResultsMs, keepFailedMs } = this.#settings;
    const roles = {
      ...{ submits, works, leaseMs, maxLostLeases },
      ...{ keepResultsMs, keepFailedMs },
    };
    const backoff = new ExponentialBackoff(50, 2, 2_000);
    for (let failures = 0;;) {
      try {
        yield* until(() => this.#engine.open(this.#listener(), roles));
        return;
      } catch (error) {
        if (error instanceof CancelledError) throw error;
        this.#storeFailed(error);
        failures++;
      }
      yield* sleep(backoff.delayMs(failures, this.#random));
    }
  }

  #openEnded(opening: Task<void>): void {
    if (opening.cancelled() || this.#isClosed) {
      if (!this.#opened.done()) {
        this.#opened.cancel("the executor was shut down");
      }
      return;
    }
    opening.result(); // a defect, for the exception handler
    this.#isAway = false;
    this.#opened.setResult();
    this.#submitter.opened();
    if (this.#station === null) return;
    const station = this.#station;
    this.#engine.work(
      this.#settings.concurrency,
      (lease) => {
        this.#isAway = false;
        return station.run(lease);
      },
    );
  }

  #listener(): EngineListener {
    const submitter = this.#submitter;
    const onLoop = <A extends unknown[]>(fn: (...args: A) => void) =>
    (
      ...args: A
    ) => {
      if (!this.#loop.isClosed()) this.#loop.callSoon(fn, ...args);
    };
    const tell = onLoop((id: string, outcome: RemoteOutcome) =>
      submitter.ended(id, outcome)
    );
    return {
      awaits: (id) => submitter.awaits(id),
      begun: onLoop((id) => submitter.begun(id)),
      progressed: onLoop((id, value) => submitter.progressed(id, value)),
      ended: tell,
      cancelled: onLoop((id, reason) => this.#station?.cancel(id, reason)),
      failed: onLoop((error) => this.#storeFailed(error)),
    };
  }

  /** Reports the first of a row of failures. */
  #storeFailed(error: unknown): void {
    if (this.#isAway || this.#loop.isClosed()) return;
    this.#isAway = true;
    const exception = new RemoteStoreError(
      `${this.#engine.inWords} does not answer: ${
        error instanceof Error ? error.message : String(error)
      }`,
      { cause: error },
    );
    this.#loop.callExceptionHandler({ message: exception.message, exception });
  }

  /**
   * Waits until the store has answered for the first time. There is no need to:
   * jobs wait for that by themselves.
   *
   * @returns An operation. It fails with a {@linkcode RemoteStoreError} if the store
   * does not answer within `storeTimeoutMs`; the attempts go on all the same.
   */
  ready(): Operation<void> {
    const { storeTimeoutMs } = this.#settings;
    const opened = this.#opened;
    const inWords = this.#engine.inWords;
    const loop = this.#loop;
    return new Operation(function* () {
      const waiter = new Future<void>(loop, `the connection to ${inWords}`);
      const settle = () => {
        if (waiter.done()) return;
        if (opened.cancelled()) waiter.cancel("the executor was shut down");
        else waiter.setResult();
      };
      const timer = loop.callLater(storeTimeoutMs, () => {
        if (waiter.done()) return;
        waiter.setException(
          new RemoteStoreError(
            `Cannot connect: ${inWords} did not answer within ${storeTimeoutMs} ms`,
          ),
        );
      });
      if (opened.done()) settle();
      else opened.addDoneCallback(settle);
      try {
        yield* waiter;
      } finally {
        timer.cancel();
        opened.removeDoneCallback(settle);
      }
    }, { name: "RemoteExecutor.ready()" });
  }

  // -- What executors offer --

  /** How many jobs `map` and load balancers keep in the store at a time. */
  get capacity(): number {
    return this.#settings.capacity;
  }

  /**
   * Puts a job in the store, for any worker.
   *
   * The future ends with the outcome of the job, once the store has it. Cancelling
   * it, or aborting the signal, removes a job that waits; of one that runs, the
   * worker aborts the signal, and the future ends when the function has, or after
   * `cancelGraceMs`. A job that is past its deadline ends likewise, with a
   * {@linkcode TimeoutError}. A program that dies leaves its jobs in the store, where
   * they run all the same; one whose `run` ends cancels those that have not ended.
   *
   * Priorities: those of the store are as many as it has; others are rounded to the
   * next one.
   *
   * @typeParam A Types of the arguments.
   * @typeParam R Type of what the function returns.
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments, which are copied a turn later: leave alone what is in them until then.
   * @param options Name, signal, priority, deadline, dedupe key, retries and so on.
   * @returns A future of the result. It fails with the error of the function, with a
   * {@linkcode RemoteStoreError} if the store does not take the job in time, with a
   * {@linkcode JobVersionError} if the worker cannot read it, or a
   * {@linkcode WorkerCrashError} if too many workers died with it.
   * @throws {TypeError} If an argument is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {ExecutorShutDownError} After `shutdown`.
   * @throws {MisuseError} If the executor only works, or belongs to another loop.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: RemoteSubmitOptions,
  ): Future<JobResult<R>> {
    const ref = toTaskRef(task, "submit a job");
    const given = copyArguments(args);
    const plain = checkSubmitOptions(options);
    const remote = checkRemoteSubmit(options, this.#settings.retry);
    if (!this.#settings.submits) {
      throw new MisuseError(
        'Cannot submit a job: the role of the executor is "work"',
      );
    }
    if (this.#isShutDown) {
      throw new ExecutorShutDownError(
        `Cannot submit a job: the executor of ${this.#engine.inWords} was shut down`,
      );
    }
    if (getRunningLoop() !== this.#loop) {
      throw new MisuseError(
        "Cannot submit a job: the executor belongs to another event loop",
      );
    }
    const settings: SubmittedSettings = { ...plain, remote };
    return this.#core.submit(ref, given, settings);
  }

  /**
   * Takes no more jobs from anywhere, and ends.
   *
   * First the jobs that this program has submitted end, here or elsewhere; after
   * `graceMs` they are cancelled. Then no more jobs are taken from the store; those
   * that run here may end, with their leases renewed to the last, but after `graceMs`
   * their signals abort, and those that have not ended go back to the store, where
   * another worker takes them at once. At last the connections are closed. Calling
   * it again joins the first call, and may shorten its grace.
   *
   * @param options How long jobs may take, and whether those that have not begun are cancelled at once.
   * @returns An operation that ends when all is closed.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `graceMs` is negative or `NaN`.
   */
  shutdown(options?: ShutdownOptions): Operation<void> {
    const { graceMs } = checkShutdownOptions(options);
    const begin = () => this.#begin(graceMs, options);
    const loop = this.#loop;
    return new Operation(function* () {
      const closing = begin();
      const down = new Future<void>(loop, "RemoteExecutor.shutdown()");
      const settle = (closing: Task<void>) => {
        if (down.done()) return;
        const error = closing.cancelled() ? undefined : closing.exception();
        if (error === undefined) down.setResult();
        else down.setException(error);
      };
      if (closing.done()) return;
      closing.addDoneCallback(settle);
      try {
        yield* down; // may be cancelled; the shutdown goes on
      } finally {
        closing.removeDoneCallback(settle);
      }
    }, { name: "RemoteExecutor.shutdown()" });
  }

  #begin(graceMs: number, options: ShutdownOptions | undefined): Task<void> {
    const isFirst = !this.#isShutDown;
    this.#isShutDown = true;
    this.#releaseLater(graceMs);
    const closing = this.#closing;
    if (closing?.done()) return closing;
    const jobs = this.#core.shutdown(options);
    if (closing !== null) {
      this.#loop.createTask(function* () {
        yield* jobs; // shortens the grace
      });
      return closing;
    }
    if (isFirst && !this.#opened.done()) this.#neverOpened(graceMs);
    return this.#closing = this.#loop.createTask(() => this.#close(jobs), {
      name: `shutdown of ${this.#engine.inWords}`,
    });
  }

  /** Stops connecting when the grace is over, or there is nothing to connect for. */
  #neverOpened(graceMs: number): void {
    if (graceMs === 0 || !this.#settings.submits) this.#opening.cancel();
  }

  #releaseLater(graceMs: number): void {
    const atMs = this.#loop.time() + graceMs;
    if (!(atMs < this.#releaseAtMs)) return;
    this.#releaseAtMs = atMs;
    this.#releasing?.cancel();
    const station = this.#station;
    this.#releasing = this.#loop.callLater(graceMs, () => {
      // Before anything goes back, so that it does not come here again.
      if (station !== null && this.#isOpen()) this.#stop().catch(() => {}); // told to #close()
      station?.release();
      this.#isReleasing = true;
      this.#limitWait();
    });
  }

  /** Puts what runs here back in the store, before the end of the run cancels it. */
  #loopEnds(): void {
    this.#isShutDown = true;
    if (this.#station === null) return;
    if (this.#isOpen()) this.#stop().catch(() => {}); // the store may be away
    this.#station.release();
  }

  /** Lets go of the connections: nobody will come to shut down. */
  #loopClosed(): void {
    this.#isClosed = true;
    this.#station?.abandon();
    this.#engine.close().catch(() => {}); // nobody is left to be told
    if (this.#isAway) this.#engine.abandon?.();
  }

  #isOpen(): boolean {
    return this.#opened.done() && !this.#opened.cancelled();
  }

  /** Leases no more jobs, and waits for the verdicts on the others. */
  #stop(): Promise<void> {
    return this.#stopping ??= this.#engine.stop();
  }

  *#close(jobs: Operation<void>): Coroutine<void> {
    yield* jobs;
    this.#opening.cancel();
    try {
      if (this.#station !== null && this.#isOpen()) {
        yield* this.#settled(this.#stop());
      }
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      this.#storeFailed(error);
    } finally {
      this.#isClosed = true;
      this.#releasing?.cancel();
      yield* this.#settled(this.#engine.close());
      if (this.#isAbandoned) this.#engine.abandon?.();
      if (this.#executor !== null && this.#settings.executor === null) {
        yield* this.#executor.shutdown({ graceMs: 0 });
      }
      this.#loop[core].endings.delete(this.#end);
    }
  }

  /**
   * Waits for a promise of the engine: outside of the loop only if the store is, and
   * not for ever once jobs were given back, as the store may be away.
   */
  *#settled(promise: Promise<void>): Coroutine<void> {
    const settled = new Future<void>(this.#loop, this.#engine.inWords);
    const end = () => {
      if (!settled.done()) settled.setResult();
    };
    promise.then(end, (error) => {
      this.#storeFailed(error);
      end();
    });
    this.#giveUp = end;
    if (this.#isReleasing) this.#limitWait();
    if (this.#engine.isOutside) this.#loop[core].outside.outsideBegan();
    try {
      yield* settled;
    } finally {
      if (this.#engine.isOutside) this.#loop[core].outside.outsideEnded();
      this.#waitLimit?.cancel();
      this.#waitLimit = null;
      this.#giveUp = null;
    }
  }

  #limitWait(): void {
    if (this.#waitLimit !== null || this.#giveUp === null) return;
    const limitMs = Math.min(this.#settings.leaseMs, AWAY_LIMIT_MS);
    this.#waitLimit = this.#loop.callLater(limitMs, () => {
      this.#giveUp?.();
      this.#isAbandoned = true;
    });
  }

  /**
   * Returns the counts: of the jobs that this program has submitted, and of its
   * workers. `waitMs` and `runMs` are those of the store as a whole: a job begins
   * when it is sent there.
   *
   * @returns A copy.
   */
  stats(): ExecutorStats {
    const counts = this.#core.stats();
    const open = counts.queued + counts.running;
    const { running } = this.#submitter;
    const busy = this.#station?.running ?? 0;
    const size = this.#station === null ? 0 : this.#settings.concurrency;
    const isOpen = this.#isOpen();
    return {
      ...counts,
      queued: open - running,
      running,
      workers: {
        starting: isOpen ? 0 : size,
        idle: isOpen ? Math.max(0, size - busy) : 0,
        busy,
        stopping: 0,
      },
    };
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"RemoteExecutor"`.
   */
  get [Symbol.toStringTag](): string {
    return "RemoteExecutor";
  }
}
