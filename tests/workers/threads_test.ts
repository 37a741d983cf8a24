/**
 * Thread pools with real threads: values, errors, kills, and what is left afterwards.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  createTask,
  MisuseError,
  run,
  scoped,
  sleep,
} from "../../mod.ts";
import { WorkerCrashError } from "../../src/errors.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import {
  ThreadPool,
  type ThreadPoolOptions,
} from "../../src/workers/thread_pool.ts";
import type * as Jobs from "./support/thread_jobs.ts";
import {
  canCountThreads,
  countThreads,
  cpuTicks,
  eventually,
} from "./support/threads.ts";

const jobs = taskModule<typeof Jobs>(
  new URL("./support/thread_jobs.ts", import.meta.url),
);

/** Runs `body` with a pool on a loop of its own. */
async function withPool<T>(
  options: ThreadPoolOptions,
  body: (pool: ThreadPool) => Promise<T>,
): Promise<T> {
  return await run(async () => {
    await using pool = new ThreadPool(options);
    return await body(pool);
  });
}

const ONE: ThreadPoolOptions = { maxWorkers: 1 };

class Point {
  x = 1;
}

Deno.test("functions of all kinds run in threads, awaited in both styles", async () => {
  assertEquals(
    await withPool(ONE, async (pool) => [
      await pool.submit(jobs.add, [1, 2]),
      await pool.submit(jobs.addLater, [1, 2]),
      await pool.submit(jobs.addInGenerator, [1, 2]),
      await pool.submit((a: number, b: number) => a + b, [1, 2]),
    ]),
    [3, 3, 3, 3],
  );
  const sums = await run(function* () {
    return yield* scoped(new ThreadPool(ONE), function* (pool) {
      const sums: number[] = [];
      sums.push(yield* pool.submit(jobs.add, [1, 2]));
      sums.push(yield* pool.submit(jobs.addLater, [1, 2]));
      return sums;
    });
  });
  assertEquals(sums, [3, 3]);
});

Deno.test("values arrive as their structured clones, whatever way they take", async () => {
  const same = { a: 1 };
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const values: unknown[] = [
    undefined,
    null,
    -0,
    2n ** 70n,
    "x".repeat(1e6),
    new Map<unknown, unknown>([["when", new Date(5)], [1, new Uint8Array(9)]]),
    new Uint8Array(1e6),
    new Point(),
    [same, same],
    new RangeError("r"),
    /x/g,
    new Array(3),
    cycle,
  ];
  await withPool(ONE, async (pool) => {
    for (const value of values) {
      const copy = await pool.submit(jobs.echo, [value]);
      assertEquals(copy, structuredClone(value));
    }
    const pair = await pool.submit(jobs.echo, [[same, same]]);
    assert(Array.isArray(pair) && pair[0] === pair[1]);
  });
});

Deno.test("buffers are moved there and back", async () => {
  await withPool(ONE, async (pool) => {
    const buffer = new ArrayBuffer(1 << 24);
    const back = await pool.submit(jobs.giveBack, [buffer], {
      transfer: [buffer],
    });
    assert(buffer.detached);
    assertEquals(back.byteLength, 1 << 24);
  });
});

/** A value with a getter that does something the first time. */
function valueThat(act: () => void): object {
  let count = 0;
  return {
    pad: "x".repeat(40),
    get a() {
      if (count++ === 0) act();
      return 1;
    },
    z: "y".repeat(30),
  };
}
const READ = { pad: "x".repeat(40), a: 1, z: "y".repeat(30) };

Deno.test("a getter of an argument may submit a job to the same thread", async () => {
  for (const concurrency of [1, 4]) {
    await withPool({ maxWorkers: 1, concurrency }, async (pool) => {
      await pool.submit(jobs.echo, [1]);
      const inner: PromiseLike<number>[] = [];
      const value = valueThat(() => inner.push(pool.submit(jobs.add, [1, 2])));
      assertEquals(await pool.submit(jobs.echo, [value]), READ);
      assertEquals(await inner[0], 3);
      // In line behind a job, and in the end with an argument that cannot be sent.
      const first = pool.submit(jobs.add, [3, 4]);
      const again = valueThat(() => inner.push(pool.submit(jobs.add, [5, 6])));
      const broken = pool.submit(jobs.echo, [[again, () => {}]]);
      assertEquals(await first, 7);
      await assertRejects(async () => await broken, DOMException);
      assertEquals(await inner[1], 11);
    });
  }
});

Deno.test("a getter of an argument may cancel its own job", async () => {
  await withPool(ONE, async (pool) => {
    await pool.submit(jobs.add, [1, 2]);
    const first = pool.submit(jobs.whichThread, []);
    const job = pool.submit(jobs.untilAbortedWith, [valueThat(() => {
      job.cancel("why");
    })]);
    await assertRejects(async () => await job, CancelledError);
    assertEquals(await pool.submit(jobs.whichThread, []), await first);
  });
});

Deno.test("a getter of progress may tell progress", async () => {
  await withPool(ONE, async (pool) => {
    const told: unknown[] = [];
    const onProgress = (value: unknown) => told.push(value);
    assertEquals(await pool.submit(jobs.tellNested, [], { onProgress }), 7);
    assertEquals(told, [READ, "inner"]);
  });
});

Deno.test("jobs go to several threads", async () => {
  await withPool({ maxWorkers: 2 }, async (pool) => {
    const threads = await pool.map(jobs.whichThread, [0, 1, 2, 3, 4, 5]);
    const here = new Set(threads);
    assert(!here.has(0));
    assert(here.size <= 2);
  });
});

Deno.test("errors arrive whole, and so does what could not be copied, in either direction", async () => {
  await withPool(ONE, async (pool) => {
    const error = await assertRejects(() => pool.submit(jobs.throwOdd, ["m"]));
    assertInstanceOf(error, Error);
    assertEquals([error.name, error.message], ["OddError", "m"]);
    assertEquals((error as Jobs.OddError).code, 17);
    assertInstanceOf(error.cause, RangeError);
    await assertRejects(
      () => pool.submit(jobs.echo, [() => {}]),
      DOMException,
    );
    await assertRejects(
      () => pool.submit(jobs.returnFunction, []),
      TypeError,
      'Cannot hand over the result of job "returnFunction"',
    );
    assertEquals(await pool.submit(jobs.tellFunction, []), "DataCloneError");
    const buffer = new ArrayBuffer(1);
    structuredClone(buffer, { transfer: [buffer] });
    const options = { transfer: [buffer] };
    await assertRejects(async () =>
      await pool.submit(jobs.echo, [buffer], options)
    );
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    assertEquals(pool.stats().workers.idle, 1);
  });
});

Deno.test("progress arrives in order, more of it than the shared memory takes", async () => {
  const count = 20_000;
  const told: unknown[] = [];
  await withPool(ONE, async (pool) => {
    const onProgress = (value: unknown) => told.push(value);
    assertEquals(
      await pool.submit(jobs.tellMany, [count], { onProgress }),
      count,
    );
  });
  assertEquals(told, Array.from({ length: count }, (_, n) => n));
});

Deno.test("more jobs at a time than the shared memory takes", async () => {
  await withPool({ maxWorkers: 1, concurrency: Infinity }, async (pool) => {
    const text = "x".repeat(1_000);
    await pool.submit(jobs.add, [0, 0]);
    const futures = Array.from(
      { length: 500 },
      (_, n) => pool.submit(jobs.echo, [[n, text]]),
    );
    for (const [n, future] of futures.entries()) {
      assertEquals(await future, [n, text]);
    }
  });
});

Deno.test("a job hears of its cancellation, and its thread goes on", async () => {
  await withPool(ONE, async (pool) => {
    const thread = await pool.submit(jobs.whichThread, []);
    const begun = Promise.withResolvers<unknown>();
    const job = pool.submit(jobs.untilAborted, [], {
      onProgress: begun.resolve,
    });
    await begun.promise;
    job.cancel("enough");
    await assertRejects(async () => await job, CancelledError, "enough");
    assertEquals(await pool.submit(jobs.whichThread, []), thread);
  });
});

Deno.test("a loop in a thread waits where the thread can be killed", async () => {
  await withPool(ONE, async (pool) => {
    assertEquals(await pool.submit(jobs.whichHost, []), "portable");
  });
});

Deno.test("threads get the environment that the pool was given", async () => {
  await withPool({ ...ONE, env: { ROTA_TEST: "given" } }, async (pool) => {
    assertEquals(await pool.submit(jobs.readEnv, ["ROTA_TEST"]), "given");
  });
  await withPool(ONE, async (pool) => {
    assertEquals(await pool.submit(jobs.readEnv, ["ROTA_TEST"]), undefined);
  });
});

const KILLS = 50;
const ROWS = ["a loop", "microtasks", "Atomics.wait"];

for (const how of ROWS) {
  Deno.test({
    name: `a thread that is busy with ${how} is killed, ${KILLS} times`,
    ignore: !canCountThreads,
    fn: async () => {
      const options = { maxWorkers: 2, cancelGraceMs: 0 };
      await withPool(options, async (pool) => {
        const killOne = async (): Promise<void> => {
          const begun = Promise.withResolvers<unknown>();
          const job = pool.submit(jobs.beBusy, [how], {
            onProgress: begun.resolve,
          });
          await begun.promise;
          job.cancel();
          await assertRejects(async () => await job, CancelledError);
        };
        for (let n = 0; n < KILLS; n += 2) {
          await Promise.all([killOne(), killOne()]);
        }
        assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
        const { cancelled, crashed, lostThreads } = pool.stats();
        assertEquals([cancelled, crashed, lostThreads], [KILLS, 0, 0]);
      });
      await eventually("all threads are gone", () => countThreads() === 0);
      let ticks = cpuTicks();
      await eventually("the processor is idle", () => {
        const before = ticks;
        ticks = cpuTicks();
        return ticks - before === 0;
      });
    },
  });
}

Deno.test({
  name: "an idle thread uses no processor",
  ignore: !canCountThreads,
  fn: async () => {
    await withPool({ maxWorkers: 2 }, async (pool) => {
      await pool.map(jobs.echo, [1, 2, 3]);
      let quiet = 0;
      let ticks = cpuTicks();
      await eventually("the processor is idle", () => {
        const before = ticks;
        ticks = cpuTicks();
        quiet = ticks === before ? quiet + 1 : 0;
        return quiet === 20;
      });
      assertEquals(pool.stats().workers.idle > 0, true);
    });
  },
});

Deno.test("a pool in a thread of a pool", async () => {
  await withPool(ONE, async (pool) => {
    assertEquals(await pool.submit(jobs.addElsewhere, [1, 2]), 3);
    assertEquals(await pool.submit(jobs.addElsewhere, [3, 4]), 7);
  });
});

Deno.test("an idle pool does not hold the process", async () => {
  const source = new URL("../../src/workers/thread_pool.ts", import.meta.url);
  const mod = new URL("../../mod.ts", import.meta.url);
  const code = `
    import { ThreadPool } from ${JSON.stringify(source)};
    import { run } from ${JSON.stringify(mod)};
    const pool = new ThreadPool({ maxWorkers: 1 });
    console.log(await run(() => pool.submit((a) => a + 1, [1])));`;
  const { code: exitCode, stdout, stderr } = await runCode(code, "-A");
  assertEquals([exitCode, stdout, stderr], [0, "2\n", ""]);
});

/** Runs a program in a process of its own. */
async function runCode(
  code: string,
  ...flags: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, code);
    const { code: exitCode, stdout, stderr } = await new Deno.Command(
      Deno.execPath(),
      {
        args: ["run", "--no-check", "--no-prompt", "-q", ...flags, path],
        env: { NO_COLOR: "1" },
      },
    ).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code: exitCode, stdout: text(stdout), stderr: text(stderr) };
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("permissions: reading is enough, and without it the error names the flag", async () => {
  const source = new URL("../../src/workers/thread_pool.ts", import.meta.url);
  const mod = new URL("../../mod.ts", import.meta.url);
  const code = `
    import { ThreadPool } from ${JSON.stringify(source)};
    import { run } from ${JSON.stringify(mod)};
    await run(async () => {
      await using pool = new ThreadPool({ maxWorkers: 1 });
      console.log(await pool.submit((a) => a + 1, [1]));
    });`;
  const granted = await runCode(code, "--allow-read");
  assertEquals([granted.code, granted.stdout, granted.stderr], [0, "2\n", ""]);
  const denied = await runCode(code);
  assertEquals([denied.code, denied.stdout], [1, ""]);
  assert(denied.stderr.includes("MisuseError: Cannot create a thread pool"));
  assert(denied.stderr.includes("--allow-read"));
});

Deno.test("a job in line keeps its arguments when the caller changes the array", async () => {
  await run(async () => {
    await using pool = new ThreadPool({ maxWorkers: 1 });
    const args: [number] = [1];
    const job = pool.submit((n: number) => n, args);
    args[0] = 2;
    assertEquals(await job, 1);
  });
});

Deno.test("wrong options throw before anything changes", () => {
  const wrong: [options: unknown, type: typeof TypeError, text: string][] = [
    [null, TypeError, "options must be an object: received null"],
    [{ resourceLimits: 1 }, TypeError, "resourceLimits must be an object"],
    [
      { resourceLimits: { stackSizeMb: "1" } },
      TypeError,
      'resourceLimits.stackSizeMb must be a number of megabytes: received "1"',
    ],
    [
      { resourceLimits: { stackSizeMb: 0 } },
      RangeError,
      "resourceLimits.stackSizeMb must be > 0: received 0",
    ],
    [
      { resourceLimits: { maxOldGenerationSizeMb: 7.9 } },
      RangeError,
      "resourceLimits.maxOldGenerationSizeMb must be >= 8: received 7.9",
    ],
    [
      { resourceLimits: { codeRangeSizeMb: 1e12 } },
      RangeError,
      "resourceLimits.codeRangeSizeMb must be <= 4096: received 1000000000000",
    ],
    [
      { resourceLimits: { maxYoungGenerationSizeMb: NaN } },
      RangeError,
      "resourceLimits.maxYoungGenerationSizeMb must not be NaN: received NaN",
    ],
    [{ env: { A: 1 } }, TypeError, "env.A must be a string: received 1"],
    [{ env: 7 }, TypeError, "env must be an object: received 7"],
    [{ env: ["x"] }, TypeError, "env must be an object: received an array"],
    [{ maxWorkers: 0 }, RangeError, "maxWorkers must be an integer >= 1"],
    [
      { minWorkers: 3, maxWorkers: 2 },
      RangeError,
      "maxWorkers must be at least minWorkers, 3: received 2",
    ],
  ];
  for (const [options, type, text] of wrong) {
    assertThrows(
      () => new ThreadPool(options as ThreadPoolOptions),
      type,
      text,
    );
  }
});

Deno.test("threads with the least memory that is allowed run jobs", async () => {
  const resourceLimits = {
    maxOldGenerationSizeMb: 8,
    maxYoungGenerationSizeMb: 0.1,
    codeRangeSizeMb: 0.1,
    stackSizeMb: 0.1,
  };
  await withPool({ maxWorkers: 1, resourceLimits }, async (pool) => {
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
  });
});

Deno.test("a pool has as many threads as the machine, unless told otherwise", async () => {
  await withPool({}, async (pool) => {
    assertEquals(pool.capacity, navigator.hardwareConcurrency);
    await Promise.resolve();
  });
  await withPool({ maxWorkers: 3, concurrency: 4 }, async (pool) => {
    assertEquals(pool.capacity, 12);
    await Promise.resolve();
  });
});

Deno.test("submit() outside of a loop is a misuse", () => {
  const pool = new ThreadPool();
  assertThrows(() => pool.submit(jobs.add, [1, 2]), MisuseError);
});

Deno.test("a message that is none of the pool's ends the thread", async () => {
  await withPool(ONE, async (pool) => {
    const error = await assertRejects(
      () => pool.submit(jobs.post, ["garbage"]),
      WorkerCrashError,
    );
    assertEquals(error.kind, "protocol");
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
  });
});

for (const ends of ["returns", "fails"]) {
  Deno.test(`a run ends whose last job is cancelled by the task that waits for it, and ${ends}`, async () => {
    let seen: unknown;
    await using pool = new ThreadPool({ maxWorkers: 1, cancelGraceMs: 0 });
    await run(async () => {
      createTask(function* () {
        try {
          yield* sleep(0);
          yield* pool.submit(() => new Promise(() => {}), []);
        } catch (error) {
          seen = error;
          if (ends === "fails") throw error;
        }
      });
      await sleep(1);
    });
    assertInstanceOf(seen, CancelledError);
  });
}
