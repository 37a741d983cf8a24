/**
 * Program of a fresh process, whose first pools are used before the code of pools is loaded: prints what became of the
 * jobs.
 *
 * @module
 */
import { isCancellation, ProcessPool, run, ThreadPool } from "../../../mod.ts";

const add = (a: number, b: number) => a + b;

const pools = {
  threads: () => new ThreadPool({ maxWorkers: 1 }),
  processes: () => new ProcessPool({ maxWorkers: 1 }),
};

const kind = Deno.args[0] as keyof typeof pools;

await run(async () => {
  await using _unused = pools[kind]();
  await using pool = pools[kind]();
  const jobs = [1, 2, 3, 4].map((n) => pool.submit(add, [n, 10]));
  jobs[1]!.cancel();
  const { queued } = pool.stats();
  const outcomes = [];
  for (const job of jobs) {
    try {
      outcomes.push(await job);
    } catch (error) {
      outcomes.push(isCancellation(error) ? "cancelled" : String(error));
    }
  }
  const { done, cancelled } = pool.stats();
  console.log(JSON.stringify({ queued, outcomes, done, cancelled }));
});
