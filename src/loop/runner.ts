/**
 * Several programs on one loop, one after the other, and the clean-up at the
 * end: tasks that are left are cancelled and run on until they have ended.
 *
 * @module
 */
import { describeWait, destroy } from "./waiters.ts";
import { CancelledError, MisuseError } from "../errors.ts";
import type { RunShutdownOptions } from "../supervise/shutdown_options.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "./checks.ts";
import { core } from "./core.ts";
import { EventLoop } from "./event_loop.ts";
import type { EventLoopOptions } from "./loop_options.ts";
import { checkShutdown, guardOf, MainRun, type RunGuard } from "./main_run.ts";
import { newEventLoop } from "./policy.ts";
import type { Task } from "./task.ts";
import type { TaskBody } from "./task_body.ts";

/** Options of {@linkcode run}: those of the loop, and those of the run. */
export interface RunOptions extends EventLoopOptions {
  /** Makes the loop, from the other options. Without one the policy in force does. */
  readonly loopFactory?: ((options: EventLoopOptions) => EventLoop) | undefined;
  /** Name of the main task in messages. */
  readonly name?: string | undefined;
  /**
   * How long tasks that were cancelled at the end may take to clean up, and the
   * default executor may take to end its jobs. Tasks that take longer are
   * reported and given up, jobs are cancelled.
   *
   * @default {Infinity}
   */
  readonly cancelGraceMs?: number | undefined;
  /**
   * Whether SIGINT (Ctrl-C) cancels the main task, once; the second ends the
   * process. A handler that the program sets for SIGINT takes precedence.
   *
   * @default {true, but false on the virtual host}
   */
  readonly handleInterrupt?: boolean | undefined;
  /**
   * Graceful shutdown of the run in phases, after SIGINT, SIGTERM and whatever
   * else is named: see {@linkcode gracefulShutdown}. `{}` means all defaults.
   */
  readonly shutdown?: RunShutdownOptions | undefined;
}

/**
 * Runs several programs one after the other on the same loop. Like asyncio's `Runner`.
 *
 * @example Two runs, one loop
 * ```ts
 * import { Runner, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await using runner = new Runner({ host: "virtual" });
 * await runner.run(() => sleep(5));
 * await runner.run(() => sleep(5));
 * assertEquals(runner.getLoop().time(), 10);
 * ```
 */
export class Runner implements AsyncDisposable {
  readonly #options: RunOptions;
  #loop: EventLoop | null = null;
  #closed = false;
  #closing: Promise<void> | null = null;
  #interrupts: boolean;

  /**
   * Makes a runner. The loop is made when it is first needed.
   *
   * @param options The same as for {@linkcode run}.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `cancelGraceMs` is negative or `NaN`.
   * @throws {MisuseError} If `shutdown` is given, and only `@rota/rota/loop` is
   * imported.
   */
  constructor(options: RunOptions = {}) {
    const what = "create a runner";
    checkOptions(options, what);
    const {
      loopFactory,
      cancelGraceMs = Infinity,
      handleInterrupt = options.host !== "virtual",
    } = options;
    if (loopFactory !== undefined) {
      checkFunction(loopFactory, what, "loopFactory");
    }
    checkNotNegative(cancelGraceMs, what, "cancelGraceMs");
    checkOneOf(handleInterrupt, [true, false], what, "handleInterrupt");
    if (options.name !== undefined) checkString(options.name, what, "name");
    checkShutdown(options.shutdown, options.host === "virtual");
    this.#options = options;
    this.#interrupts = handleInterrupt;
  }

  /**
   * Returns the loop, made now if this is the first use.
   *
   * @returns The loop.
   * @throws {MisuseError} If the runner is closed, or `loopFactory` does not
   * return a loop that is not running.
   */
  getLoop(): EventLoop {
    if (this.#closed) {
      throw new MisuseError("Cannot get the loop of a runner: it is closed");
    }
    if (this.#loop !== null) return this.#loop;
    const { loopFactory = newEventLoop } = this.#options;
    const loop = loopFactory(this.#options);
    if (!(loop instanceof EventLoop)) {
      throw new TypeError(
        `Cannot run a program as loopFactory must return an EventLoop: received ${
          inspect(loop)
        }`,
      );
    }
    if (loop.isRunning()) {
      throw new MisuseError(
        "Cannot run a program: loopFactory gave a loop that is running already",
      );
    }
    return this.#loop = loop;
  }

  /**
   * Runs `main` until it has ended. Tasks that it leaves behind stay, and run on
   * in the next run.
   *
   * @typeParam T Type of the result.
   * @param main A body for {@linkcode run}.
   * @returns A promise for the result of `main`.
   * @throws {MisuseError} If the runner is closed, or its loop is running.
   * @throws {InterruptedError} If SIGINT ended `main`, or the shutdown of the
   * process did, or had begun before.
   */
  async run<T>(main: TaskBody<T>): Promise<T> {
    const loop = this.getLoop();
    if (loop.isRunning()) {
      throw new MisuseError(
        "Cannot run a program: the runner's event loop is running already",
      );
    }
    const { name, shutdown } = this.#options;
    const mainRun = new MainRun(loop, shutdown);
    try {
      const task = loop.createTask<T>(main, { name });
      mainRun.begin(task as Task<unknown>, this.#interrupts);
      const result = loop.runUntilComplete<T>(task);
      mainRun.stopsWithMain();
      return await result;
    } catch (error) {
      throw mainRun.errorFor(error);
    } finally {
      const rest = mainRun.end();
      try {
        if (rest !== null) await loop.runUntilComplete(rest);
      } finally {
        mainRun.isOver();
      }
    }
  }

  /**
   * Cancels the tasks that are left, lets them clean up, shuts the default
   * executor down, and closes the loop. Calling it again does nothing.
   *
   * Jobs that a task waits for are cancelled with it, and those of thread and
   * process pools in any case; what the default executor still has then may end
   * within `cancelGraceMs`. (asyncio waits for all jobs, as it cannot cancel one.)
   *
   * If a graceful shutdown has cancelled the last main, and ends the process, the
   * promise does not settle: the process ends once the runs of all loops are over.
   *
   * @returns A promise that resolves once nothing is open any more.
   * @throws {MisuseError} If a program is running.
   * @throws {DeadlockError} If the clean-up of a task waits for ever; see
   * `deadlock`. The loop is closed all the same.
   */
  close(): Promise<void> {
    if (this.#closing !== null) return this.#closing;
    if (this.#loop?.isRunning() === true) {
      return Promise.reject(
        new MisuseError("Cannot close a runner: its event loop is running"),
      );
    }
    this.#closed = true;
    return this.#closing = this.#cleanUp();
  }

  async #cleanUp(): Promise<void> {
    const loop = this.#loop;
    if (loop === null) return;
    const guard = guardOf(loop);
    let end: Promise<void> | null = null;
    try {
      if (!loop.isClosed()) {
        guard?.cleanUpBegins();
        try {
          await endRun(loop, this.#options, guard);
        } finally {
          const rest = guard === null ? null : guard.rest();
          if (rest !== null) await loop.runUntilComplete(rest);
        }
      }
    } finally {
      try {
        await loop.close();
      } finally {
        if (guard !== null) end = guard.runnerClosed();
      }
    }
    if (end !== null) await end;
  }

  /**
   * The same as {@linkcode close}.
   *
   * @returns A promise that resolves once nothing is open any more.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Ends everything that programs have left on a stopped loop: tasks first, then what the default executor has for them. */
async function endRun(
  loop: EventLoop,
  options: RunOptions,
  guard: RunGuard | null,
): Promise<void> {
  const { cancelGraceMs = Infinity } = options;
  const untilMs = loop.time() + cancelGraceMs;
  loop[core].endings.begin();
  try {
    await cancelLeftovers(loop, cancelGraceMs, guard);
  } finally {
    if (loop[core].executor.isInUse) {
      const graceMs = Math.max(untilMs - loop.time(), 0);
      await loop.runUntilComplete(loop.shutdownDefaultExecutor({ graceMs }));
    }
  }
}

/** Cancels all tasks of a stopped loop and runs it until they have ended or the grace is over. */
async function cancelLeftovers(
  loop: EventLoop,
  graceMs: number,
  guard: RunGuard | null,
): Promise<void> {
  const tasks = loop[core].tasks.toArray();
  if (tasks.length === 0) return;
  let left = tasks.length;
  let isOver = false;
  const stop = () => {
    if (!isOver) loop.stop();
  };
  const ended = (task: Task<unknown>) => {
    reportFailureAtEnd(loop, task);
    if (--left > 0) return;
    const rest = guard === null ? null : guard.rest();
    if (rest === null) loop.stop();
    else rest.addDoneCallback(stop); // without a break
  };
  for (const task of tasks) {
    task.addDoneCallback(ended as (future: unknown) => unknown);
    task.cancel();
  }
  const giveUp = graceMs === Infinity
    ? null
    : loop.callLater(graceMs, giveUpTasks, loop, graceMs);
  try {
    await loop[core].drive("until-complete");
  } finally {
    isOver = true;
    giveUp?.cancel();
  }
}

/** Reports a task that has failed while the end of the run cancelled it. */
function reportFailureAtEnd(loop: EventLoop, task: Task<unknown>): void {
  if (task.cancelled()) return;
  const error = task.exception();
  if (error === undefined) return;
  loop.callExceptionHandler({
    message:
      `Task "${task.name}" failed while it was cancelled at the end of the run`,
    exception: error,
    task,
    name: task.name,
  });
}

/** Reports the tasks that have not reacted in time, and ends the run without them. */
function giveUpTasks(loop: EventLoop, graceMs: number): void {
  for (const task of loop[core].tasks.toArray()) {
    loop.callExceptionHandler({
      message:
        `Task "${task.name}" was given up: ${graceMs} ms after it was cancelled it ` +
        `still waits for ${task[describeWait]()}`,
      task,
      name: task.name,
    });
    task[destroy](new CancelledError("given up at the end of the run"));
  }
  loop.stop();
}
