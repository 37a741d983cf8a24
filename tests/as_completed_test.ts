/**
 * asCompleted() that is left early: what it lets go of, and what goes on.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import {
  asCompleted,
  CancelledError,
  cancelScope,
  each,
  Future,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  type Task,
  timeout,
  TimeoutError,
} from "../mod.ts";
import { runProgram } from "./support/program.ts";

const VIRTUAL = { host: "virtual" } as const;

/** Tasks that sleep so many milliseconds and return them. */
function sleepers(...delays: number[]): Task<number>[] {
  const loop = getRunningLoop();
  return delays.map((ms) => loop.createTask(() => sleep(ms, { value: ms })));
}

// -- What it lets go of --

/** The ways to leave an iteration over `[ready, never]` early, as bodies of a loop. */
const WAYS: Readonly<Record<string, string>> = {
  "break in for await": `
    for await (const _ of asCompleted(entries())) break;
  `,
  "a throw in for await": `
    try {
      for await (const _ of asCompleted(entries())) throw new Error("enough");
    } catch { /* as it should */ }
  `,
  "break in for, in an async function": `
    for (const next of asCompleted(entries())) {
      await next;
      break;
    }
  `,
  "break in for, in a generator": `
    await loop.createTask(function* () {
      for (const next of asCompleted(entries())) {
        yield* next;
        break;
      }
    });
  `,
  "a throw in for, in a generator": `
    await loop.createTask(function* () {
      try {
        for (const next of asCompleted(entries())) {
          yield* next;
          throw new Error("enough");
        }
      } catch { /* as it should */ }
    });
  `,
  "stop() in each(), in a generator": `
    await loop.createTask(function* () {
      yield* each(asCompleted(entries()), (_, stop) => stop());
    });
  `,
  "stop() in each(), in an async function": `
    await each(asCompleted(entries()), async (_, stop) => stop());
  `,
  "a throw in each()": `
    await each(asCompleted(entries()), () => {
      throw new Error("enough");
    }).then(null, () => {});
  `,
  "an iterator that is dropped after return()": `
    const iterator = asCompleted(entries())[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.return();
  `,
  "an iterator that is returned before its first item": `
    await asCompleted(entries())[Symbol.asyncIterator]().return();
    await sleep(0); // its task ends
  `,
  "a results iterator that is dropped after return()": `
    const results = asCompleted(entries());
    await results.next().value;
    results.return();
  `,
  "destructuring": `
    const [first] = asCompleted(entries());
    await first;
  `,
  "a cancelled wait in for await": `
    const task = loop.createTask(async () => {
      for await (const _ of asCompleted([never]));
    });
    await sleep(0);
    task.cancel();
    await sleep(0);
    await task.then(null, () => {});
  `,
  "a cancelled wait in for": `
    const task = loop.createTask(async () => {
      for (const next of asCompleted([never])) await next;
    });
    await sleep(0);
    task.cancel();
    await task.then(null, () => {});
  `,
  "a cancelled wait in each(), in a generator": `
    const task = loop.createTask(() => each(asCompleted([never]), () => {}));
    await sleep(0);
    task.cancel();
    await task.then(null, () => {});
  `,
  "a cancelled scope around": `
    await cancelScope(async (scope) => {
      const [first] = asCompleted([never]);
      scope.cancel();
      await first;
    });
  `,
  "a cancelled scope around, in a generator": `
    await loop.createTask(() => cancelScope(function* (scope) {
      const [first] = asCompleted([never]);
      scope.cancel();
      yield* first;
    }));
  `,
  "a signal that has aborted": `
    const [first] = asCompleted([never], { signal: aborted });
    await first.then(null, () => {});
    await sleep(0);
  `,
  "a signal that has aborted, in a generator": `
    await loop.createTask(function* () {
      const [first] = asCompleted([never], { signal: aborted });
      try {
        yield* first;
      } catch { /* as it should */ }
    });
  `,
  "a task for the next one that is cancelled before it begins": `
    const [first] = asCompleted([never]);
    const task = loop.createTask(first);
    task.cancel();
    await task.then(null, () => {});
  `,
  "waits that have all been given up": `
    for (const next of asCompleted(entries())) {
      await timeout(0, () => next).then(null, () => {});
    }
  `,
};

Deno.test("asCompleted() that is left early keeps nothing, whichever way it is left", async () => {
  const { stdout, stderr, code } = await runProgram(
    `
    import {
      asCompleted, cancelScope, each, getRunningLoop, run, sleep, timeout,
    } from "@rota/rota";
    const heap = async () => {
      // What is finalized after one collection goes with the next.
      for (let n = 0; n < 3; n++) {
        gc();
        await sleep(1);
      }
      gc();
      return Deno.memoryUsage().heapUsed;
    };
    await run(async () => {
      const loop = getRunningLoop();
      const never = loop.createFuture();
      const aborted = AbortSignal.abort("too late");
      const entries = () => [loop.createTask(() => {}), never];
      const ways = {
        ${
      Object.entries(WAYS).map(([way, body]) =>
        `${JSON.stringify(way)}: async () => {${body}},`
      ).join("\n")
    }
      };
      for (const [way, round] of Object.entries(ways)) {
        const rounds = async (count) => {
          for (let n = 0; n < count; n++) {
            await round();
            if (n % 64 === 0) await sleep(1); // V8 keeps more while no turn ends
          }
        };
        await rounds(500);
        const before = await heap();
        await rounds(4_000);
        console.log(Math.round((await heap() - before) / 4_000), way);
      }
    }, { host: "virtual", outsideWaits: "ignore" });
    `,
    { flags: ["-A", "--v8-flags=--expose-gc"], limitMs: 120_000 },
  );
  assertEquals(code, 0, stderr);
  const lines = stdout.trim().split("\n");
  assertEquals(lines.length, Object.keys(WAYS).length);
  // A future that is kept shows as some 600 bytes.
  assertEquals(lines.filter((line) => Number.parseInt(line) > 100), []);
});

// -- What goes on --

Deno.test("An asCompleted() that was left is over, and its tasks go on", async () => {
  await run(async () => {
    const tasks = sleepers(30, 10, 20);
    const results = asCompleted(tasks);
    for (const next of results) {
      assertEquals(await next, 10);
      break;
    }
    assertEquals(results.next(), { done: true, value: undefined });
    assertEquals(results.return(), { done: true, value: undefined });
    assertEquals(await Array.fromAsync(results), []);
    assertEquals(tasks.map((task) => task.cancelled()), [false, false, false]);
    assertEquals(await tasks[0], 30);
  }, VIRTUAL);
});

Deno.test("Operations that asCompleted() has handed out count after it was left, in the order of completion", async () => {
  await run(function* () {
    const [first, second] = asCompleted(sleepers(30, 10, 20));
    yield* sleep(50);
    assertEquals([yield* first!, yield* second!], [10, 20]);
  }, VIRTUAL);
  await run(async () => {
    const [first, second] = asCompleted(sleepers(30, 10, 20));
    await sleep(15);
    assertEquals(await Promise.all([second, first]), [10, 20]);
  }, VIRTUAL);
});

Deno.test("Of several loops over one asCompleted() one may be left, and the others go on", async () => {
  await run(async () => {
    const all = asCompleted(sleepers(10, 20, 30, 40));
    const seen: string[] = [];
    const consume = async (name: string, most: number) => {
      for await (const task of all) {
        seen.push(`${name} ${task.result()}`);
        if (--most === 0) break;
      }
    };
    await Promise.all([consume("a", 1), consume("b", Infinity)]);
    assertEquals(seen, ["a 10", "b 20", "b 30", "b 40"]);
  }, VIRTUAL);
});

Deno.test("return() twice leaves one of two loops over asCompleted() only once", async () => {
  await run(async () => {
    const all = asCompleted(sleepers(10, 20));
    const left = all[Symbol.asyncIterator]();
    const other = all[Symbol.asyncIterator]();
    await left.return!();
    await left.return!();
    assertEquals(await left.next(), { done: true, value: undefined });
    assertEquals((await other.next()).value?.result(), 10);
  }, VIRTUAL);
});

Deno.test("A for await over asCompleted() that is cancelled is over; one that is not in time tells of each", async () => {
  await run(async () => {
    const cancelled = asCompleted([new Future(getRunningLoop())]);
    const iterator = cancelled[Symbol.asyncIterator]();
    await assertRejects(
      async () => await timeout(5, async () => void await iterator.next()),
      TimeoutError,
    );
    assertEquals(await iterator.next(), { done: true, value: undefined });

    const late = asCompleted(sleepers(50, 60), { timeoutMs: 10 });
    const futures = late[Symbol.asyncIterator]();
    for (let n = 0; n < 2; n++) {
      await assertRejects(() => futures.next(), TimeoutError, "not all");
    }
    assertEquals(await futures.next(), { done: true, value: undefined });
  }, VIRTUAL);
});

Deno.test("each() over asCompleted() that is left is over", async () => {
  await run(function* () {
    const all = asCompleted(sleepers(10, 20));
    const seen: unknown[] = [];
    yield* each(all, (task, stop) => {
      seen.push(task.result());
      stop();
    });
    yield* each(all, (task) => void seen.push(task.result()));
    assertEquals(seen, [10]);
  }, VIRTUAL);
});

Deno.test("A wait for the next one does not begin in a cancelled scope, and once only", async () => {
  await run(async () => {
    const [next] = asCompleted(sleepers(10));
    await cancelScope(async (scope) => {
      scope.cancel("enough");
      await assertRejects(async () => await next, CancelledError, "enough");
    });
    await assertRejects(async () => await next, MisuseError, "a second time");
  }, VIRTUAL);
});
