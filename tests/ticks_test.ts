/**
 * The planners: which tick is next, as a table, without a loop.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { IntervalTicks } from "../src/schedule/interval_ticks.ts";
import { Jitter } from "../src/schedule/jitter.ts";
import {
  type Schedule,
  ScheduleTicks,
} from "../src/schedule/schedule_ticks.ts";
import type { MissedTicks } from "../src/schedule/ticks.ts";
import { SeededRandom } from "../src/structures/random.ts";

// -- Intervals --

/** Tick 1 is due at 110; it runs at `ranAtMs`: what is next, and how many are dropped. */
const INTERVAL_CASES: readonly [
  missed: MissedTicks,
  ranAtMs: number,
  index: number,
  dueMs: number,
  dropped: number,
][] = [
  ["skip", 110, 2, 120, 0],
  ["burst", 110, 2, 120, 0],
  ["delay", 110, 2, 120, 0],
  // A little late: nothing is missed.
  ["skip", 114, 2, 120, 0],
  ["burst", 114, 2, 120, 0],
  ["delay", 114, 2, 120, 0],
  // 5 ms is still in time, more is not.
  ["delay", 115, 2, 120, 0],
  ["delay", 115.1, 2, 125.1, 0],
  // What is due right now has not been missed.
  ["skip", 120, 2, 120, 0],
  ["burst", 120, 2, 120, 0],
  ["delay", 120, 2, 130, 0],
  ["skip", 120.1, 3, 130, 1],
  ["skip", 135, 4, 140, 2],
  ["burst", 135, 2, 120, 0],
  ["delay", 135, 2, 145, 0],
  // Asleep for an hour.
  ["skip", 3_600_115, 360_002, 3_600_120, 360_000],
  ["burst", 3_600_115, 2, 120, 0],
  ["delay", 3_600_115, 2, 3_600_125, 0],
];

for (const [missed, ranAtMs, index, dueMs, dropped] of INTERVAL_CASES) {
  Deno.test(`A tick due at 110 that runs at ${ranAtMs}, ${missed}: next is ${index}, at ${dueMs}`, () => {
    const ticks = new IntervalTicks(10, 100, 0, "after", null);
    assertEquals([ticks.index, ticks.dueMs(0)], [1, 110]);
    assertEquals(ticks.advance(ranAtMs, missed), dropped);
    assertEquals([ticks.index, ticks.dueMs(0)], [index, dueMs]);
  });
}

Deno.test("Each tick is start + k x interval, to the last bit", () => {
  for (const intervalMs of [0.1, 1 / 3, 10, 16.7]) {
    const ticks = new IntervalTicks(intervalMs, 0.3, 0, "after", null);
    for (let k = 1; k <= 10_000; k++) {
      assertEquals(ticks.index, k);
      assertEquals(ticks.dueMs(0), 0.3 + k * intervalMs);
      ticks.advance(ticks.dueMs(0), "skip");
    }
  }
});

Deno.test("skipTo() finds the first tick that is not before a moment, whatever is rounded", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 20_000; round++) {
    const intervalMs = random.next() * 10 ** (random.nextInt(6) - 2) + 1e-3;
    const startMs = random.next() * 1e6;
    const k = random.nextInt(1e6) + 1;
    const at = (index: number) => startMs + index * intervalMs;
    const nowMs = random.nextInt(2) === 0 ? at(k) : at(k + random.next());
    const ticks = new IntervalTicks(intervalMs, startMs, 0, "after", null);
    ticks.skipTo(nowMs);
    assertEquals(ticks.dueMs(0), at(ticks.index));
    assert(ticks.dueMs(0) >= nowMs, `${intervalMs} ${startMs} ${nowMs}`);
    assert(
      ticks.index === 1 || at(ticks.index - 1) < nowMs,
      `${intervalMs} ${startMs} ${nowMs}`,
    );
  }
});

Deno.test("After a pause the grid goes on, but for a delay, which begins it anew", () => {
  const cases: [MissedTicks, number, number, number][] = [
    ["skip", 95, 1, 110],
    ["delay", 95, 1, 110],
    ["skip", 110, 1, 110],
    ["skip", 135, 4, 140],
    ["burst", 135, 1, 110],
    ["delay", 135, 1, 145],
  ];
  for (const [missed, nowMs, index, dueMs] of cases) {
    const ticks = new IntervalTicks(10, 100, 0, "after", null);
    ticks.resume(nowMs, missed);
    assertEquals(
      [ticks.index, ticks.dueMs(0)],
      [index, dueMs],
      `${missed} ${nowMs}`,
    );
  }
});

Deno.test("Jitter puts off, by less than its bound, the same for the same seed, and does not add up", () => {
  const due = (seed: number) => {
    const jitter = new Jitter(new SeededRandom(seed), 4);
    const ticks = new IntervalTicks(10, 0, 0, "after", jitter);
    return Array.from({ length: 1_000 }, () => {
      const dueMs = ticks.dueMs(0);
      ticks.advance(dueMs, "skip");
      return dueMs;
    });
  };
  const delays = due(1).map((dueMs, n) => dueMs - 10 * (n + 1));
  assert(delays.every((delayMs) => delayMs >= 0 && delayMs < 4));
  assert(new Set(delays.map((delayMs) => Math.floor(delayMs))).size === 4);
  assertEquals(due(1), due(1));
  assert(due(1)[0] !== due(2)[0]);
});

Deno.test("The very first tick, if it is at once, is not put off", () => {
  const jitter = new Jitter(new SeededRandom(1), 4);
  const ticks = new IntervalTicks(10, 100, 0, "anchor", jitter);
  assertEquals([ticks.index, ticks.dueMs(0)], [0, 100]);
  ticks.advance(100, "skip");
  assert(ticks.index === 1 && ticks.dueMs(0) > 110);
});

// -- Schedules --

/** Whole seconds, as cron has them. */
const SECONDS: Schedule = {
  nextRun: (after) => new Date(Math.floor(after.getTime() / 1_000 + 1) * 1_000),
};

function planner(
  schedule: Schedule,
  wall: { ms: number },
  jitter: Jitter | null = null,
): ScheduleTicks {
  return new ScheduleTicks(schedule, () => wall.ms, 60_000, 1, "next", jitter);
}

Deno.test("A schedule's tick: when to look again is bounded, and the clock of the loop is another one", () => {
  const wall = { ms: 500 };
  const ticks = planner({ nextRun: () => new Date(90_500) }, wall);
  assertEquals(ticks.lateMs(7), -90_000);
  assertEquals(ticks.wakeMs(7), 60_007);
  wall.ms = 60_500;
  assertEquals(ticks.wakeMs(60_007), 90_007);
  wall.ms = 90_510;
  assertEquals([ticks.lateMs(90_017), ticks.dueMs(90_017)], [10, 90_007]);
});

Deno.test("A schedule that was missed: burst takes each, the others count it as one", () => {
  for (
    const [missed, next, dropped] of [
      ["burst", 2_000, 0],
      ["skip", 4_000, 1],
      ["delay", 4_000, 1],
    ] as const
  ) {
    const wall = { ms: 500 };
    const ticks = planner(SECONDS, wall);
    wall.ms = 3_200;
    assertEquals(ticks.lateMs(0), 2_200);
    assertEquals(ticks.advance(0, missed), dropped);
    assertEquals([ticks.momentMs(), ticks.index], [next, 2], missed);
  }
});

Deno.test("A clock that is set back brings no moment again", () => {
  const wall = { ms: 500 };
  const ticks = planner(SECONDS, wall);
  wall.ms = 1_000;
  ticks.advance(0, "skip");
  wall.ms = -5_000;
  assertEquals([ticks.momentMs(), ticks.lateMs(0)], [2_000, -7_000]);
  wall.ms = 2_000;
  ticks.advance(0, "skip");
  assertEquals(ticks.momentMs(), 3_000);
});

Deno.test("A schedule that gives the same moment again is asked for a later one", () => {
  // The first one includes the moment itself; the second one cuts off what is less than a second.
  const schedules: Schedule[] = [
    { nextRun: (after) => new Date(Math.ceil(after.getTime() / 1e3) * 1e3) },
    { nextRun: (after) => new Date(Math.floor(after.getTime() / 1e3) * 1e3) },
  ];
  for (const schedule of schedules) {
    const wall = { ms: 1_000 };
    const ticks = planner(schedule, wall);
    const moments = [];
    for (let n = 0; n < 3; n++) {
      moments.push(wall.ms = ticks.momentMs());
      ticks.advance(0, "skip");
    }
    assertEquals(moments, [2_000, 3_000, 4_000]);
  }
});

Deno.test("A schedule that does not go on, or gives no Date, is refused", () => {
  const wall = { ms: 1_000 };
  assertThrows(
    () => planner({ nextRun: () => new Date(1_000) }, wall),
    RangeError,
    "nextRun() must return later moments: received one that is not after 1970-01-01T00:00:01.000Z",
  );
  for (const nonsense of [undefined, 5, "soon", new Date(NaN)]) {
    assertThrows(
      () => planner({ nextRun: () => nonsense as Date }, wall),
      TypeError,
      "nextRun() must return a valid Date or null: received",
    );
  }
});

Deno.test("A schedule with nothing left is exhausted", () => {
  const wall = { ms: 0 };
  const left = [new Date(10), new Date(20), null];
  const ticks = planner({ nextRun: () => left.shift() as Date | null }, wall);
  assertEquals([ticks.exhausted, ticks.momentMs()], [false, 10]);
  wall.ms = 10;
  ticks.advance(0, "burst");
  assertEquals([ticks.exhausted, ticks.momentMs()], [false, 20]);
  wall.ms = 20;
  ticks.advance(0, "burst");
  assertEquals(ticks.exhausted, true);
});
