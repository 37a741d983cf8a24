/**
 * Counts of a pool: how its jobs have ended, and how long they took.
 *
 * @module
 */
import { Histogram } from "../structures/histogram.ts";
import type { ExecutorStats, Percentiles } from "./executor.ts";

/** How a job has ended, as it is counted. */
export type JobEnd = "done" | "failed" | "cancelled" | "crashed";

/** Counts of workers by their state. */
export type WorkerCounts = ExecutorStats["workers"];

/** Counts that only grow. */
export class PoolCounts implements Record<JobEnd, number> {
  done = 0;
  failed = 0;
  cancelled = 0;
  crashed = 0;
  rerun = 0;
  readonly waitMs: Histogram = new Histogram();
  readonly runMs: Histogram = new Histogram();

  /** Copies the counts, together with what is the case now. */
  snapshot(
    queued: number,
    running: number,
    workers: WorkerCounts,
    lostThreads: number,
  ): ExecutorStats {
    const { done, failed, cancelled, crashed, rerun } = this;
    return Object.freeze({
      queued,
      running,
      done,
      failed,
      cancelled,
      crashed,
      rerun,
      workers: Object.freeze(workers),
      lostThreads,
      waitMs: percentilesOf(this.waitMs),
      runMs: percentilesOf(this.runMs),
    });
  }
}

/** Reads median and 99th percentile from a histogram. */
function percentilesOf(histogram: Histogram): Percentiles {
  return Object.freeze({
    p50: histogram.quantile(0.5),
    p99: histogram.quantile(0.99),
  });
}
