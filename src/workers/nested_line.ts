/**
 * Jobs that the jobs of a worker have submitted to its pool, in the worker: which
 * there are, and whom a reply of the pool is for.
 *
 * The module is light to load, like `job_runner.ts`: their futures need the loop,
 * and are made by `nested_job.ts`, which a job that knows `currentJob` has loaded.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import type { NestedSpec } from "./link.ts";

/** Messages of a worker for jobs that submit others. */
export interface NestedSender {
  /** The job `id` submits another one. Throws if an argument cannot be sent; nothing was sent then. */
  submitted(id: number, spec: NestedSpec): void;
  /** The job `id` cancels one that it has submitted. Must not throw. */
  withdrew(id: number, number: number, reason: unknown): void;
}

/** Future of a job that a job has submitted, as the line sees it. */
export interface OpenNested {
  /** Number of the job that has submitted it. */
  readonly parentId: number;
  returned(value: unknown): void;
  threw(error: unknown): void;
  progressed(value: unknown): void;
  /** Ends it as cancelled, whatever the pool says later. */
  abandon(reason: CancelledError): void;
}

/** The jobs of a worker that its own jobs have submitted, and that have not ended. */
export class NestedLine {
  readonly sender: NestedSender;
  readonly #open = new Map<number, OpenNested>();
  #lastNumber = 0;

  constructor(sender: NestedSender) {
    this.sender = sender;
  }

  /** Takes in a job, and returns its number. */
  add(job: OpenNested): number {
    this.#open.set(++this.#lastNumber, job);
    return this.#lastNumber;
  }

  /** Takes out a job that has ended, or that could not be sent. */
  delete(number: number): void {
    this.#open.delete(number);
  }

  // -- Replies; those for jobs that have left come too late --

  returned(number: number, value: unknown): void {
    this.#take(number)?.returned(value);
  }

  threw(number: number, error: unknown): void {
    this.#take(number)?.threw(error);
  }

  progressed(number: number, value: unknown): void {
    this.#open.get(number)?.progressed(value);
  }

  #take(number: number): OpenNested | undefined {
    const job = this.#open.get(number);
    this.#open.delete(number);
    return job;
  }

  // -- The end --

  /** Ends the jobs of a job that has ended. The pool cancels them by itself. */
  parentEnded(parentId: number): void {
    if (this.#open.size === 0) return;
    const reason = new CancelledError("the job that submitted it has ended");
    for (const [number, job] of this.#open) {
      if (job.parentId !== parentId) continue;
      this.#open.delete(number);
      job.abandon(reason);
    }
  }

  /** Ends all jobs: nobody takes replies any more. */
  close(reason: CancelledError): void {
    const jobs = [...this.#open.values()];
    this.#open.clear();
    for (const job of jobs) job.abandon(reason);
  }
}
