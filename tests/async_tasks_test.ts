/**
 * Async functions as tasks: whose task and whose loop code belongs to, several
 * waits at once, foreign promises, and how many turns a wait takes.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  allTasks,
  CancelledError,
  currentTask,
  EventLoop,
  getRunningLoop,
  MisuseError,
  Operation,
  Pipe,
  run,
  sleep,
  type Task,
  until,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";
import { outcomeOf } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** A promise of others that this test settles. */
function foreign<T = void>(): PromiseWithResolvers<T> {
  return Promise.withResolvers<T>();
}

// -- Whose task, whose loop --

Deno.test("currentTask() and getRunningLoop() hold behind foreign promises, at any depth, and for each of many tasks", async () => {
  const helper = async (depth: number): Promise<string> => {
    await Promise.resolve();
    if (depth > 0) return await helper(depth - 1);
    await new Promise((resolve) => setImmediate(resolve));
    assertStrictEquals(getRunningLoop(), currentTask()!.loop);
    return currentTask()!.name;
  };
  await run(async () => {
    const names = Array.from({ length: 20 }, (_, n) => `worker ${n}`);
    const tasks = names.map((name, n) =>
      getRunningLoop().createTask(() => helper(n % 5), { name })
    );
    assertEquals(await Promise.all(tasks), names);
  }, VIRTUAL);
});

Deno.test("Two loops side by side keep their tasks apart", async () => {
  const loops = [openLoop().loop, openLoop().loop];
  const seen = await Promise.all(
    loops.map((loop) =>
      loop.runUntilComplete(async () => {
        const seen: unknown[] = [];
        for (let step = 0; step < 5; step++) {
          await Promise.resolve();
          seen.push(getRunningLoop() === loop, currentTask()!.loop === loop);
          await sleep(1);
          seen.push(getRunningLoop() === loop);
          await until(new Promise((resolve) => setImmediate(resolve)));
        }
        return seen;
      })
    ),
  );
  assert(seen.flat().every((same) => same === true));
  for (const loop of loops) await loop.close();
});

Deno.test("The innermost task is meant where one is made by another", async () => {
  await run(async () => {
    const outer = currentTask();
    const inner = getRunningLoop().createTask(async () => {
      await Promise.resolve();
      return currentTask()!.id;
    });
    await Promise.resolve();
    assertStrictEquals(currentTask(), outer);
    assertEquals(await inner, inner.id);
    assertStrictEquals(currentTask(), outer);
  }, VIRTUAL);
});

Deno.test("A task that has ended is nobody's current task any more", async () => {
  const { promise, resolve } = foreign();
  const late = foreign<unknown>();
  const { loop } = openLoop();
  const task = loop.createTask(async () => {
    (async () => {
      await promise;
      late.resolve(currentTask());
    })();
    await Promise.resolve();
  });
  await loop.runUntilComplete(task);
  resolve();
  assertStrictEquals(await late.promise, null);
  await loop.close();
});

Deno.test("A helper that a generator calls has its task up to its first await, and all along through until()", async () => {
  await run(function* () {
    const me = currentTask();
    const helper = async () => {
      const seen = [currentTask() === me];
      await Promise.resolve();
      seen.push(currentTask() === me);
      return seen;
    };
    assertEquals(yield* until(helper()), [true, false]);
    assertEquals(yield* until(helper), [true, true]);
    assertEquals(yield* until(() => helper()), [true, true]);
  }, VIRTUAL);
});

Deno.test("Turns run in the empty AsyncLocalStorage context, and async functions keep what they set", async () => {
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  await storage.run("of the caller", () =>
    run(async () => {
      const loop = getRunningLoop();
      seen.push(storage.getStore());
      await storage.run("of the body", async () => {
        loop.callSoon(() => seen.push(storage.getStore()));
        loop.callLater(1, () => seen.push(storage.getStore()));
        loop.createTask(function* () {
          seen.push(storage.getStore());
          yield* sleep(0);
          seen.push(storage.getStore());
        });
        await sleep(5);
        seen.push(storage.getStore());
      });
      seen.push(storage.getStore());
    }, VIRTUAL));
  assertEquals(seen, [
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    "of the body",
    undefined,
  ]);
});

Deno.test('With asyncContext: "inherit" the submitter\'s AsyncLocalStorage value is in every task, step, timer and callback', async () => {
  const storage = new AsyncLocalStorage<string>();
  const { loop } = openLoop({ asyncContext: "inherit" });
  const seen: Record<string, unknown[]> = {};
  const note = (what: string) => (seen[what] ??= []).push(storage.getStore());
  for (const who of ["alice", "bob"]) {
    storage.run(who, () => {
      loop.callSoon(() => note("callSoon"));
      loop.callLater(1, () => note("callLater"));
      loop.callAt(2, () => note("callAt"));
      const future = loop.createFuture<void>();
      future.addDoneCallback(() => note("done callback"));
      loop.createTask(function* () {
        note("generator");
        yield* sleep(1);
        note("generator");
        future.setResult();
      });
      loop.createTask(async () => {
        note("async");
        await sleep(1);
        note("async");
      });
    });
  }
  await loop.runUntilComplete(() => sleep(5));
  const twice = ["alice", "bob", "alice", "bob"];
  assertEquals(seen, {
    "callSoon": ["alice", "bob"],
    "callLater": ["alice", "bob"],
    "callAt": ["alice", "bob"],
    "done callback": ["alice", "bob"],
    "generator": twice,
    "async": twice,
  });
  assertStrictEquals(storage.getStore(), undefined);
  await loop.close();
});

Deno.test('With asyncContext: "inherit" a callback of a descriptor has the context of who added it', async () => {
  const storage = new AsyncLocalStorage<string>();
  using pipe = Pipe.open();
  const seen = await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture<unknown>();
    storage.run("alice", () => {
      loop.addReader(pipe.readFd, () => {
        loop.removeReader(pipe.readFd);
        future.setResult(storage.getStore());
      });
    });
    pipe.write(new Uint8Array(1));
    return yield* future;
  }, { host: "native", asyncContext: "inherit" });
  assertEquals(seen, "alice");
});

Deno.test('With asyncContext: "inherit" the context is let go of when task, timer and callback are over', async () => {
  const { stdout, stderr, code } = await runProgram(
    `
    import { AsyncLocalStorage } from "node:async_hooks";
    import { getRunningLoop, run, sleep, until } from "@rota/rota";
    const storage = new AsyncLocalStorage();
    const freed = [];
    const registry = new FinalizationRegistry((name) => freed.push(name));
    const kept = [];
    await run(async () => {
      const loop = getRunningLoop();
      const inContext = (name, schedule) => {
        const value = {};
        registry.register(value, name);
        storage.run(value, schedule);
      };
      inContext("generator", () => kept.push(loop.createTask(function* () { yield* sleep(1); })));
      inContext("async", () => kept.push(loop.createTask(async () => { await sleep(1); })));
      inContext("timer", () => void loop.callLater(1, () => {}));
      inContext("cancelled", () => kept.push(loop.callLater(1e6, () => {})));
      kept.at(-1).cancel();
      inContext("callback", () => void loop.callSoon(() => {}));
      await sleep(5);
      for (let n = 0; n < 200 && freed.length < 5; n++) {
        gc();
        await until(new Promise((resolve) => setImmediate(resolve)));
      }
    }, { asyncContext: "inherit" });
    console.log(JSON.stringify(freed.sort()));
  `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals(code, 0, stderr);
  assertEquals(
    JSON.parse(stdout),
    ["async", "callback", "cancelled", "generator", "timer"],
  );
});

// -- The first async function of a process --

// Each in a process of its own: what is loaded for the first stays.

Deno.test("An async main does not load the runtime's Node layer, and finds its task after each await", async () => {
  const { stdout, stderr, code } = await runProgram(`
    import { currentTask, run, sleep } from "@rota/rota";
    Object.defineProperty(globalThis, "process", {
      get() {
        throw new Error("The Node layer was loaded");
      },
    });
    const seen = await run(async () => {
      const me = currentTask();
      await Promise.resolve();
      const names = [currentTask() === me];
      await sleep(1);
      names.push(currentTask() === me);
      return names;
    });
    console.log(JSON.stringify(seen));
  `);
  assertEquals(code, 0, stderr);
  assertEquals(stdout.trim(), "[true,true]");
});

for (const host of ["virtual", "portable", "native"]) {
  for (const stop of [false, true]) {
    const course = `${host}${stop ? ", stopped at once" : ""}`;
    Deno.test(`The first run with an async main goes like the second: ${course}`, async () => {
      const { stdout, stderr, code } = await runProgram(`
        import { currentTask, newEventLoop, sleep } from "@rota/rota";
        async function course() {
          const log = [];
          const loop = newEventLoop({ host: "${host}" });
          loop.setExceptionHandler((_, { message }) => log.push(message));
          loop.callSoon(() => log.push("before"));
          loop.callLater(0, () => log.push("timer"));
          const task = loop.createTask(async () => {
            log.push("main");
            const me = currentTask();
            await Promise.resolve();
            log.push(currentTask() === me);
            await sleep(0);
            log.push(currentTask() === me);
          }, { name: "main" });
          const main = loop.runUntilComplete(task);
          log.push(loop.isRunning());
          loop.callSoon(() => log.push("after"));
          await loop.runForever().catch((error) => log.push(error.name));
          if (${stop}) loop.stop();
          await main.catch((error) => log.push(error.message));
          await loop.close();
          return JSON.stringify(log);
        }
        console.log(await course());
        console.log(await course());
      `);
      assertEquals(code, 0, stderr);
      const logs: unknown[][] = stdout.trim().split("\n").map((line) =>
        JSON.parse(line)
      );
      assertEquals(logs.length, 2);
      for (const log of logs) {
        // How early the timer is, and how far the task comes before the loop is
        // stopped, depends on the speed of the machine.
        const order = log.filter((entry) => entry !== "timer");
        assertEquals(order.slice(0, 5), [
          true,
          "MisuseError",
          "before",
          "main",
          "after",
        ]);
        if (!stop) {
          assertEquals(order.slice(5), [true, true]);
          assertEquals(log.length - order.length, 1);
        }
      }
    });
  }
}

Deno.test("Loops begin in the order in which they were started, whether or not one has to load something first", async () => {
  for (let hops = 0; hops < 5; hops++) {
    for (const second of ["async () =>", "function* () ", "forever"]) {
      const { stdout, stderr, code } = await runProgram(`
        import { newEventLoop, run } from "@rota/rota";
        const options = { host: "virtual" };
        const begin = () => {
          if ("${second}" !== "forever") {
            return run(${
        second === "forever" ? "null" : `${second}{ log.push("second"); }`
      }, options);
          }
          const loop = newEventLoop(options);
          loop.callSoon(() => {
            log.push("second");
            loop.stop();
          });
          return loop.runForever().then(() => loop.close());
        };
        let log;
        for (const _ of [1, 2]) {
          log = [];
          const all = [run(async () => { log.push("first"); }, options)];
          for (let hop = 0; hop < ${hops}; hop++) await null;
          all.push(begin());
          all.push(run(function* () { log.push("third"); }, options));
          await Promise.all(all);
          console.log(log.join());
        }
      `);
      assertEquals(code, 0, stderr);
      const order = "first,second,third";
      assertEquals(
        stdout.trim().split("\n"),
        [order, order],
        `${hops} ${second}`,
      );
    }
  }
});

Deno.test("A main that cannot be looked at ends like any other that cannot begin", async () => {
  const { stdout, stderr, code } = await runProgram(`
    import { run, Task, newEventLoop } from "@rota/rota";
    for (const host of ["virtual", "portable"]) {
      for (const _ of [1, 2]) {
        const main = new Proxy(async () => 5, {
          getPrototypeOf() {
            throw new Error("trap");
          },
        });
        console.log(await run(main, { host }).catch((error) => error.message));
      }
      const loop = newEventLoop({ host });
      const task = loop.createTask(new Proxy(() => 5, {
        getPrototypeOf() {
          throw new Error("trap");
        },
      }));
      task.cancel("never mind");
      console.log(await loop.runUntilComplete(task).catch((error) => error.message));
      await loop.close();
    }
  `);
  assertEquals(code, 0, stderr);
  const each = ["trap", "trap", "Cancelled: never mind"];
  assertEquals(stdout.trim().split("\n"), [...each, ...each], stderr);
});

for (
  const [where, program] of [
    [
      "inside a run of generators",
      `console.log(await run(function* () {
        return yield* getRunningLoop().createTask(helper);
      }));`,
    ],
    [
      "on a loop that runs for ever",
      `const loop = newEventLoop();
      const task = loop.createTask(helper);
      task.addDoneCallback(() => loop.stop());
      await loop.runForever();
      console.log(task.result());
      await loop.close();`,
    ],
  ] as const
) {
  Deno.test(`The first async function of a process finds its task: ${where}`, async () => {
    const { stdout, stderr, code } = await runProgram(`
      import { currentTask, getRunningLoop, newEventLoop, run } from "@rota/rota";
      async function helper() {
        const me = currentTask();
        await Promise.resolve();
        return me !== null && currentTask() === me;
      }
      ${program}
    `);
    assertEquals(code, 0, stderr);
    assertEquals(stdout.trim(), "true");
  });
}

// -- Outside any task --

Deno.test("A plain callback that starts an async function gives each of its waits a task of its own", async () => {
  const { loop } = openLoop();
  const log: unknown[] = [];
  const { promise, resolve } = foreign();
  loop.callSoon(() => {
    (async () => {
      log.push(currentTask());
      await sleep(1);
      log.push(currentTask());
      const names = allTasks(loop).map((task) => task.name);
      log.push(names);
      const wait = sleep(1);
      queueMicrotask(() =>
        queueMicrotask(() => log.push(allTasks(loop).map((task) => task.name)))
      );
      await wait;
      resolve();
    })();
  });
  const running = loop.runForever();
  await promise;
  loop.stop();
  await running;
  assertEquals(log, [null, null, [], ["await sleep()"]]);
  await loop.close();
});

// -- Several waits at once --

Deno.test("Promise.all() over operations waits for all of them at the same time", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const values = await Promise.all([
      sleep(10, { value: "a" }),
      sleep(30, { value: "b" }),
      sleep(20, { value: "c" }),
    ]);
    assertEquals([values, loop.time()], [["a", "b", "c"], 30]);
  }, VIRTUAL);
});

Deno.test("cancel() throws into every wait of an async function, as one request", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  const watch = async (name: string, wait: PromiseLike<unknown>) => {
    try {
      await wait;
    } catch (error) {
      assertInstanceOf(error, CancelledError);
      log.push(`${name}: ${error.reason}`);
      throw error;
    }
  };
  const future = loop.createFuture<void>();
  const inner = loop.createTask(function* () {
    yield* sleep(1_000);
  });
  const task = loop.createTask(async () => {
    await Promise.allSettled([
      watch("sleep", sleep(1_000)),
      watch("future", future),
      watch("task", inner),
      watch(
        "second wait of a helper",
        (async () => {
          await sleep(0);
          await sleep(1_000);
        })(),
      ),
      watch(
        "operation",
        new Operation(function* () {
          try {
            yield* sleep(1_000);
          } finally {
            log.push("inside the operation");
          }
        }),
      ),
    ]);
    log.push("all settled");
    await sleep(0);
    log.push("went on, as it was thrown once");
  });
  await runTurns(loop, 3);
  task.cancel("why");
  assertEquals(task.cancelling(), 1);
  await runTurns(loop, 4);
  assertEquals(log.toSorted(), [
    "all settled",
    "future: why",
    "inside the operation",
    "operation: why",
    "second wait of a helper: why",
    "sleep: why",
    "task: why",
    "went on, as it was thrown once",
  ]);
  assert(future.cancelled());
  assert(inner.cancelled());
  assertEquals(outcomeOf(task), "result: undefined");
  assertEquals(loop.stats().timers, 0);
  await loop.close();
});

Deno.test("The first failure of Promise.all() ends the function, and what it still waited for is cancelled", async () => {
  const { loop, reports } = openLoop();
  const log: string[] = [];
  const slow = () =>
    new Operation(function* () {
      try {
        yield* sleep(1_000);
        log.push("ran on");
      } finally {
        log.push("cleaned up");
      }
    });
  const task = loop.createTask(async () => {
    await Promise.all([
      slow(),
      (async () => {
        await sleep(5);
        throw new Error("first");
      })(),
      slow(),
    ]);
  });
  await assertRejects(() => loop.runUntilComplete(task), Error, "first");
  await runTurns(loop, 2);
  assertEquals(log, ["cleaned up", "cleaned up"]);
  assertEquals([loop.time(), loop.stats().timers], [5, 0]);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("The loser of Promise.race() is cancelled when the task ends, not before", async () => {
  const { loop, reports } = openLoop();
  const log: string[] = [];
  const loser = new Operation(function* () {
    try {
      yield* sleep(1_000);
    } finally {
      log.push(`loser gone at ${loop.time()}`);
    }
  });
  const task = loop.createTask(async () => {
    const winner = await Promise.race([sleep(5, { value: "winner" }), loser]);
    await sleep(10);
    log.push(`${winner} ends at ${loop.time()}`);
  });
  await loop.runUntilComplete(task);
  await runTurns(loop, 1);
  assertEquals(log, ["winner ends at 15", "loser gone at 15"]);
  assertEquals(loop.stats().timers, 0);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A future that a task still listens to when it ends is left alone", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<void>();
  const task = loop.createTask(async () => {
    await Promise.race([future, sleep(1)]);
  });
  await loop.runUntilComplete(task);
  assert(!future.done());
  await loop.close();
});

// -- Foreign promises --

Deno.test("A task in a foreign promise that is cancelled: its signal aborts at once, its next wait throws", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  const gate = foreign<string>();
  const task = loop.createTask(async () => {
    const { signal } = currentTask()!;
    signal.addEventListener("abort", () => {
      log.push(`aborted: ${(signal.reason as CancelledError).reason}`);
    });
    log.push(await gate.promise);
    log.push("still running");
    try {
      await sleep(0);
      log.push("unreachable");
    } catch (error) {
      log.push(String(error));
      throw error;
    }
  });
  await runTurns(loop, 1);
  task.cancel("why");
  assertEquals(log, ["aborted: why"]);
  await runTurns(loop, 2);
  assert(!task.done(), "nothing can be thrown into a foreign promise");
  gate.resolve("gate opened");
  await assertRejects(() => loop.runUntilComplete(task), CancelledError);
  assertEquals(log, [
    "aborted: why",
    "gate opened",
    "still running",
    "CancelledError: Cancelled: why",
  ]);
  await loop.close();
});

Deno.test("A task in a foreign promise that is cancelled and returns without another wait ends cancelled", async () => {
  const { loop } = openLoop();
  const gate = foreign();
  const task = loop.createTask(async () => {
    await gate.promise;
    return "lost";
  });
  await runTurns(loop, 1);
  task.cancel("why");
  gate.resolve();
  await assertRejects(() => loop.runUntilComplete(task), CancelledError);
  assertEquals(outcomeOf(task), "cancelled: Cancelled: why");
  await loop.close();
});

Deno.test("A task in a foreign promise that is cancelled and uncancelled goes on as if nothing had happened", async () => {
  const { loop } = openLoop();
  const gate = foreign();
  const task = loop.createTask(async () => {
    await gate.promise;
    await sleep(1);
    return "kept";
  });
  await runTurns(loop, 1);
  task.cancel("why");
  assertEquals(task.uncancel(), 0);
  gate.resolve();
  assertEquals(await loop.runUntilComplete(task), "kept");
  await loop.close();
});

Deno.test("A wait that hands task.signal on is ended by the cancellation through it", async () => {
  const { loop, reports } = openLoop();
  const task = loop.createTask(async () => {
    const { signal } = currentTask()!;
    await new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  });
  await runTurns(loop, 1);
  task.cancel("why");
  await assertRejects(() => loop.runUntilComplete(task), CancelledError);
  assertEquals(outcomeOf(task), "cancelled: Cancelled");
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A task that does not react to its cancellation is reported once, by name, after cancelWarnMs", async () => {
  const { loop, reports } = openLoop({
    cancelWarnMs: 200,
    outsideWaits: "ignore",
  });
  const gate = foreign();
  const task = loop.createTask(() => gate.promise, { name: "deaf" });
  loop.callLater(10, () => task.cancel());
  loop.callLater(20, () => task.cancel());
  loop.callLater(209, () => assertEquals(reports.length, 0));
  await loop.runUntilComplete(() => sleep(1_000));
  assertEquals(reports.map(({ message, name }) => [message, name]), [[
    'Task "deaf" was cancelled 200 ms ago and has not reacted: it waits outside the loop, hand task.signal to what it waits for',
    "deaf",
  ]]);
  assertStrictEquals(reports[0]!.task as unknown, task);
  gate.resolve();
  await assertRejects(() => loop.runUntilComplete(task), CancelledError);
  await loop.close();
  assertEquals(reports.length, 1);
});

Deno.test("A task that reacts in time is not reported, and the warning leaves no timer", async () => {
  for (const reaction of ["next wait", "end"]) {
    const { loop, reports } = openLoop({ outsideWaits: "ignore" });
    const gate = foreign();
    const task = loop.createTask(async () => {
      await gate.promise;
      if (reaction === "next wait") await sleep(0);
    });
    await runTurns(loop, 1);
    task.cancel();
    assertEquals(loop.stats().timers, 1);
    gate.resolve();
    await assertRejects(() => loop.runUntilComplete(task), CancelledError);
    assertEquals(loop.stats().timers, 0);
    await loop.close();
    assertEquals(reports, []);
  }
});

Deno.test("An async function that swallows the cancellation of a foreign wait goes on", async () => {
  const { loop } = openLoop();
  const gate = foreign();
  const task = loop.createTask(async () => {
    await gate.promise;
    try {
      await sleep(1);
    } catch {
      // Once is enough.
    }
    await sleep(5);
    return "went on";
  });
  await runTurns(loop, 1);
  task.cancel();
  gate.resolve();
  assertEquals(await loop.runUntilComplete(task), "went on");
  assertEquals([task.cancelling(), loop.time()], [1, 5]);
  await loop.close();
});

// -- How many turns a wait takes --

/** Waits for one turn inside of as many async helpers as `depth` says. */
async function layers(depth: number): Promise<void> {
  if (depth === 1) await sleep(0);
  else await layers(depth - 1);
}

/** How many turns 100 waits take. */
async function turnsOf(wait: () => PromiseLike<unknown>): Promise<number> {
  const { loop } = openLoop();
  let turns = 0;
  await loop.runUntilComplete(async () => {
    await wait(); // the first one settles the rhythm
    const before = loop.stats().turns;
    for (let n = 0; n < 100; n++) await wait();
    turns = loop.stats().turns - before;
  });
  await loop.close();
  return turns;
}

/** With somebody else in the loop who takes a turn whenever there is one. */
async function turnsBesideOthers(
  wait: () => PromiseLike<unknown>,
): Promise<number> {
  const { loop } = openLoop();
  let turns = 0;
  await loop.runUntilComplete(async () => {
    const busy = loop.createTask(function* () {
      for (;;) yield;
    });
    await wait();
    const before = loop.stats().turns;
    for (let n = 0; n < 100; n++) await wait();
    turns = loop.stats().turns - before;
    busy.cancel();
  });
  await loop.close();
  return turns;
}

Deno.test("An async function keeps one turn a wait, like a generator, as long as its next await is at most one helper away", async () => {
  assertEquals(await turnsOf(() => sleep(0)), 100);
  assertEquals(await turnsOf(() => layers(1)), 100);
  assertEquals(await turnsBesideOthers(() => sleep(0)), 100);
  assertEquals(await turnsBesideOthers(() => layers(1)), 100);
});

Deno.test("Each further helper may cost turns: this many with five, beside somebody who takes every turn", async () => {
  // Alone in the loop there are no turns to lose.
  assertEquals(await turnsOf(() => layers(5)), 100);
  assertEquals(await turnsBesideOthers(() => layers(5)), FIVE_HELPERS);
});

/** Turns of 100 waits. Fewer would be better, and may be pinned here. */
const FIVE_HELPERS = 400;

Deno.test("Two async functions at one helper's depth and a generator take turns fairly", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  const tasks: Task<void>[] = [
    loop.createTask(async () => {
      for (let n = 0; n < 4; n++) {
        log.push(`a${n}`);
        await layers(1);
      }
    }),
    loop.createTask(function* () {
      for (let n = 0; n < 4; n++) {
        log.push(`g${n}`);
        yield* sleep(0);
      }
    }),
    loop.createTask(async () => {
      for (let n = 0; n < 4; n++) {
        log.push(`b${n}`);
        await sleep(0);
      }
    }),
  ];
  await loop.runUntilComplete(function* () {
    for (const task of tasks) yield* task;
  });
  const rounds = [0, 1, 2, 3].map((n) =>
    log.slice(3 * n, 3 * n + 3).toSorted()
  );
  assertEquals(rounds, [0, 1, 2, 3].map((n) => [`a${n}`, `b${n}`, `g${n}`]));
  await loop.close();
});

// -- Misuse --

Deno.test("run() of a loop inside itself is refused", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const error = await assertRejects(
      () => loop.runUntilComplete(() => 1),
      MisuseError,
    );
    assertEquals(
      error.message,
      "Cannot run the event loop: it is running already",
    );
  }, VIRTUAL);
});

Deno.test("Between runs nobody has a loop or a task", async () => {
  await run(() => sleep(1), VIRTUAL);
  assertStrictEquals(currentTask(), null);
  assertThrows(() => getRunningLoop(), MisuseError, "no loop is running");
  assert(new EventLoop(VIRTUAL).isRunning() === false);
});

Deno.test("A cancellation in the last step of an operation is thrown at the next wait", async () => {
  const log: string[] = [];
  const reason = await run(async () => {
    const self = currentTask()!;
    const selfCancelling = new Operation(function* () {
      yield* sleep(0);
      self.cancel("too late");
      return "done";
    });
    log.push(await selfCancelling);
    try {
      await sleep(0);
    } catch (error) {
      return (error as CancelledError).reason;
    }
    return "nothing thrown";
  }, { host: "virtual" }).catch((error) => error);
  assertEquals(log, ["done"]);
  assertEquals(reason, "too late");
});
