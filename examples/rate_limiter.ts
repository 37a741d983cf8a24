/**
 * A rate limiter: a number of permits per interval.
 *
 * Waiters are served in order, as soon as there is a permit. With `onLimit:
 * "fail"` an error says when to retry instead.
 */

import {
  gather,
  getRunningLoop,
  RateLimiter,
  RateLimitError,
  run,
} from "@rota/rota";
import { assertEquals, assertInstanceOf } from "@std/assert";

await run(async () => {
  const loop = getRunningLoop();
  const times: number[] = [];
  const bucket = new RateLimiter({ permits: 10, intervalMs: 1_000, burst: 3 });
  await gather(
    Array.from({ length: 6 }, (_, n) => async () => {
      await bucket.acquire();
      times.push(loop.time());
      console.log(`${loop.time()} ms: call ${n}`);
    }),
  );
  assertEquals(times, [0, 0, 0, 100, 200, 300]);

  const window = new RateLimiter({
    permits: 2,
    intervalMs: 500,
    algorithm: "sliding-window",
    onLimit: "fail",
  });
  try {
    for (;;) await window.acquire();
  } catch (error) {
    assertInstanceOf(error, RateLimitError);
    console.log(`too many: again in ${error.retryAfterMs} ms`);
    assertEquals(error.retryAfterMs, 500);
  }
}, { host: "virtual" });
