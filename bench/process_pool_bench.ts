/**
 * A function called in another process: what a call costs, one in flight.
 *
 * @module
 */
import { EventLoop } from "../mod.ts";
import { taskModule } from "../src/workers/module_task.ts";
import { ProcessPool } from "../src/workers/process_pool.ts";
import type * as Jobs from "./children/pool_jobs.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";
import { rawWorkers, type WithPool, WORKERS } from "./support/worker_pools.ts";

/** Calls before the clock starts: workers are compiled by then. */
const WARMUP_CALLS = 3_000;

const tasks = taskModule<typeof Jobs>(
  new URL("./children/pool_jobs.ts", import.meta.url),
);

/** Rota, on a loop of its own. */
function rotaProcesses(host: "native" | "portable"): WithPool {
  return async (work) => {
    await using loop = new EventLoop({ host });
    await loop.runUntilComplete(async () => {
      await using pool = new ProcessPool({ maxWorkers: WORKERS });
      await work({
        call: (_name, [a, b]) =>
          pool.submit(tasks.add, [a as number, b as number]),
      });
    });
  };
}

/** Makes calls one after the other, of which the warm-up is not timed. */
function calls(
  withPool: WithPool,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    let done = 0;
    await withPool(async (pool) => {
      const callMany = async (count: number): Promise<void> => {
        for (let n = 0; n < count; n++) {
          if (await pool.call("add", [n, 1]) === n + 1) done++;
        }
      };
      await callMany(Math.min(WARMUP_CALLS, size));
      done = 0;
      watch.start();
      await callMany(size);
      watch.end();
    });
    return done;
  };
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "process-add",
  title: "add(a, b) in a process, one call at a time",
  things: "calls",
  size: 5_000,
  tinySize: 5,
  // Several runs of each, as every run starts workers of its own.
  warmupMs: 0,
  roundMs: 400,
  rounds: 7,
  iterations: 5,
  cases: [
    { name: "Rota, native", role: "rota", run: calls(rotaProcesses("native")) },
    {
      name: "Rota, portable",
      role: "rota",
      run: calls(rotaProcesses("portable")),
    },
    { name: "raw Worker", role: "limit", run: calls(rawWorkers) },
  ],
  foreign: [{
    name: "asyncio ProcessPool",
    program: "python3",
    script: "process_pool.py",
    figure: "call",
  }],
}];
suites.forEach(register);
