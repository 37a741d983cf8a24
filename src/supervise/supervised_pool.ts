/**
 * Pools, and other executors, as children of a supervisor.
 *
 * @module
 */
import {
  ExecutorShutDownError,
  MisuseError,
  OverloadError,
  WorkerCrashError,
} from "../errors.ts";
import { isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  inspect,
} from "../loop/checks.ts";
import { sleep } from "../loop/sleep.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { checkPositive } from "../workers/checks.ts";
import type { Executor, ShutdownOptions } from "../workers/executor.ts";
import type { ExecutorTask } from "../workers/module_task.ts";
import {
  type ChildEnd,
  KILLED_END,
  NORMAL_END,
  SHUTDOWN_END,
} from "./child_end.ts";
import {
  type ChildControl,
  type ChildHost,
  type Supervisable,
  supervised,
} from "./supervised.ts";

/** Options of {@linkcode supervisedPool}. */
export interface SupervisedPoolOptions {
  /**
   * How long jobs may take when the pool is stopped, in milliseconds; the others are
   * cancelled then. The `shutdown` time of the child is the limit in any case.
   *
   * @default {Infinity}
   */
  readonly graceMs?: number | undefined;
  /**
   * Whether the pool is ready only when it has done a first job, so that one whose
   * workers cannot be started fails to start.
   *
   * @default {false}
   */
  readonly warmUp?: boolean | undefined;
  /**
   * How often the pool is given a job to see whether it still does any, in milliseconds.
   * The job waits in line as others do: a pool that is busy is not ill. Each that is done is
   * a heartbeat; a `heartbeatMs` of the child, which has to be longer, limits how long the
   * jobs before it may take.
   *
   * @default {Infinity}
   */
  readonly probeMs?: number | undefined;
  /**
   * The job for that.
   *
   * @default {a function that does nothing}
   */
  readonly probe?: ExecutorTask<readonly [], unknown> | undefined;
}

/** The options, checked, each with its value. */
interface PoolChildSettings {
  readonly graceMs: number;
  readonly warmUp: boolean;
  readonly probeMs: number;
  readonly probe: ExecutorTask<readonly [], unknown>;
}

const WHAT = "supervise a pool";
const NO_OPTIONS: SupervisedPoolOptions = Object.freeze({});
const AT_ONCE: ShutdownOptions = Object.freeze({
  graceMs: 0,
  cancelPending: true,
});
/** How long a pool that is killed may take to cancel its jobs and end its workers. */
const KILL_MS = 10_000;
/** How many workers in a row may die of a job that does nothing. */
const PROBES = 3;
const doNothing = () => {};

/**
 * Makes the `start` of a child that is a pool, or any other {@linkcode Executor}.
 *
 * Each start calls `make`. An error of that is a failed start; the pool is `run.value`
 * from the moment it is ready, which is at once unless `warmUp` is set.
 *
 * A pool replaces workers that die by itself. With `probeMs` its supervisor also finds out
 * if it cannot: a pool that could start no worker for the probe, or whose probe fails, has
 * crashed and is replaced by a new one; one that somebody else has shut down has ended as
 * `"normal"`. Jobs that are in a pool that has crashed are cancelled; jobs that have failed
 * with it fail with the errors that the pool gives them.
 *
 * Stopping shuts the pool down, with `graceMs`; jobs that have not ended after the child's
 * `shutdown` time are cancelled, and workers that do not obey are killed by the pool. A
 * pool that takes more than ten seconds for that is abandoned. The end of a run cancels the
 * jobs of all pools, before its supervisors stop theirs.
 *
 * @example A pool under a supervisor
 * ```ts
 * import { run, Supervisor, ThreadPool } from "@rota/rota";
 * import { supervisedPool } from "@rota/rota/supervise";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{
 *       id: "threads",
 *       start: supervisedPool(() => new ThreadPool({ maxWorkers: 1 })),
 *     }],
 *   });
 *   await supervisor.start();
 *   const [child] = await supervisor.whichChildren();
 *   const pool = child!.run!.value as ThreadPool;
 *   return await pool.submit((a: number, b: number) => a + b, [1, 2]);
 * });
 * assertEquals(sum, 3);
 * ```
 *
 * @param make Makes the pool.
 * @param options How it is stopped and looked after.
 * @returns A function for the `start` of a {@linkcode ChildSpec}.
 * @throws {TypeError} If `make` is no function, or an option is of the wrong type.
 * @throws {RangeError} If a time is out of range.
 */
export function supervisedPool(
  make: () => Executor,
  options: SupervisedPoolOptions = NO_OPTIONS,
): () => Supervisable {
  checkFunction(make, WHAT, "make");
  checkOptions(options, WHAT);
  const { graceMs = Infinity, warmUp = false, probeMs = Infinity } = options;
  const { probe = doNothing } = options;
  checkNotNegative(graceMs, WHAT, "graceMs");
  checkOneOf(warmUp, [true, false], WHAT, "warmUp");
  checkPositive(probeMs, WHAT, "probeMs");
  const settings = { graceMs, warmUp, probeMs, probe };
  return () => ({
    [supervised]: (host) => {
      checkHeartbeats(host, probeMs);
      return new PoolChild(host, makePool(make), settings);
    },
  });
}

function checkHeartbeats({ path, heartbeatMs }: ChildHost, probeMs: number) {
  if (heartbeatMs === Infinity || probeMs < heartbeatMs) return;
  throw new MisuseError(
    `Cannot start child "${path}" with heartbeatMs ${heartbeatMs}: the probes of a pool are its heartbeats, and probeMs is ${probeMs}`,
  );
}

function makePool(make: () => Executor): Executor {
  const pool: unknown = make();
  if (isExecutor(pool)) return pool;
  throw new TypeError(
    `Cannot ${WHAT} as make must return an executor: received ${inspect(pool)}`,
  );
}

function isExecutor(value: unknown): value is Executor {
  return typeof value === "object" && value !== null &&
    "submit" in value && typeof value.submit === "function" &&
    "shutdown" in value && typeof value.shutdown === "function";
}

/** A pool that was made. */
class PoolChild implements ChildControl {
  readonly #host: ChildHost;
  readonly #pool: Executor;
  readonly #settings: PoolChildSettings;
  /** Task of the probes; null if there are none. */
  #watch: Task<void> | null = null;
  /** How it is to end, once it is known that it does. */
  #end: ChildEnd | null = null;
  #isOver = false;
  #limit: TimerHandle | null = null;

  constructor(host: ChildHost, pool: Executor, settings: PoolChildSettings) {
    this.#host = host;
    this.#pool = pool;
    this.#settings = settings;
    const { warmUp, probeMs } = settings;
    if (!warmUp) host.started(pool);
    if (warmUp || probeMs !== Infinity) {
      this.#watch = host.loop.createTask(() => this.#look(), {
        name: `probe of pool "${host.path}"`,
      });
    }
  }

  // -- Looking after it --

  *#look(): Coroutine<void> {
    const { warmUp, probeMs } = this.#settings;
    try {
      if (warmUp) {
        yield* this.#probe();
        this.#host.started(this.#pool);
      }
      while (probeMs !== Infinity) {
        yield* sleep(probeMs);
        yield* this.#probe();
        this.#host.heartbeat();
      }
    } catch (error) {
      if (isCancellation(error) || this.#end !== null) return;
      this.#fail(error);
    }
  }

  /** Has the pool do a job that does nothing; throws if it cannot. */
  *#probe(): Coroutine<void> {
    const { probe } = this.#settings;
    for (let tries = 1;; tries++) {
      try {
        yield* this.#pool.submit(probe, [], {
          name: `probe of "${this.#host.path}"`,
          idempotent: true,
        });
        return;
      } catch (error) {
        if (error instanceof OverloadError) return; // it has more to do than it can
        const isReplaced = error instanceof WorkerCrashError &&
          error.kind !== "start";
        if (!isReplaced || tries === PROBES) throw error;
      }
    }
  }

  /** A probe has failed: the pool is to be replaced. */
  #fail(error: unknown): void {
    this.#end = error instanceof ExecutorShutDownError
      ? NORMAL_END
      : { kind: "crash", error };
    this.#shutDown(AT_ONCE);
    this.#limitEnd();
  }

  // -- The end --

  stop(): void {
    this.#watch?.cancel();
    this.#end ??= SHUTDOWN_END;
    this.#shutDown({ graceMs: this.#settings.graceMs });
  }

  kill(): void {
    this.#watch?.cancel();
    if (this.#end === null || this.#end.kind === "shutdown") {
      this.#end = KILLED_END;
    }
    this.#shutDown(AT_ONCE);
    this.#limitEnd();
  }

  #shutDown(options: ShutdownOptions): void {
    this.#host.loop.createTask(() => this.#untilDown(options), {
      name: `shutdown of pool "${this.#host.path}"`,
    });
  }

  *#untilDown(options: ShutdownOptions): Coroutine<void> {
    for (;;) {
      try {
        yield* this.#pool.shutdown(options);
        break;
      } catch (error) {
        // The end of a run cancels all tasks, and the supervisor waits for this one.
        if (isCancellation(error)) continue;
        this.#end = { kind: "crash", error };
        break;
      }
    }
    this.#over(this.#end!);
  }

  /** Abandons a pool that does not end within its time. */
  #limitEnd(): void {
    const { loop, path } = this.#host;
    this.#limit ??= loop.callLater(KILL_MS, () => {
      if (this.#isOver) return;
      const waitsFor = "the shutdown of its pool";
      const leftover = loop.createTask(() => this.#pool.shutdown(AT_ONCE), {
        name: `shutdown of pool "${path}"`,
      });
      this.#over({ kind: "abandoned", waitsFor }, leftover);
    });
  }

  #over(end: ChildEnd, leftover?: Task<void>): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#limit?.cancel();
    this.#host.ended(end, leftover);
  }
}
