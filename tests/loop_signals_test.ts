/**
 * Signal handlers of a loop.
 *
 * @module
 */

import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  currentTask,
  type EventLoop,
  getRunningLoop,
  newEventLoop,
} from "../mod.ts";
import { collectReports, openLoop, runTurns } from "./support/loops.ts";
import { startProgram } from "./support/program.ts";

const HOSTS = ["portable", "native", "poll", "virtual"] as const;

/** Sends this process a signal and waits until it was delivered to whoever listens. */
async function raise(signal: "SIGUSR1" | "SIGUSR2"): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const hold = setInterval(() => {}, 60_000); // a listener does not hold the process
  Deno.addSignalListener(signal, resolve);
  Deno.kill(Deno.pid, signal);
  await promise;
  Deno.removeSignalListener(signal, resolve);
  clearInterval(hold);
}

for (const host of HOSTS) {
  Deno.test(`A signal runs its handler in a turn of the loop, with its arguments (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const seen: unknown[] = [];
    loop.addSignalHandler(
      "SIGUSR1",
      (...args: unknown[]) => {
        seen.push(args, getRunningLoop() === loop, currentTask());
        loop.stop();
      },
      "a",
      1,
    );
    assertEquals(loop.stats().signals, 1);
    const ended = loop.runForever();
    Deno.kill(Deno.pid, "SIGUSR1");
    await ended;
    assertEquals(seen, [["a", 1], true, null]);
    assertEquals(loop.removeSignalHandler("SIGUSR1"), true);
    assertEquals(loop.stats().signals, 0);
  });
}

Deno.test("A second handler replaces the first one, a removed one is gone", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  const log: string[] = [];
  loop.addSignalHandler("SIGUSR1", () => log.push("first"));
  loop.addSignalHandler("SIGUSR1", () => log.push("second"));
  loop.addSignalHandler("SIGUSR2", () => log.push("other"));
  assertEquals(loop.stats().signals, 2);
  await raise("SIGUSR1");
  await runTurns(loop);
  assertEquals(log, ["second"]);
  assertEquals(loop.removeSignalHandler("SIGUSR1"), true);
  assertEquals(loop.removeSignalHandler("SIGUSR1"), false);
  await raise("SIGUSR1");
  await raise("SIGUSR2");
  await runTurns(loop);
  assertEquals(log, ["second", "other"]);
});

Deno.test("A signal that comes while the loop is stopped is handled in its next run", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  let handled = 0;
  loop.addSignalHandler("SIGUSR1", () => handled++);
  await raise("SIGUSR1");
  assertEquals(handled, 0);
  await runTurns(loop);
  assertEquals(handled, 1);
});

Deno.test("A handler runs again for each further signal", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  let handled = 0;
  loop.addSignalHandler("SIGUSR1", () => handled++);
  for (let count = 1; count <= 3; count++) {
    await raise("SIGUSR1");
    await runTurns(loop);
    assertEquals(handled, count);
  }
});

Deno.test("All loops hear a signal, and a handler that throws stops neither the others nor its loop", async () => {
  const { loop: a, reports } = openLoop();
  await using b = newEventLoop({ host: "virtual" });
  const log: string[] = [];
  a.addSignalHandler("SIGUSR1", function broken() {
    throw new Error("no");
  });
  b.addSignalHandler("SIGUSR1", () => log.push("b"));
  a.callSoon(() => log.push("a goes on"));
  await raise("SIGUSR1");
  await runTurns(a);
  await runTurns(b);
  assertEquals(log, ["a goes on", "b"]);
  assertEquals(reports.map(({ message }) => message), [
    'Exception in callback "broken"',
  ]);
  await a.close();
  await raise("SIGUSR1");
  await runTurns(b);
  assertEquals(log, ["a goes on", "b", "b"]);
});

Deno.test("close() takes the handlers off", async () => {
  const loop = newEventLoop({ host: "virtual" });
  let handled = false;
  loop.addSignalHandler("SIGUSR1", () => handled = true);
  await loop.close();
  assertEquals(loop.stats().signals, 0);
  await raise("SIGUSR1");
  assertEquals(handled, false);
});

Deno.test("Signals that there are not, or that cannot be handled, are refused and change nothing", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  for (
    const signal of [
      "SIGKILL",
      "SIGSTOP",
      "SIGSEGV",
      "SIGNONSENSE",
      "",
      "sigint",
    ]
  ) {
    const error = assertThrows(() =>
      loop.addSignalHandler(signal as Deno.Signal, () => {})
    );
    assertInstanceOf(error, TypeError, signal);
    assertEquals(
      error.message.includes(JSON.stringify(signal)),
      true,
      error.message,
    );
  }
  assertEquals(loop.stats().signals, 0);
});

Deno.test("A replacement that is refused leaves the handler that was there", async () => {
  await using loop = newEventLoop({ host: "virtual" });
  let handled = 0;
  loop.addSignalHandler("SIGUSR1", () => handled++);
  assertThrows(() => loop.addSignalHandler("SIGUSR1", 5 as never), TypeError);
  await raise("SIGUSR1");
  await runTurns(loop);
  assertEquals(handled, 1);
});

Deno.test("Handlers run in the empty async context, or in that of who added them", async () => {
  const storage = new AsyncLocalStorage<string>();
  for (
    const [asyncContext, expected] of [["empty", undefined], [
      "inherit",
      "adder",
    ]] as const
  ) {
    await using loop = newEventLoop({ host: "portable", asyncContext });
    const seen: (string | undefined)[] = [];
    storage.run("adder", () =>
      loop.addSignalHandler("SIGUSR1", () => {
        seen.push(storage.getStore());
        loop.stop();
      }));
    const ended = storage.run("runner", () => loop.runForever());
    Deno.kill(Deno.pid, "SIGUSR1");
    await ended;
    assertEquals(seen, [expected], asyncContext);
  }
});

Deno.test("An overridden callSoon() sees signal handlers", async () => {
  const { EventLoop } = await import("../mod.ts");
  let seen = 0;
  class Watching extends EventLoop {
    override callSoon<A extends unknown[]>(
      callback: (...args: A) => unknown,
      ...args: A
    ) {
      seen++;
      return super.callSoon(callback, ...args);
    }
  }
  await using loop: EventLoop = new Watching({ host: "virtual" });
  const reports = collectReports(loop);
  let handled = 0;
  loop.addSignalHandler("SIGUSR1", () => handled++);
  await raise("SIGUSR1");
  await runTurns(loop);
  assertEquals({ seen, handled, reports }, {
    seen: 1,
    handled: 1,
    reports: [],
  });
  assertStrictEquals(loop.removeSignalHandler("SIGUSR1"), true);
});

for (const host of ["portable", "native", "poll"] as const) {
  Deno.test(`A handler keeps a waiting loop alive until it is removed, then the default action is back (${host})`, async () => {
    const program = startProgram(`
      import { newEventLoop } from "@rota/rota";
      const loop = newEventLoop({ host: "${host}" });
      loop.addSignalHandler("SIGTERM", () => {
        loop.removeSignalHandler("SIGTERM");
        loop.callLater(60_000, () => {});
        console.log("handled");
      });
      loop.runUntilComplete(loop.createFuture());
      console.log("ready");
    `);
    assertEquals(await program.line(), "ready");
    program.send("SIGTERM");
    assertEquals(await program.line(), "handled");
    program.send("SIGTERM");
    const { signal, killed, stderr } = await program.end();
    assertEquals({ signal, killed, stderr }, {
      signal: "SIGTERM",
      killed: false,
      stderr: "",
    });
  });
}

Deno.test("Two signals in a row reach a loop that is busy with the first", async () => {
  const program = startProgram(`
    import { newEventLoop } from "@rota/rota";
    const loop = newEventLoop();
    let count = 0;
    loop.addSignalHandler("SIGTERM", () => {
      console.log("TERM " + ++count);
      if (count === 2) loop.stop();
    });
    const busy = () => { loop.callSoon(busy); };
    loop.callSoon(busy);
    console.log("ready");
    await loop.runForever();
    await loop.close();
  `);
  assertEquals(await program.line(), "ready");
  program.send("SIGTERM");
  assertEquals(await program.line(), "TERM 1");
  program.send("SIGTERM");
  assertEquals(await program.line(), "TERM 2");
  const { code, stderr } = await program.end();
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
});
