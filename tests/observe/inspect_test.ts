/**
 * The inspector over HTTP: who is let in, what it tells, cancelling, and its end.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  createTask,
  EventLoop,
  type ExceptionContext,
  type ExecutorStats,
  getRunningLoop,
  gracefulShutdown,
  Lock,
  onShutdown,
  type Operation,
  run,
  sleep,
  Supervisor,
  type Task,
  taskGroup,
  timeout,
  until,
  waitForShutdown,
} from "../../mod.ts";
import {
  inspect,
  type InspectOptions,
  type Inspector,
  type InspectorState,
  LagMonitor,
} from "../../src/observe/mod.ts";
import type { Coroutine } from "../../src/loop/mod.ts";
import { inStyle, STYLES } from "../support/styles.ts";

const TOKEN = "a&b\"<c>'#?%+=";
const BEARER = { authorization: `Bearer ${TOKEN}` };

/** An inspector under test. */
interface Stand {
  readonly inspector: Inspector;
  /** Origin of its URL. */
  readonly at: string;
}

function withInspector(
  options: InspectOptions,
  body: (stand: Stand) => Promise<void>,
): Promise<void> {
  return run(async () => {
    await using inspector = inspect({ token: TOKEN, ...options });
    const url = await inspector.ready();
    await body({ inspector, at: new URL(url).origin });
  }, { name: "main" });
}

async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  return await until(fetch(url, init));
}

/** Sends a request as it stands, and returns the response. */
async function raw(at: string, head: string): Promise<string> {
  using connection = await Deno.connect({
    hostname: "127.0.0.1",
    port: Number(new URL(at).port),
  });
  await connection.write(
    new TextEncoder().encode(`${head}connection: close\r\n\r\n`),
  );
  return await new Response(connection.readable).text();
}

/** The status line and body of such a response. */
function statusOf(response: string): string {
  return response.slice(9, 12);
}

/** A client of the event stream. */
class Reader implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(body: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = body.pipeThrough(new TextDecoderStream()).getReader();
  }

  static async open(at: string): Promise<Reader> {
    const response = await ask(`${at}/events`, { headers: BEARER });
    assertEquals(response.status, 200);
    return new Reader(response.body!);
  }

  /** The next event and its data; null at the end. */
  async next(): Promise<[string, string] | null> {
    for (;;) {
      const end = this.#rest.indexOf("\n\n");
      if (end >= 0) {
        const [event, ...lines] = this.#rest.slice(0, end).split("\n");
        this.#rest = this.#rest.slice(end + 2);
        return [
          event!.slice("event: ".length),
          lines.map((line) => line.slice("data: ".length)).join("\n"),
        ];
      }
      const { done, value } = await this.#reader.read();
      if (done) return null;
      this.#rest += value;
    }
  }

  /** The next frame of which something is true. */
  async until(
    holds: (frame: InspectorState) => boolean,
  ): Promise<InspectorState> {
    for (;;) {
      const event = await this.next();
      assertEquals(event?.[0], "frame");
      const frame = JSON.parse(event![1]);
      if (holds(frame)) return frame;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}

/** Waits until the inspector has noticed who is there. */
async function watched(inspector: Inspector, holds: boolean): Promise<void> {
  await timeout(5_000, async () => {
    while (inspector.isWatched !== holds) await sleep(1);
  });
}

// -- Who is let in --

Deno.test("inspect() lets nobody in without the token, and does not say why", async () => {
  await withInspector({}, async ({ at }) => {
    const tokens = ["", TOKEN.slice(1), `${TOKEN}x`, TOKEN + TOKEN, "ä", "x"];
    const paths = ["/", "/events", "/state.json", "/inspect.js", "/nowhere"];
    for (const path of paths) {
      for (const token of tokens) {
        const query = `?token=${encodeURIComponent(token)}`;
        const response = await ask(`${at}${path}${query}`);
        assertEquals(response.status, 401, `${path} ${token}`);
        assertEquals(await response.text(), "Unauthorized");
        assertEquals(response.headers.get("www-authenticate"), "Bearer");
      }
    }
    const none = await ask(`${at}/tasks/1/cancel`, { method: "POST" });
    assertEquals(`${none.status} ${await none.text()}`, "401 Unauthorized");
    const wrong = await ask(`${at}/state.json?token=x`, {
      headers: { authorization: "Basic x" },
    });
    assertEquals(`${wrong.status} ${await wrong.text()}`, "401 Unauthorized");
  });
});

Deno.test("inspect() takes the token in the URL and in a header", async () => {
  await withInspector({}, async ({ at, inspector }) => {
    const page = await ask(inspector.url!);
    assertEquals(page.status, 200);
    const text = await page.text();
    const state = await ask(`${at}/state.json`, { headers: BEARER });
    assertEquals((await state.json()).name, "inspector");
    // Nothing of the token is markup, and each asset of the page is there.
    assert(!text.includes('"<c>'), text);
    const assets = [...text.matchAll(/(?:src|href)="(\/inspect[^"]*)"/g)];
    assertEquals(assets.length, 2);
    for (const [, path] of assets) {
      const asset = await ask(at + path);
      assertEquals(asset.status, 200);
      assert((await asset.text()).length > 1_000);
    }
  });
});

Deno.test("inspect() refuses foreign hosts and origins, even with the token", async () => {
  await withInspector({}, async ({ at }) => {
    const { host } = new URL(at);
    const get = (headers: string) =>
      until(raw(at, `GET /state.json HTTP/1.1\r\n${BEARER_LINE}${headers}`));
    for (
      const headers of [
        "host: evil.example\r\n",
        `host: evil.example:${new URL(at).port}\r\n`,
        "host: 127.0.0.1.evil.example\r\n",
        "host: localhost@evil.example\r\n",
        "host: localhost:123456\r\n",
        "host: localhost:99999\r\n",
        "host: localhost:99999/\r\n",
        `host: ${host}\r\norigin: http://evil.example\r\n`,
        `host: ${host}\r\norigin: null\r\n`,
        `host: ${host}\r\norigin: https://${host}\r\n`,
        `host: ${host}\r\norigin: http://127.0.0.1:1\r\n`,
      ]
    ) {
      const response = await get(headers);
      assertEquals(statusOf(response), "403", headers);
      assert(response.endsWith("Forbidden"), response);
    }
    for (
      const headers of [
        `host: ${host}\r\n`,
        "host: localhost\r\n",
        `host: ${host}\r\norigin: http://${host}\r\n`,
        "host: LOCALHOST:81\r\norigin: http://localhost:81\r\n", // a tunnel
        "host: [::1]:81\r\n",
      ]
    ) assertEquals(statusOf(await get(headers)), "200", headers);
  });
});

const BEARER_LINE = `authorization: Bearer ${TOKEN}\r\n`;

Deno.test("inspect() knows a few paths, and one method of each", async () => {
  await withInspector({}, async ({ at }) => {
    const call = async (path: string, method: string) => {
      const response = await ask(at + path, { method, headers: BEARER });
      await response.body?.cancel();
      return `${response.status} ${response.headers.get("allow") ?? ""}`.trim();
    };
    for (
      const path of ["/x", "//", "/tasks", "/tasks/x/cancel", "/index.html"]
    ) {
      assertEquals(await call(path, "GET"), "404", path);
    }
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"]) {
      assertEquals(await call("/", method), "405 GET", method);
      assertEquals(await call("/events", method), "405 GET", method);
    }
    for (const method of ["GET", "PUT", "DELETE"]) {
      assertEquals(await call("/tasks/1/cancel", method), "405 POST", method);
    }
  });
});

Deno.test("the page may run nothing inline, load nothing from elsewhere, and be in no frame", async () => {
  await withInspector({}, async ({ inspector, at }) => {
    for (const url of [inspector.url!, `${at}/nowhere`]) {
      const response = await ask(url);
      const text = await response.text();
      const policy = response.headers.get("content-security-policy")!;
      assertStringIncludes(policy, "default-src 'none'");
      assertStringIncludes(policy, "script-src 'self'");
      assertStringIncludes(policy, "frame-ancestors 'none'");
      assert(!policy.includes("unsafe"), policy);
      assertEquals(response.headers.get("cache-control"), "no-store");
      assertEquals(response.headers.get("x-content-type-options"), "nosniff");
      assertEquals(response.headers.get("referrer-policy"), "no-referrer");
      assert(!/<script>|\son\w+=|\sstyle=/.test(text), text);
    }
  });
});

Deno.test("inspect() tells of a port that is taken", async () => {
  await withInspector({}, async ({ at }) => {
    const reports: ExceptionContext[] = [];
    getRunningLoop().setExceptionHandler((_loop, context) => {
      reports.push(context);
    });
    const second = inspect({ port: Number(new URL(at).port) });
    await assertRejects(
      () => Promise.resolve(second.ready()),
      Deno.errors.AddrInUse,
    );
    assertEquals(second.url, null);
    await assertRejects(
      () => Promise.resolve(second.close()),
      Deno.errors.AddrInUse,
    );
    assertEquals(reports, []);
  });
});

Deno.test("inspect() checks its options before it starts anything", async () => {
  await run(() => {
    const cases: [unknown, typeof TypeError | typeof RangeError, string][] = [
      [null, TypeError, "options must be an object: received null"],
      [{ port: "80" }, TypeError, "port must be a number"],
      [{ port: -1 }, RangeError, "port must be an integer >= 0"],
      [{ port: 65_536 }, RangeError, "port must be at most 65535"],
      [{ token: 1 }, TypeError, "token must be a string"],
      [{ token: "" }, RangeError, "token must be visible ASCII"],
      [{ token: "a b" }, RangeError, "token must be visible ASCII"],
      [{ token: "sécret" }, RangeError, "token must be visible ASCII"],
      [{ name: 1 }, TypeError, "name must be a string"],
      [{ pools: 1 }, TypeError, "pools must be an object"],
      [{ pools: { a: {} } }, TypeError, "pools.a must be an executor"],
      [{ tasksMax: -1 }, RangeError, "tasksMax must be an integer >= 0"],
      [{ blockedMs: NaN }, RangeError, "blockedMs"],
      [{ lag: {} }, TypeError, "lag must be a LagMonitor"],
      [{ signal: 1 }, TypeError, "signal"],
    ];
    for (const [options, kind, message] of cases) {
      const error = assertThrows(
        () => inspect(options as InspectOptions),
        kind,
        message,
      );
      // A token that is refused may be one with a typing mistake.
      assert(!error.message.includes("sécret"), error.message);
    }
    return Promise.resolve();
  }, { host: "virtual" });
  assertThrows(() => inspect(), Error, "no loop is running");
});

Deno.test("inspect() makes a token that cannot be guessed", async () => {
  await run(async () => {
    const tokens = new Set<string>();
    for (let count = 0; count < 2; count++) {
      await using inspector = inspect();
      const url = new URL(await inspector.ready());
      assertEquals(url.hostname, "127.0.0.1");
      const token = url.searchParams.get("token")!;
      assert(token.length >= 32);
      tokens.add(token);
    }
    assertEquals(tokens.size, 2);
  });
});

// -- Cancelling --

for (const style of STYLES) {
  Deno.test(`POST cancels a task, which is ${style}`, async () => {
    await withInspector({}, async ({ at }) => {
      const post = async (id: number) => {
        const response = await ask(`${at}/tasks/${id}/cancel`, {
          method: "POST",
          headers: { ...BEARER, origin: at },
        });
        return `${response.status} ${(await response.json()).message}`;
      };
      const task = createTask(
        inStyle(style, function* () {
          yield sleep(60_000);
        }),
      );
      assertEquals(await post(task.id), "202 the task is being cancelled");
      await assertRejects(() => Promise.resolve(task), "cancelled in the");
      assert(task.cancelled());
      assertEquals(await post(task.id), "409 the task has ended");
      const next = createTask(function* () {});
      await next;
      assertEquals(await post(0), "404 there is no such task");
      assertEquals(await post(next.id + 1_000), "404 there is no such task");
    });
  });
}

Deno.test("a task that was shown and has ended is known as such", async () => {
  await withInspector({}, async ({ at, inspector }) => {
    const task = createTask(() => sleep(60_000));
    inspector.state();
    task.cancel();
    await sleep(1);
    const response = await ask(`${at}/tasks/${task.id}/cancel`, {
      method: "POST",
      headers: BEARER,
    });
    assertEquals((await response.json()).message, "the task has ended");
    assertEquals(response.status, 409);
  });
});

Deno.test("the inspector does not cancel itself", async () => {
  await withInspector({}, async ({ at, inspector }) => {
    await using reader = await Reader.open(at);
    await reader.next();
    const { own, tree } = inspector.state();
    assertEquals(own.length, 2);
    const names = own.map((id) =>
      tree.tasks.find((task) => task.id === id)?.name
    );
    assertEquals(names, ["inspector", "event stream"]);
    for (const id of own) {
      const response = await ask(`${at}/tasks/${id}/cancel`, {
        method: "POST",
        headers: BEARER,
      });
      assertEquals(response.status, 409);
      await response.body?.cancel();
    }
  });
});

// -- What it tells --

/** Two tasks that wait for one another. */
function makeDeadlock(): Task<void>[] {
  const [a, b] = [new Lock(), new Lock()];
  const both = (first: Lock, second: Lock) =>
    function* (): Coroutine<void> {
      using _one = yield* first.acquire();
      yield* sleep(1);
      using _two = yield* second.acquire();
    };
  return [
    createTask(both(a, b), { name: "left" }),
    createTask(both(b, a), { name: "right" }),
  ];
}

Deno.test("the state tells a deadlock, a block, a child that is down and a pool that lost threads", async () => {
  const stats = { lostThreads: 2, crashed: 0, waitMs: { p50: NaN, p99: NaN } };
  const pool = { stats: () => stats as ExecutorStats };
  await withInspector(
    { blockedMs: 5, pools: { hashing: pool } },
    async (stand) => {
      const { at, inspector } = stand;
      const log = getRunningLoop();
      log.setExceptionHandler(() => {});
      const tasks = makeDeadlock();
      await using supervisor = new Supervisor({
        name: "services",
        children: [{
          id: "mailer",
          start: function* () {
            yield* sleep(1);
            throw new Error("refused");
          },
          backoff: { initialMs: 60_000, maxMs: 60_000, jitter: "none" },
        } as never, {
          id: "once",
          restart: "temporary",
          start: function* () {
            yield* sleep(40);
            throw new Error("gone");
          },
        }],
      });
      await supervisor.start();
      await using reader = await Reader.open(at);
      await reader.next();
      const busy = createTask(function* () {
        const end = performance.now() + 8;
        while (performance.now() < end);
        yield* sleep(60_000);
      }, { name: "busy" });
      const frame = await reader.until(({ problems }) =>
        problems.some(({ title }) => title.includes("once")) &&
        problems.some(({ title }) => title.includes("busy"))
      );
      const find = (kind: string) =>
        frame.problems.filter((problem) => problem.kind === kind);
      const [deadlock] = find("deadlock");
      assertEquals(deadlock!.title, "Deadlock: 2 tasks wait for one another");
      assertEquals(deadlock!.level, "error");
      assertEquals(
        deadlock!.tasks.map(({ id }) => id),
        tasks.map(({ id }) => id),
      );
      assertEquals(deadlock!.details.length, 2);
      assertStringIncludes(deadlock!.details[0]!, "left waits for Lock #");
      assertStringIncludes(deadlock!.details[0]!, "held by right");
      const blocked = find("blocked").find(({ title }) =>
        title.includes("busy")
      );
      assertStringIncludes(blocked!.title, "Task busy blocked the loop for ");
      assertEquals(blocked!.tasks, [{ id: busy.id, name: "busy" }]);
      assertEquals(blocked!.level, "warning");
      const children = find("child").map(({ title, details, level }) => [
        title,
        details[0],
        level,
      ]);
      assertEquals(children, [
        [
          "Child mailer of services is down, restarting",
          "crashed: Error: refused",
          "error",
        ],
        [
          "Child once of services crashed and is not restarted",
          "Error: gone",
          "error",
        ],
      ]);
      assertEquals(find("pool")[0]!.title, "Pool hashing has lost 2 threads");
      assertEquals(frame.supervisors[0]!.children[0]!.trouble, "down");
      // The same as JSON; what is in no stream is what has not changed.
      const json = await ask(`${at}/state.json`, { headers: BEARER });
      assertEquals(
        json.headers.get("content-type"),
        "application/json; charset=utf-8",
      );
      const state: InspectorState = await json.json();
      const titles = ({ problems }: InspectorState) =>
        problems.filter(({ kind }) => kind !== "blocked")
          .map(({ title }) => title);
      assertEquals(titles(state), titles(frame));
      assertEquals(state.pools.hashing!.waitMs.p50, null as never);
      assert(state.samples.length > 0);
      assertEquals(inspector.state().tree.rings, state.tree.rings);
      for (const task of [...tasks, busy]) task.cancel();
    },
  );
});

Deno.test("crashes that were repaired, and those of pools and nested supervisors, are told for a minute", async () => {
  const stats = { lostThreads: 0, crashed: 1 };
  const pool = { stats: () => ({ ...stats }) as ExecutorStats };
  await withInspector(
    { pools: { hashing: pool } },
    async ({ at, inspector }) => {
      getRunningLoop().setExceptionHandler(() => {});
      let fails = true;
      const crash = getRunningLoop().createFuture<void>();
      const inner = new Supervisor({
        name: "inner",
        children: [
          {
            id: "feed",
            start: function* () {
              if (fails) {
                yield* crash;
                throw new Error("bad reply");
              }
              yield* sleep(600_000);
            },
          },
          ...Array.from({ length: 250 }, (_, number) => ({
            id: `idle ${number}`,
            start: () => sleep(600_000),
          })),
        ],
      });
      await using outer = new Supervisor({
        name: "outer",
        children: [{ id: "inner", type: "supervisor", start: () => inner }],
      });
      await outer.start();
      await using reader = await Reader.open(at);
      const calm = await reader.until(() => true);
      assertEquals(calm.problems, []); // the crash of the pool is an old one
      fails = false;
      crash.setResult();
      stats.crashed = 3;
      const frame = await reader.until(({ problems }) => problems.length >= 2);
      assertEquals(
        frame.problems.map((
          { title, level, details },
        ) => [title, level, details]),
        [
          [
            "Child feed of outer/inner crashed and was restarted",
            "warning",
            ["crashed: Error: bad reply", "1 restart until now"],
          ],
          ["Workers of pool hashing crashed", "warning", [
            "3 jobs lost until now",
          ]],
        ],
      );
      assert(frame.problems.every(({ atMs }) => atMs !== null));
      const [top] = inspector.state().supervisors;
      assertEquals(inspector.state().supervisors.length, 1);
      const { supervisor } = top!.children[0]!;
      assertEquals(supervisor!.children.length, 200);
      assertEquals(supervisor!.hidden, 51);
      assertEquals(supervisor!.children[0]!.trouble, "crashed");
    },
  );
});

Deno.test("names are sent as they are, cut if they are long", async () => {
  await withInspector({}, async ({ at }) => {
    const names = [
      "<img src=x onerror=alert(1)>",
      "a\u202eb\n\0",
      "x".repeat(1e6),
    ];
    const tasks = names.map((name) =>
      createTask(function* () {
        yield* sleep(60_000);
      }, { name })
    );
    await sleep(1);
    const response = await ask(`${at}/state.json`, { headers: BEARER });
    const state: InspectorState = await response.json();
    const found = tasks.map(({ id }) =>
      state.tree.tasks.find((task) => task.id === id)!.name
    );
    assertEquals(found.slice(0, 2), names.slice(0, 2));
    assertEquals(found[2]!.length, 501);
    for (const task of tasks) task.cancel();
  });
});

Deno.test("a tree that has not changed is not sent again, and each client gets all of it", async () => {
  await withInspector({}, async ({ at }) => {
    await using first = await Reader.open(at);
    await first.until(({ tree }) => tree !== undefined);
    // Each wait of this task changes the tree: it waits once.
    await until(() => first.until(({ tree }) => tree === undefined));
    await using second = await Reader.open(at);
    const [, data] = (await second.next())!;
    assertEquals(JSON.parse(data).tree.tasks[0].name, "main");
  });
});

Deno.test("frames are at least a tenth of a second apart, however busy the loop is", async () => {
  await withInspector({}, async ({ at }) => {
    const loop = getRunningLoop();
    const busy = createTask(async () => {
      for (;;) {
        await taskGroup(function* (group) {
          for (let count = 0; count < 20; count++) {
            group.spawn(function* () {
              yield* sleep(0);
            });
          }
        });
      }
    });
    await using reader = await Reader.open(at);
    const times: number[] = [];
    for (let count = 0; count < 6; count++) {
      const frame: InspectorState = JSON.parse((await reader.next())![1]);
      times.push(frame.timeMs);
      for (const { overMs } of frame.samples) assert(overMs >= 100);
    }
    assert(times.at(-1)! <= loop.time());
    // The first one comes at once, the others by a timer of 100 ms.
    times.slice(2).forEach((time, index) =>
      assert(time - times[index + 1]! > 50)
    );
    assert(times.at(-1)! - times[1]! >= 4 * 100 - 50, String(times));
    busy.cancel();
  });
});

Deno.test("nothing is measured while nobody looks", async () => {
  await withInspector({}, async ({ at, inspector }) => {
    const isMeasured = async () => {
      const task = createTask(() => sleep(60_000));
      await sleep(2);
      const { sinceMs } = task.waits()[0]!;
      task.cancel();
      return sinceMs !== null;
    };
    assertEquals(inspector.state().watchedSinceMs, null);
    assertEquals(await isMeasured(), false);
    const timers = getRunningLoop().stats().timers;
    for (let round = 0; round < 2; round++) {
      {
        await using one = await Reader.open(at);
        await one.next();
        await using two = await Reader.open(at);
        await two.next();
        assertEquals(await isMeasured(), true);
        assert(inspector.state().watchedSinceMs !== null);
      }
      await watched(inspector, false);
      assertEquals(await isMeasured(), false);
      assertEquals(inspector.state().watchedSinceMs, null);
      assertEquals(inspector.state().own.length, 1);
      await timeout(5_000, async () => {
        while (getRunningLoop().stats().timers > timers + 1) await sleep(1);
      });
    }
  });
});

// -- Its end --

Deno.test("the end of the run ends streams, and is not held up by them", async () => {
  let reading: Promise<unknown> = Promise.resolve();
  await run(async () => {
    const inspector = inspect({ token: TOKEN });
    const { origin } = new URL(await inspector.ready());
    const response = await ask(`${origin}/events`, { headers: BEARER });
    const reader = response.body!.pipeThrough(new TextDecoderStream())
      .getReader();
    await until(reader.read());
    reading = (async () => {
      let last = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return last;
        last = value;
      }
    })();
  });
  assertEquals(await reading, "event: end\ndata: closed\n\n");
});

Deno.test("close() ends streams and frees the port; it may be called twice", async () => {
  await run(async () => {
    const inspector = inspect({ token: TOKEN });
    const { origin, port } = new URL(await inspector.ready());
    await using reader = await Reader.open(origin);
    await reader.next();
    await Promise.all([inspector.close(), inspector.close()]);
    let last: [string, string] | null = null;
    for (;;) {
      const event = await reader.next();
      if (event === null) break;
      last = event;
    }
    assertEquals(last, ["end", "closed"]);
    await inspector.close();
    assertEquals(inspector.isWatched, false);
    Deno.listen({ port: Number(port), hostname: "127.0.0.1" }).close();
  });
});

for (const style of STYLES) {
  Deno.test(`${style} waits until it is ready, and until it is closed`, async () => {
    const url = await run(
      inStyle(style, function* () {
        const inspector = inspect({ token: TOKEN });
        const url: string = yield inspector.ready();
        yield inspector.close();
        return url;
      }),
    );
    assertEquals(new URL(url).searchParams.get("token"), TOKEN);
  });

  Deno.test(`${style} is cancelled while it waits for it`, async () => {
    await run(async () => {
      const wait = (make: () => Operation<unknown>) => {
        const task = createTask(
          inStyle(style, function* () {
            yield make();
          }),
          { eager: true },
        );
        task.cancel();
        return task;
      };
      const inspector = inspect({ token: TOKEN });
      await assertRejects(() => Promise.resolve(wait(() => inspector.ready())));
      await inspector.ready();
      await assertRejects(() => Promise.resolve(wait(() => inspector.close())));
      await inspector.close(); // goes on
    });
  });
}

Deno.test("a loop that is closed while somebody looks leaves nothing", async () => {
  const loop = new EventLoop();
  loop.setExceptionHandler(() => {}); // tasks are destroyed
  const [inspector, reader] = await loop.runUntilComplete(async () => {
    const inspector = inspect({ token: TOKEN });
    const { origin } = new URL(await inspector.ready());
    const reader = await Reader.open(origin);
    await reader.next();
    return [inspector, reader] as const;
  });
  await loop.close();
  try {
    while (await reader.next() !== null);
  } catch (error) {
    assert(!(error instanceof SyntaxError), String(error)); // the connection was cut
  }
  const { port } = new URL(inspector.url!);
  Deno.listen({ port: Number(port), hostname: "127.0.0.1" }).close();
});

Deno.test("its signal closes an inspector", async () => {
  await run(async () => {
    const controller = new AbortController();
    const inspector = inspect({ token: TOKEN, signal: controller.signal });
    const { origin } = new URL(await inspector.ready());
    await using reader = await Reader.open(origin);
    await reader.next();
    controller.abort();
    while (await reader.next() !== null);
    await watched(inspector, false);
  });
});

Deno.test("a graceful shutdown can be watched, and is not held up", async () => {
  let seen = "";
  let ended: Promise<void> = Promise.resolve();
  const shutdown = await run(async () => {
    const shutdown = gracefulShutdown({ scope: "loop", budgetMs: 60_000 });
    const inspector = inspect({ token: TOKEN });
    const { origin } = new URL(await inspector.ready());
    const reader = await Reader.open(origin);
    await reader.next();
    onShutdown("drain", async () => {
      const response = await ask(`${origin}/state.json`, { headers: BEARER });
      seen = (await response.json()).name;
      await reader.next(); // still live
      ended = (async () => {
        while (await reader.next() !== null);
      })();
    });
    shutdown.begin("enough");
    await waitForShutdown();
    return shutdown;
  });
  await ended;
  assertEquals(seen, "inspector");
  const { code, stragglers, durationMs } = shutdown.report!;
  assertEquals([code, stragglers], [0, []]);
  assert(durationMs < 30_000, `${durationMs} ms`); // half of a phase would be more
});

Deno.test("a lag monitor that was given is shown, and goes on", async () => {
  await run(async () => {
    await using lag = new LagMonitor({ everyMs: 5 });
    await using inspector = inspect({ token: TOKEN, lag });
    const { origin } = new URL(await inspector.ready());
    while (lag.snapshot().samples < 3) await sleep(5);
    assert(inspector.state().lag!.samples >= 3); // nobody has looked until now
    {
      await using reader = await Reader.open(origin);
      const frame = await reader.until(({ lag }) => lag !== null);
      assert(frame.lag!.samples >= 3);
    }
    await watched(inspector, false);
    const { samples } = lag.snapshot();
    await timeout(5_000, async () => {
      while (lag.snapshot().samples === samples) await sleep(5);
    });
  });
});

Deno.test("a process that was stopped is told as suspended, not as blocked", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--no-prompt",
      new URL("./children/inspected.ts", import.meta.url).href,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const limit = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const out = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    const url = new URL((await out.read()).value!.trim());
    url.pathname = "/events";
    const response = await fetch(url);
    await using reader = new Reader(response.body!);
    await reader.until(({ samples }) => samples.length > 0);
    child.kill("SIGSTOP");
    // The time in which it is stopped is what the test is about.
    await new Promise((resolve) => setTimeout(resolve, 400));
    child.kill("SIGCONT");
    const frame = await reader.until(({ problems }) =>
      problems.some(({ title }) => title.includes("suspended"))
    );
    const found = frame.problems.filter(({ kind }) => kind === "blocked");
    assertEquals(found.length, 1, JSON.stringify(found));
    assertStringIncludes(found[0]!.title, "The process was suspended for ");
  } finally {
    await child.stdin.close();
    await out.cancel();
    await child.status;
    clearTimeout(limit);
  }
});
