/**
 * timeout() and timeoutAt(): asyncio's state machine, in both styles.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type Coroutine,
  currentTask,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  Timeout,
  timeout,
  timeoutAt,
  TimeoutError,
  until,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

class Broken extends Error {}

/** One way through a timeout: what the body does, and what comes of it. */
interface Case {
  readonly name: string;
  readonly delayMs: number | null;
  /** Runs in both styles: `step` waits. */
  body(
    scope: Timeout,
    step: (ms: number) => PromiseLike<void>,
  ): (PromiseLike<unknown> | (() => unknown))[];
  readonly ends: string;
  readonly atMs: number;
  readonly expired: boolean;
  /** The requests that are left on the task. */
  readonly requests?: number;
}

// A body is a list of waits and actions, so that both styles run the same.
const CASES: Case[] = [
  {
    name: "in time",
    delayMs: 10,
    body: (_, step) => [step(9)],
    ends: "value",
    atMs: 9,
    expired: false,
  },
  {
    name: "no limit",
    delayMs: null,
    body: (_, step) => [step(99)],
    ends: "value",
    atMs: 99,
    expired: false,
  },
  {
    name: "never",
    delayMs: Infinity,
    body: (_, step) => [step(99)],
    ends: "value",
    atMs: 99,
    expired: false,
  },
  {
    name: "too late",
    delayMs: 10,
    body: (_, step) => [step(11)],
    ends: "TimeoutError",
    atMs: 10,
    expired: true,
  },
  {
    name: "no time, no wait",
    delayMs: 0,
    body: () => [],
    ends: "value",
    atMs: 0,
    expired: false,
  },
  {
    name: "no time",
    delayMs: 0,
    body: (_, step) => [step(1)],
    ends: "TimeoutError",
    atMs: 0,
    expired: true,
  },
  {
    name: "negative",
    delayMs: -5,
    body: (_, step) => [step(1)],
    ends: "TimeoutError",
    atMs: 0,
    expired: true,
  },
  {
    name: "rescheduled to later",
    delayMs: 10,
    body: (scope, step) => [() => scope.reschedule(20), step(15), step(10)],
    ends: "TimeoutError",
    atMs: 20,
    expired: true,
  },
  {
    name: "rescheduled to the past",
    delayMs: 10,
    body: (scope, step) => [step(5), () => scope.reschedule(1), step(1)],
    ends: "TimeoutError",
    atMs: 5,
    expired: true,
  },
  {
    name: "rescheduled to never",
    delayMs: 10,
    body: (scope, step) => [() => scope.reschedule(null), step(30)],
    ends: "value",
    atMs: 30,
    expired: false,
  },
  {
    name: "cancelled as well, before",
    delayMs: 10,
    body: (_, step) => [() => currentTask()!.cancel("outer"), step(20)],
    ends: "CancelledError",
    atMs: 0,
    expired: false,
    requests: 1,
  },
  {
    name: "fails",
    delayMs: 10,
    body: () => [() => {
      throw new Broken();
    }],
    ends: "Broken",
    atMs: 0,
    expired: false,
  },
];

for (
  const { name, delayMs, body, ends, atMs, expired, requests = 0 } of CASES
) {
  for (
    const style of [
      "generator",
      "async",
      "async in generator",
      "generator in async",
    ] as const
  ) {
    Deno.test(`timeout(): ${name} (${style})`, async () => {
      let scope: Timeout | undefined;
      const steps = (given: Timeout) => {
        scope = given;
        // Operations start when they are waited for, so they may stand in a list.
        return body(given, (ms) => sleep(ms));
      };
      const inGenerator = function* (given: Timeout): Coroutine<string> {
        for (const step of steps(given)) {
          if (typeof step === "function") step();
          else yield* step as unknown as Iterable<undefined>;
        }
        return "value";
      };
      const inAsync = async (given: Timeout): Promise<string> => {
        for (const step of steps(given)) {
          if (typeof step === "function") step();
          else await step;
        }
        return "value";
      };
      const operation = () =>
        timeout<string>(
          delayMs,
          style === "generator" || style === "generator in async"
            ? inGenerator
            : inAsync,
        );
      const look = (end: string) => {
        const task = currentTask()!;
        assertEquals([end, getRunningLoop().time()], [ends, atMs]);
        // An async function takes a turn even if it waits for nothing.
        const late = name === "no time, no wait" && style.startsWith("async");
        assertEquals([scope!.expired(), task.cancelling()], [
          expired || late,
          requests,
        ]);
        assertEquals(getRunningLoop().stats().timers, 0, "no timer is left");
        while (task.cancelling() > 0) task.uncancel();
        assertEquals(task.signal.aborted, false);
        assertThrows(
          () => scope!.reschedule(1),
          MisuseError,
          `it is ${expired || late ? "expired" : "finished"}`,
        );
      };
      await run<void>(
        style.startsWith("async") && style !== "async in generator" ||
          style === "generator in async"
          ? async () => {
            look(
              await Promise.resolve(operation()).catch((error) =>
                error.name === "Error" ? "Broken" : error.name
              ),
            );
          }
          : function* (): Coroutine<void> {
            let end: string;
            try {
              end = yield* operation();
            } catch (error) {
              end = error instanceof Broken ? "Broken" : (error as Error).name;
            }
            look(end);
          },
        VIRTUAL,
      );
    });
  }
}

Deno.test("timeout(): a body that swallows the cancellation has its value returned", async () => {
  await run(function* () {
    let scope: Timeout;
    const value = yield* timeout(10, function* (given) {
      scope = given;
      try {
        yield* sleep(20);
      } catch {
        return "anyway";
      }
      return "never";
    });
    assertEquals([value, scope!.expired()], ["anyway", true]);
    assertEquals(currentTask()!.cancelling(), 0);
    yield* sleep(1);
  }, VIRTUAL);
});

Deno.test("timeout(): another error of the clean-up goes on as it is", async () => {
  await assertRejects(() =>
    run(function* () {
      yield* timeout(10, function* () {
        try {
          yield* sleep(20);
        } catch {
          throw new Broken("clean-up");
        }
      });
    }, VIRTUAL), Broken);
});

Deno.test("timeout(): clean-up may wait, and the end is put off until then", async () => {
  for (const style of ["generator", "async"]) {
    await run(async () => {
      const body = style === "async"
        ? async () => {
          try {
            await sleep(20);
          } finally {
            await sleep(30);
          }
        }
        : function* () {
          try {
            yield* sleep(20);
          } finally {
            yield* sleep(30);
          }
        };
      await assertRejects(
        async () => await timeout<void>(10, body),
        TimeoutError,
      );
      assertEquals(getRunningLoop().time(), 40);
    }, VIRTUAL);
  }
});

Deno.test("timeout(): the error has the cancellation as its cause and says what the limit was", async () => {
  const error = await assertRejects(
    () => run(() => timeout(10, () => sleep(20)), VIRTUAL),
    TimeoutError,
  );
  assertEquals(error.message, "Timed out: it had to be done within 10 ms");
  assert(error.cause instanceof CancelledError);
});

Deno.test("timeout(): of nested ones with the same deadline the outermost throws", async () => {
  for (const style of ["generator", "async"]) {
    const log: string[] = [];
    await run(async () => {
      const innermost = () => sleep(100);
      const level = (name: string, inner: () => unknown) =>
        style === "async"
          ? async () => {
            try {
              await (inner() as PromiseLike<void>);
            } catch (error) {
              log.push(`${name} ${(error as Error).name}`);
              throw error;
            }
          }
          : function* (): Coroutine<void> {
            try {
              yield* inner() as Iterable<undefined>;
            } catch (error) {
              log.push(`${name} ${(error as Error).name}`);
              throw error;
            }
          };
      const error = await assertRejects(async () =>
        await timeout<void>(
          10,
          level("outer", () => timeout<void>(10, level("inner", innermost))),
        )
      );
      assert(error instanceof TimeoutError);
      assertEquals(currentTask()!.cancelling(), 0);
    }, VIRTUAL);
    assertEquals(log, ["inner CancelledError", "outer CancelledError"], style);
  }
});

Deno.test("timeout(): the inner one throws if it is first, and the outer one goes on", async () => {
  await run(function* () {
    yield* timeout(20, function* () {
      try {
        yield* timeout(10, () => sleep(100));
      } catch (error) {
        assert(error instanceof TimeoutError);
      }
      yield* sleep(5);
    });
  }, VIRTUAL);
});

Deno.test("timeout(): a cancellation of the task in the same turn goes first", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const task = loop.createTask(() => timeout(10, () => sleep(100)));
    loop.callLater(10, () => task.cancel("outer"));
    try {
      yield* task;
    } catch (error) {
      assert(error instanceof CancelledError, String(error));
    }
    assertEquals(task.cancelled(), true);
  }, VIRTUAL);
});

Deno.test("timeout(): its signal aborts with it, and not with an inner one; afterwards the task's is fresh", async () => {
  await run(async () => {
    const task = currentTask()!;
    const before = task.signal;
    await assertRejects(async () =>
      await timeout(10, async (outer) => {
        const { signal } = outer;
        await assertRejects(
          async () => await timeout(5, () => sleep(100)),
          TimeoutError,
        );
        assertEquals(signal.aborted, false);
        assertStrictEquals(task.signal, signal);
        try {
          await sleep(100);
        } finally {
          assertEquals(signal.aborted, true);
          assert(signal.reason instanceof CancelledError);
        }
      }), TimeoutError);
    assertEquals([before.aborted, task.signal.aborted], [false, false]);
  }, VIRTUAL);
});

Deno.test("timeout(): an async body outside the loop is waited for; its next wait throws", async () => {
  for (const style of ["generator", "async"]) {
    const log: string[] = [];
    await run<void>(async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      getRunningLoop().callLater(50, resolve);
      const body = async (scope: Timeout) => {
        await promise;
        log.push(
          `outside until ${getRunningLoop().time()}, aborted: ${scope.signal.aborted}`,
        );
        await sleep(100);
      };
      const operation = style === "async"
        ? timeout<void>(10, body)
        : getRunningLoop().createTask(function* () {
          yield* timeout<void>(10, body);
        });
      await assertRejects(async () => await operation, TimeoutError);
      log.push(`ended at ${getRunningLoop().time()}`);
    }, { ...VIRTUAL, outsideWaits: "ignore" });
    assertEquals(
      log,
      ["outside until 50, aborted: true", "ended at 50"],
      style,
    );
  }
});

Deno.test("timeout(): an async body that ends without a further wait has its value returned", async () => {
  await run(function* () {
    const { promise, resolve } = Promise.withResolvers<string>();
    getRunningLoop().callLater(50, resolve, "late");
    let scope: Timeout;
    const value = yield* timeout(10, async (given) => {
      scope = given;
      return await promise;
    });
    assertEquals([value, scope!.expired(), currentTask()!.cancelling()], [
      "late",
      true,
      0,
    ]);
    yield* sleep(1); // nothing is left to be thrown
  }, { ...VIRTUAL, outsideWaits: "ignore" });
});

Deno.test("A cancellation that an async body did not notice arrives at the next wait of the generator", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const { promise, resolve } = Promise.withResolvers<string>();
    const log: string[] = [];
    const task = loop.createTask(function* () {
      log.push(yield* timeout(null, () => promise));
      yield* sleep(1);
      log.push("not reached");
    });
    loop.callLater(5, () => task.cancel());
    loop.callLater(10, resolve, "value");
    yield* sleep(20);
    assertEquals([task.cancelled(), log], [true, ["value"]]);
  }, { ...VIRTUAL, outsideWaits: "ignore" });
});

Deno.test("timeout(): a body that fails with the signal's reason counts as cancelled", async () => {
  await run(async () => {
    await assertRejects(
      async () =>
        await timeout(10, (scope) =>
          new Promise<void>((_, reject) => {
            scope.signal.addEventListener("abort", () =>
              reject(scope.signal.reason));
          })),
      TimeoutError,
    );
    await sleep(1);
  }, { ...VIRTUAL, outsideWaits: "ignore" });
});

Deno.test("timeout(): a signal ends it with its reason, and the body is not left running", async () => {
  for (const style of ["generator", "async"]) {
    await run(async () => {
      const loop = getRunningLoop();
      const abort = new AbortController();
      const reason = new Broken("signal");
      loop.callLater(5, () => abort.abort(reason));
      let cleaned = false;
      const body = style === "async"
        ? async () => {
          try {
            await sleep(100);
          } finally {
            await sleep(10);
            cleaned = true;
          }
        }
        : function* () {
          try {
            yield* sleep(100);
          } finally {
            yield* sleep(10);
            cleaned = true;
          }
        };
      const error = await assertRejects(async () =>
        await timeout<void>(50, body, { signal: abort.signal })
      );
      assertStrictEquals(error, reason);
      assertEquals([loop.time(), cleaned, currentTask()!.cancelling()], [
        15,
        true,
        0,
      ]);
      await assertRejects(
        async () => await timeout<void>(50, body, { signal: abort.signal }),
        Broken,
      );
    }, VIRTUAL);
  }
});

Deno.test("timeoutAt() takes a moment; one in the past means the first wait", async () => {
  await run(function* () {
    yield* sleep(10);
    assertEquals(
      yield* timeoutAt(20, () => sleep(5, { value: "in time" })),
      "in time",
    );
    for (const whenMs of [5, 15, -Infinity]) {
      try {
        yield* timeoutAt(whenMs, function* (scope) {
          assertEquals(scope.when(), whenMs);
          yield* sleep(1);
        });
        assert(false);
      } catch (error) {
        assert(error instanceof TimeoutError, String(error));
      }
    }
    assertEquals(yield* timeoutAt(null, () => "no limit"), "no limit");
  }, VIRTUAL);
});

Deno.test("timeout() refuses wrong arguments, and its scope is not for before", () => {
  assertThrows(
    () => timeout("1" as never, () => {}),
    TypeError,
    "Cannot set a timeout as delayMs must be a number",
  );
  assertThrows(
    () => timeout(NaN, () => {}),
    RangeError,
    "delayMs must not be NaN",
  );
  assertThrows(
    () => timeout(1, 5 as never),
    TypeError,
    "body must be a function: received 5",
  );
  assertThrows(
    () => timeoutAt(NaN, () => {}),
    RangeError,
    "whenMs must not be NaN",
  );
  assertThrows(
    () => timeout(1, () => {}, { signal: {} as never }),
    TypeError,
    "signal must be an AbortSignal",
  );
  const scope = new Timeout(null, "", undefined);
  assertThrows(() => scope.reschedule(1), MisuseError, "it is created");
  assertThrows(() => scope.signal, MisuseError);
});

Deno.test("timeout(): what a body does with promises from until() is interrupted there", async () => {
  await run(async () => {
    const never = new Promise<void>(() => {});
    await assertRejects(
      async () => await timeout(10, async () => await until(never)),
      TimeoutError,
    );
    assertEquals(getRunningLoop().time(), 10);
  }, { ...VIRTUAL, outsideWaits: "ignore" });
});

// -- Side by side in an async function --

Deno.test("Timeouts side by side in an async function do not touch each other", async () => {
  const settle = async (...limits: [limitMs: number, takesMs: number][]) => {
    const ends = await Promise.allSettled(
      limits.map(([limitMs, takesMs]) =>
        timeout(limitMs, async () => {
          await sleep(takesMs / 2);
          await sleep(takesMs / 2);
          return takesMs;
        })
      ),
    );
    assertEquals(currentTask()!.cancelling(), 0);
    assertEquals(getRunningLoop().stats().timers, 0);
    return ends.map((end) =>
      end.status === "fulfilled" ? end.value : end.reason.name
    );
  };
  await run(async () => {
    assertEquals(await settle([10, 4], [10, 6]), [4, 6]);
    assertEquals(await settle([10, 6], [10, 4]), [6, 4]);
    assertEquals(await settle([4, 6], [10, 8]), ["TimeoutError", 8]);
    assertEquals(await settle([10, 8], [4, 6]), [8, "TimeoutError"]);
    assertEquals(
      await settle([5, 8], [5, 8], [9, 8]),
      ["TimeoutError", "TimeoutError", 8],
    );
    assertEquals(await settle([0, 8], [5, 2]), ["TimeoutError", 2]);
    await sleep(1);
  }, VIRTUAL);
});

Deno.test("Each branch has its own signal, and a wait beside a timeout is not interrupted", async () => {
  await run(async () => {
    const task = currentTask()!;
    const outer = task.signal;
    const signals: AbortSignal[] = [];
    const branch = (limitMs: number) =>
      timeout(limitMs, async () => {
        await sleep(1);
        signals.push(task.signal);
        await sleep(10);
      });
    const ends = await Promise.allSettled([branch(5), sleep(8), branch(20)]);
    assertEquals(ends.map(({ status }) => status), [
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
    assertEquals(
      [...signals, outer].map(({ aborted }) => aborted),
      [true, false, false],
    );
  }, VIRTUAL);
});

Deno.test("Cancelling the task cancels every branch", async () => {
  await run(async () => {
    const ends: string[] = [];
    const task = getRunningLoop().createTask(async () => {
      const branches = [5, 50].map((limitMs) =>
        Promise.resolve(timeout(limitMs, () => sleep(100))).catch((error) =>
          ends.push(error.name)
        )
      );
      await Promise.all(branches);
      await sleep(1);
    });
    await sleep(2);
    task.cancel();
    await sleep(2);
    assertEquals(ends, ["CancelledError", "CancelledError"]);
  }, VIRTUAL);
});
