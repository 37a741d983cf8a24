/**
 * The task in which the `start` of a child runs.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { NO_OPTIONS } from "../loop/loop_options.ts";
import { Task } from "../loop/task.ts";
import type { TaskBody } from "../loop/task_body.ts";
import { describeWait, destroy } from "../loop/waiters.ts";
import { KILL_REASON } from "./child_end.ts";

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
  // Declared here and assigned in the constructor: a super() call that defines fields
  // costs 10 ns more.
  declare private readonly ofRun: TaskedRun;
  declare private killTurns: number;

  constructor(run: TaskedRun, loop: EventLoop, body: () => unknown) {
    super(loop, body as TaskBody<unknown>, NO_OPTIONS, false);
    this.ofRun = run;
    this.killTurns = 0;
  }

  override get name(): string {
    return this.ofRun.path;
  }

  override set name(name: string) {
    super.name = name;
  }

  override endWithValue(value: unknown): void {
    super.endWithValue(value);
    if (this.cancelled()) this.ofRun.threw(cancellation(this.cancelReason()));
    else this.ofRun.returned(value);
  }

  override endWithError(error: unknown): void {
    super.endWithError(error);
    // The supervisor takes it from here.
    if (this.failed()) this.exception();
    this.ofRun.threw(error);
  }

  /**
   * Cancels it, on behalf of somebody else than the supervisor. At the end of a run everything is
   * cancelled, the supervisor first: it ends its children in its own order then.
   */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.ofRun.endsWithTree) return true;
    return super.cancel(reason);
  }

  /** Asks it to end, on behalf of the supervisor, by an error that it may share with others. */
  interrupt(error: CancelledError): void {
    super.cancel(error);
  }

  /** Cancels it at each wait, until it has ended or has had its chances. */
  kill(): void {
    if (this.done()) return;
    if (this.killTurns++ < KILL_TURNS) {
      if (this.dueRequest() === null) super.cancel(KILL_REASON);
      this.loop.callSoon(() => this.kill());
    } else if (this.isOutside()) this.ofRun.abandon(this[describeWait]());
    else this[destroy](cancellation(KILL_REASON));
  }

  /** Ends it without running on: it has refused to end, or its loop is closed. */
  override [destroy](reason: CancelledError): void {
    super[destroy](reason);
    this.ofRun.threw(reason);
  }
}
