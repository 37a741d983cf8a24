/**
 * Errors of futures that nobody looks at: they are reported to the exception
 * handler when the future is collected, or its loop is closed.
 *
 * @module
 */
import { failureRecord, inWords, isUnseen, peekError } from "./waiters.ts";
import { isCancellation } from "./cancellation.ts";
import { Registry } from "../host/finalization.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";

/**
 * Turns until a failure is watched, at least, and twice as many at most: a
 * watch for the collection of an object costs as much as a task.
 */
const TURNS_TO_AGE = 8;

/** Failed futures of a loop whose errors nobody has looked at. */
export class UnseenFailures {
  /** Whether a future failed lately, so that turns have to be counted. */
  arePending = false;
  /** Failures that are reported unless somebody looks at them: the first in a list. */
  private failures: FailureRecord | null = null;
  /** Futures that failed lately, and before that; most are looked at by then. */
  private fresh: Future<unknown>[] = [];
  private aging: Future<unknown>[] = [];
  private turnsPassed = 0;
  private readonly loop: EventLoop;

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** A future has failed. The waiter looks at the error soon. */
  noteFailure(future: Future<unknown>): void {
    this.fresh.push(future);
    this.arePending = true;
  }

  /** A turn has passed: now and then failures age. Called while any are pending. */
  passTurn(): void {
    if (++this.turnsPassed < TURNS_TO_AGE) return;
    this.turnsPassed = 0;
    this.age();
  }

  /** Watches what nobody has looked at since the time before. */
  age(): void {
    for (const future of this.aging) {
      if (future[isUnseen]()) this.add(watchFailure(future));
    }
    this.aging = this.fresh;
    this.fresh = [];
    this.arePending = this.aging.length > 0;
  }

  /**
   * Watches all failures, as the loop will not run for a while, so all code
   * that was to look at an error has done so.
   */
  ageFully(): void {
    this.age();
    this.age();
  }

  private add(record: FailureRecord): void {
    record.kept = true;
    record.next = this.failures;
    if (record.next !== null) record.next.previous = record;
    this.failures = record;
  }

  /** Takes out a failure; false if it has been reported, or looked at, before. */
  remove(record: FailureRecord): boolean {
    if (!record.kept) return false;
    const { next, previous } = record;
    if (previous === null) this.failures = next;
    else previous.next = next;
    if (next !== null) next.previous = previous;
    record.kept = false;
    record.next = record.previous = null;
    return true;
  }

  /** Reports the failures that nobody looked at, in the order in which they came: nobody can any more. */
  reportAll(): void {
    this.ageFully();
    const records: FailureRecord[] = [];
    for (let record = this.failures; record !== null; record = record.next) {
      records.push(record);
    }
    for (const record of records.reverse()) {
      if (this.remove(record)) this.report(record);
    }
  }

  /** Reports a failure that nobody looked at. */
  report(record: FailureRecord): void {
    this.loop.callExceptionHandler({
      message: `${record.what} failed and nobody ever looked at the error`,
      exception: record.exception,
      name: record.name,
      ...(record.creationStack !== undefined &&
        { creationStack: record.creationStack }),
    });
  }

  /** Reports the error of an operation whose waiter has gone, or has no ear for errors. */
  reportUnheard(name: string, error: unknown): void {
    if (isCancellation(error)) return;
    this.loop.callExceptionHandler({
      message: `${name} failed, and nobody was waiting for it any more`,
      exception: error,
      name,
    });
  }
}

/**
 * Record of a failed future that nobody has looked at; does not refer to it.
 *
 * @internal
 */
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
    this.what = future[inWords]();
    this.name = "name" in future ? String(future.name) : this.what;
    this.exception = future[peekError]();
    this.creationStack = loop[core].debug.creationStackOf(future);
  }
}

const failedFutures = new Registry<FailureRecord>((record) => {
  // A loop that has closed has reported all of its own.
  const { failures } = record.loop[core];
  if (failures.remove(record)) failures.report(record);
});

/** Has `future` reported when it is collected unseen. The loop keeps the record meanwhile. */
function watchFailure(future: Future<unknown>): FailureRecord {
  const record = new FailureRecord(future);
  future[failureRecord] = record;
  failedFutures.register(future, record);
  return record;
}
