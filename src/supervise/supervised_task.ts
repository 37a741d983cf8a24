/**
 * The task in which the `start` of a child runs.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import { current } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { NO_OPTIONS } from "../loop/loop_options.ts";
import { Task } from "../loop/task.ts";
import type { TaskBody } from "../loop/task_body.ts";
import { describeWait, destroy } from "../loop/waiters.ts";
import { KILL_REASON, SHUTDOWN_REASON } from "./child_end.ts";

/**
 * Turns in which a task that is killed is cancelled again, if it waits once more. An
 * async function that is to go on needs several for the promises in between.
 */
const KILL_TURNS = 32;

/** Run, as its task sees it. */
export interface TaskedRun {
  readonly path: string;
  readonly endsWithTree: boolean;
  /** The function has returned. */
  returned(value: unknown): void;
  /** The function has thrown. */
  threw(error: unknown): void;
  /** The function cannot be ended. */
  abandon(waitsFor: string): void;
}

/** Task of a child. Its end is noticed by its supervisor at once, not in the turn after. */
export class SupervisedTask extends Task<unknown> {
  readonly #run: TaskedRun;
  #killTurns = 0;

  constructor(run: TaskedRun, loop: EventLoop, body: () => unknown) {
    super(loop, body as TaskBody<unknown>, NO_OPTIONS, false);
    this.#run = run;
  }

  override get name(): string {
    return this.#run.path;
  }

  override set name(name: string) {
    super.name = name;
  }

  /** Runs the first step now, inside the step of the supervisor. */
  begin(): void {
    const { loop, task, stepper } = current;
    current.loop = this.loop;
    try {
      this.run();
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  override endWithValue(value: unknown): void {
    super.endWithValue(value);
    if (this.cancelled()) this.#run.threw(cancellation(this.cancelReason()));
    else this.#run.returned(value);
  }

  override endWithError(error: unknown): void {
    super.endWithError(error);
    // The supervisor takes it from here.
    if (this.failed()) this.exception();
    this.#run.threw(error);
  }

  /**
   * Somebody else than the supervisor cancels it. At the end of a run everything is
   * cancelled, the supervisor first: it ends its children in its own order then.
   */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#run.endsWithTree) return true;
    return super.cancel(reason);
  }

  /** Asks it to end, on behalf of the supervisor. */
  interrupt(): void {
    super.cancel(SHUTDOWN_REASON);
  }

  /** Cancels it at each wait, until it has ended or has had its chances. */
  kill(): void {
    if (this.done()) return;
    if (this.#killTurns++ < KILL_TURNS) {
      if (this.dueRequest() === null) super.cancel(KILL_REASON);
      this.loop.callSoon(() => this.kill());
    } else if (this.isOutside()) this.#run.abandon(this[describeWait]());
    else this[destroy](cancellation(KILL_REASON));
  }

  /** Ends it without running on: it has refused to end, or its loop is closed. */
  override [destroy](reason: CancelledError): void {
    super[destroy](reason);
    this.#run.threw(reason);
  }
}
