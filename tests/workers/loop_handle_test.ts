/**
 * Loop handles: calls between loops in several threads, with real threads.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  currentTask,
  EventLoop,
  type Future,
  getRunningLoop,
  type HostChoice,
  MisuseError,
  newEventLoop,
  run,
  sleep,
  TaskLocal,
  timeout,
  TimeoutError,
  until,
  wait,
  waitFor,
} from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import {
  dropHandles,
  packHandles,
  unpackHandles,
} from "../../src/workers/handle_arguments.ts";
import { LoopHandle } from "../../src/workers/loop_handle.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { collectReports, openLoop, runTurns } from "../support/loops.ts";
import { runDeno } from "../support/run_deno.ts";
import { startThread } from "./handle/start_thread.ts";
import type { ThreadFunctions } from "./handle/thread.ts";

const PORTABLE = { host: "portable" } as const;

/** Waits until a call has come out, and returns how, in one line. */
async function outcome(call: Future<unknown>): Promise<string> {
  await wait([call]);
  return outcomeOf(call);
}

/** Asks a thread until it has something in its log. */
async function logOf(handle: LoopHandle<ThreadFunctions>): Promise<unknown[]> {
  for (;;) {
    const log = await handle.call("log");
    if (log.length > 0) return log;
  }
}

// -- Calls --

for (const style of STYLES) {
  Deno.test(`LoopHandle.call() returns what the function does, called by ${style}`, async () => {
    await using thread = await startThread();
    const { handle } = thread;
    await run(
      inStyle(style, function* () {
        const value = new Map([[new Date(0), new Uint8Array([1, 2])]]);
        assertEquals(yield handle.call("echo", value), value);
        assertEquals(yield handle.call("echoAsync", 2n), 2n);
        assertEquals(yield handle.call("echoGenerator", "three"), "three");
        assertEquals(yield handle.call("echo", undefined), undefined);
      }),
      PORTABLE,
    );
  });

  Deno.test(`LoopHandle.call() throws what the function has thrown, in ${style}`, async () => {
    await using thread = await startThread();
    const { handle } = thread;
    await run(
      inStyle(style, function* () {
        for (const name of ["fail", "failAsync", "failGenerator"] as const) {
          try {
            yield handle.call(name);
          } catch (error) {
            assertInstanceOf(error, RangeError);
            assertEquals(error.message, "out of range");
            assertEquals((error as unknown as { code: number }).code, 42);
            assertStringIncludes(error.stack ?? "", "thread.ts");
            continue;
          }
          throw new Error(`${name} did not throw`);
        }
      }),
      PORTABLE,
    );
  });

  Deno.test(`loops in three threads call one another, in ${style}`, async () => {
    await using a = await startThread();
    await using b = await startThread();
    const relay = style === "a generator" ? "relayGenerator" : "relay";
    await run(
      inStyle(style, function* () {
        using main = new LoopHandle();
        main.register("double", (n: number) => 2 * n);
        main.register("doubleLater", async (n: number) => {
          await sleep(1);
          return 2 * n;
        });
        main.register("doubleInSteps", function* (n: number) {
          yield* sleep(1);
          return 2 * n;
        });
        // Main calls a, which calls b, which calls main; both ways round.
        for (
          const [first, second, name] of [
            [a, b, "double"],
            [b, a, "doubleLater"],
            [a, b, "doubleInSteps"],
          ] as const
        ) {
          yield second.handle.call("keep", main as LoopHandle);
          const result = yield first.handle.call(
            relay,
            second.handle as unknown as LoopHandle,
            "callKept",
            name,
            21,
          );
          assertEquals(result, 42);
        }
        // A handle that a thread has received is passed on, and given back.
        const self: LoopHandle<ThreadFunctions> = yield a.handle.call("self");
        yield b.handle.call("keep", self as unknown as LoopHandle);
        assertEquals(yield b.handle.call("callKept", "echo", 7), 7);
        self.close();
        assertEquals(yield b.handle.call("callKept", "echo", 8), 8);
      }),
      PORTABLE,
    );
  });

  Deno.test(`a call from the owner's own loop does the same, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        using handle = new LoopHandle<ThreadFunctions>();
        const given = { deep: [1] };
        let received: unknown;
        handle.register("echo", (value) => received = value);
        const result = yield handle.call("echo", given);
        assertEquals(result, given);
        assert(received !== given && result !== received);
      }),
      { host: "virtual" },
    );
  });
}

Deno.test("a call from another loop of the owner's thread runs on the owner's loop", async () => {
  const ready = Promise.withResolvers<LoopHandle>();
  const owner = run(async () => {
    const loop = getRunningLoop();
    const handle = new LoopHandle();
    handle.register("where", () => getRunningLoop() === loop);
    handle.register("stop", () => handle.close());
    ready.resolve(handle);
    await handle.serve();
  }, PORTABLE);
  await run(async () => {
    const handle = await until(ready.promise);
    assertEquals(await handle.call("where"), true);
    handle.post("stop");
  }, PORTABLE);
  await owner;
});

Deno.test("1,000 calls at once begin in order, from another thread and from the same one", async () => {
  await using thread = await startThread();
  await run(async () => {
    const seen: number[] = [];
    using handle = new LoopHandle<{ count(n: number): number }>();
    handle.register("count", (n) => seen.push(n));
    const numbers = Array.from({ length: 1_000 }, (_, i) => i);
    const calls = numbers.map((n) => handle.call("count", n));
    for (const [i, call] of calls.entries()) assertEquals(await call, i + 1);
    assertEquals(seen, numbers);

    const remote = numbers.map((n) => thread.handle.call("note", n));
    await wait(remote);
    assertEquals(remote.every((call) => !call.failed()), true);
    assertEquals(await thread.handle.call("log"), numbers);
  }, PORTABLE);
});

Deno.test("LoopHandle.post() runs the function, in order with calls", async () => {
  await using thread = await startThread();
  const { handle } = thread;
  handle.post("note", "no loop runs here");
  await run(async () => {
    handle.post("note", 1);
    const call = handle.call("note", 2);
    handle.post("note", 3);
    await call;
    assertEquals(await handle.call("log"), ["no loop runs here", 1, 2, 3]);
    assertEquals(getRunningLoop().stats().outsideWaits, 0);
  }, PORTABLE);
});

Deno.test("functions run as tasks without a parent, and without the caller's task-local values", async () => {
  const local = new TaskLocal("outside");
  await run(async () => {
    local.set("caller");
    using handle = new LoopHandle();
    handle.register("look", () => {
      const task = currentTask()!;
      return [task.name, task.parent === null, local.get()];
    });
    const { value } = handle.transferable();
    using received = LoopHandle.receive(value);
    for (const caller of [handle, received]) {
      assertEquals(await caller.call("look"), ["look", true, "outside"]);
    }
  }, PORTABLE);
});

// -- Cancelling --

for (const style of STYLES) {
  const name = style === "a generator" ? "waitGenerator" : "wait";
  Deno.test(`every way to cancel a call cancels its task in the other thread: ${style}`, async () => {
    await using thread = await startThread();
    const { handle } = thread;
    await run(async () => {
      const future = handle.call(name, "future");
      await handle.call("echo"); // it has begun
      assertEquals(future.cancel("enough"), true);
      assertEquals(future.cancel("again"), false);
      assertEquals(await outcome(future), "cancelled: Cancelled: enough");
      assertEquals(await logOf(handle), [
        "future: CancelledError: Cancelled: enough",
      ]);

      const waiter = getRunningLoop().createTask(
        inStyle(style, function* () {
          yield handle.call(name, "waiter");
        }),
      );
      await sleep(0);
      await handle.call("echo");
      waiter.cancel("waiter");
      assertEquals(await outcome(waiter), "cancelled: Cancelled: waiter");
      assertEquals(await logOf(handle), [
        "waiter: CancelledError: Cancelled: waiter",
      ]);

      const limited = handle.call(name, "waitFor");
      await handle.call("echo");
      await assertRejects(
        async () => await waitFor(limited, 1),
        TimeoutError,
      );
      const inBlock = handle.call(name, "timeout");
      await handle.call("echo");
      await assertRejects(
        async () =>
          await timeout(
            1,
            inStyle(style, function* () {
              yield inBlock;
            }),
          ),
        TimeoutError,
      );
      const log = [...await logOf(handle)];
      while (log.length < 2) log.push(...await logOf(handle));
      assertEquals(log.map((line) => String(line).split(":")[0]), [
        "waitFor",
        "timeout",
      ]);

      const controller = new AbortController();
      const call = handle.callWith(
        { signal: controller.signal },
        name,
        "signal",
      );
      await handle.call("echo");
      controller.abort(new Error("aborted"));
      assertEquals(await outcome(call), "cancelled: Cancelled: aborted");
      assertEquals(await logOf(handle), [
        "signal: CancelledError: Cancelled: aborted",
      ]);
      assertEquals(getRunningLoop().stats().outsideWaits, 0);
    }, PORTABLE);
  });
}

Deno.test("a call that is cancelled before it has begun never begins", async () => {
  await using thread = await startThread();
  const { handle } = thread;
  await run(async () => {
    const signal = AbortSignal.abort();
    assertEquals(handle.callWith({ signal }, "note", 1).cancelled(), true);
    assertEquals(await handle.call("log"), []);
    using own = new LoopHandle();
    const seen: unknown[] = [];
    own.register("note", (value: unknown) => void seen.push(value));
    own.call("note", 1).cancel();
    await own.call("note", 2);
    assertEquals(seen, [2]);
  }, PORTABLE);
});

Deno.test("an error after the caller has cancelled goes to the owner's exception handler, once", async () => {
  await run(async () => {
    const reports = collectReports(getRunningLoop());
    using handle = new LoopHandle();
    handle.register("clumsy", async () => {
      try {
        await sleep(Infinity);
      } finally {
        // deno-lint-ignore no-unsafe-finally
        throw new Error("clean-up failed");
      }
    });
    const { value } = handle.transferable();
    using received = LoopHandle.receive(value);
    for (const caller of [handle, received]) {
      const call = caller.call("clumsy");
      await caller.call("nothing").then(null, () => {});
      call.cancel();
      while (reports.length === 0) await sleep(1);
      await caller.call("nothing").then(null, () => {});
      assertEquals(
        reports.splice(0).map(({ message, exception }) =>
          `${message}: ${exception}`
        ),
        [
          'Function "clumsy" of a loop handle failed after its caller had left: Error: clean-up failed',
        ],
      );
    }
  }, PORTABLE);
});

Deno.test("a task that is cancelled at the owner ends the call as cancelled", async () => {
  await run(async () => {
    using handle = new LoopHandle();
    handle.register("throws", () => {
      throw new CancelledError("by itself");
    });
    handle.register("isCancelled", async () => {
      currentTask()!.cancel("from inside");
      await sleep(0);
    });
    const { value } = handle.transferable();
    using received = LoopHandle.receive(value);
    for (const caller of [handle, received]) {
      assertEquals(
        await outcome(caller.call("throws")),
        "cancelled: Cancelled: by itself",
      );
      assertEquals(
        await outcome(caller.call("isCancelled")),
        "cancelled: Cancelled: from inside",
      );
    }
  }, PORTABLE);
});

Deno.test("closing the caller's loop cancels its calls in the other thread", async () => {
  await using thread = await startThread();
  const { handle } = thread;
  const { loop, reports } = openLoop(PORTABLE);
  let call: Future<unknown> | undefined;
  await loop.runUntilComplete(async () => {
    call = handle.call("wait", "closed");
    await handle.call("echo");
  });
  await loop.close();
  assertEquals(call!.cancelled(), true);
  assertEquals(reports, []);
  await run(async () => {
    assertEquals(await logOf(handle), [
      "closed: CancelledError: Cancelled: the event loop of the caller was closed",
    ]);
  }, PORTABLE);
});

// -- Names and values --

Deno.test("a call of an unknown name fails with the list of those that there are", async () => {
  await run(async () => {
    const reports = collectReports(getRunningLoop());
    using handle = new LoopHandle();
    const { value } = handle.transferable();
    using received = LoopHandle.receive(value);
    for (const caller of [handle, received]) {
      await assertRejects(
        async () => await caller.call("doubel"),
        MisuseError,
        'Cannot call "doubel": no such function is registered, none is',
      );
    }
    handle.register("double", (n: number) => 2 * n);
    handle.register("stop", () => {});
    for (const caller of [handle, received]) {
      await assertRejects(
        async () => await caller.call("doubel"),
        MisuseError,
        'Cannot call "doubel": no such function is registered, only "double", "stop"',
      );
      // An inherited name is none.
      await assertRejects(
        async () => await caller.call("toString"),
        MisuseError,
      );
    }
    assertEquals(handle.unregister("double"), true);
    assertEquals(handle.unregister("double"), false);
    await assertRejects(
      async () => await received.call("double"),
      MisuseError,
      'only "stop"',
    );
    assertEquals(reports, []);
    received.post("doubel");
    await received.call("stop");
    assertEquals(reports.map(({ message }) => message), [
      'Function "doubel" of a loop handle failed, and nobody waits for it',
    ]);
  }, PORTABLE);
});

Deno.test("a name is registered once, and only at the owner", async () => {
  await run(async () => {
    const handle = new LoopHandle();
    handle.register("a", () => {});
    assertThrows(
      () => handle.register("a", () => {}),
      MisuseError,
      'Cannot register "a": a function of that name is registered already',
    );
    handle.unregister("a");
    handle.register("a", () => 2);
    assertEquals(await handle.call("a"), 2);
    const bad = handle as unknown as {
      register(name: unknown, fn: unknown): void;
      unregister(name: unknown): void;
      call(name: unknown): void;
      post(name: unknown): void;
      callWith(options: unknown, name: string): void;
      serve(options: unknown): void;
    };
    assertThrows(() => bad.register(1, () => {}), TypeError, "received 1");
    assertThrows(
      () => bad.register("b", 1),
      TypeError,
      "fn must be a function",
    );
    assertThrows(() => bad.unregister(1), TypeError);
    assertThrows(() => bad.call(null), TypeError, "received null");
    assertThrows(() => bad.post({}), TypeError);
    assertThrows(() => bad.callWith(1, "a"), TypeError, "options");
    assertThrows(() => bad.callWith({ signal: 1 }, "a"), TypeError, "signal");
    assertThrows(() => bad.callWith({ transfer: 1 }, "a"), TypeError, "array");
    assertThrows(() => bad.serve({ signal: 1 }), TypeError, "signal");

    const received = LoopHandle.receive(handle.transferable().value);
    assertThrows(
      () => received.register("c", () => {}),
      MisuseError,
      "only that of the loop's owner can",
    );
    assertThrows(() => received.unregister("a"), MisuseError);
    assertThrows(() => received.serve(), MisuseError);
    received.close();
    handle.close();
    assertThrows(
      () => handle.register("d", () => {}),
      ExecutorShutDownError,
      'Cannot register "d": the loop handle is closed',
    );
  }, PORTABLE);
});

Deno.test("a handle is typed by its functions", () => {
  interface Typed {
    add(a: number, b?: number): Promise<number>;
    none(): string;
    rest(...names: string[]): boolean;
  }
  const handle = new LoopHandle<Typed>({ loop: new EventLoop(PORTABLE) });
  const untyped = new LoopHandle({ loop: new EventLoop(PORTABLE) });
  const typesOnly = () => {
    const sum: Future<number> = handle.call("add", 1);
    const text: Future<string> = handle.call("none");
    const fine: Future<boolean> = handle.call("rest", "a", "b");
    const anything: Future<unknown> = untyped.call("x", 1, "a", null);
    handle.register("add", function* (a, b = 0) {
      yield* sleep(0);
      return a + b;
    });
    handle.register("add", async (a) => await Promise.resolve(a));
    handle.register("add", (a) => a);
    untyped.register("x", (a: number, b: string) => a + b);
    // @ts-expect-error an argument is of the wrong type
    handle.call("add", "1");
    // @ts-expect-error an argument is missing
    handle.call("add");
    // @ts-expect-error one is too many
    handle.call("none", 1);
    // @ts-expect-error no such function
    handle.call("subtract", 1);
    // @ts-expect-error rest arguments are of the wrong type
    handle.post("rest", 1);
    // @ts-expect-error the result is of the wrong type
    handle.register("add", (a) => `${a}`);
    return [sum, text, fine, anything];
  };
  assertEquals(typeof typesOnly, "function");
  handle.close();
  untyped.close();
});

Deno.test("values that cannot be cloned fail their call, and no other", async () => {
  await using thread = await startThread();
  await run(async () => {
    using own = new LoopHandle<ThreadFunctions>();
    own.register("echo", (value) => value);
    own.register("uncloneable", () => () => {});
    for (const handle of [thread.handle, own]) {
      const calls = [
        handle.call("echo", 1),
        handle.call("echo", () => {}),
        handle.call("uncloneable"),
        handle.call("echo", Promise.resolve()),
        handle.call("echo", {
          get bad() {
            throw new RangeError("getter");
          },
        }),
        handle.call("echo", 2),
      ];
      const errors: unknown[] = [];
      for (const call of calls) {
        await wait([call]);
        errors.push(call.exception());
      }
      assertEquals(calls[0]!.result(), 1);
      assertEquals(calls[5]!.result(), 2);
      for (const at of [1, 2, 3]) {
        assertInstanceOf(errors[at], DOMException);
        assertEquals(errors[at].name, "DataCloneError");
      }
      assertStringIncludes(
        String(errors[1]),
        'Cannot call "echo" as its arguments must be cloneable',
      );
      assertStringIncludes(
        String(errors[2]),
        'Cannot hand over the result of "uncloneable" as it must be cloneable',
      );
      assertInstanceOf(errors[4], RangeError);
      const error = assertThrows(
        () => handle.post("echo", () => {}),
        DOMException,
      );
      assertEquals(error.name, "DataCloneError");
    }
    assertEquals(getRunningLoop().stats().outsideWaits, 0);
  }, PORTABLE);
});

Deno.test("LoopHandle.callWith() moves what is to be transferred", async () => {
  await using thread = await startThread();
  await run(async () => {
    using own = new LoopHandle<ThreadFunctions>();
    own.register("echo", (value) => value);
    for (const handle of [thread.handle, own]) {
      const { buffer } = new Uint8Array([1, 2, 3]);
      const transfer = [buffer];
      const call = handle.callWith({ transfer }, "echo", buffer);
      assertEquals([buffer.byteLength, transfer.length], [0, 1]);
      assertEquals(new Uint8Array(await call as ArrayBuffer)[2], 3);
      // Once more: it is detached.
      assertThrows(
        () => handle.callWith({ transfer }, "echo", buffer),
        TypeError,
        "Cannot call a function as transfer must hold objects that can be moved: received an ArrayBuffer that was moved before",
      );
    }
  }, PORTABLE);
});

Deno.test("a failed call that nobody looks at is reported at the caller, once", async () => {
  await using thread = await startThread();
  const reports: string[] = [];
  await run(async () => {
    getRunningLoop().setExceptionHandler((_, { exception }) => {
      reports.push(String(exception));
    });
    thread.handle.call("fail");
    await thread.handle.call("echo");
  }, PORTABLE);
  assertEquals(reports, ["RangeError: out of range"]);
  await run(async () => {
    assertEquals(await thread.handle.call("reports"), []);
  }, PORTABLE);
});

// -- Waking, and virtual time --

for (const host of ["portable", "native", "poll", "virtual"] as const) {
  const ignore = (host === "native" || host === "poll") &&
    Deno.build.os === "windows";
  Deno.test({
    name: `a call wakes a loop that is parked on the ${host} host`,
    ignore,
    fn: async () => {
      await using thread = await startThread({ host });
      const { handle } = thread;
      await run(async () => {
        const name = await handle.call("hostName");
        assertEquals(name, { native: "epoll" }[host as string] ?? host);
        // Each call finds a loop that has nothing else to do.
        for (let i = 0; i < 10; i++) {
          assertEquals(await handle.call("echo", i), i);
          assertEquals(await handle.call("echoAsync", i), i);
        }
        if (host === "virtual") assertEquals(await handle.call("time"), 0);
      }, PORTABLE);
    },
  });

  Deno.test({
    name: `an answer wakes a caller on the ${host} host`,
    ignore,
    fn: async () => {
      await using thread = await startThread();
      const { handle } = thread;
      for (const style of STYLES) {
        const time = await run(
          inStyle(style, function* () {
            const beginMs = getRunningLoop().time();
            for (let i = 0; i < 10; i++) {
              assertEquals(yield handle.call("echoAsync", i), i);
            }
            return getRunningLoop().time() - beginMs;
          }),
          { host },
        );
        if (host === "virtual") assertEquals(time, 0);
      }
    },
  });
}

Deno.test("a virtual clock stands still for a call, and no deadlock is reported", async () => {
  await using thread = await startThread();
  await run(async () => {
    const loop = getRunningLoop();
    let rang = false;
    loop.callLater(1, () => rang = true);
    await thread.handle.call("echoAsync", 1);
    assertEquals([rang, loop.time()], [false, 0]);
    await sleep(1);
    assertEquals([rang, loop.time()], [true, 1]);
  }, { host: "virtual" });
});

Deno.test("calls reach a loop that is busy, and find it busy still", async () => {
  for (const host of ["portable", "native"] satisfies HostChoice[]) {
    await using thread = await startThread({ host });
    const { handle } = thread;
    await run(async () => {
      await handle.call("busy");
      for (let i = 0; i < 20; i++) {
        assertEquals(await handle.call("echoAsync", i), i);
      }
      assert(await handle.call("idle") > 20);
    }, PORTABLE);
  }
});

Deno.test("a caller that is busy itself gets its answers", async () => {
  await using thread = await startThread();
  await run(async () => {
    const loop = getRunningLoop();
    let busy = true;
    const turn = () => {
      if (busy) loop.callSoon(turn);
    };
    turn();
    for (let i = 0; i < 20; i++) {
      assertEquals(await thread.handle.call("echo", i), i);
    }
    busy = false;
  }, PORTABLE);
});

// -- The end --

Deno.test("LoopHandle.close() at the owner rejects all calls, once each", async () => {
  await using thread = await startThread();
  const { handle } = thread;
  await run(async () => {
    const settled: string[] = [];
    const calls: Future<unknown>[] = [];
    for (let i = 0; i < 100; i++) {
      const call = handle.call(i % 2 ? "wait" : "waitGenerator", `${i}`);
      call.addDoneCallback((call) => settled.push(outcomeOf(call)));
      calls.push(call);
    }
    await handle.call("echo");
    const stop = handle.call("stop");
    const late = handle.call("echo", "on its way");
    const why =
      "failed: Cannot call %: its loop has been closed, or the handle to it";
    assertEquals(await outcome(stop), why.replace("%", '"stop"'));
    assertEquals(await outcome(late), why.replace("%", '"echo"'));
    await wait(calls);
    await sleep(0);
    assertEquals(settled.length, 100);
    assertEquals(new Set(settled).size, 2);
    assertEquals(settled[0], why.replace("%", '"waitGenerator"'));

    // Later ones.
    assertEquals(handle.closed, true);
    await assertRejects(
      async () => await handle.call("echo"),
      ExecutorShutDownError,
      'Cannot call "echo": its loop has been closed, or the handle to it',
    );
    assertThrows(() => handle.post("echo"), ExecutorShutDownError);
    assertThrows(
      () => handle.transferable(),
      ExecutorShutDownError,
      "Cannot transfer a loop handle",
    );
    assertEquals(getRunningLoop().stats().outsideWaits, 0);
  }, PORTABLE);
});

Deno.test("closing a handle rejects calls from the owner's thread, and cancels their tasks", async () => {
  const log: string[] = [];
  await run(async () => {
    const handle = new LoopHandle();
    handle.register("wait", async () => {
      try {
        await sleep(Infinity);
      } catch (error) {
        log.push(String(error));
        throw error;
      }
    });
    const call = handle.call("wait");
    const serving = getRunningLoop().createTask(() => handle.serve());
    await sleep(0);
    await sleep(0);
    handle.close();
    handle.close();
    assertEquals(
      await outcome(call),
      'failed: Cannot call "wait": the loop handle is closed',
    );
    await serving;
    await handle.serve();
    await assertRejects(
      async () => await handle.call("wait"),
      ExecutorShutDownError,
    );
    assertThrows(() => handle.post("wait"), ExecutorShutDownError);
    assertThrows(() => handle.transferable(), ExecutorShutDownError);
    await sleep(0);
  }, { host: "virtual" });
  assertEquals(log, ["CancelledError: Cancelled: the loop handle is closed"]);
});

Deno.test("the end of run() closes the owner's handle before it cancels what is left", async () => {
  const outcomes: string[] = [];
  const ready = Promise.withResolvers<LoopHandle>();
  const finish = Promise.withResolvers<void>();
  const owner = run(async () => {
    const handle = new LoopHandle();
    handle.register("wait", async () => {
      try {
        await sleep(Infinity);
      } finally {
        await sleep(1);
        outcomes.push("cleaned up");
      }
    });
    handle.register("ready", () => {});
    ready.resolve(handle);
    await until(finish.promise);
  }, PORTABLE);
  await run(async () => {
    const handle = await until(ready.promise);
    using received = LoopHandle.receive(handle.transferable().value);
    const calls = [handle.call("wait"), received.call("wait")];
    await received.call("ready");
    finish.resolve();
    for (const call of calls) outcomes.push(await outcome(call));
    await until(owner);
  }, PORTABLE);
  assertEquals(outcomes.sort(), [
    "cleaned up",
    "cleaned up",
    'failed: Cannot call "wait": its loop has been closed, or the handle to it',
    'failed: Cannot call "wait": the loop handle is closed',
  ]);
});

Deno.test("closing a loop closes the handles of it", async () => {
  const loop = newEventLoop(PORTABLE);
  const handle = new LoopHandle({ loop });
  handle.register("a", () => 1);
  const received = LoopHandle.receive(handle.transferable().value);
  await run(async () => {
    const calls = [handle.call("a"), received.call("a")]; // the loop does not run
    await sleep(0);
    assertEquals(calls.map((call) => call.done()), [false, false]);
    await loop.close();
    for (const call of calls) {
      await assertRejects(async () => await call, ExecutorShutDownError);
    }
    assertEquals([handle.closed, received.closed], [true, true]);
  }, PORTABLE);
  assertThrows(() => new LoopHandle({ loop }), MisuseError, "closed");
});

Deno.test("closing a received handle gives up its own calls, and cancels their tasks", async () => {
  await using thread = await startThread();
  const { handle } = thread;
  await run(async () => {
    const copy = await handle.call("self");
    const call = copy.call("wait", "mine");
    const other = handle.call("wait", "other");
    await copy.call("echo");
    copy.close();
    copy.close();
    assertEquals(
      await outcome(call),
      'failed: Cannot call "wait": the loop handle is closed',
    );
    assertEquals(await logOf(handle), [
      "mine: CancelledError: Cancelled: the caller is gone",
    ]);
    assertEquals([other.done(), copy.closed, handle.closed], [
      false,
      true,
      false,
    ]);
    other.cancel();
  }, PORTABLE);
});

for (
  const [kind, death] of [
    ["web", "terminate"],
    ["web", "exit"],
    ["web", "crash"],
    ["node", "terminate"],
    ["node", "spin"],
    ["node", "exit"],
    ["node", "crash"],
  ] as const
) {
  Deno.test(`calls fail when the owner's thread ends: ${kind} worker, ${death}`, async () => {
    await using thread = await startThread({ kind });
    const { handle } = thread;
    await run(async () => {
      let settled = 0;
      const calls: Future<unknown>[] = Array.from(
        { length: 10 },
        (_, i) => handle.call("wait", `${i}`),
      );
      for (const call of calls) call.addDoneCallback(() => settled++);
      await handle.call("echo");
      if (death !== "terminate") handle.post(death);
      if (death === "spin") calls.push(handle.call("echo"));
      if (death === "spin" || death === "terminate") await thread.terminate();
      for (const call of calls) {
        const error = await assertRejects(
          async () => await call,
          ExecutorShutDownError,
        );
        assertStringIncludes(error.message, "the thread of its loop has ended");
      }
      await sleep(0);
      assertEquals([settled, handle.closed], [10, true]);
      await assertRejects(
        async () => await handle.call("echo"),
        ExecutorShutDownError,
        'Cannot call "echo": the thread of its loop has ended',
      );
      assertEquals(getRunningLoop().stats().outsideWaits, 0);
    }, PORTABLE);
  });
}

Deno.test("tasks are cancelled when the thread of their caller ends", async () => {
  const thread = await startThread();
  await run(async () => {
    const reason = Promise.withResolvers<unknown>();
    const begun = Promise.withResolvers<void>();
    using handle = new LoopHandle();
    handle.register("wait", async () => {
      begun.resolve();
      try {
        await sleep(Infinity);
      } catch (error) {
        reason.resolve(error);
        throw error;
      }
    });
    await thread.handle.call("keep", handle);
    const call = thread.handle.call("callKept", "wait", null);
    await until(begun.promise);
    await thread.terminate();
    assertEquals(
      String(await until(reason.promise)),
      "CancelledError: Cancelled: the caller is gone",
    );
    await assertRejects(async () => await call, ExecutorShutDownError);
  }, PORTABLE);
  thread.handle.close();
});

Deno.test("a handle that was sent to a thread which has ended is let go of", async () => {
  const thread = await startThread();
  await run(async () => {
    using handle = new LoopHandle();
    await thread.terminate();
    while (!thread.handle.closed) await sleep(1);
    await assertRejects(
      async () => await thread.handle.call("keep", handle),
      ExecutorShutDownError,
    );
  }, PORTABLE);
});

// -- Making, sending and receiving --

Deno.test("LoopHandle.receive() takes each value once, and nothing else", () => {
  const loop = new EventLoop(PORTABLE);
  const handle = new LoopHandle({ loop });
  const { value, transfer } = handle.transferable();
  assertEquals(transfer, [value.port]);
  const received = LoopHandle.receive(value);
  assertThrows(
    () => LoopHandle.receive(value),
    MisuseError,
    "call transferable() for each",
  );
  const other = handle.transferable();
  assertThrows(() => structuredClone(other.value), DOMException);
  const arrived = structuredClone(other.value, { transfer: other.transfer });
  LoopHandle.receive(arrived).close();
  for (
    const bad of [
      undefined,
      null,
      1,
      "x",
      {},
      handle,
      { "rota:loop-handle": 1 },
      { "rota:loop-handle": 1, port: {} },
    ]
  ) {
    assertThrows(
      () => LoopHandle.receive(bad),
      TypeError,
      "Cannot receive a loop handle as value must come from transferable()",
    );
  }
  const later = handle.transferable().value;
  assertThrows(
    () => LoopHandle.receive({ ...later, "rota:loop-handle": 99 }),
    TypeError,
    "Cannot receive a loop handle as value must come from this version of Rota",
  );
  LoopHandle.receive(later).close();
  assertThrows(
    () => new LoopHandle({ loop: {} as EventLoop }),
    TypeError,
    "loop must be an EventLoop",
  );
  assertThrows(() => new LoopHandle(1 as never), TypeError, "options");
  assertThrows(() => new LoopHandle(), MisuseError, "no loop is running");
  assertThrows(() => handle.call("x"), MisuseError, "no loop is running");
  assertEquals(Deno.inspect(handle), "LoopHandle (owner, open)");
  received.close();
  assertEquals(Deno.inspect(received), "LoopHandle (received, closed)");
  handle.close();
});

Deno.test("a handle itself cannot be posted by mistake", () => {
  const handle = new LoopHandle({ loop: new EventLoop(PORTABLE) });
  assertThrows(
    () => structuredClone(handle),
    DOMException,
    "send its transferable() instead",
  );
  assertThrows(() => structuredClone([{ handle }]), DOMException);
  handle.close();
});

Deno.test("packHandles() and unpackHandles() carry handles among the arguments of a call", async () => {
  await run(async () => {
    using handle = new LoopHandle();
    handle.register("a", () => "answer");
    const transfer: Transferable[] = [];
    const plain = [1, null, undefined, "x", { handle: 1 }];
    assertEquals(packHandles(plain, transfer) === plain, true);
    assertEquals(unpackHandles(plain) === plain, true);
    dropHandles(plain);

    const packed = packHandles([1, handle, handle], transfer);
    assertEquals([packed[0], transfer.length], [1, 2]);
    const [one, first, second] = unpackHandles(
      structuredClone(packed, { transfer }),
    ) as [number, LoopHandle, LoopHandle];
    assertEquals([one, first !== second], [1, true]);
    assertEquals(await first.call("a"), "answer");
    assertEquals(await second.call("a"), "answer");
    first.close();
    second.close();

    // Sending fails: the handle of the other end learns of it.
    const dropped = packHandles([handle, () => {}], []);
    assertThrows(() => structuredClone(dropped), DOMException);
    dropHandles(dropped);
    const closed = new LoopHandle();
    closed.close();
    const list: Transferable[] = [];
    assertThrows(
      () => packHandles([handle, closed], list),
      ExecutorShutDownError,
    );
    assertEquals(list, []);
  }, PORTABLE);
});

Deno.test("a copy made from a received handle is connected with the owner, whoever closes", async () => {
  await using thread = await startThread();
  const { handle } = thread;
  await run(async () => {
    const copy = LoopHandle.receive<ThreadFunctions>(
      handle.transferable().value,
    );
    const copyOfCopy = LoopHandle.receive<ThreadFunctions>(
      copy.transferable().value,
    );
    copy.close();
    assertEquals(await copyOfCopy.call("echo", 1), 1);
    const call = copyOfCopy.call("wait", "x");
    const unopened = handle.transferable(); // on its way when the owner closes
    handle.post("stop");
    await assertRejects(async () => await call, ExecutorShutDownError);
    const late = LoopHandle.receive<ThreadFunctions>(unopened.value);
    await assertRejects(
      async () => await late.call("echo"),
      ExecutorShutDownError,
    );
    late.close();
    copyOfCopy.close();
  }, PORTABLE);
});

Deno.test("LoopHandle.serve() waits on its own loop, and may be cancelled", async () => {
  const other = newEventLoop(PORTABLE);
  const foreign = new LoopHandle({ loop: other });
  await run(async () => {
    await assertRejects(
      async () => await foreign.serve(),
      MisuseError,
      "its loop is another one",
    );
    using handle = new LoopHandle();
    handle.register("a", () => 1);
    const controller = new AbortController();
    const serving = getRunningLoop().createTask(() =>
      handle.serve({ signal: controller.signal })
    );
    await sleep(0);
    assertEquals(getRunningLoop().stats().outsideWaits, 1);
    controller.abort(new Error("enough"));
    assertEquals(await outcome(serving), "failed: enough");
    assertEquals(getRunningLoop().stats().outsideWaits, 0);
    assertEquals(await handle.call("a"), 1);
  }, PORTABLE);
  await other.close();
});

Deno.test("EventLoop.callSoonThreadsafe() is callSoon(), and wakes a loop that waits", async () => {
  const { loop, reports } = openLoop();
  const log: unknown[] = [];
  loop.callSoonThreadsafe((a: number, b: string) => log.push(a, b), 1, "b");
  const withdrawn = loop.callSoonThreadsafe(() => log.push("withdrawn"));
  loop.callSoon(() => log.push("after"));
  withdrawn.cancel();
  await runTurns(loop);
  assertEquals(log, [1, "b", "after"]);
  const ended = loop.runForever();
  setTimeout(() => loop.callSoonThreadsafe(() => loop.stop()), 1);
  await ended;
  await loop.close();
  assertThrows(() => loop.callSoonThreadsafe(() => {}), MisuseError, "closed");
  assertEquals(reports, []);
});

// -- What handles hold, in programs of their own --

for (
  const [program, what, output] of [
    ["idle", "open handles do not keep the process alive", ["late"]],
    ["call", "a call under way does", ["late", "late", "late", "late"]],
    [
      "collected",
      "a received handle that is collected closes its line after its calls",
      ["slow 10", "open ports: 0"],
    ],
  ] as const
) {
  Deno.test(what, async () => {
    const { code, stdout, stderr } = await runDeno([
      "run",
      "-A",
      "--v8-flags=--expose-gc",
      "tests/workers/handle/holds.ts",
      program,
    ]);
    assertEquals(stderr.split("\n").filter((line) => !/^Check/.test(line)), [
      "",
    ]);
    assertEquals([stdout.trim().split("\n"), code], [[...output, "end"], 0]);
  });
}
