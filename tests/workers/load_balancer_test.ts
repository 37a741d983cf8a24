/**
 * The load balancer: placing, lines, members that come and go, crashes, ejection,
 * shutdown and bad input, on virtual time with members that follow a script.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  DeadlockError,
  each,
  EventLoop,
  type Future,
  getRunningLoop,
  MisuseError,
  OverloadError,
  run,
  sleep,
  TaskLocal,
  TimeoutError,
  until,
} from "../../mod.ts";
import { ExecutorShutDownError, WorkerCrashError } from "../../src/errors.ts";
import type { LoadBalancerOptions } from "../../src/workers/balancer_options.ts";
import { BaseExecutor } from "../../src/workers/base_executor.ts";
import type { SubmitOptions } from "../../src/workers/executor.ts";
import { LoadBalancer } from "../../src/workers/load_balancer.ts";
import { transportedLocals } from "../../src/workers/transport.ts";
import {
  FakeExecutor,
  type FakeExecutorOptions,
} from "../../src/testing/fake_executor.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** A job that takes a time and returns a value. */
function work(_ms: number, value?: unknown): unknown {
  return value;
}

function broken(_ms: number): never {
  throw new RangeError("of the job");
}

function fakes(
  count: number,
  settings: FakeExecutorOptions = {},
): FakeExecutor[] {
  return Array.from({ length: count }, () => new FakeExecutor(settings));
}

/** A balancer over fakes named "m0" and so on. */
function setUp(
  count: number,
  options: LoadBalancerOptions = {},
  settings: FakeExecutorOptions = {},
): { balancer: LoadBalancer; members: FakeExecutor[] } {
  const balancer = new LoadBalancer([], { seed: 1, ...options });
  const members = fakes(count, settings);
  for (const [n, member] of members.entries()) {
    balancer.add(member, { name: `m${n}` });
  }
  return { balancer, members };
}

function submit(
  balancer: LoadBalancer,
  name: string,
  ms: number,
  options: SubmitOptions = {},
): Future<unknown> {
  return balancer.submit(work, [ms, name], { name, ...options });
}

/** Sum of the counts of jobs that have ended, and those that have not. */
function accountedFor(balancer: LoadBalancer): number {
  const { queued, running, done, failed, cancelled, crashed } = balancer
    .stats();
  return queued + running + done + failed + cancelled + crashed;
}

function* settled(jobs: readonly Future<unknown>[]): Coroutine<string[]> {
  for (const job of jobs) {
    try {
      yield* job;
    } catch {
      // The outcome has it.
    }
  }
  return jobs.map(outcomeOf);
}

for (const style of STYLES) {
  Deno.test(`A job comes back with its result, its error or its crash (${style})`, async () => {
    const log: unknown[] = [];
    await run(
      inStyle(style, function* () {
        const { balancer, members } = setUp(2);
        log.push(yield balancer.submit(work, [10, "result"]));
        try {
          yield balancer.submit(broken, [10]);
        } catch (error) {
          log.push(String(error));
        }
        for (const member of members) member.isCrashing = true;
        try {
          yield balancer.submit(work, [10]);
        } catch (error) {
          assert(error instanceof WorkerCrashError);
          log.push(error.kind);
        }
        const { done, failed, crashed } = balancer.stats();
        log.push([done, failed, crashed], getRunningLoop().time());
        yield balancer.shutdown();
      }),
      VIRTUAL,
    );
    assertEquals(log, [
      "result",
      "RangeError: of the job",
      "exit",
      [1, 1, 1],
      30,
    ]);
  });

  Deno.test(`A task that is cancelled while it waits takes the job along, in line and with a member (${style})`, async () => {
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const { balancer, members } = setUp(1);
        members[0]!.cancelMs = 30;
        const ends: string[] = [];
        const waiter = (name: string) => {
          const job = submit(balancer, name, 100);
          return loop.createTask(inStyle(style, function* () {
            try {
              yield job;
            } catch (error) {
              ends.push(`${loop.time()} ${name} ${error}`);
              throw error;
            }
          }));
        };
        const first = waiter("first");
        const second = waiter("second");
        yield sleep(20);
        assertEquals(second.cancel("late"), true);
        assertEquals(first.cancel("early"), true);
        yield sleep(100);
        assertEquals(ends, [
          "20 second CancelledError: Cancelled: late",
          "50 first CancelledError: Cancelled: early",
        ]);
        assertEquals(members[0]!.begun, ["first"]);
        assertEquals(balancer.stats().cancelled, 2);
        assertEquals(balancer.memberStats()[0]!.cancelled, 1);
        yield balancer.shutdown();
      }),
      VIRTUAL,
    );
  });

  Deno.test(`drain() waits for the jobs of a member, and remove() for its shutdown (${style})`, async () => {
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const { balancer, members } = setUp(2, {
          strategy: "round-robin",
          stealing: false,
        });
        const jobs = ["a", "b", "c", "d"].map((name) =>
          submit(balancer, name, 10)
        );
        yield balancer.drain("m0");
        assertEquals(loop.time(), 20);
        assertEquals(members[0]!.begun, ["a", "c"]);
        assertEquals(balancer.memberStats()[0]!.state, "draining");
        assertEquals(balancer.capacity, 1);
        for (const name of ["e", "f"]) jobs.push(submit(balancer, name, 10));
        yield balancer.remove(members[0]!);
        assertEquals(members[0]!.shutdowns.length, 1);
        assertEquals(balancer.size, 1);
        yield sleep(50);
        assertEquals(members[1]!.begun, ["b", "d", "e", "f"]);
        assertEquals(jobs.map(outcomeOf).length, 6);
        yield balancer.shutdown();
      }),
      VIRTUAL,
    );
  });

  Deno.test(`map() pulls an item when there is room for it (${style})`, async () => {
    await run(
      inStyle(style, function* () {
        const { balancer, members } = setUp(2, {}, { capacity: 2 });
        const pulled: number[] = [];
        const source = function* () {
          for (let n = 0; n < 10; n++) {
            pulled.push(n);
            yield n;
          }
        };
        const double = (n: number) => 2 * n;
        for (const member of members) {
          Object.assign(member, { serviceMs: () => 10 });
        }
        const map = balancer.map(double, source());
        const task = getRunningLoop().createTask(map);
        yield sleep(5);
        assertEquals(pulled, [0, 1, 2, 3]);
        assertEquals(yield task, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
        const seen: number[] = [];
        yield each(balancer.map(double, [1, 2]), (n) => {
          seen.push(n as number);
        });
        assertEquals(seen, [2, 4]);
        yield balancer.shutdown();
      }),
      VIRTUAL,
    );
  });
}

// -- Lines --

Deno.test("map() asks for the capacity at each item, as members come and go", async () => {
  await run(function* () {
    const balancer = new LoadBalancer([], { seed: 1 });
    const map = balancer.map(work, [10, 10, 10, 10]);
    const member = new FakeExecutor({ capacity: 4 });
    balancer.add(member);
    yield* map;
    assertEquals([member.peak, getRunningLoop().time()], [4, 10]);

    member.capacity = 1;
    member.peak = 0;
    let count = 0;
    yield* each(balancer.map(work, Array<number>(9).fill(10)), () => {
      count++;
      if (count === 2) member.capacity = 2;
    });
    assertEquals([count, member.peak], [9, 2]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A member is handed as many jobs as its capacity says, the others wait in the balancer", async () => {
  await run(function* () {
    const { balancer, members } = setUp(3, {}, { capacity: 2 });
    assertEquals(balancer.capacity, 6);
    const jobs = Array.from(
      { length: 30 },
      (_, n) => submit(balancer, `${n}`, 10),
    );
    let stats = balancer.stats();
    assertEquals([stats.running, stats.queued], [6, 24]);
    yield* settled(jobs);
    for (const { peak } of members) assertEquals(peak, 2);
    assertEquals(getRunningLoop().time(), 50);
    stats = balancer.stats();
    assertEquals([stats.done, stats.running, stats.queued], [30, 0, 0]);
    assertEquals(stats.runMs.p50, 10);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Higher priorities begin first, then first come, first served", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    const jobs = [
      submit(balancer, "running", 10),
      submit(balancer, "low", 10, { priority: "background" }),
      submit(balancer, "first", 10),
      submit(balancer, "second", 10),
      submit(balancer, "high", 10, { priority: "user-blocking" }),
    ];
    yield* settled(jobs);
    assertEquals(members[0]!.begun, [
      "running",
      "high",
      "first",
      "second",
      "low",
    ]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A member gets name, priority, key, deadline, transfer and onProgress of a job, but not its signal", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    const buffer = new ArrayBuffer(8);
    const onProgress = () => {};
    balancer.submit(work, [10], {
      name: "n",
      priority: "background",
      key: "k",
      deadlineMs: 50,
      transfer: [buffer],
      idempotent: true,
      onProgress,
      signal: new AbortController().signal,
    });
    const [job] = members[0]!.jobs;
    assertEquals(job!.options, {
      name: "n",
      priority: -10,
      key: "k",
      deadlineMs: 50,
      transfer: [buffer],
      idempotent: true,
      onProgress,
    });
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A job in line keeps its arguments and its transfers when the caller changes the arrays", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    const [member] = members;
    submit(balancer, "first", 10);
    const args: [number, unknown] = [10, "given"];
    const transfer = [new ArrayBuffer(1)];
    const job = balancer.submit(work, args, { transfer });
    args[1] = "changed";
    transfer.pop();
    yield* sleep(15);
    const [handed] = member!.jobs;
    assertEquals(handed!.options.transfer, [new ArrayBuffer(1)]);
    assertEquals(yield* job, "given");
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A deadline ends a job in line with a TimeoutError, at its moment", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    submit(balancer, "long", 100);
    const late = submit(balancer, "late", 10, { deadlineMs: 40 });
    const error = yield* failureOf(late);
    assert(error instanceof TimeoutError);
    assertEquals(getRunningLoop().time(), 40);
    assertEquals(balancer.stats().cancelled, 1);
    // At the very moment at which the member is free.
    const exact = submit(balancer, "exact", 10, { deadlineMs: 100 });
    assert((yield* failureOf(exact)) instanceof TimeoutError);
    assertEquals(members[0]!.begun, ["long"]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

function* failureOf(job: Future<unknown>): Coroutine<unknown> {
  try {
    yield* job;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

Deno.test("A signal cancels a job before it came, in line, and with a member", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    const aborted = submit(balancer, "aborted", 10, {
      signal: AbortSignal.abort("before"),
    });
    assertEquals(outcomeOf(aborted), "cancelled: Cancelled: before");
    const controller = new AbortController();
    const { signal } = controller;
    const running = submit(balancer, "running", 100, { signal });
    const waiting = submit(balancer, "waiting", 100, { signal });
    yield* sleep(10);
    controller.abort("now");
    assertEquals(outcomeOf(waiting), "cancelled: Cancelled: now");
    yield* sleep(0);
    yield* sleep(0);
    assertEquals(outcomeOf(running), "cancelled: Cancelled: now");
    assertEquals(members[0]!.begun, ["running"]);
    assertEquals(balancer.stats().cancelled, 3);
    assertEquals(accountedFor(balancer), 3);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A job that is cancelled when its member has ended it already keeps its outcome", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2);
    const job = submit(balancer, "job", 10);
    const [inner] = [...members[0]!.jobs, ...members[1]!.jobs];
    let accepted: boolean | undefined;
    inner!.addDoneCallback(() => {});
    getRunningLoop().callAt(10, () => accepted = job.cancel());
    yield* settled([job]);
    assertEquals([accepted, outcomeOf(job)], [false, "result: job"]);
    assertEquals(job.cancel(), false);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A result that comes after the cancellation was accepted does not count", async () => {
  class Deaf extends FakeExecutor {
    override submit: FakeExecutor["submit"] = (task, args, options) => {
      const job = super.submit(task, args, options);
      job.cancel = () => true;
      return job;
    };
  }
  await run(function* () {
    const balancer = new LoadBalancer([new Deaf()]);
    const job = submit(balancer, "job", 10);
    assertEquals(job.cancel("enough"), true);
    assertEquals(job.done(), false);
    assertInstanceOf(yield* failureOf(job), CancelledError);
    assertEquals(getRunningLoop().time(), 10);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A job that is cancelled by the very call that hands it over ends once", async () => {
  const jobs: Future<unknown>[] = [];
  class Meddling extends FakeExecutor {
    override submit: FakeExecutor["submit"] = (task, args, options) => {
      jobs[this.begun.length]?.cancel("by the member");
      return super.submit(task, args, options);
    };
  }
  await run(function* () {
    const member = new Meddling();
    const balancer = new LoadBalancer([member]);
    for (const name of ["a", "b", "c"]) {
      jobs.push(submit(balancer, name, 10));
    }
    assertEquals(yield* settled(jobs), [
      "result: a",
      "cancelled: Cancelled: by the member",
      "cancelled: Cancelled: by the member",
    ]);
    yield* balancer.shutdown();
    assertEquals(accountedFor(balancer), 3);
    assertEquals([balancer.stats().cancelled, member.jobs.size], [2, 0]);
  }, VIRTUAL);
});

Deno.test("highWaterMark bounds the jobs in line", async () => {
  await run(function* () {
    const rejecting = setUp(2, { highWaterMark: 1, overload: "reject" });
    for (const name of ["a", "b", "c"]) submit(rejecting.balancer, name, 10);
    assertThrows(
      () => submit(rejecting.balancer, "d", 10),
      OverloadError,
      "Cannot submit a job: 1 jobs are in line",
    );
    assertEquals(accountedFor(rejecting.balancer), 3);

    const strict = setUp(2, {
      highWaterMark: 0,
      overload: "reject",
      strategy: "round-robin",
    });
    submit(strict.balancer, "a", 10);
    submit(strict.balancer, "b", 100);
    yield* sleep(20);
    submit(strict.balancer, "c", 100); // m0 has room
    assertThrows(() => submit(strict.balancer, "d", 10), OverloadError);

    const blocking = setUp(1, { highWaterMark: 1 });
    const jobs = ["a", "b", "c", "d"].map((name) =>
      submit(blocking.balancer, name, 10, {
        priority: name === "d" ? "user-blocking" : undefined,
      })
    );
    assertEquals(blocking.balancer.stats().queued, 3);
    yield* settled(jobs);
    assertEquals(blocking.members[0]!.begun, ["a", "b", "c", "d"]);
    for (const { balancer } of [rejecting, strict, blocking]) {
      yield* balancer.shutdown();
    }
  }, VIRTUAL);
});

Deno.test("With no places in line, blocked jobs begin as members become free", async () => {
  for (const stealing of [true, false]) {
    await run(function* () {
      const { balancer } = setUp(3, {
        highWaterMark: 0,
        strategy: "round-robin",
        stealing,
      });
      const jobs = Array.from(
        { length: 9 },
        (_, n) => submit(balancer, `${n}`, 10),
      );
      yield* settled(jobs);
      assertEquals(getRunningLoop().time(), 30);
      yield* balancer.shutdown();
    }, VIRTUAL);
  }
});

for (const overload of ["drop-oldest", "drop-newest"] as const) {
  Deno.test(`overload: "${overload}" drops a job of the lowest priority, wherever it is in line`, async () => {
    await run(function* () {
      const { balancer } = setUp(3, {
        highWaterMark: 3,
        overload,
        strategy: "round-robin",
        stealing: false,
      });
      const jobs = new Map<string, Future<unknown>>();
      const add = (name: string, priority: number) =>
        jobs.set(name, submit(balancer, name, 10, { priority }));
      for (const name of ["r0", "r1", "r2"]) add(name, 0);
      add("old", 1);
      add("high", 2);
      add("new", 1);
      const dropped = (name: string) =>
        outcomeOf(jobs.get(name)!).startsWith("failed: Cannot keep a job");
      add("equal", 1);
      assertEquals(dropped("old"), overload === "drop-oldest");
      assertEquals(dropped("equal"), overload === "drop-newest");
      add("higher", 3);
      assertEquals(dropped("new"), true);
      add("low", 0);
      assertEquals(dropped("low"), true);
      yield* settled([...jobs.values()]);
      const { done, cancelled } = balancer.stats();
      assertEquals([done, cancelled], [6, 3]);
      yield* balancer.shutdown();
    }, VIRTUAL);
  });
}

// -- Without members --

Deno.test("Jobs wait for a first member, and members that are added together share them", async () => {
  await run(function* () {
    const balancer = new LoadBalancer([], { strategy: "round-robin" });
    assertEquals(balancer.capacity, 0);
    const jobs = Array.from(
      { length: 6 },
      (_, n) => submit(balancer, `${n}`, 10),
    );
    yield* sleep(5);
    const members = fakes(3);
    for (const member of members) balancer.add(member);
    yield* settled(jobs);
    for (const { begun } of members) assertEquals(begun.length, 2);
    const results = yield* balancer.map((n: number) => n, [1, 2, 3]);
    assertEquals(results, [1, 2, 3]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Jobs that wait for a member are bounded, may be cancelled, and are no outside wait", async () => {
  await assertRejects(
    () =>
      run(function* () {
        const balancer = new LoadBalancer([], {
          highWaterMark: 2,
          overload: "reject",
        });
        const first = submit(balancer, "first", 10);
        submit(balancer, "second", 10);
        assertThrows(() => submit(balancer, "third", 10), OverloadError);
        first.cancel();
        yield* submit(balancer, "third", 10);
      }, VIRTUAL),
    DeadlockError,
  );
});

Deno.test("A member that is added outside of the loop takes jobs in its next turn", async () => {
  const loop = new EventLoop({ host: "virtual" });
  const { balancer, members } = setUp(1);
  const jobs: Future<unknown>[] = [];
  await loop.runUntilComplete(function* () {
    for (const name of ["a", "b", "c"]) jobs.push(submit(balancer, name, 50));
    yield* sleep(1);
  });
  const [added] = fakes(1);
  balancer.add(added!);
  assertEquals(jobs.map(outcomeOf), ["pending", "pending", "pending"]);
  assertEquals(added!.begun, []);
  await loop.runUntilComplete(function* () {
    assertEquals(yield* settled(jobs), [
      "result: a",
      "result: b",
      "result: c",
    ]);
    yield* balancer.shutdown();
  });
  assertEquals([members[0]!.begun, added!.begun], [["a", "c"], ["b"]]);
  await loop.close();
});

Deno.test("Members that are added by a task of another loop serve the loop of the balancer", async () => {
  const [loop, other] = [new EventLoop(), new EventLoop()];
  const { balancer } = setUp(1);
  const begun = Promise.withResolvers<void>();
  const added = Promise.withResolvers<void>();
  const using = loop.runUntilComplete(async () => {
    const jobs = ["a", "b", "c"].map((name) => submit(balancer, name, 5));
    begun.resolve();
    await added.promise;
    assertEquals(await Promise.all(jobs), ["a", "b", "c"]);
    await balancer.shutdown();
  });
  const adding = other.runUntilComplete(async () => {
    await begun.promise;
    for (const member of fakes(2)) balancer.add(member);
    added.resolve();
  });
  await Promise.all([using, adding]);
  assertEquals(balancer.stats().done, 3);
  await loop.close();
  await other.close();
});

Deno.test("Jobs for which no member comes any more are cancelled by the shutdown", async () => {
  await run(function* () {
    for (const highWaterMark of [0, 1, Infinity]) {
      const balancer = new LoadBalancer([], { highWaterMark });
      const jobs = [submit(balancer, "a", 10), submit(balancer, "b", 10)];
      yield* balancer.shutdown();
      for (const job of jobs) {
        assertEquals(
          outcomeOf(job),
          "cancelled: Cancelled: a load balancer was shut down",
        );
      }
      assertEquals(accountedFor(balancer), 2);
    }
  }, VIRTUAL);
});

// -- Members that come and go --

Deno.test("Jobs in the line of a removed member go to others, those that run end there", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2, {
      strategy: "round-robin",
      stealing: false,
    });
    const jobs = ["a", "b", "c", "d", "e"].map((name) =>
      submit(balancer, name, 10)
    );
    const task = getRunningLoop().createTask(balancer.remove("m0"));
    yield* sleep(0);
    assertEquals(balancer.memberStats().map(({ name }) => name), ["m1"]);
    yield* task;
    assertEquals(getRunningLoop().time(), 10);
    assertEquals(members[0]!.isDown, true);
    assertEquals(yield* settled(jobs), [
      "result: a",
      "result: b",
      "result: c",
      "result: d",
      "result: e",
    ]);
    assertEquals(members[0]!.begun, ["a"]);
    assertEquals(members[1]!.begun, ["b", "d", "c", "e"]);
    assertThrows(
      () => balancer.drain("m0"),
      MisuseError,
      'Cannot drain a member: "m0" is no member',
    );
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A removed member may stay alive, and be added again", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2);
    yield* balancer.remove("m0", { shutdown: false });
    assertEquals(members[0]!.isDown, false);
    balancer.add(members[0]!, { name: "m0" });
    yield* balancer.shutdown();
    assertEquals(members[0]!.shutdowns.length, 1);
  }, VIRTUAL);
});

Deno.test("A removal goes on when the wait for it is cancelled", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    submit(balancer, "job", 50);
    const task = getRunningLoop().createTask(balancer.remove("m0"));
    yield* sleep(10);
    task.cancel();
    yield* sleep(20);
    assertEquals([task.cancelled(), members[0]!.isDown], [true, false]);
    yield* sleep(30);
    assertEquals(members[0]!.isDown, true);
  }, VIRTUAL);
});

Deno.test("A member that was shut down by others is removed, and its jobs go on elsewhere", async () => {
  await run(function* () {
    const { balancer, members } = setUp(3, { stealing: false });
    members[0]!.isDown = true;
    members[1]!.isDown = true;
    const jobs = Array.from(
      { length: 12 },
      (_, n) => submit(balancer, `${n}`, 1),
    );
    yield* settled(jobs);
    assertEquals(balancer.memberStats().map(({ name }) => name), ["m2"]);
    assertEquals(members[2]!.begun.length, 12);
    members[2]!.isDown = true;
    const waiting = submit(balancer, "waiting", 1);
    assertEquals(balancer.size, 0);
    balancer.add(new FakeExecutor());
    assertEquals(yield* waiting, "waiting");
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A member that has no room passes its jobs on; if all are full, the job is dropped", async () => {
  await run(function* () {
    const { balancer, members } = setUp(3);
    members[0]!.fill();
    members[1]!.fill();
    const jobs = Array.from(
      { length: 5 },
      (_, n) => submit(balancer, `${n}`, 1),
    );
    yield* settled(jobs);
    assertEquals(members[2]!.begun.length, 5);
    members[2]!.fill();
    assertInstanceOf(
      yield* failureOf(submit(balancer, "none", 1)),
      OverloadError,
    );
    assertEquals(accountedFor(balancer), 6);
    const { cancelled, failed } = balancer.stats();
    assertEquals([cancelled, failed], [1, 0]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("An error that a member throws as it is handed a job is that of the job, and counts against nobody", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    members[0]!.refusal = new TypeError("cannot be cloned");
    for (let n = 0; n < 10; n++) {
      assertInstanceOf(
        yield* failureOf(submit(balancer, "job", 1)),
        TypeError,
      );
    }
    assertEquals(balancer.memberStats()[0]!.ejections, 0);
    members[0]!.refusal = null;
    // deno-lint-ignore no-explicit-any
    (members[0] as any).submit = () => 7;
    assertInstanceOf(yield* failureOf(submit(balancer, "x", 1)), TypeError);
    assertEquals(balancer.stats().failed, 11);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A new member starts slowly, one that was there before the first job does not", async () => {
  await run(function* () {
    const { balancer, members } = setUp(3, {
      strategy: "round-robin",
      slowStartMs: 1_000,
      stealing: false,
    }, { capacity: Infinity, serviceMs: () => 1 });
    submit(balancer, "first", 0);
    const fresh = new FakeExecutor({ capacity: Infinity, serviceMs: () => 1 });
    balancer.add(fresh, { name: "fresh" });
    assertEquals(
      balancer.memberStats().map(({ state }) => state),
      ["ready", "ready", "ready", "warming"],
    );
    const countOf100 = () => {
      const before = fresh.begun.length;
      for (let n = 0; n < 100; n++) submit(balancer, "job", 0);
      return fresh.begun.length - before;
    };
    const counts: number[] = [];
    for (let n = 0; n < 3; n++) {
      counts.push(countOf100());
      yield* sleep(500);
    }
    assert(counts[0]! <= 4 && counts[0]! >= 1, `${counts}`);
    assert(counts[1]! >= 10 && counts[1]! <= 18, `${counts}`);
    assert(counts[2]! >= 23 && counts[2]! <= 26, `${counts}`);
    assertEquals(balancer.memberStats()[3]!.state, "ready");
    assert(members[0]!.begun.length > 60);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

// -- Stealing --

Deno.test("An idle member takes the oldest job of the highest priority from the longest line", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1, { strategy: "round-robin" });
    const jobs = [submit(balancer, "long", 100)];
    jobs.push(
      submit(balancer, "low", 100, { priority: "background" }),
      submit(balancer, "old", 100),
      submit(balancer, "new", 100),
      submit(balancer, "high", 100, { priority: "user-blocking" }),
    );
    const thief = new FakeExecutor();
    balancer.add(thief, { name: "thief" });
    yield* settled(jobs);
    assertEquals(thief.begun, ["high", "new"]);
    assertEquals(members[0]!.begun, ["long", "old", "low"]);
    assertEquals(balancer.memberStats()[1]!.stolen, 2);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Jobs with a key are not taken with the strategy hash, others are", async () => {
  await run(function* () {
    const { balancer } = setUp(4, { strategy: "hash" });
    const keyed = Array.from(
      { length: 20 },
      (_, n) => submit(balancer, `keyed ${n}`, 10, { key: "same" }),
    );
    const others = Array.from(
      { length: 30 },
      (_, n) => submit(balancer, `other ${n}`, 10),
    );
    yield* settled([...keyed, ...others]);
    const stats = balancer.memberStats();
    const owners = stats.filter(({ executor }) =>
      (executor as FakeExecutor).begun.some((name) => name.startsWith("keyed"))
    );
    assertEquals(owners.length, 1);
    assert(owners[0]!.done >= 20);
    assert(getRunningLoop().time() <= 220);
    assertEquals(balancer.stats().done, 50);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Without stealing, jobs stay in their line", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2, {
      strategy: "round-robin",
      stealing: false,
    });
    const jobs = [50, 1, 1, 1, 1, 1].map((ms, n) =>
      submit(balancer, `${n}`, ms)
    );
    yield* settled(jobs);
    assertEquals(members[0]!.begun, ["0", "2", "4"]);
    assertEquals(members[1]!.begun, ["1", "3", "5"]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

// -- Crashes --

Deno.test("An idempotent job goes to another member when its member crashes, up to a limit", async () => {
  await run(function* () {
    const { balancer, members } = setUp(3, { retriesMax: 2, seed: 5 });
    members[0]!.isCrashing = members[1]!.isCrashing = true;
    const jobs = Array.from(
      { length: 20 },
      (_, n) => submit(balancer, `${n}`, 10, { idempotent: true }),
    );
    const outcomes = yield* settled(jobs);
    assertEquals(
      outcomes.filter((outcome) => outcome.startsWith("result")).length,
      20,
    );
    assert(balancer.stats().rerun > 0);
    for (const member of members) member.isCrashing = true;
    const { rerun } = balancer.stats();
    const hopeless = submit(balancer, "hopeless", 10, { idempotent: true });
    assertInstanceOf(yield* failureOf(hopeless), WorkerCrashError);
    assertEquals(balancer.stats().rerun, rerun + 2);
    assertEquals(balancer.stats().crashed, 1);
    assertEquals(accountedFor(balancer), 21);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A job that is not idempotent, or transfers something, is not begun again", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2);
    for (const member of members) member.isCrashing = true;
    const transfer = [new ArrayBuffer(1)];
    const jobs = [
      submit(balancer, "once", 10),
      submit(balancer, "moved", 10, { idempotent: true, transfer }),
    ];
    for (const job of jobs) {
      assertInstanceOf(yield* failureOf(job), WorkerCrashError);
    }
    assertEquals(members[0]!.begun.length + members[1]!.begun.length, 2);
    assertEquals([balancer.stats().crashed, balancer.stats().rerun], [2, 0]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A job whose member has just crashed is in line again, and can be cancelled there", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    const job = submit(balancer, "job", 100, { idempotent: true });
    yield* sleep(10);
    members[0]!.capacity = 1;
    submit(balancer, "other", 100);
    members[0]!.crash();
    assertEquals(job.cancel("now"), true);
    assertEquals(outcomeOf(job), "cancelled: Cancelled: now");
    assertEquals(accountedFor(balancer), 2);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A member that crashes several times in a row is ejected, and probed with backoff by one job at a time", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const { balancer, members } = setUp(2, {
      ejection: { crashesMax: 3, backoffMs: 100, backoffMaxMs: 350 },
      strategy: "round-robin",
      slowStartMs: 0,
    });
    const [bad] = members;
    bad!.isCrashing = true;
    const probes: number[] = [];
    let seen = 0;
    const state = () => balancer.memberStats()[0]!.state;
    while (loop.time() < 1_500) {
      const job = submit(balancer, "job", 1);
      if (bad!.begun.length > seen) {
        seen = bad!.begun.length;
        probes.push(loop.time());
        if (seen > 3) {
          assertEquals(state(), "probing");
          assertEquals(bad!.jobs.size, 1);
        }
      }
      yield* settled([job]);
      yield* sleep(4);
    }
    // Three in turn with the other one; then 100 ms, 200 ms, and 350 ms at most.
    assertEquals(probes.slice(0, 3), [0, 10, 20]);
    const gaps = probes.slice(3).map((atMs, n) => atMs - probes[n + 2]!);
    for (const [n, least] of [100, 200, 350, 350].entries()) {
      assert(gaps[n]! >= least && gaps[n]! <= least + 10, `${gaps}`);
    }
    assertEquals(state(), "ejected");
    bad!.isCrashing = false;
    yield* sleep(400);
    const before = bad!.begun.length;
    for (let n = 0; n < 10; n++) {
      yield* submit(balancer, "job", 1);
      yield* sleep(1);
    }
    assertEquals(state(), "ready");
    assert(bad!.begun.length >= before + 5);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A probe is due for jobs in line, too, without a new one", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2, {
      ejection: { crashesMax: 1, backoffMs: 50 },
      strategy: "round-robin",
    });
    members[0]!.isCrashing = true;
    yield* settled([submit(balancer, "crash", 1)]);
    assertEquals(balancer.memberStats()[0]!.state, "ejected");
    members[0]!.isCrashing = false;
    const jobs = Array.from(
      { length: 3 },
      (_, n) => submit(balancer, `${n}`, 1_000),
    );
    yield* settled([jobs[0]!]);
    assertEquals(getRunningLoop().time(), 1_001);
    assertEquals(members[0]!.begun, ["crash", "1"]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Never more than half of the members are ejected, also when others leave", async () => {
  await run(function* () {
    const { balancer, members } = setUp(5, {
      ejection: { crashesMax: 1, backoffMs: 1_000 },
    });
    for (const member of members) member.isCrashing = true;
    for (let n = 0; n < 40; n++) yield* settled([submit(balancer, "x", 1)]);
    const ejected = () =>
      balancer.memberStats().filter(({ state }) => state === "ejected").length;
    assertEquals(ejected(), 2);
    for (const { name, state } of balancer.memberStats()) {
      if (state !== "ejected") yield* balancer.remove(name);
      const { length } = balancer.memberStats();
      assert(ejected() <= length / 2, `${ejected()} of ${length}`);
    }
    assertEquals(balancer.size, 2);
    const alone = setUp(1, { ejection: { crashesMax: 1 } });
    alone.members[0]!.isCrashing = true;
    yield* settled([submit(alone.balancer, "x", 1)]);
    assertEquals(alone.balancer.memberStats()[0]!.state, "ready");
    yield* alone.balancer.shutdown();
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Errors of jobs and cancellations do not count against a member", async () => {
  await run(function* () {
    const { balancer } = setUp(2, { ejection: { crashesMax: 1 } });
    for (let n = 0; n < 20; n++) {
      yield* settled([balancer.submit(broken, [1])]);
      const job = submit(balancer, "job", 1);
      job.cancel();
      yield* settled([job]);
    }
    for (const { ejections, failed } of balancer.memberStats()) {
      assertEquals(ejections, 0);
      assert(failed > 0);
    }
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A member that is far slower than the others is ejected, and comes back when it is fast again", async () => {
  await run(function* () {
    const slow = { ms: 200 };
    const balancer = new LoadBalancer([], {
      strategy: "round-robin",
      ejection: { samplesMin: 5, slowFactor: 4, backoffMs: 2_000 },
      stealing: false,
      slowStartMs: 0,
    });
    balancer.add(
      new FakeExecutor({ capacity: Infinity, serviceMs: () => slow.ms }),
      { name: "slow" },
    );
    for (
      const member of fakes(3, {
        capacity: Infinity,
        serviceMs: () => 20,
      })
    ) {
      balancer.add(member);
    }
    const feed = function* (jobs: number): Coroutine<void> {
      for (let n = 0; n < jobs; n++) {
        submit(balancer, "job", 0);
        yield* sleep(25);
      }
    };
    const first = () => balancer.memberStats()[0]!;
    yield* feed(60);
    assertEquals([first().state, first().ejections], ["ejected", 1]);
    yield* feed(100); // the probe is slow, too
    assertEquals([first().state, first().ejections], ["ejected", 2]);
    slow.ms = 20;
    yield* feed(200);
    assertEquals([first().state, first().ejections], ["ready", 2]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("ejection: false never ejects", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2, { ejection: false });
    for (const member of members) member.isCrashing = true;
    for (let n = 0; n < 30; n++) yield* settled([submit(balancer, "x", 1)]);
    for (const { state } of balancer.memberStats()) {
      assertEquals(state, "ready");
    }
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Keys of an ejected member go to others, and one of its own brings it back", async () => {
  await run(function* () {
    const { balancer, members } = setUp(4, {
      strategy: "hash",
      ejection: { crashesMax: 1, backoffMs: 100 },
      slowStartMs: 0,
    });
    const ownerOf = function* (key: number): Coroutine<number> {
      const counts = members.map(({ begun }) => begun.length);
      yield* settled([submit(balancer, "job", 1, { key })]);
      return members.findIndex(({ begun }, n) => begun.length > counts[n]!);
    };
    const owner = yield* ownerOf(7);
    members[owner]!.isCrashing = true;
    assertEquals(yield* ownerOf(7), owner);
    assertNotEquals(yield* ownerOf(7), owner);
    members[owner]!.isCrashing = false;
    yield* sleep(100);
    assertEquals(yield* ownerOf(7), owner);
    assertEquals(balancer.memberStats()[owner]!.state, "ready");
    yield* balancer.shutdown();
  }, VIRTUAL);
});

// -- Shutdown --

Deno.test("shutdown() lets all jobs end, then ends the members; twice is harmless", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const { balancer, members } = setUp(2);
    const jobs = Array.from(
      { length: 6 },
      (_, n) => submit(balancer, `${n}`, 10),
    );
    const tasks = [1, 2].map(() => loop.createTask(balancer.shutdown()));
    yield* sleep(0);
    assertThrows(
      () => submit(balancer, "late", 1),
      ExecutorShutDownError,
      "Cannot submit a job: a load balancer was shut down",
    );
    assertThrows(() => balancer.add(new FakeExecutor()), ExecutorShutDownError);
    for (const task of tasks) yield* task;
    assertEquals(loop.time(), 30);
    for (const job of jobs) assert(outcomeOf(job).startsWith("result"));
    yield* balancer.shutdown();
    for (const { shutdowns } of members) assertEquals(shutdowns.length, 1);
  }, VIRTUAL);
});

Deno.test("shutdown({ cancelPending }) cancels the jobs in line, { graceMs } in time all others", async () => {
  await run(function* () {
    const { balancer } = setUp(1);
    const jobs = [submit(balancer, "a", 10), submit(balancer, "b", 10)];
    yield* balancer.shutdown({ cancelPending: true });
    assertEquals(jobs.map(outcomeOf), [
      "result: a",
      "cancelled: Cancelled: a load balancer was shut down",
    ]);
  }, VIRTUAL);
  await run(function* () {
    const loop = getRunningLoop();
    const { balancer, members } = setUp(1, { name: "x" });
    members[0]!.cancelMs = 5;
    const jobs = [
      submit(balancer, "a", 10),
      submit(balancer, "b", 100, { idempotent: true }),
      submit(balancer, "c", 100),
    ];
    const first = loop.createTask(balancer.shutdown({ graceMs: 1_000 }));
    yield* sleep(0);
    yield* balancer.shutdown({ graceMs: 50 });
    assertEquals([first.done(), loop.time()], [true, 55]);
    assertEquals(jobs.map(outcomeOf), [
      "result: a",
      'cancelled: Cancelled: load balancer "x" was shut down',
      'cancelled: Cancelled: load balancer "x" was shut down',
    ]);
    assertEquals(members[0]!.shutdowns, [{ graceMs: 0, cancelPending: false }]);
  }, VIRTUAL);
});

Deno.test("A shutdown goes on when the wait for it is cancelled", async () => {
  await run(function* () {
    const { balancer, members } = setUp(1);
    submit(balancer, "job", 50);
    const task = getRunningLoop().createTask(balancer.shutdown());
    yield* sleep(10);
    task.cancel();
    yield* sleep(60);
    assertEquals([task.cancelled(), members[0]!.isDown], [true, true]);
  }, VIRTUAL);
});

Deno.test("ownsMembers: false leaves the members alone", async () => {
  await run(function* () {
    const { balancer, members } = setUp(2, { ownsMembers: false });
    yield* balancer.remove("m0");
    yield* balancer.shutdown();
    for (const { isDown } of members) assertEquals(isDown, false);
  }, VIRTUAL);
});

Deno.test("Errors of the members' shutdowns are thrown when all have ended", async () => {
  class Stuck extends FakeExecutor {
    override shutdown(): never {
      throw new Error("stuck");
    }
  }
  await run(function* () {
    const last = new FakeExecutor();
    const one = new LoadBalancer([new Stuck(), last]);
    assertEquals(
      String(yield* failureOf(getRunningLoop().createTask(one.shutdown()))),
      "Error: stuck",
    );
    assertEquals(last.isDown, true);
    const two = new LoadBalancer([new Stuck(), new Stuck()]);
    const error = yield* failureOf(
      getRunningLoop().createTask(two.shutdown()),
    );
    assert(error instanceof AggregateError);
    assertEquals(error.errors.length, 2);
  }, VIRTUAL);
});

Deno.test("await using shuts down", async () => {
  const members = fakes(1);
  await run(async () => {
    await using balancer = new LoadBalancer(members);
    submit(balancer, "job", 10);
  }, VIRTUAL);
  assertEquals([members[0]!.begun, members[0]!.isDown], [["job"], true]);
});

Deno.test("The end of a run cancels the jobs that are left, and ends a shutdown", async () => {
  const { balancer, members } = setUp(1);
  const jobs: Future<unknown>[] = [];
  await run(function* () {
    jobs.push(submit(balancer, "a", 1_000), submit(balancer, "b", 1_000));
    getRunningLoop().createTask(balancer.shutdown());
    yield* sleep(10);
  }, VIRTUAL);
  for (const job of jobs) assert(outcomeOf(job).startsWith("cancelled"));
  assertEquals(accountedFor(balancer), 2);
  assertEquals([members[0]!.jobs.size, members[0]!.isDown], [0, true]);
});

Deno.test("A loop that is closed under the jobs ends them, and another one may use the balancer", async () => {
  const { balancer } = setUp(2, {}, { capacity: 1 });
  const first = new EventLoop(VIRTUAL);
  first.setExceptionHandler(() => {}); // told of the tasks that have not ended
  const jobs: Future<unknown>[] = [];
  await first.runUntilComplete(function* () {
    for (let n = 0; n < 5; n++) jobs.push(submit(balancer, `${n}`, 1_000));
    yield* sleep(10);
  });
  await first.close();
  for (const job of jobs) assert(outcomeOf(job).startsWith("cancelled"));
  await run(function* () {
    const { cancelled, running, queued } = balancer.stats();
    assertEquals([cancelled, running, queued], [5, 0, 0]);
    assertEquals(yield* submit(balancer, "again", 10), "again");
    yield* balancer.shutdown();
  }, VIRTUAL);
});

// -- Surroundings --

Deno.test("A balancer may be a member of another one", async () => {
  await run(function* () {
    const inner = setUp(2, { name: "inner" });
    const single = new FakeExecutor();
    const outer = new LoadBalancer([inner.balancer, single], { seed: 2 });
    assertEquals(outer.capacity, 3);
    const jobs = Array.from(
      { length: 12 },
      (_, n) => submit(outer, `${n}`, 10),
    );
    yield* settled(jobs);
    assertEquals(getRunningLoop().time(), 40);
    assertEquals(outer.stats().workers.idle, 3);
    assertThrows(
      () => inner.balancer.add(outer),
      MisuseError,
      'Cannot add a member: its jobs would come back to load balancer "inner"',
    );
    assertThrows(() => outer.add(outer), MisuseError);
    yield* outer.shutdown();
    assertEquals(inner.members.map(({ isDown }) => isDown), [true, true]);
  }, VIRTUAL);
});

Deno.test("The virtual clock stands still for jobs in line while those with members run outside", async () => {
  class Outside extends FakeExecutor {
    override submit: FakeExecutor["submit"] = (task, args) =>
      getRunningLoop().createTask(async () => {
        await until(new Promise((resolve) => setTimeout(resolve, 1)));
        return (task as (...args: readonly unknown[]) => never)(...args);
      });
  }
  await run(function* () {
    const balancer = new LoadBalancer([new Outside()]);
    const jobs = ["a", "b", "c"].map((name) => submit(balancer, name, 1));
    assertEquals(yield* settled(jobs), ["result: a", "result: b", "result: c"]);
    assertEquals(getRunningLoop().time(), 0);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("Task-local values for transport are those of the submitter, also for jobs in line", async () => {
  const local = new TaskLocal("none", { transport: "balancer-test" });
  const seen: unknown[] = [];
  class Noting extends FakeExecutor {
    override submit: FakeExecutor["submit"] = (task, args, options) => {
      seen.push(transportedLocals()?.["balancer-test"]);
      return super.submit(task, args, options);
    };
  }
  await run(function* () {
    const balancer = new LoadBalancer([new Noting()]);
    const jobs = [1, 2, 3].map((n) =>
      getRunningLoop().createTask(function* () {
        if (n < 3) local.set(`value ${n}`);
        yield* submit(balancer, `${n}`, 10);
      })
    );
    yield* settled(jobs);
    assertEquals(seen, ["value 1", "value 2", undefined]);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A balancer that has jobs of a loop refuses another one", async () => {
  const { balancer } = setUp(1);
  const loops = [1, 2].map(() => new EventLoop(VIRTUAL));
  const [first, second] = loops as [EventLoop, EventLoop];
  const gate = first.createFuture<void>();
  const one = first.runUntilComplete(async () => {
    const job = submit(balancer, "job", 10);
    await gate;
    await job;
  });
  await second.runUntilComplete(function* () {
    yield* sleep(0);
    assertThrows(
      () => submit(balancer, "job", 10),
      MisuseError,
      "it is in use on another event loop",
    );
  });
  first.callSoon(() => gate.setResult());
  await one;
  await second.runUntilComplete(function* () {
    assertEquals(yield* submit(balancer, "job", 10), "job");
    yield* balancer.shutdown();
  });
  for (const loop of loops) await loop.close();
});

Deno.test("Bad arguments are refused before anything has changed", async () => {
  // deno-lint-ignore no-explicit-any
  const bad = (value: unknown) => value as any;
  const options: [LoadBalancerOptions, typeof TypeError, string][] = [
    [bad(null), TypeError, "options must be an object"],
    [{ strategy: bad("best") }, TypeError, "strategy must be one of"],
    [{ name: bad(7) }, TypeError, "name must be a string"],
    [{ stealing: bad(1) }, TypeError, "stealing must be one of"],
    [{ slowStartMs: -1 }, RangeError, "slowStartMs must be >= 0"],
    [{ averageMs: 0 }, RangeError, "averageMs must be > 0"],
    [{ retriesMax: 1.5 }, RangeError, "retriesMax must be an integer"],
    [{ highWaterMark: -1 }, RangeError, "highWaterMark must be an integer"],
    [{ overload: bad("drop") }, TypeError, "overload must be one of"],
    [{ ownsMembers: bad("no") }, TypeError, "ownsMembers must be one of"],
    [{ seed: 0.5 }, RangeError, "seed must be an integer"],
    [{ seed: 2 ** 60 }, RangeError, "seed must be a safe integer"],
    [{ ejection: bad(true) }, TypeError, "options must be an object"],
    [{ ejection: { crashesMax: 0 } }, RangeError, "ejection.crashesMax"],
    [{ ejection: { slowFactor: 0.5 } }, RangeError, "slowFactor must be >= 1"],
    [{ ejection: { slowFactor: NaN } }, RangeError, "ejection.slowFactor"],
    [
      { ejection: { slowFactor: bad("2") } },
      TypeError,
      'slowFactor must be a number: received "2"',
    ],
    [{ ejection: { samplesMin: 0 } }, RangeError, "ejection.samplesMin"],
    [{ ejection: { slowMinMs: -1 } }, RangeError, "ejection.slowMinMs"],
    [{ ejection: { backoffMs: 0 } }, RangeError, "backoffMs must be > 0"],
    [
      { ejection: { backoffMs: 9, backoffMaxMs: 8 } },
      RangeError,
      "backoffMaxMs must be >= 9",
    ],
  ];
  for (const [given, kind, message] of options) {
    assertThrows(() => new LoadBalancer([], given), kind, message);
  }
  assertThrows(() => new LoadBalancer(bad(7)), TypeError, "must be iterable");
  const { balancer, members } = setUp(2);
  const member = new FakeExecutor();
  const adding: [() => void, ErrorConstructor | typeof MisuseError, string][] =
    [
      [() => balancer.add(bad(null)), TypeError, "must be an Executor"],
      [() => balancer.add(bad({})), TypeError, "must be an Executor"],
      [() => balancer.add(member, bad(1)), TypeError, "options must be"],
      [() => balancer.add(member, { name: bad(1) }), TypeError, "name must"],
      [() => balancer.add(member, { weight: 0 }), RangeError, "must be > 0"],
      [() => balancer.add(member, { weight: -1 }), RangeError, "must be > 0"],
      [() => balancer.add(member, { weight: NaN }), RangeError, "must be > 0"],
      [() => balancer.add(member, { weight: Infinity }), RangeError, "finite"],
      [() => balancer.add(member, { weight: bad("1") }), TypeError, "a number"],
      [() => balancer.add(members[0]!), MisuseError, "a member already"],
      [() => balancer.add(member, { name: "m1" }), MisuseError, "has the name"],
      [() => balancer.add(balancer), MisuseError, "would come back"],
      [() => balancer.drain(member), MisuseError, "is no member"],
      [() => balancer.drain("m7"), MisuseError, '"m7" is no member'],
      [() => balancer.remove(member), MisuseError, "is no member"],
      [() => balancer.remove("m0", bad(1)), TypeError, "options must be"],
      [
        () => balancer.remove("m0", { shutdown: bad(1) }),
        TypeError,
        "shutdown must be one of",
      ],
      [() => balancer.shutdown({ graceMs: -1 }), RangeError, "graceMs"],
      [() => balancer.shutdown(bad(1)), TypeError, "options must be"],
    ];
  for (const [call, kind, message] of adding) {
    assertThrows(call, kind, message);
  }
  assertThrows(
    () => submit(balancer, "x", 1),
    MisuseError,
    "no loop is running",
  );
  await run(function* () {
    const jobs: [() => void, ErrorConstructor, string][] = [
      [() => balancer.submit(bad(7), []), TypeError, "task must be"],
      [() => balancer.submit(work, bad(7)), TypeError, "args must be"],
      [() => balancer.submit(work, [1], bad(7)), TypeError, "options must"],
      [() => submit(balancer, "x", 1, { key: bad({}) }), TypeError, "key"],
      [() => submit(balancer, "x", 1, { key: NaN }), TypeError, "key"],
      [() => submit(balancer, "x", 1, { priority: bad("hi") }), TypeError, ""],
      [() => submit(balancer, "x", 1, { signal: bad(7) }), TypeError, "signal"],
      [() => submit(balancer, "x", 1, { deadlineMs: -1 }), RangeError, "after"],
      [() => submit(balancer, "x", 1, { deadlineMs: 0 }), RangeError, "after"],
    ];
    for (const [call, kind, message] of jobs) assertThrows(call, kind, message);
    assertEquals(accountedFor(balancer), 0);
    assertEquals(balancer.size, 2);
    yield* balancer.shutdown();
  }, VIRTUAL);
});

Deno.test("A job is a future whose outcome only its function decides", async () => {
  await run(function* () {
    const { balancer } = setUp(1);
    const job = submit(balancer, "job", 10);
    assertThrows(() => job.setResult(1), MisuseError, 'of job "job"');
    assertThrows(() => job.setException(1), MisuseError, 'of job "job"');
    assertEquals(Deno.inspect(job), 'Job (job "job", pending)');
    assertStrictEquals(balancer instanceof BaseExecutor, true);
    assertEquals(String(balancer), "[object LoadBalancer]");
    yield* balancer.shutdown();
  }, VIRTUAL);
});
