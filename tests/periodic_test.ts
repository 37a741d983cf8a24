/**
 * Periodic work from its start to its end: errors, cancellation, pauses, and
 * iterating. What becomes of ticks that are missed is in
 * `periodic_policies_test.ts`.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  CancelledError,
  currentTask,
  each,
  every,
  getRunningLoop,
  InvalidStateError,
  LoopClosedError,
  MisuseError,
  newEventLoop,
  type PeriodicBody,
  PeriodicTask,
  run,
  sleep,
  Task,
  TaskLocal,
  type Tick,
} from "../mod.ts";
import { collectReports, openLoop } from "./support/loops.ts";
import { ManualHost } from "./support/manual_host.ts";
import { KINDS, simulate } from "./support/periodic.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** A test whose main task runs in both styles. */
function testBoth(name: string, script: Steps<unknown>): void {
  for (const style of STYLES) {
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, script), VIRTUAL);
    });
  }
}

// -- Start and end --

testBoth(
  "every() begins in the next turn, and counts from there",
  function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const at = (name: string) => () => log.push(`${name} ${loop.time()}`);
    const later = every(10, at("later"));
    const soon = every(10, at("soon"), { immediate: true });
    loop.callSoon(at("callback"));
    assertEquals(log, []);
    yield sleep(25);
    later.cancel();
    soon.cancel();
    assertEquals(log, [
      "soon 0",
      "callback 0",
      "later 10",
      "soon 10",
      "later 20",
      "soon 20",
    ]);
  },
);

testBoth("maxRuns ends it after the last run has ended", function* () {
  const loop = getRunningLoop();
  for (const immediate of [false, true]) {
    const startMs = loop.time();
    const indices: number[] = [];
    const job = every(10, function* ({ index }) {
      indices.push(index);
      yield* sleep(3);
    }, { maxRuns: 2, immediate });
    assertEquals(yield job, undefined);
    assertEquals(indices, immediate ? [0, 1] : [1, 2]);
    assertEquals(loop.time() - startMs, immediate ? 13 : 23);
    const { runs, running, nextDueMs } = job.stats();
    assertEquals([runs, running, nextDueMs], [2, 0, null]);
    assertEquals([job.done(), job.cancelled()], [true, false]);
  }
  assertEquals(loop.stats().timers, 0);
});

Deno.test("Jobs that are made on a loop that does not run start with it", async () => {
  const { loop, reports } = openLoop();
  let runs = 0;
  const job = every(10, () => runs++, { loop, maxRuns: 3 });
  loop.callAt(25, () => loop.stop());
  await loop.runForever();
  assertEquals(runs, 2);
  await loop.runUntilComplete(job);
  assertEquals([job.done(), runs, loop.time()], [true, 3, 30]);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("Without a loop, or on a closed one, nothing starts", async () => {
  assertThrows(() => every(10, () => {}), MisuseError);
  const { loop } = openLoop();
  await loop.close();
  assertThrows(() => every(10, () => {}, { loop }), LoopClosedError);
});

testBoth(
  "It is a task with a name, and its runs are its children",
  function* () {
    const named = every(10, () => {}, { name: "heartbeat" });
    const nameless = every(2.5, () => {});
    const parents: unknown[] = [];
    const parent = every(10, function* () {
      parents.push(currentTask()!.parent);
      assertEquals(currentTask()!.name, "every(10)");
    }, { maxRuns: 2 });
    assert(named instanceof Task && named instanceof PeriodicTask);
    assertEquals([named.name, nameless.name], ["heartbeat", "every(2.5)"]);
    assertEquals(
      allTasks(getRunningLoop()).includes(named as Task<unknown>),
      true,
    );
    yield parent;
    assertEquals(parents.map((task) => task === parent), [true, true]);
    named.cancel();
    nameless.cancel();
  },
);

testBoth(
  "Runs of every kind see the task-local values of the job's creator",
  function* () {
    const local = new TaskLocal("nobody");
    const seen: string[] = [];
    const jobs: PeriodicTask[] = [];
    {
      using _creator = local.set("creator");
      jobs.push(
        every(10, () => void seen.push(local.get()), { maxRuns: 2 }),
        every(10, function* () {
          seen.push(local.get());
        }, { maxRuns: 2 }),
        every(10, async () => {
          seen.push(local.get());
        }, { maxRuns: 2 }),
      );
    }
    for (const job of jobs) yield job;
    assertEquals(seen, Array(6).fill("creator"));
  },
);

testBoth(
  "A plain function may return whatever can be waited for",
  function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const products: ((run: number) => unknown)[] = [
      () => sleep(5),
      function* () {
        yield* sleep(5);
      },
      async () => await sleep(5),
      () => loop.createTask(() => sleep(5)),
    ];
    for (const [n, product] of products.entries()) {
      const startMs = loop.time();
      let runs = 0;
      // The second run returns nothing, the others have to be waited for.
      const job = every(10, () => ++runs === 2 ? undefined : product(runs), {
        maxRuns: 3,
      });
      yield job;
      log.push(`${n} ${loop.time() - startMs}`);
    }
    assertEquals(log, ["0 35", "1 35", "2 35", "3 35"]);
  },
);

testBoth(
  "A promise that a plain function returns later on is waited for, and told by its signal",
  function* () {
    const log: string[] = [];
    let runs = 0;
    const job = every(10, ({ signal }) => {
      if (++runs < 3) return;
      return (async () => {
        await sleep(15);
        log.push(`${getRunningLoop().time()} ${signal.aborted}`);
        await sleep(15);
        log.push(`${getRunningLoop().time()} ${signal.aborted}`);
      })();
    });
    yield sleep(52);
    assertEquals([job.stats().runs, job.stats().skipped], [3, 2]);
    job.cancel();
    let caught: unknown;
    try {
      yield job;
    } catch (error) {
      caught = error;
    }
    assert(caught instanceof CancelledError);
    assertEquals(log, ["45 false", "60 true"]);
  },
);

// -- Errors --

for (const kind of KINDS) {
  Deno.test(`A run that fails is reported, and neither the job nor others stop, ${kind} body`, async () => {
    const error = new Error("broken");
    const { job, reports, ended } = await simulate({
      kind,
      takesMs: (run) => {
        if (run === 1) throw error;
        return 0;
      },
      untilMs: 45,
    });
    assertEquals(ended, ["1@10", "3@30", "4@40"]);
    assertEquals(reports.length, 1);
    assertEquals(reports[0]!.message, 'A run of task "every(10)" failed');
    assertStrictEquals(reports[0]!.exception, error);
    assertStrictEquals(reports[0]!.task, job);
    const { runs, failed, lastError, cancelled } = job.stats();
    assertEquals([runs, failed, cancelled], [4, 1, 0]);
    assertStrictEquals(lastError, error);
  });

  Deno.test(`onError "stop" ends the job, and its waiter gets the error, ${kind} body`, async () => {
    const error = new Error("broken");
    const waited: unknown[] = [];
    const { job, reports, began } = await simulate({
      kind,
      takesMs: (run) => {
        if (run === 1) throw error;
        return 0;
      },
      options: { onError: "stop" },
      prepare: (job) => {
        job.addDoneCallback(() => waited.push(job.exception()));
      },
      untilMs: 45,
    });
    assertEquals(began, ["1@10", "2@20"]);
    assertEquals([waited.length, reports], [1, []]);
    assertStrictEquals(waited[0], error);
    assertEquals(job.stats().failed, 1);
  });
}

Deno.test('The error of onError "stop" is reported, once, if nobody waits', async () => {
  const error = new Error("broken");
  const { reports } = await simulate({
    kind: "plain",
    takesMs: () => {
      throw error;
    },
    options: { onError: "stop" },
    untilMs: 45,
  });
  assertEquals(reports.map(({ exception }) => exception), [error]);
});

testBoth(
  "What fails before the body begins is a run that fails",
  function* () {
    const loop = getRunningLoop();
    const reports = collectReports(loop);
    const nothing = undefined as unknown as { field: number };
    const job = every(10, function* (_tick, { field } = nothing) {
      yield* sleep(field);
    } as PeriodicBody);
    yield sleep(25);
    assertEquals([job.stats().runs, job.stats().failed], [2, 2]);
    assertEquals(
      reports.map(({ exception }) => exception instanceof TypeError),
      [true, true],
    );
    job.cancel();
  },
);

testBoth(
  "A wall clock that stops telling the time ends the job",
  function* () {
    const loop = getRunningLoop();
    let broken = false;
    const schedule = {
      nextRun: (after: Date) => new Date(after.getTime() + 10),
    };
    const job = every(schedule, () => {
      broken = true;
    }, { wallClockMs: () => broken ? NaN : loop.time() });
    let caught: unknown;
    try {
      yield job;
    } catch (error) {
      caught = error;
    }
    assert(caught instanceof TypeError);
    assertEquals(
      caught.message,
      "Cannot read the wall clock as wallClockMs must return a finite number: received NaN",
    );
    assertEquals([job.stats().runs, loop.time()], [1, 10]);
  },
);

testBoth(
  "onError is told of error and tick; what it throws ends the job",
  function* () {
    const reports = collectReports(getRunningLoop());
    const told: [unknown, number][] = [];
    const job = every(10, ({ index }) => {
      throw index;
    }, {
      onError: (error, tick) => {
        told.push([error, tick.index]);
        if (tick.index === 3) throw new Error("enough");
      },
    });
    let caught: unknown;
    try {
      yield job;
    } catch (error) {
      caught = error;
    }
    assertEquals((caught as Error).message, "enough");
    assertEquals(told, [[1, 1], [2, 2], [3, 3]]);
    assertEquals(reports, []);
  },
);

testBoth(
  "The other runs are cancelled when one stops the job, and may fail then",
  function* () {
    const reports = collectReports(getRunningLoop());
    const log: string[] = [];
    const cleanUp = async (index: number) => {
      await sleep(5);
      log.push(`cleaned up ${index} at ${getRunningLoop().time()}`);
      if (index === 2) throw new Error("second");
    };
    const job = every(10, async ({ index }) => {
      if (index === 3) throw new Error("first");
      try {
        await sleep(1_000);
      } finally {
        await cleanUp(index);
      }
    }, { overrun: "concurrent", onError: "stop" });
    let caught: unknown;
    try {
      yield job;
    } catch (error) {
      caught = error;
    }
    assertEquals((caught as Error).message, "first");
    assertEquals(log, ["cleaned up 1 at 35", "cleaned up 2 at 35"]);
    assertEquals(
      reports.map(({ exception }) => (exception as Error).message),
      ["second"],
    );
    assertEquals([job.stats().failed, job.stats().cancelled], [2, 1]);
  },
);

testBoth(
  "A schedule that throws, or goes wrong, ends the job with the error",
  function* () {
    const moments = [new Date(10), new Date(20)];
    const broken = new Error("no more");
    const job = every({
      nextRun() {
        const moment = moments.shift();
        if (moment === undefined) throw broken;
        return moment;
      },
    }, () => {});
    let caught: unknown;
    try {
      yield job;
    } catch (error) {
      caught = error;
    }
    assertStrictEquals(caught, broken);
    assertEquals(job.stats().runs, 1);
    assertThrows(
      () =>
        every({
          nextRun() {
            throw broken;
          },
        }, () => {}),
      Error,
      "no more",
    );
  },
);

// -- Cancellation --

for (const kind of KINDS) {
  Deno.test(`A job that is cancelled in its own body stops at once, ${kind} body`, async () => {
    for (const overrun of ["skip", "queue", "concurrent"] as const) {
      const waited: unknown[] = [];
      let job: PeriodicTask | undefined;
      const course = await simulate({
        kind,
        takesMs: (run) => {
          if (run === 1) job!.cancel("enough");
          return kind === "plain" ? 0 : 1;
        },
        options: { overrun },
        prepare: (made) => {
          job = made;
          job.addDoneCallback(() => {
            waited.push(assertThrows(() => made.result(), CancelledError));
          });
        },
        untilMs: 100,
      });
      assertEquals(course.began, ["1@10", "2@20"]);
      // What waits is cancelled where it waits; a plain function comes to its end.
      const atEnd = kind === "plain" ? ["1@10", "2@20"] : ["1@11"];
      assertEquals(course.ended, atEnd);
      assertEquals(
        waited.map((error) => (error as CancelledError).reason),
        ["enough"],
      );
      assertEquals(course.job.stats().cancelled, kind === "plain" ? 0 : 1);
      assertEquals(course.reports, []);
    }
  });
}

testBoth(
  "cancel() ends runs, which clean up first, and drops what is in line",
  function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const job = every(10, async ({ index }) => {
      log.push(`begin ${index}`);
      try {
        await sleep(1_000);
      } finally {
        await sleep(7);
        log.push(`cleaned up at ${loop.time()}`);
      }
    }, { overrun: "queue" });
    yield sleep(35);
    assertEquals([job.stats().running, job.stats().queued], [1, 2]);
    assertEquals(job.cancel("over"), true);
    assertEquals([job.stats().running, job.stats().queued], [1, 0]);
    assertEquals(job.done(), false);
    let caught: unknown;
    try {
      yield job;
    } catch (error) {
      caught = error;
    }
    assert(caught instanceof CancelledError);
    assertEquals([caught.reason, loop.time()], ["over", 42]);
    assertEquals(log, ["begin 1", "cleaned up at 42"]);
    assertEquals([job.cancel(), job.cancelled()], [false, true]);
  },
);

testBoth(
  "Whoever is cancelled while waiting for a job takes it along",
  function* () {
    const loop = getRunningLoop();
    const job = every(10, () => {});
    const waiter = loop.createTask(function* () {
      yield* job;
    });
    yield sleep(15);
    waiter.cancel();
    yield sleep(1);
    assertEquals([job.cancelled(), waiter.cancelled()], [true, true]);
    assertEquals([job.stats().runs, loop.stats().timers], [1, 0]);
  },
);

testBoth(
  "A signal cancels it, with its reason, before the start as well",
  function* () {
    const loop = getRunningLoop();
    let runs = 0;
    for (const when of ["before", "at once", "later"] as const) {
      const controller = new AbortController();
      if (when === "before") controller.abort("gone");
      const job = every(10, () => runs++, {
        signal: controller.signal,
        immediate: when === "at once",
      });
      if (when === "at once") controller.abort("gone");
      if (when === "later") {
        yield sleep(25);
        controller.abort("gone");
      }
      let caught: unknown;
      try {
        yield job;
      } catch (error) {
        caught = error;
      }
      assert(caught instanceof CancelledError, when);
      assertEquals(caught.reason, "gone", when);
      assertEquals(loop.stats().timers, 0);
    }
    assertEquals(runs, 2);
  },
);

testBoth("using cancels it at the end of the block", function* () {
  let runs = 0;
  let kept: PeriodicTask;
  {
    using job = every(10, () => runs++);
    kept = job;
    yield sleep(35);
  }
  yield sleep(35);
  assertEquals([runs, kept.cancelled()], [3, true]);
});

Deno.test("The end of run() cancels jobs and their runs, and nothing is left", async () => {
  const log: string[] = [];
  await run(function* () {
    every(10, function* () {
      try {
        yield* sleep(1_000);
      } finally {
        yield* sleep(15);
        log.push(`cleaned up at ${getRunningLoop().time()}`);
      }
    });
    every(5, () => log.push("tick"));
    yield* sleep(12);
  }, VIRTUAL);
  assertEquals(log, ["tick", "tick", "cleaned up at 27"]);
});

Deno.test("A loop that is closed ends its jobs and names them", async () => {
  const { loop, reports } = openLoop();
  const job = every(10, () => {}, { loop, name: "left" });
  loop.callAt(25, () => loop.stop());
  await loop.runForever();
  await loop.close();
  assertEquals(
    reports.map(({ message }) => message),
    [
      'Task "left" was destroyed while it waited for its last run: its event loop was closed',
    ],
  );
  assertThrows(() => job.result(), CancelledError);
});

testBoth(
  "cancel-previous: the next run begins when the one before has cleaned up",
  function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const job = every(10, async ({ index }) => {
      log.push(`begin ${index} at ${loop.time()}`);
      try {
        await sleep(index === 4 ? 1 : 1_000);
        log.push(`end ${index} at ${loop.time()}`);
      } finally {
        if (index === 1) await sleep(25);
      }
    }, { overrun: "cancel-previous" });
    yield sleep(48);
    job.cancel();
    // Ticks 2 and 3 come while the first run cleans up: only the last one is kept.
    assertEquals(log, [
      "begin 1 at 10",
      "begin 4 at 45",
      "end 4 at 46",
    ]);
    assertEquals([job.stats().cancelled, job.stats().skipped], [1, 2]);
  },
);

testBoth("tick.signal aborts with the run, whatever the body is", function* () {
  const aborted: string[] = [];
  const listen = (name: string, { signal }: Tick) => {
    signal.addEventListener(
      "abort",
      () => aborted.push(`${name}: ${signal.reason.message}`),
    );
  };
  const jobs = [
    every(10, (tick) => listen("plain", tick)),
    every(10, function* (tick) {
      listen("generator", tick);
      yield* sleep(100);
    }),
    every(10, async (tick) => {
      await sleep(1);
      listen("async", tick);
      await sleep(100);
    }),
  ];
  yield sleep(25);
  for (const job of jobs) job.cancel("bye");
  // The first run of the plain function has ended, the second was called by the job.
  assertEquals(aborted, [
    "plain: Cancelled: bye",
    "generator: Cancelled: bye",
    "async: Cancelled: bye",
  ]);
});

// -- Pausing, triggering, rescheduling --

testBoth(
  "pause() and resume() keep the grid and bring no burst, unless asked",
  function* () {
    const loop = getRunningLoop();
    for (
      const [missedTicks, expected] of [
        ["skip", [10, 20, 60, 70]],
        ["delay", [10, 20, 65, 75]],
        ["burst", [10, 20, 55, 55, 55, 60, 70]],
      ] as const
    ) {
      const startMs = loop.time();
      const ranAt: number[] = [];
      const job = every(10, () => ranAt.push(loop.time() - startMs), {
        missedTicks,
      });
      yield sleep(25);
      job.pause();
      job.pause();
      assertEquals(job.stats().nextDueMs, null);
      yield sleep(30);
      job.resume();
      job.resume();
      yield sleep(21);
      job.cancel();
      assertEquals(ranAt, [...expected], missedTicks);
      assertEquals(job.stats().skipped, 0, missedTicks);
    }
  },
);

testBoth(
  "A short pause in which nothing was due changes nothing",
  function* () {
    const loop = getRunningLoop();
    for (const missedTicks of ["skip", "delay", "burst"] as const) {
      const startMs = loop.time();
      const ranAt: number[] = [];
      const job = every(10, () => ranAt.push(loop.time() - startMs), {
        missedTicks,
      });
      job.pause(); // before it has started
      yield sleep(3);
      job.resume();
      yield sleep(22);
      job.cancel();
      assertEquals(ranAt, [10, 20]);
    }
  },
);

testBoth(
  "What is in line while it is paused begins after resume()",
  function* () {
    const loop = getRunningLoop();
    const began: string[] = [];
    const job = every(10, function* ({ index }) {
      began.push(`${index} at ${loop.time()}`);
      yield* sleep(25);
    }, { overrun: "queue" });
    yield sleep(22);
    job.pause();
    yield sleep(28);
    assertEquals([job.stats().running, job.stats().queued], [0, 1]);
    job.resume();
    yield sleep(9);
    job.cancel();
    assertEquals(began, ["1 at 10", "2 at 50"]);
  },
);

testBoth(
  "trigger() runs it once more, and overrun decides if that is too soon",
  function* () {
    const loop = getRunningLoop();
    for (
      const [overrun, expected] of [
        ["skip", ["-1 at 0", "1 at 10"]],
        ["queue", ["-1 at 0", "1 at 10", "-1 at 16"]],
        ["concurrent", ["-1 at 0", "1 at 10", "-1 at 12"]],
        ["cancel-previous", ["-1 at 0", "1 at 10", "-1 at 12"]],
      ] as const
    ) {
      const startMs = loop.time();
      const began: string[] = [];
      const job = every(10, function* (tick) {
        assertEquals(tick.triggered, tick.index === -1);
        began.push(`${tick.index} at ${loop.time() - startMs}`);
        yield* sleep(6);
      }, { overrun });
      job.trigger();
      assertEquals(began, []);
      yield sleep(12);
      job.trigger();
      yield sleep(7);
      job.cancel();
      assertEquals(began, [...expected], overrun);
    }
  },
);

testBoth(
  "trigger() works while it is paused, and counts for maxRuns",
  function* () {
    let runs = 0;
    const job = every(10, () => runs++, { maxRuns: 2 });
    job.pause();
    job.trigger();
    job.trigger();
    job.trigger(); // one too many: it does not run
    yield job;
    assertEquals([runs, getRunningLoop().time()], [2, 0]);
  },
);

testBoth(
  "reschedule() counts from now, in and out of a run, and numbers go on",
  function* () {
    const loop = getRunningLoop();
    const ran: string[] = [];
    const job = every(10, (tick) => {
      ran.push(`${tick.index} at ${loop.time()}`);
      if (tick.index === 2) tick.job.reschedule(7);
    });
    yield sleep(36);
    job.reschedule(100);
    yield sleep(100);
    job.reschedule({ nextRun: (after) => new Date(after.getTime() + 1_000) });
    yield sleep(1_000);
    job.cancel();
    assertEquals(ran, [
      "1 at 10",
      "2 at 20",
      "3 at 27",
      "4 at 34",
      "5 at 136",
      "6 at 1136",
    ]);
  },
);

testBoth(
  "What has ended cannot be paused, resumed, triggered or rescheduled",
  function* () {
    const job = every(10, () => {}, { maxRuns: 1 });
    yield job;
    for (const name of ["pause", "resume", "trigger"] as const) {
      const error = assertThrows(() => job[name](), InvalidStateError);
      assertEquals(
        error.message,
        `Cannot ${name} a periodic task: no tick of "every(10)" will come any more`,
      );
    }
    assertThrows(() => job.reschedule(5), InvalidStateError);
    assertEquals(job.cancel(), false);
  },
);

// -- Timers --

testBoth(
  "Jitter puts ticks off within its bound, the same for the same seed",
  function* () {
    const loop = getRunningLoop();
    const course = function* (seed: number | undefined) {
      const startMs = loop.time();
      const delays: number[] = [];
      const job = every(16, ({ index, dueMs, lateMs }) => {
        assertEquals([loop.time(), lateMs], [dueMs, 0]);
        delays.push(dueMs - startMs - 16 * index);
      }, { jitterMs: 4, seed, maxRuns: 50 });
      yield job;
      assert(delays.every((delayMs) => delayMs >= 0 && delayMs < 4));
      assert(Math.max(...delays) - Math.min(...delays) > 2);
      return delays.map((delayMs) => delayMs.toFixed(6));
    };
    const first: string[] = yield* course(1);
    assertEquals(yield* course(1), first);
    assert((yield* course(2))[0] !== first[0]);
    const unseeded = [yield* course(undefined), yield* course(undefined)];
    assert(unseeded[0]![0] !== unseeded[1]![0]);
  },
);

/** How often the clock is read at a moment at which so many jobs are due. */
async function readingsOf(jobs: number): Promise<number> {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  for (let job = 0; job < jobs; job++) every(10, () => {}, { loop });
  const running = loop.runForever();
  await host.runUntil(25);
  let readings = 0;
  host.now = () => {
    readings++;
    return host.nowMs;
  };
  await host.runUntil(35);
  const counted = readings;
  for (const task of allTasks(loop)) task.cancel();
  loop.callSoon(() => loop.stop());
  host.advanceTo(36);
  await running;
  await loop.close();
  return counted;
}

Deno.test("Of ticks in a row each begins with what the clock said after the one before", async () => {
  assertEquals(await readingsOf(40) - await readingsOf(10), 30);
});

Deno.test("What runs between two ticks of a moment makes the second one late", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const reports = collectReports(loop);
  const log: string[] = [];
  const busy = (name: string, ms: number) => {
    log.push(`${name} at ${host.nowMs}`);
    host.nowMs += ms;
  };
  const job = (name: string, ms: number, between?: (tick: Tick) => void) =>
    every(10, (tick) => {
      if (tick.dueMs < 20) return between?.(tick); // that one is a task
      log.push(`${name} ${tick.lateMs} late`);
      between?.(tick);
      host.nowMs += ms;
    }, { loop, maxRuns: 3 });
  const jobs = [
    job("a", 1),
    // Scheduled before the next tick of b, and thus after that of a.
    job("b", 2, ({ dueMs }) => {
      if (dueMs < 30) loop.callAt(dueMs + 10, busy, "callback", 3);
    }),
    job("c", 0, ({ dueMs }) => {
      if (dueMs < 30) {
        loop.callAt(dueMs + 10, () => {
          busy("failing", 0.5);
          throw new Error("as it should");
        });
      }
    }),
    job("d", 0),
  ];
  for (const job of jobs) job.unref(); // so that each has a timer
  const running = loop.runForever();
  await host.runUntil(30);
  for (const job of jobs) await job;
  loop.stop();
  host.advanceTo(40);
  await running;
  await loop.close();
  const moment = (ms: number) => [
    "a 0 late",
    `callback at ${ms + 1}`,
    "b 4 late",
    `failing at ${ms + 6}`,
    "c 6.5 late",
    "d 6.5 late",
  ];
  assertEquals(log, [...moment(20), ...moment(30)]);
  assertEquals(reports.length, 2);
});

Deno.test("10,000 jobs are one deadline of the host, and one timer of the loop", async () => {
  const host = new ManualHost();
  let parks = 0;
  const park = host.park.bind(host);
  host.park = (deadlineMs, hold) => {
    parks++;
    park(deadlineMs, hold);
  };
  const loop = newEventLoop({ host });
  let runs = 0;
  const jobs = Array.from(
    { length: 10_000 },
    () => every(10, () => runs++, { loop }),
  );
  const running = loop.runForever();
  await host.runUntil(45);
  assertEquals([runs, loop.stats().timers], [40_000, 1]);
  const parksOfMany = parks;
  assert(parksOfMany <= 6, `${parksOfMany} parks for 4 moments`);
  for (const job of jobs) job.cancel();
  host.advanceTo(45);
  await host.parked();
  assertEquals([loop.stats().timers, loop.stats().tasks], [0, 0]);
  loop.stop();
  await running;
  await loop.close();
});

Deno.test("A job keeps the process alive like a timer, unless it is paused or unref'ed", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  const job = every(10, () => {}, { loop });
  const running = loop.runForever();
  const holds = async (change: () => void) => {
    change();
    loop.callSoon(() => {});
    await host.parked();
    return host.holds;
  };
  await host.parked();
  assertEquals(host.holds, true);
  assertEquals(await holds(() => job.pause()), false);
  assertEquals(await holds(() => job.resume()), true);
  assertEquals(await holds(() => job.unref()), false);
  await host.runUntil(25);
  assertEquals([host.holds, job.stats().runs], [false, 2]);
  assertEquals(await holds(() => job.ref()), true);
  assertEquals(await holds(() => job.cancel()), false);
  loop.stop();
  await running;
  await loop.close();
});

testBoth(
  "An interval far beyond 2^31 ms is kept to the millisecond",
  function* () {
    const loop = getRunningLoop();
    const yearMs = 365 * 24 * 3_600_000;
    const ranAt: number[] = [];
    yield every(yearMs, () => ranAt.push(loop.time()), { maxRuns: 3 });
    assertEquals(ranAt, [yearMs, 2 * yearMs, 3 * yearMs]);
  },
);

testBoth(
  "With a priority each run is a task that waits its turn",
  function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const job = every(10, () => {
      log.push(`run of ${currentTask()?.parent?.name}`);
    }, { priority: "background" });
    loop.callAt(10, () => log.push("at 10"));
    loop.callAt(20, () => log.push("at 20"));
    assertEquals(job.priority, -10);
    yield sleep(25);
    job.cancel();
    assertEquals(log, [
      "at 10",
      "run of every(10)",
      "at 20",
      "run of every(10)",
    ]);
    assertEquals(every(5, () => {}, { maxRuns: 1 }).priority, 0);
  },
);

// -- Iterating --

for (const style of STYLES) {
  /** Goes through the ticks of a job; `body` may stop. */
  const iterate = (
    job: PeriodicTask,
    body: (tick: Tick) => number | "stop",
  ) =>
    style === "a generator"
      ? function* () {
        yield* each(job, function* (tick, stop) {
          const ms = body(tick);
          if (ms === "stop") stop();
          else if (ms > 0) yield* sleep(ms);
        });
      }
      : async () => {
        for await (const tick of job) {
          const ms = body(tick);
          if (ms === "stop") break;
          if (ms > 0) await sleep(ms);
        }
      };

  Deno.test(`Ticks are iterated, and leaving cancels the job (${style})`, async () => {
    await run(async () => {
      const loop = getRunningLoop();
      const at: string[] = [];
      const job = every(10, { immediate: true });
      await loop.createTask(iterate(job, ({ index }) => {
        at.push(`${index} at ${loop.time()}`);
        return index === 3 ? "stop" : 1;
      }));
      assertEquals(at, ["0 at 0", "1 at 10", "2 at 20", "3 at 30"]);
      await sleep(0);
      assertEquals([job.cancelled(), loop.stats().timers], [true, 0]);
    }, VIRTUAL);
  });

  Deno.test(`A slow consumer follows missedTicks (${style})`, async () => {
    await run(async () => {
      const loop = getRunningLoop();
      for (
        const [missedTicks, expected] of [
          ["skip", "1@10 2@35 4@40 5@50"],
          ["burst", "1@10 2@35 3@35 4@40"],
          ["delay", "1@10 2@35 3@45 4@55"],
        ] as const
      ) {
        const startMs = loop.time();
        const at: string[] = [];
        const job = every(10, { missedTicks, maxRuns: 4 });
        await loop.createTask(iterate(job, ({ index }) => {
          at.push(`${index}@${loop.time() - startMs}`);
          return index === 1 ? 25 : 0;
        }));
        assertEquals(at.join(" "), expected, missedTicks);
        await job; // it has ended well
        assertEquals(job.stats().runs, 4);
      }
    }, VIRTUAL);
  });

  Deno.test(`An error, or the cancellation of the consumer, cancels the job (${style})`, async () => {
    await run(async () => {
      const loop = getRunningLoop();
      const failing = every(10);
      const error = await assertRejects(async () =>
        await loop.createTask(iterate(failing, () => {
          throw new Error("broken");
        }))
      );
      assertEquals((error as Error).message, "broken");
      const left = every(10);
      const consumer = loop.createTask(iterate(left, () => 0));
      await sleep(15);
      consumer.cancel();
      await sleep(1);
      assertEquals(
        [failing, left, consumer].map((task) => task.cancelled()),
        [true, true, true],
      );
      assertEquals(loop.stats().timers, 0);
    }, VIRTUAL);
  });

  Deno.test(`Who iterates learns how the job ends (${style})`, async () => {
    await run(async () => {
      const loop = getRunningLoop();
      for (const when of ["before", "while"] as const) {
        const job = every(10);
        const consumer = loop.createTask(iterate(job, () => 0));
        if (when === "while") await sleep(15);
        job.cancel("over");
        const error = await assertRejects(async () => await consumer);
        assert(error instanceof CancelledError);
        assertEquals(error.reason, "over");
      }
      const moments = [new Date(loop.time() + 5)];
      const broken = every({
        nextRun() {
          const moment = moments.shift();
          if (moment === undefined) throw new Error("no more");
          return moment;
        },
      });
      const error = await assertRejects(async () =>
        await loop.createTask(iterate(broken, () => 0))
      );
      assertEquals((error as Error).message, "no more");
    }, VIRTUAL);
  });

  Deno.test(`Triggered ticks, pauses and other intervals reach who iterates (${style})`, async () => {
    await run(async () => {
      const loop = getRunningLoop();
      const at: string[] = [];
      const job = every(10);
      job.trigger();
      loop.callAt(12, () => job.trigger());
      loop.callAt(25, () => job.pause());
      loop.callAt(55, () => job.resume());
      loop.callAt(65, () => job.reschedule(3));
      await loop.createTask(iterate(job, ({ index }) => {
        at.push(`${index}@${loop.time()}`);
        return index === 8 ? "stop" : 0;
      }));
      assertEquals(at.join(" "), "-1@0 1@10 -1@12 2@20 6@60 7@68 8@71");
    }, VIRTUAL);
  });
}

testBoth(
  "A job with a function cannot be iterated, nor one by two at a time",
  function* () {
    const loop = getRunningLoop();
    const busy = every(10, () => {});
    assertThrows(
      () => busy[Symbol.asyncIterator](),
      MisuseError,
      "it has a function to run",
    );
    const job = every(10);
    const first = loop.createTask(function* () {
      yield* each(job, () => {});
    });
    yield sleep(1);
    const second = loop.createTask(function* () {
      yield* each(job, () => {});
    });
    yield sleep(1);
    assert(second.exception() instanceof MisuseError);
    // It was not let in, so it has not left either.
    yield sleep(1);
    assertEquals([first.done(), job.cancelling()], [false, 0]);
    first.cancel();
    yield sleep(1);
    assertEquals([first.cancelled(), job.cancelled()], [true, true]);
    busy.cancel();
  },
);
