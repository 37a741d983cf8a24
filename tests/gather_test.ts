/**
 * gather() and ensureFuture(): the rules of asyncio one by one, in both styles.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  asCompleted,
  CancelledError,
  type Coroutine,
  ensureFuture,
  type EventLoop,
  type ExceptionContext,
  type Future,
  gather,
  getRunningLoop,
  LoopClosedError,
  MisuseError,
  newEventLoop,
  run,
  shield,
  sleep,
  Task,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";

const VIRTUAL = { host: "virtual" } as const;

class Broken extends Error {}

/** Runs `main` and gives what the exception handler was told. */
async function reportsOf(
  main: (loop: EventLoop) => Promise<unknown> | Generator,
): Promise<unknown[]> {
  const reports: unknown[] = [];
  const loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler((_, context: ExceptionContext) =>
    reports.push(context.exception ?? context.message)
  );
  await loop.runUntilComplete<unknown>(() => main(loop) as Promise<unknown>);
  await loop.close();
  return reports;
}

function fails(error: unknown, ms = 0) {
  return function* (): Coroutine<never> {
    if (ms > 0) yield* sleep(ms);
    throw error;
  };
}

Deno.test("gather() gives results in the order of the entries, whatever their kind", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const future = loop.createFuture<string>();
    loop.callLater(5, () => future.setResult("future"));
    const results: [string, number, string, boolean, null, string] =
      await gather([
        future,
        sleep(30, { value: 1 }),
        loop.createTask(() => sleep(20, { value: "task" })),
        async () => {
          await sleep(10);
          return true;
        },
        function* () {
          yield* sleep(1);
          return null;
        },
        Promise.resolve("promise"),
      ]);
    assertEquals(results, ["future", 1, "task", true, null, "promise"]);
    assertEquals(loop.time(), 30, "all at once");
  }, VIRTUAL);
});

Deno.test("gather() takes any iterable, but not one entry by itself", async () => {
  await run(function* () {
    const numbers: number[] = yield* gather(new Set([sleep(1, { value: 1 })]));
    assertEquals(numbers, [1]);
    const one = getRunningLoop().createTask(() => sleep(1));
    for (const wrong of [one, fails(0)(), "ab", null, undefined, 5]) {
      assertThrows(
        () => gather(wrong as never),
        TypeError,
        "Cannot gather as entries must be an array",
      );
    }
    yield* one;
  }, VIRTUAL);
});

Deno.test("gather() checks everything before it starts anything", async () => {
  await run(function* () {
    let started = false;
    const start = () => started = true;
    assertThrows(
      () => gather([start, 5 as never]),
      TypeError,
      "Cannot gather as entries[1] must be a future, a task, a coroutine, an operation, a promise or a function: received 5",
    );
    assertThrows(
      () => gather([start], { returnExceptions: 1 as never }),
      TypeError,
      "returnExceptions",
    );
    const other = newEventLoop(VIRTUAL);
    assertThrows(
      () => gather([start, other.createFuture()], { loop: getRunningLoop() }),
      MisuseError,
    );
    assertThrows(
      () => gather([getRunningLoop().createFuture(), other.createFuture()]),
      MisuseError,
      "another event loop",
    );
    yield* sleep(1);
    assertEquals(started, false);
    void other.close();
  }, VIRTUAL);
});

Deno.test("gather() of nothing is done at once", async () => {
  await run(function* () {
    const future = gather([]);
    assertEquals(future.done(), true);
    assertEquals(yield* future, []);
  }, VIRTUAL);
});

Deno.test("gather() starts its tasks at once, in order", async () => {
  const log: string[] = [];
  await run(function* () {
    gather([() => void log.push("a"), () => void log.push("b")]);
    log.push("main");
    yield* sleep(0);
    log.push("later");
    yield* sleep(0);
  }, VIRTUAL);
  assertEquals(log, ["main", "a", "b", "later"]);
});

Deno.test("gather() runs the same thing once, and a function each time", async () => {
  await run(function* () {
    let runs = 0;
    const operation = sleep(1, { value: "op" });
    const count = () => ++runs;
    assertEquals(
      yield* gather([operation, count, operation, count]),
      ["op", 1, "op", 2],
    );
  }, VIRTUAL);
});

Deno.test("gather() on a stopped loop only queues; the loop is that of its entries or is given", async () => {
  const loop = newEventLoop(VIRTUAL);
  const future = loop.createFuture<number>();
  const outer = gather([future, () => 2]);
  assertStrictEquals(outer.loop, loop);
  assertThrows(() => gather([() => 1]), MisuseError, "no loop is running");
  const given = gather([() => 1], { loop });
  assertEquals(gather([], { loop }).result(), []);
  future.setResult(1);
  assertEquals(await loop.runUntilComplete(outer), [1, 2]);
  assertEquals(await loop.runUntilComplete(given), [1]);
  await loop.close();
});

Deno.test("gather() of entries that are done is done at once (3.12)", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const done = (value: number) => {
      const future = loop.createFuture<number>();
      future.setResult(value);
      return future;
    };
    assertEquals(gather([done(1), done(2)]).result(), [1, 2]);
    const broken = loop.createFuture<number>();
    broken.setException(new Broken("at once"));
    const pending = loop.createFuture<number>();
    assertThrows(() => gather([broken, pending]).result(), Broken);
    yield* sleep(0);
  }, VIRTUAL);
});

Deno.test("gather() ends with the first failure; the others go on", async () => {
  const log: string[] = [];
  await run(async () => {
    const outer = gather([
      fails(new Broken("first"), 10),
      async () => {
        await sleep(20);
        log.push("went on");
      },
    ]);
    await assertRejects(async () => await outer, Broken, "first");
    assertEquals(getRunningLoop().time(), 10);
    assertEquals(outer.cancel(), false, "too late");
    await sleep(20);
  }, VIRTUAL);
  assertEquals(log, ["went on"]);
});

Deno.test("gather() is ended by a cancelled entry, as a failure", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture();
    const outer = gather([future, loop.createFuture()]);
    future.cancel("mine");
    yield* sleep(0);
    assertEquals([outer.done(), outer.cancelled()], [true, false]);
    const error = outer.exception() as CancelledError;
    assertEquals([error instanceof CancelledError, error.reason], [
      true,
      "mine",
    ]);
  }, VIRTUAL);
});

for (const returnExceptions of [false, true]) {
  const first = new Broken("first");
  Deno.test(`Failures that come too late for gather() go to the exception handler once (returnExceptions: ${returnExceptions})`, async () => {
    const late = new Broken("late");
    const reports = await reportsOf(function* () {
      const outer = gather([
        fails(first, 10),
        fails(late, 20),
        function* () {
          try {
            yield* sleep(1_000);
          } catch { /* fails anyway */ }
          throw late;
        },
      ], { returnExceptions });
      if (returnExceptions) {
        yield* sleep(15);
        outer.cancel();
      }
      try {
        yield* outer;
      } catch { /* looked at */ }
      if (!returnExceptions) {
        yield* sleep(2_000);
      }
    });
    // Cancelled, it gives no results: what it knew already is not lost either.
    assertEquals(reports, [returnExceptions ? first : late, late]);
  });
}

Deno.test("A late failure that somebody looks at is not reported", async () => {
  const reports = await reportsOf(function* (loop) {
    const late = loop.createTask(fails(new Broken("late"), 20)) as Task<
      unknown
    >;
    try {
      yield* gather([fails(new Broken("first"), 10), late]);
    } catch { /* looked at */ }
    yield* sleep(20);
    assert(late.exception() instanceof Broken);
  });
  assertEquals(reports, []);
});

Deno.test("A gather() that nobody waits for is reported once, not its entry", async () => {
  const error = new Broken("unseen");
  const reports = await reportsOf(function* () {
    gather([fails(error)]);
    yield* sleep(10);
  });
  assertEquals(reports, [error]);
});

Deno.test("gather() with returnExceptions puts errors among the results", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const cancelled = loop.createTask(() => sleep(1_000));
    loop.callLater(5, () => cancelled.cancel("away"));
    const plain = loop.createFuture();
    plain.cancel("plain");
    const results = await gather(
      [cancelled, fails(new Broken("x")), () => 3, plain],
      { returnExceptions: true },
    );
    assert(results[0] instanceof CancelledError);
    assert(results[1] instanceof Broken);
    assertEquals(results[2], 3);
    assertEquals((results[3] as CancelledError).reason, "plain");
  }, VIRTUAL);
});

Deno.test("gather() leaves the error of a cancelled task to the one who waits for it", async () => {
  await run(function* () {
    const thrown = new CancelledError("the very one");
    const task = getRunningLoop().createTask(fails(thrown));
    yield* gather([task], { returnExceptions: true });
    try {
      yield* task;
    } catch (error) {
      assertStrictEquals(error, thrown);
    }
  }, VIRTUAL);
});

Deno.test("Cancelling gather() cancels every entry and is over when they are", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const worker = (name: string, cleanUpMs: number) =>
      loop.createTask(function* () {
        try {
          yield* sleep(1_000);
        } finally {
          yield* sleep(cleanUpMs);
          log.push(name);
        }
      });
    const entries = [worker("a", 20), worker("b", 10)];
    const outer = gather(entries, { returnExceptions: true });
    yield* sleep(5);
    assertEquals(outer.cancel("enough"), true);
    assertEquals(outer.done(), false);
    try {
      yield* outer;
    } catch (error) {
      assert(error instanceof CancelledError);
      log.push("outer");
    }
    assertEquals(log, ["b", "a", "outer"]);
    assertEquals(entries.map((task) => task.cancelled()), [true, true]);
    assertEquals(
      outer.cancelled(),
      false,
      "it ends with an exception, as in asyncio",
    );
    assertEquals(outer.cancel(), false);
  }, VIRTUAL);
});

Deno.test("Cancelling a task that waits for gather() cancels the entries, in both styles", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const wait = {
      generator: (outer: Future<unknown>) =>
        function* () {
          yield* outer;
        },
      async: (outer: Future<unknown>) => async () => {
        await outer;
      },
    };
    for (const style of ["generator", "async"] as const) {
      const entries = [1, 2].map(() => loop.createTask(() => sleep(1_000)));
      const task = loop.createTask<void>(wait[style](gather(entries)));
      await sleep(1);
      task.cancel("stop");
      await assertRejects(async () => await task, CancelledError);
      assertEquals(
        entries.map((entry) => entry.cancelled()),
        [true, true],
        style,
      );
    }
  }, VIRTUAL);
});

Deno.test("A task that swallows the cancellation of gather() counts with its failure", async () => {
  await run(function* () {
    const outer = gather([function* () {
      try {
        yield* sleep(1_000);
      } catch {
        throw new Broken("instead");
      }
    }]);
    yield* sleep(1);
    outer.cancel();
    yield* sleep(1);
    assert(outer.exception() instanceof Broken);
  }, VIRTUAL);
});

Deno.test("ensureFuture() leaves futures alone and starts everything else", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const future = loop.createFuture<number>();
    assertStrictEquals(ensureFuture(future), future);
    future.setResult(0);
    const cases: [what: string, Future<unknown>, value: unknown][] = [
      ["operation", ensureFuture(sleep(1, { value: 1 })), 1],
      ["async function", ensureFuture(async () => 2), 2],
      [
        "coroutine",
        ensureFuture(function* () {
          return 3;
        }()),
        3,
      ],
      ["promise", ensureFuture(Promise.resolve(4)), 4],
      [
        "thenable",
        ensureFuture(
          { then: (ok: (v: number) => void) => ok(5) } as PromiseLike<number>,
        ),
        5,
      ],
    ];
    for (const [what, made, value] of cases) {
      assertEquals(await made, value, what);
    }
    await assertRejects(
      async () => await ensureFuture(Promise.reject(new Broken("p"))),
      Broken,
    );
    assertThrows(
      () => ensureFuture(5 as never),
      TypeError,
      "Cannot make a future as waitable must be a future",
    );
    const other = newEventLoop(VIRTUAL);
    assertThrows(() => ensureFuture(future, { loop: other }), MisuseError);
    await other.close();
  }, VIRTUAL);
});

Deno.test("Cancelling the task of a promise leaves the promise alone, and its failure is reported", async () => {
  const error = new Broken("abandoned");
  const reports = await reportsOf(async () => {
    const { promise, reject } = Promise.withResolvers<void>();
    const future = ensureFuture(promise);
    future.cancel();
    await assertRejects(async () => await future, CancelledError);
    reject(error);
    await Promise.resolve();
    await sleep(1);
  });
  assertEquals(reports, [error]);
});

/** Lets every reaction to a settled promise run, and the runtime look for unhandled ones. */
function macrotask(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    port2.close();
    resolve();
  };
  port2.postMessage(null);
  return promise;
}

for (
  const [what, make] of [
    ["ensureFuture()", ensureFuture],
    [
      "gather()",
      (promise, options) => gather([promise], options) as Future<unknown>,
    ],
    ["shield()", shield],
    [
      "asCompleted()",
      (promise, options) => {
        const [first] = [...asCompleted([promise], options)];
        return ensureFuture(first!, options) as Future<unknown>;
      },
    ],
  ] as [
    string,
    (promise: Promise<never>, options: { loop: EventLoop }) => Future<unknown>,
  ][]
) {
  Deno.test(`${what} on a loop that is not running keeps the failure of a promise for whoever waits`, async () => {
    const { loop, reports } = openLoop();
    const error = new Broken("early");
    const future = make(Promise.reject(error), { loop });
    await macrotask(); // an unhandled rejection would end the test here
    const thrown = await assertRejects(
      () => loop.runUntilComplete(async () => await future),
      Broken,
    );
    assertStrictEquals(thrown, error);
    await loop.close();
    assertEquals(reports, []);
  });
}

for (
  const [when, prepare, settled] of [
    ["before the loop closes", async () => {}, false],
    [
      "and its task is cancelled before it has begun",
      async (loop: EventLoop, future: Future<unknown>) => {
        future.cancel();
        await runTurns(loop, 2);
      },
      true,
    ],
  ] as [
    string,
    (loop: EventLoop, future: Future<unknown>) => Promise<void>,
    boolean,
  ][]
) {
  Deno.test(`ensureFuture() reports a promise that fails, once: ${when}`, async () => {
    const { loop, reports } = openLoop();
    const error = new Broken("unseen");
    const future = ensureFuture(Promise.reject(error), { loop });
    await macrotask();
    await prepare(loop, future);
    await loop.close();
    assertEquals(future.cancelled(), true);
    const about = reports.filter(({ exception }) => exception === error);
    assertEquals(about.map(({ message }) => message), [
      "a promise in until() failed and nobody ever looked at the error",
    ]);
    // A task that had not begun when its loop was closed is named as well.
    assertEquals(reports.length, settled ? 1 : 2);
  });
}

Deno.test("A promise that fails after the loop of who waited has closed is reported, once", async () => {
  for (const begun of [false, true]) {
    const { loop, reports } = openLoop();
    const { promise, reject } = Promise.withResolvers<never>();
    ensureFuture(promise, { loop });
    if (begun) await runTurns(loop, 2);
    await loop.close();
    const error = new Broken("late");
    reject(error);
    await macrotask();
    assertEquals(
      reports.filter(({ exception }) => exception === error).map(
        ({ message }) => message,
      ),
      ["A promise given to until() failed after its waiter had left"],
    );
  }
});

Deno.test("ensureFuture() on a loop that has closed leaves the promise alone", async () => {
  const { loop, reports } = openLoop();
  await loop.close();
  const rejection = Promise.reject(new Broken("mine"));
  assertThrows(() => ensureFuture(rejection, { loop }), LoopClosedError);
  await assertRejects(() => rejection, Broken, "mine");
  assertEquals(reports, []);
});

Deno.test("The promise of a task that a factory begins later does not go unheard", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    loop.setTaskFactory((loop, body, options) =>
      new Task(loop, body, { ...options, eager: false })
    );
    const future = ensureFuture(Promise.reject(new Broken("early")));
    await assertRejects(async () => await future, Broken);
  }, VIRTUAL);
});
