/**
 * What `console.log` and `JSON.stringify` show of futures and tasks.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { createTask, Future, getRunningLoop, run, sleep } from "../mod.ts";

Deno.test("Futures and tasks are shown in one line, and as JSON without their loop", async () => {
  const shown = await run(async () => {
    const loop = getRunningLoop();
    const future = new Future<number>(loop, "an answer");
    const task = createTask(() => sleep(1), { name: "download" });
    const failing = createTask(() => {
      throw new Error("no");
    }, { name: "failing" });
    const cancelled = createTask(() => sleep(1), { name: "cancelled" });
    const before = [Deno.inspect(future), Deno.inspect({ task })];
    cancelled.cancel();
    await task;
    failing.exception();
    return [
      ...before,
      ...[task, failing, cancelled].map((task) => JSON.stringify(task)),
    ];
  }, { host: "virtual" });
  assertEquals(shown, [
    "Future (an answer, pending)",
    '{ task: Task (task "download", pending) }',
    '{"name":"task \\"download\\"","state":"done"}',
    '{"name":"task \\"failing\\"","state":"failed"}',
    '{"name":"task \\"cancelled\\"","state":"cancelled"}',
  ]);
});
