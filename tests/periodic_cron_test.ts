/**
 * Periodic work by a schedule: cron with time zones and daylight saving, and wall
 * clocks that are set.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Cron } from "croner";
import {
  every,
  getRunningLoop,
  newEventLoop,
  type PeriodicOptions,
  run,
  type Schedule,
  sleep,
  VirtualHost,
} from "../mod.ts";
import { ManualHost } from "./support/manual_host.ts";

const HOUR_MS = 3_600_000;

/** The moments at which a schedule runs, in virtual time that begins at `start`. */
async function course(
  schedule: Schedule,
  start: string,
  count: number,
  options: PeriodicOptions = {},
): Promise<string[]> {
  const moments: string[] = [];
  const host = new VirtualHost(Date.parse(start));
  await run(function* () {
    const loop = getRunningLoop();
    yield* every(schedule, (tick) => {
      moments.push(new Date(loop.time()).toISOString());
      assertEquals(tick.moment, new Date(loop.time()));
      assertEquals([tick.dueMs, tick.lateMs], [loop.time(), 0]);
    }, { maxRuns: count, ...options });
  }, { host });
  return moments;
}

const inBerlin = (pattern: string) =>
  new Cron(pattern, { timezone: "Europe/Berlin" });

Deno.test("Cron at an hour that the spring skips: once, an hour later by the clock", async () => {
  assertEquals(
    await course(inBerlin("30 2 * * *"), "2026-03-27T12:00:00Z", 4),
    [
      "2026-03-28T01:30:00.000Z", // 02:30 in winter
      "2026-03-29T01:00:00.000Z", // there is no 02:30: at 03:00 in summer
      "2026-03-30T00:30:00.000Z", // 02:30 in summer
      "2026-03-31T00:30:00.000Z",
    ],
  );
});

Deno.test("Cron at an hour that the autumn repeats: once", async () => {
  assertEquals(
    await course(inBerlin("30 2 * * *"), "2026-10-24T12:00:00Z", 3),
    [
      "2026-10-25T00:30:00.000Z", // the first of the two 02:30
      "2026-10-26T01:30:00.000Z",
      "2026-10-27T01:30:00.000Z",
    ],
  );
});

Deno.test("Cron every half hour goes on evenly through both changes", async () => {
  for (const start of ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"]) {
    const moments = await course(inBerlin("*/30 * * * *"), start, 8);
    assertEquals(
      moments.map(Date.parse),
      Array.from(
        { length: 8 },
        (_, n) => Date.parse(start) + (n + 1) * HOUR_MS / 2,
      ),
    );
  }
});

Deno.test("Cron at the same hour in three time zones", async () => {
  const zones = ["Asia/Tokyo", "UTC", "America/New_York"];
  const moments = await Promise.all(
    zones.map((timezone) =>
      course(new Cron("0 9 * * *", { timezone }), "2026-01-01T00:00:00Z", 1)
    ),
  );
  assertEquals(moments.flat(), [
    "2026-01-02T00:00:00.000Z",
    "2026-01-01T09:00:00.000Z",
    "2026-01-01T14:00:00.000Z",
  ]);
});

Deno.test("Cron years ahead, beyond what a timer of the runtime can hold", async () => {
  assertEquals(
    await course(new Cron("0 0 29 2 *", { timezone: "UTC" }), "2026-01-01", 2),
    ["2028-02-29T00:00:00.000Z", "2032-02-29T00:00:00.000Z"],
  );
});

Deno.test("Cron that has an end ends the job", async () => {
  const schedule = new Cron("0 0 * * *", {
    timezone: "UTC",
    stopAt: "2026-01-03T12:00:00Z",
  });
  assertEquals(await course(schedule, "2026-01-01T12:00:00Z", 99), [
    "2026-01-02T00:00:00.000Z",
    "2026-01-03T00:00:00.000Z",
  ]);
  assertEquals(await course(schedule, "2027-01-01T00:00:00Z", 99), []);
});

Deno.test("Cron at once, and then by its schedule", async () => {
  assertEquals(
    await course(
      new Cron("0 0 * * *", { timezone: "UTC" }),
      "2026-01-01T12:00:00Z",
      2,
      {
        immediate: true,
      },
    ),
    ["2026-01-01T12:00:00.000Z", "2026-01-02T00:00:00.000Z"],
  );
});

Deno.test("Jitter puts the moments of a schedule off, and does not add up", async () => {
  const delays: number[] = [];
  await run(function* () {
    const loop = getRunningLoop();
    yield* every(new Cron("* * * * *", { timezone: "UTC" }), ({ moment }) => {
      delays.push(loop.time() - moment!.getTime());
      assertEquals(moment!.getTime() % 60_000, 0);
    }, { maxRuns: 50, jitterMs: 30_000, seed: 3 });
  }, { host: new VirtualHost(0) });
  assertEquals(delays.every((delayMs) => delayMs >= 0 && delayMs < 3e4), true);
  assertEquals(Math.max(...delays) > 20_000, true);
});

// -- A loop that is late --

const SECONDS: Schedule = new Cron("* * * * * *", { timezone: "UTC" });

/** A loop whose clock the test moves, beside a wall clock that can be set. */
class TwoClocks {
  readonly host = new ManualHost();
  readonly loop = newEventLoop({ host: this.host });
  readonly ran: string[] = [];
  /** What the wall clock shows less what the loop's does. */
  aheadMs = 0;
  readonly #running = this.loop.runForever();

  start(schedule: Schedule, options: PeriodicOptions = {}) {
    return every(schedule, ({ moment }) => {
      this.ran.push(
        `${moment!.getTime() / 1e3} at ${this.wallClockMs() / 1e3}`,
      );
    }, {
      ...options,
      loop: this.loop,
      wallClockMs: () => this.wallClockMs(),
    });
  }

  wallClockMs(): number {
    return this.host.nowMs + this.aheadMs;
  }

  async close(): Promise<void> {
    this.loop.setExceptionHandler(() => {});
    this.loop.stop();
    await this.#running;
    await this.loop.close();
  }
}

Deno.test("Moments that were slept through: one run late, and all of them if asked", async () => {
  for (
    const [missedTicks, expected, skipped] of [
      ["skip", ["1 at 1", "2 at 5.5", "6 at 6"], 1],
      ["delay", ["1 at 1", "2 at 5.5", "6 at 6"], 1],
      [
        "burst",
        ["1 at 1", "2 at 5.5", "3 at 5.5", "4 at 5.5", "5 at 5.5", "6 at 6"],
        0,
      ],
    ] as const
  ) {
    const clocks = new TwoClocks();
    const job = clocks.start(SECONDS, { missedTicks });
    await clocks.host.runUntil(1_200);
    clocks.host.advanceTo(5_500);
    await clocks.host.runUntil(6_100);
    assertEquals(clocks.ran, [...expected], missedTicks);
    assertEquals(job.stats().skipped, skipped, missedTicks);
    await clocks.close();
  }
});

// -- A wall clock that is set --

Deno.test("A clock that is set back makes nothing early, and no moment comes twice", async () => {
  const clocks = new TwoClocks();
  clocks.start(new Cron("0 * * * *", { timezone: "UTC" }));
  await clocks.host.runUntil(HOUR_MS + 60_000); // 01:01
  clocks.aheadMs = -HOUR_MS / 2; // 00:31
  await clocks.host.runUntil(2 * HOUR_MS + 60_000); // 01:31
  assertEquals(clocks.ran, ["3600 at 3600"]);
  await clocks.host.runUntil(2.5 * HOUR_MS + 60_000); // 02:01
  assertEquals(clocks.ran, ["3600 at 3600", "7200 at 7200"]);
  await clocks.close();
});

Deno.test("A clock that is set forward, by a machine asleep too, is noticed within a minute", async () => {
  const clocks = new TwoClocks();
  clocks.start(new Cron("0 * * * *", { timezone: "UTC" }));
  await clocks.host.runUntil(30_000);
  clocks.aheadMs = HOUR_MS; // an hour and 30 seconds later by the wall clock
  await clocks.host.runUntil(59_999);
  assertEquals(clocks.ran, []);
  await clocks.host.runUntil(60_000);
  assertEquals(clocks.ran, ["3600 at 3660"]);
  await clocks.close();
});

Deno.test("A wall clock that goes slower than the loop's makes nothing early", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const running = loop.runForever();
  const ranAt: number[] = [];
  const wallClockMs = () => host.nowMs * 0.75;
  const job = every(SECONDS, () => ranAt.push(wallClockMs()), {
    loop,
    wallClockMs,
    maxRuns: 3,
  });
  await host.runUntil(4_100);
  assertEquals(ranAt.length, 3);
  for (const [n, ms] of ranAt.entries()) {
    assertEquals(ms >= 1_000 * (n + 1) && ms < 1_000 * (n + 1) + 1, true);
  }
  assertEquals(job.done(), true);
  loop.stop();
  await running;
  await loop.close();
});

Deno.test("A schedule that repeats its moment runs it once", async () => {
  const clocks = new TwoClocks();
  const asked: number[] = [];
  const stuck: Schedule = {
    nextRun(after) { // as if the moment asked for counted, in whole seconds
      asked.push(after.getTime());
      return new Date(Math.floor(after.getTime() / 1e3) * 1e3);
    },
  };
  clocks.aheadMs = 1_000;
  clocks.start(stuck);
  await clocks.host.runUntil(2_500);
  assertEquals(clocks.ran, ["2 at 2", "3 at 3"]);
  await clocks.close();
});

Deno.test("Without an option the wall clock of a real host is that of the machine", async () => {
  const before = Date.now();
  const asked: number[] = [];
  await run(function* () {
    const job = every({
      nextRun(after) {
        asked.push(after.getTime());
        return new Date(after.getTime() + 1e9);
      },
    }, () => {});
    yield* sleep(0);
    job.cancel();
  }, { host: "portable" });
  assertEquals(asked.length, 1);
  assertEquals(asked[0]! >= before && asked[0]! <= Date.now(), true);
});
