/**
 * Abort signals: those that tasks and their blocks give, and those that waits
 * and tasks take.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  currentTask,
  type EventLoop,
  type Future,
  MisuseError,
  Operation,
  sleep,
  type Task,
  until,
  type WaitOptions,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import {
  type Awaitable,
  inStyle,
  outcomeOf,
  type Style,
  STYLES,
} from "./support/styles.ts";

/** Counts the abort listeners of a signal. */
class Listeners {
  added = 0;
  removed = 0;
  readonly #there = new Set<unknown>();

  constructor(signal: AbortSignal) {
    const add = signal.addEventListener;
    const remove = signal.removeEventListener;
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      this.added++;
      this.#there.add(args[1]);
      return add.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      this.removed++;
      this.#there.delete(args[1]);
      return remove.apply(signal, args);
    };
  }

  get now(): number {
    return this.#there.size;
  }
}

function watchedController(): {
  controller: AbortController;
  signal: AbortSignal;
  listeners: Listeners;
} {
  const controller = new AbortController();
  const { signal } = controller;
  return { controller, signal, listeners: new Listeners(signal) };
}

/** A task that is parked for long, in a bare generator. */
function parked(loop: EventLoop): Task<void> {
  return loop.createTask(function* () {
    for (;;) {
      try {
        yield* sleep(1e9);
      } catch {
        // It stays for the rest of the test.
      }
    }
  });
}

// -- task.signal --

Deno.test("task.signal is one and the same until the task is cancelled, and then aborts at once with the reason", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  const { signal } = task;
  assertStrictEquals(task.signal, signal);
  assert(!signal.aborted);
  task.cancel("why");
  assert(signal.aborted);
  assertInstanceOf(signal.reason, CancelledError);
  assertEquals(signal.reason.reason, "why");
  assertStrictEquals(task.signal, signal);
});

Deno.test("task.signal that is asked for only after the cancellation has aborted already", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  task.cancel("why");
  await runTurns(loop, 2); // it was thrown, and swallowed
  const { signal } = task;
  assert(signal.aborted);
  assertInstanceOf(signal.reason, CancelledError);
  assertEquals(signal.reason.reason, "why");
});

for (const style of STYLES) {
  Deno.test(`The clean-up of ${style} finds task.signal aborted`, async () => {
    const { loop } = openLoop();
    let aborted: unknown;
    const task = loop.createTask(inStyle(style, function* () {
      try {
        yield sleep(1_000);
      } finally {
        ({ aborted } = currentTask()!.signal);
      }
    }));
    await runTurns(loop, 1);
    task.cancel();
    await runTurns(loop, 1);
    assertEquals(aborted, true);
    await loop.close();
  });
}

Deno.test("task.signal is fresh after uncancel() has counted down to 0, and not before", async () => {
  for (const early of [true, false]) {
    const { loop } = openLoop();
    const task = parked(loop);
    await runTurns(loop, 1);
    if (early) void task.signal;
    task.cancel("first");
    task.cancel("second");
    const old = task.signal;
    assertEquals(task.uncancel(), 1);
    assertStrictEquals(task.signal, old);
    assert(old.aborted);
    assertEquals(task.uncancel(), 0);
    const fresh = task.signal;
    assertNotStrictEquals(fresh, old);
    assert(!fresh.aborted);
    // And it works like the first one.
    task.cancel("third");
    assert(fresh.aborted);
    assertEquals((fresh.reason as CancelledError).reason, "third");
    assert(old.aborted);
  }
});

Deno.test("The signal that aborted a task's signal is the reason itself if it is a CancelledError", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  const error = new CancelledError("mine");
  const { signal } = task;
  task.cancel(error);
  assertStrictEquals(signal.reason, error);
});

// -- Blocks --

Deno.test("task.signal is that of the innermost open block", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  const whole = task.signal;
  const outer = task.openBlock();
  assertStrictEquals(task.signal, outer.signal);
  const inner = task.openBlock();
  assertStrictEquals(task.signal, inner.signal);
  assertStrictEquals(inner.outer, outer);
  assertStrictEquals(inner.task, task as Task<unknown>);
  inner.close();
  assertStrictEquals(task.signal, outer.signal);
  outer.close();
  assertStrictEquals(task.signal, whole);
});

Deno.test("Cancelling a block aborts its signal and those inside, not those around, and cancels the task", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  const whole = task.signal;
  const [outer, middle, inner] = [
    task.openBlock(),
    task.openBlock(),
    task.openBlock(),
  ];
  const signals = [whole, outer.signal, middle.signal, inner.signal];
  const aborted = () => signals.map((signal) => signal.aborted);
  assert(middle.cancel("middle"));
  assertEquals(aborted(), [false, false, true, true]);
  assertEquals(task.cancelling(), 1);
  assertEquals((inner.signal.reason as CancelledError).reason, "middle");
  task.cancel("all");
  assertEquals(aborted(), [true, true, true, true]);
  assertEquals((whole.reason as CancelledError).reason, "all");
  assertEquals((inner.signal.reason as CancelledError).reason, "middle");
});

Deno.test("A handled inner timeout does not poison the next fetch: after uncancel() every signal is fresh", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  const task = loop.createTask(async () => {
    const me = currentTask()!;
    const block = me.openBlock();
    loop.callLater(5, () => block.cancel("too slow"));
    try {
      await sleep(1_000);
    } catch (error) {
      assertInstanceOf(error, CancelledError);
      log.push(`caught ${error.reason}, signal ${me.signal.aborted}`);
    } finally {
      block.close();
    }
    log.push(`requests ${me.uncancel()}, signal ${me.signal.aborted}`);
    await sleep(1);
    log.push("went on");
  });
  await loop.runUntilComplete(task);
  assertEquals(log, [
    "caught too slow, signal true",
    "requests 0, signal false",
    "went on",
  ]);
  await loop.close();
});

Deno.test("A signal of a block that is made after the cancellation has aborted already", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  const block = task.openBlock();
  block.cancel("why");
  assert(block.signal.aborted);
  assertEquals((block.signal.reason as CancelledError).reason, "why");
});

Deno.test("Blocks are closed innermost first, and the whole task has none to close", async () => {
  const { loop } = openLoop();
  const task = parked(loop);
  await runTurns(loop, 1);
  const outer = task.openBlock();
  const inner = task.openBlock();
  const message =
    "Cannot close a block: it is not the innermost open one of its opener";
  assertEquals(assertThrows(() => outer.close(), MisuseError).message, message);
  inner.close();
  assertEquals(assertThrows(() => inner.close(), MisuseError).message, message);
  const whole = outer.outer!;
  outer.close();
  assertEquals(assertThrows(() => whole.close(), MisuseError).message, message);
});

Deno.test("Cancelling a block of a task that has ended does nothing", async () => {
  const { loop } = openLoop();
  const task = loop.createTask(function* () {
    return currentTask()!.openBlock();
  });
  const block = await loop.runUntilComplete(task);
  assertEquals(block.cancel(), false);
  assertEquals(task.cancelling(), 0);
  await loop.close();
});

// -- { signal } on waits --

/** Every wait that takes a signal, long enough to be in when that aborts. */
const WAITS: Readonly<
  Record<string, (loop: EventLoop, options: WaitOptions) => Operation<unknown>>
> = {
  "sleep()": (_, options) => sleep(1_000, options),
  "sleep(0)": (_, options) => sleep(0, options),
  "until()": (_, options) => until(new Promise(() => {}), options),
  "an operation on a future": (loop, options) =>
    new Operation(function* () {
      return yield* loop.createFuture();
    }, options),
  "an operation in an operation": (_, options) =>
    new Operation(function* () {
      return yield* new Operation(function* () {
        return yield* sleep(1_000);
      });
    }, options),
};

for (const style of STYLES) {
  for (const [what, make] of Object.entries(WAITS)) {
    Deno.test(`The signal of ${what} in ${style} throws its reason at the wait in the next turn, and has no listener then`, async () => {
      const { loop, reports } = openLoop();
      const { controller, signal, listeners } = watchedController();
      const reason = new Error("aborted");
      let caught: unknown;
      const task = loop.createTask(inStyle(style, function* () {
        try {
          yield make(loop, { signal });
        } catch (error) {
          caught = error;
        }
        assertEquals(listeners.now, 0);
        yield sleep(0); // the signal was for that one wait
        return "went on";
      }));
      await runTurns(loop, 1);
      assertEquals([listeners.added, listeners.now], [1, 1]);
      controller.abort(reason);
      assertEquals(caught, undefined);
      await runTurns(loop, 1);
      assertStrictEquals(caught, reason);
      await runTurns(loop, 1);
      assertEquals(outcomeOf(task), "result: went on");
      assertEquals(task.cancelling(), 0);
      const { timers, ready, outsideWaits } = loop.stats();
      assertEquals([timers, ready, outsideWaits], [0, 0, 0]);
      await loop.close();
      assertEquals(reports, []);
    });

    Deno.test(`A signal that has aborted keeps ${what} in ${style} from starting, without a listener`, async () => {
      const { loop } = openLoop();
      const { controller, signal, listeners } = watchedController();
      const reason = { any: "value" };
      controller.abort(reason);
      let caught: unknown;
      const task = loop.createTask(inStyle(style, function* () {
        try {
          yield make(loop, { signal });
        } catch (error) {
          caught = error;
        }
      }));
      await loop.runUntilComplete(task);
      assertStrictEquals(caught, reason);
      assertEquals([listeners.added, loop.stats().timers], [0, 0]);
      await loop.close();
    });

    Deno.test(`A wait in ${what} in ${style} that is cancelled leaves no listener`, async () => {
      const { loop } = openLoop();
      const { signal, listeners } = watchedController();
      const task = loop.createTask(inStyle(style, function* () {
        yield make(loop, { signal });
      }));
      await runTurns(loop, 1);
      task.cancel();
      await runTurns(loop, 1);
      assert(task.cancelled());
      assertEquals([listeners.added, listeners.now], [1, 0]);
      await loop.close();
    });

    for (const first of ["cancel", "abort"]) {
      Deno.test(`Cancelled and aborted in the same turn, ${first} first, ${what} in ${style} is cancelled, and once`, async () => {
        const { loop } = openLoop();
        const { controller, signal, listeners } = watchedController();
        const thrown: unknown[] = [];
        const task = loop.createTask(inStyle(style, function* () {
          try {
            yield make(loop, { signal });
          } catch (error) {
            thrown.push(error);
            yield sleep(0); // clean-up that waits
            yield sleep(1);
            throw error;
          }
        }));
        await runTurns(loop, 1);
        if (first === "cancel") task.cancel("why");
        controller.abort(new Error("aborted"));
        if (first === "abort") task.cancel("why");
        await assertRejects(
          () => loop.runUntilComplete(task),
          CancelledError,
          "why",
        );
        assertEquals(thrown.length, 1);
        assertEquals(listeners.now, 0);
        await loop.close();
      });
    }
  }

  Deno.test(`A result that is there before the abort wins in ${style}`, async () => {
    const { loop } = openLoop();
    const { controller, signal, listeners } = watchedController();
    const future = loop.createFuture<string>();
    const task = loop.createTask(inStyle(style, function* () {
      return yield onFuture(future, { signal });
    }));
    await runTurns(loop, 1);
    future.setResult("result");
    controller.abort();
    await runTurns(loop, 1);
    assertEquals(outcomeOf(task), "result: result");
    assertEquals(listeners.now, 0);
    await loop.close();
  });

  Deno.test(`A result that comes after the abort in the same turn is for others in ${style}`, async () => {
    const { loop } = openLoop();
    const { controller, signal } = watchedController();
    const future = loop.createFuture<string>();
    const task = loop.createTask(inStyle(style, function* () {
      return yield onFuture(future, { signal });
    }));
    const other = loop.createTask(inStyle(style, function* () {
      return yield future;
    }));
    await runTurns(loop, 1);
    controller.abort(new Error("aborted"));
    assert(!future.done(), "the future is anybody's");
    future.setResult("result");
    await runTurns(loop, 1);
    assertEquals(outcomeOf(task), "failed: aborted");
    assertEquals(outcomeOf(other), "result: result");
    await loop.close();
  });

  Deno.test(`A result that was there before the abort wins for one wait in ${style}, and the next wait of the operation is ended`, async () => {
    const { loop } = openLoop();
    const { controller, signal } = watchedController();
    const future = loop.createFuture<string>();
    const log: unknown[] = [];
    const task = loop.createTask(inStyle(style, function* () {
      yield new Operation(function* () {
        log.push(yield* future);
        yield* sleep(1_000);
        log.push("unreachable");
      }, { signal });
    }));
    await runTurns(loop, 1);
    future.setResult("result");
    controller.abort(new Error("aborted"));
    await assertRejects(() => loop.runUntilComplete(task), Error, "aborted");
    assertEquals([log, loop.time(), loop.stats().timers], [["result"], 0, 0]);
    await loop.close();
  });

  Deno.test(`Clean-up inside an aborted operation may wait, as long as it likes, in ${style}`, async () => {
    const { loop } = openLoop();
    const { controller, signal } = watchedController();
    const log: string[] = [];
    const task = loop.createTask(inStyle(style, function* () {
      yield new Operation(function* () {
        try {
          yield* sleep(1_000);
        } finally {
          for (let n = 1; n <= 3; n++) {
            yield* sleep(1);
            log.push(`step ${n}`);
          }
        }
      }, { signal });
    }));
    loop.callLater(5, () => controller.abort(new Error("aborted")));
    await assertRejects(() => loop.runUntilComplete(task), Error, "aborted");
    assertEquals(log, ["step 1", "step 2", "step 3"]);
    assertEquals(loop.time(), 8);
    await loop.close();
  });

  Deno.test(`An operation that swallows the abort and waits again goes on in ${style}`, async () => {
    const { loop } = openLoop();
    const { controller, signal } = watchedController();
    const task = loop.createTask(inStyle(style, function* () {
      return yield new Operation(function* () {
        for (let tries = 1;; tries++) {
          try {
            yield* sleep(10);
            return tries;
          } catch {
            // Like a condition that has to have its lock back.
          }
        }
      }, { signal });
    }));
    loop.callLater(5, () => controller.abort());
    assertEquals(await loop.runUntilComplete(task), 2);
    assertEquals(loop.time(), 15);
    await loop.close();
  });

  Deno.test(`An abort during the clean-up after a cancellation ends that wait, in ${style}`, async () => {
    const { loop } = openLoop();
    const { controller, signal, listeners } = watchedController();
    const log: string[] = [];
    const task = loop.createTask(inStyle(style, function* () {
      yield new Operation(function* () {
        try {
          try {
            yield* sleep(1_000);
          } finally {
            log.push("first");
            yield* sleep(1_000);
            log.push("unreachable");
          }
        } finally {
          yield* sleep(1);
          log.push("second");
        }
      }, { signal });
    }));
    loop.callLater(5, () => task.cancel());
    loop.callLater(7, () => controller.abort(new Error("aborted")));
    await assertRejects(() => loop.runUntilComplete(task), Error, "aborted");
    assertEquals([log, loop.time()], [["first", "second"], 8]);
    assertEquals(listeners.now, 0);
    await loop.close();
  });

  Deno.test(`An operation that aborts its own signal in ${style} is ended at its next wait`, async () => {
    const { loop } = openLoop();
    const { controller, signal, listeners } = watchedController();
    const log: string[] = [];
    const task = loop.createTask(inStyle(style, function* () {
      yield new Operation(function* () {
        controller.abort(new Error("by itself"));
        log.push("still here");
        yield* sleep(1_000);
        log.push("unreachable");
      }, { signal });
    }));
    await assertRejects(() => loop.runUntilComplete(task), Error, "by itself");
    assertEquals([log, listeners.now], [["still here"], 0]);
    await loop.close();
  });
}

function onFuture<T>(future: Future<T>, options: WaitOptions): Operation<T> {
  return new Operation(function* (): Coroutine<T> {
    return yield* future;
  }, options);
}

// -- One listener for all --

/** Makes what subscribes to a signal, in each of the ways there are. */
const SUBSCRIBERS: Readonly<
  Record<string, (loop: EventLoop, signal: AbortSignal) => Task<void>>
> = {
  "generators in a sleep": (loop, signal) =>
    waitingTask(loop, "a generator", signal),
  "async functions in a sleep": (loop, signal) =>
    waitingTask(loop, "an async function", signal),
  "tasks made with the signal": (loop, signal) =>
    loop.createTask(function* () {
      yield* sleep(1e6);
    }, { signal }),
};

function waitingTask(
  loop: EventLoop,
  style: Style,
  signal: AbortSignal,
): Task<void> {
  return loop.createTask(
    inStyle(style, function* (): Generator<Awaitable, void> {
      yield sleep(1e6, { signal });
    }),
  );
}

for (const [who, subscribe] of Object.entries(SUBSCRIBERS)) {
  Deno.test(`100,000 ${who} put one listener on their signal, and abort leaves none`, async () => {
    const { loop } = openLoop();
    const { controller, signal, listeners } = watchedController();
    const tasks = Array.from(
      { length: 100_000 },
      () => subscribe(loop, signal),
    );
    await runTurns(loop, 1);
    assertEquals([listeners.added, listeners.now], [1, 1]);
    const reason = new Error("enough");
    controller.abort(reason);
    await runTurns(loop, 1);
    assert(tasks.every((task) => task.done()));
    for (const task of tasks) {
      if (!task.cancelled()) assertStrictEquals(task.exception(), reason);
    }
    assertEquals([listeners.added, listeners.now], [1, 0]);
    assertEquals(loop.stats().timers, 0);
    await loop.close();
  });

  Deno.test(`100,000 ${who} one after the other leave no listener on their signal`, async () => {
    const { loop } = openLoop();
    const { signal, listeners } = watchedController();
    const rest = subscribe(loop, signal);
    await runTurns(loop, 1);
    for (let round = 0; round < 100; round++) {
      const tasks = Array.from(
        { length: 1_000 },
        () => subscribe(loop, signal),
      );
      await runTurns(loop, 1);
      for (const task of tasks) task.cancel();
      await runTurns(loop, 1);
    }
    assertEquals([listeners.added, listeners.now], [1, 1]);
    rest.cancel();
    await runTurns(loop, 1);
    assertEquals([listeners.added, listeners.removed, listeners.now], [
      1,
      1,
      0,
    ]);
    await loop.close();
  });
}

Deno.test("A signal that is free again is listened to anew", async () => {
  const { loop } = openLoop();
  const { controller, signal, listeners } = watchedController();
  for (let n = 1; n <= 3; n++) {
    await loop.runUntilComplete(() => sleep(1, { signal }));
    assertEquals([listeners.added, listeners.now], [n, 0]);
  }
  const task = loop.createTask(() => sleep(1_000, { signal }));
  loop.callLater(1, () => controller.abort(new Error("aborted")));
  await assertRejects(() => loop.runUntilComplete(task), Error, "aborted");
  assertEquals(listeners.now, 0);
  await loop.close();
});

Deno.test("An abort reaches the waits in the order in which they began", async () => {
  const { loop } = openLoop();
  const { controller, signal } = watchedController();
  const log: number[] = [];
  for (let n = 0; n < 10; n++) {
    loop.createTask(function* () {
      try {
        yield* sleep(1_000 - n, { signal });
      } catch {
        log.push(n);
      }
    });
  }
  await runTurns(loop, 1);
  controller.abort();
  await runTurns(loop, 1);
  assertEquals(log, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await loop.close();
});

Deno.test("A task that ends takes its listener along, however it ends", async () => {
  const { loop } = openLoop();
  const { signal, listeners } = watchedController();
  const options = { signal };
  const good = loop.createTask(() => sleep(1), options);
  const bad = loop.createTask(() => {
    throw new Error("broken");
  }, options);
  const gone = loop.createTask(() => sleep(1_000), options);
  assertEquals([listeners.added, listeners.now], [1, 1]);
  gone.cancel();
  await loop.runUntilComplete(good);
  assertInstanceOf(bad.exception(), Error);
  assert(gone.cancelled());
  assertEquals([listeners.added, listeners.now], [1, 0]);
  await loop.close();
});

Deno.test("All tasks that one signal cancels share one CancelledError", async () => {
  const { loop } = openLoop();
  const { controller, signal } = watchedController();
  const tasks = [1, 2, 3].map(() =>
    loop.createTask(() => sleep(1_000), { signal })
  );
  await runTurns(loop, 1);
  controller.abort("why");
  await runTurns(loop, 1);
  const errors = tasks.map((task) =>
    assertThrows(() => task.result(), CancelledError)
  );
  assertEquals(new Set(errors).size, 1);
  assertEquals(errors[0]!.reason, "why");
  await loop.close();
});
