/**
 * `once` and `fromEvent`, and with it what all sources have in common: the buffer and its
 * policies, the ways out, one consumer at a time, cancellation at every wait.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { EventEmitter } from "node:events";
import {
  CancelledError,
  each,
  type EventLoop,
  getRunningLoop,
  MisuseError,
  newEventLoop,
  run,
  sleep,
  type Task,
  timeout,
  TimeoutError,
} from "../../mod.ts";
import { SourceClosedError, SourceOverflowError } from "../../src/errors.ts";
import { fromEvent, once, type Source } from "../../src/sources/mod.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { countingSignal, CountingTarget } from "./support.ts";

const VIRTUAL = { host: "virtual" } as const;
type Tick = CustomEvent<number>;

function ticksOf(
  target: CountingTarget,
  options?: Parameters<typeof fromEvent>[2],
): Source<Tick> {
  return fromEvent<Tick>(target, "tick", options);
}

/** Takes what is there, until the end. */
async function drain(source: Source<Tick>): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { detail } of source) numbers.push(detail);
  return numbers;
}

// -- once --

for (const style of STYLES) {
  Deno.test(`once() waits for one event in ${style}`, async () => {
    const target = new CountingTarget();
    const details = await run(
      inStyle(style, function* () {
        getRunningLoop().callLater(5, () => target.emit(1, 2));
        const first: Tick = yield once(target, "tick");
        const second: Tick = yield once(target, "tick", {
          trigger: () => target.emit(3),
        });
        return [first.detail, second.detail, target.listeners];
      }),
      VIRTUAL,
    );
    assertEquals(details, [1, 3, 0]);
  });

  Deno.test(`once() removes its listener however the wait ends in ${style}`, async () => {
    const target = new CountingTarget();
    const { controller, signal, count } = countingSignal();
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const cancelled = loop.createTask(once(target, "tick"));
        const aborted = loop.createTask(once(target, "tick", { signal }));
        const broken = loop.createTask(once(target, "tick", {
          trigger() {
            throw new Error("no trigger");
          },
        }));
        yield sleep(1);
        assertEquals(target.listeners, 2);
        cancelled.cancel("enough");
        controller.abort(new Error("stop"));
        yield sleep(1);
        assertEquals(outcomeOf(aborted), "failed: stop");
        assertEquals(outcomeOf(broken), "failed: no trigger");
        assert(cancelled.cancelled());
      }),
      VIRTUAL,
    );
    assertEquals([target.listeners, count()], [0, 0]);
  });
}

Deno.test("once() and fromEvent() take emitters, whose errors they throw", async () => {
  const emitter = new EventEmitter();
  await run(function* () {
    const args = yield* once(emitter, "data", {
      trigger: () => emitter.emit("data", 1, "a"),
    });
    assertEquals(args, [1, "a"]);
    const error = new Error("broken");
    const waiting = getRunningLoop().createTask(once(emitter, "data"));
    yield* sleep(0);
    yield* sleep(0);
    emitter.emit("error", error);
    yield* sleep(0);
    assertEquals(outcomeOf(waiting), "failed: broken");

    const source = fromEvent(emitter, "data");
    emitter.emit("data", 2);
    emitter.emit("error", error);
    assertEquals(yield* source.take(), [2]);
    const failed = getRunningLoop().createTask(source.take());
    yield* sleep(0);
    yield* sleep(0);
    assertEquals(outcomeOf(failed), "failed: broken");
  }, VIRTUAL);
  assertEquals(emitter.eventNames(), []);
});

Deno.test("an error that an emitter has after the event of once() is not swallowed", async () => {
  const emitter = new EventEmitter();
  const reports: unknown[] = [];
  await run(async () => {
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, { exception }) => {
      reports.push(exception);
    });
    const wait = loop.createTask(once(emitter, "data"));
    await sleep(1);
    emitter.emit("data", 1);
    // Nobody listens any more, so the emitter throws as it does without a wait.
    assertThrows(
      () => emitter.emit("error", new Error("later")),
      Error,
      "later",
    );
    assertEquals(await wait, [1]);

    const cancelled = loop.createTask(once(emitter, "data"));
    await sleep(1);
    cancelled.cancel();
    const error = new Error("too late");
    emitter.emit("error", error);
    await sleep(1);
    assert(cancelled.cancelled());
    assertEquals(reports, [error]);
    assertEquals(emitter.eventNames(), []);
  }, VIRTUAL);
});

Deno.test("once() on a port of the runtime starts it", async () => {
  const { port1, port2 } = new MessageChannel();
  const data = await run(async () => {
    const event = await once<MessageEvent>(port1, "message", {
      trigger: () => port2.postMessage("hello"),
    });
    return event.data;
  });
  port1.close();
  port2.close();
  assertEquals(data, "hello");
});

// -- Subscribing, ending --

for (const style of STYLES) {
  Deno.test(`fromEvent() keeps what comes before anybody waits, in ${style}`, async () => {
    const target = new CountingTarget();
    const numbers = await run(
      inStyle(style, function* () {
        const source = ticksOf(target);
        target.emit(1, 2);
        const first: Tick = yield source.take();
        yield sleep(5);
        target.emit(3);
        source.close();
        target.emit(4);
        const seen = [first.detail];
        yield each(source, function* ({ detail }) {
          seen.push(detail);
        });
        return [...seen, source.dropped, target.listeners];
      }),
      VIRTUAL,
    );
    assertEquals(numbers, [1, 2, 3, 0, 0]);
  });
}

type Leave = (source: Source<Tick>, abort: () => void) => unknown;

/** Every way to leave a source, and how it comes out. */
const WAYS: Record<string, readonly [Leave, string]> = {
  "break": [async (source) => {
    for await (const _tick of source) break;
  }, "result: undefined"],
  "an error in for await": [async (source) => {
    for await (const _tick of source) throw new Error("body");
  }, "failed: body"],
  "stop() in each()": [function* (source) {
    yield* each(source, function* (_tick, stop) {
      stop();
    });
  }, "result: undefined"],
  "an error in each()": [function* (source) {
    yield* each(source, function* () {
      throw new Error("body");
    });
  }, "failed: body"],
  "a cancellation in each()": [function* (source) {
    yield* each(source, function* () {});
  }, "cancelled: cancelled"],
  "a cancellation in for await": [async (source) => {
    for await (const _tick of source);
  }, "cancelled: cancelled"],
  "a timeout around each()": [function* (source) {
    yield* timeout(3, function* () {
      yield* each(source, function* () {});
    });
  }, "failed: Timed out"],
  "using": [async (source) => {
    using _source = source;
    await source.take();
  }, "result: undefined"],
  "await using": [async (source) => {
    await using _source = source;
    await source.take();
  }, "result: undefined"],
  "close()": [async (source) => {
    getRunningLoop().callLater(3, () => source.close());
    await drain(source);
  }, "result: undefined"],
  "an abort in each()": [function* (source, abort) {
    getRunningLoop().callLater(3, abort);
    yield* each(source, function* () {});
  }, "failed: aborted"],
  "an abort in for await": [async (source, abort) => {
    getRunningLoop().callLater(3, abort);
    for await (const _tick of source);
  }, "failed: aborted"],
};

for (const [way, [leave, outcome]] of Object.entries(WAYS)) {
  Deno.test(`a source unsubscribes when it is left by ${way}`, async () => {
    const target = new CountingTarget();
    const { controller, signal, count } = countingSignal();
    await run(async () => {
      const source = ticksOf(target, { signal });
      assertEquals([target.listeners, count()], [1, 1]);
      const task: Task<unknown> = getRunningLoop().createTask(
        () =>
          leave(
            source,
            () => controller.abort(new Error("aborted")),
          ) as Promise<unknown>,
      );
      await sleep(1);
      target.emit(1);
      await sleep(20);
      if (!task.done()) task.cancel("cancelled");
      await sleep(1);
      assert(task.done());
      if (outcome.startsWith("cancelled")) assert(task.cancelled());
      else if (outcome.includes("Timed out")) {
        assert(task.exception() instanceof TimeoutError);
      } else assertEquals(outcomeOf(task), outcome);
      assertEquals([target.listeners, count(), source.closed], [0, 0, true]);
      target.emit(2);
      assertEquals(await drain(source), []);
    }, VIRTUAL);
  });
}

Deno.test("a source unsubscribes at the end of its loop", async () => {
  const target = new CountingTarget();
  let source: Source<Tick> | undefined;
  await run(async () => {
    source = ticksOf(target);
    target.emit(1);
  }, VIRTUAL);
  assertEquals([target.listeners, source?.closed, source?.size], [0, true, 0]);
});

Deno.test("a source of a loop without run() unsubscribes when that is closed", async () => {
  const target = new CountingTarget();
  const loop = newEventLoop(VIRTUAL);
  loop.callSoon(() => {
    ticksOf(target);
    loop.stop();
  });
  await loop.runForever();
  assertEquals(target.listeners, 1);
  await loop.close();
  assertEquals(target.listeners, 0);
});

Deno.test("take() throws a SourceClosedError at the end, and a cancelled take() takes nothing", async () => {
  const target = new CountingTarget();
  await run(async () => {
    const source = ticksOf(target);
    await assertRejects(
      async () => await timeout(1, () => source.take()),
      TimeoutError,
    );
    assertEquals(source.closed, false);
    target.emit(1);
    source.close();
    source.close();
    assertEquals((await source.take()).detail, 1);
    await assertRejects(async () => await source.take(), SourceClosedError);
  }, VIRTUAL);
});

Deno.test("a second consumer is refused, and the first one goes on", async () => {
  const target = new CountingTarget();
  await run(async () => {
    const source = ticksOf(target);
    const first = getRunningLoop().createTask(() => drain(source));
    await sleep(1);
    await assertRejects(async () => await source.take(), MisuseError);
    await assertRejects(() => drain(source), MisuseError);
    await assertRejects(
      async () => await each(source, function* () {}),
      MisuseError,
    );
    target.emit(1);
    await sleep(1);
    source.close();
    assertEquals(await first, [1]);
  }, VIRTUAL);
});

Deno.test("a call of next() that is refused leaves the iteration as it was", async () => {
  const target = new CountingTarget();
  await run(async () => {
    const iterator = ticksOf(target)[Symbol.asyncIterator]();
    const first = iterator.next();
    await assertRejects(() => iterator.next(), MisuseError);
    target.emit(1);
    assertEquals((await first).value?.detail, 1);
    await iterator.return?.();
    assertEquals(target.listeners, 0);
    assertEquals((await iterator.next()).done, true);
  }, VIRTUAL);
});

Deno.test("for await over items that are there is cancelled at once, and lets others run", async () => {
  const target = new CountingTarget();
  await run(async () => {
    const loop = getRunningLoop();
    const numbers = Array.from({ length: 1_000 }, (_, n) => n);
    const source = ticksOf(target, { buffer: Infinity });
    target.emit(...numbers);
    source.close();
    let turns = 0;
    const other = loop.createTask(function* () {
      while (true) {
        turns++;
        yield* sleep(0);
      }
    });
    assertEquals(await drain(source), numbers);
    assert(turns >= 7, `others had ${turns} turns`);
    other.cancel();

    const second = ticksOf(target, { buffer: Infinity });
    target.emit(...numbers);
    const taken: number[] = [];
    const task: Task<void> = loop.createTask(async () => {
      for await (const { detail } of second) {
        taken.push(detail);
        if (detail === 3) task.cancel();
      }
    });
    await sleep(1);
    assert(task.cancelled());
    assertEquals([taken, target.listeners, second.size], [[0, 1, 2, 3], 0, 0]);
  }, VIRTUAL);
});

// -- Policies --

Deno.test("a full buffer drops the oldest, drops the newest, or ends the source", async () => {
  const target = new CountingTarget();
  await run(async () => {
    const oldest = ticksOf(target, { buffer: 2, overflow: "drop-oldest" });
    const newest = ticksOf(target, { buffer: 2, overflow: "drop-newest" });
    const error = ticksOf(target, { buffer: 2, overflow: "error" });
    const endless = ticksOf(target, { buffer: Infinity });
    target.emit(1, 2, 3, 4);
    assertEquals(error.closed, true);
    assertEquals(target.listeners, 3);
    for (const source of [oldest, newest, endless]) source.close();
    assertEquals(await drain(oldest), [3, 4]);
    assertEquals(await drain(newest), [1, 2]);
    assertEquals(await drain(endless), [1, 2, 3, 4]);
    assertEquals([oldest, newest, error].map((one) => one.dropped), [2, 2, 1]);
    assertEquals((await error.take()).detail, 1);
    assertEquals((await error.take()).detail, 2);
    await assertRejects(
      async () => await error.take(),
      SourceOverflowError,
      'Cannot keep an item of fromEvent("tick"): its buffer of 2 is full',
    );
    await assertRejects(async () => await error.take(), SourceClosedError);
  }, VIRTUAL);
});

Deno.test("an overflow that nobody sees is reported, once", async () => {
  const target = new CountingTarget();
  const reports: string[] = [];
  await run(async () => {
    getRunningLoop().setExceptionHandler((_loop, { message, exception }) => {
      assert(exception instanceof SourceOverflowError);
      reports.push(message);
    });
    {
      using source = ticksOf(target, { buffer: 1 });
      target.emit(1, 2);
      assertEquals((await source.take()).detail, 1);
    }
    assertEquals(reports.length, 1);
    ticksOf(target, { buffer: 1 });
    const seen = ticksOf(target, { buffer: 1 });
    target.emit(1, 2);
    await assertRejects(() => drain(seen), SourceOverflowError);
  }, VIRTUAL);
  assertEquals(reports, [
    'fromEvent("tick") failed and nobody ever looked at the error',
    'fromEvent("tick") failed and nobody ever looked at the error',
  ]);
});

Deno.test("an emitter that refuses to be left does not keep its consumer waiting", async () => {
  const emitter = {
    on() {},
    off() {
      throw new Error("stay");
    },
  };
  await run(async () => {
    const source = fromEvent(emitter, "data");
    const waiting = getRunningLoop().createTask(source.take());
    await sleep(1);
    assertThrows(() => source.close(), Error, "stay");
    await assertRejects(async () => await waiting, SourceClosedError);
  }, VIRTUAL);
});

Deno.test("bad arguments are refused before anything is subscribed", async () => {
  const target = new CountingTarget();
  const refuse = (
    options: unknown,
    message: string,
    Class: typeof TypeError | typeof RangeError = TypeError,
  ) => assertThrows(() => ticksOf(target, options as never), Class, message);
  await run(async () => {
    refuse(
      { overflow: "block" },
      'Cannot subscribe to events as overflow must not be "block" where events cannot be made to wait: received "block"',
    );
    refuse({ overflow: "wait" }, "overflow must be one of");
    refuse({ buffer: 0 }, "buffer must be an integer >= 1", RangeError);
    refuse({ buffer: NaN }, "buffer must be an integer >= 1", RangeError);
    refuse({ buffer: "2" }, "buffer must be a number");
    refuse({ signal: {} }, "signal must be an AbortSignal");
    refuse(null, "options must be an object");
    const reason = new Error("too late");
    const thrown = assertThrows(() =>
      ticksOf(target, { signal: AbortSignal.abort(reason) })
    );
    assertStrictEquals(thrown, reason);
    const calls = [fromEvent, once] as unknown as ((
      target: unknown,
      type: unknown,
    ) => unknown)[];
    for (const make of calls) {
      assertThrows(
        () => make({}, "tick"),
        TypeError,
        "target must be an EventTarget or an EventEmitter",
      );
      assertThrows(
        () => make(target, 1),
        TypeError,
        "type must be a string",
      );
    }
    assertThrows(
      () => once(target, "tick", { trigger: function* () {} as never }),
      TypeError,
      "trigger must be a plain function",
    );
  }, VIRTUAL);
  assertThrows(() => ticksOf(target), MisuseError, "no loop is running");
  assertEquals(target.listeners, 0);
});

// -- Failure mode 26 --

for (const overflow of ["drop-oldest", "drop-newest"] as const) {
  Deno.test(`a million events and a slow consumer: bounded, drops counted (${overflow})`, async () => {
    const target = new CountingTarget();
    const EVENTS = 1_000_000;
    let seen = 0;
    let sizeMax = 0;
    let live = 0;
    const event = new CustomEvent("tick", { detail: 0 });
    await run(function* () {
      const source = ticksOf(target, { buffer: 100, overflow });
      getRunningLoop().createTask(function* () {
        for (let sent = 0; sent < EVENTS; sent += 1_000) {
          for (let n = 0; n < 1_000; n++) target.dispatchEvent(event);
          sizeMax = Math.max(sizeMax, source.size);
          yield* sleep(1);
        }
        source.close();
      });
      yield* each(source, function* () {
        seen++;
        live = source.size;
        yield* sleep(1);
      });
      assertEquals(seen + source.dropped, EVENTS);
    }, VIRTUAL);
    assertEquals([sizeMax, live], [100, 0]);
    assert(seen < 2_000, `it took ${seen}`);
  });
}

// -- Cancelling at every point --

/** Runs a consumer and cancels it after so many turns; what it did not take has to be there still. */
function sweep(
  style: typeof STYLES[number],
  turns: number,
  viaSignal: boolean,
): Promise<boolean> {
  const target = new CountingTarget();
  const taken: number[] = [];
  return run(async () => {
    const loop: EventLoop = getRunningLoop();
    const source = ticksOf(target);
    const controller = new AbortController();
    const consumer = loop.createTask(
      inStyle(style, function* () {
        for (let n = 0; n < 4; n++) {
          const tick: Tick = yield source.take(
            viaSignal ? { signal: controller.signal } : undefined,
          );
          taken.push(tick.detail);
        }
      }),
    );
    loop.createTask(function* () {
      for (let n = 0; n < 4; n++) {
        target.emit(n);
        yield* sleep(0);
        if (n % 2 === 1) yield* sleep(0);
      }
    });
    for (let turn = 0; turn < turns; turn++) await sleep(0);
    const wasDone = consumer.done();
    if (viaSignal) controller.abort(new CancelledError("aborted"));
    else consumer.cancel();
    for (let turn = 0; turn < 20; turn++) await sleep(0);
    assert(consumer.done());
    outcomeOf(consumer);
    source.close();
    assertEquals([...taken, ...await drain(source)], [0, 1, 2, 3]);
    assertEquals(target.listeners, 0);
    return wasDone;
  }, VIRTUAL);
}

for (const style of STYLES) {
  for (const way of ["cancel()", "its signal"]) {
    Deno.test(`a consumer that ends by ${way} at any turn in ${style} loses nothing`, async () => {
      let turns = 0;
      while (!await sweep(style, turns, way !== "cancel()")) {
        assert(++turns < 40, "the consumer never came to its end");
      }
      assert(turns > 3, "it was never cancelled in a wait");
    });
  }
}

Deno.test("random programs of both styles get each event once, in order", async () => {
  const seed = Math.floor(Math.random() * 1e9);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 200; round++) {
    const style = STYLES[random.nextInt(2)]!;
    const target = new CountingTarget();
    const total = 1 + random.nextInt(20);
    await run(async () => {
      const source = ticksOf(target);
      const taken: number[] = [];
      const loop = getRunningLoop();
      loop.createTask(function* () {
        for (let n = 0; n < total; n++) {
          target.emit(n);
          for (let m = random.nextInt(3); m > 0; m--) yield* sleep(0);
        }
        source.close();
      });
      while (!(source.closed && source.size === 0)) {
        const consumer = loop.createTask(
          inStyle(style, function* () {
            while (true) {
              taken.push(((yield source.take()) as Tick).detail);
              if (random.nextInt(2) === 0) yield sleep(0);
            }
          }),
        );
        for (let m = random.nextInt(6); m >= 0; m--) await sleep(0);
        consumer.cancel();
        while (!consumer.done()) await sleep(0);
        outcomeOf(consumer);
      }
      assertEquals(
        taken,
        Array.from({ length: total }, (_, n) => n),
        `seed ${seed}, round ${round}`,
      );
    }, VIRTUAL);
  }
});
