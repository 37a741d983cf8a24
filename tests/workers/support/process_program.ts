/**
 * Programs with a pool of processes, for what only another process can show. The first argument says which.
 *
 * @module
 */
import { Flag, getRunningLoop, run } from "../../../mod.ts";
import { WorkerCrashError } from "../../../src/errors.ts";
import { taskModule } from "../../../src/workers/module_task.ts";
import { ProcessPool } from "../../../src/workers/process_pool.ts";

const jobs = taskModule<typeof import("./process_jobs.ts")>(
  new URL("./process_jobs.ts", import.meta.url),
);

/** Prints in jobs, in all ways. */
async function output(): Promise<void> {
  await using pool = new ProcessPool({
    maxWorkers: 1,
    permissions: { read: true, run: true },
  });
  await pool.submit(jobs.print, ["one"]);
  await pool.submit(jobs.print, ["two"]);
  await pool.submit(() => console.error("error"), []);
}

/** Uses of a pool for which permissions might be missing. */
async function permissions(): Promise<void> {
  await using pool = new ProcessPool({ maxWorkers: 1, cancelGraceMs: 10 });
  console.log(await pool.submit((a: number) => a + 1, [1]));
  const job = pool.submit((): never => {
    for (;;);
  }, []);
  job.cancel();
  await job.then(() => {}, () => console.log("cancelled"));
  try {
    await pool.submit(() => Deno.exit(3), []);
  } catch (error) {
    if (!(error instanceof WorkerCrashError)) throw error;
    console.log(error.kind, error.exitCode);
  }
  console.log(
    await pool.submit(() => Deno.readTextFileSync("/etc/passwd"), [])
      .then(
        () => "read",
        (error) => error instanceof Error ? error.name : "no error",
      ),
  );
}

const idlePool = new ProcessPool({ maxWorkers: 1 });

/** Leaves a pool as it is. */
async function idle(): Promise<void> {
  console.log(await idlePool.submit(() => Deno.pid, []));
}

/** Has two jobs that never end, and says where they run. */
async function busy(): Promise<void> {
  const pool = new ProcessPool({
    maxWorkers: 2,
    permissions: { read: true, run: true },
  });
  const grandchild = await pool.submit(jobs.startGrandchild, []);
  const onProgress = (pid: unknown) => console.log(pid);
  console.log(grandchild);
  await Promise.all([
    pool.submit(jobs.spin, [], { onProgress }),
    pool.submit(jobs.wait, [], { onProgress }),
  ]);
}

/** Ends at SIGINT, when its jobs have. */
async function graceful(): Promise<void> {
  const interrupted = new Flag();
  const loop = getRunningLoop();
  loop.addSignalHandler("SIGINT", () => interrupted.set());
  await using pool = new ProcessPool({ maxWorkers: 2, concurrency: 2 });
  const running = [1_000, 1_100].map((ms) =>
    pool.submit(jobs.addAfter, [ms, 1, ms])
  );
  await pool.submit(jobs.add, [1, 1]);
  console.log("busy");
  await interrupted.wait();
  await pool.shutdown();
  loop.removeSignalHandler("SIGINT");
  console.log(running.map((job) => job.result()).join());
}

const PROGRAMS: Readonly<Record<string, () => Promise<void>>> = {
  output,
  permissions,
  idle,
  busy,
  graceful,
};
const program = PROGRAMS[Deno.args[0] ?? ""];
if (program === undefined) throw new Error("There is no such program");
await run(program);
if (program === idle) await run(idle);
