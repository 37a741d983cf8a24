/**
 * run() and Runner: a whole program, its leftovers, and Ctrl-C.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  CancelledError,
  currentTask,
  DeadlockError,
  type EventLoop,
  type ExceptionContext,
  getRunningLoop,
  InterruptedError,
  MisuseError,
  newEventLoop,
  Operation,
  run,
  Runner,
  type RunOptions,
  sleep,
} from "../mod.ts";
import { collectReports } from "./support/loops.ts";
import { startProgram } from "./support/program.ts";

const VIRTUAL = { host: "virtual" } as const;

/** Options of a run on the virtual host that show its loop and its reports. */
function watched(): {
  options: RunOptions;
  reports: ExceptionContext[];
  loop: () => EventLoop;
} {
  let loop: EventLoop | undefined;
  const reports: ExceptionContext[] = [];
  return {
    options: {
      ...VIRTUAL,
      loopFactory: (options) => {
        loop = newEventLoop(options);
        loop.setExceptionHandler((_, context) => reports.push(context));
        return loop;
      },
    },
    reports,
    loop: () => loop!,
  };
}

// -- Main --

Deno.test("Main may be an async function, a generator function, a generator, an operation or a plain function", async () => {
  const coroutine = function* () {
    yield* sleep(1);
    return "generator";
  };
  assertEquals(
    await run(async () => {
      await sleep(1);
      return "async";
    }, VIRTUAL),
    "async",
  );
  assertEquals(await run(coroutine, VIRTUAL), "generator");
  assertEquals(await run(coroutine(), VIRTUAL), "generator");
  assertEquals(await run(() => coroutine(), VIRTUAL), "generator");
  assertEquals(await run(new Operation(coroutine), VIRTUAL), "generator");
  assertEquals(await run(() => new Operation(coroutine), VIRTUAL), "generator");
  assertEquals(await run(() => sleep(1, { value: "slept" }), VIRTUAL), "slept");
  assertEquals(await run(() => "plain", VIRTUAL), "plain");
});

Deno.test("An operation that a plain function returns is waited for by the task itself", async () => {
  const { options, reports } = watched();
  await run(function* () {
    const loop = getRunningLoop();
    const task = loop.createTask(() => sleep(1_000), { name: "sleeper" });
    yield* sleep(1);
    assertEquals(allTasks(loop).length, 2, "no further task waits for it");
    task.cancel();
    yield* sleep(0);
    yield* sleep(0);
    assertEquals(task.cancelled(), true);
    assertEquals(loop.stats().timers, 0);
  }, options);
  assertEquals(reports, []);
});

Deno.test("An operation that is given to two tasks fails the second one", async () => {
  const { options, reports } = watched();
  await run(function* () {
    const operation = sleep(1);
    const first = getRunningLoop().createTask(operation);
    const second = getRunningLoop().createTask(operation);
    yield* first;
    assertInstanceOf(second.exception(), MisuseError);
  }, options);
  assertEquals(reports, []);
});

Deno.test("run() rejects with what main throws, the very object", async () => {
  const error = { not: "an error" };
  for (
    const main of [
      async () => {
        throw error;
      },
      function* () {
        throw error;
      },
      () => {
        throw error;
      },
    ]
  ) {
    const thrown = await run<void>(main, VIRTUAL).then(
      () => null,
      (thrown) => thrown,
    );
    assertStrictEquals(thrown, error);
  }
});

Deno.test("run() rejects with a CancelledError when main was cancelled from inside", async () => {
  const error = await assertRejects(
    () =>
      run(function* () {
        currentTask()!.cancel("enough");
        yield* sleep(1);
      }, VIRTUAL),
    CancelledError,
  );
  assertEquals(error.reason, "enough");
});

Deno.test("run() names the main task, makes a fresh loop each time and closes it", async () => {
  const loops: EventLoop[] = [];
  for (let count = 0; count < 2; count++) {
    await run(async () => {
      loops.push(getRunningLoop());
      assertEquals(currentTask()?.name, "boss");
    }, { ...VIRTUAL, name: "boss" });
  }
  assertNotStrictEquals(loops[0], loops[1]);
  assertEquals(loops.map((loop) => loop.isClosed()), [true, true]);
});

Deno.test("run() closes its loop also when main fails or the run does", async () => {
  const failed = watched();
  await assertRejects(() =>
    run(async () => {
      throw new Error("no");
    }, failed.options)
  );
  assertEquals(failed.loop().isClosed(), true);
  const stopped = watched();
  await assertRejects(
    () =>
      run(async () => {
        getRunningLoop().stop();
        await sleep(1);
      }, stopped.options),
    MisuseError,
    "the event loop was stopped before",
  );
  assertEquals(stopped.loop().isClosed(), true);
});

Deno.test("run() inside a run makes a loop of its own; on the running loop it is an error", async () => {
  await run(async () => {
    const outer = getRunningLoop();
    assertEquals(
      await run(async () => getRunningLoop() !== outer, VIRTUAL),
      true,
    );
    let ran = false;
    await assertRejects(
      () =>
        run(async () => {
          ran = true;
        }, { ...VIRTUAL, loopFactory: () => outer }),
      MisuseError,
      "loopFactory gave a loop that is running already",
    );
    assertEquals(ran, false);
    assertEquals(outer.isClosed(), false);
    await sleep(1);
  }, VIRTUAL);
});

Deno.test("The loop factory gets the options of the run, without those of the run itself in force", async () => {
  let given: unknown;
  await run(async () => {}, {
    host: "virtual",
    debug: true,
    slowCallbackMs: 5,
    loopFactory: (options) => {
      given = options;
      return newEventLoop(options);
    },
  });
  const { host, debug, slowCallbackMs } = given as RunOptions;
  assertEquals({ host, debug, slowCallbackMs }, {
    host: "virtual",
    debug: true,
    slowCallbackMs: 5,
  });
});

// -- Leftovers --

Deno.test("Tasks that main leaves behind are cancelled and clean up, with waits in between", async () => {
  const { options, reports, loop } = watched();
  const log: string[] = [];
  const leftover = (name: string) =>
    function* () {
      try {
        yield* sleep(10_000);
      } finally {
        log.push(`${name} begins to clean up at ${loop().time()}`);
        yield* sleep(50);
        log.push(`${name} is clean at ${loop().time()}`);
      }
    };
  const result = await run(async () => {
    getRunningLoop().createTask(leftover("a"));
    getRunningLoop().createTask(async () => {
      try {
        await sleep(10_000);
      } finally {
        log.push("b begins");
        await sleep(10);
        log.push(`b is clean at ${loop().time()}`);
      }
    });
    await sleep(5);
    return "result";
  }, options);
  assertEquals(result, "result");
  assertEquals(log, [
    "a begins to clean up at 5",
    "b begins",
    "b is clean at 15",
    "a is clean at 55",
  ]);
  assertEquals(reports, []);
  assertEquals(loop().isClosed(), true);
});

Deno.test("A leftover that has not started never does", async () => {
  const { options, reports } = watched();
  let started = false;
  await run(function* () {
    getRunningLoop().createTask(function* () {
      started = true;
    });
  }, options);
  // It was queued before the end of main, so asyncio starts it in the last turn.
  assertEquals(started, true);
  started = false;
  await run(function* () {
    const loop = getRunningLoop();
    loop.callSoon(() =>
      loop.callSoon(() =>
        loop.createTask(function* () {
          started = true;
        })
      )
    );
  }, options);
  assertEquals(started, false);
  assertEquals(reports, []);
});

Deno.test("What leftovers fail with while they are cancelled is reported, each once", async () => {
  const { options, reports } = watched();
  await run(async () => {
    for (const name of ["a", "b"]) {
      getRunningLoop().createTask(function* () {
        try {
          yield* sleep(10_000);
        } finally {
          // deno-lint-ignore no-unsafe-finally
          throw new Error(`${name} broke`);
        }
      }, { name });
    }
    await sleep(1);
  }, options);
  assertEquals(
    reports.map(({ message, name, task, exception }) => [
      message,
      name,
      task?.name,
      (exception as Error).message,
    ]),
    ["a", "b"].map((name) => [
      `Task "${name}" failed while it was cancelled at the end of the run`,
      name,
      name,
      `${name} broke`,
    ]),
  );
});

Deno.test("A leftover that swallows its cancellation and ends well is no error", async () => {
  const { options, reports } = watched();
  await run(async () => {
    getRunningLoop().createTask(async () => {
      try {
        await sleep(10_000);
      } catch {
        // and ends
      }
    });
    await sleep(1);
  }, options);
  assertEquals(reports, []);
});

Deno.test("Leftovers are cleaned up also when main fails, whose error wins", async () => {
  const { options, reports } = watched();
  let clean = false;
  await assertRejects(
    () =>
      run(async () => {
        getRunningLoop().createTask(function* () {
          try {
            yield* sleep(10_000);
          } finally {
            yield* sleep(5);
            clean = true;
            // deno-lint-ignore no-unsafe-finally
            throw new Error("clean-up");
          }
        });
        await sleep(1);
        throw new Error("main");
      }, options),
    Error,
    "main",
  );
  assertEquals(clean, true);
  assertEquals(reports.map(({ exception }) => (exception as Error).message), [
    "clean-up",
  ]);
});

Deno.test("Operations awaited outside any task are leftovers too", async () => {
  const { options, reports } = watched();
  const handler = async () => {
    await sleep(10_000);
  };
  let outside: Promise<unknown> | undefined;
  await run(function* () {
    getRunningLoop().callSoon(() => {
      outside = assertRejects(handler, CancelledError);
    });
    yield* sleep(1);
    assertEquals(allTasks(getRunningLoop()).length, 2);
  }, options);
  await outside;
  assertEquals(reports, []);
});

Deno.test("cancelGraceMs gives up on leftovers that do not end, by name and wait, and goes on", async () => {
  const { options, reports, loop } = watched();
  let clean = false;
  let endedAtMs = 0;
  const result = await run(async () => {
    const runLoop = getRunningLoop();
    runLoop.createTask(function* () {
      try {
        yield* sleep(10_000);
      } finally {
        yield* sleep(80);
        clean = true;
      }
    }, { name: "in time" });
    const stubborn = runLoop.createTask(async () => {
      for (;;) {
        try {
          await sleep(10_000);
        } catch {
          // not interested
        }
      }
    }, { name: "stubborn" });
    stubborn.addDoneCallback(() => endedAtMs = runLoop.time());
    await sleep(1);
    return "result";
  }, { ...options, cancelGraceMs: 100 });
  assertEquals({ result, clean }, { result: "result", clean: true });
  assertEquals(reports.map(({ name, message }) => [name, message]), [
    [
      "stubborn",
      'Task "stubborn" was given up: 100 ms after it was cancelled it still waits for sleep()',
    ],
  ]);
  assertEquals(loop().time(), 101);
  assertEquals(loop().isClosed(), true);
  assert(endedAtMs === 0 || endedAtMs === 101);
});

Deno.test("cancelGraceMs of 0 still gives leftovers the turns they need without waiting", async () => {
  const { options, reports } = watched();
  let clean = false;
  await run(async () => {
    getRunningLoop().createTask(function* () {
      try {
        yield* sleep(10_000);
      } finally {
        clean = true;
      }
    });
    await sleep(1);
  }, { ...options, cancelGraceMs: 0 });
  assertEquals({ clean, reports }, { clean: true, reports: [] });
});

Deno.test("A leftover whose clean-up waits for ever is a deadlock on the virtual host, and its loop is closed", async () => {
  const { options, loop } = watched();
  const error = await assertRejects(
    () =>
      run(function* () {
        const loop = getRunningLoop();
        loop.createTask(function* () {
          try {
            yield* sleep(10_000);
          } finally {
            yield* loop.createFuture<void>("an answer");
          }
        }, { name: "hanging" });
        yield* sleep(1);
      }, options),
    DeadlockError,
  );
  assertEquals(error.tasks, [{ name: "hanging", waitsFor: "an answer" }]);
  assertEquals(loop().isClosed(), true);
});

Deno.test("A main that fails beside a clean-up that waits for ever: both are told", async () => {
  const { options, reports, loop } = watched();
  const error = await assertRejects(() =>
    run(function* () {
      const loop = getRunningLoop();
      loop.createTask(function* () {
        try {
          yield* sleep(10_000);
        } finally {
          yield* loop.createFuture<void>("an answer");
        }
      }, { name: "hanging" });
      yield* sleep(1);
      throw new Error("main");
    }, options)
  );
  const told = [error, ...reports.map(({ exception }) => exception)];
  if (error instanceof SuppressedError) {
    told.push(error.error, error.suppressed);
  }
  assert(told.some((one) => one instanceof Error && one.message === "main"));
  assert(told.some((one) => one instanceof DeadlockError));
  assertEquals(loop().isClosed(), true);
});

// -- Runner --

Deno.test("A Runner runs one program after the other on one loop, and tasks stay in between", async () => {
  const runner = new Runner(VIRTUAL);
  const loop = runner.getLoop();
  assertStrictEquals(runner.getLoop(), loop);
  const log: string[] = [];
  assertEquals(
    await runner.run(async () => {
      getRunningLoop().createTask(function* () {
        try {
          yield* sleep(10);
          log.push("helper ran on");
          yield* sleep(1_000);
        } finally {
          log.push("helper is clean");
        }
      });
      await sleep(5);
      return 1;
    }),
    1,
  );
  assertEquals(log, []);
  assertEquals(await runner.run(() => sleep(10, { value: 2 })), 2);
  assertEquals(log, ["helper ran on"]);
  await assertRejects(
    () =>
      runner.run(async () => {
        throw new Error("third");
      }),
    Error,
    "third",
  );
  assertEquals(loop.isClosed(), false);
  await runner.close();
  assertEquals(log, ["helper ran on", "helper is clean"]);
  assertEquals(loop.isClosed(), true);
});

Deno.test("A closed Runner refuses; closing twice, and without use, is fine", async () => {
  const runner = new Runner(VIRTUAL);
  await runner.close();
  await runner.close();
  await runner[Symbol.asyncDispose]();
  assertThrows(() => runner.getLoop(), MisuseError, "it is closed");
  await assertRejects(
    () => runner.run(async () => {}),
    MisuseError,
    "it is closed",
  );
});

Deno.test("A Runner refuses a second program while one runs, which goes on", async () => {
  await using runner = new Runner(VIRTUAL);
  let started = false;
  const result = await runner.run(async () => {
    await assertRejects(
      () =>
        runner.run(async () => {
          started = true;
        }),
      MisuseError,
      "running already",
    );
    await sleep(1);
    return "done";
  });
  assertEquals({ result, started }, { result: "done", started: false });
});

Deno.test("A Runner refuses to close while a program runs, and changes nothing", async () => {
  await using runner = new Runner(VIRTUAL);
  const result = await runner.run(async () => {
    await assertRejects(() => runner.close(), MisuseError, "running");
    await sleep(1);
    assertEquals(currentTask()?.cancelling(), 0);
    return "undisturbed";
  });
  assertEquals(result, "undisturbed");
  assertEquals(await runner.run(async () => "again"), "again");
});

Deno.test("await using closes a Runner", async () => {
  let loop: EventLoop;
  {
    await using runner = new Runner(VIRTUAL);
    loop = runner.getLoop();
    const reports = collectReports(loop);
    await runner.run(async () => {});
    assertEquals(reports, []);
  }
  assertEquals(loop.isClosed(), true);
});

// -- Signals: children --

const PRELUDE = `
  import {
    currentTask, getRunningLoop, InterruptedError, run, Runner, sleep, until,
  } from "@rota/rota";
`;

for (const host of ["portable", "native", "poll"] as const) {
  Deno.test(`SIGINT cancels main, which cleans up, and run() rejects with an InterruptedError (${host})`, async () => {
    const program = startProgram(`${PRELUDE}
      try {
        await run(async () => {
          getRunningLoop().createTask(async () => {
            try {
              await sleep(60_000);
            } finally {
              console.log("helper is clean");
            }
          });
          try {
            console.log("ready");
            await sleep(60_000);
          } catch (error) {
            console.log(error.name, error.reason);
            await sleep(20);
            console.log("clean");
            throw error;
          }
        }, { host: "${host}" });
      } catch (error) {
        console.log(error instanceof InterruptedError, error.name, error.signal);
      }
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGINT");
    const { code, killed, stdout, stderr } = await program.end();
    assertEquals({ code, killed, stdout, stderr }, {
      code: 0,
      killed: false,
      stdout:
        "CancelledError SIGINT\nclean\nhelper is clean\ntrue InterruptedError SIGINT\n",
      stderr: "",
    });
  });
}

Deno.test("SIGINT reaches a generator main, and one in until()", async () => {
  for (
    const wait of [
      "function* () { console.log('ready'); yield* sleep(60_000); }",
      "function* () { console.log('ready'); yield* until(new Promise(() => {})); }",
      "async () => { console.log('ready'); await until(new Promise(() => {})); }",
    ]
  ) {
    const program = startProgram(`${PRELUDE}
      await run(${wait}).catch((error) => console.log(error.name));
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGINT");
    const { code, stdout, stderr } = await program.end();
    assertEquals({ code, stdout, stderr }, {
      code: 0,
      stdout: "InterruptedError\n",
      stderr: "",
    });
  }
});

Deno.test("A main that deals with the interruption decides what run() gives", async () => {
  const program = startProgram(`${PRELUDE}
    const result = await run(async () => {
      try {
        console.log("ready");
        await sleep(60_000);
      } catch {
        return "stopped in good order";
      }
    });
    console.log(result);
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  const { code, stdout, stderr } = await program.end();
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "stopped in good order\n",
    stderr: "",
  });
});

Deno.test("The second SIGINT ends the process with 130 while main still cleans up", async () => {
  const program = startProgram(`${PRELUDE}
    await run(async () => {
      try {
        console.log("ready");
        await sleep(60_000);
      } finally {
        console.log("cleaning up");
        await sleep(60_000);
      }
    });
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  assertEquals(await program.line(), "cleaning up");
  program.send("SIGINT");
  const { code, killed, stdout } = await program.end();
  assertEquals({ code, killed, stdout }, {
    code: 130,
    killed: false,
    stdout: "",
  });
});

Deno.test("The second SIGINT ends the process also while the clean-up keeps the thread busy", async () => {
  const program = startProgram(`${PRELUDE}
    await run(function* () {
      try {
        console.log("ready");
        yield* sleep(60_000);
      } finally {
        console.log("cleaning up");
        for (;;);
      }
    });
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  assertEquals(await program.line(), "cleaning up");
  program.send("SIGINT");
  const { code, killed } = await program.end();
  assertEquals({ code, killed }, { code: 130, killed: false });
});

Deno.test("A main that gives a task has it waited for", async () => {
  const result = await run(function* () {
    return getRunningLoop().createTask(function* () {
      yield* sleep(5);
      return "the task's result";
    });
  }, { host: "virtual" });
  assertEquals<unknown>(result, "the task's result");
});

Deno.test("The second SIGINT ends the process also while leftovers clean up after main", async () => {
  const program = startProgram(`${PRELUDE}
    await run(async () => {
      getRunningLoop().createTask(async () => {
        try {
          await sleep(60_000);
        } finally {
          console.log("helper cleans up");
          await sleep(60_000);
        }
      });
      console.log("ready");
      await sleep(60_000);
    });
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  assertEquals(await program.line(), "helper cleans up");
  program.send("SIGINT");
  const { code, killed } = await program.end();
  assertEquals({ code, killed }, { code: 130, killed: false });
});

Deno.test("A SIGINT handler of the program takes precedence over the cancelling of main", async () => {
  const program = startProgram(`${PRELUDE}
    const result = await run(async () => {
      const loop = getRunningLoop();
      const stopped = loop.createFuture();
      loop.addSignalHandler("SIGINT", () => stopped.setResult("handled"));
      console.log("ready");
      return await stopped;
    });
    console.log(result);
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  const { code, stdout, stderr } = await program.end();
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "handled\n",
    stderr: "",
  });
});

Deno.test("With handleInterrupt: false SIGINT has its default action", async () => {
  const program = startProgram(`${PRELUDE}
    await run(async () => {
      console.log("ready");
      await sleep(60_000);
    }, { handleInterrupt: false });
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  const { signal, stdout } = await program.end();
  assertEquals({ signal, stdout }, { signal: "SIGINT", stdout: "" });
});

Deno.test("After a run SIGINT has its default action again", async () => {
  const program = startProgram(`${PRELUDE}
    await run(async () => {});
    console.log("ready");
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGINT");
  assertEquals((await program.end()).signal, "SIGINT");
});

Deno.test("A CancelledError of another cause is not taken for an interruption", async () => {
  const program = startProgram(`${PRELUDE}
    const failed = await run(async () => {
      currentTask().cancel("by hand");
      await sleep(1);
    }).catch((error) => error);
    console.log(failed.name, failed.reason);
  `);
  const { stdout } = await program.end();
  assertEquals(stdout, "CancelledError by hand\n");
});

Deno.test("Each run of a Runner can be interrupted anew", async () => {
  const program = startProgram(`${PRELUDE}
    await using runner = new Runner();
    for (let count = 1; count <= 2; count++) {
      await runner.run(async () => {
        console.log("ready " + count);
        await sleep(60_000);
      }).catch((error) => console.log(error.name));
    }
  `);
  for (const count of [1, 2]) {
    assertEquals(await program.line(), `ready ${count}`);
    program.send("SIGINT");
    assertEquals(await program.line(), "InterruptedError");
  }
  const { code, stderr } = await program.end();
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
});

Deno.test("An uncaught InterruptedError says what happened", async () => {
  assertMatch(new InterruptedError("SIGINT").message, /Interrupted by SIGINT/);
});
