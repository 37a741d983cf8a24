/**
 * The part of a worker that runs jobs: finds the function, calls it, and replies
 * with what becomes of it.
 *
 * The module is light to load, and loads the rest of Rota only for jobs that use it.
 *
 * @module
 */
import {
  CancelledError,
  ExecutorShutDownError,
  TimeoutError,
} from "../errors.ts";
import { prepareOwners, runOwned } from "../host/async_context.ts";
import { after } from "../host/timers.ts";
import {
  isGeneratorFunction,
  isSteppable,
  isThenable,
} from "../loop/checks.ts";
import { current, loaded } from "../loop/current.ts";
import type { EventLoopOptions } from "../loop/loop_options.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { hasPackedHandles } from "./handle_arguments.ts";
import type { JobSpec } from "./link.ts";
import {
  describeTask,
  type JobFunction,
  ModuleLoader,
} from "./module_loader.ts";
import { NestedLine, type NestedSender } from "./nested_line.ts";
import { RunningJob } from "./running_job.ts";
import { takeTransfer } from "./transfer.ts";
import { WorkerLoop } from "./worker_loop.ts";

/** Replies of a worker about its jobs. Each job ends with exactly one of `returned` and `threw`. */
export interface JobReplies extends NestedSender {
  /** The job has returned. May throw if the value cannot be sent: the job has thrown then. */
  returned(id: number, value: unknown, transfer: readonly Transferable[]): void;
  /** The job has thrown, was cancelled, or could not begin. Must not throw, whatever the error is. */
  threw(id: number, error: unknown): void;
  /** The job has called `progress`, which throws what this throws. */
  progressed(id: number, value: unknown): void;
}

/** Options of a {@linkcode JobRunner}. */
export interface JobRunnerOptions {
  /**
   * How long a module may take to load.
   *
   * @default {10_000}
   */
  readonly loadLimitMs?: number | undefined;
  /**
   * Options of the worker's loop. The portable host by default: a wait in native
   * code would keep the thread of a killed worker.
   */
  readonly loop?: EventLoopOptions | undefined;
}

const LOAD_LIMIT_MS = 10_000;
const LOOP_OPTIONS: EventLoopOptions = { host: "portable" };

/** Runs the jobs of one worker. */
export class JobRunner {
  private readonly replies: JobReplies;
  private readonly loadLimitMs: number;
  private readonly jobs = new Map<number, RunningJob>();
  private readonly loader = new ModuleLoader();
  private readonly loop: WorkerLoop;
  private readonly progressed: (id: number, value: unknown) => void;
  /** Jobs that its jobs have submitted. */
  readonly nested: NestedLine;
  private closed = false;

  constructor(replies: JobReplies, options: JobRunnerOptions = {}) {
    this.replies = replies;
    this.loadLimitMs = options.loadLimitMs ?? LOAD_LIMIT_MS;
    this.loop = new WorkerLoop(options.loop ?? LOOP_OPTIONS);
    this.progressed = (id, value) => replies.progressed(id, value);
    this.nested = new NestedLine(replies);
    prepareOwners(true); // takes ten milliseconds in a process, before there is a job
  }

  /** How many jobs have not ended. */
  get running(): number {
    return this.jobs.size;
  }

  /**
   * Whether the worker may block its thread until the next job comes: no job runs,
   * and no task or timer that one has left behind. For a while only, as functions
   * may have left promises and timers of the runtime behind, too.
   */
  get mayBlock(): boolean {
    return this.jobs.size === 0 && this.loop.isIdle;
  }

  /**
   * Begins a job. A plain function of a module that is loaded is called, and its
   * result sent, inside this call. Never throws.
   */
  run(spec: JobSpec): void {
    if (this.closed) {
      this.replies.threw(
        spec.id,
        new ExecutorShutDownError(
          `Cannot run job "${spec.name}": its worker is ending`,
        ),
      );
      return;
    }
    const job = new RunningJob(
      spec,
      this.loop,
      this.progressed,
      this.nested,
    );
    this.jobs.set(spec.id, job);
    let fn: JobFunction | null;
    try {
      fn = this.loader.find(spec.task);
    } catch (error) {
      this.threw(job, error);
      return;
    }
    const isReady = prepareOwners(true) === null;
    if (
      fn !== null && isReady && !needsToLoadLoop(fn) &&
      !hasPackedHandles(spec.args)
    ) this.begin(job, fn);
    else this.beginLater(job);
  }

  /**
   * Aborts the signal of a job, and cancels its task. A job whose module is being
   * loaded ends at once. Does nothing if there is no such job.
   */
  abort(id: number, reason: unknown): void {
    const job = this.jobs.get(id);
    if (job === undefined) return;
    job.abort(reason);
    if (!job.begun) this.threw(job, cancellation(reason));
  }

  /**
   * Ends the loop, if one was started: cancels the tasks that are left, and waits
   * for them. Jobs that are left end as cancelled. Takes no more jobs.
   *
   * @param cancelGraceMs How long the tasks may take.
   */
  async close(cancelGraceMs = Infinity): Promise<void> {
    this.closed = true;
    const reason = new CancelledError("the worker ends");
    this.nested.close(reason);
    // The loop cancels the tasks of those that have one.
    for (const job of this.jobs.values()) job.abortSignal(reason);
    await this.loop.close(cancelGraceMs);
    for (const job of this.jobs.values()) this.threw(job, reason);
  }

  /** Begins a job once everything is loaded that it needs. */
  private async beginLater(job: RunningJob): Promise<void> {
    const { task } = job.spec;
    job.loadLimit = after(this.loadLimitMs, () => this.loadsTooLong(job), true);
    let fn: JobFunction;
    try {
      await unpackArguments(job); // first: handles that no job gets close when they are collected
      fn = await this.loader.load(task);
      await prepareOwners(true);
      if (needsToLoadLoop(fn)) await this.loop.load();
    } catch (error) {
      this.threw(job, error);
      return;
    }
    job.loadLimit.cancel();
    if (!job.ended) this.begin(job, fn);
  }

  private loadsTooLong(job: RunningJob): void {
    this.threw(
      job,
      new TimeoutError(
        `Cannot run ${
          describeTask(job.spec.task)
        }: its module has not loaded within ${this.loadLimitMs} ms`,
      ),
    );
  }

  /** Calls the function of a job, outside of the turn of a loop that may be running. */
  private begin(job: RunningJob, fn: JobFunction): void {
    job.begun = true;
    const { loop, task, stepper } = current;
    current.loop = current.task = current.stepper = null;
    try {
      if (isGeneratorFunction(fn)) {
        this.runCoroutine(
          job,
          () => fn(...job.args) as Coroutine<unknown>,
        );
      } else runOwned(job, callJob, this, job, fn);
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  /** Goes on with what a function has returned. */
  followUp(job: RunningJob, product: unknown): void {
    if (typeof product !== "object" || product === null) {
      this.returned(job, product);
    } else if (isThenable(product)) this.awaitProduct(job, product);
    else if (isSteppable(product) && !(Symbol.asyncIterator in product)) {
      this.runProduct(job, product as Coroutine<unknown>);
    } else this.returned(job, product);
  }

  /** Waits for a promise, an operation or a future. */
  private async awaitProduct(
    job: RunningJob,
    product: PromiseLike<unknown>,
  ): Promise<void> {
    let value: unknown;
    try {
      value = await product;
    } catch (error) {
      this.threw(job, error);
      return;
    }
    this.returned(job, value);
  }

  /** Runs a generator that a plain function has made. */
  private async runProduct(
    job: RunningJob,
    product: Coroutine<unknown>,
  ): Promise<void> {
    try {
      if (loaded.makeLoop === null) await this.loop.load();
    } catch (error) {
      this.threw(job, error);
      return;
    }
    if (job.abortion === null) this.runCoroutine(job, () => product);
    else this.threw(job, cancellation(job.abortion.reason));
  }

  private runCoroutine(job: RunningJob, make: () => Coroutine<unknown>): void {
    try {
      job.runCoroutine(() => runCoroutine(this, job, make));
    } catch (error) {
      this.threw(job, error); // there is no loop any more
    }
  }

  /** Sends the result of a job. */
  returned(job: RunningJob, value: unknown): void {
    if (!this.end(job)) return;
    const { id, name } = job.spec;
    // The job has ended: what throws from here on would leave it without a reply.
    try {
      this.replies.returned(id, value, takeTransfer(value));
    } catch (cause) {
      this.replies.threw(id, handOverError(name, cause));
    }
  }

  /** Sends the error of a job. */
  threw(job: RunningJob, error: unknown): void {
    if (!this.end(job)) return;
    const isSource = "source" in job.spec.task;
    this.replies.threw(job.spec.id, isSource ? explain(error) : error);
  }

  /** Whether the job had not ended. */
  private end(job: RunningJob): boolean {
    if (job.ended) return false;
    this.jobs.delete(job.spec.id);
    job.end();
    return true;
  }
}

/** Makes handles of those that have come with the arguments. */
async function unpackArguments(job: RunningJob): Promise<void> {
  if (!hasPackedHandles(job.args)) return;
  const { unpackHandles } = await import("./loop_handle.ts");
  job.args = unpackHandles(job.args);
}

/** Whether the loop has to be loaded before the function is called. */
function needsToLoadLoop(fn: JobFunction): boolean {
  // Functions that have loaded operations, and no loop, may use them.
  return loaded.makeLoop === null &&
    (loaded.operations || isGeneratorFunction(fn));
}

// Functions and not methods, as in `loop/task_step.ts`.

/** Calls a plain or async function. */
function callJob(runner: JobRunner, job: RunningJob, fn: JobFunction): void {
  try {
    runner.followUp(job, fn(...job.args));
  } catch (error) {
    runner.threw(job, error);
  }
}

/** Body of the task of a job that is a generator function. */
function* runCoroutine(
  runner: JobRunner,
  job: RunningJob,
  make: () => Coroutine<unknown>,
): Coroutine<void> {
  let value: unknown;
  try {
    value = yield* make();
  } catch (error) {
    runner.threw(job, error);
    return;
  }
  runner.returned(job, value);
}

function cancellation(reason: unknown): CancelledError {
  return reason instanceof CancelledError ? reason : new CancelledError(reason);
}

/** The error for a result that cannot be sent. Never throws, whatever getters and proxies have thrown. */
function handOverError(name: string, cause: unknown): TypeError {
  const what = name === "" ? "a job" : `job "${name}"`;
  let why: string;
  try {
    why = cause instanceof Error ? cause.message : String(cause);
  } catch {
    why = "reading it has thrown something that cannot be read";
  }
  return new TypeError(`Cannot hand over the result of ${what}: ${why}`, {
    cause,
  });
}

const UNDEFINED_NAME = /^(.+) is not defined$/;

/** The name that an error says is not defined; undefined for other errors, and those that cannot be read. */
function undefinedName(error: unknown): string | undefined {
  try {
    if (!(error instanceof ReferenceError)) return undefined;
    return UNDEFINED_NAME.exec(error.message)?.[1];
  } catch {
    return undefined;
  }
}

/**
 * Explains an error of a function that was sent by its source: most of the time it
 * uses a name from around it. Never throws, as the job has ended.
 */
function explain(error: unknown): unknown {
  const name = undefinedName(error);
  if (name === undefined) return error;
  return new ReferenceError(
    `${name} is not defined: a function that is sent by its source sees ` +
      "globals only, not what is around it; pass what it needs as arguments, " +
      "or export it from a module and submit { module, name }",
    { cause: error },
  );
}
