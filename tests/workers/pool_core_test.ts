/**
 * The core of the pools with workers that a test plays: who gets which job, and
 * when workers are started, replaced and ended.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  allTasks,
  CancelledError,
  getRunningLoop,
  MisuseError,
  OverloadError,
  run,
  sleep,
} from "../../mod.ts";
import { core } from "../../src/loop/core.ts";
import { WorkerCrashError } from "../../src/errors.ts";
import { PoolCore } from "../../src/workers/pool_core.ts";
import {
  CLOSE_GRACE_MS,
  CLOSE_MARGIN_MS,
} from "../../src/workers/pool_clock.ts";
import { settlePoolOptions } from "../../src/workers/pool_options.ts";
import { fakePool, FakeWorkers, TASK } from "./support/fake_workers.ts";
import {
  endOf,
  inLoop,
  nextWorker,
  outcomes,
  submit,
} from "./support/pool_steps.ts";

function crashOf(future: { exception(): unknown }): WorkerCrashError {
  const error = future.exception();
  assert(error instanceof WorkerCrashError);
  return error;
}

// -- Who gets what --

Deno.test("a job starts a worker, and gets it when that is ready", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool();
    const { pool, workers } = fake;
    assertEquals(workers.all.length, 0);
    const job = submit(fake, "first");
    assertEquals(pool.stats().queued, 1);
    assertEquals(pool.stats().workers.starting, 1);
    const worker = workers.at(0).ready();
    assertEquals(worker.sent, ["first"]);
    assertEquals(pool.stats().running, 1);
    worker.returns(42);
    assertEquals(outcomes(job), ["result: 42"]);
    const { done, queued, running, workers: counts } = pool.stats();
    assertEquals([done, queued, running], [1, 0, 0]);
    assertEquals(counts, { starting: 0, idle: 1, busy: 0, stopping: 0 });
    const second = submit(fake, "second");
    assertEquals(worker.sent, ["first", "second"]);
    worker.throws(new Error("broken"));
    assertEquals(outcomes(second), ["failed: broken"]);
    yield* endOf(fake);
    assertEquals(fake.clock.pending, 0);
  });
  assertEquals(told, []);
});

Deno.test("a job that is cancelled while it is sent is aborted after it was sent", async () => {
  await inLoop(function* () {
    const fake = fakePool();
    const { workers } = fake;
    submit(fake, "warm");
    const worker = workers.at(0).ready();
    worker.returns(0);
    const send = worker.send.bind(worker);
    const log: string[] = [];
    const { pool } = fake;
    worker.abort = (id) => log.push(`abort ${id}`);
    worker.send = (job) => {
      pool.cancelAll("why"); // as a getter of an argument may
      send(job);
      log.push(`send ${job.id}`);
    };
    const job = submit(fake, "job");
    assertEquals(log, ["abort 2", "send 2", "abort 2"]);
    worker.throws(new CancelledError("why"));
    assertEquals(outcomes(job).length, 1);
    yield* endOf(fake);
    assertEquals(fake.clock.pending, 0);
  });
});

Deno.test("a job that is submitted while another one is sent in vain gets the worker", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    submit(fake, "warm");
    const worker = fake.workers.at(0).ready();
    worker.returns(0);
    const { send } = worker;
    worker.send = () => {
      worker.send = send;
      submit(fake, "inner"); // as a getter of an argument may
      throw new TypeError("cannot be cloned");
    };
    const outer = submit(fake, "outer");
    assertEquals(outcomes(outer), ["failed: cannot be cloned"]);
    assertEquals(worker.sent, ["warm", "inner"]);
    worker.returns(1);
    yield* endOf(fake);
  });
});

Deno.test("no more workers are started than there are jobs for, and than there may be", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 3 });
    submit(fake, "a");
    assertEquals(fake.workers.all.length, 1);
    submit(fake, "b");
    assertEquals(fake.workers.all.length, 2);
    for (const name of "cdefg") submit(fake, name);
    assertEquals(fake.workers.all.length, 3);
    for (const worker of fake.workers.all) worker.ready();
    for (const worker of [...fake.workers.all, ...fake.workers.all]) {
      worker.returns(0);
    }
    fake.workers.at(0).returns(0);
    assertEquals(fake.workers.all.map(({ sent }) => sent), [
      ["a", "d", "g"],
      ["b", "e"],
      ["c", "f"],
    ]);
    yield* endOf(fake);
  });
});

Deno.test("jobs go by priority, then first come, first served", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    submit(fake, "b", { priority: "background" });
    submit(fake, "c");
    submit(fake, "d", { priority: "user-blocking" });
    submit(fake, "e");
    submit(fake, "f", { priority: 10 });
    while (worker.has.size > 0) worker.returns(0);
    assertEquals(worker.sent, ["a", "d", "f", "c", "e", "b"]);
    yield* endOf(fake);
  });
});

Deno.test("the worker that became idle last gets the next job", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 3 });
    for (const name of "abc") submit(fake, name);
    for (const worker of fake.workers.all) worker.ready();
    for (const index of [2, 0, 1]) fake.workers.at(index).returns(0);
    submit(fake, "d");
    submit(fake, "e");
    assertEquals(fake.workers.at(1).sent, ["b", "d"]);
    assertEquals(fake.workers.at(0).sent, ["a", "e"]);
    for (const index of [0, 1]) fake.workers.at(index).returns(0);
    yield* endOf(fake);
  });
});

Deno.test("several jobs at a time: idle workers first, then those with the fewest", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2, concurrency: 2 });
    assertEquals(fake.pool.capacity, 4);
    for (const name of "abc") submit(fake, name);
    assertEquals(fake.workers.all.length, 2);
    for (const worker of fake.workers.all) worker.ready();
    assertEquals(fake.workers.at(0).sent, ["a", "b"]);
    assertEquals(fake.workers.at(1).sent, ["c"]);
    submit(fake, "d");
    submit(fake, "e");
    assertEquals(fake.workers.at(1).sent, ["c", "d"]);
    fake.workers.at(1).returns(0, "d");
    assertEquals(fake.workers.at(1).sent, ["c", "d", "e"]);
    for (const worker of fake.workers.all) {
      while (worker.has.size > 0) worker.returns(0);
    }
    yield* endOf(fake);
  });
});

Deno.test("what cannot be sent fails that job alone", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    worker.returns(0);
    worker.refusal = new DOMException("no clone", "DataCloneError");
    const job = submit(fake, "b");
    assertEquals(outcomes(job), ["failed: no clone"]);
    assertEquals(fake.pool.stats().failed, 1);
    const next = submit(fake, "c");
    worker.returns(1);
    assertEquals(outcomes(next), ["result: 1"]);
    yield* endOf(fake);
  });
});

// -- Bounds --

Deno.test("jobs for which there can be a worker do not count towards highWaterMark", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      maxWorkers: 2,
      highWaterMark: 1,
      overload: "reject",
    });
    for (const name of "abc") submit(fake, name);
    assertThrows(
      () => submit(fake, "d"),
      OverloadError,
      'Cannot submit a job: the line of ThreadPool "test" is full, highWaterMark is 1',
    );
    for (const worker of fake.workers.all) worker.ready();
    assertThrows(() => submit(fake, "e"), OverloadError);
    fake.workers.at(0).returns(0);
    submit(fake, "f");
    assertThrows(() => submit(fake, "g"), OverloadError);
    const { queued, running, done } = fake.pool.stats();
    assertEquals([queued, running, done], [1, 2, 1]);
    for (const index of [0, 1, 0]) fake.workers.at(index).returns(0);
    yield* endOf(fake);
  });
});

Deno.test("with overload: block, jobs wait at the door whatever their priority", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, highWaterMark: 1 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    submit(fake, "b", { priority: "background" });
    submit(fake, "c");
    const gone = submit(fake, "d", { priority: "user-blocking" });
    submit(fake, "e", { priority: "user-blocking" });
    gone.cancel();
    assertEquals(fake.pool.stats().queued, 3);
    while (worker.has.size > 0) worker.returns(0);
    assertEquals(worker.sent, ["a", "b", "c", "e"]);
    yield* endOf(fake);
  });
});

for (
  const [overload, expected] of [
    ["drop-oldest", ["a", "c", "d"]],
    ["drop-newest", ["a", "b", "c"]],
  ] as const
) {
  Deno.test(`overload: ${overload} drops one of the lowest priority`, async () => {
    await inLoop(function* () {
      const fake = fakePool({ maxWorkers: 1, highWaterMark: 2, overload });
      const jobs = [submit(fake, "a")];
      const worker = fake.workers.at(0).ready();
      for (const name of "bcd") jobs.push(submit(fake, name));
      const low = submit(fake, "e", { priority: "background" });
      assertEquals(outcomes(low), [
        'failed: Cannot keep a job in line: the line of ThreadPool "test" is full, highWaterMark is 2',
      ]);
      while (worker.has.size > 0) worker.returns(0);
      assertEquals(worker.sent, [...expected]);
      const { done, cancelled } = fake.pool.stats();
      assertEquals([done, cancelled], [3, 2]);
      for (const job of jobs) outcomes(job); // it is seen
      yield* endOf(fake);
    });
  });
}

Deno.test("a nested submit is refused when the pool is full", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2 });
    submit(fake, "a");
    fake.workers.at(0).ready();
    fake.pool.refuseNested(); // another worker can be started
    submit(fake, "b");
    fake.workers.at(1).ready();
    assertThrows(
      () => fake.pool.refuseNested(),
      MisuseError,
      'Cannot submit a job from inside a job of ThreadPool "test": all its workers are busy',
    );
    fake.workers.at(1).returns(0);
    fake.pool.refuseNested();
    fake.workers.at(0).returns(0);
    yield* endOf(fake);
  });
});

// -- The loop --

Deno.test("a job holds the loop: the virtual clock stands still and no deadlock is reported", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const fake = fakePool();
    const job = submit(fake, "a");
    assertEquals(loop[core].outside.waits, 1);
    assertEquals(allTasks(loop).map(({ name }) => name), [
      "main",
      'ThreadPool "test"',
    ]);
    setTimeout(() => {
      fake.workers.at(0).ready();
      fake.workers.at(0).returns(7);
    }, 0);
    assertEquals(yield* job, 7);
    for (let turn = 0; turn < 3; turn++) yield* sleep(0);
    assertEquals(loop.time(), 0);
    assertEquals(loop[core].outside.waits, 0);
    assertEquals(allTasks(loop).map(({ name }) => name), ["main"]);
    for (const _ of endOf(fake)) yield* sleep(0);
  }, { host: "virtual", name: "main" });
});

Deno.test("a pool is not used from a second loop while it has jobs, and may be after that", async () => {
  const fake = fakePool({ maxWorkers: 1 });
  let first: Promise<void> | null = null;
  await run(async () => {
    const job = submit(fake, "a");
    first = run(() => {
      assertThrows(
        () => submit(fake, "b"),
        MisuseError,
        'Cannot use ThreadPool "test": it is in use on another event loop',
      );
    });
    await new Promise<void>((resolve) => first!.then(() => resolve()));
    fake.workers.at(0).ready().returns(1);
    assertEquals(await job, 1);
  });
  await run(async () => {
    const job = submit(fake, "c");
    fake.workers.at(0).returns(2);
    assertEquals(await job, 2);
    await drain(fake);
  });
});

async function drain(fake: ReturnType<typeof fakePool>): Promise<void> {
  for (const _ of endOf(fake)) await sleep(0);
}

Deno.test("the end of run cancels the jobs that are left, and waits until they have ended", async () => {
  const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 50 });
  const jobs: ReturnType<typeof submit>[] = [];
  await run(() => {
    jobs.push(submit(fake, "a"), submit(fake, "b"));
    const worker = fake.workers.at(0).ready();
    // At the end of a run nobody else is left who could wait for it.
    const look = setInterval(() => {
      if (worker.aborted.length === 0) return;
      clearInterval(look);
      assertEquals(outcomes(...jobs), ["pending", "cancelled: Cancelled"]);
      assertEquals(worker.aborted.length, 1);
      fake.clock.advance(50);
      assert(worker.isKilled);
      assertEquals(outcomes(jobs[0]!), ["pending"]);
      worker.ends();
    }, 1);
  });
  assertEquals(outcomes(...jobs), [
    "cancelled: Cancelled",
    "cancelled: Cancelled",
  ]);
  assertEquals(fake.pool.stats().cancelled, 2);
  assertEquals(fake.clock.pending, 0);
});

Deno.test("a loop that gives its tasks up ends the jobs at once, and their workers are killed after the grace", async () => {
  const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 50 });
  const jobs: ReturnType<typeof submit>[] = [];
  const told: string[] = [];
  await run(() => {
    getRunningLoop().setExceptionHandler((_, { message }) =>
      told.push(message)
    );
    jobs.push(submit(fake, "a"), submit(fake, "b"));
    fake.workers.at(0).ready();
  }, { cancelGraceMs: 5 });
  assertEquals(told.length, 1);
  assertEquals(outcomes(...jobs), [
    "cancelled: Cancelled",
    "cancelled: Cancelled",
  ]);
  const worker = fake.workers.at(0);
  assertEquals(fake.pool.stats().workers.busy, 1);
  fake.clock.advance(50);
  assert(worker.isKilled);
  await run(() => drain(fake));
  assertEquals(fake.pool.stats().cancelled, 2);
  assertEquals(fake.clock.pending, 0);
});

// -- Idle workers --

Deno.test("idle workers above the minimum end after idleTimeoutMs", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      minWorkers: 1,
      maxWorkers: 3,
      idleTimeoutMs: 100,
    });
    for (const name of "abc") submit(fake, name);
    for (const worker of fake.workers.all) worker.ready();
    fake.workers.at(0).returns(0);
    fake.clock.advance(60);
    fake.workers.at(1).returns(0);
    fake.workers.at(2).returns(0);
    fake.clock.advance(39);
    assertEquals(fake.pool.stats().workers.idle, 3);
    fake.clock.advance(1);
    assert(fake.workers.at(0).isClosed);
    assertEquals(fake.pool.stats().workers, {
      starting: 0,
      idle: 2,
      busy: 0,
      stopping: 1,
    });
    fake.clock.advance(60);
    assertEquals(fake.workers.all.map(({ isClosed }) => isClosed), [
      true,
      true,
      false,
    ]);
    fake.workers.obey();
    const { clock } = fake;
    clock.advance(10_000);
    assertEquals([clock.pending, fake.pool.stats().workers.idle], [0, 1]);
    yield* endOf(fake);
  });
});

Deno.test("minWorkers are started with the first job, and replaced when they die", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ minWorkers: 2, maxWorkers: 4 });
    submit(fake, "a");
    assertEquals(fake.workers.all.length, 2);
    for (const worker of fake.workers.all) worker.ready();
    fake.workers.at(0).returns(0);
    fake.workers.at(1).ends({ kind: "rejection", cause: new Error("stray") });
    assertEquals(fake.workers.all.length, 3);
    fake.workers.at(2).ready();
    yield* endOf(fake);
  });
  assertEquals(told, [
    'A thread of ThreadPool "test" died of a rejection that nobody handled: stray',
  ]);
});

Deno.test("a worker that closes may use its whole grace up", async () => {
  await inLoop(function* () {
    const fake = fakePool({ idleTimeoutMs: 10 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    worker.returns(0);
    fake.clock.advance(10);
    fake.clock.advance(CLOSE_GRACE_MS);
    assert(worker.isClosed && !worker.isKilled);
    worker.ends();
    yield* endOf(fake);
  });
});

Deno.test("a worker that does not end when it is told to is killed", async () => {
  await inLoop(function* () {
    const fake = fakePool({ idleTimeoutMs: 10, cancelGraceMs: 20 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    worker.returns(0);
    fake.clock.advance(10);
    assert(worker.isClosed && !worker.isKilled);
    fake.clock.advance(20 + CLOSE_MARGIN_MS - 1);
    assert(!worker.isKilled);
    fake.clock.advance(1);
    assert(worker.isKilled);
    worker.ends();
    yield* endOf(fake);
  });
});

// -- Death --

Deno.test("the end of a worker ends exactly the jobs that it had", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2 });
    const [a, b, c] = ["a", "b", "c"].map((name) => submit(fake, name));
    for (const worker of fake.workers.all) worker.ready();
    fake.workers.at(0).ends({ kind: "exit", exitCode: 7 });
    const error = crashOf(a!);
    assertEquals([error.kind, error.exitCode], ["exit", 7]);
    assertEquals(
      error.message,
      'Cannot finish job "a": its thread in ThreadPool "test" ended itself with exit code 7',
    );
    assert(error.stack!.includes("--- submitted at ---"));
    assert(error.stack!.includes("pool_core_test.ts"));
    assertEquals(outcomes(b!, c!), ["pending", "pending"]);
    fake.workers.at(1).returns(1);
    fake.workers.at(1).returns(2);
    assertEquals(outcomes(b!, c!), ["result: 1", "result: 2"]);
    assertEquals(fake.pool.stats().crashed, 1);
    yield* endOf(fake);
  });
  assertEquals(told, []);
});

Deno.test("jobs that the dead worker had not begun are again before those behind them", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, concurrency: 3 });
    const moved = { transfer: [new ArrayBuffer(1)] };
    const jobs = ["a", "b", "c", "d", "e"].map((name) =>
      submit(fake, name, name === "c" ? moved : {})
    );
    const worker = fake.workers.at(0).ready();
    worker.ends({
      unread: [worker.idOf("a"), worker.idOf("b")],
      unsent: [worker.idOf("c")],
    });
    const next = nextWorker(fake).ready();
    for (const name of "abcde") next.returns(name, name);
    assertEquals(next.sent, ["a", "b", "c", "d", "e"]);
    for (const job of jobs) assert(outcomes(job)[0]!.startsWith("result"));
    const { rerun, crashed, done } = fake.pool.stats();
    assertEquals([rerun, crashed, done], [0, 0, 5]);
    yield* endOf(fake);
  });
});

Deno.test("each kind of death has its message", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const cause = new Error("reason");
    const cases = [
      ["error", "died of an error that no job threw: reason"],
      ["rejection", "died of a rejection that nobody handled: reason"],
      ["exit", "ended itself with exit code 3"],
      ["closed", "ended itself with exit code 3"],
      ["out-of-memory", "had no memory left"],
      ["killed", "was killed with exit code 3"],
      ["protocol", "sent what nobody understands: reason"],
    ] as const;
    for (const [kind, words] of cases) {
      const job = submit(fake, "a");
      nextWorker(fake).ready().ends({ kind, exitCode: 3, cause });
      const error = crashOf(job);
      assertEquals(error.kind, kind === "closed" ? "exit" : kind);
      assertEquals(
        error.message,
        `Cannot finish job "a": its thread in ThreadPool "test" ${words}`,
      );
      assertEquals(error.cause, cause);
    }
    yield* endOf(fake);
  });
});

Deno.test("only idempotent jobs run again, and only so often", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, onCrash: "retry", retriesMax: 2 });
    const once = submit(fake, "once");
    const again = submit(fake, "again", { idempotent: true });
    const moved = submit(fake, "moved", {
      idempotent: true,
      transfer: [new ArrayBuffer(8)],
    });
    for (let round = 0; round < 5; round++) {
      nextWorker(fake).ready().ends();
    }
    assertEquals([once, again, moved].map((job) => crashOf(job).kind), [
      "exit",
      "exit",
      "exit",
    ]);
    const sent = fake.workers.all.flatMap((worker) => worker.sent);
    assertEquals(sent, ["once", "again", "moved", "again", "again"]);
    const { rerun, crashed } = fake.pool.stats();
    assertEquals([rerun, crashed], [2, 3]);
    const lucky = submit(fake, "lucky", { idempotent: true });
    nextWorker(fake).ready().ends();
    nextWorker(fake).ready().returns(5);
    assertEquals(outcomes(lucky), ["result: 5"]);
    yield* endOf(fake);
  });
});

Deno.test("a job that the dead worker had not begun goes to another one", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, concurrency: 3, cancelGraceMs: 50 });
    const jobs = ["begun", "unread", "moved"].map((name) =>
      submit(fake, name, {
        transfer: name === "moved" ? [new ArrayBuffer(1)] : [],
      })
    );
    const worker = fake.workers.at(0).ready();
    const unread = [worker.idOf("unread"), worker.idOf("moved")];
    worker.ends({ exitCode: 1, unread });
    assertEquals([crashOf(jobs[0]!).kind, crashOf(jobs[2]!).kind], [
      "exit",
      "exit",
    ]);
    nextWorker(fake).ready().returns(1, "unread");
    assertEquals(outcomes(jobs[1]!), ["result: 1"]);
    const { rerun, crashed, done } = fake.pool.stats();
    assertEquals([rerun, crashed, done], [0, 2, 1]);
    yield* endOf(fake);
  });
});

Deno.test("of a result and an end that cross, the first counts", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const job = submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    const id = worker.idOf();
    worker.returns(1);
    worker.listener.returned(id, 2);
    worker.listener.threw(id, new Error("late"));
    worker.ends();
    worker.listener.ended({ kind: "exit", exitCode: 1, cause: undefined });
    worker.listener.returned(id, 3);
    assertEquals(outcomes(job), ["result: 1"]);
    const second = submit(fake, "b");
    const other = nextWorker(fake).ready();
    const otherId = other.idOf();
    other.ends({ exitCode: 1 });
    other.listener.returned(otherId, 4);
    assertEquals(crashOf(second).exitCode, 1);
    const { done, crashed } = fake.pool.stats();
    assertEquals([done, crashed], [1, 1]);
    yield* endOf(fake);
  });
});

// -- Starting --

Deno.test("a worker that is not ready in time is killed and replaced", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, startTimeoutMs: 500 });
    const job = submit(fake, "a");
    fake.clock.advance(499);
    assert(!fake.workers.at(0).isKilled);
    fake.clock.advance(1);
    assert(fake.workers.at(0).isKilled);
    assertEquals(fake.workers.all.length, 2);
    fake.workers.at(0).listener.ready(); // too late
    fake.workers.at(1).ready().returns(1);
    assertEquals(outcomes(job), ["result: 1"]);
    fake.workers.at(0).ends();
    yield* endOf(fake);
  });
  assertEquals(told, [
    'A thread of ThreadPool "test" was not ready after 500 ms',
  ]);
});

Deno.test("a pool that cannot start workers fails its line with the last cause, and tries again with the next job", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 2, maxRestarts: 3 });
    const jobs = [submit(fake, "a"), submit(fake, "b")];
    for (let round = 0; round < 20 && !jobs[0]!.done(); round++) {
      for (const worker of fake.workers.left) {
        worker.ends({ kind: "start", cause: new Error(`no ${round}`) });
      }
      fake.clock.advance(10_000);
    }
    assertEquals(fake.workers.all.length, 4); // the first, and three more
    for (const job of jobs) {
      const error = crashOf(job);
      assertEquals(error.kind, "start");
      assert(error.cause instanceof Error);
    }
    assertEquals(
      crashOf(jobs[1]!).message,
      'Cannot begin job "b": no thread of ThreadPool "test" could be started, the last one could not start: no 2',
    );
    assertEquals(fake.clock.pending, 0);
    const later = submit(fake, "c");
    assertEquals(fake.workers.all.length, 5);
    fake.workers.last.ready().returns(1);
    assertEquals(outcomes(later), ["result: 1"]);
    yield* endOf(fake);
  });
  assertEquals(told, []);
});

Deno.test("failures to start are spread by a backoff that grows", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      maxWorkers: 1,
      maxRestarts: Infinity,
      backoff: { minMs: 100, maxMs: 1_600, seed: 7 },
    });
    const job = submit(fake, "a");
    const delays: number[] = [];
    for (let round = 0; round < 12; round++) {
      const started = fake.workers.all.length;
      const beganMs = fake.clock.nowMs();
      fake.workers.last.ends({ kind: "start" });
      while (fake.workers.all.length === started) {
        fake.clock.advance(fake.clock.untilNext());
      }
      delays.push(fake.clock.nowMs() - beganMs);
    }
    assertEquals(delays[0], 0);
    delays.slice(1).forEach((delayMs, index) => {
      assert(delayMs <= Math.min(100 * 2 ** index, 1_600), `${delays}`);
    });
    assert(Math.max(...delays) > 400);
    fake.workers.last.ready().returns(1);
    assertEquals(outcomes(job), ["result: 1"]);
    yield* endOf(fake);
  });
});

Deno.test("jobs that kill their workers do not fail those behind them", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, maxRestarts: 1 });
    const jobs = Array.from({ length: 8 }, (_, n) => submit(fake, `${n}`));
    for (let round = 0; round < 7; round++) {
      nextWorker(fake).ready().ends();
    }
    nextWorker(fake).ready().returns(1);
    assertEquals(outcomes(jobs[7]!), ["result: 1"]);
    for (const job of jobs.slice(0, 7)) crashOf(job);
    yield* endOf(fake);
  });
});

Deno.test("workers that die before they have had a job make the pool give up, and are reported", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ minWorkers: 1, maxWorkers: 1, maxRestarts: 1 });
    submit(fake, "a");
    fake.workers.last.ready().returns(0);
    fake.workers.last.ends({ exitCode: 0 });
    nextWorker(fake).ready().ends({ exitCode: 1 });
    nextWorker(fake).ready().ends({ exitCode: 2 });
    assertEquals(fake.clock.pending, 0);
    assertEquals(fake.pool.stats().workers.starting, 0);
    yield* endOf(fake);
  });
  assertEquals(told, [
    'A thread of ThreadPool "test" ended itself with exit code 0',
    'A thread of ThreadPool "test" ended itself with exit code 1',
    'A thread of ThreadPool "test" ended itself with exit code 2',
  ]);
});

// -- Recycling --

Deno.test("a worker is replaced after so many jobs: the new one first", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, recycle: { afterJobs: 2 } });
    submit(fake, "a");
    const old = fake.workers.at(0).ready();
    old.returns(0);
    assertEquals(fake.workers.all.length, 1);
    submit(fake, "b");
    submit(fake, "c");
    old.returns(0);
    assertEquals(fake.workers.all.length, 2);
    assertEquals(old.sent, ["a", "b", "c"]); // until the other one is ready
    const fresh = fake.workers.at(1).ready();
    assert(!old.isClosed);
    submit(fake, "d");
    assertEquals(fresh.sent, ["d"]);
    assertEquals(fake.pool.stats().workers, {
      starting: 0,
      idle: 0,
      busy: 1,
      stopping: 1,
    });
    old.returns(0);
    assert(old.isClosed);
    fake.workers.obey();
    fresh.returns(0);
    assertEquals(fake.workers.all.length, 2);
    yield* endOf(fake);
  });
});

Deno.test("a worker that uses too much memory is replaced", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      maxWorkers: 1,
      recycle: { aboveBytes: 1_000 },
    });
    submit(fake, "a");
    const old = fake.workers.at(0).ready();
    old.returns(0);
    assertEquals(old.pings, 1);
    old.answers(1_000);
    submit(fake, "b");
    old.returns(0);
    assertEquals(old.pings, 1); // not that often
    fake.clock.advance(250);
    submit(fake, "c");
    old.returns(0);
    assertEquals([old.pings, fake.workers.all.length], [2, 1]);
    old.answers(1_001);
    assertEquals(fake.workers.all.length, 2);
    fake.workers.at(1).ready();
    assert(old.isClosed);
    fake.workers.obey();
    yield* endOf(fake);
  });
});

Deno.test("a worker stays when its replacement does not start", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, recycle: { afterJobs: 1 } });
    submit(fake, "a");
    const old = fake.workers.at(0).ready();
    old.returns(0);
    fake.workers.at(1).ends({ kind: "start" });
    submit(fake, "b");
    assertEquals(old.sent, ["a", "b"]);
    old.returns(0);
    assertEquals(fake.workers.all.length, 3); // the next attempt
    fake.workers.at(2).ready();
    assert(old.isClosed);
    fake.workers.obey();
    yield* endOf(fake);
  });
});

// -- Stuck and lost workers --

Deno.test("a worker that answers nothing and uses no CPU time is killed", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, unresponsiveMs: 1_000 });
    const job = submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    worker.cpu = 50;
    fake.clock.advance(250);
    assertEquals(worker.pings, 1);
    worker.answers();
    fake.clock.advance(250);
    assertEquals(worker.pings, 2);
    for (let round = 0; round < 8; round++) { // it computes
      worker.cpu += 5;
      fake.clock.advance(250);
    }
    assertEquals([worker.pings, worker.isKilled], [2, false]);
    fake.clock.advance(999);
    assert(!worker.isKilled);
    fake.clock.advance(250);
    assert(worker.isKilled);
    assertEquals(outcomes(job), ["pending"]);
    worker.ends();
    const error = crashOf(job);
    assertEquals(error.kind, "unresponsive");
    assertEquals(
      error.message,
      'Cannot finish job "a": its thread in ThreadPool "test" answered nothing for 1000 ms',
    );
    yield* endOf(fake);
  });
});

Deno.test("a worker whose CPU time is not known is not judged, and an idle one not asked", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, unresponsiveMs: 1_000 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    fake.clock.advance(100_000);
    assertEquals([worker.pings, worker.isKilled], [1, false]);
    worker.answers();
    worker.returns(0);
    fake.clock.advance(1_000);
    assertEquals(worker.pings, 1);
    yield* endOf(fake);
  });
});

Deno.test("a worker that outlives its end counts as lost, and is reported with its job", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 10 });
    const job = submit(fake, "stuck");
    const worker = fake.workers.at(0).ready();
    worker.lives = true;
    job.cancel();
    fake.clock.advance(10);
    worker.ends();
    assertEquals(outcomes(job), ["cancelled: Cancelled"]);
    assertEquals(fake.pool.stats().lostThreads, 0);
    const down = getRunningLoop().createTask(fake.pool.shutdown());
    yield;
    yield;
    assert(!down.done()); // not before it is known
    fake.clock.advance(2_000);
    assertEquals(fake.pool.stats().lostThreads, 1);
    yield;
    assert(down.done());
    assertEquals(fake.clock.pending, 0);
  });
  assertEquals(told, [
    'A thread of ThreadPool "test" that ran job "stuck" was killed and goes on all the same: it is in native code that does not return',
  ]);
});

Deno.test("a worker that is gone a little later is not lost", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 0 });
    const job = submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    worker.lives = true;
    job.cancel();
    fake.clock.advance(0);
    worker.ends();
    fake.clock.advance(100);
    worker.lives = false;
    fake.clock.advance(1_000);
    assertEquals(fake.pool.stats().lostThreads, 0);
    yield* endOf(fake);
  });
  assertEquals(told, []);
});

Deno.test("waiting and running times are counted", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    assertEquals(fake.pool.stats().waitMs.p50, NaN);
    submit(fake, "a");
    fake.clock.advance(20);
    const worker = fake.workers.at(0).ready();
    fake.clock.advance(300);
    worker.returns(0);
    const { waitMs, runMs } = fake.pool.stats();
    assertEquals([waitMs.p50, runMs.p99], [20, 300]);
    yield* endOf(fake);
  });
});

Deno.test("on the clock of the machine no timer outlives the pool", async () => {
  const workers = new FakeWorkers();
  const pool = new PoolCore(
    workers.start,
    settlePoolOptions({ cancelGraceMs: 1, maxWorkers: 1 }, "test", 1),
    { pool: "ThreadPool", kind: "thread" },
  );
  await run(function* () {
    const job = pool.submit(TASK, []);
    workers.at(0).ready().returns(1);
    assertEquals(yield* job, 1);
    const stuck = pool.submit(TASK, []);
    stuck.cancel();
    while (!workers.at(0).isKilled) yield* sleep(1);
    workers.obey();
    assert(stuck.cancelled());
    const last = pool.submit(TASK, []);
    workers.at(1).ready().returns(2);
    const down = getRunningLoop().createTask(pool.shutdown());
    while (!down.done()) {
      workers.obey();
      yield* sleep(0);
    }
    assertEquals(yield* last, 2);
  }, { host: "portable" });
});

Deno.test("task-local values go along", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    fake.pool.submit(TASK, [1, 2]);
    const worker = fake.workers.at(0).ready();
    const spec = worker.has.get(worker.idOf())!;
    assertEquals([spec.name, spec.args, spec.locals], ["job", [1, 2], null]);
    worker.returns(0);
    yield* endOf(fake);
  });
});
