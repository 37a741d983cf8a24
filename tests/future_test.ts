/**
 * Futures: their states, who is told of the end and in which order, and waiting
 * for one in both styles.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type EventLoop,
  Future,
  getRunningLoop,
  InvalidStateError,
  isFuture,
  LoopClosedError,
  MisuseError,
  run,
  sleep,
  Task,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** What a call gave or threw, in one line. */
function attempt(call: () => unknown): string {
  try {
    const value = call();
    return value instanceof Error ? `gives ${value.message}` : `gives ${value}`;
  } catch (error) {
    assertInstanceOf(error, Error);
    return `throws ${error.name}: ${error.message}`;
  }
}

// -- States --

/** How a future gets into each state. */
const STATES: Readonly<Record<string, (future: Future<number>) => void>> = {
  pending: () => {},
  fulfilled: (future) => future.setResult(42),
  failed: (future) => future.setException(new Error("broken")),
  "failed with a CancelledError": (future) => {
    future.setException(new CancelledError("inner"));
  },
  cancelled: (future) => future.cancel(),
  "cancelled for a reason": (future) => future.cancel("too slow"),
};

const DONE = {
  done: "gives true",
  setResult:
    "throws InvalidStateError: Cannot set the result of the answer: it is done already",
  setException:
    "throws InvalidStateError: Cannot set the exception of the answer: it is done already",
  cancel: "gives false",
};

/** What each call says in each state. */
const EXPECTED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  pending: {
    done: "gives false",
    cancelled: "gives false",
    result:
      "throws InvalidStateError: Cannot get the result of the answer: it is not done",
    exception:
      "throws InvalidStateError: Cannot get the exception of the answer: it is not done",
    setResult: "gives undefined",
    setException: "gives undefined",
    cancel: "gives true",
  },
  fulfilled: {
    ...DONE,
    cancelled: "gives false",
    result: "gives 42",
    exception: "gives undefined",
  },
  failed: {
    ...DONE,
    cancelled: "gives false",
    result: "throws Error: broken",
    exception: "gives broken",
  },
  "failed with a CancelledError": {
    ...DONE,
    cancelled: "gives false",
    result: "throws CancelledError: Cancelled: inner",
    exception: "gives Cancelled: inner",
  },
  cancelled: {
    ...DONE,
    cancelled: "gives true",
    result: "throws CancelledError: Cancelled",
    exception: "throws CancelledError: Cancelled",
  },
  "cancelled for a reason": {
    ...DONE,
    cancelled: "gives true",
    result: "throws CancelledError: Cancelled: too slow",
    exception: "throws CancelledError: Cancelled: too slow",
  },
};

for (const [state, enter] of Object.entries(STATES)) {
  Deno.test(`A future that is ${state} answers every call as that state demands`, async () => {
    const { loop } = openLoop();
    const calls: Record<string, (future: Future<number>) => unknown> = {
      done: (future) => future.done(),
      cancelled: (future) => future.cancelled(),
      result: (future) => future.result(),
      exception: (future) => future.exception(),
      setResult: (future) => future.setResult(1),
      setException: (future) => future.setException(new Error("other")),
      cancel: (future) => future.cancel("late"),
    };
    for (const [name, call] of Object.entries(calls)) {
      const future = loop.createFuture<number>("the answer");
      enter(future);
      assertEquals(attempt(() => call(future)), EXPECTED[state]![name], name);
      // A call that was refused has changed nothing.
      if (state !== "pending") {
        assertEquals(
          attempt(() => future.result()),
          EXPECTED[state]!["result"],
          `result() after ${name}()`,
        );
      }
      if (future.done() && !future.cancelled()) future.exception();
    }
    await loop.close();
  });
}

Deno.test("The same error object comes out of every look at a failed future", async () => {
  const { loop } = openLoop();
  const error = new Error("broken");
  const future = loop.createFuture();
  future.setException(error);
  assertStrictEquals(future.exception(), error);
  assertStrictEquals(future.exception(), error);
  assertStrictEquals(assertThrows(() => future.result()), error);
  await loop.close();
});

Deno.test("A cancelled future makes a new CancelledError with its reason for each look", async () => {
  const { loop } = openLoop();
  const reason = { code: 7 };
  const future = loop.createFuture();
  future.cancel(reason);
  const first = assertThrows(() => future.result(), CancelledError);
  const second = assertThrows(() => future.exception(), CancelledError);
  assertStrictEquals(first.reason, reason);
  assertStrictEquals(second.reason, reason);
  assertNotStrictEquals(first, second);
  await loop.close();
});

Deno.test("A reason that is a CancelledError is thrown as it is", async () => {
  const { loop } = openLoop();
  const error = new CancelledError("mine");
  const future = loop.createFuture();
  future.cancel(error);
  assertStrictEquals(assertThrows(() => future.result()), error);
  assertStrictEquals(assertThrows(() => future.result()), error);
  await loop.close();
});

Deno.test("A future may fail with anything, undefined included", async () => {
  const { loop } = openLoop();
  for (const thrown of [undefined, null, 0, "text"]) {
    const future = loop.createFuture();
    future.setException(thrown);
    assert(future.done());
    assertStrictEquals(future.exception(), thrown);
    let caught: unknown = "nothing";
    try {
      future.result();
    } catch (error) {
      caught = error;
    }
    assertStrictEquals(caught, thrown);
  }
  await loop.close();
});

Deno.test("A result that is a promise stays one", async () => {
  const { loop } = openLoop();
  const promise = Promise.resolve(1);
  const future = loop.createFuture<Promise<number>>();
  future.setResult(promise);
  assertStrictEquals(future.result(), promise);
  await loop.close();
});

Deno.test("isFuture() knows futures and tasks, and nothing that only looks like one", async () => {
  const { loop } = openLoop();
  const task = loop.createTask(() => 1);
  assert(isFuture(loop.createFuture()));
  assert(isFuture(new Future(loop)));
  assert(isFuture(task));
  assertInstanceOf(task, Task);
  for (const other of [Promise.resolve(), sleep(0), { then() {} }, null, 1]) {
    assert(!isFuture(other));
  }
  assertEquals(String(loop.createFuture()), "[object Future]");
  assertEquals(String(task), "[object Task]");
  assertStrictEquals(loop.createFuture().loop, loop);
  await runTurns(loop, 1);
  await loop.close();
});

// -- Callbacks --

Deno.test("Callbacks and waiting tasks of both styles go on in the order in which they came, in the next turn", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<string>();
  const log: string[] = [];
  const wait = (style: typeof STYLES[number], name: string) =>
    loop.createTask(inStyle(style, function* () {
      log.push(`${name} got ${yield future}`);
    }));
  future.addDoneCallback(() => log.push("callback 1"));
  wait("a generator", "g1");
  await runTurns(loop, 1);
  future.addDoneCallback(() => log.push("callback 2"));
  wait("an async function", "a1");
  await runTurns(loop, 1);
  wait("a generator", "g2");
  await runTurns(loop, 1);
  future.addDoneCallback(() => log.push("callback 3"));

  future.setResult("it");
  loop.callSoon(() => log.push("-- behind --"));
  assertEquals(log, [], "nobody is called from inside setResult()");
  await runTurns(loop, 1);
  // The async function itself goes on after the turn, the others inside it.
  assertEquals(log, [
    "callback 1",
    "g1 got it",
    "callback 2",
    "g2 got it",
    "callback 3",
    "-- behind --",
    "a1 got it",
  ]);
  await loop.close();
});

Deno.test("addDoneCallback() on a future that is done calls in the next turn, never at once", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<number>();
  future.setResult(1);
  const log: unknown[] = [];
  loop.callSoon(() => log.push("before"));
  future.addDoneCallback((done) => log.push(done === future));
  assertEquals(log, []);
  await runTurns(loop, 1);
  assertEquals(log, ["before", true]);
  await loop.close();
});

Deno.test("The same callback may be added several times, and is removed everywhere at once", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<void>();
  const log: string[] = [];
  const twice = () => log.push("twice");
  const other = () => log.push("other");
  future.addDoneCallback(twice);
  future.addDoneCallback(other);
  future.addDoneCallback(twice);
  assertEquals(future.removeDoneCallback(() => {}), 0);
  assertEquals(future.removeDoneCallback(twice), 2);
  assertEquals(future.removeDoneCallback(twice), 0);
  future.addDoneCallback(twice);
  future.addDoneCallback(twice);
  future.setResult();
  await runTurns(loop, 1);
  assertEquals(log, ["other", "twice", "twice"]);
  await loop.close();
});

Deno.test("removeDoneCallback() finds nothing once the future is done, and what was queued runs", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<void>();
  const log: string[] = [];
  const callback = () => log.push("ran");
  future.addDoneCallback(callback);
  future.setResult();
  assertEquals(future.removeDoneCallback(callback), 0);
  await runTurns(loop, 1);
  assertEquals(log, ["ran"]);
  await loop.close();
});

Deno.test("A done callback that throws is reported, and the others run", async () => {
  const { loop, reports } = openLoop();
  const future = loop.createFuture<void>();
  const log: string[] = [];
  const error = new Error("in the callback");
  future.addDoneCallback(() => {
    throw error;
  });
  future.addDoneCallback(() => log.push("second"));
  future.setResult();
  await runTurns(loop, 1);
  assertEquals(log, ["second"]);
  assertEquals(reports.map((report) => report.exception), [error]);
  await loop.close();
});

Deno.test("addDoneCallback() refuses what is no function and changes nothing", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<void>();
  for (const wrong of [undefined, null, {}, "later"]) {
    const error = assertThrows(
      () => future.addDoneCallback(wrong as unknown as () => void),
      TypeError,
    );
    assert(
      error.message.startsWith(
        "Cannot add a done callback as callback must be a function: received ",
      ),
      error.message,
    );
  }
  future.setResult();
  assertEquals(loop.stats().ready, 0);
  await loop.close();
});

Deno.test("Adding, removing and waiting in any order keeps the order of those who remain", async () => {
  const seed = Date.now() >>> 0;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const { loop } = openLoop();
  for (let round = 0; round < 200; round++) {
    const future = loop.createFuture<void>();
    const ran: number[] = [];
    const callbacks = Array.from({ length: 6 }, (_, id) => () => ran.push(id));
    let model: number[] = [];
    for (let step = 0; step < 30; step++) {
      const id = random.nextInt(callbacks.length);
      if (random.nextInt(3) > 0) {
        future.addDoneCallback(callbacks[id]!);
        model.push(id);
      } else {
        const removed = future.removeDoneCallback(callbacks[id]!);
        assertEquals(removed, model.filter((other) => other === id).length);
        model = model.filter((other) => other !== id);
      }
    }
    future.setResult();
    await runTurns(loop, 1);
    assertEquals(ran, model, `seed ${seed}, round ${round}`);
  }
  await loop.close();
});

// -- Waiting --

for (const style of STYLES) {
  Deno.test(`Waiting for a future in ${style} gives the result and throws the error`, async () => {
    const { loop } = openLoop();
    const good = loop.createFuture<string>();
    const bad = loop.createFuture<string>();
    const error = new Error("broken");
    const task = loop.createTask(inStyle(style, function* () {
      const value = yield good;
      try {
        yield bad;
      } catch (caught) {
        return [value, caught];
      }
      return "unreachable";
    }));
    loop.callLater(1, () => good.setResult("fine"));
    loop.callLater(2, () => bad.setException(error));
    const [value, caught] = await loop.runUntilComplete(task);
    assertEquals(value, "fine");
    assertStrictEquals(caught, error);
    await loop.close();
  });

  Deno.test(`Everybody who waits in ${style} gets the same error object`, async () => {
    const { loop } = openLoop();
    const future = loop.createFuture();
    const error = new Error("broken");
    const tasks = Array.from(
      { length: 3 },
      () =>
        loop.createTask(inStyle(style, function* () {
          try {
            return yield future;
          } catch (caught) {
            return caught;
          }
        })),
    );
    await runTurns(loop, 1);
    future.setException(error);
    await runTurns(loop, 2);
    for (const task of tasks) assertStrictEquals(task.result(), error);
    await loop.close();
  });
}

Deno.test("A generator that waits for a future that is done goes on at once, an async function in the next turn", async () => {
  const { loop } = openLoop();
  const done = loop.createFuture<number>();
  done.setResult(1);
  const generator = loop.createTask(function* () {
    return (yield* done) + (yield* done) + (yield* done);
  });
  const asynchronous = loop.createTask(async () => (await done) + (await done));
  await runTurns(loop, 1);
  assertEquals([generator.done(), asynchronous.done()], [true, false]);
  await runTurns(loop, 1);
  assertEquals(asynchronous.done(), false);
  await runTurns(loop, 1);
  assertEquals([generator.result(), asynchronous.result()], [3, 2]);
  await loop.close();
});

Deno.test("then() gives what the callback returned, as a promise would", async () => {
  const values = await run(async () => {
    const loop = getRunningLoop();
    const future = loop.createFuture<number>();
    loop.callSoon(() => future.setResult(1));
    const plus = future.then((value) => value + 1);
    const flat = future.then((value) => Promise.resolve(value + 2));
    const nothing = future.then();
    const failed = loop.createFuture<number>();
    failed.setException(new Error("broken"));
    const handled = failed.then(null, (error) => (error as Error).message);
    return [await plus, await flat, await nothing, await handled];
  }, VIRTUAL);
  assertEquals(values, [2, 3, 1, "broken"]);
});

Deno.test("What a then() callback throws reaches who follows it, else the exception handler", async () => {
  const { loop, reports } = openLoop();
  const future = loop.createFuture<void>();
  const [followed, alone] = [new Error("followed"), new Error("alone")];
  const promise = Promise.resolve(
    future.then(() => {
      throw followed;
    }),
  );
  const rejection = assertRejects(() => promise);
  future.then(() => {
    throw alone;
  });
  await Promise.resolve(); // a promise asks in a microtask of its own
  future.setResult();
  await runTurns(loop, 1);
  assertStrictEquals(await rejection, followed);
  assertEquals(reports.map((report) => report.exception), [alone]);
  await loop.close();
});

Deno.test("A mere listener does not take the future along when its task is cancelled", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<number>();
  const heard: number[] = [];
  const task = loop.createTask(async () => {
    future.then((value) => void heard.push(value));
    await sleep(1_000);
  });
  await runTurns(loop, 2);
  task.cancel();
  await runTurns(loop, 2);
  assert(task.cancelled());
  assert(!future.done());
  future.setResult(5);
  await runTurns(loop, 1);
  assertEquals(heard, [5]);
  await loop.close();
});

Deno.test("A generator cannot wait for a future of another loop", async () => {
  const { loop } = openLoop();
  const { loop: other } = openLoop();
  const future = other.createFuture<void>("a stranger");
  const task = loop.createTask(function* () {
    yield* future;
  });
  const error = await assertRejects(
    () => loop.runUntilComplete(task),
    MisuseError,
  );
  assertEquals(
    error.message,
    "Cannot wait for a stranger: it belongs to another event loop",
  );
  assert(!future.done());
  await loop.close();
  await other.close();
});

// -- Without a running loop --

Deno.test("On a stopped loop everything queues until it runs again", async () => {
  const { loop } = openLoop();
  const future = loop.createFuture<number>();
  const log: string[] = [];
  future.addDoneCallback(() => log.push("callback"));
  const outside = (async () => log.push(`await ${await future}`))();
  future.setResult(1);
  await Promise.resolve();
  assertEquals(log, []);
  await runTurns(loop, 1);
  await outside;
  assertEquals(log, ["callback", "await 1"]);
  await loop.close();
});

Deno.test("After its loop has closed, a future that is done still gives its result and a pending one says so", async () => {
  const { loop } = openLoop();
  const make = (act: (future: Future<number>) => void) => {
    const future = loop.createFuture<number>("the answer");
    act(future);
    return future;
  };
  const fulfilled = make((future) => future.setResult(1));
  const failed = make((future) => future.setException(new Error("broken")));
  const cancelled = make((future) => future.cancel("no"));
  const pending = make(() => {});
  failed.exception();
  const early = assertRejects(async () => await pending, LoopClosedError);
  await Promise.resolve();
  await loop.close();
  assertEquals(await fulfilled, 1);
  await assertRejects(async () => await failed, Error, "broken");
  await assertRejects(async () => await cancelled, CancelledError, "no");
  const late = await assertRejects(async () => await pending, LoopClosedError);
  assertEquals(
    late.message,
    "Cannot wait for the answer: its loop is closed",
  );
  assertEquals((await early).message, late.message);
});

Deno.test("A task that has ended gives its result after run() is over", async () => {
  let task!: Task<string>;
  await run(async () => {
    task = getRunningLoop().createTask(async () => {
      await sleep(5);
      return "kept";
    });
    await task;
  }, VIRTUAL);
  assertEquals(task.result(), "kept");
  assertEquals(await task, "kept");
});

Deno.test("setResult() twice is an error that says what is wrong", () => {
  const { loop }: { loop: EventLoop } = openLoop();
  const future = loop.createFuture<number>();
  future.setResult(1);
  const error = assertThrows(() => future.setResult(2), InvalidStateError);
  assertEquals(
    error.message,
    "Cannot set the result of a future: it is done already",
  );
  assertEquals(future.result(), 1);
});
