/**
 * A request while it is in the house: in line, running, answered. The owner of the
 * functions that are called for it, which makes it a task when it first needs one.
 *
 * @module
 */
import type { CancelledError } from "../errors.ts";
import { ownerOfContinuation, runOwnedPlain } from "../host/async_context.ts";
import { cancellation, isCancellation } from "../loop/cancellation.ts";
import { isSteppable, isThenable } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import {
  current,
  type LocalValue,
  type Owner,
  TaskLocal,
} from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Operation } from "../loop/operation.ts";
import type { Strand } from "../loop/strand_tree.ts";
import { Task } from "../loop/task.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";
import type { Due } from "./due_line.ts";
import type { Intake } from "./intake.ts";

/**
 * Why a request is not served, or is not served to its end: there is no room for it,
 * the server takes no more, the server ends, its time is over, its client has gone.
 */
export type Refusal =
  | "overloaded"
  | "closing"
  | "cancelled"
  | "timeout"
  | "gone";

/** The request that a task, and every task that it makes, belongs to. */
export const requestLocal: TaskLocal<RequestRun | null> = new TaskLocal<
  RequestRun | null
>(null);

/** A request was cancelled: why, and by what error. */
interface Abortion {
  readonly why: Refusal;
  readonly error: CancelledError;
}

/**
 * A request that an {@linkcode Intake} was given.
 *
 * A task for each request would cost more than many a handler. So a request is first
 * the owner of the code that runs for it (see `loop/current.ts`), and gets a task at
 * most once:
 *
 *     begins ── generator function ──────────────────▶ the body of a task
 *        └───── plain or async function: no task
 *                  ├── code asks for `runner` ───────▶ a task that waits for the end
 *                  ├── it is cancelled ──────────────▶ the same
 *                  └── it takes longer than an instant ▶ the same
 *
 * `runner` is asked for by whatever needs a task: `currentTask`, an operation that is
 * awaited, `createTask`, `TaskLocal.set`.
 *
 * Subclasses know where the request came from. They call {@linkcode Intake.take} once,
 * and are told of exactly one of {@linkcode returned}, {@linkcode threw} and
 * {@linkcode refused} before `hasEnded`; of {@linkcode expired} and {@linkcode lateFailure}
 * besides.
 */
export abstract class RequestRun implements Owner, ListNode<RequestRun>, Due {
  // Declared here and assigned in the constructor: a class that defines fields takes longer
  // to make an object, and there is one for each request.
  declare readonly intake: Intake;
  /** Priority as a number: higher first. */
  declare readonly rank: number;
  /** `"new"` until it was taken, `"waiting"` in line, `"running"` while its function runs. */
  declare state: "new" | "waiting" | "running" | "ended";
  /** Set once it is to end; the first reason counts. */
  declare abortion: Abortion | null;
  /** Moment at which its time is over; 0 as long as it has no deadline. */
  declare dueMs: number;
  /** Number of the intake's looks when it arrived. Only the intake writes it. */
  declare lookOfArrival: number;
  // Written by the list of the intake in which it is.
  declare list: LinkedList<RequestRun> | undefined;
  declare nextNode: RequestRun | undefined;
  declare previousNode: RequestRun | undefined;
  declare private controller: AbortController | null;
  declare private task: Task<unknown> | null;
  /** Ends the task that the request became; null if its task has a body. */
  declare private release: (() => void) | null;
  /** Set while the task is made, as its first step asks for `runner`, too. */
  declare private becoming: boolean;
  /** Task that holds its slot of a limit: the parent of its own. */
  declare holder: Task<unknown> | null;
  /** Made on first use, as most requests are over before that. */
  declare private knownLocals: LocalValue | null;

  constructor(intake: Intake, rank: number) {
    this.intake = intake;
    this.rank = rank;
    this.state = "new";
    this.abortion = null;
    this.dueMs = 0;
    this.lookOfArrival = -1;
    this.list = this.nextNode = this.previousNode = undefined;
    this.controller = null;
    this.task = null;
    this.release = null;
    this.becoming = false;
    this.holder = null;
    this.knownLocals = null;
  }

  // -- Subclasses --

  /** Name of the request in messages, and of its task. */
  abstract get name(): string;

  /** Whether {@linkcode call} only makes a generator. */
  abstract get isCoroutine(): boolean;

  /** Calls the function that serves the request. */
  abstract call(): unknown;

  /** The function has returned. */
  abstract returned(value: unknown): void;

  /** The function has thrown; a cancellation if it was cancelled. */
  abstract threw(error: unknown): void;

  /** The function will not be called. */
  abstract refused(why: Refusal): void;

  /** The time of the request is over: the client is to be told. Its function is being cancelled. */
  abstract expired(): void;

  /** Called at its end: nothing is asked of it any more but its name and its values. */
  forget(): void {}

  /** Returns the error that is thrown in its function. */
  protected errorFor(_why: Refusal, reason: unknown): CancelledError {
    return cancellation(reason);
  }

  /** The request was cancelled some time ago, and its function still runs: the client may be told. */
  cutOff(): void {}

  /** The request is there for longer than an instant: from now on its client may go. */
  protected abstract watchClient(): void;

  /** The function has ended, or is not called: nobody listens any more. */
  protected abstract unwatchClient(): void;

  // -- Cancellation --

  /** Aborts when the request is cancelled. Made on first use. */
  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.abortion !== null) this.controller.abort(this.abortion.error);
    }
    return this.controller.signal;
  }

  /** Cancels the request: takes it out of the line, or cancels its task. Does nothing after its end. */
  cancel(why: Refusal, reason: unknown): void {
    if (this.state === "ended" || this.abortion !== null) return;
    const error = this.errorFor(why, reason);
    this.abortion = { why, error };
    if (this.state === "waiting") {
      this.state = "ended";
      this.intake.withdraw(this);
      this.refuse(why);
      return;
    }
    this.abortSignal();
    // Listeners of the signal may have ended it.
    if (!this.hasEnded) this.runner?.cancel(error);
  }

  private abortSignal(): void {
    const controller = this.controller;
    // Listeners run in here; they are code of the request.
    if (controller !== null) {
      runOwnedPlain(this, () => controller.abort(this.abortion!.error));
    }
  }

  /** The time of the request is over. */
  expire(): void {
    if (this.state === "ended") return;
    if (this.state === "running") this.expired();
    this.cancel(
      "timeout",
      `its time of ${this.intake.requestTimeoutMs} ms is over`,
    );
  }

  /** Called when it has been there for an instant: from now on it is a task, and its client is watched. */
  settleIn(): void {
    if (this.state === "ended") return;
    if (this.state === "running") this.runner;
    this.watchClient();
  }

  // -- Its life --

  get hasEnded(): boolean {
    return this.state === "ended";
  }

  /** Ends a request that has not begun. */
  refuse(why: Refusal): void {
    this.state = "ended";
    this.unwatchClient();
    this.refused(why);
    this.forget();
  }

  /** Calls the function. Outside of turns, or inside of one. */
  begin(): void {
    this.state = "running";
    const { loop, task, stepper } = current;
    current.loop = current.task = current.stepper = null;
    try {
      if (this.isCoroutine) this.beginCoroutine();
      else {
        beginning = this;
        runOwnedPlain(this, callFunction);
      }
    } catch (error) {
      this.end(true, error); // the loop takes no more tasks
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  private beginCoroutine(): void {
    let begun = false;
    const task = this.startTask(() => {
      begun = true;
      return runCoroutine(this);
    });
    // A task of a loop that stands still may be cancelled before its first step.
    if (!begun) task.addDoneCallback(() => this.end(true, task.cancelReason()));
  }

  /** Runs a generator that a plain function has made. */
  runProduct(product: Coroutine<unknown>): void {
    new Operation(() => product).then(
      (value) => this.end(false, value),
      (error) => this.end(true, error),
    );
  }

  /** The function has ended. */
  end(failed: boolean, outcome: unknown): void {
    if (this.state === "ended") return;
    this.state = "ended";
    this.unwatchClient();
    const release = this.release;
    if (release !== null) {
      this.release = null;
      release();
    }
    try {
      if (failed) this.threw(outcome);
      else this.returned(outcome);
    } finally {
      this.forget();
      this.intake.leave(this);
    }
  }

  // -- What its functions belong to --

  get loop(): EventLoop {
    return this.intake.loop;
  }

  get runner(): Task<unknown> | null {
    return this.task ?? this.become();
  }

  get strandNow(): Strand | null {
    return this.runner?.strandNow ?? null;
  }

  get locals(): LocalValue {
    const task = this.task;
    if (task !== null && !task.done()) return task.localValues!;
    return this.ownLocals();
  }

  private ownLocals(): LocalValue {
    return this.knownLocals ??= {
      local: requestLocal as LocalValue["local"],
      value: this,
      next: this.intake.locals,
    };
  }

  /** Makes a task that ends when the function does. */
  private become(): Task<unknown> | null {
    if (this.state !== "running" || this.becoming) return null;
    if (this.loop.isClosed()) return null;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.release = resolve;
    return this.startTask(() => promise);
  }

  /** Makes the task and takes its first step, which may end the request. */
  private startTask(body: () => unknown): Task<unknown> {
    this.becoming = true;
    try {
      const task = this.task = this.makeTask(body);
      if (this.loop.isRunning()) this.firstStep(task);
      else this.loop[core].schedule(task);
      return task;
    } finally {
      this.becoming = false;
    }
  }

  private makeTask(body: () => unknown): Task<unknown> {
    const { loop, name, rank } = this;
    const hasRanking = loop[core].ranking !== null;
    const task = new Task<unknown>(
      loop,
      body as TaskBody<unknown>,
      hasRanking ? { name, priority: rank } : { name },
      false,
    );
    task.inheritFrom(this.holder, this.ownLocals(), null);
    return task;
  }

  private firstStep(task: Task<unknown>): void {
    const { loop, task: before, stepper } = current;
    current.loop = this.loop;
    try {
      task.run();
    } finally {
      current.loop = loop;
      current.task = before;
      current.stepper = stepper;
    }
  }
}

// Functions and not methods, as in `loop/task_step.ts`.

/** Request whose function is to be called: an argument would cost two arrays. */
let beginning: RequestRun | null = null;

/** Calls a plain or async function. */
function callFunction(): void {
  const run = beginning!;
  beginning = null;
  let product: unknown;
  try {
    product = run.call();
    if (product instanceof Promise && product.then === thenOfPromise) {
      product.then(fulfilled, rejected);
      return;
    }
    if (isThenable(product)) {
      product.then(
        (value: unknown) => run.end(false, value),
        (error: unknown) => run.end(true, error),
      );
      return;
    }
  } catch (error) {
    run.end(true, error);
    return;
  }
  if (isSteppable(product) && !(Symbol.asyncIterator in (product as object))) {
    run.runProduct(product as Coroutine<unknown>);
  } else run.end(false, product);
}

const thenOfPromise = Promise.prototype.then;

// The request that is called back is found by the async context, so that all share
// two functions.

function fulfilled(value: unknown): void {
  (ownerOfContinuation() as RequestRun).end(false, value);
}

function rejected(error: unknown): void {
  (ownerOfContinuation() as RequestRun).end(true, error);
}

/** Body of the task of a request whose function is a generator function. */
function* runCoroutine(run: RequestRun): Coroutine<void> {
  let value: unknown;
  try {
    value = yield* run.call() as Coroutine<unknown>;
  } catch (error) {
    run.end(true, error);
    if (isCancellation(error)) throw error;
    return;
  }
  run.end(false, value);
}
