/**
 * What may become of a job, kept as plainly as possible: facts are noted as they
 * happen, and every outcome has to follow from them.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  CancelledError,
  type Future,
  OverloadError,
  TimeoutError,
} from "../../../mod.ts";
import { WorkerCrashError } from "../../../src/errors.ts";
import type { PoolSettings } from "../../../src/workers/pool_options.ts";
import type { FakeWorker } from "../support/fake_workers.ts";

/** Thrown by the function of a job. */
export class OwnError extends Error {}

/** Message of the error with which a worker refuses a job that cannot be sent. */
export const REFUSED = "cannot be sent";

/** Outcome as it is counted. */
export type Counted = "done" | "failed" | "cancelled" | "crashed";

/** A job, as the reference sees it. */
export class NaiveJob {
  readonly name: string;
  readonly rank: number;
  readonly mayRunAgain: boolean;
  /** Whether nothing of it is gone when it was sent. */
  readonly isWhole: boolean;
  readonly deadlineAtMs: number;
  readonly signal: AbortSignal | undefined;
  future: Future<unknown> | null = null;
  /** Place among those of its priority: the later, the greater. */
  place: number;
  state: "line" | "running" | "over" | "settled" = "line";
  worker: FakeWorker | null = null;
  sends = 0;
  settled = 0;
  /** Whether somebody has been told that it will end: by `cancel`, a signal, the shutdown. */
  isCancelled = false;
  /** Whether a shutdown may have cancelled it: the reference does not count its grace. */
  mayBeCancelled = false;
  /** Whether its deadline has passed before it had ended. */
  isLate = false;
  /** Outcome in the worker: none if that has died. */
  returned: unknown = undefined;
  hasReturned = false;
  threw: unknown = undefined;
  isOrphan = false;
  /** Whether a start has failed, or the line was full, while it was in line. */
  mayFailToStart = false;
  mayBeDropped = false;
  /** Values that it has told, and those that `onProgress` got. */
  readonly told: number[] = [];
  readonly heard: number[] = [];

  constructor(
    name: string,
    rank: number,
    place: number,
    mayRunAgain: boolean,
    isWhole: boolean,
    deadlineAtMs: number,
    signal: AbortSignal | undefined,
  ) {
    this.name = name;
    this.rank = rank;
    this.place = place;
    this.mayRunAgain = mayRunAgain;
    this.isWhole = isWhole;
    this.deadlineAtMs = deadlineAtMs;
    this.signal = signal;
  }

  get isOpen(): boolean {
    return this.state !== "settled";
  }
}

/** How a job has ended, which has to follow from what is known of it. */
export function judge(job: NaiveJob, settings: PoolSettings): Counted {
  const { future } = job;
  const say = (what: string) => `${job.name} ${what}`;
  if (future!.cancelled()) {
    assert(
      job.isCancelled || job.mayBeCancelled ||
        job.threw instanceof CancelledError,
      say("was cancelled by nobody"),
    );
    return "cancelled";
  }
  const error = future!.exception();
  if (error === undefined) {
    assert(job.hasReturned, say("has a result from nowhere"));
    assert(!job.isCancelled && !job.isLate, say("has a result, and was asked"));
    assertEquals(future!.result(), job.returned);
    assertEquals(job.heard, job.told, say("has not told all"));
    return "done";
  }
  if (error instanceof OwnError) {
    if (error.message !== REFUSED) assertEquals(error, job.threw);
    return "failed";
  }
  if (error instanceof TimeoutError) {
    assert(job.isLate && !job.isCancelled, say("timed out too soon"));
    return "cancelled";
  }
  if (error instanceof OverloadError) {
    assert(job.mayBeDropped, say("was dropped"));
    return "cancelled";
  }
  assert(error instanceof WorkerCrashError, say(`failed with ${error}`));
  assert(!job.isCancelled && !job.isLate, say("crashed, and was asked"));
  if (error.kind === "start") {
    assert(job.mayFailToStart, say("did not start, for no reason"));
  } else {
    assert(job.isOrphan, say("crashed with a worker that lives"));
    assert(
      !job.mayRunAgain || job.sends > settings.retriesMax,
      say("could have run again"),
    );
  }
  return "crashed";
}
