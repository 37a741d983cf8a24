/**
 * Debug mode: slow callbacks, operations nobody waits for, tasks that are
 * destroyed, objects of other loops, and where things were made.
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
  type Coroutine,
  type EventLoopOptions,
  type ExceptionContext,
  MisuseError,
  newEventLoop,
  run,
  sleep,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { keepBusy } from "./support/manual_host.ts";
import { runProgram } from "./support/program.ts";

/** Durations are watched where a test is about them: a busy machine makes anything slow. */
const DEBUG = {
  host: "virtual",
  debug: true,
  slowCallbackMs: Infinity,
} as const;

/** Only what tells of a callback or task whose name matches. */
function about(
  reports: readonly ExceptionContext[],
  name: RegExp,
): ExceptionContext[] {
  return reports.filter(({ message }) => name.test(message));
}

/** Runs `main` in debug mode and gives what was reported. */
async function reportsOf(
  main: () => Coroutine<void> | Promise<void>,
  options: EventLoopOptions = {},
): Promise<ExceptionContext[]> {
  const reports: ExceptionContext[] = [];
  await run<void>(main, {
    ...DEBUG,
    ...options,
    loopFactory: (options) => {
      const loop = newEventLoop(options);
      loop.setExceptionHandler((_, context) => reports.push(context));
      return loop;
    },
  });
  return reports;
}

Deno.test("debug is off by default, can be given and switched", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  assertEquals(loop.debug, Deno.env.get("ROTA_DEBUG") === "1");
  await using on = newEventLoop(DEBUG);
  assertEquals(on.debug, true);
  on.debug = false;
  on.debug = false;
  assertEquals(on.debug, false);
  on.debug = true;
  assertEquals(on.debug, true);
});

Deno.test("A slow callback is named with how long it took, where it was made, and its handle", async () => {
  const { loop, reports } = openLoop({ debug: true, slowCallbackMs: 10 });
  const handle = loop.callSoon(function dawdle() {
    keepBusy(12);
  });
  await runTurns(loop);
  const { message, durationMs, creationStack, handle: slow } = reports[0]!;
  assertMatch(message, /^Executing callback "dawdle" took \d+\.\d ms$/);
  assert(durationMs! >= 12);
  assertMatch(creationStack!, /debug_test\.ts/);
  assertStrictEquals(slow, handle);
  assertEquals(about(reports, /dawdle/).length, 1);
  await loop.close();
});

Deno.test("A slow step of a task is named by the task, in both styles", async () => {
  const { loop, reports } = openLoop({ debug: true, slowCallbackMs: 10 });
  const generator = loop.createTask(function* () {
    yield* sleep(0);
    keepBusy(12);
  }, { name: "generator" });
  const plain = loop.createTask(async () => {
    keepBusy(12);
  }, { name: "async" });
  const resumed = loop.createTask(async () => {
    await sleep(0);
    keepBusy(12);
  }, { name: "async, after an await" });
  await runTurns(loop, 4);
  for (const task of [generator, plain, resumed]) {
    const found = about(
      reports,
      new RegExp(`^Executing task "${task.name}" took`),
    )
      .find(({ durationMs }) => durationMs! >= 12);
    assertStrictEquals<unknown>(found?.task, task);
    assertEquals(found?.name, task.name);
  }
  await loop.close();
});

Deno.test("A slow timer, a slow done callback and a callback that throws late are told too", async () => {
  const { loop, reports } = openLoop({ debug: true, slowCallbackMs: 5 });
  loop.callLater(0, function alarm() {
    keepBusy(6);
  });
  const future = loop.createFuture<void>();
  future.addDoneCallback(function told() {
    keepBusy(6);
  });
  future.setResult();
  loop.callSoon(function broken() {
    keepBusy(6);
    throw new Error("no");
  });
  await runTurns(loop);
  assertEquals(reports.map(({ message }) => message.replace(/ took.*/, "")), [
    'Executing callback "told"',
    'Executing callback "broken"',
    'Exception in callback "broken"',
    'Executing callback "alarm"',
  ]);
  await loop.close();
});

Deno.test("slowCallbackMs can be changed while the loop lives; Infinity is off", async () => {
  const { loop, reports } = openLoop({ debug: true });
  assertEquals(loop.slowCallbackMs, 100);
  loop.slowCallbackMs = Infinity;
  loop.callSoon(() => keepBusy(2));
  await runTurns(loop);
  assertEquals(reports.length, 0);
  loop.slowCallbackMs = 1;
  loop.callSoon(() => keepBusy(2));
  await runTurns(loop);
  assertEquals(reports.length, 1);
  await loop.close();
});

Deno.test("Without debug mode nobody is called slow", async () => {
  const { loop, reports } = openLoop({ debug: false, slowCallbackMs: 0 });
  loop.callSoon(() => keepBusy(1));
  await runTurns(loop);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("An operation that nobody waits for is reported when the loop closes, with its origin", async () => {
  const reports = await reportsOf(function* () {
    sleep(1);
    sleep(0);
    yield* sleep(1);
  });
  assertEquals(reports.map(({ message }) => message), [
    'sleep() was never waited for: use "yield*" or "await"',
    'sleep(0) was never waited for: use "yield*" or "await"',
  ]);
  assertMatch(reports[0]!.creationStack!, /debug_test\.ts/);
});

Deno.test("Operations that were waited for, in whatever way, are not reported", async () => {
  const reports = await reportsOf(async () => {
    await sleep(0);
    await sleep(1);
    await Promise.all([sleep(0), sleep(1)]);
    const controller = new AbortController();
    controller.abort();
    await Promise.allSettled([sleep(5, { signal: controller.signal })]);
  });
  assertEquals(reports, []);
});

Deno.test("An operation that is collected unused is reported while the loop runs", async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { getRunningLoop, run, sleep } from "@rota/rota";
    await run(function* () {
      let told = "";
      getRunningLoop().setExceptionHandler((_, { message }) => told = message);
      sleep(7);
      for (let pass = 0; pass < 1_000 && told === ""; pass++) {
        yield* sleep(1);
        gc();
      }
      console.log(told);
    }, { debug: true });
  `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: 'sleep() was never waited for: use "yield*" or "await"\n',
    stderr: "",
  });
});

Deno.test("A loop in debug mode that is collected before it is closed is told of, with its origin", async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { newEventLoop } from "@rota/rota";
    const forget = (debug) => void newEventLoop({ debug, host: "virtual" });
    const close = async () => {
      await using loop = newEventLoop({ debug: true, host: "virtual" });
    };
    forget(true);
    forget(false);
    await close();
    for (let pass = 0; pass < 20; pass++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      gc();
    }
  `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals({ code, stdout }, { code: 0, stdout: "" });
  assertEquals(stderr.match(/never closed/g)?.length, 1, stderr);
  assert(/created at:\n(.*\n)*.*at forget/.test(stderr), stderr);
});

Deno.test("Debug mode watches more than the first 1,000 operations, else only those", async () => {
  for (
    const [debug, expected] of [["true", "1200"], ["false", "1000"]] as const
  ) {
    const { stdout, stderr } = await runProgram(`
      import { getRunningLoop, newEventLoop, run, sleep } from "@rota/rota";
      let reports = 0;
      await run(function* () {
        for (let count = 0; count < 1_200; count++) sleep(0);
      }, {
        debug: ${debug},
        slowCallbackMs: Infinity,
        loopFactory: (options) => {
          const loop = newEventLoop(options);
          loop.setExceptionHandler(() => reports++);
          return loop;
        },
      });
      console.log(reports);
    `);
    assertEquals(stdout, `${expected}\n`, stderr);
  }
});

Deno.test("A task that is destroyed pending is reported with where it was made", async () => {
  const { loop, reports } = openLoop(DEBUG);
  loop.createTask(function* () {
    yield* sleep(10);
  }, { name: "abandoned" });
  await runTurns(loop);
  await loop.close();
  assertEquals(reports.length, 1);
  assertMatch(reports[0]!.message, /Task "abandoned" was destroyed/);
  assertMatch(reports[0]!.creationStack!, /debug_test\.ts/);
});

Deno.test("Failures nobody looked at come with where the task was made", async () => {
  const { loop, reports } = openLoop(DEBUG);
  loop.createTask(function* () {
    throw new Error("lost");
  });
  await runTurns(loop, 3);
  await loop.close();
  assertMatch(reports[0]!.creationStack!, /debug_test\.ts/);
});

Deno.test("creationStack() of a task is there in debug mode only, and starts where the user was", async () => {
  await using loop = newEventLoop(DEBUG);
  loop.setExceptionHandler(() => {});
  const task = loop.createTask(function* () {});
  assertMatch(task.creationStack()!, /debug_test\.ts/);
  loop.debug = false;
  assertEquals(loop.createTask(function* () {}).creationStack(), undefined);
  await runTurns(loop);
});

Deno.test("A future of another loop is refused at the wait, in both styles", async () => {
  await using other = newEventLoop(DEBUG);
  const future = other.createFuture<void>("a foreign answer");
  const reports = await reportsOf(async () => {
    await assertRejects(
      () =>
        run(function* () {
          yield* future;
        }, DEBUG),
      MisuseError,
      "Cannot wait for a foreign answer: it belongs to another event loop",
    );
    await assertRejects(
      async () => {
        await future;
      },
      MisuseError,
      "Cannot wait for a foreign answer: it belongs to another event loop",
    );
  });
  assertEquals(reports, []);
  assertEquals(future.done(), false);
});

Deno.test("Debug mode refuses coroutine functions as callbacks, and changes nothing", async () => {
  await using loop = newEventLoop(DEBUG);
  const future = loop.createFuture<void>();
  const coroutines = [
    async function work() {},
    function* work() {},
    async function* work() {},
  ];
  for (const coroutine of coroutines) {
    for (
      const schedule of [
        () => loop.callSoon(coroutine),
        () => loop.callLater(1, coroutine),
        () => loop.callAt(1, coroutine),
        () => loop.addReader(0, coroutine),
        () => loop.addSignalHandler("SIGUSR2", coroutine),
        () => future.addDoneCallback(coroutine),
      ]
    ) {
      assertThrows(
        schedule,
        TypeError,
        "callback must be a plain function: received",
      );
    }
  }
  const { ready, timers, signals, descriptors } = loop.stats();
  assertEquals({ ready, timers, signals, descriptors }, {
    ready: 0,
    timers: 0,
    signals: 0,
    descriptors: 0,
  });
});

Deno.test("Nothing changes in the order of events by debug mode", async () => {
  const trace = async (debug: boolean) => {
    const { loop } = openLoop({ debug });
    const log: string[] = [];
    const worker = (name: string) => async () => {
      for (let step = 0; step < 3; step++) {
        await sleep(step);
        log.push(`${name} ${step} at ${loop.time()} in ${loop.stats().turns}`);
      }
    };
    await loop.runUntilComplete(async () => {
      await Promise.all([
        loop.createTask(worker("a")),
        loop.createTask(worker("b")),
      ]);
    });
    await loop.close();
    return log;
  };
  assertEquals(await trace(true), await trace(false));
});

Deno.test("A debug mode that is switched on late does not trip over what was made before", async () => {
  const { loop, reports } = openLoop({ debug: false });
  const error = new Error("no");
  loop.callSoon(() => {
    throw error;
  });
  const task = loop.createTask(function* () {
    yield* sleep(10);
  });
  loop.debug = true;
  await runTurns(loop);
  assertEquals(reports.map(({ exception }) => exception), [error]);
  assertEquals(task.creationStack(), undefined);
  await loop.close();
  assertInstanceOf(reports[1]?.task, Object);
});

for (
  const [flags, value, expected] of [
    [["--allow-env"], "1", "true"],
    [["--allow-env=ROTA_DEBUG"], "1", "true"],
    [[], "1", "false"],
    [["--deny-env"], "1", "false"],
    [["--allow-env"], "0", "false"],
    [["--allow-env"], "", "false"],
  ] as const
) {
  Deno.test(`ROTA_DEBUG=${value || "(empty)"} with ${flags.join() || "no permission"}: debug is ${expected}, nothing is asked`, async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import { newEventLoop } from "@rota/rota";
      const loop = newEventLoop();
      console.log(loop.debug);
      const explicit = newEventLoop({ debug: ${expected === "false"} });
      console.log(explicit.debug);
      await loop.close();
      await explicit.close();
    `,
      { flags, env: { ROTA_DEBUG: value } },
    );
    assertEquals({ code, stdout, stderr }, {
      code: 0,
      stdout: `${expected}\n${expected === "false"}\n`,
      stderr: "",
    });
  });
}
