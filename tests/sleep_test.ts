/**
 * sleep(): when it ends, what it gives, and that it leaves no timer behind.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  getRunningLoop,
  run,
  sleep,
  type SleepOptions,
  VirtualHost,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

for (const style of STYLES) {
  Deno.test(`sleep() in ${style} ends exactly when it is due, fractions included`, async () => {
    const delays = [1, 0.25, 1e-3, 1_000, 86_400_000, 2 ** 31, 1e12];
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        for (const delayMs of delays) {
          const startMs = loop.time();
          yield sleep(delayMs);
          assertEquals(loop.time(), startMs + delayMs);
        }
      }),
      VIRTUAL,
    );
  });

  Deno.test(`sleep() of 0 or less in ${style} takes one turn and no time`, async () => {
    for (const delayMs of [0, -0, -1, -Infinity]) {
      const { loop } = openLoop();
      const task = loop.createTask(inStyle(style, function* () {
        yield sleep(delayMs);
        yield sleep(delayMs);
      }));
      await runTurns(loop, 2);
      assert(!task.done(), `${delayMs}`);
      await runTurns(loop, 1);
      assert(task.done(), `${delayMs}`);
      assertEquals([loop.time(), loop.stats().timers], [0, 0]);
      await loop.close();
    }
  });

  Deno.test(`sleep() in ${style} gives the value that was asked for`, async () => {
    const value = { anything: 1 };
    await run(
      inStyle(style, function* () {
        assertStrictEquals(yield sleep(1, { value }), value);
        assertStrictEquals(yield sleep(0, { value }), value);
        assertStrictEquals(yield sleep(1), undefined);
        assertStrictEquals(yield sleep(0), undefined);
        const { signal } = new AbortController();
        assertStrictEquals(yield sleep(1, { value, signal }), value);
        assertStrictEquals(yield sleep(0, { value, signal }), value);
      }),
      VIRTUAL,
    );
  });

  Deno.test(`sleep(Infinity) in ${style} waits until it is cancelled`, async () => {
    const { loop } = openLoop();
    const task = loop.createTask(inStyle(style, function* () {
      yield sleep(Infinity);
    }));
    loop.callLater(1e9, () => task.cancel());
    await assertRejects(() => loop.runUntilComplete(task), CancelledError);
    assertEquals([loop.time(), loop.stats().timers], [1e9, 0]);
    await loop.close();
  });

  Deno.test(`A sleep in ${style} that is cancelled or aborted takes its timer along`, async () => {
    const { loop } = openLoop();
    const controller = new AbortController();
    const cancelled = loop.createTask(inStyle(style, function* () {
      yield sleep(1_000);
    }));
    const aborted = loop.createTask(inStyle(style, function* () {
      yield sleep(1_000, { signal: controller.signal });
    }));
    await runTurns(loop, 1);
    assertEquals(loop.stats().timers, 2);
    cancelled.cancel();
    controller.abort();
    await runTurns(loop, 1);
    assertEquals([cancelled.done(), aborted.done()], [true, true]);
    assertEquals(loop.stats().timers, 0);
    assert(aborted.exception() instanceof DOMException);
    await loop.close();
  });
}

Deno.test("A sleep takes two turns: the timer's and the waiter's", async () => {
  const host = new VirtualHost();
  const { loop } = openLoop({ host });
  const log: string[] = [];
  loop.createTask(function* () {
    yield* sleep(5);
    log.push("slept");
  });
  loop.callLater(5, () => {
    log.push("callback 1");
    loop.callSoon(() => {
      log.push("queued by 1");
      loop.stop();
    });
  });
  await loop.runForever();
  // The sleeper's timer was there second, as it was made in the first turn.
  assertEquals(log, ["callback 1", "queued by 1", "slept"]);
  await loop.close();
});

Deno.test("Sleepers wake by deadline, those of equal deadline in the order in which they fell asleep", async () => {
  const seed = Date.now() >>> 0;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (const style of STYLES) {
    const { loop } = openLoop();
    const woken: [number, number][] = [];
    const expected: [number, number][] = [];
    const tasks = Array.from({ length: 500 }, (_, id) => {
      const delayMs = 1 + random.nextInt(20);
      expected.push([delayMs, id]);
      return loop.createTask(inStyle(style, function* () {
        yield sleep(delayMs);
        woken.push([loop.time(), id]);
      }));
    });
    await loop.runUntilComplete(function* () {
      for (const task of tasks) yield* task;
    });
    expected.sort(([a], [b]) => a - b); // stable
    assertEquals(woken, expected, `seed ${seed}`);
    await loop.close();
  }
});

Deno.test("sleep() checks its arguments when it is called", () => {
  for (const wrong of ["5", null, undefined, {}, 5n]) {
    const error = assertThrows(
      () => sleep(wrong as unknown as number),
      TypeError,
    );
    assertMatch(
      error.message,
      /^Cannot sleep as delayMs must be a number of milliseconds: received /,
    );
  }
  const error = assertThrows(() => sleep(NaN), RangeError);
  assertEquals(
    error.message,
    "Cannot sleep as delayMs must not be NaN: received NaN",
  );
  for (const delayMs of [0, 5]) {
    const options = { signal: "now" } as unknown as SleepOptions<void>;
    const error = assertThrows(() => sleep(delayMs, options), TypeError);
    assertEquals(
      error.message,
      'Cannot sleep as signal must be an AbortSignal: received "now"',
    );
  }
});
