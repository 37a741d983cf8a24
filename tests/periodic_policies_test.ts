/**
 * Periodic work: every policy for ticks that are missed or come too soon, with
 * bodies of every kind.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { MissedTicks, OverrunPolicy } from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { type Kind, KINDS, simulate } from "./support/periodic.ts";

const WAITING: readonly Kind[] = ["generator", "async"];

// -- The loop is late --

/** Tick 1 is in time; then the thread is busy from 12 to 45. */
const LATE: readonly [MissedTicks, string, number][] = [
  ["skip", "1@10 2@45 5@50 6@60 7@70", 2],
  ["burst", "1@10 2@45 3@45 4@45 5@50 6@60 7@70", 0],
  ["delay", "1@10 2@45 3@55 4@65 5@75", 0],
];

for (const [missedTicks, expected, skipped] of LATE) {
  for (const kind of KINDS) {
    for (
      const overrun of [
        "skip",
        "queue",
        "concurrent",
        "cancel-previous",
      ] as const
    ) {
      Deno.test(`A late loop, missedTicks ${missedTicks}, overrun ${overrun}, ${kind} body`, async () => {
        const { began, job, reports, together } = await simulate({
          kind,
          blocks: [[12, 45]],
          options: { missedTicks, overrun },
          untilMs: 78,
        });
        assertEquals(began.join(" "), expected);
        assertEquals(job.stats().skipped, skipped);
        assertEquals(job.stats().maxLateMs, 25);
        assertEquals([reports, together], [[], 1]);
      });
    }
  }
}

/** The machine was asleep for an hour. */
const ASLEEP: readonly [MissedTicks, number, string][] = [
  ["skip", 4, "1@10 2@3600012 360002@3600020 360003@3600030"],
  ["delay", 4, "1@10 2@3600012 3@3600022 4@3600032"],
];

for (const [missedTicks, runs, expected] of ASLEEP) {
  for (const kind of KINDS) {
    Deno.test(`An hour is slept through, missedTicks ${missedTicks}, ${kind} body`, async () => {
      const { began, job } = await simulate({
        kind,
        blocks: [[12, 3_600_012]],
        options: { missedTicks },
        untilMs: 3_600_035,
      });
      assertEquals(began.join(" "), expected);
      assertEquals(job.stats().runs, runs);
    });
  }
}

Deno.test("An hour is slept through, missedTicks burst: every tick is made up for", async () => {
  const { job, began } = await simulate({
    kind: "plain",
    blocks: [[12, 3_600_012]],
    options: { missedTicks: "burst" },
    untilMs: 3_600_035,
  });
  assertEquals(job.stats().runs, 360_003);
  assertEquals(began.at(-1), "360003@3600030");
  assertEquals(job.stats().skipped, 0);
});

// -- The body is slow --

/** Every run takes 25 ms, of an interval of 10. */
const SLOW: readonly [OverrunPolicy, readonly Kind[], string, number][] = [
  ["skip", KINDS, "1@10 4@40 7@70 10@100", 1],
  ["queue", KINDS, "1@10 2@35 3@60 4@85", 1],
  ["concurrent", WAITING, range(1, 10), 3],
  // What keeps the thread busy overlaps with nothing: the ticks are late.
  ["concurrent", ["plain"], "1@10 2@35 4@60 6@85", 1],
  ["cancel-previous", WAITING, range(1, 10), 1],
  ["cancel-previous", ["plain"], "1@10 2@35 4@60 6@85", 1],
];

function range(from: number, to: number): string {
  const ticks = Array.from({ length: to - from + 1 }, (_, n) => from + n);
  return ticks.map((k) => `${k}@${10 * k}`).join(" ");
}

for (const [overrun, kinds, expected, together] of SLOW) {
  for (const kind of kinds) {
    Deno.test(`A slow body, overrun ${overrun}, ${kind} body`, async () => {
      const course = await simulate({
        kind,
        takesMs: 25,
        // What is always behind keeps the thread busy for ever.
        options: { overrun, maxRuns: expected.split(" ").length },
        untilMs: 105,
      });
      assertEquals(course.began.join(" "), expected);
      assertEquals(course.together, together);
      assertEquals(course.reports, []);
    });
  }
}

/** Only the first run is slow: 25 ms. The grid stays the grid. */
const SLOW_ONCE: readonly [OverrunPolicy, readonly Kind[], string, number][] = [
  ["skip", KINDS, "1@10 4@40 5@50", 2],
  ["queue", KINDS, "1@10 2@35 3@35 4@40 5@50", 0],
  ["concurrent", WAITING, "1@10 2@20 3@30 4@40 5@50", 0],
  ["concurrent", ["plain"], "1@10 2@35 4@40 5@50", 1],
  ["cancel-previous", WAITING, "1@10 2@20 3@30 4@40 5@50", 0],
  ["cancel-previous", ["plain"], "1@10 2@35 4@40 5@50", 1],
];

for (const [overrun, kinds, expected, skipped] of SLOW_ONCE) {
  for (const kind of kinds) {
    Deno.test(`A body that is slow once, overrun ${overrun}, ${kind} body`, async () => {
      const { began, job } = await simulate({
        kind,
        takesMs: (run) => run === 0 ? 25 : 0,
        options: { overrun },
        untilMs: 55,
      });
      assertEquals(began.join(" "), expected);
      assertEquals(job.stats().skipped, skipped);
    });
  }
}

for (const missedTicks of ["burst", "delay"] as const) {
  for (const kind of KINDS) {
    Deno.test(`Ticks that come during a run are not missed, missedTicks ${missedTicks}, ${kind} body`, async () => {
      for (const overrun of ["skip", "queue"] as const) {
        const { began } = await simulate({
          kind,
          takesMs: (run) => run === 0 ? 25 : 0,
          options: { overrun, missedTicks },
          untilMs: 55,
        });
        assertEquals(
          began.join(" "),
          overrun === "skip" ? "1@10 4@40 5@50" : "1@10 2@35 3@35 4@40 5@50",
        );
      }
    });
  }
}

// -- Exactly as long as the interval --

for (const kind of KINDS) {
  Deno.test(`A body that takes exactly an interval runs at each tick, ${kind} body`, async () => {
    for (const overrun of ["skip", "queue", "cancel-previous"] as const) {
      const { began, ended } = await simulate({
        kind,
        takesMs: 10,
        options: { overrun, maxRuns: 5 },
        untilMs: 65,
      });
      assertEquals(began.join(" "), range(1, 5), overrun);
      assertEquals(
        ended.join(" "),
        "1@20 2@30 3@40 4@50 5@60",
        overrun,
      );
    }
  });
}

// -- Bodies of all kinds --

Deno.test("What waits and what keeps the thread busy run at the same moments", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 30; round++) {
    const durationsMs = Array.from({ length: 200 }, () => {
      const kind = random.nextInt(8);
      if (kind === 0) return 5 * random.nextInt(6); // ends on the grid, or between
      return kind === 1 ? 30 * random.next() : 5 * random.next();
    });
    for (const overrun of ["skip", "queue"] as const) {
      for (const missedTicks of ["skip", "burst", "delay"] as const) {
        const courses = await Promise.all(KINDS.map(async (kind) => {
          const { began, together } = await simulate({
            kind,
            takesMs: (run) => durationsMs[run % 200]!,
            options: { overrun, missedTicks },
            untilMs: 1_000,
          });
          assertEquals(together, 1);
          return began.filter((run) => Number(run.split("@")[1]) < 900);
        }));
        assertEquals(courses[0], courses[1], `${overrun} ${missedTicks}`);
        assertEquals(courses[1], courses[2], `${overrun} ${missedTicks}`);
      }
    }
  }
});

// -- No drift --

for (const kind of KINDS) {
  Deno.test(`After 1,000 runs of uneven length the k-th tick is on the grid, ${kind} body`, async () => {
    const { ticks, job } = await simulate({
      kind,
      takesMs: (run) => [3, 0, 9.7, 0.1, 7][run % 5]!,
      untilMs: 10_005,
    });
    assertEquals(job.stats().runs, 1_000);
    assertEquals(
      ticks.map(({ index, dueMs, lateMs }) => [index, dueMs, lateMs]),
      Array.from({ length: 1_000 }, (_, n) => [n + 1, 10 * (n + 1), 0]),
    );
  });
}

// -- What the tick tells --

Deno.test("A tick tells how late it is and how many were dropped before it", async () => {
  const { ticks, job } = await simulate({
    kind: "plain",
    blocks: [[12, 45]],
    untilMs: 55,
  });
  assertEquals(
    ticks.map(({ index, dueMs, lateMs, skipped }) => [
      index,
      dueMs,
      lateMs,
      skipped,
    ]),
    [[1, 10, 0, 0], [2, 20, 25, 0], [5, 50, 0, 2]],
  );
  assertEquals([job.stats().late, job.stats().maxLateMs], [1, 25]);
});
