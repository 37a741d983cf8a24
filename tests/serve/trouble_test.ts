/**
 * Servers in trouble: answers that cannot be sent, sockets of handlers that fail, bodies that do not come, requests
 * that would wait for their own slot.
 *
 * @module
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Hono } from "hono";
import {
  CancelledError,
  ConcurrencyLimit,
  type ExceptionContext,
  Flag,
  getRunningLoop,
  InvalidStateError,
  run,
  sleep,
  Supervisor,
  until,
} from "../../mod.ts";
import {
  type RequestContext,
  serve,
  type Server,
  supervisedServer,
} from "../../src/serve/mod.ts";
import { STYLES } from "../support/styles.ts";
import { get, handlerIn, RawClient, withServer } from "./support.ts";

const LOCAL = { port: 0, hostname: "127.0.0.1" };

function messagesOf(reports: readonly ExceptionContext[]): string[] {
  return reports.map(({ exception }) => (exception as Error).message);
}

Deno.test("a body that is locked or was read is answered with 500 and reported once, with a deadline and at the end", async () => {
  const begun = new Flag();
  const go = new Flag();
  const options = { requestTimeoutMs: 5_000 };
  await withServer(
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/closing") {
        begun.set();
        await go.wait();
      }
      const response = new Response(new ReadableStream());
      if (pathname === "/read") await response.body!.cancel();
      else response.body!.getReader();
      return response;
    },
    options,
    async ({ url, server, reports }) => {
      for (const path of ["/locked", "/read"]) {
        assertEquals(await get(url + path), "500 Internal Server Error");
        assertEquals(reports.splice(0).length, 1, path);
      }
      const last = get(`${url}/closing`);
      await begun.wait();
      const closed = getRunningLoop().createTask(() => server.close());
      await sleep(0);
      go.set();
      assertEquals(await last, "500 Internal Server Error");
      await closed;
      assertEquals(reports.length, 1);
    },
  );
});

for (const style of STYLES) {
  Deno.test(`in ${style}: a handler that fails after it has upgraded has its socket closed, and the server goes on`, async () => {
    const options = { requestTimeoutMs: 30 };
    const handler = handlerIn(style, function* (request, context) {
      const { pathname } = new URL(request.url);
      if (pathname === "/") return new Response("ok");
      context.upgradeWebSocket();
      if (pathname === "/late") yield sleep(60_000);
      if (pathname === "/throws") throw new Error("failed");
      return new Response("something else");
    });
    await withServer(handler, options, async ({ url, server, reports }) => {
      for (const path of ["/throws", "/other", "/late"]) {
        const socket = new WebSocket(url.replace("http", "ws") + path);
        const code = await until(() =>
          new Promise((resolve) =>
            socket.addEventListener("close", (event) => resolve(event.code))
          )
        );
        assertEquals(code, 1011, path);
        assertEquals(await get(url), "200 ok");
      }
      assertEquals(messagesOf(reports), ["failed"]);
      assertEquals(server.statistics().state, "serving");
    });
  });
}

Deno.test("an upgrade that is refused leaves the request as it was: its client may still go", async () => {
  const log: string[] = [];
  const ended = new Flag();
  const handler = async (_request: Request, context: RequestContext) => {
    for (const options of [{}, { idleTimeoutMs: 0 }, { protocol: 1 }]) {
      try {
        await sleep(60); // by now its client is watched
        context.upgradeWebSocket(options as object);
      } catch (error) {
        log.push((error as Error).name);
      }
    }
    try {
      await sleep(60_000);
    } finally {
      ended.set();
    }
    return new Response("never");
  };
  await withServer(handler, {}, async ({ port, server, reports }) => {
    using client = await until(RawClient.connect(port));
    await until(client.request("/"));
    while (log.length < 3) await sleep(1);
    client.close();
    await ended.wait();
    assertEquals(log, ["TypeError", "RangeError", "TypeError"]);
    await sleep(0);
    assertEquals(server.statistics().gone, 1);
    assertEquals(reports, []);
  });
});

Deno.test("a request can be upgraded only before it is answered", async () => {
  let kept: RequestContext | null = null;
  await withServer(
    (_request, context) => {
      kept = context;
      return new Response("answered");
    },
    {},
    async ({ port, server }) => {
      using client = await until(RawClient.connect(port));
      await until(client.upgrade("/"));
      await until(client.read());
      assertThrows(
        () => kept!.upgradeWebSocket(),
        InvalidStateError,
        "was answered before",
      );
      assertEquals(server.statistics().attached, 0);
    },
  );
});

Deno.test({
  name:
    "the runtime's own upgrade: a failure leaves the server alone, another answer ends it with an error",
  // The runtime waits for the upgrade of the second one for ever.
  sanitizeOps: false,
  async fn() {
    await run(async () => {
      const server = serve((request) => {
        Deno.upgradeWebSocket(request);
        if (request.url.endsWith("throws")) throw new Error("failed");
        return new Response("something else");
      }, { ...LOCAL, onError() {} });
      const { port } = await server.ready() as Deno.NetAddr;
      using first = await until(RawClient.connect(port));
      await until(first.upgrade("/throws"));
      assertEquals((await until(first.read())).slice(0, 12), "HTTP/1.1 101");
      assertEquals(server.statistics().state, "serving");
      using second = await until(RawClient.connect(port));
      await until(second.upgrade("/other"));
      await assertRejects(
        async () => await server,
        InvalidStateError,
        'Server "server" has stopped to listen by itself',
      );
    });
  },
});

Deno.test({
  name: "a supervisor restarts a server that the runtime has ended",
  sanitizeOps: false, // the runtime waits for the upgrade for ever
  async fn() {
    await run(async () => {
      await using supervisor = new Supervisor({
        children: [{
          id: "http",
          restart: "permanent",
          start: supervisedServer((request) => {
            if (request.url.endsWith("/")) return new Response("ok");
            Deno.upgradeWebSocket(request);
            return new Response("something else");
          }, LOCAL),
        }],
        reportCrashes: false,
      });
      const server = async () => {
        const [child] = await supervisor.whichChildren();
        // In an array, as a promise of a server is one of its end.
        return [child!.run?.value as Server | undefined] as const;
      };
      await supervisor.start();
      const first = (await server())[0]!;
      using client = await until(
        RawClient.connect((first.addr as Deno.NetAddr).port),
      );
      await until(client.upgrade("/ws"));
      let [second] = await server();
      while (second === undefined || second === first) {
        await sleep(1);
        [second] = await server();
      }
      const { port } = second.addr as Deno.NetAddr;
      assertEquals(await get(`http://127.0.0.1:${port}/`), "200 ok");
      assertEquals(first.statistics().state, "ended");
    });
  },
});

Deno.test("a request that would wait for a slot of its own limit is told so at once", async () => {
  const limit = new ConcurrencyLimit(1);
  const options = { maxConcurrent: limit };
  for (const style of STYLES) {
    const handler = handlerIn(style, function* () {
      yield limit.run(() => sleep(0));
      return new Response("never");
    });
    await withServer(handler, options, async ({ url, reports }) => {
      assertEquals(await get(url), "500 Internal Server Error");
      assertEquals(
        messagesOf(reports)[0]!.slice(0, 67),
        "Cannot run a job: the current task runs in a slot of the same limit",
      );
    });
  }
  assertEquals(limit.stats().used, 0);
});

Deno.test("a limit that two servers share counts the requests of both, and clearing it answers with 503", async () => {
  await run(async () => {
    const limit = new ConcurrencyLimit(1);
    const go = new Flag();
    const begun = new Flag();
    const log: string[] = [];
    const options = { ...LOCAL, maxConcurrent: limit };
    await using one = serve(async () => {
      log.push("one begins");
      begun.set();
      await go.wait();
      log.push("one ends");
      return new Response("one");
    }, options);
    await using two = serve(() => {
      log.push("two");
      return new Response("two");
    }, options);
    const [urlOne, urlTwo] = await Promise.all(
      [one, two].map(async (server) => {
        const { port } = await server.ready() as Deno.NetAddr;
        return `http://127.0.0.1:${port}`;
      }),
    );
    const first = get(urlOne!);
    await begun.wait();
    const dropped = get(urlTwo!);
    while (two.statistics().waiting === 0) await sleep(1);
    limit.clear("no room");
    assertEquals(await dropped, "503 Service Unavailable");
    const second = get(urlTwo!);
    while (two.statistics().waiting === 0) await sleep(1);
    go.set();
    assertEquals([await first, await second], ["200 one", "200 two"]);
    assertEquals(log, ["one begins", "one ends", "two"]);
    assertEquals(limit.stats().used, 0);
  });
});

Deno.test("until() lets the deadline end the wait for a body that does not come; a bare await waits for the client", async () => {
  const options = { requestTimeoutMs: 20 };
  await withServer(
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/bare") return new Response(await request.text());
      return new Response(await until(() => request.text()));
    },
    options,
    async ({ port, server, reports }) => {
      for (const [path, running] of [["/until", 0], ["/bare", 1]] as const) {
        using client = await until(RawClient.connect(port));
        const head =
          `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n`;
        await until(client.send(`${head}\r\nhalf`));
        assertEquals((await until(client.read())).slice(0, 12), "HTTP/1.1 504");
        await sleep(5);
        assertEquals(server.statistics().running, running, path);
        client.close();
        while (server.statistics().running > 0) await sleep(1);
      }
      assertEquals(server.statistics().timedOut, 2);
      assertEquals(reports, []);
    },
  );
});

Deno.test("Hono prints no cancellation by its own error handler, and errors as ever", async () => {
  const printed: unknown[] = [];
  const { error: print } = console;
  console.error = (...words) => printed.push(...words);
  try {
    const app = new Hono();
    app.get("/slow", async (c) => {
      await sleep(60_000);
      return c.text("never");
    });
    app.get("/fails", () => {
      throw new Error("failed");
    });
    const options = { requestTimeoutMs: 20 };
    await withServer(app.fetch, options, async ({ url, reports }) => {
      assertEquals(await get(`${url}/slow`), "504 Gateway Timeout");
      assertEquals(printed, []);
      assertEquals(await get(`${url}/fails`), "500 Internal Server Error");
      assertEquals(printed.map(String), ["Error: failed"]);
      assertEquals(reports, []);
    });
  } finally {
    console.error = print;
  }
});

Deno.test("what a lifespan opens while its server is cancelled is closed again, whatever its kind", async () => {
  const log: string[] = [];
  let door = Promise.withResolvers<void>();
  const resource = {
    async [Symbol.asyncDispose]() {
      await sleep(1); // clean-up may wait
      log.push("closed");
    },
  };
  const lifespans = {
    async *"an async generator"() {
      await door.promise;
      try {
        yield 1;
      } finally {
        await resource[Symbol.asyncDispose]();
      }
    },
    async "an async function"() {
      await door.promise;
      return resource;
    },
    async "one that fails"(): Promise<typeof resource> {
      await door.promise;
      throw new Error("failed");
    },
  };
  for (const [kind, lifespan] of Object.entries(lifespans)) {
    door = Promise.withResolvers<void>();
    await run(async () => {
      const reports: ExceptionContext[] = [];
      getRunningLoop().setExceptionHandler((_, context) =>
        reports.push(context)
      );
      const handler = () => new Response("never");
      const server = serve(handler, { ...LOCAL, lifespan: lifespan as never });
      await sleep(0);
      await sleep(0);
      server.cancel("not needed");
      await sleep(1);
      door.resolve();
      await assertRejects(
        async () => await server,
        CancelledError,
        "not needed",
      );
      const fails = kind === "one that fails";
      assertEquals(log.splice(0), fails ? [] : ["closed"], kind);
      assertEquals(messagesOf(reports), fails ? ["failed"] : [], kind);
      assertEquals(server.addr, null);
    });
  }
});
