/**
 * Errors of tasks and futures that nobody looks at: reported once, when the
 * object is collected or the loop closes, and never an unhandled rejection.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  type EventLoop,
  type ExceptionContext,
  type Future,
  getRunningLoop,
  run,
  sleep,
} from "../mod.ts";
import { collectReports, openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";
import { inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** The messages and errors that were reported. */
function told(reports: readonly ExceptionContext[]): unknown[] {
  return reports.map(({ message, exception }) => [message, exception]);
}

for (const style of STYLES) {
  Deno.test(`A task in ${style} that failed unseen is reported by name when its loop closes, once`, async () => {
    const { loop, reports } = openLoop();
    const error = new Error("broken");
    loop.createTask(
      inStyle(
        style,
        function* (): Generator {
          yield sleep(1);
          throw error;
        } as () => Generator<never, void>,
      ),
      { name: "worker" },
    );
    await loop.runUntilComplete(() => sleep(10));
    assertEquals(reports, [], "the task may still be looked at");
    await loop.close();
    assertEquals(told(reports), [[
      'task "worker" failed and nobody ever looked at the error',
      error,
    ]]);
    assertEquals(reports[0]!.name, "worker");
    await loop.close();
    assertEquals(reports.length, 1);
  });
}

Deno.test("A future that failed unseen is reported by what it stands for when its loop closes", async () => {
  const { loop, reports } = openLoop();
  const error = new Error("broken");
  loop.createFuture("the answer").setException(error);
  await loop.close();
  assertEquals(told(reports), [[
    "the answer failed and nobody ever looked at the error",
    error,
  ]]);
});

Deno.test("In debug mode the report says where the task was made", async () => {
  for (const debug of [true, false]) {
    const { loop, reports } = openLoop({ debug });
    const maker = () => {
      loop.createTask(() => {
        throw new Error("broken");
      });
      loop.createFuture().setException(new Error("broken"));
    };
    maker();
    await runTurns(loop, 1);
    await loop.close();
    assertEquals(reports.length, 2);
    for (const { creationStack } of reports) {
      if (debug) {
        assertMatch(creationStack ?? "", /maker.*unseen_errors_test\.ts/);
      } else assertStrictEquals(creationStack, undefined);
    }
  }
});

/** Ways to look at an error. */
const LOOKS: Readonly<
  Record<string, (future: Future<void>, loop: EventLoop) => unknown>
> = {
  "result()": (future) => {
    try {
      future.result();
    } catch {
      // It was looked at.
    }
  },
  "exception()": (future) => future.exception(),
  "yield*": (future, loop) =>
    loop.runUntilComplete(function* () {
      try {
        yield* future;
      } catch {
        // It was looked at.
      }
    }),
  "await": (future, loop) =>
    loop.runUntilComplete(async () => {
      try {
        await future;
      } catch {
        // It was looked at.
      }
    }),
  "await outside of the loop": async (future, loop) => {
    const waiting = assertRejects(async () => await future);
    await Promise.resolve();
    await runTurns(loop, 1);
    await waiting;
  },
  "then() with two callbacks": async (future, loop) => {
    future.then(() => {}, () => {});
    await runTurns(loop, 1);
  },
  "then(null, callback)": async (future, loop) => {
    future.then(null, () => {});
    await runTurns(loop, 1);
  },
  "Promise.allSettled()": async (future, loop) => {
    const all = Promise.allSettled([future]);
    await Promise.resolve();
    await runTurns(loop, 1);
    await all;
  },
  "runUntilComplete()": (future, loop) =>
    assertRejects(() => loop.runUntilComplete(future)),
};

for (const [how, look] of Object.entries(LOOKS)) {
  Deno.test(`Who looks by ${how} has seen the error, and it is not reported, however late`, async () => {
    for (const turns of [0, 1, 5, 50]) {
      const { loop, reports } = openLoop();
      const future = loop.createFuture<void>();
      future.setException(new Error("broken"));
      await runTurns(loop, turns);
      await look(future, loop);
      await runTurns(loop, 3);
      await loop.close();
      assertEquals(reports, [], `after ${turns} turns`);
    }
  });
}

/** What does not count as looking. */
const GLANCES: Readonly<
  Record<string, (future: Future<void>, loop: EventLoop) => unknown>
> = {
  "done() and cancelled()": (future) => [future.done(), future.cancelled()],
  "cancel()": (future) => future.cancel(),
  "addDoneCallback()": (future, loop) => {
    future.addDoneCallback(() => {});
    return runTurns(loop, 1);
  },
  "then() without onRejected": (future, loop) => {
    future.then(() => {});
    return runTurns(loop, 1);
  },
  "then() without any callback": (future, loop) => {
    future.then();
    return runTurns(loop, 1);
  },
  "a wait that was cancelled": async (future, loop) => {
    // The cancellation came before the look.
    const task = loop.createTask(function* () {
      yield;
      yield* future;
    });
    await runTurns(loop, 1);
    task.cancel();
    await runTurns(loop, 1);
  },
};

for (const [how, glance] of Object.entries(GLANCES)) {
  Deno.test(`An error that has met only ${how} is still reported, and once`, async () => {
    const { loop, reports } = openLoop();
    const error = new Error("broken");
    const future = loop.createFuture<void>();
    future.setException(error);
    await glance(future, loop);
    await loop.close();
    assertEquals(reports.map(({ exception }) => exception), [error]);
  });
}

Deno.test("Cancelled tasks and futures are failures to nobody", async () => {
  const { loop, reports } = openLoop();
  const task = loop.createTask(() => sleep(1_000));
  loop.createFuture().cancel();
  await runTurns(loop, 1);
  task.cancel();
  await runTurns(loop, 2);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A failure that one of many waiters gets is seen", async () => {
  const { loop, reports } = openLoop();
  const failing = loop.createTask(function* () {
    yield* sleep(1);
    throw new Error("broken");
  });
  const waiters = [1, 2, 3].map(() =>
    loop.createTask(function* () {
      yield* failing;
    })
  );
  await assertRejects(() => loop.runUntilComplete(waiters[0]!), Error);
  await runTurns(loop, 3);
  // The other two have failed by the same error, and nobody looked at those.
  await loop.close();
  assertEquals(reports.length, 2);
  assert(reports.every(({ name }) => name !== failing.name));
});

Deno.test("An error that reaches the caller of run() is reported nowhere else", async () => {
  let reports: ExceptionContext[] = [];
  await assertRejects(
    () =>
      run(async () => {
        reports = collectReports(getRunningLoop());
        await sleep(1);
        throw new Error("to the caller");
      }, VIRTUAL),
    Error,
    "to the caller",
  );
  assertEquals(reports, []);
});

Deno.test("What is left at the end of run() and fails while it is cancelled is reported once", async () => {
  let reports: ExceptionContext[] = [];
  const error = new Error("clean-up failed");
  await run(function* () {
    reports = collectReports(getRunningLoop());
    getRunningLoop().createTask(function* () {
      try {
        yield* sleep(1_000);
      } catch {
        throw error;
      }
    }, { name: "left" });
    yield* sleep(1);
  }, VIRTUAL);
  assertEquals(told(reports), [[
    'Task "left" failed while it was cancelled at the end of the run',
    error,
  ]]);
});

// -- In a process of its own --

const PRELUDE = `
  import { EventLoop, getRunningLoop, Operation, run, sleep, until, yieldNow } from "@rota/rota";
  const log = [];
  const broken = new Error("broken");
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log.push("UNHANDLED " + event.reason);
  });
  const listen = () =>
    getRunningLoop().setExceptionHandler((_, { message, name, exception, creationStack }) =>
      log.push([name ?? message, String(exception), /made by maker/.test(
        (creationStack ?? "").replaceAll("at maker", "made by maker"),
      )]));
  /** Lets the collector run until something was reported, or for a good while. */
  const collect = async (rounds = 50) => {
    const before = log.length;
    for (let n = 0; n < rounds && log.length === before; n++) {
      gc();
      await until(new Promise((resolve) => setTimeout(resolve)));
    }
  };
`;

async function logOf(source: string): Promise<unknown> {
  const { stdout, stderr, code } = await runProgram(
    `${PRELUDE}${source}\nconsole.log(JSON.stringify(log));`,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals(code, 0, stderr);
  return JSON.parse(stdout);
}

for (const style of ["function*", "async function"]) {
  const [wait, asterisk] = style === "function*"
    ? ["yield* sleep(0)", "*"]
    : ["await sleep(0)", ""];
  const body = `${asterisk === "*" ? "" : "async "}function${asterisk} () {
    ${wait};
    throw new Error("broken");
  }`;

  // There the steps are methods on the stack, and an error keeps those it was
  // made under: a generator's own would keep its task until the loop closes.
  const inDebugMode = body.replace('new Error("broken")', "broken");

  Deno.test(`A task made by ${style} that failed unseen is reported when it is collected, and not again when the loop closes`, async () => {
    for (const debug of [true, false]) {
      const log = await logOf(`
        await run(async () => {
          listen();
          function maker() {
            getRunningLoop().createTask(${
        debug ? inDebugMode : body
      }, { name: "worker" });
          }
          maker();
          await collect(1_000);
          log.push("-- close --");
        }, { debug: ${debug}, slowCallbackMs: 1e9 });
        gc();
        await new Promise((resolve) => setTimeout(resolve, 1));
      `);
      assertEquals(log, [
        ["worker", "Error: broken", debug],
        "-- close --",
      ]);
    }
  });

  Deno.test(`A task made by ${style} whose failure was seen is never reported, nor one that somebody still holds`, async () => {
    const log = await logOf(`
      let held;
      await run(async () => {
        listen();
        const seen = getRunningLoop().createTask(${body}, { name: "seen" });
        const message = await seen.then(() => "no error", (error) => error.message);
        if (message !== "broken") throw new Error(message);
        (() => {
          const looked = getRunningLoop().createTask(${body}, { name: "looked" });
          looked.addDoneCallback(() => looked.exception());
        })();
        held = getRunningLoop().createTask(${body}, { name: "held" });
        await collect();
        log.push("-- close --");
      });
      held.exception();
    `);
    assertEquals(log, ["-- close --", ["held", "Error: broken", false]]);
  });
}

for (
  const [how, go] of [
    // One wait, in which the loop has no other turn.
    [
      "waits for long",
      `await until((async () => {
        for (let n = 0; n < 1_000 && log.length === 0; n++) {
          gc();
          await new Promise((resolve) => setTimeout(resolve));
        }
      })());`,
    ],
    [
      "never rests",
      `for (let n = 0; n < 20_000 && log.length === 0; n++) {
        if (n % 20 === 0) gc();
        await yieldNow();
      }`,
    ],
  ] as const
) {
  Deno.test(`A loop that ${how} reports what has failed, and does not hold on to it`, async () => {
    const log = await logOf(`
      await run(async () => {
        listen();
        getRunningLoop().createTask(function* () {
          throw new Error("broken");
        }, { name: "worker" });
        ${go}
        log.push("-- close --");
      });
    `);
    assertEquals(log, [["worker", "Error: broken", false], "-- close --"]);
  });
}

for (const turns of [1, 3, 6, 9, 20]) {
  Deno.test(`A loop that has stopped ${turns} turns after a failure does not hold on to it`, async () => {
    const log = await logOf(`
      const loop = new EventLoop({ host: "portable" });
      loop.setExceptionHandler((_, { name, exception }) => log.push([name, String(exception)]));
      await loop.runUntilComplete(function* () {
        loop.createTask(function* () {
          throw new Error("broken");
        }, { name: "worker" });
        for (let n = 0; n < ${turns}; n++) yield* sleep(0);
      });
      for (let n = 0; n < 1_000 && log.length === 0; n++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve));
      }
      log.push("-- close --");
      await loop.close();
    `);
    assertEquals(log, [["worker", "Error: broken"], "-- close --"]);
  });
}

Deno.test("What the exception handler lets fail while the loop is closed is reported", async () => {
  const { loop } = openLoop();
  const reports: unknown[] = [];
  loop.setExceptionHandler((_, { exception }) => {
    reports.push(exception);
    if (exception === "first") loop.createFuture().setException("second");
  });
  loop.createFuture().setException("first");
  await loop.close();
  assertEquals(reports, ["first", "second"]);
});

Deno.test("Nothing that goes wrong in tasks becomes an unhandled rejection, and everything is told once", async () => {
  const log = await logOf(`
    await run(async () => {
      listen();
      const loop = getRunningLoop();
      const fail = (name, ms = 0) => loop.createTask(async () => {
        await sleep(ms);
        throw new Error(name);
      }, { name });
      fail("alone");
      const gone = fail("listened to");
      gone.then(() => {});
      loop.createFuture("a future").setException(new Error("a future"));
      const all = loop.createTask(() => Promise.all([fail("first", 1), fail("second", 2)]));
      try {
        await all;
      } catch (error) {
        log.push("caught " + error.message);
      }
      const race = await Promise.race([sleep(1, { value: "won" }), fail("loser", 5)]);
      log.push(race);
      const cancelled = loop.createTask(async () => {
        await Promise.all([sleep(100), until(new Promise(() => {}))]);
      });
      await sleep(1);
      cancelled.cancel();
      await sleep(20);
    }, { host: "virtual", outsideWaits: "ignore" });
    log.sort((a, b) => String(a) < String(b) ? -1 : 1);
  `);
  assertEquals(log, [
    ["a future", "Error: a future", false],
    ["alone", "Error: alone", false],
    "caught first",
    ["listened to", "Error: listened to", false],
    "won",
  ]);
});

Deno.test("A task is not collected while it waits, though nobody holds it", async () => {
  const log = await logOf(`
    await run(async () => {
      listen();
      getRunningLoop().createTask(function* () {
        yield* sleep(20);
        log.push("still there");
      });
      await collect();
    });
  `);
  assertEquals(log, ["still there"]);
});
