/**
 * A service with a periodic job, a busy thread and, if asked for, a function that waits for a promise outside of the loop.
 * Told to stop, it lets the job and the thread finish.
 *
 * @module
 */
import { every, Flag, getRunningLoop, run, sleep } from "../../../mod.ts";
import {
  onShutdown,
  shutdownSignal,
  waitForShutdown,
} from "../../../src/supervise/graceful_shutdown.ts";
import { ThreadPool } from "../../../src/workers/thread_pool.ts";

const scene = Deno.env.get("SCENE");
const style = Deno.env.get("STYLE");

await run(async () => {
  const pool = new ThreadPool({ maxWorkers: 1 });
  let begun = () => {};
  const midRun = new Promise<void>((resolve) => begun = resolve);
  const stopping = new Flag();
  const idle = new Flag();
  const work = style === "generator"
    ? function* () {
      begun();
      yield* stopping.wait();
      yield* sleep(20);
      console.log("run is finished");
      idle.set();
    }
    : async () => {
      begun();
      await stopping.wait();
      await sleep(20);
      console.log("run is finished");
      idle.set();
    };
  const job = every(10, work);
  if (scene === "foreign") {
    getRunningLoop().createTask(async () => {
      await new Promise((resolve) => setTimeout(resolve, 1e9));
    }, { name: "foreign" });
  }
  shutdownSignal.addEventListener("abort", () => {
    console.log(`told: ${shutdownSignal.reason.reason}`);
  });
  onShutdown("stop-intake", () => {
    console.log("no more runs");
    job.pause();
    stopping.set();
  });
  onShutdown("drain", async () => {
    await idle.wait();
    console.log("job is idle");
  }, { name: "job" });
  onShutdown("drain", async () => {
    await pool.shutdown();
    console.log("pool is empty");
  }, { name: "pool" });
  const busy = pool.submit((ms: number) => {
    const end = Date.now() + ms;
    while (Date.now() < end);
    return "computed";
  }, [700]);
  busy.addDoneCallback(() => console.log(`thread: ${busy.result()}`));
  await midRun;
  console.log("ready");
  await waitForShutdown();
}, { shutdown: { budgetMs: scene === "foreign" ? 3_500 : 60_000 } });
console.log("run has returned");
