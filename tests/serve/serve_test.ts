/**
 * `serve` with real sockets: answers, limits, deadlines, clients that go, errors, bodies, event streams, WebSockets,
 * lifespans, supervisors, Hono.
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
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import {
  allTasks,
  ConcurrencyLimit,
  type Coroutine,
  createTask,
  currentTask,
  Flag,
  fromEvent,
  fromStream,
  getRunningLoop,
  gracefulShutdown,
  HookTooLateError,
  MisuseError,
  type OperationIterable,
  Queue,
  run,
  sleep,
  Supervisor,
  until,
} from "../../mod.ts";
import {
  eventStream,
  type RequestContext,
  serve,
  type ServeHandler,
  type Server,
  supervisedServer,
} from "../../src/serve/mod.ts";
import { inStyle, type Steps, STYLES } from "../support/styles.ts";
import { get, handlerIn, RawClient, withServer } from "./support.ts";

/** Tasks besides the running one and the server. */
function otherTasks(server: Server): string[] {
  return allTasks(getRunningLoop()).filter((task) =>
    task !== currentTask() && task.name !== server.name
  ).map((task) => task.name);
}

for (const style of STYLES) {
  Deno.test(`in ${style}: a handler answers, in its own task, with the operations of the loop`, async () => {
    const handler = handlerIn(style, function* (request, { remoteAddr }) {
      yield sleep(1);
      const { name } = currentTask()!;
      const { hostname } = remoteAddr as Deno.NetAddr;
      return new Response(`${name} of ${hostname}: ${request.method}`);
    });
    await withServer(handler, {}, async ({ url, server }) => {
      assertEquals(await get(`${url}/a?b`), "200 GET /a of 127.0.0.1: GET");
      assertEquals(otherTasks(server), []);
      assertEquals(server.statistics().served, 1);
    });
  });

  Deno.test(`in ${style}: a client that goes cancels the request and what it awaits`, async () => {
    const begun = new Flag();
    const ended = new Flag();
    const log: string[] = [];
    const handler = handlerIn(style, function* (_request, context) {
      const { signal } = context;
      begun.set();
      try {
        yield sleep(60_000);
      } catch (error) {
        log.push((error as Error).message, `${signal.aborted}`);
        throw error;
      } finally {
        ended.set();
      }
      return new Response("never");
    });
    await withServer(handler, {}, async ({ port, server, reports }) => {
      using client = await until(RawClient.connect(port));
      await until(client.request("/"));
      await begun.wait();
      await sleep(8);
      client.close();
      await ended.wait();
      await sleep(0);
      assertEquals(log, ["Cancelled: the client has gone", "true"]);
      assertEquals(server.statistics().gone, 1);
      assertEquals(otherTasks(server), []);
      assertEquals(reports, []);
    });
  });

  Deno.test(`in ${style}: a deadline answers 504 and cancels the request`, async () => {
    const log: string[] = [];
    const handler = handlerIn(style, function* () {
      try {
        yield sleep(60_000);
      } finally {
        log.push("cleaned up");
      }
      return new Response("never");
    });
    const options = { requestTimeoutMs: 20 };
    await withServer(handler, options, async ({ url, server, reports }) => {
      assertEquals(await get(url), "504 Gateway Timeout");
      assertEquals(log, ["cleaned up"]);
      assertEquals(server.statistics().timedOut, 1);
      assertEquals(reports, []);
    });
  });

  Deno.test(`in ${style}: an error is answered with 500 and reported once`, async () => {
    const handler = handlerIn(style, function* (request) {
      if (request.url.endsWith("late")) yield sleep(5);
      throw new Error("broken");
    });
    await withServer(handler, {}, async ({ url, reports }) => {
      assertEquals(await get(`${url}/now`), "500 Internal Server Error");
      assertEquals(await get(`${url}/late`), "500 Internal Server Error");
      assertEquals(
        reports.map(({ message, exception }) =>
          `${message}: ${(exception as Error).message}`
        ),
        ["Cannot answer GET /now: broken", "Cannot answer GET /late: broken"],
      );
    });
  });

  Deno.test(`in ${style}: a result that is no Response is answered with 500 and reported once`, async () => {
    const handler = handlerIn(style, function* () {
      yield sleep(0);
      return "text" as unknown as Response;
    });
    await withServer(handler, {}, async ({ url, reports }) => {
      assertEquals(await get(url), "500 Internal Server Error");
      assertEquals(
        reports.map(({ exception }) => (exception as Error).message),
        [
          'Cannot answer GET / as the handler must return a Response: received "text"',
        ],
      );
    });
  });

  Deno.test(`in ${style}: beyond limit and line requests are answered with 503 and Retry-After`, async () => {
    for (const maxConcurrent of [2, new ConcurrencyLimit(2)]) {
      const gate = new Flag();
      const handler = handlerIn(style, function* () {
        yield gate.wait();
        return new Response("ok");
      });
      const options = { maxConcurrent, maxWaiting: 1, retryAfterMs: 1_500 };
      await withServer(handler, options, async ({ url, server }) => {
        const all = Array.from({ length: 3 }, () => fetch(url));
        while (server.statistics().running + server.statistics().waiting < 3) {
          await sleep(1);
        }
        const refused = await until(fetch(url));
        assertEquals(refused.status, 503);
        assertEquals(refused.headers.get("retry-after"), "2");
        await until(refused.text());
        gate.set();
        const answers = await until(
          Promise.all(all.map(async (one) => await (await one).text())),
        );
        assertEquals(answers, ["ok", "ok", "ok"]);
      });
    }
  });

  Deno.test(`in ${style}: what runs in the background outlives the response, and close waits for it`, async () => {
    const log: string[] = [];
    const handler = handlerIn(style, function* (_request, context) {
      context.background(inStyle(style, function* () {
        yield sleep(20);
        log.push("written");
      }));
      yield sleep(0);
      return new Response("ok");
    });
    await withServer(handler, {}, async ({ url, server }) => {
      assertEquals(await get(url), "200 ok");
      assertEquals(log, []);
      await server.close();
      assertEquals(log, ["written"]);
    });
  });
}

Deno.test("a handler that answers at once makes no task, and one of a plain function may return a generator", async () => {
  const handler = (request: Request): Response | Coroutine<Response> => {
    if (request.url.endsWith("/plain")) {
      return new Response(`${allTasks(getRunningLoop()).length}`);
    }
    return (function* () {
      yield* sleep(1);
      return new Response(currentTask()!.name);
    })();
  };
  await withServer(handler, {}, async ({ url }) => {
    const before = allTasks(getRunningLoop()).length;
    assertEquals(await get(`${url}/plain`), `200 ${before}`);
    assertEquals(await get(`${url}/made`), "200 GET /made");
  });
});

Deno.test("priority decides who leaves the line first, and an error of it is one of the handler", async () => {
  const order: string[] = [];
  const gate = new Flag();
  const handler = async (request: Request) => {
    const { pathname } = new URL(request.url);
    order.push(pathname);
    if (pathname === "/first") await gate.wait();
    return new Response("ok");
  };
  const options = {
    maxConcurrent: 1,
    maxWaiting: 10,
    priority: (request: Request) => {
      if (request.url.endsWith("bad")) return "urgent" as "background";
      return request.url.endsWith("urgent") ? "user-blocking" : "background";
    },
  } as const;
  await withServer(handler, options, async ({ url, server, reports }) => {
    const first = get(`${url}/first`);
    while (server.statistics().running < 1) await sleep(1);
    const low = get(`${url}/low`);
    while (server.statistics().waiting < 1) await sleep(1);
    const high = get(`${url}/urgent`);
    while (server.statistics().waiting < 2) await sleep(1);
    assertEquals(await get(`${url}/bad`), "500 Internal Server Error");
    gate.set();
    await until(Promise.all([first, low, high]));
    assertEquals(order, ["/first", "/urgent", "/low"]);
    assertEquals(reports.length, 1);
  });
});

Deno.test("onError gets each error once and may answer", async () => {
  const seen: string[] = [];
  const handler = (request: Request) => {
    if (!request.url.endsWith("/body")) throw new Error("broken");
    return new Response(
      new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(10));
          throw new Error("half-way");
        },
      }),
    );
  };
  const onError = (error: unknown, request: Request | null) => {
    seen.push(`${(error as Error).message} ${request?.method}`);
    return new Response("sorry", { status: 418 });
  };
  await withServer(handler, { onError }, async ({ url, reports }) => {
    assertEquals(await get(url), "418 sorry");
    await assertRejects(() => get(`${url}/body`), TypeError);
    assertEquals(seen, ["broken GET", "half-way undefined"]);
    assertEquals(reports, []);
  });
});

Deno.test("a body that fails half-way is cut, and one that was used is answered with 500, each reported once", async () => {
  const handler = async (request: Request) => {
    if (request.url.endsWith("/used")) {
      const used = new Response("x");
      await used.text();
      return used;
    }
    let chunks = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await sleep(1);
          if (chunks++ === 2) controller.error(new Error("half-way"));
          else controller.enqueue(new Uint8Array(10));
        },
      }),
    );
  };
  await withServer(handler, {}, async ({ url, reports }) => {
    await assertRejects(() => get(url), TypeError);
    assertEquals(
      await get(`${url}/used`),
      "500 Internal Server Error",
    );
    assertEquals(reports.length, 2);
    assertEquals((reports[0]!.exception as Error).message, "half-way");
  });
});

Deno.test("after the headers a deadline makes the body fail, and nothing is reported", async () => {
  let cancelled: unknown;
  const handler = () =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          controller.enqueue(new Uint8Array(10));
          await sleep(1);
        },
        cancel(reason) {
          cancelled = reason;
        },
      }),
    );
  const options = { requestTimeoutMs: 40 };
  await withServer(handler, options, async ({ url, reports, server }) => {
    await assertRejects(() => get(url), TypeError);
    assertEquals((cancelled as Error).name, "TimeoutError");
    assertEquals(server.statistics().timedOut, 1);
    assertEquals(reports, []);
  });
});

Deno.test("a deadline leaves a body alone that was sent in time", async () => {
  const handler = (request: Request) =>
    request.url.endsWith("/text") ? new Response("text") : new Response(
      new Blob(["a".repeat(100_000)]).stream(),
      { headers: { "x-kept": "yes" }, status: 201 },
    );
  const options = { requestTimeoutMs: 5_000 };
  await withServer(handler, options, async ({ url }) => {
    assertEquals(await get(`${url}/text`), "200 text");
    const response = await until(fetch(`${url}/blob`));
    assertEquals(response.headers.get("x-kept"), "yes");
    assertEquals(response.status, 201);
    assertEquals((await until(response.text())).length, 100_000);
  });
});

Deno.test("a late failure is reported, and a late response is dropped", async () => {
  const gate = new Flag();
  let dropped = false;
  const handler = async (request: Request) => {
    try {
      await sleep(60_000);
    } catch {
      await gate.wait();
    }
    if (request.url.endsWith("/fail")) throw new Error("too late");
    return new Response(
      new ReadableStream({
        cancel() {
          dropped = true;
        },
      }),
    );
  };
  const options = { requestTimeoutMs: 10 };
  await withServer(handler, options, async ({ url, server, reports }) => {
    assertEquals(await get(`${url}/fail`), "504 Gateway Timeout");
    assertEquals(await get(`${url}/answer`), "504 Gateway Timeout");
    assertEquals(server.statistics().running, 2);
    gate.set();
    while (server.statistics().running > 0) await sleep(1);
    await sleep(1);
    assertEquals(dropped, true);
    assertEquals(reports.map(({ message }) => message), [
      "Cannot answer GET /fail",
    ]);
  });
});

// -- Closing --

Deno.test("close answers what was accepted, refuses what comes, and says Connection: close", async () => {
  const gate = new Flag();
  const handler = async () => {
    await gate.wait();
    return new Response("ok");
  };
  const health = { readinessPath: "/ready", livenessPath: "/live" };
  await withServer(handler, health, async ({ url, server }) => {
    assertEquals(await get(`${url}/ready`), "200 ok");
    const slow = fetch(`${url}/slow`);
    while (server.statistics().running < 1) await sleep(1);
    const closed = getRunningLoop().createTask(() => server.close());
    await sleep(1);
    assertEquals(server.statistics().state, "closing");
    assertEquals(await get(`${url}/ready`), "503 closing");
    assertEquals(await get(`${url}/live`), "200 ok");
    assertEquals(await get(`${url}/more`), "503 Service Unavailable");
    gate.set();
    const response = await until(slow);
    assertEquals(response.headers.get("connection"), "close");
    assertEquals(await until(response.text()), "ok");
    await closed;
    assertEquals(server.statistics().state, "ended");
    await assertRejects(() => get(url), TypeError);
    await server.close();
  });
});

Deno.test("what has not ended after graceMs is cancelled: requests, bodies, half-sent requests", async () => {
  const log: string[] = [];
  const handler = async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/body") {
      return new Response(
        new ReadableStream({
          async pull(controller) {
            controller.enqueue(new Uint8Array(10));
            await sleep(1);
          },
          cancel() {
            log.push("body cancelled");
          },
        }),
      );
    }
    if (pathname === "/upload") return new Response(await request.text());
    try {
      await sleep(60_000);
    } finally {
      log.push("request cancelled");
    }
    return new Response("never");
  };
  const options = { graceMs: 30 };
  await withServer(handler, options, async ({ port, url, server, reports }) => {
    const slow = get(url);
    const body = await until(fetch(`${url}/body`));
    using half = await until(RawClient.connect(port));
    await until(half.send("GET /ha"));
    using upload = await until(RawClient.connect(port));
    await until(upload.send(
      "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf",
    ));
    while (server.statistics().running < 2) await sleep(1);
    await server.close();
    assertEquals(await until(slow), "503 Service Unavailable");
    await assertRejects(() => body.text(), TypeError);
    assertEquals(log, ["request cancelled", "body cancelled"]);
    assertEquals(await until(half.readAll()), "");
    assert((await until(upload.readAll())).startsWith("HTTP/1.1 503"));
    assertEquals(reports, []);
  });
});

Deno.test("a handler that does not obey is reported and not waited for", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const handler = async () => {
    await promise;
    return new Response("ok");
  };
  const options = { graceMs: 5, cancelMs: 20 };
  await withServer(handler, options, async ({ url, server, reports }) => {
    const stuck = get(url);
    while (server.statistics().running < 1) await sleep(1);
    await server.close();
    assertEquals(await until(stuck), "503 Service Unavailable");
    assertEquals(reports.map(({ message }) => message), [
      'Server "server" has ended, and did not wait any longer for GET /',
    ]);
    resolve();
    await sleep(1);
  });
});

Deno.test("the server ends with its signal, with run, and with the task that waits for it", async () => {
  const controller = new AbortController();
  const where = { port: 0, hostname: "127.0.0.1" };
  const handler = () => new Response("ok");
  await run(async () => {
    const server = serve(handler, { ...where, signal: controller.signal });
    await server.ready();
    controller.abort();
    await server;
    assertEquals(server.statistics().state, "ended");
    const left = serve(handler, where);
    await left.ready();
    const awaited = serve(handler, where);
    const waiter = getRunningLoop().createTask(function* () {
      yield* awaited;
    });
    await awaited.ready();
    waiter.cancel();
    await assertRejects(async () => await waiter);
    assertEquals(awaited.statistics().state, "ended");
  });
});

Deno.test("a server that is closed or cancelled before it listens never does", async () => {
  await run(async () => {
    const where = { port: 0, hostname: "127.0.0.1" };
    for (const end of ["close", "cancel"] as const) {
      const log: string[] = [];
      const server = serve(() => new Response("ok"), {
        ...where,
        lifespan: async function* () {
          log.push("start");
          await sleep(10);
          yield;
          log.push("stop");
        },
      });
      await sleep(1);
      if (end === "cancel") server.cancel();
      await server.close();
      assertEquals(server.addr, null);
      assertEquals(log, end === "close" ? ["start", "stop"] : ["start"]);
      await assertRejects(async () => await server.ready(), Error, "before");
    }
  });
});

const NOWHERE = { port: 0, hostname: "127.0.0.1" };

for (const style of STYLES) {
  /** Runs `steps` on virtual time, with a lifespan that takes `openMs` to open, and 10 ms to close. */
  const withLifespan = (
    openMs: number,
    steps: (server: Server, log: string[]) => ReturnType<Steps<void>>,
  ) =>
    run(
      inStyle(style, function* () {
        const log: string[] = [];
        const server = serve(() => new Response("ok"), {
          ...NOWHERE,
          lifespan: async function* () {
            try {
              await sleep(openMs);
              yield;
              await sleep(10);
              log.push("closed");
            } catch (error) {
              log.push("cancelled");
              throw error;
            }
          },
        });
        yield* steps(server, log);
        assertEquals(server.statistics().state, "ended");
        assertEquals(server.addr, null);
      }),
      { host: "virtual" },
    );

  Deno.test(`in ${style}: a lifespan that does not open is cancelled when the time to close is over`, async () => {
    await withLifespan(60_000, function* (server, log) {
      yield sleep(5);
      const first = createTask(() => server.close({ graceMs: 20 }));
      yield server.close({ graceMs: 20 });
      yield first;
      assertEquals(getRunningLoop().time(), 25);
      assertEquals(log, ["cancelled"]);
    });
  });

  for (const kind of ["an async generator", "an async function"] as const) {
    Deno.test(`in ${style}: a lifespan of ${kind} that never opens is left after cancelMs, and closed when it has`, async () => {
      const log: string[] = [];
      const reports: string[] = [];
      const door = Promise.withResolvers<void>();
      const resource = {
        async [Symbol.asyncDispose]() {
          await sleep(10); // clean-up may wait
          log.push("closed");
        },
      };
      const kinds = {
        "an async generator": async function* () {
          await door.promise;
          try {
            yield resource;
          } finally {
            await resource[Symbol.asyncDispose]();
          }
        },
        "an async function": async () => {
          await door.promise;
          return resource;
        },
      };
      await run(
        inStyle(style, function* () {
          const loop = getRunningLoop();
          loop.setExceptionHandler((_, { message }) => reports.push(message));
          const server = serve(() => new Response("ok"), {
            ...NOWHERE,
            ...{ name: "stuck", cancelMs: 50 },
            lifespan: kinds[kind] as () => Promise<typeof resource>,
          });
          yield sleep(5);
          yield server.close({ graceMs: 20 });
          assertEquals(loop.time(), 75);
          assertEquals(server.statistics().state, "ended");
          assertEquals(reports, [
            'Server "stuck" has ended, and did not wait any longer for its lifespan to open',
          ]);
          assertEquals(log, []);
          door.resolve();
          yield sleep(20);
          assertEquals(log, ["closed"]);
          assertEquals(reports.length, 1);
        }),
        { host: "virtual", outsideWaits: "ignore" },
      );
    });
  }

  Deno.test(`in ${style}: cancelling a server that never listened leaves the end of its lifespan alone`, async () => {
    await withLifespan(10, function* (server, log) {
      const closed = createTask(() => server.close());
      yield sleep(15);
      assertEquals(server.cancel("now"), true);
      yield closed;
      assertEquals(log, ["closed"]);
    });
  });

  Deno.test(`in ${style}: a server that is cancelled before its first step ends, and tells those who wait`, async () => {
    const controller = new AbortController();
    await run(inStyle(style, function* () {
      const { signal } = controller;
      const server = serve(() => new Response("ok"), { ...NOWHERE, signal });
      assertEquals(server.cancel("no"), true);
      let error: unknown;
      try {
        yield server.ready();
      } catch (thrown) {
        error = thrown;
      }
      assertInstanceOf(error, MisuseError);
      assertEquals(server.statistics().state, "ended");
      yield server.close();
      assertEquals(server.cancel(), false);
    }));
  });

  Deno.test(`in ${style}: a shutdown that begins while the lifespan opens is no failure`, async () => {
    const log: string[] = [];
    await run(
      inStyle(style, function* () {
        const server = serve(() => new Response("ok"), {
          ...NOWHERE,
          lifespan: async function* () {
            await sleep(100);
            yield;
            log.push("closed");
          },
        });
        yield sleep(10);
        gracefulShutdown().begin("the test is over");
        yield createTask(() => server.close());
        assertEquals(server.addr, null);
        assertThrows(
          () => serve(() => new Response("ok"), NOWHERE),
          HookTooLateError,
        );
      }),
      { host: "virtual", shutdown: {} },
    );
    assertEquals(log, ["closed"]);
  });
}

Deno.test("a port that is taken is thrown once", async () => {
  await run(async () => {
    const reports: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, context) => {
      reports.push(context);
    });
    using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const { port } = listener.addr as Deno.NetAddr;
    const options = { port, hostname: "127.0.0.1" };
    const server = serve(() => new Response(), options);
    await assertRejects(
      async () => await server.ready(),
      Deno.errors.AddrInUse,
    );
    await assertRejects(async () => await server, Deno.errors.AddrInUse);
    assertEquals(reports, []);
  });
});

// -- Lifespans --

Deno.test("a lifespan reaches the handlers and ends after the last of them, whatever its kind", async () => {
  class Store implements AsyncDisposable {
    log: string[];
    constructor(log: string[]) {
      this.log = log;
    }
    async [Symbol.asyncDispose](): Promise<void> {
      await sleep(1);
      this.log.push("closed");
    }
  }
  const kinds = {
    "async generator": (log: string[]) =>
      async function* () {
        await sleep(1);
        const store = new Store(log);
        yield store;
        await store[Symbol.asyncDispose]();
      },
    "generator function": (log: string[]) =>
      function* (): Coroutine<Store> {
        yield* sleep(1);
        return new Store(log);
      },
    "async function": (log: string[]) => async () => {
      await sleep(1);
      return new Store(log);
    },
    "resource": (log: string[]) => new Store(log),
  };
  for (const [kind, make] of Object.entries(kinds)) {
    const log: string[] = [];
    const handler: ServeHandler<Store> = async (_request, { value }) => {
      await sleep(10);
      value.log.push("answered");
      return new Response("ok");
    };
    await withServer<Store>(handler, { lifespan: make(log) }, async (stand) => {
      const response = get(stand.url);
      while (stand.server.statistics().running < 1) await sleep(1);
      await stand.server.close();
      assertEquals(await until(response), "200 ok");
      assertEquals(log, ["answered", "closed"], kind);
    });
  }
});

Deno.test("a lifespan that fails to start lets nothing listen, and one that fails to stop is told of once", async () => {
  await run(async () => {
    const reports: string[] = [];
    getRunningLoop().setExceptionHandler((_loop, { exception }) => {
      reports.push((exception as Error).message);
    });
    const where = { port: 0, hostname: "127.0.0.1" };
    const handler = () => new Response("ok");
    const lifespan = async function* () {
      await sleep(1);
      if (reports.length === 0) throw new Error("no database");
      yield;
    };
    const server = serve(handler, { ...where, lifespan });
    await assertRejects(async () => await server.ready(), Error, "no database");
    assertEquals(server.addr, null);
    const stopping = serve(handler, {
      ...where,
      lifespan: async function* () {
        yield 1;
        throw new Error("cannot flush");
      },
    });
    await stopping.ready();
    await assertRejects(
      async () => await stopping.close(),
      Error,
      "cannot flush",
    );
    assertEquals(reports, []);
  });
});

// -- Event streams --

Deno.test("an event stream sends events, and its source is cancelled when the client goes", async () => {
  for (const kind of ["async generator", "operations"]) {
    const queue = new Queue<string>();
    const ended = new Flag();
    const source = async function* () {
      try {
        yield { data: { n: 1 }, id: "1", event: "tick", retryMs: 500 };
        yield "two\nlines";
        for (;;) yield await queue.get();
      } finally {
        ended.set();
      }
    };
    const handler = () => {
      if (kind === "async generator") return eventStream(source());
      queue.putNowait("one");
      return eventStream(queue, { heartbeatMs: 5 });
    };
    await withServer(handler, {}, async ({ port, server, reports }) => {
      using client = await until(RawClient.connect(port));
      await until(client.request("/"));
      let text = "";
      const wanted = kind === "operations"
        ? /data: one\n\n[^]*:\n\n/
        : /event: tick\nid: 1\nretry: 500\ndata: {"n":1}\n\n[^]*data: two\ndata: lines\n\n/;
      while (!wanted.test(text)) text += await until(client.read());
      assert(/content-type: text\/event-stream/i.test(text), text);
      assertEquals(server.statistics().attached, 1);
      client.close();
      if (kind === "async generator") await ended.wait();
      while (server.statistics().attached > 0) await sleep(1);
      assertEquals(otherTasks(server), []);
      assertEquals(reports, []);
    });
  }
});

Deno.test("an event stream that nobody reads closes its source", async () => {
  await run(async () => {
    const cancelled: string[] = [];
    const streamOf = (name: string) =>
      new ReadableStream<string>({
        cancel() {
          cancelled.push(name);
        },
      });
    const clicks = fromEvent(new EventTarget(), "click");
    const sources = {
      events: clicks as unknown as OperationIterable<string>,
      chunks: fromStream(streamOf("chunks")),
      stream: streamOf("stream"),
      nothing: [],
    };
    for (const source of Object.values(sources)) {
      const response = eventStream(source);
      await until(response.body!.cancel("nobody wants it"));
    }
    assertEquals(clicks.closed, true);
    while (allTasks(getRunningLoop()).length > 1) await sleep(0);
    assertEquals(cancelled, ["chunks", "stream"]);
  });
});

Deno.test("an event stream ends by its last event when the server closes, at once", async () => {
  const handler = () => eventStream(new Queue<string>(), { lastEvent: "bye" });
  await withServer(handler, {}, async ({ url, server }) => {
    const response = await until(fetch(url));
    while (server.statistics().attached < 1) await sleep(1);
    await server.close();
    assertEquals(await until(response.text()), "data: bye\n\n");
  });
});

Deno.test("an event stream whose source fails is cut and reported once", async () => {
  async function* source() {
    yield "one";
    await sleep(1);
    throw new Error("no more");
  }
  await withServer(
    () => eventStream(source()),
    {},
    async ({ url, reports }) => {
      await assertRejects(() => get(url), TypeError);
      assertEquals(
        reports.map(({ exception }) => (exception as Error).message),
        ["no more"],
      );
    },
  );
});

Deno.test("a slow client slows the source of an event stream down", async () => {
  let pulled = 0;
  function* source() {
    for (; pulled < 100_000; pulled++) yield "x".repeat(10_000);
  }
  await withServer(
    () => eventStream(source()),
    {},
    async ({ port, server }) => {
      using client = await until(RawClient.connect(port));
      await until(client.request("/"));
      await until(client.read());
      await sleep(50);
      assert(pulled < 10_000, `${pulled} events`);
      client.close();
      while (server.statistics().attached > 0) await sleep(1);
    },
  );
});

// -- WebSockets --

Deno.test("WebSockets are closed with 1001 when the server closes; a client that never answers is dropped", async () => {
  const codes: number[] = [];
  const handler: ServeHandler = (_request, context) => {
    const { socket, response } = context.upgradeWebSocket();
    socket.onmessage = ({ data }) => socket.send(`echo ${data}`);
    return response;
  };
  const options = { socketCloseMs: 30 };
  await withServer(handler, options, async ({ port, server, reports }) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    const echo = Promise.withResolvers<string>();
    const closed = Promise.withResolvers<void>();
    socket.onopen = () => socket.send("hello");
    socket.onmessage = ({ data }) => echo.resolve(data);
    socket.onclose = ({ code }) => {
      codes.push(code);
      closed.resolve();
    };
    assertEquals(await until(echo.promise), "echo hello");
    using mute = await until(RawClient.connect(port));
    await until(mute.upgrade("/"));
    assert((await until(mute.read())).startsWith("HTTP/1.1 101"));
    assertEquals(server.statistics().attached, 2);
    await server.close();
    await until(closed.promise);
    assertEquals(codes, [1001]);
    const frames = await until(mute.readAll());
    assertEquals([...frames].map((c) => c.codePointAt(0)).slice(0, 2), [
      0xfffd,
      2,
    ]);
    assertEquals(server.statistics().attached, 0);
    assertEquals(reports, []);
  });
});

// -- Supervisors --

Deno.test("a supervised server is ready when it listens, and a port that is taken is a failed start", async () => {
  await run(async () => {
    const where = { port: 0, hostname: "127.0.0.1" };
    const start = supervisedServer(() => new Response("ok"), where);
    const supervisor = new Supervisor({ children: [{ id: "http", start }] });
    await supervisor.start();
    const [child] = await supervisor.whichChildren();
    const server = child!.run!.value as Server;
    const { port } = server.addr as Deno.NetAddr;
    assertEquals(await get(`http://127.0.0.1:${port}/`), "200 ok");
    const second = new Supervisor({
      children: [{
        id: "http",
        start: supervisedServer(() => new Response("ok"), { ...where, port }),
      }],
      reportCrashes: false,
    });
    await assertRejects(async () => await second.start(), Error, "http");
    await supervisor.stop();
    assertEquals(server.statistics().state, "ended");
    await assertRejects(() => get(`http://127.0.0.1:${port}/`), TypeError);
  });
});

Deno.test("a supervisor gives a server its time, and kills one that takes longer", async () => {
  await run(async () => {
    const where = { port: 0, hostname: "127.0.0.1", graceMs: Infinity };
    const log: string[] = [];
    const start = supervisedServer(async () => {
      try {
        await sleep(60_000);
      } finally {
        log.push("cancelled");
      }
      return new Response("ok");
    }, where);
    const children = [{ id: "http", start, shutdown: 30 }];
    const supervisor = new Supervisor({ children });
    await supervisor.start();
    const [child] = await supervisor.whichChildren();
    const server = child!.run!.value as Server;
    const { port } = server.addr as Deno.NetAddr;
    const slow = get(`http://127.0.0.1:${port}/`);
    while (server.statistics().running < 1) await sleep(1);
    await supervisor.stop();
    assertEquals(await until(slow), "503 Service Unavailable");
    assertEquals(log, ["cancelled"]);
  });
});

// -- Hono --

Deno.test("Hono, used as its users do: routes, middleware, streams, env; clients that go, deadlines", async () => {
  type Env = { Bindings: RequestContext<string> };
  const log: string[] = [];
  const waiting = new Flag();
  const cancelled = new Flag();
  const app = new Hono<Env>();
  app.use("*", async (c, next) => {
    await next();
    c.header("x-middleware", "yes");
  });
  app.get(
    "/text/:name",
    (c) => c.text(`${c.env.value} ${c.req.param("name")}`),
  );
  app.get("/json", async (c) => {
    await sleep(1);
    return c.json({ task: currentTask()!.name });
  });
  app.post("/echo", async (c) => c.text(await c.req.text()));
  app.get("/background", (c) => {
    c.env.background(async () => {
      await sleep(1);
      log.push("background");
    });
    return c.text("ok");
  });
  app.get("/slow", async (c) => {
    waiting.set();
    try {
      await sleep(60_000);
    } finally {
      cancelled.set();
    }
    return c.text("never");
  });
  app.get("/sse", (c) =>
    streamSSE(c, async (stream) => {
      await stream.writeSSE({ data: "one" });
      await stream.writeSSE({ data: "two" });
    }));
  app.get("/broken", () => {
    throw new Error("broken");
  });
  app.onError((error, c) => c.text(error.message, 500));
  const options = {
    lifespan: () => "hello",
    requestTimeoutMs: 200,
    maxConcurrent: 10,
  };
  await withServer<string>(app.fetch, options, async (stand) => {
    const { url, port, server, reports } = stand;
    const response = await until(fetch(`${url}/text/world`));
    assertEquals(response.headers.get("x-middleware"), "yes");
    assertEquals(await until(response.text()), "hello world");
    assertEquals(await get(`${url}/json`), '200 {"task":"GET /json"}');
    const posted = { method: "POST", body: "x".repeat(100_000) };
    assertEquals((await get(`${url}/echo`, posted)).length, 100_004);
    assertEquals(await get(`${url}/none`), "404 404 Not Found");
    assertEquals(await get(`${url}/broken`), "500 broken");
    assertEquals(await get(`${url}/background`), "200 ok");
    assertEquals(
      await get(`${url}/sse`),
      "200 data: one\n\ndata: two\n\n",
    );
    using client = await until(RawClient.connect(port));
    await until(client.request("/slow"));
    await waiting.wait();
    client.close();
    await cancelled.wait();
    // Hono's onError answers for a cancelled handler, too late for a client that has gone.
    assertEquals(await get(`${url}/slow`), "504 Gateway Timeout");
    await server.close();
    assertEquals(log, ["background"]);
    assertEquals(reports, []);
  });
});

// -- Bad input --

Deno.test("wrong arguments are refused before anything happens", async () => {
  assertThrows(() => serve(() => new Response()), Error, "no loop is running");
  await run(async () => {
    const loop = getRunningLoop();
    const before = allTasks(loop).length;
    const handler = () => new Response();
    const wrong: [unknown, unknown, RegExp][] = [
      [null, {}, /handler must be a function: received null/],
      [handler, null, /options must be an object/],
      [handler, { port: -1 }, /port must be an integer >= 0/],
      [handler, { port: 70_000 }, /port must be at most 65535/],
      [handler, { port: 1, path: "/tmp/x" }, /path excludes port and hostname/],
      [handler, { hostname: "x", path: "/tmp/x" }, /path excludes port/],
      [handler, { cert: "x" }, /cert and key must be given together/],
      [handler, { key: "x" }, /cert and key must be given together/],
      [handler, { maxWaiting: null }, /maxWaiting must be a number/],
      [
        handler,
        { livenessPath: "/a?b" },
        /livenessPath must begin .* no query/,
      ],
      [
        handler,
        { readinessPath: "/x", livenessPath: "/x" },
        /livenessPath must differ from readinessPath/,
      ],
      [handler, { hostname: 1 }, /hostname must be a string/],
      [handler, { maxConcurrent: 0 }, /maxConcurrent must be an integer >= 1/],
      [handler, { maxConcurrent: "2" }, /maxConcurrent must be a number/],
      [handler, { maxWaiting: -1 }, /maxWaiting must be an integer >= 0/],
      [handler, { requestTimeoutMs: NaN }, /requestTimeoutMs must not be NaN/],
      [handler, { graceMs: -1 }, /graceMs must be >= 0/],
      [
        handler,
        { readinessPath: "ready" },
        /readinessPath must begin with "\/"/,
      ],
      [handler, { priority: 1 }, /priority must be a function/],
      [handler, { lifespan: 1 }, /lifespan must be a function/],
      [handler, { signal: {} }, /signal must be an AbortSignal/],
      [handler, { shutdown: 1 }, /shutdown must be one of/],
    ];
    for (const [fn, options, message] of wrong) {
      const start = () => serve(fn as ServeHandler, options as object);
      const error = assertThrows(start, Error);
      assert(message.test(error.message), error.message);
      assertThrows(() =>
        supervisedServer(fn as ServeHandler, options as object)
      );
    }
    for (
      const [source, options] of [
        [1, {}],
        ["text", {}],
        [[], { heartbeatMs: 0 }],
        [[], { lastEvent: { data: 1, id: "a\nb" } }],
      ]
    ) assertThrows(() => eventStream(source as never, options as object));
    assertEquals(allTasks(loop).length, before);
    await sleep(0);
  });
});

// -- Clients at random --

Deno.test("clients that go at any moment leave nothing: no task, no timer, no socket", async () => {
  const seed = Math.floor(performance.now() * 1_000) % 2 ** 31;
  console.log(`seed ${seed}`);
  let state = seed;
  const random = (bound: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor(state / 0x80000000 * bound);
  };
  const slow = function* (): Coroutine<Response> {
    yield* sleep(random(30));
    return new Response("generator");
  };
  const handler: ServeHandler = (request, context) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/ws") return context.upgradeWebSocket().response;
    if (pathname === "/gen") return slow();
    if (pathname === "/sse") return eventStream(new Queue<string>());
    if (pathname === "/up") return request.text().then((t) => new Response(t));
    return sleep(random(30)).then(() => new Response("async")) as Promise<
      Response
    >;
  };
  const options = { maxConcurrent: 8, maxWaiting: 8, requestTimeoutMs: 25 };
  await withServer(handler, options, async ({ port, server, reports }) => {
    const client = async () => {
      using connection = await RawClient.connect(port);
      const paths = ["/gen", "/sse", "/async", "/up", "/ws"];
      const path = paths[random(paths.length)]!;
      if (path === "/ws") {
        await connection.upgrade(path);
        // The runtime keeps a socket whose client goes before this for ever.
        await connection.read();
      } else if (path === "/up") {
        await connection.send(
          "POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
        );
      } else await connection.request(path);
      const delayMs = random(40);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    };
    for (let round = 0; round < 5; round++) {
      await until(Promise.all(Array.from({ length: 40 }, client)));
    }
    const left = () => {
      const { running, waiting, attached } = server.statistics();
      return running + waiting + attached;
    };
    while (left() > 0) await sleep(1);
    await sleep(0);
    assertEquals(otherTasks(server), []);
    assertEquals(reports, []);
  });
});

// -- Cancelled waits --

for (const style of STYLES) {
  Deno.test(`in ${style}: cancelling a wait for ready or close leaves the server alone`, async () => {
    await run(async () => {
      const gate = new Flag();
      const server = serve(async () => {
        await gate.wait();
        return new Response("ok");
      }, {
        port: 0,
        hostname: "127.0.0.1",
        lifespan: async () => {
          await sleep(5);
        },
      });
      const loop = getRunningLoop();
      const early = loop.createTask(inStyle(style, function* () {
        yield server.ready();
      }));
      await sleep(1);
      early.cancel();
      await assertRejects(async () => await early, Error, "Cancelled");
      const { port } = await server.ready() as Deno.NetAddr;
      const response = get(`http://127.0.0.1:${port}/`);
      while (server.statistics().running < 1) await sleep(1);
      const closing = loop.createTask(inStyle(style, function* () {
        yield server.close();
      }));
      await sleep(1);
      closing.cancel();
      await assertRejects(async () => await closing, Error, "Cancelled");
      assertEquals(server.statistics().state, "closing");
      gate.set();
      assertEquals(await until(response), "200 ok");
      await server;
      assertEquals(server.statistics().state, "ended");
    });
  });

  Deno.test(`in ${style}: a request that its own code cancels is answered with 503 and not reported`, async () => {
    const handler = handlerIn(style, function* () {
      currentTask()!.cancel("enough");
      yield sleep(1);
      return new Response("never");
    });
    await withServer(handler, {}, async ({ url, reports }) => {
      assertEquals(await get(url), "503 Service Unavailable");
      assertEquals(reports, []);
    });
  });
}
