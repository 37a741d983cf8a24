/**
 * Use of a pool by a loop: the pool belongs to the loop while it has jobs of it,
 * and the loop knows of them meanwhile.
 *
 * @module
 */
import { describeWait, destroy } from "../loop/waiters.ts";
import { CancelledError, MisuseError } from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import { core, type LoopCore } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Runnable } from "../loop/runnable.ts";
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
  /** Whether the jobs run outside of the loop; else whatever runs them tells the loop. */
  readonly #isOutside: boolean;
  #loop: EventLoop | null = null;
  #keeper: JobKeeper | null = null;
  #hold: OutsideHold | null = null;
  /** How many jobs have not ended. */
  #open = 0;

  constructor(
    jobs: KeptJobs,
    poolInWords: string,
    where: "outside" | "with members" = "outside",
  ) {
    this.#jobs = jobs;
    this.#poolInWords = poolInWords;
    this.#isOutside = where === "outside";
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
    this.#hold?.release();
    this.#hold = this.#isOutside ? new OutsideHold(loop[core]) : null;
    this.#loop = loop;
  }

  /** A job has been taken on. */
  jobCame(): void {
    if (this.#open++ > 0) return;
    this.#hold?.take();
    if (this.#keeper === null || this.#keeper.done()) {
      this.#keeper = new JobKeeper(this.#loop!, this.#poolInWords, this.#jobs);
    } else this.#keeper.goOn();
  }

  /** A job has ended. */
  jobWent(): void {
    if (--this.#open > 0) return;
    this.#hold?.leave();
    if (!this.#keeper!.rest()) this.#keeper = null;
  }
}

/** Turns that a hold outlasts its last job. */
const TURNS_HELD = 2;

/**
 * Wait outside of the loop that stands for all jobs of a pool: the loop asks only
 * whether there are any.
 *
 * A loop that begins to be kept alive by such a wait sets a timer, which costs
 * microseconds. So the hold outlasts the last job by two turns, in which whoever
 * has waited for that job may submit another one. Meanwhile the loop is not idle,
 * and its clock does not move.
 */
class OutsideHold implements Runnable {
  readonly #kernel: LoopCore;
  #isTaken = false;
  #hasJobs = false;
  #isQueued = false;
  #turnsLeft = 0;

  constructor(kernel: LoopCore) {
    this.#kernel = kernel;
  }

  /** Keeps the loop from ending: the first job has come. */
  take(): void {
    this.#hasJobs = true;
    if (this.#isTaken) return;
    this.#isTaken = true;
    this.#kernel.outside.outsideBegan();
  }

  /** Lets go some turns later: the last job has ended. */
  leave(): void {
    this.#hasJobs = false;
    this.#turnsLeft = TURNS_HELD;
    if (!this.#isQueued) this.#wait();
  }

  /** Lets go at once. */
  release(): void {
    if (!this.#isTaken) return;
    this.#isTaken = false;
    this.#kernel.outside.outsideEnded();
  }

  #wait(): void {
    this.#isQueued = true;
    this.#kernel.schedule(this);
  }

  run(): void {
    this.#isQueued = false;
    if (this.#hasJobs) return;
    if (--this.#turnsLeft > 0) this.#wait();
    else this.release();
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
  /** Whether there is no job that it stands for. */
  #rests = false;

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
      this.#rests = true;
      return true;
    }
    return false;
  }

  /** Stands for the jobs that come. */
  goOn(): void {
    this.#rests = false;
    this.kernel.tasks.add(this);
  }

  override becomeKnown(): void {
    this.#known = true;
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#cancelled === null) {
      this.#cancelled = { reason };
      this.#jobs.cancelAll(reason);
      // The end of a run cancels one task after the other: one before this may have had the last job.
      if (this.#rests) this.endWithError(cancellation(reason));
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
