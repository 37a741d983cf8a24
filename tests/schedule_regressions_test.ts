/**
 * Limits, rates and periodic jobs that once went wrong: each keeps its test.
 *
 * @module
 */
import {
  asCompleted,
  CancelledError,
  CapacityLimiter,
  ConcurrencyLimit,
  currentTask,
  each,
  EventLoop,
  every,
  type Future,
  gather,
  getRunningLoop,
  InvalidStateError,
  type Job,
  MisuseError,
  type PeriodicErrorPolicy,
  type PeriodicOptions,
  type PeriodicTask,
  PriorityScheduler,
  RateLimiter,
  run,
  shield,
  sleep,
  until,
  wait,
  waitFor,
  type WaitResult,
} from "@rota/rota";
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { macrotask } from "../src/host/macrotask.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { ManualHost } from "./support/manual_host.ts";
import { type Awaitable, inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

Deno.test("Any number of maps that have nothing to do may stand in line", async () => {
  const lengths = await run(async () => {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1);
    limit.run(() => sleep(10));
    const maps = Array.from(
      { length: 20_000 },
      () =>
        loop.createTask(function* () {
          return yield* limit.map([], () => 1);
        }),
    );
    const results = await gather(maps);
    return [results.length, limit.stats().used];
  }, VIRTUAL);
  assertEquals(lengths, [20_000, 0]);
});

for (const abortAt of [1, 2, 3, 4]) {
  Deno.test(`A source that aborts its map with item ${abortAt} ends it, and that item is not worked on`, async () => {
    const log: string[] = [];
    const begun: number[] = [];
    const endedAtMs = await run(async () => {
      const limit = new ConcurrencyLimit(2);
      const controller = new AbortController();
      const source = function* () {
        try {
          for (let n = 1; n <= 6; n++) {
            if (n === abortAt) controller.abort(new Error("enough"));
            yield n;
          }
        } finally {
          log.push("closed");
        }
      };
      const map = limit.map(source(), async (n) => {
        begun.push(n);
        await sleep(10);
      }, { signal: controller.signal });
      await assertRejects(
        async () => {
          for await (const _ of map);
        },
        Error,
        "enough",
      );
      assertEquals(limit.stats().used, 0);
      return getRunningLoop().time();
    }, VIRTUAL);
    assertEquals(log, ["closed"]);
    assertEquals(begun.every((n) => n < abortAt), true);
    assertEquals(endedAtMs, abortAt > 2 ? 10 : 0);
  });
}

const NOT_ITERATORS: Record<string, object> = {
  "gives nothing": { next: () => undefined },
  "gives a number": { next: () => 5 },
  "gives a string": { next: () => "done" },
  "has no next": {},
  "throws by done": {
    next: () => ({
      get done() {
        throw new TypeError("done");
      },
    }),
  },
  "throws by value": {
    next: () => ({
      done: false,
      get value() {
        throw new TypeError("value");
      },
    }),
  },
};
for (const kind of ["iterator", "asyncIterator"] as const) {
  for (const [how, iterator] of Object.entries(NOT_ITERATORS)) {
    Deno.test(`An ${kind} that ${how} takes no slot along`, async () => {
      await run(async () => {
        const limit = new ConcurrencyLimit(2);
        let closed = 0;
        const source = {
          [Symbol[kind]]: () =>
            Object.assign(Object.create(iterator), { return: () => closed++ }),
        } as unknown as Iterable<number>;
        await assertRejects(
          async () => await limit.map(source, (n) => n),
          TypeError,
        );
        // It is at its end, as in "for" and "for await".
        assertEquals([limit.stats().used, limit.running, closed], [0, 0, 0]);
      }, VIRTUAL);
    });
  }
}

for (const kind of ["iterator", "asyncIterator"] as const) {
  for (const iterator of [5, null, undefined, "text"]) {
    Deno.test(`A source whose ${kind} is ${iterator} fails its map`, async () => {
      await run(async () => {
        const limit = new ConcurrencyLimit(2);
        const source = {
          [Symbol[kind]]: () => iterator,
        } as unknown as Iterable<number>;
        await assertRejects(
          async () => await limit.map(source, (n) => n),
          TypeError,
          "must be an object: received",
        );
        assertEquals([limit.stats().used, limit.running], [0, 0]);
      }, VIRTUAL);
    });
  }
}

for (const style of STYLES) {
  Deno.test(`A return() that gives no object is reported when a map is left (${style})`, async () => {
    const { loop, reports } = openLoop();
    const limit = new ConcurrencyLimit(1);
    let n = 0;
    const source = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: n++ }),
        return: () => 5,
      }),
    } as unknown as Iterable<number>;
    const map = () => limit.map(source, () => sleep(1));
    await loop.runUntilComplete(
      style === "a generator"
        ? () => each(map(), (_, stop) => stop())
        : async () => {
          for await (const _ of map()) break;
        },
    );
    await loop.close();
    assertEquals(reports.map(({ exception }) => `${exception}`), [
      "TypeError: Cannot close the source of a map as return() of its iterator must return an object: received 5",
    ]);
    assertEquals(limit.stats().used, 0);
  });

  // Somebody has to be able to give up, as with each().
  for (const how of ["awaited", "iterated"]) {
    for (const first of ["cancelled", "failed"]) {
      Deno.test(`A map that is ${first}, whose source never closes, ends when it is cancelled again, ${how} (${style})`, async () => {
        const { loop, reports } = openLoop({ host: "portable" });
        const limit = new ConcurrencyLimit(2);
        let closing = 0;
        let n = 0;
        const source = {
          [Symbol.asyncIterator]: () => ({
            next: () => Promise.resolve({ done: false as const, value: n++ }),
            return: () => {
              closing++;
              return new Promise<IteratorResult<number>>(() => {});
            },
          }),
        };
        const map = () =>
          limit.map(source, (n) => {
            if (first === "failed" && n === 1) throw new Error("as it should");
            return sleep(60_000);
          });
        const body = how === "awaited"
          ? inStyle(style, function* () {
            yield map();
          })
          : style === "a generator"
          ? () => each(map(), () => {})
          : async () => {
            for await (const _ of map());
          };
        const task = loop.createTask(body);
        await runTurns(loop, 20);
        if (first === "cancelled") {
          task.cancel("once");
          await runTurns(loop, 20);
        }
        assertEquals([task.done(), closing], [false, 1]);
        task.cancel("again");
        await runTurns(loop, 20);
        assertEquals([task.done(), task.cancelled()], [true, true]);
        const error = assertThrows(() => task.result(), CancelledError);
        assertEquals(error.reason, first === "cancelled" ? "once" : "again");
        assertEquals([limit.stats().used, limit.running], [0, 0]);
        await loop.close();
        // The error of the map has not got to anybody else.
        assertEquals(
          reports.map(({ exception }) => `${exception}`),
          first === "cancelled" ? [] : ["Error: as it should"],
        );
      });
    }
  }
}

Deno.test("A source whose asyncIterator is undefined is a plain one", async () => {
  const source = {
    [Symbol.asyncIterator]: undefined,
    [Symbol.iterator]: () => [1, 2][Symbol.iterator](),
  } as unknown as Iterable<number>;
  const results = await run(
    () => new ConcurrencyLimit(2).map(source, (n) => 2 * n),
    VIRTUAL,
  );
  assertEquals(results, [2, 4]);
});

Deno.test("An iterator that has thrown is not closed", async () => {
  let closed = false;
  const source = {
    [Symbol.asyncIterator]: () => ({
      next(): never {
        throw new Error("broken");
      },
      return() {
        closed = true;
        return Promise.resolve({ done: true as const, value: undefined });
      },
    }),
  };
  await run(async () => {
    const map = new ConcurrencyLimit(1).map(source, (n) => n);
    await assertRejects(async () => await map, Error, "broken");
  }, VIRTUAL);
  assertEquals(closed, false);
});

Deno.test("A source may change the size of the limit of its map", async () => {
  const results = await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const source = function* () {
      for (let n = 1; n <= 6; n++) {
        if (n === 3) limit.resize(3);
        yield n;
      }
    };
    const results = await limit.map(source(), (n) => sleep(5, { value: n }));
    assertEquals(limit.stats().peak, 3);
    assertEquals(getRunningLoop().time(), 20);
    return results;
  }, VIRTUAL);
  assertEquals(results, [1, 2, 3, 4, 5, 6]);
});

Deno.test("A map that is left closes its source, a periodic job or another map too", async () => {
  await run(async () => {
    const job = every(10);
    for await (const _ of new ConcurrencyLimit(1).map(job, () => 1)) break;
    await assertRejects(async () => await job);
    const begun: number[] = [];
    const inner = new ConcurrencyLimit(1).map([1, 2, 3, 4], (n) => {
      begun.push(n);
      return sleep(10, { value: n });
    });
    await assertRejects(
      async () =>
        await new ConcurrencyLimit(2).map(inner, () => {
          throw new Error("no");
        }),
      Error,
      "no",
    );
    await sleep(100);
    assertEquals(begun, [1, 2]);
  }, VIRTUAL);
});

Deno.test("With no places in line a long map does not keep jobs from ever beginning", async () => {
  const beganAtMs = await run(async () => {
    const loop = getRunningLoop();
    const limit = new ConcurrencyLimit(1, { highWaterMark: 0 });
    const map = loop.createTask(async () => {
      await limit.map(new Array(50).fill(0), () => sleep(1));
    });
    await sleep(3.5);
    const beganAtMs = await limit.run(() => loop.time());
    await map;
    return beganAtMs;
  }, VIRTUAL);
  assertEquals(beganAtMs, 5); // the map stood in line for one more item before
});

for (const verb of ["cancel", "pause"] as const) {
  Deno.test(`A schedule that does ${verb}() to its job, when it is asked, lets no run begin`, async () => {
    const ranAt: number[] = [];
    await run(async () => {
      const loop = getRunningLoop();
      let job: PeriodicTask | null = null;
      job = every({
        nextRun(after) {
          if (job !== null && loop.time() === 20) job[verb]();
          return new Date(after.getTime() + 10);
        },
      }, () => void ranAt.push(loop.time()));
      await sleep(100);
    }, VIRTUAL);
    assertEquals(ranAt, [10]);
  });
}

Deno.test("A schedule that throws while its job is resumed ends the job", async () => {
  await run(async () => {
    let broken = false;
    const job = every({
      nextRun(after) {
        if (broken) throw new Error("broken");
        return new Date(after.getTime() + 10);
      },
    }, () => {});
    job.pause();
    await sleep(100);
    broken = true;
    job.resume();
    await assertRejects(async () => await job, Error, "broken");
  }, VIRTUAL);
});

Deno.test("Windows too short for the clock do not hang the limiter", async () => {
  for (const intervalMs of [1e-11, 1e-12, 1e-20, Number.MIN_VALUE]) {
    const available = await run(async () => {
      const limiter = new RateLimiter({
        permits: 3,
        intervalMs,
        algorithm: "fixed-window",
      });
      limiter.tryAcquire();
      await sleep(100_000);
      return limiter.available;
    }, VIRTUAL);
    assertEquals(available, 3);
  }
});

Deno.test("A limiter counts no further than numbers are exact", () => {
  const intervalMs = 1;
  assertThrows(
    () => new RateLimiter({ permits: 2 ** 53, intervalMs }),
    RangeError,
    "safe integer",
  );
  assertThrows(
    () => new RateLimiter({ permits: 1, intervalMs, burst: 2 ** 53 }),
    RangeError,
    "safe integer",
  );
});

Deno.test("Who waited for a token on a loop that was closed may ask again, and so may others", async () => {
  const limiter = new CapacityLimiter(1);
  const [first, second, third] = [{}, {}, {}];
  const loop = new EventLoop(VIRTUAL);
  loop.setExceptionHandler(() => {}); // of the task that is destroyed
  loop.createTask(async () => {
    await limiter.acquireOnBehalfOf(first);
    await limiter.acquireOnBehalfOf(second);
  });
  loop.callLater(1, () => loop.stop());
  await loop.runForever();
  await run(async () => {
    await assertRejects(
      async () => await limiter.acquireOnBehalfOf(third),
      MisuseError,
      "another event loop",
    );
  }, VIRTUAL);
  await loop.close();
  limiter.releaseOnBehalfOf(first);
  assertEquals(limiter.statistics().tasksWaiting, 0);
  await run(async () => {
    for (const borrower of [third, second]) {
      using _token = await limiter.acquireOnBehalfOf(borrower);
    }
  }, VIRTUAL);
  assertEquals(limiter.availableTokens, 1);
});

Deno.test("A handle that is moved after its loop was closed leaves nothing in the scheduler", async () => {
  const scheduler = new PriorityScheduler();
  const loop = new EventLoop({ host: "virtual", scheduler });
  const handle = loop.callWithPriority(5, () => {});
  await loop.close();
  handle.setPriority(-5);
  assertEquals(handle.priority, -5);
  assertEquals(scheduler.shift(), undefined);
  assertEquals(loop.stats().ready, 0);
});

/** Ways to wait for a job together with another future, or for it alone. */
const WAYS: Record<
  string,
  (job: Future<unknown>, other: Future<unknown>) => Awaitable
> = {
  "gather": (job) => gather([job]),
  "shield": (job) => shield(job),
  "wait": (job, other) => wait([other, job]),
  "wait for the first error": (job, other) =>
    wait([other, job], { returnWhen: "first-exception" }),
  "wait for the first": (job) => wait([job], { returnWhen: "first-completed" }),
  "wait for a gathering": (job) => wait([gather([job])]),
  "wait for so long": (job) => wait([job], { timeoutMs: 5 }),
  "waitFor": (job) => waitFor(job, 5),
  "asCompleted": (job, other) => asCompleted([other, job]).next().value!,
  "asCompleted for so long": (job) =>
    asCompleted([job], { timeoutMs: 5 }).next().value!,
  "each of asCompleted": (job, other) =>
    each(asCompleted([other, job]), () => {}),
  "until": (job) => until(job),
  "each": (job) => each([job], () => {}),
};

for (const style of STYLES) {
  for (const [name, way] of Object.entries(WAYS)) {
    Deno.test(`${name} does not wait inside a slot for a job in line for the same limit (${style})`, async () => {
      await run(function* () {
        const limit = new ConcurrencyLimit(1);
        const inLine: Future<unknown>[] = [];
        const outer = limit.run(
          inStyle(style, function* () {
            const job = limit.run(() => "ran", { detached: true });
            inLine.push(job);
            const other = getRunningLoop().createFuture<void>();
            let caught: unknown;
            try {
              yield way(job, other);
            } catch (error) {
              caught = error;
            }
            assertInstanceOf(caught, MisuseError);
            assertStringIncludes(caught.message, "Cannot wait for a job");
          }),
        );
        yield* outer;
        const [job] = inLine as [Future<unknown>];
        yield* wait([job]); // from outside it may be waited for
        assertEquals(yield* job, "ran");
        assertEquals(yield* gather([job]), ["ran"]);
      }, VIRTUAL);
    });
  }

  Deno.test(`What ends without the job in line may be waited for (${style})`, async () => {
    await run(function* () {
      const limit = new ConcurrencyLimit(1);
      const outer = limit.run(
        inStyle(style, function* () {
          const loop = getRunningLoop();
          const job = limit.run(() => "ran", { detached: true });
          const done = loop.createFuture<unknown>();
          done.setResult("done");
          const { done: first }: WaitResult<Future<unknown>> = yield wait(
            [job, done],
            { returnWhen: "first-completed" },
          );
          assertEquals([...first], [done]);
          // Nobody waits for what is there already.
          const results = asCompleted([done, job]);
          yield sleep(0);
          assertEquals(yield results.next().value!, "done");
          let caught: unknown;
          try {
            yield results.next().value!;
          } catch (error) {
            caught = error;
          }
          assertInstanceOf(caught, MisuseError);
          // Another limit is no concern of this one.
          const other = new ConcurrencyLimit(1);
          const jobs = [1, 2, 3].map((n) => other.run(() => n));
          const seen: unknown[] = [];
          for (const next of asCompleted(jobs)) seen.push(yield next);
          assertEquals(seen, [1, 2, 3]);
          yield wait([other.run(() => 4), other.run(() => 5)]);
        }),
      );
      yield* outer;
    }, VIRTUAL);
  });
}

Deno.test("Two next() at once: the second is refused, the first and the job go on", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const job = every(10);
    const iterator = job[Symbol.asyncIterator]();
    const first = iterator.next();
    const second = iterator.next();
    await assertRejects(() => second, MisuseError, "somebody waits for it");
    await assertRejects(
      () => job[Symbol.asyncIterator]().next(),
      MisuseError,
      "somebody waits for it",
    );
    await sleep(10);
    const { value } = await first;
    assertEquals([value?.index, loop.time()], [1, 10]);
    await sleep(10);
    assertEquals((await iterator.next()).value?.dueMs, 20);
    assertEquals([job.cancelling(), job.done()], [0, false]);
    // What ends a wait in another way still ends the job.
    const third = iterator.next();
    await sleep(1);
    job.cancel();
    await assertRejects(() => third, CancelledError);
    assertEquals(job.cancelled(), true);
  }, VIRTUAL);
});

Deno.test("A second each() of a periodic task is refused, and leaves the first alone", async () => {
  const log: number[] = [];
  await run(function* () {
    const job = every(10, { maxRuns: 3 });
    const going = getRunningLoop().createTask(() =>
      each(job, (tick) => void log.push(tick.index))
    );
    yield* sleep(15);
    let caught: unknown;
    try {
      yield* each(job, () => {});
    } catch (error) {
      caught = error;
    }
    assertInstanceOf(caught, MisuseError);
    yield* going;
    assertEquals(job.cancelled(), false);
  }, VIRTUAL);
  assertEquals(log, [1, 2, 3]);
});

Deno.test("An iteration that is cancelled while somebody else's was refused ends the job", async () => {
  await run(async () => {
    const job = every(10);
    const iterator = job[Symbol.asyncIterator]();
    const waiting = getRunningLoop().createTask(() => iterator.next());
    await sleep(1);
    await assertRejects(() => iterator.next(), MisuseError);
    waiting.cancel();
    await assertRejects(async () => await waiting, CancelledError);
    await assertRejects(async () => await job, CancelledError);
  }, VIRTUAL);
});

for (const style of STYLES) {
  Deno.test(`A loop that is closed ends all jobs, running and in line (${style})`, async () => {
    for (const overload of ["block", "reject"] as const) {
      const { loop, reports } = openLoop();
      const limit = new ConcurrencyLimit(2, { highWaterMark: 3, overload });
      const jobs: Job<unknown>[] = [];
      const told: string[] = [];
      const begun: number[] = [];
      const controller = new AbortController();
      await loop.runUntilComplete(async () => {
        const count = overload === "block" ? 8 : 5; // some of them at the door
        for (let n = 0; n < count; n++) {
          const job = limit.run(
            inStyle(style, function* () {
              begun.push(n);
              yield sleep(1_000);
            }),
            { name: `job ${n}`, signal: controller.signal },
          );
          jobs.push(job);
        }
        await sleep(1);
      });
      const waits = jobs.map(async (job) => {
        try {
          await job;
        } catch (error) {
          told.push((error as Error).name);
        }
      });
      await sleepOutside();
      await loop.close();
      await Promise.all(waits);
      assertEquals(jobs.map((job) => [job.phase, job.cancelled()]), [
        ...jobs.map(() => ["done", true]),
      ]);
      assertEquals(jobs.map((job) => job.cancel()), jobs.map(() => false));
      controller.abort();
      assertEquals(told, jobs.map(() => "CancelledError"));
      assertEquals(begun, [0, 1]);
      assertEquals(
        reports.map(({ name, exception }) => [name, exception]),
        [
          ["job 0", undefined],
          ["job 1", undefined],
          ["ConcurrencyLimit", undefined],
        ],
      );
      const { used, running, pending, cancelled, done } = limit.stats();
      assertEquals([used, running, pending, cancelled, done], [
        0,
        0,
        0,
        jobs.length,
        0,
      ]);
      await run(async () => {
        await limit.onIdle();
        assertEquals(await limit.run(() => "anew"), "anew");
      }, VIRTUAL);
    }
  });
}

Deno.test("A job that its loop was closed under ends once, whatever its function does then", async () => {
  const { loop, reports } = openLoop();
  const limit = new ConcurrencyLimit(1);
  const outside = Promise.withResolvers<void>();
  const jobs: Job<unknown>[] = [];
  const ended: string[] = [];
  await loop.runUntilComplete(async () => {
    jobs.push(
      limit.run(async () => {
        await outside.promise;
        ended.push("the function");
        throw new Error("too late");
      }),
      limit.run(() => ended.push("never")),
    );
    await sleepOutside();
  });
  await loop.close();
  const other = openLoop();
  await other.loop.runUntilComplete(async () => {
    const release = getRunningLoop().createFuture<string>();
    const job = limit.run(() => release);
    outside.resolve();
    await sleepOutside();
    assertEquals([limit.running, limit.stats().used], [1, 1]);
    release.setResult("anew");
    assertEquals(await job, "anew");
  });
  assertEquals(ended, ["the function"]);
  assertEquals(jobs.map((job) => job.cancelled()), [true, true]);
  assertEquals(limit.stats().used, 0);
  assertEquals(reports.length, 2); // the two tasks, by name
  await other.loop.close();
  assertEquals(other.reports, []);
});

Deno.test("A job that has not had its first step ends with its loop, too", async () => {
  const { loop } = openLoop();
  const limit = new ConcurrencyLimit(2);
  const jobs: Job<unknown>[] = [];
  loop.callSoon(() => {
    for (let n = 0; n < 3; n++) jobs.push(limit.run(() => n));
    loop.stop();
  });
  await loop.runForever();
  await loop.close();
  assertEquals(jobs.map((job) => job.cancelled()), [true, true, true]);
  assertEquals(
    await run(() => limit.run(() => "anew"), VIRTUAL),
    "anew",
  );
});

Deno.test("A job that is given up at the end of a run ends, and so do those behind it", async () => {
  const limit = new ConcurrencyLimit(1);
  const jobs: Job<unknown>[] = [];
  const reports: string[] = [];
  await run(async () => {
    getRunningLoop().setExceptionHandler((_, { message }) =>
      reports.push(message)
    );
    jobs.push(
      limit.run(async () => {
        for (;;) {
          try {
            await sleep(1_000);
          } catch {
            // does not want to end, and makes others
            jobs.push(limit.run(() => "never", { detached: true }));
          }
        }
      }, { name: "stubborn" }),
    );
    await sleep(1);
  }, { ...VIRTUAL, cancelGraceMs: 10 });
  assertEquals(jobs.length, 2);
  assertEquals(jobs.map((job) => job.cancelled()), [true, true]);
  assertEquals(limit.stats().used, 0);
  assertEquals(
    reports.filter((message) => message.includes("stubborn")).length,
    1,
  );
});

for (const kind of ["an array", "an async generator"]) {
  for (const settled of [false, true]) {
    Deno.test(`A loop that is closed under a map${settled ? " that settles" : ""} of ${kind} leaves no slot taken`, async () => {
      const { loop } = openLoop();
      const limit = new ConcurrencyLimit(2);
      const begun: number[] = [];
      async function* generate() {
        yield 0;
        await sleepOutside();
        yield 1;
        await new Promise(() => {});
      }
      const source = kind === "an array" ? [0, 1, 2, 3, 4] : generate();
      const work = (n: number) => {
        begun.push(n);
        return sleep(1_000);
      };
      const map = settled
        ? limit.mapSettled(source, work)
        : limit.map<number, void>(source, work);
      const waiting = loop.createTask(async () => void await map);
      await loop.runUntilComplete(async () => {
        await sleep(1);
        await sleepOutside();
      });
      assertEquals(limit.running > 0, true);
      await loop.close();
      assertEquals(waiting.cancelled(), true);
      assertEquals([limit.running, limit.stats().used], [0, 0]);
      await run(async () => {
        await limit.onIdle();
        assertEquals(await limit.map([1, 2], (n) => 2 * n), [2, 4]);
      }, VIRTUAL);
      assertEquals(begun.length <= 2, true);
    });
  }
}

/** Lets promises outside of any loop go on. */
function sleepOutside(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

// -- Periodic work --

/** Ways to write an error handler that waits, and then fails with what `fail` throws. */
const HANDLERS: Record<string, (fail: () => unknown) => PeriodicErrorPolicy> = {
  "a generator": (fail) =>
    function* () {
      yield* sleep(3);
      fail();
    },
  "an async function": (fail) => async () => {
    await null;
    await sleep(3);
    fail();
  },
  "a plain function that gives a promise": (fail) => () =>
    Promise.resolve().then(fail),
};
const BODIES: Record<string, () => unknown> = {
  "a plain function": () => {
    throw new Error("the run");
  },
  "an async function": async () => {
    await sleep(1);
    throw new Error("the run");
  },
};
for (const [kind, handler] of Object.entries(HANDLERS)) {
  for (const [body, fn] of Object.entries(BODIES)) {
    Deno.test(`An onError that rejects ends the job, ${kind}; the run is ${body}`, async () => {
      const { loop, reports } = openLoop();
      const unhandled: unknown[] = [];
      const listener = (event: PromiseRejectionEvent) => {
        event.preventDefault();
        unhandled.push(event.reason);
      };
      addEventListener("unhandledrejection", listener);
      const job = every(10, fn, {
        loop,
        onError: handler(() => {
          throw new Error("the handler");
        }),
      });
      await assertRejects(
        () => loop.runUntilComplete(job),
        Error,
        "the handler",
      );
      await loop.close();
      await new Promise<void>((resolve) => macrotask(resolve));
      removeEventListener("unhandledrejection", listener);
      assertEquals(unhandled, []);
      assertEquals(reports, []);
      assertEquals(job.stats().failed, 1);
    });

    Deno.test(`A job goes on beside its onError, and does not end before it, ${kind}; the run is ${body}`, async () => {
      const { loop, reports } = openLoop();
      const handled: number[] = [];
      const job = every(2, fn, {
        loop,
        maxRuns: 3,
        onError: handler(() => handled.push(loop.time())),
      });
      await loop.runUntilComplete(job);
      const endedMs = loop.time();
      await loop.close();
      assertEquals(reports, []);
      assertEquals(handled.length, 3);
      assertEquals(handled.at(-1), endedMs);
      assertEquals(job.stats().runs, 3);
    });
  }
}

for (const style of ["a generator", "an async function"]) {
  Deno.test(`A job that is cancelled cancels its onError, and waits for that (${style})`, async () => {
    const { loop, reports } = openLoop();
    const log: string[] = [];
    const names: unknown[] = [];
    const onError: PeriodicErrorPolicy = style === "a generator"
      ? function* () {
        names.push(currentTask()?.parent);
        try {
          yield* sleep(1_000);
        } finally {
          yield* sleep(5);
          log.push("cleaned up");
        }
      }
      : async () => {
        names.push(currentTask()?.parent);
        try {
          await sleep(1_000);
        } finally {
          await sleep(5);
          log.push("cleaned up");
        }
      };
    const job = every(10, () => {
      throw new Error("the run");
    }, { loop, maxRuns: 1, onError });
    await loop.runUntilComplete(sleep(20));
    assertEquals(job.done(), false);
    assertEquals(names, [job]);
    job.cancel();
    await assertRejects(() => loop.runUntilComplete(job), CancelledError);
    assertEquals([log, loop.time()], [["cleaned up"], 25]);
    await loop.close();
    assertEquals(reports, []);
  });
}

// A function need not know which run is the last.
for (const [body, wait] of [["plain", false], ["async", true]] as const) {
  for (const name of ["reschedule", "pause", "resume", "trigger"] as const) {
    Deno.test(`${name}() in the last run of a job does nothing, ${body} body`, async () => {
      const { loop, reports } = openLoop();
      let waitMs = 10;
      const ranAt: number[] = [];
      const act = (job: PeriodicTask) => {
        ranAt.push(loop.time());
        if (name === "reschedule") job.reschedule(waitMs *= 2);
        else if (job.stats().runs === 3) job[name]();
      };
      const job = every(
        waitMs,
        wait
          ? async ({ job }) => {
            await sleep(1);
            act(job);
          }
          : ({ job }) => act(job),
        { loop, maxRuns: 3, onError: "stop" },
      );
      await loop.runUntilComplete(job);
      await loop.close();
      assertEquals(reports, []);
      assertEquals(ranAt.length, 3);
      assertThrows(() => job.reschedule(5), InvalidStateError);
    });
  }

  Deno.test(`A job that was cancelled in its last run can no longer be rescheduled, ${body} body`, async () => {
    const { loop } = openLoop();
    const act = (job: PeriodicTask) => {
      job.cancel();
      job.reschedule(5);
    };
    const job = every(
      10,
      wait ? async ({ job }) => act(job) : ({ job }) => act(job),
      { loop, maxRuns: 1 },
    );
    await assertRejects(() => loop.runUntilComplete(job), CancelledError);
    assertInstanceOf(job.stats().lastError, InvalidStateError);
    await loop.close();
  });
}

for (const debug of [false, true]) {
  Deno.test(`The first tick comes an interval after the call of every(), debug ${debug}`, async () => {
    const host = new ManualHost();
    const loop = new EventLoop({ host, debug, slowCallbackMs: Infinity });
    const dueMs: Record<string, number[]> = {};
    const make = (name: string, intervalMs: number) =>
      every(intervalMs, (tick) => {
        (dueMs[name] ??= []).push(tick.dueMs);
      }, { loop, maxRuns: 2 });
    const jobs: PeriodicTask[] = [];
    const running = loop.runForever();
    loop.callSoon(() => {
      jobs.push(make("a", 100));
      host.nowMs += 0.5; // close to the one before: they tick together
      jobs.push(make("b", 100));
      host.nowMs += 40; // the thread is busy
      jobs.push(make("c", 100));
      jobs.push(make("rescheduled", 1_000));
      host.nowMs += 10;
      jobs.at(-1)!.reschedule(100);
      host.nowMs += 20;
    });
    await host.runUntil(90);
    await host.runUntil(400);
    assertEquals(dueMs, {
      a: [100.5, 200.5],
      b: [100.5, 200.5],
      c: [140.5, 240.5],
      rescheduled: [150.5, 250.5],
    });
    for (const job of jobs) assertEquals(job.done(), true);
    loop.stop();
    host.advanceTo(500);
    await running;
    await loop.close();
  });

  Deno.test(`Jobs that are due together run in the order in which they were made, debug ${debug}`, async () => {
    const { loop } = openLoop({ debug });
    const log: string[] = [];
    const make = (name: string, options: PeriodicOptions = {}) =>
      every(10, () => void log.push(name), { ...options, loop });
    const jobs = [
      make("a"),
      make("b", { missedTicks: "delay" }),
      make("c"),
      make("d"),
      make("e", { missedTicks: "burst" }),
      make("f"),
    ];
    jobs[3]!.unref();
    await loop.runUntilComplete(sleep(35));
    assertEquals(log.join(""), "abcdef".repeat(3));
    for (const job of jobs) job.cancel();
    await loop.close();
  });
}
