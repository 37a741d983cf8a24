/**
 * A watchdog: a thread that names the task which blocks this one, while it blocks, and
 * those which block the threads of a pool.
 *
 * From a local folder it needs --allow-read for the script of its thread. To end a
 * process that blocks for too long, or whose shutdown hangs, it needs --allow-ffi or
 * --allow-run.
 */

import { createTask, run, sleep, ThreadPool, Watchdog } from "@rota/rota";
import { assert } from "@std/assert";

const blocks: string[] = [];

await using watchdog = new Watchdog({
  blockMs: 100,
  onBlock: ({ thread, state, description, blockedMs }) => {
    const where = thread ?? "main";
    blocks.push(`${where}: ${description}`);
    const verb = state === "over" ? "has blocked" : "blocks";
    console.log(
      `${where}: ${description} ${verb} for ${Math.round(blockedMs)} ms`,
    );
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
  // The threads of a pool are watched, too: the steps of their loops.
  await using pool = new ThreadPool({ name: "crew", maxWorkers: 1 });
  const compute = function* () {
    yield; // a generator runs in the thread's loop
    const end = Date.now() + 400;
    while (Date.now() < end);
  };
  const isTold = () => blocks.some((block) => block.startsWith("crew: "));
  while (!isTold()) await pool.submit(compute, []);
});

assert(blocks.includes('main: task "report"'));
