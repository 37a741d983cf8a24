/**
 * Deaths of threads: every kind, in every place, told to exactly the jobs concerned, and to nobody twice.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Future, run } from "../../mod.ts";
import { WorkerCrashError, type WorkerCrashKind } from "../../src/errors.ts";
import { getRunningLoop } from "../../src/loop/current.ts";
import { loadThreads, type Threads } from "../../src/host/thread.ts";
import { PoolCore } from "../../src/workers/pool_core.ts";
import { settlePoolOptions } from "../../src/workers/pool_options.ts";
import { threadStarter } from "../../src/workers/thread_link.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import {
  ThreadPool,
  type ThreadPoolOptions,
} from "../../src/workers/thread_pool.ts";
import type * as Jobs from "./support/thread_jobs.ts";
import {
  canCountThreads,
  countThreads,
  eventually,
} from "./support/threads.ts";

const jobs = taskModule<typeof Jobs>(
  new URL("./support/thread_jobs.ts", import.meta.url),
);
const dyingModule = new URL("./support/dying_module.ts", import.meta.url);

/** Runs `body` with a pool; returns messages to the exception handler. */
async function withPool(
  options: ThreadPoolOptions,
  body: (pool: ThreadPool) => Promise<void>,
): Promise<string[]> {
  const told: string[] = [];
  await run(async () => {
    getRunningLoop().setExceptionHandler((_loop, { message }) => {
      told.push(message);
    });
    await using pool = new ThreadPool(options);
    await body(pool);
  });
  return told;
}

interface Death {
  readonly kind: WorkerCrashKind;
  readonly exitCode: number;
  /** Whether the error that the thread died of is known. */
  readonly hasCause: boolean;
}

const DEATHS: Readonly<Record<string, Death>> = {
  "throw": { kind: "error", exitCode: 1, hasCause: true },
  "rejection": { kind: "rejection", exitCode: 1, hasCause: true },
  "process.exit(0)": { kind: "exit", exitCode: 0, hasCause: false },
  "process.exit(7)": { kind: "exit", exitCode: 7, hasCause: false },
  "Deno.exit(3)": { kind: "exit", exitCode: 3, hasCause: false },
};

const PLACES = [
  "in a plain function",
  "after an await",
  "in a timer",
  "in a message",
];

/** Whether it is the job itself that throws, which kills nobody. */
function isOwnError(place: string, how: string): boolean {
  return how === "throw" &&
    (place === "in a plain function" || place === "after an await");
}

function assertOdd(error: unknown): void {
  assert(error instanceof Error);
  assertEquals([error.name, error.message], ["OddError", "dying"]);
  assertEquals((error as Jobs.OddError).code, 17);
  assert(error.cause instanceof RangeError);
}

async function assertDies(job: PromiseLike<unknown>, how: string) {
  const { kind, exitCode, hasCause } = DEATHS[how]!;
  const error = await assertRejects(async () => await job, WorkerCrashError);
  assertEquals([error.kind, error.exitCode], [kind, exitCode]);
  assertEquals(error.cause !== undefined, hasCause);
  if (hasCause) assertOdd(error.cause);
}

for (const place of PLACES) {
  Deno.test(`deaths ${place} are told to the job, and the next job runs`, async () => {
    const told = await withPool({ maxWorkers: 1 }, async (pool) => {
      let crashed = 0;
      for (const how of Object.keys(DEATHS)) {
        const dying = pool.submit(jobs.dieIn, [place, how]);
        const next = pool.submit(jobs.add, [1, 2]);
        if (isOwnError(place, how)) {
          assertOdd(await assertRejects(async () => await dying));
        } else {
          await assertDies(dying, how);
          crashed++;
        }
        assertEquals(await next, 3);
        assertEquals(pool.stats().crashed, crashed);
      }
    });
    assertEquals(told, []);
  });
}

Deno.test("deaths at import are told to the job; what the import throws is the job's own error", async () => {
  const told = await withPool({ maxWorkers: 1 }, async (pool) => {
    for (const how of Object.keys(DEATHS)) {
      const module = new URL(dyingModule);
      module.searchParams.set("how", how);
      const dying = pool.submit({ module, name: "job" }, []);
      if (how === "throw") {
        const error = await assertRejects(async () => await dying, Error);
        assert(!(error instanceof WorkerCrashError));
        assert(error.message.includes("Cannot load the module"));
        assertOdd(error.cause);
      } else await assertDies(dying, how);
    }
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
  });
  assertEquals(told, []);
});

Deno.test("all jobs of a thread end with it, those of other threads do not", async () => {
  await withPool({ maxWorkers: 1, concurrency: 3 }, async (pool) => {
    const begun = Promise.withResolvers<unknown>();
    const other = pool.submit(jobs.untilAborted, [], {
      onProgress: begun.resolve,
    });
    await begun.promise;
    const dying = pool.submit(jobs.dieIn, ["in a timer", "throw"]);
    await assertDies(dying, "throw");
    await assertDies(other, "throw");
    assertEquals(pool.stats().crashed, 2);
  });
});

Deno.test("the death of a thread without a job is told to the exception handler, once", async () => {
  const told = await withPool({ maxWorkers: 1 }, async (pool) => {
    await pool.submit(() => {
      setTimeout(() => {
        throw new RangeError("later");
      }, 1);
    }, []);
    await eventually("the thread has died", () => {
      const { workers } = pool.stats();
      return workers.idle + workers.stopping === 0;
    });
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
  });
  assertEquals(told, [
    "A thread of ThreadPool died of an error that no job threw: later",
  ]);
});

Deno.test("a job that its thread has not begun goes to another one, and is no rerun", async () => {
  await withPool({ maxWorkers: 1, concurrency: 3 }, async (pool) => {
    await pool.submit(jobs.add, [0, 0]);
    const begun = Promise.withResolvers<unknown>();
    const busy = pool.submit(jobs.exitAfter, [50], {
      onProgress: begun.resolve,
    });
    await begun.promise; // the thread computes, and dies of it
    const next = pool.submit(jobs.add, [1, 2]);
    const large = pool.submit(jobs.echo, ["x".repeat(1e5)]);
    await assertDies(busy, "process.exit(7)");
    assertEquals(await next, 3);
    assertEquals(await large, "x".repeat(1e5));
    const { crashed, rerun, done } = pool.stats();
    assertEquals([crashed, rerun, done], [1, 0, 3]);
  });
});

Deno.test("a thread that spoils the shared memory and ends takes its jobs with it, and nothing else", async () => {
  const told = await withPool(
    { maxWorkers: 1, concurrency: 2 },
    async (pool) => {
      const begun = Promise.withResolvers<unknown>();
      const spoiler = pool.submit(jobs.spoilUnread, [], {
        onProgress: begun.resolve,
      });
      await begun.promise;
      const unread = pool.submit(jobs.add, [1, 2]);
      for (const job of [spoiler, unread]) {
        const error = await assertRejects(
          async () => await job,
          WorkerCrashError,
        );
        assertEquals([error.kind, error.exitCode], ["protocol", 7]);
        assert(error.cause instanceof RangeError);
      }
      assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    },
  );
  assertEquals(told, []);
});

Deno.test("jobs for a thread that ends right after a result go to another one, in order", async () => {
  await withPool({ maxWorkers: 1 }, async (pool) => {
    for (let n = 0; n < 5; n++) {
      await pool.submit(jobs.add, [1, 2]);
      const order: unknown[] = [];
      const submitted: Future<unknown>[] = [
        pool.submit(jobs.returnAndExit, []),
        ...[1, 2, 3, 4, 5].map((n) => pool.submit(jobs.echo, [n])),
      ];
      for (const job of submitted) {
        job.addDoneCallback(() => {
          order.push(job.result());
        });
      }
      await Promise.all(submitted);
      assertEquals(order, ["returned", 1, 2, 3, 4, 5]);
    }
    const { crashed, rerun } = pool.stats();
    assertEquals([crashed, rerun], [0, 0]);
  });
});

Deno.test("idempotent jobs run again", async () => {
  await withPool({ maxWorkers: 1, onCrash: "retry" }, async (pool) => {
    const dying = pool.submit(jobs.dieIn, ["in a timer", "process.exit(7)"], {
      idempotent: true,
    });
    await assertDies(dying, "process.exit(7)");
    const { rerun, crashed } = pool.stats();
    assertEquals([rerun, crashed], [2, 1]);
  });
});

Deno.test({
  name: "threads that are killed while they start end when that is safe",
  ignore: !canCountThreads,
  fn: async () => {
    const options = {
      maxWorkers: 2,
      startTimeoutMs: 1,
      maxRestarts: 3,
      backoff: { minMs: 0, maxMs: 0 },
    };
    await withPool(options, async (pool) => {
      const error = await assertRejects(
        async () => await pool.submit(jobs.add, [1, 2]),
        WorkerCrashError,
      );
      assertEquals(error.kind, "start");
      // In line while the pool is being shut down.
      const job = pool.submit(jobs.add, [1, 2]);
      const end = pool.shutdown({ graceMs: 0 });
      await assertRejects(async () => await job);
      await end;
    });
    await eventually("all threads are gone", () => countThreads() === 0);
  },
});

Deno.test({
  name:
    "a pool ends without a thread that is never ready, which counts as lost, and ends once it is",
  ignore: !canCountThreads,
  fn: async () => {
    const { start, inside } = await loadThreads();
    const gate = new SharedArrayBuffer(4);
    const lateScript = import.meta.resolve("./support/late_thread.ts");
    const late: Threads = {
      inside,
      start: (_script, settings, listener) => {
        const data = { ...settings.data, gate };
        return start(lateScript, { ...settings, data }, listener);
      },
    };
    const told: string[] = [];
    await run(async () => {
      getRunningLoop().setExceptionHandler((_loop, { message }) => {
        told.push(message);
      });
      const options = { maxWorkers: 1, startTimeoutMs: 1, maxRestarts: 0 };
      const pool = new PoolCore(
        threadStarter(late, { name: "late", stuckMs: 1 }),
        settlePoolOptions(options, "create a pool", 1),
        { pool: "ThreadPool", kind: "thread" },
      );
      const error = await assertRejects(
        async () => await pool.submit({ source: "() => 1" }, []),
        WorkerCrashError,
      );
      assertEquals(error.kind, "start");
      await pool.shutdown();
      assertEquals(pool.stats().lostThreads, 1);
    });
    assertEquals(told, [
      "A thread of ThreadPool was killed and goes on all the same: " +
      "it is in native code that does not return, or has never been ready",
    ]);
    Atomics.store(new Int32Array(gate), 0, 1);
    await eventually("the thread is gone", () => countThreads() === 0);
  },
});

// -- Memory --

const SMALL: ThreadPoolOptions = {
  maxWorkers: 1,
  resourceLimits: { maxOldGenerationSizeMb: 24 },
};

Deno.test("a thread without memory that says so: its job fails, this process lives", async () => {
  await withPool(SMALL, async (pool) => {
    const job = pool.submit(jobs.dieIn, ["in a timer", "fill"]);
    const error = await assertRejects(async () => await job, WorkerCrashError);
    assertEquals(error.kind, "out-of-memory");
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
  });
});

// Where the loop of the thread itself is stopped, only its clock says so; elsewhere a ping finds that the heap was full.
for (const place of ["after an await", "in a message", "in a plain function"]) {
  Deno.test({
    name: `a thread without memory ${place} says nothing, and is found`,
    ignore: !canCountThreads,
    fn: async () => {
      const options = { ...SMALL, unresponsiveMs: 500 };
      await withPool(options, async (pool) => {
        await pool.submit(jobs.add, [1, 2]); // loads the module
        const job = pool.submit(jobs.dieIn, [place, "fill"]);
        const error = await assertRejects(
          async () => await job,
          WorkerCrashError,
        );
        assert(["out-of-memory", "unresponsive"].includes(error.kind));
        assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
      });
      await eventually("the thread is gone", () => countThreads() === 0);
    },
  });
}

// -- Native code --

Deno.test({
  name:
    "a thread that is stuck in native code counts as lost, and is reported once",
  ignore: !canCountThreads,
  fn: async () => {
    const options = { maxWorkers: 1, cancelGraceMs: 0, name: "p" };
    const told = await withPool(options, async (pool) => {
      const begun = Promise.withResolvers<unknown>();
      const job = pool.submit(jobs.sleepNatively, [8_000], {
        name: "sleeper",
        onProgress: begun.resolve,
      });
      await begun.promise;
      job.cancel();
      await assertRejects(async () => await job);
      assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
      await eventually("it is lost", () => pool.stats().lostThreads === 1);
    });
    assertEquals(told, [
      'A thread of ThreadPool "p" that ran job "sleeper" was killed and goes on all the same: ' +
      "it is in native code that does not return",
    ]);
    await eventually("native code returns", () => countThreads() === 0);
  },
});

// -- Nothing is printed --

Deno.test("deaths print nothing", async () => {
  const at = (path: string) =>
    JSON.stringify(new URL(path, import.meta.url).href);
  const code = `
    import { run } from ${at("../../mod.ts")};
    import { ThreadPool } from ${at("../../src/workers/thread_pool.ts")};
    await run(async () => {
      await using pool = new ThreadPool({ maxWorkers: 1 });
      const module = ${at("./support/thread_jobs.ts")};
      for (const how of ${JSON.stringify(Object.keys(DEATHS))}) {
        try {
          await pool.submit({ module, name: "dieIn" }, ["in a timer", how]);
        } catch (error) {
          console.log(error.kind);
        }
      }
    });`;
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, code);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "-q", path],
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    const kinds = Object.values(DEATHS).map(({ kind }) => `${kind}\n`).join("");
    assertEquals([text(stdout), text(stderr)], [kinds, ""]);
  } finally {
    await Deno.remove(path);
  }
});
