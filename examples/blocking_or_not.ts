/**
 * Blocking against non-blocking: three jobs of 50 ms each.
 *
 * Jobs that block the thread run one after the other, and nothing else runs
 * meanwhile. Jobs that wait on the loop overlap.
 */

import { type Coroutine, getRunningLoop, run, sleep } from "@rota/rota";
import { assert } from "@std/assert";

const JOB_MS = 50;

function* blockingJob(): Coroutine<void> {
  const endMs = performance.now() + JOB_MS;
  while (performance.now() < endMs);
}

function* waitingJob(): Coroutine<void> {
  yield* sleep(JOB_MS);
}

/** Runs three jobs beside a ticker of 5 ms. */
function* measure(
  name: string,
  job: () => Coroutine<void>,
): Coroutine<{ tookMs: number; ticks: number }> {
  const loop = getRunningLoop();
  let ticks = 0;
  const ticker = loop.createTask(function* () {
    for (;;) {
      yield* sleep(5);
      ticks++;
    }
  });
  const startMs = loop.time();
  const jobs = [job, job, job].map((body) => loop.createTask(body));
  for (const task of jobs) yield* task;
  const tookMs = loop.time() - startMs;
  ticker.cancel();
  console.log(`${name}: ${tookMs.toFixed(0)} ms, ${ticks} ticks meanwhile`);
  return { tookMs, ticks };
}

await run(function* () {
  const blocking = yield* measure("blocking", blockingJob);
  const waiting = yield* measure("non-blocking", waitingJob);
  assert(blocking.tookMs >= 3 * JOB_MS);
  assert(blocking.ticks === 0 && waiting.ticks > 0);
});
