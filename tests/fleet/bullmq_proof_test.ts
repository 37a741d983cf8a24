import { assert, assertEquals } from "@std/assert";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { type Future, run, sleep, taskModule, until } from "@rota/rota";
import { bullmqExecutor, type RemoteExecutorOptions } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { redisTest, startRedis } from "../support/redis_server.ts";
import type { ServerProcess } from "../support/server_process.ts";
import { Child, killWorkers, LEASE_MS } from "./support/child.ts";

const jobs = taskModule<typeof import("./support/held_jobs.ts")>(
  new URL("./support/held_jobs.ts", import.meta.url),
);

function connect(redis: ServerProcess): Redis {
  const connection = new Redis({
    port: redis.port,
    maxRetriesPerRequest: null,
    retryStrategy: () => 50,
  });
  connection.on("error", () => {});
  return connection;
}

function fleetOn(connection: Redis, options: RemoteExecutorOptions) {
  return bullmqExecutor({
    ...{ Queue, QueueEvents, Worker, connection },
    ...{ leaseMs: LEASE_MS, checkMs: 300, maxLostLeases: 1_000 },
    ...options,
  });
}

redisTest(
  "workers killed 20 times under their jobs lose none of them",
  async () => {
    await using redis = await startRedis();
    const connection = connect(redis);
    const names = Array.from({ length: 10 }, (_, n) => `job-${n}`);
    const tokens = await run(async () => {
      await using fleet = fleetOn(connection, { role: "submit" });
      const futures = names.map((name) => fleet.submit(jobs.hold, [name]));
      const begun = await until(() => killWorkers("bullmq", redis, 20));
      // A killed worker's job went to another one each time, with a larger token.
      assertEquals(new Set(begun).size, 20, begun.join());
      await using _ = new Child("bullmq", redis, "loop", "finish");
      const tokens: number[] = [];
      for (const future of futures) tokens.push(await future);
      return tokens;
    });
    connection.disconnect();
    // Each run but the last of a job was killed.
    const runs = tokens.reduce((sum, token) => sum + token, 0);
    assertEquals(tokens.length, names.length);
    assert(runs >= 20 + names.length, String(tokens));
  },
);

redisTest("a holder that blocks past its lease cannot commit", async () => {
  await using redis = await startRedis();
  const connection = connect(redis);
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  await run(async () => {
    await using fleet = fleetOn(connection, { role: "submit" });
    // On the loop, so that the worker cannot renew its lease while it blocks.
    await using stale = new Child("bullmq", redis, "loop", "hold");
    const future = fleet.submit(jobs.blockUntil, [path]);
    assertEquals(await until(() => stale.lines("blocks")), ["blocks 1"]);
    await using fresh = new Child("bullmq", redis, "loop", "finish");
    assertEquals(await future, 2);
    await until(() => Deno.writeTextFile(path, ""));
    await until(() => stale.lines("unblocked"));
    assertEquals(await until(() => fresh.end()), 0);
    // The stale holder goes on with other work, and what it has refused stays so.
    assertEquals(await fleet.submit(jobs.echo, ["next"]), "next");
    assertEquals(await until(() => stale.end()), 0);
    const queue = new Queue("rota", { connection });
    const completed = await until(() => queue.getCompleted());
    assertEquals(completed.map((job) => job.attemptsStarted).toSorted(), [
      1,
      2,
    ]);
    assertEquals(await until(() => queue.getFailedCount()), 0);
    assertEquals(await until(() => queue.getActiveCount()), 0);
    await until(() => queue.close());
  });
  connection.disconnect();
  await Deno.remove(path);
});

redisTest("a handler that blocks its thread keeps its lease", async () => {
  await using redis = await startRedis();
  const connection = connect(redis);
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  await run(async () => {
    await using fleet = fleetOn(connection, { concurrency: 1 });
    const future: Future<number> = fleet.submit(jobs.blockUntil, [path]);
    while (fleet.stats().running === 0) await sleep(10);
    // Later, as it would block this thread with the job.
    await using other = fleetOn(connection, {
      role: "work",
      executor: new LoopExecutor(),
    });
    await other.ready();
    await sleep(3 * LEASE_MS);
    await until(() => Deno.writeTextFile(path, ""));
    assertEquals(await future, 1);
  });
  connection.disconnect();
  await Deno.remove(path);
});

redisTest("Redis killed and restarted under way loses nothing", async () => {
  await using redis = await startRedis();
  const connection = connect(redis);
  await run(async () => {
    await using fleet = fleetOn(connection, {
      executor: new LoopExecutor({ concurrency: 4 }),
      storeTimeoutMs: 60_000,
    });
    const names = Array.from({ length: 60 }, (_, n) => `job-${n}`);
    const futures = names.map((name) => fleet.submit(jobs.echo, [name]));
    await futures[10]!;
    await until(() => redis.stop("SIGKILL"));
    futures.push(fleet.submit(jobs.echo, ["while it is away"]));
    await until(() => redis.start());
    futures.push(fleet.submit(jobs.echo, ["afterwards"]));
    const results: string[] = [];
    for (const future of futures) results.push(await future);
    assertEquals(results, [...names, "while it is away", "afterwards"]);
  });
  connection.disconnect();
});

redisTest("a job that Redis has lost is added again", async () => {
  await using redis = await startRedis();
  const connection = connect(redis);
  await run(async () => {
    await using fleet = fleetOn(connection, { role: "submit" });
    const future = fleet.submit(jobs.echo, ["lost"]);
    const queue = new Queue("rota", { connection });
    while (await until(() => queue.getPrioritizedCount()) === 0) await sleep(5);
    await until(() => connection.flushall());
    await using _ = fleetOn(connection, {
      role: "work",
      executor: new LoopExecutor(),
    });
    assertEquals(await future, "lost");
    await until(() => queue.close());
  });
  connection.disconnect();
});

redisTest("a worker process ends although Redis is away", async () => {
  await using redis = await startRedis();
  await using child = new Child("bullmq", redis, "threads", "hold");
  await child.lines("ready");
  await redis.stop();
  await child.hangUp();
  await child.lines("ended");
});

redisTest("a worker process that forgets to shut down ends", async () => {
  await using redis = await startRedis();
  await using child = new Child("bullmq", redis, "threads", "forget");
  await child.lines("ended");
  assertEquals(await child.end(), 0);
});

Deno.test("an executor without classes or a client of BullMQ is refused", async () => {
  await run(function* () {
    const connection = {};
    const complete = { Queue, QueueEvents, Worker, connection };
    const wrong: [string, Record<string, unknown>][] = [
      ["Queue must be the class", { ...complete, Queue: undefined }],
      ["QueueEvents must be the class", { ...complete, QueueEvents: null }],
      ["Worker must be the class", { ...complete, Worker: undefined }],
      ["connection must be a client", { ...complete, connection: undefined }],
      ["maxRetriesPerRequest: null", {
        ...complete,
        connection: { options: { maxRetriesPerRequest: 20 } },
      }],
      ["queue must be a name", { ...complete, queue: "a:b" }],
      ["role must be", { ...complete, role: "other" }],
      ["leaseMs must be", { ...complete, leaseMs: 1 }],
      ["executor must be an executor", { ...complete, executor: {} }],
      ["root must be the URL of a folder", { ...complete, root: "./x" }],
    ];
    for (const [words, options] of wrong) {
      let message = "";
      try {
        bullmqExecutor(options as never);
      } catch (error) {
        message = (error as Error).message;
      }
      assert(message.includes(words), `${words}: ${message}`);
    }
    yield* sleep(0);
  });
});
