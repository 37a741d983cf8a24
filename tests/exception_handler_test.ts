/**
 * Where errors go that no caller gets: the exception handler of the loop.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  EventLoop,
  type ExceptionContext,
  type ExceptionHandler,
  newEventLoop,
  run,
  sleep,
  until,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";

const VIRTUAL = { host: "virtual" } as const;

Deno.test("A callback that throws is reported, and stops neither the turn nor the loop", async () => {
  const { loop, reports } = openLoop();
  const log: string[] = [];
  const error = new RangeError("no");
  const handles = [
    loop.callSoon(function first() {
      throw error;
    }),
    loop.callLater(0, () => {
      // deno-lint-ignore no-throw-literal
      throw "a string";
    }),
    loop.callSoon(() => {
      // deno-lint-ignore no-throw-literal
      throw undefined;
    }),
  ];
  loop.callSoon(() => log.push("same turn"));
  loop.callLater(10, () => {
    log.push("later");
    loop.stop();
  });
  await loop.runForever();
  assertEquals(log, ["same turn", "later"]);
  assertEquals(reports.map(({ message, exception }) => [message, exception]), [
    ['Exception in callback "first"', error],
    ["Exception in callback (anonymous)", undefined],
    ["Exception in callback (anonymous)", "a string"],
  ]);
  assertStrictEquals(reports[0]!.handle, handles[0]);
  assertStrictEquals(reports[1]!.handle, handles[2]);
  assertStrictEquals(reports[2]!.handle, handles[1]);
  assert("exception" in reports[1]!, "also when undefined was thrown");
  await loop.close();
});

Deno.test("A done callback and a reader-like callback that throw are reported too", async () => {
  const { loop, reports } = openLoop();
  const future = loop.createFuture<void>();
  const log: string[] = [];
  future.addDoneCallback(function told() {
    throw new Error("in a done callback");
  });
  future.addDoneCallback(() => log.push("second"));
  future.setResult();
  await runTurns(loop);
  assertEquals(log, ["second"]);
  assertEquals(reports.length, 1);
  assertInstanceOf(reports[0]!.exception, Error);
  await loop.close();
});

Deno.test("The handler gets the loop, and is called synchronously where the error arises", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: unknown[] = [];
  loop.setExceptionHandler((from, { exception }) =>
    log.push(from === loop, exception)
  );
  loop.callSoon(() => {
    // deno-lint-ignore no-throw-literal
    throw 1;
  });
  loop.callSoon(() => log.push("next callback"));
  await runTurns(loop);
  assertEquals(log, [true, 1, "next callback"]);
});

Deno.test("getExceptionHandler() gives what was set, null being the default", async () => {
  await using loop = newEventLoop(VIRTUAL);
  assertEquals(loop.getExceptionHandler(), null);
  const handler: ExceptionHandler = () => {};
  loop.setExceptionHandler(handler);
  assertStrictEquals(loop.getExceptionHandler(), handler);
  loop.setExceptionHandler(null);
  assertEquals(loop.getExceptionHandler(), null);
});

Deno.test("callExceptionHandler() hands the context over as it is", async () => {
  const { loop, reports } = openLoop();
  const context: ExceptionContext = {
    message: "mine",
    exception: new Error("x"),
    name: "n",
  };
  loop.callExceptionHandler(context);
  assertStrictEquals(reports[0], context);
  await loop.close();
});

Deno.test("A task that fails unseen is reported with its name, once, and with nothing else", async () => {
  const { loop, reports } = openLoop();
  const error = new Error("lost");
  loop.createTask(function* () {
    throw error;
  }, { name: "worker" });
  loop.createTask(async () => {
    throw error;
  }, { name: "async worker" });
  const future = loop.createFuture("an answer");
  future.setException(error);
  await runTurns(loop, 4);
  await loop.close();
  assertEquals(
    reports.map(({ message, name, exception }) => ({
      message,
      name,
      exception,
    })),
    [
      {
        message: "an answer failed and nobody ever looked at the error",
        name: "an answer",
        exception: error,
      },
      {
        message: 'task "worker" failed and nobody ever looked at the error',
        name: "worker",
        exception: error,
      },
      {
        message:
          'task "async worker" failed and nobody ever looked at the error',
        name: "async worker",
        exception: error,
      },
    ],
  );
});

Deno.test("Failures that were looked at in time, or cancellations, are not reported", async () => {
  const { loop, reports } = openLoop();
  const failing = () =>
    loop.createTask(function* () {
      throw new Error("seen");
    });
  const awaited = failing();
  const asked = failing();
  const told = failing();
  told.addDoneCallback((task) => task.exception());
  loop.createTask(function* () {
    yield* sleep(1_000);
  }).cancel();
  await loop.runUntilComplete(async () => {
    try {
      await awaited;
    } catch {
      // as expected
    }
  });
  assertInstanceOf(asked.exception(), Error);
  await runTurns(loop, 3);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A promise that fails after its until() was cancelled is reported, an abort is not", async () => {
  const { loop, reports } = openLoop();
  const error = new Error("too late");
  for (const failure of [error, new DOMException("", "AbortError")]) {
    const { promise, reject } = Promise.withResolvers<void>();
    await loop.runUntilComplete(function* () {
      const task = loop.createTask(function* () {
        yield* until(promise);
      });
      yield* sleep(0);
      task.cancel();
      yield* sleep(0);
    });
    reject(failure);
    await Promise.allSettled([promise]);
  }
  assertEquals(reports.map(({ message, exception }) => [message, exception]), [
    ["A promise given to until() failed after its waiter had left", error],
  ]);
  await loop.close();
});

Deno.test("A cancelled async task that waits outside the loop is named after cancelWarnMs, once", async () => {
  const { loop, reports } = openLoop({
    cancelWarnMs: 50,
    outsideWaits: "ignore",
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  const stuck = loop.createTask(async () => {
    await promise;
  }, { name: "stuck" });
  await loop.runUntilComplete(function* () {
    yield* sleep(0);
    stuck.cancel();
    stuck.cancel();
    yield* sleep(49);
    assertEquals(reports, []);
    yield* sleep(200);
  });
  assertEquals(reports.length, 1);
  assertEquals(reports[0]!.name, "stuck");
  assertStrictEquals<unknown>(reports[0]!.task, stuck);
  assertMatch(
    reports[0]!.message,
    /"stuck" was cancelled 50 ms ago and has not reacted/,
  );
  resolve();
  await loop.runUntilComplete(async () => {
    await Promise.allSettled([stuck]);
  });
  await loop.close();
});

Deno.test("A handler that throws is reported to the default handler, and the loop goes on", async () => {
  const told: ExceptionContext[] = [];
  class Telling extends EventLoop {
    override defaultExceptionHandler(context: ExceptionContext): void {
      told.push(context);
    }
  }
  await using loop = new Telling(VIRTUAL);
  const broken = new Error("handler");
  loop.setExceptionHandler(() => {
    throw broken;
  });
  loop.callSoon(() => {
    throw new Error("callback");
  });
  let ran = false;
  loop.callSoon(() => ran = true);
  await runTurns(loop);
  assertEquals(ran, true);
  assertEquals(
    told.map((
      { message, exception },
    ) => [message, (exception as Error).message]),
    [
      ["Exception in callback (anonymous)", "callback"],
      ["Unhandled error in exception handler", "handler"],
    ],
  );
});

Deno.test("Even a default handler that throws does not stop the loop", async () => {
  class Broken extends EventLoop {
    override defaultExceptionHandler(): void {
      throw new Error("the default handler");
    }
  }
  await using loop = new Broken(VIRTUAL);
  const written: string[] = [];
  const { error: write } = console;
  console.error = (text: string) => written.push(text);
  let ran = 0;
  try {
    loop.callSoon(() => {
      throw new Error("callback");
    });
    loop.callSoon(() => ran++);
    await runTurns(loop);
    loop.setExceptionHandler(() => {
      throw new Error("handler");
    });
    loop.callSoon(() => {
      throw new Error("callback");
    });
    loop.callSoon(() => ran++);
    await runTurns(loop);
  } finally {
    console.error = write;
  }
  assertEquals(ran, 2);
  assertStringIncludes(written.join("\n"), "the default handler");
});

Deno.test("A subclass's default handler is what runs when none is set", async () => {
  const told: string[] = [];
  class Telling extends EventLoop {
    override defaultExceptionHandler(context: ExceptionContext): void {
      told.push(context.message);
    }
  }
  await using loop = new Telling(VIRTUAL);
  loop.callSoon(() => {
    throw new Error("x");
  });
  await runTurns(loop);
  assertEquals(told, ["Exception in callback (anonymous)"]);
});

Deno.test("The handler may use the loop: schedule, stop, and replace itself", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.setExceptionHandler((loop) => {
    log.push("handled");
    loop.setExceptionHandler(null);
    loop.callSoon(() => {
      log.push("scheduled");
      loop.stop();
    });
  });
  loop.callSoon(() => {
    throw new Error("x");
  });
  await loop.runForever();
  assertEquals(log, ["handled", "scheduled"]);
});

Deno.test("run() reports nothing for errors that reach its caller", async () => {
  const reports: ExceptionContext[] = [];
  const result = await run(async () => {
    throw new Error("for the caller");
  }, {
    ...VIRTUAL,
    loopFactory: (options) => {
      const loop = newEventLoop(options);
      loop.setExceptionHandler((_, context) => reports.push(context));
      return loop;
    },
  }).catch((error: Error) => error.message);
  assertEquals(result, "for the caller");
  assertEquals(reports, []);
});

Deno.test("The default handler writes message, error and causes to standard error, and nothing to standard output", async () => {
  const { code, stdout, stderr } = await runProgram(`
    import { newEventLoop } from "@rota/rota";
    const loop = newEventLoop();
    loop.callSoon(function broken() {
      throw new TypeError("the outer", { cause: new RangeError("the inner") });
    });
    loop.callSoon(() => {
      throw new AggregateError([new Error("one"), new Error("two")], "several");
    });
    loop.callSoon(() => { throw "just text"; });
    loop.callSoon(() => { throw Object.create(null); });
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    loop.createTask(function* () { throw proxy; });
    const cycle = new Error("a cycle");
    cycle.cause = cycle;
    loop.callSoon(() => { throw cycle; });
    loop.callExceptionHandler({ message: "said by hand" });
    loop.stop();
    await loop.runForever();
    await loop.close();
  `);
  assertEquals({ code, stdout }, { code: 0, stdout: "" });
  const inOrder = [
    "rota: said by hand",
    'rota: Exception in callback "broken"',
    "TypeError: the outer",
    "caused by: RangeError: the inner",
    "rota: Exception in callback (anonymous)",
    "AggregateError: several",
    "one of: Error: one",
    "one of: Error: two",
    "rota: Exception in callback (anonymous)",
    "just text",
    "rota: Exception in callback (anonymous)",
    "a value of type object that has no text",
    "rota: Exception in callback (anonymous)",
    "Error: a cycle",
    "caused by: itself",
    'rota: task "Task-1" failed and nobody ever looked at the error',
    "a value of type object that has no text",
  ];
  let at = -1;
  for (const part of inOrder) {
    const next = stderr.indexOf(part, at + 1);
    assert(next > at, `${part} is missing, or not in order, in:\n${stderr}`);
    at = next;
  }
});

Deno.test("The default handler writes where things were made in debug mode", async () => {
  const { code, stderr } = await runProgram(`
    import { newEventLoop } from "@rota/rota";
    const loop = newEventLoop({ debug: true });
    function schedule() {
      loop.callSoon(() => { throw new Error("no"); });
    }
    schedule();
    loop.stop();
    await loop.runForever();
    await loop.close();
  `);
  assertEquals(code, 0);
  assertMatch(stderr, /Error: no[^]*created at:[^]*at schedule/);
});

Deno.test("A failure that is reported is no unhandled rejection besides, and the process lives", async () => {
  const { code, stdout, stderr } = await runProgram(`
    import { getRunningLoop, run, sleep } from "@rota/rota";
    addEventListener("unhandledrejection", () => console.log("unhandled"));
    await run(async () => {
      const loop = getRunningLoop();
      loop.createTask(async () => { throw new Error("A"); }, { name: "a" });
      loop.createTask(function* () { throw new Error("B"); }, { name: "b" });
      loop.createFuture().setException(new Error("C"));
      await sleep(5);
    });
    await new Promise((resolve) => setTimeout(resolve, 0));
    console.log("end");
  `);
  assertEquals({ code, stdout }, { code: 0, stdout: "end\n" }, stderr);
  for (const name of ["A", "B", "C"]) {
    assertEquals(
      stderr.split(`Error: ${name}\n`).length,
      2,
      `${name} once in ${stderr}`,
    );
  }
});

Deno.test("Failures of what is collected are reported while the loop still runs", async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { getRunningLoop, run, sleep } from "@rota/rota";
    await run(async () => {
      const loop = getRunningLoop();
      const told = [];
      loop.setExceptionHandler((_, { name }) => told.push(name));
      loop.createTask(async () => {
        await sleep(1);
        throw new Error("lost");
      }, { name: "a task" });
      loop.createFuture("a future").setException(new Error("lost"));
      for (let pass = 0; pass < 1_000 && told.length < 2; pass++) {
        await sleep(1);
        gc();
      }
      console.log(told.sort().join());
    });
  `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: "a future,a task\n",
    stderr: "",
  });
});
