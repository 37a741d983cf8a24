/**
 * Pools of processes, with real ones: jobs, values, output, permissions, and what is left afterwards.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { getRunningLoop, run, type RunOptions } from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import {
  ProcessPool,
  type ProcessPoolOptions,
} from "../../src/workers/process_pool.ts";
import { runDeno, type RunDenoResult } from "../support/run_deno.ts";
import { inStyle, STYLES } from "../support/styles.ts";
import { childrenOf, isAlive, until } from "./support/processes.ts";

const JOBS_URL = new URL("./support/process_jobs.ts", import.meta.url);
const jobs = taskModule<typeof import("./support/process_jobs.ts")>(JOBS_URL);

/** Runs a body with a pool, and sees to it that no process is left. */
async function withPool<T>(
  body: (pool: ProcessPool) => Promise<T>,
  options: ProcessPoolOptions = {},
  runOptions: RunOptions = {},
): Promise<T> {
  const before = childrenOf(Deno.pid);
  const result = await run(async () => {
    await using pool = new ProcessPool({ maxWorkers: 1, ...options });
    return await body(pool);
  }, runOptions);
  const left = childrenOf(Deno.pid).filter((pid) => !before.includes(pid));
  assertEquals(left, []);
  return result;
}

Deno.test("a getter of an argument may submit a job to the same process", async () => {
  await withPool(async (pool) => {
    await pool.submit(jobs.identity, [1]);
    let inner: PromiseLike<number> | undefined;
    const value = {
      pad: "x".repeat(40),
      get a() {
        inner ??= pool.submit(jobs.add, [1, 2]);
        return 1;
      },
      z: "y".repeat(30),
    };
    assertEquals(await pool.submit(jobs.identity, [value]), {
      pad: "x".repeat(40),
      a: 1,
      z: "y".repeat(30),
    });
    assertEquals(await inner, 3);
  }, { concurrency: 4 });
});

for (const style of STYLES) {
  Deno.test(`a job of a process returns its result to ${style}`, async () => {
    await run(async () => {
      await using pool = new ProcessPool({ maxWorkers: 1 });
      const body = inStyle(style, function* () {
        const results: unknown[] = [];
        results.push(yield pool.submit(jobs.add, [1, 2]));
        results.push(yield pool.submit(jobs.addLater, [3, 4]));
        results.push(yield pool.submit(jobs.addAfter, [1, 5, 6]));
        results.push(yield pool.submit(jobs.addInCoroutine, [7, 8]));
        results.push(yield pool.submit((a: number) => a * 2, [21]));
        return results;
      });
      const results = await getRunningLoop().createTask(body);
      assertEquals(results, [3, 7, 11, 15, 42]);
    });
  });

  Deno.test(`an error of a job comes to ${style} with class, cause and both stacks`, async () => {
    await run(async () => {
      await using pool = new ProcessPool({ maxWorkers: 1 });
      const body = inStyle(style, function* () {
        try {
          return yield pool.submit(jobs.fail, []);
        } catch (error) {
          return error;
        }
      });
      const error = await getRunningLoop().createTask(body);
      assert(error instanceof RangeError);
      assertEquals(error.message, "mine");
      assert(error.cause instanceof TypeError);
      assert(error.stack?.includes("process_jobs.ts"));
      assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    });
  });
}

Deno.test("jobs run elsewhere, as many at a time as there are processes", async () => {
  await withPool(async (pool) => {
    const pids = await Promise.all(
      Array.from({ length: 4 }, () => pool.submit(jobs.pid, [])),
    );
    assert(!pids.includes(Deno.pid));
    assert(new Set(pids).size <= 2);
  }, { maxWorkers: 2 });
});

Deno.test("values come through in both directions, small and large ones", async () => {
  await withPool(async (pool) => {
    const values = [
      undefined,
      null,
      "text",
      new Map([[new Date(3), new Uint8Array(1_000)]]),
      { deep: [[[1]]] },
      new Uint8Array(3_000_000).fill(7),
      "é".repeat(100_000),
      new Error("a value"),
    ];
    for (const value of values) {
      const back = await pool.submit(jobs.identity, [value]);
      assertEquals(back, structuredClone(value));
    }
  });
});

Deno.test("many jobs with large values in both directions at once do not block one another", async () => {
  await withPool(async (pool) => {
    const value = new Uint8Array(500_000).fill(3);
    const backs = await Promise.all(
      Array.from({ length: 20 }, () => pool.submit(jobs.identity, [value])),
    );
    for (const back of backs) {
      assertEquals((back as Uint8Array).length, value.length);
    }
  }, { concurrency: 10 });
});

Deno.test("a buffer that is transferred is moved", async () => {
  await withPool(async (pool) => {
    const buffer = new Uint8Array([1, 2, 3]);
    const back = await pool.submit(jobs.identity, [buffer], {
      transfer: [buffer.buffer],
    });
    assertEquals(back, new Uint8Array([1, 2, 3]));
    assertEquals(buffer.length, 0);
    const { port1, port2 } = new MessageChannel();
    await assertRejects(
      async () => {
        await pool.submit(jobs.identity, [port1], { transfer: [port1] });
      },
      DOMException,
      "Only an ArrayBuffer can be transferred",
    );
    port1.close();
    port2.close();
  });
});

Deno.test("a buffer of a result is moved", async () => {
  await withPool(async (pool) => {
    assertEquals((await pool.submit(jobs.giveAway, [3])).byteLength, 3);
    assertEquals(await pool.submit(jobs.leftOfGift, []), 0);
  });
});

Deno.test("what cannot be cloned fails its job only, in either direction", async () => {
  await withPool(async (pool) => {
    const before = await pool.submit(jobs.pid, []);
    const argument = await assertRejects(
      async () => await pool.submit(jobs.identity, [() => 1]),
      DOMException,
    );
    assertEquals(argument.name, "DataCloneError");
    await assertRejects(
      async () => await pool.submit(jobs.uncloneable, []),
      TypeError,
      "Cannot hand over the result of",
    );
    assertEquals(await pool.submit(jobs.pid, []), before);
  });
});

Deno.test("a frame above the limit fails its job only, in either direction", async () => {
  await withPool(async (pool) => {
    const before = await pool.submit(jobs.pid, []);
    await assertRejects(
      async () => await pool.submit(jobs.identity, [new Uint8Array(10_000)]),
      RangeError,
      "Cannot send a value as it may take 10000 bytes at most",
    );
    await assertRejects(
      async () => await pool.submit(jobs.bytes, [10_000]),
      TypeError,
      "it may take 10000 bytes at most",
    );
    assertEquals((await pool.submit(jobs.bytes, [9_000])).length, 9_000);
    assertEquals(await pool.submit(jobs.pid, []), before);
  }, { frameBytesMax: 10_000 });
});

Deno.test("progress arrives in order, before the result", async () => {
  await withPool(async (pool) => {
    const seen: unknown[] = [];
    const result = await pool.submit(jobs.progress, [1_000], {
      onProgress: (value) => seen.push(value),
    });
    assertEquals(result, 1_000);
    assertEquals(seen, Array.from({ length: 1_000 }, (_, n) => n));
  });
});

Deno.test("a waiting job is aborted by its signal, and its process lives on", async () => {
  await withPool(async (pool) => {
    const before = await pool.submit(jobs.pid, []);
    const controller = new AbortController();
    const job = pool.submit(jobs.untilAborted, [], {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await assertRejects(async () => await job);
    assert(job.cancelled());
    assertEquals(await pool.submit(jobs.pid, []), before);
  });
});

Deno.test("while a job waits, others of its process begin and end", async () => {
  await withPool(async (pool) => {
    const job = pool.submit(jobs.untilAborted, []);
    for (let n = 0; n < 20; n++) {
      assertEquals(await pool.submit(jobs.add, [n, 1]), n + 1);
      assertEquals(await pool.submit(jobs.addAfter, [1, n, 2]), n + 2);
    }
    assertEquals(job.done(), false);
    job.cancel();
    await assertRejects(async () => await job);
  }, { concurrency: 3 });
});

for (const job of [jobs.spin, jobs.spinInMicrotasks, jobs.wait]) {
  Deno.test(`job ${job.name} is killed when it does not end in time`, async () => {
    await withPool(async (pool) => {
      let pid = 0;
      const running = pool.submit(job, [], {
        onProgress: (value) => {
          pid = value as number;
          running.cancel();
        },
      });
      await assertRejects(async () => await running);
      assert(running.cancelled());
      assertEquals(isAlive(pid), false);
      assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    }, { cancelGraceMs: 10 });
  });
}

Deno.test("timers that a job has left behind go on while there is no job", async () => {
  const file = await Deno.makeTempFile();
  try {
    await withPool(async (pool) => {
      await pool.submit((file: string) => {
        setTimeout(() => Deno.writeTextFileSync(file, "rung"), 30);
      }, [file]);
      await until(
        "the timer rang",
        async () => await Deno.readTextFile(file) === "rung",
      );
    }, { permissions: { write: [file] } });
  } finally {
    await Deno.remove(file);
  }
});

// -- Output --

const PROGRAM = new URL("./support/process_program.ts", import.meta.url).href;

function runProgram(
  name: string,
  flags: readonly string[] = ["-A"],
): Promise<RunDenoResult> {
  return runDeno(["run", "--no-check", "--no-prompt", ...flags, PROGRAM, name]);
}

Deno.test("what a job prints, and its children, appears on standard output", async () => {
  const { code, stdout, stderr } = await runProgram("output");
  assertEquals(stderr, "error\n");
  assertEquals(code, 0);
  assertEquals(
    stdout.trim().split("\n").sort(),
    ["console", "grandchild", "process", "stdout"]
      .flatMap((how) => [`${how} one`, `${how} two`]),
  );
});

// -- Permissions and settings --

Deno.test("by default a process may read, and nothing else", async () => {
  await withPool(async (pool) => {
    const states: Record<string, string> = {};
    for (
      const name of [
        "read",
        "write",
        "net",
        "env",
        "run",
        "ffi",
        "sys",
      ] as const
    ) {
      states[name] = await pool.submit(jobs.stateOf, [name]);
    }
    assertEquals(states, {
      read: "granted",
      write: "prompt",
      net: "prompt",
      env: "prompt",
      run: "prompt",
      ffi: "prompt",
      sys: "prompt",
    });
    await assertRejects(
      async () => await pool.submit(jobs.environment, ["HOME"]),
      Deno.errors.NotCapable,
    );
  });
});

Deno.test("permissions, env, cwd and flags reach the process", async () => {
  await withPool(
    async (pool) => {
      assertEquals(await pool.submit(jobs.stateOf, ["net"]), "granted");
      assertEquals(await pool.submit(jobs.environment, ["ROTA_X"]), "y");
      assertEquals(await pool.submit(jobs.directory, []), "/tmp");
      assertEquals(
        await pool.submit(() => typeof (globalThis as { gc?: unknown }).gc, []),
        "function",
      );
    },
    {
      permissions: { read: true, net: true, env: ["ROTA_X"] },
      env: { ROTA_X: "y" },
      cwd: "/tmp",
      flags: ["--v8-flags=--expose-gc"],
    },
  );
});

Deno.test("a folder may be all that a process reads", async () => {
  const folder = new URL("../../", import.meta.url);
  await withPool(async (pool) => {
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    await assertRejects(
      async () =>
        await pool.submit(() => Deno.readTextFileSync("/etc/hostname"), []),
      Deno.errors.NotCapable,
    );
  }, { permissions: { read: [folder] } });
});

Deno.test("options of a wrong type are refused", () => {
  const make = (options: unknown) => () =>
    new ProcessPool(options as ProcessPoolOptions);
  const what = "Cannot create a process pool as";
  assertThrows(make(null), TypeError, what);
  assertThrows(make({ permissions: 1 }), TypeError, `${what} permissions`);
  assertThrows(make({ flags: "-A" }), TypeError, `${what} flags`);
  assertThrows(make({ flags: [1] }), TypeError, `${what} flags`);
  assertThrows(make({ env: 1 }), TypeError, `${what} env must be an object`);
  assertThrows(make({ env: ["x"] }), TypeError, `${what} env must be an`);
  assertThrows(make({ env: { A: 1 } }), TypeError, `${what} env.A`);
  assertThrows(make({ cwd: 1 }), TypeError, `${what} cwd`);
  assertThrows(
    make({ cwd: new URL("https://x/") }),
    TypeError,
    `${what} a URL of cwd must be that of a folder: received https://x/`,
  );
  assertThrows(
    make({ flags: ["--allow-net"], permissions: { net: false } }),
    TypeError,
    `${what} flags must not give or take permissions`,
  );
  assertThrows(make({ frameBytesMax: "1" }), TypeError, what);
  assertThrows(
    make({ frameBytesMax: 10 }),
    RangeError,
    `${what} frameBytesMax`,
  );
  assertThrows(make({ frameBytesMax: 2 ** 40 }), RangeError, what);
  assertThrows(make({ minWorkers: 2, maxWorkers: 1 }), RangeError, what);
});

Deno.test("without the permission to run sh there is no pool, and the error names the flag", async () => {
  for (const flags of [[], ["--allow-run=deno", "--allow-read"]]) {
    const { code, stderr } = await runProgram("permissions", flags);
    assertEquals(code, 1);
    assert(
      stderr.includes(
        "NotCapable: Cannot create a process pool: the permission to run sh is missing, run with --allow-run=sh or --allow-run",
      ),
      stderr,
    );
  }
});

Deno.test("the permission to run sh is all that a pool needs", async () => {
  const { code, stdout, stderr } = await runProgram("permissions", [
    "--allow-run=sh",
  ]);
  assertEquals(stderr, "");
  assertEquals(stdout, "2\ncancelled\nexit 3\nNotCapable\n");
  assertEquals(code, 0);
});

// -- Life --

Deno.test("an idle pool holds neither the process nor a processor", async () => {
  const { code, stdout, stderr, killed } = await runProgram("idle");
  assertEquals(stderr, "");
  assertEquals([code, killed], [0, false]);
  const [one, two] = stdout.trim().split("\n").map(Number);
  assertEquals(one, two);
  await until("the process has ended", () => !isAlive(one!));
});

Deno.test("an idle process uses no processor", async () => {
  await withPool(async (pool) => {
    const pid = await pool.submit(jobs.pid, []);
    const ticks = () => {
      const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return { cpu: fields[11]! + fields[12]!, state: fields[0] };
    };
    let before = ticks();
    let same = 0;
    // Twenty looks in a row at which nothing was used.
    await until("the process is at rest", () => {
      const now = ticks();
      same = now.cpu === before.cpu && now.state === "S" ? same + 1 : 0;
      before = now;
      return same === 20;
    });
  });
});

Deno.test("after the shutdown nothing is taken, and a second one is harmless", async () => {
  await run(async () => {
    const pool = new ProcessPool({ maxWorkers: 2 });
    const last = pool.submit(jobs.addAfter, [20, 1, 2]);
    const first = getRunningLoop().createTask(() => pool.shutdown());
    await pool.shutdown();
    await first;
    assertThrows(() => pool.submit(jobs.add, [1, 2]), ExecutorShutDownError);
    assertEquals(await last, 3);
    const { workers } = pool.stats();
    assertEquals(workers, { starting: 0, idle: 0, busy: 0, stopping: 0 });
  });
});

Deno.test("a grandchild ends with its process, be that closed or killed", async () => {
  const permissions = { read: true, run: true };
  let grandchild = 0;
  await withPool(async (pool) => {
    grandchild = await pool.submit(jobs.startGrandchild, []);
    assert(isAlive(grandchild));
  }, { permissions });
  assertEquals(isAlive(grandchild), false);
  await withPool(async (pool) => {
    grandchild = await pool.submit(jobs.startGrandchild, []);
    const job = pool.submit(jobs.spin, [], { onProgress: () => job.cancel() });
    await assertRejects(async () => await job);
    await until("the grandchild has ended", () => !isAlive(grandchild));
  }, { permissions, cancelGraceMs: 0 });
});

for (const host of ["portable", "native", "virtual"] as const) {
  Deno.test(`a pool works on the ${host} host`, async () => {
    await withPool(
      async (pool) => {
        assertEquals(await pool.map(jobs.identity, [1, 2, 3]), [1, 2, 3]);
      },
      {},
      { host },
    );
  });
}
