/**
 * Jobs that tick together: in which order, what else gets a turn in between, and
 * that each of them does what it would do alone.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  EventLoop,
  every,
  type MissedTicks,
  newEventLoop,
  type OverrunPolicy,
  type PeriodicTask,
  sleep,
  type Tick,
} from "../mod.ts";
import { macrotask } from "../src/host/macrotask.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { collectReports, ObservedLoop } from "./support/loops.ts";
import { ManualHost } from "./support/manual_host.ts";

Deno.test("Jobs on one grid run in the order in which they were armed, before what else is due then", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const log: string[] = [];
  const jobs = ["a", "b", "c"].map((name) =>
    every(10, ({ index, dueMs }) => {
      log.push(`${name}${index}`);
      if (name === "b" && index < 3) {
        loop.callAt(dueMs + 10, () => log.push("callback"));
      }
    }, { loop, name })
  );
  const running = loop.runForever();
  await host.runUntil(25);
  // Who comes back is the last: it was armed last.
  jobs[0]!.pause();
  jobs[0]!.resume();
  await host.runUntil(45);
  assertEquals(log, [
    ...["a1", "b1", "c1"],
    // The timer was set after the first of them was armed for that moment, and
    // before the last.
    ...["a2", "b2", "c2", "callback"],
    ...["b3", "c3", "a3", "callback"],
    ...["b4", "c4", "a4"],
  ]);
  assertEquals(loop.stats().timers, 1);
  for (const job of jobs) job.cancel();
  loop.stop();
  host.advanceTo(50);
  await running;
  await loop.close();
});

Deno.test("Different intervals, and starts in different turns, have timers of their own", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const count = () => loop.stats().timers;
  const jobs: PeriodicTask[] = [];
  const add = (...made: PeriodicTask[]) => jobs.push(...made);
  const nothing = () => {};
  const running = loop.runForever();
  await host.runUntil(1);
  add(every(10, nothing, { loop }), every(10, nothing, { loop }));
  host.advanceTo(1);
  await host.runUntil(1);
  assertEquals(count(), 1);
  add(every(20, nothing, { loop }), every(10, nothing, { loop }));
  await host.runUntil(2);
  assertEquals(count(), 3);
  const ofTheirOwn = [
    every(10, nothing, { loop, jitterMs: 1 }),
    every(10, nothing, { loop, missedTicks: "delay" }),
    every(10, nothing, { loop, priority: "background" }),
  ];
  add(...ofTheirOwn);
  await host.runUntil(3);
  assertEquals(count(), 6);
  jobs[0]!.unref();
  assertEquals(count(), 7);
  for (const job of jobs) job.cancel();
  assertEquals(count(), 0);
  loop.stop();
  host.advanceTo(3);
  await running;
  await loop.close();
});

Deno.test("The gate opens between ticks of one moment, and nothing else gets in between", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const log: string[] = [];
  const cameAt: number[] = [];
  const jobs = Array.from({ length: 600 }, (_, n) =>
    every(100, ({ index }) => {
      if (index < 2) return; // that one is a task
      if (n === 0) {
        loop.callSoon(() => log.push("next turn"));
        const pass = () => {
          if (cameAt.push(log.length) < 1_000) macrotask(pass);
        };
        macrotask(pass);
      }
      log.push(`${n}`);
      host.nowMs += 0.05;
    }, { loop }));
  const running = loop.runForever();
  await host.runUntil(225);
  for (const job of jobs) job.cancel();
  host.advanceTo(230);
  await host.parked();
  loop.stop();
  await running;
  await loop.close();
  assertEquals(log, [...jobs.map((_, n) => `${n}`), "next turn"]);
  const between = new Set(cameAt.filter((ticks) => ticks < 600));
  assert(between.size >= 5, `let through after ${[...between]} of 600 ticks`);
});

Deno.test("Who is paused, ended, moved or triggered by another one of the same moment", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const log: string[] = [];
  const jobs: PeriodicTask[] = [];
  const acts: Record<number, () => void> = {
    2: () => jobs[1]!.pause(),
    3: () => jobs[2]!.cancel(),
    4: () => jobs[3]!.reschedule(7),
    5: () => jobs[1]!.resume(),
    6: () => jobs[4]!.trigger(),
  };
  for (const name of ["a", "b", "c", "d", "e"]) {
    jobs.push(every(10, ({ index }) => {
      log.push(`${name}${index}@${loop.time()}`);
      if (name === "a") acts[index]?.();
    }, { loop, name }));
  }
  assertEquals(jobs[1]!.stats().nextDueMs, 10);
  const running = loop.runForever();
  await host.runUntil(25);
  assertEquals(jobs[1]!.stats().nextDueMs, null);
  assertEquals(jobs[2]!.stats().nextDueMs, 30);
  await host.runUntil(61);
  const of = (name: string) => log.filter((entry) => entry.startsWith(name));
  assertEquals(of("a"), [1, 2, 3, 4, 5, 6].map((k) => `a${k}@${k * 10}`));
  // Paused while the tick of 20 was due; back on the grid when 50 had just come.
  assertEquals(of("b"), ["b1@10", "b5@50", "b6@60"]);
  assertEquals(of("c"), ["c1@10", "c2@20"]);
  assertEquals(of("d"), ["d1@10", "d2@20", "d3@30", "d4@47", "d5@54", "d6@61"]);
  assertEquals(of("e"), [
    ...[1, 2, 3, 4, 5, 6].map((k) => `e${k}@${k * 10}`),
    "e-1@60",
  ]);
  for (const job of jobs) job.cancel();
  loop.stop();
  host.advanceTo(70);
  await running;
  await loop.close();
});

Deno.test("The last one of a moment may be ended by the first", async () => {
  await using loop = new EventLoop({ host: "virtual" });
  const log: string[] = [];
  const first = every(10, ({ index }) => {
    log.push(`first ${index}`);
    if (index === 2) second.cancel();
  }, { loop, maxRuns: 4 });
  const second = every(10, ({ index }) => log.push(`second ${index}`), {
    loop,
  });
  await loop.runUntilComplete(first);
  assertEquals(log, [
    ...["first 1", "second 1", "first 2", "first 3", "first 4"],
  ]);
});

Deno.test("On a virtual host each tick counts for the gate", async () => {
  await using loop = new EventLoop({ host: "virtual" });
  const jobs = Array.from(
    { length: 200 },
    () => every(10, () => {}, { loop, maxRuns: 500 }),
  );
  let passes = 0;
  const pass = () => {
    passes++;
    if (!loop.isClosed()) macrotask(pass);
  };
  macrotask(pass);
  for (const job of jobs) await loop.runUntilComplete(job);
  // 100,000 ticks; each opening of the gate takes many passes.
  assert(passes > 500, `${passes} passes`);
});

/** What may happen to one of the jobs at a moment. */
const DEEDS: readonly ((job: PeriodicTask) => void)[] = [
  (job) => job.pause(),
  (job) => job.resume(),
  (job) => job.trigger(),
  (job) => job.reschedule(10),
  (job) => job.reschedule(6.5),
  (job) => job.unref(),
  (job) => job.cancel(),
];

/** Runs a random course of events, and gives what each job did. */
async function courseOf(
  seed: number,
  makeLoop: (host: ManualHost) => EventLoop,
): Promise<unknown[]> {
  const random = new SeededRandom(seed);
  const below = (count: number) => Math.floor(random.next() * count);
  const host = new ManualHost();
  const loop = makeLoop(host);
  const reports = collectReports(loop);
  const missed: MissedTicks[] = ["skip", "burst", "delay"];
  const overrun: OverrunPolicy[] = [
    "skip",
    "queue",
    "concurrent",
    "cancel-previous",
  ];
  const logs: string[][] = [];
  const order: string[] = [];
  const make = () => {
    const log: string[] = [];
    const number = logs.push(log);
    const takesMs = below(3) === 0 ? below(25) : 0;
    const fails = below(6) === 0;
    const deeds = new SeededRandom(below(1e6));
    const options = {
      loop,
      missedTicks: missed[below(3)]!,
      overrun: overrun[below(4)]!,
      immediate: below(4) === 0,
      maxRuns: below(4) === 0 ? 1 + below(5) : Infinity,
    };
    const note = (tick: Tick) => {
      log.push(`${tick.index}@${loop.time()}+${tick.lateMs}-${tick.skipped}`);
      order.push(`${number}@${loop.time()}`);
      for (let count = 0; count < 2 && deeds.next() < 0.2; count++) {
        try {
          DEEDS[Math.floor(deeds.next() * DEEDS.length)]!(tick.job);
        } catch (error) {
          log.push((error as Error).name);
        }
      }
      if (fails && tick.index % 3 === 0) throw new Error("as it should");
    };
    const interval = [5, 10, 20][below(3)]!;
    return takesMs === 0
      ? every(interval, note, options)
      : every(interval, function* (tick) {
        note(tick);
        yield* sleep(takesMs);
      }, options);
  };
  const jobs = Array.from({ length: 12 }, make);
  const running = loop.runForever();
  for (let atMs = 0; atMs < 200;) {
    // Mostly on the way between ticks, and sometimes right at one; sometimes the
    // thread is busy for longer than an interval.
    const stepMs = below(4) === 0 ? 10 - atMs % 10 : 0.5 + below(60) / 4;
    atMs += stepMs;
    if (below(5) === 0) host.advanceTo(atMs);
    await host.runUntil(atMs);
    for (let count = below(3); count > 0; count--) {
      const job = jobs[below(jobs.length)]!;
      const deed = DEEDS[below(DEEDS.length)]!;
      try {
        deed(job);
      } catch (error) {
        logs[jobs.indexOf(job)]!.push((error as Error).name);
      }
    }
    if (below(6) === 0) jobs.push(make());
  }
  const course = jobs.map((job, n) => {
    const { runs, late, maxLateMs, skipped, failed, cancelled, nextDueMs } = job
      .stats();
    return [
      logs[n],
      { runs, late, maxLateMs, skipped, failed, cancelled, nextDueMs },
    ];
  });
  for (const job of jobs) job.cancel();
  await Promise.all([
    Promise.allSettled(jobs),
    host.runUntil(host.nowMs + 100),
  ]);
  assertEquals(loop.stats().timers, 0);
  loop.stop();
  host.advanceTo(host.nowMs + 1);
  await running;
  await loop.close();
  return [course, order, reports.length];
}

Deno.test("Jobs do the same, in the same order, in company, alone and in debug mode", async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const together = await courseOf(seed, (host) => new EventLoop({ host }));
    const alone = await courseOf(seed, (host) => new ObservedLoop({ host }));
    assertEquals(together, alone, `seed ${seed}`);
    if (seed % 5 > 0) continue; // it takes stacks, which is slow
    const debugged = await courseOf(
      seed,
      (host) => new EventLoop({ host, debug: true, slowCallbackMs: Infinity }),
    );
    assertEquals(together, debugged, `seed ${seed} in debug mode`);
  }
});
