/**
 * The virtual clock: it moves when everything waits and nothing is under way
 * outside, by itself or by hand, and always from deadline to deadline.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import {
  type Coroutine,
  createTask,
  DeadlockError,
  EventLoop,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  type Suspension,
  ThreadPool,
  until,
  wait,
} from "../../mod.ts";
import { macrotask } from "../../src/host/macrotask.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import {
  FakeExecutor,
  runVirtual,
  VirtualClock,
} from "../../src/testing/mod.ts";
import { inStyle, type Steps, STYLES } from "../support/styles.ts";

/** A promise that some passes of the runtime settle: real work outside of any loop. */
function outside<T>(value: T, passes = 3): Promise<T> {
  return new Promise((resolve) => {
    const pass = () => passes-- > 0 ? macrotask(pass) : resolve(value);
    pass();
  });
}

const HELD = { autojump: false } as const;

for (const style of STYLES) {
  const runIn = (
    steps: (clock: VirtualClock) => ReturnType<Steps<unknown>>,
    options: { autojump?: boolean } = HELD,
  ) =>
    runVirtual(
      (clock) => inStyle(style, () => steps(clock))() as Coroutine<unknown>,
      options,
    );

  Deno.test(`advance() runs each timer at its own moment, in ${style}`, async () => {
    const log: string[] = [];
    await runIn(function* (clock) {
      const loop = getRunningLoop();
      for (const ms of [30, 10, 20, 51]) {
        loop.callLater(ms, () => log.push(`${ms} at ${loop.time()}`));
      }
      yield clock.advance(50);
      assertEquals(clock.nowMs, 50);
      assertEquals(log, ["10 at 10", "20 at 20", "30 at 30"]);
      yield clock.advance(0);
      yield clock.advance(1);
      assertEquals(log.at(-1), "51 at 51");
    });
  });

  Deno.test(`a timer made by a continuation counts from its own moment, in ${style}`, async () => {
    const log: string[] = [];
    await runIn(function* (clock) {
      const loop = getRunningLoop();
      const note = (what: string) => log.push(`${what} at ${loop.time()}`);
      // No task waits for any of these promises.
      loop.callLater(10, () => {
        Promise.resolve().then(() => {}).then(() => {
          note("continuation");
          loop.callLater(5, () => note("inner timer"));
        });
      });
      loop.callLater(20, () => note("later timer"));
      createTask(async () => {
        await sleep(10);
        await null;
        await null;
        await sleep(2.5);
        note("task");
      });
      yield clock.advance(1_000);
      assertEquals(clock.nowMs, 1_000);
    });
    assertEquals(log, [
      "continuation at 10",
      "task at 12.5",
      "inner timer at 15",
      "later timer at 20",
    ]);
  });

  Deno.test(`continuations of plain callbacks run between two timers, in ${style}`, async () => {
    const log: string[] = [];
    // Only generators and callbacks, so that the loop knows of no promise.
    await runVirtual(function* (clock) {
      const loop = getRunningLoop();
      for (const ms of [10, 11, 12]) {
        loop.callLater(ms, () => {
          Promise.resolve().then(() => {}).then(() => {
            log.push(`${ms} at ${clock.nowMs}`);
          });
        });
      }
      yield* style === "a generator" ? clock.advance(20) : sleep(20);
    }, { autojump: style !== "a generator" });
    assertEquals(log, ["10 at 10", "11 at 11", "12 at 12"]);
  });

  Deno.test(`next() goes to the next deadline and says whether there was one, in ${style}`, async () => {
    await runIn(function* (clock) {
      const loop = getRunningLoop();
      let ran = 0;
      loop.callLater(10, () => {
        ran++;
        loop.callLater(0, () => ran++); // at the same moment
        loop.callLater(7, () => ran++);
      });
      assertEquals(yield clock.next(), true);
      assertEquals([clock.nowMs, ran], [10, 2]);
      assertEquals(yield clock.next(), true);
      assertEquals([clock.nowMs, ran], [17, 3]);
      assertEquals(yield clock.next(), false);
      assertEquals(clock.nowMs, 17);
    });
  });

  Deno.test(`runAll() goes on until no timer is left, in ${style}`, async () => {
    await runIn(function* (clock) {
      const loop = getRunningLoop();
      let left = 5;
      const again = () => {
        if (--left > 0) loop.callLater(10, again);
      };
      loop.callLater(10, again);
      yield clock.runAll();
      assertEquals([left, clock.nowMs], [0, 50]);
      yield clock.runAll();
      assertEquals(clock.nowMs, 50);
    });
  });

  Deno.test(`runAll() gives up on a timer that is started again for ever, in ${style}`, async () => {
    await runIn(function* (clock) {
      const loop = getRunningLoop();
      const again = () => {
        timer = loop.callLater(10, again);
      };
      let timer = loop.callLater(10, again);
      try {
        yield clock.runAll({ momentsMax: 4 });
        assert(false, "it ended");
      } catch (error) {
        assert(error instanceof MisuseError);
        assertMatch(error.message, /after 4 moments there are more/);
      }
      timer.cancel();
      assertEquals(clock.nowMs, 40);
      yield clock.advance(1); // it can go on
    });
  });

  Deno.test(`a clock that is advanced stands still for work outside, in ${style}`, async () => {
    await runIn(function* (clock) {
      const log: string[] = [];
      const note = (what: string) => log.push(`${what} at ${clock.nowMs}`);
      createTask(function* () {
        note(yield* until(outside("until")));
      });
      createTask(async () => note(await outside("await")));
      clock.track(outside("tracked").then(note));
      const executor = new FakeExecutor();
      const job = getRunningLoop().runInExecutor(
        executor,
        () => outside("job"),
      );
      createTask(async () => note(await job));
      yield clock.advance(100);
      assertEquals(log.sort(), [
        "await at 0",
        "job at 0",
        "tracked at 0",
        "until at 0",
      ]);
    });
  });

  Deno.test(`an advance that is cancelled leaves the clock where it is, in ${style}`, async () => {
    await runIn(function* (clock) {
      const loop = getRunningLoop();
      const mover = loop.createTask(
        inStyle(style, function* () {
          yield clock.advance(100);
        }),
      );
      loop.callLater(40, () => mover.cancel());
      yield wait([mover]);
      assertEquals([mover.cancelled(), clock.nowMs], [true, 40]);
      yield clock.advance(2);
      assertEquals(clock.nowMs, 42);
    });
  });

  Deno.test(`hold() keeps the clock from jumping, also nested, in ${style}`, async () => {
    await runIn(function* (clock) {
      yield sleep(10);
      const first = clock.hold();
      const second = clock.hold();
      assertEquals(clock.autojump, false);
      let rang = false;
      getRunningLoop().callLater(5, () => rang = true);
      yield clock.advance(4);
      first[Symbol.dispose]();
      first[Symbol.dispose](); // no second time
      assertEquals([clock.autojump, rang], [false, false]);
      second[Symbol.dispose]();
      assertEquals(clock.autojump, true);
      yield sleep(1);
      assertEquals([clock.nowMs, rang], [15, true]);
    }, {});
  });
}

Deno.test("a clock is moved from outside of its loop", async () => {
  const log: number[] = [];
  const clock = new VirtualClock({ startMs: 100, autojump: false });
  const done = run(async () => {
    for (let n = 0; n < 3; n++) {
      await sleep(10);
      log.push(clock.nowMs);
    }
    return "done";
  }, { host: clock.host });
  await clock.advance(10);
  assertEquals(log, [110]);
  assertEquals(await clock.next(), true);
  assertEquals(log, [110, 120]);
  clock.autojump = true; // decides anew at once
  assertEquals(await done, "done");
  assertEquals([log, clock.nowMs], [[110, 120, 130], 130]);
});

Deno.test("a clock stands still for jobs in threads, whoever moves it", async () => {
  for (const autojump of [true, false]) {
    await runVirtual(async (clock) => {
      await using pool = new ThreadPool({ maxWorkers: 1 });
      const log: string[] = [];
      const job = pool.submit((n: number) => n + 1, [41]);
      job.addDoneCallback(() => log.push(`job at ${clock.nowMs}`));
      getRunningLoop().callLater(10, () => log.push(`timer at ${clock.nowMs}`));
      await (autojump ? sleep(100) : clock.advance(100));
      assertEquals(await job, 42);
      assertEquals(log, ["job at 0", "timer at 10"]);
      clock.autojump = true; // for the end of the pool
    }, { autojump });
  }
});

Deno.test("a deadlock is one on a clock that does not jump, too", async () => {
  await assertRejects(
    () => runVirtual(() => getRunningLoop().createFuture(), HELD),
    DeadlockError,
  );
});

Deno.test("who waits while nobody advances the clock is told after a second", async () => {
  const time = new FakeTime();
  try {
    const messages: string[] = [];
    const clock = new VirtualClock(HELD);
    const done = run(async () => {
      getRunningLoop().setExceptionHandler((_, { message }) => {
        messages.push(message);
      });
      await sleep(5);
      await sleep(7);
    }, { host: clock.host, name: "sleeper" });
    const wait = async (ms: number) => {
      await outside(null, 5);
      time.tick(ms);
    };
    await wait(999);
    assertEquals(messages, []);
    await wait(1);
    assertEquals(messages.length, 1);
    assertMatch(messages[0]!, /nothing advances the clock/);
    assertMatch(messages[0]!, /task "sleeper" waits for sleep\(\)/);
    await clock.advance(5);
    await wait(2_000); // once a run
    assertEquals(messages.length, 1);
    clock.autojump = true;
    await done;
  } finally {
    time.restore();
  }
});

Deno.test("a clock that is advanced in time says nothing", async () => {
  const time = new FakeTime();
  try {
    const reports: unknown[] = [];
    await runVirtual(async (clock) => {
      getRunningLoop().setExceptionHandler((_, context) => {
        reports.push(context);
      });
      createTask(() => sleep(100));
      for (let n = 0; n < 10; n++) {
        await clock.advance(10);
        time.tick(900);
      }
    }, HELD);
    assertEquals(reports, []);
  } finally {
    time.restore();
  }
});

Deno.test("FakeTime and a virtual clock do not move each other", async () => {
  const time = new FakeTime(1_000_000);
  try {
    await runVirtual(async (clock) => {
      let fired = 0;
      const timer = setTimeout(() => fired++, 50);
      await sleep(60_000);
      assertEquals([clock.nowMs, Date.now(), fired], [60_000, 1_000_000, 0]);
      time.tick(50);
      assertEquals([clock.nowMs, Date.now(), fired], [60_000, 1_000_050, 1]);
      clearTimeout(timer);
    });
  } finally {
    time.restore();
  }
});

Deno.test("a clock refuses what it cannot do, and has not moved", async () => {
  assertThrows(
    () => new VirtualClock({ startMs: Infinity }),
    RangeError,
    "startMs must be finite",
  );
  assertThrows(
    () => new VirtualClock({ startMs: "0" as never }),
    TypeError,
    "startMs must be a number",
  );
  assertThrows(
    () => new VirtualClock({ autojump: 1 as never }),
    TypeError,
    "autojump must be one of true, false: received 1",
  );
  await assertRejects(() => runVirtual(5 as never), TypeError, "main must be");
  await runVirtual(async (clock) => {
    await clock.advance(10);
    const bad: [call: () => unknown, type: typeof Error, message: string][] = [
      [
        () => clock.advance(-1),
        RangeError,
        "delayMs must be >= 0: received -1",
      ],
      [() => clock.advance(NaN), RangeError, "must not be NaN"],
      [() => clock.advance(Infinity), RangeError, "delayMs must be finite"],
      [() => clock.advance("1" as never), TypeError, "must be a number"],
      [
        () => clock.advanceTo(9.5),
        RangeError,
        "whenMs must be >= 10, the time now: received 9.5",
      ],
      [() => clock.advanceTo(NaN), RangeError, "must not be NaN"],
      [() => clock.advanceTo(Infinity), RangeError, "must be finite"],
      [() => clock.runAll({ momentsMax: 0 }), RangeError, "momentsMax must be"],
      [() => clock.runAll(1 as never), TypeError, "options must be"],
      [() => clock.track(1 as never), TypeError, "promise must be one"],
      [() => clock.autojump = "no" as never, TypeError, "autojump must be one"],
      [
        () => clock.openDescriptor({ capacity: -1 }),
        RangeError,
        "capacity must be",
      ],
    ];
    for (const [call, type, message] of bad) assertThrows(call, type, message);
    // In time when it is made, too late when it is awaited.
    const late = clock.advanceTo(12);
    await clock.advanceTo(12);
    await clock.advance(1);
    await assertRejects(async () => await late, RangeError, "received 12");
    assertEquals([clock.nowMs, clock.autojump], [13, false]);
  }, HELD);
});

Deno.test("advance() in a callback of the loop is refused before anything moved", async () => {
  await runVirtual(async (clock) => {
    const loop = getRunningLoop();
    const errors: unknown[] = [];
    const attempt = () => {
      for (
        const move of [
          () => clock.advance(5),
          () => clock.advanceTo(500),
          () => clock.next(),
          () => clock.runAll(),
        ]
      ) errors.push(assertThrows(move, MisuseError, "a callback of the event"));
    };
    loop.callLater(10, attempt);
    loop.callSoon(attempt);
    await clock.advance(20);
    assertEquals([errors.length, clock.nowMs], [8, 20]);
  }, HELD);
});

Deno.test("one task at a time moves a clock, and only that of its loop", async () => {
  const stranger = new VirtualClock();
  await assertRejects(
    async () => await stranger.advance(1),
    MisuseError,
    "no loop is running",
  );
  await runVirtual(async (clock) => {
    const woken = createTask(async () => {
      await sleep(10);
      await clock.advance(10);
    });
    const mover = createTask(() => clock.advance(100));
    await assertRejects(
      async () => await woken,
      MisuseError,
      "it is being advanced already",
    );
    await mover;
    assertEquals(clock.nowMs, 100);
    await assertRejects(
      async () => await stranger.advance(1),
      MisuseError,
      "not the one of this clock",
    );
    assertThrows(
      () => stranger.track(Promise.resolve()),
      MisuseError,
      "not the one of this clock",
    );
  }, HELD);
  assertEquals(stranger.nowMs, 0);
});

Deno.test("a host belongs to one loop", async () => {
  const clock = new VirtualClock();
  await using _loop = new EventLoop({ host: clock.host });
  assertThrows(() => new EventLoop({ host: clock.host }), MisuseError);
});

// -- Random programs: however the time is moved, the same happens at the same time --

const PROGRAMS = 150;

/** Plays a random program of timers, tasks and promises, and returns what happened when. */
async function play(
  seed: number,
  style: typeof STYLES[number],
  move: (
    clock: VirtualClock,
    random: SeededRandom,
  ) => Iterable<Suspension, void, unknown>,
  autojump: boolean,
): Promise<string[]> {
  const random = new SeededRandom(seed);
  const log: string[] = [];
  await runVirtual(function* (clock) {
    const loop = getRunningLoop();
    const note = (what: string) => log.push(`${what} at ${clock.nowMs}`);
    const act = (depth: number, id: string): void => {
      const delayMs = random.nextInt(6) * 2;
      const kind = random.nextInt(4);
      const next = () => {
        note(`${kind} ${id}`);
        if (depth === 0) return;
        for (let n = random.nextInt(3); n > 0; n--) {
          act(depth - 1, `${id}.${n}`);
        }
      };
      if (kind === 0) loop.callLater(delayMs, next);
      else if (kind === 1) {
        loop.callLater(delayMs, () => {
          Promise.resolve().then(() => {}).then(next);
        });
      } else {
        createTask(inStyle(style, function* () {
          yield sleep(delayMs);
          if (kind === 3) yield until(outside(null, 1));
          next();
        }));
      }
    };
    for (let n = 0; n < 4; n++) act(3, String(n));
    yield* move(clock, new SeededRandom(seed + 1));
    yield* sleep(0);
  }, { autojump });
  return log;
}

for (const style of STYLES) {
  Deno.test(`random programs run alike whoever moves the time, tasks as ${style}`, async () => {
    const base = Date.now();
    console.log(`seeds ${base} to ${base + PROGRAMS - 1}`);
    for (let seed = base; seed < base + PROGRAMS; seed++) {
      const expected = await play(seed, style, () => sleep(200), true);
      const inSteps = await play(seed, style, function* (clock, random) {
        while (clock.nowMs < 200) yield* clock.advance(random.nextInt(30));
      }, false);
      const byDeadlines = await play(seed, style, function* (clock) {
        while (yield* clock.next());
      }, false);
      const all = await play(seed, style, (clock) => clock.runAll(), false);
      assertEquals(inSteps, expected, `seed ${seed}`);
      assertEquals(byDeadlines, expected, `seed ${seed}`);
      assertEquals(all, expected, `seed ${seed}`);
    }
  });
}

for (const style of STYLES) {
  Deno.test(`tasks that are left clean up on a clock that nobody advances any more, in ${style}`, async () => {
    let cleanedUpMs = NaN;
    await runVirtual(
      (clock) =>
        inStyle(style, function* () {
          createTask(inStyle(style, function* () {
            try {
              yield sleep(10);
            } finally {
              yield sleep(5);
              cleanedUpMs = clock.nowMs;
            }
          }));
          yield sleep(0);
        })(),
      { autojump: false },
    );
    assertEquals(cleanedUpMs, 5);
  });
}
