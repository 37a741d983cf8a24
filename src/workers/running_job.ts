/**
 * A job while it runs in a worker: what it knows of itself, and the owner of the
 * async functions that it calls, which makes it a task when it first needs one.
 *
 * @module
 */
import { CancelledError, MisuseError } from "../errors.ts";
import { runOwned } from "../host/async_context.ts";
import { monotonicMs } from "../host/clock.ts";
import type { HostTimer } from "../host/timers.ts";
import type { LocalValue, Owner } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { Strand } from "../loop/strand_tree.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import {
  type JobLease,
  jobLocal,
  type JobState,
  leaseIn,
  makeNested,
} from "./current_job.ts";
import type { SubmitOptions } from "./executor.ts";
import type { JobSpec } from "./link.ts";
import type { ExecutorTask, JobResult } from "./module_task.ts";
import type { NestedLine } from "./nested_line.ts";
import { withTransported } from "./transport.ts";
import type { WorkerLoop } from "./worker_loop.ts";

/** Sends a value of `progress`. */
export type ProgressListener = (id: number, value: unknown) => void;

/**
 * A job that a worker has got and has not ended.
 *
 * A job is first the owner of the code that runs for it (see `loop/current.ts`), as
 * starting a loop and a task for each would take longer than most jobs do. It gets
 * a task at most once, in one of two ways:
 *
 *     arrives ── generator, or function of one ──────▶ runCoroutine: the body of the task
 *        └────── plain or async function: no task
 *                   └── code asks for `runner` ──────▶ become: a task that waits for `release`
 *
 * `runner` is asked for by whatever needs a task: `currentTask`, an operation that
 * is awaited, `createTask`, `TaskLocal.set`. `loop` alone only starts the loop, and
 * `currentJob` and `TaskLocal.get` need neither: they read `locals`. A job that has
 * ended becomes no task any more, so code that it has left behind runs in none.
 *
 * An abortion goes to both: the signal, if it was made, and the task, if there is
 * one. A job that becomes a task later is cancelled at once.
 */
export class RunningJob implements JobState, Owner {
  readonly spec: JobSpec;
  /** Arguments of the job; loop handles among them are packed until it begins. */
  args: readonly unknown[];
  ended = false;
  /** Whether its function has been called. */
  begun = false;
  /** Set once it is to end; the first reason counts. */
  abortion: { readonly reason: unknown } | null = null;
  /** Timer for the time that loading its module may take. */
  loadLimit: HostTimer | null = null;
  private readonly worker: WorkerLoop;
  private readonly progressed: ProgressListener;
  private readonly nested: NestedLine;
  /** Moment of its arrival; not read if it has no deadline. */
  private readonly arrivedMs: number;
  private controller: AbortController | null = null;
  private task: Task<unknown> | null = null;
  /** Ends the task that the job became; null if it became none, or its task has a body. */
  private release: (() => void) | null = null;
  /** Set while the task is made, as its first step asks for `runner`, too. */
  private becoming = false;
  /** Made on first use, as most jobs are over before that. */
  private ownLocals: LocalValue | null = null;

  constructor(
    spec: JobSpec,
    worker: WorkerLoop,
    progressed: ProgressListener,
    nested: NestedLine,
  ) {
    this.spec = spec;
    this.args = spec.args;
    this.worker = worker;
    this.progressed = progressed;
    this.nested = nested;
    this.arrivedMs = spec.remainingMs === Infinity ? 0 : monotonicMs();
  }

  // -- What the job knows of itself --

  get name(): string {
    return this.spec.name;
  }

  get deadlineMs(): number {
    return this.arrivedMs + this.spec.remainingMs;
  }

  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.abortion !== null) {
        this.controller.abort(asError(this.abortion.reason));
      }
    }
    return this.controller.signal;
  }

  get lease(): JobLease | null {
    return leaseIn(this.spec.locals);
  }

  progress(value: unknown): boolean {
    if (this.ended) return false;
    this.progressed(this.spec.id, value);
    return true;
  }

  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    const what = this.name === "" ? "the job" : `job "${this.name}"`;
    if (this.ended) {
      throw new MisuseError(`Cannot submit a job: ${what} has ended`);
    }
    const loop = this.worker.start();
    if (loop === null) {
      throw new MisuseError(`Cannot submit a job: the worker of ${what} ends`);
    }
    const { id } = this.spec;
    return makeNested(this.nested, id, loop, task, args, options);
  }

  // -- What its functions belong to --

  get loop(): EventLoop | null {
    return this.worker.start();
  }

  get runner(): Task<unknown> | null {
    return this.task ?? this.become();
  }

  get strandNow(): Strand | null {
    return this.runner?.strandNow ?? null;
  }

  get locals(): LocalValue | null {
    const task = this.task;
    if (task !== null && !task.done()) return task.localValues;
    return this.ownLocals ??= withTransported(this.spec.locals, {
      local: jobLocal as LocalValue["local"],
      value: this,
      next: null,
    });
  }

  /** Makes a task that ends when the function does. The running code is of this job. */
  private become(): Task<unknown> | null {
    if (this.ended || this.becoming) return null;
    const loop = this.worker.start();
    if (loop === null) return null;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.release = resolve;
    return this.start(loop, () => promise);
  }

  /** Runs a generator as the task of the job. */
  runCoroutine(body: () => Coroutine<void>): void {
    const loop = this.worker.start();
    if (loop === null) {
      throw new MisuseError(`Cannot run job "${this.name}": the worker ends`);
    }
    this.start(loop, body);
  }

  private start(
    loop: EventLoop,
    body: () => Coroutine<void> | Promise<void>,
  ): Task<unknown> {
    this.becoming = true;
    try {
      const { name } = this.spec;
      // The first step runs in there, and may end the job.
      this.task = runOwned(
        this,
        () => loop.createTask<void>(body, { name, eager: true }),
      ) as Task<unknown>;
    } finally {
      this.becoming = false;
    }
    if (this.abortion !== null) this.task.cancel(this.abortion.reason);
    return this.task;
  }

  // -- Its end --

  /** Aborts its signal, and cancels its task. */
  abort(reason: unknown): void {
    if (this.abortion !== null) return;
    this.abortSignal(reason);
    this.task?.cancel(reason);
  }

  /** Aborts its signal; the first reason counts. */
  abortSignal(reason: unknown): void {
    if (this.abortion !== null) return;
    this.abortion = { reason };
    const controller = this.controller;
    // Listeners run in here; they are code of the job.
    if (controller !== null) {
      runOwned(this, () => controller.abort(asError(reason)));
    }
  }

  /** Notes that its outcome is known. */
  end(): void {
    this.ended = true;
    this.loadLimit?.cancel();
    this.nested.parentEnded(this.spec.id);
    this.release?.();
  }
}

/** The reason of an abort, which code may throw: an error in any case. */
function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new CancelledError(reason);
}
