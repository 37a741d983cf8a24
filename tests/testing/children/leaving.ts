/**
 * Tests for a test runner of their own: one passes, one leaves things behind, one is
 * ignored. Run by `test_loop_test.ts`.
 *
 * @module
 */
import { createTask, sleep } from "../../../mod.ts";
import { testLoop } from "../../../src/testing/mod.ts";

testLoop("leaves nothing", async ({ clock, loop }) => {
  await sleep(3_600_000);
  if (clock.nowMs !== loop.time()) throw new Error("another clock");
});

testLoop("leaves a task", function* () {
  createTask(() => sleep(1_000), { name: "forgotten" });
  yield* sleep(1);
});

testLoop("is ignored", () => {
  throw new Error("it runs");
}, { ignore: true });
