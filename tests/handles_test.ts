/**
 * Handles: withdrawing, moving, and holding the process.
 *
 * @module
 */

import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  Handle,
  InvalidStateError,
  LoopClosedError,
  newEventLoop,
  TimerHandle,
} from "../mod.ts";
import { ManualHost } from "./support/manual_host.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";

const VIRTUAL = { host: "virtual" } as const;

Deno.test("cancel() withdraws a callback that is queued; the others run in their order", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(() => log.push("a"));
  const handle = loop.callSoon(() => log.push("b"));
  loop.callSoon(() => log.push("c"));
  assertInstanceOf(handle, Handle);
  assertEquals(handle.cancelled(), false);
  handle.cancel();
  handle.cancel();
  assertEquals(handle.cancelled(), true);
  await runTurns(loop);
  assertEquals(log, ["a", "c"]);
});

Deno.test("A callback can withdraw another one of the same turn, and itself", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const self = loop.callSoon(() => {
    self.cancel();
    other.cancel();
    timer.cancel();
    log.push("self");
  });
  const other = loop.callSoon(() => log.push("other"));
  const timer = loop.callAt(0, () => log.push("timer"));
  await runTurns(loop, 2);
  assertEquals(log, ["self"]);
  assertEquals(self.cancelled(), true);
});

Deno.test("cancel() after the callback has run only marks the handle", async () => {
  await using loop = newEventLoop(VIRTUAL);
  let runs = 0;
  const handles = [loop.callSoon(() => runs++), loop.callAt(0, () => runs++)];
  await runTurns(loop);
  assertEquals(handles.map((handle) => handle.cancelled()), [false, false]);
  for (const handle of handles) handle.cancel();
  assertEquals(handles.map((handle) => handle.cancelled()), [true, true]);
  await runTurns(loop);
  assertEquals(runs, 2);
});

Deno.test("A cancelled timer leaves the loop at once, wherever it is", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const timers = [5, 2 ** 31, Infinity, -1].map((delayMs) =>
    loop.callLater(delayMs, () => {
      throw new Error("ran");
    })
  );
  assertEquals(loop.stats().timers, 4);
  for (const timer of timers) timer.cancel();
  assertEquals(loop.stats().timers, 0);
  for (const timer of timers) assertEquals(timer.cancelled(), true);
});

Deno.test("using withdraws a callback when the block is left", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  {
    using _soon = loop.callSoon(() => log.push("soon"));
    using _later = loop.callLater(1, () => log.push("later"));
  }
  await runTurns(loop);
  assertEquals(log, []);
  assertEquals(loop.stats().timers, 0);
});

Deno.test("A withdrawn handle lets go of its callback and arguments", async () => {
  await using loop = newEventLoop(VIRTUAL);
  // What is collected when is up to the engine: look at what the handle holds.
  const argument = { big: true };
  const callback = (_: unknown) => {};
  for (
    const handle of [
      loop.callSoon(callback, argument),
      loop.callLater(1, callback, argument),
    ]
  ) {
    const holds = (value: unknown) =>
      Deno.inspect(handle, { depth: 2 }).includes(Deno.inspect(value));
    assertEquals(holds(argument), true);
    handle.cancel();
    assertEquals(holds(argument), false);
  }
});

Deno.test("when() tells the deadline, before and after it has passed", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const timer = loop.callLater(12.5, () => loop.stop());
  assertInstanceOf(timer, TimerHandle);
  assertEquals(timer.when(), 12.5);
  await loop.runForever();
  assertEquals(timer.when(), 12.5);
  assertEquals(loop.callAt(-3, () => {}).when(), -3);
  assertEquals(loop.callLater(Infinity, () => {}).when(), Infinity);
});

// -- reschedule() in every state --

Deno.test("reschedule() moves a pending timer, forward and back", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: [string, number][] = [];
  const later = loop.callAt(10, () => log.push(["later", loop.time()]));
  const sooner = loop.callAt(20, () => log.push(["sooner", loop.time()]));
  loop.callAt(15, () => log.push(["fixed", loop.time()]));
  loop.callAt(40, () => loop.stop());
  later.reschedule(30);
  sooner.reschedule(5);
  assertEquals([later.when(), sooner.when()], [30, 5]);
  assertEquals(loop.stats().timers, 4);
  await loop.runForever();
  assertEquals(log, [["sooner", 5], ["fixed", 15], ["later", 30]]);
});

Deno.test("reschedule() to the same moment goes behind those already due then", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const first = loop.callAt(10, () => log.push("first"));
  loop.callAt(10, () => log.push("second"));
  loop.callAt(10, () => loop.stop());
  first.reschedule(10);
  await loop.runForever();
  assertEquals(log, ["second", "first"]);
});

Deno.test("reschedule() of a timer that is due but has not run puts it off", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: number[] = [];
  loop.callAt(10, () => timer.reschedule(25));
  const timer = loop.callAt(10, () => log.push(loop.time()));
  loop.callAt(30, () => loop.stop());
  await loop.runForever();
  assertEquals(log, [25]);
});

Deno.test("reschedule() of a due timer to now or the past runs it once, in the next turn", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callAt(10, () => {
    timer.reschedule(3);
    loop.callSoon(() => log.push("next turn"));
  });
  const timer = loop.callAt(10, () => log.push("timer"));
  loop.callAt(10, () => log.push("same turn"));
  loop.callAt(30, () => loop.stop());
  await loop.runForever();
  assertEquals(log, ["same turn", "next turn", "timer"]);
});

Deno.test("reschedule() of a timer that has run runs it again, also from inside its callback", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: number[] = [];
  const timer = loop.callAt(10, (name: string) => {
    log.push(loop.time());
    assertEquals(name, "argument");
    if (log.length < 3) timer.reschedule(loop.time() + 10);
  }, "argument");
  loop.callAt(50, () => timer.reschedule(55));
  loop.callAt(60, () => loop.stop());
  await loop.runForever();
  assertEquals(log, [10, 20, 30, 55]);
  assertEquals(loop.stats().timers, 0);
});

Deno.test("reschedule() to Infinity parks a timer for good, and back to life again", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: number[] = [];
  const timer = loop.callAt(10, () => log.push(loop.time()));
  timer.reschedule(Infinity);
  loop.callAt(20, () => loop.stop());
  await loop.runForever();
  assertEquals(log, []);
  timer.reschedule(25);
  loop.callAt(30, () => loop.stop());
  await loop.runForever();
  assertEquals(log, [25]);
});

Deno.test("reschedule() of a cancelled timer throws and does not revive it", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const timer = loop.callAt(10, () => {});
  timer.cancel();
  assertThrows(
    () => timer.reschedule(20),
    InvalidStateError,
    "Cannot reschedule a timer: it was cancelled",
  );
  assertEquals(timer.when(), 10);
  assertEquals(loop.stats().timers, 0);
});

Deno.test("reschedule() on a closed loop throws and changes nothing", async () => {
  const loop = newEventLoop(VIRTUAL);
  const timer = loop.callAt(10, () => {});
  await loop.close();
  assertThrows(() => timer.reschedule(20), LoopClosedError);
  assertEquals(timer.when(), 10);
});

Deno.test("reschedule() from outside wakes a waiting loop at the new moment", async () => {
  const host = new ManualHost();
  await using loop = newEventLoop({ host });
  let ran = false;
  const timer = loop.callAt(100, () => {
    ran = true;
    loop.stop();
  });
  const ended = loop.runForever();
  await host.parked();
  assertEquals(host.deadlineMs, 100);
  timer.reschedule(40);
  while (host.deadlineMs !== 40) await Promise.resolve();
  host.advanceTo(40);
  await ended;
  assertEquals(ran, true);
});

// -- ref() and unref() --

Deno.test("Whether the host is to hold the process follows the pending timers", async () => {
  const host = new ManualHost();
  await using loop = newEventLoop({ host });
  const main = loop.createFuture<void>();
  const ended = loop.runUntilComplete(main);
  await host.parked();
  const settled = async (holds: boolean, deadlineMs: number) => {
    for (let hop = 0; hop < 20; hop++) await Promise.resolve();
    assertEquals({ holds: host.holds, deadlineMs: host.deadlineMs }, {
      holds,
      deadlineMs,
    });
  };
  await settled(false, Infinity);
  const timer = loop.callAt(10, () => {});
  await settled(true, 10);
  timer.unref();
  timer.unref();
  await settled(false, 10);
  timer.ref();
  timer.ref();
  await settled(true, 10);
  timer.unref();
  timer.reschedule(20);
  await settled(false, 20);
  const other = loop.callAt(30, () => {});
  await settled(true, 20);
  other.cancel();
  await settled(false, 20);
  timer.cancel();
  await settled(false, Infinity);
  timer.ref();
  await settled(false, Infinity);
  loop.callAt(Infinity, () => {});
  await settled(false, Infinity); // it never runs: nothing to live for
  const again = loop.callAt(40, () => {});
  again.unref();
  host.advanceTo(40);
  await settled(false, Infinity);
  again.reschedule(50); // it has run, and is still not to hold anything
  await settled(false, 50);
  again.ref();
  await settled(true, 50);
  main.setResult();
  await ended;
});

Deno.test("ref() and unref() of a timer that is due, has run or was cancelled upset no count", async () => {
  const host = new ManualHost();
  await using loop = newEventLoop({ host });
  const ended = loop.runForever();
  const due = loop.callAt(0, () => {});
  const log: string[] = [];
  loop.callSoon(() => due.unref());
  const ran = loop.callAt(0, () => {
    ran.unref();
    log.push("ran");
  });
  const cancelled = loop.callAt(5, () => {});
  cancelled.cancel();
  cancelled.unref();
  const keeper = loop.callAt(10, () => {});
  await host.parked();
  for (let hop = 0; hop < 20; hop++) await Promise.resolve();
  assertEquals({ log, holds: host.holds }, { log: ["ran"], holds: true });
  keeper.cancel();
  due.ref();
  ran.ref();
  loop.callAt(20, () => {}).unref();
  for (let hop = 0; hop < 20; hop++) await Promise.resolve();
  assertEquals(host.holds, false);
  loop.stop();
  await ended;
});

/** Programs that do not await at the top level, and whether they print "fired". */
const MATRIX: readonly {
  readonly name: string;
  readonly source: string;
  readonly fires: boolean;
}[] = [
  {
    name: "a timer holds the process",
    source: "loop.callLater(80, fired);",
    fires: true,
  },
  {
    name: "a timer after unref() does not",
    source: "loop.callLater(10_000, fired).unref();",
    fires: false,
  },
  {
    name: "a timer after unref() and ref() does",
    source: `
      const timer = loop.callLater(80, fired);
      timer.unref();
      timer.ref();`,
    fires: true,
  },
  {
    name: "a timer that was let go while the loop waits does not",
    source: `
      const timer = loop.callLater(10_000, fired);
      whileItWaits(() => timer.unref());`,
    fires: false,
  },
  {
    name: "a timer that is to hold again while the loop waits does",
    source: `
      const timer = loop.callLater(80, fired);
      timer.unref();
      whileItWaits(() => timer.ref());`,
    fires: true,
  },
  {
    name: "of two timers one is enough",
    source: `
      loop.callLater(60, fired).unref();
      loop.callLater(80, () => {});`,
    fires: true,
  },
  {
    name: "a timer that was cancelled does not",
    source: `
      const timer = loop.callLater(10_000, fired);
      whileItWaits(() => timer.cancel());`,
    fires: false,
  },
  {
    name: "a timer at Infinity does not",
    source: "loop.callLater(Infinity, fired);",
    fires: false,
  },
  {
    name: "a timer that was moved to Infinity does not",
    source: `
      const timer = loop.callLater(10_000, fired);
      whileItWaits(() => timer.reschedule(Infinity));`,
    fires: false,
  },
  {
    name: "a timer on a loop that does not run does not",
    source: `
      other.callLater(10_000, fired);
      other.stop();
      other.runForever();`,
    fires: false,
  },
];

for (const host of ["portable", "native", "poll"] as const) {
  for (const { name, source, fires } of MATRIX) {
    Deno.test(`Process lifetime: ${name} (${host})`, async () => {
      const { code, killed, stdout, stderr } = await runProgram(
        `
        import { newEventLoop } from "@rota/rota";
        const loop = newEventLoop({ host: "${host}" });
        const other = newEventLoop({ host: "${host}" });
        const fired = () => console.log("fired");
        // After two macrotasks it has found nothing to do.
        const whileItWaits = (act) => setImmediate(() => setImmediate(act));
        loop.runUntilComplete(loop.createFuture());
        ${source}
      `,
        { limitMs: 8_000 },
      );
      assertEquals({ code, killed, stdout, stderr }, {
        code: 0,
        killed: false,
        stdout: fires ? "fired\n" : "",
        stderr: "",
      });
    });
  }
}

Deno.test("What a callback throws is reported with its handle", async () => {
  const { loop, reports } = openLoop();
  const handle = loop.callSoon(function broken() {
    throw new Error("no");
  });
  await runTurns(loop);
  assertStrictEquals(reports[0]?.handle, handle);
  assertEquals(reports[0]?.message, 'Exception in callback "broken"');
  await loop.close();
});
