/**
 * The channel: meeting, buffering, closing, and that nothing is lost when either
 * side is cancelled.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  Channel,
  ChannelClosedError,
  currentTask,
  each,
  getRunningLoop,
  run,
  sleep,
  type Task,
} from "../mod.ts";
import { inStyle, type Steps, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

type Script = ReturnType<Steps<unknown>>;
type Spawn = (steps: Steps<unknown>) => Task<unknown>;

/** A test that runs in both styles; `spawn` makes tasks of the same style. */
function testBoth(name: string, script: (spawn: Spawn) => Script): void {
  for (const style of STYLES) {
    const spawn: Spawn = (steps) =>
      getRunningLoop().createTask(inStyle(style, steps));
    Deno.test(`${name} (${style})`, async () => {
      await run(inStyle(style, () => script(spawn)), VIRTUAL);
    });
  }
}

const ENOUGH = new Error("enough");
const CAPACITIES = [0, 1, 3, Infinity];

function* caught(steps: () => Script): Script {
  try {
    return yield* steps();
  } catch (error) {
    return error;
  }
}

// -- Sending and receiving --

for (const capacity of CAPACITIES) {
  testBoth(
    `A channel of ${capacity} carries values in order, undefined among them`,
    function* (spawn) {
      const channel = new Channel<number | undefined>({ capacity });
      const received: unknown[] = [];
      const consumer = spawn(function* () {
        for (let n = 0; n < 8; n++) received.push(yield channel.receive());
      });
      const sent = [0, undefined, 2, 3, undefined, 5, 6, 7];
      for (const value of sent) yield channel.send(value);
      yield consumer;
      assertEquals(received, sent);
      const { sizePeak, ...rest } = channel.stats();
      assert(sizePeak <= capacity);
      assertEquals(rest, {
        size: 0,
        sent: 8,
        received: 8,
        sendersWaiting: 0,
        receiversWaiting: 0,
      });
    },
  );
}

testBoth(
  "Channel.send() waits for a receiver if nothing can be held",
  function* (spawn) {
    const channel = new Channel<string>();
    const sender = spawn(function* () {
      yield channel.send("a");
      return getRunningLoop().time();
    });
    yield sleep(5);
    assertEquals([channel.size, channel.stats().sendersWaiting], [0, 1]);
    assertEquals(yield channel.receive(), "a");
    assertEquals(yield sender, 5);
  },
);

testBoth(
  "Channel.send() waits while the channel is full, and is served in order",
  function* (spawn) {
    const channel = new Channel<number>({ capacity: 2 });
    const log: string[] = [];
    for (const n of [0, 1, 2, 3, 4]) {
      spawn(function* () {
        yield channel.send(n);
        log.push(`sent ${n}`);
      });
    }
    yield sleep(1);
    assertEquals([log.splice(0), channel.size], [["sent 0", "sent 1"], 2]);
    assertEquals([yield channel.receive(), channel.size], [0, 2]);
    yield sleep(1);
    assertEquals(log.splice(0), ["sent 2"]);
    const rest = [];
    for (let n = 1; n < 5; n++) rest.push(yield channel.receive());
    assertEquals(rest, [1, 2, 3, 4]);
    assertEquals(channel.stats().sizePeak, 2);
  },
);

testBoth(
  "Channel.send() and receive() take no turn if they need not wait",
  function* () {
    const channel = new Channel<number>({ capacity: 2 });
    const { turns } = getRunningLoop().stats();
    yield channel.send(1);
    yield channel.send(2);
    assertEquals([yield channel.receive(), yield channel.receive()], [1, 2]);
    assertEquals(getRunningLoop().stats().turns, turns);
  },
);

Deno.test("trySend() and tryReceive() never wait, and need no loop", () => {
  const channel = new Channel<number>({ capacity: 1 });
  assertEquals(channel.tryReceive(), { state: "empty" });
  assertEquals([channel.trySend(1), channel.trySend(2)], [true, false]);
  assertEquals(channel.tryReceive(), { state: "ok", value: 1 });
  assertEquals(new Channel<number>().trySend(1), false);
  channel.trySend(3);
  channel.close();
  assertEquals(channel.trySend(4), false);
  assertEquals(channel.tryReceive(), { state: "ok", value: 3 });
  assertEquals(channel.tryReceive(), { state: "closed" });
  channel.close(ENOUGH);
  assert(channel.closed);
});

testBoth(
  "trySend() serves a waiting receiver, tryReceive() a waiting sender",
  function* (spawn) {
    const channel = new Channel<number>();
    const receiver = spawn(function* () {
      return yield channel.receive();
    });
    yield sleep(1);
    assertEquals([channel.trySend(1), channel.trySend(2)], [true, false]);
    assertEquals(channel.tryReceive(), { state: "empty" }, "it is promised");
    assertEquals(yield receiver, 1);
    const sender = spawn(function* () {
      yield channel.send(3);
    });
    yield sleep(1);
    assertEquals(channel.tryReceive(), { state: "ok", value: 3 });
    yield sender;
  },
);

// -- Closing --

for (const capacity of CAPACITIES) {
  testBoth(
    `A closed channel of ${capacity} gives what is left, and then throws`,
    function* (spawn) {
      const channel = new Channel<number>({ capacity });
      const senders = [1, 2, 3, 4].map((n) =>
        spawn(() =>
          caught(function* () {
            yield channel.send(n);
            return "sent";
          })
        )
      );
      yield sleep(1);
      channel.close();
      const outcomes: unknown[] = [];
      for (const task of senders) {
        const outcome: unknown = yield task;
        if (outcome instanceof ChannelClosedError) {
          assertEquals(
            outcome.message,
            "Cannot send to a channel: it is closed",
          );
          outcomes.push(outcome.value);
        } else outcomes.push(outcome);
      }
      const held = Math.min(capacity, 4);
      assertEquals(
        outcomes,
        [1, 2, 3, 4].map((n) => n <= held ? "sent" : n),
      );
      for (let n = 1; n <= held; n++) assertEquals(yield channel.receive(), n);
      const error = yield* caught(function* () {
        yield channel.receive();
      });
      assertInstanceOf(error, ChannelClosedError);
      assertEquals("value" in error, false);
      assertEquals(
        error.message,
        "Cannot receive from a channel: it is closed",
      );
    },
  );
}

testBoth(
  "Channel.close(reason) throws the reason at receivers, and not at senders",
  function* (spawn) {
    for (const reason of [ENOUGH, undefined]) {
      const channel = new Channel<number>();
      const receiver = spawn(() =>
        caught(function* () {
          yield channel.receive();
        })
      );
      const other = new Channel<number>();
      const sender = spawn(() =>
        caught(function* () {
          yield other.send(1);
        })
      );
      yield sleep(1);
      channel.close(reason);
      other.close(reason);
      assertStrictEquals(yield receiver, reason);
      const error: unknown = yield sender;
      assertInstanceOf(error, ChannelClosedError);
      assertEquals(error.value, 1);
      let thrown: unknown = "nothing";
      try {
        yield channel.receive();
      } catch (error) {
        thrown = error;
      }
      assertStrictEquals(thrown, reason);
    }
  },
);

Deno.test("using and await using close a channel", async () => {
  const channels = [new Channel(), new Channel()] as const;
  {
    using _first = channels[0];
    await using _second = channels[1];
  }
  assertEquals(channels.map((channel) => channel.closed), [true, true]);
});

// -- Cancelling --

testBoth(
  "A value on its way to a receiver that is cancelled goes to the next",
  function* (spawn) {
    const channel = new Channel<number>();
    const receive = () =>
      spawn(function* () {
        return yield channel.receive();
      });
    const [first, second] = [receive(), receive()];
    yield sleep(1);
    assertEquals(channel.trySend(1), true);
    first.cancel();
    assertEquals(yield second, 1);
    const third = receive();
    yield sleep(1);
    assertEquals(channel.trySend(2), true);
    third.cancel();
    yield sleep(1);
    assertEquals([third.cancelled(), channel.size], [true, 1]);
    assertEquals(channel.trySend(3), false);
    assertEquals(yield channel.receive(), 2);
  },
);

testBoth(
  "Values stay in order when receivers are cancelled",
  function* (spawn) {
    const channel = new Channel<number>({ capacity: 2 });
    const received: number[] = [];
    const receivers = Array.from({ length: 4 }, () =>
      spawn(function* () {
        received.push(yield channel.receive());
      }));
    yield sleep(1);
    for (let n = 0; n < 4; n++) assert(channel.trySend(n));
    receivers[0]!.cancel();
    receivers[2]!.cancel();
    yield sleep(1);
    for (let left = channel.size; left > 0; left--) {
      received.push(yield channel.receive());
    }
    assertEquals(received, [0, 1, 2, 3]);
  },
);

testBoth("A cancelled sender has not sent", function* (spawn) {
  const channel = new Channel<number>();
  const send = (n: number) =>
    spawn(function* () {
      yield channel.send(n);
    });
  const [first, second] = [send(1), send(2)];
  yield sleep(1);
  first.cancel();
  assertEquals(yield channel.receive(), 2);
  yield second;
  assertEquals([first.cancelled(), channel.stats().sent], [true, 1]);
});

testBoth(
  "A cancellation that comes after the value was taken is thrown at the next wait",
  function* (spawn) {
    const channel = new Channel<number>();
    const log: string[] = [];
    const sender = spawn(function* () {
      yield channel.send(1);
      log.push("sent");
      try {
        yield sleep(1);
      } catch (error) {
        assertInstanceOf(error, CancelledError);
        log.push(`cancelled: ${error.reason}`);
      }
      yield sleep(1); // it is thrown once
      return "went on";
    });
    yield sleep(1);
    assertEquals(channel.tryReceive(), { state: "ok", value: 1 });
    sender.cancel("late");
    assertEquals(yield sender, "went on");
    assertEquals([log, sender.cancelling()], [["sent", "cancelled: late"], 1]);
  },
);

testBoth(
  "A cancellation that comes after the value was taken ends a task that waits no more",
  function* (spawn) {
    const channel = new Channel<number>();
    const sender = spawn(function* () {
      yield channel.send(1);
    });
    yield sleep(1);
    assertEquals(yield channel.receive(), 1);
    sender.cancel();
    yield sleep(1);
    assertEquals(sender.cancelled(), true);
  },
);

testBoth(
  "A level cancellation after the value was taken stays inside its block",
  function* (spawn) {
    const channel = new Channel<number>();
    const log: string[] = [];
    const sender = spawn(function* () {
      const task = currentTask()!;
      const block = task.openBlock({ cancels: "level" });
      getRunningLoop().callLater(5, () => {
        assertEquals(channel.tryReceive(), { state: "ok", value: 1 });
        block.cancel();
      });
      yield channel.send(1);
      log.push("sent");
      block.close();
      yield sleep(1);
      log.push("outside");
    });
    yield sender;
    assertEquals(log, ["sent", "outside"]);
  },
);

testBoth(
  "An abort ends both waits, and the value is not sent",
  function* (spawn) {
    const channel = new Channel<number>();
    const other = new Channel<number>();
    const controller = new AbortController();
    const { signal } = controller;
    const tasks = [channel.send(1, { signal }), other.receive({ signal })].map((
      operation,
    ) =>
      spawn(() =>
        caught(function* () {
          yield operation;
        })
      )
    );
    yield sleep(1);
    controller.abort(ENOUGH);
    // In the same turn: nobody waits any more.
    assertEquals(channel.tryReceive(), { state: "empty" });
    assertEquals(other.trySend(1), false);
    for (const task of tasks) assertStrictEquals(yield task, ENOUGH);
  },
);

// -- Iterating --

testBoth(
  "each() over a channel loses nothing when it is cancelled",
  function* (spawn) {
    const channel = new Channel<number>({ capacity: 9 });
    const received: number[] = [];
    const iterate = () =>
      spawn(function* () {
        yield each(channel, (n, stop) => {
          received.push(n);
          if (n === 2) stop();
        });
        return "ended";
      });
    const first = iterate();
    yield sleep(1);
    channel.trySend(0);
    first.cancel();
    yield sleep(1);
    assertEquals([first.cancelled(), received], [true, []]);
    for (const n of [1, 2, 3]) channel.trySend(n);
    assertEquals(yield iterate(), "ended");
    assertEquals(received, [0, 1, 2]);
    channel.close();
    assertEquals(yield iterate(), "ended");
    assertEquals(received, [0, 1, 2, 3]);
  },
);

Deno.test("for await and streams end with the channel, or throw its reason", async () => {
  await run(async () => {
    const fill = (reason?: Error) => {
      const channel = new Channel<number>({ capacity: 3 });
      for (const n of [1, 2, 3]) channel.trySend(n);
      if (reason === undefined) channel.close();
      else channel.close(reason);
      return channel;
    };
    const views = [
      (channel: Channel<number>): AsyncIterable<number> => channel,
      (channel: Channel<number>) => channel.toReadableStream(),
    ];
    for (const view of views) {
      assertEquals(await Array.fromAsync(view(fill())), [1, 2, 3]);
      // A reason is thrown also if it looks like the end of another channel.
      for (const reason of [ENOUGH, new ChannelClosedError("another one")]) {
        const received: number[] = [];
        let thrown: unknown;
        try {
          for await (const n of view(fill(reason))) received.push(n);
        } catch (error) {
          thrown = error;
        }
        assertStrictEquals(thrown, reason);
      }
    }
    const channel = new Channel<number>();
    await channel.toReadableStream().cancel(ENOUGH);
    assert(channel.closed);
  });
});

Deno.test("Channel checks its capacity", () => {
  for (const capacity of [-1, 1.5, NaN]) {
    const error = assertThrows(() => new Channel({ capacity }), RangeError);
    assertEquals(
      error.message,
      `Cannot create a channel as capacity must be an integer >= 0 or Infinity: received ${capacity}`,
    );
  }
  // @ts-expect-error -- not a number
  assertThrows(() => new Channel({ capacity: "1" }), TypeError, "a number");
});
