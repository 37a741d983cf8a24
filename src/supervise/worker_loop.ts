/**
 * Worker loops: a loop of its own in a thread of its own, as a child of a supervisor.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { readGranted } from "../host/process.ts";
import type { ThreadResourceLimits } from "../host/thread.ts";
import {
  checkInteger,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import {
  checkEnvironment,
  checkPositive,
  checkResourceLimits,
} from "../workers/checks.ts";
import {
  type ExecutorTask,
  type TaskRef,
  toTaskRef,
} from "../workers/module_task.ts";
import { THREAD_SCRIPT } from "../workers/thread_script.ts";
import { type ChildEnd, endByError } from "./child_end.ts";
import { OutsideChild } from "./outside_child.ts";
import {
  type ChildControl,
  type ChildHost,
  type Supervisable,
  supervised,
} from "./supervised.ts";
import type {
  WorkerLoopListener,
  WorkerLoopOutcome,
  WorkerLoopRun,
} from "./worker_loop_run.ts";

/**
 * A worker loop, as its main function sees it: the first argument of that.
 *
 * @typeParam V Type of the value that it hands over when it is ready.
 */
export interface WorkerLoopContext<V = unknown> {
  /** Path of the child: names of its supervisors and its id, joined by "/". */
  readonly path: string;
  /**
   * Says that the loop is ready, once. A main function that has no parameters is
   * ready when it waits for the first time.
   *
   * @param value Value for the supervisor, `run.value` there: as a rule a
   * {@linkcode LoopHandle} of this loop, by which others call its functions. Copied;
   * handles in it arrive as handles.
   * @throws {DOMException} A `DataCloneError`, if the value cannot be copied.
   * @throws {MisuseError} If it was called before.
   */
  started(value?: V): void;
  /** Says that the loop is alive: see `heartbeatMs` of the child. Costs a message. */
  heartbeat(): void;
}

/** Options of {@linkcode workerLoop}. */
export interface WorkerLoopOptions {
  /**
   * Name of the thread.
   *
   * @default {"WorkerLoop"}
   */
  readonly name?: string | undefined;
  /** Environment variables that `process.env` shows in the thread, instead of those of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /**
   * Limits of memory that the runtime keeps. A thread that needs more dies, as
   * `"out-of-memory"`, or, where the runtime does not tell, as `"unresponsive"`. Limits with
   * which the runtime would end the whole program are refused, as by a {@linkcode ThreadPool}.
   */
  readonly resourceLimits?: ThreadResourceLimits | undefined;
  /**
   * Most memory that the thread may have in use, in bytes, array buffers included.
   * Asked for every 250 milliseconds; a thread that has more is killed. A thread that takes
   * much at once is better held by `resourceLimits`.
   *
   * @default {Infinity}
   */
  readonly memoryBytesMax?: number | undefined;
  /**
   * How long the loop may be blocked, in milliseconds: a loop that answers nothing for
   * longer is killed. Time in which this process did not run does not count.
   *
   * @default {30_000}
   */
  readonly unresponsiveMs?: number | undefined;
}

/** The options, checked, each with its value. */
export interface WorkerLoopSettings {
  readonly task: TaskRef;
  readonly args: readonly unknown[];
  readonly name: string;
  readonly env: Readonly<Record<string, string>> | undefined;
  readonly resourceLimits: ThreadResourceLimits | undefined;
  readonly memoryBytesMax: number;
  readonly unresponsiveMs: number;
}

const WHAT = "make a worker loop";
const NO_OPTIONS: WorkerLoopOptions = Object.freeze({});

/**
 * Makes the `start` of a child that is a loop in a thread of its own, with a function as
 * its main.
 *
 * Each start of the child starts a thread, which loads the function and calls it with a
 * {@linkcode WorkerLoopContext} and `args`; that may be a generator function, an async
 * function or a plain one. An error before `started` is a failed start. Its end is
 * that of the child: what it returns is dropped, what it throws is the child's crash. If
 * the thread dies, the child has crashed with a {@linkcode WorkerCrashError}, whose `kind`
 * says how: also if the loop was blocked for longer than `unresponsiveMs`, or used more
 * memory than it may.
 *
 * Stopping cancels main, with the reason `"shutdown"`, which may clean up; after the
 * child's `shutdown` time the thread is ended, whatever JavaScript it runs. Native code
 * that does not return goes on, without the child, which counts as ended: that is reported
 * to the exception handler.
 *
 * Calls by a handle that are under way when the thread dies fail with an
 * {@linkcode ExecutorShutDownError}; the handle of the next run is its `run.value`.
 *
 * A thread takes some 50 ms to start, and 7 MB. While it runs, the process stays alive, and
 * a virtual clock stands still. Needs the permissions of a {@linkcode ThreadPool}.
 *
 * @example A counter in a thread
 * ```ts ignore
 * // counter.ts
 * import { LoopHandle, type WorkerLoopContext } from "@rota/rota";
 *
 * export async function main(worker: WorkerLoopContext) {
 *   let count = 0;
 *   const handle = new LoopHandle();
 *   handle.register("next", () => ++count);
 *   worker.started(handle);
 *   await handle.serve();
 * }
 * ```
 *
 * @example Its supervisor
 * ```ts ignore
 * const counter = new URL("./counter.ts", import.meta.url);
 * await using supervisor = new Supervisor({
 *   children: [{
 *     id: "counter",
 *     start: workerLoop({ module: counter, name: "main" }, [], { unresponsiveMs: 1_000 }),
 *   }],
 * });
 * await supervisor.start();
 * const [child] = await supervisor.whichChildren();
 * const handle = child!.run!.value as LoopHandle<{ next(): number }>;
 * console.log(await handle.call("next"));
 * ```
 *
 * @example A function that needs nothing around it
 * ```ts
 * import { run, Supervisor } from "@rota/rota";
 * import { workerLoop } from "@rota/rota/supervise";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{
 *       id: "far",
 *       start: workerLoop(async (worker, word) => {
 *         worker.started(`${word} from a thread`);
 *         await new Promise(() => {}); // until it is stopped
 *       }, ["hello"]),
 *       shutdown: "brutal-kill",
 *     }],
 *   });
 *   await supervisor.start();
 *   const [far] = await supervisor.whichChildren();
 *   assertEquals(far?.run?.value, "hello from a thread");
 * });
 * ```
 *
 * @typeParam A Types of the arguments.
 * @param task The main function: `{ module, name }`, a member of {@linkcode taskModule}, or
 * a function that needs nothing around it.
 * @param args Its arguments after the first, which are copied for each start; loop handles
 * among them arrive as handles.
 * @param options Name, limits and so on.
 * @returns A function for the `start` of a {@linkcode ChildSpec}.
 * @throws {TypeError} If an argument or option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If Rota's files may not be read.
 */
export function workerLoop<
  V = unknown,
  const A extends readonly unknown[] = readonly [],
>(
  task: ExecutorTask<
    readonly [worker: WorkerLoopContext<V>, ...args: A],
    unknown
  >,
  args?: A,
  options: WorkerLoopOptions = NO_OPTIONS,
): () => Supervisable {
  const settings = settle(toTaskRef(task, WHAT), args ?? [], options);
  return () => new WorkerLoopChild(settings);
}

function settle(
  task: TaskRef,
  args: readonly unknown[],
  options: WorkerLoopOptions,
): WorkerLoopSettings {
  if (!Array.isArray(args)) {
    throw new TypeError(
      `Cannot ${WHAT} as args must be an array: received ${inspect(args)}`,
    );
  }
  checkOptions(options, WHAT);
  const { name = "WorkerLoop", env, resourceLimits } = options;
  const { memoryBytesMax = Infinity, unresponsiveMs = 30_000 } = options;
  checkString(name, WHAT, "name");
  if (env !== undefined) checkEnvironment(env, WHAT);
  if (resourceLimits !== undefined) checkResourceLimits(resourceLimits, WHAT);
  checkInteger(memoryBytesMax, 1, WHAT, "memoryBytesMax", "or Infinity");
  checkPositive(unresponsiveMs, WHAT, "unresponsiveMs");
  checkPermissions();
  return {
    task,
    args: [...args],
    name,
    env: env === undefined ? undefined : { ...env },
    resourceLimits,
    memoryBytesMax,
    unresponsiveMs,
  };
}

function checkPermissions(): void {
  if (!THREAD_SCRIPT.startsWith("file:") || readGranted(THREAD_SCRIPT)) return;
  throw new MisuseError(
    `Cannot ${WHAT}: the permission to read ${THREAD_SCRIPT} is missing, run with --allow-read`,
  );
}

/** Start of a worker loop, one of many. */
class WorkerLoopChild implements Supervisable {
  readonly #settings: WorkerLoopSettings;

  constructor(settings: WorkerLoopSettings) {
    this.#settings = settings;
  }

  [supervised](host: ChildHost): ChildControl {
    return new LazyWorkerLoop(host, this.#settings);
  }
}

/** A worker loop whose code is being loaded, and the run once that is there. */
class LazyWorkerLoop extends OutsideChild implements WorkerLoopListener {
  #run: WorkerLoopRun | null = null;

  constructor(host: ChildHost, settings: WorkerLoopSettings) {
    super(host);
    this.#load(settings);
  }

  async #load(settings: WorkerLoopSettings): Promise<void> {
    try {
      const { WorkerLoopRun } = await import("./worker_loop_run.ts");
      if (this.isOver) return;
      const { path, loop } = this.host;
      this.#run = new WorkerLoopRun(settings, path, loop, this);
    } catch (error) {
      this.over({ kind: "crash", error });
    }
  }

  protected override beginStop(): void {
    if (this.#run !== null) this.#run.stop();
    else this.over(this.quietEnd());
  }

  protected override beginKill(): void {
    if (this.#run !== null) this.#run.kill();
    else this.over(this.quietEnd());
  }

  // -- The run --

  started(value: unknown): void {
    this.ready(value);
  }

  beaten(): void {
    this.inTurn(() => this.host.heartbeat());
  }

  ended(outcome: WorkerLoopOutcome): void {
    this.over(this.#endOf(outcome));
  }

  #endOf(outcome: WorkerLoopOutcome): ChildEnd {
    const { how, error } = outcome;
    if (how === "returned" || this.request === "kill") return this.quietEnd();
    return how === "threw"
      ? endByError(error, this.request)
      : { kind: "crash", error };
  }
}
