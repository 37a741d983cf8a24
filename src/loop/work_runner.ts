/**
 * A task that does one piece of work after the other, as long as none of them
 * leaves a trace in it: for limits, which would spend most of their time on
 * making tasks otherwise.
 *
 * @module
 */
import { destroy, onBehalf } from "./waiters.ts";
import type { CancelledError } from "../errors.ts";
import { cancellation, cancellationIn } from "./cancellation.ts";
import { core } from "./core.ts";
import { isSteppable, isThenable } from "./checks.ts";
import { findTask, type LocalValue } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future } from "./future.ts";
import { Operation } from "./operation.ts";
import type { Coroutine, TaskBody } from "./task_body.ts";
import { Task } from "./task.ts";

/** Outcome of a piece of work. */
export type WorkOutcome = "done" | "failed" | "cancelled";

/** A piece of work for a runner. */
export interface Work {
  /** Origin from which the runner inherits meanwhile, as a task for the work alone would. */
  readonly origin: Origin | null;
  /** Name of the task meanwhile; "" for its own name. */
  readonly taskName: string;
  /** Priority of the task meanwhile, on a loop with priorities. */
  readonly priority: number;
  /** Future of the work, for which tasks wait; null if nobody does now. */
  readonly whose: Future<unknown> | null;
  /** Whether {@linkcode call} only makes a generator. */
  readonly isCoroutine: boolean;
  /** Called when a task that was made for the work takes its first step, or never will. */
  launched(): void;
  /** Calls the function. */
  call(): unknown;
  /** Called when the loop is closed, which ends the work: none of its kind is to begin there any more. */
  lost(reason: CancelledError): void;
  /**
   * Called at the end, with the result or the error. `runner` can take other
   * work; null if it cannot.
   */
  ended(outcome: WorkOutcome, value: unknown, runner: WorkRunner | null): void;
}

/** The task that works. It never fails: errors belong to the work. */
export class WorkRunner extends Task<void> {
  /** Current work; null when the runner has ended, or is about to. */
  work: Work | null;
  /** Whether it runs generator functions; a runner runs either these or all others. */
  readonly isCoroutine: boolean;
  #begun = false;
  #known = false;

  constructor(loop: EventLoop, work: Work) {
    const self: { runner: WorkRunner | null } = { runner: null };
    super(
      loop,
      (work.isCoroutine
        ? runCoroutines(self)
        : () => runFunctions(self.runner!)) as TaskBody<void>,
      loop[core].ranking === null
        ? { name: work.taskName }
        : { name: work.taskName, priority: work.priority },
    );
    self.runner = this;
    this.work = work;
    this.isCoroutine = work.isCoroutine;
    inherit(this, work.origin);
    this.addWaiter(this);
  }

  /** Called in the first step. */
  begin(): void {
    this.#begun = true;
    this.work!.launched();
  }

  /** Starts the next piece of work, inside of {@linkcode Work.ended}. */
  take(work: Work): void {
    this.work = work;
    this.label = work.taskName;
    if (this.loop[core].ranking !== null) this.setPriority(work.priority);
    inherit(this, work.origin);
  }

  /** Cancels a piece of work, if it is at it. */
  cancelWork(work: Work, reason: unknown): boolean {
    return this.work === work && this.cancel(reason);
  }

  /** The end of the runner is awaited on behalf of the work. */
  override [onBehalf](awaited: Future<unknown>): Future<unknown> | null {
    if (awaited !== this as Future<unknown>) return this as Future<unknown>;
    return this.work === null ? null : this.work.whose;
  }

  override becomeKnown(): void {
    this.#known = true;
  }

  /** Ends a runner whose loop is closed, which has no turn left to end the work in. */
  override [destroy](reason: CancelledError): void {
    this.work?.lost(reason);
    super[destroy](reason);
    this.intercept();
  }

  /** Handles a runner that was cancelled before its first step, or given up. */
  override intercept(): boolean {
    if (!this.done()) return false;
    const { work } = this;
    if (work === null) return true;
    this.work = null;
    if (!this.#begun) work.launched();
    let error: unknown;
    try {
      this.result();
    } catch (thrown) {
      error = thrown;
    }
    work.ended("cancelled", error, null);
    return true;
  }

  /** The work has returned. */
  succeeded(value: unknown): void {
    const request = this.dueRequest();
    // Cancelled too late to be thrown, but not too late to count.
    if (request === null) this.finished("done", value);
    else this.finished("cancelled", cancellation(request.reason));
  }

  /** The work has thrown. */
  threw(error: unknown): void {
    const cancelled = cancellationIn(error);
    if (cancelled === null) this.finished("failed", error);
    else this.finished("cancelled", cancelled);
  }

  private finished(outcome: WorkOutcome, value: unknown): void {
    const { work } = this;
    if (work === null) return; // the loop was closed under it
    this.work = null;
    work.ended(outcome, value, this.mayGoOn() ? this : null);
  }

  /** Whether other work would find the task as if it were a new one, and the loop has its turns. */
  private mayGoOn(): boolean {
    return !this.#known && this.isUntouched() &&
      !this.loop[core].inheritsContext &&
      this.loop[core].mayStartAtOnce();
  }
}

/** Whether `task`, or one that it was created by, does a piece of work. */
export function isAtWork(task: Task<unknown> | null): boolean {
  for (; task !== null; task = task.parent) {
    if (task instanceof WorkRunner && task.work !== null) return true;
  }
  return false;
}

function* runCoroutines(
  self: { runner: WorkRunner | null },
): Coroutine<void> {
  const runner = self.runner!;
  runner.begin();
  while (runner.work !== null) {
    let value: unknown;
    try {
      value = yield* runner.work.call() as Coroutine<unknown>;
    } catch (error) {
      runner.threw(error);
      continue;
    }
    runner.succeeded(value);
  }
}

async function runFunctions(runner: WorkRunner): Promise<void> {
  runner.begin();
  while (runner.work !== null) {
    let value: unknown;
    try {
      value = runner.work.call();
      value = isCoroutine(value)
        ? await new Operation(() => value as Coroutine<unknown>)
        : await value;
    } catch (error) {
      runner.threw(error);
      continue;
    }
    runner.succeeded(value);
  }
}

function isCoroutine(value: unknown): boolean {
  return isSteppable(value) && !isThenable(value);
}

/** The creator of a task, and what it hands down. */
export interface Origin {
  readonly parent: Task<unknown>;
  readonly locals: LocalValue | null;
  /** Enters the async context of the creator; null on most loops. */
  readonly enter: (<R>(fn: () => R) => R) | null;
}

/**
 * Returns the origin of work that the running code asks for; null outside of
 * tasks. Returns `known` if it is the same, so that the jobs of a task share
 * one.
 */
export function findOrigin(
  loop: EventLoop,
  known: Origin | null,
): Origin | null {
  const parent = findTask();
  if (parent === null) return null;
  const locals = parent.localValues;
  if (loop[core].inheritsContext) {
    return { parent, locals, enter: loop[core].captureContext() };
  }
  return known !== null && known.parent === parent && known.locals === locals
    ? known
    : { parent, locals, enter: null };
}

/** Has a task that has not begun inherit; null stands for no creator. */
export function inherit(task: Task<unknown>, origin: Origin | null): void {
  if (origin === null) {
    task.inheritFrom(null, null, null);
    return;
  }
  const parent = origin.parent.done() ? null : origin.parent;
  task.inheritFrom(parent, origin.locals, origin.enter);
}
