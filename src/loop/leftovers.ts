/**
 * What nobody has looked at: errors of futures, operations that were never
 * waited for, and the tasks and waits that a closed loop leaves behind.
 *
 * @module
 */
import { CancelledError, LoopClosedError } from "../errors.ts";
import type { EventLoop } from "./event_loop.ts";
import { type FailureRecord, watchFailure } from "./failures.ts";
import type { Future } from "./future.ts";
import type { Wait } from "./promise_wait.ts";
import type { Subscription } from "./signal_hub.ts";
import type { UnstartedRecord } from "./unstarted.ts";

/** Keeps what may have to be reported, and reports it. */
export class Leftovers {
  /** Failures that are reported unless somebody looks at them. */
  readonly failures: Set<FailureRecord> = new Set();
  /** Operations that are reported unless somebody waits for them. */
  readonly unstarted: Set<UnstartedRecord> = new Set();
  /** Waits outside of tasks. */
  readonly strays: Set<Wait<unknown, unknown, unknown>> = new Set();
  /** What posted tasks listen to. */
  readonly subscriptions: Set<Subscription> = new Set();
  /** Futures that failed in this turn and the one before; most are looked at by then. */
  private fresh: Future<unknown>[] = [];
  private aging: Future<unknown>[] = [];
  private readonly loop: EventLoop;

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** A future has failed. Whoever waits for it looks at the error in the next turn or so. */
  noteFailure(future: Future<unknown>): void {
    this.fresh.push(future);
  }

  /** A turn has passed: watches what nobody looked at for two; true if there is more to come. */
  age(): boolean {
    for (const future of this.aging) {
      if (future["isUnseen"]()) {
        this.failures.add(watchFailure(this.loop, future));
      }
    }
    this.aging = this.fresh;
    this.fresh = [];
    return this.aging.length > 0;
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
    this.age();
    this.age();
    for (const record of this.failures) this.reportFailure(record);
    this.failures.clear();
    for (const record of this.unstarted) this.reportUnstarted(record);
    this.unstarted.clear();
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
