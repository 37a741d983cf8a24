/**
 * A supervisor of a pool with a busy thread, a worker loop that blocks and a process that ignores SIGTERM.
 *
 * @module
 */
import { run, sleep } from "../../../mod.ts";
import { isListened } from "../../../src/host/signals.ts";
import { waitForShutdown } from "../../../src/supervise/graceful_shutdown.ts";
import { childProcess } from "../../../src/supervise/supervised_process.ts";
import { supervisedPool } from "../../../src/supervise/supervised_pool.ts";
import { Supervisor } from "../../../src/supervise/supervisor.ts";
import { workerLoop } from "../../../src/supervise/worker_loop.ts";
import type { LoopHandle } from "../../../src/workers/loop_handle.ts";
import { ThreadPool } from "../../../src/workers/thread_pool.ts";

const module = new URL("../support/worker_loops.ts", import.meta.url);
/** Whether the process has more time to end than the test takes, so that only a second signal ends the program. */
const isToBeForced = Deno.env.get("SCENE") === "forced";
const script = "trap '' TERM; echo up; while :; do sleep 0.05; done";

const supervisor = new Supervisor({
  name: "top",
  children: [
    {
      id: "pool",
      shutdown: 200,
      start: supervisedPool(
        () => new ThreadPool({ maxWorkers: 1, cancelGraceMs: 100 }),
        {
          warmUp: true,
        },
      ),
    },
    {
      id: "loop",
      shutdown: 200,
      start: workerLoop({ module, name: "serve" }),
    },
    {
      id: "process",
      shutdown: isToBeForced ? 50_000 : 200,
      start: childProcess(["sh", "-c", script], {
        ready: (line) => line === "up",
      }),
    },
  ],
});
supervisor.subscribe((event) => {
  if ("childId" in event && event.type === "ended") {
    console.log(`${event.childId} ended ${event.end?.kind}`);
  }
});

await run(async () => {
  await supervisor.start();
  const [process, loop, pool] = await supervisor.whichChildren();
  const busy = (pool!.run!.value as ThreadPool).submit(() => {
    for (;;);
  }, []);
  busy.addDoneCallback(() => console.log(`job cancelled: ${busy.cancelled()}`));
  (loop!.run!.value as LoopHandle).post("block");
  console.log(`pid ${(process!.run!.value as { pid: number }).pid}`);
  console.log("ready");
  await waitForShutdown();
  if (!isToBeForced) return;
  while (isListened("SIGTERM")) await sleep(5);
  console.log("armed");
}, { shutdown: { budgetMs: 60_000 } });
console.log("run has returned");
