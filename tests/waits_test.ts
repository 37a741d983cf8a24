/**
 * Who waits for what: `Task.waits` and `Future.awaitedBy`, for each primitive and in
 * both styles.
 *
 * @module
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  asCompleted,
  Barrier,
  CapacityLimiter,
  Channel,
  ConcurrencyLimit,
  Condition,
  createTask,
  DeadlockError,
  Flag,
  type Future,
  gather,
  getRunningLoop,
  Lock,
  Queue,
  RateLimiter,
  run,
  Semaphore,
  shield,
  sleep,
  type Task,
  taskGroup,
  timeout,
  until,
  wait,
  waitFor,
} from "../mod.ts";
import { core } from "../src/loop/core.ts";
import type { TaskWait } from "../src/loop/waits.ts";
import {
  type Awaitable,
  inStyle,
  type Steps,
  type Style,
  STYLES,
} from "./support/styles.ts";

const VIRTUAL = {
  host: "virtual",
  deadlock: "ignore",
  outsideWaits: "ignore",
} as const;

/** A wait in short: the names of the tasks in place of these. */
function inShort({ kind, heldBy }: TaskWait): string {
  return heldBy.length === 0
    ? kind
    : `${kind} < ${heldBy.map(({ name }) => name).join(" ")}`;
}

function shortWaits(task: Task<unknown>): string[] {
  return task.waits().map(inShort);
}

/** Prepares what a waiter waits for, and returns it. Runs in a task. */
interface Case {
  /** Returns what is waited for, and the target that `waits()` is to tell. */
  readonly prepare: (style: Style) => {
    readonly waits: () => Awaitable;
    readonly target?: object | null;
  };
  readonly expected: string;
}

/** A task of this name that takes a permit and keeps it. */
function keeper(
  style: Style,
  name: string,
  acquire: () => Awaitable,
): Task<unknown> {
  return createTask(
    inStyle(style, function* () {
      yield acquire();
      yield sleep(Infinity);
    }),
    { name },
  );
}

const CASES: Readonly<Record<string, Case>> = {
  "a lock": {
    prepare: (style) => {
      const lock = new Lock();
      keeper(style, "holder", () => lock.acquire());
      return { waits: () => lock.acquire(), target: lock };
    },
    expected: "Lock.acquire < holder",
  },
  "a semaphore": {
    prepare: (style) => {
      const semaphore = new Semaphore(2);
      keeper(style, "one", () => semaphore.acquire());
      keeper(style, "two", () => semaphore.acquire());
      return { waits: () => semaphore.acquire(), target: semaphore };
    },
    expected: "Semaphore.acquire < one two",
  },
  "a capacity limiter": {
    prepare: (style) => {
      const limiter = new CapacityLimiter(1);
      keeper(style, "borrower", () => limiter.acquire());
      return { waits: () => limiter.acquire(), target: limiter };
    },
    expected: "CapacityLimiter.acquire < borrower",
  },
  "a rate limiter": {
    prepare: () => {
      const limiter = new RateLimiter({ permits: 1, intervalMs: 1_000 });
      limiter.tryAcquire();
      return { waits: () => limiter.acquire(), target: limiter };
    },
    expected: "RateLimiter.acquire",
  },
  "a flag": {
    prepare: () => {
      const flag = new Flag();
      return { waits: () => flag.wait(), target: flag };
    },
    expected: "Flag.wait",
  },
  "a barrier": {
    prepare: () => {
      const barrier = new Barrier(2);
      return { waits: () => barrier.wait(), target: barrier };
    },
    expected: "Barrier.wait",
  },
  "an item of a queue": {
    prepare: () => {
      const queue = new Queue<number>();
      return { waits: () => queue.get(), target: queue };
    },
    expected: "Queue.get",
  },
  "room in a queue": {
    prepare: () => {
      const queue = new Queue<number>(1);
      queue.putNowait(1);
      return { waits: () => queue.put(2), target: queue };
    },
    expected: "Queue.put",
  },
  "the end of a queue's work": {
    prepare: () => {
      const queue = new Queue<number>();
      queue.putNowait(1);
      return { waits: () => queue.join(), target: queue };
    },
    expected: "Queue.join",
  },
  "a value of a channel": {
    prepare: () => {
      const channel = new Channel<number>();
      return { waits: () => channel.receive(), target: channel };
    },
    expected: "Channel.receive",
  },
  "a receiver of a channel": {
    prepare: () => {
      const channel = new Channel<number>();
      return { waits: () => channel.send(1), target: channel };
    },
    expected: "Channel.send",
  },
  "time": {
    prepare: () => ({ waits: () => sleep(1_000) }),
    expected: "sleep",
  },
  "a task": {
    prepare: (style) => {
      const child = keeper(style, "child", () => sleep(0));
      return { waits: () => child, target: child };
    },
    expected: "task < child",
  },
  "a future": {
    prepare: () => {
      const future = getRunningLoop().createFuture<void>("an answer");
      return { waits: () => future, target: future };
    },
    expected: "future",
  },
  "gather()": {
    prepare: (style) => {
      const a = keeper(style, "a", () => sleep(0));
      const b = keeper(style, "b", () => sleep(0));
      const all = gather([a, b, a]);
      return { waits: () => all, target: all };
    },
    expected: "gather < a b",
  },
  "gather() of shields of gathers": {
    prepare: (style) => {
      const a = keeper(style, "a", () => sleep(0));
      const b = keeper(style, "b", () => sleep(0));
      const all = gather([shield(gather([a])), b, shield(a)]);
      return { waits: () => all, target: all };
    },
    expected: "gather < b a",
  },
  "gather() when one is done": {
    prepare: (style) => {
      const a = createTask(
        inStyle(style, function* () {
          yield sleep(0);
        }),
        { name: "a" },
      );
      const b = keeper(style, "b", () => sleep(0));
      const all = gather([a, b]);
      return { waits: () => all, target: all };
    },
    expected: "gather < b",
  },
  "shield()": {
    prepare: (style) => {
      const a = keeper(style, "a", () => sleep(0));
      const outer = shield(a);
      return { waits: () => outer, target: outer };
    },
    expected: "shield < a",
  },
  "wait()": {
    prepare: (style) => {
      const a = keeper(style, "a", () => sleep(0));
      const b = keeper(style, "b", () => sleep(0));
      return { waits: () => wait([a, b], { returnWhen: "first-completed" }) };
    },
    expected: "wait < a b",
  },
  "asCompleted()": {
    prepare: (style) => {
      const a = keeper(style, "a", () => sleep(0));
      const b = keeper(style, "b", () => sleep(0));
      const all = asCompleted([a, b]);
      return { waits: () => all.next().value!, target: all };
    },
    expected: "asCompleted < a b",
  },
  "waitFor()": {
    prepare: () => {
      const queue = new Queue<number>();
      return { waits: () => waitFor(queue.get(), 1_000), target: queue };
    },
    expected: "Queue.get",
  },
  "a wait in a timeout": {
    prepare: (style) => {
      const queue = new Queue<number>();
      const steps: Steps<unknown> = function* () {
        return yield queue.get();
      };
      return {
        waits: () => timeout(1_000, inStyle(style, steps)),
        target: queue,
      };
    },
    expected: "Queue.get",
  },
  "the tasks of a group": {
    prepare: (style) => {
      let group: object | null = null;
      return {
        waits: () =>
          taskGroup((tasks) => {
            group = tasks;
            tasks.createTask(
              inStyle(style, function* () {
                yield sleep(Infinity);
              }),
              { name: "child" },
            );
          }),
        get target() {
          return group!;
        },
      };
    },
    expected: "taskGroup < child",
  },
  "a promise": {
    prepare: () => {
      const promise = new Promise(() => {});
      return { waits: () => until(promise), target: promise };
    },
    expected: "until",
  },
  "a job in line": {
    prepare: () => {
      const limit = new ConcurrencyLimit(1);
      limit.run(() => sleep(Infinity), { name: "first" });
      const job = limit.run(() => sleep(Infinity), { name: "second" });
      return { waits: () => job, target: job };
    },
    expected: "job < first",
  },
  "a job that runs": {
    prepare: () => {
      const limit = new ConcurrencyLimit(1);
      const job = limit.run(() => sleep(Infinity), { name: "first" });
      return { waits: () => job, target: job };
    },
    expected: "job < first",
  },
  "the end of all jobs": {
    prepare: () => {
      const limit = new ConcurrencyLimit(1);
      limit.run(() => sleep(Infinity), { name: "first" });
      return { waits: () => limit.onIdle(), target: limit };
    },
    expected: "ConcurrencyLimit.onIdle < first",
  },
};

for (const style of STYLES) {
  for (const [what, { prepare, expected }] of Object.entries(CASES)) {
    Deno.test(`waits() of ${style} that waits for ${what}`, async () => {
      await run(function* () {
        const loop = getRunningLoop();
        const prepared = prepare(style);
        yield* sleep(1); // whoever holds it has it now
        const waiter = createTask(
          inStyle(style, function* () {
            yield prepared.waits();
          }),
          { name: "waiter" },
        );
        assertEquals(waiter.waits(), [], "it has not begun");
        yield* sleep(10);
        assertEquals(shortWaits(waiter), [expected]);
        const [found] = waiter.waits();
        if (prepared.target !== undefined) {
          assertStrictEquals(found!.target, prepared.target);
        }
        assert(found!.sinceTurn > 1 && found!.sinceTurn <= loop.stats().turns);
        assertEquals(found!.sinceMs, null, "no instrument is there");
        for (const holder of found!.heldBy) {
          // A semaphore and the like are no futures that could tell.
          if (/^(task|gather|shield|wait|asC|taskG)/.test(expected)) {
            assertEquals(holder.awaitedBy(), [waiter], holder.name);
          }
        }
        if (expected.startsWith("job")) {
          const job = found!.target as Future<unknown>;
          assertEquals(job.awaitedBy(), [waiter]);
          assertEquals(
            found!.heldBy[0]!.awaitedBy().includes(waiter),
            what === "a job that runs",
          );
        }
        waiter.cancel();
        yield* wait([waiter]);
        assertEquals(waiter.waits(), []);
        for (const task of [...loop[core].tasks.toArray()]) {
          if (task.parent !== null || task.name === "first") task.cancel();
        }
      }, VIRTUAL).catch((error) => {
        if (error?.name !== "CancelledError") throw error;
      });
    });
  }

  Deno.test(`waits() of ${style} that waits for a condition, which the lock is no part of`, async () => {
    await run(function* () {
      const condition = new Condition();
      const waiter = createTask(inStyle(style, function* () {
        yield condition.acquire();
        yield condition.wait();
        condition.release();
      }));
      yield* sleep(1);
      assertEquals(shortWaits(waiter), ["Condition.wait"]);
      assertStrictEquals(waiter.waits()[0]!.target, condition);
      assertEquals(condition.locked(), false);
      const permit = yield* condition.acquire();
      condition.notify();
      yield* sleep(1);
      const [main] = getRunningLoop()[core].tasks.toArray();
      assertEquals(waiter.waits()[0]!.kind, "Lock.acquire");
      assertEquals(waiter.waits()[0]!.heldBy, [main!]);
      permit.release();
      yield* waiter;
    }, VIRTUAL);
  });

  Deno.test(`waits() of tasks in line for a group, and with a slot lent, lead to those with a slot (${style})`, async () => {
    await run(function* () {
      let outer: Task<unknown> | undefined;
      yield* taskGroup(function* (group) {
        const gate = new Flag();
        const holder = group.createTask(
          inStyle(style, function* () {
            yield gate.wait();
          }),
          { name: "holder" },
        );
        const inLine = group.createTask(() => 1, { name: "in line" });
        yield* sleep(1);
        assertEquals(shortWaits(holder), ["Flag.wait"]);
        assertEquals(shortWaits(inLine), ["slot < holder"]);
        assertStrictEquals(inLine.waits()[0]!.target, group);
        gate.set();
        yield* inLine;
        assertEquals(inLine.waits(), []);

        // A task that has lent its slot to a task of its own waits for one to go on.
        const late = new Flag();
        outer = group.createTask(
          inStyle(style, function* () {
            const inner = group.createTask(
              inStyle(style, function* () {
                yield sleep(1);
              }),
              { name: "inner" },
            );
            yield inner;
          }),
          { name: "outer" },
        );
        yield* sleep(0.5);
        group.createTask(
          inStyle(style, function* () {
            yield late.wait();
          }),
          { name: "other" },
        );
        yield* sleep(0.1);
        assertEquals(shortWaits(outer), ["task < inner"]);
        late.set();
      }, { limit: 1 });
      assertEquals(outer!.waits(), []);
    }, VIRTUAL);
  });
}

Deno.test("An async function may wait for several things, and is told of the innermost ones", async () => {
  await run(async () => {
    const lock = new Lock();
    const queue = new Queue<number>();
    const task = createTask(async () => {
      await Promise.all([
        lock.acquire(),
        timeout(1_000, async () => {
          await Promise.all([
            queue.get(),
            until(() => sleep(50).then(() => {})),
          ]);
        }).then(null, () => {}),
        sleep(100),
      ]);
    });
    const permit = lock.tryAcquire()!;
    await sleep(1);
    assertEquals(shortWaits(task).sort(), [
      "Lock.acquire < " + getRunningLoop()[core].tasks.toArray()[0]!.name,
      "Queue.get",
      "sleep",
      "sleep",
    ]);
    permit.release();
    await sleep(200);
    assertEquals(shortWaits(task), ["Queue.get"]);
    task.cancel();
    await wait([task]);
  }, VIRTUAL);
});

Deno.test("A task that waits for a foreign promise says so, and since when", async () => {
  await run(async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const loop = getRunningLoop();
    let waits: readonly TaskWait[] = [];
    let turnBefore = 0;
    const task = createTask(async () => {
      await sleep(10);
      turnBefore = loop.stats().turns;
      assertEquals(task.waits(), [], "it runs");
      await promise;
      assertEquals(task.waits(), [], "it runs again");
    });
    createTask(async () => {
      await sleep(20);
      await sleep(20);
      waits = task.waits();
      resolve();
    });
    await task;
    assertEquals(waits.length, 1);
    assertEquals([waits[0]!.kind, waits[0]!.target], ["promise", null]);
    assertEquals(waits[0]!.sinceTurn, turnBefore);
  }, { host: "virtual", outsideWaits: "ignore" });
});

Deno.test("A task that is ready has no waits: queued, woken, yielding, or about to hear of its cancellation", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    for (const style of STYLES) {
      const future = loop.createFuture<void>();
      const waiting = createTask(inStyle(style, function* () {
        yield future;
      }));
      const yielding = createTask(inStyle(style, function* () {
        for (;;) yield sleep(0);
      }));
      assertEquals([waiting.waits(), yielding.waits()], [[], []]);
      for (let n = 0; n < 3; n++) yield* sleep(0);
      assertEquals(shortWaits(waiting), ["future"]);
      assertEquals(yielding.waits(), []);
      assertEquals(future.awaitedBy(), [waiting]);
      future.setResult();
      assertEquals([waiting.waits(), future.awaitedBy()], [[], []]);
      yield* waiting;
      const other = createTask(inStyle(style, function* () {
        yield sleep(1_000);
      }));
      for (let n = 0; n < 3; n++) yield* sleep(0);
      assertEquals(shortWaits(other), ["sleep"]);
      other.cancel();
      yielding.cancel();
      assertEquals(other.waits(), []);
      yield* wait([other, yielding]);
    }
  }, VIRTUAL);
});

Deno.test("waits() tells the turn in which a wait began, also after a long time", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const task = createTask(function* () {
      yield* sleep(Infinity);
    });
    yield* sleep(0);
    const since = loop.stats().turns;
    // The task stepped after this one in the turn before, or in this one.
    const [found] = task.waits();
    assert(since - found!.sinceTurn <= 1);
    for (let n = 0; n < 50; n++) yield* sleep(0);
    assertEquals(task.waits()[0]!.sinceTurn, found!.sinceTurn);
    // The field of a task keeps 32 bits of it.
    const kernel = loop[core] as unknown as { turns: number };
    for (const ahead of [2 ** 31 - 3, 2 ** 31, 2 ** 32 - 100]) {
      const turns = kernel.turns;
      kernel.turns = turns + ahead;
      assertEquals(task.waits()[0]!.sinceTurn, found!.sinceTurn);
      kernel.turns = turns;
    }
    kernel.turns += 2 ** 33 + 5;
    const late = createTask(function* () {
      yield* sleep(Infinity);
    });
    yield* sleep(0);
    yield* sleep(0);
    const turns = loop.stats().turns;
    assert(turns - late.waits()[0]!.sinceTurn <= 2, `${turns}`);
    task.cancel();
    late.cancel();
  }, VIRTUAL);
});

Deno.test("awaitedBy() lists direct and indirect waiters in order, each once, and no callbacks", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture<void>();
    assertEquals(future.awaitedBy(), []);
    future.addDoneCallback(() => {});
    const tasks = STYLES.flatMap((style) => [
      createTask(inStyle(style, function* () {
        yield future;
      })),
      createTask(inStyle(style, function* () {
        yield gather([future, shield(future), gather([future])]);
      })),
      createTask(inStyle(style, function* () {
        yield wait([future, sleepTask]);
      })),
    ]);
    const sleepTask = createTask(function* () {
      yield* sleep(5);
    });
    yield* sleep(1);
    assertEquals(new Set(future.awaitedBy()), new Set(tasks));
    assertEquals(future.awaitedBy().length, tasks.length);
    assertEquals(
      sleepTask.awaitedBy(),
      tasks.filter((_, index) => index % 3 === 2),
    );
    future.setResult();
    yield* wait(tasks);
    assertEquals(future.awaitedBy(), []);
  }, VIRTUAL);
});

Deno.test("A ring of tasks that wait for each other is told without an end", async () => {
  await run(function* () {
    const locks = [new Lock(), new Lock()] as const;
    const both = (first: Lock, second: Lock) =>
      function* () {
        using _one = yield* first.acquire();
        yield* sleep(1);
        using _two = yield* second.acquire();
      };
    const a = createTask(both(locks[0], locks[1]), { name: "a" });
    const b = createTask(both(locks[1], locks[0]), { name: "b" });
    yield* sleep(5);
    assertEquals([shortWaits(a), shortWaits(b)], [
      ["Lock.acquire < b"],
      ["Lock.acquire < a"],
    ]);
    a.cancel();
    yield* wait([a, b]);
  }, VIRTUAL);
});

Deno.test("A DeadlockError names who holds what is waited for", async () => {
  const error = await run(function* () {
    const lock = new Lock();
    const semaphore = new Semaphore(5);
    const take = (
      name: string,
      first: Lock | Semaphore,
      then: Lock | Semaphore,
    ) =>
      createTask(function* () {
        yield* first.acquire();
        yield* sleep(1);
        yield* then.acquire();
      }, { name });
    take("lock", lock, semaphore);
    for (let n = 1; n <= 5; n++) take(`s${n}`, semaphore, lock);
    yield* sleep(Infinity);
  }, { host: "virtual" }).catch((error) => error);
  assert(error instanceof DeadlockError);
  assertEquals(
    error.tasks.slice(1, 3).map(({ waitsFor }) => waitsFor),
    [
      'Semaphore.acquire(), held by task "s1" and task "s2" and task "s3" and 2 more',
      'Lock.acquire(), held by task "lock"',
    ],
  );
});

Deno.test("Permits leave the list of those held, whichever way they are given back", async () => {
  await run(function* () {
    for (const give of ["permit", "number", "twice"] as const) {
      const semaphore = new Semaphore(2);
      const lock = new Lock();
      const users = ["a", "b"].map((name) =>
        createTask(function* () {
          const permit = yield* semaphore.acquire();
          const locked = yield* lock.acquire();
          yield* sleep(5);
          if (give !== "permit") semaphore.release();
          if (give !== "number") permit.release();
          locked.release();
          yield* sleep(100);
        }, { name })
      );
      const waiter = createTask(function* () {
        yield* sleep(1);
        using _permit = yield* semaphore.acquire();
        yield* sleep(1_000);
      }, { name: "waiter" });
      yield* sleep(2);
      assertEquals(shortWaits(waiter), ["Semaphore.acquire < a b"]);
      assertEquals(shortWaits(users[1]!), ["Lock.acquire < a"]);
      yield* sleep(20);
      assertEquals(shortWaits(waiter), ["sleep"]);
      const permits = [];
      for (
        let permit = semaphore.tryAcquire();
        permit !== null;
        permit = semaphore.tryAcquire()
      ) permits.push(permit);
      const last = createTask(function* () {
        yield* semaphore.acquire();
      });
      yield* sleep(1);
      const names = last.waits()[0]!.heldBy.map(({ name }) => name);
      assertEquals(names[0], "waiter", give);
      assertEquals(names.length, permits.length === 0 ? 1 : 2, give);
      for (const task of [...users, waiter, last]) task.cancel();
      yield* wait([...users, waiter, last]);
    }
  }, VIRTUAL);
});

Deno.test("A job of an executor is waited for as a job, by nobody of this loop", async () => {
  await run(function* () {
    const job = getRunningLoop().runInExecutor(null, () => 42);
    const waiter = createTask(function* () {
      return yield* job;
    });
    yield* sleep(0);
    yield* sleep(0);
    assertEquals(shortWaits(waiter), ["job"]);
    assertStrictEquals(waiter.waits()[0]!.target, job);
    assertEquals(job.awaitedBy(), [waiter]);
    assertEquals(yield* waiter, 42);
  });
});

Deno.test("A posted function is waited for under its name, and leads to the task it has become", async () => {
  await run(function* () {
    const posted = getRunningLoop().postTask(() => sleep(50), { delayMs: 1 });
    const waiter = createTask(function* () {
      yield* posted;
    });
    yield* sleep(0.5);
    assertEquals(shortWaits(waiter), ["postTask"]);
    assertStrictEquals(waiter.waits()[0]!.target, posted);
    yield* sleep(5);
    const [runner] = waiter.waits()[0]!.heldBy;
    assertEquals(posted.awaitedBy(), [waiter]);
    assertEquals(runner!.awaitedBy(), [waiter]);
    yield* waiter;
  }, VIRTUAL);
});
