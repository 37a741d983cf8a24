/**
 * Running a program: `run`, `Runner`, the policy that decides which loop they
 * make; which tasks a loop has, and a factory that starts them at once.
 *
 * @module
 */
import { CancelledError, InterruptedError, MisuseError } from "../errors.ts";
import { exitProcess } from "../host/process.ts";
import { isListened, onSignal } from "../host/signals.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "./checks.ts";
import { EventLoop } from "./event_loop.ts";
import type { EventLoopOptions } from "./loop_options.ts";
import { checkBody, Task, type TaskBody, type TaskOptions } from "./task.ts";

/** How to {@linkcode run}: the options of the loop, and those of the run. */
export interface RunOptions extends EventLoopOptions {
  /** Makes the loop, from the other options. Without one the policy in force does. */
  readonly loopFactory?: ((options: EventLoopOptions) => EventLoop) | undefined;
  /** What to call the main task in messages. */
  readonly name?: string | undefined;
  /**
   * How long tasks that were cancelled at the end may take to clean up. Those
   * that take longer are reported and given up.
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
}

const INTERRUPTED_EXIT_CODE = 130;

/**
 * Runs `main` on a fresh loop, cleans up, and gives the result.
 *
 * It is `asyncio.run`. When `main` has ended, the tasks that are left are
 * cancelled and run on until they have cleaned up; what they then fail with is
 * reported to the exception handler. Then the loop is closed.
 *
 * SIGINT cancels `main` once, so that it can clean up; `run` then rejects with
 * an {@linkcode InterruptedError}. A second SIGINT ends the process with exit
 * code 130. While only promises of others are pending, the runtime decides
 * whether the process lives on; see {@linkcode EventLoop.runUntilComplete}.
 *
 * @example In both styles
 * ```ts
 * import { run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const one = await run(async () => {
 *   await sleep(1);
 *   return 1;
 * });
 * const two = await run(function* () {
 *   yield* sleep(1);
 *   return 2;
 * });
 * assertEquals([one, two], [1, 2]);
 * ```
 *
 * @typeParam T What `main` produces.
 * @param main An async function or generator function without parameters, a
 * generator that has not started, or an operation.
 * @param options The host, debug mode, and more.
 * @returns A promise for what `main` produces. It rejects with what `main`
 * fails with, with a `CancelledError` if it was cancelled.
 * @throws {TypeError} If `main` or an option is of the wrong type.
 * @throws {MisuseError} If `loopFactory` gives a loop that is running.
 * @throws {DeadlockError} If all tasks wait for ever; see `deadlock`.
 * @throws {InterruptedError} If SIGINT ended `main`.
 */
export async function run<T>(
  main: TaskBody<T>,
  options: RunOptions = {},
): Promise<T> {
  if (typeof main !== "function") checkBody(main, "run a program");
  const runner = new Runner(options);
  let result: T;
  try {
    result = await runner.run(main);
  } catch (error) {
    try {
      await runner.close();
    } catch (closingError) {
      // A scheduler that has erred ends the clean-up in the same way.
      if (closingError === error) throw error;
      throw new SuppressedError(
        closingError,
        error,
        "Both the program and its clean-up failed",
      );
    }
    throw error;
  }
  await runner.close();
  return result;
}

/**
 * Runs several programs one after the other on the same loop: `asyncio.Runner`.
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
    this.#options = options;
    this.#interrupts = handleInterrupt;
  }

  /**
   * Gives the loop, made now if this is the first use.
   *
   * @returns The loop.
   * @throws {MisuseError} If the runner is closed, or `loopFactory` gives
   * something else than a loop that is not running.
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
   * @typeParam T What `main` produces.
   * @param main What {@linkcode run} takes.
   * @returns A promise for what `main` produces.
   * @throws {MisuseError} If the runner is closed, or its loop is running.
   * @throws {InterruptedError} If SIGINT ended `main`.
   */
  async run<T>(main: TaskBody<T>): Promise<T> {
    const loop = this.getLoop();
    if (loop.isRunning()) {
      throw new MisuseError(
        "Cannot run a program: the runner's event loop is running already",
      );
    }
    const { name } = this.#options;
    const task = loop.createTask<T>(main, { name });
    const interrupt = this.#interrupts
      ? new Interrupt(loop, task as Task<unknown>)
      : null;
    try {
      return await loop.runUntilComplete<T>(task);
    } catch (error) {
      if (interrupt?.ended(error) === true) {
        throw new InterruptedError("SIGINT");
      }
      throw error;
    } finally {
      interrupt?.release();
    }
  }

  /**
   * Cancels the tasks that are left, lets them clean up, and closes the loop.
   * Calling it again does nothing.
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
    try {
      if (!loop.isClosed()) {
        await cancelLeftovers(loop, this.#options.cancelGraceMs ?? Infinity);
      }
    } finally {
      await loop.close();
    }
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

/** Cancels all tasks of a stopped loop and runs it until they have ended or the grace is over. */
async function cancelLeftovers(
  loop: EventLoop,
  graceMs: number,
): Promise<void> {
  const tasks = loop["unfinishedTasks"]();
  if (tasks.length === 0) return;
  let left = tasks.length;
  const ended = (task: Task<unknown>) => {
    if (!task.cancelled()) {
      const error = task.exception();
      if (error !== undefined) {
        loop.callExceptionHandler({
          message:
            `Task "${task.name}" failed while it was cancelled at the end of the run`,
          exception: error,
          task,
          name: task.name,
        });
      }
    }
    if (--left === 0) loop.stop();
  };
  for (const task of tasks) {
    task.addDoneCallback(ended as (future: unknown) => unknown);
    task.cancel();
  }
  const giveUp = graceMs === Infinity ? null : loop.callLater(graceMs, () => {
    for (const task of loop["unfinishedTasks"]()) {
      loop.callExceptionHandler({
        message:
          `Task "${task.name}" was given up: ${graceMs} ms after it was cancelled it ` +
          `still waits for ${task["describeWait"]()}`,
        task,
        name: task.name,
      });
      task["destroy"](new CancelledError("given up at the end of the run"));
    }
    loop.stop();
  });
  try {
    await loop["drive"]("until-complete");
  } finally {
    giveUp?.cancel();
  }
}

/** What SIGINT does during a run. */
class Interrupt {
  readonly #loop: EventLoop;
  readonly #main: Task<unknown>;
  #count = 0;
  #remove: () => void;

  constructor(loop: EventLoop, main: Task<unknown>) {
    this.#loop = loop;
    this.#main = main;
    this.#remove = this.#listen(() => this.#first());
  }

  #listen(listener: () => void): () => void {
    return onSignal("SIGINT", listener, (error) => {
      this.#loop.callExceptionHandler({
        message: "Cannot handle SIGINT",
        exception: error,
      });
    });
  }

  #first(): void {
    if (this.#loop["signals"].has("SIGINT")) return; // the program has taken over
    this.#count++;
    // With nobody listening, the second SIGINT finds the default action, which
    // ends the process with the same code even while this thread is busy.
    this.#remove();
    if (isListened("SIGINT")) {
      this.#remove = this.#listen(() => exitProcess(INTERRUPTED_EXIT_CODE));
    }
    this.#main.cancel("SIGINT");
  }

  /** Whether `error` is what came of a cancellation by SIGINT and nothing else. */
  ended(error: unknown): boolean {
    return this.#count > 0 && error instanceof CancelledError &&
      this.#main.cancelled() &&
      this.#main.cancelling() <= this.#count;
  }

  release(): void {
    this.#remove();
  }
}

/**
 * Decides what {@linkcode newEventLoop}, and with it {@linkcode run}, makes.
 *
 * It is a thin layer for programs that come from asyncio, which is retiring
 * policies: a process-wide setting that every library may change confuses. Give
 * `run` a `loopFactory` instead, unless you have to reach code that calls `run`
 * itself.
 *
 * @example A policy that injects a loop which logs
 * ```ts
 * import {
 *   EventLoop,
 *   type EventLoopOptions,
 *   EventLoopPolicy,
 *   getEventLoopPolicy,
 *   type Handle,
 *   run,
 *   setEventLoopPolicy,
 *   sleep,
 * } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let scheduled = 0;
 * class CountingLoop extends EventLoop {
 *   override callSoon<A extends unknown[]>(
 *     callback: (...args: A) => unknown,
 *     ...args: A
 *   ): Handle {
 *     scheduled++;
 *     return super.callSoon(callback, ...args);
 *   }
 * }
 * class CountingPolicy extends EventLoopPolicy {
 *   override newEventLoop(options: EventLoopOptions): EventLoop {
 *     return new CountingLoop(options);
 *   }
 * }
 *
 * const before = getEventLoopPolicy();
 * setEventLoopPolicy(new CountingPolicy());
 * await run(function* () {
 *   yield* sleep(0);
 * });
 * setEventLoopPolicy(before);
 * assertEquals(scheduled, 3); // the first step, the second, and the end
 * ```
 */
export class EventLoopPolicy {
  /**
   * Makes a loop.
   *
   * @param options What was given to {@linkcode newEventLoop} or `run`.
   * @returns A new loop.
   */
  newEventLoop(options: EventLoopOptions): EventLoop {
    return new EventLoop(options);
  }
}

let policy = new EventLoopPolicy();

/**
 * Gives the policy in force.
 *
 * @returns What {@linkcode setEventLoopPolicy} set last, or the default.
 */
export function getEventLoopPolicy(): EventLoopPolicy {
  return policy;
}

/**
 * Sets the policy of this thread. Loops that exist are not touched.
 *
 * @param replacement The policy from now on.
 * @throws {TypeError} If it has no `newEventLoop`.
 */
export function setEventLoopPolicy(replacement: EventLoopPolicy): void {
  checkFunction(
    replacement?.newEventLoop,
    "set the event loop policy",
    "policy.newEventLoop",
  );
  policy = replacement;
}

/**
 * Makes a loop, as the policy in force wants it: by default `new EventLoop(options)`.
 *
 * @example One turn
 * ```ts
 * import { newEventLoop } from "@rota/rota";
 *
 * await using loop = newEventLoop();
 * loop.callSoon(() => console.log("one turn"));
 * loop.stop();
 * await loop.runForever();
 * ```
 *
 * @param options Host, precision, debug mode and more.
 * @returns A new loop. Close it after use.
 */
export function newEventLoop(options: EventLoopOptions = {}): EventLoop {
  return policy.newEventLoop(options);
}

// -- The tasks of a loop, and how they begin --

function checkLoop(loop: EventLoop, what: string): void {
  if (!(loop instanceof EventLoop)) {
    throw new TypeError(
      `Cannot ${what} as loop must be an EventLoop: received ${inspect(loop)}`,
    );
  }
}

/**
 * Gives the tasks of a loop that have not ended, in the order of their creation.
 *
 * @example Who is still there
 * ```ts
 * import { allTasks, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   loop.createTask(function* () {
 *     yield* sleep(10);
 *   }, { name: "helper" });
 *   assertEquals(allTasks(loop).map((task) => task.name), ["main", "helper"]);
 * }, { host: "virtual", name: "main" });
 * ```
 *
 * @param loop The loop.
 * @returns Its unfinished tasks.
 */
export function allTasks(loop: EventLoop): Task<unknown>[] {
  checkLoop(loop, "list the tasks of a loop");
  const tasks = loop["unfinishedTasks"]();
  for (const task of tasks) task["becomeKnown"]();
  return tasks;
}

/**
 * A {@linkcode TaskFactory} whose tasks run their first step inside
 * `createTask` if the loop is running: asyncio's eager tasks. A task that needs
 * no wait is done when `createTask` returns. It changes the order of events.
 *
 * @example A result that is there at once
 * ```ts
 * import { eagerTaskFactory, getRunningLoop, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   loop.setTaskFactory(eagerTaskFactory);
 *   const task = loop.createTask(function* () {
 *     return 42;
 *   });
 *   assertEquals(task.result(), 42);
 * });
 * ```
 *
 * @typeParam T What the task produces.
 * @param loop The loop that creates a task.
 * @param body What the task runs.
 * @param options What was given to `createTask`.
 * @returns The task.
 */
export function eagerTaskFactory<T>(
  loop: EventLoop,
  body: TaskBody<T>,
  options: TaskOptions,
): Task<T> {
  checkLoop(loop, "create a task");
  return new Task<T>(loop, body, { eager: true, ...options });
}
