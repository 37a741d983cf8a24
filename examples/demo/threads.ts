/**
 * The child that has the threads.
 *
 * @module
 */

import { type Coroutine, scoped, sleep, ThreadPool } from "@rota/rota";
import type { Job } from "./job.ts";

/** How many threads there are. */
export const THREADS = 2;

/** Runs a pool of threads until it is stopped, and ends them then. */
export function* runThreads(
  job: Job,
  started: () => void,
): Coroutine<void> {
  const pool = new ThreadPool({ maxWorkers: THREADS });
  yield* scoped(pool, function* () {
    job.pool = pool;
    started();
    yield* sleep(Infinity);
  });
}
