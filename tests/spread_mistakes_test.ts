/**
 * Mistakes with things that can be waited for and iterated: `Promise.all(task)` was
 * meant as `Promise.all([task])`, `[...sleep(1)]` as `yield* sleep(1)`. Each throws a
 * `MisuseError` that says so, instead of running for ever.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  asCompleted,
  Barrier,
  cancelScope,
  CapacityLimiter,
  Channel,
  ConcurrencyLimit,
  Condition,
  each,
  every,
  failAfter,
  Flag,
  Future,
  gather,
  getRunningLoop,
  Lock,
  MisuseError,
  moveOnAfter,
  Queue,
  RateLimiter,
  run,
  scoped,
  Semaphore,
  shield,
  sleep,
  TaskGroup,
  taskGroup,
  timeout,
  until,
  wait,
  waitFor,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

// deno-lint-ignore no-explicit-any
type Any = any;

/** The ways to iterate something by mistake. */
const MISTAKES: Readonly<Record<string, (value: Any) => unknown>> = {
  "Promise.all(x)": (value) => Promise.all(value),
  "Promise.race(x)": (value) => Promise.race(value),
  "Promise.any(x)": (value) => Promise.any(value),
  "Promise.allSettled(x)": (value) => Promise.allSettled(value),
  "[...x]": (value) => [...value],
  "f(...x)": (value) => Math.max(...value),
  "Array.from(x)": (value) => Array.from(value),
  "new Set(x)": (value) => new Set(value),
  "for (const y of x)": (value) => {
    let count = 0;
    for (const _ of value) if (++count > 10) throw new Error("it goes on");
    throw new Error("it ended");
  },
  "const [y, z, a] = x": (value) => {
    const [_first, _second, _third] = value;
  },
  "const [...y] = x": (value) => {
    const [..._rest] = value;
  },
};

const forEver = () => sleep(Infinity);

function takenLock(): Lock {
  const lock = new Lock();
  lock.tryAcquire();
  return lock;
}

/** Futures that are not done. */
const FUTURES: Readonly<Record<string, () => Any>> = {
  "a future": () => new Future(getRunningLoop()),
  "a task in a generator": () =>
    getRunningLoop().createTask(function* () {
      yield* forEver();
    }),
  "a task in an async function": () =>
    getRunningLoop().createTask(async () => await forEver()),
  "a task of an operation": () => getRunningLoop().createTask(forEver()),
  "gather()": () => gather([forEver()]),
  "shield()": () => shield(forEver()),
  "a job of a limit": () => new ConcurrencyLimit(1).run(forEver),
};

/** Operations that do not end at once. */
const OPERATIONS: Readonly<Record<string, () => Any>> = {
  "sleep()": () => sleep(1),
  "sleep(Infinity)": () => sleep(Infinity),
  "sleep() with a signal": () =>
    sleep(1, { signal: new AbortController().signal }),
  "until()": () => until(new Promise(() => {})),
  "until(() => promise)": () => until(() => new Promise(() => {})),
  "Flag.wait()": () => new Flag().wait(),
  "Semaphore.acquire()": () => new Semaphore(0).acquire(),
  "Lock.acquire()": () => takenLock().acquire(),
  "CapacityLimiter.acquire()": () => {
    const limiter = new CapacityLimiter(1);
    limiter.tryAcquireOnBehalfOf({});
    return limiter.acquire();
  },
  "Condition.wait()": () => new Condition(takenLock()).wait(),
  "Condition.waitFor()": () => new Condition(takenLock()).waitFor(() => false),
  "Barrier.wait()": () => new Barrier(2).wait(),
  "Queue.get()": () => new Queue().get(),
  "Queue.put()": () => {
    const queue = new Queue<number>(1);
    queue.putNowait(1);
    return queue.put(2);
  },
  "Queue.join()": () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    return queue.join();
  },
  "Channel.receive()": () => new Channel().receive(),
  "Channel.send()": () => new Channel<number>({ capacity: 0 }).send(1),
  "RateLimiter.acquire()": () => {
    const limiter = new RateLimiter({ permits: 1, intervalMs: 1_000 });
    limiter.tryAcquire();
    return limiter.acquire();
  },
  "ConcurrencyLimit.onIdle()": () => {
    const limit = new ConcurrencyLimit(1);
    limit.run(() => sleep(5));
    return limit.onIdle();
  },
  "ConcurrencyLimit.map()": () =>
    new ConcurrencyLimit(1).map([1, 2], () => forEver()),
  "every()": () => every(10, () => {}),
  "asCompleted()": () =>
    asCompleted([new Future(getRunningLoop())]).next().value,
  "wait()": () => wait([new Future(getRunningLoop())]),
  "waitFor()": () => waitFor(forEver(), 10),
  "timeout()": () => timeout(10, forEver),
  "timeout() around an async function": () =>
    timeout(10, async () => await forEver()),
  "cancelScope()": () => cancelScope(forEver),
  "moveOnAfter()": () => moveOnAfter(10, forEver),
  "failAfter()": () => failAfter(10, forEver),
  "each()": () => each([1], forEver),
  "scoped()": () => scoped({ [Symbol.dispose]() {} }, forEver),
  "taskGroup()": () => taskGroup(forEver),
  "a group with a task": () =>
    taskGroup((group) => void group.spawn(() => forEver())),
  "a limited group with tasks": () =>
    taskGroup((group) => {
      group.spawn(forEver);
      group.spawn(forEver);
    }, { limit: 1 }),
  "a group inside of a timeout": () =>
    timeout(5, () => taskGroup((group) => void group.spawn(forEver))),
  "TaskGroup.start()": () => startInGroup(),
  "TaskGroup.run()": () => new TaskGroup({ limit: 1 }).run(forEver),
};

/** The wait for a task of an open group that never says that it has started. */
function startInGroup(): Any {
  let start: Any;
  getRunningLoop().createTask(() =>
    taskGroup(async (group) => {
      start = group.start(async () => await forEver());
      await forEver();
    }), { eager: true });
  return start;
}

/** What a mistake came to: the class of its error. */
async function outcomeOf(
  mistake: (value: Any) => unknown,
  make: () => unknown,
): Promise<string> {
  let outcome: string;
  const value = make();
  try {
    await mistake(value);
    outcome = "nothing";
  } catch (error) {
    outcome = error instanceof MisuseError
      ? "MisuseError"
      : error instanceof AggregateError // of Promise.any()
      ? error.errors.map((inner) => inner?.name).join()
      : String(error);
  }
  if (value instanceof Future) {
    value.cancel();
    await Promise.resolve(value).catch(() => {});
  }
  return outcome;
}

for (
  const [kind, makers] of [["futures", FUTURES], [
    "operations",
    OPERATIONS,
  ]] as const
) {
  for (const [name, mistake] of Object.entries(MISTAKES)) {
    Deno.test(`${name} on ${kind} is a MisuseError and does not hang`, async () => {
      const wrong: string[] = [];
      for (const [what, make] of Object.entries(makers)) {
        // Each in a loop of its own: a group that was begun by mistake is in the way.
        await run(async () => {
          const outcome = await outcomeOf(mistake, make);
          if (outcome !== "MisuseError") wrong.push(`${what}: ${outcome}`);
        }, { ...VIRTUAL, outsideWaits: "ignore" });
      }
      assertEquals(wrong, []);
    });
  }
}

Deno.test("Iterating by mistake says how to wait instead", async () => {
  await run(async () => {
    const task = getRunningLoop().createTask(forEver, { name: "worker" });
    const { message } = assertThrows(
      () => [...(task as Any)],
      MisuseError,
      'Cannot go through task "worker"',
    );
    assert(message.includes('"yield*" or "await"'), message);
    task.cancel();
    await Promise.resolve(task).catch(() => {});
  }, VIRTUAL);
});

Deno.test("A task that was iterated by mistake can be waited for all the same", async () => {
  await run(async () => {
    const task = getRunningLoop().createTask(() => sleep(5, { value: 1 }));
    assertThrows(() => [...(task as Any)], MisuseError);
    assertEquals(await task, 1);
  }, VIRTUAL);
});

Deno.test("gather(), wait() and asCompleted() refuse a task instead of a list", async () => {
  await run(async () => {
    const task = getRunningLoop().createTask(() => sleep(5));
    for (const call of [gather, wait] as Any[]) {
      assertThrows(() => call(task), TypeError, "must be an array");
    }
    await task;
  }, VIRTUAL);
});

Deno.test("A group that is iterated by mistake cancels its tasks, and a failure of one is reported", async () => {
  const reports: string[] = [];
  await run(async () => {
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, { message }) =>
      void reports.push(message)
    );
    const group = taskGroup((group) => {
      group.spawn(async () => {
        await Promise.resolve(forEver()).catch(() => {});
        throw new Error("clean-up failed");
      }, { name: "worker", eager: true });
      group.spawn(forEver, { name: "never begun" });
    });
    assertThrows(() => [...(group as Any)], MisuseError, "Cannot go through");
    await sleep(5);
  }, VIRTUAL);
  assertEquals(reports, [
    'Task "worker" failed, and its group is over',
  ]);
});
