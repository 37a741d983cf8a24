/**
 * Tasks: coroutines and async functions that a loop runs. The class, its options,
 * and the first step.
 *
 * @module
 */
import { TaskStrand } from "./task_strand.ts";
import { checkBody, takeBody, type TaskBody } from "./task_body.ts";
import {
  endWithPromise,
  PROMISED,
  type SteppedTask,
  stepTask,
} from "./task_step.ts";
import {
  describeWait,
  destroy,
  explain,
  inWords,
  mayBeAsync,
  pressureOf,
  urgencyOfEnd,
} from "./waiters.ts";
import { CancelledError, MisuseError } from "../errors.ts";
import { Block, type BlockOptions, findPlace } from "./block.ts";
import {
  cancellationIn,
  isCancellation,
  levelAt,
  requestCancel,
} from "./cancellation.ts";
import { core } from "./core.ts";
import {
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
  isGeneratorFunction,
} from "./checks.ts";
import { current, findLocals, findTask, type LocalValue } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Suspension } from "./future.ts";
import { checkTaskOptions, NO_OPTIONS } from "./loop_options.ts";
import type { Runnable } from "./runnable.ts";
import type { Stepper } from "./stepping.ts";
import { dropWaits, findStrand, InnerStrand } from "./strand.ts";
import {
  checkPriority,
  DEFAULT_PRIORITY,
  type Priority,
  requirePriority,
} from "./priority.ts";
import { Urgency } from "./priority_inheritance.ts";
import {
  type PlaceFacts,
  type TaskWait,
  type WaitFacts,
  waitsInWords,
  waitsOf,
} from "./waits.ts";

/** Options of a task. */
export interface TaskOptions {
  /** Name of the task in messages; `"Task-"` and its id by default. */
  readonly name?: string | undefined;
  /** Cancels the task, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Runs the first step inside `createTask` if the loop is running, instead of
   * in the next turn.
   *
   * @default {false}
   */
  readonly eager?: boolean | undefined;
  /**
   * How urgent the task is. Counts on a loop with a
   * {@linkcode PriorityScheduler}, and in the queue of a task group with a
   * limit.
   *
   * @default {that of the task that creates it, else "user-visible"}
   */
  readonly priority?: Priority | undefined;
}

const NO_BLOCK_OPTIONS: BlockOptions = {};

let idLast = 0;

/**
 * A coroutine or async function that a loop runs, and the future of its result.
 *
 * Like asyncio's `Task`. {@linkcode EventLoop.createTask} makes one and queues
 * its first step. Wait for it like for any future. The loop keeps it until it
 * has ended; a failure that is never looked at is reported to the loop's
 * exception handler.
 *
 * @typeParam T Type of the result.
 */
export class Task<T> extends TaskStrand<T> implements SteppedTask {
  /** A number that no other task of this process has. */
  readonly id: number = ++idLast;
  /** @ignore */
  coroutine: Iterator<Suspension, unknown, unknown> | null = null;
  private parentTask: Task<unknown> | null;
  /** @ignore */
  localValues: LocalValue | null;
  /**
   * Null on a loop without priorities, for a task without one.
   *
   * @ignore
   */
  urgency: Urgency | null = null;
  /**
   * Neighbours in the loop's list of unfinished tasks.
   *
   * @ignore
   */
  nextTask: Task<unknown> | null = null;
  /** @ignore */
  previousTask: Task<unknown> | null = null;

  /**
   * Tasks are made by {@linkcode EventLoop.createTask}.
   *
   * @ignore
   */
  constructor(
    loop: EventLoop,
    body: TaskBody<T>,
    options: TaskOptions = NO_OPTIONS,
    queued: boolean = true,
  ) {
    if (typeof body !== "function") checkBody(body, "create a task");
    if (options !== NO_OPTIONS) checkTaskOptions(options);
    if (typeof body !== "function") takeBody(body, loop);
    super(loop, options.name ?? "");
    const kernel = loop[core];
    this.body = body;
    const parent = findTask();
    this.parentTask = parent;
    if (parent === null) this.localValues = findLocals();
    else {
      this.localValues = parent.localValues;
      parent.becomeKnown();
    }
    if (
      kernel.ranking !== null || options.priority !== undefined ||
      parent !== null && parent.urgency !== null
    ) this.rank(options.priority);
    kernel.tasks.add(this as Task<unknown>);
    if (options.signal !== undefined) {
      this.extra().follow(this as Task<unknown>, options.signal);
    }
    if (kernel.inheritsContext) {
      this.extra().enter = kernel.captureContext();
    }
    if (kernel.instruments !== null) {
      kernel.instruments.made(this as Task<unknown>);
    }
    if (!queued) return; // whoever makes it queues it later
    if (options.eager === true && loop.isRunning()) this.startEagerly();
    else kernel.schedule(this);
  }

  /** Sets the first priority: the requested one, else that of the parent. */
  private rank(priority: Priority | undefined): void {
    const inherited = this.parentTask?.urgency?.base ??
      DEFAULT_PRIORITY;
    const { ranking } = this.kernel;
    this.urgency = new Urgency(
      checkPriority(priority, "create a task", inherited),
      ranking,
    );
    if (ranking !== null) this.urgency.number = ranking.nextTaskNumber();
  }

  /** Runs the first step now, inside the running code. */
  private startEagerly(): void {
    const { loop, task, stepper } = current;
    current.loop = this.loop;
    const { instruments } = this.kernel;
    try {
      if (instruments === null) this.run();
      else instruments.run(this as Task<unknown>, runTask);
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  /** Name of the task; `"Task-"` and its id if none was given. */
  get name(): string {
    return this.label === "" ? `Task-${this.id}` : this.label;
  }

  set name(name: string) {
    checkString(name, "rename a task", "name");
    this.label = name;
  }

  /**
   * The name that was given; `""` if none was.
   *
   * @ignore
   */
  get givenName(): string {
    return this.label;
  }

  /**
   * Priority of the task as a number: the one that was set, else that of its
   * creator. See {@linkcode Priority}.
   */
  get priority(): number {
    return this.urgency === null ? DEFAULT_PRIORITY : this.urgency.base;
  }

  /**
   * Priority of the task at this moment, on a loop with a scheduler: its
   * {@linkcode priority}, or that of the most urgent waiter for the task or for
   * a lock that it holds, if that is higher.
   */
  get effectivePriority(): number {
    return this.urgency === null ? DEFAULT_PRIORITY : this.urgency.effective;
  }

  /**
   * Makes the task more or less urgent, also while it is queued. Takes effect
   * at once: the task goes behind the ready ones of that priority. Tasks that
   * it creates from now on inherit it. On a loop without a scheduler it changes
   * no order.
   *
   * @param priority The new priority.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const base = requirePriority(priority, "set the priority of a task");
    if (this.urgency === null) this.rank(base);
    else this.urgency.setBase(base);
  }

  /** The task that created this one; `null` if none did, and once this one has ended. */
  get parent(): Task<unknown> | null {
    return this.parentTask;
  }

  /**
   * A signal for `fetch` and similar functions: it aborts, with a
   * {@linkcode CancelledError}, when the task is cancelled.
   *
   * The innermost open block (timeout, task group, scope) has a signal of its
   * own, so read `signal` anew for each call. After an {@linkcode uncancel}
   * back to zero the signal is a fresh one. Made on first use.
   */
  get signal(): AbortSignal {
    const place = findTask() === this as Task<unknown>
      ? findStrand()!.place
      : this.block;
    return (place ?? this.rootBlock()).signal;
  }

  /**
   * Opens a block inside the task: see {@linkcode Block}. Timeouts and groups
   * are built on it; programs rarely need it.
   *
   * @param options How the block is cancelled.
   * @returns The block, which the caller has to close.
   * @throws {TypeError} If an option is of the wrong type.
   */
  openBlock(options: BlockOptions = NO_BLOCK_OPTIONS): Block {
    if (options !== NO_BLOCK_OPTIONS) checkBlockOptions(options);
    const task = this as Task<unknown>;
    const opener: Stepper = current.loop !== null && current.task === task
      ? current.stepper!
      : this;
    // An async function, which has no stepper, opens the block in the strand in
    // which it runs.
    const openedIn = opener === this as Stepper && this.coroutine === null
      ? findTask() === task ? findStrand()! : this.innermostStrand
      : null;
    const strand = openedIn ?? opener.innermostStrand;
    const around = strand instanceof InnerStrand ? strand : this.rootBlock();
    return new Block(task, around, opener, options, openedIn);
  }

  /**
   * User code may hold a reference to this task: it was handed out, or has made a task.
   *
   * @ignore
   */
  becomeKnown(): void {}

  /** Whether the work done so far has left no trace in the task. */
  protected isUntouched(): boolean {
    if (
      this.requests > 0 || this.yields > 0 || this.due !== null ||
      this.firstWait !== null || this.hasOtherWaiters()
    ) return false;
    const { extras } = this;
    return extras === null ||
      extras.root === null && extras.warning === null &&
        extras.subscription === null && extras.dueYields === null;
  }

  /** Whether other code than the task itself waits for its end. */
  private hasOtherWaiters(): boolean {
    const { waiters } = this as unknown as { waiters: unknown };
    return waiters !== null && waiters !== this;
  }

  /**
   * The task of async functions that were called by the body.
   *
   * @ignore
   */
  get runner(): Task<unknown> {
    return this as Task<unknown>;
  }

  /**
   * Inherits from its creator; null stands for no creator.
   *
   * @ignore
   */
  inheritFrom(
    parent: Task<unknown> | null,
    values: LocalValue | null,
    enter: (<R>(fn: () => R) => R) | null,
  ): void {
    this.parentTask = parent;
    this.localValues = values;
    if (enter !== null) this.extra().enter = enter;
  }

  /**
   * Asks the task to end: a {@linkcode CancelledError} is thrown at the point
   * where it waits, in the next turn.
   *
   * Like asyncio's `cancel`: the error is thrown once per request, and each
   * request counts. The future or operation for which the task waits is
   * cancelled as well, so that cancelling a task also cancels the task that it
   * is awaiting. A task that has not started never does. An async function that
   * waits for several operations gets the error from each. If it waits for a
   * foreign promise, its next operation throws; its {@linkcode signal} aborts
   * at once, and the exception handler is called if it has not reacted after
   * `cancelWarnMs`. The task may clean up, and wait while it does.
   *
   * An async helper may still be in an operation when its task ends, such as
   * the loser of a `Promise.race`. The operation is cancelled and releases its
   * resources, but the helper never runs on, nor does its `finally`. Await
   * every function that you start, or start it in a task group.
   *
   * The loop cannot tell such a loser from an operation that the function still
   * awaits. A cancellation that comes while the function waits for a foreign
   * promise and a loser is left is thrown at the loser, and the function does not
   * see it. Use {@linkcode timeout}, {@linkcode wait} with `"first-completed"`, or
   * a `signal` that ends the loser, in place of `Promise.race`.
   *
   * @example Cleaning up
   * ```ts
   * import { getRunningLoop, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const log: string[] = [];
   * await run(function* () {
   *   const task = getRunningLoop().createTask(async () => {
   *     try {
   *       await sleep(1_000);
   *     } finally {
   *       log.push("cleaned up");
   *     }
   *   });
   *   yield* sleep(10);
   *   task.cancel("not needed");
   *   yield* sleep(0);
   *   yield* sleep(0);
   *   log.push(task.cancelled() ? "cancelled" : "still there");
   * }, { host: "virtual" });
   * assertEquals(log, ["cleaned up", "cancelled"]);
   * ```
   *
   * @param reason Cause, of any type. A `CancelledError` is thrown as it is.
   * @returns Whether the task had not ended.
   */
  override cancel(reason?: unknown): boolean {
    return requestCancel(this as Task<unknown>, null, reason);
  }

  /**
   * Takes back one request for cancellation, for code that has handled it. At
   * zero, a cancellation that was not delivered yet is dropped, and
   * {@linkcode signal} is a fresh one.
   *
   * @returns How many requests remain.
   */
  uncancel(): number {
    if (this.requests > 0) this.requests--;
    if (this.requests > 0) return this.requests;
    if (this.extras !== null) this.extras.takeBackRequests();
    return 0;
  }

  /**
   * Returns how many requests for cancellation are outstanding.
   *
   * @returns Calls of {@linkcode cancel} less those of {@linkcode uncancel}.
   */
  cancelling(): number {
    return this.requests;
  }

  /**
   * Always throws: the body of a task returns its result.
   *
   * @throws {MisuseError} Always.
   */
  override setResult(_value: T): never {
    throw new MisuseError(
      `Cannot set the result of ${this[inWords]()}: its body decides it`,
    );
  }

  /**
   * Always throws: a task fails by an error in its body.
   *
   * @throws {MisuseError} Always.
   */
  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this[inWords]()}: its body decides it`,
    );
  }

  /**
   * Where the task was made, if its loop was in debug mode then.
   *
   * @returns A stack trace, or `undefined`.
   */
  creationStack(): string | undefined {
    return this.kernel.debug.creationStackOf(this);
  }

  /**
   * Runs one step. The loop calls this.
   *
   * @ignore
   */
  run(): void {
    stepTask(this as Task<unknown>);
  }

  /**
   * Called when the task's turn has come while it has no generator: before its
   * first step and after its end. Returns true if the task is not to start now.
   *
   * @ignore
   */
  intercept(): boolean {
    return false;
  }

  /**
   * Waits for the promise of an async function, which has begun.
   *
   * @ignore
   */
  startPromise(promise: PromiseLike<unknown>): void {
    this.body = PROMISED;
    this.since = this.kernel.turns | 0;
    this.kernel.outside.asyncTaskStarted();
    if (this.isOutside()) this.kernel.outside.wentOutside();
    endWithPromise(this as Task<unknown>, promise);
  }

  /**
   * The promise of the async function is settled, which ends the task.
   *
   * @ignore
   */
  promiseSettled(failed: boolean, outcome: unknown): void {
    if (this.done()) {
      if (failed) this.failedTooLate(outcome);
      return;
    }
    if (this.isOutside()) this.kernel.outside.cameInside();
    this.kernel.outside.asyncTaskEnded();
    // The waiters are to go on with the priority of the task.
    const ranking = this.kernel.ranking;
    if (ranking === null) this.endWith(failed, outcome);
    else {
      ranking.runAs(
        this.effectivePriority,
        () => this.endWith(failed, outcome),
      );
    }
  }

  /** The loop was closed under an async function, which has failed since. */
  private failedTooLate(error: unknown): void {
    if (isCancellation(error)) return;
    this.loop.callExceptionHandler({
      message: `${this[inWords]()} failed after its event loop had given it up`,
      exception: error,
      task: this as Task<unknown>,
      name: this.name,
    });
  }

  /** The body has thrown or returned. */
  private endWith(failed: boolean, outcome: unknown): void {
    if (failed) this.endWithError(outcome);
    else this.endWithValue(outcome);
  }

  /**
   * The body has returned.
   *
   * @ignore
   */
  endWithValue(value: unknown): void {
    const request = this.dueRequest();
    this.end();
    // Cancelled too late to be thrown, but not too late to count.
    if (request !== null) super.cancel(request.reason);
    else super.setResult(value as T);
    if (this.kernel.instruments !== null) this.tellEnd();
  }

  /** Has the instruments told that the task has ended. */
  private tellEnd(): void {
    this.kernel.instruments!.ended(this as Task<unknown>);
  }

  /**
   * The body has thrown.
   *
   * @ignore
   */
  endWithError(error: unknown): void {
    this.end();
    const cancelled = cancellationIn(error);
    if (cancelled !== null) this.finishCancelled(cancelled);
    else this.fail(error);
    if (this.kernel.instruments !== null) this.tellEnd();
  }

  /** Drops the body and everything else that an ended task does not need. */
  private end(): void {
    this.coroutine = null;
    if (this.body !== PROMISED) this.body = null;
    this.waitingOn = null;
    this.parentTask = null;
    this.localValues = null;
    this.kernel.tasks.remove(this as Task<unknown>);
    if (this.urgency !== null) this.urgency.end();
    this.due = null;
    const { extras } = this;
    if (extras !== null) {
      this.extras = null;
      extras.end();
    }
    for (const wait of dropWaits(this)) wait.abandon();
  }

  /** Ends an unfinished task of a loop that closes, and wakes the waiters outside the loop. */
  [destroy](reason: CancelledError): void {
    if (this.promised) {
      if (this.isOutside()) this.kernel.outside.cameInside();
      this.kernel.outside.asyncTaskEnded();
    }
    this.end();
    super.cancel(reason);
    if (this.kernel.instruments !== null) this.tellEnd();
  }

  /**
   * Postpones a cancellation to the next wait. For operations whose work was
   * done when it came: if they threw, the caller would think that it was not
   * done.
   *
   * Call it inside the operation that got the error, in its step.
   *
   * @param error The error that was thrown into the operation.
   * @throws {TypeError} If `error` is not a `CancelledError`.
   */
  postponeCancel(error: CancelledError): void {
    if (!(error instanceof CancelledError)) {
      throw new TypeError(
        `Cannot postpone a cancellation as error must be a CancelledError: received ${
          inspect(error)
        }`,
      );
    }
    // In a cancelled scope each wait throws anyway, and none outside of it.
    if (this.done() || levelAt(findPlace())?.reason === error) return;
    const isStepping = current.loop !== null &&
      current.task === this as unknown;
    this.rearm(isStepping ? current.stepper! : this, error);
  }

  /**
   * Returns whether every wait at this place of the task throws, as a scope
   * around it was cancelled.
   *
   * @returns Whether a level cancellation applies here.
   */
  isLevelCancelled(): boolean {
    return levelAt(findPlace()) !== null;
  }

  /** Whether the first step calls a function that may be async. */
  [mayBeAsync](): boolean {
    if (typeof this.body !== "function") return false;
    try {
      return !isGeneratorFunction(this.body);
    } catch {
      return true; // a proxy, of which the first step will tell
    }
  }

  /**
   * Lists what the task waits for at this moment, and who holds that: locks,
   * items, time, other tasks. An async function may wait for several things at
   * once. Empty while the task is ready or runs, and once it has ended.
   *
   * A snapshot, made when it is asked for; nothing is noted before. Takes time in
   * proportion to the number of waits and of the tasks behind them.
   *
   * @example The holder of a lock
   * ```ts
   * import { createTask, Lock, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await run(function* () {
   *   const lock = new Lock();
   *   const useLock = function* () {
   *     using _permit = yield* lock.acquire();
   *     yield* sleep(100);
   *   };
   *   const first = createTask(useLock);
   *   const second = createTask(useLock);
   *   yield* sleep(50);
   *   const [wait] = second.waits();
   *   assertEquals(wait?.kind, "Lock.acquire");
   *   assertEquals(wait?.target, lock);
   *   assertEquals(wait?.heldBy, [first]);
   * }, { host: "virtual" });
   * ```
   *
   * @returns The waits, in the order in which they began.
   */
  waits(): TaskWait[] {
    return waitsOf(this as Task<unknown>);
  }

  /**
   * Facts about the line in which the task stands before its first step; null
   * if it is in none.
   *
   * @ignore
   */
  placeInLine(): PlaceFacts | null {
    return null;
  }

  /** Describes what the task waits for. */
  [describeWait](): string {
    return waitsInWords(this as Task<unknown>);
  }

  /** Facts about a wait for the end of the task. */
  override [explain](): WaitFacts {
    const task = this as Task<unknown>;
    return { kind: "task", target: task, behind: [task], task };
  }

  /** The `Urgency` with which the end of the task is handled, if the task does that itself. */
  [urgencyOfEnd](): object | null {
    return this.urgency;
  }

  /** The `Pressure` of those who wait for the end of the task. */
  override [pressureOf](): object | null {
    return this.urgency === null ? null : this.urgency.pressure;
  }

  /** Name in messages. */
  override [inWords](): string {
    return `task "${this.name}"`;
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"Task"`.
   */
  override get [Symbol.toStringTag](): string {
    return "Task";
  }
}

function runTask(task: Runnable): void {
  task.run();
}

function checkBlockOptions(options: BlockOptions): void {
  const what = "open a block";
  checkOptions(options, what);
  const { cancels = "once", shielded = false } = options;
  checkOneOf(cancels, ["once", "level"], what, "cancels");
  checkOneOf(shielded, [true, false], what, "shielded");
}
