/**
 * Graceful shutdown on a virtual clock: phases, their order, the budget and its timetable, hooks of every kind, the
 * report, bad arguments.
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
  CancelledError,
  type Coroutine,
  type ExceptionContext,
  getRunningLoop,
  InterruptedError,
  isCancellation,
  MisuseError,
  newEventLoop,
  run,
  Runner,
  type RunOptions,
  sleep,
  until,
} from "../../mod.ts";
import { HookTooLateError, LoopClosedError } from "../../src/errors.ts";
import {
  type GracefulShutdown,
  gracefulShutdown,
  onShutdown,
  shutdownSignal,
  waitForShutdown,
} from "../../src/supervise/graceful_shutdown.ts";
import type { RunShutdownOptions } from "../../src/supervise/shutdown_options.ts";
import type { ShutdownReport } from "../../src/supervise/shutdown_report.ts";
import {
  SHUTDOWN_PHASES,
  timetableOf,
} from "../../src/supervise/shutdown_timetable.ts";
import { inStyle, STYLES } from "../support/styles.ts";

/** What is left of a run that was shut down. */
interface Played {
  readonly report: ShutdownReport;
  readonly outcome: string;
  readonly told: ExceptionContext[];
}

/** Runs `main`, which begins a shutdown, on a virtual clock. */
async function play(
  main: (shutdown: GracefulShutdown) => unknown,
  shutdown: RunShutdownOptions = {},
): Promise<Played> {
  const told: ExceptionContext[] = [];
  let facade: GracefulShutdown | undefined;
  const options: RunOptions = {
    host: "virtual",
    name: "main",
    outsideWaits: "ignore",
    shutdown: { budgetMs: 1_000, onReport: () => {}, ...shutdown },
    loopFactory: (options) => {
      const loop = newEventLoop(options);
      loop.setExceptionHandler((_, context) => told.push(context));
      return loop;
    },
  };
  let outcome: string;
  try {
    const result = await run(() => {
      facade = gracefulShutdown();
      return main(facade) as Coroutine<unknown>;
    }, options);
    outcome = `result: ${String(result)}`;
  } catch (error) {
    outcome = String(error);
  }
  const report = facade!.report;
  assert(report !== null);
  return { report, outcome, told };
}

const now = () => getRunningLoop().time();

// -- Phases --

Deno.test("The phases come in their order, and each waits for all hooks of the one before", async () => {
  const log: string[] = [];
  const { report, outcome } = await play(function* (shutdown) {
    for (const phase of [...SHUTDOWN_PHASES].reverse()) {
      onShutdown(phase, () => {
        log.push(`${phase} 1 at ${now()}`);
      });
      onShutdown(phase, async () => {
        await sleep(5);
        log.push(`${phase} 2 at ${now()}`);
      });
      onShutdown(phase, function* () {
        yield* sleep(10);
        log.push(`${phase} 3 at ${now()}, ${shutdown.phase}`);
      });
    }
    assertEquals(shutdown.phase, null);
    assertEquals(shutdown.begin("test"), true);
    assertEquals(shutdown.begin("again"), false);
    yield* waitForShutdown();
    return "done";
  });
  assertEquals(log, [
    "not-ready 1 at 0",
    "not-ready 2 at 5",
    "not-ready 3 at 10, not-ready",
    "pre-stop 1 at 10",
    "pre-stop 2 at 15",
    "pre-stop 3 at 20, pre-stop",
    "stop-intake 1 at 20",
    "stop-intake 2 at 25",
    "stop-intake 3 at 30, stop-intake",
    "drain 1 at 30",
    "drain 2 at 35",
    "drain 3 at 40, drain",
    "cancel 1 at 40",
    "cancel 2 at 45",
    "cancel 3 at 50, cancel",
  ]);
  assertEquals(outcome, "result: done");
  assertEquals(report.code, 0);
  assertEquals(report.reason, "test");
  assertEquals(report.durationMs, 50);
  assertEquals(
    report.phases.map(({ phase, durationMs, hooks }) => [
      phase,
      durationMs,
      hooks,
    ]),
    [
      ["not-ready", 10, 3],
      ["pre-stop", 10, 3],
      ["stop-intake", 10, 3],
      ["drain", 10, 3],
      ["cancel", 10, 3],
    ],
  );
  assertMatch(
    String(report),
    /^rota: shutdown \(test\) took 50 ms of 1,000 ms: all has stopped$/,
  );
});

Deno.test("The signal aborts at the beginning, before anything is cancelled or a hook runs", async () => {
  const log: string[] = [];
  await play(async (shutdown) => {
    const { signal } = shutdown;
    signal.addEventListener("abort", () => {
      assertInstanceOf(signal.reason, CancelledError);
      log.push(`aborted: ${signal.reason.reason}`);
    });
    onShutdown("not-ready", () => log.push("hook"));
    shutdown.begin("SIGTERM");
    log.push("begun");
    try {
      await sleep(5_000);
    } catch (error) {
      log.push(`cancelled: ${(error as CancelledError).reason}`);
      throw error;
    }
  });
  assertEquals(log, [
    "aborted: SIGTERM",
    "begun",
    "hook",
    "cancelled: SIGTERM",
  ]);
  assertEquals(shutdownSignal.aborted, false);
});

Deno.test("The pre-stop delay is kept, and everything goes on meanwhile", async () => {
  const log: string[] = [];
  const { report } = await play(async (shutdown) => {
    onShutdown("stop-intake", () => log.push(`stop at ${now()}`));
    shutdown.begin();
    await sleep(100);
    log.push(`still working at ${now()}`);
    await sleep(150);
  }, { preStopMs: 200 });
  assertEquals(log, ["still working at 100", "stop at 200"]);
  assertEquals(report.code, 0);
  assertEquals(report.durationMs, 250);
});

for (const style of STYLES) {
  Deno.test(`Draining waits for main, and cancelling comes at its moment, with the reason (${style})`, async () => {
    const log: string[] = [];
    const body = inStyle(style, function* () {
      try {
        yield sleep(Infinity);
      } catch (error) {
        assertInstanceOf(error, CancelledError);
        log.push(`${error.reason} at ${now()}`);
        throw error;
      } finally {
        yield sleep(20);
        log.push(`clean at ${now()}`);
      }
    });
    const { report, outcome } = await play((shutdown) => {
      shutdown.begin("SIGTERM");
      return body();
    });
    assertEquals(log, ["SIGTERM at 800", "clean at 820"]);
    assertEquals(outcome, "InterruptedError: Interrupted by SIGTERM");
    assertEquals([report.code, report.durationMs], [0, 820]);
  });

  Deno.test(`Without waitForMain main is cancelled as soon as the hooks are done (${style})`, async () => {
    const body = inStyle(style, function* () {
      yield sleep(Infinity);
    });
    const { report } = await play((shutdown) => {
      onShutdown(
        "drain",
        inStyle(style, function* () {
          yield sleep(30);
        }),
      );
      shutdown.begin("SIGTERM");
      return body();
    }, { waitForMain: false });
    assertEquals([report.code, report.durationMs], [0, 30]);
  });

  Deno.test(`A main that deals with its cancellation decides what run() gives (${style})`, async () => {
    const body = inStyle(style, function* () {
      try {
        yield sleep(Infinity);
      } catch {
        return "stopped in good order";
      }
      return "";
    });
    const { report, outcome } = await play((shutdown) => {
      shutdown.begin();
      return body();
    }, { waitForMain: false });
    assertEquals(outcome, "result: stopped in good order");
    assertEquals(report.code, 0);
  });
}

Deno.test("Hooks run although main has ended, and run() waits for them", async () => {
  const log: string[] = [];
  const { outcome } = await play(function* (shutdown) {
    onShutdown("drain", function* () {
      yield* sleep(100);
      log.push("drained");
    });
    shutdown.begin();
    return "early";
  });
  assertEquals(log, ["drained"]);
  assertEquals(outcome, "result: early");
});

Deno.test("Other tasks are cancelled after main, also those that are made meanwhile", async () => {
  const log: string[] = [];
  const wait = (name: string, then?: () => void) =>
    getRunningLoop().createTask(async () => {
      try {
        await sleep(Infinity);
      } catch (error) {
        log.push(`${name}: ${(error as CancelledError).reason}`);
        then?.();
        throw error;
      }
    }, { name });
  const { report } = await play(async (shutdown) => {
    wait("one", () => wait("late"));
    wait("two");
    shutdown.begin("stop");
    try {
      await sleep(Infinity);
    } finally {
      await sleep(10);
      log.push("main");
    }
  }, { waitForMain: false });
  assertEquals(log, ["main", "one: stop", "two: stop", "late: stop"]);
  assertEquals(report.code, 0);
  assertEquals(report.durationMs, 10);
});

Deno.test("Other tasks are cancelled, too, when main takes its time", async () => {
  const log: string[] = [];
  const { report } = await play(async (shutdown) => {
    getRunningLoop().createTask(async () => {
      try {
        await sleep(Infinity);
      } finally {
        log.push(`helper at ${now()}`);
      }
    });
    shutdown.begin();
    await new Promise(() => {});
  });
  assertEquals(log, ["helper at 875"]);
  assertEquals(report.stragglers.map(({ kind }) => kind), ["main"]);
});

Deno.test("A program that ends by itself is not shut down, and its hooks do not run", async () => {
  const log: string[] = [];
  let shutdown: GracefulShutdown | undefined;
  const result = await run(async () => {
    shutdown = gracefulShutdown();
    onShutdown("cancel", () => log.push("cancel"));
    await sleep(5);
    return "done";
  }, { host: "virtual", shutdown: {} });
  assertEquals([result, log], ["done", []]);
  assertEquals(shutdown!.report, null);
  assertEquals(shutdown!.signal.aborted, false);
  assertThrows(() => shutdown!.begin(), MisuseError, "no loop takes part");
});

Deno.test("An error of main is that of run(), after the hooks have run", async () => {
  const log: string[] = [];
  const { outcome, report } = await play(function* (shutdown) {
    onShutdown("drain", function* () {
      yield* sleep(10);
      log.push("drained");
    });
    shutdown.begin();
    throw new RangeError("main failed");
  });
  assertEquals(outcome, "RangeError: main failed");
  assertEquals(log, ["drained"]);
  assertEquals(report.code, 0);
});

// -- Budget --

Deno.test("The timetable shares the budget out, and draining gets the rest", () => {
  const of = (budgetMs: number, preStopMs = 0, sharesMs = {}) =>
    Object.values(timetableOf({ budgetMs, preStopMs, sharesMs }, "test"));
  assertEquals(of(1_000), [50, 100, 200, 800, 950, 1_000]);
  assertEquals(of(1_000, 200), [40, 280, 360, 840, 960, 1_000]);
  assertEquals(
    of(1_000, 0, { "cancel": 500, "force": 100 }),
    [20, 40, 80, 400, 900, 1_000],
  );
  assertEquals(of(0), [0, 0, 0, 0, 0, 0]);
  assertEquals(of(Infinity), Array(6).fill(Infinity));
  assertThrows(
    () => of(1_000, 600, { cancel: 500 }),
    RangeError,
    "Cannot test as preStopMs and sharesMs must fit into budgetMs: received 1100 ms of 1000 ms",
  );
});

Deno.test("A phase that is over early gives its time to the next ones, one that hangs is left at its moment", async () => {
  const log: string[] = [];
  const { report, told } = await play(async (shutdown) => {
    onShutdown("not-ready", async function registry({ signal, deadlineMs }) {
      assertEquals(deadlineMs, 50);
      try {
        await sleep(5_000);
      } finally {
        log.push(`registry: ${signal.aborted}, ${signal.reason.message}`);
      }
    });
    onShutdown("stop-intake", () => log.push(`intake at ${now()}`));
    onShutdown("drain", async ({ deadlineMs }) => {
      log.push(`drain at ${now()} until ${deadlineMs}`);
      await sleep(400);
    });
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(log, [
    'registry: true, Cancelled: its time in phase "not-ready" of the shutdown is over',
    "intake at 50",
    "drain at 50 until 800",
  ]);
  assertEquals(report.code, 1);
  assertEquals(report.stragglers, [{
    kind: "hook",
    name: "registry",
    phase: "not-ready",
    waitsFor: "sleep()",
    forMs: 50,
  }]);
  assertEquals(report.durationMs, 450);
  assertEquals(told, []);
  assertEquals(
    String(report),
    "rota: shutdown (shutdown) took 450 ms of 1,000 ms: 1 did not stop in time, 0 failed\n" +
      '  hook "registry" did not stop in phase "not-ready": after 50 ms it waited for sleep()',
  );
});

Deno.test("A hook has its own time limit, and the others of its phase do not wait for it", async () => {
  const log: string[] = [];
  const { report } = await play(async (shutdown) => {
    onShutdown("drain", async () => {
      await sleep(Infinity);
    }, { name: "slow", timeoutMs: 100 });
    onShutdown("drain", async () => {
      await sleep(50);
      log.push("other");
    });
    onShutdown("cancel", () => log.push(`cancel at ${now()}`));
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(log, ["other", "cancel at 100"]);
  const [straggler] = report.stragglers;
  assertEquals([straggler?.name, straggler?.forMs], ["slow", 100]);
});

Deno.test("What waits outside the loop is given up at the end, by name and with what it waits for", async () => {
  const log: string[] = [];
  const { report, outcome } = await play(async (shutdown) => {
    getRunningLoop().createTask(async () => {
      await new Promise(() => {});
    }, { name: "outside" });
    onShutdown("drain", async () => {
      await new Promise(() => {});
    }, { name: "foreign", timeoutMs: 30 });
    onShutdown("force", () => log.push(`force at ${now()}`));
    shutdown.begin("SIGTERM");
    await new Promise(() => {});
  });
  assertEquals(log, ["force at 950"]);
  assertEquals(outcome, "InterruptedError: Interrupted by SIGTERM");
  assertEquals(report.code, 1);
  assertEquals(report.durationMs, 1_000);
  assertEquals(
    report.stragglers.map(({ kind, name, phase, waitsFor, forMs }) =>
      `${kind} ${name}, ${phase}: ${waitsFor} for ${forMs}`
    ),
    [
      "hook foreign, drain: a promise outside the loop for 30",
      "main main, cancel: a promise outside the loop for 150",
      "task outside, cancel: a promise outside the loop for 75",
    ],
  );
});

Deno.test("The phase force is left out if all has stopped, and short if no hook is in it", async () => {
  const log: string[] = [];
  const clean = await play(async (shutdown) => {
    onShutdown("force", () => log.push("force"));
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(log, []);
  assertEquals(clean.report.phases.length, 5);
  const stuck = await play(async (shutdown) => {
    shutdown.begin();
    await new Promise(() => {});
  });
  assertEquals(stuck.report.durationMs, 950);
  assertEquals(stuck.report.phases.length, 6);
});

Deno.test("A hook of the phase force may end what hangs, before its time is over", async () => {
  let resolve = () => {};
  const { report } = await play(async (shutdown) => {
    onShutdown("force", () => resolve());
    shutdown.begin();
    await until(() =>
      new Promise<void>((fulfil) => {
        resolve = fulfil;
      })
    ).then(undefined, () => {});
    await new Promise<void>((fulfil) => {
      resolve = fulfil;
    });
  }, { waitForMain: false, budgetMs: 1_000 });
  assertEquals(report.durationMs, 950);
  assertEquals(report.stragglers.length, 1);
});

Deno.test("With no time at all every hook is still called", async () => {
  const log: string[] = [];
  const { report } = await play(async (shutdown) => {
    for (const phase of SHUTDOWN_PHASES.slice(0, 5)) {
      onShutdown(phase, () => log.push(phase));
    }
    shutdown.begin();
    await waitForShutdown();
  }, { budgetMs: 0 });
  assertEquals(log, SHUTDOWN_PHASES.slice(0, 5));
  assertEquals(report.durationMs, 0);
});

Deno.test("Without a budget the shutdown waits for everything", async () => {
  const { report } = await play(async (shutdown) => {
    onShutdown("drain", () => sleep(1e7));
    shutdown.begin();
    await waitForShutdown();
  }, { budgetMs: Infinity });
  assertEquals([report.code, report.durationMs], [0, 1e7]);
  assertMatch(String(report), /took 10,000,000 ms: all has stopped/);
});

Deno.test("Without a budget a phase has the share that is set, from its own beginning", async () => {
  const { report } = await play(async (shutdown) => {
    onShutdown("stop-intake", () => sleep(Infinity), { name: "intake" });
    onShutdown("drain", () => sleep(10_000));
    getRunningLoop().createTask(async () => {
      await new Promise(() => {});
    }, { name: "outside" });
    shutdown.begin();
    await waitForShutdown();
  }, {
    budgetMs: Infinity,
    preStopMs: 70,
    sharesMs: { "stop-intake": 300, "cancel": 40 },
  });
  assertEquals(
    report.stragglers.map(({ name, forMs }) => `${name} ${forMs}`),
    ["intake 300", "outside 40"],
  );
  assertEquals(report.durationMs, 70 + 300 + 10_000 + 40);
});

// -- Hooks --

Deno.test("A hook whose function has no name that is a text is called hook", async () => {
  const named = Object.defineProperty(
    () => {
      throw new Error("oh");
    },
    "name",
    { value: Symbol("flush") },
  );
  const { report } = await play(async (shutdown) => {
    onShutdown("drain", named);
    shutdown.begin();
    await waitForShutdown();
  });
  assertMatch(String(report), /hook "hook" failed in phase "drain": oh/);
});

for (
  const [kind, fail] of [
    ["a plain function", () => {
      throw new RangeError("oh");
    }],
    ["an async function", async () => {
      await sleep(1);
      throw new RangeError("oh");
    }],
    ["a generator function", function* () {
      yield* sleep(1);
      throw new RangeError("oh");
    }],
  ] as const
) {
  Deno.test(`A hook that throws stops nobody, is told once and makes the code 1 (${kind})`, async () => {
    const log: string[] = [];
    const { report, told } = await play(async (shutdown) => {
      onShutdown("drain", fail, { name: "bad" });
      onShutdown("drain", async () => {
        await sleep(10);
        log.push("good");
      });
      onShutdown("cancel", () => log.push("next"));
      shutdown.begin();
      await waitForShutdown();
    });
    assertEquals(log, ["good", "next"]);
    assertEquals(report.code, 1);
    assertEquals(
      report.failures.map(({ name, phase, error }) =>
        `${name} ${phase} ${error}`
      ),
      ["bad drain RangeError: oh"],
    );
    assertEquals(
      told.map(({ message, exception }) => `${message}: ${exception}`),
      ['Shutdown hook "bad" failed in phase "drain": RangeError: oh'],
    );
    assertMatch(String(report), /hook "bad" failed in phase "drain": oh$/);
  });
}

Deno.test("A hook that somebody else cancels counts as failed", async () => {
  const { report } = await play(async (shutdown) => {
    onShutdown("drain", async () => {
      await sleep(10);
    }, { name: "hook" });
    shutdown.begin();
    await sleep(5);
    const { allTasks } = await import("../../mod.ts");
    for (const task of allTasks(getRunningLoop())) {
      if (task.name === "hook") task.cancel("by mistake");
    }
  });
  assertEquals(report.code, 1);
  assert(isCancellation(report.failures[0]?.error));
});

Deno.test("An abandoned hook that fails later is told to the exception handler", async () => {
  const { report, told } = await play(async (shutdown) => {
    onShutdown("drain", async () => {
      try {
        await sleep(Infinity);
      } catch {
        throw new RangeError("too late");
      }
    }, { name: "late", timeoutMs: 10 });
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(report.failures, []);
  assertEquals(report.stragglers.length, 1);
  assertEquals(told.map(({ exception }) => String(exception)), [
    "RangeError: too late",
  ]);
});

Deno.test("Operations and futures that a hook returns are awaited", async () => {
  const { report } = await play(async (shutdown) => {
    const loop = getRunningLoop();
    const future = loop.createFuture<void>();
    loop.callLater(30, () => future.setResult());
    onShutdown("drain", () => future);
    onShutdown("cancel", () => sleep(20));
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(report.durationMs, 50);
});

Deno.test("A hook of the phase cancel keeps its own tasks, and what it leaves behind is cancelled", async () => {
  const log: string[] = [];
  const { report } = await play(async (shutdown) => {
    onShutdown("cancel", async () => {
      const helper = getRunningLoop().createTask(async () => {
        await sleep(20);
        log.push("helper is done");
      });
      getRunningLoop().createTask(async () => {
        await sleep(Infinity);
      }, { name: "left behind" });
      await helper;
    });
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(log, ["helper is done"]);
  assertEquals([report.code, report.durationMs], [0, 20]);
});

Deno.test("A hook can be removed until its phase begins", async () => {
  const log: string[] = [];
  await play(async (shutdown) => {
    const hook = onShutdown("drain", () => log.push("removed"));
    assertEquals([hook.phase, hook.name], ["drain", "hook"]);
    {
      using _ = onShutdown("drain", () => log.push("disposed"));
    }
    const kept = shutdown.onShutdown("drain", () => log.push("kept"));
    assertEquals([hook.remove(), hook.remove()], [true, false]);
    shutdown.begin();
    await waitForShutdown();
    await sleep(1);
    assertEquals(kept.remove(), false);
  });
  assertEquals(log, ["kept"]);
});

Deno.test("A phase that has begun takes no more hooks, later ones do", async () => {
  const log: string[] = [];
  const { report } = await play(async (shutdown) => {
    onShutdown("stop-intake", () => {
      for (const phase of ["not-ready", "pre-stop", "stop-intake"] as const) {
        const error = assertThrows(
          () => onShutdown(phase, () => log.push("never")),
          HookTooLateError,
        );
        assertInstanceOf(error, MisuseError);
        assertEquals(
          error.message,
          `Cannot register a shutdown hook: the phase "${phase}" has begun already`,
        );
      }
      onShutdown("drain", () => log.push("drain"));
    });
    shutdown.begin();
    await waitForShutdown();
  });
  assertEquals(log, ["drain"]);
  assertEquals(report.code, 0);
});

// -- waitForShutdown --

for (const style of STYLES) {
  Deno.test(`waitForShutdown() gives the reason, before and after the beginning, and can be cancelled (${style})`, async () => {
    const log: unknown[] = [];
    const body = (shutdown: GracefulShutdown) =>
      inStyle(style, function* () {
        const controller = new AbortController();
        getRunningLoop().callLater(1, () => controller.abort("enough"));
        try {
          yield waitForShutdown({ signal: controller.signal });
        } catch (error) {
          log.push(error);
        }
        getRunningLoop().callLater(5, () => shutdown.begin("later"));
        log.push(yield waitForShutdown());
        log.push(yield waitForShutdown());
      })();
    await play(body);
    assertEquals(log, ["enough", "later", "later"]);
  });
}

// -- Who takes part --

Deno.test("Two calls give one shutdown; the second may shorten the budget, and adds nothing else", async () => {
  const { report } = await play(async (shutdown) => {
    assertStrictEquals(gracefulShutdown({ budgetMs: 500 }), shutdown);
    assertStrictEquals(gracefulShutdown({ budgetMs: 2_000 }), shutdown);
    assertStrictEquals(gracefulShutdown(), shutdown);
    shutdown.begin();
    assertStrictEquals(gracefulShutdown({ budgetMs: 1 }), shutdown);
    await sleep(Infinity);
  });
  assertEquals(report.budgetMs, 500);
  assertEquals(report.durationMs, 400);
});

Deno.test("A loop that runs for ever is stopped at the end", async () => {
  const loop = newEventLoop({ host: "virtual" });
  const log: string[] = [];
  const shutdown = gracefulShutdown({
    loop,
    onReport: () => log.push("report"),
  });
  loop.createTask(async () => {
    try {
      await sleep(Infinity);
    } finally {
      log.push(`task at ${loop.time()}`);
    }
  });
  loop.callLater(10, () => shutdown.begin("stop"));
  await loop.runForever();
  await loop.close();
  assertEquals(log, ["task at 10", "report"]);
  assertEquals(shutdown.report?.code, 0);
});

Deno.test("A loop that is closed takes part no more", async () => {
  const loop = newEventLoop({ host: "virtual" });
  const shutdown = gracefulShutdown({ loop });
  await loop.close();
  assertThrows(() => shutdown.begin(), MisuseError, "no loop takes part");
});

Deno.test("A loop of a real host can have a shutdown of its own", async () => {
  let report: ShutdownReport | undefined;
  const result = await run(async () => {
    const shutdown = gracefulShutdown();
    onShutdown("drain", () => sleep(1));
    shutdown.begin("test");
    return await waitForShutdown();
  }, {
    host: "portable",
    shutdown: { scope: "loop", onReport: (given) => report = given },
  });
  assertEquals(result, "test");
  assertEquals(report?.code, 0);
  assertEquals(shutdownSignal.aborted, false);
});

Deno.test("A run of a runner whose shutdown has begun does not start", async () => {
  await using runner = new Runner({ host: "virtual", shutdown: {} });
  await runner.run(async () => {
    gracefulShutdown().begin("stop");
  });
  await assertRejects(
    () => runner.run(async () => {}),
    InterruptedError,
    "Interrupted by stop",
  );
});

Deno.test("A function onReport that throws is told to the exception handler", async () => {
  const { told, report } = await play(async (shutdown) => {
    shutdown.begin();
    await waitForShutdown();
  }, {
    onReport: () => {
      throw new RangeError("oh");
    },
  });
  assertEquals(told.map(({ message }) => message), [
    "The function onReport of the shutdown threw",
  ]);
  assertEquals(report.code, 0);
});

Deno.test("In debug mode the report says where a task was made", async () => {
  let report: ShutdownReport | undefined;
  await assertRejects(() =>
    run(async () => {
      getRunningLoop().setExceptionHandler(() => {});
      gracefulShutdown().begin();
      await new Promise(() => {});
    }, {
      host: "virtual",
      debug: true,
      outsideWaits: "ignore",
      shutdown: { onReport: (given) => report = given },
    }), InterruptedError);
  assertMatch(report?.stragglers[0]?.creationStack ?? "", /at /);
  assertMatch(String(report), /created at:\n {4,}at /);
});

Deno.test("An onReport that fails later is told to the exception handler, too", async () => {
  const { told, report } = await play(async (shutdown) => {
    shutdown.begin();
    await waitForShutdown();
  }, {
    onReport: async () => {
      await Promise.resolve();
      throw new Error("oh");
    },
  });
  await Promise.resolve();
  assertEquals(
    told.map(({ message, exception }) => `${message}: ${exception}`),
    [
      "The function onReport of the shutdown threw: Error: oh",
    ],
  );
  assertEquals(report.code, 0);
});

// -- Bad arguments --

Deno.test("A loop that is closed takes part in no shutdown", async () => {
  const loop = newEventLoop({ host: "portable" });
  await loop.close();
  const error = assertThrows(() => gracefulShutdown({ loop }), MisuseError);
  assertInstanceOf(error, LoopClosedError);
  assertEquals(
    error.message,
    "Cannot set up graceful shutdown: the event loop is closed",
  );
});

Deno.test("Bad options are refused before anything has changed", async () => {
  const bad: [options: object, error: typeof Error, message: string][] = [
    [{ budgetMs: -1 }, RangeError, "budgetMs must be >= 0: received -1"],
    [{ budgetMs: NaN }, RangeError, "budgetMs must not be NaN"],
    [{ budgetMs: "1" }, TypeError, "budgetMs must be a number"],
    [{ preStopMs: -1 }, RangeError, "preStopMs must be >= 0"],
    [{ preStopMs: 9_001 }, RangeError, "must fit into budgetMs"],
    [{ sharesMs: 1 }, TypeError, "sharesMs must be an object"],
    [{ sharesMs: { drain: 1 } }, TypeError, "each key of sharesMs"],
    [{ sharesMs: { cancel: -1 } }, RangeError, 'sharesMs["cancel"]'],
    [{ waitForMain: 1 }, TypeError, "waitForMain must be one of true, false"],
    [{ exit: true }, TypeError, "exit must be one of false"],
    [{ scope: "machine" }, TypeError, 'scope must be one of "process", "loop"'],
    [{ signals: "SIGINT" }, TypeError, "signals must be an array"],
    [{ signals: ["SIGINT"] }, TypeError, "signals must be empty"],
    [{ onReport: 1 }, TypeError, "onReport must be a function"],
  ];
  for (const [options, error, message] of bad) {
    const shutdown = options as RunShutdownOptions;
    await assertRejects(
      () => run(async () => {}, { host: "virtual", shutdown }),
      error,
      `Cannot set up graceful shutdown as`,
    );
    const thrown = await assertRejects(
      () =>
        run(async () => {
          gracefulShutdown(shutdown);
        }, { host: "virtual" }),
      error,
    );
    assert(thrown.message.includes(message), thrown.message);
  }
  assertThrows(
    () => gracefulShutdown({ loop: {} as never }),
    TypeError,
    "loop must be an EventLoop",
  );
  assertThrows(() => gracefulShutdown(null as never), TypeError, "options");
  assertThrows(() => gracefulShutdown(), MisuseError, "no loop is running");
});

Deno.test("A signal that cannot be handled is refused, and the others are not listened to", async () => {
  for (const signal of ["SIGKILL", "SIGNONSENSE"]) {
    await assertRejects(
      () =>
        run(async () => {}, {
          shutdown: { signals: ["SIGUSR2", signal as Deno.Signal] },
        }),
      TypeError,
      "Cannot handle",
    );
  }
});

Deno.test("Bad hooks are refused", () => {
  const bad: [args: unknown[], error: typeof Error, message: string][] = [
    [["drained", () => {}], TypeError, "phase must be one of"],
    [["drain", 1], TypeError, "fn must be a function"],
    [["drain", () => {}, null], TypeError, "options must be an object"],
    [["drain", () => {}, { name: 1 }], TypeError, "name must be a string"],
    [["drain", () => {}, { timeoutMs: -1 }], RangeError, "timeoutMs must be"],
    [["drain", () => {}, { timeoutMs: NaN }], RangeError, "must not be NaN"],
  ];
  for (const [args, error, message] of bad) {
    assertThrows(
      () => Reflect.apply(onShutdown, null, args),
      error,
      message,
    );
  }
});
