/**
 * Rules of graceful shutdown on a virtual clock: several runs on one loop, loops that leave early, tasks that are made
 * late, supervised children, time that parts of a phase leave to the next.
 *
 * @module
 */
import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  createTask,
  getRunningLoop,
  newEventLoop,
  run,
  Runner,
  sleep,
  taskGroup,
} from "../../mod.ts";
import { HookTooLateError, MisuseError } from "../../src/errors.ts";
import { core } from "../../src/loop/core.ts";
import type { RestartType } from "../../src/supervise/child_spec.ts";
import {
  type GracefulShutdown,
  gracefulShutdown,
  onShutdown,
  waitForShutdown,
} from "../../src/supervise/graceful_shutdown.ts";
import type { ShutdownReport } from "../../src/supervise/shutdown_report.ts";
import { SHUTDOWN_PHASES } from "../../src/supervise/shutdown_timetable.ts";
import { ShutdownCore } from "../../src/supervise/shutdown_core.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { type Awaitable, inStyle, STYLES } from "../support/styles.ts";
import { playShutdown } from "./support/shutdowns.ts";
import { play, Stage } from "./stage.ts";

const now = () => getRunningLoop().time();

// -- Several runs on one loop --

for (const style of STYLES) {
  Deno.test(`A shutdown that the first run of a runner has asked for drains the second (${style})`, async () => {
    let report: ShutdownReport | undefined;
    await using runner = new Runner({ host: "virtual" });
    let shutdown: GracefulShutdown | undefined;
    await runner.run(inStyle(style, function* () {
      shutdown = gracefulShutdown({
        budgetMs: 1_000,
        onReport: (given) => report = given,
      });
      yield sleep(5);
    }));
    const result = await runner.run(inStyle(style, function* () {
      assertStrictEquals(gracefulShutdown(), shutdown);
      shutdown!.begin("enough");
      yield sleep(100);
      return "drained";
    }));
    assertEquals(result, "drained");
    assertEquals([report?.code, report?.durationMs], [0, 100]);
    await assertRejects(
      () => runner.run(inStyle(style, function* () {})),
      Error,
      "Interrupted by enough",
    );
  });

  Deno.test(`A shutdown in which a loop takes part before its first run drains that (${style})`, async () => {
    await using runner = new Runner({ host: "virtual" });
    const shutdown = gracefulShutdown({
      loop: runner.getLoop(),
      budgetMs: 1_000,
      onReport: () => {},
    });
    const result = await runner.run(inStyle(style, function* () {
      shutdown.begin();
      yield sleep(100);
      return "drained";
    }));
    assertEquals(result, "drained");
    assertEquals(shutdown.report?.code, 0);
    assertEquals(runner.getLoop().isClosed(), false);
  });

  Deno.test(`A main that is cancelled in its second run interrupts that (${style})`, async () => {
    await using runner = new Runner({ host: "virtual" });
    await runner.run(inStyle(style, function* () {
      gracefulShutdown({ budgetMs: 1_000, onReport: () => {} });
    }));
    await assertRejects(
      () =>
        runner.run(inStyle(style, function* () {
          gracefulShutdown().begin("enough");
          yield sleep(Infinity);
        })),
      Error,
      "Interrupted by enough",
    );
  });
}

for (const style of STYLES) {
  Deno.test(`Hooks that go on in the moment in which main ends find a loop that runs (${style})`, async () => {
    // Main, its clean-up and the hooks take more turns each, so that all orders occur.
    for (let mainTurns = 0; mainTurns < 3; mainTurns++) {
      const log: number[] = [];
      const { report, told } = await playShutdown((shutdown) => {
        const loop = getRunningLoop();
        const moment = loop.createFuture<void>();
        loop.callLater(20, () => moment.setResult());
        for (let turns = 0; turns < 8; turns++) {
          onShutdown("drain", async () => {
            await moment;
            for (let left = turns; left > 0; left--) await sleep(0);
            assertStrictEquals(getRunningLoop(), loop);
            await sleep(5);
            onShutdown("cancel", () => log.push(turns));
          });
        }
        shutdown.begin();
        return inStyle(style, function* () {
          yield moment;
          for (let left = mainTurns; left > 0; left--) yield sleep(0);
        })();
      });
      assertEquals(log, [0, 1, 2, 3, 4, 5, 6, 7]);
      assertEquals([report.code, told], [0, []]);
    }
  });
}

// -- Loops that leave early --

Deno.test("A loop that is closed in the middle of the shutdown reports what it has left, and what did not run", async () => {
  const loop = newEventLoop({ host: "virtual" });
  const reports: ShutdownReport[] = [];
  const shutdown = gracefulShutdown({
    loop,
    budgetMs: 1_000,
    onReport: (report) => reports.push(report),
  });
  loop.createTask(async () => {
    onShutdown("not-ready", () => {});
    onShutdown("stop-intake", async () => {
      await sleep(5);
      loop.stop();
      await sleep(5_000);
    }, { name: "stops" });
    onShutdown("drain", () => {}, { name: "flush" });
    onShutdown("force", () => {}, { name: "kill" });
    await sleep(10);
    shutdown.begin("stop");
    await sleep(5_000);
  }, { name: "worker" });
  await loop.runForever();
  assertEquals(reports, []);
  await loop.close();
  assertEquals(reports.length, 1);
  const [report] = reports;
  assertEquals(report?.code, 1);
  assertEquals(
    report?.stragglers.map(({ kind, name, phase, waitsFor }) =>
      `${kind} ${name}, ${phase}: ${waitsFor}`
    ),
    [
      "hook stops, stop-intake: sleep()",
      "hook flush, drain: its phase, which was not reached",
      "hook kill, force: its phase, which was not reached",
      "task worker, stop-intake: sleep()",
    ],
  );
  assertEquals(report?.phases.map(({ phase }) => phase), [
    "not-ready",
    "pre-stop",
    "stop-intake",
  ]);
  assertThrows(
    () => shutdown.onShutdown("force", () => {}),
    HookTooLateError,
  );
});

Deno.test("A loop that is closed before the first phase has begun concludes its shutdown", async () => {
  const loop = newEventLoop({ host: "virtual" });
  const shutdown = gracefulShutdown({ loop, onReport: () => {} });
  shutdown.onShutdown("drain", () => {}, { name: "flush" });
  shutdown.begin();
  await loop.close();
  const report = shutdown.report;
  assertEquals([report?.code, report?.phases], [1, []]);
  assertEquals(report?.stragglers.map(({ name, forMs }) => [name, forMs]), [
    ["flush", 0],
  ]);
});

Deno.test('A loop that is closed in the phase "cancel" is not waited for any more', async () => {
  const shutdown = new ShutdownCore();
  const [going, closing] = [newEventLoop(), newEventLoop()];
  for (const loop of [going, closing]) {
    loop.setExceptionHandler(() => {}); // the task that is left is told of
    shutdown.join(loop, null, {
      budgetMs: Infinity, // so that nothing but the ends of parts ends a phase
      exit: false,
      signals: [],
      onReport: () => {},
    });
  }
  closing.createTask(() => sleep(Infinity), { name: "left" });
  let turns = 0;
  const closeLast = () => {
    if (shutdown.phase === "cancel") turns++;
    if (turns === 10) void closing.close();
    if (turns === 100) going.stop(); // it is waited for
    else going.callSoon(closeLast);
  };
  going.callSoon(() => {
    shutdown.begin("stop");
    closeLast();
  });
  await going.runForever(); // the end of the shutdown stops it
  const { report } = shutdown;
  await going.close();
  assertEquals(
    report?.stragglers.map(({ name, phase }) => `${name}, ${phase}`),
    ["left, cancel"],
  );
});

// -- Scopes --

Deno.test("A loop that takes part in the shutdown of the process gets none of its own, and the other way round", async () => {
  const result = await run(async () => {
    const shutdown = gracefulShutdown({ signals: [] });
    assertThrows(
      () => gracefulShutdown({ scope: "loop" }),
      MisuseError,
      'Cannot set up graceful shutdown with scope "loop": the loop takes part in the shutdown of the process',
    );
    assertStrictEquals(gracefulShutdown(), shutdown);
    return await "done";
  }, { host: "portable" });
  assertEquals(result, "done");
  await run(async () => {
    const shutdown = gracefulShutdown({ scope: "loop" });
    assertThrows(
      () => gracefulShutdown({ scope: "process", signals: [] }),
      MisuseError,
      'Cannot set up graceful shutdown with scope "process": the loop has a shutdown of its own',
    );
    assertStrictEquals(gracefulShutdown(), shutdown);
    await sleep(0);
  }, { host: "portable" });
});

// -- Tasks that are made late --

for (const style of STYLES) {
  /** Has a task made in the turn in which the phase `"cancel"` is over. */
  const makeLate = (shutdown: GracefulShutdown, ms: number) =>
    inStyle(style, function* () {
      const loop = getRunningLoop();
      const late = inStyle(style, function* () {
        try {
          yield sleep(Infinity);
        } finally {
          yield sleep(ms);
        }
      });
      const helper = createTask(
        inStyle(style, function* () {
          yield sleep(Infinity);
        }),
      );
      helper.addDoneCallback(() => {
        loop.callSoon(() => loop.createTask(late, { name: "late" }));
      });
      shutdown.begin("stop");
      yield waitForShutdown();
      yield sleep(1);
    })();

  Deno.test(`A task that is made after the phase "cancel" is cancelled, and may end in the phase "force" (${style})`, async () => {
    const { report, told } = await playShutdown((shutdown) =>
      makeLate(shutdown, 30)
    );
    assertEquals([report.code, report.durationMs], [0, 31]);
    assertEquals(report.phases.at(-1)?.phase, "force");
    assertEquals(told, []);
  });

  Deno.test(`A task that is made after the phase "cancel" and does not end is in the report (${style})`, async () => {
    const { report } = await playShutdown((shutdown) =>
      makeLate(shutdown, 5_000)
    );
    assertEquals([report.code, report.durationMs], [1, 1_000]);
    assertEquals(
      report.stragglers.map(({ kind, name, phase }) =>
        `${kind} ${name}, ${phase}`
      ),
      ["task late, force"],
    );
  });

  Deno.test(`A task that is made when the phase "cancel" runs out of time is in the report (${style})`, async () => {
    const { report } = await playShutdown((shutdown) => {
      const loop = getRunningLoop();
      createTask(async () => {
        await new Promise(() => {});
      }, { name: "stuck" });
      // Registered in the phase, the timer is due right after the end of that.
      onShutdown("cancel", () => {
        loop.callAt(950, () => {
          createLate(loop);
        });
      });
      const createLate = (on: typeof loop) =>
        on.createTask(
          inStyle(style, function* () {
            for (;;) {
              try {
                yield sleep(Infinity);
              } catch {
                // goes on
              }
            }
          }),
          { name: "late" },
        );
      shutdown.begin();
      return inStyle(style, function* () {
        yield waitForShutdown();
      })();
    });
    assertEquals(report.code, 1);
    assertEquals(
      report.stragglers.map(({ name, phase }) => `${name}, ${phase}`),
      ["stuck, cancel", "late, force"],
    );
  });
}

// -- Hooks --

Deno.test("A hook of each phase registers too late for its own phase and those before", async () => {
  for (const [index, during] of SHUTDOWN_PHASES.entries()) {
    const refused: string[] = [];
    const ran: string[] = [];
    await playShutdown(async (shutdown) => {
      if (during === "force") createTask(() => new Promise(() => {}));
      onShutdown(during, () => {
        for (const phase of SHUTDOWN_PHASES) {
          try {
            onShutdown(phase, () => ran.push(phase));
          } catch (error) {
            assertEquals(error instanceof HookTooLateError, true);
            refused.push(phase);
          }
        }
      });
      shutdown.begin();
      await waitForShutdown();
    });
    assertEquals(refused, SHUTDOWN_PHASES.slice(0, index + 1), during);
    const reached = during === "force" ? 6 : 5; // "force" is skipped if all has stopped
    assertEquals(ran, SHUTDOWN_PHASES.slice(index + 1, reached), during);
  }
});

Deno.test("A phase takes as long as its slowest part, and what it does not use goes to the next", async () => {
  // Durations of the hooks of each phase, when each phase is to be over, and how long each has taken. The timetable of a
  // budget of 1,000 ms is 50, 100, 200, 800, 950, 1,000.
  const table: [hooks: number[][], took: number[], stragglers: number][] = [
    [[[1, 2, 3], [], [4, 4], [5]], [3, 0, 4, 5, 0], 0],
    // What "not-ready" leaves goes to "pre-stop", and so on.
    [[[10], [60], [129], [600]], [10, 60, 129, 600, 0], 0],
    [[[49], [50], [100], [600]], [49, 50, 100, 600, 0], 0],
    [[[10, 20], [79], [100], [600]], [20, 79, 100, 600, 0], 0],
    // A phase that takes longer than that is left at its moment, and takes nothing from the next.
    [[[60], [49], [100], [600]], [50, 49, 100, 600, 0], 1],
    [[[10, 500, 20], [200, 1], [300], [1]], [50, 50, 100, 1, 0], 3],
    [[[0], [0], [0], [900]], [0, 0, 0, 800, 0], 1],
    [[[], [], [], [799], [150]], [0, 0, 0, 799, 150], 0],
    [[[], [], [], [799, 1], [160, 2]], [0, 0, 0, 799, 151], 1],
  ];
  for (const style of STYLES) {
    for (const [hooks, took, stragglers] of table) {
      const { report } = await playShutdown((shutdown) => {
        for (const [index, durations] of hooks.entries()) {
          for (const ms of durations) {
            onShutdown(
              SHUTDOWN_PHASES[index]!,
              inStyle(style, function* () {
                yield sleep(ms);
              }),
            );
          }
        }
        shutdown.begin();
        return inStyle(style, function* () {
          yield waitForShutdown();
        })();
      });
      const label = `${JSON.stringify(hooks)}, ${style}`;
      const durations = report.phases.map(({ durationMs }) => durationMs);
      assertEquals(durations.slice(0, 5), took, label);
      assertEquals(report.stragglers.length, stragglers, label);
      assertEquals(report.code, stragglers === 0 ? 0 : 1, label);
      assertEquals(report.durationMs <= 1_000, true, label);
    }
  }
});

Deno.test("At the end no timer of the shutdown is left", async () => {
  let left = NaN;
  let report: ShutdownReport | undefined;
  const loop = newEventLoop({ host: "virtual" });
  loop.setExceptionHandler(() => {});
  const shutdown = gracefulShutdown({
    loop,
    budgetMs: 1_000,
    preStopMs: 10,
    onReport: (given) => {
      report = given;
      left = (loop[core].timers as unknown as { size: number }).size;
    },
  });
  loop.callSoon(() => {
    loop.createTask(function* () {
      for (let left = 5; left > 0; left--) {
        try {
          yield* loop.createFuture();
        } catch {
          // is not impressed
        }
      }
    });
    for (const phase of SHUTDOWN_PHASES) {
      for (const timeoutMs of [undefined, 0, 3, 10_000]) {
        onShutdown(phase, () => {}, { timeoutMs });
        onShutdown(phase, () => sleep(2), { timeoutMs });
        onShutdown(phase, () => sleep(5_000), { timeoutMs });
        onShutdown(phase, () => Promise.reject(new Error("oh")), { timeoutMs });
      }
    }
    shutdown.begin();
  });
  await loop.runForever();
  await loop.close();
  assertEquals([left, report?.code], [0, 1]);
});

// -- Supervised children --

for (const style of STYLES) {
  for (const restart of ["permanent", "transient", "temporary"] as const) {
    Deno.test(`A ${restart} child that the signal of the shutdown cancels is not restarted (${style})`, async () => {
      const { log, told, report } = await playSupervised(
        style,
        restart,
        (shutdown) => {
          const group = taskGroup(
            inStyle(style, function* () {
              yield sleep(Infinity);
            }),
            { signal: shutdown.signal },
          );
          return group as Awaitable;
        },
      );
      assertEquals(log, ["start", `ended by shutdown, ${stateAfter(restart)}`]);
      assertEquals([told, report.code], [[], 0]);
    });
  }

  Deno.test(`A child whose helper the shutdown cancels is not restarted (${style})`, async () => {
    const { log, told, report } = await playSupervised(
      style,
      "permanent",
      () =>
        getRunningLoop().createTask(inStyle(style, function* () {
          yield sleep(Infinity);
        })) as Awaitable,
    );
    assertEquals(log, ["start", "ended by shutdown, stopped"]);
    assertEquals([told, report.code], [[], 0]);
  });

  Deno.test(`A permanent child that returns when it is told of the shutdown is not restarted (${style})`, async () => {
    const { log, told, report } = await playSupervised(
      style,
      "permanent",
      (shutdown) =>
        taskGroup(
          inStyle(style, function* () {
            yield waitForShutdown();
            assertEquals(shutdown.signal.aborted, true);
          }),
        ) as Awaitable,
    );
    assertEquals(log, ["start", "ended by normal, stopped"]);
    assertEquals([told, report.code], [[], 0]);
  });

  Deno.test(`A child whose restart the shutdown cancels is not restarted again (${style})`, async () => {
    const log: string[] = [];
    const { report, told } = await playShutdown((shutdown) =>
      inStyle(style, function* () {
        const supervisor = new Supervisor({
          reportCrashes: false,
          children: [{
            id: "a",
            start: (started) =>
              inStyle(style, function* () {
                log.push(`start at ${now()}`);
                if (log.length > 1) {
                  yield sleep(Infinity, { signal: shutdown.signal });
                }
                started();
                yield sleep(10);
                throw new Error("crash");
              })() as never,
          }],
        });
        yield supervisor.start();
        yield sleep(20);
        shutdown.begin("stop");
        yield sleep(30);
        log.push(stateOf(supervisor));
        yield supervisor.stop();
      })()
    );
    assertEquals(log, ["start at 0", "start at 10", "stopped"]);
    assertEquals([told, report.code], [[], 0]);
  });

  Deno.test(`A child that crashes during the shutdown is restarted as ever (${style})`, async () => {
    let runs = 0;
    const { log } = await playSupervised(style, "transient", () => {
      const loop = getRunningLoop();
      const crash = loop.createFuture<void>();
      if (++runs === 1) {
        loop.callLater(20, () => crash.setException(new Error("crash")));
      }
      return crash;
    });
    assertEquals(log.slice(0, 3), ["start", "ended by crash", "start"]);
  });

  Deno.test(`A supervisor that is killed in the middle of a restart starts nothing more (${style})`, async () => {
    const { value, reports } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const inner = new Supervisor({
        name: "inner",
        strategy: "one-for-all",
        children: [
          stage.child("a", { starts: ["ok", 1_000] }),
          stage.child("b", { stop: "never", shutdown: 10_000 }),
        ],
        reportCrashes: false,
      });
      const delayed = new Supervisor({
        name: "delayed",
        backoff: { initialMs: 300, jitter: "none" },
        children: [stage.child("c")],
        reportCrashes: false,
      });
      const top = new Supervisor({
        name: "top",
        children: [
          { id: "delayed", type: "supervisor", start: () => delayed },
          { id: "inner", type: "supervisor", start: () => inner, shutdown: 50 },
        ],
      });
      yield top.start();
      stage.end("c", "crash"); // waits for its restart
      stage.end("a", "crash"); // b has to end first, and does not
      yield sleep(10);
      const began = loop.time();
      yield top.stop();
      const tookMs = loop.time() - began;
      const log = stage.take();
      yield sleep(20_000);
      return { log, later: stage.take(), tookMs };
    });
    assertEquals(value, {
      log: "+c +a +b !c !a -b xb",
      later: "",
      tookMs: 50,
    });
    assertEquals(reports, []);
  });

  Deno.test(`A supervisor that is killed in the middle of a slow restart starts nothing more (${style})`, async () => {
    const { value, reports } = await play(style, function* (loop) {
      const stage = new Stage(style);
      const inner = new Supervisor({
        name: "inner",
        strategy: "rest-for-one",
        children: [
          stage.child("a", { starts: ["ok", 1_000], shutdown: 10_000 }),
          stage.child("b"),
        ],
        reportCrashes: false,
      });
      const top = new Supervisor({
        name: "top",
        children: [
          { id: "inner", type: "supervisor", start: () => inner, shutdown: 50 },
        ],
      });
      yield top.start();
      stage.end("a", "crash"); // b ends, and a takes a second to start
      yield sleep(10);
      const log = stage.take();
      const began = loop.time();
      yield top.stop();
      const tookMs = loop.time() - began;
      yield sleep(20_000);
      return { log, later: stage.take(), tookMs };
    });
    assertEquals(value, { log: "+a +b !a -b !b", later: "", tookMs: 50 });
    assertEquals(reports, []);
  });
}

/** What the child is afterwards: temporary ones are forgotten. */
function stateAfter(restart: RestartType): string {
  return restart === "temporary" ? "gone" : "stopped";
}

/** State of the only child. */
function stateOf(supervisor: Supervisor): string {
  return supervisor.tree().children[0]?.state ?? "gone";
}

/** Shuts down a program with one supervised child that waits for what `wait` gives, and logs its starts and its end. */
async function playSupervised(
  style: typeof STYLES[number],
  restart: RestartType,
  wait: (shutdown: GracefulShutdown) => Awaitable,
) {
  const log: string[] = [];
  const played = await playShutdown((shutdown) =>
    inStyle(style, function* () {
      const supervisor = new Supervisor({
        reportCrashes: false,
        children: [{
          id: "a",
          restart,
          start: (started) =>
            inStyle(style, function* () {
              log.push("start");
              started();
              yield wait(shutdown);
            })() as never,
        }],
      });
      yield supervisor.start();
      supervisor.subscribe((event) => {
        if (event.type !== "ended") return;
        const { end } = event as { end?: { kind: string } };
        log.push(`ended by ${end?.kind}`);
      });
      getRunningLoop().callSoon(() => shutdown.begin("stop"));
      onShutdown("drain", () => sleep(50));
      try {
        yield waitForShutdown();
        yield sleep(Infinity);
      } finally {
        yield sleep(600); // all other tasks are cancelled meanwhile
        log[log.length - 1] += `, ${stateOf(supervisor)}`;
        yield supervisor.stop();
      }
    })(), { waitForMain: false });
  return { log, ...played };
}
