/**
 * RateLimiter: no more permits than promised, not later than possible, and
 * strictly in order.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  getRunningLoop,
  MisuseError,
  type RateAlgorithm,
  RateLimiter,
  type RateLimiterOptions,
  RateLimitError,
  run,
  sleep,
  type Task,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop } from "./support/loops.ts";
import { inStyle, outcomeOf, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;
const ALGORITHMS: readonly RateAlgorithm[] = [
  "token-bucket",
  "fixed-window",
  "sliding-window",
];

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

interface TimesCase {
  readonly options: RateLimiterOptions;
  /** When permits are asked for, and how many. */
  readonly asks: readonly (readonly [atMs: number, weight: number])[];
  /** When they are had. */
  readonly times: readonly number[];
}

const ONES = (count: number) =>
  Array.from({ length: count }, () => [0, 1] as const);

const TIMES: readonly TimesCase[] = [
  {
    options: { permits: 4, intervalMs: 100 },
    asks: ONES(7),
    times: [0, 0, 0, 0, 25, 50, 75],
  },
  {
    options: { permits: 4, intervalMs: 100, burst: 1 },
    asks: ONES(4),
    times: [0, 25, 50, 75],
  },
  {
    options: { permits: 1, intervalMs: 10, burst: 3 },
    asks: [[0, 3], [5, 2], [5, 1], [100, 3], [100, 1]],
    times: [0, 20, 30, 100, 110],
  },
  {
    options: { permits: 3, intervalMs: 1 },
    asks: ONES(6),
    times: [0, 0, 0, 1 / 3, 2 / 3, 1],
  },
  {
    options: { permits: 2, intervalMs: 100, algorithm: "fixed-window" },
    asks: [[30, 1], [120, 1], [120, 1], [120, 2], [500, 1]],
    times: [30, 120, 130, 230, 500],
  },
  {
    options: { permits: 2, intervalMs: 100, algorithm: "sliding-window" },
    asks: [[30, 1], [120, 1], [120, 1], [120, 2], [500, 1]],
    times: [30, 120, 130, 230, 500],
  },
  {
    options: { permits: 3, intervalMs: 100, algorithm: "sliding-window" },
    asks: [[0, 1], [10, 1], [20, 1], [20, 2], [20, 1]],
    times: [0, 10, 20, 110, 120],
  },
];

for (const [index, { options, asks, times }] of TIMES.entries()) {
  testBoth(
    `Permits come when they are due, case ${index + 1}`,
    function* (spawn) {
      const loop = getRunningLoop();
      const limiter = new RateLimiter(options);
      const had: number[] = [];
      const tasks = asks.map(([atMs, weight], n) =>
        spawn(function* () {
          yield sleep(atMs);
          yield limiter.acquire({ weight });
          had[n] = loop.time();
        })
      );
      for (const task of tasks) yield task;
      assertEquals(had, times);
      assertEquals([loop.stats().timers, limiter.waiting], [0, 0]);
    },
  );
}

for (const algorithm of ALGORITHMS) {
  testBoth(
    `Nobody takes permits before those who wait, ${algorithm}`,
    function* (spawn) {
      const limiter = new RateLimiter({
        permits: 3,
        intervalMs: 30,
        algorithm,
      });
      const log: string[] = [];
      const ask = (name: string, weight: number) =>
        spawn(function* () {
          yield limiter.acquire({ weight });
          log.push(name);
        });
      assertEquals([limiter.available, limiter.tryAcquire(2)], [3, true]);
      ask("heavy", 3);
      ask("light", 1);
      yield sleep(1);
      // One is there, but not for a newcomer.
      assertEquals([limiter.tryAcquire(), limiter.available], [false, 0]);
      assertEquals(limiter.waiting, 2);
      yield sleep(100);
      assertEquals(log, ["heavy", "light"]);
      assertEquals(limiter.tryAcquire(2), true);
    },
  );

  testBoth(
    `One who leaves the line gives its place away, ${algorithm}`,
    function* (spawn) {
      const loop = getRunningLoop();
      const limiter = new RateLimiter({
        permits: 4,
        intervalMs: 40,
        algorithm,
      });
      limiter.tryAcquire(4);
      const times: string[] = [];
      const ask = (name: string, weight: number, signal?: AbortSignal) =>
        spawn(function* () {
          yield limiter.acquire({ weight, signal });
          times.push(`${name} ${loop.time()}`);
        });
      const controller = new AbortController();
      const first = ask("first", 4);
      const second = ask("second", 4, controller.signal);
      ask("third", 1);
      yield sleep(5);
      first.cancel();
      controller.abort(new Error("enough"));
      yield sleep(1);
      assertEquals(loop.stats().timers, 1);
      yield sleep(100);
      assertEquals(
        times,
        [`third ${algorithm === "token-bucket" ? 10 : 40}`],
      );
      assertEquals([first.cancelled(), outcomeOf(second)], [
        true,
        "failed: enough",
      ]);
      assertEquals([loop.stats().timers, limiter.waiting], [0, 0]);
    },
  );

  testBoth(
    `A permit on its way to one who is cancelled in the same turn goes to the next, ${algorithm}`,
    function* (spawn) {
      const loop = getRunningLoop();
      const limiter = new RateLimiter({
        permits: 1,
        intervalMs: 10,
        algorithm,
      });
      limiter.tryAcquire();
      const times: number[] = [];
      const ask = () =>
        spawn(function* () {
          yield limiter.acquire();
          times.push(loop.time());
        });
      const first = ask();
      ask();
      ask();
      yield sleep(0);
      // In the turn of the timer, which was set before, and after it.
      loop.callAt(10, () => first.cancel());
      yield sleep(50);
      assertEquals(first.cancelled(), true);
      assertEquals(times, [10, 20]);
    },
  );

  testBoth(
    `With "fail" one is told when to come back, ${algorithm}`,
    function* () {
      const limiter = new RateLimiter({
        permits: 2,
        intervalMs: 50,
        algorithm,
        onLimit: "fail",
      });
      yield limiter.acquire({ weight: 2 });
      yield sleep(10);
      for (const [weight, afterMs] of [[1, 15], [2, 40]]) {
        try {
          yield limiter.acquire({ weight });
          assert(false);
        } catch (error) {
          assertInstanceOf(error, RateLimitError);
          const expected = algorithm === "token-bucket" ? afterMs : 40;
          assertEquals(error.retryAfterMs, expected);
          assertEquals(limiter.retryAfterMs(weight), expected);
        }
      }
      yield sleep(40);
      assertEquals(limiter.retryAfterMs(2), 0);
      yield limiter.acquire({ weight: 2 });
      assertEquals(limiter.waiting, 0);
    },
  );
}

testBoth(
  "A heavy one gets its permits sooner if one before gives back what it had",
  function* (spawn) {
    const loop = getRunningLoop();
    const limiter = new RateLimiter({ permits: 1, intervalMs: 10, burst: 3 });
    limiter.tryAcquire(3);
    const light = spawn(function* () {
      yield limiter.acquire();
    });
    let hadMs = NaN;
    const heavy = spawn(function* () {
      yield limiter.acquire({ weight: 2 });
      hadMs = loop.time();
    });
    yield sleep(0);
    loop.callAt(10, () => light.cancel());
    yield heavy;
    assertEquals([hadMs, light.cancelled()], [20, true]);
  },
);

Deno.test("A limiter begins anew on another loop, and is used on one at a time", async () => {
  const limiter = new RateLimiter({ permits: 1, intervalMs: 1_000_000 });
  for (const _ of [1, 2]) {
    await run(async () => {
      assertEquals(limiter.tryAcquire(), true);
      assertEquals(limiter.tryAcquire(), false);
    }, VIRTUAL);
  }
  const one = openLoop().loop;
  await one.runUntilComplete(async () => {
    limiter.tryAcquire();
    getRunningLoop().createTask(() => limiter.acquire());
    await sleep(1);
  });
  await run(() => {
    assertThrows(() => limiter.tryAcquire(), MisuseError, "another event loop");
  }, VIRTUAL);
  await one.close();
  await run(() => assertEquals(limiter.tryAcquire(), true), VIRTUAL);
});

Deno.test("What was aborted before takes nothing", async () => {
  await run(async () => {
    const limiter = new RateLimiter({ permits: 1, intervalMs: 10 });
    const reason = new Error("aborted");
    try {
      await limiter.acquire({ signal: AbortSignal.abort(reason) });
      assert(false);
    } catch (error) {
      assertStrictEquals(error, reason);
    }
    assertEquals(limiter.available, 1);
  }, VIRTUAL);
});

// -- A model --

/** What was taken, when: all that a naive judge has to know. */
interface Taken {
  readonly atMs: number;
  readonly weight: number;
}

/** Whether `weight` more at `atMs` keep the promise, counted from scratch, in whole numbers. */
function isAllowed(
  algorithm: RateAlgorithm,
  permits: number,
  intervalMs: number,
  burst: number,
  log: readonly Taken[],
  { atMs, weight }: Taken,
): boolean {
  const all = [...log, { atMs, weight }];
  const sumSince = (beginMs: number) =>
    all.filter((one) => one.atMs >= beginMs).reduce(
      (sum, one) => sum + one.weight,
      0,
    );
  if (algorithm === "fixed-window") {
    const originMs = all[0]!.atMs;
    const window = Math.floor((atMs - originMs) / intervalMs);
    return sumSince(originMs + window * intervalMs) <= permits;
  }
  if (algorithm === "sliding-window") {
    return sumSince(atMs - intervalMs + 1) <= permits;
  }
  return all.every((one) =>
    (sumSince(one.atMs) - burst) * intervalMs <= (atMs - one.atMs) * permits
  );
}

for (const algorithm of ALGORITHMS) {
  for (let seed = 1; seed <= 25; seed++) {
    Deno.test(`${algorithm} keeps its promise and makes nobody wait longer, seed ${seed}`, async () => {
      const random = new SeededRandom(seed);
      const permits = 1 + random.nextInt(5);
      // Whole milliseconds for each permit, so that the judge can count in them.
      const intervalMs = permits * (1 + random.nextInt(20));
      const burst = algorithm === "token-bucket"
        ? 1 + random.nextInt(6)
        : permits;
      const limiter = new RateLimiter({
        permits,
        intervalMs,
        algorithm,
        ...(algorithm === "token-bucket" && { burst }),
      });
      const log: Taken[] = [];
      const allowed = (taken: Taken) =>
        isAllowed(algorithm, permits, intervalMs, burst, log, taken);
      /** Those in line: when they came, or since when they are the first. */
      const line: { task: Task<void>; weight: number; sinceMs: number }[] = [];
      await run(async () => {
        const loop = getRunningLoop();
        const judge = (weight: number, sinceMs: number) => {
          const atMs = loop.time();
          assert(Number.isInteger(atMs), `${atMs}`);
          assert(allowed({ atMs, weight }), `too early: ${weight} at ${atMs}`);
          for (let early = sinceMs; early < atMs; early++) {
            assert(
              !allowed({ atMs: early, weight }),
              `${weight} at ${atMs} could be had at ${early}`,
            );
          }
          log.push({ atMs, weight });
        };
        const leave = (task: Task<void>) => {
          const index = line.findIndex((one) => one.task === task);
          line.splice(index, 1);
          if (index === 0 && line.length > 0) {
            line[0]!.sinceMs = Math.max(line[0]!.sinceMs, loop.time());
          }
        };
        for (let step = 0; step < 60; step++) {
          await sleep(random.nextInt(intervalMs));
          const weight = 1 + random.nextInt(burst);
          switch (random.nextInt(5)) {
            case 0: {
              const atMs = loop.time();
              const expected = line.length === 0 && allowed({ atMs, weight });
              assertEquals(limiter.tryAcquire(weight), expected);
              if (expected) log.push({ atMs, weight });
              break;
            }
            case 1: {
              if (line.length === 0) break;
              const { task } = line[random.nextInt(line.length)]!;
              task.cancel();
              leave(task);
              await sleep(0);
              break;
            }
            default: {
              const entry = { weight, sinceMs: loop.time() } as typeof line[0];
              entry.task = loop.createTask(function* () {
                yield* limiter.acquire({ weight });
                assert(line[0] === entry, "out of order");
                judge(weight, entry.sinceMs);
                leave(entry.task);
              });
              line.push(entry);
            }
          }
          assert(loop.stats().timers <= 1);
        }
        while (line.length > 0) await line[0]!.task;
        assertEquals([limiter.waiting, loop.stats().timers], [0, 0]);
        assert(log.length > 10);
      }, VIRTUAL);
    });
  }
}
