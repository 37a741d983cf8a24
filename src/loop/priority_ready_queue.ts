/**
 * Ready queue of a loop that leaves the order to a {@linkcode Scheduler}, and
 * the priorities that callbacks, timers, tasks and waits have in it.
 *
 * @module
 */
import { listWaiters, pressureOf, urgencyOfEnd } from "./waiters.ts";
import { MisuseError } from "../errors.ts";
import { inspect } from "./checks.ts";
import { core } from "./core.ts";
import { current, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { callbackNameOf, Handle, runnableIn } from "./handle.ts";
import {
  knownUrgencyOf,
  placeOf,
  PostedTask,
  setPlace,
  urgencyOfPosted,
} from "./posted_task.ts";
import { DEFAULT_PRIORITY } from "./priority.ts";
import { isHandleOf, PriorityHandle } from "./priority_handle.ts";
import {
  type Pressure,
  priorityLoops,
  Relay,
  type Requeue,
  type Urgency,
} from "./priority_inheritance.ts";
import { GIVEN, GONE, ReadyPlace } from "./ready_place.ts";
import type { ReadyQueue, Runnable, Timer } from "./runnable.ts";
import { type ReadyItem, type Scheduler, takeScheduler } from "./scheduler.ts";
import { SleepFuture, YieldOperation } from "./sleep.ts";
import { Task } from "./task.ts";
import { TimerHandle } from "./timer_handle.ts";
import { Wait } from "./promise_wait.ts";

/**
 * How many items a turn runs at most, so that something urgent that has just
 * come, a timer say, is not behind all that was there before.
 */
const HANDLES_PER_TURN_MAX = 64;

/** The ready queue of a loop that leaves the order to a {@linkcode Scheduler}. */
export class PriorityReadyQueue implements ReadyQueue, Requeue<ReadyPlace> {
  /** How many are to be run. */
  length = 0;
  readonly #scheduler: Scheduler;
  readonly #loop: EventLoop;
  /** The priorities of timers: a number, or whose it is. */
  #timers: WeakMap<Handle, number | Future<unknown>> | null = null;
  /** Where timers are that are due. */
  readonly #dueTimers = new Map<Runnable, ReadyPlace>();
  #sequence = 0;
  #tasks = 0;
  #callbacks = 0;
  /** Items with a lower sequence were cleared away. */
  #sequenceLeast = 0;
  /** The priority of what is running. */
  #running = DEFAULT_PRIORITY;
  /** The priority of what runs outside of a turn, on behalf of a task. */
  #outside: number | null = null;
  /** Mistake of the strategy. After it nothing runs any more. */
  #failure: MisuseError | null = null;

  constructor(loop: EventLoop, scheduler: Scheduler) {
    this.#loop = loop;
    this.#scheduler = scheduler;
  }

  /** How many items the turn that begins runs at most. */
  get handlesPerTurnMax(): number {
    const { handlesPerTurnMax = HANDLES_PER_TURN_MAX } = this.#scheduler;
    return handlesPerTurnMax >= 1 ? handlesPerTurnMax : 1;
  }

  /** The loop is there: the strategy is its own now. */
  open(): void {
    takeScheduler(this.#scheduler);
    priorityLoops.count++;
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
    handle.number = ++this.#callbacks;
    this.length++;
    this.#give(handle);
  }

  /** Moves such a callback to a place of another priority. */
  replace(
    handle: PriorityHandle,
    priority: number,
  ): PriorityReadyQueue | ReadyPlace {
    if (handle.sequence < this.#sequenceLeast) return this;
    this.#drop(handle);
    return this.#add(handle, priority, null, handle.number);
  }

  #add(
    runnable: Runnable,
    priority: number,
    urgency: Urgency | null,
    numberBefore = 0,
  ): ReadyPlace {
    const subject = this.#subjectOf(runnable);
    const kind = kindOf(subject);
    const entry = new ReadyPlace(
      this,
      priority,
      this.#sequence++,
      kind,
      numberBefore === 0
        ? this.#numberOf(subject, kind, urgency)
        : numberBefore,
      runnable,
      urgency,
    );
    if (subject instanceof PostedTask) setPlace(subject, entry);
    else if (subject instanceof TimerHandle) {
      this.#dueTimers.set(subject, entry);
    }
    this.length++;
    this.#give(entry);
    return entry;
  }

  /** Counts a task of the loop. */
  nextTaskNumber(): number {
    return ++this.#tasks;
  }

  #numberOf(
    subject: Runnable,
    kind: ReadyItem["kind"],
    urgency: Urgency | null,
  ): number {
    if (kind === "task") return urgency!.number;
    return kind === "timer"
      ? (subject as Runnable & Timer).sequence + 1
      : ++this.#callbacks;
  }

  /** Name of the task or callback, as far as the program has given one. */
  nameOf(runnable: Runnable): string {
    const subject = this.#subjectOf(runnable);
    if (subject instanceof Handle) return callbackNameOf(subject);
    const task = taskOf(subject);
    return task === null ? "" : task.givenName;
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
  requeue(item: ReadyPlace, priority: number): ReadyPlace {
    if (item.sequence < this.#sequenceLeast) return item;
    this.#drop(item);
    return this.#add(item.runnable, priority, item.urgency, item.number);
  }

  /** Something posted is not to be run after all, or not yet. */
  withdrawPosted(posted: PostedTask<unknown>): void {
    const place = placeOf(posted);
    if (place !== null) this.#withdraw(place);
  }

  #withdraw(item: ReadyPlace): void {
    if (item.sequence < this.#sequenceLeast) return;
    this.#drop(item);
    item.urgency?.left(item);
    this.#forget(item.runnable);
  }

  /** Withdraws a timer that is due, if it is. */
  withdrawTimer(timer: Runnable): void {
    const item = this.#dueTimers.get(timer);
    if (item !== undefined) this.#withdraw(item);
  }

  #drop(item: ReadyPlace | PriorityHandle): void {
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
    if (subject instanceof PostedTask) setPlace(subject, null);
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

  /** Takes the next item from the strategy. Throws unless it is one that may be next. */
  #next(): ReadyPlace | PriorityHandle {
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
      ? isHandleOf(item, this)
      : item instanceof ReadyPlace && item.queue === this;
    if (!isOurs) {
      throw this.#fail(
        `the scheduler gave something that it was not given: ${inspect(item)}`,
      );
    }
    const place = item as ReadyPlace | PriorityHandle;
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
    priorityLoops.count--;
  }

  /** Notes a new timer: its callback runs with the priority of the code that makes it, or with that of `whose`. */
  noteTimer(timer: TimerHandle, whose?: Future<unknown>): void {
    const priority = whose ?? this.priorityOfNow();
    if (priority === DEFAULT_PRIORITY) return;
    (this.#timers ??= new WeakMap()).set(timer, priority);
  }

  /** Notes a wait for `future`, and raises the tasks on which the future depends. */
  noteWait(waiter: Runnable, future: Future<unknown>): void {
    // A task of a group is its own first done callback, and waits for nothing.
    if (waiter as unknown === future) return;
    const urgency = urgencyOf(waiter);
    if (urgency === null) return;
    const pressure = future[pressureOf]() as Pressure | null;
    if (pressure !== null) urgency.waitAt(waiter, pressure);
  }

  /** Notes the end of a wait whose waiter the loop queues itself. */
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

  /** Returns the runnable inside: on an overridden loop it comes in a callback. */
  #subjectOf(runnable: Runnable): Runnable {
    return runnableIn(runnable, this.#loop[core].resume);
  }

  /** Whose changes of priority move something that becomes ready; null for callbacks. */
  #urgencyFor(runnable: Runnable): Urgency | null {
    if (runnable.relay !== undefined) return runnable.relay();
    if (runnable instanceof Handle) {
      const whose = this.#timers?.get(runnable);
      if (whose instanceof PostedTask) return urgencyOfPosted(whose);
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
      const noted = this.#timers?.get(runnable);
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
      return task.urgency?.effective ?? DEFAULT_PRIORITY;
    }
    return inside ? this.#running : DEFAULT_PRIORITY;
  }
}

/** Returns the priority of a task or wait as one that may change; null for callbacks. */
export function urgencyOf(runnable: Runnable): Urgency | null {
  if (runnable instanceof PostedTask) return urgencyOfPosted(runnable);
  const task = taskOf(runnable);
  return task === null ? null : task.urgency;
}

/** Returns the task that a runnable goes on with; null for callbacks. */
function taskOf(runnable: Runnable): Task<unknown> | null {
  if (runnable instanceof Task) return runnable as Task<unknown>;
  return runnable instanceof Wait || runnable instanceof YieldOperation
    ? runnable.task
    : null;
}

/** Kind of a runnable. The end of a task that its group or limit deals with is a callback of these. */
function kindOf(subject: Runnable): ReadyItem["kind"] {
  if (subject instanceof TimerHandle || subject instanceof SleepFuture) {
    return "timer";
  }
  const task = taskOf(subject);
  return task === null || task.done() ? "callback" : "task";
}

/** Returns that of a future that becomes ready: a task, or a sleep that is over, which has that of the sleeper. */
function urgencyOfFuture(future: Future<unknown>): Urgency | null {
  if (future instanceof Task) {
    return future.done()
      ? future[urgencyOfEnd]() as Urgency | null
      : future.urgency;
  }
  if (future instanceof PostedTask) return knownUrgencyOf(future);
  const [sleeper] = future[listWaiters]();
  return sleeper === undefined ? null : urgencyOf(sleeper);
}
