/**
 * The condition: asyncio 3.13's rules one by one, and what becomes of permits.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  type CancelledError,
  Condition,
  currentTask as runningTask,
  getRunningLoop,
  Lock,
  MisuseError,
  Operation,
  type Permit,
  run,
  sleep,
  Task,
} from "../mod.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Spawn = (steps: Steps<unknown>) => Task<unknown>;

/** A test that runs in both styles; `spawn` makes tasks of the same style. */
function testBoth(name: string, script: (spawn: Spawn) => Script): void {
  for (const style of STYLES) {
    const spawn: Spawn = (steps) =>
      getRunningLoop().createTask(inStyle(style, steps));
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(spawn)), VIRTUAL);
    });
  }
}

const ENOUGH = new Error("enough");

// -- asyncio's rules --

testBoth("Condition.wait() and notify() need the lock", function* () {
  const condition = new Condition();
  let thrown: unknown;
  try {
    yield condition.wait();
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof MisuseError);
  assertEquals(
    thrown.message,
    "Cannot wait for a condition: its lock is not held",
  );
  for (const notify of ["notify", "notifyAll"] as const) {
    assertThrows(
      () => condition[notify](),
      MisuseError,
      "Cannot notify: the condition's lock is not held",
    );
  }
  // The predicate alone needs no lock.
  assertEquals(yield condition.waitFor(() => 7), 7);
});

testBoth(
  "Condition.notify() wakes as many as it is told, in the order in which they came",
  function* (spawn) {
    const condition = new Condition();
    const log: string[] = [];
    for (const name of ["a", "b", "c", "d", "e"]) {
      spawn(function* () {
        using _permit: Permit = yield condition.acquire();
        const result = yield condition.wait();
        log.push(`${name} ${result}`);
      });
    }
    const notify = function* (count?: number): Script {
      using _permit: Permit = yield condition.acquire();
      condition.notify(count);
      yield sleep(1);
      assertEquals(log, [], "the lock is still held");
      return undefined;
    };
    const expected = [[0, ""], [undefined, "a"], [2, "b c"], [
      9,
      "d e",
    ]] as const;
    yield sleep(1);
    for (const [count, names] of expected) {
      yield spawn(() => notify(count));
      yield sleep(1);
      assertEquals(log.splice(0).join(" ").replaceAll(" true", ""), names);
    }
  },
);

testBoth(
  "Condition.notifyAll() wakes all, and one after the other gets the lock",
  function* (spawn) {
    const condition = new Condition();
    let inside = 0;
    let insideMax = 0;
    const tasks = Array.from({ length: 5 }, () =>
      spawn(function* () {
        using _permit: Permit = yield condition.acquire();
        yield condition.wait();
        insideMax = Math.max(insideMax, ++inside);
        yield sleep(1);
        inside--;
      }));
    yield sleep(1);
    {
      using _permit: Permit = yield condition.acquire();
      condition.notifyAll();
    }
    for (const task of tasks) yield task;
    assertEquals([insideMax, condition.locked()], [1, false]);
  },
);

testBoth(
  "Condition.waitFor() looks at once and after each notification, and gives what it found",
  function* (spawn) {
    const condition = new Condition();
    let found: string | null = null;
    let looks = 0;
    const task = spawn(function* () {
      using _permit: Permit = yield condition.acquire();
      return yield condition.waitFor(() => {
        looks++;
        return found;
      });
    });
    for (let n = 0; n < 3; n++) {
      yield sleep(1);
      using _permit: Permit = yield condition.acquire();
      if (n === 2) found = "it";
      condition.notifyAll();
    }
    assertEquals([yield task, looks], ["it", 4]);
  },
);

testBoth(
  "What the predicate of Condition.waitFor() throws arrives with the lock held",
  function* (spawn) {
    const condition = new Condition();
    let broken = false;
    const task = spawn(function* () {
      using permit: Permit = yield condition.acquire();
      try {
        yield condition.waitFor(() => {
          if (broken) throw ENOUGH;
        });
        return "not thrown";
      } catch (error) {
        return [error, permit.held];
      }
    });
    yield sleep(1);
    {
      using _permit: Permit = yield condition.acquire();
      broken = true;
      condition.notify();
    }
    assertEquals(yield task, [ENOUGH, true]);
  },
);

testBoth(
  "Condition.notify() skips those who are woken or cancelled already, and a cancelled one wakes one more",
  function* (spawn) {
    const condition = new Condition();
    const done: string[] = [];
    const tasks = ["a", "b", "c", "d"].map((name) =>
      spawn(function* () {
        using _permit: Permit = yield condition.acquire();
        yield condition.wait();
        done.push(name);
      })
    );
    yield sleep(1);
    {
      using _permit: Permit = yield condition.acquire();
      tasks[1]!.cancel();
      condition.notify();
      condition.notify();
    }
    yield sleep(1);
    assertEquals(done, ["a", "c", "d"]);
  },
);

testBoth(
  "A cancelled Condition.wait() takes the lock first, and throws the last cancellation",
  function* (spawn) {
    const condition = new Condition();
    const log: unknown[] = [];
    const task = spawn(function* () {
      using permit: Permit = yield condition.acquire();
      try {
        yield condition.wait();
      } catch (error) {
        log.push((error as CancelledError).reason, permit.held);
        throw error;
      }
    });
    yield sleep(1);
    const permit: Permit = yield condition.acquire();
    for (const reason of ["first", "second", "third"]) {
      task.cancel(reason);
      yield sleep(1);
    }
    assertEquals([log, task.done()], [[], false]);
    permit.release();
    yield sleep(1);
    assertEquals(log, ["third", true]);
    assertEquals(
      [task.cancelled(), task.cancelling(), condition.locked()],
      [true, 3, false],
    );
  },
);

testBoth(
  "Who is notified and cancelled in the same turn passes the notification on",
  function* (spawn) {
    const condition = new Condition();
    const wait = () =>
      spawn(function* () {
        using _permit: Permit = yield condition.acquire();
        yield condition.wait();
        return "notified";
      });
    const first = wait();
    const second = wait();
    yield sleep(1);
    {
      using _permit: Permit = yield condition.acquire();
      condition.notify(1);
      first.cancel();
    }
    assertEquals(yield second, "notified");
    assertEquals(first.cancelled(), true);
  },
);

testBoth(
  "Who is notified and cancelled while it takes the lock passes the notification on",
  function* (spawn) {
    const condition = new Condition();
    const wait = () =>
      spawn(function* () {
        using _permit: Permit = yield condition.acquire();
        yield condition.wait();
        return "notified";
      });
    const first = wait();
    const second = wait();
    yield sleep(1);
    const permit: Permit = yield condition.acquire();
    condition.notify(1);
    yield sleep(1); // the first is in line for the lock
    first.cancel();
    yield sleep(1);
    permit.release();
    assertEquals(yield second, "notified");
    assertEquals(first.cancelled(), true);
  },
);

testBoth("Several conditions share a lock", function* (spawn) {
  const lock = new Lock();
  const [full, empty] = [new Condition(lock), new Condition(lock)];
  assertStrictEquals(full.lock, lock);
  const items: number[] = [];
  const received: number[] = [];
  const producer = spawn(function* () {
    for (let n = 0; n < 5; n++) {
      using _permit: Permit = yield lock.acquire();
      yield full.waitFor(() => items.length < 2);
      items.push(n);
      empty.notify();
    }
  });
  const consumer = spawn(function* () {
    for (let n = 0; n < 5; n++) {
      using _permit: Permit = yield lock.acquire();
      yield empty.waitFor(() => items.length > 0);
      received.push(items.shift()!);
      full.notify();
    }
  });
  yield producer;
  yield consumer;
  assertEquals(received, [0, 1, 2, 3, 4]);
});

// -- Permits, signals, scopes --

testBoth(
  "The permit from before a Condition.wait() is the valid one after it",
  function* (spawn) {
    const condition = new Condition();
    const permit: Permit = yield condition.acquire();
    const other = spawn(function* () {
      using own: Permit = yield condition.acquire();
      assertEquals([permit.held, own.held], [false, true]);
      condition.notify();
    });
    yield condition.wait();
    assertEquals([permit.held, condition.locked()], [true, true]);
    permit.release();
    assertEquals([permit.held, condition.locked()], [false, false]);
    yield other;
  },
);

testBoth(
  "A permit that is given back during the wait does not free the one who has the lock",
  function* (spawn) {
    const condition = new Condition();
    let permit!: Permit;
    const waiter = spawn(function* () {
      permit = yield condition.acquire();
      yield condition.wait();
      return permit.held;
    });
    yield sleep(1);
    const own: Permit = yield condition.acquire();
    permit.release();
    assertEquals([own.held, condition.locked()], [true, true]);
    condition.notify();
    own.release();
    assertEquals(yield waiter, false);
    assertEquals(condition.locked(), false);
  },
);

Deno.test("A Condition.wait() that an async task has left behind does not keep the lock", async () => {
  await run(async () => {
    const condition = new Condition();
    const task = getRunningLoop().createTask(async () => {
      using _permit = await condition.acquire();
      await Promise.race([condition.wait(), sleep(5)]);
    });
    await task;
    await sleep(1);
    assertEquals(condition.locked(), false);
    using permit = await condition.acquire();
    assert(permit.held);
  }, VIRTUAL);
});

testBoth(
  "An abort ends Condition.wait() with the lock held",
  function* (spawn) {
    const condition = new Condition();
    const controller = new AbortController();
    const { signal } = controller;
    const wait = (how: "wait" | "waitFor" | "around") =>
      spawn(function* () {
        using permit: Permit = yield condition.acquire();
        try {
          if (how === "wait") yield condition.wait({ signal });
          else if (how === "waitFor") {
            yield condition.waitFor(() => false, { signal });
          } else {
            yield new Operation(() => condition.wait()[Symbol.iterator](), {
              signal,
            });
          }
          return "not thrown";
        } catch (error) {
          assertStrictEquals(error, ENOUGH);
          return permit.held;
        }
      });
    const tasks = [wait("wait"), wait("waitFor"), wait("around")];
    yield sleep(1);
    const permit: Permit = yield condition.acquire();
    controller.abort(ENOUGH);
    yield sleep(1);
    assert(tasks.every((task) => !task.done()));
    permit.release();
    for (const task of tasks) assertEquals(yield task, true);
    assertEquals(condition.locked(), false);
  },
);

testBoth(
  "An aborted signal keeps Condition.wait() from giving the lock back",
  function* () {
    const condition = new Condition();
    using permit: Permit = yield condition.acquire();
    let thrown: unknown;
    try {
      yield condition.wait({ signal: AbortSignal.abort(ENOUGH) });
    } catch (error) {
      thrown = error;
    }
    assertStrictEquals(thrown, ENOUGH);
    assertEquals(permit.held, true);
  },
);

testBoth(
  "A level cancellation ends Condition.wait() once it has the lock",
  function* (spawn) {
    const condition = new Condition();
    const log: unknown[] = [];
    const task = spawn(function* () {
      const block = currentTask().openBlock({ cancels: "level" });
      getRunningLoop().callLater(5, () => block.cancel("level"));
      try {
        using permit: Permit = yield condition.acquire();
        try {
          yield condition.wait();
        } finally {
          log.push(permit.held, getRunningLoop().time());
        }
      } catch (error) {
        assertStrictEquals(error, block.cancellation);
      } finally {
        block.close();
      }
      yield sleep(1);
    });
    yield sleep(1);
    {
      using _permit: Permit = yield condition.acquire();
      yield sleep(9);
    }
    yield task;
    assertEquals(log, [true, 10]);
  },
);

Deno.test("Condition checks its arguments", () => {
  const cases: [() => unknown, typeof TypeError | typeof RangeError, string][] =
    [
      [
        // @ts-expect-error -- not a lock
        () => new Condition({}),
        TypeError,
        "Cannot create a condition as lock must be a Lock: received an object",
      ],
      [
        () => new Condition().notify(-1),
        RangeError,
        "Cannot notify as count must be an integer >= 0 or Infinity: received -1",
      ],
      [
        () => new Condition().notify(1.5),
        RangeError,
        "Cannot notify as count must be an integer >= 0 or Infinity: received 1.5",
      ],
      [
        // @ts-expect-error -- not a number
        () => new Condition().notify("2"),
        TypeError,
        'Cannot notify as count must be a number: received "2"',
      ],
      [
        // @ts-expect-error -- not a function
        () => new Condition().waitFor(true),
        TypeError,
        "Cannot wait for a condition as predicate must be a function: received true",
      ],
      [
        // @ts-expect-error -- not a signal
        () => new Condition().wait({ signal: 1 }),
        TypeError,
        "Cannot wait for a condition as signal must be an AbortSignal: received 1",
      ],
    ];
  for (const [call, type, message] of cases) {
    assertEquals(assertThrows(call, type).message, message);
  }
});

function currentTask(): Task<unknown> {
  const task = runningTask();
  assert(task instanceof Task);
  return task;
}
