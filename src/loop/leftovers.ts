/**
 * What nobody has looked at: errors of futures, operations that were never
 * waited for, and the tasks and waits that a closed loop leaves behind.
 *
 * @module
 */
import { CancelledError, LoopClosedError } from "../errors.ts";
import { Registry } from "../host/finalization.ts";
import { findLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import type { Wait } from "./promise_wait.ts";
import type { Subscription } from "./signal_hub.ts";
import type { Task } from "./task.ts";

/**
 * How many turns a failure is given at least, and twice as many at most, until
 * it is watched: to be told when something is collected costs as much as a task.
 */
const TURNS_TO_AGE = 8;

/** Keeps what may have to be reported, and reports it. */
export class Leftovers {
  /** Failures that are reported unless somebody looks at them: the first in a list. */
  private failures: FailureRecord | null = null;
  /** Operations that are reported unless somebody waits for them. */
  readonly unstarted: Set<UnstartedRecord> = new Set();
  /** Waits outside of tasks. */
  readonly strays: Set<Wait<unknown, unknown, unknown>> = new Set();
  /** What posted tasks listen to. */
  readonly subscriptions: Set<Subscription> = new Set();
  /** Futures that failed lately, and before that; most are looked at by then. */
  private fresh: Future<unknown>[] = [];
  private aging: Future<unknown>[] = [];
  private turnsPassed = 0;
  private readonly loop: EventLoop;

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** A future has failed. Whoever waits for it looks at the error soon. */
  noteFailure(future: Future<unknown>): void {
    this.fresh.push(future);
  }

  /** A turn has passed: now and then failures age; true if there are any that will. */
  passTurn(): boolean {
    if (++this.turnsPassed < TURNS_TO_AGE) return true;
    this.turnsPassed = 0;
    return this.age();
  }

  /** Watches what nobody has looked at since the time before; true if there is more to come. */
  age(): boolean {
    for (const future of this.aging) {
      if (future["isUnseen"]()) this.addFailure(watchFailure(future));
    }
    this.aging = this.fresh;
    this.fresh = [];
    return this.aging.length > 0;
  }

  private addFailure(record: FailureRecord): void {
    record.kept = true;
    record.next = this.failures;
    if (record.next !== null) record.next.previous = record;
    this.failures = record;
  }

  /** Takes out a failure; false if it has been reported, or looked at, before. */
  removeFailure(record: FailureRecord): boolean {
    if (!record.kept) return false;
    const { next, previous } = record;
    if (previous === null) this.failures = next;
    else previous.next = next;
    if (next !== null) next.previous = previous;
    record.kept = false;
    record.next = record.previous = null;
    return true;
  }

  /** Tasks cannot run on without their loop; those who wait for them outside are told. */
  destroyTasks(): void {
    for (const task of this.loop["unfinishedTasks"]()) {
      this.loop.callExceptionHandler({
        message: `Task "${task.name}" was destroyed while it waited for ${
          task["describeWait"]()
        }: its event loop was closed`,
        task,
        name: task.name,
        ...this.loop["creationOf"](task),
      });
      task["destroy"](new CancelledError("the event loop was closed"));
    }
  }

  /** No turn will come for what is posted: it listens to no signal any more. */
  dropSubscriptions(): void {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.subscriptions.clear();
  }

  /** No turn will come for those who wait outside of tasks: they are told directly. */
  closeStrays(): void {
    for (const wait of [...this.strays]) {
      wait.close(
        new LoopClosedError(
          `Cannot wait for ${wait.describe()}: its loop is closed`,
        ),
      );
    }
  }

  /** Reports all that is left, as nobody can look at it in time any more. */
  reportAll(): void {
    this.reportFailures();
    for (const record of this.unstarted) this.reportUnstarted(record);
    this.unstarted.clear();
    this.reportFailures(); // what the exception handler has let fail
  }

  /** Reports the failures that nobody looked at, in the order in which they came. */
  private reportFailures(): void {
    this.age();
    this.age();
    const records: FailureRecord[] = [];
    for (let record = this.failures; record !== null; record = record.next) {
      records.push(record);
    }
    for (const record of records.reverse()) {
      if (this.removeFailure(record)) this.reportFailure(record);
    }
  }

  /** Reports a failure that nobody looked at. */
  reportFailure(record: FailureRecord): void {
    this.loop.callExceptionHandler({
      message: `${record.what} failed and nobody ever looked at the error`,
      exception: record.exception,
      name: record.name,
      ...(record.creationStack !== undefined &&
        { creationStack: record.creationStack }),
    });
  }

  /** Reports an operation that nobody waited for. */
  reportUnstarted(record: UnstartedRecord): void {
    this.loop.callExceptionHandler({
      message: `${record.name} was never waited for: use "yield*" or "await"`,
      name: record.name,
      ...(record.stack !== undefined && { creationStack: record.stack }),
    });
  }

  /** Reports the error of an operation whose waiter has gone, or has no ear for errors. */
  reportUnheard(name: string, error: unknown): void {
    if (error instanceof CancelledError) return;
    this.loop.callExceptionHandler({
      message: `${name} failed, and nobody was waiting for it any more`,
      exception: error,
      name,
    });
  }
}

/** What is known of a failed future that nobody has looked at; does not refer to it. */
export class FailureRecord {
  readonly loop: EventLoop;
  /** The future in words. */
  readonly what: string;
  readonly name: string;
  readonly exception: unknown;
  readonly creationStack: string | undefined;
  /** Whether it is in the list of its loop. */
  kept = false;
  next: FailureRecord | null = null;
  previous: FailureRecord | null = null;

  constructor(future: Future<unknown>) {
    const { loop } = future;
    this.loop = loop;
    this.what = future["describe"]();
    this.name = "name" in future ? String(future.name) : this.what;
    this.exception = future["value"];
    this.creationStack = loop["creationStackOf"](future);
  }
}

const failedFutures = new Registry<FailureRecord>((record) => {
  // A loop that has closed has reported all of its own.
  const leftovers = record.loop["leftovers"];
  if (leftovers.removeFailure(record)) leftovers.reportFailure(record);
});

/** Has `future` reported when it is collected unseen. The loop keeps the record meanwhile. */
function watchFailure(future: Future<unknown>): FailureRecord {
  const record = new FailureRecord(future);
  future["failureRecord"] = record;
  failedFutures.register(future, record);
  return record;
}

/** How many operations of a process are watched without debug mode; a watch costs a microsecond. */
const WATCHED_MAX = 1_000;

/** Whether new operations are watched at all: one field to read for each of them. */
export const tracking = { wanted: true, count: 0, debugLoops: 0 };

/** What is known of an operation that nobody has waited for yet; does not refer to it. */
export class UnstartedRecord {
  readonly name: string;
  readonly loop: EventLoop | null;
  readonly stack: string | undefined;

  constructor(name: string, loop: EventLoop | null) {
    this.name = name;
    this.loop = loop;
    this.stack = loop?.debug === true
      ? new Error(`Creation of ${name}`).stack
      : undefined;
    loop?.["leftovers"].unstarted.add(this);
  }

  /** Somebody waits: nothing to report. */
  started(): void {
    this.loop?.["leftovers"].unstarted.delete(this);
  }
}

const unstartedOperations = new Registry<UnstartedRecord>((record) => {
  const { loop } = record;
  // Once the loop has closed it has reported all of its own.
  if (loop !== null && loop["leftovers"].unstarted.delete(record)) {
    loop["leftovers"].reportUnstarted(record);
  }
});

/** Watches a new operation, as long as there is a loop to report to. */
export function track(
  operation: WeakKey,
  name: string,
): UnstartedRecord | null {
  const loop = findLoop();
  if (loop === null) return null;
  const record = new UnstartedRecord(name, loop);
  unstartedOperations.register(operation, record);
  if (++tracking.count >= WATCHED_MAX && tracking.debugLoops === 0) {
    tracking.wanted = false;
  }
  return record;
}

/** A loop has entered or left debug mode. */
export function debugChanged(on: boolean): void {
  tracking.debugLoops += on ? 1 : -1;
  tracking.wanted = tracking.debugLoops > 0 || tracking.count < WATCHED_MAX;
}

/** A list that runs through its tasks' own fields: adding and removing allocates nothing. */
export class TaskList {
  /** How many tasks there are. */
  size = 0;
  private first: Task<unknown> | null = null;
  private last: Task<unknown> | null = null;

  /** Appends a task that is in no list. */
  add(task: Task<unknown>): void {
    task["previousTask"] = this.last;
    if (this.last === null) this.first = task;
    else this.last["nextTask"] = task;
    this.last = task;
    this.size++;
  }

  /** Takes out a task that is in this list. */
  remove(task: Task<unknown>): void {
    const next = task["nextTask"];
    const previous = task["previousTask"];
    if (previous === null) this.first = next;
    else previous["nextTask"] = next;
    if (next === null) this.last = previous;
    else next["previousTask"] = previous;
    task["nextTask"] = task["previousTask"] = null;
    this.size--;
  }

  /** Copies the list, in the order in which the tasks were added. */
  toArray(): Task<unknown>[] {
    const tasks: Task<unknown>[] = [];
    for (let task = this.first; task !== null; task = task["nextTask"]) {
      tasks.push(task);
    }
    return tasks;
  }
}
