/**
 * Deadlocks: every task waits, and nothing is left that could wake one.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "@std/assert";
import {
  DeadlockError,
  type EventLoop,
  type EventLoopOptions,
  type ExceptionContext,
  newEventLoop,
  run,
  sleep,
  until,
} from "../mod.ts";
import { ManualHost } from "./support/manual_host.ts";
import { collectReports, openLoop } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";

const VIRTUAL = { host: "virtual" } as const;

Deno.test("On the virtual host a deadlock rejects the run and names the tasks and their waits", async () => {
  await using loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler(() => {});
  const error = await assertRejects(() =>
    loop.runUntilComplete(function* () {
      const future = loop.createFuture<void>("an answer");
      const child = loop.createTask(async () => {
        await future;
      }, { name: "child" });
      loop.createTask(async () => {
        await Promise.all([sleep(Infinity), future]);
      }, { name: "several" });
      yield* child;
    }), DeadlockError);
  const [main, ...others] = error.tasks;
  assertEquals(main?.waitsFor, 'task "child"');
  assertEquals(others, [
    { name: "child", waitsFor: "an answer" },
    { name: "several", waitsFor: "sleep() and an answer" },
  ]);
  assertEquals(
    error.message,
    "Every task waits, and nothing is left that could wake one:\n" +
      `  task "${main?.name}" waits for task "child"\n` +
      '  task "child" waits for an answer\n' +
      '  task "several" waits for sleep() and an answer',
  );
});

Deno.test("run() on the virtual host rejects with the DeadlockError, after the tasks have cleaned up", async () => {
  let clean = false;
  await assertRejects(() =>
    run(function* () {
      try {
        yield* sleep(Infinity);
      } finally {
        clean = true;
      }
    }, VIRTUAL), DeadlockError);
  assertEquals(clean, true);
});

Deno.test("A loop whose run ended in a deadlock can be run again", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const future = loop.createFuture<number>();
  const main = loop.createTask(function* () {
    return yield* future;
  });
  await assertRejects(() => loop.runUntilComplete(main), DeadlockError);
  assertEquals(loop.isRunning(), false);
  loop.callLater(5, () => future.setResult(1));
  assertEquals(await loop.runUntilComplete(main), 1);
});

Deno.test("Creation stacks are part of the error in debug mode", async () => {
  await using loop = newEventLoop({ ...VIRTUAL, debug: true });
  loop.setExceptionHandler(() => {});
  const error = await assertRejects(() =>
    loop.runUntilComplete(function* () {
      yield* sleep(Infinity);
    }), DeadlockError);
  assertMatch(error.tasks[0]!.creationStack!, /deadlock_test\.ts/);
});

Deno.test("A timer, even a far one, is no deadlock; timers at Infinity are none either way", async () => {
  await using loop = newEventLoop(VIRTUAL);
  loop.callAt(Infinity, () => {});
  const future = loop.createFuture<void>();
  loop.callAt(2 ** 50, () => future.setResult());
  await loop.runUntilComplete(future);
  assertEquals(loop.time(), 2 ** 50);
});

Deno.test("runForever() on the virtual host waits for whoever calls in", async () => {
  const { loop, reports } = openLoop();
  const future = loop.createFuture<void>();
  loop.createTask(function* () {
    yield* future;
    loop.stop();
  });
  const ended = loop.runForever();
  await new Promise((resolve) => setImmediate(resolve));
  future.setResult();
  await ended;
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A task in a foreign promise or in until() is never called deadlocked", async () => {
  const { loop, reports } = openLoop();
  const outside = Promise.withResolvers<void>();
  const inUntil = Promise.withResolvers<void>();
  const never = loop.createFuture<void>();
  const parked = loop.createTask(function* () {
    yield* never;
  });
  const main = loop.createTask(async () => {
    await outside.promise;
    const other = loop.createTask(function* () {
      yield* until(inUntil.promise);
    });
    await other;
    never.setResult();
    await parked;
    return loop.time();
  });
  loop.callAt(500, () => {});
  const ended = loop.runUntilComplete(main);
  for (let pass = 0; pass < 5; pass++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assertEquals(loop.time(), 0, "the clock stands still meanwhile");
  outside.resolve();
  for (let pass = 0; pass < 5; pass++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assertEquals(loop.time(), 0);
  inUntil.resolve();
  assertEquals(await ended, 0);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test('outsideWaits: "ignore" moves the clock and calls deadlocks all the same', async () => {
  await using loop = newEventLoop({ ...VIRTUAL, outsideWaits: "ignore" });
  loop.setExceptionHandler(() => {});
  let ranAtMs = 0;
  loop.callAt(500, () => ranAtMs = loop.time());
  const error = await assertRejects(
    () =>
      loop.runUntilComplete(async () => {
        await Promise.withResolvers<void>().promise;
      }),
    DeadlockError,
  );
  assertEquals(ranAtMs, 500);
  assertEquals(error.tasks[0]!.waitsFor, "a promise outside the loop");
});

Deno.test("The virtual host can be told to report, once, or to ignore", async () => {
  for (const deadlock of ["report", "ignore"] as const) {
    const { loop, reports } = openLoop({ deadlock });
    const future = loop.createFuture<void>("an answer");
    const main = loop.createTask(function* () {
      yield* future;
    }, { name: "main" });
    const ended = loop.runUntilComplete(main);
    await new Promise((resolve) => setImmediate(resolve));
    loop.callLater(10, () => {});
    await new Promise((resolve) => setImmediate(resolve));
    assertEquals(reports.length, deadlock === "report" ? 1 : 0);
    if (deadlock === "report") {
      assertInstanceOf(reports[0]!.exception, DeadlockError);
    }
    future.setResult();
    await ended;
    await loop.close();
  }
});

// -- Hosts with a real clock, in time-lapse --

/** A loop on a host whose clock the test moves, with one task that waits for ever. */
function openWaiting(
  options: EventLoopOptions,
): {
  host: ManualHost;
  loop: EventLoop;
  reports: ExceptionContext[];
  ended: Promise<unknown>;
  free: () => void;
} {
  const host = new ManualHost();
  const loop = newEventLoop({ host, ...options });
  const reports = collectReports(loop);
  const future = loop.createFuture<void>("an answer");
  const main = loop.createTask(function* () {
    yield* future;
  }, { name: "main" });
  const ended = loop.runUntilComplete(main).then(
    () => "done",
    (error) => error,
  );
  return {
    host,
    loop,
    reports,
    ended,
    free: () => future.done() || future.setResult(),
  };
}

/** Lets a loop without a clock of its own do what it has to do. */
async function microtasks(): Promise<void> {
  for (let hop = 0; hop < 30; hop++) await Promise.resolve();
}

for (
  const [name, options] of [
    ['"report"', { deadlock: "report" }],
    ["debug mode", { debug: true }],
  ] as const
) {
  Deno.test(`On a real clock ${name} reports a deadlock after a second, once, and the run goes on`, async () => {
    const { host, loop, reports, ended, free } = openWaiting(options);
    await host.parked();
    assertEquals(host.deadlineMs, 1_000);
    assertEquals(host.holds, true, "the process must live to tell");
    await host.runUntil(999);
    assertEquals(reports, []);
    host.advanceTo(1_000);
    await host.parked();
    assertEquals(reports.length, 1);
    assertInstanceOf(reports[0]!.exception, DeadlockError);
    assertEquals(
      reports[0]!.message,
      "Every task waits, and nothing is left that could wake one:\n" +
        '  task "main" waits for an answer',
    );
    assertEquals([host.deadlineMs, host.holds], [Infinity, false]);
    loop.callSoon(() => {});
    await microtasks();
    await host.parked();
    assertEquals(host.deadlineMs, Infinity, "it is told once");
    free();
    assertEquals(await ended, "done");
    await loop.close();
    assertEquals(reports.length, 1);
  });
}

Deno.test('On a real clock "error" rejects the run after a second', async () => {
  const { host, loop, reports, ended } = openWaiting({ deadlock: "error" });
  await host.parked();
  host.advanceTo(1_000);
  const error = await ended;
  assertInstanceOf(error, DeadlockError);
  assertEquals(error.tasks, [{ name: "main", waitsFor: "an answer" }]);
  assertEquals(reports, []);
  await loop.close();
});

Deno.test('On a real clock nothing is said by default, nor with "ignore"', async () => {
  for (
    const options of [{ debug: false }, {
      debug: true,
      deadlock: "ignore",
    }] as const
  ) {
    const { host, loop, reports, ended, free } = openWaiting(options);
    await host.parked();
    assertEquals([host.deadlineMs, host.holds], [Infinity, false]);
    free();
    assertEquals(await ended, "done");
    await loop.close();
    assertEquals(reports, []);
  }
});

Deno.test("The second begins anew with everything that happens", async () => {
  const { host, loop, reports, ended, free } = openWaiting({
    deadlock: "report",
  });
  await host.parked();
  host.nowMs = 600;
  loop.callSoon(() => {});
  await microtasks();
  await host.parked();
  assertEquals(host.deadlineMs, 1_600, "somebody called in");
  host.nowMs = 1_500;
  loop.callAt(2_000, () => {});
  await microtasks();
  assertEquals(host.deadlineMs, 2_000, "a timer is pending");
  host.advanceTo(2_000);
  await host.parked();
  assertEquals(host.deadlineMs, 3_000, "a second after the timer");
  assertEquals(reports, []);
  host.advanceTo(3_000);
  await host.parked();
  assertEquals(reports.length, 1);
  free();
  await ended;
  await loop.close();
});

Deno.test("Whatever might still wake a task keeps the loop from calling a deadlock", async () => {
  const ways: Record<string, (loop: EventLoop) => () => void> = {
    "a reader": (loop) => {
      loop.addReader(0, () => {});
      return () => loop.removeReader(0);
    },
    "a signal handler": (loop) => {
      loop.addSignalHandler("SIGUSR2", () => {});
      return () => loop.removeSignalHandler("SIGUSR2");
    },
    "until()": (loop) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      loop.createTask(function* () {
        yield* until(promise);
      });
      return resolve;
    },
    "a task in a foreign promise": (loop) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      loop.createTask(async () => {
        await promise;
      });
      return resolve;
    },
    "a timer": (loop) => {
      const timer = loop.callAt(1e9, () => {});
      return () => timer.cancel();
    },
  };
  for (const [name, begin] of Object.entries(ways)) {
    const { host, loop, reports, ended, free } = openWaiting({
      deadlock: "report",
    });
    const end = begin(loop);
    await host.parked();
    await microtasks();
    assert(host.deadlineMs! >= 1e9, `${name}: ${host.deadlineMs}`);
    end();
    await microtasks();
    await host.parked();
    assertEquals(host.deadlineMs, 1_000, `after the end of ${name}`);
    free();
    await ended;
    await loop.close();
    assertEquals(reports, [], name);
  }
});

Deno.test('deadlock: "error" ends a program that would hang, on every real host', async () => {
  for (const host of ["portable", "native", "poll"] as const) {
    const { code, killed, stdout, stderr } = await runProgram(`
      import { DeadlockError, run, sleep } from "@rota/rota";
      await run(function* () {
        yield* sleep(Infinity);
      }, { host: "${host}", deadlock: "error", name: "main" }).catch((error) => {
        console.log(error instanceof DeadlockError, error.tasks);
      });
    `);
    assertEquals({ code, killed, stdout, stderr }, {
      code: 0,
      killed: false,
      stdout: 'true [ { name: "main", waitsFor: "sleep()" } ]\n',
      stderr: "",
    });
  }
});

Deno.test("In debug mode a hanging program says what it hangs on before it is interrupted", async () => {
  const { stdout, stderr } = await runProgram(`
    import { run, sleep } from "@rota/rota";
    run(function* () {
      yield* sleep(Infinity);
    }, { debug: true, name: "main", handleInterrupt: false });
  `);
  assertEquals(stdout, "");
  assertMatch(
    stderr,
    /rota: Every task waits[^]*task "main" waits for sleep\(\)/,
  );
});

Deno.test("A virtual clock that stands still for something outside is reported once a run, by the names of the tasks", async () => {
  const { loop, reports } = openLoop(VIRTUAL);
  const { promise, resolve } = Promise.withResolvers<string>();
  const told = Promise.withResolvers<void>();
  loop.setExceptionHandler((_loop, context) => {
    reports.push(context);
    told.resolve();
  });
  const ended = loop.runUntilComplete(function* () {
    const child = loop.createTask(async () => {
      await promise;
      await sleep(10);
    }, { name: "child" });
    yield* until(promise);
    yield* child;
    return loop.time();
  });
  await told.promise;
  resolve("an answer");
  assertEquals(await ended, 10);
  assertEquals(reports.length, 1);
  assertMatch(
    reports[0]!.message,
    /^The virtual clock has stood still for a second[^]*waits for a promise in until\(\)\n {2}task "child" waits for a promise outside the loop$/,
  );
  await loop.close();
});
