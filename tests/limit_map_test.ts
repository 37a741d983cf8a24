/**
 * ConcurrencyLimit.map(): what is pulled when, in which order results come, and
 * how it ends.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import {
  allTasks,
  CancelledError,
  cancelScope,
  Channel,
  ConcurrencyLimit,
  type Coroutine,
  currentTask,
  each,
  type ExceptionContext,
  getRunningLoop,
  MisuseError,
  moveOnAfter,
  Queue,
  run,
  sleep,
  TaskLocal,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { collectReports } from "./support/loops.ts";
import { inStyle, outcomeOf, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
/** Makes a function with arguments in the style of the test. */
type Styled = <A extends unknown[], T>(
  steps: (...args: A) => ReturnType<Steps<T>>,
) => (...args: A) => Coroutine<T> | Promise<T>;

/** A test in both styles that must leave neither tasks nor reports behind. */
function testBoth(name: string, script: (styled: Styled) => Script): void {
  for (const style of STYLES) {
    const styled: Styled = (steps) =>
      style === "a generator"
        ? function* (...args) {
          return yield* inStyle(style, () => steps(...args))() as Coroutine<
            never
          >;
        }
        : async (...args) =>
          await (inStyle(style, () => steps(...args))() as Promise<never>);
    Deno.test(`${name} (${style})`, async () => {
      let reports: ExceptionContext[] = [];
      await run(
        inStyle(style, function* () {
          reports = collectReports(getRunningLoop());
          yield* script(styled);
          yield sleep(0);
          yield sleep(0);
          assertEquals(
            allTasks(getRunningLoop()).filter((task) => task !== currentTask())
              .map((task) => task.name),
            [],
          );
        }),
        VIRTUAL,
      );
      assertEquals(reports, []);
    });
  }
}

/** A source that tells what was pulled from it, and whether it was closed. */
class Source {
  pulled = 0;
  closed = 0;
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  *[Symbol.iterator](): Generator<number, void> {
    try {
      while (this.pulled < this.#count) yield this.pulled++;
    } finally {
      this.closed++;
    }
  }
}

/** The same, with a wait of some turns for each item. The virtual clock stands still for promises. */
class AsyncSource extends Source {
  readonly #turns: number;

  constructor(count: number, turns: number) {
    super(count);
    this.#turns = turns;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number, void> {
    for (const item of this) {
      for (let turn = 0; turn < this.#turns; turn++) await sleep(0);
      yield item;
    }
  }
}

function assertIdle(limit: ConcurrencyLimit): void {
  const { used, running, pending } = limit.stats();
  assertEquals([used, running, pending], [0, 0, 0]);
}

testBoth(
  "map() gives the results in the order of the source, or as they come",
  function* (styled) {
    const limit = new ConcurrencyLimit(3);
    const delays = [30, 10, 20, 5, 1];
    const work = styled(function* (delayMs: number, index: number) {
      yield sleep(delayMs);
      return `${index}: ${delayMs}`;
    });
    assertEquals(yield limit.map(delays, work), [
      "0: 30",
      "1: 10",
      "2: 20",
      "3: 5",
      "4: 1",
    ]);
    assertEquals(yield limit.map(delays, work, { ordered: false }), [
      "1: 10",
      "3: 5",
      "4: 1",
      "2: 20",
      "0: 30",
    ]);
    assertEquals(limit.stats().peak, 3);
    assertEquals(yield limit.map([], work), []);
    assertIdle(limit);
  },
);

for (const kind of ["at once", "with waits"] as const) {
  testBoth(
    `An item is pulled when there is a slot for it, ${kind}`,
    function* (styled) {
      const limit = new ConcurrencyLimit(2);
      const source = kind === "at once" ? new Source(6) : new AsyncSource(6, 0);
      let inside = 0;
      const work = styled(function* (item: number) {
        inside++;
        assert(inside <= 2);
        const { running } = limit.stats();
        assert(source.pulled <= item + 2, `${source.pulled} at ${item}`);
        assert(running <= 2);
        yield sleep(10);
        inside--;
        return item;
      });
      assertEquals(yield limit.map(source, work), [0, 1, 2, 3, 4, 5]);
      assertEquals([source.pulled, source.closed], [6, 1]);
      assertIdle(limit);
    },
  );

  testBoth(
    `The first failure cancels what runs, and closes the source, ${kind}`,
    function* (styled) {
      const loop = getRunningLoop();
      const limit = new ConcurrencyLimit(3);
      const source = kind === "at once"
        ? new Source(100)
        : new AsyncSource(100, 1);
      const ended: string[] = [];
      const broken = new Error("broken");
      const work = styled(function* (item: number) {
        try {
          yield sleep(item === 1 ? 10 : 1_000);
          throw broken;
        } catch (error) {
          ended.push(`${item} ${(error as Error).name}`);
          throw error;
        } finally {
          if (item !== 1) yield sleep(5);
        }
      });
      let thrown: unknown;
      try {
        yield limit.map(source, work);
      } catch (error) {
        thrown = error;
      }
      assertStrictEquals(thrown, broken);
      assertEquals(ended, ["1 Error", "0 CancelledError", "2 CancelledError"]);
      assertEquals([source.pulled, source.closed], [3, 1]);
      assertEquals(loop.time(), 15);
      assertIdle(limit);
    },
  );

  testBoth(
    `Cancelling the wait for a map ends all of it, ${kind}`,
    function* (styled) {
      const loop = getRunningLoop();
      const limit = new ConcurrencyLimit(2);
      for (let point = 0; point < 12; point++) {
        const source = kind === "at once"
          ? new Source(5)
          : new AsyncSource(5, 0);
        let inside = 0;
        const work = styled(function* () {
          inside++;
          try {
            yield sleep(0);
            yield sleep(0);
          } finally {
            inside--;
          }
        });
        const task = loop.createTask(styled(function* () {
          yield limit.map(source, work);
        }));
        for (let turn = 0; turn < point; turn++) yield sleep(0);
        const accepted = task.cancel("enough");
        yield limit.onIdle();
        yield sleep(1);
        assertEquals(task.done(), true, `point ${point}`);
        if (accepted) assertEquals(task.cancelled(), true);
        assertEquals([inside, source.closed], [0, source.pulled > 0 ? 1 : 0]);
        assertIdle(limit);
      }
    },
  );
}

testBoth("mapSettled() has failures among the results", function* (styled) {
  const limit = new ConcurrencyLimit(2);
  const broken = new Error("broken");
  const work = styled(function* (item: number) {
    yield sleep(item);
    if (item === 2) throw broken;
    return item;
  });
  const results: PromiseSettledResult<number>[] = yield limit.mapSettled(
    [3, 2, 1],
    work,
  );
  assertEquals(results, [
    { status: "fulfilled", value: 3 },
    { status: "rejected", reason: broken },
    { status: "fulfilled", value: 1 },
  ]);
  const { done, failed } = limit.stats();
  assertEquals([done, failed], [2, 1]);
});

testBoth(
  "A map that is cancelled is cancelled, settled or not",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    const loop = getRunningLoop();
    const task = loop.createTask(styled(function* () {
      yield limit.mapSettled([1, 2, 3], () => sleep(100));
    }));
    yield sleep(5);
    task.cancel("enough");
    yield sleep(5);
    assertEquals(outcomeOf(task), "cancelled: Cancelled: enough");
    assertIdle(limit);
  },
);

testBoth("A signal ends a map with its reason", function* () {
  const limit = new ConcurrencyLimit(2);
  const reason = new Error("enough");
  for (const style of ["array", "one by one"]) {
    const source = new Source(9);
    const controller = new AbortController();
    const map = limit.map(source, () => sleep(10), {
      signal: controller.signal,
    });
    getRunningLoop().callLater(15, () => controller.abort(reason));
    let thrown: unknown;
    try {
      if (style === "array") yield map;
      else yield each(map, function* () {});
    } catch (error) {
      thrown = error;
    }
    assertStrictEquals(thrown, reason);
    assertEquals([source.pulled, source.closed], [4, 1]);
    assertIdle(limit);
  }
});

testBoth(
  "A scope whose time is up ends a map, and waits for what runs",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    const source = new Source(100);
    let cleaned = 0;
    yield moveOnAfter(
      25,
      styled(function* () {
        yield limit.map(
          source,
          styled(function* () {
            try {
              yield sleep(10);
            } finally {
              cleaned++;
            }
          }),
        );
      }),
    );
    assertEquals([cleaned, source.pulled, source.closed], [6, 6, 1]);
    yield cancelScope(styled(function* () {
      yield limit.map([1], () => sleep(1));
    }));
    assertIdle(limit);
  },
);

// -- Sources --

testBoth(
  "Queues and channels are sources, and lose nothing",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(2);
    const queue = new Queue<number>();
    for (const n of [1, 2, 3]) queue.putNowait(n);
    queue.shutdown();
    const double = (n: number) => 2 * n;
    assertEquals(yield limit.map(queue, double), [2, 4, 6]);
    const channel = new Channel<number>();
    const mapping = loop.createTask(styled(function* () {
      return yield limit.map(channel, double);
    }));
    yield channel.send(1);
    yield channel.send(2);
    channel.close();
    assertEquals(yield mapping, [2, 4]);
    // A wait for an item that is cancelled takes none.
    const open = new Channel<number>();
    const cancelled = loop.createTask(styled(function* () {
      yield limit.map(open, double);
    }));
    yield sleep(1);
    cancelled.cancel();
    yield sleep(1);
    assertEquals(cancelled.cancelled(), true);
    const sending = loop.createTask(() => open.send(3));
    assertEquals(yield open.receive(), 3);
    yield sending;
    assertIdle(limit);
  },
);

for (const kind of ["at once", "with waits"] as const) {
  testBoth(`What a source fails with ends the map, ${kind}`, function* () {
    const limit = new ConcurrencyLimit(2);
    const broken = new Error("source");
    const source = kind === "at once"
      ? (function* () {
        yield 1;
        yield 2;
        throw broken;
      })()
      : (async function* () {
        yield 1;
        yield 2;
        throw broken;
      })();
    const ended: number[] = [];
    let thrown: unknown;
    try {
      yield limit.mapSettled(source, function* (item) {
        try {
          yield* sleep(5);
          if (item === 2) yield* sleep(100);
        } finally {
          ended.push(item);
        }
      });
    } catch (error) {
      thrown = error;
    }
    assertStrictEquals(thrown, broken);
    assertEquals(ended.sort(), [1, 2]);
    assertIdle(limit);
  });
}

testBoth("What a source fails to close with is not lost", function* () {
  const limit = new ConcurrencyLimit(1);
  const reports = collectReports(getRunningLoop());
  const source = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: 1 }),
      return: () => {
        throw new Error("closing");
      },
    }),
  };
  let message = "";
  try {
    yield limit.map(source, () => {
      throw new Error("item");
    });
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(message, "item");
  assertEquals(
    reports.map(({ exception }) => (exception as Error).message),
    ["closing"],
  );
});

testBoth(
  "What others fail with while they are cancelled is reported",
  function* () {
    const limit = new ConcurrencyLimit(3);
    const reports = collectReports(getRunningLoop());
    let message = "";
    try {
      yield limit.map([1, 2, 3], function* (item) {
        try {
          yield* sleep(item);
        } finally {
          // deno-lint-ignore no-unsafe-finally
          throw new Error(`item ${item}`);
        }
      });
    } catch (error) {
      message = (error as Error).message;
    }
    assertEquals(message, "item 1");
    assertEquals(
      reports.map(({ exception }) => (exception as Error).message),
      ["item 2", "item 3"],
    );
  },
);

// -- One by one --

for (const ordered of [true, false]) {
  testBoth(
    `Results can be gone through, ${ordered ? "in order" : "as they come"}`,
    function* () {
      const limit = new ConcurrencyLimit(2);
      const loop = getRunningLoop();
      const seen: string[] = [];
      const map = limit.map(
        [30, 10, 15],
        (delayMs) => sleep(delayMs, { value: delayMs }),
        { ordered },
      );
      yield each(map, function* (delayMs) {
        seen.push(`${loop.time()}: ${delayMs}`);
      });
      assertEquals(
        seen,
        ordered
          ? ["30: 30", "30: 10", "30: 15"]
          : ["10: 10", "25: 15", "30: 30"],
      );
    },
  );
}

Deno.test("for await goes through results, and leaving it ends the map", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(2);
    for (const source of [new Source(50), new AsyncSource(50, 1)]) {
      const seen: number[] = [];
      let cleaned = 0;
      let begun = 0;
      for await (
        const item of limit.map(source, async (item) => {
          begun++;
          try {
            await sleep(10);
          } finally {
            cleaned++;
          }
          return item;
        })
      ) {
        seen.push(item);
        if (item === 3) break;
      }
      assertEquals([seen, source.closed], [[0, 1, 2, 3], 1]);
      assertEquals(cleaned, begun);
      assertIdle(limit);
    }
    assertEquals(allTasks(getRunningLoop()).length, 1);
  }, VIRTUAL);
});

testBoth(
  "No more is begun with than there is room for results",
  function* () {
    const limit = new ConcurrencyLimit(2);
    const source = new Source(20);
    const pulled: number[] = [];
    const map = limit.map(source, (item) => item, { bufferSize: 3 });
    yield each(map, function* (item) {
      yield* sleep(10);
      pulled.push(source.pulled - item);
    });
    assert(Math.max(...pulled) <= 3 + 2 + 1, pulled.join());
    assertEquals(source.pulled, 20);
  },
);

testBoth("A failure comes after the results before it", function* () {
  const limit = new ConcurrencyLimit(1);
  const seen: number[] = [];
  let message = "";
  try {
    yield each(
      limit.map([1, 2, 3, 4], function* (item) {
        yield* sleep(1);
        if (item === 3) throw new Error("three");
        return item;
      }),
      function* (item) {
        seen.push(item);
        yield* sleep(10);
      },
    );
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals([seen, message], [[1, 2], "three"]);
  assertIdle(limit);
});

testBoth(
  "Cancelling who goes through a map ends it",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    for (const at of ["waiting", "body"]) {
      const source = new Source(50);
      const task = getRunningLoop().createTask(styled(function* () {
        yield each(
          limit.map(source, () => sleep(10)),
          function* () {
            if (at === "body") yield* sleep(1_000);
          },
        );
      }));
      yield sleep(15);
      task.cancel("enough");
      yield sleep(1);
      assertEquals(outcomeOf(task), "cancelled: Cancelled: enough", at);
      assertEquals(source.closed, 1);
      assertIdle(limit);
    }
  },
);

Deno.test("A for await loop whose task is cancelled ends its map", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(2);
    const source = new Source(50);
    const task = getRunningLoop().createTask(async () => {
      for await (const _ of limit.map(source, () => sleep(10)));
    });
    await sleep(15);
    task.cancel();
    await sleep(1);
    assertEquals([task.cancelled(), source.closed], [true, 1]);
    assertIdle(limit);
  }, VIRTUAL);
});

Deno.test("A for await loop in a cancelled scope ends its map, wherever that is", async () => {
  await run(async () => {
    for (const at of ["waiting", "body", "next"]) {
      const limit = new ConcurrencyLimit(2);
      const source = new Source(50);
      let cleaned = 0;
      await cancelScope(async (scope) => {
        if (at === "waiting") {
          getRunningLoop().callLater(15, () => scope.cancel());
        }
        for await (
          const _ of limit.map(source, async () => {
            try {
              await sleep(10);
            } finally {
              cleaned++;
            }
          })
        ) {
          if (at === "waiting") continue;
          scope.cancel();
          if (at === "body") await sleep(5);
        }
      });
      assertEquals([source.closed, limit.running], [1, 0], at);
      assert(cleaned >= 2 && cleaned <= source.pulled, at);
    }
  }, VIRTUAL);
});

testBoth("A map is used once", function* () {
  const limit = new ConcurrencyLimit(1);
  const map = limit.map([1], (n) => n);
  yield map;
  for (
    const again of [
      () => map[Symbol.asyncIterator](),
      () => map[Symbol.iterator](),
      () => each(map, function* () {})[Symbol.iterator]().next(),
    ]
  ) {
    try {
      again();
      assert(false);
    } catch (error) {
      assertInstanceOf(error, MisuseError);
    }
  }
});

// -- Beside others --

testBoth(
  "A map shares the slots with jobs, and has one place in line",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(2);
    const log: string[] = [];
    const mapping = loop.createTask(styled(function* () {
      yield limit.map(
        [1, 2, 3, 4, 5],
        styled(function* (n) {
          log.push(`${loop.time()} item ${n}`);
          yield sleep(10);
        }),
      );
    }));
    yield sleep(5);
    for (const name of ["a", "b", "c"]) {
      limit.run(styled(function* () {
        log.push(`${loop.time()} job ${name}`);
        yield sleep(10);
      }));
    }
    limit.run(() => log.push(`${loop.time()} urgent`), { priority: 1 });
    yield mapping;
    yield limit.onIdle();
    assertEquals(log, [
      "0 item 1",
      "0 item 2",
      "10 urgent",
      "10 item 3",
      "10 job a",
      "20 job b",
      "20 job c",
      "30 item 4",
      "30 item 5",
    ]);
    assertEquals(limit.stats().peak, 2);
  },
);

testBoth(
  "Size and pause apply to maps while they run; clear() leaves them",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1);
    const times: number[] = [];
    const mapping = loop.createTask(styled(function* () {
      yield limit.map([1, 2, 3, 4, 5, 6], function* () {
        times.push(loop.time());
        yield* sleep(10);
      });
    }));
    yield sleep(5);
    limit.resize(3);
    yield sleep(1);
    limit.resize(1);
    limit.pause();
    yield sleep(50);
    assertEquals(limit.clear(), 0);
    limit.resume();
    yield mapping;
    assertEquals(times, [0, 5, 5, 56, 66, 76]);
    assertIdle(limit);
  },
);

testBoth(
  "Items have the task-local values of who waits, and do not share what they set",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const name = new TaskLocal("none");
    name.set("main");
    const work = styled(function* (item: number) {
      const before = name.get();
      name.set(`item ${item}`);
      yield sleep(1);
      return before;
    });
    assertEquals(yield limit.map([1, 2, 3], work), ["main", "main", "main"]);
    assertEquals(
      yield limit.map(new AsyncSource(2, 1), work),
      ["main", "main"],
    );
  },
);

testBoth("A cancelled item fails the map as cancelled", function* () {
  const limit = new ConcurrencyLimit(2);
  const own = new CancelledError("by itself");
  let thrown: unknown;
  try {
    yield limit.map([1, 2], function* (item) {
      yield* sleep(item);
      throw own;
    });
  } catch (error) {
    thrown = error;
  }
  assertStrictEquals(thrown, own);
  assertIdle(limit);
});

Deno.test("A long map of functions that never wait leaves the loop its turns", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(10);
    let ticks = 0;
    const ticker = getRunningLoop().createTask(function* () {
      for (;;) {
        ticks++;
        yield* sleep(0);
      }
    });
    for (
      const body of [(n: number) => n, async (n: number) => n, function* (
        n: number,
      ) {
        return n;
      }]
    ) {
      const before = ticks;
      const results = await limit.map(new Source(3_000), body);
      assertEquals(results.length, 3_000);
      assert(ticks - before > 10, `${ticks - before} turns`);
    }
    ticker.cancel();
  }, VIRTUAL);
});

// -- A model --

for (let seed = 1; seed <= 40; seed++) {
  const style = STYLES[seed % 2]!;
  Deno.test(`All items are done once, whatever happens, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    await run(async () => {
      const loop = getRunningLoop();
      const limit = new ConcurrencyLimit(1 + random.nextInt(4));
      const count = random.nextInt(30);
      const source = random.nextInt(2) === 0
        ? new Source(count)
        : new AsyncSource(count, random.nextInt(3));
      const ordered = random.nextInt(2) === 0;
      const failAt = random.nextInt(3) === 0 ? random.nextInt(30) : -1;
      const delays = Array.from({ length: count }, () => random.nextInt(4));
      const done: number[] = [];
      let inside = 0;
      const body = style === "a generator"
        ? function* (item: number) {
          inside++;
          try {
            yield* sleep(delays[item]!);
            if (item === failAt) throw new Error("model");
            done.push(item);
            return item;
          } finally {
            inside--;
          }
        }
        : async (item: number) => {
          inside++;
          try {
            await sleep(delays[item]!);
            if (item === failAt) throw new Error("model");
            done.push(item);
            return item;
          } finally {
            inside--;
          }
        };
      const disturber = loop.createTask(function* () {
        for (;;) {
          yield* sleep(random.nextInt(3));
          const { used, running } = limit.stats();
          assert(used === running);
          switch (random.nextInt(4)) {
            case 0:
              limit.resize(1 + random.nextInt(5));
              break;
            case 1:
              limit.pause();
              yield* sleep(1);
              limit.resume();
              break;
            case 2:
              limit.run(() => sleep(random.nextInt(2)), {
                priority: random.nextInt(3) - 1,
              });
          }
        }
      });
      const results: number[] = [];
      let failed = false;
      try {
        if (random.nextInt(2) === 0) {
          results.push(...await limit.map(source, body, { ordered }));
        } else {
          for await (
            const result of limit.map(source, body, {
              ordered,
              bufferSize: 1 + random.nextInt(3),
            })
          ) {
            results.push(result);
            await sleep(random.nextInt(2));
          }
        }
      } catch (error) {
        assertEquals((error as Error).message, "model");
        failed = true;
      }
      disturber.cancel();
      assertEquals(failed, failAt >= 0 && failAt < count);
      assertEquals(inside, 0);
      if (!failed) {
        assertEquals(results, ordered ? [...new Source(count)] : done);
        assertEquals(done.toSorted((a, b) => a - b), [...new Source(count)]);
      }
      assertEquals(source.closed, count > 0 || !failed ? 1 : 0);
      limit.resume();
      await limit.onIdle();
      assertIdle(limit);
    }, VIRTUAL);
  });
}
