/**
 * The lock: asyncio's rules one by one, and permits.
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
  CancelledError,
  getRunningLoop,
  Lock,
  MisuseError,
  newEventLoop,
  type Permit,
  run,
  scoped,
  sleep,
  type Task,
} from "../mod.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Spawn = (steps: Steps<unknown>) => Task<unknown>;

/** A test that runs in both styles; `spawn` makes tasks of the same style. */
function testBoth(name: string, script: (spawn: Spawn) => Script): void {
  for (const style of STYLES) {
    const spawn: Spawn = (steps) =>
      getRunningLoop().createTask(inStyle(style, steps));
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(spawn)), VIRTUAL);
    });
  }
}

const ENOUGH = new Error("enough");

// -- asyncio's rules --

testBoth(
  "Lock lets tasks in in the order in which they asked",
  function* (spawn) {
    const lock = new Lock();
    const log: string[] = [];
    const tasks = ["a", "b", "c", "d"].map((name) =>
      spawn(function* () {
        using _permit: Permit = yield lock.acquire();
        log.push(`${name} in`);
        yield sleep(10);
        log.push(`${name} out`);
      })
    );
    for (const task of tasks) yield task;
    assertEquals(
      log,
      ["a", "b", "c", "d"].flatMap((name) => [`${name} in`, `${name} out`]),
    );
    assertEquals(lock.locked(), false);
  },
);

testBoth("Lock.acquire() takes no turn if the lock is free", function* () {
  const lock = new Lock();
  const { turns } = getRunningLoop().stats();
  const permit: Permit = yield lock.acquire();
  assertEquals(getRunningLoop().stats().turns, turns);
  assertEquals([lock.locked(), permit.held], [true, true]);
});

testBoth(
  "Lock does not let newcomers in while it is on its way to a waiter",
  function* (spawn) {
    const lock = new Lock();
    const log: string[] = [];
    const permit: Permit = yield lock.acquire();
    const waiter = spawn(function* () {
      using _permit: Permit = yield lock.acquire();
      log.push("waiter");
    });
    yield sleep(1);
    permit.release();
    assertEquals(lock.locked(), false);
    assertEquals(lock.tryAcquire(), null);
    const newcomer: Permit = yield lock.acquire();
    log.push("newcomer");
    newcomer.release();
    yield waiter;
    assertEquals(log, ["waiter", "newcomer"]);
  },
);

testBoth(
  "Lock lets a newcomer in at once if all in line are cancelled",
  function* (spawn) {
    const lock = new Lock();
    const permit: Permit = yield lock.acquire();
    const waiters = [1, 2].map(() =>
      spawn(function* () {
        yield lock.acquire();
      })
    );
    yield sleep(1);
    for (const waiter of waiters) waiter.cancel();
    permit.release();
    const next = lock.tryAcquire();
    assertEquals(next?.held, true);
    yield sleep(1);
    assert(waiters.every((waiter) => waiter.cancelled()));
    assertEquals(lock.locked(), true);
  },
);

testBoth(
  "Lock goes to the next in line if the woken one is cancelled in the same turn",
  function* (spawn) {
    const lock = new Lock();
    const permit: Permit = yield lock.acquire();
    const first = spawn(function* () {
      yield lock.acquire();
    });
    const second = spawn(function* () {
      yield lock.acquire();
      return "in";
    });
    yield sleep(1);
    permit.release();
    first.cancel();
    assertEquals(yield second, "in");
    assertEquals(first.cancelled(), true);
  },
);

testBoth(
  "Lock goes to the next in line if the signal of the woken one aborts in the same turn",
  function* (spawn) {
    for (const order of ["release, abort", "abort, release"]) {
      const lock = new Lock();
      const permit: Permit = yield lock.acquire();
      const { signal, controller } = openSignal();
      const first = spawn(function* () {
        const own: Permit = yield lock.acquire({ signal });
        own.release();
      });
      const second = spawn(function* () {
        yield lock.acquire();
        return "in";
      });
      yield sleep(1);
      if (order === "release, abort") permit.release();
      controller.abort(ENOUGH);
      if (order === "abort, release") permit.release();
      assertEquals(yield second, "in");
      // What is there already is delivered.
      if (order === "release, abort") yield first;
      else assertStrictEquals(first.exception(), ENOUGH);
    }
  },
);

Deno.test("Lock.release() wakes nobody while a cancelled waiter at the head has not run", async () => {
  await run(function* () {
    const lock = new Lock();
    const loop = getRunningLoop();
    const log: string[] = [];
    const permit = yield* lock.acquire();
    const waiters = ["first", "second"].map((name) =>
      loop.createTask(function* () {
        yield* lock.acquire();
        log.push(name);
      })
    );
    yield* sleep(1);
    waiters[0]!.cancel();
    permit.release();
    yield* sleep(0); // the first runs, and wakes the second
    assertEquals(log, []);
    yield* sleep(0);
    assertEquals(log, ["second"]);
  }, VIRTUAL);
});

testBoth(
  "Lock stays with its holder if a waiter in the middle is cancelled",
  function* (spawn) {
    const lock = new Lock();
    const log: string[] = [];
    const permit: Permit = yield lock.acquire();
    const waiters = ["a", "b", "c"].map((name) =>
      spawn(function* () {
        using _permit: Permit = yield lock.acquire();
        log.push(name);
      })
    );
    yield sleep(1);
    waiters[1]!.cancel("go");
    yield sleep(1);
    assertEquals([lock.locked(), waiters[1]!.cancelled()], [true, true]);
    permit.release();
    yield sleep(1);
    assertEquals(log, ["a", "c"]);
  },
);

// -- Permits --

testBoth(
  "A permit of a lock that is disposed of twice frees nobody else's",
  function* () {
    const lock = new Lock();
    const first: Permit = yield lock.acquire();
    first[Symbol.dispose]();
    const second: Permit = yield lock.acquire();
    first[Symbol.dispose]();
    first.release();
    assertEquals([first.held, second.held, lock.locked()], [false, true, true]);
  },
);

testBoth(
  "Lock.release() spends the permit of whoever has the lock",
  function* () {
    const lock = new Lock();
    {
      using first: Permit = yield lock.acquire();
      lock.release();
      assertEquals([first.held, lock.locked()], [false, false]);
      const second: Permit = yield lock.acquire();
      assertEquals(second.held, true);
    }
    // The block has disposed of the first permit only.
    assertEquals(lock.locked(), true);
    lock.release();
    assertThrows(
      () => lock.release(),
      MisuseError,
      "Cannot release a lock: it is not locked",
    );
  },
);

Deno.test("A permit is disposed of by using and by scoped(), also after an error", async () => {
  const lock = new Lock();
  const fails = new Error("inside");
  await run(function* () {
    const seen = yield* scoped(yield* lock.acquire(), function* (permit) {
      yield* sleep(1);
      return permit.held;
    });
    assertEquals([seen, lock.locked()], [true, false]);
    try {
      using _permit = yield* lock.acquire();
      throw fails;
    } catch (error) {
      assertStrictEquals(error, fails);
    }
    assertEquals(lock.locked(), false);
  }, VIRTUAL);
});

Deno.test("Lock.tryAcquire() works without a loop", () => {
  const lock = new Lock();
  using permit = lock.tryAcquire();
  assert(permit?.held);
  assertEquals(lock.tryAcquire(), null);
});

// -- Ends of a wait --

testBoth("Lock.acquire() throws the reason of its signal", function* () {
  const lock = new Lock();
  const { signal, controller } = openSignal();
  using _permit: Permit = yield lock.acquire({ signal });
  getRunningLoop().callLater(5, () => controller.abort(ENOUGH));
  let thrown: unknown;
  try {
    yield lock.acquire({ signal });
  } catch (error) {
    thrown = error;
  }
  assertStrictEquals(thrown, ENOUGH);
  assertEquals(getRunningLoop().time(), 5);
});

testBoth(
  "What an async task has left behind is not acquired once it has ended",
  function* () {
    const lock = new Lock();
    const permit: Permit = yield lock.acquire();
    const task = getRunningLoop().createTask(async () => {
      await Promise.race([lock.acquire(), sleep(5)]);
    });
    yield task;
    permit.release();
    yield sleep(1);
    assertEquals(lock.locked(), false);
  },
);

Deno.test("Lock.acquire() checks its signal", () => {
  const error = assertThrows(
    // @ts-expect-error -- not a signal
    () => new Lock().acquire({ signal: 5 }),
    TypeError,
  );
  assertEquals(
    error.message,
    "Cannot wait for Lock.acquire() as signal must be an AbortSignal: received 5",
  );
});

Deno.test("A lock with waiters on one loop cannot be waited for on another", async () => {
  const lock = new Lock();
  await using one = newEventLoop(VIRTUAL);
  await using other = newEventLoop(VIRTUAL);
  const held = lock.tryAcquire();
  one.setExceptionHandler(() => {});
  one.createTask(function* () {
    yield* lock.acquire();
  });
  one.callLater(1, () => one.stop());
  await one.runForever();
  await assertRejects(
    () => other.runUntilComplete(lock.acquire()),
    MisuseError,
    "it is in use on another event loop",
  );
  assertEquals(held?.held, true);
});

Deno.test("A lock whose waiters' loop has closed serves another loop", async () => {
  const lock = new Lock();
  const held = lock.tryAcquire();
  const one = newEventLoop(VIRTUAL);
  one.setExceptionHandler(() => {});
  one.createTask(function* () {
    yield* lock.acquire();
  });
  one.callLater(1, () => one.stop());
  await one.runForever();
  await one.close();
  await run(function* () {
    getRunningLoop().callLater(5, () => held?.release());
    yield* lock.acquire();
    assertEquals(getRunningLoop().time(), 5);
  }, VIRTUAL);
});

Deno.test("A cancelled wait for a lock throws a CancelledError with its reason", async () => {
  await run(async () => {
    const lock = new Lock();
    using _permit = await lock.acquire();
    const task = getRunningLoop().createTask(async () => {
      await lock.acquire();
    });
    await sleep(1);
    task.cancel("why");
    const error = await assertRejects(() => Promise.resolve(task));
    assertInstanceOf(error, CancelledError);
    assertEquals(error.reason, "why");
  }, VIRTUAL);
});

function openSignal(): { signal: AbortSignal; controller: AbortController } {
  const controller = new AbortController();
  return { signal: controller.signal, controller };
}
