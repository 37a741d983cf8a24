/**
 * Ten thousand jobs while workers are killed at random: on threads, on processes
 * and on a balancer of both. Every job settles exactly once, none runs twice
 * unless it may, the counts add up, and nothing is left.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  type Executor,
  type Future,
  getRunningLoop,
  LoadBalancer,
  run,
  taskModule,
  WorkerCrashError,
} from "@rota/rota";
import { SeededRandom } from "../../src/structures/random.ts";
import { loadThreadStarter } from "../../src/workers/thread_link.ts";
import { lazyStarter } from "../../src/workers/lazy_link.ts";
import { processStarter } from "../../src/workers/process_link.ts";
import { FragilePool } from "./support/chaos.ts";

const jobs = taskModule<typeof import("./support/counted_jobs.ts")>(
  new URL("./support/counted_jobs.ts", import.meta.url),
);
const JOBS = 10_000;
const IN_FLIGHT = 500;

function threads(): FragilePool {
  return new FragilePool(
    lazyStarter(() => loadThreadStarter({ name: "chaos" })),
    "thread",
  );
}

function processes(folder: string): FragilePool {
  return new FragilePool(
    processStarter({
      shell: "sh",
      permissions: { read: true, write: [folder] },
      flags: [],
      env: undefined,
      cwd: undefined,
      frameBytesMax: 1 << 20,
    }),
    "process",
  );
}

function threadsOfProcess(): number {
  return [...Deno.readDirSync("/proc/self/task")].length;
}

function childrenOfProcess(): number {
  const path = `/proc/${Deno.pid}/task/${Deno.pid}/children`;
  return Deno.readTextFileSync(path).split(" ").filter((pid) => pid !== "")
    .length;
}

/** Waits until an outside fact holds, for ten seconds at most. */
async function becomes(holds: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`${what} never came true`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Outcome {
  done: number;
  crashed: number;
}

/** Submits all jobs, some hundreds at a time, and looks at the outcome of each. */
async function submitAll(
  executor: Executor,
  submit: (index: number, idempotent: boolean) => Future<number>,
  runsOf: (index: number) => number,
  settled: () => void,
): Promise<Outcome> {
  const outcome = { done: 0, crashed: 0 };
  const waiting: [number, boolean, Future<number>][] = [];
  const settleFirst = async () => {
    const [index, idempotent, job] = waiting.shift()!;
    try {
      assertEquals(await job, index);
      outcome.done++;
      assert(runsOf(index) >= 1, `job ${index} returned and never ran`);
    } catch (error) {
      if (!(error instanceof WorkerCrashError)) throw error;
      assertEquals(idempotent, false, `job ${index} was not run again`);
      outcome.crashed++;
    }
    if (!idempotent) assert(runsOf(index) <= 1, `job ${index} ran twice`);
    settled();
  };
  for (let index = 0; index < JOBS; index++) {
    const idempotent = index % 2 === 0;
    waiting.push([index, idempotent, submit(index, idempotent)]);
    if (waiting.length >= IN_FLIGHT) await settleFirst();
  }
  while (waiting.length > 0) await settleFirst();
  const stats = executor.stats();
  assertEquals([stats.queued, stats.running], [0, 0]);
  assertEquals(stats.done + stats.crashed, JOBS);
  assertEquals([stats.done, stats.crashed], [outcome.done, outcome.crashed]);
  return outcome;
}

/** Kills a worker of one of the pools now and then, after so many jobs on average. */
function killer(
  pools: readonly FragilePool[],
  jobsPerKill: number,
  random: SeededRandom,
): () => void {
  const draw = () => 1 + Math.floor(random.next() * 2 * jobsPerKill);
  let jobsLeft = draw();
  return () => {
    if (--jobsLeft > 0) return;
    jobsLeft = draw();
    pools[Math.floor(random.next() * pools.length)]!.killOne(random);
  };
}

async function survive(
  executor: Executor,
  pools: readonly FragilePool[],
  jobsPerKill: number,
  submit: (index: number, idempotent: boolean) => Future<number>,
  runsOf: (index: number) => number,
): Promise<void> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  await run(async () => {
    // Deaths of workers that had no job are reported.
    getRunningLoop().setExceptionHandler((_loop, { exception }) => {
      assert(exception instanceof WorkerCrashError, `${exception}`);
    });
    const settled = killer(pools, jobsPerKill, random);
    const outcome = await submitAll(executor, submit, runsOf, settled);
    const kills = pools.reduce((sum, pool) => sum + pool.kills, 0);
    assert(kills > 0, "nobody was killed");
    console.log(`${kills} kills`, outcome);
    await executor.shutdown();
  });
}

Deno.test("10,000 jobs in threads that are killed all the time", async () => {
  const shared = new SharedArrayBuffer(4 * JOBS);
  const runs = new Int32Array(shared);
  const threadsBefore = threadsOfProcess();
  const pool = threads();
  await survive(
    pool,
    [pool],
    50,
    (index, idempotent) =>
      index % 3 === 0
        ? pool.submit(jobs.countInMemoryLater, [index, shared], { idempotent })
        : pool.submit(jobs.countInMemory, [index, shared], { idempotent }),
    (index) => Atomics.load(runs, index),
  );
  await becomes(
    // The runtime keeps some threads of its own for later.
    () => threadsOfProcess() <= threadsBefore + 8,
    "the end of the threads",
  );
});

/** Checks how often each job has run, by the lines of the file; once at the end, as a look takes long. */
async function checkRuns(path: string): Promise<void> {
  const runs = new Int32Array(JOBS);
  for (const line of (await Deno.readTextFile(path)).split("\n")) {
    if (line !== "") runs[Number(line)]!++;
  }
  for (const [index, count] of runs.entries()) {
    if (index % 2 === 0) assert(count >= 1, `job ${index} never ran`);
    else assert(count <= 1, `job ${index} ran ${count} times`);
  }
}

Deno.test("10,000 jobs in processes that are killed all the time", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rota_chaos_" });
  try {
    const path = `${folder}/runs.txt`;
    await Deno.writeTextFile(path, "");
    const pool = processes(folder);
    const childrenBefore = childrenOfProcess();
    await survive(
      pool,
      [pool],
      250,
      (index, idempotent) =>
        pool.submit(jobs.countInFile, [index, path], { idempotent }),
      () => 1,
    );
    await checkRuns(path);
    await becomes(
      () => childrenOfProcess() <= childrenBefore,
      "the end of the children",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("10,000 jobs on a balancer of threads and processes that are killed all the time", async () => {
  const folder = await Deno.makeTempDir({ prefix: "rota_chaos_" });
  try {
    const path = `${folder}/runs.txt`;
    await Deno.writeTextFile(path, "");
    const pools = [threads(), processes(folder)];
    const balancer = new LoadBalancer(pools, { seed: 1 });
    await survive(
      balancer,
      pools,
      150,
      (index, idempotent) =>
        balancer.submit(jobs.countInFile, [index, path], { idempotent }),
      () => 1,
    );
    await checkRuns(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
