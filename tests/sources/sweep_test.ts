/**
 * Cancels a task at every turn of its life, in both styles, by `cancel()` and by a signal, for
 * each kind of wait in a source: nothing that was subscribed outlives it.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { MessageChannel } from "node:worker_threads";
import {
  CancelledError,
  each,
  getRunningLoop,
  Pipe,
  run,
  sleep,
  type Task,
} from "../../mod.ts";
import {
  fromEvent,
  fromFsEvents,
  fromMessagePort,
  fromReader,
  fromSignal,
  fromStream,
  fromWebSocket,
  merge,
  once,
  reconnecting,
  type Source,
} from "../../src/sources/mod.ts";
import { inStyle, outcomeOf, type Steps, STYLES } from "../support/styles.ts";
import { CountingTarget, FakeSocket } from "./support.ts";

type Script = ReturnType<Steps<unknown>>;

/** A task that waits in a source, something that feeds it, and a check of what is left. */
interface World {
  readonly victim: (signal: AbortSignal) => Script;
  readonly feed: () => void;
  readonly check: () => void | Promise<void>;
}

function onceWorld(): World {
  const target = new CountingTarget();
  let count = 0;
  return {
    *victim(signal) {
      for (let n = 0; n < 3; n++) {
        yield once(target, "tick", {
          signal,
          ...(n === 1 && { trigger: () => target.emit(9) }),
        });
      }
      return undefined;
    },
    feed: () => target.emit(count++),
    check: () => assertEquals(target.listeners, 0),
  };
}

function eachWorld(): World {
  const target = new CountingTarget();
  let count = 0;
  return {
    *victim(signal) {
      let seen = 0;
      yield each(
        fromEvent(target, "tick", { signal }),
        function* (_tick, stop) {
          yield* sleep(0);
          if (++seen === 4) stop();
        },
      );
      return undefined;
    },
    feed: () => target.emit(count++, count++),
    check: () => assertEquals(target.listeners, 0),
  };
}

function mergeWorld(): World {
  const targets = [new CountingTarget(), new CountingTarget()];
  let count = 0;
  return {
    *victim(signal) {
      let seen = 0;
      const sources = targets.map((target) =>
        fromEvent(target, "tick", { signal })
      );
      yield each(merge(...sources), function* (_tick, stop) {
        if (++seen === 4) stop();
      });
      return undefined;
    },
    feed: () => targets[count++ % 2]!.emit(count),
    check: () =>
      assertEquals(targets.map(({ listeners }) => listeners), [0, 0]),
  };
}

function socketWorld(): World {
  const socket = new FakeSocket("connecting");
  let count = 0;
  return {
    *victim(signal) {
      using source = fromWebSocket(socket.asSocket, {
        signal,
        sendBufferBytes: 0,
      });
      yield source.waitOpen();
      yield source.send("one");
      yield source.send("two");
      yield source.take();
      source.close();
      yield source.waitClosed();
      return undefined;
    },
    feed() {
      count++;
      if (count === 2 && socket.readyState === 0) socket.open();
      if (count === 3) socket.bufferedAmount = 10;
      if (count === 5) socket.bufferedAmount = 0;
      if (count === 6) socket.receive("hello");
      if (count > 6 && socket.readyState === 2) socket.end(1000);
    },
    check() {
      assert(socket.goodbye !== null || socket.listeners === 0);
      if (socket.readyState === 2) socket.end(1000);
      assertEquals(socket.listeners, 0);
    },
  };
}

function reconnectingWorld(): World {
  const sockets: FakeSocket[] = [];
  let count = 0;
  return {
    *victim(signal) {
      const open = () => {
        sockets.push(new FakeSocket("connecting"));
        return sockets.at(-1)!.asSocket;
      };
      using source = reconnecting(open, {
        signal,
        backoff: { initialMs: 2, jitter: "none" },
      });
      yield source.send("one");
      yield source.take();
      return undefined;
    },
    feed() {
      const socket = sockets.at(-1);
      if (socket === undefined) return;
      count++;
      if (count === 2 || count > 4) {
        if (socket.readyState === 0) socket.open();
        else if (socket.readyState === 1) socket.receive("hello");
      }
      if (count === 3) socket.end(1006, "", false);
    },
    check() {
      const opened = sockets.length;
      for (const socket of sockets) {
        if (socket.readyState === 2) socket.end(1000);
        assertEquals(socket.listeners, 0);
      }
      assertEquals(sockets.length, opened);
    },
  };
}

function streamWorld(): World {
  let give: ((chunk: number) => void) | null = null;
  let cancelled = 0;
  let count = 0;
  const stream = new ReadableStream<number>({
    start(controller) {
      give = (chunk) => controller.enqueue(chunk);
    },
    cancel() {
      give = null;
      cancelled++;
    },
  });
  return {
    *victim(signal) {
      yield each(fromStream(stream, { signal }), function* (number, stop) {
        yield* sleep(0);
        if (number === 3) stop();
      });
      return undefined;
    },
    feed: () => give?.(count++),
    check: () => assertEquals(stream.locked ? 0 : cancelled <= 1, true),
  };
}

function portWorld(): World {
  const { port1, port2 } = new MessageChannel();
  let closed = false;
  port2.on("close", () => closed = true);
  let count = 0;
  return {
    *victim(signal) {
      const source = fromMessagePort<number>(
        port1 as unknown as globalThis.MessagePort,
        { signal },
      );
      yield each(source, function* (number, stop) {
        yield* sleep(0);
        if (number === 3) stop();
      });
      return undefined;
    },
    feed: () => port2.postMessage(count++),
    async check() {
      // The victim may never have begun.
      if (!closed) port1.close();
      while (!closed) await sleep(1);
    },
  };
}

function signalWorld(): World {
  return {
    *victim(signal) {
      let seen = 0;
      const source = fromSignal("SIGWINCH", { signal, buffer: 10 });
      yield each(source, function* (_name, stop) {
        yield* sleep(0);
        if (++seen === 3) stop();
      });
      return undefined;
    },
    feed: () => Deno.kill(Deno.pid, "SIGWINCH"), // ignored if nobody listens
    check: () => assertEquals(signalListeners.count, 0),
  };
}

/** How many listeners for the signal of the test the runtime has. */
const signalListeners = { count: 0 };

function countSignalListeners(): Disposable {
  const { addSignalListener, removeSignalListener } = Deno;
  Deno.addSignalListener = (...args) => {
    if (args[0] === "SIGWINCH") signalListeners.count++;
    addSignalListener(...args);
  };
  Deno.removeSignalListener = (...args) => {
    if (args[0] === "SIGWINCH") signalListeners.count--;
    removeSignalListener(...args);
  };
  return {
    [Symbol.dispose]() {
      Object.assign(Deno, { addSignalListener, removeSignalListener });
    },
  };
}

function filesWorld(): World {
  const folder = Deno.makeTempDirSync();
  let count = 0;
  return {
    *victim(signal) {
      let seen = 0;
      yield each(fromFsEvents(folder, { signal }), function* (_event, stop) {
        yield* sleep(0);
        if (++seen === 3) stop();
      });
      return undefined;
    },
    feed: () => Deno.writeTextFileSync(`${folder}/${count++}`, ""),
    check: () => Deno.removeSync(folder, { recursive: true }),
  };
}

function readerWorld(): World {
  const pipe = Pipe.open();
  const taken: number[] = [];
  let source: Source<Uint8Array> | null = null;
  let count = 0;
  return {
    *victim(signal) {
      source = fromReader(pipe.readFd, { chunkBytes: 1, buffer: 2 });
      while (taken.length < 4) {
        taken.push(((yield source.take({ signal })) as Uint8Array)[0]!);
      }
      return undefined;
    },
    feed: () => pipe.write(new Uint8Array([count++, count++])),
    async check() {
      // Each byte was taken, waits in the source, or is in the pipe.
      source ??= fromReader(pipe.readFd, { chunkBytes: 1 });
      while (taken.length < count) taken.push((await source.take())[0]!);
      assertEquals(taken, Array.from({ length: count }, (_, n) => n));
      source[Symbol.dispose]();
      assertEquals(getRunningLoop().removeReader(pipe.readFd), false);
      fromReader(pipe.readFd).close(); // which would be refused
      pipe[Symbol.dispose]();
    },
  };
}

const WORLDS: Record<
  string,
  { make: () => World; real?: "portable" | "native" }
> = {
  "once()": { make: onceWorld },
  "each() over fromEvent()": { make: eachWorld },
  "merge()": { make: mergeWorld },
  "fromWebSocket()": { make: socketWorld },
  "reconnecting()": { make: reconnectingWorld },
  "fromStream()": { make: streamWorld, real: "portable" },
  "fromMessagePort()": { make: portWorld, real: "portable" },
  "fromSignal()": { make: signalWorld, real: "portable" },
  "fromFsEvents()": { make: filesWorld, real: "portable" },
  "fromReader()": { make: readerWorld, real: "native" },
};

/** Lets the victim run for so many turns, and stops it. Returns whether it had ended before. */
function stopAfter(
  world: World,
  style: typeof STYLES[number],
  turns: number,
  way: "cancel" | "signal",
  host: "virtual" | "portable" | "native",
): Promise<boolean> {
  return run(async () => {
    const controller = new AbortController();
    const loop = getRunningLoop();
    const reports: string[] = [];
    loop.setExceptionHandler((_loop, { message }) => {
      reports.push(message);
    });
    const victim: Task<unknown> = loop.createTask(
      inStyle(style, () => world.victim(controller.signal)),
    );
    const feeder = loop.createTask(function* () {
      for (let n = 0; n < 60; n++) {
        world.feed();
        yield* sleep(1);
        yield* sleep(0);
      }
    });
    // Virtual time moves only when nothing is ready.
    for (let turn = 0; turn < turns; turn++) {
      await sleep(turn % 4 === 3 ? 1 : 0);
    }
    const wasDone = victim.done();
    if (way === "cancel") victim.cancel();
    else {
      controller.abort(new CancelledError("aborted"));
      // A wait without the signal, such as a sleep, is cancelled as well.
      await sleep(0);
      victim.cancel();
    }
    for (let n = 0; n < 30 && !victim.done(); n++) await sleep(1);
    assert(victim.done(), `it goes on after ${turns} turns`);
    const outcome = outcomeOf(victim);
    assert(
      wasDone || !outcome.startsWith("failed") ||
        /aborted|closed/.test(outcome),
      outcome,
    );
    await sleep(5);
    feeder.cancel();
    await sleep(0);
    await world.check();
    assertEquals(reports, []);
    return wasDone;
  }, { host });
}

for (const [name, { make, real }] of Object.entries(WORLDS)) {
  for (const style of STYLES) {
    for (const way of ["cancel", "signal"] as const) {
      Deno.test(`${name} in ${style} can be stopped by ${way} at any turn`, async () => {
        using _listeners = countSignalListeners();
        const host = real ?? "virtual";
        let turns = 0;
        let wasDone = false;
        // Real time passes between turns: there the number of turns is not certain.
        for (; !wasDone && turns < (real ? 16 : 400); turns++) {
          wasDone = await stopAfter(make(), style, turns, way, host);
        }
        assert(real || wasDone, "it never came to its end");
        assert(turns > 3, "it was never stopped in a wait");
      });
    }
  }
}
