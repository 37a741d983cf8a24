/**
 * Timers: delays of every size, order, never early, and many of them.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type EventLoop,
  newEventLoop,
  run,
  sleep,
  type TimerHandle,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { ManualHost } from "./support/manual_host.ts";
import { runTurns } from "./support/loops.ts";

const VIRTUAL = { host: "virtual" } as const;
const REAL_HOSTS = ["portable", "native", "poll"] as const;

/** A clock that goes on by a microsecond each time it is looked at. */
class CreepingHost extends ManualHost {
  parks = 0;
  /** Runs when the clock is looked at next, as a microtask. */
  meanwhile: (() => void) | null = null;

  override now(): number {
    if (this.meanwhile !== null) queueMicrotask(this.meanwhile);
    this.meanwhile = null;
    return this.nowMs += 0.001;
  }

  override park(deadlineMs: number, hold: boolean): void {
    this.parks++;
    super.park(deadlineMs, hold);
  }
}

for (
  const [what, act, log, parks] of [
    ["is waited for on the thread", () => {}, ["timer in time"], 1],
    [
      "is not waited for when its timer is moved away",
      ({ timer }) => timer.reschedule(20),
      ["timer in time"],
      2,
    ],
    [
      "does not keep what becomes ready waiting",
      ({ loop, host, log }) =>
        loop.callSoon(() => log.push(host.nowMs < 10 ? "before" : "after")),
      ["before", "timer in time"],
      1,
    ],
    [
      "does not keep a loop that is stopped from stopping",
      ({ loop }) => loop.stop(),
      [],
      1,
    ],
  ] as [
    string,
    (
      now: {
        timer: TimerHandle;
        loop: EventLoop;
        host: CreepingHost;
        log: string[];
      },
    ) => void,
    string[],
    number,
  ][]
) {
  Deno.test(`On a precise loop a deadline that is a few microseconds away ${what}`, async () => {
    const host = new CreepingHost();
    const loop = newEventLoop({ host, timerPrecision: "precise" });
    const seen: string[] = [];
    const timer = loop.callAt(10, () => {
      const lateMs = host.nowMs - timer.when();
      seen.push(lateMs >= 0 && lateMs < 0.005 ? "timer in time" : `${lateMs}`);
      loop.stop();
    });
    const end = loop.runForever();
    await host.parked();
    host.meanwhile = () => act({ timer, loop, host, log: seen });
    host.advanceTo(9.985);
    await Promise.race([end, host.parked()]);
    if (host.deadlineMs !== null) host.advanceTo(timer.when() - 0.015);
    await end;
    await loop.close();
    assertEquals(seen, log);
    assertEquals(host.parks, parks);
  });
}

Deno.test("Timers run by deadline, ties in the order in which they were scheduled", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const at = (whenMs: number, name: string) =>
    loop.callAt(whenMs, () => log.push(`${name} ${loop.time()}`));
  at(10, "a");
  at(5, "b");
  at(10, "c");
  at(5, "d");
  at(7.25, "e");
  at(10, "f");
  loop.callAt(10, () => loop.stop());
  await loop.runForever();
  assertEquals(log, ["b 5", "d 5", "e 7.25", "a 10", "c 10", "f 10"]);
});

Deno.test("Delays are not rounded", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const seen: number[] = [];
  for (const delayMs of [0.1, 0.2, 1e-9, 3.999_999, 4]) {
    loop.callLater(delayMs, () => seen.push(loop.time()));
  }
  loop.callLater(5, () => loop.stop());
  await loop.runForever();
  assertEquals(seen, [1e-9, 0.1, 0.2, 3.999_999, 4]);
});

Deno.test("A timer beyond 2^31 ms waits that long, on the virtual clock", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const seen: number[] = [];
  for (const delayMs of [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 0.5, 2 ** 40]) {
    loop.callLater(delayMs, () => seen.push(loop.time()));
  }
  loop.callAt(2 ** 41, () => loop.stop());
  await loop.runForever();
  assertEquals(seen, [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 0.5, 2 ** 40]);
});

for (const host of REAL_HOSTS) {
  Deno.test(`A timer beyond 2^31 ms does not fire at once (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const log: string[] = [];
    for (const delayMs of [2 ** 31, 2 ** 32, 2 ** 53, Infinity]) {
      loop.callLater(delayMs, () => log.push(`${delayMs}`));
    }
    loop.callLater(5, () => loop.stop());
    await loop.runForever();
    assertEquals(log, []);
    assertEquals(loop.stats().timers, 4);
  });

  Deno.test(`No timer fires before its deadline (${host})`, async () => {
    for (const timerPrecision of ["thrifty", "precise"] as const) {
      await using loop = newEventLoop({ host, timerPrecision });
      let left = 0;
      let early = 0;
      for (let number = 0; number < 300; number++) {
        left++;
        const timer = loop.callLater((number * 7919 % 3_000) / 100, () => {
          if (loop.time() < timer.when()) early++;
          if (--left === 0) loop.stop();
        });
      }
      await loop.runForever();
      assertEquals(early, 0, timerPrecision);
    }
  });

  Deno.test(`sleep() never ends early on the loop's clock (${host})`, async () => {
    await run(function* () {
      for (const delayMs of [0.05, 0.2, 1, 1.5, 3]) {
        const before = loopTime();
        yield* sleep(delayMs);
        const slept = loopTime() - before;
        assert(slept >= delayMs, `${delayMs} ms took ${slept} ms`);
      }
    }, {
      loopFactory: (options) => loopInHand = newEventLoop(options),
      host,
    });
  });
}

let loopInHand: EventLoop;
function loopTime(): number {
  return loopInHand.time();
}

Deno.test("A timer at Infinity never runs, and the others do", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callLater(Infinity, () => log.push("later"));
  loop.callAt(Infinity, () => log.push("at"));
  loop.callLater(1e12, () => loop.stop());
  await loop.runForever();
  assertEquals(log, []);
  assertEquals(loop.stats().timers, 2);
});

Deno.test("-Infinity and other moments of the past mean as soon as possible", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callLater(-Infinity, () => log.push("-Infinity"));
  loop.callAt(-10, () => log.push("at -10"));
  loop.callLater(-20, () => log.push("-20"));
  loop.callLater(5, () => log.push("moved")).reschedule(-Infinity);
  loop.callSoon(() => log.push("soon"));
  assertEquals(log, []);
  await runTurns(loop);
  assertEquals(log, ["soon", "-Infinity", "moved", "-20", "at -10"]);
  assertEquals(loop.time(), 0, "the clock does not go back");
});

Deno.test("NaN is refused and leaves no timer behind", async () => {
  await using loop = newEventLoop(VIRTUAL);
  assertThrows(
    () => loop.callLater(NaN, () => {}),
    RangeError,
    "delayMs must not be NaN",
  );
  assertThrows(
    () => loop.callAt(NaN, () => {}),
    RangeError,
    "whenMs must not be NaN",
  );
  const timer = loop.callAt(5, () => {});
  assertThrows(
    () => timer.reschedule(NaN),
    RangeError,
    "whenMs must not be NaN",
  );
  assertEquals(timer.when(), 5);
  assertEquals(loop.stats().timers, 1);
});

Deno.test("A timer set by a timer counts from when that one was due or later", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const seen: number[] = [];
  const again = () => {
    seen.push(loop.time());
    if (seen.length < 4) loop.callLater(10, again);
    else loop.stop();
  };
  loop.callLater(10, again);
  await loop.runForever();
  assertEquals(seen, [10, 20, 30, 40]);
});

Deno.test("A late loop runs all timers that are due in one turn, each once, by deadline", async () => {
  const host = new ManualHost();
  await using loop = newEventLoop({ host });
  const log: number[] = [];
  for (const whenMs of [30, 10, 20, 10.5]) {
    loop.callAt(whenMs, () => log.push(whenMs));
  }
  const ended = loop.runForever();
  await host.parked();
  assertEquals(host.deadlineMs, 10);
  const { turns } = loop.stats();
  host.advanceTo(25);
  await host.parked();
  assertEquals(log, [10, 10.5, 20]);
  assertEquals(loop.stats().turns, turns + 1);
  assertEquals(host.deadlineMs, 30);
  loop.stop();
  await ended;
});

Deno.test("A wake-up that comes too early runs nothing and waits on", async () => {
  const host = new ManualHost();
  await using loop = newEventLoop({ host });
  let ran = false;
  loop.callAt(10, () => {
    ran = true;
    loop.stop();
  });
  const ended = loop.runForever();
  await host.parked();
  for (const nowMs of [0, 5, 9.999]) {
    host.advanceTo(nowMs);
    await host.parked();
    assertEquals({ ran, deadlineMs: host.deadlineMs }, {
      ran: false,
      deadlineMs: 10,
    });
  }
  host.advanceTo(10);
  await ended;
  assertEquals(ran, true);
});

Deno.test("10,000 timers run in order, a third of them moved and a third cancelled", async () => {
  const seed = Math.floor(performance.timeOrigin) % 1_000_000_000;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  await using loop = newEventLoop(VIRTUAL);
  const expected: { whenMs: number; sequence: number; name: number }[] = [];
  const log: number[] = [];
  const timers = Array.from({ length: 10_000 }, (_, name) => {
    const whenMs = random.nextInt(500);
    return loop.callAt(whenMs, () => log.push(name));
  });
  let sequence = timers.length;
  for (const [name, timer] of timers.entries()) {
    switch (random.nextInt(3)) {
      case 0:
        timer.cancel();
        break;
      case 1:
        timer.reschedule(random.nextInt(500));
        expected.push({ whenMs: timer.when(), sequence: sequence++, name });
        break;
      case 2:
        expected.push({ whenMs: timer.when(), sequence: name, name });
    }
  }
  assertEquals(loop.stats().timers, expected.length);
  expected.sort((a, b) => a.whenMs - b.whenMs || a.sequence - b.sequence);
  loop.callAt(500, () => loop.stop());
  await loop.runForever();
  assertEquals(log, expected.map(({ name }) => name), `seed ${seed}`);
  assertEquals(loop.stats().timers, 0);
});

for (const host of REAL_HOSTS) {
  Deno.test(`10,000 timers of a real clock all run, in order and none early (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const startMs = loop.time();
    let wrong = 0;
    let early = 0;
    let lastMs = 0;
    let count = 0;
    for (let number = 0; number < 10_000; number++) {
      const whenMs = startMs + (number * 7919 % 10_000) / 200;
      loop.callAt(whenMs, () => {
        if (whenMs < lastMs) wrong++;
        if (loop.time() < whenMs) early++;
        lastMs = whenMs;
        if (++count === 10_000) loop.stop();
      });
    }
    await loop.runForever();
    assertEquals({ wrong, early, count }, {
      wrong: 0,
      early: 0,
      count: 10_000,
    });
  });
}

Deno.test("A timer fires although callbacks are always ready, on every host", async () => {
  for (const host of ["virtual", ...REAL_HOSTS] as const) {
    if (host === "virtual") continue; // time stands still while there is work
    await using loop = newEventLoop({ host });
    let turns = 0;
    const busy = () => {
      turns++;
      loop.callSoon(busy);
    };
    loop.callSoon(busy);
    loop.callLater(3, () => loop.stop());
    await loop.runForever();
    assert(turns > 0, host);
  }
});
