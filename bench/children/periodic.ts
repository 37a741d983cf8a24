/**
 * Runs jobs every 10 ms and prints what that costs and how late they are:
 * periodic.ts WAY JOBS FOR_MS WARMUP_MS. The ways are "rota", "one" (one
 * setInterval for all jobs), "each" (one for each) and "effect".
 *
 * @module
 */
import { Effect, Fiber, Schedule } from "effect";
import { every, run, sleep } from "../../mod.ts";

const INTERVAL_MS = 10;
/** How often everything is started to warm up: code gets fast by being run often. */
const WARMUPS = 4;
const [way, jobs, forMs, warmupMs] = [
  Deno.args[0]!,
  Number(Deno.args[1]),
  Number(Deno.args[2]),
  Number(Deno.args[3]),
];

/** How late each tick was, and how late the last one of each job. */
class Record {
  readonly #lateMs: Float64Array;
  readonly #lastMs = new Float64Array(jobs);
  ticks = 0;

  constructor(totalMs: number) {
    // Filled, or the system would make room for it page by page meanwhile.
    this.#lateMs = new Float64Array(2 * jobs * totalMs / INTERVAL_MS + jobs)
      .fill(0);
  }

  add(job: number, lateMs: number): void {
    this.#lateMs[this.ticks++] = lateMs;
    this.#lastMs[job] = lateMs;
  }

  percentile(percent: number): number {
    const sorted = this.#lateMs.slice(0, this.ticks).sort();
    return sorted[Math.ceil(this.ticks * percent / 100) - 1] ?? NaN;
  }

  /** By how many whole milliseconds the last ticks are off the grid. */
  driftMs(): number {
    return Math.floor(this.#lastMs.slice().sort()[jobs >> 1]!);
  }
}

/** Starts all jobs on what counts its ticks itself; gives what stops them. */
type Start = (record: Record) => () => unknown;

/** For what does not tell which tick it is: counts, from the moment of the start. */
function counting(record: Record, job: number): () => void {
  const startMs = performance.now();
  let index = 0;
  return () => {
    index++;
    record.add(job, performance.now() - startMs - index * INTERVAL_MS);
  };
}

const numbers = Array.from({ length: jobs }, (_, job) => job);
const WAYS: { readonly [way: string]: Start } = {
  rota(record) {
    const tasks = numbers.map((job) =>
      every(INTERVAL_MS, (tick) => record.add(job, tick.lateMs))
    );
    return () => {
      tasks.forEach((task) => task.cancel());
      return Promise.allSettled(tasks);
    };
  },
  one(record) {
    const ticks = numbers.map((job) => counting(record, job));
    const timer = setInterval(
      () => ticks.forEach((tick) => tick()),
      INTERVAL_MS,
    );
    return () => clearInterval(timer);
  },
  each(record) {
    const timers = numbers.map((job) =>
      setInterval(counting(record, job), INTERVAL_MS)
    );
    return () => timers.forEach((timer) => clearInterval(timer));
  },
  effect(record) {
    const fibers = numbers.map((job) => {
      let tick: (() => void) | null = null;
      // The first run is at once, and no tick.
      const body = Effect.sync(() => {
        if (tick === null) tick = counting(record, job);
        else tick();
      });
      return Effect.runFork(
        Effect.repeat(body, Schedule.fixed(INTERVAL_MS)),
      );
    });
    return () =>
      Promise.all(
        fibers.map((fiber) => Effect.runPromise(Fiber.interrupt(fiber))),
      );
  },
};

function usedMs(): number {
  const { user, system } = globalThis.process.cpuUsage();
  return (user + system) / 1e3;
}

await run(async () => {
  const start = WAYS[way]!;
  for (let left = warmupMs > 0 ? WARMUPS : 0; left > 0; left--) {
    const stop = start(new Record(warmupMs));
    await pause(warmupMs / WARMUPS);
    await stop();
  }
  const record = new Record(forMs);
  const cpuMs = usedMs();
  const startMs = performance.now();
  const stop = start(record);
  if (way === "rota") await sleep(0); // jobs start in the turn after
  await pause(forMs + INTERVAL_MS / 2);
  const tookMs = performance.now() - startMs;
  const cpu = (usedMs() - cpuMs) / tookMs * 100;
  await stop();
  console.log(JSON.stringify({
    cpu,
    done: record.ticks / (jobs * Math.floor(forMs / INTERVAL_MS)) * 100,
    p50: record.percentile(50),
    p99: record.percentile(99),
    drift: record.driftMs(),
  }));
}, { host: "native" });
Deno.exit();

/** Waits by the means of whoever is measured, so that no other is at work. */
async function pause(ms: number): Promise<void> {
  if (way === "rota") await sleep(ms);
  else await new Promise((resolve) => setTimeout(resolve, ms));
}
