/**
 * A watchdog: a second thread that names the task which blocks the first, while it
 * blocks.
 *
 * From a local folder it needs --allow-read for the script of its thread. To end a
 * process that blocks for too long, or whose shutdown hangs, it needs --allow-ffi or
 * --allow-run.
 */

import { createTask, run, sleep, Watchdog } from "@rota/rota";
import { assert } from "@std/assert";

const blocks: string[] = [];

await using watchdog = new Watchdog({
  blockMs: 100,
  onBlock: ({ description, blockedMs }) => {
    blocks.push(description);
    console.log(`${description} has blocked for ${Math.round(blockedMs)} ms`);
  },
});
await watchdog.ready();

await run(async () => {
  createTask(function* () {
    for (;;) yield* sleep(10); // innocent
  }, { name: "ticker" });
  const report = createTask(function* () {
    yield* sleep(50);
    const end = Date.now() + 400;
    while (Date.now() < end); // a computation that yields to nobody
  }, { name: "report" });
  await report;
  while (blocks.length === 0) await sleep(20);
});

assert(blocks.includes('task "report"'));
