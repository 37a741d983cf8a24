/**
 * Jobs of a pool: cancellation in every state, deadlines, signals, progress, and
 * what a kill does to the other jobs of a worker.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  timeout,
  TimeoutError,
} from "../../mod.ts";
import { WorkerCrashError } from "../../src/errors.ts";
import { fakePool, TASK } from "./support/fake_workers.ts";
import {
  endOf,
  inLoop,
  nextWorker,
  outcomes,
  submit,
} from "./support/pool_steps.ts";
import { inStyle, STYLES } from "../support/styles.ts";

class OwnError extends Error {}

// -- Cancelling --

Deno.test("a job that is cancelled in line never begins, and ends at once", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    const job = submit(fake, "b");
    const reason = new CancelledError("why");
    assertEquals(job.cancel(reason), true);
    assertEquals([job.cancelled(), job.cancel()], [true, false]);
    assertStrictEquals(job.cancelReason(), reason);
    worker.returns(0);
    assertEquals(worker.sent, ["a"]);
    assertEquals(fake.pool.stats().cancelled, 1);
    yield* endOf(fake);
  });
});

Deno.test("a running job is asked first, and its worker is killed after the grace", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 100 });
    const job = submit(fake, "a");
    const next = submit(fake, "b");
    const worker = fake.workers.at(0).ready();
    assertEquals(job.cancel("why"), true);
    assertEquals(worker.aborted.map(({ reason }) => String(reason)), [
      "CancelledError: Cancelled: why",
    ]);
    fake.clock.advance(99);
    assertEquals([job.done(), worker.isKilled], [false, false]);
    assertEquals(job.cancel("again"), true); // which changes nothing
    assertEquals(worker.aborted.length, 1);
    fake.clock.advance(1);
    assertEquals([job.done(), worker.isKilled], [false, true]);
    assertEquals(fake.pool.stats().workers, {
      starting: 1, // for the job in line
      idle: 0,
      busy: 0,
      stopping: 1,
    });
    worker.ends();
    assertEquals(outcomes(job), ["cancelled: Cancelled: why"]);
    nextWorker(fake).ready().returns(1);
    assertEquals(outcomes(next), ["result: 1"]);
    const { cancelled, crashed, done } = fake.pool.stats();
    assertEquals([cancelled, crashed, done], [1, 0, 1]);
    yield* endOf(fake);
    assertEquals(fake.clock.pending, 0);
  });
});

for (
  const [title, act, expected] of [
    ["returns", (w) => w.returns(1), "cancelled: Cancelled: why"],
    [
      "throws the reason",
      (w) => w.throws(new CancelledError("why")),
      "cancelled: Cancelled: why",
    ],
    [
      "throws an AbortError",
      (w) => w.throws(new DOMException("aborted", "AbortError")),
      "cancelled: Cancelled: why",
    ],
    [
      "throws an error of its own",
      (w) => w.throws(new OwnError("own")),
      "failed: own",
    ],
    ["loses its worker", (w) => w.ends({}), "cancelled: Cancelled: why"],
  ] as [
    string,
    (worker: ReturnType<typeof nextWorker>) => void,
    string,
  ][]
) {
  Deno.test(`a cancelled job that ${title} ends as "${expected}"`, async () => {
    const told = await inLoop(function* () {
      const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 100 });
      const job = submit(fake, "a");
      const worker = fake.workers.at(0).ready();
      job.cancel("why");
      act(worker);
      assertEquals(outcomes(job), [expected]);
      fake.clock.advance(100);
      assertEquals(worker.isKilled, false);
      yield* endOf(fake);
    });
    // A death that no job is told of goes to the exception handler.
    assertEquals(told.length, title === "loses its worker" ? 1 : 0);
  });
}

Deno.test("a job that throws a cancellation of its own accord is cancelled", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const job = submit(fake, "a");
    fake.workers.at(0).ready().throws(new CancelledError("mine"));
    assertEquals(outcomes(job), ["cancelled: Cancelled: mine"]);
    yield* endOf(fake);
  });
});

for (const style of STYLES) {
  Deno.test(`cancelling ${style} that waits cancels its job, and ends with it`, async () => {
    await inLoop(function* () {
      const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 100 });
      const log: string[] = [];
      const task = getRunningLoop().createTask(inStyle(style, function* () {
        try {
          yield submit(fake, "a");
        } catch (error) {
          log.push(String(error));
          throw error;
        }
      }));
      yield;
      const worker = fake.workers.at(0).ready();
      yield;
      task.cancel("enough");
      yield;
      assertEquals([worker.aborted.length, task.done()], [1, false]);
      fake.clock.advance(100);
      worker.ends();
      yield;
      yield;
      assertEquals(outcomes(task), ["cancelled: Cancelled: enough"]);
      assertEquals(log, ["CancelledError: Cancelled: enough"]);
      yield* endOf(fake);
    });
  });

  Deno.test(`a timeout in ${style} cancels the job`, async () => {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 100 });
    await run(inStyle(style, function* () {
      const loop = getRunningLoop();
      const job = submit(fake, "a");
      const worker = fake.workers.at(0).ready();
      const waiting = loop.createTask(inStyle(style, function* () {
        yield timeout(
          5,
          inStyle(style, function* () {
            yield job;
          }),
        );
      }));
      while (worker.aborted.length === 0) yield sleep(1);
      worker.returns(1);
      while (!waiting.done()) yield sleep(0);
      assert(waiting.exception() instanceof TimeoutError);
      assert(job.cancelled());
      for (const _ of endOf(fake)) yield sleep(0);
    }));
  });

  Deno.test(`${style} gets results and errors`, async () => {
    await inLoop(function* () {
      const fake = fakePool({ maxWorkers: 1 });
      const task = getRunningLoop().createTask(inStyle(style, function* () {
        const log: unknown[] = [yield submit(fake, "a")];
        try {
          yield submit(fake, "b");
        } catch (error) {
          log.push((error as Error).message);
        }
        return log;
      }));
      yield;
      const worker = fake.workers.at(0).ready();
      worker.returns(1);
      yield;
      yield;
      worker.throws(new OwnError("two"));
      yield;
      yield;
      assertEquals(task.result(), [1, "two"]);
      yield* endOf(fake);
    });
  });
}

// -- Strangers --

Deno.test("a kill takes no strangers along: they may end first", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      maxWorkers: 1,
      concurrency: 2,
      cancelGraceMs: 100,
    });
    const bad = submit(fake, "bad");
    const stranger = submit(fake, "stranger");
    const next = submit(fake, "next");
    const worker = fake.workers.at(0).ready();
    bad.cancel();
    fake.clock.advance(100);
    assertEquals([worker.isKilled, worker.pings], [false, 1]);
    assertEquals(fake.pool.stats().workers.stopping, 1);
    assertEquals(worker.sent, ["bad", "stranger"]);
    const other = nextWorker(fake).ready();
    assertEquals(other.sent, ["next"]);
    for (let round = 2; round < 5; round++) { // it reacts
      worker.answers();
      fake.clock.advance(1_000);
      assertEquals([worker.isKilled, worker.pings], [false, round]);
    }
    worker.returns(1, "stranger");
    assertEquals(worker.isKilled, true);
    worker.ends();
    other.returns(2);
    assertEquals(outcomes(bad, stranger, next), [
      "cancelled: Cancelled",
      "result: 1",
      "result: 2",
    ]);
    yield* endOf(fake);
  });
});

Deno.test("a wedged worker is killed with the strangers in it", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      maxWorkers: 1,
      concurrency: 3,
      cancelGraceMs: 100,
      onCrash: "retry",
    });
    const bad = submit(fake, "bad");
    const stranger = submit(fake, "stranger");
    const again = submit(fake, "again", { idempotent: true });
    const worker = fake.workers.at(0).ready();
    bad.cancel();
    fake.clock.advance(1_099);
    assert(!worker.isKilled);
    fake.clock.advance(1);
    assert(worker.isKilled);
    worker.ends();
    nextWorker(fake).ready().returns(3);
    assertEquals(outcomes(bad, again), ["cancelled: Cancelled", "result: 3"]);
    const error = stranger.exception();
    assert(error instanceof WorkerCrashError);
    assertEquals(error.kind, "unresponsive");
    assertEquals(
      error.message,
      'Cannot finish job "stranger": its thread in ThreadPool "test" answered nothing for 1000 ms',
    );
    yield* endOf(fake);
  });
});

for (const [cancelGraceMs, limitMs] of [[0, 1_000], [5_000, 5_000]] as const) {
  Deno.test(`with a grace of ${cancelGraceMs} ms, a worker with strangers has ${limitMs} ms to answer`, async () => {
    await inLoop(function* () {
      const fake = fakePool({ maxWorkers: 1, concurrency: 2, cancelGraceMs });
      const bad = submit(fake, "bad");
      const stranger = submit(fake, "stranger");
      const worker = fake.workers.at(0).ready();
      bad.cancel();
      fake.clock.advance(cancelGraceMs);
      fake.clock.advance(limitMs - 1); // the stranger blocks
      assertEquals([worker.isKilled, worker.pings], [false, 1]);
      worker.answers();
      fake.clock.advance(1);
      assertEquals([worker.isKilled, worker.pings], [false, 2]);
      fake.clock.advance(limitMs);
      assert(worker.isKilled);
      worker.ends();
      const error = stranger.exception();
      assert(error instanceof WorkerCrashError);
      assertStringIncludes(error.message, `nothing for ${limitMs} ms`);
      assertEquals(outcomes(bad), ["cancelled: Cancelled"]);
      yield* endOf(fake);
    });
  });
}

Deno.test("a worker is spared if the job ends after all", async () => {
  await inLoop(function* () {
    const fake = fakePool({
      maxWorkers: 1,
      concurrency: 2,
      cancelGraceMs: 100,
    });
    const bad = submit(fake, "bad");
    const stranger = submit(fake, "stranger");
    const worker = fake.workers.at(0).ready();
    bad.cancel();
    fake.clock.advance(100);
    assertEquals(fake.pool.stats().workers.stopping, 1);
    worker.throws(new CancelledError(), "bad");
    assertEquals(fake.pool.stats().workers.busy, 1);
    const next = submit(fake, "next");
    assertEquals(worker.sent, ["bad", "stranger", "next"]);
    worker.returns(1, "stranger");
    worker.returns(2, "next");
    assertEquals(outcomes(bad, stranger, next), [
      "cancelled: Cancelled",
      "result: 1",
      "result: 2",
    ]);
    assertEquals(fake.pool.stats().workers.idle, 1);
    yield* endOf(fake);
    assertEquals(fake.clock.pending, 0);
  });
});

// -- Signals and deadlines --

Deno.test("a signal cancels its job, in line and running", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const controller = new AbortController();
    const { signal } = controller;
    const running = submit(fake, "a", { signal });
    const worker = fake.workers.at(0).ready();
    const inLine = submit(fake, "b", { signal });
    controller.abort("stop");
    assertEquals(outcomes(inLine), ["cancelled: Cancelled: stop"]);
    assertEquals(worker.aborted.length, 1);
    worker.throws(new CancelledError());
    assertEquals(outcomes(running), ["cancelled: Cancelled: stop"]);
    const late = submit(fake, "c", { signal });
    assertEquals(outcomes(late), ["cancelled: Cancelled: stop"]);
    assertEquals(worker.sent, ["a"]);
    assertEquals(fake.pool.stats().cancelled, 3);
    yield* endOf(fake);
  });
});

Deno.test("a deadline ends a job with a TimeoutError, in line and running", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1, cancelGraceMs: 100 });
    const deadlineMs = getRunningLoop().time() + 500;
    const running = submit(fake, "a", { deadlineMs });
    const worker = fake.workers.at(0).ready();
    const inLine = submit(fake, "b", { deadlineMs });
    assertEquals(worker.has.get(worker.idOf())!.remainingMs, 500);
    fake.clock.advance(499);
    assertEquals([inLine.done(), worker.aborted.length], [false, 0]);
    fake.clock.advance(1);
    assert(inLine.exception() instanceof TimeoutError);
    assert(worker.aborted[0]!.reason instanceof TimeoutError);
    assertEquals(running.done(), false);
    fake.clock.advance(100);
    worker.ends();
    assertEquals(outcomes(running), [
      'failed: Cannot finish job "a": its deadline has passed',
    ]);
    assertEquals(fake.pool.stats().cancelled, 2);
    assertThrows(
      () => submit(fake, "c", { deadlineMs: getRunningLoop().time() }),
      RangeError,
      "Cannot submit a job as deadlineMs must be after now, 0: received 0",
    );
    yield* endOf(fake);
    assertEquals(fake.clock.pending, 0);
  });
});

Deno.test("a waiter that is cancelled after the deadline hears of it", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const job = submit(fake, "a", { deadlineMs: getRunningLoop().time() + 5 });
    const worker = fake.workers.at(0).ready();
    fake.clock.advance(5);
    job.cancel("by the waiter");
    worker.throws(new TimeoutError("as its signal said"));
    assertEquals(worker.aborted.length, 1);
    assertEquals(outcomes(job), ["cancelled: Cancelled: by the waiter"]);
    const second = submit(fake, "b", {
      deadlineMs: getRunningLoop().time() + 5,
    });
    fake.clock.advance(5);
    second.cancel("by the waiter");
    worker.returns(1);
    assertEquals(outcomes(second), ["cancelled: Cancelled: by the waiter"]);
    yield* endOf(fake);
  });
});

// -- Progress --

Deno.test("progress is told on the loop, in order, and all of it before the job ends", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const log: unknown[] = [];
    const job = submit(fake, "a", {
      onProgress: (value) => {
        log.push(value);
        assertEquals(job.done(), false);
        if (value === 2) throw new OwnError("in onProgress");
      },
    });
    job.addDoneCallback(() => log.push("done"));
    const worker = fake.workers.at(0).ready();
    worker.progresses(1);
    worker.progresses(2);
    assertEquals(log, []);
    yield;
    assertEquals(log, [1, 2]);
    worker.progresses(3);
    worker.progresses(4);
    worker.returns("end");
    assertEquals([job.done(), fake.pool.stats().workers.idle], [false, 1]);
    assertEquals(fake.pool.stats().running, 1);
    yield;
    assertEquals(log, [1, 2, 3, 4, "done"]);
    assertEquals(outcomes(job), ["result: end"]);
    yield* endOf(fake);
  });
  assertEquals(told.length, 1);
});

Deno.test("no progress is told of a job that has ended", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const log: unknown[] = [];
    const job = submit(fake, "a", { onProgress: (value) => log.push(value) });
    const worker = fake.workers.at(0).ready();
    worker.progresses(1);
    worker.returns(1);
    job.cancel("meanwhile"); // its outcome waits for the call
    assertEquals(outcomes(job), ["cancelled: Cancelled: meanwhile"]);
    yield;
    assertEquals(log, []);
    assertEquals(fake.pool.stats().cancelled, 1);
    yield* endOf(fake);
  });
});

// -- The future --

Deno.test("the function of a job decides its result", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const job = submit(fake, "a");
    assertThrows(
      () => job.setResult(1),
      MisuseError,
      'Cannot set the result of job "a": its function decides it',
    );
    assertThrows(() => job.setException(new Error()), MisuseError);
    fake.workers.at(0).ready().returns(2);
    assertEquals(String(Deno.inspect(job)), 'PoolJob (job "a", done)');
    yield* endOf(fake);
  });
});

Deno.test("a failure that nobody looks at is reported once", async () => {
  const told = await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    submit(fake, "a");
    fake.workers.at(0).ready().throws(new OwnError("unseen"));
    yield* endOf(fake);
  });
  assertEquals(told.length, 1);
});

Deno.test("errors carry the stacks of both sides, whatever they are", async () => {
  await inLoop(function* () {
    const fake = fakePool({ maxWorkers: 1 });
    const thrown = new OwnError("far away");
    thrown.stack = "OwnError: far away\n    at worker.ts:1:1";
    const job = submit(fake, "a");
    const worker = fake.workers.at(0).ready();
    worker.throws(thrown);
    assertStrictEquals(job.exception(), thrown);
    const lines = thrown.stack.split("\n");
    assertEquals(lines.slice(0, 3), [
      "OwnError: far away",
      "    at worker.ts:1:1",
      "    --- submitted at ---",
    ]);
    assert(lines.some((line) => line.includes("job_test.ts")));
    for (const value of [undefined, 7, Object.freeze(new Error("frozen"))]) {
      const other = submit(fake, "b");
      worker.throws(value);
      assertStrictEquals(other.exception(), value);
    }
    yield* endOf(fake);
  });
});

Deno.test("a job outside of a loop is refused", () => {
  const fake = fakePool();
  assertThrows(() => fake.pool.submit(TASK, []), MisuseError);
  assertEquals(fake.workers.all.length, 0);
});
