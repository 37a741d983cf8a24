/**
 * Shutdown of a pool, and what all executors do alike: `map` and disposal.
 *
 * @module
 */
import { CLOSE_MARGIN_MS } from "../../src/workers/pool_clock.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  each,
  type Future,
  getRunningLoop,
  type Operation,
  run,
  sleep,
} from "../../mod.ts";
import { core } from "../../src/loop/core.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { BaseExecutor } from "../../src/workers/base_executor.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "../../src/workers/executor.ts";
import type { ExecutorTask, JobResult } from "../../src/workers/module_task.ts";
import { checkSubmitOptions } from "../../src/workers/submit_options.ts";
import { type FakePool, fakePool, TASK } from "./support/fake_workers.ts";
import { endOf, inLoop, outcomes, submit } from "./support/pool_steps.ts";
import { inStyle, STYLES } from "../support/styles.ts";

Deno.test("a pool without workers is shut down at once, and takes no more jobs", async () => {
  await inLoop(function* () {
    const fake = fakePool();
    const down = getRunningLoop().createTask(fake.pool.shutdown());
    yield;
    assert(down.done());
    assertThrows(
      () => submit(fake, "a"),
      ExecutorShutDownError,
      'Cannot submit a job: ThreadPool "test" was shut down',
    );
    const again = getRunningLoop().createTask(fake.pool.shutdown());
    yield;
    assert(again.done());
    assertEquals(fake.clock.pending, 0);
  });
});

Deno.test("pending jobs run, workers without a job end at once, and the others when they have none", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2, minWorkers: 2 });
    const jobs = ["a", "b", "c"].map((name) => submit(fake, name));
    const [first, second] = fake.workers.all;
    first!.ready();
    second!.ready();
    const loop = getRunningLoop();
    const down = loop.createTask(fake.pool.shutdown());
    yield;
    assertThrows(() => submit(fake, "d"), ExecutorShutDownError);
    first!.returns(1);
    assertEquals(first!.sent, ["a", "c"]);
    second!.returns(2);
    assert(second!.isClosed && !first!.isClosed);
    second!.ends();
    first!.returns(3);
    assert(first!.isClosed);
    yield;
    assertEquals([down.done(), loop[core].outside.waits], [false, 1]);
    first!.ends();
    yield;
    assertEquals([down.done(), loop[core].outside.waits], [true, 0]);
    assertEquals(outcomes(...jobs), ["result: 1", "result: 2", "result: 3"]);
    assertEquals(fake.workers.all.length, 2);
    assertEquals(fake.clock.pending, 0);
  });
});

Deno.test("cancelPending cancels the jobs in line", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const jobs = ["a", "b"].map((name) => submit(fake, name));
    const worker = fake.workers.at(0).ready();
    const down = getRunningLoop().createTask(
      fake.pool.shutdown({ cancelPending: true }),
    );
    yield;
    assertEquals(outcomes(...jobs), [
      "pending",
      'cancelled: Cancelled: ThreadPool "test" was shut down',
    ]);
    worker.returns(1);
    worker.ends();
    yield;
    assert(down.done());
    assertEquals(outcomes(jobs[0]!), ["result: 1"]);
  });
});

Deno.test("after the grace the jobs are cancelled, and after theirs the workers killed", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 50 });
    const jobs = ["a", "b"].map((name) => submit(fake, name));
    const worker = fake.workers.at(0).ready();
    const down = getRunningLoop().createTask(
      fake.pool.shutdown({ graceMs: 200 }),
    );
    yield;
    fake.clock.advance(199);
    assertEquals(worker.aborted.length, 0);
    fake.clock.advance(1);
    assertEquals(worker.aborted.length, 1);
    assertEquals(
      String(worker.aborted[0]!.reason),
      'CancelledError: Cancelled: ThreadPool "test" was shut down',
    );
    assertEquals(jobs[1]!.cancelled(), true);
    fake.clock.advance(50);
    assert(worker.isKilled);
    worker.ends();
    yield;
    assert(down.done() && jobs[0]!.cancelled());
    assertEquals(fake.clock.pending, 0);
  });
});

Deno.test("a second call joins, and may shorten the grace but not lengthen it", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const job = submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    const loop = getRunningLoop();
    const calls = [1_000, 100, 500].map((graceMs) =>
      loop.createTask(fake.pool.shutdown({ graceMs }))
    );
    yield;
    fake.clock.advance(100);
    assertEquals(worker.aborted.length, 1);
    worker.returns(0);
    worker.ends();
    yield;
    assertEquals(calls.map((call) => call.done()), [true, true, true]);
    assert(job.cancelled());
  });
});

Deno.test("workers that are starting end as well", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 50 });
    const job = submit(fake, "a");
    const down = getRunningLoop().createTask(fake.pool.shutdown());
    yield;
    const worker = fake.workers.at(0);
    assert(!worker.isClosed); // it has a job to do
    job.cancel();
    fake.clock.advance(0);
    yield;
    const late = fakePool({ cancelGraceMs: 50 });
    submit(late, "a").cancel();
    const other = getRunningLoop().createTask(late.pool.shutdown());
    yield;
    for (const { workers, clock } of [fake, late]) {
      assert(workers.at(0).isClosed);
      clock.advance(50 + CLOSE_MARGIN_MS);
      assert(workers.at(0).isKilled);
      workers.obey();
    }
    yield;
    assert(down.done() && other.done());
    assertEquals(fake.clock.pending + late.clock.pending, 0);
  });
});

Deno.test("a pool that is shut down while it cannot start workers fails its jobs and ends", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, maxRestarts: 0 });
    const job = submit(fake, "a");
    const down = getRunningLoop().createTask(fake.pool.shutdown());
    yield;
    fake.workers.at(0).ends({ kind: "start" });
    yield;
    assert(down.done());
    assert(job.exception() instanceof Error);
    assertEquals(fake.clock.pending, 0);
  });
});

for (const style of STYLES) {
  Deno.test(`a wait for the shutdown can be cancelled in ${style}, and the shutdown goes on`, async () => {
    await inLoop(function* () {
      const fake = fakePool({ maxWorkers: 1 });
      submit(fake, "a");
      const worker = fake.workers.at(0).ready();
      const loop = getRunningLoop();
      const wait = loop.createTask(inStyle(style, function* () {
        yield fake.pool.shutdown();
      }));
      yield;
      wait.cancel("impatient");
      yield;
      yield;
      assertEquals(outcomes(wait), ["cancelled: Cancelled: impatient"]);
      worker.returns(0);
      assert(worker.isClosed);
      worker.ends();
      yield;
      yield;
      assertEquals(fake.clock.pending, 0);
      assertEquals(loop[core].outside.waits, 0);
    });
  });
}

Deno.test("options of shutdown are checked at the call", () => {
  const { pool } = fakePool();
  assertThrows(
    () => pool.shutdown({ graceMs: -1 }),
    RangeError,
    "Cannot shut down an executor as graceMs must be >= 0: received -1",
  );
  assertThrows(
    () => pool.shutdown({ cancelPending: 1 as never }),
    TypeError,
    "cancelPending",
  );
  assertThrows(() => pool.shutdown(7 as never), TypeError, "options");
});

// -- What all executors do alike --

class FakeExecutor extends BaseExecutor {
  readonly fake: FakePool;

  constructor(fake: FakePool) {
    super();
    this.fake = fake;
  }

  get capacity(): number {
    return this.fake.pool.capacity;
  }

  submit<A extends readonly unknown[], R>(
    _task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    return this.fake.pool.submit(TASK, args, checkSubmitOptions(options));
  }

  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.fake.pool.shutdown(options);
  }

  stats(): ExecutorStats {
    return this.fake.pool.stats();
  }
}

/** Workers that double what they are given, the last one first, until `isOver`. */
async function play(fake: FakePool, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    for (const worker of fake.workers.left.toReversed()) {
      if (worker.isClosed || worker.isKilled) worker.ends();
      else if (worker.state === "starting") worker.ready();
      else if (worker.has.size > 0) {
        const [spec] = worker.has.values();
        const [value] = spec!.args as [number];
        if (value < 0) worker.throws(new RangeError(`${value}`));
        else worker.returns(2 * value);
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

const double = (value: number) => 2 * value;

Deno.test("map pulls an item when there is room, and gives the results in order", async () => {
  const fake = fakePool({ maxWorkers: 2 });
  const executor = new FakeExecutor(fake);
  let isOver = false;
  const playing = play(fake, () => isOver);
  let pulled = 0;
  let most = 0;
  function* source() {
    for (let value = 0; value < 10; value++) {
      pulled++;
      const { done } = fake.pool.stats();
      most = Math.max(most, pulled - done);
      yield value;
    }
  }
  await run(async () => {
    await using pool = executor;
    const results = await pool.map(double, source());
    assertEquals(results, Array.from({ length: 10 }, (_, n) => 2 * n));
    assert(most <= 2, `${most} at a time`);
    const seen: number[] = [];
    for await (const n of pool.map(double, [3, 4, 5], { ordered: false })) {
      seen.push(n);
    }
    assertEquals(seen.toSorted(), [10, 6, 8]);
    await assertRejects(
      async () => await pool.map(double, [1, -7, 2, 3]),
      RangeError,
      "-7",
    );
  });
  isOver = true;
  await playing;
  assertEquals(fake.pool.stats().workers.idle, 0);
});

Deno.test("map in a generator coroutine", async () => {
  const fake = fakePool({ maxWorkers: 2 });
  const executor = new FakeExecutor(fake);
  let isOver = false;
  const playing = play(fake, () => isOver);
  await run(function* () {
    const seen: number[] = [];
    yield* each(executor.map(double, [1, 2, 3]), (value) => {
      seen.push(value);
    });
    assertEquals(seen, [2, 4, 6]);
    assertEquals(yield* executor.map(double, [4], { idempotent: true }), [8]);
    yield* executor.shutdown();
  });
  isOver = true;
  await playing;
});

Deno.test("map checks its arguments at the call", () => {
  const executor = new FakeExecutor(fakePool());
  assertThrows(
    () => executor.map(double, 7 as never),
    TypeError,
    "Cannot map over a source as source must be iterable: received 7",
  );
  assertThrows(
    () => executor.map(double, [], { idempotent: "yes" as never }),
    TypeError,
    "idempotent",
  );
  assertThrows(
    () => executor.map(double, [], { ordered: 1 as never }),
    TypeError,
    "ordered",
  );
});

Deno.test("an executor is disposed of outside of any loop as well", async () => {
  const fake = fakePool();
  let isOver = false;
  const playing = play(fake, () => isOver);
  {
    await using executor = new FakeExecutor(fake);
    assertEquals(
      await run(async () => await executor.submit(double, [21])),
      42,
    );
  }
  isOver = true;
  await playing;
  assertEquals(fake.workers.left, []);
  await run(async () => {
    for (const _ of endOf(fake)) await sleep(0);
  });
});
