/**
 * Futures that stand for the end of a job, and of a promise that a run returned.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";

/** A job, as its end sees it. */
export interface EndingJob {
  /** Ends the job: it fulfils the request by {@linkcode JobEnd.endCancelled}. */
  cancelRuns(reason: unknown): void;
}

/**
 * End of a job, which its task waits for: done when no tick comes any more and
 * every run has ended. Cancelling it asks the job to end.
 */
export class JobEnd extends Future<void> {
  job: EndingJob | null = null;

  constructor(loop: EventLoop) {
    super(loop, "its last run");
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    this.job!.cancelRuns(reason);
    return true;
  }

  /** Ends it, cancelled. */
  endCancelled(reason: unknown): void {
    super.cancel(reason);
  }
}

/**
 * Outcome of a promise whose function was called outside of all tasks. It cannot
 * be cancelled: the wait for it lasts until the promise is settled.
 */
export class PromiseEnd extends Future<unknown> {
  constructor(loop: EventLoop, promise: PromiseLike<unknown>) {
    super(loop, "a promise that a run has returned");
    // A foreign thenable may settle twice, or throw; a promise may not.
    Promise.resolve(promise).then(
      (value) => this.setResult(value),
      (error) => this.setException(error),
    );
  }

  override cancel(): boolean {
    return !this.done();
  }
}
