/**
 * Jobs that the jobs of one worker have submitted to their own pool, at the pool:
 * they are submitted here, and their outcomes sent back.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import type { Runnable } from "../loop/runnable.ts";
import { inWords } from "../loop/waiters.ts";
import { dropHandles } from "./handle_arguments.ts";
import type { AnyJob } from "./job.ts";
import type { LinkListener, NestedSpec } from "./link.ts";

/** Replies to the worker. Each job has exactly one of `returned` and `threw`. */
export interface NestedReplies {
  /** Throws if the value cannot be sent; nothing was sent then. */
  returned(number: number, value: unknown): void;
  /** Throws if the error cannot be sent; nothing was sent then. */
  threw(number: number, error: unknown): void;
  /** Throws if the value cannot be sent. */
  progressed(number: number, value: unknown): void;
}

/** The jobs that the jobs of a worker have submitted. */
export class NestedDesk {
  readonly #listener: LinkListener;
  readonly #replies: NestedReplies;
  /** Jobs that have not ended by their numbers, by those of the jobs that have submitted them. */
  readonly #families = new Map<number, Map<number, AnyJob>>();

  constructor(listener: LinkListener, replies: NestedReplies) {
    this.#listener = listener;
    this.#replies = replies;
  }

  // -- What the worker asks for --

  /** The job `parentId` submits a job. */
  submit(parentId: number, spec: NestedSpec): void {
    const { number, args } = spec;
    const onProgress = spec.tellsProgress
      ? (value: unknown) => this.#replies.progressed(number, value)
      : null;
    let job: AnyJob | null;
    try {
      job = this.#listener.nested(parentId, spec, onProgress);
    } catch (error) {
      dropHandles(args);
      this.threw(number, error);
      return;
    }
    if (job === null) {
      dropHandles(args);
      return;
    }
    let family = this.#families.get(parentId);
    if (family === undefined) this.#families.set(parentId, family = new Map());
    family.set(number, job);
    job.addWaiter(new Outcome(this, parentId, number, job, args));
  }

  /** The job `parentId` cancels one of its jobs. */
  withdraw(parentId: number, number: number, reason: unknown): void {
    this.#families.get(parentId)?.get(number)?.cancel(reason);
  }

  // -- What becomes of the submitters --

  /** Cancels the jobs of a job that is to end. */
  cancel(parentId: number, reason: unknown): void {
    const family = this.#families.get(parentId);
    if (family === undefined) return;
    for (const job of [...family.values()]) job.cancel(reason);
  }

  /** Cancels the jobs of a job that has ended, and forgets them. */
  parentEnded(parentId: number): void {
    const family = this.#families.get(parentId);
    if (family === undefined) return;
    this.#families.delete(parentId);
    const reason = new CancelledError("the job that submitted it has ended");
    for (const job of family.values()) job.cancel(reason);
  }

  /** Cancels all jobs, as the worker has ended. */
  close(): void {
    for (const parentId of [...this.#families.keys()]) {
      this.parentEnded(parentId);
    }
  }

  // -- What becomes of the jobs --

  /** A job has ended. Returns whether its submitter has not. */
  leave(parentId: number, number: number): boolean {
    const family = this.#families.get(parentId);
    if (family === undefined) return false;
    family.delete(number);
    if (family.size === 0) this.#families.delete(parentId);
    return true;
  }

  /** Sends a result, or why it cannot be sent. */
  returned(number: number, job: AnyJob, value: unknown): void {
    try {
      this.#replies.returned(number, value);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      this.threw(
        number,
        new TypeError(
          `Cannot hand over the result of ${job[inWords]()}: ${why}`,
          { cause },
        ),
      );
    }
  }

  /** Sends an error, or why it cannot be sent. */
  threw(number: number, error: unknown): void {
    try {
      this.#replies.threw(number, error);
    } catch (failure) {
      const text = `An error that cannot be sent: ${failure}`;
      this.#replies.threw(number, new Error(text));
    }
  }
}

/** Waits for the outcome of a job, and sends it to the one that submitted it. */
class Outcome implements Runnable {
  readonly #desk: NestedDesk;
  readonly #parentId: number;
  readonly #number: number;
  readonly #job: AnyJob;
  readonly #args: readonly unknown[];

  constructor(
    desk: NestedDesk,
    parentId: number,
    number: number,
    job: AnyJob,
    args: readonly unknown[],
  ) {
    this.#desk = desk;
    this.#parentId = parentId;
    this.#number = number;
    this.#job = job;
    this.#args = args;
  }

  /** Called in a turn when the job has ended. */
  run(): void {
    const desk = this.#desk;
    const job = this.#job;
    const number = this.#number;
    if (job.runs === 0) dropHandles(this.#args);
    // A failure that nobody gets is reported, as nobody has looked at it.
    if (!desk.leave(this.#parentId, number)) return;
    let value: unknown;
    try {
      value = job.result();
    } catch (error) {
      desk.threw(number, error);
      return;
    }
    desk.returned(number, job, value);
  }
}
