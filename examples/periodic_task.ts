/**
 * Work every 20 ms, without drift.
 *
 * Sleeping for 20 ms each time would add the lateness of every wake-up and the
 * time of the work to the period. Sleeping until a multiple of the period does
 * not. A round that took too long is skipped instead of being made up for.
 */

import { type Coroutine, getRunningLoop, run, sleep } from "@rota/rota";
import { assert } from "@std/assert";

/** Calls `action` every `periodMs`, until cancelled. */
function* every(periodMs: number, action: () => void): Coroutine<never> {
  const loop = getRunningLoop();
  const startMs = loop.time();
  for (let round = 1;; round++) {
    yield* sleep(startMs + round * periodMs - loop.time());
    action();
    const passed = Math.floor((loop.time() - startMs) / periodMs);
    round = Math.max(round, passed);
  }
}

const PERIOD_MS = 20;
await run(function* () {
  const loop = getRunningLoop();
  const startMs = loop.time();
  const momentsMs: number[] = [];
  const periodic = loop.createTask(
    every(PERIOD_MS, () => momentsMs.push(loop.time() - startMs)),
    { name: "periodic" },
  );
  yield* sleep(10.5 * PERIOD_MS);
  periodic.cancel();

  console.log(`ran at ${momentsMs.map((ms) => ms.toFixed(1)).join(", ")} ms`);
  assert(momentsMs.length > 0);
  for (const [index, ms] of momentsMs.entries()) {
    assert(ms >= (index + 1) * PERIOD_MS, "it ran early");
  }
});
