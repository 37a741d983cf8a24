/**
 * Web sockets as sources: with sockets that the test plays on virtual time, and with real
 * ones on loopback.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  each,
  getRunningLoop,
  InvalidStateError,
  run,
  sleep,
  type Task,
  timeout,
  TimeoutError,
} from "../../mod.ts";
import {
  MessageTooLargeError,
  SourceOverflowError,
  WebSocketClosedError,
} from "../../src/errors.ts";
import {
  fromWebSocket,
  type WebSocketMessage,
  type WebSocketOptions,
  type WebSocketSource,
} from "../../src/sources/mod.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { FakeSocket } from "./support.ts";

const VIRTUAL = { host: "virtual" } as const;

async function drain(source: WebSocketSource): Promise<WebSocketMessage[]> {
  const messages: WebSocketMessage[] = [];
  for await (const message of source) messages.push(message);
  return messages;
}

// -- Played sockets --

for (const style of STYLES) {
  Deno.test(`a web socket's messages come in order, until a clean end, in ${style}`, async () => {
    const socket = new FakeSocket("connecting");
    const log: unknown[] = [];
    await run(
      inStyle(style, function* () {
        const source = fromWebSocket(socket.asSocket);
        const loop = getRunningLoop();
        loop.callLater(5, () => socket.open());
        loop.callLater(6, () => socket.receive("a"));
        loop.callLater(7, () => socket.receive(new ArrayBuffer(3)));
        loop.callLater(8, () => socket.end(1001, "going away"));
        assertEquals(source.state, "connecting");
        yield source.waitOpen();
        assertEquals([loop.time(), source.state], [5, "open"]);
        yield each(source, function* (message) {
          log.push(message);
        });
        log.push(yield source.waitClosed(), source.state);
      }),
      VIRTUAL,
    );
    assertEquals(log, [
      "a",
      new ArrayBuffer(3),
      { code: 1001, reason: "going away", wasClean: true },
      "closed",
    ]);
    assertEquals([socket.listeners, socket.goodbye], [0, null]);
  });

  Deno.test(`a peer that vanishes is an error after its last message, in ${style}`, async () => {
    const socket = new FakeSocket();
    await run(
      inStyle(style, function* () {
        const source = fromWebSocket(socket.asSocket);
        socket.receive("last");
        socket.end(0, "", false); // the runtime says 0 for 1006
        const log: unknown[] = [];
        try {
          yield each(source, function* (message) {
            log.push(message);
          });
        } catch (error) {
          assertInstanceOf(error, WebSocketClosedError);
          assertInstanceOf(error.cause, Error);
          log.push(error.message, error.code, error.wasClean);
        }
        assertEquals(log, [
          "last",
          "The web socket was closed with code 1006: Unexpected EOF",
          1006,
          false,
        ]);
      }),
      VIRTUAL,
    );
    assertEquals(socket.listeners, 0);
  });

  Deno.test(`send() waits for the connection and for room, in line, in ${style}`, async () => {
    const socket = new FakeSocket("connecting");
    await run(
      inStyle(style, function* () {
        const source = fromWebSocket(socket.asSocket, { sendBufferBytes: 10 });
        const loop = getRunningLoop();
        const task = (data: string): Task<void> =>
          loop.createTask(source.send(data));
        const first = task("1");
        const second = task("2");
        yield sleep(3);
        assertEquals([socket.sent, first.done()], [[], false]);
        socket.bufferedAmount = 0;
        socket.open();
        yield sleep(0);
        yield sleep(1);
        assertEquals([socket.sent, second.done()], [["1", "2"], true]);
        socket.bufferedAmount = 11;
        const third = task("3");
        const cancelled = task("never");
        const fourth = task("4");
        yield sleep(100);
        assertEquals([socket.sent.length, third.done()], [2, false]);
        cancelled.cancel();
        socket.bufferedAmount = 10;
        yield sleep(40);
        assertEquals(socket.sent, ["1", "2", "3", "4"]);
        assert(fourth.done());
        yield source.send("5");
        socket.bufferedAmount = 11;
        const late = task("late");
        yield sleep(1);
        socket.end(1000);
        yield sleep(1);
        assertEquals(
          outcomeOf(late),
          "failed: The web socket was closed with code 1000",
        );
      }),
      VIRTUAL,
    );
    assertEquals(socket.sent, ["1", "2", "3", "4", "5"]);
    assertEquals(socket.listeners, 0);
  });
}

Deno.test("a wait for room looks at most every 16 ms", async () => {
  let looks = 0;
  class Watched extends FakeSocket {
    constructor() {
      super();
      Object.defineProperty(this, "bufferedAmount", {
        get: () => {
          looks++;
          return 100;
        },
      });
    }
  }
  const socket = new Watched();
  await run(async () => {
    const source = fromWebSocket(socket.asSocket, { sendBufferBytes: 10 });
    await assertRejects(
      async () => await timeout(1_600, () => source.send("x")),
      TimeoutError,
    );
    source.close();
  }, VIRTUAL);
  assert(looks > 50 && looks < 110, `it looked ${looks} times in 1,600 ms`);
});

Deno.test("a message over the limit ends the connection with 1009 and a typed error", async () => {
  const cases: [WebSocketMessage, number][] = [
    ["12345", 5],
    ["äöü", 6], // six bytes of UTF-8
    [new ArrayBuffer(5), 5],
    [new Blob(["12345"]), 5],
  ];
  for (const [message, bytes] of cases) {
    for (const isClient of [true, false]) {
      const fits = new FakeSocket("open", isClient);
      const tooSmall = new FakeSocket("open", isClient);
      await run(async () => {
        const one = fromWebSocket(fits.asSocket, { maxMessageBytes: bytes });
        fits.receive(message);
        assertEquals(await one.take(), message);
        const other = fromWebSocket(tooSmall.asSocket, {
          maxMessageBytes: bytes - 1,
        });
        tooSmall.receive("ok");
        tooSmall.receive(message);
        tooSmall.receive("too late");
        assertEquals(await other.take(), "ok");
        const error = await assertRejects(
          async () => await other.take(),
          MessageTooLargeError,
          `Cannot accept a message of ${bytes} bytes: at most ${
            bytes - 1
          } are allowed`,
        );
        assertEquals([error.bytes, error.maxBytes], [bytes, bytes - 1]);
        one.close();
      }, VIRTUAL);
      assertEquals(tooSmall.goodbye, {
        code: isClient ? 4009 : 1009,
        reason: "message too big",
      });
      tooSmall.end(1009);
      fits.end(1000);
      assertEquals([fits.listeners, tooSmall.listeners], [0, 0]);
    }
  }
});

Deno.test("an overflow ends the connection with 1013, another policy keeps it", async () => {
  const full = new FakeSocket("open", false);
  const kept = new FakeSocket();
  await run(async () => {
    const source = fromWebSocket(full.asSocket, { buffer: 1 });
    full.receive("a");
    full.receive("b");
    assertEquals(full.goodbye, { code: 1013, reason: "too many messages" });
    assertEquals(await source.take(), "a");
    await assertRejects(async () => await source.take(), SourceOverflowError);
    const other = fromWebSocket(kept.asSocket, {
      buffer: 1,
      overflow: "drop-oldest",
    });
    kept.receive("a");
    kept.receive("b");
    assertEquals([await other.take(), other.dropped], ["b", 1]);
    assertEquals(kept.goodbye, null);
    other.close(3001, "enough");
    assertEquals(kept.goodbye, { code: 3001, reason: "enough" });
  }, VIRTUAL);
});

type Leave = (source: WebSocketSource, abort: () => void) => unknown;

const WAYS: Record<string, Leave> = {
  "break": async (source) => {
    for await (const _ of source) break;
  },
  "stop()": async (source) =>
    await each(source, function* (_, stop) {
      stop();
    }),
  "an error": async (source) => {
    for await (const _ of source) throw new Error("body");
  },
  "a cancellation": async (source) => {
    await drain(source);
  },
  "a cancelled send()": async (source) => {
    using _source = source;
    await source.send("x");
    await source.send("y");
  },
  "an abort": async (source, abort) => {
    abort();
    await drain(source);
  },
  "using": async (source) => {
    using _source = source;
  },
  "close()": async (source) => {
    source.close();
    source.close();
    await drain(source);
  },
  "waitClosed()": async (source) => {
    source.close();
    await source.waitClosed();
  },
  "the end of the loop": () => sleep(100),
};

for (const [way, leave] of Object.entries(WAYS)) {
  Deno.test(`a web socket is closed when it is left by ${way}`, async () => {
    const socket = new FakeSocket();
    await run(async () => {
      const controller = new AbortController();
      const source = fromWebSocket(socket.asSocket, {
        signal: controller.signal,
        sendBufferBytes: 0,
      });
      socket.receive("a");
      socket.bufferedAmount = way === "a cancelled send()" ? 1 : 0;
      const task = getRunningLoop().createTask(() =>
        leave(source, () => controller.abort(new Error("stop"))) as Promise<
          void
        >
      );
      await sleep(5);
      if (way === "the end of the loop") {
        outcomeOf(task);
        return;
      }
      task.cancel();
      await sleep(5);
      assert(task.done());
      outcomeOf(task);
      assertEquals(socket.goodbye, { code: 1000, reason: "" });
      await assertRejects(
        async () => await source.send("x"),
        way === "an abort" ? Error : WebSocketClosedError,
        way === "an abort"
          ? "stop"
          : "Cannot send to a web socket: it is closed",
      );
      // Only the answer is waited for.
      assertEquals(socket.listeners, 3);
      socket.end(1000);
      assertEquals(socket.listeners, 0);
    }, VIRTUAL);
    assertEquals([socket.listeners, socket.goodbye?.code], [0, 1000]);
  });
}

Deno.test("bad arguments of fromWebSocket() are refused before anything is opened", async () => {
  const socket = new FakeSocket();
  const refuse = (
    options: unknown,
    message: string,
    Class: typeof TypeError | typeof RangeError = TypeError,
  ) =>
    assertThrows(
      () => fromWebSocket(socket.asSocket, options as WebSocketOptions),
      Class,
      message,
    );
  await run(async () => {
    refuse(
      { overflow: "block" },
      'overflow must not be "block" where a web socket cannot be made to wait',
    );
    refuse({ protocols: "a" }, "protocols must be an array");
    refuse({ maxMessageBytes: 0 }, "maxMessageBytes must be", RangeError);
    refuse({ sendBufferBytes: -1 }, "sendBufferBytes must be", RangeError);
    refuse({ closeTimeoutMs: -1 }, "closeTimeoutMs must be", RangeError);
    refuse({ closeTimeoutMs: NaN }, "closeTimeoutMs must not be", RangeError);
    refuse({ closeTimeoutMs: "1" }, "closeTimeoutMs must be a number");
    assertThrows(
      () => fromWebSocket({} as WebSocket),
      TypeError,
      "socketOrUrl must be a WebSocket or a URL: received an object",
    );
    assertThrows(() => fromWebSocket("no url"), DOMException);
    const closed = new FakeSocket();
    closed.readyState = 3;
    assertThrows(
      () => fromWebSocket(closed.asSocket),
      InvalidStateError,
      "Cannot read from a web socket: the web socket is closed",
    );
    const source = fromWebSocket(socket.asSocket);
    assertThrows(
      () => source.send(1 as never),
      TypeError,
      "data must be a string, bytes or a Blob: received 1",
    );
    assertThrows(() => source.waitOpen(null as never), TypeError, "options");
    assertThrows(() => source.waitClosed(null as never), TypeError, "options");
    assertThrows(() => source.close(1), DOMException);
    assertEquals(source.closed, false);
    source.close();
  }, VIRTUAL);
});

Deno.test("a lost connection that nobody takes note of is reported once", async () => {
  const reports: string[] = [];
  const socket = new FakeSocket();
  const seen = new FakeSocket();
  await run(async () => {
    getRunningLoop().setExceptionHandler((_loop, { message }) => {
      reports.push(message);
    });
    fromWebSocket(socket.asSocket);
    const other = fromWebSocket(seen.asSocket);
    socket.end(1006, "", false);
    seen.end(1006, "", false);
    assertEquals((await other.waitClosed()).code, 1006);
  }, VIRTUAL);
  assertEquals(reports, [
    "fromWebSocket() failed and nobody ever looked at the error",
  ]);
});

for (const style of STYLES) {
  Deno.test(`a peer that never answers a goodbye is given up in time, in ${style}`, async () => {
    const reports: string[] = [];
    const socket = new FakeSocket();
    const patient = new FakeSocket();
    const limited = new FakeSocket();
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        loop.setExceptionHandler((_loop, { message, exception }) => {
          assertInstanceOf(exception, WebSocketClosedError);
          reports.push(`${loop.time()}: ${message}`);
        });
        const source = fromWebSocket(socket.asSocket);
        const other = fromWebSocket(patient.asSocket, {
          closeTimeoutMs: Infinity,
        });
        const third = fromWebSocket(limited.asSocket, {
          closeTimeoutMs: 50,
          maxMessageBytes: 1,
        });
        socket.receive("kept");
        source.close();
        other.close();
        const log: unknown[] = [];
        yield each(source, (message) => {
          log.push(message);
        });
        assertEquals([log, loop.time()], [["kept"], 0]);
        limited.receive("too large");
        const close = { code: 1006, reason: "", wasClean: false };
        assertEquals(yield third.waitClosed(), close);
        assertEquals(loop.time(), 50);
        assertEquals(yield source.waitClosed(), close);
        assertEquals(loop.time(), 10_000);
        assertEquals([socket.listeners, patient.listeners], [0, 3]);
        socket.end(1000); // nobody listens any more
        patient.end(1000);
        assertEquals(
          ((yield other.waitClosed()) as { code: number }).code,
          1000,
        );
        try {
          yield third.take();
        } catch (error) {
          assertInstanceOf(error, MessageTooLargeError);
        }
      }),
      VIRTUAL,
    );
    const message =
      "A web socket was given up, and is open in the runtime still";
    assertEquals(reports, [`50: ${message}`, `10000: ${message}`]);
  });

  Deno.test(`whoever waits for a web socket is told at once that it is closed, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        for (const way of ["close", "abort"]) {
          const socket = new FakeSocket("connecting");
          const controller = new AbortController();
          const source = fromWebSocket(socket.asSocket, {
            signal: controller.signal,
          });
          const waits = [
            loop.createTask(source.waitOpen()),
            loop.createTask(source.send("x")),
          ];
          yield sleep(1);
          if (way === "close") source.close();
          else controller.abort(new Error("no longer"));
          yield sleep(1);
          const reasons = way === "close"
            ? [
              "Cannot wait for a web socket: it is closed",
              "Cannot send to a web socket: it is closed",
            ]
            : ["no longer", "no longer"];
          assertEquals(
            waits.map(outcomeOf),
            reasons.map((reason) => `failed: ${reason}`),
          );
          socket.end(1006, "", false);
          try {
            yield source.send("x");
            assert(false, "it was sent");
          } catch (error) {
            const message = (error as Error).message;
            if (way === "abort") assertEquals(message, "no longer");
            else assertInstanceOf(error, WebSocketClosedError);
          }
          assertEquals(
            ((yield source.waitClosed()) as { code: number }).code,
            1006,
          );
          assertEquals(socket.listeners, 0);
        }
      }),
      VIRTUAL,
    );
  });
}

// -- Real sockets --

Deno.test("a real peer that never answers a goodbye is given up in time", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const key = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  // Answers the handshake, and then nothing.
  const accepting = (async () => {
    const peer = await listener.accept();
    const bytes = new Uint8Array(4_096);
    const text = new TextDecoder().decode(
      bytes.subarray(0, await peer.read(bytes) ?? 0),
    );
    const [, sent] = /sec-websocket-key: (\S+)/i.exec(text)!;
    const digest = await crypto.subtle.digest(
      "SHA-1",
      new TextEncoder().encode(sent + key),
    );
    const accept = btoa(String.fromCharCode(...new Uint8Array(digest)));
    await peer.write(new TextEncoder().encode(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    ));
    return peer;
  })();
  const reports: unknown[] = [];
  let socket!: WebSocket;
  await run(async () => {
    getRunningLoop().setExceptionHandler((_loop, { exception }) => {
      reports.push(exception);
    });
    const source = fromWebSocket(`ws://127.0.0.1:${listener.addr.port}`, {
      closeTimeoutMs: 20,
    });
    await source.waitOpen();
    ({ socket } = source);
    for await (const _ of closing(source));
    assertEquals((await source.waitClosed()).wasClean, false);
  });
  assertEquals([reports.length, socket.readyState], [1, 2]);
  // The runtime keeps the connection until the peer goes.
  const gone = new Promise((resolve) =>
    socket.addEventListener("close", resolve)
  );
  (await accepting).close();
  await gone;
  listener.close();
});

/** Closes a source, and returns it. */
function closing(source: WebSocketSource): WebSocketSource {
  source.close();
  return source;
}

interface Server extends AsyncDisposable {
  readonly url: string;
  /** How many connections are open. */
  readonly open: () => number;
}

/** An echo on loopback. "close CODE" has it close, "N bytes" send so many. */
function startServer(): Server {
  let open = 0;
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onopen = () => open++;
      socket.onclose = () => open--;
      socket.onmessage = ({ data }) => {
        const [word, number] = String(data).split(" ");
        if (word === "close") socket.close(Number(number), "as you wish");
        else if (number === "bytes") {
          socket.send(new Uint8Array(Number(word)));
        } else socket.send(data);
      };
      return response;
    },
  );
  return {
    url: `ws://127.0.0.1:${server.addr.port}`,
    open: () => open,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

for (const style of STYLES) {
  Deno.test(`a real web socket: messages, limits and close codes in ${style}`, async () => {
    await using server = startServer();
    await run(inStyle(style, function* () {
      const source = fromWebSocket(new URL(server.url));
      yield source.send("hello");
      assertEquals(yield source.take(), "hello");
      yield source.send("3 bytes");
      assertEquals(yield source.take(), new ArrayBuffer(3));
      yield source.send("close 4321");
      assertEquals(yield source.waitClosed(), {
        code: 4321,
        reason: "as you wish",
        wasClean: true,
      });
      const limited = fromWebSocket(server.url, { maxMessageBytes: 100 });
      yield limited.send("101 bytes");
      try {
        yield limited.take();
        assert(false, "it took the message");
      } catch (error) {
        assertInstanceOf(error, MessageTooLargeError);
      }
      const { code } = (yield limited.waitClosed()) as { code: number };
      assertEquals(code, 4009);
    }));
  });
}

Deno.test("a server's side may say 1009, and what is sent drains", async () => {
  const codes: number[] = [];
  let accepted!: Promise<void>;
  await run(async () => {
    const loop = getRunningLoop();
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => {
        const { socket, response } = Deno.upgradeWebSocket(request);
        const task = loop.createTask(async () => {
          const source = fromWebSocket(socket, { maxMessageBytes: 1 << 20 });
          await assertRejects(async () => {
            for await (const _ of source);
          }, MessageTooLargeError);
          codes.push((await source.waitClosed()).code);
        });
        accepted = Promise.resolve(task);
        return response;
      },
    );
    const client = fromWebSocket(`ws://127.0.0.1:${server.addr.port}`, {
      sendBufferBytes: 1 << 16,
    });
    let peak = 0;
    for (let n = 0; n < 100; n++) {
      await client.send(new Uint8Array(1 << 16));
      peak = Math.max(peak, client.socket.bufferedAmount);
    }
    assert(peak <= 2 << 16, `${peak} bytes were buffered`);
    await client.send(new Uint8Array((1 << 20) + 1));
    codes.push((await client.waitClosed()).code);
    await accepted;
  });
  assertEquals(codes.sort(), [1009, 1009]);
});

Deno.test("a connection that cannot be made fails waitOpen(), send() and take()", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await run(async () => {
    const source = fromWebSocket(`ws://127.0.0.1:${port}`);
    const outcomes = await Promise.allSettled([
      source.waitOpen(),
      source.send("x"),
      source.take(),
    ]);
    for (const outcome of outcomes) {
      assert(outcome.status === "rejected");
      assertInstanceOf(outcome.reason, WebSocketClosedError);
      assertEquals(outcome.reason.code, 1006);
    }
    assertEquals((await source.waitClosed()).wasClean, false);
  });
});

function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

Deno.test({
  name: "10,000 web sockets opened and dropped leave nothing",
  ignore: Deno.build.os !== "linux",
  async fn() {
    // Both ends of each connection are sources.
    const CONNECTIONS = 5_000;
    const AT_ONCE = 50;
    const WAYS_OUT = ["break", "dispose", "close", "peer"] as const;
    const accepted: Task<void>[] = [];
    await run(async () => {
      const loop = getRunningLoop();
      const ofServer = async (source: WebSocketSource): Promise<void> => {
        for await (const message of source) {
          if (message === "leave") break;
          await source.send(message);
        }
        await source.waitClosed();
      };
      await using server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: () => {} },
        (request) => {
          const { socket, response } = Deno.upgradeWebSocket(request);
          const source = fromWebSocket(socket);
          accepted.push(loop.createTask(() => ofServer(source)));
          return response;
        },
      );
      const url = `ws://127.0.0.1:${server.addr.port}`;
      const ofClient = async (way: typeof WAYS_OUT[number]): Promise<void> => {
        const source = fromWebSocket(url);
        await source.waitOpen();
        if (way === "break") {
          await source.send("hello");
          for await (const _ of source) break;
        } else if (way === "dispose") source[Symbol.dispose]();
        else if (way === "close") source.close(4_000, "enough");
        else {
          await source.send("leave");
          for await (const _ of source);
        }
        await source.waitClosed();
      };
      let left = CONNECTIONS;
      const client = async (): Promise<void> => {
        while (left-- > 0) await ofClient(WAYS_OUT[left % WAYS_OUT.length]!);
      };
      const before = descriptors();
      const tasks = Array.from(
        { length: AT_ONCE },
        () => loop.createTask(client),
      );
      for (const task of tasks) await task;
      assertEquals(accepted.length, CONNECTIONS);
      for (const task of accepted) await task;
      const after = descriptors();
      assert(after <= before + 5, `${after - before} descriptors are left`);
    });
  },
});
