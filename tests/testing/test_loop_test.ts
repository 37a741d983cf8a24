/**
 * `testLoop`: every kind of leftover is found, named, and placed; and nothing else.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { macrotask } from "../../src/host/macrotask.ts";
import {
  CapacityLimiter,
  Condition,
  createTask,
  fromEvent,
  gather,
  getRunningLoop,
  Lock,
  Queue,
  Semaphore,
  sleep,
  ThreadPool,
} from "../../mod.ts";
import {
  AssertionError,
  type Leftover,
  LeftoverError,
  runTestLoop,
  testLoop,
  type TestLoopContext,
} from "../../src/testing/mod.ts";
import { ROOT, runDeno } from "../support/run_deno.ts";
import { inStyle, type Steps, STYLES } from "../support/styles.ts";

type Body = (context: TestLoopContext) => ReturnType<Steps<unknown>>;

const LEAVING: Readonly<Record<string, [body: Body, names: string[]]>> = {
  task: [
    function* () {
      createTask(() => sleep(50), { name: "poller" });
      createTask(function* () {
        using _permit = yield* new Lock().acquire(); // released as it is cancelled
        yield* sleep(Infinity);
      }, { name: "holder" });
      yield sleep(1);
    },
    ["task poller", "task holder"],
  ],
  timer: [
    function* ({ loop }) {
      loop.callLater(50, function refresh() {});
      loop.callLater(Infinity, () => {}); // never
      loop.callLater(20, () => {}).cancel();
      yield sleep(1);
    },
    ['timer callback "refresh" at 50 ms'],
  ],
  descriptor: [
    function* ({ clock, loop }) {
      const socket = clock.openDescriptor();
      loop.addReader(socket, () => {});
      loop.addWriter(socket, () => {});
      yield sleep(0);
      loop.removeWriter(socket);
    },
    ["descriptor reader of 1000000000"],
  ],
  listener: [
    function* ({ loop }) {
      const target = new EventTarget();
      fromEvent(target, "tick");
      fromEvent(target, "tock").close();
      loop.addSignalHandler("SIGUSR2", () => {});
      loop.addSignalHandler("SIGUSR1", () => {});
      yield sleep(0);
      loop.removeSignalHandler("SIGUSR1");
    },
    ["listener SIGUSR2", 'listener fromEvent("tick")'],
  ],
  permit: [
    function* () {
      const [lock, semaphore] = [new Lock(), new Semaphore(2)];
      const limiter = new CapacityLimiter(2);
      yield lock.acquire();
      yield semaphore.acquire();
      yield semaphore.acquire();
      semaphore.release();
      yield limiter.acquireOnBehalfOf({});
    },
    ["permit Lock", "permit Semaphore", "permit CapacityLimiter"],
  ],
  operation: [
    function* () {
      new Queue<number>().put(1);
      yield sleep(0);
    },
    ["operation Queue.put()"],
  ],
};

for (const style of STYLES) {
  for (const [kind, [body, names]] of Object.entries(LEAVING)) {
    Deno.test(`a ${kind} that is left fails a test, in ${style}`, async () => {
      const test = (context: TestLoopContext) =>
        inStyle(style, () => body(context))();
      const error = await assertRejects(
        () => runTestLoop(test),
        LeftoverError,
      );
      assertEquals(
        error.leftovers.map(({ kind, name }) => `${kind} ${name}`),
        names,
      );
      for (const { name, creationStack } of error.leftovers) {
        assert(error.message.includes(`"${name}"`), error.message);
        assert(creationStack !== undefined, `${name} has no stack`);
      }
      // Allowed, it is none.
      await runTestLoop(test, { allow: [kind as Leftover["kind"]] });
    });
  }

  Deno.test(`a test that cleans up passes, in ${style}`, async () => {
    const value = await runTestLoop(({ clock, loop }) =>
      inStyle(style, function* () {
        const lock = new Lock();
        const semaphore = new Semaphore(0);
        const condition = new Condition();
        using _socket = clock.openDescriptor();
        const use = inStyle(style, function* () {
          using _permit: Disposable = yield lock.acquire();
          yield sleep(5);
          semaphore.release(); // as a signal
          using _other: Disposable = yield condition.acquire();
          condition.notifyAll();
        });
        const wait = inStyle(style, function* () {
          using _other: Disposable = yield condition.acquire();
          yield condition.wait();
        });
        const waiting = createTask(wait);
        yield sleep(1);
        yield gather([use, use].map((body) => createTask(body)));
        yield waiting;
        yield semaphore.acquire();
        yield semaphore.acquire();
        const timer = loop.callLater(50, () => {});
        timer.cancel();
        return clock.nowMs;
      })()
    );
    assertEquals(value, 11);
  });
}

Deno.test("a pool that was not shut down is left, with its workers", async () => {
  const pool = new ThreadPool({ maxWorkers: 1, name: "hashing" });
  const one = () => 1;
  const error = await assertRejects(
    () =>
      runTestLoop(async () => {
        assertEquals(await pool.submit(one, []), 1);
      }),
    LeftoverError,
  );
  assertMatch(error.message, /worker "hashing", made at .*test_loop_test\.ts/);
  await pool[Symbol.asyncDispose]();
  await runTestLoop(async () => {
    await using own = new ThreadPool({ maxWorkers: 1 });
    assertEquals(await own.submit(one, []), 1);
    assertEquals(await getRunningLoop().runInExecutor(null, one), 1);
  });
});

Deno.test("tests that run side by side do not see each other's leftovers", async () => {
  const test = (leaks: boolean, ms: number) =>
    runTestLoop(async () => {
      const lock = new Lock();
      for (let n = 0; n < 5; n++) {
        using _permit = await lock.acquire();
        await new Promise((resolve) => setTimeout(resolve, 0));
        await sleep(ms);
      }
      if (leaks) await lock.acquire();
    });
  const results = await Promise.allSettled([
    test(false, 1),
    test(true, 2),
    test(false, 3),
    test(true, 4),
  ]);
  assertEquals(results.map(({ status }) => status), [
    "fulfilled",
    "rejected",
    "fulfilled",
    "rejected",
  ]);
  for (const result of results) {
    if (result.status === "fulfilled") continue;
    assert(result.reason instanceof LeftoverError);
    assertEquals(result.reason.leftovers.length, 1);
  }
});

Deno.test("the message names each leftover, what a task waits for, and the place", async () => {
  const error = await assertRejects(() =>
    runTestLoop(async () => {
      createTask(() => sleep(50), { name: "poller" });
      await sleep(1);
    }), LeftoverError);
  assertMatch(
    error.message,
    /^The test has left behind:\n {2}task "poller", which waits for sleep\(\), made at .*test_loop_test\.ts:\d+:\d+/,
  );
});

Deno.test("the error of a body goes before its leftovers, and reports come with it", async () => {
  await assertRejects(
    () =>
      runTestLoop(async () => {
        createTask(() => sleep(50));
        await sleep(1);
        throw new RangeError("its own");
      }),
    RangeError,
    "its own",
  );
  const report = await assertRejects(
    () =>
      runTestLoop(async () => {
        createTask(async () => {
          await null;
          throw new Error("unseen");
        });
        await sleep(10);
      }),
    AssertionError,
    "Reported to the exception handler: ",
  );
  assertEquals((report.cause as Error).message, "unseen");
  const both = await assertRejects(
    () =>
      runTestLoop(async ({ loop }) => {
        loop.callSoon(() => {
          throw new Error("unseen");
        });
        await sleep(1);
        throw new RangeError("its own");
      }),
    AggregateError,
  );
  assertEquals(both.errors.length, 2);
  assert(both.errors[0] instanceof RangeError);
  // A handler of its own takes reports over.
  const seen: unknown[] = [];
  await runTestLoop(async ({ loop }) => {
    loop.setExceptionHandler((_, { message }) => seen.push(message));
    loop.callExceptionHandler({ message: "mine" });
    await sleep(0);
  });
  assertEquals(seen, ["mine"]);
});

for (const style of STYLES) {
  Deno.test(`a task that is left cannot hang the test, in ${style}: by ignoring cancellations, or on a clock that nobody moves`, async () => {
    const ignoring = inStyle(style, function* () {
      for (;;) {
        try {
          yield sleep(100);
        } catch { /* ignored */ }
      }
    });
    const error = await assertRejects(() =>
      runTestLoop(async () => {
        createTask(ignoring, { name: "stubborn" });
        await sleep(1);
      }), AggregateError);
    assertMatch(error.message, /task "stubborn", which waits for sleep\(\)/);
    let cleanedUp = 0;
    const cleaning = inStyle(style, function* () {
      try {
        yield sleep(10);
      } finally {
        yield sleep(5);
        cleanedUp++;
      }
    });
    for (const autojump of [false, true]) {
      await assertRejects(() =>
        runTestLoop(async ({ clock }) => {
          clock.hold();
          createTask(cleaning);
          await sleep(0);
        }, { autojump }), LeftoverError);
    }
    assertEquals(cleanedUp, 2);
  });
}

Deno.test("the place of a permit that is left is its own, though others were taken after it", async () => {
  const error = await assertRejects(() =>
    runTestLoop(async () => {
      const semaphore = new Semaphore(2);
      const forget = async () => void await semaphore.acquire();
      await forget();
      for (let n = 0; n < 3; n++) (await semaphore.acquire()).release();
    }), LeftoverError);
  assertMatch(error.leftovers[0]!.creationStack!, /\bforget\b/);
});

Deno.test("a clock that stands still for slow work outside is told, and fails nothing", async () => {
  const time = new FakeTime();
  const { error } = console;
  const written: string[] = [];
  console.error = (text: string) => void written.push(text);
  try {
    await runTestLoop(async () => {
      await new Promise<void>((resolve) => {
        macrotask(() =>
          macrotask(() => {
            time.tick(1_500);
            resolve();
          })
        );
      });
      await sleep(1);
    });
  } finally {
    console.error = error;
    time.restore();
  }
  assertEquals(written.length, 1);
  assertMatch(written[0]!, /The virtual clock has stood still for a second/);
});

Deno.test("wrong arguments of a test are refused, and register nothing", async () => {
  const body = () => {};
  const bad: [args: unknown[], message: string][] = [
    [[1, body], "name must be a string"],
    [["a", 1], "body must be a function"],
    [["a", body, 1], "options must be"],
    [["a", body, { allow: "task" }], "allow must be an array"],
    [["a", body, { allow: ["tasks"] }], "allow must be one of"],
  ];
  for (const [args, message] of bad) {
    assertThrows(
      () => (testLoop as (...args: unknown[]) => void)(...args),
      TypeError,
      message,
    );
  }
  await assertRejects(() => runTestLoop(1 as never), TypeError, "body must be");
  await assertRejects(
    () => runTestLoop(body, { allow: ["x" as never] }),
    TypeError,
    "allow must be one of",
  );
});

Deno.test("testLoop() registers tests with Deno", async () => {
  const file = new URL("tests/testing/children/leaving.ts", ROOT).href;
  const { code, stdout, stderr } = await runDeno([
    "test",
    "-A",
    "--no-check",
    file,
  ]);
  const text = stdout + stderr;
  assertEquals(code, 1, text);
  assertMatch(text, /leaves nothing \.\.\. ok/);
  assertMatch(text, /leaves a task \.\.\. FAILED/);
  assertMatch(text, /is ignored \.\.\. ignored/);
  assertMatch(text, /task "forgotten", which waits for sleep\(\), made at/);
  assertMatch(text, /1 passed \| 1 failed \| 1 ignored/);
});
