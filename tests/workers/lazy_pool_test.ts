/**
 * Pools whose code is loaded with the first job: what is true of jobs is true
 * of those that come before it is.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  type Coroutine,
  type Future,
  getRunningLoop,
  MisuseError,
  newEventLoop,
  OverloadError,
  run,
  sleep,
  TaskLocal,
  TimeoutError,
  WorkerCrashError,
} from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import type {
  ShutdownOptions,
  SubmitOptions,
} from "../../src/workers/executor.ts";
import { LazyPool, PoolCode } from "../../src/workers/lazy_pool.ts";
import type { LinkStarter } from "../../src/workers/link.ts";
import { makePool } from "../../src/workers/make_pool.ts";
import {
  type PoolOptions,
  settlePoolOptions,
} from "../../src/workers/pool_options.ts";
import { checkSubmitOptions } from "../../src/workers/submit_options.ts";
import { runDeno } from "../support/run_deno.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { TASK } from "./support/fake_workers.ts";

const LOOPS = ["real", "virtual"] as const;
const color = new TaskLocal("red", { transport: "lazy-pool-color" });

/** A pool whose code the test loads, with workers that return the name of a job. */
class Rig {
  readonly pool: LazyPool;
  /** Names of the jobs in the order in which they began, with the task-local values. */
  readonly begun: string[] = [];
  readonly locals: unknown[] = [];
  loads = 0;
  starts = 0;
  readonly code: PoolCode;
  #gate = Promise.withResolvers<{ readonly error?: Error }>();

  constructor(options: PoolOptions = {}, code: PoolCode | null = null) {
    this.code = code ?? new PoolCode(async () => {
      this.loads++;
      const { error } = await this.#gate.promise;
      if (error === undefined) return { makePool };
      this.#gate = Promise.withResolvers();
      throw error;
    });
    const settings = settlePoolOptions(
      { name: "test", maxWorkers: 1, ...options },
      "create a pool",
      1,
    );
    const names = { pool: 'ThreadPool "test"', kind: "thread" } as const;
    const loadStarter = () => Promise.resolve(this.#start);
    this.pool = new LazyPool({ loadStarter, settings, names }, this.code);
  }

  /** Has the code arrive. */
  arrive(): void {
    this.#gate.resolve({});
  }

  /** Has the code not arrive. */
  fail(error: Error): void {
    this.#gate.resolve({ error });
  }

  submit(name: string, options: SubmitOptions = {}): Future<unknown> {
    const settings = checkSubmitOptions({ name, ...options });
    return this.pool.submit(TASK, [], settings);
  }

  shutdown(options?: ShutdownOptions): Future<void> {
    return getRunningLoop().createTask(this.pool.shutdown(options));
  }

  readonly #start: LinkStarter = (listener) => {
    this.starts++;
    queueMicrotask(() => listener.ready());
    return {
      send: ({ id, name, locals }) => {
        this.begun.push(name);
        this.locals.push(locals);
        queueMicrotask(() => {
          if (name === "fails") listener.threw(id, new Error("broken"));
          else listener.returned(id, name);
        });
      },
      abort: () => {},
      ping: () => {},
      close: () =>
        listener.ended({ kind: "closed", exitCode: 0, cause: undefined }),
      kill: () =>
        listener.ended({ kind: "killed", exitCode: 1, cause: undefined }),
      cpuMs: () => NaN,
      livesOn: () => false,
    };
  };
}

/** Runs a generator with a rig, in a loop; then shuts the pool down. */
function withRig(
  options: PoolOptions,
  body: (rig: Rig) => Coroutine<void>,
  host: "virtual" | "portable" = "virtual",
): Promise<void> {
  return run(function* () {
    const rig = new Rig(options);
    yield* body(rig);
    rig.arrive();
    yield* rig.pool.shutdown();
  }, { host });
}

// -- Order --

Deno.test("early jobs begin by priority, then in the order of submission, and nobody overtakes them", () =>
  withRig({}, function* (rig) {
    const early = [
      rig.submit("a"),
      rig.submit("background", { priority: "background" }),
      rig.submit("urgent", { priority: "user-blocking" }),
      rig.submit("b"),
    ];
    assertEquals(rig.pool.stats().queued, 4);
    assertEquals(rig.begun, []);
    rig.arrive();
    const late = rig.submit("c");
    for (const job of [...early, late]) yield* job;
    assertEquals(rig.begun, ["urgent", "a", "b", "c", "background"]);
    assertEquals(rig.starts, 1);
    assertEquals(rig.pool.stats().done, 5);
    assertEquals(rig.pool.stats().queued, 0);
  }));

Deno.test("a job that comes when the code has arrived does not overtake those that wait", () =>
  withRig({}, function* (rig) {
    const first = rig.submit("first");
    // As if another pool had loaded it a moment before.
    rig.code.makePool = makePool;
    const second = rig.submit("second");
    assertEquals(rig.pool.stats().queued, 2);
    rig.arrive();
    yield* first;
    yield* second;
    assertEquals(rig.begun, ["first", "second"]);
  }));

Deno.test("once the code is loaded, pools are made at once", () =>
  withRig({}, function* (rig) {
    rig.arrive();
    yield* rig.submit("a");
    const other = new Rig({}, rig.code);
    const job = other.submit("b");
    assertEquals(other.pool.stats().workers.starting, 1);
    assertEquals(yield* job, "b");
    yield* other.pool.shutdown();
    assertEquals(rig.loads, 1);
  }));

for (const host of LOOPS) {
  for (const style of STYLES) {
    Deno.test(`a job loads the code and returns its result, time stands still meanwhile on a virtual loop (${host}, ${style})`, async () => {
      const rig = new Rig();
      let beforeMs = 0;
      const value = await run(
        inStyle(style, function* () {
          const loop = getRunningLoop();
          beforeMs = loop.time();
          const job = rig.submit("a");
          setTimeout(() => rig.arrive(), 5);
          const result = yield job;
          if (host === "virtual") assertEquals(loop.time(), beforeMs);
          yield rig.pool.shutdown();
          return result;
        }),
        host === "virtual" ? { host } : {},
      );
      assertEquals(value, "a");
    });
  }
}

// -- Cancelling --

Deno.test("an early job that is cancelled never begins", () =>
  withRig({}, function* (rig) {
    const job = rig.submit("cancelled");
    const other = rig.submit("other");
    assert(job.cancel("not needed"));
    assert(!job.cancel());
    assert(job.cancelled());
    rig.arrive();
    yield* other;
    assertEquals(rig.begun, ["other"]);
    assertEquals(rig.pool.stats().cancelled, 1);
    assertEquals(rig.pool.stats().done, 1);
  }));

Deno.test("a waiter that is cancelled, and a signal, take an early job along", () =>
  withRig({}, function* (rig) {
    const job = rig.submit("a");
    const waiter = getRunningLoop().createTask(function* () {
      return yield* job;
    });
    yield* sleep(0);
    waiter.cancel();
    yield* sleep(0);
    assert(waiter.cancelled());
    assert(job.cancelled());
    const controller = new AbortController();
    const followed = rig.submit("b", { signal: controller.signal });
    controller.abort();
    assert(followed.cancelled());
    const aborted = rig.submit("c", { signal: controller.signal });
    assert(aborted.cancelled());
    rig.arrive();
    yield* rig.submit("d");
    assertEquals(rig.begun, ["d"]);
    assertEquals(rig.pool.stats().cancelled, 3);
  }));

Deno.test("a deadline that has passed holds for an early job when the code arrives", async () => {
  const rig = new Rig();
  await run(function* () {
    const loop = getRunningLoop();
    const job = rig.submit("late", { deadlineMs: loop.time() + 20 });
    const endMs = loop.time() + 21;
    while (loop.time() < endMs);
    rig.arrive();
    let error: unknown;
    try {
      yield* job;
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof TimeoutError);
    assertEquals(
      error.message,
      'Cannot finish job "late": its deadline has passed',
    );
    yield* rig.pool.shutdown();
  });
  assertEquals(rig.begun, []);
});

Deno.test("the end of run() cancels early jobs", async () => {
  const rig = new Rig();
  let job: Future<unknown> | null = null;
  await run(function* () {
    job = rig.submit("a");
    assertEquals(allTasks(getRunningLoop()).length, 2);
    yield* sleep(0);
  }, { host: "virtual" });
  assert(job!.cancelled());
  rig.arrive();
  await rig.code.load();
  assertEquals(rig.starts, 0);
});

Deno.test("a loop that is closed gives its early jobs up, and the pool serves another one", async () => {
  const rig = new Rig();
  const loop = newEventLoop();
  let job: Future<unknown> | null = null;
  loop.runUntilComplete(function* () {
    job = rig.submit("lost");
  }()).catch(() => {});
  await run(function* () {
    yield* sleep(0);
  });
  loop.close();
  assert(job!.done());
  await run(function* () {
    rig.arrive();
    assertEquals(yield* rig.submit("found"), "found");
    yield* rig.pool.shutdown();
  });
  assertEquals(rig.begun, ["found"]);
});

// -- The end --

Deno.test("the shutdown of a pool that was never used loads nothing", async () => {
  const rig = new Rig();
  await run(function* () {
    yield* rig.pool.shutdown();
    yield* rig.pool.shutdown();
    assertThrows(
      () => rig.submit("a"),
      ExecutorShutDownError,
      'Cannot submit a job: ThreadPool "test" was shut down',
    );
  });
  assertEquals(rig.loads, 0);
});

Deno.test("a shutdown has early jobs run, takes no others, and ends the workers", () =>
  withRig({}, function* (rig) {
    const jobs = [rig.submit("a"), rig.submit("b")];
    const down = rig.shutdown();
    yield* sleep(0);
    assertThrows(() => rig.submit("c"), ExecutorShutDownError);
    assert(!down.done());
    rig.arrive();
    yield* down;
    assertEquals(jobs.map(outcomeOf), ["result: a", "result: b"]);
    const { workers, done } = rig.pool.stats();
    assertEquals(workers, { starting: 0, idle: 0, busy: 0, stopping: 0 });
    assertEquals(done, 2);
    assertThrows(() => rig.submit("c"), ExecutorShutDownError);
  }));

for (const options of [{ cancelPending: true }, { graceMs: 0 }]) {
  Deno.test(`a shutdown with ${Deno.inspect(options)} cancels early jobs, and waits for nothing`, () =>
    withRig({}, function* (rig) {
      const job = rig.submit("a");
      yield* rig.pool.shutdown(options);
      assert(job.cancelled());
      assertEquals(rig.pool.stats().cancelled, 1);
      rig.arrive();
      yield* sleep(0);
      assertEquals(rig.starts, 0);
    }));
}

Deno.test("a shutdown goes on when its waiter is cancelled, and a second one joins it", () =>
  withRig({}, function* (rig) {
    const job = rig.submit("a");
    const first = rig.shutdown();
    yield* sleep(0);
    first.cancel();
    yield* sleep(0);
    assert(first.cancelled());
    const second = rig.shutdown();
    rig.arrive();
    yield* second;
    assertEquals(outcomeOf(job), "result: a");
  }));

// -- Refusals and errors --

Deno.test("early jobs beyond capacity and highWaterMark are refused where they are submitted", () =>
  withRig({ highWaterMark: 1, overload: "reject" }, function* (rig) {
    rig.submit("a");
    const b = rig.submit("b");
    assertThrows(
      () => rig.submit("c"),
      OverloadError,
      'Cannot submit a job: the line of ThreadPool "test" is full, highWaterMark is 1',
    );
    b.cancel();
    const d = rig.submit("d");
    rig.arrive();
    yield* d;
    assertEquals(rig.begun, ["a", "d"]);
  }));

Deno.test("with the other strategies the line decides about early jobs when it is there", async () => {
  const expected = {
    "block": "result: a, result: b, result: c",
    "drop-oldest": "failed: OverloadError, result: b, result: c",
    "drop-newest": "result: a, result: b, failed: OverloadError",
  } as const;
  for (const [overload, outcome] of Object.entries(expected)) {
    await withRig(
      { highWaterMark: 1, overload: overload as keyof typeof expected },
      function* (rig) {
        const jobs = ["a", "b", "c"].map((name) => rig.submit(name));
        rig.arrive();
        yield* rig.pool.shutdown();
        const outcomes = jobs.map((job) =>
          job.exception() === undefined
            ? `result: ${job.result()}`
            : `failed: ${(job.exception() as Error).name}`
        );
        assertEquals(outcomes.join(", "), outcome);
      },
    );
  }
});

Deno.test("a second loop is refused while early jobs of the first wait", () =>
  withRig({}, function* (rig) {
    const job = rig.submit("a");
    const other = newEventLoop();
    other.callSoon(() => {
      assertThrows(
        () => rig.submit("b"),
        MisuseError,
        'Cannot use ThreadPool "test": it is in use on another event loop',
      );
      other.stop();
    });
    other.runForever();
    yield* sleep(1);
    rig.arrive();
    assertEquals(yield* job, "a");
    other.close();
  }, "portable"));

Deno.test("no loop, no early job", () => {
  const rig = new Rig();
  assertThrows(() => rig.submit("a"), MisuseError);
  assertEquals([rig.loads, rig.pool.stats().queued], [0, 0]);
});

Deno.test("task-local values of the submitter go along", () =>
  withRig({}, function* (rig) {
    color.set("green");
    const job = rig.submit("a");
    color.set("blue");
    rig.arrive();
    yield* job;
    assertEquals(rig.locals, [{ "lazy-pool-color": "green" }]);
  }));

Deno.test("an error of an early job has the place of its submission", async () => {
  const rig = new Rig();
  await run(async () => {
    const submitHere = () => rig.submit("fails");
    const job = submitHere();
    rig.arrive();
    const error = await assertRejects(async () => await job, Error, "broken");
    const place = error.stack!.split("--- submitted at ---\n")[1]!;
    assert(!/LazyPool|PoolCore/.test(place), place);
    assertStringIncludes(place, "submitHere");
    await rig.pool.shutdown();
  });
});

Deno.test("code that cannot be loaded fails the jobs with the cause, and is loaded again for the next one", () =>
  withRig({}, function* (rig) {
    const jobs = [rig.submit("a"), rig.submit("b")];
    yield* sleep(0);
    const cause = new TypeError("no such module");
    rig.fail(cause);
    for (const job of jobs) {
      let error: unknown;
      try {
        yield* job;
      } catch (thrown) {
        error = thrown;
      }
      assert(error instanceof WorkerCrashError);
      assertEquals(error.kind, "start");
      assertEquals(error.cause, cause);
      assertStringIncludes(
        error.message,
        'no thread of ThreadPool "test" could be started, as the code of pools could not be loaded',
      );
    }
    assertEquals(rig.pool.stats().crashed, 2);
    rig.arrive();
    assertEquals(yield* rig.submit("c"), "c");
    assertEquals(rig.loads, 2);
  }));

// -- A fresh process --

for (const kind of ["threads", "processes"]) {
  Deno.test(`the first pool of a process runs its early jobs (${kind})`, async () => {
    const { stdout, stderr } = await runDeno([
      "run",
      "--no-check",
      "--allow-read",
      "--allow-run",
      "tests/workers/support/fresh_pool.ts",
      kind,
    ]);
    assertEquals(stderr, "");
    assertEquals(JSON.parse(stdout), {
      queued: 3,
      outcomes: [11, "cancelled", 13, 14],
      done: 3,
      cancelled: 1,
    });
  });
}

Deno.test("the entry does not load what only a pool with jobs needs", async () => {
  const order = await Deno.readTextFile(
    new URL("../../src/load_order.ts", import.meta.url),
  );
  assertStringIncludes(order, "/lazy_pool.ts");
  for (
    const name of ["make_pool", "pool_core", "crew", "lazy_link", "thread_link"]
  ) {
    assert(!order.includes(`/${name}.ts`), name);
  }
});
