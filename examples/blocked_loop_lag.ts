/**
 * A callback that blocks the thread delays everything else: how to see it.
 *
 * A task that wakes every 10 ms measures how late it is. Without a blocking
 * callback that is next to nothing; a computation of 80 ms shows as a lag of
 * about 80 ms.
 */

import { getRunningLoop, run, sleep } from "@rota/rota";
import { assert } from "@std/assert";

const EVERY_MS = 10;
const BLOCKED_MS = 80;

/** Keeps the thread busy, as a long computation would. */
function compute(durationMs: number): void {
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs);
}

await run(function* () {
  const loop = getRunningLoop();
  const lagsMs: number[] = [];
  const monitor = loop.createTask(function* () {
    for (;;) {
      const dueMs = loop.time() + EVERY_MS;
      yield* sleep(EVERY_MS);
      lagsMs.push(loop.time() - dueMs);
    }
  }, { name: "lag monitor" });

  yield* sleep(100);
  loop.callSoon(compute, BLOCKED_MS);
  yield* sleep(200);
  monitor.cancel();

  const worstMs = Math.max(...lagsMs);
  const usualMs = lagsMs.sort((a, b) => a - b)[lagsMs.length >> 1]!;
  console.log(`usual lag: ${usualMs.toFixed(2)} ms`);
  console.log(`worst lag: ${worstMs.toFixed(2)} ms`);
  assert(worstMs > BLOCKED_MS / 2, "the lag was not seen");
});
