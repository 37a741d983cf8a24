/**
 * The interface between a pool and one of its workers, be it a thread or a
 * process: what the pool asks of a worker, and what it is told.
 *
 * A link is made by a {@linkcode LinkStarter} and is in one of four states:
 * starting, until `ready`; working; closing, after `close()`; and ended. Its
 * listener is never called during a call of the pool's, never before the starter
 * has returned, and never after `ended`, which comes exactly once whatever happens.
 *
 * @module
 */
import type { WorkerCrashKind } from "../errors.ts";
import type { AnyJob } from "./job.ts";
import type { TaskRef } from "./module_task.ts";

/** A job as it is sent to a worker. */
export interface JobSpec {
  /** Number of this run of the job, unique in its pool. */
  readonly id: number;
  readonly name: string;
  readonly task: TaskRef;
  readonly args: readonly unknown[];
  readonly transfer: readonly Transferable[];
  /** Time until its deadline; Infinity if it has none. */
  readonly remainingMs: number;
  /** Task-local values that go along, by the name under which they were declared; null if there are none. */
  readonly locals: Readonly<Record<string, unknown>> | null;
}

/** A job that a job submits, as its worker sends it. */
export interface NestedSpec extends Omit<JobSpec, "id"> {
  /** Number of the job among those of its worker. */
  readonly number: number;
  /** Priority as a number. */
  readonly rank: number;
  readonly idempotent: boolean;
  /** Whether its submitter listens to `progress`. */
  readonly tellsProgress: boolean;
}

/** A worker, as its pool sees it. */
export interface WorkerLink {
  /** Sends a job. Throws if an argument cannot be sent; nothing was sent then. */
  send(job: JobSpec): void;
  /** Aborts the signal of a job. Does nothing if the worker has not got it, or has ended it. */
  abort(id: number, reason: unknown): void;
  /** Asks whether the worker reacts: `answered` is the reply. */
  ping(): void;
  /** Has the worker end once it has no job. */
  close(): void;
  /** Ends the worker at once, whatever it does. Before `ready` the link puts it off until it is safe. */
  kill(): void;
  /** CPU time that the worker has used, in milliseconds; NaN if that cannot be known. */
  cpuMs(): number;
  /** Whether the worker goes on although it has `ended`; undefined if that cannot be known. */
  livesOn(): boolean | undefined;
}

/** How a worker ended. */
export interface LinkEnd {
  /** `"closed"` after `close()`, `"killed"` after `kill()` or by a signal from outside, else what went wrong. */
  readonly kind: "closed" | WorkerCrashKind;
  /** Exit code, if it is known. */
  readonly exitCode: number | null;
  /** Error that the worker threw, or why it could not start. */
  readonly cause: unknown;
  /** Numbers of jobs that were sent and that the worker has certainly not begun; none if that is not known. */
  readonly unread?: readonly number[] | undefined;
  /** Numbers of jobs that came to the link when the worker was gone: nothing of them was sent, and nothing moved. */
  readonly unsent?: readonly number[] | undefined;
}

/** Listener of a pool for one of its workers. */
export interface LinkListener {
  /** The worker takes jobs now. */
  ready(): void;
  /** A job returned. */
  returned(id: number, value: unknown): void;
  /** A job threw, or its arguments or its result could not be handed over. */
  threw(id: number, error: unknown): void;
  /** A job called `progress`. */
  progressed(id: number, value: unknown): void;
  /**
   * A job submits another one. Returns that; null if the submitter has ended. The
   * link cancels it when the submitter is cancelled or has ended, or its worker has.
   *
   * @throws {Error} If the pool does not take it.
   */
  nested(
    id: number,
    spec: NestedSpec,
    onProgress: ((value: unknown) => void) | null,
  ): AnyJob | null;
  /** The reply to `ping`, with the memory that the worker uses. */
  answered(usedBytes: number): void;
  /** The worker has ended. */
  ended(end: LinkEnd): void;
}

/** Starts a worker. Never throws: what goes wrong is told by `ended` with the kind `"start"`. */
export type LinkStarter = (listener: LinkListener) => WorkerLink;
