/**
 * Cancels a task at every turn of its life, in both styles, by `cancel()` and by a signal, for
 * each kind of wait in a source: nothing that was subscribed outlives it.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  CancelledError,
  each,
  getRunningLoop,
  run,
  sleep,
  type Task,
} from "../../mod.ts";
import {
  fromEvent,
  fromStream,
  fromWebSocket,
  merge,
  once,
  reconnecting,
} from "../../src/sources/mod.ts";
import { inStyle, outcomeOf, type Steps, STYLES } from "../support/styles.ts";
import { CountingTarget, FakeSocket } from "./support.ts";

type Script = ReturnType<Steps<unknown>>;

/** A task that waits in a source, something that feeds it, and a check of what is left. */
interface World {
  readonly victim: (signal: AbortSignal) => Script;
  readonly feed: () => void;
  readonly check: () => void;
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

const WORLDS: Record<string, { make: () => World; real?: true }> = {
  "once()": { make: onceWorld },
  "each() over fromEvent()": { make: eachWorld },
  "merge()": { make: mergeWorld },
  "fromWebSocket()": { make: socketWorld },
  "reconnecting()": { make: reconnectingWorld },
  "fromStream()": { make: streamWorld, real: true },
};

/** Lets the victim run for so many turns, and stops it. Returns whether it had ended before. */
function stopAfter(
  world: World,
  style: typeof STYLES[number],
  turns: number,
  way: "cancel" | "signal",
  host: "virtual" | "portable",
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
    world.check();
    assertEquals(reports, []);
    feeder.cancel();
    return wasDone;
  }, { host });
}

for (const [name, { make, real }] of Object.entries(WORLDS)) {
  for (const style of STYLES) {
    for (const way of ["cancel", "signal"] as const) {
      Deno.test(`${name} in ${style} can be stopped by ${way} at any turn`, async () => {
        const host = real ? "portable" : "virtual";
        let turns = 0;
        let wasDone = false;
        // Real time passes between turns: there the number of turns is not certain.
        for (; !wasDone && turns < (real ? 25 : 400); turns++) {
          wasDone = await stopAfter(make(), style, turns, way, host);
        }
        assert(real || wasDone, "it never came to its end");
        assert(turns > 3, "it was never stopped in a wait");
      });
    }
  }
}
