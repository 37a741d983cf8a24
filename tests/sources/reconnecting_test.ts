/**
 * Web sockets with reconnection, on virtual time with sockets that the test plays, and once
 * over loopback.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { each, getRunningLoop, run, sleep } from "../../mod.ts";
import {
  MessageTooLargeError,
  ReconnectLimitError,
  WebSocketClosedError,
} from "../../src/errors.ts";
import {
  reconnecting,
  type ReconnectingOptions,
} from "../../src/sources/mod.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { countingSignal, FakeSocket } from "./support.ts";

const VIRTUAL = { host: "virtual" } as const;

/** The sockets that were opened, and when. */
class Opener {
  readonly sockets: FakeSocket[] = [];
  readonly atMs: number[] = [];

  readonly open = (): WebSocket => {
    const socket = new FakeSocket("connecting");
    this.sockets.push(socket);
    this.atMs.push(getRunningLoop().time());
    return socket.asSocket;
  };

  get last(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  get listeners(): number {
    return this.sockets.reduce((sum, { listeners }) => sum + listeners, 0);
  }
}

const PLAIN: ReconnectingOptions = { backoff: { jitter: "none" } };

for (const style of STYLES) {
  Deno.test(`reconnecting() goes on over several connections in ${style}`, async () => {
    const opener = new Opener();
    const states: string[] = [];
    const log: unknown[] = [];
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const source = reconnecting(opener.open, {
          ...PLAIN,
          onState: (state) => states.push(`${state} ${loop.time()}`),
        });
        loop.callLater(10, () => opener.last.open());
        loop.callLater(11, () => opener.last.receive("a"));
        loop.callLater(20, () => opener.last.end(1006, "", false)); // next at 120
        loop.callLater(130, () => opener.last.end(1006, "", false)); // next at 330
        loop.callLater(340, () => opener.last.open());
        loop.callLater(341, () => opener.last.receive("b"));
        loop.callLater(342, () => opener.last.end(1000));
        yield each(source, function* (message) {
          log.push(message);
        });
        assertEquals([source.state, source.failures], ["closed", 3]);
      }),
      VIRTUAL,
    );
    assertEquals(log, ["a", "b"]);
    assertEquals(opener.atMs, [0, 120, 330]);
    assertEquals(states, [
      "open 10",
      "waiting 20",
      "connecting 120",
      "waiting 130",
      "connecting 330",
      "open 340",
      "closed 342",
    ]);
    assertEquals(opener.listeners, 0);
  });

  Deno.test(`send() waits for the next connection, and is not repeated, in ${style}`, async () => {
    const opener = new Opener();
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const source = reconnecting(opener.open, PLAIN);
        const first = loop.createTask(source.send("first"));
        yield sleep(5);
        opener.last.end(1006, "", false);
        const unwanted = loop.createTask(source.send("unwanted"));
        yield sleep(5);
        unwanted.cancel();
        yield sleep(100);
        assertEquals(first.done(), false);
        opener.last.open();
        yield sleep(1);
        assert(first.done());
        assertEquals(opener.last.sent, ["first"]);
        opener.last.end(1006, "", false);
        yield sleep(1_000);
        opener.last.open();
        yield source.send("second");
        assertEquals(opener.last.sent, ["second"]);
        const late = loop.createTask(function* () {
          opener.last.bufferedAmount = 2 << 20;
          yield* source.send("late");
        });
        yield sleep(5);
        source.close();
        yield sleep(5);
        assertEquals(
          outcomeOf(late),
          "failed: Cannot send to a web socket: it is closed",
        );
      }),
      VIRTUAL,
    );
    assertEquals(opener.sockets[0]!.sent, []);
  });
}

/** Lets every connection fail, and returns the delays between them. */
async function delaysOf(
  options: ReconnectingOptions,
  attempts: number,
): Promise<number[]> {
  const opener = new Opener();
  await run(async () => {
    using _source = reconnecting(opener.open, options);
    while (opener.sockets.length < attempts) {
      const { last } = opener;
      if (last.readyState === 0) last.end(1006, "", false);
      await sleep(0.5);
    }
  }, VIRTUAL);
  const { atMs } = opener;
  return atMs.slice(1).map((ms, index) => ms - atMs[index]!);
}

Deno.test("delays double up to the longest, and full jitter takes a part of each", async () => {
  const whole = await delaysOf(
    { backoff: { initialMs: 100, maxMs: 800, jitter: "none" } },
    7,
  );
  whole.forEach((delayMs, index) => {
    const expected = [100, 200, 400, 800, 800, 800][index]!;
    assert(Math.abs(delayMs - expected) <= 0.5, `${delayMs} ms`);
  });
  const backoff = { initialMs: 100, maxMs: 800 };
  const one = await delaysOf({ backoff, seed: 1 }, 16);
  assertEquals(one, await delaysOf({ backoff, seed: 1 }, 16));
  const other = await delaysOf({ backoff, seed: 2 }, 16);
  assert(one.some((delayMs, index) => delayMs !== other[index]));
  one.forEach((delayMs, index) =>
    assert(delayMs <= 0.5 + Math.min(800, 100 * 2 ** index))
  );
  const late = one.slice(3);
  assert(late.some((ms) => ms < 300) && late.some((ms) => ms > 500));
});

Deno.test("a connection that was healthy starts the delays anew", async () => {
  const opener = new Opener();
  await run(async () => {
    using source = reconnecting(opener.open, {
      backoff: { jitter: "none", healthyMs: 50 },
    });
    opener.last.end(1006, "", false);
    await sleep(150);
    opener.last.open();
    await sleep(49);
    opener.last.end(1006, "", false);
    assertEquals(source.failures, 2);
    await sleep(250);
    opener.last.open();
    await sleep(50);
    opener.last.end(1006, "", false);
    assertEquals(source.failures, 1);
  }, VIRTUAL);
});

Deno.test("reconnecting() gives up after maxRetries, with the last error as cause", async () => {
  const opener = new Opener();
  await run(async () => {
    const source = reconnecting(opener.open, { ...PLAIN, maxRetries: 2 });
    const sending = getRunningLoop().createTask(source.send("x"));
    const messages = getRunningLoop().createTask(source.take());
    for (let n = 0; n < 3; n++) {
      opener.last.end(1006, "", false);
      await sleep(1_000);
    }
    const error = await assertRejects(
      async () => await messages,
      ReconnectLimitError,
      "Cannot keep a web socket connected: gave up after 3 failures in a row",
    );
    assertEquals(error.failures, 3);
    assertInstanceOf(error.cause, WebSocketClosedError);
    assertEquals(
      await assertRejects(async () => await sending, ReconnectLimitError),
      error,
    );
    assertEquals([source.state, opener.sockets.length], ["closed", 3]);
  }, VIRTUAL);
});

Deno.test("retry decides which ends are final", async () => {
  const final = async (
    code: number,
    wasClean: boolean,
    retry?: ReconnectingOptions["retry"],
  ): Promise<string> => {
    const opener = new Opener();
    return await run(async () => {
      const source = reconnecting(opener.open, {
        ...PLAIN,
        ...(retry !== undefined && { retry }),
      });
      opener.last.open();
      opener.last.end(code, "", wasClean);
      if (!source.closed) {
        source.close();
        return source.state;
      }
      const task = getRunningLoop().createTask(source.take());
      await sleep(1);
      return outcomeOf(task);
    }, VIRTUAL);
  };
  const ended = "failed: Cannot take an item of a source: it has ended";
  assertEquals(await final(1000, true), ended);
  assertEquals(await final(1001, true), "closed");
  assertEquals(await final(4001, true, ({ code }) => code !== 4001), ended);
  assertEquals(
    await final(1006, false, () => false),
    "failed: The web socket was closed with code 1006: Unexpected EOF",
  );
  assertEquals(
    await final(1006, false, () => {
      throw new Error("no rule");
    }),
    "failed: no rule",
  );
});

Deno.test("an error of open() or onState(), and a message too large, end it", async () => {
  await run(async () => {
    const first = new Error("no address");
    assertStrictEquals(
      assertThrows(() =>
        reconnecting(() => {
          throw first;
        })
      ),
      first,
    );
    const opener = new Opener();
    let attempts = 0;
    const later = reconnecting(() => {
      if (attempts++ > 0) throw new Error("no address any more");
      return opener.open();
    }, PLAIN);
    opener.last.end(1006, "", false);
    await assertRejects(async () => await later.take(), Error, "any more");

    const talking = reconnecting(opener.open, {
      onState(state) {
        if (state === "open") throw new Error("not interested");
      },
    });
    opener.last.open();
    await assertRejects(async () => await talking.take(), Error, "interested");
    assertEquals(opener.last.goodbye?.code, 1000);

    opener.last.end(1000); // the answer
    const limited = reconnecting(opener.open, { maxMessageBytes: 1 });
    opener.last.open();
    opener.last.receive("ab");
    await assertRejects(async () => await limited.take(), MessageTooLargeError);
    assertEquals(opener.last.goodbye?.code, 4009);
    opener.last.end(4009);
    await sleep(100_000);
    assertEquals(opener.sockets.length, 3);
  }, VIRTUAL);
});

Deno.test("an error of onState() during the call leaves nothing behind", async () => {
  const socket = new FakeSocket("open");
  const { signal, count } = countingSignal();
  await run(async () => {
    const source = reconnecting(() => socket.asSocket, {
      signal,
      onState(state) {
        if (state === "open") throw new Error("not now");
      },
    });
    await assertRejects(async () => await source.take(), Error, "not now");
    socket.end(1000);
    assertEquals([socket.listeners, count(), source.closed], [0, 0, true]);
  }, VIRTUAL);
  assertEquals(count(), 0);
});

Deno.test("reconnecting(): after an abort send() throws the reason; a silent peer is given up", async () => {
  const reports: string[] = [];
  const socket = new FakeSocket("open");
  await run(async () => {
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, { message }) => {
      reports.push(`${loop.time()}: ${message}`);
    });
    const controller = new AbortController();
    const source = reconnecting(() => socket.asSocket, {
      signal: controller.signal,
      closeTimeoutMs: 30,
    });
    controller.abort(new Error("no longer"));
    await assertRejects(async () => await source.send("x"), Error, "no longer");
    assertEquals(socket.listeners, 3);
    await sleep(30);
    assertEquals([socket.listeners, source.state], [0, "closed"]);
  }, VIRTUAL);
  assertEquals(reports, [
    "30: A web socket was given up, and is open in the runtime still",
  ]);
});

const STAGES: Record<string, (opener: Opener) => void> = {
  "connecting": () => {},
  "open": ({ last }) => last.open(),
  "waiting": ({ last }) => last.end(1006, "", false),
};

for (const [stage, enter] of Object.entries(STAGES)) {
  for (const way of ["using", "cancel", "signal", "close", "the loop"]) {
    Deno.test(`reconnecting(), ${stage}, is left by ${way} without a trace`, async () => {
      const opener = new Opener();
      await run(async () => {
        const controller = new AbortController();
        const source = reconnecting(opener.open, {
          signal: controller.signal,
        });
        enter(opener);
        assertEquals(source.state, stage);
        const task = getRunningLoop().createTask(async () => {
          for await (const _ of source);
        });
        await sleep(1);
        if (way === "using") source[Symbol.dispose]();
        else if (way === "cancel") task.cancel();
        else if (way === "signal") controller.abort(new Error("stop"));
        else if (way === "close") source.close();
        else return;
        await sleep(1);
        assert(task.done());
        outcomeOf(task);
        assertEquals(source.state, "closed");
        if (stage !== "waiting") {
          assertEquals(opener.last.goodbye, { code: 1000, reason: "" });
          opener.last.end(1000);
        }
        await sleep(100_000);
        assertEquals([opener.sockets.length, opener.listeners], [1, 0]);
      }, VIRTUAL);
      assertEquals(opener.listeners, 0);
    });
  }
}

Deno.test("bad arguments of reconnecting() are refused before anything is opened", async () => {
  const opener = new Opener();
  const refuse = (
    options: unknown,
    message: string,
    Class: typeof TypeError | typeof RangeError = TypeError,
  ) =>
    assertThrows(
      () => reconnecting(opener.open, options as ReconnectingOptions),
      Class,
      message,
    );
  await run(async () => {
    refuse({ overflow: "block" }, 'overflow must not be "block"');
    refuse({ backoff: 1 }, "options must be an object");
    refuse({ backoff: { initialMs: -1 } }, "backoff.initialMs", RangeError);
    refuse({ backoff: { maxMs: Infinity } }, "backoff.maxMs", RangeError);
    refuse({ backoff: { factor: 0.5 } }, "backoff.factor", RangeError);
    refuse({ backoff: { jitter: "some" } }, "backoff.jitter");
    refuse({ backoff: { healthyMs: NaN } }, "backoff.healthyMs", RangeError);
    refuse({ seed: 0.5 }, "seed must be an integer", RangeError);
    refuse({ maxRetries: -1 }, "maxRetries must be", RangeError);
    refuse({ retry: 1 }, "retry must be a function");
    refuse({ onState: 1 }, "onState must be a function");
    assertThrows(() => reconnecting(1 as never), TypeError, "open must be");
    assertThrows(() => reconnecting("no url"), DOMException);
  }, VIRTUAL);
  assertEquals(opener.sockets.length, 0);
});

Deno.test("a server that comes back is found again", async () => {
  const received: unknown[] = [];
  await run(async () => {
    const start = (port: number) =>
      Deno.serve(
        { hostname: "127.0.0.1", port, onListen: () => {} },
        (request) => {
          const { socket, response } = Deno.upgradeWebSocket(request);
          socket.onmessage = ({ data }) => {
            socket.send(data);
            socket.close(1012, "restarting");
          };
          return response;
        },
      );
    let server = start(0);
    const { port } = server.addr;
    using source = reconnecting(`ws://127.0.0.1:${port}`, {
      backoff: { initialMs: 5, maxMs: 20 },
    });
    await source.send("one");
    received.push(await source.take());
    await server.shutdown();
    while (source.state === "open") await sleep(1);
    server = start(port);
    await source.send("two");
    received.push(await source.take());
    source.close();
    await server.shutdown();
  });
  assertEquals(received, ["one", "two"]);
});
