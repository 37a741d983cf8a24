/** wait(), waitFor() and asCompleted(). @module */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  asCompleted,
  CancelledError,
  type Coroutine,
  each,
  getRunningLoop,
  MisuseError,
  newEventLoop,
  Queue,
  type ReturnWhen,
  run,
  sleep,
  type Task,
  TimeoutError,
  until,
  wait,
  waitFor,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

class Broken extends Error {}

/** Tasks that end after 10, 20 and 30 ms, the second with an error. */
function threeTasks(): Task<string>[] {
  const loop = getRunningLoop();
  return ["a", "b", "c"].map((name, index) =>
    loop.createTask(function* (): Coroutine<string> {
      yield* sleep((index + 1) * 10);
      if (name === "b") throw new Broken(name);
      return name;
    }, { name })
  );
}

const names = (tasks: Iterable<Task<string>>) =>
  [...tasks].map((task) => task.name).join("");

const WAITS: [
  ReturnWhen,
  timeoutMs: number | null,
  done: string,
  pending: string,
  atMs: number,
][] = [
  ["first-completed", null, "a", "bc", 10],
  ["first-exception", null, "ab", "c", 20],
  ["all-completed", null, "abc", "", 30],
  ["all-completed", 15, "a", "bc", 15],
  ["first-completed", 5, "", "abc", 5],
  ["first-exception", 15, "a", "bc", 15],
  ["all-completed", 0, "", "abc", 0],
  ["all-completed", -5, "", "abc", 0],
];

for (const [returnWhen, timeoutMs, done, pending, atMs] of WAITS) {
  Deno.test(`wait() until ${returnWhen}, for ${timeoutMs} ms, in both styles`, async () => {
    for (const style of ["generator", "async"]) {
      await run<void>(
        style === "async"
          ? async () => {
            const tasks = threeTasks();
            check(await wait(tasks, { returnWhen, timeoutMs }));
            await wait(tasks);
            for (const task of tasks) task.exception();
          }
          : function* (): Coroutine<void> {
            const tasks = threeTasks();
            check(yield* wait(tasks, { returnWhen, timeoutMs }));
            yield* wait(tasks);
            for (const task of tasks) task.exception();
          },
        VIRTUAL,
      );
    }
    function check(
      result: { done: Set<Task<string>>; pending: Set<Task<string>> },
    ) {
      assertEquals([names(result.done), names(result.pending)], [
        done,
        pending,
      ]);
      assertEquals(getRunningLoop().time(), atMs);
    }
  });
}

Deno.test("wait() takes a turn even if all are done, and counts each future once", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture();
    future.setResult(1);
    let turned = false;
    loop.callSoon(() => turned = true);
    const { done } = yield* wait([future, future]);
    assertEquals([turned, done.size], [true, 1]);
  }, VIRTUAL);
});

Deno.test("A cancelled future is no exception for wait()", async () => {
  await run(function* () {
    const tasks = threeTasks();
    tasks[0]!.cancel();
    const { done } = yield* wait(tasks, { returnWhen: "first-exception" });
    assertEquals(names(done), "ab");
    yield* wait(tasks);
    tasks[1]!.exception();
  }, VIRTUAL);
});

Deno.test("Cancelling wait() leaves the futures alone, and nothing on them", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture();
    const task = loop.createTask(() => wait([future], { timeoutMs: 1_000 }));
    yield* sleep(1);
    assertEquals(loop.stats().timers, 1);
    task.cancel();
    yield* sleep(0);
    yield* sleep(0);
    assertEquals([task.cancelled(), future.done(), loop.stats().timers], [
      true,
      false,
      0,
    ]);
    const abort = new AbortController();
    loop.callLater(1, () => abort.abort(new Broken("signal")));
    try {
      yield* wait([future], { signal: abort.signal });
    } catch (error) {
      assert(error instanceof Broken);
    }
    assertEquals(future.done(), false);
  }, VIRTUAL);
});

Deno.test("wait() does not count as having looked at an error", async () => {
  const reports: unknown[] = [];
  const loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler((_, { exception }) => reports.push(exception));
  await loop.runUntilComplete(function* () {
    yield* wait(threeTasks(), { returnWhen: "first-exception" });
    yield* sleep(100);
  });
  await loop.close();
  assertEquals(reports.map(String), ["Error: b"]);
});

Deno.test("wait() refuses wrong arguments", async () => {
  await run(function* () {
    const future = getRunningLoop().createFuture();
    assertThrows(
      () => wait([]),
      RangeError,
      "futures must have at least one: received none",
    );
    assertThrows(
      () => wait(future as never),
      TypeError,
      "futures must be an array, a set or the like",
    );
    assertThrows(
      () => wait([() => 1] as never),
      TypeError,
      "make a task with createTask()",
    );
    assertThrows(
      () => wait([future], { returnWhen: "x" as never }),
      TypeError,
      "returnWhen must be one of",
    );
    assertThrows(
      () => wait([future], { timeoutMs: NaN }),
      RangeError,
      "timeoutMs must not be NaN",
    );
    const other = newEventLoop(VIRTUAL);
    try {
      yield* wait([other.createFuture()]);
      assert(false);
    } catch (error) {
      assert(error instanceof MisuseError, String(error));
    }
    void other.close();
  }, VIRTUAL);
});

// -- waitFor() --

Deno.test("waitFor() gives the result of whatever is in time, in both styles", async () => {
  const kinds = () => [
    getRunningLoop().createTask(() => sleep(5, { value: "task" })),
    sleep(5, { value: "operation" }),
    (function* (): Coroutine<string> {
      yield* sleep(5);
      return "coroutine";
    })(),
    async () => {
      await sleep(5);
      return "async";
    },
    Promise.resolve("promise"),
  ];
  const expected = ["task", "operation", "coroutine", "async", "promise"];
  for (const limit of [10, null, Infinity]) {
    await run(async () => {
      const results = [];
      for (const kind of kinds()) {
        results.push(await waitFor<PromiseLike<string>>(kind as never, limit));
      }
      assertEquals(results, expected);
    }, VIRTUAL);
    await run(function* () {
      const results = [];
      for (const kind of kinds()) {
        results.push(yield* waitFor<PromiseLike<string>>(kind as never, limit));
      }
      assertEquals(results, expected);
    }, VIRTUAL);
  }
});

Deno.test("waitFor() cancels what is not in time, and waits for its end", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const task = loop.createTask(async () => {
      try {
        await sleep(1_000);
      } finally {
        await sleep(50);
      }
    });
    const error = await assertRejects(
      async () => await waitFor(task, 10),
      TimeoutError,
    );
    assertEquals([loop.time(), task.cancelled()], [60, true]);
    assert(error.cause instanceof CancelledError);
    assertEquals(error.name, "TimeoutError");
  }, VIRTUAL);
});

Deno.test("waitFor() gives the value of a task that swallows the cancellation, and other errors as they are", async () => {
  await run(function* () {
    const stubborn = function* (): Coroutine<string | undefined> {
      try {
        yield* sleep(1_000);
      } catch {
        return "anyway";
      }
      return undefined;
    };
    assertEquals(yield* waitFor(stubborn, 10), "anyway");
    try {
      yield* waitFor(function* () {
        try {
          yield* sleep(1_000);
        } catch {
          throw new Broken("instead");
        }
      }, 10);
    } catch (error) {
      assert(error instanceof Broken);
    }
  }, VIRTUAL);
});

Deno.test("waitFor() with no time: done futures give their result, coroutines never begin", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture<number>();
    future.setResult(1);
    assertEquals(yield* waitFor(future, 0), 1);
    for (const limit of [0, -1]) {
      let begun = false;
      try {
        yield* waitFor(function* () {
          begun = true;
        }, limit);
        assert(false);
      } catch (error) {
        assert(error instanceof TimeoutError);
      }
      assertEquals(begun, false);
    }
    const task = loop.createTask(() => 5);
    yield* sleep(0);
    assertEquals(yield* waitFor(task, 0), 5);
  }, VIRTUAL);
});

Deno.test("waitFor() leaves a promise alone", async () => {
  await run(async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    await assertRejects(async () => await waitFor(promise, 10), TimeoutError);
    resolve("later");
    assertEquals(await until(promise), "later");
  }, { ...VIRTUAL, outsideWaits: "ignore" });
});

Deno.test("waitFor(queue.get()) loses no item, wherever the time is over", async () => {
  for (let ms = 0; ms <= 6; ms++) {
    await run(function* () {
      const queue = new Queue<number>();
      const loop = getRunningLoop();
      loop.callLater(3, () => queue.putNowait(1));
      let got = 0;
      try {
        got = yield* waitFor(queue.get(), ms);
      } catch (error) {
        assert(error instanceof TimeoutError);
      }
      yield* sleep(10);
      assertEquals(got + queue.size, 1);
    }, VIRTUAL);
  }
});

Deno.test("waitFor() refuses wrong arguments", () => {
  assertThrows(
    () => waitFor(5 as never, 1),
    TypeError,
    "Cannot wait for something as waitable must be",
  );
  assertThrows(
    () => waitFor(() => 1, "1" as never),
    TypeError,
    "timeoutMs must be a number",
  );
  assertThrows(
    () => waitFor(() => 1, NaN),
    RangeError,
    "timeoutMs must not be NaN",
  );
});

// -- asCompleted() --

Deno.test("asCompleted() gives results in the order of completion, in both styles", async () => {
  await run(function* () {
    const seen: unknown[] = [];
    for (const next of asCompleted(threeTasks().reverse())) {
      try {
        seen.push(yield* next);
      } catch (error) {
        seen.push(String(error));
      }
    }
    assertEquals(seen, ["a", "Error: b", "c"]);
  }, VIRTUAL);
  await run(async () => {
    const seen: unknown[] = [];
    for (const next of asCompleted(threeTasks().reverse())) {
      seen.push(await Promise.resolve(next).catch(String));
    }
    assertEquals(seen, ["a", "Error: b", "c"]);
  }, VIRTUAL);
});

Deno.test("asCompleted() gives the futures themselves to for await and each()", async () => {
  await run(async () => {
    const tasks = threeTasks();
    const seen: Task<string>[] = [];
    for await (const task of asCompleted(tasks)) seen.push(task);
    assertEquals(seen, tasks);
    tasks[1]!.exception();
  }, VIRTUAL);
  await run(function* () {
    const tasks = threeTasks();
    const seen: Task<string>[] = [];
    yield* each(asCompleted(tasks), (task) => void seen.push(task));
    assertEquals(seen, tasks);
    tasks[1]!.exception();
  }, VIRTUAL);
});

Deno.test("asCompleted() throws TimeoutError for each that is not in time", async () => {
  await run(function* () {
    const seen: string[] = [];
    const tasks = threeTasks();
    for (const next of asCompleted(tasks, { timeoutMs: 15 })) {
      try {
        seen.push(yield* next);
      } catch (error) {
        seen.push((error as Error).name);
      }
    }
    assertEquals(seen, ["a", "TimeoutError", "TimeoutError"]);
    yield* wait(tasks);
    tasks[1]!.exception();
  }, VIRTUAL);
  await run(async () => {
    const tasks = threeTasks();
    let count = 0;
    await assertRejects(async () => {
      for await (const _ of asCompleted(tasks, { timeoutMs: 15 })) count++;
    }, TimeoutError);
    assertEquals(count, 1);
    await wait(tasks);
    tasks[1]!.exception();
  }, VIRTUAL);
});

Deno.test("asCompleted() counts each entry once, and leaves no timer behind", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const operation = sleep(5, { value: 1 });
    const seen: number[] = [];
    for (
      const next of asCompleted([operation, operation], { timeoutMs: 1_000 })
    ) seen.push(yield* next);
    assertEquals([seen, loop.stats().timers], [[1], 0]);
    assertEquals([...asCompleted([])], []);
    assertThrows(
      () => asCompleted(operation as never),
      TypeError,
      "entries must be an array",
    );
    assertThrows(
      () => asCompleted([1] as never),
      TypeError,
      "entries[0] must be a future",
    );
  }, VIRTUAL);
});
