/**
 * Streams, ports, signals, files, descriptors, and several sources as one.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  allTasks,
  CancelledError,
  Channel,
  DescriptorsUnsupportedError,
  each,
  every,
  getRunningLoop,
  type Handle,
  InvalidStateError,
  OsError,
  Pipe,
  run,
  sleep,
  timeout,
  TimeoutError,
} from "../../mod.ts";
import { SourceClosedError, SourceOverflowError } from "../../src/errors.ts";
import {
  fromEvent,
  fromFsEvents,
  fromMessagePort,
  fromReader,
  fromSignal,
  fromStream,
  merge,
  type Source,
} from "../../src/sources/mod.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { CountingTarget } from "./support.ts";

const VIRTUAL = { host: "virtual" } as const;

async function drain<T>(source: Source<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of source) list.push(item);
  return list;
}

// -- Streams --

interface Numbers {
  readonly stream: ReadableStream<number>;
  pulled: number;
  cancelled: number;
}

/** A stream of numbers that counts what is asked of it. */
function numbersTo(end: number, failure?: Error): Numbers {
  const numbers: Numbers = {
    stream: new ReadableStream<number>({
      pull(controller) {
        if (numbers.pulled === end) {
          if (failure === undefined) controller.close();
          else controller.error(failure);
        } else controller.enqueue(numbers.pulled++);
      },
      cancel() {
        numbers.cancelled++;
      },
    }, { highWaterMark: 0 }),
    pulled: 0,
    cancelled: 0,
  };
  return numbers;
}

for (const style of STYLES) {
  Deno.test(`fromStream() reads lazily, ahead by its buffer, to the end, in ${style}`, async () => {
    const numbers = numbersTo(10);
    const list: number[] = [];
    await run(
      inStyle(style, function* () {
        const source = fromStream(numbers.stream, { buffer: 3 });
        assert(numbers.stream.locked);
        yield sleep(5);
        assertEquals(numbers.pulled, 0);
        list.push((yield source.take()) as number);
        yield sleep(5);
        assertEquals(numbers.pulled, 4); // one taken, three ahead
        yield each(source, function* (number) {
          list.push(number);
        });
      }),
      VIRTUAL,
    );
    assertEquals(list, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assertEquals([numbers.stream.locked, numbers.cancelled], [false, 0]);
  });

  Deno.test(`fromStream() throws an error after the chunks before it, in ${style}`, async () => {
    const numbers = numbersTo(2, new Error("torn"));
    const list: number[] = [];
    const task = run(
      inStyle(style, function* () {
        yield each(
          fromStream(numbers.stream, { buffer: 5 }),
          function* (number) {
            list.push(number);
          },
        );
      }),
      VIRTUAL,
    );
    await assertRejects(() => task, Error, "torn");
    assertEquals([list, numbers.stream.locked], [[0, 1], false]);
  });

  Deno.test(`leaving fromStream() cancels the stream, in ${style}`, async () => {
    const numbers = numbersTo(100);
    await run(
      inStyle(style, function* () {
        yield each(fromStream(numbers.stream), function* (number, stop) {
          if (number === 2) stop();
        });
        assertEquals(numbers.cancelled, 1);
      }),
      VIRTUAL,
    );
    assertEquals(numbers.stream.locked, false);
  });
}

Deno.test("a stream that is cancelled while it owes a chunk, and one never begun, are cancelled", async () => {
  const log: string[] = [];
  const silent = () =>
    new ReadableStream<number>({
      pull: () => new Promise(() => {}),
      cancel: () => {
        log.push("cancelled");
      },
    });
  await run(async () => {
    await assertRejects(
      async () =>
        await timeout(5, async () => {
          for await (const _ of fromStream(silent()));
        }),
      TimeoutError,
    );
    using _never = fromStream(silent());
    const controller = new AbortController();
    const aborted = fromStream(silent(), { signal: controller.signal });
    controller.abort(new Error("stop"));
    await assertRejects(async () => await aborted.take(), Error, "stop");
  });
  assertEquals(log, ["cancelled", "cancelled", "cancelled"]);
});

Deno.test("a cancelled take() loses no chunk", async () => {
  let give!: (chunk: string) => void;
  const stream = new ReadableStream<string>({
    start(controller) {
      give = (chunk) => controller.enqueue(chunk);
    },
  });
  await run(async () => {
    using source = fromStream(stream);
    await assertRejects(
      async () => await timeout(1, () => source.take()),
      TimeoutError,
    );
    give("a");
    give("b");
    assertEquals([await source.take(), await source.take()], ["a", "b"]);
  });
});

Deno.test("an endless stream without backpressure lets the loop go on", async () => {
  let number = 0;
  const stream = new ReadableStream<number>({
    pull: (controller) => controller.enqueue(number++),
  }, { highWaterMark: 0 });
  await run(async () => {
    using source = fromStream(stream, { buffer: 10, overflow: "drop-oldest" });
    const first = await source.take();
    for (let n = 0; n < 10; n++) await sleep(1);
    const later = await source.take();
    assert(source.dropped > 10 && later - first >= source.dropped);
  });
});

Deno.test("an error of a stream's cancel() is reported, once", async () => {
  const reports: string[] = [];
  await run(async () => {
    getRunningLoop().setExceptionHandler((_loop, { message }) => {
      reports.push(message);
    });
    const stream = new ReadableStream<number>({
      pull: (controller) => controller.enqueue(1),
      cancel: () => Promise.reject(new Error("stuck")),
    });
    for await (const _ of fromStream(stream)) break;
  });
  assertEquals(reports, ["fromStream() failed to close its stream"]);
});

// -- Ports --

for (const style of STYLES) {
  Deno.test(`fromMessagePort() keeps messages, and ends with the other end, in ${style}`, async () => {
    const { port1, port2 } = new MessageChannel();
    const received: number[] = [];
    await run(inStyle(style, function* () {
      const source = fromMessagePort<number>(port1);
      for (const n of [1, 2, 3]) port2.postMessage(n);
      received.push((yield source.take()) as number);
      getRunningLoop().callLater(5, () => port2.close());
      yield each(source, function* (number) {
        received.push(number);
      });
    }));
    assertEquals(received, [1, 2, 3]);
  });
}

Deno.test("fromMessagePort() closes its port when it is left", async () => {
  const { port1, port2 } = new MessageChannel();
  await run(async () => {
    const source = fromMessagePort(port1);
    const other = fromMessagePort(port2);
    port2.postMessage("a");
    for await (const _ of source) break;
    assertEquals(await drain(other), []); // which ends with its other end
  });
});

// -- Signals --

for (const style of STYLES) {
  Deno.test(`fromSignal() merges arrivals that nobody has taken, in ${style}`, async () => {
    await run(inStyle(style, function* () {
      const merged = fromSignal("SIGUSR2");
      const all = fromSignal("SIGUSR2", { buffer: 10 });
      for (let n = 1; n <= 3; n++) {
        Deno.kill(Deno.pid, "SIGUSR2");
        while (all.size < n) yield sleep(0.1);
      }
      assertEquals([merged.size, merged.dropped, all.dropped], [1, 2, 0]);
      assertEquals(yield merged.take(), "SIGUSR2");
      let count = 0;
      yield each(all, function* (_signal, stop) {
        if (++count === 3) stop();
      });
      merged.close();
    }));
  });
}

// -- Files --

for (const style of STYLES) {
  Deno.test(`fromFsEvents() reports a change that comes at once, in ${style}`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await run(inStyle(style, function* () {
        const source = fromFsEvents(folder, { recursive: false });
        Deno.writeTextFileSync(`${folder}/a.txt`, "hello");
        let kind = "";
        yield each(source, function* (event, stop) {
          if (!event.paths.some((path) => path.endsWith("a.txt"))) return;
          kind = event.kind;
          stop();
        });
        assertEquals(kind, "create");
        const other = fromFsEvents([folder]);
        const task = getRunningLoop().createTask(other.take());
        yield sleep(1);
        task.cancel();
        yield sleep(1);
        other.close();
      }));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

// -- Descriptors --

for (const style of STYLES) {
  for (const host of ["native", "poll"] as const) {
    Deno.test(`fromReader() reads to the end on the ${host} host, in ${style}`, async () => {
      using pipe = Pipe.open();
      let bytes = 0;
      let chunkMax = 0;
      await run(
        inStyle(style, function* () {
          const loop = getRunningLoop();
          const source = fromReader(pipe.readFd, { chunkBytes: 1_000 });
          const data = new Uint8Array(4_000);
          pipe.write(data);
          yield sleep(2);
          assertEquals([source.size, bytes], [1, 0]); // the writer has to wait
          loop.callLater(5, () => pipe.write(data));
          loop.callLater(10, () => pipe.closeWrite());
          yield each(source, function* (chunk) {
            bytes += chunk.byteLength;
            chunkMax = Math.max(chunkMax, chunk.byteLength);
          });
          assertEquals(loop.removeReader(pipe.readFd), false);
        }),
        { host },
      );
      assertEquals([bytes, chunkMax], [8_000, 1_000]);
    });
  }
}

Deno.test("fromReader() stops watching when it is left, and a full buffer may end it", async () => {
  using pipe = Pipe.open();
  await run(async () => {
    const loop = getRunningLoop();
    const source = fromReader(pipe.readFd, { chunkBytes: 1, buffer: 2 });
    pipe.write(new Uint8Array([1, 2, 3, 4]));
    for await (const [byte] of source) if (byte === 2) break;
    assertEquals(loop.removeReader(pipe.readFd), false);

    // Up to two bytes were read ahead.
    const strict = fromReader(pipe.readFd, {
      chunkBytes: 1,
      buffer: 1,
      overflow: "error",
    });
    pipe.write(new Uint8Array([5, 6, 7]));
    while (!strict.closed) await sleep(1);
    await strict.take();
    await assertRejects(async () => await strict.take(), SourceOverflowError);
    const cancelled = fromReader(pipe.readFd);
    const task = loop.createTask(async () => {
      for await (const _ of cancelled);
    });
    await sleep(1);
    task.cancel();
    await sleep(1);
    assertEquals([cancelled.closed, task.cancelled()], [true, true]);
  }, { host: "native" });
});

Deno.test("fromReader() refuses a descriptor that is read already", async () => {
  using pipe = Pipe.open();
  await run(async () => {
    const loop = getRunningLoop();
    let calls = 0;
    const handle = loop.addReader(pipe.readFd, () => calls++);
    const refused = () =>
      assertThrows(
        () => fromReader({ fd: pipe.readFd }),
        InvalidStateError,
        `Cannot read from a descriptor: the loop has a reader of descriptor ${pipe.readFd} already`,
      );
    refused();
    pipe.write(new Uint8Array([1]));
    while (calls === 0) await sleep(1); // the reader is in its place
    handle.cancel();

    const source = fromReader(pipe.readFd, { chunkBytes: 1 });
    refused();
    pipe.write(new Uint8Array([2, 3]));
    while (source.size === 0) await sleep(1);
    refused(); // also while the source waits for room, and watches nothing
    const [byte] = await source.take();
    assertEquals(byte, 1);
    while (source.size === 0) await sleep(1);
    await sleep(1);
    const other: Handle = loop.addReader(pipe.readFd, () => other.cancel());
    await source.take();
    await assertRejects(
      async () => await source.take(),
      InvalidStateError,
      "has another reader",
    );
    other.cancel();
    const next = fromReader(pipe.readFd, { chunkBytes: 1 });
    assertEquals((await next.take())[0], 3);
    next[Symbol.dispose]();
    // A buffer for which there is no room: nothing is watched or kept.
    assertThrows(
      () => fromReader(pipe.readFd, { chunkBytes: 2 ** 50 }),
      RangeError,
    );
    fromReader(pipe.readFd).close();
    assertEquals(loop.removeReader(pipe.readFd), false);
  }, { host: "native" });
});

Deno.test("fromReader() needs a host with descriptors, and a descriptor", async () => {
  for (const host of ["portable", "virtual"] as const) {
    await run(async () => {
      assertThrows(() => fromReader(0), DescriptorsUnsupportedError);
    }, { host });
  }
  await run(async () => {
    assertThrows(() => fromReader(1_000_000), OsError);
    assertThrows(() => fromReader("0" as never), TypeError);
    assertThrows(() => fromReader(-1), RangeError);
    assertThrows(() => fromReader(0, { chunkBytes: 0 }), RangeError);
  }, { host: "native" });
});

// -- merge --

for (const style of STYLES) {
  Deno.test(`merge() takes turns between its sources, and ends with the last, in ${style}`, async () => {
    const [fast, slow] = [new CountingTarget(), new CountingTarget()];
    const list: number[] = [];
    await run(
      inStyle(style, function* () {
        const one = fromEvent<CustomEvent<number>>(fast, "tick");
        const two = fromEvent<CustomEvent<number>>(slow, "tick");
        fast.emit(1, 2, 3, 4, 5);
        slow.emit(10, 20);
        one.close();
        getRunningLoop().callLater(50, () => {
          slow.emit(30);
          two.close();
        });
        yield each(merge(one, two), function* ({ detail }) {
          list.push(detail);
          yield* sleep(1);
        });
      }),
      VIRTUAL,
    );
    assertEquals(list, [1, 10, 2, 20, 3, 4, 5, 30]);
  });

  Deno.test(`merge() closes all when one fails, in ${style}`, async () => {
    const target = new CountingTarget();
    const channel = new Channel<number>({ capacity: 5 });
    let generatorEnded = false;
    async function* numbers() {
      try {
        for (let n = 0;; n++) {
          yield n;
          await sleep(10);
        }
      } finally {
        generatorEnded = true;
      }
    }
    await run(
      inStyle(style, function* () {
        getRunningLoop().callLater(15, () => channel.close(new Error("torn")));
        const list: unknown[] = [];
        let thrown: unknown;
        try {
          yield each(
            merge(fromEvent(target, "tick"), channel, numbers(), every(4)),
            function* (item) {
              list.push(item);
            },
          );
        } catch (error) {
          thrown = error;
        }
        assertEquals((thrown as Error).message, "torn");
        assert(list.length > 3);
        yield sleep(1);
        assertEquals([target.listeners, generatorEnded], [0, true]);
      }),
      VIRTUAL,
    );
  });
}

const LEAVES: Record<string, (all: Source<unknown>) => unknown> = {
  "stop()": function* (all) {
    yield* each(all, function* (_, stop) {
      stop();
    });
  },
  "break": async (all) => {
    for await (const _ of all) break;
  },
  "an error": async (all) => {
    for await (const _ of all) throw new Error("body");
  },
  "a cancellation": function* (all) {
    yield* each(all, function* () {});
  },
  "using, before the first wait": async (all) => {
    all[Symbol.dispose]();
  },
  "await using": async (all) => {
    await using _all = all;
    await all.take();
  },
};

for (const [way, leave] of Object.entries(LEAVES)) {
  Deno.test(`merge() closes all when it is left by ${way}`, async () => {
    const targets = [new CountingTarget(), new CountingTarget()];
    await run(async () => {
      const loop = getRunningLoop();
      const all = merge(...targets.map((target) => fromEvent(target, "tick")));
      const task = loop.createTask(() => leave(all) as Promise<void>);
      await sleep(1);
      targets[0]!.emit(1);
      await sleep(1);
      if (!task.done()) task.cancel();
      await sleep(1);
      assert(task.done());
      outcomeOf(task);
      assertEquals(targets.map(({ listeners }) => listeners), [0, 0]);
      await assertRejects(async () => await all.take(), SourceClosedError);
      const left = loop.stats().tasks;
      assertEquals(left, 1, `${left} tasks are left`);
    }, VIRTUAL);
  });
}

Deno.test("merge() of nothing ends at once, and wrong sources are refused", async () => {
  await run(async () => {
    assertEquals(await drain(merge()), []);
    const channel = new Channel<number>();
    assertThrows(() => merge(channel, channel), TypeError, "twice");
    assertThrows(
      () => merge([1] as never),
      TypeError,
      "each must be a source or an async iterable: received an array",
    );
  }, VIRTUAL);
});

Deno.test("the end of the loop ends a merge: no report but of an error, and that once", async () => {
  const reports: unknown[] = [];
  const broken = new Error("broken");
  async function* failsToClose(): AsyncGenerator<number> {
    try {
      yield 1;
      await sleep(1_000);
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw broken;
    }
  }
  for (const source of [new Channel<number>({ capacity: 1 }), failsToClose()]) {
    await run(async () => {
      getRunningLoop().setExceptionHandler((_loop, { exception }) => {
        reports.push(exception);
      });
      const merged = merge(source, new Channel<number>());
      if (source instanceof Channel) source.trySend(1);
      assertEquals(await merged.take(), 1);
      await sleep(1);
    }, VIRTUAL);
  }
  assertEquals(reports, [broken]);
});

Deno.test("merge() throws a cancellation of one of its tasks", async () => {
  await run(async () => {
    const all = merge(new Channel<number>());
    const task = getRunningLoop().createTask(all.take());
    await sleep(1);
    for (const one of allTasks(getRunningLoop())) {
      if (one.name === "merge()") one.cancel("x");
    }
    await sleep(1);
    assert(task.done());
    await assertRejects(async () => await task, CancelledError);
  }, VIRTUAL);
});

// -- Bad input --

Deno.test("sources that cannot wait refuse to block, and all refuse nonsense", async () => {
  const { port1, port2 } = new MessageChannel();
  const folder = await Deno.makeTempDir();
  await run(async () => {
    const block = { overflow: "block" } as const;
    for (
      const make of [
        () => fromMessagePort(port1, block),
        () => fromSignal("SIGUSR2", block),
        () => fromFsEvents(folder, block),
      ]
    ) assertThrows(make, TypeError, 'overflow must not be "block" where');
    assertThrows(() => fromMessagePort({} as never), TypeError, "MessagePort");
    assertThrows(() => fromSignal("SIGKILL"), TypeError, "SIGKILL");
    assertThrows(() => fromSignal("SIGNONE" as never), TypeError);
    assertThrows(() => fromFsEvents([]), RangeError, "must not be empty");
    assertThrows(() => fromFsEvents(1 as never), TypeError, "paths");
    assertThrows(
      () => fromFsEvents(folder, { recursive: 1 as never }),
      TypeError,
      "recursive must be a boolean",
    );
    assertThrows(() => fromFsEvents(`${folder}/none`), Deno.errors.NotFound);
    assertThrows(() => fromStream([] as never), TypeError, "ReadableStream");
    const stream = ReadableStream.from([1]);
    const reader = stream.getReader();
    assertThrows(() => fromStream(stream), TypeError, "must not be locked");
    reader.releaseLock();
    await stream.cancel();
  });
  port1.close();
  port2.close();
  await Deno.remove(folder);
});
