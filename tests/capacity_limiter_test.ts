/**
 * CapacityLimiter: trio's rules, and permits.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import {
  CapacityLimiter,
  getRunningLoop,
  MisuseError,
  type Permit,
  run,
  sleep,
  type Task,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
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

testBoth(
  "Tokens are handed out in the order in which they were asked for",
  function* (spawn) {
    const limiter = new CapacityLimiter(2);
    const log: string[] = [];
    const tasks = ["a", "b", "c", "d", "e"].map((name) =>
      spawn(function* () {
        using _token: Permit = yield limiter.acquire();
        log.push(`${getRunningLoop().time()} ${name}`);
        yield sleep(10);
      })
    );
    yield sleep(1);
    const { borrowers, ...counts } = limiter.statistics();
    assertEquals(counts, {
      borrowedTokens: 2,
      totalTokens: 2,
      tasksWaiting: 3,
    });
    assertEquals(borrowers.map((one) => tasks.indexOf(one as Task<unknown>)), [
      0,
      1,
    ]);
    for (const task of tasks) yield task;
    assertEquals(log, ["0 a", "0 b", "10 c", "10 d", "20 e"]);
    assertEquals([limiter.borrowedTokens, limiter.availableTokens], [0, 2]);
  },
);

testBoth(
  "A second token for the same borrower is refused at once",
  function* (spawn) {
    const limiter = new CapacityLimiter(2);
    const token: Permit = yield limiter.acquire();
    for (
      const again of [
        () => limiter.acquire(),
        () => {
          limiter.tryAcquire();
          return sleep(0);
        },
      ]
    ) {
      try {
        yield again();
        assert(false);
      } catch (error) {
        assertInstanceOf(error, MisuseError);
        assertEquals(
          error.message,
          "Cannot acquire a token: the borrower has one already",
        );
      }
    }
    const key = {};
    assert(limiter.tryAcquireOnBehalfOf(key) !== null);
    const other = {};
    const waiting = spawn(function* () {
      yield limiter.acquireOnBehalfOf(other);
    });
    yield sleep(1);
    assertThrows(
      () => limiter.tryAcquireOnBehalfOf(other),
      MisuseError,
      "waits for one already",
    );
    assertThrows(() => limiter.releaseOnBehalfOf(other), MisuseError);
    token.release();
    yield waiting;
    assertEquals(limiter.statistics().borrowers, [key, other]);
    limiter.releaseOnBehalfOf(key);
    limiter.releaseOnBehalfOf(other);
    assertThrows(() => limiter.releaseOnBehalfOf(key), MisuseError);
    assertThrows(() => limiter.release(), MisuseError);
  },
);

testBoth(
  "release() gives back the token of the task, and makes its permit void",
  function* () {
    const limiter = new CapacityLimiter(1);
    const first: Permit = yield limiter.acquire();
    assertEquals(first.held, true);
    limiter.release();
    assertEquals(first.held, false);
    const second: Permit = yield limiter.acquire();
    first.release(); // is not that of the second
    assertEquals([second.held, limiter.borrowedTokens], [true, 1]);
    second[Symbol.dispose]();
    second.release();
    assertEquals([second.held, limiter.borrowedTokens], [false, 0]);
  },
);

Deno.test("Without a task somebody has to be named", () => {
  const limiter = new CapacityLimiter(1);
  assertThrows(() => limiter.tryAcquire(), MisuseError, "name a borrower");
  assertThrows(() => limiter.release(), MisuseError, "name a borrower");
  const key = {};
  limiter.tryAcquireOnBehalfOf(key);
  assertEquals(limiter.tryAcquireOnBehalfOf({}), null);
  limiter.releaseOnBehalfOf(key);
});

testBoth(
  "totalTokens can be changed while tokens are out and asked for",
  function* (spawn) {
    const limiter = new CapacityLimiter(0);
    let inside = 0;
    const tasks = Array.from({ length: 8 }, () =>
      spawn(function* () {
        using _token: Permit = yield limiter.acquire();
        inside++;
        yield sleep(10);
        inside--;
      }));
    yield sleep(1);
    assertEquals([inside, limiter.borrowedTokens], [0, 0]);
    limiter.totalTokens = 4;
    yield sleep(1);
    assertEquals([inside, limiter.availableTokens], [4, 0]);
    limiter.totalTokens = 1;
    assertEquals([limiter.borrowedTokens, limiter.availableTokens], [4, 0]);
    yield sleep(10);
    assertEquals(inside, 1);
    limiter.totalTokens = Infinity;
    yield sleep(1);
    assertEquals(inside, 4);
    for (const task of tasks) yield task;
    assertEquals([limiter.borrowedTokens, limiter.totalTokens], [0, Infinity]);
  },
);

for (const style of STYLES) {
  Deno.test(`No token is lost, wherever who waits is cancelled (${style})`, async () => {
    for (let point = 0; point < 14; point++) {
      for (const by of ["cancel", "abort"]) {
        await run(async () => {
          const limiter = new CapacityLimiter(1);
          const loop = getRunningLoop();
          const controller = new AbortController();
          const tasks = [0, 1, 2, 3].map((n) =>
            loop.createTask(inStyle(style, function* () {
              using _token: Permit = yield limiter.acquire(
                n === 1 ? { signal: controller.signal } : {},
              );
              yield sleep(0);
            }))
          );
          for (let turn = 0; turn < point; turn++) await sleep(0);
          if (by === "cancel") tasks[1]!.cancel();
          else controller.abort(new Error("enough"));
          await sleep(1);
          for (const task of tasks) {
            assertEquals(task.done(), true, `point ${point}`);
            if (!task.cancelled()) task.exception();
          }
          assertEquals(limiter.borrowedTokens, 0);
          assertEquals(limiter.statistics().tasksWaiting, 0);
        }, VIRTUAL);
      }
    }
  });
}

for (let seed = 1; seed <= 20; seed++) {
  Deno.test(`Held and available tokens make up the total, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    await run(async () => {
      const loop = getRunningLoop();
      const limiter = new CapacityLimiter(3);
      const order: number[] = [];
      const asked: Task<void>[] = [];
      for (let step = 0; step < 100; step++) {
        switch (random.nextInt(5)) {
          case 0:
            limiter.totalTokens = random.nextInt(5);
            break;
          case 1:
            if (asked.length > 0) asked[random.nextInt(asked.length)]!.cancel();
            break;
          case 2:
            await sleep(random.nextInt(3));
            break;
          default: {
            const n = asked.length;
            asked.push(loop.createTask(function* () {
              using _token = yield* limiter.acquire();
              order.push(n);
              yield* sleep(random.nextInt(4));
            }));
          }
        }
        const { borrowedTokens, totalTokens, borrowers } = limiter.statistics();
        assertEquals(borrowers.length, borrowedTokens);
        assertEquals(
          limiter.availableTokens,
          Math.max(totalTokens - borrowedTokens, 0),
        );
      }
      limiter.totalTokens = 1;
      await sleep(1_000);
      assert(asked.every((task) => task.done()));
      assertEquals(order, order.toSorted((a, b) => a - b));
      assertEquals(limiter.borrowedTokens, 0);
    }, VIRTUAL);
  });
}
