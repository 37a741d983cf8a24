/**
 * Use of a pool by a loop: the pool belongs to the loop while it has jobs of it,
 * and the loop knows of them meanwhile.
 *
 * @module
 */
import { describeWait, destroy } from "../loop/waiters.ts";
import { CancelledError, MisuseError } from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import { core } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Task } from "../loop/task.ts";
import { inherit } from "../loop/work_runner.ts";

/** Jobs of a pool, as the loop sees them. */
export interface KeptJobs {
  /** Cancels all jobs. They may take time to end. */
  cancelAll(reason: unknown): void;
  /** Ends all jobs at once, as the loop is given up. */
  loseLoop(reason: CancelledError): void;
}

/** Which loop uses a pool, and how many jobs it has there. */
export class PoolUse {
  readonly #jobs: KeptJobs;
  /** The pool in messages. */
  readonly #poolInWords: string;
  #loop: EventLoop | null = null;
  #keeper: JobKeeper | null = null;
  /** How many jobs have not ended. */
  #open = 0;

  constructor(jobs: KeptJobs, poolInWords: string) {
    this.#jobs = jobs;
    this.#poolInWords = poolInWords;
  }

  /** How many jobs have not ended. */
  get open(): number {
    return this.#open;
  }

  /** The loop that uses the pool, or used it last. */
  get loop(): EventLoop | null {
    return this.#loop;
  }

  /** Binds the pool to `loop`; throws if it is in use on another one. */
  bind(loop: EventLoop): void {
    if (this.#loop === loop) return;
    if (this.#open > 0) {
      if (!this.#loop!.isClosed()) {
        throw new MisuseError(
          `Cannot use ${this.#poolInWords}: it is in use on another event loop`,
        );
      }
      // Left over from a loop that was closed while nothing ran.
      this.#jobs.loseLoop(new CancelledError("the event loop was closed"));
    }
    this.#keeper = null;
    this.#loop = loop;
  }

  /** A job has been taken on. */
  jobCame(): void {
    if (this.#open++ > 0) return;
    const kernel = this.#loop![core];
    // One wait stands for all jobs: the loop asks only whether there are any.
    kernel.outside.outsideBegan();
    if (this.#keeper === null) {
      this.#keeper = new JobKeeper(this.#loop!, this.#poolInWords, this.#jobs);
    } else kernel.tasks.add(this.#keeper);
  }

  /** A job has ended. */
  jobWent(): void {
    if (--this.#open > 0) return;
    this.#loop![core].outside.outsideEnded();
    if (!this.#keeper!.rest()) this.#keeper = null;
  }
}

/**
 * Task that stands for all jobs of a pool among the tasks of the loop: cancelling
 * all tasks, as `run()` does at its end, also cancels the jobs, and the task ends
 * when they have.
 *
 * It has no steps. Between two jobs it is only taken off the list of tasks, unless
 * somebody knows of it.
 */
class JobKeeper extends Task<void> {
  readonly #jobs: KeptJobs;
  #cancelled: { readonly reason: unknown } | null = null;
  #known = false;

  constructor(loop: EventLoop, name: string, jobs: KeptJobs) {
    super(loop, nothing, { name }, false);
    this.#jobs = jobs;
    inherit(this, null);
  }

  /** No job is left. Returns whether the task can stand for others later. */
  rest(): boolean {
    if (this.done()) return false;
    if (this.#cancelled !== null) {
      this.endWithError(cancellation(this.#cancelled.reason));
    } else if (this.#known || this.hasWaiter()) this.endWithValue(undefined);
    else {
      this.kernel.tasks.remove(this);
      return true;
    }
    return false;
  }

  override becomeKnown(): void {
    this.#known = true;
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#cancelled === null) {
      this.#cancelled = { reason };
      this.#jobs.cancelAll(reason);
    }
    return true;
  }

  override [destroy](reason: CancelledError): void {
    this.#cancelled ??= { reason };
    this.#jobs.loseLoop(reason);
    if (!this.done()) super[destroy](reason);
  }

  override [describeWait](): string {
    return "its jobs";
  }
}

function* nothing(): Coroutine<void> {}
