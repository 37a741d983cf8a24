/**
 * Tests on virtual time: a client that retries with longer and longer delays, a
 * clock that is moved by hand, and a run for each point at which the client can be
 * cancelled.
 *
 * In a test file, `testLoop` takes the place of `runTestLoop`.
 */

import { Semaphore, sleep, timeout, TimeoutError } from "@rota/rota";
import {
  cancelEverywhere,
  mockAsync,
  runTestLoop,
  runVirtual,
} from "@rota/rota/testing";
import { assertEquals, assertRejects } from "@std/assert";

/** Calls `send` until it succeeds, one caller at a time, for ten minutes at most. */
async function deliver(
  send: () => PromiseLike<string>,
  line: Semaphore,
): Promise<string> {
  using _permit = await line.acquire();
  return await timeout(600_000, async () => {
    for (let delayMs = 1_000;; delayMs *= 2) {
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        await sleep(delayMs);
      }
    }
  });
}

// Ten minutes of retries, at once. Whatever is left over would fail the test.
await runTestLoop(async ({ clock }) => {
  const line = new Semaphore(1);
  const down = mockAsync<[], string>().throws(new RangeError("down"));
  await assertRejects(() => deliver(down, line), TimeoutError);
  assertEquals(clock.nowMs, 600_000);
  const tries = down.awaits.map(({ startMs }) => startMs / 1_000);
  console.log(`tries at ${tries.join(", ")} s, given up at 600 s`);
});

// Step by step: the clock stands still until the test moves it.
await runVirtual(async (clock) => {
  const flaky = mockAsync<[], string>()
    .throwsOnce(new RangeError("down"))
    .throwsOnce(new RangeError("down"))
    .returns("delivered", { delayMs: 50 });
  const line = new Semaphore(1);
  let result = "";
  const work = deliver(flaky, line).then((text) => result = text);
  await clock.advance(999);
  flaky.assertAwaitCount(1);
  await clock.advance(1);
  flaky.assertAwaitCount(2);
  await clock.next();
  flaky.assertAwaitCount(3);
  await clock.next();
  await work;
  console.log(`${result} after ${clock.nowMs} ms`);
}, { autojump: false });

// One run for each point at which the client can be cancelled: the line is free again.
const points = await cancelEverywhere(
  async (line) => {
    const flaky = mockAsync<[], string>()
      .throwsOnce(new RangeError("down"))
      .returns("delivered", { delayMs: 50 });
    await deliver(flaky, line);
  },
  (line) => assertEquals(line.value, 1),
  { setup: () => new Semaphore(1) },
);
console.log(`cancelled at ${points} points: nothing is lost`);
