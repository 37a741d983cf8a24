/**
 * The event loop as programs see it: public methods, their documentation and
 * the checks of their arguments. The kernel (`kernel.ts`) and parts with a file
 * of their own do the work.
 *
 * @module
 */
import { inWords, mayBeAsync } from "./waiters.ts";
import { MisuseError } from "../errors.ts";
import type { Executor, ShutdownOptions } from "../workers/executor.ts";
import type { ExecutorTask, JobResult } from "../workers/module_task.ts";
import {
  checkFunction,
  checkNotNegative,
  checkNumber,
  checkOneOf,
  checkPlainFunction,
  checkString,
  checkWaitOptions,
} from "./checks.ts";
import { core, type LoopCore } from "./core.ts";
import { findTask, loaded } from "./current.ts";
import { type Descriptor, DescriptorHandle } from "./descriptors.ts";
import {
  checkContext,
  type ExceptionContext,
  type ExceptionHandler,
  ExceptionReporter,
  reportToConsole,
} from "./exceptions.ts";
import { Future } from "./future.ts";
import type { Instrument } from "./instrument.ts";
import { Handle } from "./handle.ts";
import { Kernel } from "./kernel.ts";
import type { Operation } from "./operation.ts";
import {
  checkTaskOptions,
  type EventLoopOptions,
  type LoopStats,
  NO_OPTIONS,
  settleOptions,
  type TaskFactory,
} from "./loop_options.ts";
import {
  type PostedFunction,
  PostedTask,
  type PostTaskOptions,
} from "./posted_task.ts";
import {
  checkPriority,
  DEFAULT_PRIORITY,
  type Priority,
  requirePriority,
} from "./priority.ts";
import { PriorityHandle } from "./priority_handle.ts";
import { checkBody, type TaskBody } from "./task_body.ts";
import { Task, type TaskOptions } from "./task.ts";
import type { TimerHandle } from "./timer_handle.ts";

/**
 * An event loop that runs callbacks, timers and tasks in an exact order.
 *
 * Like asyncio's loop, in milliseconds. A turn runs everything that was ready
 * when it began, first come first served; callbacks that become ready meanwhile
 * run in the next turn. `docs/design.md` has the turn as a numbered list. Most
 * programs need no loop of their own: {@linkcode run} makes, runs and closes
 * one.
 *
 * Turns run only inside {@linkcode runForever} and {@linkcode runUntilComplete};
 * on a stopped loop everything merely queues. Several loops may run side by
 * side on one thread. A loop lets the I/O of the runtime through at least every
 * millisecond or so of work, so that a server beside a busy loop keeps answering.
 *
 * A subclass that overrides {@linkcode callSoon} or {@linkcode callAt} sees all
 * scheduling, tasks included.
 *
 * @example A loop of your own
 * ```ts
 * import { EventLoop } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await using loop = new EventLoop({ host: "virtual" });
 * const log: string[] = [];
 * loop.callLater(10, () => {
 *   log.push(`later, at ${loop.time()}`);
 *   loop.stop();
 * });
 * loop.callSoon((name) => log.push(`soon, ${name}`), "world");
 * await loop.runForever();
 * assertEquals(log, ["soon, world", "later, at 10"]);
 * ```
 */
export class EventLoop implements AsyncDisposable {
  readonly #kernel: Kernel;
  readonly #reporter: ExceptionReporter = new ExceptionReporter(this);
  #factory: TaskFactory | null = null;

  /** @ignore */
  readonly [core]: LoopCore;

  /**
   * Makes a loop. It opens nothing before it first waits.
   *
   * @param options Host, precision, debug mode and more.
   * @throws {TypeError} If an option is none of those it may be.
   * @throws {RangeError} If a number of milliseconds is negative or `NaN`.
   * @throws {DescriptorsUnsupportedError} If `host` is `"native"` or `"poll"`
   * and FFI is not granted.
   */
  constructor(options: EventLoopOptions = {}) {
    const settled = settleOptions(options);
    const overridden = this.callSoon !== EventLoop.prototype.callSoon ||
      this.callAt !== EventLoop.prototype.callAt;
    this[core] = this.#kernel = new Kernel(this, settled, overridden);
    this.#kernel.open();
    for (const instrument of settled.instruments) {
      this.#kernel.addInstrument(instrument);
    }
  }

  // -- Scheduling --

  /**
   * Runs `callback` in the next turn, after everything that was queued before;
   * on a loop with a `scheduler`, when that puts it in line.
   *
   * It never runs inside this call. Its errors go to the exception handler, and
   * the loop goes on. Costs some 20 ns.
   *
   * @typeParam A The types of the arguments.
   * @param callback Function to run. Its return value is ignored; to wait for
   * an async function, use {@linkcode createTask}.
   * @param args Arguments of the call.
   * @returns A handle that withdraws the callback.
   * @throws {TypeError} If `callback` is not a function.
   * @throws {LoopClosedError} If the loop is closed.
   */
  callSoon<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    if (typeof callback !== "function") {
      checkFunction(callback, "schedule a callback", "callback");
    }
    const kernel = this.#kernel;
    if (kernel.isClosed()) kernel.refuseClosed("schedule a callback");
    const handle = new Handle(callback as (...args: never[]) => unknown, args);
    if (kernel.instrumented) kernel.debug.instrument(handle, callback);
    kernel.enqueue(handle);
    return handle;
  }

  /**
   * Runs `callback` in the next turn: the same as {@linkcode callSoon}, which
   * wakes a loop that waits, whatever code calls it.
   *
   * For programs that come from asyncio. There the method is for other threads,
   * to which JavaScript cannot hand a function: they call functions of this loop
   * by name, with {@linkcode LoopHandle.post}.
   *
   * @typeParam A The types of the arguments.
   * @param callback Function to run. Its errors go to the exception handler.
   * @param args Arguments of the call.
   * @returns A handle that withdraws the callback.
   * @throws {TypeError} If `callback` is not a function.
   * @throws {LoopClosedError} If the loop is closed.
   */
  callSoonThreadsafe<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    return this.callSoon(callback, ...args);
  }

  /**
   * Runs `callback` in a turn to come, by its priority: {@linkcode callSoon} for
   * a loop with a {@linkcode PriorityScheduler}. On another loop it is
   * `callSoon`.
   *
   * Costs some 100 ns. For an async function, or to wait for a result, use
   * {@linkcode postTask}.
   *
   * @example
   * ```ts
   * import { EventLoop, PriorityScheduler } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await using loop = new EventLoop({
   *   host: "virtual",
   *   scheduler: new PriorityScheduler(),
   * });
   * const log: string[] = [];
   * const draw = (what: string) => log.push(what);
   * const shadow = loop.callWithPriority("background", draw, "shadow");
   * loop.callWithPriority("user-visible", draw, "text");
   * shadow.setPriority("user-blocking");
   * loop.callWithPriority(-100, () => loop.stop());
   * await loop.runForever();
   * assertEquals(log, ["shadow", "text"]);
   * ```
   *
   * @typeParam A The types of the arguments.
   * @param priority Priority of the callback.
   * @param callback Function to run. Its errors go to the exception handler.
   * @param args Arguments of the call.
   * @returns A handle that withdraws the callback, or changes its priority.
   * @throws {TypeError} If `priority` is no priority or `callback` not a function.
   * @throws {LoopClosedError} If the loop is closed.
   */
  callWithPriority<A extends unknown[]>(
    priority: Priority,
    callback: (...args: A) => unknown,
    ...args: A
  ): PriorityHandle {
    const what = "schedule a callback";
    const level = requirePriority(priority, what);
    if (typeof callback !== "function") {
      checkFunction(callback, what, "callback");
    }
    const kernel = this.#kernel;
    if (kernel.isClosed()) kernel.refuseClosed(what);
    const handle = new PriorityHandle(
      kernel.ranking,
      level,
      callback as (...args: never[]) => unknown,
      args,
    );
    if (kernel.instrumented) kernel.debug.instrument(handle, callback);
    kernel.enqueueByPriority(handle);
    return handle;
  }

  /**
   * Runs `callback` once, no sooner than `delayMs` milliseconds from now.
   *
   * The delay is not rounded. A busy loop runs the callback late, never early,
   * and never inside this call: with a delay of 0 or less it runs after what is
   * ready already. Callbacks due at the same moment run in the order in which
   * they were scheduled. Costs some 200 ns, half of it for reading the clock.
   *
   * @typeParam A The types of the arguments.
   * @param delayMs How long to wait, in milliseconds. `Infinity` means never.
   * @param callback Function to run. Its errors go to the exception handler.
   * @param args Arguments of the call.
   * @returns A handle that withdraws or moves the callback.
   * @throws {TypeError} If `delayMs` is not a number or `callback` not a function.
   * @throws {RangeError} If `delayMs` is `NaN`.
   * @throws {LoopClosedError} If the loop is closed.
   */
  callLater<A extends unknown[]>(
    delayMs: number,
    callback: (...args: A) => unknown,
    ...args: A
  ): TimerHandle {
    if (typeof delayMs !== "number" || Number.isNaN(delayMs)) {
      checkNumber(delayMs, "schedule a callback", "delayMs");
    }
    return this.callAt(this.#kernel.host.now() + delayMs, callback, ...args);
  }

  /**
   * Runs `callback` once, no sooner than the moment `whenMs` on the clock of
   * {@linkcode time}. A moment that has passed means as soon as possible.
   *
   * Otherwise like {@linkcode callLater}.
   *
   * @typeParam A The types of the arguments.
   * @param whenMs The deadline, in milliseconds. `Infinity` means never.
   * @param callback Function to run. Its errors go to the exception handler.
   * @param args Arguments of the call.
   * @returns A handle that withdraws or moves the callback.
   * @throws {TypeError} If `whenMs` is not a number or `callback` not a function.
   * @throws {RangeError} If `whenMs` is `NaN`.
   * @throws {LoopClosedError} If the loop is closed.
   */
  callAt<A extends unknown[]>(
    whenMs: number,
    callback: (...args: A) => unknown,
    ...args: A
  ): TimerHandle {
    if (typeof whenMs !== "number" || Number.isNaN(whenMs)) {
      checkNumber(whenMs, "schedule a callback", "whenMs");
    }
    if (typeof callback !== "function") {
      checkFunction(callback, "schedule a callback", "callback");
    }
    return this.#kernel.timers.createTimer(
      whenMs,
      callback as (...args: never[]) => unknown,
      args,
    );
  }

  /**
   * Runs a function in a turn to come, by its priority, like the web's
   * `scheduler.postTask`.
   *
   * A plain function runs as a callback does. An async or generator function
   * runs as a task, and so does an operation or promise that a plain function
   * returns. The first step runs when its turn has come. The returned future
   * gets the error, which goes to the exception handler if it is never awaited.
   * Unlike on the web, a withdrawn function rejects with a
   * {@linkcode CancelledError}, whose `reason` is that of the signal. Costs
   * some 500 ns, mainly for finding the task again in async functions that `fn`
   * calls; {@linkcode callWithPriority} saves that.
   *
   * @example The most urgent function first, and one that is withdrawn
   * ```ts
   * import { getRunningLoop, PriorityScheduler, run } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const log: string[] = [];
   * await run(async () => {
   *   const loop = getRunningLoop();
   *   const indexing = loop.postTask(() => log.push("index"), { priority: "background" });
   *   const unwanted = loop.postTask(() => log.push("unwanted"));
   *   loop.postTask(() => log.push("paint"), { priority: "user-blocking" });
   *   unwanted.cancel();
   *   await indexing;
   * }, { host: "virtual", scheduler: new PriorityScheduler() });
   * assertEquals(log, ["paint", "index"]);
   * ```
   *
   * @typeParam T Type of the result.
   * @param fn Function to run.
   * @param options Its priority, a delay, a signal that withdraws it.
   * @returns The future of the result.
   * @throws {TypeError} If `fn` is not a function, or an option is of the wrong type.
   * @throws {RangeError} If `delayMs` is negative or `NaN`.
   * @throws {LoopClosedError} If the loop is closed.
   */
  postTask<T>(
    fn: PostedFunction<T>,
    options: PostTaskOptions = NO_OPTIONS,
  ): PostedTask<T> {
    const what = "post a task";
    if (typeof fn !== "function") checkFunction(fn, what, "fn");
    let priority: number | undefined;
    if (options !== NO_OPTIONS) {
      checkWaitOptions(options, what);
      const { delayMs } = options;
      if (delayMs !== undefined) checkNotNegative(delayMs, what, "delayMs");
      if (options.priority !== undefined) {
        priority = checkPriority(options.priority, what);
      }
    }
    if (this.#kernel.isClosed()) this.#kernel.refuseClosed(what);
    return new PostedTask<T>(
      this,
      fn,
      priority ?? this.#inheritedPriority(),
      options,
    );
  }

  /** The default priority: that of the running task, without what it inherits from waiters. */
  #inheritedPriority(): number {
    const task = findTask();
    return task !== null && task.loop === this
      ? task.priority
      : this.#kernel.ranking?.priorityOfNow() ?? DEFAULT_PRIORITY;
  }

  /**
   * Returns the time: milliseconds on a clock that never goes back, from an
   * arbitrary origin. On the virtual host it starts at 0.
   *
   * @returns The time in milliseconds, with fractions.
   */
  time(): number {
    return this.#kernel.host.now();
  }

  // -- Futures and tasks --

  /**
   * Makes a pending future of this loop.
   *
   * @typeParam T Type of the result.
   * @param label Name of the future in messages.
   * @returns The future.
   */
  createFuture<T>(label?: string): Future<T> {
    return new Future<T>(this, label);
  }

  /**
   * Makes a task and queues its first step, which runs in the next turn.
   *
   * The loop keeps the task until it has ended. It inherits the
   * {@linkcode TaskLocal} values of the task that creates it. Costs some 200 ns
   * for a generator function, twice that for an async function.
   *
   * A generator can be the body of one task only. Two tasks of one generator
   * would share its steps; only debug mode refuses the second, as the check
   * costs as much as making the task.
   *
   * @typeParam T Type of the result.
   * @param body A generator function or async function without parameters
   * (`() => work(argument)` passes some), a generator that has not started, or
   * an operation.
   * @param options A name, a signal that cancels the task, an eager start.
   * @returns The task, which is the future of the result.
   * @throws {TypeError} If `body` is none of these, such as a promise for work
   * that is under way already, or an option is of the wrong type.
   * @throws {LoopClosedError} If the loop is closed.
   * @throws {MisuseError} In debug mode, if `body` is a generator that was given
   * to a task before.
   */
  createTask<T>(
    body: TaskBody<T>,
    options: TaskOptions = NO_OPTIONS,
  ): Task<T> {
    if (typeof body !== "function") checkBody(body, "create a task");
    if (options !== NO_OPTIONS) checkTaskOptions(options);
    const kernel = this.#kernel;
    if (kernel.isClosed()) kernel.refuseClosed("create a task");
    return this.#factory === null
      ? new Task<T>(this, body, options)
      : this.#factory<T>(this, body, options);
  }

  /**
   * Sets the function by which {@linkcode createTask} makes a task; `null` for
   * the default. With {@linkcode eagerTaskFactory} tasks run their first step
   * inside `createTask`.
   *
   * @param factory A function that returns `new Task(loop, body, options)`,
   * with any options.
   * @throws {TypeError} If `factory` is neither a function nor `null`.
   */
  setTaskFactory(factory: TaskFactory | null): void {
    if (factory !== null) {
      checkFunction(factory, "set the task factory", "factory");
    }
    this.#factory = factory;
  }

  /**
   * Returns the factory that {@linkcode setTaskFactory} set.
   *
   * @returns The factory, or `null` for the default.
   */
  getTaskFactory(): TaskFactory | null {
    return this.#factory;
  }

  // -- Running --

  /**
   * Runs turns until {@linkcode stop} is called.
   *
   * The process stays alive until then, whatever the loop waits for. If `stop`
   * was called before, one turn runs.
   *
   * @returns A promise that resolves once the loop has stopped.
   * @throws {MisuseError} If the loop is running already.
   * @throws {LoopClosedError} If the loop is closed.
   */
  runForever(): Promise<void> {
    return this.#kernel.drive("forever");
  }

  /**
   * Runs turns until `main` is done, and returns its result.
   *
   * The turn in which `main` ends is completed, and one more, in which its
   * waiters go on. Other tasks stay as they are; {@linkcode run} cleans up. The
   * process stays alive while a timer, descriptor, signal handler or `until` is
   * pending; beyond that the runtime decides. If the result is itself a future
   * of this loop, it runs on until that is done.
   *
   * @typeParam T Type of the result.
   * @param main A body for {@linkcode createTask}, or a future of this loop.
   * @returns A promise for the result; rejects with the error of `main`.
   * @throws {MisuseError} If the loop is running already, is stopped before
   * `main` is done, or `main` is a future of another loop.
   * @throws {DeadlockError} If all tasks wait for ever; see `deadlock` in the
   * options.
   * @throws {LoopClosedError} If the loop is closed.
   */
  async runUntilComplete<T>(main: TaskBody<T> | Future<T>): Promise<T> {
    this.#kernel.checkMayRun();
    if (main instanceof Future && main.loop !== this) {
      throw new MisuseError(
        "Cannot run until a future is done: it belongs to another event loop",
      );
    }
    const future = main instanceof Future ? main : this.createTask<T>(main);
    const stop = () => this.stop();
    future.addDoneCallback(stop);
    try {
      const isAsync = future instanceof Task && future[mayBeAsync]();
      await this.#kernel.drive("until-complete", isAsync);
    } finally {
      future.removeDoneCallback(stop);
    }
    if (!future.done()) {
      throw new MisuseError(
        `Cannot complete ${
          future[inWords]()
        }: the event loop was stopped before`,
      );
    }
    const result = future.result();
    // A promise cannot resolve to a task: it would wait for the task, on a
    // stopped loop.
    if (result as unknown === future) {
      throw new MisuseError(
        `Cannot complete ${future[inWords]()}: its result is itself`,
      );
    }
    if (result instanceof Future && result.loop === this) {
      return await this.runUntilComplete(result as Future<T>);
    }
    return result;
  }

  /**
   * Makes the loop stop after the turn that is running, or after one turn if
   * none is. Callbacks and timers stay queued for the next run.
   */
  stop(): void {
    this.#kernel.stop();
  }

  /**
   * Returns whether the loop is inside `runForever` or `runUntilComplete`, be
   * it in a turn or between two.
   *
   * @returns Whether it is.
   */
  isRunning(): boolean {
    return this.#kernel.isRunning();
  }

  /**
   * Returns whether {@linkcode close} was called.
   *
   * @returns Whether it was.
   */
  isClosed(): boolean {
    return this.#kernel.isClosed();
  }

  /**
   * Closes the loop, and releases its descriptor and signal handlers, timers,
   * and the resources of its host. Calling it again does nothing.
   *
   * Callbacks that were queued never run. Unfinished tasks are reported to the
   * exception handler, each by name, and end as cancelled without running on,
   * so that their waiters do not wait for ever; cancel them and let them clean
   * up before, as {@linkcode run} does. The default executor is given up: shut
   * it down before. Failures that were never looked at are
   * reported too.
   *
   * @returns A promise that resolves once nothing is open any more.
   * @throws {MisuseError} If the loop is running.
   */
  async close(): Promise<void> {
    const kernel = this.#kernel;
    if (kernel.isRunning()) {
      throw new MisuseError("Cannot close the event loop: it is running");
    }
    if (!kernel.isClosed()) kernel.close();
    await kernel.host.close();
  }

  /**
   * The same as {@linkcode close}.
   *
   * @returns A promise that resolves once nothing is open any more.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // -- Executors --

  /**
   * Has a function called by an executor, in another thread or process. Like
   * asyncio's `run_in_executor`.
   *
   * The job is handed over at once, whether the future is awaited or not.
   * Cancelling the future, or a task that waits for it, cancels the job. With
   * `null` the default executor has it: the one that
   * {@linkcode setDefaultExecutor} set, else a pool of threads that is made now,
   * on first use, and shut down at the end of {@linkcode run}. Options of a job,
   * such as its deadline, are those of `executor.submit`.
   *
   * @example A computation that does not block the loop
   * ```ts
   * import { getRunningLoop, run } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const sum = await run(async () => {
   *   const loop = getRunningLoop();
   *   return await loop.runInExecutor(null, (n: number) => {
   *     let sum = 0;
   *     for (let i = 1; i <= n; i++) sum += i;
   *     return sum;
   *   }, 1_000);
   * });
   * assertEquals(sum, 500_500);
   * ```
   *
   * @typeParam A The types of the arguments.
   * @typeParam R Return type of the function.
   * @param executor An executor of this loop, or `null` for the default one.
   * @param task The function: one that needs nothing around it, or an export of
   * a module.
   * @param args Its arguments, which are copied.
   * @returns A future of the result.
   * @throws {TypeError} If `executor` is neither, or `task` is nothing that it
   * can call.
   * @throws {MisuseError} If no loop is running, the executor serves another one,
   * or there is no default executor, as only `@rota/rota/loop` is imported.
   * @throws {ExecutorShutDownError} If the executor has been shut down.
   * @throws {LoopClosedError} If the loop is closed.
   */
  runInExecutor<A extends unknown[], R>(
    executor: Executor | null,
    task: ExecutorTask<A, R>,
    ...args: A
  ): Future<JobResult<R>> {
    this.#kernel.checkMayStart("run in an executor");
    return this.#kernel.executor.run(executor, task, args);
  }

  /**
   * Sets the executor that `runInExecutor(null, …)` and `toThread` use from now
   * on. The one before is left alone, with its jobs; the loop still shuts it
   * down with this one if it has made it itself.
   *
   * @param executor The executor. The end of {@linkcode run} shuts it down.
   * @throws {TypeError} If `executor` is none.
   * @throws {LoopClosedError} If the loop is closed.
   */
  setDefaultExecutor(executor: Executor): void {
    this.#kernel.checkMayStart("set the default executor");
    this.#kernel.executor.set(executor);
  }

  /**
   * Shuts the default executor down and waits until its jobs have ended. From
   * then on `runInExecutor(null, …)` throws. Does nothing else if there is none.
   *
   * {@linkcode run} and {@linkcode Runner} do this at their end.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation: nothing happens until it is waited for.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `graceMs` is negative or `NaN`.
   */
  shutdownDefaultExecutor(options: ShutdownOptions = {}): Operation<void> {
    return this.#kernel.executor.shutDown(options);
  }

  // -- Descriptors and signals --

  /**
   * Runs `callback` in each turn in which `descriptor` is readable, until
   * {@linkcode removeReader}. Replaces the previous reader of the descriptor.
   *
   * Readiness is level-triggered and only a hint: read without blocking, and
   * expect to find nothing. Remove the reader before you close the descriptor.
   * Regular files are always ready. Needs a host with descriptors.
   *
   * @typeParam A The types of the arguments.
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @param callback Function to run.
   * @param args Arguments of the call.
   * @returns A handle; its `cancel` works like {@linkcode removeReader}.
   * @throws {TypeError} If `descriptor` or `callback` is of the wrong type.
   * @throws {RangeError} If the number is no descriptor.
   * @throws {DescriptorsUnsupportedError} If the host watches no descriptors;
   * the message says what to grant.
   * @throws {OsError} If the system refuses, as for a closed descriptor.
   * @throws {LoopClosedError} If the loop is closed.
   */
  addReader<A extends unknown[]>(
    descriptor: Descriptor,
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    return this.#addDescriptor(descriptor, "reader", callback, args);
  }

  /**
   * Removes the reader of a descriptor, at once: a call that is queued already
   * does not run either.
   *
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @returns Whether there was a reader.
   */
  removeReader(descriptor: Descriptor): boolean {
    return this.#removeDescriptor(descriptor, "reader");
  }

  /**
   * Runs `callback` in each turn in which `descriptor` is writable, until
   * {@linkcode removeWriter}. Otherwise like {@linkcode addReader}.
   *
   * @typeParam A The types of the arguments.
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @param callback Function to run.
   * @param args Arguments of the call.
   * @returns A handle; its `cancel` works like {@linkcode removeWriter}.
   * @throws {TypeError} If `descriptor` or `callback` is of the wrong type.
   * @throws {RangeError} If the number is no descriptor.
   * @throws {DescriptorsUnsupportedError} If the host watches no descriptors.
   * @throws {OsError} If the system refuses, as for a closed descriptor.
   * @throws {LoopClosedError} If the loop is closed.
   */
  addWriter<A extends unknown[]>(
    descriptor: Descriptor,
    callback: (...args: A) => unknown,
    ...args: A
  ): Handle {
    return this.#addDescriptor(descriptor, "writer", callback, args);
  }

  /**
   * Removes the writer of a descriptor, at once.
   *
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @returns Whether there was a writer.
   */
  removeWriter(descriptor: Descriptor): boolean {
    return this.#removeDescriptor(descriptor, "writer");
  }

  /** Makes a handle for a descriptor, and watches it. */
  #addDescriptor(
    descriptor: Descriptor,
    direction: "reader" | "writer",
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ): Handle {
    const kernel = this.#kernel;
    checkPlainFunction(callback, `add a ${direction}`, "callback");
    if (kernel.isClosed()) kernel.refuseClosed(`add a ${direction}`);
    const handle = new DescriptorHandle(callback, args, (handle) => {
      if (kernel.descriptors.has(descriptor, direction, handle)) {
        this.#removeDescriptor(descriptor, direction);
      }
    });
    if (kernel.instrumented) kernel.debug.instrument(handle, callback);
    kernel.descriptors.add(descriptor, direction, handle);
    kernel.parkAnewIfParked();
    return handle;
  }

  /** Ends the watch of a descriptor. */
  #removeDescriptor(
    descriptor: Descriptor,
    direction: "reader" | "writer",
  ): boolean {
    const removed = this.#kernel.descriptors.remove(descriptor, direction);
    if (removed) this.#kernel.parkAnewIfParked();
    return removed;
  }

  /**
   * Runs `callback` in a turn after each `signal` of the operating system, in
   * place of the default action and of an earlier handler of this loop.
   *
   * Signals that arrive faster than they can be handled may come as one. The
   * process stays alive while the loop runs. All loops of a process share one
   * listener per signal, and a handler that throws does not stop the others.
   *
   * @example A graceful stop
   * ```ts
   * import { newEventLoop } from "@rota/rota";
   *
   * await using loop = newEventLoop();
   * loop.addSignalHandler("SIGTERM", () => loop.stop());
   * loop.callSoon(() => Deno.kill(Deno.pid, "SIGTERM"));
   * await loop.runForever();
   * ```
   *
   * @typeParam A The types of the arguments.
   * @param signal The signal's name.
   * @param callback Function to run. Its errors go to the exception handler.
   * @param args Arguments of the call.
   * @throws {TypeError} If the signal is unknown or cannot be handled, or
   * `callback` is not a function.
   * @throws {LoopClosedError} If the loop is closed.
   */
  addSignalHandler<A extends unknown[]>(
    signal: Deno.Signal,
    callback: (...args: A) => unknown,
    ...args: A
  ): void {
    const kernel = this.#kernel;
    checkPlainFunction(callback, "add a signal handler", "callback");
    if (kernel.isClosed()) kernel.refuseClosed("add a signal handler");
    const handle = new Handle(callback as (...args: never[]) => unknown, args);
    if (kernel.instrumented) kernel.debug.instrument(handle, callback);
    kernel.signals.set(signal, () => kernel.schedule(handle), (error) => {
      this.callExceptionHandler({
        message: `Cannot deliver ${signal}`,
        exception: error,
      });
    }, handle);
    kernel.updateKeepAlive();
  }

  /**
   * Removes the handler of a signal. The default action is back if no other
   * code in the process handles the signal.
   *
   * @param signal The signal's name.
   * @returns Whether there was a handler.
   */
  removeSignalHandler(signal: Deno.Signal): boolean {
    checkString(signal, "remove a signal handler", "signal");
    const removed = this.#kernel.signals.remove(signal);
    if (removed) {
      this.#kernel.updateKeepAlive();
      this.#kernel.parkAnewIfParked();
    }
    return removed;
  }

  // -- Errors --

  /**
   * Sets the handler of all errors that no caller gets; `null` for the default,
   * which writes to standard error.
   *
   * @param handler The handler. An error in it is written to standard error.
   * @throws {TypeError} If `handler` is neither a function nor `null`.
   */
  setExceptionHandler(handler: ExceptionHandler | null): void {
    if (handler !== null) {
      checkFunction(handler, "set the exception handler", "handler");
    }
    this.#reporter.handler = handler;
  }

  /**
   * Returns the handler that {@linkcode setExceptionHandler} set.
   *
   * @returns The handler, or `null` for the default.
   */
  getExceptionHandler(): ExceptionHandler | null {
    return this.#reporter.handler;
  }

  /**
   * Calls the exception handler with an error.
   *
   * @param context A message, and all that is known.
   */
  callExceptionHandler(context: ExceptionContext): void {
    this.#reporter.report(context);
  }

  /**
   * Writes an error to standard error, with the place where the object
   * concerned was made in debug mode.
   *
   * @param context A message, and all that is known.
   */
  defaultExceptionHandler(context: ExceptionContext): void {
    checkContext(context);
    reportToConsole(context);
  }

  // -- Debug mode --

  /**
   * Whether the loop watches for mistakes: it reports callbacks that take longer
   * than {@linkcode slowCallbackMs}, operations that were never waited for and
   * deadlocks, and remembers where futures, tasks and callbacks were made.
   */
  get debug(): boolean {
    return this.#kernel.debugging;
  }

  set debug(debug: boolean) {
    checkOneOf(debug, [true, false], "set debug mode", "debug");
    this.#kernel.setDebugging(debug);
  }

  /** Duration from which debug mode reports a callback as slow, in milliseconds. */
  get slowCallbackMs(): number {
    return this.#kernel.debug.slowMs;
  }

  set slowCallbackMs(slowCallbackMs: number) {
    checkNotNegative(slowCallbackMs, "set slowCallbackMs", "slowCallbackMs");
    this.#kernel.debug.slowMs = slowCallbackMs;
  }

  /**
   * Adds an object that is told what the loop does, from the next turn on; see
   * {@linkcode Instrument}. A loop without one pays nothing for this; with one, a
   * step costs some 30 ns more, and what the hooks cost.
   *
   * @param instrument An object with hooks. It may serve several loops.
   * @throws {TypeError} If `instrument` is no object, or a hook is not a function.
   * @throws {MisuseError} If the loop has it already.
   * @throws {LoopClosedError} If the loop is closed.
   */
  addInstrument(instrument: Instrument): void {
    this.#kernel.addInstrument(instrument);
  }

  /**
   * Removes an instrument, at once: none of its hooks is called any more, also
   * those that belong to a step that has begun.
   *
   * @param instrument An instrument that was added.
   * @returns Whether the loop had it.
   */
  removeInstrument(instrument: Instrument): boolean {
    return this.#kernel.removeInstrument(instrument);
  }

  /**
   * Counts the callbacks, timers, tasks and other objects of the loop.
   *
   * @returns A frozen snapshot.
   */
  stats(): LoopStats {
    const kernel = this.#kernel;
    return Object.freeze({
      host: kernel.host.name,
      turns: kernel.turns,
      ready: kernel.readyCount(),
      timers: kernel.timers.size,
      descriptors: kernel.descriptors.size,
      signals: kernel.signals.size,
      tasks: kernel.tasks.size,
      outsideWaits: kernel.outside.waits,
      ioGates: kernel.ioGates,
    });
  }

  /**
   * Shows the loop in a few lines: its state and {@linkcode stats}.
   *
   * @param inspect Function that `Deno.inspect` and `console.log` pass.
   * @param options Options that they pass.
   * @returns The text.
   */
  [Symbol.for("Deno.customInspect")](
    inspect: (value: unknown, options?: unknown) => string,
    options?: unknown,
  ): string {
    return `${this.constructor.name} ${
      inspect({ state: this.#kernel.stateName(), ...this.stats() }, options)
    }`;
  }

  /**
   * Returns an object for `JSON.stringify`: state and {@linkcode stats}.
   *
   * @returns A plain object.
   */
  toJSON(): LoopStats & { readonly state: string } {
    return { state: this.#kernel.stateName(), ...this.stats() };
  }
}

loaded.makeLoop = (options) => new EventLoop(options);
