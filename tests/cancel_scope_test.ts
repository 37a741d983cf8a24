/**
 * Cancel scopes: trio's rules, in both styles.
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
  CancelScope,
  cancelScope,
  type Coroutine,
  currentEffectiveDeadline,
  currentTask,
  failAfter,
  failAt,
  getRunningLoop,
  MisuseError,
  moveOnAfter,
  moveOnAt,
  type Operation,
  Queue,
  run,
  type ScopeOutcome,
  sleep,
  timeout,
  TimeoutError,
  until,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;
const CAUGHT = { cancelledCaught: true, value: undefined } as const;

class Broken extends Error {}

Deno.test("Once cancelled, every wait throws until the scope is left, in both styles", async () => {
  for (const style of ["generator", "async"]) {
    await run(async () => {
      const log: string[] = [];
      const waits = [
        () => sleep(0),
        () => sleep(10),
        () => new Queue().get(),
        () => until(Promise.resolve()),
      ];
      const outcome = await moveOnAfter<void>(
        5,
        style === "async"
          ? async () => {
            try {
              await sleep(10);
            } finally {
              for (const wait of waits) {
                await Promise.resolve(wait() as PromiseLike<unknown>).catch((
                  error,
                ) => log.push(error.name));
              }
            }
          }
          : function* () {
            try {
              yield* sleep(10);
            } finally {
              for (const wait of waits) {
                try {
                  yield* wait() as Iterable<undefined>;
                } catch (error) {
                  log.push((error as Error).name);
                }
              }
            }
          },
      );
      assertEquals([outcome, log, getRunningLoop().time()], [
        CAUGHT,
        Array(4).fill("CancelledError"),
        5,
      ], style);
      assertEquals(currentTask()!.cancelling(), 0);
      await sleep(1); // outside, waits work
    }, VIRTUAL);
  }
});

Deno.test("A generator awaited by an async function is cancelled by level as well", async () => {
  await run(async () => {
    let errors = 0;
    const outcome = await moveOnAfter(5, function* () {
      for (let n = 0; n < 3; n++) {
        try {
          yield* sleep(10);
        } catch {
          errors++;
        }
      }
      yield* sleep(10);
    });
    assertEquals([outcome, errors], [CAUGHT, 3]);
  }, VIRTUAL);
});

const OUTCOMES: [
  name: string,
  body: (scope: CancelScope) => Coroutine<string>,
  ScopeOutcome<string>,
][] = [
  ["not cancelled", function* () {
    yield* sleep(1);
    return "value";
  }, { cancelledCaught: false, value: "value" }],
  ["cancelled by the body", function* (scope) {
    scope.cancel("reason");
    yield* sleep(1);
    return "not reached";
  }, CAUGHT],
  ["cancelled, but no wait follows", function* (scope) {
    scope.cancel();
    return "value";
  }, { cancelledCaught: false, value: "value" }],
  ["cancelled, and swallowed", function* (scope) {
    scope.cancel();
    try {
      yield* sleep(1);
    } catch { /* swallowed */ }
    return "value";
  }, { cancelledCaught: false, value: "value" }],
];

for (const [name, body, outcome] of OUTCOMES) {
  Deno.test(`The outcome of a scope: ${name}`, async () => {
    await run(function* () {
      const scope = new CancelScope();
      assertEquals(yield* scope.run(body), outcome);
      assertEquals(scope.cancelledCaught, outcome.cancelledCaught);
      assertEquals(scope.cancelCalled, name !== "not cancelled");
      scope.cancel();
      yield* sleep(1);
    }, VIRTUAL);
  });
}

Deno.test("The error has the reason, and is one and the same for all waits", async () => {
  await run(function* () {
    const errors: unknown[] = [];
    yield* cancelScope(function* (scope) {
      scope.cancel("why");
      scope.cancel("again");
      assertEquals(scope.reason, "why");
      for (let n = 0; n < 2; n++) {
        try {
          yield* sleep(1);
        } catch (error) {
          errors.push(error);
        }
      }
    });
    assertEquals((errors[0] as CancelledError).reason, "why");
    assertStrictEquals(errors[0], errors[1]);
  }, VIRTUAL);
});

Deno.test("A scope may be cancelled before it is entered, and from elsewhere", async () => {
  await run(async () => {
    const early = new CancelScope();
    early.cancel();
    let reached = false;
    assertEquals(
      await early.run(async () => {
        reached = true;
        await sleep(1);
      }),
      CAUGHT,
    );
    assertEquals(reached, true);
    const scope = new CancelScope();
    getRunningLoop().callLater(5, () => scope.cancel());
    assertEquals(await scope.run(() => sleep(100)), CAUGHT);
    assertEquals(getRunningLoop().time(), 5);
    await assertRejects(
      async () => await scope.run(() => {}),
      MisuseError,
      "it has been entered before",
    );
  }, VIRTUAL);
});

Deno.test("Scopes nest: each ends its own cancellation, the outer one goes through the inner", async () => {
  await run(function* () {
    const log: string[] = [];
    const outer = yield* moveOnAfter(20, function* () {
      const inner = yield* moveOnAfter(10, () => sleep(100));
      log.push(`inner ${inner.cancelledCaught} at ${getRunningLoop().time()}`);
      const long = yield* moveOnAfter(1_000, () => sleep(100));
      log.push(`not reached ${long}`);
    });
    log.push(`outer ${outer.cancelledCaught} at ${getRunningLoop().time()}`);
    assertEquals(log, ["inner true at 10", "outer true at 20"]);
  }, VIRTUAL);
});

Deno.test("Of two scopes that are cancelled together, both end", async () => {
  for (const first of ["inner", "outer"]) {
    await run(function* () {
      const [inner, outer] = [new CancelScope(), new CancelScope()];
      getRunningLoop().callLater(5, () => {
        for (
          const scope of first === "inner" ? [inner, outer] : [outer, inner]
        ) scope.cancel();
      });
      const outcome = yield* outer.run(function* () {
        yield* inner.run(() => sleep(100));
        yield* sleep(0);
      });
      assertEquals(outcome, CAUGHT);
    }, VIRTUAL);
  }
});

Deno.test("A shield keeps the cancellation of scopes around out until it is left or taken away", async () => {
  for (const style of ["generator", "async"]) {
    await run(async () => {
      const loop = getRunningLoop();
      const log: string[] = [];
      const shielded = style === "async"
        ? async () => {
          await sleep(30);
          log.push("cleaned up");
        }
        : function* () {
          yield* sleep(30);
          log.push("cleaned up");
        };
      assertEquals(
        await moveOnAfter(10, async () => {
          try {
            await sleep(100);
          } finally {
            await cancelScope<void>(shielded, { shield: true });
          }
        }),
        CAUGHT,
      );
      assertEquals([log, loop.time()], [["cleaned up"], 40], style);
      // Taken away from inside.
      const outer = new CancelScope();
      outer.cancel();
      const outcome = await outer.run(async () => {
        await cancelScope(async (scope) => {
          await sleep(10);
          scope.shield = false;
          await sleep(10);
          log.push("not reached");
        }, { shield: true });
      });
      assertEquals([outcome, loop.time(), log.length], [CAUGHT, 50, 1]);
    }, VIRTUAL);
  }
});

Deno.test("A shield does not keep out its own deadline, nor task.cancel() and timeout()", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    assertEquals(
      yield* cancelScope(() => sleep(100), { shield: true, delayMs: 5 }),
      CAUGHT,
    );
    try {
      yield* timeout(5, () => cancelScope(() => sleep(100), { shield: true }));
      assert(false);
    } catch (error) {
      assert(error instanceof TimeoutError);
    }
    const task = loop.createTask(() =>
      cancelScope(() => sleep(100), { shield: true })
    );
    yield* sleep(1);
    task.cancel();
    yield* sleep(1);
    assertEquals(task.cancelled(), true);
  }, VIRTUAL);
});

Deno.test("A cancellation of the task goes through a scope, also through one that is cancelled", async () => {
  for (const style of ["generator", "async"]) {
    for (
      const cancelled of ["the task only", "both", "both, the scope first"]
    ) {
      await run(function* () {
        const loop = getRunningLoop();
        const scope = new CancelScope();
        const task = loop.createTask<unknown>(
          style === "async"
            ? async () => await scope.run(() => sleep(100))
            : () => scope.run(() => sleep(100)),
        );
        yield* sleep(1);
        if (cancelled === "both, the scope first") scope.cancel();
        task.cancel();
        if (cancelled === "both") scope.cancel();
        yield* sleep(1);
        assertEquals(
          [task.cancelled(), scope.cancelledCaught],
          [true, false],
          `${style}, ${cancelled}`,
        );
      }, VIRTUAL);
    }
  }
});

Deno.test("Other errors go through", async () => {
  await assertRejects(() =>
    run(function* () {
      yield* moveOnAfter(5, function* () {
        try {
          yield* sleep(100);
        } catch {
          throw new Broken("clean-up");
        }
      });
    }, VIRTUAL), Broken);
});

Deno.test("A timeout inside does not take the scope's cancellation for its own", async () => {
  await run(function* () {
    const outcome = yield* moveOnAfter(10, () => timeout(10, () => sleep(100)));
    assertEquals(outcome, CAUGHT);
    assertEquals(currentTask()!.cancelling(), 0);
    const late = yield* moveOnAfter(10, () => timeout(20, () => sleep(100)));
    assertEquals(late, CAUGHT);
  }, VIRTUAL);
});

Deno.test("The deadline may be moved, and asked for", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const scope = new CancelScope({ delayMs: 10 });
    assertEquals(scope.deadlineMs, Infinity);
    const outcome = yield* scope.run(function* () {
      assertEquals(scope.deadlineMs, 10);
      scope.deadlineMs = 30;
      yield* sleep(20);
      scope.deadlineMs = 5; // has passed
      assertEquals(scope.cancelCalled, true);
      yield* sleep(100);
    });
    assertEquals([outcome, loop.time(), loop.stats().timers], [CAUGHT, 20, 0]);
    assertEquals(yield* moveOnAt(25, () => sleep(100)), CAUGHT);
    assertEquals(loop.time(), 25);
    for (const delayMs of [0, -1]) {
      let reached = false;
      const none = yield* moveOnAfter(delayMs, function* () {
        reached = true;
        yield* sleep(0);
      });
      assertEquals([none, reached], [CAUGHT, true]);
    }
  }, VIRTUAL);
});

Deno.test("failAfter() and failAt() throw TimeoutError if the scope was cancelled", async () => {
  await run(async () => {
    assertEquals(await failAfter(10, () => sleep(5, { value: 1 })), 1);
    assertEquals(await failAt(20, () => sleep(5, { value: 2 })), 2);
    const error = await assertRejects(
      async () => await failAfter(10, () => sleep(50)),
      TimeoutError,
    );
    assertEquals(error.message, "Timed out: it had to be done within 10 ms");
    await assertRejects(
      async () => await failAt(25, () => sleep(50)),
      TimeoutError,
    );
    assertEquals(getRunningLoop().time(), 25);
  }, VIRTUAL);
});

Deno.test("failAfter() and failAt() go by their own names", async () => {
  await run(async () => {
    for (
      const [name, fail] of [["failAfter()", failAfter], [
        "failAt()",
        failAt,
      ]] as const
    ) {
      const operation = fail(5, () => {});
      await operation;
      await assertRejects(
        async () => await operation,
        MisuseError,
        `Cannot wait for ${name} a second time`,
      );
    }
  }, VIRTUAL);
});

Deno.test("currentEffectiveDeadline() is the earliest that counts", async () => {
  await run(async () => {
    const check = (expected: number) =>
      assertEquals(currentEffectiveDeadline(), expected);
    check(Infinity);
    await timeout(50, async (limit) => {
      check(50);
      limit.reschedule(60);
      await moveOnAfter(40, async (scope) => {
        check(40);
        await Promise.resolve();
        check(40);
        await cancelScope(async (inner) => {
          check(60); // a timeout is not kept out
          inner.deadlineMs = 20;
          check(20);
        }, { shield: true });
        scope.cancel();
        check(-Infinity);
      });
      check(60);
    });
    check(Infinity);
  }, VIRTUAL);
  assertEquals(currentEffectiveDeadline(), Infinity);
});

Deno.test("The signals of what is inside abort with the scope, those of a shield do not", async () => {
  await run(async () => {
    const task = currentTask()!;
    await cancelScope(async (scope) => {
      const { signal } = scope;
      await cancelScope(async (shield) => {
        scope.cancel("why");
        assertEquals([signal.aborted, shield.signal.aborted], [true, false]);
        await sleep(1);
      }, { shield: true });
      assertEquals(task.signal.aborted, true);
    });
    assertEquals(task.signal.aborted, false);
  }, VIRTUAL);
});

Deno.test("A signal cancels the scope and its reason is thrown", async () => {
  await run(async () => {
    const abort = new AbortController();
    const reason = new Broken("signal");
    getRunningLoop().callLater(5, () => abort.abort(reason));
    let errors = 0;
    const error = await assertRejects(async () =>
      await moveOnAfter(50, async () => {
        for (let n = 0; n < 2; n++) {
          await Promise.resolve(sleep(10)).catch(() => errors++);
        }
        await sleep(10);
      }, { signal: abort.signal })
    );
    assertStrictEquals(error, reason);
    assertEquals([errors, getRunningLoop().time()], [2, 5]);
  }, VIRTUAL);
});

Deno.test("Wrong arguments are refused", () => {
  assertThrows(
    () => new CancelScope({ deadlineMs: NaN }),
    RangeError,
    "deadlineMs must not be NaN",
  );
  assertThrows(
    () => new CancelScope({ deadlineMs: 1, delayMs: 1 }),
    TypeError,
    "only one of deadlineMs and delayMs",
  );
  assertThrows(
    () => new CancelScope({ shield: 1 as never }),
    TypeError,
    "shield must be one of",
  );
  assertThrows(
    () => cancelScope(1 as never),
    TypeError,
    "body must be a function",
  );
  assertThrows(
    () => moveOnAfter("1" as never, () => {}),
    TypeError,
    "delayMs must be a number",
  );
  assertThrows(
    () => failAfter(NaN, () => {}),
    RangeError,
    "delayMs must not be NaN",
  );
  const scope = new CancelScope();
  assertThrows(() => scope.deadlineMs = NaN, RangeError);
  assertThrows(() => scope.shield = 1 as never, TypeError);
  assertThrows(() => scope.signal, MisuseError, "has not been entered");
});

Deno.test("Scopes side by side in an async function do not touch each other", async () => {
  await run(async () => {
    let errors = 0;
    const ends = await Promise.all([
      moveOnAfter(5, async () => {
        for (let n = 0; n < 3; n++) {
          await Promise.resolve(sleep(10)).catch(() => errors++);
        }
        await sleep(10);
      }),
      moveOnAfter(50, async () => {
        await sleep(5);
        await sleep(5);
        return "value";
      }),
      sleep(20, { value: "beside" }),
    ]);
    assertEquals(ends, [CAUGHT, {
      cancelledCaught: false,
      value: "value",
    }, "beside"]);
    assertEquals(errors, 3);
  }, VIRTUAL);
});

/** Runs a body in a scope with a time limit of so many milliseconds. */
const LIMITS = {
  "moveOnAfter()": (ms, body, shield) => moveOnAfter(ms, body, { shield }),
  "moveOnAt()": (ms, body, shield) =>
    moveOnAt(getRunningLoop().time() + ms, body, { shield }),
  "failAfter()": (ms, body, shield) => failAfter(ms, body, { shield }),
  "failAt()": (ms, body, shield) =>
    failAt(getRunningLoop().time() + ms, body, { shield }),
} satisfies Record<
  string,
  (
    ms: number,
    body: (scope: CancelScope) => Coroutine<void> | Promise<void>,
    shield: boolean,
  ) => Operation<unknown>
>;

/** Sleeps `ms`, in either style. */
const SLEEPERS: Record<
  string,
  (ms: number) => (scope: CancelScope) => Coroutine<void> | Promise<void>
> = {
  "a generator": (ms) =>
    function* () {
      yield* sleep(ms);
    },
  "an async function": (ms) => async () => await sleep(ms),
};

for (const [name, limit] of Object.entries(LIMITS)) {
  for (const [style, sleeper] of Object.entries(SLEEPERS)) {
    Deno.test(`${name} with shield keeps the cancellation of a scope around out of ${style}, until its time is over`, async () => {
      await run(async () => {
        const loop = getRunningLoop();
        const tookMs = async (ms: number, shield: boolean) => {
          const startMs = loop.time();
          await cancelScope(async (scope) => {
            scope.cancel();
            await Promise.resolve(limit(50, sleeper(ms), shield)).catch(
              (error) => assert(!(error instanceof TimeoutError)),
            );
          });
          return loop.time() - startMs;
        };
        assertEquals(await tookMs(20, false), 0);
        assertEquals(await tookMs(20, true), 20);
        // The limit holds all the same. What the scopes make of it is theirs.
        const startMs = loop.time();
        await cancelScope(async (scope) => {
          scope.cancel();
          await limit(50, sleeper(1_000), true);
        }).then(null, () => {});
        assertEquals(loop.time() - startMs, 50);
      }, VIRTUAL);
    });

    Deno.test(`The scope of ${name} has the shield that was asked for around ${style}`, async () => {
      await run(async () => {
        for (const shield of [true, false]) {
          let seen: boolean | undefined;
          await limit(50, (scope) => {
            seen = scope.shield;
            return sleeper(1)(scope);
          }, shield);
          assertEquals(seen, shield);
        }
      }, VIRTUAL);
    });
  }
}

Deno.test("A shield of a time limit protects its body, not from task.cancel()", async () => {
  await run(async () => {
    const task = getRunningLoop().createTask(() =>
      moveOnAfter(50, () => sleep(20), { shield: true })
    );
    await sleep(5);
    task.cancel("really");
    await assertRejects(async () => await task, CancelledError, "really");
  }, VIRTUAL);
});

Deno.test("moveOnAfter() and the like refuse a shield that is no boolean", () => {
  const body = () => sleep(1);
  for (
    const limit of [
      (options: never) => moveOnAfter(1, body, options),
      (options: never) => moveOnAt(1, body, options),
      (options: never) => failAfter(1, body, options),
      (options: never) => failAt(1, body, options),
    ]
  ) {
    for (const shield of [1, null, "yes"]) {
      assertThrows(
        () => limit({ shield } as never),
        TypeError,
        "shield must be one of true, false",
      );
    }
    assertThrows(
      () => limit(true as never),
      TypeError,
      "options must be an object",
    );
    assertThrows(
      () => limit({ signal: 1 } as never),
      TypeError,
      "signal must be an AbortSignal",
    );
  }
});
