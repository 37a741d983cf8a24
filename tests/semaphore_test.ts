/**
 * The semaphores: asyncio 3.13's rules one by one, and permits.
 *
 * @module
 */

import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  BoundedSemaphore,
  getRunningLoop,
  type Permit,
  run,
  Semaphore,
  sleep,
  type Task,
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

// -- asyncio's rules --

testBoth(
  "Semaphore lets as many in as it has permits, in the order in which they asked",
  function* (spawn) {
    const semaphore = new Semaphore(2);
    const log: string[] = [];
    const tasks = ["a", "b", "c", "d", "e"].map((name) =>
      spawn(function* () {
        using _permit: Permit = yield semaphore.acquire();
        log.push(`${getRunningLoop().time()} ${name}`);
        yield sleep(10);
      })
    );
    for (const task of tasks) yield task;
    assertEquals(log, ["0 a", "0 b", "10 c", "10 d", "20 e"]);
    assertEquals([semaphore.value, semaphore.locked()], [2, false]);
  },
);

testBoth(
  "Semaphore.acquire() takes no turn if there is a permit",
  function* () {
    const semaphore = new Semaphore(2);
    const { turns } = getRunningLoop().stats();
    yield semaphore.acquire();
    assertEquals([semaphore.value, semaphore.locked()], [1, false]);
    yield semaphore.acquire();
    assertEquals([semaphore.value, semaphore.locked()], [0, true]);
    assertEquals(getRunningLoop().stats().turns, turns);
  },
);

testBoth(
  "Nobody takes a permit before those in line, nor before the woken ones",
  function* (spawn) {
    const semaphore = new Semaphore(0);
    const log: string[] = [];
    const enter = (name: string) =>
      spawn(function* () {
        yield semaphore.acquire();
        log.push(name);
      });
    const first = enter("first");
    const second = enter("second");
    yield sleep(1);
    semaphore.release();
    semaphore.release();
    semaphore.release();
    // Two permits are on their way, the third is there, but not for newcomers.
    assertEquals([semaphore.value, semaphore.locked()], [1, true]);
    assertEquals(semaphore.tryAcquire(), null);
    yield semaphore.acquire();
    log.push("newcomer");
    yield first;
    yield second;
    assertEquals(log, ["first", "second", "newcomer"]);
    assertEquals([semaphore.value, semaphore.tryAcquire()], [0, null]);
  },
);

testBoth(
  "A permit goes to the next in line if the woken one is cancelled in the same turn",
  function* (spawn) {
    const semaphore = new Semaphore(0);
    const enter = () =>
      spawn(function* () {
        yield semaphore.acquire();
        return "in";
      });
    const first = enter();
    const second = enter();
    yield sleep(1);
    semaphore.release();
    first.cancel();
    assertEquals(yield second, "in");
    assertEquals([first.cancelled(), semaphore.value], [true, 0]);
  },
);

testBoth(
  "A cancelled woken waiter wakes as many as there are permits",
  function* (spawn) {
    // With one wake-up only, as before 3.13, the last one waits for ever.
    const semaphore = new Semaphore(0);
    const log: string[] = [];
    const enter = (name: string) =>
      spawn(function* () {
        yield semaphore.acquire();
        log.push(name);
      });
    const first = enter("first");
    yield sleep(1);
    semaphore.release();
    semaphore.release();
    semaphore.release();
    enter("second");
    enter("third");
    enter("fourth");
    first.cancel();
    yield sleep(1);
    assertEquals(log, ["second", "third", "fourth"]);
  },
);

testBoth(
  "A permit is there again if all who were to get it are cancelled",
  function* (spawn) {
    const semaphore = new Semaphore(0);
    const tasks = [1, 2, 3].map(() =>
      spawn(function* () {
        yield semaphore.acquire();
      })
    );
    yield sleep(1);
    semaphore.release();
    semaphore.release();
    for (const task of tasks) task.cancel();
    yield sleep(1);
    assertEquals([semaphore.value, semaphore.locked()], [2, false]);
  },
);

// -- Permits --

testBoth(
  "A permit of a semaphore that is disposed of twice adds one",
  function* () {
    const semaphore = new Semaphore(1);
    {
      using permit: Permit = yield semaphore.acquire();
      assertEquals(permit.held, true);
      permit.release();
      permit[Symbol.dispose]();
      assertEquals([permit.held, semaphore.value], [false, 1]);
    }
    assertEquals(semaphore.value, 1);
  },
);

Deno.test("Semaphore.release() adds one without a permit, and a bounded one refuses", () => {
  const semaphore = new Semaphore(1);
  semaphore.release();
  assertEquals(semaphore.value, 2);
  const bounded = new BoundedSemaphore(1);
  const error = assertThrows(() => bounded.release(), RangeError);
  assertEquals(
    error.message,
    "Cannot release a bounded semaphore: all 1 permits are there already",
  );
  const permit = bounded.tryAcquire();
  assertEquals([bounded.value, bounded.tryAcquire()], [0, null]);
  permit?.release();
  permit?.release();
  assertEquals(bounded.value, 1);
});

testBoth(
  "BoundedSemaphore hands its permits on like any other",
  function* (spawn) {
    const semaphore = new BoundedSemaphore(1);
    const tasks = [1, 2, 3].map(() =>
      spawn(function* () {
        using _permit: Permit = yield semaphore.acquire();
        yield sleep(1);
      })
    );
    for (const task of tasks) yield task;
    assertEquals([semaphore.value, getRunningLoop().time()], [1, 3]);
  },
);

testBoth(
  "BoundedSemaphore.release() spends the permit of the current task, so that disposing of it frees nobody else's",
  function* (spawn) {
    const semaphore = new BoundedSemaphore(2);
    let inside = 0;
    let insideMax = 0;
    const visits = Array.from({ length: 8 }, (_, n) =>
      spawn(function* () {
        using permit: Permit = yield semaphore.acquire();
        insideMax = Math.max(insideMax, ++inside);
        yield sleep(n % 3);
        inside--;
        if (n % 2 === 0) {
          semaphore.release();
          assertEquals(permit.held, false);
          yield sleep(5); // somebody else is inside meanwhile
        }
      }));
    for (const visit of visits) yield visit;
    assertEquals([semaphore.value, insideMax], [2, 2]);
  },
);

testBoth(
  "BoundedSemaphore.release() spends the last permit of its task first, else the oldest",
  function* (spawn) {
    const semaphore = new BoundedSemaphore(4);
    const mine: Permit = yield semaphore.acquire();
    const theirs: Permit[] = [];
    yield spawn(function* () {
      theirs.push(yield semaphore.acquire());
      theirs.push(yield semaphore.acquire());
    });
    const again: Permit = yield semaphore.acquire();
    const all = [mine, ...theirs, again];
    const released: boolean[][] = [];
    for (let n = 0; n < 4; n++) {
      semaphore.release();
      released.push(all.map(({ held }) => !held));
    }
    assertEquals(released, [
      [false, false, false, true],
      [true, false, false, true],
      [true, true, false, true],
      [true, true, true, true],
    ]);
    for (const permit of all) permit.release();
    assertEquals(semaphore.value, 4);
  },
);

testBoth(
  "BoundedSemaphore.release() does not give away a permit that is on its way",
  function* (spawn) {
    const semaphore = new BoundedSemaphore(1);
    using permit: Permit = yield semaphore.acquire();
    const next = spawn(function* () {
      using _permit: Permit = yield semaphore.acquire();
    });
    yield sleep(1);
    permit.release();
    const error = assertThrows(() => semaphore.release(), RangeError);
    assertEquals(
      error.message,
      "Cannot release a bounded semaphore: its permits are there or on their way to others",
    );
    yield next;
    assertEquals(semaphore.value, 1);
  },
);

testBoth(
  "An abort ends the wait for a permit, and takes none",
  function* (spawn) {
    for (const releases of ["before", "after"]) {
      const semaphore = new Semaphore(0);
      const controller = new AbortController();
      const reason = new Error("enough");
      const task = spawn(function* () {
        yield semaphore.acquire({ signal: controller.signal });
      });
      yield sleep(1);
      if (releases === "before") semaphore.release();
      controller.abort(reason);
      if (releases === "after") semaphore.release();
      yield sleep(1);
      // What was there already has been delivered.
      if (releases === "before") assertEquals(yield task, undefined);
      else assertStrictEquals(task.exception(), reason);
      assertEquals(semaphore.value, releases === "before" ? 0 : 1);
    }
  },
);

Deno.test("Semaphores check their value", () => {
  for (const Class of [Semaphore, BoundedSemaphore]) {
    for (const value of [-1, 1.5, NaN, Infinity]) {
      const error = assertThrows(() => new Class(value), RangeError);
      assertEquals(
        error.message,
        `Cannot create a semaphore as value must be an integer >= 0: received ${value}`,
      );
    }
    // @ts-expect-error -- not a number
    const error = assertThrows(() => new Class("1"), TypeError);
    assertEquals(
      error.message,
      'Cannot create a semaphore as value must be a number: received "1"',
    );
  }
});
