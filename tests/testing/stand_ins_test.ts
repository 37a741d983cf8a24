/**
 * Stand-ins: mocks of asynchronous functions, fake executors and descriptors, and
 * injected faults.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { assertSpyCall, assertSpyCalls, spy } from "@std/testing/mock";
import {
  CancelledError,
  createTask,
  DescriptorsUnsupportedError,
  ExecutorShutDownError,
  getRunningLoop,
  MisuseError,
  OsError,
  OverloadError,
  run,
  sleep,
  timeout,
  TimeoutError,
  WorkerCrashError,
} from "../../mod.ts";
import { isEqual } from "../../src/testing/equality.ts";
import {
  AssertionError,
  cancelEverywhere,
  FakeExecutor,
  FaultInjector,
  type FaultOptions,
  InjectedFaultError,
  mockAsync,
  runTestLoop,
  runVirtual,
} from "../../src/testing/mod.ts";
import { inStyle, STYLES } from "../support/styles.ts";

// -- mockAsync --

for (const style of STYLES) {
  Deno.test(`a mock answers by its script and notes calls and awaits apart, in ${style}`, async () => {
    const mock = mockAsync<[n: number], string>(undefined, { name: "load" })
      .returnsOnce("first", { delayMs: 10 })
      .throwsOnce(new RangeError("second"))
      .runsOnce(function* (n) {
        yield* sleep(5);
        return `ran ${n}`;
      })
      .returns("standing");
    await runTestLoop(() =>
      inStyle(style, function* () {
        const [one, two] = [mock(1), mock(2)];
        assertEquals([mock.calls.length, mock.awaits.length], [2, 0]);
        mock.assertNotAwaited();
        assertThrows(() => mock.assertAllAwaited(), AssertionError, "(1), (2)");
        // Answers belong to the calls, whichever is awaited first.
        try {
          yield two;
          assert(false);
        } catch (error) {
          assert(error instanceof RangeError);
        }
        assertEquals(yield one, "first");
        assertEquals(getRunningLoop().time(), 10);
        assertEquals(yield mock(3), "ran 3");
        assertEquals([yield mock(4), yield mock(5)], ["standing", "standing"]);
        mock.assertAllAwaited();
        assertEquals(
          mock.awaits.map(({ args, startMs, state, value }) => [
            args[0],
            startMs,
            state,
            value,
          ]),
          [
            [2, 0, "failed", undefined],
            [1, 0, "returned", "first"],
            [3, 10, "returned", "ran 3"],
            [4, 15, "returned", "standing"],
            [5, 15, "returned", "standing"],
          ],
        );
      })()
    );
  });

  Deno.test(`a mock can be cancelled at its wait, in ${style}`, async () => {
    const mock = mockAsync<[], number>().returns(1, { delayMs: 100 });
    await runTestLoop(() =>
      inStyle(style, function* () {
        try {
          yield timeout(
            10,
            inStyle(style, () => {
              return (function* () {
                return (yield mock()) as number;
              })();
            }),
          );
          assert(false);
        } catch (error) {
          assert(error instanceof TimeoutError);
        }
        assertEquals(mock.awaits[0]!.state, "cancelled");
        assert(mock.awaits[0]!.error instanceof CancelledError);
      })()
    );
    await cancelEverywhere(
      () => inStyle(style, () => awaiting(() => mock()))(),
      () => {},
    );
  });
}

function* awaiting(call: () => ReturnType<typeof sleep>) {
  yield call();
}

Deno.test("the assertions of a mock pass and fail as they say", async () => {
  const mock = mockAsync<[{ id: number }, string?], void>(undefined, {
    name: "save",
  });
  const fails = (assertion: () => void, message: RegExp) => {
    const error = assertThrows(assertion, AssertionError);
    assertMatch(error.message, message);
  };
  const called0 = /awaited at all: it was called 0 times and awaited 0 times$/;
  fails(() => mock.assertAwaited(), called0);
  fails(() => mock.assertAwaitedOnce(), /awaited once/);
  mock.assertNotAwaited();
  mock.assertAwaitCount(0);
  await run(async () => {
    await mock({ id: 1 });
    mock.assertAwaited();
    mock.assertAwaitedOnce();
    mock.assertAwaitedOnceWith({ id: 1 });
    fails(
      () => mock.assertAwaitedOnceWith({ id: 2 }),
      /at last with \(\{ id: 2/,
    );
    await mock({ id: 2 }, "two");
    await mock({ id: 3 });
  }, { host: "virtual" });
  mock.assertAwaitCount(3);
  mock.assertAwaitedWith({ id: 3 });
  mock.assertAnyAwait({ id: 2 }, "two");
  mock.assertHasAwaits([{ id: 2 }, "two"], [{ id: 3 }]);
  fails(() => mock.assertNotAwaited(), /awaited 0 times/);
  fails(() => mock.assertAwaitedOnceWith({ id: 3 }), /awaited once/);
  fails(() => mock.assertAwaitedWith({ id: 2 }, "two"), /at last with/);
  fails(() => mock.assertAnyAwait({ id: 2 }), /\n {2}save\(\{ id: 1 \}\)\n/);
  fails(
    () => mock.assertHasAwaits([{ id: 1 }], [{ id: 3 }]),
    /in a row with \(\{ id: 1 \}\), \(\{ id: 3 \}\)/,
  );
  assertThrows(() => mock.assertAwaitCount(-1), RangeError);
  mock.reset();
  mock.assertNotAwaited();
  assertEquals(mock.calls.length, 0);
});

Deno.test("a mock without an answer left fails, and one without any script returns nothing", async () => {
  const empty = mockAsync();
  const once = mockAsync<[], number>().returnsOnce(1);
  await run(async () => {
    assertEquals(await empty(), undefined);
    assertEquals(await once(), 1);
    await assertRejects(
      async () => await once(),
      MisuseError,
      "Cannot answer call 2 of mock mock(): its script has 1 answers",
    );
  }, { host: "virtual" });
});

Deno.test("a call of a mock that nobody awaits is left over", async () => {
  const mock = mockAsync<[], void>(undefined, { name: "notify" });
  await assertRejects(
    () =>
      runTestLoop(async () => {
        mock();
        await sleep(0);
      }),
    AssertionError,
    'operation "mock notify()"',
  );
});

Deno.test("spies and mocks work beside each other", async () => {
  const mock = mockAsync<[n: number], number>((n) => n + 1);
  const spied = spy((n: number) => mock(n));
  await run(async () => {
    assertEquals(await spied(1), 2);
    assertEquals(await mock(5), 6);
  }, { host: "virtual" });
  assertSpyCalls(spied, 1);
  assertSpyCalls(mock, 2); // a mock has the shape of a spy
  assertSpyCall(mock, 1, { args: [5] });
  mock.assertHasAwaits([1], [5]);
});

Deno.test("a mock refuses wrong arguments", () => {
  const bad: [call: () => unknown, type: typeof Error, message: string][] = [
    [() => mockAsync(1 as never), TypeError, "fn must be a function"],
    [() => mockAsync(undefined, { name: 1 as never }), TypeError, "name must"],
    [() => mockAsync().runs(1 as never), TypeError, "fn must be a function"],
    [
      () => mockAsync().returns(undefined, { delayMs: -1 }),
      RangeError,
      "delayMs must be >= 0",
    ],
    [() => mockAsync().throws(1, 2 as never), TypeError, "options must be"],
  ];
  for (const [call, type, message] of bad) assertThrows(call, type, message);
});

Deno.test("arguments are compared by what is in them", () => {
  class Point {
    readonly x: number;
    constructor(x: number) {
      this.x = x;
    }
  }
  const ring = () => {
    const object: { self?: unknown; n: number } = { n: 1 };
    object.self = object;
    return object;
  };
  const key = Symbol("key");
  const equal: [unknown, unknown][] = [
    [NaN, NaN],
    [[1, [2]], [1, [2]]],
    [{ a: 1, b: undefined }, { b: undefined, a: 1 }],
    [new Map([[{ a: 1 }, 2]]), new Map([[{ a: 1 }, 2]])],
    [new Set([1, { b: 2 }]), new Set([{ b: 2 }, 1])],
    [new Date(5), new Date(5)],
    [/a/g, /a/g],
    [new Uint8Array([1, 2]), new Uint8Array([1, 2])],
    [new Uint8Array([1]).buffer, new Uint8Array([1]).buffer],
    [new Point(1), new Point(1)],
    [new Error("a", { cause: 1 }), new Error("a", { cause: 1 })],
    [ring(), ring()],
    [{ [key]: 1 }, { [key]: 1 }],
  ];
  const different: [unknown, unknown][] = [
    [0, -0],
    [1, "1"],
    [null, undefined],
    [[1], [1, 2]],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: undefined }, { b: undefined }],
    [{ a: 1 }, [1]],
    [new Point(1), { x: 1 }],
    [new Map([[1, 2]]), new Map([[1, 3]])],
    [new Set([1]), new Set([2])],
    [new Date(5), new Date(6)],
    [/a/g, /a/i],
    [new Uint8Array([1]), new Uint8Array([2])],
    [new Error("a"), new Error("b")],
    [new Error("a"), new TypeError("a")],
    [Promise.resolve(1), Promise.resolve(1)],
    [() => 1, () => 1],
    [{ [key]: 1 }, { [key]: 2 }],
  ];
  for (const [a, b] of equal) assert(isEqual(a, b) && isEqual(b, a), String(a));
  for (const [a, b] of different) {
    assert(!isEqual(a, b) && !isEqual(b, a), String(a));
  }
});

// -- Faults --

const CALLS = 400;

/** Calls something through faults, on a virtual loop, and tells all that came of it. */
async function playFaults(
  options: FaultOptions,
  oneWay: boolean,
  style: typeof STYLES[number],
) {
  const faults = new FaultInjector(options);
  const received: number[] = [];
  const outcomes: string[] = [];
  const send = faults.wrap(function* (n: number) {
    yield* sleep(0);
    received.push(n);
    return n;
  }, { name: "send", oneWay });
  let endMs = 0;
  await runVirtual(() =>
    inStyle(style, function* () {
      for (let n = 0; n < CALLS; n++) {
        const task = createTask(() => send(n));
        const timer = getRunningLoop().callLater(1_000, () => task.cancel());
        try {
          outcomes.push(String(yield task));
        } catch (error) {
          outcomes.push((error as Error).name);
        }
        timer.cancel();
      }
      endMs = getRunningLoop().time();
    })()
  );
  return { outcomes, received, endMs, injected: faults.injected };
}

for (const style of STYLES) {
  Deno.test(`faults come by chance that a seed repeats, in ${style}`, async () => {
    const seed = Date.now();
    console.log(`seed ${seed}`);
    const options = { seed, delay: 0.2, drop: 0.2, duplicate: 0.2, fail: 0.2 };
    const first = await playFaults(options, false, style);
    assertEquals(await playFaults(options, false, style), first);
    const { outcomes, received, injected } = first;
    const kinds = new Map(injected.map(({ call, kind }) => [call, kind]));
    for (let n = 0; n < CALLS; n++) {
      const kind = kinds.get(n) ?? "none";
      const times = { none: 1, drop: 0, duplicate: 2, fail: 0 }[kind];
      const expected = {
        none: String(n),
        duplicate: String(n),
        drop: "CancelledError",
        fail: "InjectedFaultError",
      }[kind];
      assertEquals(received.filter((one) => one === n).length, times, `${n}`);
      assertEquals(outcomes[n], expected, `${n}`);
    }
    for (const kind of ["none", "drop", "duplicate", "fail"]) {
      const some = injected.filter((fault) => fault.kind === kind).length;
      assert(some > 0 && some < CALLS / 2, `${some} times ${kind}`);
    }
    for (const { delayMs } of injected) assert(delayMs >= 0 && delayMs <= 100);
    const other = await playFaults(
      { ...options, seed: seed + 1 },
      false,
      style,
    );
    assert(other.outcomes.join() !== outcomes.join());
  });

  Deno.test(`a message that gets lost holds nobody up, in ${style}`, async () => {
    const options = { seed: 1, drop: 1 };
    const { outcomes, received, endMs } = await playFaults(
      options,
      true,
      style,
    );
    assertEquals([received.length, endMs], [0, 0]);
    assertEquals(outcomes, new Array(CALLS).fill("undefined"));
  });
}

Deno.test("faults can be turned off and on, and keep their draws", async () => {
  const record = async (off: number[]) => {
    const faults = new FaultInjector({ seed: 9, fail: 0.5 });
    const call = faults.wrap((n: number) => n, { name: "f" });
    const outcomes: unknown[] = [];
    await run(async () => {
      for (let n = 0; n < 50; n++) {
        faults.enabled = !off.includes(n);
        try {
          outcomes.push(await call(n));
        } catch {
          outcomes.push("failed");
        }
      }
    }, { host: "virtual" });
    return outcomes;
  };
  const all = await record([]);
  const off = Array.from({ length: 25 }, (_, n) => n);
  const half = await record(off);
  assertEquals(half.slice(0, 25), off);
  assertEquals(half.slice(25), all.slice(25));
  assert(all.slice(25).includes("failed"));
});

Deno.test("errors of faults are those of the test, and of second calls are kept", async () => {
  const own = new Error("own");
  const faults = new FaultInjector({ seed: 1, fail: 1, error: () => own });
  const twice = new FaultInjector({ seed: 1, duplicate: 1 });
  let calls = 0;
  await run(async () => {
    const error = await assertRejects(async () =>
      await faults.wrap(() => 1, { name: "f" })()
    );
    assertStrictEquals(error, own);
    const second = twice.wrap(async () => {
      if (++calls === 2) throw own;
      return await Promise.resolve(calls);
    }, { name: "f" });
    assertEquals(await second(), 1);
    assertEquals(twice.duplicateErrors, [own]);
    const byDefault = new FaultInjector({ seed: 1, fail: 1 });
    await assertRejects(
      async () => await byDefault.wrap(() => 1, { name: "load" })(),
      InjectedFaultError,
      "Injected fault in call 0, of load()",
    );
  }, { host: "virtual" });
});

Deno.test("an injector refuses wrong options", () => {
  const bad: [options: object, type: typeof Error, message: string][] = [
    [{}, TypeError, "seed must be a number"],
    [{ seed: 0.5 }, RangeError, "seed must be a safe integer"],
    [{ seed: 1, drop: 2 }, RangeError, "drop must be between 0 and 1"],
    [{ seed: 1, delay: NaN }, RangeError, "delay must not be NaN"],
    [{ seed: 1, fail: "x" }, TypeError, "fail must be a number"],
    [{ seed: 1, drop: 0.6, fail: 0.6 }, RangeError, "<= 1 together"],
    [{ seed: 1, delayMs: 5 }, TypeError, "delayMs must be the shortest"],
    [{ seed: 1, delayMs: [5, 1] }, RangeError, "delayMs must be a range"],
    [{ seed: 1, delayMs: [-1, 1] }, RangeError, "delayMs must be >= 0"],
    [{ seed: 1, error: 1 }, TypeError, "error must be a function"],
  ];
  for (const [options, type, message] of bad) {
    assertThrows(() => new FaultInjector(options as never), type, message);
  }
  const faults = new FaultInjector({ seed: 1 });
  assertThrows(() => faults.wrap(1 as never), TypeError, "fn must be");
  assertThrows(
    () => faults.wrap(() => 1, { oneWay: 1 as never }),
    TypeError,
    "oneWay must be one of",
  );
});

// -- Fake executor --

const double = (n: number) => n * 2;

for (const style of STYLES) {
  Deno.test(`a fake executor runs jobs at virtual times, in ${style}`, async () => {
    await runTestLoop(({ loop }) =>
      inStyle(style, function* () {
        const executor = new FakeExecutor({
          capacity: 2,
          serviceMs: (n) => Number(n ?? 0.1) * 10,
        });
        assertEquals(yield executor.submit(double, [3], { name: "a" }), 6);
        assertEquals(loop.time(), 30);
        const jobs = [1, 2, 3].map((n) => executor.submit(double, [n]));
        assertEquals(executor.stats().queued, 1);
        jobs[1]!.cancel();
        const controller = new AbortController();
        const aborted = executor.submit(double, [5], {
          signal: controller.signal,
        });
        controller.abort("stop");
        assert(aborted.cancelled());
        assertEquals(yield jobs[0]!, 2);
        executor.crash();
        try {
          yield jobs[2]!;
          assert(false);
        } catch (error) {
          assert(error instanceof WorkerCrashError);
        }
        executor.isCrashing = true;
        const crashed = executor.submit(double, [1]);
        yield sleep(20);
        assert(crashed.exception() instanceof WorkerCrashError);
        executor.isCrashing = false;
        const failing = executor.submit(() => {
          throw new RangeError("its own");
        }, []);
        yield sleep(1);
        assert(failing.exception() instanceof RangeError);
        const { done, failed, cancelled, crashed: crashes } = executor.stats();
        assertEquals([done, failed, cancelled, crashes], [2, 1, 2, 2]);
        executor.fill();
        assertThrows(() => executor.submit(double, [1]), OverloadError);
        executor.refusal = null;
        executor.cancelMs = 7;
        const slow = executor.submit(double, [100]);
        slow.cancel();
        const startMs = loop.time();
        yield executor.shutdown({ graceMs: 5 });
        assertEquals([loop.time() - startMs, slow.cancelled()], [7, true]);
        assertEquals(executor.shutdowns, [{ graceMs: 5 }]);
        assertThrows(() => executor.submit(double, [1]), ExecutorShutDownError);
      })()
    );
  });
}

Deno.test("a fake executor refuses wrong arguments", async () => {
  assertThrows(() => new FakeExecutor(1 as never), TypeError, "options must");
  assertThrows(
    () => new FakeExecutor({ capacity: -1 }),
    RangeError,
    "capacity must be",
  );
  assertThrows(
    () => new FakeExecutor({ serviceMs: 1 as never }),
    TypeError,
    "serviceMs must be a function",
  );
  await run(async () => {
    const executor = new FakeExecutor();
    assertThrows(
      () => executor.submit({ module: "x", name: "y" } as never, []),
      TypeError,
      "task must be a function",
    );
    await sleep(0);
    const bad = new FakeExecutor({ serviceMs: () => NaN });
    assertThrows(() => bad.submit(double, [1]), RangeError, "serviceMs must");
    assertEquals([executor.begun, bad.begun], [[], []]);
  }, { host: "virtual" });
});

// -- Fake descriptors --

Deno.test("readers and writers of a fake descriptor run while it is ready", async () => {
  await runTestLoop(async ({ clock, loop }) => {
    using socket = clock.openDescriptor({ capacity: 4 });
    const got: string[] = [];
    const buffer = new Uint8Array(3);
    loop.addReader(socket, () => {
      const length = socket.readSync(buffer);
      got.push(
        length === null
          ? "end"
          : new TextDecoder().decode(buffer.subarray(0, length)),
      );
      if (length === null) loop.removeReader(socket.fd);
    });
    await sleep(10);
    assertEquals(got, []);
    socket.feed("hello");
    await sleep(0);
    await sleep(0);
    socket.feed(new Uint8Array([33]));
    loop.callLater(5, () => socket.end());
    await sleep(10);
    assertEquals(got, ["hel", "lo", "!", "end"]);

    let writes = 0;
    loop.addWriter(socket, () => {
      writes += socket.writeSync(new TextEncoder().encode("abc"));
    });
    await sleep(10); // it is full
    assertEquals(writes, 4);
    assertThrows(
      () => socket.writeSync(buffer),
      Deno.errors.WouldBlock,
      "no room",
    );
    assertEquals(new TextDecoder().decode(socket.takeWritten()), "abca");
    await sleep(10);
    assertEquals(writes, 8);
    loop.removeWriter(socket);
  });
});

Deno.test("a fake descriptor wakes a loop that waits, and only its own loop", async () => {
  await runVirtual(async (clock) => {
    const loop = getRunningLoop();
    const socket = clock.openDescriptor();
    const arrived = loop.createFuture<number>();
    loop.addReader(socket, () => {
      loop.removeReader(socket);
      arrived.setResult(loop.time());
    });
    loop.callLater(25, () => socket.feed("x"));
    assertEquals(await arrived, 25);
    assertThrows(() => socket.feed(5 as never), TypeError, "data must be");
    assertThrows(
      () => loop.addReader(0, () => {}),
      DescriptorsUnsupportedError,
      "openDescriptor()",
    );
    await run(async () => {
      assertThrows(
        () => getRunningLoop().addReader(socket, () => {}),
        DescriptorsUnsupportedError,
      );
      await sleep(0);
    }, { host: "virtual" });
    socket.end();
    assertThrows(() => socket.feed("y"), OsError, "its input has ended");
    loop.addReader(socket, () => assert(false, "it is closed"));
    socket.close();
    socket.close();
    await sleep(10);
    loop.removeReader(socket);
    for (
      const call of [
        () => socket.feed("x"),
        () => socket.readSync(new Uint8Array(1)),
        () => socket.writeSync(new Uint8Array(1)),
        () => loop.addReader(socket, () => {}),
      ]
    ) assertEquals(assertThrows(call, OsError).code, "EBADF");
    const empty = clock.openDescriptor();
    assertThrows(
      () => empty.readSync(new Uint8Array(1)),
      Deno.errors.WouldBlock,
      "nothing has arrived",
    );
  });
});
