/**
 * The ready queue of a loop that leaves the order to a {@linkcode Scheduler}:
 * which priority things have that become ready.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { current, findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Handle, type Runnable, TimerHandle } from "./handle.ts";
import { NOT_QUEUED as GONE, PostedTask } from "./posted_task.ts";
import { DEFAULT_PRIORITY } from "./priority.ts";
import { Wait } from "./promise_wait.ts";
import { type ReadyItem, type Scheduler, takeScheduler } from "./scheduler.ts";
import { YieldOperation } from "./sleep.ts";
import { Task } from "./task.ts";
import {
  type Pressure,
  ranked,
  type Requeue,
  type Urgency,
} from "./urgency.ts";

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

/** The place of something in the queue. */
class Entry implements ReadyItem {
  readonly priority: number;
  sequence: number;
  readonly runnable: Runnable;

  constructor(priority: number, sequence: number, runnable: Runnable) {
    this.priority = priority;
    this.sequence = sequence;
    this.runnable = runnable;
  }

  get alive(): boolean {
    return this.sequence !== GONE;
  }
}

/** The ready queue of a loop that leaves the order to a {@linkcode Scheduler}. */
export class RankedQueue
  implements ReadyQueue, Requeue<Entry | PostedTask<unknown>> {
  /** How many items one turn runs at most. */
  readonly handlesPerTurnMax: number;
  /** How many are to be run. */
  length = 0;
  readonly #scheduler: Scheduler;
  readonly #loop: EventLoop;
  /** The priorities of timers that were made by something of a priority. */
  readonly #timers = new WeakMap<TimerHandle, number>();
  #sequence = 0;
  /** The priority of what is running. */
  #running = DEFAULT_PRIORITY;

  constructor(loop: EventLoop, scheduler: Scheduler) {
    this.#loop = loop;
    this.#scheduler = scheduler;
    this.handlesPerTurnMax = scheduler.handlesPerTurnMax ??
      HANDLES_PER_TURN_MAX;
    takeScheduler(scheduler);
    ranked.loops++;
  }

  push(runnable: Runnable): void {
    if (runnable instanceof PostedTask) {
      this.#pushPosted(runnable);
      return;
    }
    const urgency = urgencyOf(runnable);
    if (urgency === null) {
      this.#add(runnable, this.#priorityOf(runnable));
      return;
    }
    urgency.leaveWait(runnable);
    urgency.entered(this.#add(runnable, urgency.effective));
  }

  #pushPosted(posted: PostedTask<unknown>): void {
    const urgency = posted["extras"]?.urgency;
    if (urgency) {
      urgency.entered(this.#add(posted, urgency.effective));
      return;
    }
    posted.sequence = this.#sequence++;
    this.length++;
    this.#scheduler.push(posted);
  }

  #add(runnable: Runnable, priority: number): Entry {
    const entry = new Entry(priority, this.#sequence++, runnable);
    this.length++;
    this.#scheduler.push(entry);
    return entry;
  }

  /** Changes the priority of an item: another one takes its place. */
  requeue(item: Entry | PostedTask<unknown>, priority: number): Entry {
    item.sequence = GONE;
    this.length--;
    this.#scheduler.requeued?.(item);
    return this.#add(item instanceof Entry ? item.runnable : item, priority);
  }

  shift(): Runnable | undefined {
    if (this.length === 0) return undefined;
    for (;;) {
      const item = this.#scheduler.shift() as
        | Entry
        | PostedTask<unknown>
        | undefined;
      if (item === undefined) {
        throw new MisuseError(
          `Cannot go on: the scheduler has lost ${this.length} of its items`,
        );
      }
      if (!item.alive) continue;
      item.sequence = GONE;
      this.length--;
      this.#running = item.priority;
      if (item instanceof PostedTask) {
        item["extras"]?.urgency?.left(item);
        return item;
      }
      const { runnable } = item;
      urgencyOf(runnable)?.left(item);
      return runnable;
    }
  }

  clear(): void {
    this.length = 0;
    this.#scheduler.clear();
  }

  /** The loop has closed. */
  close(): void {
    ranked.loops--;
  }

  /** A timer is being made: its callback runs with the priority of whoever makes it. */
  noteTimer(timer: TimerHandle, priority: number = this.priorityOfNow()): void {
    if (priority !== DEFAULT_PRIORITY) this.#timers.set(timer, priority);
    else this.#timers.delete(timer);
  }

  /** Somebody waits for `future`: those it depends on are raised. */
  noteWait(waiter: Runnable, future: Future<unknown>): void {
    const urgency = urgencyOf(waiter);
    if (urgency === null) return;
    const pressure = future["pressure"]() as Pressure | null;
    if (pressure !== null) urgency.waitAt(waiter, pressure);
  }

  /** The priority of what has none of its own. */
  #priorityOf(runnable: Runnable): number {
    if (runnable instanceof Handle) {
      if (runnable["callback"] as unknown === this.#loop["resume"]) {
        const wrapped = runnable["args"][0] as Runnable;
        return urgencyOf(wrapped)?.effective ?? this.#priorityOf(wrapped);
      }
      if (runnable instanceof TimerHandle) {
        const noted = this.#timers.get(runnable);
        if (noted !== undefined) return noted;
      }
    } else if (runnable instanceof Future) {
      // A sleep that is over: it is for the one who slept.
      return highestOf(runnable["waiters"]);
    }
    return this.priorityOfNow();
  }

  /** The priority of the code that is running. */
  priorityOfNow(): number {
    if (current.loop === this.#loop) return this.#running;
    if (current.loop !== null) return DEFAULT_PRIORITY;
    const task = findTask();
    return task === null || task.loop !== this.#loop
      ? DEFAULT_PRIORITY
      : task["urgency"]?.effective ?? DEFAULT_PRIORITY;
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

/** The highest priority among those who wait for a future. */
function highestOf(waiters: Runnable | Set<Runnable> | null): number {
  if (waiters === null) return DEFAULT_PRIORITY;
  if (!(waiters instanceof Set)) {
    return urgencyOf(waiters)?.effective ?? DEFAULT_PRIORITY;
  }
  return Math.max(...Array.from(waiters, highestOf));
}
