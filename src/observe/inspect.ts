/**
 * `inspect`: a page in the browser that shows what a loop does, as it runs.
 *
 * @module
 */
import {
  checkHas,
  checkInteger,
  checkNotNegative,
  checkOptions,
  checkString,
  inspect as show,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { eventStream } from "../serve/event_stream.ts";
import { serve, type Server } from "../serve/server.ts";
import {
  type InspectedPool,
  InspectFeed,
  type InspectorState,
} from "./inspect_feed.ts";
import { LagMonitor } from "./lag_monitor.ts";

/** Options of {@linkcode inspect}. */
export interface InspectOptions {
  /**
   * Port on 127.0.0.1; 0 for any free one.
   *
   * @default {0}
   */
  readonly port?: number | undefined;
  /**
   * Secret without which nothing is shown: visible ASCII characters.
   *
   * @default {128 random bits}
   */
  readonly token?: string | undefined;
  /**
   * Name of the program on the page, and of the task.
   *
   * @default {"inspector"}
   */
  readonly name?: string | undefined;
  /** Pools, balancers and other executors to show, by name. */
  readonly pools?: Readonly<Record<string, InspectedPool>> | undefined;
  /**
   * Monitor of the lag of the loop, whose percentiles are shown: it may have run for
   * longer than anybody has looked.
   *
   * @default {one that runs while somebody looks}
   */
  readonly lag?: LagMonitor | undefined;
  /**
   * How many tasks are listed at most; the others are counted.
   *
   * @default {500}
   */
  readonly tasksMax?: number | undefined;
  /**
   * How long a step has to be to count as a block, in milliseconds.
   *
   * @default {100}
   */
  readonly blockedMs?: number | undefined;
  /** Closes the inspector when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

const WHAT = "inspect a loop";
/** How long streams may take to end when the inspector closes. */
const GRACE_MS = 100;

const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** The texts of the page, which are loaded when an inspector starts. */
type Assets = typeof import("./inspect_page.ts");

/** An inspector of a loop, which {@linkcode inspect} returns. */
export class Inspector implements AsyncDisposable {
  readonly #loop: EventLoop;
  readonly #token: Uint8Array;
  readonly #feed: InspectFeed;
  readonly #server: Server;
  readonly #query: string;
  #assets: Assets | null = null;

  /** @ignore */
  constructor(loop: EventLoop, settings: Settings) {
    const { port, name, token, signal } = settings;
    this.#loop = loop;
    this.#token = new TextEncoder().encode(token);
    this.#query = `?token=${encodeURIComponent(token)}`;
    this.#feed = new InspectFeed(loop, settings);
    this.#server = serve((request) => this.#answer(request), {
      port,
      hostname: "127.0.0.1",
      name,
      signal,
      graceMs: GRACE_MS,
      // People want to see what holds a shutdown up: the server ends with the run.
      shutdown: false,
      lifespan: () => this.#load(),
    });
  }

  async #load(): Promise<void> {
    const id = findTask()?.id;
    if (id !== undefined) this.#feed.own.add(id);
    this.#assets = await import("./inspect_page.ts");
  }

  /** URL of the page, with the token; `null` before the server listens. */
  get url(): string | null {
    const { addr } = this.#server;
    return addr === null
      ? null
      : `http://127.0.0.1:${(addr as Deno.NetAddr).port}/${this.#query}`;
  }

  /** Whether somebody looks: only then anything is measured. */
  get isWatched(): boolean {
    return this.#feed.isWatched;
  }

  /**
   * Waits until the page can be opened.
   *
   * @returns An operation whose result is the URL of the page, with the token. It
   * throws what the server has failed with, such as a `Deno.errors.AddrInUse` for a
   * port that is taken, and a {@linkcode MisuseError} if it was closed before.
   */
  ready(): Operation<string> {
    return new Operation(() => this.#untilReady(), {
      name: "Inspector.ready()",
    });
  }

  *#untilReady(): Coroutine<string> {
    yield* this.#server.ready();
    return this.url!;
  }

  /**
   * Returns what the page shows, as it is now. Samples, blocks and changes of counts
   * are only there if somebody looks.
   *
   * @returns Plain data, which can be sent as JSON.
   */
  state(): InspectorState {
    return this.#feed.state();
  }

  /**
   * Closes it: streams end, and the port is free. May be called again. Cancelling the
   * wait leaves it to go on closing.
   *
   * @returns An operation that ends when it is closed. It throws what the server has
   * failed with.
   */
  close(): Operation<void> {
    return this.#server.close();
  }

  /** The same as {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // -- Requests --

  #answer(request: Request): Response {
    const url = URL.parse(request.url); // null if the port of `Host` is none
    const response = this.#check(request.headers, url) ??
      this.#route(request.method, url!.pathname);
    for (const [name, value] of Object.entries(HEADERS)) {
      response.headers.set(name, value);
    }
    return response;
  }

  /** Refuses whoever must not look, and does not say why. */
  #check(headers: Headers, url: URL | null): Response | null {
    const host = headers.get("host");
    // A page whose name was rebound to this address sends that name.
    if (url === null || host === null || !LOCAL_HOST.test(host)) {
      return plain(403, "Forbidden");
    }
    const origin = headers.get("origin");
    if (origin !== null && origin !== `http://${host.toLowerCase()}`) {
      return plain(403, "Forbidden");
    }
    if (this.#knows(tokenIn(headers, url))) return null;
    return plain(401, "Unauthorized", { "www-authenticate": "Bearer" });
  }

  /** Compares a token in a time that depends on nothing but its own length. */
  #knows(token: string): boolean {
    const expected = this.#token;
    const given = new TextEncoder().encode(token);
    let difference = given.length ^ expected.length;
    for (let index = 0; index < given.length; index++) {
      difference |= given[index]! ^ expected[index % expected.length]!;
    }
    return difference === 0;
  }

  #route(method: string, path: string): Response {
    const cancel = CANCEL_PATH.exec(path);
    if (cancel !== null) {
      return method === "POST"
        ? this.#cancel(Number(cancel[1]))
        : notAllowed("POST");
    }
    const route = this.#find(path);
    if (route === null) return plain(404, "Not Found");
    return method === "GET" ? route() : notAllowed("GET");
  }

  #find(path: string): (() => Response) | null {
    const { PAGE, SCRIPT, STYLE } = this.#assets!;
    const send = (text: string, type: string) => () =>
      new Response(text, {
        headers: { "content-type": `${type}; charset=utf-8` },
      });
    switch (path) {
      case "/":
        // encodeURIComponent has left nothing in it that markup knows.
        return send(PAGE.replaceAll("?token", () => this.#query), "text/html");
      case "/inspect.js":
        return send(SCRIPT, "text/javascript");
      case "/inspect.css":
        return send(STYLE, "text/css");
      case "/state.json":
        return () => send(this.#feed.json(), "application/json")();
      case "/events":
        return () => eventStream(this.#feed, { lastEvent: LAST_EVENT });
      default:
        return null;
    }
  }

  #cancel(id: number): Response {
    const feed = this.#feed;
    let found: Task<unknown> | null = null;
    for (const task of this.#loop[core].tasks.toArray()) {
      feed.idMax = Math.max(feed.idMax, task.id);
      if (task.id === id) found = task;
    }
    if (found === null) {
      // Ids go up by one with each task of the process.
      return id >= 1 && id <= feed.idMax
        ? say(409, "the task has ended")
        : say(404, "there is no such task");
    }
    if (feed.own.has(id)) {
      return say(409, "the task is part of the inspector");
    }
    found.becomeKnown();
    return found.cancel("cancelled in the inspector")
      ? say(202, "the task is being cancelled")
      : say(409, "the task has ended");
  }
}

const LOCAL_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/i;
const CANCEL_PATH = /^\/tasks\/(\d{1,15})\/cancel$/;
const LAST_EVENT = { event: "end", data: "closed" };

/** The token of a request: `Authorization: Bearer …`, or `?token=…` in its URL. */
function tokenIn(headers: Headers, url: URL): string {
  const bearer = /^Bearer (\S+)$/i.exec(headers.get("authorization") ?? "");
  if (bearer !== null) return bearer[1]!;
  return url.searchParams.get("token") ?? "";
}

function plain(
  status: number,
  text: string,
  headers: HeadersInit = {},
): Response {
  return new Response(text, { status, headers });
}

function notAllowed(allow: string): Response {
  return plain(405, "Method Not Allowed", { allow });
}

function say(status: number, message: string): Response {
  return Response.json({ message }, { status });
}

interface Settings {
  readonly port: number;
  readonly token: string;
  readonly name: string;
  readonly pools: ReadonlyMap<string, InspectedPool>;
  readonly tasksMax: number;
  readonly blockedMs: number;
  readonly lag: LagMonitor | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * Shows the running loop in the browser: its tasks, who waits for whom, deadlocks,
 * what blocks it, its supervisors and pools, plots of its lag and throughput, live.
 * A task can be cancelled there. Open the URL that {@linkcode Inspector.ready} gives.
 *
 * *Security.* It listens on 127.0.0.1 only, and shows nothing without the token. A
 * request whose `Host` is not the local machine, or whose `Origin` is another page, is
 * refused with 403, one without the token with 401. The token allows to read
 * the names of tasks and to cancel them: keep it as you would keep a password.
 *
 * *Cost.* Nothing is measured while nobody looks. While somebody does, the tree is made
 * ten times a second at most, less often if that would take more than a twentieth of
 * the time, and a step costs some 150 ns more. All who look share that work.
 *
 * *Paths.* With the token as `?token=…` or `Authorization: Bearer …`:
 *
 * | Request | Answer |
 * |---|---|
 * | `GET /` | the page |
 * | `GET /state.json` | an {@linkcode InspectorState}; texts are cut after 500 characters, `NaN` and `Infinity` are `null` |
 * | `GET /events` | the same as server-sent events, each with what has changed |
 * | `POST /tasks/ID/cancel` | 202; 404 if there is no such task, 409 if it has ended |
 *
 * *Its end.* The server ends with `close()`, its signal or the run, and the streams of
 * the page with it; `run` does not wait for it. A graceful shutdown can be watched: the
 * server stays up until the shutdown cancels it with all other tasks that are left, and
 * holds nothing up.
 *
 * *Limits.* While the loop is blocked nothing is sent: the page says so, and tells the
 * name of the task once the loop goes on. For the name while it blocks see {@linkcode
 * Watchdog}. Time that Deno's own I/O takes within a turn counts for the step after it.
 * Nothing is known of the time before somebody looked, but for the percentiles of a
 * monitor that was given as `lag`. On a virtual loop the clock stands still meanwhile.
 *
 * @example The state as JSON
 * ```ts
 * import { createTask, run, sleep, until } from "@rota/rota";
 * import { inspect } from "@rota/rota/observe";
 * import { assertEquals } from "@std/assert";
 *
 * await run(async () => {
 *   await using inspector = inspect({ name: "shop" });
 *   const url = new URL(await inspector.ready()); // http://127.0.0.1:…/?token=…
 *   const task = createTask(() => sleep(60_000), { name: "nightly" });
 *   await sleep(1);
 *   url.pathname = "/state.json";
 *   const state = await until(fetch(url).then((response) => response.json()));
 *   assertEquals(state.name, "shop");
 *   assertEquals(state.problems, []);
 *   const names = state.tree.tasks.map(({ name }: { name: string }) => name);
 *   assertEquals(names.includes("nightly"), true);
 *   task.cancel();
 * });
 * ```
 *
 * @param options Port, token, pools and so on.
 * @returns The inspector, whose server is starting.
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a number is out of range, or the token is empty or has other
 * characters than visible ASCII.
 * @throws {MisuseError} If no loop is running.
 */
export function inspect(options: InspectOptions = {}): Inspector {
  const settings = settle(options);
  return new Inspector(getRunningLoop(), settings);
}

function settle(options: InspectOptions): Settings {
  checkOptions(options, WHAT);
  const { port = 0, name = "inspector", tasksMax = 500, signal } = options;
  const { token = randomToken(), pools = {}, blockedMs = 100 } = options;
  const { lag } = options;
  checkInteger(port, 0, WHAT, "port");
  checkString(token, WHAT, "token");
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new RangeError(
      `Cannot ${WHAT} as token must be visible ASCII characters: received ${
        token === "" ? show(token) : "others"
      }`,
    );
  }
  checkString(name, WHAT, "name");
  checkOptions(pools, WHAT, "pools");
  for (const [key, pool] of Object.entries(pools)) {
    checkHas(pool, ["stats"], WHAT, `pools.${key}`, "an executor");
  }
  checkInteger(tasksMax, 0, WHAT, "tasksMax");
  checkNotNegative(blockedMs, WHAT, "blockedMs");
  if (lag !== undefined && !(lag instanceof LagMonitor)) {
    throw new TypeError(
      `Cannot ${WHAT} as lag must be a LagMonitor: received ${show(lag)}`,
    );
  }
  const all = new Map(Object.entries(pools));
  return { port, token, name, pools: all, tasksMax, blockedMs, lag, signal };
}

function randomToken(): string {
  return crypto.randomUUID();
}
