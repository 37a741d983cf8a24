/**
 * The event loop itself: its turn, its run, how it waits, and what the rest of
 * the library asks of it. What happens at most once per look is done by parts
 * with a file of their own.
 *
 * @module
 */
import { LoopClosedError, MisuseError } from "../errors.ts";
import { captureContext, prepareOwners } from "../host/async_context.ts";
import { detached, microtask } from "../host/microtask.ts";
import type { Host, HostClient } from "../host/host.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { TimerQueue } from "../structures/timer_queue.ts";
import {
  checkFunction,
  checkNotNegative,
  checkNumber,
  checkOneOf,
  checkString,
  checkWaitOptions,
} from "./checks.ts";
import { current, findTask, runningLoops } from "./current.ts";
import {
  checkContext,
  DEADLOCK_MS,
  DeadlockWatch,
  type ExceptionContext,
  type ExceptionHandler,
  Instrumentation,
  reportToConsole,
} from "./diagnostics.ts";
import {
  type Descriptor,
  DescriptorHandle,
  Descriptors,
  SignalHandlers,
} from "./watchers.ts";
import { Future } from "./future.ts";
import {
  Handle,
  type Runnable,
  TICK_RUN,
  type TickCallback,
  TickTimer,
  type Timer,
  TimerHandle,
} from "./handle.ts";
import {
  GATE_MS,
  HANDLES_PER_LOOK_MAX,
  IoGate,
  isImminent,
  Precision,
  TURNS_PER_LOOK,
} from "./pacing.ts";
import { debugChanged, Leftovers, TaskList } from "./leftovers.ts";
import {
  checkTaskOptions,
  type EventLoopOptions,
  type LoopStats,
  NO_OPTIONS,
  settleOptions,
  type TaskFactory,
} from "./loop_options.ts";
import {
  POSTED_RUN,
  type PostedFunction,
  PostedTask,
  type PostTaskOptions,
  PriorityHandle,
  RankedQueue,
  type ReadyQueue,
  runPosted,
} from "./ranked.ts";
import {
  checkPriority,
  DEFAULT_PRIORITY,
  type Priority,
  requirePriority,
} from "./scheduler.ts";
import type { Wait } from "./promise_wait.ts";
import { isInterrupted } from "./strand.ts";
import {
  checkBody,
  stepTask,
  Task,
  type TaskBody,
  type TaskOptions,
} from "./task.ts";

/** Microtask hops after a turn that resumed a promise; see `docs/design.md`. */
const HOPS_AFTER_RESUMPTION = 4;
/**
 * How many operations async functions may start between two turns. Beyond that
 * they take their first step in the next turn, so that a function that finds
 * everything ready for ever does not keep the loop from its timers. High enough
 * that it costs nothing, low enough that 2,048 such operations, which go into
 * the 16 turns between two looks, take less than a millisecond.
 */
const STARTS_AT_ONCE_MAX = 128;
/** On a virtual host a checkpoint yields by count. */
const CHECKPOINTS_VIRTUAL = 128;
/** Stands in for -Infinity, which the timer queue does not take. */
const EARLIEST_MS = -Number.MAX_VALUE;

/** How tasks run that do nothing of their own about it. */
const TASK_RUN = Task.prototype.run;

/**
 * An event loop: it runs callbacks, timers and tasks in an exact order.
 *
 * It is asyncio's loop, in milliseconds. One turn runs what was ready when it
 * began, in the order in which it became so; what that adds runs in the next
 * turn. `docs/design.md` has the turn as a numbered list. Most programs need no
 * loop of their own: {@linkcode run} makes, runs and closes one.
 *
 * Turns run only inside {@linkcode runForever} and {@linkcode runUntilComplete};
 * on a stopped loop everything merely queues. Several loops may run side by
 * side on one thread. A loop lets the I/O of the runtime through at least every
 * millisecond or so of work, so that a server beside a busy loop keeps answering.
 *
 * A subclass that overrides {@linkcode callSoon} or {@linkcode callAt} sees all
 * scheduling, tasks included.
 *
 * @example A loop in one's own hands
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
  // Other files of this folder use private members as loop["member"]: what they
  // share is no part of the interface, but is checked by the compiler.
  private readonly host: Host;
  private readonly virtual: boolean;
  private readonly ready: ReadyQueue;
  /** The ready queue, if it goes by priority. */
  private readonly ranking: RankedQueue | null;
  private readonly handlesPerTurnMax: number;
  private readonly timers: TimerQueue<Timer> = new TimerQueue();
  private readonly descriptors: Descriptors;
  private readonly signals: SignalHandlers = new SignalHandlers();
  private readonly tasks: TaskList = new TaskList();
  private readonly gate: IoGate;
  /** Null on a thrifty loop. */
  private readonly precision: Precision | null;
  private readonly deadlock: DeadlockWatch;
  private readonly leftovers: Leftovers = new Leftovers(this);
  private readonly instrumentation: Instrumentation = new Instrumentation(this);

  /** Whether a subclass wants to see all scheduling. */
  private readonly overridden: boolean;
  private readonly inheritsContext: boolean;
  /** Whether new objects need more than their fields: a creation stack, or a context. */
  private instrumented: boolean;
  private debugging: boolean;
  private readonly ignoresOutside: boolean;
  private readonly cancelWarnMs: number;
  private slowMs: number;
  private handler: ExceptionHandler | null = null;
  private factory: TaskFactory | null = null;

  // The run.
  private running = false;
  private closed = false;
  private forever = false;
  private stopping = false;
  private failure: Error | null = null;
  private finished: (() => void) | null = null;

  // Waiting.
  /** Whether the host waits on behalf of this loop; whoever queues something ends that. */
  private parked = false;
  /** Whether the host is being asked to wait right now, and might answer at once. */
  private parking = false;
  private parkingAnew = false;
  private parkedUntilMs = Infinity;
  private parkedHolding = false;
  private deadlockAtMs = Infinity;

  // The turn.
  private turns = 0;
  /** Handles of this turn that have not had their chunk yet. */
  private batch = 0;
  private turnsToLook = 0;
  /** Handles that a scheduler has run since it last asked for a look. */
  private handlesUnseen = 0;
  private handlesToLook = 0;
  /** What has not run all its ticks, and is to go on before all others. */
  private unfinished: TimerHandle | null = null;
  private hops = 0;
  /** Whether this turn has resumed a promise reaction. */
  private promiseResumed = false;
  /** Operations that async functions have started since the last turn. */
  private startedAtOnce = 0;
  private checkpoints = 0;
  /** Whether a promise reaction was resumed since the loop was last parked. */
  private promisesTouched = false;
  private turnsSinceYield = 0;
  private handlesSinceYield = 0;

  // Tasks.
  /** Timers that do not keep the process alive. */
  private unheldTimers = 0;
  private asyncTasks = 0;
  /** Async functions that are parked in no operation of this loop. */
  private asyncOutside = 0;
  /** Waits for foreign promises by `until`. */
  private outside = 0;
  /** Whether a future failed in this turn or the one before. */
  private anyFailures = false;

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
    this.host = settled.host;
    this.virtual = this.host.virtual;
    this.overridden = this.callSoon !== EventLoop.prototype.callSoon ||
      this.callAt !== EventLoop.prototype.callAt;
    this.inheritsContext = settled.inheritsContext;
    this.debugging = settled.debug;
    this.instrumented = settled.debug || this.inheritsContext;
    this.ignoresOutside = settled.ignoresOutside;
    this.slowMs = settled.slowCallbackMs;
    this.cancelWarnMs = settled.cancelWarnMs;
    this.ranking = settled.scheduler === undefined
      ? null
      : new RankedQueue(this, settled.scheduler);
    this.ready = this.ranking ?? new RingBuffer<Runnable>();
    this.handlesPerTurnMax = this.ranking?.handlesPerTurnMax ?? Infinity;
    this.gate = new IoGate(this.host);
    this.precision = settled.precise ? new Precision() : null;
    this.deadlock = new DeadlockWatch(this, settled.deadlock);
    if (settled.debug) debugChanged(true);
    this.descriptors = new Descriptors(this.host, this.queue);
    this.host.open(this.client);
    this.ranking?.open();
  }

  // -- Scheduling --

  /**
   * Runs `callback` in the next turn, after everything that was queued before;
   * on a loop with a `scheduler`, when that puts it in line.
   *
   * It never runs inside this call. What it throws goes to the exception
   * handler, and the loop goes on. Costs some 20 ns.
   *
   * @typeParam A The types of the arguments.
   * @param callback What to run. Its return value is ignored; for an async
   * function that somebody waits for, use {@linkcode createTask}.
   * @param args What to call it with.
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
    if (this.closed) this.refuseClosed("schedule a callback");
    const handle = new Handle(callback as (...args: never[]) => unknown, args);
    if (this.instrumented) this.instrument(handle, callback);
    this.ready.push(handle);
    if (this.parked) this.unpark();
    return handle;
  }

  /**
   * Runs `callback` in a turn to come, by its priority: {@linkcode callSoon} for
   * a loop with a {@linkcode PriorityScheduler}. On another loop it is
   * `callSoon`.
   *
   * This is the cheap way, some 100 ns. For an async function, or to wait for a
   * result, use {@linkcode postTask}.
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
   * @param priority How urgent it is.
   * @param callback What to run. What it throws goes to the exception handler.
   * @param args What to call it with.
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
    if (this.closed) this.refuseClosed(what);
    const { ranking } = this;
    const handle = new PriorityHandle(
      ranking,
      level,
      callback as (...args: never[]) => unknown,
      args,
    );
    if (this.instrumented) this.instrument(handle, callback);
    if (ranking === null || this.overridden) this.schedule(handle);
    else {
      ranking.pushHandle(handle);
      if (this.parked) this.unpark();
    }
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
   * @param callback What to run. What it throws goes to the exception handler.
   * @param args What to call it with.
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
    return this.callAt(this.host.now() + delayMs, callback, ...args);
  }

  /**
   * Runs `callback` once, no sooner than the moment `whenMs` on the clock of
   * {@linkcode time}. A moment that has passed means as soon as possible.
   *
   * In all else it is {@linkcode callLater}.
   *
   * @typeParam A The types of the arguments.
   * @param whenMs The deadline, in milliseconds. `Infinity` means never.
   * @param callback What to run. What it throws goes to the exception handler.
   * @param args What to call it with.
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
    const timer = new TimerHandle(
      this,
      whenMs === -Infinity ? EARLIEST_MS : whenMs,
      callback as (...args: never[]) => unknown,
      args,
    );
    if (this.instrumented) this.instrument(timer, callback);
    this.startTimer(timer);
    this.ranking?.noteTimer(timer);
    return timer;
  }

  /** Makes a timer for ticks, which is never due until it is moved. */
  private createTickTimer<T>(
    callback: TickCallback<T>,
    target: T,
  ): TimerHandle {
    if (this.overridden) {
      return this.callAt(Infinity, () => void callback(target, NaN));
    }
    const timer = new TickTimer(this, callback, target);
    if (this.instrumented) this.instrument(timer, callback);
    this.startTimer(timer);
    this.ranking?.noteTimer(timer);
    return timer;
  }

  /** Puts a timer into the queue; a loop that waits takes it into account. */
  private startTimer(timer: Timer): void {
    if (this.closed) this.refuseClosed("schedule a callback");
    const { whenMs } = timer;
    this.timers.push(timer);
    if (whenMs === Infinity) this.unheldTimers++;
    if (
      this.parked && (whenMs < this.parkedUntilMs || !this.parkedHolding ||
        this.deadlockAtMs !== Infinity)
    ) this.parkAnew();
  }

  /**
   * Runs a function in a turn to come, by its priority, in the manner of the
   * web's `scheduler.postTask`.
   *
   * A plain function runs as a callback does; an async or generator function as
   * a task, and so does what a plain function returns that can be waited for.
   * The first step of it runs when its turn has come. Its error goes to whoever
   * waits for what this returns, and to the exception handler if nobody ever
   * does. Unlike the web's, one that is withdrawn rejects with a
   * {@linkcode CancelledError}, whose `reason` is that of the signal. Costs some
   * 500 ns, most of it so that an async function that `fn` calls finds its task
   * again; {@linkcode callWithPriority} does without.
   *
   * @example The most urgent first, and one that is withdrawn
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
   * @typeParam T What the function produces.
   * @param fn What to run.
   * @param options Its priority, a delay, a signal that withdraws it.
   * @returns The future of what `fn` produces.
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
    if (this.closed) this.refuseClosed(what);
    return new PostedTask<T>(
      this,
      fn,
      priority ?? this.inheritedPriority(),
      options,
    );
  }

  /** The priority of what says nothing of its own. What a task is raised to is for itself only. */
  private inheritedPriority(): number {
    const task = findTask();
    return task !== null && task.loop === this
      ? task.priority
      : this.ranking?.priorityOfNow() ?? DEFAULT_PRIORITY;
  }

  /**
   * Tells what time it is: milliseconds on a clock that never goes back, from
   * an arbitrary origin. On the virtual host it starts at 0.
   *
   * @returns The time in milliseconds, with fractions.
   */
  time(): number {
    return this.host.now();
  }

  /** Queues a task or wait to go on with. */
  private schedule(runnable: Runnable): void {
    if (this.overridden) {
      this.ranking?.noteWake(runnable);
      if (!this.closed) this.callSoon(this.resume, runnable);
      return;
    }
    this.ready.push(runnable);
    if (this.parked) this.unpark();
  }

  /** What a subclass that wants to see all scheduling is given for a task or wait. */
  private readonly resume = (runnable: Runnable): void => {
    try {
      runnable.run();
    } catch (error) {
      this.runnableFailed(runnable, error);
    }
  };

  private readonly queue = (runnable: Runnable): void => {
    this.ready.push(runnable);
  };

  /** Takes a timer out of the queue, if it is still in there. */
  private dropTimer(timer: Timer): void {
    if (!this.timers.remove(timer)) {
      this.ranking?.withdrawTimer(timer);
      return;
    }
    if (!timer.holdsProcess()) this.unheldTimers--;
    if (this.parked) this.parkAgainIfChanged();
  }

  /** Gives a timer another deadline, be it pending or not. */
  private moveTimer(timer: TimerHandle, whenMs: number): void {
    if (this.closed) this.refuseClosed("reschedule a timer");
    if (!this.timers.remove(timer)) this.ranking?.withdrawTimer(timer);
    else if (!timer.holdsProcess()) this.unheldTimers--;
    timer["move"](whenMs === -Infinity ? EARLIEST_MS : whenMs);
    this.timers.push(timer);
    if (!timer.holdsProcess()) this.unheldTimers++;
    if (this.parked) this.parkAgainIfChanged();
  }

  /** A pending timer began or ceased to keep the process alive. */
  private timerHoldChanged(holds: boolean): void {
    this.unheldTimers += holds ? -1 : 1;
    if (this.parked) this.parkAgainIfChanged();
  }

  // -- Futures and tasks --

  /**
   * Makes a pending future of this loop.
   *
   * @typeParam T What its result will be.
   * @param label What it stands for, in words, for messages.
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
   * A generator is for one task. Given to two, each gets a part of its steps;
   * that is refused in debug mode only, since to look for it costs as much as to
   * make the task.
   *
   * @typeParam T What the task produces.
   * @param body A generator function or async function without parameters
   * (`() => work(argument)` passes some), a generator that has not started, or
   * an operation.
   * @param options A name, a signal that cancels the task, an eager start.
   * @returns The task: a future of what `body` produces.
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
    if (this.closed) this.refuseClosed("create a task");
    return this.factory === null
      ? new Task<T>(this, body, options)
      : this.factory<T>(this, body, options);
  }

  /**
   * Sets what {@linkcode createTask} calls to make a task; `null` for the
   * default. With {@linkcode eagerTaskFactory} tasks run their first step
   * inside `createTask`.
   *
   * @param factory A function that returns `new Task(loop, body, options)`, with
   * options of its choice.
   * @throws {TypeError} If `factory` is neither a function nor `null`.
   */
  setTaskFactory(factory: TaskFactory | null): void {
    if (factory !== null) {
      checkFunction(factory, "set the task factory", "factory");
    }
    this.factory = factory;
  }

  /**
   * Gives what {@linkcode setTaskFactory} set.
   *
   * @returns The factory, or `null` for the default.
   */
  getTaskFactory(): TaskFactory | null {
    return this.factory;
  }

  /** Keeps a task until it has ended. */
  private adoptTask(task: Task<unknown>): void {
    this.tasks.add(task);
  }

  /** Lets go of a task that has ended. */
  private releaseTask(task: Task<unknown>): void {
    this.tasks.remove(task);
  }

  /** The tasks that have not ended, in the order of their creation. */
  private unfinishedTasks(): Task<unknown>[] {
    return this.tasks.toArray();
  }

  // -- Running --

  /**
   * Runs turns until {@linkcode stop} is called.
   *
   * The process stays alive meanwhile, whatever the loop waits for. If `stop`
   * was called before, one turn runs.
   *
   * @returns A promise that resolves once the loop has stopped.
   * @throws {MisuseError} If the loop is running already.
   * @throws {LoopClosedError} If the loop is closed.
   */
  runForever(): Promise<void> {
    return this.drive("forever");
  }

  /**
   * Runs turns until `main` is done, and gives its result.
   *
   * The turn in which `main` ends is completed, and one more, in which its
   * waiters are told. Other tasks stay as they are; {@linkcode run} cleans up.
   * The process stays alive while a timer, descriptor, signal handler or
   * `until` is pending; beyond that the runtime decides. If the result is itself
   * a future of this loop, it runs on until that is done.
   *
   * @typeParam T What `main` produces.
   * @param main What {@linkcode createTask} takes, or a future of this loop.
   * @returns A promise for the result; it rejects with what `main` fails with.
   * @throws {MisuseError} If the loop is running already, is stopped before
   * `main` is done, or `main` is a future of another loop.
   * @throws {DeadlockError} If all tasks wait for ever; see `deadlock` in the
   * options.
   * @throws {LoopClosedError} If the loop is closed.
   */
  async runUntilComplete<T>(main: TaskBody<T> | Future<T>): Promise<T> {
    this.checkMayRun();
    if (main instanceof Future && main.loop !== this) {
      throw new MisuseError(
        "Cannot run until a future is done: it belongs to another event loop",
      );
    }
    const future = main instanceof Future ? main : this.createTask<T>(main);
    const stop = () => this.stop();
    future.addDoneCallback(stop);
    try {
      const isAsync = future instanceof Task && future["mayBeAsync"]();
      await this.drive("until-complete", isAsync);
    } finally {
      future.removeDoneCallback(stop);
    }
    if (!future.done()) {
      throw new MisuseError(
        `Cannot complete ${
          future["describe"]()
        }: the event loop was stopped before`,
      );
    }
    const result = future.result();
    // A promise cannot give a task: it would wait for it, on a loop that stands.
    if (result instanceof Future && result.loop === this) {
      return await this.runUntilComplete(result as Future<T>);
    }
    return result;
  }

  /** Throws if the loop is closed or running already. */
  private checkMayRun(): void {
    if (this.closed) this.refuseClosed("run the event loop");
    if (this.running) {
      throw new MisuseError("Cannot run the event loop: it is running already");
    }
  }

  /** Runs turns until the loop is stopped; `isAsync` if the first may call an async function. */
  private drive(
    mode: "forever" | "until-complete",
    isAsync = false,
  ): Promise<void> {
    try {
      this.checkMayRun();
    } catch (error) {
      return Promise.reject(error);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.running = true;
    this.forever = mode === "forever";
    this.failure = null;
    this.deadlock.reset();
    runningLoops.add(this);
    this.finished = () => {
      if (this.failure === null) resolve();
      else reject(this.failure);
    };
    this.updateKeepAlive();
    const begin = () => {
      this.gate.noteYield();
      this.turnsToLook = 0;
      this.turn();
    };
    // Turns belong to nobody's async context, least of all to that of the caller.
    const preparation = prepareOwners(isAsync);
    if (preparation === null) detached(begin);
    else preparation.then(() => detached(begin));
    return promise;
  }

  /**
   * Makes the loop stop after the turn that is running, or after one turn if
   * none is. Callbacks and timers stay queued for the next run.
   */
  stop(): void {
    this.stopping = true;
    if (this.parked) this.unpark();
  }

  /**
   * Tells whether the loop is inside `runForever` or `runUntilComplete`, be it
   * in a turn or between two.
   *
   * @returns Whether it is.
   */
  isRunning(): boolean {
    return this.running;
  }

  /**
   * Tells whether {@linkcode close} was called.
   *
   * @returns Whether it was.
   */
  isClosed(): boolean {
    return this.closed;
  }

  /**
   * Gives back everything the loop holds: descriptors' and signals' handlers,
   * timers, and what its host has opened. Calling it again does nothing.
   *
   * Callbacks that were queued never run. Tasks that have not ended are
   * reported to the exception handler, each by name, and end as cancelled
   * without running on, so that nobody waits for them for ever; cancel them and
   * let them clean up before, as {@linkcode run} does. Failures that nobody
   * looked at are reported too.
   *
   * @returns A promise that resolves once nothing is open any more.
   * @throws {MisuseError} If the loop is running.
   */
  async close(): Promise<void> {
    if (this.running) {
      throw new MisuseError("Cannot close the event loop: it is running");
    }
    if (!this.closed) {
      this.signals.clear();
      this.descriptors.clear();
      this.ready.clear();
      this.timers.clear();
      this.leftovers.destroyTasks();
      this.closed = true;
      this.ready.clear();
      this.leftovers.dropSubscriptions();
      this.leftovers.closeStrays();
      this.leftovers.reportAll();
      this.ranking?.close();
      if (this.debugging) debugChanged(false);
    }
    await this.host.close();
  }

  /**
   * The same as {@linkcode close}.
   *
   * @returns A promise that resolves once nothing is open any more.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Throws the error for what a closed loop does not do. */
  private refuseClosed(what: string): never {
    throw new LoopClosedError(`Cannot ${what}: the event loop is closed`);
  }

  // -- The turn --

  private readonly hop = (): void => {
    if (this.hops > 0) {
      this.hops--;
      microtask(this.hop);
    } else this.turn();
  };

  /** Runs a turn, or waits if there is nothing to run. */
  private turn(): void {
    if (
      --this.turnsToLook <= 0 || this.handlesToLook <= 0 ||
      this.ready.length === 0 || this.virtual
    ) {
      if (!this.look()) return;
    }
    this.turns++;
    this.batch = Math.min(this.ready.length, this.handlesPerTurnMax);
    this.runBatch();
  }

  /** Steps 1 to 3 of a turn; false if the loop is parked or the gate is open. */
  private look(): boolean {
    // Nothing is ready, but a full look is not due: what a descriptor brings now
    // spares reading the clock, which costs as much as half a look.
    const early = this.turnsToLook > 0 && this.handlesToLook > 0 &&
      this.descriptors.size > 0;
    if (early) {
      this.descriptors.poll();
      if (this.ready.length > 0) return true;
    }
    const nowMs = this.host.now();
    if (this.gateIsDue(nowMs)) {
      this.openGate(this.hop);
      return false;
    }
    if (!early && this.descriptors.size > 0) this.descriptors.poll();
    this.queueDueTimers(nowMs);
    this.turnsToLook = TURNS_PER_LOOK;
    if (this.ready.length > 0 || this.stopping) return true;
    if (nowMs >= this.deadlockAtMs) {
      this.deadlockAtMs = Infinity;
      this.deadlock.expired();
      if (this.ready.length > 0 || this.stopping) return true;
    }
    if (
      this.precision !== null && this.precision.approach(
        this.timers.peekMs() - nowMs,
        this.passed,
        this.spin,
      )
    ) return false;
    this.park();
    return false;
  }

  /** Step 3: queues the timers whose deadline has come. */
  private queueDueTimers(nowMs: number): void {
    const timers = this.timers;
    if (timers.size === 0) return;
    for (
      let timer = timers.popDue(nowMs);
      timer !== undefined;
      timer = timers.popDue(nowMs)
    ) {
      timer.fallDue();
      if (!timer.holdsProcess()) this.unheldTimers--;
      this.ready.push(timer);
    }
  }

  /** Step 4: runs what is left of the batch, unless the gate has to open first. */
  private readonly runBatch = (): void => {
    current.loop = this;
    for (;;) {
      const chunk = Math.min(this.batch, Math.max(this.handlesToLook, 1));
      this.batch -= chunk;
      this.handlesToLook -= chunk;
      this.runHandles(chunk);
      if (this.batch <= 0) break;
      // The gate may open between two handles of a long turn. Their order stays
      // the same. Not so on a virtual host, whose turns depend on no clock.
      if (this.virtual) this.handlesToLook = HANDLES_PER_LOOK_MAX;
      else if (this.gateIsDue(this.host.now())) {
        current.loop = current.stepper = null;
        this.openGate(this.runBatch);
        return;
      }
    }
    current.loop = current.stepper = null;
    this.endTurn();
  };

  /** Runs so many handles from the head of the queue. */
  private runHandles(count: number): void {
    this.handlesSinceYield += count;
    if (this.ranking !== null) {
      this.runRanked(this.ranking, count);
      return;
    }
    if (this.debugging) {
      this.runHandlesTimed(count);
      return;
    }
    const ready = this.ready;
    // What the clock said after the last handle, if that was a tick.
    let readMs = NaN;
    for (; count > 0; count--) {
      const runnable = ready.shift()!;
      try {
        // Not as a method: an error that a step throws would keep the receiver.
        if (runnable.run === TASK_RUN) {
          readMs = NaN;
          stepTask(runnable as Task<unknown>);
        } else if (runnable.run === POSTED_RUN) {
          readMs = NaN;
          runPosted(runnable as PostedTask<unknown>);
        } else if (runnable.run === TICK_RUN) {
          readMs = (runnable as TickTimer<unknown>)["runAt"](readMs);
          if (this.unfinished !== null) {
            this.batch += count;
            (ready as RingBuffer<Runnable>).unshift(this.unfinished);
            this.unfinished = null;
            return;
          }
        } else {
          readMs = NaN;
          runnable.run();
        }
      } catch (error) {
        readMs = NaN;
        this.runnableFailed(runnable, error);
      }
    }
  }

  /** How many ticks a timer may run in one go, each of which counts as a handle. */
  private tickBudget(): number {
    return this.debugging || this.virtual
      ? Infinity
      : Math.max(this.handlesToLook, 1);
  }

  /** A timer has run so many ticks. If it has more, it is to be the next to run, when the gate has been seen to. */
  private tickedFor(ticks: number, unfinished: TimerHandle | null): void {
    this.handlesSinceYield += ticks;
    this.handlesToLook -= ticks;
    this.unfinished = unfinished;
    unfinished?.fallDue();
  }

  /** Runs so many handles in the order of a scheduler, fewer if some are withdrawn meanwhile. */
  private runRanked(ranking: RankedQueue, count: number): void {
    for (let left = count; left > 0; left--) {
      let runnable: Runnable | undefined;
      try {
        runnable = ranking.shift();
      } catch (error) {
        this.failRun(error as Error);
        return;
      }
      if (runnable === undefined) break;
      try {
        if (this.debugging) this.instrumentation.runTimed(runnable);
        else if (runnable.run === TASK_RUN) {
          stepTask(runnable as Task<unknown>);
        } else if (runnable.run === POSTED_RUN) {
          runPosted(runnable as PostedTask<unknown>);
        } else runnable.run();
      } catch (error) {
        this.runnableFailed(runnable, error);
      }
    }
    // What falls due is not to wait for more than so many.
    const { handlesPerTurnMax } = this;
    this.handlesUnseen += count;
    if (
      this.handlesUnseen + Math.min(ranking.length, handlesPerTurnMax) >
        handlesPerTurnMax
    ) {
      this.handlesUnseen = 0;
      this.turnsToLook = 0;
    }
  }

  /** Step 5, and what comes before the next turn. */
  private endTurn(): void {
    this.turnsSinceYield++;
    this.startedAtOnce = 0;
    if (this.anyFailures) this.anyFailures = this.leftovers.passTurn();
    if (this.stopping) {
      this.leave();
      return;
    }
    if (this.promiseResumed) {
      this.promiseResumed = false;
      this.promisesTouched = true;
      this.hops = HOPS_AFTER_RESUMPTION - 1;
    }
    microtask(this.hop);
  }

  /** Ends the run. */
  private leave(): void {
    this.stopping = false;
    this.running = false;
    this.deadlockAtMs = Infinity;
    runningLoops.delete(this);
    this.host.rest();
    const finished = this.finished!;
    this.finished = null;
    finished();
    if (this.anyFailures) detached(this.ageIfStopped);
  }

  /** A loop that stays stopped does not hold on to what has failed. */
  private readonly ageIfStopped = (): void => {
    if (!this.running) this.ageFailures();
  };

  /** Whoever was to look at an error has done so. */
  private ageFailures(): void {
    this.leftovers.age();
    this.anyFailures = this.leftovers.age();
  }

  /** Reports what a callback or step has thrown. */
  private runnableFailed(runnable: Runnable, error: unknown): void {
    current.task = null;
    const handle = runnable instanceof Handle ? runnable : undefined;
    this.callExceptionHandler({
      message: `Exception in ${
        handle === undefined ? "the event loop" : handle["describe"]()
      }`,
      exception: error,
      ...(handle && { handle }),
      ...this.creationOf(runnable),
    });
  }

  // -- Letting the runtime's own I/O through --

  /** Whether the gate has to open; also sets how much runs until the next look. */
  private gateIsDue(nowMs: number): boolean {
    const due = this.gate.isDue(
      nowMs,
      this.turnsSinceYield,
      this.handlesSinceYield,
    );
    this.handlesToLook = this.gate.handlesPerLook;
    return due;
  }

  /** Lets the runtime's own I/O through, and goes on after that. */
  private openGate(then: () => void): void {
    this.gate.open(() => {
      this.yielded();
      then();
    });
  }

  /** The runtime has had the thread. */
  private yielded(): void {
    this.gate.noteYield();
    this.turnsSinceYield = 0;
    this.handlesSinceYield = 0;
    this.hops = 0;
  }

  // -- Waiting --

  /** Has the host wait for what the loop waits for. */
  private park(): void {
    if (this.anyFailures) this.ageFailures(); // it may be a long wait
    let untilMs = this.timers.peekMs();
    let hold = this.timers.size > this.unheldTimers;
    if (untilMs === Infinity && this.deadlock.isNeeded()) {
      if (this.deadlockAtMs === Infinity) {
        this.deadlockAtMs = this.host.now() + DEADLOCK_MS;
      }
      untilMs = this.deadlockAtMs;
      hold = true;
    } else this.deadlockAtMs = Infinity;
    this.parked = true;
    this.parkedUntilMs = untilMs;
    this.parkedHolding = hold;
    this.parking = true;
    this.host.park(
      this.precision === null ? untilMs : untilMs - this.precision.aheadMs,
      hold,
    );
    this.parking = false;
  }

  /** Has the host wait anew if the timers now ask for something else. */
  private parkAgainIfChanged(): void {
    const untilMs = this.timers.peekMs();
    const hold = untilMs !== Infinity && this.timers.size > this.unheldTimers;
    if (untilMs !== this.parkedUntilMs || hold !== this.parkedHolding) {
      this.parkAnew();
    }
  }

  /**
   * What the loop waits for was changed from outside while it waits. The host is
   * told a little later, as what it then does belongs to nobody's async context.
   */
  private parkAnew(): void {
    if (this.parkingAnew) return;
    this.parkingAnew = true;
    detached(this.parkIfParked);
  }

  private readonly parkIfParked = (): void => {
    this.parkingAnew = false;
    if (this.parked) this.park();
  };

  /** Somebody outside has queued something while the host waits. */
  private unpark(): void {
    this.parked = false;
    this.deadlockAtMs = Infinity;
    this.host.unpark();
    if (!this.virtual) this.gate.noteWakeUp();
    detached(this.hop);
  }

  private readonly client: HostClient = ((loop) => ({
    wake(): void {
      loop.woken();
    },
    starved(): void {
      loop.deadlock.starved();
    },
    hasOutsideWaits(): boolean {
      return !loop.ignoresOutside &&
        (loop.outside > 0 || loop.asyncOutside > 0);
    },
    hasPromiseWork(): boolean {
      return loop.promisesTouched || loop.asyncTasks > 0 || loop.outside > 0 ||
        loop.leftovers.strays.size > 0;
    },
  }))(this);

  /** The host has ended its wait. */
  private woken(): void {
    if (!this.parked) return;
    this.parked = false;
    this.promisesTouched = false;
    if (this.parking) {
      microtask(this.hop);
      return;
    }
    const { precision } = this;
    const askedMs = precision === null
      ? Infinity
      : this.parkedUntilMs - precision.aheadMs;
    this.yielded();
    const lateMs = this.gate.yieldedAtMs - askedMs;
    if (precision !== null && lateMs >= 0) precision.learn(lateMs);
    this.turn();
  }

  /**
   * Waits for a deadline on the thread. It asks for what is due all the time, and
   * not for the time alone: so the processor has all of that at hand when it is.
   */
  private readonly spin = (): void => {
    let leftMs: number;
    do {
      const nowMs = this.host.now();
      this.queueDueTimers(nowMs);
      leftMs = this.timers.peekMs() - nowMs;
    } while (this.ready.length === 0 && !this.stopping && isImminent(leftMs));
    this.turn();
  };

  private readonly passed = (): void => {
    this.yielded();
    this.turn();
  };

  /** Ends the run with an error. */
  private failRun(error: Error): void {
    this.failure = error;
    this.stopping = true;
    if (!this.parked) return;
    this.parked = false;
    microtask(this.hop);
  }

  // -- What waits outside --

  /** Tells the host whether the run keeps the process alive by itself. */
  private updateKeepAlive(): void {
    if (!this.running) return;
    this.host.keepAlive(
      this.forever || this.signals.size > 0 || this.outside > 0,
    );
  }

  /** An `until` waits for a foreign promise. */
  private outsideBegan(): void {
    if (this.outside++ === 0) this.updateKeepAlive();
  }

  /** An `until` waits no longer. */
  private outsideEnded(): void {
    if (--this.outside === 0) {
      this.updateKeepAlive();
      this.outsideChanged();
    }
  }

  /** A task has begun to run an async function. */
  private asyncTaskStarted(): void {
    this.asyncTasks++;
  }

  /** A task has ended that ran an async function. */
  private asyncTaskEnded(): void {
    this.asyncTasks--;
    this.promisesTouched = true;
  }

  /**
   * Whether an async function may go on with another operation that is ready,
   * instead of waiting a turn for it. Counts the question.
   */
  private mayStartAtOnce(): boolean {
    return ++this.startedAtOnce <= STARTS_AT_ONCE_MAX;
  }

  /** Whether a task that computes has kept the others waiting, or is to hear of a cancellation. */
  private isTimeToYield(): boolean {
    if (isInterrupted()) return true;
    if (this.virtual) return ++this.checkpoints % CHECKPOINTS_VIRTUAL === 0;
    return this.host.now() - this.gate.lookedAtMs >= GATE_MS;
  }

  /** An async function waits in no operation of this loop. */
  private wentOutside(): void {
    this.asyncOutside++;
  }

  /** An async function is back in an operation of this loop, or has ended. */
  private cameInside(): void {
    if (--this.asyncOutside === 0) this.outsideChanged();
  }

  /** A virtual host that stood still for the sake of something outside decides anew. */
  private outsideChanged(): void {
    if (this.parked && !this.parking) this.parkAnew();
  }

  /** Keeps a wait outside of tasks, to end it when the loop closes. */
  private enterStray(wait: Wait<unknown, unknown, unknown>): void {
    this.leftovers.strays.add(wait);
  }

  /** Lets go of a wait outside of tasks. */
  private leaveStray(wait: Wait<unknown, unknown, unknown>): void {
    this.leftovers.strays.delete(wait);
  }

  /** Has the exception handler told if a cancelled task does not react for long. */
  private warnOfStuckTask(task: Task<unknown>): TimerHandle {
    const timer = this.callLater(this.cancelWarnMs, () => {
      this.callExceptionHandler({
        message:
          `Task "${task.name}" was cancelled ${this.cancelWarnMs} ms ago and has not ` +
          "reacted: it waits outside the loop, hand task.signal to what it waits for",
        task,
        name: task.name,
        ...this.creationOf(task),
      });
    });
    timer.unref();
    return timer;
  }

  // -- Descriptors and signals --

  /**
   * Runs `callback` in each turn in which `descriptor` is readable, until
   * {@linkcode removeReader}. It replaces a reader the descriptor had before.
   *
   * Readiness is level-triggered and a hint: read without blocking, and expect
   * that nothing is there. Remove the reader before you close the descriptor.
   * Regular files are always ready. Needs a host with descriptors.
   *
   * @typeParam A The types of the arguments.
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @param callback What to run.
   * @param args What to call it with.
   * @returns A handle whose `cancel` does what {@linkcode removeReader} does.
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
    return this.addDescriptor(descriptor, "reader", callback, args);
  }

  /**
   * Stops what {@linkcode addReader} began, at once: a call that is queued
   * already does not run either.
   *
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @returns Whether there was a reader.
   */
  removeReader(descriptor: Descriptor): boolean {
    return this.removeDescriptor(descriptor, "reader");
  }

  /**
   * Runs `callback` in each turn in which `descriptor` is writable, until
   * {@linkcode removeWriter}. In all else it is {@linkcode addReader}.
   *
   * @typeParam A The types of the arguments.
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @param callback What to run.
   * @param args What to call it with.
   * @returns A handle whose `cancel` does what {@linkcode removeWriter} does.
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
    return this.addDescriptor(descriptor, "writer", callback, args);
  }

  /**
   * Stops what {@linkcode addWriter} began, at once.
   *
   * @param descriptor A descriptor number, or an object with one as `fd`.
   * @returns Whether there was a writer.
   */
  removeWriter(descriptor: Descriptor): boolean {
    return this.removeDescriptor(descriptor, "writer");
  }

  /** Makes a handle for a descriptor, and watches it. */
  private addDescriptor(
    descriptor: Descriptor,
    direction: "reader" | "writer",
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ): Handle {
    checkFunction(callback, `add a ${direction}`, "callback");
    if (this.closed) this.refuseClosed(`add a ${direction}`);
    const handle = new DescriptorHandle(callback, args, (handle) => {
      if (this.descriptors.has(descriptor, direction, handle)) {
        this.removeDescriptor(descriptor, direction);
      }
    });
    if (this.instrumented) this.instrument(handle, callback);
    this.descriptors.add(descriptor, direction, handle);
    if (this.parked) this.parkAnew();
    return handle;
  }

  /** Ends the watch of a descriptor. */
  private removeDescriptor(
    descriptor: Descriptor,
    direction: "reader" | "writer",
  ): boolean {
    const removed = this.descriptors.remove(descriptor, direction);
    if (removed && this.parked) this.parkAnew();
    return removed;
  }

  /**
   * Runs `callback` in a turn after each `signal` of the operating system, in
   * place of the default action and of an earlier handler of this loop.
   *
   * Signals that arrive faster than they can be handled may come as one. The
   * process stays alive while the loop runs. All loops of a process share one
   * listener per signal, and a handler that throws stops nobody.
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
   * @param callback What to run. What it throws goes to the exception handler.
   * @param args What to call it with.
   * @throws {TypeError} If the signal is unknown or cannot be handled, or
   * `callback` is not a function.
   * @throws {LoopClosedError} If the loop is closed.
   */
  addSignalHandler<A extends unknown[]>(
    signal: Deno.Signal,
    callback: (...args: A) => unknown,
    ...args: A
  ): void {
    checkFunction(callback, "add a signal handler", "callback");
    if (this.closed) this.refuseClosed("add a signal handler");
    const handle = new Handle(callback as (...args: never[]) => unknown, args);
    if (this.instrumented) this.instrument(handle, callback);
    this.signals.set(signal, () => this.schedule(handle), (error) => {
      this.callExceptionHandler({
        message: `Cannot deliver ${signal}`,
        exception: error,
      });
    });
    this.updateKeepAlive();
  }

  /**
   * Ends what {@linkcode addSignalHandler} began. If nobody else in the process
   * handles the signal, its default action is back.
   *
   * @param signal The signal's name.
   * @returns Whether there was a handler.
   */
  removeSignalHandler(signal: Deno.Signal): boolean {
    checkString(signal, "remove a signal handler", "signal");
    const removed = this.signals.remove(signal);
    if (removed) {
      this.updateKeepAlive();
      if (this.parked) this.parkAnew();
    }
    return removed;
  }

  // -- Errors --

  /**
   * Sets what is told of every error that no caller gets; `null` for the
   * default, which writes to standard error.
   *
   * @param handler The handler. An error in it is written to standard error.
   * @throws {TypeError} If `handler` is neither a function nor `null`.
   */
  setExceptionHandler(handler: ExceptionHandler | null): void {
    if (handler !== null) {
      checkFunction(handler, "set the exception handler", "handler");
    }
    this.handler = handler;
  }

  /**
   * Gives what {@linkcode setExceptionHandler} set.
   *
   * @returns The handler, or `null` for the default.
   */
  getExceptionHandler(): ExceptionHandler | null {
    return this.handler;
  }

  /**
   * Tells the exception handler of an error.
   *
   * @param context A message, and whatever is known.
   */
  callExceptionHandler(context: ExceptionContext): void {
    checkContext(context);
    if (this.handler === null) {
      this.handleByDefault(context);
      return;
    }
    try {
      this.handler(this, context);
    } catch (error) {
      this.handleByDefault(context);
      this.handleByDefault({
        message: "Unhandled error in exception handler",
        exception: error,
      });
    }
  }

  /** The default handler may be that of a subclass, and throw as well. */
  private handleByDefault(context: ExceptionContext): void {
    try {
      this.defaultExceptionHandler(context);
    } catch (error) {
      reportToConsole(context);
      reportToConsole({
        message: "Unhandled error in default exception handler",
        exception: error,
      });
    }
  }

  /**
   * Writes an error to standard error, with the place where the object
   * concerned was made in debug mode.
   *
   * @param context A message, and whatever is known.
   */
  defaultExceptionHandler(context: ExceptionContext): void {
    checkContext(context);
    reportToConsole(context);
  }

  /** A future has failed. Whoever waits for it looks at the error soon. */
  private noteFailure(future: Future<unknown>): void {
    this.leftovers.noteFailure(future);
    this.anyFailures = true;
  }

  /** An operation failed whose waiter has gone, or has no ear for errors. */
  private reportUnheard(name: string, error: unknown): void {
    this.leftovers.reportUnheard(name, error);
  }

  // -- Debug mode --

  /**
   * Whether the loop watches for mistakes: it reports callbacks that take longer
   * than {@linkcode slowCallbackMs}, operations that were never waited for and
   * deadlocks, and remembers where futures, tasks and callbacks were made.
   */
  get debug(): boolean {
    return this.debugging;
  }

  set debug(debug: boolean) {
    checkOneOf(debug, [true, false], "set debug mode", "debug");
    if (debug !== this.debugging && !this.closed) debugChanged(debug);
    this.debugging = debug;
    this.instrumented = debug || this.inheritsContext;
  }

  /** From which duration on debug mode reports a callback as slow, in milliseconds. */
  get slowCallbackMs(): number {
    return this.slowMs;
  }

  set slowCallbackMs(slowCallbackMs: number) {
    checkNotNegative(slowCallbackMs, "set slowCallbackMs", "slowCallbackMs");
    this.slowMs = slowCallbackMs;
  }

  /** Runs so many handles in debug mode. */
  private runHandlesTimed(count: number): void {
    for (; count > 0; count--) {
      const runnable = this.ready.shift()!;
      try {
        this.instrumentation.runTimed(runnable);
      } catch (error) {
        this.runnableFailed(runnable, error);
      }
    }
  }

  /** Gives a new handle its context and creation stack. */
  private instrument(handle: Handle, callback?: unknown): void {
    this.instrumentation.instrument(handle, callback);
  }

  /** Remembers where `object` is being made, in debug mode. */
  private noteCreation(object: WeakKey): void {
    this.instrumentation.noteCreation(object);
  }

  /** Where `object` was made, if that is known. */
  private creationStackOf(object: WeakKey): string | undefined {
    return this.instrumentation.creationStackOf(object);
  }

  /** The same, ready to be spread into an {@linkcode ExceptionContext}. */
  private creationOf(object: WeakKey): { creationStack?: string } {
    const creationStack = this.creationStackOf(object);
    return creationStack === undefined ? {} : { creationStack };
  }

  /** Gives a function that runs others in the async context of now. */
  private captureContext(): <R>(fn: () => R) => R {
    return captureContext();
  }

  /**
   * Counts what the loop has in hand.
   *
   * @returns A frozen snapshot.
   */
  stats(): LoopStats {
    return Object.freeze({
      host: this.host.name,
      turns: this.turns,
      ready: this.ready.length,
      timers: this.timers.size,
      descriptors: this.descriptors.size,
      signals: this.signals.size,
      tasks: this.tasks.size,
      outsideWaits: this.outside,
    });
  }
}
