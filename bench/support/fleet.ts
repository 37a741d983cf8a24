/**
 * Jobs through BullMQ, bare and by an executor: `deno task bench:fleet`.
 *
 * Both submit the same jobs to a Redis server on the loopback, work on them in the
 * same process, at the same concurrency, and wait for all results; by turns. Bare
 * BullMQ adds the jobs by `addBulk`, a hundred at a time, works on them by a
 * function of its `Worker`, and hears of the results by `QueueEvents`. The executor
 * runs them on the loop. Says so, and measures nothing, where there is no Redis.
 *
 * @module
 */
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { run, taskModule } from "../../mod.ts";
import { bullmqExecutor } from "../../src/fleet/bullmq.ts";
import { LoopExecutor } from "../../src/workers/loop_executor.ts";
import { startRedis } from "../../tests/support/redis_server.ts";
import { findProgram } from "../../tests/support/server_process.ts";
import { type Figure, figure, printFigures } from "./report.ts";

const JOBS = 10_000;
const ROUNDS = 7;
const CONCURRENCY = 50;
const BATCH = 100;
/** Priority of jobs of the executor with priority 0. */
const PRIORITY = 2 ** 20;
/** Least part of the jobs per second of bare BullMQ. */
const SHARE_MIN = 0.85;

const jobs = taskModule<typeof import("./fleet_jobs.ts")>(
  new URL("./fleet_jobs.ts", import.meta.url),
);

function check(sum: number, count: number): void {
  const expected = count * (count + 1) / 2;
  if (sum !== expected) {
    throw new Error(`The jobs returned ${sum} in all instead of ${expected}`);
  }
}

/** Milliseconds for `count` jobs by bare BullMQ. */
export async function timeBare(
  connection: Redis,
  queueName: string,
  count: number,
): Promise<number> {
  const { increment } = await import("./fleet_jobs.ts");
  const queue = new Queue<{ n: number }, number>(queueName, { connection });
  const events = new QueueEvents(queueName, { connection });
  const worker = new Worker<{ n: number }, number>(
    queueName,
    // deno-lint-ignore require-await
    async (job) => increment(job.data.n),
    {
      connection,
      concurrency: CONCURRENCY,
      removeOnComplete: { age: 3_600 },
      removeOnFail: { age: 3_600 },
    },
  );
  await Promise.all([queue, events, worker].map((it) => it.waitUntilReady()));
  const results = new Map<string, number>();
  const { promise, resolve } = Promise.withResolvers<void>();
  events.on("completed", ({ jobId, returnvalue }) => {
    results.set(jobId, Number(returnvalue));
    if (results.size === count) resolve();
  });
  const begunMs = performance.now();
  for (let at = 0; at < count; at += BATCH) {
    const length = Math.min(BATCH, count - at);
    queue.addBulk(Array.from({ length }, (_, n) => ({
      name: "increment",
      data: { n: at + n },
      opts: { priority: PRIORITY },
    })));
  }
  await promise;
  const tookMs = performance.now() - begunMs;
  check(results.values().reduce((a, b) => a + b), count);
  await worker.close();
  await events.close();
  await queue.obliterate({ force: true });
  await queue.close();
  return tookMs;
}

/** Milliseconds for `count` jobs by an executor. */
export async function timeRota(
  connection: Redis,
  queueName: string,
  count: number,
): Promise<number> {
  const tookMs = await run(async () => {
    await using executor = new LoopExecutor({ concurrency: CONCURRENCY });
    await using fleet = bullmqExecutor({
      ...{ Queue, QueueEvents, Worker, connection, queue: queueName, executor },
    });
    await fleet.ready();
    const begunMs = performance.now();
    const futures = Array.from(
      { length: count },
      (_, n) => fleet.submit(jobs.increment, [n]),
    );
    let sum = 0;
    for (const future of futures) sum += await future;
    const tookMs = performance.now() - begunMs;
    check(sum, count);
    return tookMs;
  });
  const queue = new Queue(queueName, { connection });
  await queue.obliterate({ force: true });
  await queue.close();
  return tookMs;
}

/** Measures both, by turns; null where there is no Redis. */
export async function measureFleet(
  count: number = JOBS,
  rounds: number = ROUNDS,
): Promise<Figure[] | null> {
  if (findProgram("redis-server") === undefined) return null;
  await using redis = await startRedis();
  const connection = new Redis({
    port: redis.port,
    maxRetriesPerRequest: null,
  });
  await connection.config("SET", "appendonly", "no"); // no disk in the figures
  const bare: number[] = [];
  const rota: number[] = [];
  try {
    await timeBare(connection, "warm", Math.min(count, 500));
    await timeRota(connection, "warm", Math.min(count, 500));
    for (let round = 0; round < rounds; round++) {
      const measures = [
        async () => bare.push(await timeBare(connection, "bare", count)),
        async () => rota.push(await timeRota(connection, "rota", count)),
      ];
      if (round % 2 === 1) measures.reverse();
      for (const measure of measures) await measure();
    }
  } finally {
    connection.disconnect();
  }
  const workload = `${count} jobs`;
  const measure = "time";
  return [
    figure(
      { workload, case: "BullMQ", role: "rival", measure, unit: "ms" },
      bare,
    ),
    figure({ workload, case: "Rota", role: "rota", measure, unit: "ms" }, rota),
  ];
}

if (import.meta.main) {
  const figures = await measureFleet();
  if (figures === null) console.log("Skipped: redis-server is not installed");
  else {
    printFigures(figures);
    const [bare, rota] = figures;
    const share = bare!.median / rota!.median;
    console.log(
      `${
        share.toFixed(2)
      } of the jobs per second of bare BullMQ (target: ${SHARE_MIN})`,
    );
  }
}
