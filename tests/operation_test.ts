/**
 * Operations: they start once, when they are waited for; what becomes of those
 * that never are; and waiting for one where there is no task.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  CancelledError,
  currentTask,
  ensureFuture,
  getRunningLoop,
  MisuseError,
  Operation,
  type OperationOptions,
  run,
  sleep,
  TaskGroup,
  taskGroup,
  TaskGroupClosedError,
  TimeoutError,
  until,
  wait,
  waitFor,
} from "../mod.ts";
import { collectReports, openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";
import { inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

const TWICE = "an operation starts once, make a new one";

Deno.test("An operation does nothing before it is waited for", async () => {
  const log: string[] = [];
  await run(function* () {
    const operation = new Operation(function* () {
      log.push("began");
      yield* sleep(5);
      return "given";
    });
    yield* sleep(10);
    assertEquals(log, []);
    assertEquals(yield* operation, "given");
    assertEquals([log, getRunningLoop().time()], [["began"], 15]);
  }, VIRTUAL);
});

/** Operations that are written in different ways inside. */
const KINDS: Readonly<Record<string, () => Operation<unknown>>> = {
  "sleep(5)": () => sleep(5),
  "sleep(0)": () => sleep(0),
  "sleep(5, { signal })": () =>
    sleep(5, { signal: new AbortController().signal }),
  "sleep(0, { signal })": () =>
    sleep(0, { signal: new AbortController().signal }),
  "until()": () => until(Promise.resolve()),
  "an operation of one's own": () =>
    new Operation(function* () {
      yield* sleep(1);
    }),
  "an operation without a wait": () =>
    new Operation(function* () {
      return 1;
    }),
};

for (const [kind, make] of Object.entries(KINDS)) {
  for (const style of STYLES) {
    Deno.test(`${kind} cannot be waited for twice in ${style}`, async () => {
      const error = await assertRejects(() =>
        run(
          inStyle(style, function* () {
            const operation = make();
            yield operation;
            yield operation;
          }),
          VIRTUAL,
        ), MisuseError);
      assert(error.message.endsWith(TWICE), error.message);
      assertMatch(error.message, /^Cannot wait for .+ a second time: /);
    });

    Deno.test(`${kind} that is under way cannot be waited for by another task in ${style}`, async () => {
      await run(function* () {
        const operation = make();
        const first = getRunningLoop().createTask(function* () {
          yield* operation;
        });
        const second = getRunningLoop().createTask(
          inStyle(style, function* () {
            yield operation;
          }),
        );
        yield* first;
        while (!second.done()) yield;
        assertInstanceOf(second.exception(), MisuseError);
      }, VIRTUAL);
    });
  }
}

Deno.test("A second wait is refused outside any task, too", async () => {
  await using loop = openLoop().loop;
  const operation = sleep(1);
  const running = loop.runForever();
  await operation;
  const error = await assertRejects(async () => await operation, MisuseError);
  assert(error.message.endsWith(TWICE), error.message);
  loop.stop();
  await running;
});

Deno.test("The name of an operation is in the message about its second use", async () => {
  const operation = new Operation(function* () {}, { name: "Door.open()" });
  const error = await assertRejects(() =>
    run(async () => {
      await operation;
      await operation;
    }, VIRTUAL), MisuseError);
  assertEquals(
    error.message,
    `Cannot wait for Door.open() a second time: ${TWICE}`,
  );
});

Deno.test("A wait that was cancelled before it began counts as a use, and does not begin", async () => {
  const log: string[] = [];
  await run(async () => {
    const operation = new Operation(function* () {
      log.push("began");
    });
    const task = getRunningLoop().createTask(async () => {
      currentTask()!.cancel();
      await operation;
    });
    await assertRejects(async () => await task, CancelledError);
    await assertRejects(async () => await operation, MisuseError);
  }, VIRTUAL);
  assertEquals(log, []);
});

for (const style of STYLES) {
  Deno.test(`What an operation throws arrives in ${style}, before and after its first wait`, async () => {
    const error = new Error("broken");
    const atOnce = () =>
      new Operation(function* (): Generator<undefined, void> {
        throw error;
      });
    const later = () =>
      new Operation(function* (): Generator<undefined, void> {
        yield;
        throw error;
      });
    for (const make of [atOnce, later]) {
      const caught = await run(
        inStyle(style, function* () {
          try {
            yield make();
          } catch (caught) {
            return caught;
          }
          return null;
        }),
        VIRTUAL,
      );
      assertStrictEquals(caught, error);
    }
  });

  Deno.test(`currentTask() inside an operation is the task in ${style} that waits`, async () => {
    const inside: (string | undefined)[] = [];
    await run(
      inStyle(style, function* () {
        yield new Operation(function* () {
          inside.push(currentTask()?.name);
          yield* sleep(1);
          inside.push(currentTask()?.name);
        });
      }),
      { ...VIRTUAL, name: "waiter" },
    );
    assertEquals(inside, ["waiter", "waiter"]);
  });
}

Deno.test("An operation that never waits takes no turn in a generator, and finishes its await in the same turn", async () => {
  const { loop } = openLoop();
  const ready = () =>
    new Operation(function* () {
      return 1;
    });
  const generator = loop.createTask(function* () {
    return (yield* ready()) + (yield* ready());
  });
  const asynchronous = loop.createTask(async () =>
    (await ready()) + (await ready())
  );
  await runTurns(loop, 1);
  assertEquals(generator.result(), 2);
  await runTurns(loop, 2);
  assertEquals(asynchronous.result(), 2);
  await loop.close();
});

Deno.test("new Operation() checks what it is given", () => {
  for (const wrong of [null, 5, "wait", {}]) {
    const error = assertThrows(
      () => new Operation(wrong as unknown as () => Generator<undefined, void>),
      TypeError,
    );
    assertMatch(
      error.message,
      /^Cannot make an operation as body must be a function: received /,
    );
  }
  const options = { signal: new EventTarget() } as unknown as OperationOptions;
  const error = assertThrows(
    () => new Operation(function* () {}, options),
    TypeError,
  );
  assertEquals(
    error.message,
    "Cannot make an operation as signal must be an AbortSignal: received an object of class EventTarget",
  );
});

Deno.test("An operation names its class", () => {
  assertEquals(String(new Operation(function* () {})), "[object Operation]");
});

// -- Outside any task --

Deno.test("Awaited outside any task, an operation runs under a task of its own that allTasks() lists", async () => {
  const { loop } = openLoop();
  const running = loop.runForever();
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const future = loop.createFuture<string>();
  const waiting = (async () =>
    await new Operation(function* () {
      start();
      return yield* future;
    }, { name: "Door.open()" }))();
  await started;
  assertEquals(
    allTasks(loop).map((task) => task.name),
    ["await Door.open()"],
  );
  future.setResult("opened");
  assertEquals(await waiting, "opened");
  assertEquals(allTasks(loop), []);
  loop.stop();
  await running;
  await loop.close();
});

Deno.test("What runs outside any task is cancelled when run() ends, and cleans up", async () => {
  const log: string[] = [];
  let outside!: Promise<void>;
  const { promise: go, resolve: begin } = Promise.withResolvers<void>();
  // Started out here, it belongs to nobody.
  const handler = (async () => {
    await go;
    outside = (async () => {
      try {
        await new Operation(function* () {
          try {
            log.push("began");
            yield* sleep(60_000);
          } finally {
            yield* sleep(5);
            log.push("cleaned up");
          }
        });
      } catch (error) {
        log.push(String(error));
      }
    })();
  })();
  await run(async () => {
    begin();
    await until(handler);
    await sleep(10);
    assertEquals(log, ["began"]);
  }, VIRTUAL);
  await outside;
  assertEquals(log, ["began", "cleaned up", "CancelledError: Cancelled"]);
});

Deno.test("An error outside any task reaches the one who awaits, and nobody else", async () => {
  const { loop, reports } = openLoop();
  const running = loop.runForever();
  const error = new Error("broken");
  const caught = await assertRejects(async () => {
    await new Operation(function* () {
      yield* sleep(1);
      throw error;
    });
  });
  assertStrictEquals(caught, error);
  loop.stop();
  await running;
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("Where no loop runs, waiting says so", async () => {
  const error = await assertRejects(async () => await sleep(1), MisuseError);
  assertEquals(
    error.message,
    "Cannot get the running loop: no loop is running, start one with run()",
  );
});

Deno.test("Where several loops run and none is meant, waiting says so", async () => {
  const [{ loop: first }, { loop: second }] = [openLoop(), openLoop()];
  const runs = [first.runForever(), second.runForever()];
  const error = await assertRejects(async () => await sleep(1), MisuseError);
  assertEquals(
    error.message,
    "Cannot get the running loop: 2 loops are running and this code belongs to none of them",
  );
  first.stop();
  second.stop();
  await Promise.all(runs);
  await first.close();
  await second.close();
});

// -- Never waited for --

Deno.test("In debug mode, an operation that nobody waits for is reported by name when the loop closes", async () => {
  const { loop, reports } = openLoop({ debug: true });
  function forgetful() {
    sleep(5);
    return new Operation(function* () {}, { name: "Door.open()" });
  }
  const task = loop.createTask(function* () {
    forgetful();
    yield* sleep(1);
  });
  await loop.runUntilComplete(task);
  assertEquals(reports, []);
  await loop.close();
  assertEquals(
    reports.map(({ message, name }) => [message, name]),
    [
      ['sleep() was never waited for: use "yield*" or "await"', "sleep()"],
      [
        'Door.open() was never waited for: use "yield*" or "await"',
        "Door.open()",
      ],
    ],
  );
  for (const { creationStack } of reports) {
    assertMatch(creationStack ?? "", /forgetful.*operation_test\.ts/);
  }
});

Deno.test("An operation that somebody took to run it is not reported if it never begins", async () => {
  const { loop, reports } = openLoop({ debug: true });
  const takers: Record<string, (operation: Operation<void>) => unknown> = {
    "createTask()": (operation) => loop.createTask(operation).cancel(),
    "a group": (operation) =>
      taskGroup((group) => {
        group.createTask(operation);
        group.cancel();
      }),
    "a group that discards": (operation) =>
      taskGroup((group) => {
        group.createTask(operation);
        group.cancel();
      }, { discard: true }),
    "a group with a limit": (operation) =>
      taskGroup((group) => {
        group.createTask(() => sleep(5));
        group.createTask(operation).cancel();
      }, { limit: 1 }),
    "a group that has ended": (operation) =>
      assertThrows(() => ended.createTask(operation), TaskGroupClosedError),
    "ensureFuture()": (operation) => ensureFuture(operation).cancel(),
    "waitFor() without time": (operation) =>
      new Operation(function* () {
        try {
          yield* waitFor(operation, 0);
          throw new Error("There was no time");
        } catch (error) {
          assertInstanceOf(error, TimeoutError);
        }
      }),
    "waitFor() in a task that is cancelled": (operation) =>
      new Operation(function* () {
        const task = loop.createTask(async () => {
          await assertRejects(
            async () => await sleep(60_000),
            CancelledError,
          );
          task.cancel();
          await waitFor(operation, 10);
        });
        yield* sleep(1);
        task.cancel();
        yield* wait([task]);
        assertEquals(task.cancelled(), true);
      }),
    "waitFor() that a signal has ended": (operation) =>
      new Operation(function* () {
        const signal = AbortSignal.abort(new Error("enough"));
        try {
          yield* waitFor(operation, 10, { signal });
          throw new Error("It was aborted");
        } catch (error) {
          assertStrictEquals(error, signal.reason);
        }
      }),
  };
  const ended = new TaskGroup();
  const begun: string[] = [];
  await loop.runUntilComplete(function* () {
    yield* ended.run(() => {});
    for (const [who, take] of Object.entries(takers)) {
      const operation = new Operation<void>(function* () {
        begun.push(who);
      }, { name: who });
      const taken = take(operation);
      if (taken instanceof Operation) yield* taken;
      yield* sleep(1);
    }
  });
  await loop.close();
  assertEquals(begun, []);
  assertEquals(reports.map(({ message }) => message), []);
});

Deno.test("waitFor() that nobody waits for is reported itself, and not what it was given", async () => {
  const { loop, reports } = openLoop({ debug: true });
  await loop.runUntilComplete(function* () {
    waitFor(sleep(1), 10);
  });
  await loop.close();
  assertEquals(reports.map(({ name }) => name), ["waitFor()"]);
});

Deno.test("What somebody took can still be waited for only once", async () => {
  await run(function* () {
    const operation = sleep(1);
    getRunningLoop().createTask(operation);
    const second = getRunningLoop().createTask(operation);
    yield* wait([second]);
    assertInstanceOf(second.exception(), MisuseError);
  }, VIRTUAL);
});

Deno.test("An operation that is waited for in any way is not reported", async () => {
  const { loop, reports } = openLoop({ debug: true });
  const task = loop.createTask(async () => {
    await sleep(0);
    await sleep(1);
    await Promise.all([sleep(1), sleep(2)]);
    await loop.createTask(sleep(1));
    await loop.createTask(() => sleep(1));
    await loop.createTask(function* () {
      yield* sleep(1);
    });
    sleep(1).then();
    await sleep(5);
  });
  await loop.runUntilComplete(task);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("Without debug mode the first 1,000 operations of a process are watched, and no more", async () => {
  const { stdout, code } = await runProgram(`
    import { getRunningLoop, Operation, run } from "@rota/rota";
    const names = [];
    const make = (name) => new Operation(function* () {}, { name });
    await run(function* () {
      getRunningLoop().setExceptionHandler((_, context) => names.push(context.name));
      for (let n = 1; n <= 1_000; n++) {
        if (n % 100 === 0) make("forgotten " + n);
        else yield* make("used " + n);
      }
      make("unwatched");
    }, { host: "virtual" });
    console.log(JSON.stringify(names));
  `);
  assertEquals(code, 0);
  assertEquals(
    JSON.parse(stdout),
    Array.from({ length: 10 }, (_, n) => `forgotten ${(n + 1) * 100}`),
  );
});

Deno.test("An operation that nobody waits for is reported once, when it is collected", async () => {
  const { stdout, code } = await runProgram(
    `
    import { Operation, run, until, getRunningLoop } from "@rota/rota";
    const reports = [];
    await run(async () => {
      getRunningLoop().setExceptionHandler((_, { message }) => reports.push(message));
      (() => void new Operation(function* () {}, { name: "Door.open()" }))();
      for (let n = 0; n < 1_000 && reports.length === 0; n++) {
        gc();
        await until(new Promise((resolve) => setTimeout(resolve)));
      }
      reports.push("-- close --");
    });
    console.log(JSON.stringify(reports));
  `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals(code, 0);
  assertEquals(JSON.parse(stdout), [
    'Door.open() was never waited for: use "yield*" or "await"',
    "-- close --",
  ]);
});

Deno.test("An operation that is made where no loop runs is nobody's, and not reported", async () => {
  const forgotten = sleep(5);
  const { loop, reports } = openLoop({ debug: true });
  await loop.close();
  assertEquals(reports, []);
  assertInstanceOf(forgotten, Operation);
});

// -- Errors that nobody waits for any more --

Deno.test("An operation that fails without an ear for errors is reported by name", async () => {
  const { loop, reports } = openLoop();
  const error = new Error("broken");
  const task = loop.createTask(async () => {
    new Operation(function* () {
      yield* sleep(1);
      throw error;
    }, { name: "Door.open()" }).then(() => {});
    await sleep(5);
  });
  await loop.runUntilComplete(task);
  await loop.close();
  assertEquals(
    reports.map(({ message, exception }) => [message, exception]),
    [["Door.open() failed, and nobody was waiting for it any more", error]],
  );
});

Deno.test("Clean-up that fails after the task has ended is not swallowed", async () => {
  const error = new Error("clean-up failed");
  const reports = await run(async () => {
    const reports = collectReports(getRunningLoop());
    await getRunningLoop().createTask(async () => {
      const loser = new Operation(function* () {
        try {
          yield* sleep(1_000);
        } catch {
          throw error;
        }
      }, { name: "loser" });
      await Promise.race([sleep(1), loser]);
    });
    await sleep(5);
    return reports;
  }, VIRTUAL);
  assertEquals(
    reports.map(({ name, exception }) => [name, exception]),
    [["loser", error]],
  );
});
