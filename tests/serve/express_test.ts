/**
 * Express 5 in `nodeHandler`, as its users use it, on a real port.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-types="npm:@types/express@5"
import express, {
  type Express,
  type NextFunction,
  type Request as Req,
  type Response as Res,
} from "express";
import { MisuseError } from "../../src/errors.ts";
import {
  CancelledError,
  type Coroutine,
  currentTask,
  type ExceptionContext,
  getRunningLoop,
  isCancellation,
  Operation,
  type Priority,
  run,
  sleep,
  Task,
  TaskLocal,
  until,
} from "../../src/loop/mod.ts";
import {
  type NodeHandler,
  nodeHandler,
  type NodeHandlerOptions,
} from "../../src/serve/node_handler.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import { Flag } from "../../src/sync/flag.ts";
import { RawClient } from "./support/raw_client.ts";

interface Stage {
  readonly handler: NodeHandler;
  readonly base: string;
  readonly port: number;
  /** What happened, in words. */
  readonly log: string[];
  readonly reports: ExceptionContext[];
  /** Holds up handlers until it is set. */
  readonly gate: Flag;
  get(path: string): Promise<[number, string]>;
}

/** Serves `app` for as long as `body` runs. Nothing may be left, and no more reported than is expected. */
async function serving(
  app: (log: string[], gate: Flag) => Express,
  body: (stage: Stage) => Promise<void>,
  options: NodeHandlerOptions & { readonly reports?: number } = {},
): Promise<void> {
  const { reports: expected = 0, ...rest } = options;
  await run(async () => {
    const reports: ExceptionContext[] = [];
    getRunningLoop().setExceptionHandler((_, context) => reports.push(context));
    const log: string[] = [];
    const gate = new Flag();
    await using handler = nodeHandler(app(log, gate), {
      shutdown: false,
      ...rest,
    });
    const server = handler.attach(createServer(handler));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    const base = `http://127.0.0.1:${port}`;
    const get = async (path: string): Promise<[number, string]> => {
      const response = await fetch(base + path);
      return [response.status, await response.text()];
    };
    await body({ handler, base, port, log, reports, gate, get });
    await handler.close();
    const { running, waiting, background } = handler.statistics();
    assertEquals([running, waiting, background], [0, 0, 0]);
    assertEquals(
      reports.length,
      expected,
      String(reports.map((r) => r.message)),
    );
    assert(!server.listening);
  }, { host: "portable" });
}

/** Waits until something is so. */
async function untilSo(isSo: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!isSo()) {
    assert(performance.now() < endMs, `not in time: ${what}`);
    await sleep(2);
  }
}

/** As the docs recommend: nobody waits for the answer of a request that was cancelled. */
function errors(log: string[]) {
  return (error: unknown, _: Req, response: Res, next: NextFunction) => {
    if (isCancellation(error)) return;
    log.push(`error handler: ${(error as Error).message}`);
    if (response.headersSent) next(error);
    else response.status(418).send("short and stout");
  };
}

// -- Tasks --

Deno.test("an Express handler runs in a task, in async code, in generators and behind a body parser", async () => {
  const who = new TaskLocal("nobody");
  await serving(() => {
    const app = express();
    app.use(express.json());
    app.use((request, _, next) => {
      who.set(String(request.query.who));
      next();
    });
    app.post("/echo/:n", async (request, response) => {
      await sleep(5);
      const generated = await new Operation(function* () {
        yield* sleep(5);
        return yield* until(Promise.resolve(who.get()));
      });
      response.json({
        body: request.body,
        n: request.params.n,
        who: who.get(),
        generated,
        task: currentTask()?.name,
      });
    });
    return app;
  }, async ({ base }) => {
    const answers = await Promise.all(["a", "b"].map(async (name) => {
      const response = await fetch(`${base}/echo/1?who=${name}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ name }),
      });
      return await response.json();
    }));
    assertEquals(
      answers,
      ["a", "b"].map((name) => ({
        body: { name },
        n: "1",
        who: name,
        generated: name,
        task: "POST /echo/1",
      })),
    );
  });
});

Deno.test("a plain listener may be a generator function or an async function", async () => {
  await run(async () => {
    for (
      const listener of [
        function* (_: unknown, response: Res) {
          yield* sleep(2);
          response.end("generator");
        },
        async (_: unknown, response: Res) => {
          await sleep(2);
          response.end("async");
        },
      ]
    ) {
      await using handler = nodeHandler<Req, Res>(listener);
      const server = handler.attach(createServer(handler));
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const { port } = server.address() as AddressInfo;
      const response = await fetch(`http://127.0.0.1:${port}/`);
      assert(["generator", "async"].includes(await response.text()));
    }
  }, { host: "portable" });
});

// -- Clients that go --

Deno.test("a client that goes away cancels the task and what it awaits, and clean-up may wait", async () => {
  await serving((log) => {
    const app = express();
    app.get("/slow", async () => {
      const { signal } = currentTask()!;
      signal.addEventListener("abort", () => log.push("signal"));
      try {
        log.push("began");
        await sleep(60_000);
      } catch (error) {
        assertInstanceOf(error, CancelledError);
        log.push(String(error.reason));
        throw error;
      } finally {
        await sleep(20);
        log.push("cleaned up");
      }
    });
    app.use(errors(log));
    return app;
  }, async ({ port, log, handler }) => {
    const client = await RawClient.connect(port);
    await client.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n");
    await untilSo(() => log.includes("began"), "the handler");
    client.close();
    await untilSo(() => log.includes("cleaned up"), "the cancellation");
    assertEquals(log, [
      "began",
      "signal",
      "the client has gone",
      "cleaned up",
    ]);
    await untilSo(() => handler.statistics().running === 0, "the end");
    await untilSo(() => handler.statistics().gone === 1, "its count");
  });
});

Deno.test("a client that goes while its body is read long ago, or while its response is streamed, is noticed", async () => {
  await serving((log) => {
    const app = express();
    app.use(express.json());
    app.all("/stream", async (_, response) => {
      try {
        for (;;) {
          response.write("tick\n");
          await sleep(5);
        }
      } finally {
        log.push("ended");
      }
    });
    app.use(errors(log));
    return app;
  }, async ({ port, log }) => {
    const client = await RawClient.connect(port);
    await client.send(
      "POST /stream HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    );
    await client.until("tick");
    client.close();
    await untilSo(() => log.includes("ended"), "the end of the stream");
  });
});

Deno.test("a client that goes cancels also what it has asked for behind that", async () => {
  await serving((log) => {
    const app = express();
    app.get("/:n", async (request) => {
      const { n } = request.params;
      log.push(`${n} began`);
      try {
        await sleep(60_000);
      } finally {
        log.push(`${n} ended`);
      }
    });
    app.use(errors(log));
    return app;
  }, async ({ port, log }) => {
    const client = await RawClient.connect(port);
    await client.send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2));
    await untilSo(() => log.length === 2, "both handlers");
    client.close();
    await untilSo(() => log.length === 4, "both cancellations");
  });
});

Deno.test("a client that goes while it is in line is never served", async () => {
  await serving((log, gate) => {
    const app = express();
    app.get("/:n", async (request, response) => {
      log.push(request.params.n);
      await gate.wait();
      response.end();
    });
    return app;
  }, async ({ port, get, handler, log, gate }) => {
    const first = get("/1");
    await untilSo(() => log.length === 1, "the first");
    const client = await RawClient.connect(port);
    await client.send("GET /2 HTTP/1.1\r\nhost: x\r\n\r\n");
    await untilSo(() => handler.statistics().waiting === 1, "the second");
    client.close();
    await untilSo(() => handler.statistics().waiting === 0, "its end");
    gate.set();
    assertEquals((await first)[0], 200);
    assertEquals(log, ["1"]);
  }, { maxConcurrent: 1, maxWaiting: 1 });
});

// -- Time and limits --

Deno.test("a deadline answers 504, and cancels the task", async () => {
  await serving((log) => {
    const app = express();
    app.get("/slow", async () => {
      try {
        await sleep(60_000);
      } catch (error) {
        log.push(String((error as CancelledError).reason));
        throw error;
      }
    });
    app.get("/never", () => {}); // no task, and no answer
    app.use(errors(log));
    return app;
  }, async ({ get, log, handler }) => {
    assertEquals(await get("/slow"), [504, "Gateway Timeout"]);
    await untilSo(() => log.length === 1, "the cancellation");
    assertEquals(log, ["its time of 30 ms is over"]);
    assertEquals(await get("/never"), [504, "Gateway Timeout"]);
    await untilSo(() => handler.statistics().timedOut === 2, "both ends");
  }, { requestTimeoutMs: 30 });
});

Deno.test("a deadline reaches the client also if nobody handles the cancellation", async () => {
  await serving(() => {
    const app = express();
    app.set("env", "test"); // or Express prints the error
    app.get("/slow", async () => {
      await sleep(60_000);
    });
    return app;
  }, async ({ get }) => {
    assertEquals(await get("/slow"), [504, "Gateway Timeout"]);
  }, { requestTimeoutMs: 30 });
});

Deno.test("an answer that comes after the deadline is dropped", async () => {
  await serving((log) => {
    const app = express();
    app.get("/late", async (_, response) => {
      currentTask()!.signal.addEventListener("abort", () => {
        response.end("late"); // would end the process, by an error event
        log.push("answered");
      });
      await sleep(60_000);
    });
    app.use(errors(log));
    return app;
  }, async ({ get, log }) => {
    assertEquals(await get("/late"), [504, "Gateway Timeout"]);
    await untilSo(() => log.length === 1, "the answer");
  }, { requestTimeoutMs: 30 });
});

Deno.test("a response that is under way when its time is over is cut", async () => {
  await serving((log) => {
    const app = express();
    app.get("/stream", async (_, response) => {
      response.write("begun\n");
      await sleep(60_000);
    });
    app.use(errors(log));
    return app;
  }, async ({ port }) => {
    const client = await RawClient.connect(port);
    await client.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
    const all = await client.untilEnd();
    assert(all.includes("begun"));
    assert(!all.includes("\r\n0\r\n"), "it must not look complete");
    client.close();
  }, { requestTimeoutMs: 30 });
});

Deno.test("a request for which there is no room gets 503 and Retry-After", async () => {
  await serving((_, gate) => {
    const app = express();
    app.get("/", async (_, response) => {
      await gate.wait();
      response.send("served");
    });
    return app;
  }, async ({ base, handler, gate }) => {
    const all = Array.from({ length: 5 }, () => fetch(base));
    await untilSo(() => handler.statistics().refused === 3, "the refusals");
    gate.set();
    const responses = await Promise.all(all);
    const texts = await Promise.all(responses.map((r) => r.text()));
    const statuses = responses.map(({ status }) => status).sort();
    assertEquals(statuses, [200, 200, 503, 503, 503]);
    assertEquals(texts.filter((text) => text === "served").length, 2);
    const refused = responses.find(({ status }) => status === 503);
    assertEquals(refused?.headers.get("retry-after"), "2");
    assertEquals(handler.statistics().refused, 3);
  }, { maxConcurrent: 1, maxWaiting: 1, retryAfterMs: 1_500 });
});

Deno.test("urgent requests overtake others in line", async () => {
  await serving((log, gate) => {
    const app = express();
    app.get("/:name", async (request, response) => {
      log.push(request.params.name);
      await gate.wait();
      response.end();
    });
    return app;
  }, async ({ get, log, handler, gate }) => {
    const all = [get("/first")];
    await untilSo(() => log.length === 1, "the first");
    for (const [index, path] of ["/low", "/high"].entries()) {
      all.push(get(path));
      await untilSo(() => handler.statistics().waiting === index + 1, path);
    }
    gate.set();
    await Promise.all(all);
    assertEquals(log, ["first", "high", "low"]);
  }, {
    maxConcurrent: 1,
    maxWaiting: 2,
    priority: ({ url }) => url === "/high" ? "user-blocking" : "background",
  });
});

// -- Errors --

Deno.test("errors go to the error handler of Express, and not to the loop", async () => {
  await serving((log) => {
    const app = express();
    app.get("/async", async () => {
      await sleep(2);
      throw new Error("async");
    });
    app.get("/generator", async () => {
      await new Operation(function* () {
        yield* sleep(2);
        throw new Error("generator");
      });
    });
    app.get("/plain", () => {
      throw new Error("plain");
    });
    app.use(errors(log));
    return app;
  }, async ({ get, log }) => {
    for (const path of ["async", "generator", "plain"]) {
      assertEquals(await get(`/${path}`), [418, "short and stout"]);
      assertEquals(log.pop(), `error handler: ${path}`);
    }
    assertEquals((await get("/nowhere"))[0], 404);
  });
});

Deno.test("errors of a listener itself are answered with 500 and reported once", async () => {
  const failing = [
    () => {
      throw new Error("plain");
    },
    async () => {
      await sleep(1);
      throw new Error("async");
    },
    function* () {
      yield* sleep(1);
      throw new Error("generator");
    },
  ];
  for (const listener of failing) {
    await serving(
      () => listener as unknown as Express,
      async ({ get, reports }) => {
        assertEquals(await get("/x"), [500, "Internal Server Error"]);
        assertEquals(reports[0]?.message, "Cannot answer GET /x");
      },
      { name: "shop", reports: 1 },
    );
    const seen: unknown[] = [];
    await serving(
      () => listener as unknown as Express,
      async ({ get }) => {
        assertEquals(await get("/x"), [500, "Internal Server Error"]);
        assertEquals(seen.length, 1);
      },
      { onError: (error) => seen.push(error) },
    );
  }
});

// -- Background functions, and work after the response --

Deno.test("work that goes on after the response is let go on, and waited for", async () => {
  await serving((log) => {
    const app = express();
    app.get("/", async (_, response) => {
      response.send("answered");
      await sleep(20);
      log.push("audited");
    });
    return app;
  }, async ({ get, log, handler }) => {
    assertEquals(await get("/"), [200, "answered"]);
    await handler.close();
    assertEquals(log, ["audited"]);
  });
});

Deno.test("work that waits elsewhere after the response is not waited for, and goes on", async () => {
  const elsewhere = Promise.withResolvers<void>();
  await serving((log) => {
    const app = express();
    app.get("/", async (_, response) => {
      await sleep(1); // so that there is a task
      response.send("answered");
      await elsewhere.promise;
      await sleep(5);
      log.push(`audited in ${currentTask()?.name}`);
    });
    return app;
  }, async ({ get, log, handler }) => {
    assertEquals(await get("/"), [200, "answered"]);
    await untilSo(() => handler.statistics().running === 0, "the end");
    elsewhere.resolve();
    await untilSo(() => log.length === 1, "the audit");
    assertEquals(log, ["audited in undefined"]);
  });
});

Deno.test("background functions outlive the response, and the end waits for them", async () => {
  let handler: NodeHandler;
  await serving((log) => {
    const app = express();
    app.get("/", (_, response) => {
      const task = handler.background(function* () {
        yield* sleep(30);
        log.push("mailed");
      }, { name: "mail" });
      assertInstanceOf(task, Task);
      response.send("answered");
    });
    return app;
  }, async (stage) => {
    handler = stage.handler;
    assertEquals(await stage.get("/"), [200, "answered"]);
    assertEquals(stage.log, []);
    await stage.handler.close();
    assertEquals(stage.log, ["mailed"]);
  });
});

// -- The end --

Deno.test("closing answers what was taken, says so, and closes all connections", async () => {
  await serving((log, gate) => {
    const app = express();
    app.get("/", async (_, response) => {
      log.push("began");
      await gate.wait();
      response.send("served");
    });
    return app;
  }, async ({ port, handler, log, gate }) => {
    const busy = await RawClient.connect(port);
    const idle = await RawClient.connect(port);
    await idle.send("GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n");
    await idle.until("Cannot GET");
    await busy.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await untilSo(() => log.length === 1, "the request");
    const closing = getRunningLoop().createTask(() => handler.close());
    await untilSo(() => handler.statistics().state === "closing", "the close");
    gate.set();
    const [served, rest] = await Promise.all([
      busy.untilEnd(),
      idle.untilEnd(),
      closing,
    ]);
    assert(served.includes("served"), served);
    assert(/connection: close/i.test(served), served);
    assertEquals(rest, "");
    busy.close();
    idle.close();
    await handler.close(); // a second time
  });
});

Deno.test("what does not end within graceMs is cancelled, and its client told", async () => {
  await serving((log) => {
    const app = express();
    app.get("/wait", async () => {
      log.push("began");
      await sleep(60_000);
    });
    app.get("/stream", async (_, response) => {
      response.write("begun");
      log.push("began");
      await sleep(60_000);
    });
    app.use(errors(log));
    return app;
  }, async ({ get, port, handler, log }) => {
    const waiting = get("/wait");
    const stream = await RawClient.connect(port);
    await stream.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
    await untilSo(() => log.length === 2, "both");
    await handler.close();
    assertEquals(await waiting, [503, "Service Unavailable"]);
    assert((await stream.untilEnd()).includes("begun"));
    stream.close();
  }, { graceMs: 20 });
});

Deno.test("what does not end at all is reported by name, and not waited for", async () => {
  let release = () => {};
  await serving((log) => {
    const app = express();
    app.get("/stuck", async () => {
      log.push("began");
      for (;;) {
        try {
          await sleep(60_000);
        } catch {
          await new Promise<void>((resolve) => release = resolve);
          return;
        }
      }
    });
    return app;
  }, async ({ get, handler, log, reports }) => {
    const response = get("/stuck");
    await untilSo(() => log.length === 1, "the request");
    const background = handler.background(function* () {
      for (let stops = 0; stops < 2;) {
        try {
          yield* sleep(60_000);
        } catch {
          stops++;
        }
      }
    }, { name: "stubborn" });
    await handler.close();
    assertEquals((await response)[0], 503);
    assertEquals(
      reports[0]?.message,
      'Server "server" has ended, and did not wait any longer for stubborn',
    );
    background.cancel();
    await Promise.allSettled([background]);
    release();
  }, { graceMs: 10, cancelMs: 10, reports: 1 });
});

Deno.test("the paths of health answer outside of the limit", async () => {
  await serving((log, gate) => {
    const app = express();
    app.get("/", async (_, response) => {
      log.push("began");
      await gate.wait();
      response.end();
    });
    return app;
  }, async ({ get, log, gate }) => {
    const busy = get("/");
    await untilSo(() => log.length === 1, "the request");
    assertEquals(await get("/ready"), [200, "ok"]);
    assertEquals(await get("/live?now"), [200, "ok"]);
    assertEquals((await get("/"))[0], 503);
    gate.set();
    assertEquals((await busy)[0], 200);
  }, {
    maxConcurrent: 1,
    maxWaiting: 0,
    readinessPath: "/ready",
    livenessPath: "/live",
  });
});

// -- Bad input --

Deno.test("bad arguments are refused before anything happens", async () => {
  // deno-lint-ignore no-explicit-any
  type Any = any;
  const bad: [unknown, unknown, string][] = [
    [1, {}, "listener must be a function: received 1"],
    [() => {}, null, "options must be an object: received null"],
    [() => {}, { maxConcurrent: 0 }, "maxConcurrent must be an integer >= 1"],
    [() => {}, { maxWaiting: -1 }, "maxWaiting must be an integer >= 0"],
    [() => {}, { requestTimeoutMs: -1 }, "requestTimeoutMs must be >= 0"],
    [() => {}, { priority: 1 }, "priority must be a function: received 1"],
    [() => {}, { onError: 1 }, "onError must be a function: received 1"],
    [() => {}, { name: 1 }, "name must be a string: received 1"],
    [() => {}, { readinessPath: 1 }, "readinessPath must be a string"],
    [() => {}, { shutdown: 1 }, "shutdown must be one of true, false"],
  ];
  assertThrows(() => nodeHandler(() => {}), MisuseError, "no loop is running");
  await run(async () => {
    for (const [listener, options, message] of bad) {
      assertThrows(
        () => nodeHandler(listener as Any, options as Any),
        Error,
        message,
      );
    }
    await using handler = nodeHandler(() => {});
    assertThrows(() => handler.attach({} as Any), TypeError, "server must be");
    assertThrows(() => handler.background(1 as Any), TypeError, "body must be");
    assertThrows(() => handler.close({ graceMs: -1 }), RangeError, "graceMs");
    assertEquals(handler.statistics().state, "serving");
  }, { host: "portable" });
});

Deno.test("a priority that cannot be told is an error of the listener", async () => {
  await serving(() => express(), async ({ get, reports }) => {
    assertEquals(await get("/"), [500, "Internal Server Error"]);
    assertEquals((reports[0]?.exception as Error).name, "TypeError");
  }, { priority: () => "urgent" as unknown as Priority, reports: 1 });
});

Deno.test("the end of run() closes a server that nobody has closed", async () => {
  let server: Server | undefined;
  await run(async () => {
    const handler = nodeHandler((_, response) => response.end("ok"));
    server = createServer(handler);
    handler.attach(server);
    await new Promise<void>((done) => server!.listen(0, "127.0.0.1", done));
  }, { host: "portable" });
  assertEquals(server?.listening, false);
});

// -- Anything in any order --

for (const style of ["a generator", "an async function"] as const) {
  const seed = Math.floor(Math.random() * 2 ** 32);
  Deno.test(`random clients leave nothing behind, ${style}, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    const pick = (n: number) => Math.floor(random.next() * n);
    let inside = 0;
    function* work(ms: number): Coroutine<void> {
      inside++;
      try {
        try {
          yield* sleep(ms);
        } finally {
          yield* sleep(1); // clean-up is let end
        }
      } finally {
        inside--;
      }
    }
    const listener = style === "a generator"
      ? function* (_: Req, response: Res) {
        yield* work(pick(12));
        response.end("done");
      }
      : async (_: Req, response: Res) => {
        if (pick(2) === 0) response.write("part");
        await new Operation(() => work(pick(12)));
        response.end("done");
      };
    await run(async () => {
      const reports: ExceptionContext[] = [];
      getRunningLoop().setExceptionHandler((_, context) =>
        reports.push(context)
      );
      await using handler = nodeHandler<Req, Res>(listener, {
        shutdown: false,
        maxConcurrent: 4,
        maxWaiting: 3,
        requestTimeoutMs: 10,
        graceMs: 5,
      });
      const server = handler.attach(createServer(handler));
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const { port } = server.address() as AddressInfo;
      let sent = 0;
      const life = async () => {
        const client = await RawClient.connect(port);
        try {
          for (let n = pick(3); n >= 0; n--) {
            await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            sent++;
            if (pick(2) === 0) break; // goes, or asks again without waiting
            await sleep(pick(15));
          }
        } finally {
          client.close();
        }
      };
      await Promise.all(Array.from({ length: 60 }, async () => {
        await sleep(pick(150));
        await life().catch(() => {}); // the server may have closed the connection
      }));
      await handler.close();
      const { served, refused, timedOut, gone, ...rest } = handler.statistics();
      assertEquals(inside, 0);
      assertEquals(
        [rest.running, rest.waiting, rest.background, rest.state],
        [0, 0, 0, "ended"],
      );
      assert(served + refused + timedOut + gone <= sent);
      assert(served + gone > 0);
      assertEquals(reports, []);
    }, { host: "portable" });
  });
}
