import { assert, assertEquals } from "@std/assert";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { type Future, run, sleep, taskModule, until } from "@rota/rota";
import { bullmqExecutor, type RemoteExecutorOptions } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { redisTest, startRedis } from "../support/redis_server.ts";
import type { ServerProcess } from "../support/server_process.ts";

const LEASE_MS = 600;

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

/** A worker process, and the lines that it prints. */
class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: string[] = [];
  readonly #read: Promise<void>;
  #wake = Promise.withResolvers<void>();
  #isOver = false;

  constructor(redis: ServerProcess, place: "loop" | "threads", mode: string) {
    const script = new URL("./support/bullmq_worker.ts", import.meta.url);
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", script.pathname],
        ...[String(redis.port), String(LEASE_MS), place, mode],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#read = this.#readLines();
  }

  async #readLines(): Promise<void> {
    let text = "";
    const decoded = this.#process.stdout.pipeThrough(new TextDecoderStream());
    for await (const chunk of decoded) {
      const lines = (text + chunk).split("\n");
      text = lines.pop()!;
      this.#lines.push(...lines);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
    this.#isOver = true;
    this.#wake.resolve();
  }

  /** Waits for so many lines that begin with a word; returns them. */
  async lines(word: string, count = 1): Promise<string[]> {
    for (;;) {
      const found = this.#lines.filter((line) => line.startsWith(word));
      if (found.length >= count) return found;
      if (this.#isOver) throw new Error(`The child ended without "${word}"`);
      await this.#wake.promise;
    }
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Has it shut down. */
  async hangUp(): Promise<void> {
    await this.#process.stdin.close();
  }

  /** Has it shut down; returns its exit code. */
  async end(): Promise<number> {
    await this.hangUp();
    const { code } = await this.#process.status;
    await this.#read;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#process.stdin.close().catch(() => {});
    await this.#process.status;
    await this.#read;
  }
}

redisTest(
  "workers killed 20 times under their jobs lose none of them",
  async () => {
    await using redis = await startRedis();
    const connection = connect(redis);
    const names = Array.from({ length: 16 }, (_, n) => `job-${n}`);
    const kills = { count: 0 };
    const tokens = await run(async () => {
      await using fleet = fleetOn(connection, { role: "submit" });
      const futures = names.map((name) => fleet.submit(jobs.hold, [name]));
      for (let round = 0; round < 5; round++) {
        const children = Array.from(
          { length: 4 },
          () => new Child(redis, "loop", "hold"),
        );
        // Each of them has all the jobs that it can have: it is in the middle of them.
        await until(() =>
          Promise.all(children.map((child) => child.lines("began", 4)))
        );
        for (const child of children) {
          child.kill();
          kills.count++;
        }
        for (const child of children) {
          await until(() => child[Symbol.asyncDispose]());
        }
      }
      await using _ = new Child(redis, "loop", "finish");
      const tokens: number[] = [];
      for (const future of futures) tokens.push(await future);
      return tokens;
    });
    connection.disconnect();
    assertEquals(kills.count, 20);
    // Each job was begun in each round, and once more, with a larger token each time.
    assertEquals(tokens.length, names.length);
    assert(tokens.every((token) => token >= 6), String(tokens));
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
    await using stale = new Child(redis, "loop", "hold");
    const future = fleet.submit(jobs.blockUntil, [path]);
    assertEquals(await until(() => stale.lines("blocks")), ["blocks 1"]);
    await using fresh = new Child(redis, "loop", "finish");
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
    await using other = fleetOn(connection, {
      role: "work",
      executor: new LoopExecutor(),
    });
    await other.ready();
    const future: Future<number> = fleet.submit(jobs.blockUntil, [path]);
    while (fleet.stats().running === 0) await sleep(10);
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
  await using child = new Child(redis, "threads", "hold");
  await child.lines("ready");
  await redis.stop();
  await child.hangUp();
  await child.lines("ended");
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
