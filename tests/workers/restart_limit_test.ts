/**
 * Restart limit: backoff with full jitter, and giving up.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { RestartLimit } from "../../src/workers/restart_limit.ts";

const OPTIONS = {
  maxRestarts: 3,
  withinMs: 10_000,
  backoffMinMs: 100,
  backoffMaxMs: 1_000,
  seed: 5,
};

/** Delays after failures in a row, each at once after the last. */
function delays(limit: RestartLimit, count: number): number[] {
  let nowMs = 0;
  return Array.from({ length: count }, () => {
    limit.failed(nowMs, nowMs, false);
    const delayMs = limit.nextStartMs - nowMs;
    nowMs = limit.nextStartMs;
    return delayMs;
  });
}

Deno.test("the first attempt after a failure comes at once, the others after delays up to a limit that doubles", () => {
  const counted = new Array(8).fill(0);
  for (let seed = 0; seed < 500; seed++) {
    const all = delays(new RestartLimit({ ...OPTIONS, seed }), 8);
    assertEquals(all[0], 0);
    all.slice(1).forEach((delayMs, index) => {
      const limitMs = Math.min(100 * 2 ** index, 1_000);
      assert(delayMs >= 0 && delayMs < limitMs);
      counted[index] += delayMs / limitMs / 500;
    });
  }
  // Full jitter: half of the limit on average.
  for (const mean of counted.slice(0, 7)) assert(Math.abs(mean - 0.5) < 0.05);
});

Deno.test("the same seed gives the same delays", () => {
  const [a, b, c] = [5, 5, 6].map((seed) =>
    delays(new RestartLimit({ ...OPTIONS, seed }), 6)
  );
  assertEquals(a, b);
  assertNotEquals(a, c);
});

Deno.test("work that was done ends the row", () => {
  const limit = new RestartLimit(OPTIONS);
  delays(limit, 4);
  assertEquals([limit.failures, limit.exhausted], [4, true]);
  limit.reset();
  assertEquals([limit.failures, limit.exhausted], [0, false]);
  assertEquals(limit.nextStartMs, -Infinity);
  limit.failed(50, 60, false);
  assertEquals(limit.nextStartMs, 60);
});

Deno.test("failures that are further apart are not in a row, however long a start takes", () => {
  const limit = new RestartLimit(OPTIONS);
  let nowMs = 0;
  for (let round = 0; round < 10; round++) {
    limit.failed(nowMs, nowMs, false);
    nowMs += 10_001;
  }
  assertEquals([limit.failures, limit.exhausted], [1, false]);
  for (let round = 0; round < 3; round++) {
    limit.failed(nowMs - 5_000, nowMs + 20_000, false);
    nowMs += 25_001;
  }
  assertEquals([limit.failures, limit.exhausted], [4, true]);
});

Deno.test("workers that died of a job delay the next one, and are no reason to give up", () => {
  const limit = new RestartLimit(OPTIONS);
  for (let round = 0; round < 20; round++) limit.failed(0, 0, true);
  assertEquals([limit.failures, limit.exhausted], [20, false]);
  for (let round = 0; round < 3; round++) limit.failed(0, 0, false);
  assertEquals(limit.exhausted, false);
  limit.failed(0, 0, false);
  assertEquals(limit.exhausted, true);
});

Deno.test("no delay stays no delay, however many failures there are", () => {
  const limit = new RestartLimit({
    ...OPTIONS,
    maxRestarts: Infinity,
    backoffMinMs: 0,
    backoffMaxMs: 0,
  });
  for (let n = 0; n < 1_100; n++) limit.failed(0, 0, true);
  assertEquals(limit.nextStartMs, 0);
});
