/**
 * Task that ends the jobs in line for a limit when the tasks of the loop end.
 *
 * @module
 */
import { destroy } from "../loop/waiters.ts";
import type { CancelledError } from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Task } from "../loop/task.ts";
import { inherit } from "../loop/work_runner.ts";

/** A limit, as its keeper sees it. */
export interface KeptLine {
  /** Cancels all jobs that have not begun; returns how many there were. */
  clear(reason: unknown): number;
  /** Ends everything in line, as the loop is being closed. */
  loseLoop(reason: CancelledError): void;
}

/**
 * Task that stands for all jobs in line among the tasks of the loop: cancelling
 * all tasks, as `run()` does at its end, also ends the jobs that have not begun.
 */
export class LineKeeper extends Task<void> {
  readonly #dismissed: Future<void>;
  readonly #line: KeptLine;

  constructor(loop: EventLoop, line: KeptLine) {
    const dismissed = new Future<void>(loop, "jobs in line for a limit");
    super(loop, waitFor(dismissed), { name: "ConcurrencyLimit" });
    this.#dismissed = dismissed;
    this.#line = line;
    inherit(this, null);
  }

  /** Ends the task: nothing is in line any more. */
  dismiss(): void {
    if (!this.#dismissed.done()) this.#dismissed.setResult();
  }

  override cancel(reason?: unknown): boolean {
    const accepted = super.cancel(reason);
    if (accepted) this.#line.clear(reason);
    return accepted;
  }

  override [destroy](reason: CancelledError): void {
    this.#line.loseLoop(reason);
    super[destroy](reason);
  }
}

function* waitFor(future: Future<void>): Coroutine<void> {
  yield* future;
}
