/**
 * An executor that runs nothing: the test says how each of its jobs ends.
 *
 * @module
 */
import {
  type Coroutine,
  type EventLoop,
  Future,
  getRunningLoop,
  moveOnAfter,
  Operation,
} from "../../../mod.ts";
import { core } from "../../../src/loop/core.ts";
import { ExecutorShutDownError } from "../../../src/errors.ts";
import type {
  Executor,
  ExecutorStats,
  ShutdownOptions,
} from "../../../src/workers/executor.ts";
import type {
  ExecutorTask,
  JobResult,
} from "../../../src/workers/module_task.ts";

/** A job: pending until the test settles it, or somebody cancels it. */
export class FakeJob<T> extends Future<T> {
  readonly args: readonly unknown[];

  constructor(loop: EventLoop, args: readonly unknown[]) {
    super(loop, "a fake job");
    this.args = args;
    loop[core].outside.outsideBegan();
    this.addDoneCallback(() => loop[core].outside.outsideEnded());
  }
}

/** An executor of one loop. */
export class FakeExecutor implements Executor {
  readonly capacity = 1;
  readonly #loop: EventLoop | null;
  /** All jobs so far. */
  readonly jobs: FakeJob<unknown>[] = [];
  /** The options of each call of `shutdown` that has begun. */
  readonly shutdowns: ShutdownOptions[] = [];
  ended = false;

  /** Without a loop it takes the running one of each call. */
  constructor(loop: EventLoop | null = null) {
    this.#loop = loop;
  }

  submit<A extends readonly unknown[], R>(
    _task: ExecutorTask<A, R>,
    args: A,
  ): Future<JobResult<R>> {
    if (this.shutdowns.length > 0) throw new ExecutorShutDownError("shut down");
    const job = new FakeJob<JobResult<R>>(
      this.#loop ?? getRunningLoop(),
      args,
    );
    this.jobs.push(job as FakeJob<unknown>);
    return job;
  }

  map(): never {
    throw new Error("not needed");
  }

  stats(): ExecutorStats {
    throw new Error("not needed");
  }

  shutdown(options: ShutdownOptions = {}): Operation<void> {
    const { shutdowns, jobs } = this;
    const end = () => this.ended = true;
    return new Operation(function* (): Coroutine<void> {
      shutdowns.push(options);
      yield* moveOnAfter(options.graceMs ?? Infinity, function* () {
        for (const job of jobs) while (!job.done()) yield* settled(job);
      });
      for (const job of jobs) job.cancel("the grace is over");
      end();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}

/** Waits for the end of a job, however it ends. */
function* settled(job: Future<unknown>): Coroutine<void> {
  const ended = new Future<void>(job.loop);
  job.addDoneCallback(() => {
    if (!ended.done()) ended.setResult();
  });
  yield* ended;
}
