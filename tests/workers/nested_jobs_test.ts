/**
 * Jobs that submit jobs to their own pool, in real threads and processes.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  type BaseExecutor,
  CancelledError,
  type Coroutine,
  EventLoop,
  getRunningLoop,
  LoopHandle,
  MisuseError,
  type ModuleTask,
  type PoolOptions,
  ProcessPool,
  run,
  scoped,
  taskModule,
  ThreadPool,
  TimeoutError,
  WorkerCrashError,
} from "../../mod.ts";
import type { AnyJob } from "../../src/workers/job.ts";
import type { NestedSpec } from "../../src/workers/link.ts";
import { fakePool, TASK } from "./support/fake_workers.ts";
import { requestId } from "./support/nested_jobs.ts";
import { endOf, inLoop, outcomes, submit } from "./support/pool_steps.ts";
import { TestRunner } from "./support/runner.ts";
import { eventually } from "./support/threads.ts";

const jobs = taskModule<typeof import("./support/nested_jobs.ts")>(
  new URL("./support/nested_jobs.ts", import.meta.url),
);

const POOLS: readonly [
  string,
  (options: PoolOptions) => ThreadPool | ProcessPool,
][] = [
  ["threads", (options) => new ThreadPool(options)],
  ["processes", (options) => new ProcessPool(options)],
];

/** Ways to submit and wait. */
const CALLS = [
  ["async", jobs.call],
  ["generator", jobs.callInCoroutine],
  ["plain", jobs.callInPlain],
] as const;

/** Waits until all jobs of a pool have ended. */
async function untilQuiet(pool: BaseExecutor): Promise<void> {
  await eventually("no job is left", () => {
    const { queued, running } = pool.stats();
    return queued === 0 && running === 0;
  });
}

for (const [kind, makePool] of POOLS) {
  const test = (name: string, body: () => Promise<void>) =>
    Deno.test(`${kind}: ${name}`, () => run(body));

  test("jobs that divide themselves use all the room that there is", async () => {
    await using pool = makePool({ maxWorkers: 4 });
    assertEquals(await pool.submit(jobs.fib, [20, 3]), 6_765);
    assertEquals(await pool.submit(jobs.fibInCoroutine, [20, 3]), 6_765);
    const { done, failed, crashed } = pool.stats();
    assert(done > 4, `${done} jobs`);
    assertEquals([failed, crashed], [0, 0]);
  });

  Deno.test(`${kind}: a generator program whose jobs divide themselves`, async () => {
    const sum = await run(function* (): Coroutine<number> {
      return yield* scoped(makePool({ maxWorkers: 2 }), function* (pool) {
        return yield* pool.submit(jobs.fibInCoroutine, [10, 1]);
      });
    });
    assertEquals(sum, 55);
  });

  test("each style gets results, errors and names", async () => {
    await using pool = makePool({ maxWorkers: 2 });
    for (const [, call] of CALLS) {
      assertEquals(await pool.submit(call, ["add", [1, 2]]), 3);
      assertEquals(await pool.submit(call, ["echo", [[new Date(5)]]]), [
        new Date(5),
      ]);
      assertEquals(await pool.submit(call, ["nameOf", []]), "nameOf");
      assertEquals(
        await pool.submit(call, ["nameOf", [], { name: "other" }]),
        "other",
      );
      const error = await assertRejects(
        async () => await pool.submit(call, ["fail", ["mine"]]),
        RangeError,
        "mine",
      );
      assertInstanceOf(error.cause, TypeError);
    }
  });

  test("a job may submit many jobs, and after awaits of its own", async () => {
    await using pool = makePool({ maxWorkers: 2, concurrency: 16 });
    assertEquals(
      await pool.submit(jobs.callMany, [20]),
      Array.from({ length: 20 }, (_, n) => 2 * n),
    );
    assertEquals(await pool.submit(jobs.callLate, []), 2);
  });

  for (const maxWorkers of [1, 2]) {
    test(`a pool of ${maxWorkers} that is full refuses`, async () => {
      await using pool = makePool({ maxWorkers });
      const others = Array.from(
        { length: maxWorkers - 1 },
        () => pool.submit(jobs.wait, []),
      );
      for (const [, call] of CALLS) {
        await assertRejects(
          async () => await pool.submit(call, ["add", [1, 2]]),
          MisuseError,
          "Cannot submit a job from inside a job of",
        );
      }
      assertEquals(pool.stats().running, others.length);
      for (const other of others) other.cancel();
    });
  }

  test("a refused job leaves no trace, and the pool goes on", async () => {
    await using pool = makePool({ maxWorkers: 1, concurrency: 1 });
    const call = pool.submit(jobs.call, ["add", [1, 2]]);
    await assertRejects(async () => await call, MisuseError);
    assertEquals(await pool.submit(jobs.add, [1, 2]), 3);
    const { done, failed, cancelled, queued } = pool.stats();
    assertEquals([done, failed, cancelled, queued], [1, 1, 0, 0]);
  });

  test("uncloneable arguments fail that job only", async () => {
    await using pool = makePool({ maxWorkers: 2 });
    assertEquals(await pool.submit(jobs.callUncloneable, []), "DataCloneError");
    assertEquals(
      await pool.submit(jobs.callUncloneableInCoroutine, []),
      "DataCloneError",
    );
    assertEquals(await pool.submit(jobs.call, ["add", [1, 2]]), 3);
  });

  test("bad arguments are refused before anything is sent", async () => {
    await using pool = makePool({ maxWorkers: 2 });
    assertEquals(await pool.submit(jobs.callWrongly, []), [
      "TypeError",
      "TypeError",
      "TypeError",
      "RangeError",
      "TypeError",
    ]);
    assertEquals(pool.stats().done, 1);
  });

  test("after the end of a job nothing is submitted", async () => {
    await using pool = makePool({ maxWorkers: 1 });
    await pool.submit(jobs.leaveJob, []);
    assertEquals(
      await pool.submit(jobs.callAfterEnd, []),
      'MisuseError: Cannot submit a job: job "leaveJob" has ended',
    );
  });

  const waits: readonly ModuleTask<[], unknown>[] = [
    jobs.waitNested,
    jobs.waitNestedInCoroutine,
  ];
  for (const task of waits) {
    test(`cancelling ${task.name} cancels the job that it waits for`, async () => {
      await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
      const job = pool.submit(task, [], {
        onProgress: () => job.cancel("enough"),
      });
      const error = await assertRejects(async () => await job, CancelledError);
      assertEquals(error.message, "Cancelled: enough");
      await untilQuiet(pool);
      const { cancelled, crashed, failed } = pool.stats();
      assertEquals([cancelled, crashed, failed], [2, 0, 0]);
    });
  }

  test("a job that does not react to its cancellation sees that of its job", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
    const job = pool.submit(jobs.ignoreAbort, [], {
      onProgress: () => job.cancel("enough"),
    });
    await assertRejects(async () => await job, CancelledError);
    await untilQuiet(pool);
    assertEquals(pool.stats().cancelled, 2);
  });

  test("the deadline of a job cancels the job that it waits for", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
    await pool.submit(jobs.add, [1, 2]);
    const job = pool.submit(jobs.waitNested, [], {
      deadlineMs: getRunningLoop().time() + 300,
    });
    await assertRejects(async () => await job, TimeoutError);
    await untilQuiet(pool);
    const { failed, crashed, workers } = pool.stats();
    assertEquals([failed, crashed, workers.stopping], [0, 0, 0]);
  });

  test("when the worker of a job is killed, its jobs are cancelled", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 500 });
    const job = pool.submit(jobs.spinNested, [], {
      onProgress: () => job.cancel("enough"),
    });
    await assertRejects(async () => await job, CancelledError, "enough");
    await untilQuiet(pool);
    const { cancelled, crashed, failed } = pool.stats();
    assertEquals([cancelled, crashed, failed], [2, 0, 0]);
    assertEquals(await pool.submit(jobs.call, ["add", [1, 2]]), 3);
  });

  test("a job that runs again submits its jobs again", async () => {
    await using pool = makePool({
      maxWorkers: 2,
      cancelGraceMs: 60_000,
      onCrash: "retry",
      retriesMax: 1,
    });
    const job = pool.submit(jobs.dieNested, [], { idempotent: true });
    await assertRejects(async () => await job, WorkerCrashError);
    await untilQuiet(pool);
    const { cancelled, crashed, rerun } = pool.stats();
    assertEquals([cancelled, crashed, rerun], [2, 1, 1]);
  });

  Deno.test(`${kind}: the error of a job whose submitter has ended is reported`, async () => {
    const reports: unknown[] = [];
    await run(async () => {
      getRunningLoop().setExceptionHandler((_, { exception }) =>
        reports.push(exception)
      );
      await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
      assertEquals(
        await pool.submit(jobs.returnEarly, ["waitAndFail"]),
        "early",
      );
      await untilQuiet(pool);
      assertEquals(pool.stats().failed, 1);
    });
    assertEquals(reports.length, 1);
    assertInstanceOf(reports[0], RangeError);
    assertEquals(reports[0].message, "at the end");
  });

  test("when the worker of a job dies, its jobs are cancelled", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
    const job = pool.submit(jobs.dieNested, []);
    const error = await assertRejects(async () => await job, WorkerCrashError);
    assertEquals(error.exitCode, 7);
    await untilQuiet(pool);
    const { cancelled, crashed } = pool.stats();
    assertEquals([cancelled, crashed], [1, 1]);
    assertEquals(await pool.submit(jobs.call, ["add", [1, 2]]), 3);
  });

  test("when the worker of a submitted job dies, the submitter is told", async () => {
    await using pool = makePool({ maxWorkers: 3, cancelGraceMs: 60_000 });
    const error = await assertRejects(
      async () => await pool.submit(jobs.call, ["dieNested", []]),
      WorkerCrashError,
    );
    assertEquals([error.kind, error.exitCode], ["exit", 7]);
    await untilQuiet(pool);
    const { cancelled, crashed, failed } = pool.stats();
    assertEquals([cancelled, crashed, failed], [1, 1, 1]);
  });

  test("when a job returns, its jobs are cancelled", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
    assertEquals(await pool.submit(jobs.returnEarly, ["wait"]), "early");
    await untilQuiet(pool);
    assertEquals(pool.stats().cancelled, 1);
    assertEquals(await pool.submit(jobs.leaveBehind, []), "left");
    await untilQuiet(pool);
    assertEquals(pool.stats().cancelled, 2);
    assertEquals(await pool.submit(jobs.call, ["add", [1, 2]]), 3);
  });

  test("a job cancels its job by the future and by a signal", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
    for (const how of ["future", "signal", "aborted before"]) {
      assertEquals(
        await pool.submit(jobs.cancelNested, [how]),
        "true: CancelledError",
        how,
      );
    }
    await untilQuiet(pool);
    assertEquals(pool.stats().cancelled, 2);
  });

  test("deadlines and progress work as outside", async () => {
    await using pool = makePool({ maxWorkers: 2, cancelGraceMs: 60_000 });
    assertEquals(await pool.submit(jobs.deadlines, []), [true, "TimeoutError"]);
    assertEquals(await pool.submit(jobs.tellAll, []), [0, 1, 2, 3]);
  });

  test("task-local values and moved buffers go along", async () => {
    await using pool = makePool({ maxWorkers: 2 });
    requestId.set("r 7");
    assertEquals(await pool.submit(jobs.call, ["readLocal", []]), "r 7");
    assertEquals(await pool.submit(jobs.move, []), [0, 3]);
  });

  test("a shutdown lets jobs end that need others", async () => {
    const pool = makePool({ maxWorkers: 2 });
    const job = pool.submit(jobs.fib, [10, 1]);
    await pool.shutdown();
    assertEquals(await job, 55);
  });
}

Deno.test("threads: loop handles go along", () =>
  run(async () => {
    await using pool = new ThreadPool({ maxWorkers: 2 });
    using handle = new LoopHandle<{ double(n: number): number }>();
    handle.register("double", (n) => 2 * n);
    assertEquals(
      await pool.submit(jobs.handOn, [handle as unknown as LoopHandle]),
      42,
    );
  }));

// -- The pool, with workers that the test plays --

const SPEC: NestedSpec = {
  number: 1,
  name: "nested",
  task: TASK,
  args: [],
  transfer: [],
  rank: 0,
  remainingMs: Infinity,
  idempotent: false,
  locals: null,
  tellsProgress: false,
};

Deno.test("a job that is to end, or has ended, submits nothing", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2 });
    const parent = submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    const id = worker.idOf();
    assertEquals(worker.listener.nested(id + 1, SPEC, null), null);
    parent.cancel("enough");
    assertThrows(
      () => worker.listener.nested(id, SPEC, null),
      CancelledError,
      'job "a" is to end',
    );
    worker.throws(new CancelledError());
    assertEquals(worker.listener.nested(id, SPEC, null), null);
    yield* endOf(fake);
  });
});

Deno.test("a job is refused unless there is room for all that wait", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    const nested = worker.listener.nested(worker.idOf(), SPEC, null)!;
    assertEquals(fake.pool.stats().queued, 1);
    assertThrows(
      () => worker.listener.nested(worker.idOf(), SPEC, null),
      MisuseError,
    );
    assertEquals(fake.pool.stats().queued, 1);
    fake.workers.at(1).ready().returns(5, "nested");
    assertEquals(outcomes(nested), ["result: 5"]);
    worker.returns(0);
    yield* endOf(fake);
  });
});

Deno.test("a loop that is closed ends a job and the one that it waits for once", async () => {
  const fake = fakePool({ maxWorkers: 2, cancelGraceMs: 50 });
  const loop = new EventLoop();
  const reports: string[] = [];
  loop.setExceptionHandler((_, { message }) => reports.push(message));
  let nested: AnyJob | null = null;
  await loop.runUntilComplete(function* () {
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    nested = worker.listener.nested(worker.idOf(), SPEC, null);
    worker.abort = (_id, reason) => void nested!.cancel(reason); // as links do
  });
  loop.close();
  assert(nested!.cancelled());
  assertEquals(reports.length, 1); // of the task that stands for the jobs
  const { queued, running, cancelled } = fake.pool.stats();
  assertEquals([queued, running, cancelled], [0, 0, 2]);
  fake.clock.advance(50);
  fake.workers.obey();
  for (const worker of fake.workers.left) worker.ends();
});

// -- The worker, with a pool that the test plays --

for (const name of ["waitNested", "waitNestedInCoroutine"]) {
  Deno.test(`${name}: a worker that ends cancels what its jobs wait for`, async () => {
    await using test = new TestRunner();
    const module = new URL("./support/nested_jobs.ts", import.meta.url);
    const job = test.run({ module, name });
    await eventually("it was submitted", () => test.nested.length > 0);
    const { id, spec } = test.nested[0]!;
    assertEquals([id, spec.name, spec.tellsProgress], [job.id, "wait", true]);
    await test.runner.close();
    const outcome = await job.outcome;
    assert("error" in outcome && outcome.error instanceof CancelledError);
    assertEquals([test.ends, test.withdrawn], [1, []]);
    test.runner.nested.returned(spec.number, "too late");
  });
}

Deno.test("a cancelled job withdraws once, and waits for the answer", async () => {
  await using test = new TestRunner();
  const module = new URL("./support/nested_jobs.ts", import.meta.url);
  const job = test.run({ module, name: "waitNested" });
  await eventually("it was submitted", () => test.nested.length > 0);
  const { number } = test.nested[0]!.spec;
  test.runner.abort(job.id, new CancelledError("first"));
  test.runner.abort(job.id, new CancelledError("second"));
  await eventually("it was withdrawn", () => test.withdrawn.length > 0);
  assertEquals([test.withdrawn.length, test.ends], [1, 0]);
  test.runner.nested.threw(number, new CancelledError("answer"));
  const outcome = await job.outcome;
  assert("error" in outcome && outcome.error instanceof CancelledError);
  assertEquals(outcome.error.message, "Cancelled: first");
});
