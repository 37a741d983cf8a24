/**
 * What is ranked: tasks that are posted with a priority, callbacks that have one
 * of their own, and the ready queue of a loop that leaves the order to a
 * {@linkcode Scheduler}, with the priorities that other things have in it.
 *
 * @module
 */
import { InvalidStateError, MisuseError } from "../errors.ts";
import { runOwned } from "../host/async_context.ts";
import { checkNumber, inspect } from "./checks.ts";
import { current, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Handle, type Runnable, TimerHandle } from "./handle.ts";
import {
  DEFAULT_PRIORITY,
  type Pressure,
  type Priority,
  ranked,
  type ReadyItem,
  Relay,
  type Requeue,
  requirePriority,
  type Scheduler,
  takeScheduler,
  Urgency,
} from "./scheduler.ts";
import { cancellationBy, subscribe, type Subscription } from "./signal_hub.ts";
import { YieldOperation } from "./sleep.ts";
import { type Coroutine, Task } from "./task.ts";
import { Wait } from "./promise_wait.ts";

/** How to post a function: see {@linkcode EventLoop.postTask}. */
export interface PostTaskOptions {
  /**
   * How urgent it is. Counts on a loop with a {@linkcode PriorityScheduler}.
   *
   * @default {that of the code that posts it, else "user-visible"}
   */
  readonly priority?: Priority | undefined;
  /** Cancels it, with the signal's reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long to wait before it is ready to run, in milliseconds.
   *
   * @default {0}
   */
  readonly delayMs?: number | undefined;
}

/** What may be posted: a function that computes, an async function or a generator function. */
export type PostedFunction<T> = () => Coroutine<T> | PromiseLike<T> | T;

/** Fields that most posted tasks never need. */
class Extras {
  /** Its priority, once that may change. */
  urgency: Urgency | null = null;
  /** What waits for the moment at which it is ready; null if nothing does. */
  timer: TimerHandle | null = null;
  subscription: Subscription | null = null;
  /** What runs an async or generator function. */
  task: Task<unknown> | null = null;
  /** Enters the async context of whoever posted it. */
  enter: (<R>(fn: () => R) => R) | null = null;
}

/** Its place in the ready queue of a loop with a scheduler. */
interface Place extends ReadyItem {
  urgency: Urgency | null;
}

/** Stands for the function while it runs. */
const RUNNING = Symbol("running");

/** Stands for the function once it has been withdrawn by itself. */
class Withdrawal {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
}

/**
 * A function that a loop will run, and the future of what it returns.
 *
 * {@linkcode EventLoop.postTask} makes one. Until the function begins it can be
 * withdrawn, moved in time, and made more or less urgent; an async or generator
 * function can be cancelled and made more urgent after that too. Whoever waits
 * learns of each end there is.
 *
 * @typeParam T What the function produces.
 */
export class PostedTask<T> extends Future<T> {
  // What is posted by the thousand has to be small: until it has ended, what
  // became of the function is in the field for its result.
  private level: number;
  private item: Place | null;
  private extras: Extras | null;

  /** @ignore */
  constructor(
    loop: EventLoop,
    fn: PostedFunction<T>,
    priority: number,
    options: PostTaskOptions,
  ) {
    super(loop, "a posted function");
    this["value"] = fn;
    this.level = priority;
    this.item = null;
    this.extras = null;
    if (loop["inheritsContext"]) this.#extra().enter = loop["captureContext"]();
    const { signal, delayMs } = options;
    if (signal !== undefined) this.#follow(signal);
    if (this.done()) return; // the signal had aborted
    if (delayMs !== undefined && delayMs > 0) {
      this.#startTimer(loop.time() + delayMs);
    } else loop["schedule"](this);
  }

  /** What to run; undefined once it has begun, or never will. */
  private get fn(): PostedFunction<T> | undefined {
    const value = this["value"];
    return !this.done() && typeof value === "function"
      ? value as PostedFunction<T>
      : undefined;
  }

  #extra(): Extras {
    return this.extras ??= new Extras();
  }

  #follow(signal: AbortSignal): void {
    const subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
    if (this.done()) return;
    this.#extra().subscription = subscription;
    this.loop["leftovers"].subscriptions.add(subscription);
  }

  #startTimer(whenMs: number): void {
    const timer = this.loop.callAt(whenMs, () => {
      this.#extra().timer = null;
      this.loop["schedule"](this);
    });
    this.#extra().timer = timer;
    this.loop["ranking"]?.noteTimer(timer, this as Future<unknown>);
  }

  /** Its priority as one that may change, made on first use. */
  private urgent(): Urgency {
    const extras = this.#extra();
    if (extras.urgency === null) {
      extras.urgency = new Urgency(this.level, this.loop["ranking"]);
      if (this.item !== null) {
        this.item.urgency = extras.urgency;
        extras.urgency.entered(this.item);
      }
    }
    return extras.urgency;
  }

  /** How urgent it is; not what it may be raised to by those who wait for it. */
  get priority(): number {
    return this.level;
  }

  /**
   * Makes it more or less urgent, also while it is queued. Takes effect at once:
   * it goes behind what is ready with that priority. Does nothing after its end.
   *
   * @param priority How urgent it is.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const level = requirePriority(
      priority,
      "set the priority of a posted task",
    );
    if (this.done()) return;
    const urgency = this.urgent();
    this.level = level;
    urgency.setBase(level);
    this.extras!.task?.setPriority(level);
  }

  /**
   * Puts it off, or brings it forward, to a moment on the clock of
   * {@linkcode EventLoop.time}. What was queued leaves its place, and gets
   * another one, behind what is ready with its priority, when the moment has come.
   *
   * @param whenMs The moment. One that has passed means as soon as possible.
   * @throws {TypeError} If `whenMs` is not a number.
   * @throws {RangeError} If `whenMs` is `NaN`.
   * @throws {InvalidStateError} If the function has begun, or was withdrawn.
   * @throws {LoopClosedError} If the loop is closed.
   */
  reschedule(whenMs: number): void {
    const what = "reschedule a posted task";
    checkNumber(whenMs, what, "whenMs");
    if (this.fn === undefined) {
      throw new InvalidStateError(
        `Cannot ${what}: it ${
          this.cancelled() ? "was cancelled" : "has begun"
        }`,
      );
    }
    if (this.loop.isClosed()) this.loop["refuseClosed"](what);
    const timer = this.extras?.timer;
    if (timer) timer.reschedule(whenMs);
    else {
      this.#leaveQueue();
      this.#startTimer(whenMs);
    }
  }

  /** On a loop without a scheduler it finds in its turn that there is nothing to run. */
  #leaveQueue(): void {
    this.loop["ranking"]?.withdrawPosted(this as PostedTask<unknown>);
  }

  /**
   * Withdraws it: the function does not begin any more, and whoever waits gets a
   * {@linkcode CancelledError}. An async or generator function that has begun is
   * cancelled like a {@linkcode Task}, and this ends when it does. A plain
   * function that does this to itself runs on; what it returns is dropped, what
   * it throws is not.
   *
   * @param reason What to say about the cause.
   * @returns Whether it had not ended.
   */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    const task = this.extras?.task;
    if (task) return task.cancel(reason);
    if (this.fn === undefined) {
      this["value"] = new Withdrawal(reason);
      return true;
    }
    this.#leaveQueue();
    this.#end();
    return super.cancel(reason);
  }

  /**
   * Not for posted tasks: the result is what the function returns.
   *
   * @throws {MisuseError} Always.
   */
  override setResult(_value: T): never {
    throw new MisuseError(
      "Cannot set the result of postTask(): its function decides it",
    );
  }

  /**
   * Not for posted tasks: one fails with what its function throws.
   *
   * @throws {MisuseError} Always.
   */
  override setException(_error: unknown): never {
    throw new MisuseError(
      "Cannot set the exception of postTask(): its function decides it",
    );
  }

  /** Its turn has come: to begin, or to end like the task that it became. @ignore */
  run(): void {
    runPosted(this as PostedTask<unknown>);
  }

  /** Gives the function if it is to begin now. */
  private begin(): PostedFunction<T> | undefined {
    const { fn, extras } = this;
    // It was withdrawn, or put off, when it was queued already.
    if (fn === undefined || extras !== null && extras.timer !== null) {
      return undefined;
    }
    this["value"] = RUNNING;
    return fn;
  }

  /** The function has become a task, whose first step is over. */
  private become(task: Task<T>): void {
    const withdrawn = this.#withdrawal();
    if (withdrawn !== null) task.cancel(withdrawn.reason);
    if (task.done()) {
      this.endLike(task);
      return;
    }
    // Said in its first step.
    if (task.priority !== this.level) task.setPriority(this.level);
    this.#extra().task = task as Task<unknown>;
    // Whoever waits for this waits for the task.
    task["addWaiter"](this);
  }

  /** The task of async functions that were called by the function. @ignore */
  get runner(): Task<unknown> | null {
    return this.extras?.task ?? null;
  }

  #withdrawal(): Withdrawal | null {
    const value = this["value"];
    return value instanceof Withdrawal ? value : null;
  }

  /** The function has returned. */
  private endWithValue(value: T): void {
    const withdrawn = this.#withdrawal();
    this.#end();
    if (withdrawn !== null) super.cancel(withdrawn.reason);
    else super.setResult(value);
  }

  /** The function has thrown. */
  private endWithError(error: unknown): void {
    this.#end();
    this["fail"](error);
  }

  /** The task that it became has ended. */
  private endLike(task: Task<T>): void {
    this.#end();
    const cancelled = task.cancelled();
    let result: T;
    try {
      result = task.result();
    } catch (error) {
      if (cancelled) super.cancel(error);
      else this["fail"](error);
      return;
    }
    super.setResult(result);
  }

  #end(): void {
    const { extras } = this;
    if (extras === null) return;
    this.extras = null;
    extras.timer?.cancel();
    if (extras.subscription !== null) {
      extras.subscription.unsubscribe();
      this.loop["leftovers"].subscriptions.delete(extras.subscription);
    }
    extras.urgency?.end();
  }

  /** What to call this in messages. */
  protected override describe(): string {
    const name = this.fn?.name;
    return name ? `posted function "${name}"` : "a posted function";
  }

  /** What those share who wait for this. */
  protected override pressure(): object {
    return this.urgent().pressure;
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"PostedTask"`.
   */
  override get [Symbol.toStringTag](): string {
    return "PostedTask";
  }
}

/** The `run` of all of them. */
export const POSTED_RUN = PostedTask.prototype.run;

/**
 * Runs what was posted, or its first step.
 *
 * A function that calls no method meanwhile: an error keeps the receivers of the
 * frames on the stack where it was made, and what is kept by its own error is
 * never collected, nor its failure reported.
 */
export function runPosted(posted: PostedTask<unknown>): void {
  const { runner, loop } = posted;
  if (runner !== null) {
    if (!posted.done()) posted["endLike"](runner);
    return;
  }
  const fn = posted["begin"]();
  if (fn === undefined) return;
  const enter = posted["extras"]?.enter;
  try {
    let body = fn;
    if (Object.getPrototypeOf(fn) === Function.prototype) {
      // It may call an async function, whose continuations have to find the task.
      const product = enter
        ? enter(() => runOwned(posted, fn))
        : runOwned(posted, fn);
      if (!isWaited(product)) {
        posted["endWithValue"](product);
        return;
      }
      body = () => product as PromiseLike<unknown>;
    }
    const options = { priority: posted.priority, eager: true };
    posted["become"](
      enter
        ? enter(() => loop.createTask(body, options))
        : loop.createTask(body, options),
    );
  } catch (error) { // of a plain function, or of a task factory
    if (posted.done()) throw error;
    posted["endWithError"](error);
  }
}

/** Whether a function that looked like any other has given something to wait for. */
function isWaited(product: unknown): boolean {
  return typeof product === "object" && product !== null &&
    (typeof (product as { then?: unknown }).then === "function" ||
      typeof (product as { throw?: unknown }).throw === "function");
}

// -- The ready queue of a loop with a scheduler --

/** What a loop needs of the queue of what is ready. */
export interface ReadyQueue {
  readonly length: number;
  push(runnable: Runnable): void;
  shift(): Runnable | undefined;
  clear(): void;
}

/**
 * How many items a turn runs at most, so that something urgent that has just
 * come, a timer say, is not behind all that was there before.
 */
const HANDLES_PER_TURN_MAX = 64;

// What stands for the sequence of an item that is not to be run.
/** It was queued anew or withdrawn. The strategy may have it still, and give it once. */
const GONE = -1;
/** The strategy has given it, and must not do so again. */
const GIVEN = -2;

/** The place of something in the queue. */
class Entry implements ReadyItem {
  readonly priority: number;
  sequence: number;
  readonly queue: RankedQueue;
  readonly runnable: Runnable;
  /** Whose change of priority moves it. */
  urgency: Urgency | null;

  constructor(
    queue: RankedQueue,
    priority: number,
    sequence: number,
    runnable: Runnable,
    urgency: Urgency | null,
  ) {
    this.queue = queue;
    this.priority = priority;
    this.sequence = sequence;
    this.runnable = runnable;
    this.urgency = urgency;
  }

  get alive(): boolean {
    return this.sequence >= 0;
  }
}

/**
 * A callback with a priority of its own, which may be withdrawn and moved.
 *
 * {@linkcode EventLoop.callWithPriority} returns one.
 */
export class PriorityHandle extends Handle implements ReadyItem {
  // It is its own place in the queue, as those are made by the thousand; once it
  // is moved, it has one like everything else.
  private place: RankedQueue | Entry | null;
  private level: number;
  /** @ignore */
  sequence: number;

  /** @ignore */
  constructor(
    queue: RankedQueue | null,
    priority: number,
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ) {
    super(callback, args);
    this.place = queue;
    this.level = priority;
    this.sequence = GONE;
  }

  /** How urgent it is, as a number. */
  get priority(): number {
    return this.level;
  }

  /** @ignore */
  get alive(): boolean {
    return this.sequence >= 0;
  }

  /**
   * Makes it more or less urgent. If it waits for its turn it goes behind what is
   * ready with that priority.
   *
   * @param priority How urgent it is.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const level = requirePriority(priority, "set the priority of a callback");
    const { place } = this;
    if (place instanceof Entry) {
      if (place.alive) this.place = place.queue.requeue(place, level);
    } else if (place !== null && this.alive) {
      this.place = place.replace(this, level);
    }
    this.level = level;
  }

  /** Whose item it is. */
  private isOf(queue: RankedQueue): boolean {
    const { place } = this;
    return (place instanceof Entry ? place.queue : place) === queue;
  }
}

/** The ready queue of a loop that leaves the order to a {@linkcode Scheduler}. */
export class RankedQueue implements ReadyQueue, Requeue<Entry> {
  /** How many items one turn runs at most. */
  readonly handlesPerTurnMax: number;
  /** How many are to be run. */
  length = 0;
  readonly #scheduler: Scheduler;
  readonly #loop: EventLoop;
  /** The priorities of timers: a number, or whose it is. */
  readonly #timers = new WeakMap<Handle, number | Future<unknown>>();
  /** Where timers are that are due. */
  readonly #dueTimers = new Map<Runnable, Entry>();
  #sequence = 0;
  /** Items with a lower sequence were cleared away. */
  #sequenceLeast = 0;
  /** The priority of what is running. */
  #running = DEFAULT_PRIORITY;
  /** The priority of what runs outside of a turn, on behalf of a task. */
  #outside: number | null = null;
  /** What the strategy has done wrong. From then on nothing runs any more. */
  #failure: MisuseError | null = null;

  constructor(loop: EventLoop, scheduler: Scheduler) {
    this.#loop = loop;
    this.#scheduler = scheduler;
    this.handlesPerTurnMax = scheduler.handlesPerTurnMax ??
      HANDLES_PER_TURN_MAX;
  }

  /** The loop is there: the strategy is its own now. */
  open(): void {
    takeScheduler(this.#scheduler);
    ranked.loops++;
  }

  push(runnable: Runnable): void {
    const subject = this.#subjectOf(runnable);
    const urgency = this.#urgencyFor(subject);
    if (urgency === null) {
      this.#add(runnable, this.#priorityOf(subject), null);
      return;
    }
    urgency.leaveWait(subject);
    if (urgency instanceof Relay) urgency.floor = this.priorityOfNow();
    urgency.entered(this.#add(runnable, urgency.rank, urgency));
  }

  /** Queues a callback with a priority of its own. */
  pushHandle(handle: PriorityHandle): void {
    handle.sequence = this.#sequence++;
    this.length++;
    this.#give(handle);
  }

  /** Gives such a callback a place of another priority. */
  replace(handle: PriorityHandle, priority: number): RankedQueue | Entry {
    if (handle.sequence < this.#sequenceLeast) return this;
    this.#drop(handle);
    return this.#add(handle, priority, null);
  }

  #add(runnable: Runnable, priority: number, urgency: Urgency | null): Entry {
    const entry = new Entry(
      this,
      priority,
      this.#sequence++,
      runnable,
      urgency,
    );
    const subject = this.#subjectOf(runnable);
    if (subject instanceof PostedTask) subject["item"] = entry;
    else if (subject instanceof TimerHandle) {
      this.#dueTimers.set(subject, entry);
    }
    this.length++;
    this.#give(entry);
    return entry;
  }

  /** Leaves an item to the strategy. */
  #give(item: ReadyItem): void {
    if (this.#failure !== null) return;
    try {
      this.#scheduler.push(item);
    } catch (error) {
      this.#fail("scheduler.push() threw", error);
    }
  }

  /** Changes the priority of an item: another one takes its place. */
  requeue(item: Entry, priority: number): Entry {
    if (item.sequence < this.#sequenceLeast) return item;
    this.#drop(item);
    return this.#add(item.runnable, priority, item.urgency);
  }

  /** Something posted is not to be run after all, or not yet. */
  withdrawPosted(posted: PostedTask<unknown>): void {
    if (posted["item"] !== null) this.#withdraw(posted["item"] as Entry);
  }

  #withdraw(item: Entry): void {
    if (item.sequence < this.#sequenceLeast) return;
    this.#drop(item);
    item.urgency?.left(item);
    this.#forget(item.runnable);
  }

  /** The same for a timer that is due, if it is. */
  withdrawTimer(timer: Runnable): void {
    const item = this.#dueTimers.get(timer);
    if (item !== undefined) this.#withdraw(item);
  }

  #drop(item: Entry | PriorityHandle): void {
    item.sequence = GONE;
    this.length--;
    try {
      this.#scheduler.requeued?.(item);
    } catch (error) {
      this.#fail("scheduler.requeued() threw", error);
    }
  }

  #forget(runnable: Runnable): void {
    const subject = this.#subjectOf(runnable);
    if (subject instanceof PostedTask) subject["item"] = null;
    else if (this.#dueTimers.size > 0) this.#dueTimers.delete(subject);
  }

  /**
   * Takes out what is to run next.
   *
   * @throws {MisuseError} If the strategy has done something wrong.
   */
  shift(): Runnable | undefined {
    while (this.length > 0) {
      const item = this.#next();
      const { alive } = item;
      item.sequence = GIVEN;
      if (!alive) continue;
      this.length--;
      this.#running = item.priority;
      if (item instanceof PriorityHandle) return item;
      const { runnable } = item;
      item.urgency?.left(item);
      this.#forget(runnable);
      return runnable;
    }
    return undefined;
  }

  /** What the strategy gives, if that is something that it may. */
  #next(): Entry | PriorityHandle {
    if (this.#failure !== null) throw this.#failure;
    let item: unknown;
    try {
      item = this.#scheduler.shift();
    } catch (error) {
      throw this.#fail("scheduler.shift() threw", error);
    }
    if (item === undefined) {
      throw this.#fail(`the scheduler has lost ${this.length} of its items`);
    }
    const isOurs = item instanceof PriorityHandle
      ? item["isOf"](this)
      : item instanceof Entry && item.queue === this;
    if (!isOurs) {
      throw this.#fail(
        `the scheduler gave something that it was not given: ${inspect(item)}`,
      );
    }
    const place = item as Entry | PriorityHandle;
    if (place.sequence === GIVEN) {
      throw this.#fail("the scheduler gave an item twice");
    }
    return place;
  }

  /** Keeps the first error, which ends every run from now on. */
  #fail(what: string, cause?: unknown): MisuseError {
    return this.#failure ??= new MisuseError(
      `Cannot go on: ${what}`,
      cause === undefined ? {} : { cause },
    );
  }

  clear(): void {
    this.length = 0;
    this.#sequenceLeast = this.#sequence;
    this.#dueTimers.clear();
    try {
      this.#scheduler.clear();
    } catch (error) {
      this.#loop.callExceptionHandler({
        message: "scheduler.clear() threw",
        exception: error,
      });
    }
  }

  /** The loop has closed. */
  close(): void {
    ranked.loops--;
  }

  /** A timer is being made: its callback runs with the priority of whoever makes it, or with that of `whose`. */
  noteTimer(timer: TimerHandle, whose?: Future<unknown>): void {
    const priority = whose ?? this.priorityOfNow();
    if (priority !== DEFAULT_PRIORITY) this.#timers.set(timer, priority);
  }

  /** Somebody waits for `future`: those it depends on are raised. */
  noteWait(waiter: Runnable, future: Future<unknown>): void {
    // A task of a group is its own first done callback, and waits for nothing.
    if (waiter as unknown === future) return;
    const urgency = urgencyOf(waiter);
    if (urgency === null) return;
    const pressure = future["pressure"]() as Pressure | null;
    if (pressure !== null) urgency.waitAt(waiter, pressure);
  }

  /** Somebody waits no longer, and is queued in a way of the loop's own. */
  noteWake(waiter: Runnable): void {
    urgencyOf(waiter)?.leaveWait(waiter);
  }

  /** Runs something that a task does outside of its turns, such as ending. */
  runAs(priority: number, action: () => void): void {
    this.#outside = priority;
    try {
      action();
    } finally {
      this.#outside = null;
    }
  }

  /** What runs: on a loop that wants to see all scheduling, it comes in a callback. */
  #subjectOf(runnable: Runnable): Runnable {
    return runnable instanceof Handle &&
        runnable["callback"] as unknown === this.#loop["resume"]
      ? runnable["args"][0] as Runnable
      : runnable;
  }

  /** Whose changes of priority move something that becomes ready; null for callbacks. */
  #urgencyFor(runnable: Runnable): Urgency | null {
    if (runnable.relay !== undefined) return runnable.relay();
    if (runnable instanceof Handle) {
      const whose = this.#timers.get(runnable);
      if (whose instanceof PostedTask) return whose["urgent"]();
      return whose instanceof Future ? urgencyOfFuture(whose) : null;
    }
    if (runnable instanceof Future) return urgencyOfFuture(runnable);
    return urgencyOf(runnable);
  }

  /** The priority of what has none of its own. */
  #priorityOf(runnable: Runnable): number {
    if (
      runnable instanceof PostedTask || runnable instanceof PriorityHandle
    ) return runnable.priority;
    if (runnable instanceof Handle) {
      const noted = this.#timers.get(runnable);
      if (typeof noted === "number") return noted;
    }
    return this.priorityOfNow();
  }

  /** The priority of the code that is running. */
  priorityOfNow(): number {
    if (this.#outside !== null) return this.#outside;
    const inside = current.loop === this.#loop;
    if (current.loop !== null && !inside) return DEFAULT_PRIORITY;
    const task = findTask();
    if (task !== null && task.loop === this.#loop) {
      return task["urgency"]?.effective ?? DEFAULT_PRIORITY;
    }
    return inside ? this.#running : DEFAULT_PRIORITY;
  }
}

/** What has a priority that may change; null for callbacks. */
export function urgencyOf(runnable: Runnable): Urgency | null {
  if (runnable instanceof Task) return runnable["urgency"];
  if (runnable instanceof PostedTask) return runnable["urgent"]();
  const task = runnable instanceof Wait
    ? runnable["task"]
    : runnable instanceof YieldOperation
    ? runnable["task"]
    : null;
  return task === null ? null : task["urgency"];
}

/** The same for what becomes ready: a task, or a sleep that is over, which is for the one who slept. */
function urgencyOfFuture(future: Future<unknown>): Urgency | null {
  if (future instanceof Task) {
    return future.done()
      ? future["urgencyOfEnd"]() as Urgency | null
      : future["urgency"];
  }
  if (future instanceof PostedTask) return future["extras"]?.urgency ?? null;
  const [sleeper] = future["listWaiters"]();
  return sleeper === undefined ? null : urgencyOf(sleeper);
}
