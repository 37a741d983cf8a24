/**
 * ConcurrencyLimit.run(): who begins when, what becomes of those who do not, and
 * that no slot is ever lost.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  CancelledError,
  ConcurrencyLimit,
  currentTask,
  gather,
  getRunningLoop,
  type Job,
  MisuseError,
  OverloadError,
  type OverloadStrategy,
  run,
  sleep,
  type Task,
  TaskLocal,
  timeout,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { collectReports, openLoop } from "./support/loops.ts";
import { inStyle, outcomeOf, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Styled = <T>(steps: Steps<T>) => () => Generator<never, T> | Promise<T>;

/** A test that runs in both styles; `styled` makes functions of the same style. */
function testBoth(name: string, script: (styled: Styled) => Script): void {
  for (const style of STYLES) {
    const styled = ((steps: Steps<unknown>) => inStyle(style, steps)) as Styled;
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(styled)), VIRTUAL);
    });
  }
}

/** What has to hold whatever happens: slots in use are those of who runs. */
function assertConserved(limit: ConcurrencyLimit): void {
  const { size, used, running, peak } = limit.stats();
  assert(used >= running, `${used} slots for ${running} jobs`);
  assert(peak >= used && size >= 1);
}

/** A limit that nobody uses any more must have everything back. */
function assertIdle(limit: ConcurrencyLimit): void {
  const { used, running, pending, blocked } = limit.stats();
  assertEquals({ used, running, pending, blocked }, {
    used: 0,
    running: 0,
    pending: 0,
    blocked: 0,
  });
}

// -- Order --

testBoth(
  "Jobs begin in the order in which they came, so many at once",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(2);
    const log: string[] = [];
    const jobs = ["a", "b", "c", "d", "e"].map((name) =>
      limit.run(styled(function* () {
        log.push(`${loop.time()} ${name}`);
        yield sleep(10);
        return name;
      }))
    );
    assertEquals(log, [], "nothing runs inside run()");
    const names: unknown[] = [];
    for (const job of jobs) names.push(yield job);
    assertEquals(names, ["a", "b", "c", "d", "e"]);
    assertEquals(log, ["0 a", "0 b", "10 c", "10 d", "20 e"]);
    const { peak, done } = limit.stats();
    assertEquals([peak, done], [2, 5]);
    assertIdle(limit);
  },
);

testBoth(
  "The higher priority goes first, and first come, first served among equals",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const log: string[] = [];
    const add = (name: string, priority?: number) =>
      limit.run(
        styled(function* () {
          log.push(name);
          yield sleep(1);
        }),
        { priority },
      );
    add("first");
    for (const [name, priority] of [["a", 1], ["b", 2], ["c", 1], ["d", 3]]) {
      add(name as string, priority as number);
    }
    limit.run(
      styled(function* () {
        log.push("background");
      }),
      { priority: "background" },
    );
    add("default");
    yield limit.onIdle();
    assertEquals(log, ["first", "d", "b", "a", "c", "default", "background"]);
  },
);

testBoth(
  "A heavy job is not overtaken by light ones behind it",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(3);
    const log: string[] = [];
    const add = (name: string, weight: number) =>
      limit.run(
        styled(function* () {
          log.push(`${loop.time()} ${name} ${limit.stats().used}`);
          yield sleep(10);
        }),
        { weight, name },
      );
    add("light 1", 1);
    add("light 2", 1);
    add("heavy", 3);
    add("light 3", 1);
    yield limit.onIdle();
    assertEquals(log, [
      "0 light 1 2",
      "0 light 2 2",
      "10 heavy 3",
      "20 light 3 1",
    ]);
  },
);

testBoth("setPriority() moves a job in line", function* (styled) {
  const limit = new ConcurrencyLimit(1);
  const log: string[] = [];
  const add = (name: string) =>
    limit.run(styled(function* () {
      log.push(name);
      yield sleep(1);
    }));
  const first = add("first");
  add("a");
  add("b");
  const c = add("c");
  assertEquals([c.phase, c.setPriority("user-blocking")], ["pending", true]);
  assertEquals([c.priority, first.phase], [10, "running"]);
  assertEquals(first.setPriority(5), false);
  yield limit.onIdle();
  assertEquals(log, ["first", "c", "a", "b"]);
  assertEquals([c.phase, c.setPriority(1)], ["done", false]);
});

Deno.test("Jobs of different kinds begin in the order in which they get their slots", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(2);
    const log: string[] = [];
    const coroutine = (name: string) =>
      function* () {
        log.push(name);
        yield* sleep(10);
      };
    const kinds = {
      coroutine,
      async: (name: string) => async () => {
        log.push(name);
        await sleep(10);
      },
      plain: (name: string) => () => log.push(name),
      // The task of such a job is not used again.
      known: (name: string) =>
        function* () {
          currentTask();
          yield* coroutine(name)();
        },
    };
    const names = Object.keys(kinds) as (keyof typeof kinds)[];
    const random = new SeededRandom(3);
    const expected: string[] = [];
    for (let n = 0; n < 200; n++) {
      const kind = names[random.nextInt(names.length)]!;
      const name = `${n} ${kind}`;
      expected.push(name);
      limit.run<unknown>(kinds[kind](name));
    }
    await limit.onIdle();
    assertEquals(log, expected);
  }, VIRTUAL);
});

// -- What a job is --

Deno.test("A job may be a generator, async or plain function, or give an operation, a coroutine or a future", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const future = getRunningLoop().createFuture<number>();
    future.setResult(6);
    const jobs: Job<number>[] = [
      limit.run(function* () {
        yield* sleep(1);
        return 1;
      }),
      limit.run(async () => {
        await sleep(1);
        return 2;
      }),
      limit.run(() => 3),
      limit.run(() => sleep(1, { value: 4 })),
      limit.run(() =>
        (function* () {
          yield* sleep(1);
          return 5;
        })()
      ),
      limit.run(() => future),
    ];
    const results: number[] = [];
    for (const job of jobs) results.push(await job);
    assertEquals(results, [1, 2, 3, 4, 5, 6]);
  }, VIRTUAL);
});

testBoth(
  "A job has the task-local values of who asked for it, and hands none to the next",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const name = new TaskLocal("none");
    const seen: string[] = [];
    const add = () =>
      limit.run(styled(function* () {
        seen.push(name.get());
        name.set("of a job");
        yield sleep(1);
      }));
    name.set("a");
    add();
    name.set("b");
    add();
    add();
    yield limit.onIdle();
    assertEquals(seen, ["a", "b", "b"]);
    assertEquals(name.get(), "b");
  },
);

testBoth(
  "A task that a job has got hold of is not used for others",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const tasks: (Task<unknown> | null)[] = [];
    for (let n = 0; n < 3; n++) {
      limit.run(
        styled(function* () {
          tasks.push(currentTask());
          yield sleep(1);
        }),
        { name: `job ${n}` },
      );
    }
    yield limit.onIdle();
    assertEquals(new Set(tasks).size, 3);
    assertEquals(tasks.map((task) => task?.name), ["job 0", "job 1", "job 2"]);
    // Cancelled late, it hurts nobody.
    const later = limit.run(styled(function* () {
      yield sleep(5);
      return "fine";
    }));
    yield sleep(1);
    for (const task of tasks) assertEquals(task!.cancel(), false);
    assertEquals(yield later, "fine");
  },
);

Deno.test("What a job leaves running in its task ends with it, and not with the next job", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const log: string[] = [];
    const first = limit.run(async () => {
      const late = async () => {
        await sleep(50);
        log.push("late");
      };
      await Promise.race([late(), sleep(1)]);
      return "first";
    });
    const second = limit.run(() => sleep(100, { value: "second" }));
    assertEquals([await first, await second], ["first", "second"]);
    assertEquals(log, []);
    assertIdle(limit);
  }, VIRTUAL);
});

testBoth(
  "A job that has swallowed its cancellation hands none of it to the next",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const deaf = limit.run(styled(function* () {
      try {
        yield sleep(10);
      } catch {
        // It goes on all the same.
      }
      return "deaf";
    }));
    const next = limit.run(styled(function* () {
      const requests = currentTask()!.cancelling();
      yield sleep(1);
      return requests;
    }));
    yield sleep(1);
    deaf.cancel();
    assertEquals([yield deaf, yield next], ["deaf", 0]);
  },
);

Deno.test("One that was cancelled before its first step does not slow down the others", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1);
    limit.run(() => {}).cancel();
    const turns: number[] = [];
    for (let n = 0; n < 3; n++) {
      limit.run(() => {
        turns.push(loop.stats().turns);
      });
    }
    await limit.onIdle();
    assertEquals(turns, [turns[0]!, turns[0]!, turns[0]!]);
  }, VIRTUAL);
});

/** A signal that counts its listeners. */
class CountedSignal {
  readonly controller = new AbortController();
  listeners = 0;

  get signal(): AbortSignal {
    const { signal } = this.controller;
    const { addEventListener, removeEventListener } = AbortSignal.prototype;
    signal.addEventListener = (...args: unknown[]) => {
      this.listeners++;
      addEventListener.apply(signal, args as never);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      this.listeners--;
      removeEventListener.apply(signal, args as never);
    };
    return signal;
  }
}

for (
  const how of ["ends", "fails", "is cancelled", "is cleared", "is dropped"]
) {
  Deno.test(`Nothing is left on the signal of a job that ${how}`, async () => {
    await run(async () => {
      const limit = new ConcurrencyLimit(1, {
        highWaterMark: 1,
        overload: "drop-newest",
      });
      const counted = new CountedSignal();
      const { signal } = counted;
      if (how !== "ends" && how !== "fails") limit.run(() => sleep(1));
      if (how === "is dropped") limit.run(() => sleep(1));
      const job = limit.run(() => {
        if (how === "fails") throw new Error("as it should");
      }, { signal });
      assertEquals(counted.listeners, how === "is dropped" ? 0 : 1);
      if (how === "is cancelled") job.cancel();
      if (how === "is cleared") limit.clear();
      await limit.onIdle();
      assertEquals([job.done(), counted.listeners], [true, 0]);
      if (job.failed()) job.exception();
    }, VIRTUAL);
  });
}

// -- Cancellation --

testBoth(
  "A job that is cancelled in line leaves it at once, and the next moves up",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const log: string[] = [];
    const add = (name: string) =>
      limit.run(styled(function* () {
        log.push(name);
        yield sleep(1);
      }));
    add("a");
    const b = add("b");
    add("c");
    assertEquals(b.cancel("not needed"), true);
    assertEquals([b.done(), b.cancelled(), limit.pending], [true, true, 1]);
    assertEquals(b.cancel(), false);
    yield limit.onIdle();
    assertEquals(log, ["a", "c"]);
    assertEquals(limit.stats().cancelled, 1);
  },
);

testBoth(
  "A heavy job that is cancelled at the head lets the light ones begin",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    const work = styled(function* () {
      yield sleep(10);
    });
    limit.run(work);
    const heavy = limit.run(work, { weight: 2 });
    const light = limit.run(work);
    assertEquals(light.phase, "pending");
    heavy.cancel();
    assertEquals(light.phase, "running");
    yield limit.onIdle();
    assertEquals(getRunningLoop().time(), 10);
  },
);

testBoth(
  "Cancelling a running job cancels its task, and frees the slot when that has cleaned up",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1);
    const log: string[] = [];
    const job = limit.run(styled(function* () {
      try {
        yield sleep(1_000);
      } finally {
        yield sleep(5);
        log.push(`${loop.time()} cleaned up`);
      }
    }));
    limit.run(styled(function* () {
      log.push(`${loop.time()} next`);
    }));
    yield sleep(10);
    assertEquals(job.cancel("stop"), true);
    assertEquals([job.done(), limit.pending], [false, 1]);
    yield limit.onIdle();
    assertEquals(log, ["15 cleaned up", "15 next"]);
    assertEquals(outcomeOf(job), "cancelled: Cancelled: stop");
  },
);

testBoth(
  "A task that waits for a job takes it along when it is cancelled",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const loop = getRunningLoop();
    const blocker = limit.run(styled(function* () {
      yield sleep(100);
    }));
    for (const which of ["in line", "running"]) {
      let job: Job<unknown>;
      const waiting = loop.createTask(styled(function* () {
        job = limit.run(styled(function* () {
          yield sleep(1_000);
        }));
        yield job;
      }));
      yield sleep(1);
      if (which === "running") {
        blocker.cancel();
        yield sleep(1);
      }
      waiting.cancel("along");
      yield sleep(1);
      assertEquals(
        [waiting.cancelled(), job!.cancelled()],
        [true, true],
        which,
      );
    }
    assertIdle(limit);
  },
);

testBoth(
  "A signal cancels a job in line or running, and is let go of",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const controller = new AbortController();
    const { signal } = controller;
    const work = styled(function* () {
      yield sleep(100);
    });
    const jobs = [1, 2].map(() => limit.run(work, { signal }));
    const other = limit.run(work);
    yield sleep(1);
    controller.abort(new Error("enough"));
    assertEquals(jobs[1]!.cancelled(), true);
    yield sleep(1);
    assertEquals(outcomeOf(jobs[0]!), "cancelled: Cancelled: enough");
    assertEquals(other.phase, "running");
    const late = limit.run(work, { signal });
    assertEquals([late.cancelled(), limit.pending], [true, 0]);
    yield other;
    assertIdle(limit);
  },
);

/** Cancels a job at each of the points where it can be, one run for each. */
for (const style of STYLES) {
  Deno.test(`A slot is never lost, wherever jobs are cancelled (${style})`, async () => {
    let points = 0;
    for (let point = 0; point < 40; point++) {
      for (const victim of [0, 1, 2, 3]) {
        await run(async () => {
          const limit = new ConcurrencyLimit(2);
          const jobs = [1, 2, 3, 4, 5].map((n) =>
            limit.run(
              inStyle(style, function* () {
                yield sleep(0);
                assertConserved(limit);
                try {
                  yield sleep(n % 2);
                } finally {
                  yield sleep(0);
                }
                return n;
              }),
              n === 3 ? { weight: 2 } : {},
            )
          );
          for (let turn = 0; turn < point; turn++) await sleep(0);
          if (jobs[victim]!.cancel()) points++;
          assertConserved(limit);
          await limit.onIdle();
          assertIdle(limit);
          const { done, cancelled } = limit.stats();
          assertEquals(done + cancelled, 5);
          const probe = limit.run(() => "runs", { weight: 2 });
          assertEquals(await probe, "runs");
        }, VIRTUAL);
      }
    }
    assert(points > 20, `only ${points} points`);
  });
}

testBoth(
  "A slot that is on its way to a job goes on if that is cancelled in the same turn",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    let began = 0;
    const work = styled(function* () {
      began++;
      yield sleep(1);
    });
    for (const inTurn of [0, 1, 2, 3]) {
      const first = limit.run(work);
      const second = limit.run(work);
      const third = limit.run(work);
      for (let turn = 0; turn < inTurn; turn++) yield sleep(0);
      first.cancel();
      second.cancel();
      yield third;
      assertIdle(limit);
    }
    assert(began >= 4);
  },
);

// -- Errors --

testBoth(
  "An error goes to who waits for the job, and the limit goes on",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const job = limit.run(styled(function* () {
      yield sleep(1);
      throw new Error("broken");
    }));
    const next = limit.run(() => "next");
    let message = "";
    try {
      yield job;
    } catch (error) {
      message = (error as Error).message;
    }
    assertEquals([message, yield next], ["broken", "next"]);
    assertEquals(limit.stats().failed, 1);
  },
);

Deno.test("An error that nobody looks at is reported once", async () => {
  const { loop, reports } = openLoop();
  await loop.runUntilComplete(async () => {
    const limit = new ConcurrencyLimit(2, {
      highWaterMark: 0,
      overload: "drop-newest",
    });
    limit.run(() => {
      throw new Error("plain");
    }, { name: "plain" });
    limit.run(async () => {
      await sleep(1);
      throw new Error("async");
    });
    limit.run(() => "dropped", { name: "newcomer" });
    limit.run(() => "cancelled").cancel();
    await limit.onIdle();
  });
  await loop.close();
  assertEquals(
    reports.map(({ exception }) => (exception as Error).message).sort(),
    [
      "Cannot keep a job in line: 0 jobs are in line already",
      "Cannot keep a job in line: 0 jobs are in line already",
      "async",
      "plain",
    ],
  );
});

Deno.test("The result of a job is for its function to set", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const job = limit.run(() => 5, { name: "five" });
    assertThrows(() => job.setResult(6), MisuseError, 'job "five"');
    assertThrows(() => job.setException(new Error()), MisuseError);
    assertEquals([await job, job.name, String(job)], [
      5,
      "five",
      "[object Job]",
    ]);
  }, VIRTUAL);
});

// -- Inside of a slot --

testBoth(
  "A job that asks for another slot of its own limit is told at once",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    const loop = getRunningLoop();
    const other = new ConcurrencyLimit(1);
    const refused = styled(function* () {
      assertThrows(() => limit.run(() => 1), MisuseError, "in a slot");
      let message = "";
      try {
        yield limit.map([1], (n) => n);
      } catch (error) {
        assertInstanceOf(error, MisuseError);
        message = error.message;
      }
      assert(message.startsWith("Cannot map over a source: "), message);
      return "told";
    });
    assertEquals(yield limit.run(refused), "told");
    // A task that the job has made, and a job of another limit.
    assertEquals(
      yield limit.run(styled(function* () {
        const nested = yield loop.createTask(refused);
        return [nested, yield other.run(refused)];
      })),
      ["told", "told"],
    );
    // The item of a map.
    assertEquals(yield limit.map([1], refused), ["told"]);
    assertIdle(limit);
    assertEquals(yield limit.run(() => "outside again"), "outside again");
  },
);

testBoth(
  "A detached job may be put in line from inside, but not waited for there",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const log: string[] = [];
    const visit = (depth: number): void => {
      limit.run(
        styled(function* () {
          log.push(`visit ${depth}`);
          yield sleep(1);
          if (depth < 3) visit(depth + 1);
        }),
        { detached: true },
      );
    };
    visit(1);
    yield limit.onIdle();
    assertEquals(log, ["visit 1", "visit 2", "visit 3"]);
    let inner: Job<string>;
    yield limit.run(styled(function* () {
      inner = limit.run(() => "inner", { detached: true });
      try {
        yield inner;
      } catch (error) {
        assertInstanceOf(error, MisuseError);
        log.push(error.message.slice(0, 21));
      }
    }));
    assertEquals(yield inner!, "inner");
    assertEquals(log.at(-1), "Cannot wait for a job");
  },
);

testBoth(
  "A job is told that it cannot wait for the end of all jobs, and a task that it has left behind can",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    const loop = getRunningLoop();
    let left: Task<string>;
    const job = styled(function* () {
      try {
        yield limit.onIdle();
      } catch (error) {
        assertInstanceOf(error, MisuseError);
        left = loop.createTask(styled(function* () {
          yield limit.onIdle();
          return "idle";
        }));
        yield sleep(1);
        return error.message;
      }
      return "waited for itself";
    });
    const told = "Cannot wait until a limit is idle: the current task is a " +
      "job of it, and would wait for itself";
    assertEquals(yield limit.run(job), told);
    assertEquals(yield left!, "idle");
    assertEquals(yield limit.map([1], job), [told]);
    assertEquals(yield left!, "idle");
    // A job of another limit may.
    const other = new ConcurrencyLimit(1);
    yield other.run(styled(function* () {
      yield limit.onIdle();
    }));
  },
);

Deno.test("A task that outlives its job may use the limit again", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    let late: Task<string> | undefined;
    const first = limit.run(async () => {
      late = getRunningLoop().createTask(async () => {
        await sleep(10);
        return await limit.run(() => "allowed");
      });
      await sleep(1);
    });
    // In a task of its own, or the late one would seem to be inside of it.
    const busy = limit.run(() => sleep(50));
    await first;
    assertEquals(await late, "allowed");
    await busy;
  }, VIRTUAL);
});

Deno.test("A callback inside of a job belongs to no task, and may put jobs in line", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    let inner: Job<string> | undefined;
    await limit.run(async () => {
      getRunningLoop().callSoon(() => {
        inner = limit.run(() => "inner");
      });
      await sleep(1);
    });
    assertEquals(await inner, "inner");
  }, VIRTUAL);
});

// -- Size, pause, clear --

testBoth(
  "resize() down lets those that run go on; up lets the right number begin",
  function* (styled) {
    const limit = new ConcurrencyLimit(4);
    const work = styled(function* () {
      yield sleep(10);
    });
    for (let n = 0; n < 12; n++) limit.run(work);
    assertEquals([limit.running, limit.pending], [4, 8]);
    limit.resize(2);
    assertEquals([limit.running, limit.pending, limit.size], [4, 8, 2]);
    yield sleep(11);
    assertEquals([limit.running, limit.pending], [2, 6]);
    limit.resize(5);
    assertEquals([limit.running, limit.pending], [5, 3]);
    limit.resize(1);
    limit.resize(6);
    assertEquals([limit.running, limit.pending], [6, 2]);
    yield limit.onIdle();
    assertEquals(limit.stats().done, 12);
  },
);

testBoth(
  "A job that has become too heavy runs alone",
  function* (styled) {
    const limit = new ConcurrencyLimit(3);
    const log: string[] = [];
    const add = (name: string, weight: number) =>
      limit.run(
        styled(function* () {
          log.push(`${name} ${limit.running}`);
          yield sleep(1);
        }),
        { weight },
      );
    add("first", 1);
    add("heavy", 3);
    add("last", 1);
    limit.resize(2);
    yield limit.onIdle();
    assertEquals(log, ["first 1", "heavy 1", "last 1"]);
  },
);

testBoth(
  "pause() lets nobody begin until resume()",
  function* (styled) {
    const limit = new ConcurrencyLimit(1);
    const work = styled(function* () {
      yield sleep(1);
    });
    const first = limit.run(work);
    limit.pause();
    limit.run(work);
    yield first;
    yield sleep(5);
    assertEquals([limit.paused, limit.running, limit.pending], [true, 0, 1]);
    limit.resume();
    assertEquals([limit.paused, limit.running, limit.pending], [false, 1, 0]);
    yield limit.onIdle();
  },
);

testBoth(
  "clear() rejects everybody who has not begun, and leaves the others",
  function* (styled) {
    const limit = new ConcurrencyLimit(1, { highWaterMark: 2 });
    const loop = getRunningLoop();
    const jobs = [1, 2, 3, 4, 5].map((n) =>
      limit.run(styled(function* () {
        yield sleep(1);
        return n;
      }))
    );
    const waiting = jobs.map((job) =>
      loop.createTask(styled(function* () {
        return yield job;
      }))
    );
    yield sleep(0);
    assertEquals([limit.pending, limit.stats().blocked], [4, 2]);
    assertEquals(limit.clear("closing down"), 4);
    assertEquals([limit.pending, limit.running, limit.clear()], [0, 1, 0]);
    yield sleep(5);
    const cancelled = "cancelled: Cancelled: closing down";
    assertEquals(
      waiting.map(outcomeOf),
      ["result: 1", cancelled, cancelled, cancelled, cancelled],
    );
    assertEquals(limit.stats().dropped, 4);
    assertIdle(limit);
  },
);

Deno.test("Jobs in line end with the tasks of the loop, and never begin", async () => {
  const { loop, reports } = openLoop();
  const began: number[] = [];
  const jobs: Job<void>[] = [];
  await run(async () => {
    collectReports(getRunningLoop());
    const limit = new ConcurrencyLimit(1);
    for (let n = 0; n < 5; n++) {
      jobs.push(limit.run(async () => {
        began.push(n);
        await sleep(10);
      }));
    }
    await sleep(1);
    assertEquals(allTasks(getRunningLoop()).length, 3);
  }, { loopFactory: () => loop });
  assertEquals(began, [0]);
  assertEquals(jobs.map((job) => job.cancelled()), new Array(5).fill(true));
  assertEquals(reports, []);
});

Deno.test("Whoever cancels all tasks of a loop ends the jobs in line, more than once", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1);
    limit.pause();
    for (const round of [1, 2]) {
      const jobs = [1, 2].map(() => limit.run(() => sleep(1)));
      for (const task of allTasks(loop)) {
        if (task !== currentTask()) task.cancel(`round ${round}`);
      }
      const added = limit.run(() => sleep(1));
      assertEquals(
        jobs.map(outcomeOf),
        new Array(2).fill(`cancelled: Cancelled: round ${round}`),
      );
      assertEquals([added.phase, limit.pending], ["pending", 1]);
      for (const task of allTasks(loop)) {
        if (task !== currentTask()) task.cancel();
      }
      assertEquals([added.cancelled(), limit.pending], [true, 0]);
    }
    limit.resume();
    await limit.onIdle();
  }, VIRTUAL);
});

Deno.test("A limit can be used on one loop after the other, not on two", async () => {
  const limit = new ConcurrencyLimit(1);
  for (const n of [1, 2]) {
    assertEquals(
      await run(async () => await limit.run(() => sleep(1, { value: n })), {
        host: "virtual",
      }),
      n,
    );
  }
  const one = openLoop().loop;
  const two = openLoop().loop;
  const release = one.createFuture<void>();
  const left: Job<void>[] = [];
  await one.runUntilComplete(async () => {
    left.push(limit.run(() => release), limit.run(() => {}));
    await sleep(1);
  });
  await two.runUntilComplete(async () => {
    assertThrows(
      () => limit.run(() => 1),
      MisuseError,
      "another event loop",
    );
    await sleep(0);
  });
  await one.close();
  await two.runUntilComplete(async () => {
    assertEquals(await limit.run(() => "anew"), "anew");
  });
  assertEquals(left[1]!.cancelled(), true);
  assertIdle(limit);
  await two.close();
});

// -- Waiting for the limit --

testBoth(
  "onIdle() and onSizeBelow() wait until it is so",
  function* (styled) {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1);
    const { turns } = loop.stats();
    yield limit.onIdle();
    yield limit.onSizeBelow(1);
    assert(loop.stats().turns - turns <= 1, "nothing to wait for");
    const work = styled(function* () {
      yield sleep(10);
    });
    for (let n = 0; n < 5; n++) limit.run(work);
    const times: string[] = [];
    for (const below of [1, 3]) {
      loop.createTask(styled(function* () {
        yield limit.onSizeBelow(below);
        times.push(`${below}: ${loop.time()} ${limit.pending}`);
      }));
    }
    yield limit.onIdle();
    times.push(`idle: ${loop.time()}`);
    assertEquals(times, ["3: 20 2", "1: 40 0", "idle: 50"]);
    const controller = new AbortController();
    limit.run(work);
    const waiting = loop.createTask(styled(function* () {
      yield limit.onIdle({ signal: controller.signal });
    }));
    yield sleep(1);
    controller.abort(new Error("enough"));
    yield sleep(1);
    assertEquals(outcomeOf(waiting), "failed: enough");
    yield limit.onIdle();
  },
);

// -- Overload --

interface OverloadCase {
  readonly overload: OverloadStrategy;
  /** Priorities of the jobs; the first runs, two may stand in line. */
  readonly priorities: readonly number[];
  /** The indices of those that ran, in order. */
  readonly ran: readonly number[];
  readonly dropped: readonly number[];
}

const OVERLOADS: readonly OverloadCase[] = [
  {
    overload: "block",
    priorities: [0, 0, 0, 5, 0],
    ran: [0, 1, 3, 2, 4],
    dropped: [],
  },
  {
    overload: "reject",
    priorities: [0, 0, 0, 5, 0],
    ran: [0, 1, 2],
    dropped: [3, 4],
  },
  {
    overload: "drop-oldest",
    priorities: [0, 0, 0, 0],
    ran: [0, 2, 3],
    dropped: [1],
  },
  {
    overload: "drop-oldest",
    priorities: [0, 1, 0, 2, 1],
    ran: [0, 3, 4],
    dropped: [2, 1],
  },
  {
    overload: "drop-oldest",
    priorities: [0, 1, 1, 0],
    ran: [0, 1, 2],
    dropped: [3],
  },
  {
    overload: "drop-newest",
    priorities: [0, 0, 0, 0],
    ran: [0, 1, 2],
    dropped: [3],
  },
  {
    overload: "drop-newest",
    priorities: [0, 0, 0, 1],
    ran: [0, 3, 1],
    dropped: [2],
  },
  {
    overload: "drop-newest",
    priorities: [0, 1, 1, 0],
    ran: [0, 1, 2],
    dropped: [3],
  },
];

for (const { overload, priorities, ran, dropped } of OVERLOADS) {
  Deno.test(`overload "${overload}" with priorities ${priorities.join(" ")}`, async () => {
    await run(async () => {
      const limit = new ConcurrencyLimit(1, { highWaterMark: 2, overload });
      const log: number[] = [];
      const lost: number[] = [];
      const jobs = priorities.map((priority, n) => {
        try {
          return limit.run(async () => {
            log.push(n);
            await sleep(1);
          }, { priority });
        } catch (error) {
          assertInstanceOf(error, OverloadError);
          lost.push(n);
          return null;
        }
      });
      assertEquals(limit.pending <= 2 || overload === "block", true);
      await limit.onIdle();
      assertEquals(log, ran);
      jobs.forEach((job, n) => {
        if (job?.failed() !== true) return;
        assertInstanceOf(job.exception(), OverloadError);
        lost.push(n);
      });
      assertEquals(lost.sort(), [...dropped].sort());
      assertEquals(limit.stats().dropped, dropped.length);
      assertIdle(limit);
    }, VIRTUAL);
  });
}

testBoth(
  "With no room in line at all, jobs at the door still get their slots in order",
  function* (styled) {
    const limit = new ConcurrencyLimit(1, { highWaterMark: 0 });
    const log: number[] = [];
    for (let n = 0; n < 4; n++) {
      limit.run(
        styled(function* () {
          log.push(n);
          yield sleep(1);
        }),
        { priority: n },
      );
    }
    assertEquals(limit.stats().blocked, 3);
    yield limit.onIdle();
    assertEquals(log, [0, 1, 2, 3]);
  },
);

// -- With others --

testBoth(
  "gather() and timeout() wait for jobs",
  function* (styled) {
    const limit = new ConcurrencyLimit(2);
    const work = (n: number) =>
      styled(function* () {
        yield sleep(n);
        return n;
      });
    const jobs = [3, 2, 1].map((n) => limit.run(work(n)));
    assertEquals(yield gather(jobs), [3, 2, 1]);
    const slow = limit.run(work(1_000));
    let timedOut = false;
    try {
      yield timeout(10, () => slow);
    } catch {
      timedOut = true;
    }
    assertEquals([timedOut, slow.cancelled()], [true, true]);
    assertIdle(limit);
  },
);

for (const size of [1, 4]) {
  Deno.test(`Functions that never wait leave the loop its turns, ${size} at once`, async () => {
    await run(async () => {
      const limit = new ConcurrencyLimit(size);
      let ticks = 0;
      const ticker = getRunningLoop().createTask(function* () {
        for (;;) {
          ticks++;
          yield* sleep(0);
        }
      });
      const bodies = [() => 1, async () => 1, function* () {
        return 1;
      }];
      for (const body of bodies) {
        const before = ticks;
        for (let n = 0; n < 2_000; n++) limit.run<number>(body);
        await limit.onIdle();
        assert(ticks - before > 10, `${ticks - before} turns`);
      }
      ticker.cancel();
    }, VIRTUAL);
  });
}

Deno.test("100,000 jobs may share one signal, and stand in line", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const controller = new AbortController();
    const { signal } = controller;
    limit.pause();
    const jobs = Array.from(
      { length: 100_000 },
      (_, n) => limit.run(() => n, { signal, priority: n % 7 }),
    );
    assertEquals(limit.pending, 100_000);
    controller.abort();
    assertEquals(limit.pending, 0);
    assert(jobs.every((job) => job.cancelled()));
    limit.resume();
    await limit.onIdle();
  }, VIRTUAL);
});

// -- A model --

/** One job of the model, which keeps a plain list of all in line. */
interface Model {
  readonly id: number;
  readonly weight: number;
  priority: number;
  arrival: number;
  state: "pending" | "running" | "ended";
}

for (let seed = 1; seed <= 60; seed++) {
  const style = STYLES[seed % 2]!;
  Deno.test(`The line agrees with a plain list, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    await run(async () => {
      const limit = new ConcurrencyLimit(3);
      const began: number[] = [];
      const models: Model[] = [];
      const jobs: Job<void>[] = [];
      const releases: (() => void)[] = [];
      const loop = getRunningLoop();
      let size = 3;
      let paused = false;
      let arrivals = 0;
      const expected: number[] = [];
      const pump = () => {
        for (;;) {
          const running = models.filter(({ state }) => state === "running");
          const used = running.reduce((sum, { weight }) => sum + weight, 0);
          const [next] = models.filter(({ state }) => state === "pending")
            .sort((a, b) => b.priority - a.priority || a.arrival - b.arrival);
          if (next === undefined || paused) return;
          if (used + next.weight > size && used > 0) return;
          next.state = "running";
          expected.push(next.id);
        }
      };
      for (let step = 0; step < 120; step++) {
        const id = models.length;
        const pick = id === 0 ? -1 : random.nextInt(id);
        switch (random.nextInt(10)) {
          case 0:
          case 1:
          case 2:
          case 3: {
            const weight = 1 + random.nextInt(Math.min(2, size));
            const priority = random.nextInt(3);
            models.push({
              id,
              weight,
              priority,
              arrival: arrivals++,
              state: "pending",
            });
            const gate = loop.createFuture<void>();
            releases.push(() => gate.done() || gate.setResult());
            jobs.push(limit.run(
              inStyle(style, function* () {
                began.push(id);
                yield gate;
              }),
              { weight, priority },
            ));
            break;
          }
          case 4:
          case 5:
          case 6: { // one that runs ends
            const running = models.find(({ state }) => state === "running");
            if (running === undefined) break;
            await sleep(1);
            releases[running.id]!();
            await sleep(1);
            running.state = "ended";
            break;
          }
          case 7: // cancel
            if (pick < 0 || models[pick]!.state === "ended") break;
            assertEquals(jobs[pick]!.cancel(), true);
            if (models[pick]!.state === "running") await sleep(1);
            models[pick]!.state = "ended";
            break;
          case 8: { // move
            if (pick < 0) break;
            const model = models[pick]!;
            const priority = random.nextInt(3);
            const moved = jobs[pick]!.setPriority(priority);
            assertEquals(moved, model.state === "pending");
            if (moved) {
              model.priority = priority;
              model.arrival = arrivals++;
            }
            break;
          }
          case 9:
            switch (random.nextInt(4)) {
              case 0:
                limit.resize(size = 1 + random.nextInt(4));
                break;
              case 1:
                limit.pause();
                paused = true;
                break;
              case 2:
                limit.resume();
                paused = false;
                break;
              case 3:
                if (random.nextInt(4) > 0) break;
                limit.clear();
                for (const model of models) {
                  if (model.state === "pending") model.state = "ended";
                }
            }
        }
        pump();
        const inState = (state: Model["state"]) =>
          models.filter((model) => model.state === state).map(({ id }) => id);
        assertEquals(
          jobs.flatMap((job, id) => job.phase === "pending" ? [id] : []),
          inState("pending"),
          `pending after step ${step}`,
        );
        assertEquals(limit.pending, inState("pending").length);
        assertEquals(limit.running, inState("running").length);
        assertConserved(limit);
      }
      limit.resume();
      paused = false;
      pump();
      for (;;) {
        const running = models.find(({ state }) => state === "running");
        if (running === undefined) break;
        await sleep(1);
        releases[running.id]!();
        await sleep(1);
        running.state = "ended";
        pump();
      }
      await limit.onIdle();
      assertIdle(limit);
      // Those that were cancelled before their first step were never seen.
      const seen = new Set(began);
      assertEquals(began, expected.filter((id) => seen.has(id)));
      assert(began.length > 10);
    }, VIRTUAL);
  });
}

Deno.test("Priorities that nobody has any more are forgotten", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const log: number[] = [];
    const random = new SeededRandom(7);
    const priorities = Array.from({ length: 500 }, () => random.next());
    limit.pause();
    for (const priority of priorities) {
      limit.run(() => log.push(priority), { priority });
    }
    limit.resume();
    await limit.onIdle();
    assertEquals(log, priorities.toSorted((a, b) => b - a));
  }, VIRTUAL);
});

Deno.test("What was thrown is what is got", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const thrown = new Error("this one");
    const error = await assertRejects(async () =>
      await limit.run(() => {
        throw thrown;
      })
    );
    assertStrictEquals(error, thrown);
    const cancelled = new CancelledError("by itself");
    const job = limit.run(async () => {
      throw cancelled;
    });
    const got = await assertRejects(async () => await job, CancelledError);
    assertStrictEquals(got, cancelled);
    assertEquals(job.cancelled(), true);
  }, VIRTUAL);
});
