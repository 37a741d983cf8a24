/**
 * The ready queue of a loop that leaves the order to a {@linkcode Scheduler}:
 * which priority things have that become ready.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { inspect } from "./checks.ts";
import { current, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Handle, type Runnable, TimerHandle } from "./handle.ts";
import { PostedTask } from "./posted_task.ts";
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
  type Urgency,
} from "./scheduler.ts";
import { Wait } from "./waiting.ts";
import { YieldOperation } from "./sleep.ts";
import { Task } from "./task.ts";

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
