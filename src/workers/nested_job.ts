/**
 * Future of a job that a job has submitted to its own pool. Loading this module is
 * what makes `currentJob().submit` work.
 *
 * @module
 */
import { type CancelledError, MisuseError } from "../errors.ts";
import { cancellationIn } from "../loop/cancellation.ts";
import { core } from "../loop/core.ts";
import type { WaitFacts } from "../loop/waits.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import {
  cancellationBy,
  subscribe,
  type Subscription,
} from "../loop/signal_hub.ts";
import { explain, inWords } from "../loop/waiters.ts";
import { provideNested } from "./current_job.ts";
import type { SubmitOptions } from "./executor.ts";
import type { NestedSpec } from "./link.ts";
import { type ExecutorTask, type JobResult, toTaskRef } from "./module_task.ts";
import type { NestedLine, OpenNested } from "./nested_line.ts";
import {
  checkSubmitOptions,
  copyArguments,
  type JobSettings,
} from "./submit_options.ts";
import { transportedLocals } from "./transport.ts";

/** Future of the result. Ends when the pool says so, or the job that submitted it has ended. */
class NestedJob<T> extends Future<T> implements OpenNested {
  readonly parentId: number;
  readonly #line: NestedLine;
  readonly #number: number;
  readonly #onProgress: JobSettings["onProgress"];
  /** Set once it is to be cancelled; the first reason counts. */
  #asked: { readonly reason: unknown } | null = null;
  #subscription: Subscription | null = null;

  constructor(
    loop: EventLoop,
    name: string,
    line: NestedLine,
    parentId: number,
    onProgress: JobSettings["onProgress"],
  ) {
    super(loop, name);
    this.parentId = parentId;
    this.#line = line;
    this.#onProgress = onProgress;
    this.#number = line.add(this);
    loop[core].outside.outsideBegan();
  }

  /** Sends the job to the pool; fails if it cannot be sent. */
  send(
    spec: Omit<NestedSpec, "number">,
    signal: AbortSignal | undefined,
  ): void {
    if (signal?.aborted) {
      this.#line.delete(this.#number);
      super.cancel(cancellationBy(signal));
      this.#leave();
      return;
    }
    try {
      this.#line.sender.submitted(this.parentId, {
        ...spec,
        number: this.#number,
      });
    } catch (error) {
      this.#line.delete(this.#number);
      this.threw(error);
      return;
    }
    if (signal === undefined) return;
    this.#subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    if (this.#asked === null) {
      this.#asked = { reason };
      this.#line.sender.withdrew(this.parentId, this.#number, reason);
    }
    return true;
  }

  override setResult(_value: T): never {
    throw new MisuseError(
      `Cannot set the result of ${this[inWords]()}: its function decides it`,
    );
  }

  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this[inWords]()}: its function decides it`,
    );
  }

  // -- What the pool says --

  returned(value: unknown): void {
    super.setResult(value as T);
    this.#leave();
  }

  threw(error: unknown): void {
    const cancelled = cancellationIn(error);
    if (cancelled === null) this.fail(error);
    else if (this.#asked !== null) super.cancel(this.#asked.reason);
    else this.finishCancelled(cancelled);
    this.#leave();
  }

  progressed(value: unknown): void {
    if (this.#onProgress !== null) this.loop.callSoon(this.#onProgress, value);
  }

  abandon(reason: CancelledError): void {
    super.cancel(this.#asked === null ? reason : this.#asked.reason);
    this.#leave();
  }

  #leave(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = null;
    this.loop[core].outside.outsideEnded();
  }

  /** Facts about a wait for the job, which ends elsewhere. */
  override [explain](): WaitFacts {
    return { kind: "job", target: this, behind: [] };
  }

  override [inWords](): string {
    return this.label === "" ? "a job" : `job "${this.label}"`;
  }

  override get [Symbol.toStringTag](): string {
    return "NestedJob";
  }
}

function submitNested<A extends readonly unknown[], R>(
  line: NestedLine,
  parentId: number,
  loop: EventLoop,
  task: ExecutorTask<A, R>,
  args: A,
  options: SubmitOptions | undefined,
): Future<JobResult<R>> {
  const ref = toTaskRef(task, "submit a job");
  const given = copyArguments(args);
  const settings = checkSubmitOptions(options);
  const { rank, deadlineMs, transfer, idempotent, onProgress } = settings;
  const name = settings.name || ("name" in ref ? ref.name : "");
  const job = new NestedJob<JobResult<R>>(
    loop,
    name,
    line,
    parentId,
    onProgress,
  );
  job.send({
    name,
    task: ref,
    args: given,
    transfer,
    rank,
    remainingMs: deadlineMs - loop.time(),
    idempotent,
    locals: transportedLocals(),
    tellsProgress: onProgress !== null,
  }, settings.signal);
  return job;
}

provideNested(submitNested);
