/**
 * each() and scoped(): `for await` and `await using` for generator coroutines.
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
import {
  CancelledError,
  type Coroutine,
  currentTask,
  each,
  type EachBody,
  getRunningLoop,
  run,
  scoped,
  sleep,
  TaskLocal,
  until,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { inStyle, outcomeOf, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** An async iterator that writes down what is done to it. */
class Source implements AsyncIterableIterator<number> {
  readonly log: string[];
  readonly #items: number;
  readonly #failAt: number;
  #next = 1;

  constructor(log: string[], items: number, failAt = Infinity) {
    this.log = log;
    this.#items = items;
    this.#failAt = failAt;
  }

  async next(): Promise<IteratorResult<number>> {
    this.log.push(`next ${this.#next}`);
    await Promise.resolve();
    if (this.#next === this.#failAt) throw new Error("source broken");
    if (this.#next > this.#items) return { done: true, value: undefined };
    return { done: false, value: this.#next++ };
  }

  async return(): Promise<IteratorResult<number>> {
    this.log.push("closing");
    await Promise.resolve();
    this.log.push("closed");
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Bodies that write items down, in each style a body may have. */
const BODIES: Readonly<
  Record<string, (log: string[]) => EachBody<number>>
> = {
  "a generator function": (log) =>
    function* (item) {
      yield* sleep(1);
      log.push(`item ${item}`);
    },
  "an async function": (log) => async (item) => {
    await sleep(1);
    log.push(`item ${item}`);
  },
  "a plain function": (log) => (item) => {
    log.push(`item ${item}`);
  },
};

for (const [kind, make] of Object.entries(BODIES)) {
  for (const style of STYLES) {
    Deno.test(`each() in ${style} runs ${kind} with one item after the other`, async () => {
      const log: string[] = [];
      await run(
        inStyle(style, function* () {
          yield each(new Source(log, 2), make(log));
        }),
        VIRTUAL,
      );
      assertEquals(log, ["next 1", "item 1", "next 2", "item 2", "next 3"]);
    });
  }
}

Deno.test("each() goes through what is iterable without being async, and waits for promises in it", async () => {
  const log: unknown[] = [];
  await run(function* () {
    yield* each([1, Promise.resolve(2), 3], (item) => {
      log.push(item);
    });
    yield* each(new Set(["a"]), function* (item) {
      yield;
      log.push(item);
    });
    yield* each("xy", (item) => {
      log.push(item);
    });
  }, VIRTUAL);
  assertEquals(log, [1, 2, 3, "a", "x", "y"]);
});

Deno.test("stop() ends the iteration after the item, and closes the iterator", async () => {
  for (const body of Object.values(BODIES)) {
    const log: string[] = [];
    await run(function* () {
      const write = body(log);
      yield* each(new Source(log, 5), (item, stop) => {
        if (item === 2) stop();
        return write(item, stop);
      });
    }, VIRTUAL);
    assertEquals(log, [
      "next 1",
      "item 1",
      "next 2",
      "item 2",
      "closing",
      "closed",
    ]);
  }
  let closed = false;
  await run(function* () {
    const source = (function* () {
      try {
        yield 1;
        yield 2;
      } finally {
        closed = true;
      }
    })();
    yield* each(source, (_, stop) => stop());
  }, VIRTUAL);
  assert(closed);
});

for (const style of STYLES) {
  Deno.test(`A body of each() that throws in ${style} closes the iterator, and its error goes on`, async () => {
    const error = new Error("body broken");
    const bodies: EachBody<number>[] = [
      function* (): Coroutine<void> {
        yield;
        throw error;
      },
      async () => {
        await sleep(1);
        throw error;
      },
      () => {
        throw error;
      },
    ];
    for (const body of bodies) {
      const log: string[] = [];
      const caught = await assertRejects(() =>
        run(
          inStyle(style, function* () {
            yield each(new Source(log, 5), body);
          }),
          VIRTUAL,
        )
      );
      assertStrictEquals(caught, error);
      assertEquals(log, ["next 1", "closing", "closed"]);
    }
  });

  Deno.test(`An iterator that throws in ${style} is not closed again`, async () => {
    const log: string[] = [];
    await assertRejects(
      () =>
        run(
          inStyle(style, function* () {
            yield each(new Source(log, 5, 2), (item) => {
              log.push(`item ${item}`);
            });
          }),
          VIRTUAL,
        ),
      Error,
      "source broken",
    );
    assertEquals(log, ["next 1", "item 1", "next 2"]);
  });
}

Deno.test("An error of closing does not hide that of the body, and is an error without one", async () => {
  const closing = new Error("cannot close");
  const source = (): AsyncIterable<number> => ({
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false, value: 1 }),
      return: () => Promise.reject(closing),
    }),
  });
  const error = new Error("body broken");
  assertStrictEquals(
    await assertRejects(() =>
      run(function* () {
        yield* each(source(), () => {
          throw error;
        });
      }, VIRTUAL)
    ),
    error,
  );
  assertStrictEquals(
    await assertRejects(() =>
      run(function* () {
        yield* each(source(), (_, stop) => stop());
      }, VIRTUAL)
    ),
    closing,
  );
});

for (const style of STYLES) {
  Deno.test(`Cancelling each() in ${style} while its body waits lets the body clean up, then closes the iterator`, async () => {
    for (
      const body of [
        function* (log: string[]): Coroutine<void> {
          try {
            yield* sleep(1_000);
          } finally {
            log.push("body cleans up");
            yield* sleep(1);
            log.push("body has cleaned up");
          }
        },
        async (log: string[]) => {
          try {
            await sleep(1_000);
          } finally {
            log.push("body cleans up");
            await sleep(1);
            log.push("body has cleaned up");
          }
        },
      ]
    ) {
      const log: string[] = [];
      const { loop, reports } = openLoop();
      const task = loop.createTask(inStyle(style, function* () {
        yield each(new Source(log, 5), () => body(log));
      }));
      loop.callLater(5, () => task.cancel("why"));
      await assertRejects(
        () => loop.runUntilComplete(task),
        CancelledError,
        "why",
      );
      assertEquals(log, [
        "next 1",
        "body cleans up",
        "body has cleaned up",
        "closing",
        "closed",
      ]);
      assertEquals([loop.time(), loop.stats().timers], [6, 0]);
      await loop.close();
      assertEquals(reports, []);
    }
  });
}

Deno.test("Cancelling each() while it waits for an item closes an iterator that can be closed then", async () => {
  const log: string[] = [];
  const { loop, reports } = openLoop();
  const { promise, resolve } = Promise.withResolvers<IteratorResult<number>>();
  const source: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({
      next: () => promise,
      return: () => {
        log.push("closing");
        resolve({ done: true, value: undefined });
        return promise;
      },
    }),
  };
  const task = loop.createTask(function* () {
    yield* each(source, () => {});
  });
  await runTurns(loop, 1);
  task.cancel("why");
  await assertRejects(() => loop.runUntilComplete(task), CancelledError, "why");
  assertEquals(log, ["closing"]);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("An async body of each() and scoped() belongs to the task: its name, its locals, its clock", async () => {
  const requestId = new TaskLocal("none");
  const log: unknown[] = [];
  await run(function* () {
    requestId.set("r1");
    const note = async () => {
      await sleep(5);
      await Promise.resolve();
      log.push([currentTask()?.name, requestId.get(), getRunningLoop().time()]);
    };
    yield* each([1], note);
    yield* scoped({ [Symbol.dispose]() {} }, note);
  }, { ...VIRTUAL, name: "main" });
  assertEquals(log, [["main", "r1", 5], ["main", "r1", 10]]);
});

Deno.test("each() checks its arguments when it is called", () => {
  for (
    const [wrong, received] of [
      [undefined, "undefined"],
      [5, "5"],
      [{}, "an object"],
    ]
  ) {
    const error = assertThrows(
      () => each(wrong as unknown as number[], () => {}),
      TypeError,
    );
    assertEquals(
      error.message,
      `Cannot iterate as source must be iterable: received ${received}`,
    );
  }
  assertThrows(
    () => each([1], undefined as unknown as EachBody<number>),
    TypeError,
    "Cannot iterate as body must be a function: received undefined",
  );
});

// -- scoped() --

/** A resource that writes down when it is disposed of. */
function resource(log: string[], name = "resource"): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      log.push(`disposing of ${name}`);
      await Promise.resolve();
      log.push(`disposed of ${name}`);
    },
  };
}

for (const style of STYLES) {
  Deno.test(`scoped() in ${style} gives what the body gives, after the resource was disposed of`, async () => {
    const bodies = [
      function* () {
        yield* sleep(1);
        return "given";
      },
      async () => {
        await sleep(1);
        return "given";
      },
      () => "given",
    ];
    for (const body of bodies) {
      const log: string[] = [];
      const value = await run(
        inStyle(style, function* () {
          const value = yield scoped(
            resource(log),
            body as () => Coroutine<string>,
          );
          log.push("after");
          return value;
        }),
        VIRTUAL,
      );
      assertEquals(value, "given");
      assertEquals(log, [
        "disposing of resource",
        "disposed of resource",
        "after",
      ]);
    }
  });

  Deno.test(`A body of scoped() that fails or is cancelled in ${style} is cleaned up first, then the resource`, async () => {
    for (const asynchronous of [true, false]) {
      const log: string[] = [];
      const { loop } = openLoop();
      const body = asynchronous
        ? async () => {
          try {
            await sleep(1_000);
          } finally {
            await sleep(1);
            log.push("body cleaned up");
          }
        }
        : function* () {
          try {
            yield* sleep(1_000);
          } finally {
            yield* sleep(1);
            log.push("body cleaned up");
          }
        };
      const task = loop.createTask(inStyle(style, function* () {
        yield scoped(resource(log), body as () => Promise<void>);
      }));
      loop.callLater(5, () => task.cancel("why"));
      await assertRejects(
        () => loop.runUntilComplete(task),
        CancelledError,
        "why",
      );
      assertEquals(log, [
        "body cleaned up",
        "disposing of resource",
        "disposed of resource",
      ]);
      await loop.close();
    }
  });
}

Deno.test("scoped() hands the resource over, and takes what has only [Symbol.dispose]", async () => {
  const log: string[] = [];
  const file = {
    size: 5,
    [Symbol.dispose]: () => void log.push("disposed"),
  };
  const size = await run(function* () {
    return yield* scoped(file, function* (it) {
      assertStrictEquals(it, file);
      yield* sleep(0);
      return it.size;
    });
  }, VIRTUAL);
  assertEquals([size, log], [5, ["disposed"]]);
});

Deno.test("Where there are both ways to dispose, the async one is taken, and once", async () => {
  const log: string[] = [];
  const both = {
    [Symbol.dispose]: () => void log.push("sync"),
    [Symbol.asyncDispose]: () => {
      log.push("async");
      return Promise.resolve();
    },
  };
  await run(() => scoped(both, () => {}), VIRTUAL);
  assertEquals(log, ["async"]);
});

Deno.test("If body and disposal both fail, a SuppressedError has both; if one does, it is that error", async () => {
  const inBody = new Error("body");
  const inDisposal = new Error("disposal");
  const attempt = (body: () => void, failing: boolean) =>
    assertRejects(() =>
      run(() =>
        scoped({
          [Symbol.asyncDispose]: () =>
            failing ? Promise.reject(inDisposal) : Promise.resolve(),
        }, body), VIRTUAL)
    );
  const fail = () => {
    throw inBody;
  };
  assertStrictEquals(await attempt(fail, false), inBody);
  assertStrictEquals(await attempt(() => {}, true), inDisposal);
  const both = await attempt(fail, true);
  assertInstanceOf(both, SuppressedError);
  assertStrictEquals(both.error, inDisposal);
  assertStrictEquals(both.suppressed, inBody);
});

Deno.test("Scopes inside of scopes are disposed of from the inside out, also when cancelled during the disposal", async () => {
  const log: string[] = [];
  const { loop } = openLoop();
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow: AsyncDisposable = {
    [Symbol.asyncDispose]: () => {
      log.push("disposing of inner");
      return promise;
    },
  };
  const task = loop.createTask(function* () {
    yield* scoped(resource(log, "outer"), function* () {
      yield* scoped(slow, () => {});
      log.push("unreachable");
    });
  });
  await runTurns(loop, 2);
  assertEquals(log, ["disposing of inner"]);
  task.cancel("why");
  await assertRejects(() => loop.runUntilComplete(task), CancelledError, "why");
  assertEquals(outcomeOf(task), "cancelled: Cancelled");
  assertEquals(log, [
    "disposing of inner",
    "disposing of outer",
    "disposed of outer",
  ]);
  resolve();
  await loop.close();
});

Deno.test("scoped() checks its arguments when it is called", () => {
  for (const wrong of [undefined, null, 5, {}]) {
    const error = assertThrows(
      () => scoped(wrong as unknown as Disposable, () => {}),
      TypeError,
    );
    assert(
      error.message.startsWith(
        "Cannot open a scope as resource must have [Symbol.asyncDispose] or [Symbol.dispose]: received ",
      ),
      error.message,
    );
  }
  assertThrows(
    () => scoped({ [Symbol.dispose]() {} }, 5 as unknown as () => void),
    TypeError,
    "Cannot open a scope as body must be a function: received 5",
  );
});

Deno.test("A stream is read to its end, and cancelled when the reading stops", async () => {
  const cancelled: unknown[] = [];
  const stream = () => {
    let n = 0;
    return new ReadableStream<number>({
      pull(controller) {
        if (n < 3) controller.enqueue(++n);
        else controller.close();
      },
      cancel: (reason) => void cancelled.push(reason),
    });
  };
  const items: number[] = [];
  await run(function* () {
    yield* each(stream(), (item) => void items.push(item));
    yield* each(stream(), (_, stop) => stop());
    yield* until(Promise.resolve());
  }, VIRTUAL);
  assertEquals([items, cancelled], [[1, 2, 3], [undefined]]);
});

Deno.test("Cancelling each() over a source that gives nothing ends the task and asks the source to close", async () => {
  let asked = 0;
  const idle = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<number>>(() => {}),
      return: () => {
        asked++;
        return new Promise<IteratorResult<number>>(() => {}); // behind next(), for ever
      },
    }),
  };
  for (const source of [idle, new ReadableStream<number>()]) {
    const error = await run(function* () {
      const task = getRunningLoop().createTask(() => each(source, () => {}));
      yield* sleep(0);
      yield* sleep(0);
      task.cancel();
      try {
        yield* task;
        return undefined;
      } catch (error) {
        return error;
      }
    }, { host: "portable" });
    assertInstanceOf(error, CancelledError);
  }
  assertEquals(asked, 1);
});

Deno.test("What closing fails with after the body has failed is reported, the body's error is thrown", async () => {
  const reports: unknown[] = [];
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false as const, value: 1 }),
      return: () => Promise.reject(new Error("closing failed")),
    }),
  };
  await assertRejects(
    () =>
      run(function* () {
        getRunningLoop().setExceptionHandler((_loop, { exception }) => {
          reports.push((exception as Error).message);
        });
        yield* each(source, () => {
          throw new Error("the body failed");
        });
      }, { host: "virtual" }),
    Error,
    "the body failed",
  );
  assertEquals(reports, ["closing failed"]);
});
