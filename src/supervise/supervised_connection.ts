/**
 * Connections to other servers, such as Redis or NATS, as children of a supervisor.
 *
 * @module
 */
import {
  ConnectionLostError,
  InvalidStateError,
  MisuseError,
} from "../errors.ts";
import { macrotask } from "../host/macrotask.ts";
import { isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkOneOf,
  checkOptions,
  checkString,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";
import { timeout } from "../structured/timeout.ts";
import { Flag } from "../sync/flag.ts";
import type { ChildRun } from "./child_run.ts";

/**
 * Options of a {@linkcode SupervisedConnection}. The defaults of the functions fit
 * ioredis, and any other client with its methods and events. For NATS: `connect` that
 * does nothing, as `make` returns a promise of a connection, `drain()` as `close`,
 * `close()` as `drop`, and `closed()` as `lost`.
 *
 * @typeParam C Type of the client.
 */
export interface SupervisedConnectionOptions<C> {
  /**
   * Name in messages.
   *
   * @default {"connection"}
   */
  readonly name?: string | undefined;
  /**
   * Whether the child is ready only once it is connected, so that the supervisor
   * fails to start if the server cannot be reached. With `false` it is ready at once,
   * and a server that is not there yet is a crash, which is retried like any other.
   *
   * @default {true}
   */
  readonly required?: boolean | undefined;
  /**
   * Connects a client, and returns a promise that fulfils when it can be used.
   *
   * @default {client.connect(), unless it connects by itself}
   */
  readonly connect?: ((client: C) => unknown) | undefined;
  /**
   * Closes a client once its pending commands are answered.
   *
   * @default {client.quit()}
   */
  readonly close?: ((client: C) => unknown) | undefined;
  /**
   * Closes a client at once. Called once for each client, also when its connection
   * was lost, as it may be about to make another one.
   *
   * @default {client.disconnect()}
   */
  readonly drop?: ((client: C) => unknown) | undefined;
  /**
   * Returns a promise that settles when the connection is over, for whatever reason:
   * rejects with an error or fulfils, with an error or anything else. Called before
   * `connect`.
   *
   * @default {client.on("close") and client.on("end"), the error from client.on("error")}
   */
  readonly lost?: ((client: C) => PromiseLike<unknown>) | undefined;
}

/** Options of {@linkcode SupervisedConnection.use}. */
export interface UseOptions extends WaitOptions {
  /**
   * Whether `fn` may run more than once: it is called again, on the next connection,
   * if this one is lost before it has ended.
   *
   * @default {false}
   */
  readonly idempotent?: boolean | undefined;
}

const NO_OPTIONS = Object.freeze({});
const BOOLEANS: readonly unknown[] = [true, false];
const WHAT = "make a supervised connection";
const USE = "use a connection";

/** The functions of the options, each with its value. */
type Methods<C> = {
  readonly [K in "connect" | "close" | "drop" | "lost"]: (
    client: C,
  ) => unknown;
};

/**
 * A connection whose client is made by `make`, and made anew by a supervisor
 * whenever it is lost.
 *
 * Its `start` is that of a child. Each start makes a client and connects it; the
 * client is `run.value`. A connection that is lost has crashed, with a
 * {@linkcode ConnectionLostError} or the error of the client: the supervisor
 * restarts it, with its `backoff`. For as long as the server may be away, set
 * `backoff` and `maxRestarts: Infinity`. The client should not reconnect by itself
 * (ioredis: `retryStrategy: null`); one that does is dropped all the same when it
 * loses its connection.
 *
 * {@linkcode use} waits until there is a connection, so commands resume after a
 * restart of the server, and after one of a group that the connection belongs to. Children that keep something of the server, such as
 * subscriptions, come after the connection under `"rest-for-one"`.
 *
 * Stopping refuses further commands, drops dedicated connections, lets the client
 * answer what it was asked (`close`), and drops it when the child's `shutdown` time
 * is over. The child has ended when all of its connections are closed.
 *
 * @example Commands go on after the connection is lost
 * ```ts
 * import { run, sleep, Supervisor } from "@rota/rota";
 * import { SupervisedConnection } from "@rota/rota/supervise";
 * import { assertEquals } from "@std/assert";
 * import { EventEmitter } from "node:events";
 *
 * let number = 0;
 * class Client extends EventEmitter {
 *   readonly number = ++number;
 *   async connect() {}
 *   async quit() {
 *     this.emit("end");
 *   }
 *   disconnect() {
 *     this.emit("end");
 *   }
 *   async get(key: string) {
 *     return `${key} from connection ${this.number}`;
 *   }
 * }
 *
 * // With ioredis: new Redis({ lazyConnect: true, retryStrategy: null })
 * const store = new SupervisedConnection(() => new Client());
 * const answers = await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{ id: "store", start: store.start }],
 *     backoff: { initialMs: 100 },
 *     maxRestarts: Infinity,
 *     reportCrashes: false,
 *   });
 *   await supervisor.start();
 *   const first = await store.use((client) => client.get("a"));
 *   store.client!.emit("close"); // the server has gone
 *   return [first, await store.use((client) => client.get("a"))];
 * }, { host: "virtual" });
 * assertEquals(answers, ["a from connection 1", "a from connection 2"]);
 * ```
 *
 * @typeParam C Type of the client.
 */
export class SupervisedConnection<C> {
  /** The `start` of a child of a supervisor; of one child at a time. */
  readonly start: (
    started: (value?: unknown) => void,
    run: ChildRun,
  ) => Coroutine<never>;
  readonly #make: () => C | PromiseLike<C>;
  readonly #name: string;
  readonly #isRequired: boolean;
  readonly #methods: Methods<C>;
  /** All that are not closed yet. */
  readonly #links: Set<Link<C>> = new Set();
  /** The one that commands use; null while there is none. */
  #link: Link<C> | null = null;
  #state: "waiting" | "running" | "stopped" = "waiting";
  /** Wakes those who wait for a connection. */
  readonly #news: Flag = new Flag();

  /**
   * Makes a connection that nobody has started yet.
   *
   * @param make Makes a client, which need not be connected, or a promise of one.
   * @param options How the client is connected and closed.
   * @throws {TypeError} If `make` or an option is of the wrong type.
   */
  constructor(
    make: () => C | PromiseLike<C>,
    options: SupervisedConnectionOptions<C> = NO_OPTIONS,
  ) {
    checkFunction(make, WHAT, "make");
    checkOptions(options, WHAT);
    const { name = "connection", required = true } = options;
    checkString(name, WHAT, "name");
    checkOneOf(required, BOOLEANS, WHAT, "required");
    this.#methods = methodsOf(options);
    this.#make = make;
    this.#name = name;
    this.#isRequired = required;
    this.start = (started, run) => this.#run(started, run);
  }

  /**
   * Returns the client that is connected now.
   *
   * @returns The client, or `null` if there is none.
   */
  get client(): C | null {
    return this.#link === null ? null : this.#link.client;
  }

  /**
   * Waits until there is a connection.
   *
   * However long that takes, also if nobody has started it yet or its supervisor has
   * given up, or was stopped before it could restart it: `timeout` or a signal limits it. Takes no turn if there is one.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the client.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   * @throws {InvalidStateError} At the wait, if the supervisor has stopped the
   * connection.
   */
  ready(options?: WaitOptions): Operation<C> {
    const signal = checkWaitOptions(options, USE);
    return new Operation(
      () => this.#ready(),
      { name: `${this.#name}.ready()`, signal },
    );
  }

  /**
   * Waits until there is a connection, calls `fn` with its client, and waits for
   * the outcome.
   *
   * A cancellation ends the wait at once. The client is not told, as most have no
   * way to take a command back: the server may carry it out, its answer is dropped,
   * and an error is reported to the loop's exception handler, unless the connection
   * was lost or stopped meanwhile. Commands that block the connection, such as
   * `BLPOP`, belong into {@linkcode dedicated}.
   *
   * If the connection is lost before `fn` has ended, nobody knows whether the server
   * has carried it out. The wait fails with a {@linkcode ConnectionLostError}; with
   * `idempotent` it begins anew. Other errors of `fn` are thrown as they are.
   *
   * `fn` belongs to the current task, like a function in `until`. In it, `await`
   * the promises of the client directly. If it waits for anything else when the
   * connection is lost, it is cancelled. Costs some seven microseconds.
   *
   * @typeParam T Type of the result.
   * @param fn Function that sends commands and returns a promise of the outcome.
   * @param options A signal that ends the wait, and whether `fn` may run again.
   * @returns An operation: nothing happens until it is waited for.
   * @throws {TypeError} If `fn` is not a function or an option of the wrong type.
   * @throws {ConnectionLostError} At the wait, if the connection is lost.
   * @throws {InvalidStateError} At the wait, if the supervisor has stopped the
   * connection.
   */
  use<T>(
    fn: (client: C) => PromiseLike<T> | T,
    options: UseOptions = NO_OPTIONS,
  ): Operation<T> {
    checkFunction(fn, USE, "fn");
    const signal = checkWaitOptions(options, USE);
    const { idempotent = false } = options;
    checkOneOf(idempotent, BOOLEANS, USE, "idempotent");
    return new Operation(
      () => this.#use(fn, idempotent),
      { name: `${this.#name}.use()`, signal },
    );
  }

  /**
   * Makes one more client, for `fn` alone, and closes it when `fn` has ended or is
   * not waited for any more: for commands that block, such as `BLPOP`, or
   * subscribe.
   *
   * Waits until the connection itself is there, then connects the client. With
   * `idempotent` all of that begins anew if the client loses its connection. A
   * cancellation drops it, which ends the command: the server forgets a `BLPOP` that
   * waits. An item that it has sent by then is lost; where that matters, use a
   * command that keeps it, such as `BLMOVE`. Costs a connection each time: call it
   * once for many commands.
   *
   * @example A consumer
   * ```ts
   * import { run } from "@rota/rota";
   * import type { SupervisedConnection } from "@rota/rota/supervise";
   *
   * interface Redis {
   *   blpop(key: string, timeout: number): Promise<[string, string]>;
   * }
   * async function consume(redis: SupervisedConnection<Redis>) {
   *   await redis.dedicated(async (client) => {
   *     for (;;) console.log(await client.blpop("jobs", 0));
   *   }, { idempotent: true });
   * }
   * ```
   *
   * @typeParam T Type of the result.
   * @param fn Function that sends commands and returns a promise of the outcome.
   * @param options A signal that ends the wait, and whether `fn` may run again.
   * @returns An operation: nothing happens until it is waited for.
   * @throws {TypeError} If `fn` is not a function or an option of the wrong type.
   * @throws {ConnectionLostError} At the wait, if the client loses its connection,
   * or the supervisor stops or restarts this one.
   * @throws {InvalidStateError} At the wait, if the supervisor has stopped the
   * connection.
   */
  dedicated<T>(
    fn: (client: C) => PromiseLike<T> | T,
    options: UseOptions = NO_OPTIONS,
  ): Operation<T> {
    checkFunction(fn, USE, "fn");
    const signal = checkWaitOptions(options, USE);
    const { idempotent = false } = options;
    checkOneOf(idempotent, BOOLEANS, USE, "idempotent");
    return new Operation(
      () => this.#dedicated(fn, idempotent),
      { name: `${this.#name}.dedicated()`, signal },
    );
  }

  // -- Waits --

  *#ready(): Coroutine<C> {
    return (yield* this.#connected()).client;
  }

  *#connected(): Coroutine<Link<C>> {
    while (this.#link === null) {
      if (this.#state === "stopped") {
        throw new InvalidStateError(
          `Cannot use connection "${this.#name}": its supervisor has stopped it`,
        );
      }
      yield* this.#news.wait();
    }
    return this.#link;
  }

  *#use<T>(
    fn: (client: C) => PromiseLike<T> | T,
    isIdempotent: boolean,
  ): Coroutine<T> {
    for (;;) {
      const link = yield* this.#connected();
      try {
        return yield* call(link, fn);
      } catch (error) {
        if (!isIdempotent || error !== link.error) throw error;
      }
    }
  }

  *#dedicated<T>(
    fn: (client: C) => PromiseLike<T> | T,
    isIdempotent: boolean,
  ): Coroutine<T> {
    for (;;) {
      const main = yield* this.#connected();
      let link: Link<C>;
      try {
        link = yield* this.#open(main.signal);
      } catch (error) {
        if (isCancellation(error) || main.error === null) throw error;
        continue; // the server has gone, before `fn` was called
      }
      try {
        return yield* call(link, fn);
      } catch (error) {
        if (!isIdempotent || error !== link.error) throw error;
      } finally {
        link.drop();
      }
    }
  }

  // -- The child --

  *#run(
    started: (value?: unknown) => void,
    run: ChildRun,
  ): Coroutine<never> {
    if (this.#state === "running") {
      throw new MisuseError(
        `Cannot start child "${run.path}": its connection "${this.#name}" runs already`,
      );
    }
    this.#state = "running";
    this.#news.clear();
    try {
      if (!this.#isRequired) started();
      const link = this.#link = yield* this.#open();
      this.#news.set();
      if (this.#isRequired) started(link.client);
      try {
        yield* link.over.wait();
      } catch (error) {
        this.#ends(run);
        if (isCancellation(error)) yield* this.#close(link);
        throw error;
      }
      throw link.error;
    } finally {
      this.#ends(run);
      for (const link of this.#links) link.drop();
      for (const link of this.#links) yield* link.over.wait();
    }
  }

  /** Takes no more commands, for good or until the restart. */
  #ends(run: ChildRun): void {
    this.#link = null;
    const isFinal = run.state === "stopping" && !run.isRestarting;
    this.#state = isFinal ? "stopped" : "waiting";
    if (this.#state === "stopped") this.#news.set();
    else this.#news.clear();
  }

  /** Has the client answer what it was asked, and closes it. */
  *#close(link: Link<C>): Coroutine<void> {
    for (const other of this.#links) if (other !== link) other.drop();
    try {
      yield* call(link, this.#methods.close);
    } catch (error) {
      if (error !== link.error) throw error;
    }
    yield* link.over.wait();
  }

  /** Makes a client and connects it. An abort of `signal` ends the making. */
  *#open(signal?: AbortSignal): Coroutine<Link<C>> {
    const loop = getRunningLoop();
    let hasLeft = false;
    const making = async () => {
      // Nothing may come in between: a client that is there already may fail.
      const link = this.#newLink(await this.#make(), loop);
      // A loop that was closed ends nothing: whoever waited has not left.
      if (hasLeft || loop.isClosed()) link.drop();
      return link;
    };
    let link: Link<C>;
    try {
      link = yield* until(making, { signal });
    } finally {
      hasLeft = true;
    }
    try {
      yield* call(link, this.#methods.connect);
      return link;
    } catch (error) {
      link.drop();
      // Clients tell the reason by an event, and reject with the mere fact.
      throw error === link.error ? (error as Error).cause ?? error : error;
    }
  }

  /** Watches a new client, or drops it if that cannot be. */
  #newLink(client: C, loop: EventLoop): Link<C> {
    const methods = this.#methods;
    try {
      checkClient(client, methods);
      const link = new Link(client, this.#name, methods, loop, {
        gone: () => {
          if (this.#link !== link) return;
          this.#link = null;
          this.#news.clear();
        },
        over: () => this.#links.delete(link),
      });
      this.#links.add(link);
      return link;
    } catch (error) {
      if (canDo("drop", client, methods)) dropClient(client, methods, loop);
      throw error;
    }
  }
}

/** Supervised connection, as its links see it. */
interface LinkListener {
  /** Called when the link is of no use any more. */
  gone(): void;
  /** Called when the link is closed. */
  over(): void;
}

/** A client and its connection. */
class Link<C> {
  readonly client: C;
  /** Set when the connection is over. */
  readonly over: Flag = new Flag();
  /** Error for whoever waits for the client; null as long as it is of use. */
  error: ConnectionLostError | null = null;
  readonly #name: string;
  readonly #methods: Methods<C>;
  readonly #abort: AbortController = new AbortController();
  readonly #loop: EventLoop;
  readonly #listener: LinkListener;

  constructor(
    client: C,
    name: string,
    methods: Methods<C>,
    loop: EventLoop,
    listener: LinkListener,
  ) {
    this.client = client;
    this.#name = name;
    this.#methods = methods;
    this.#loop = loop;
    this.#listener = listener;
    const lost = methods.lost(client) as PromiseLike<unknown>;
    const over = (reason: unknown) => this.#lost(reason);
    Promise.resolve(lost).then(over, over);
  }

  /** Aborts, with `error`, when the client is of no use any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Closes it at once. */
  drop(): void {
    this.#give(`Connection "${this.#name}" was closed`);
  }

  #lost(reason: unknown): void {
    const options = reason instanceof Error ? { cause: reason } : {};
    this.#give(`Connection "${this.#name}" was lost`, options);
    this.#listener.over();
    this.over.set();
  }

  /** Ends all waits for the client and drops it, once. */
  #give(message: string, options?: ErrorOptions): void {
    if (this.error !== null) return;
    this.error = new ConnectionLostError(message, options);
    this.#listener.gone();
    this.#abort.abort(this.error);
    // Also if it was lost: the client may be about to connect again.
    dropClient(this.client, this.#methods, this.#loop);
  }
}

const LOST: unique symbol = Symbol("lost");

/** Calls `fn` for the current task; its wait ends with the connection, too. */
function* call<C, T>(
  link: Link<C>,
  fn: (client: C) => PromiseLike<T> | T,
): Coroutine<T> {
  const calling = async () => {
    try {
      return await fn(link.client);
    } catch (error) {
      if (isCancellation(error)) throw error;
      // Clients reject what is pending just before they tell that they have lost
      // their connection. That ends the wait, and this error is its consequence.
      await new Promise<void>(macrotask);
      if (link.error !== null) return LOST;
      throw error;
    }
  };
  const outcome = yield* timeout(null, () => until(calling), {
    signal: link.signal,
  });
  if (outcome === LOST) throw link.error;
  return outcome;
}

function dropClient<C>(client: C, methods: Methods<C>, loop: EventLoop): void {
  const report = (exception: unknown) =>
    loop.callExceptionHandler({
      message: "A client failed to close its connection",
      exception,
    });
  try {
    Promise.resolve(methods.drop(client)).then(undefined, report);
  } catch (error) {
    report(error);
  }
}

// -- Clients like ioredis --

/** Methods of ioredis, of which a client need not have all. */
interface DefaultClient {
  readonly status?: unknown;
  connect(): unknown;
  quit?(): unknown;
  disconnect(): unknown;
  on(event: string, listener: (value: unknown) => void): unknown;
}

const DEFAULTS: Methods<unknown> = {
  connect: (client) => connectOrWait(client as DefaultClient),
  close(client) {
    const { quit, disconnect } = client as DefaultClient;
    return (quit ?? disconnect).call(client);
  },
  drop(client) {
    const { status } = client as DefaultClient;
    // ioredis would start a timer that only the end of the connection stops.
    if (status !== "end") (client as DefaultClient).disconnect();
  },
  lost: (client) => untilLost(client as DefaultClient),
};
const NEEDS: Readonly<Record<keyof Methods<unknown>, string>> = {
  connect: "connect",
  close: "disconnect",
  drop: "disconnect",
  lost: "on",
};
const BY_ITSELF: readonly unknown[] = ["connecting", "connect", "reconnecting"];

function connectOrWait(client: DefaultClient): unknown {
  const { status } = client;
  if (status === "ready") return undefined;
  if (!BY_ITSELF.includes(status)) return client.connect();
  return new Promise((resolve) => client.on("ready", resolve));
}

function untilLost(client: DefaultClient): Promise<unknown> {
  return new Promise((resolve) => {
    let last: unknown = undefined;
    client.on("error", (error) => last = error);
    client.on("close", () => resolve(last));
    client.on("end", () => resolve(last));
  });
}

function methodsOf<C>(options: SupervisedConnectionOptions<C>): Methods<C> {
  const methods: { -readonly [K in keyof Methods<C>]: Methods<C>[K] } = {
    ...DEFAULTS,
  };
  for (const name of ["connect", "close", "drop", "lost"] as const) {
    const method = options[name];
    if (method === undefined) continue;
    checkFunction(method, WHAT, name);
    methods[name] = method;
  }
  return methods;
}

/** Throws if a client lacks a method that an option could do without. */
function checkClient<C>(client: C, methods: Methods<C>): void {
  if (typeof client !== "object" || client === null) {
    throw new TypeError(
      `Cannot connect as make must return a client: received ${
        inspect(client)
      }`,
    );
  }
  for (const name of ["connect", "close", "drop", "lost"] as const) {
    if (canDo(name, client, methods)) continue;
    throw new TypeError(
      `Cannot connect as the client must have ${
        NEEDS[name]
      }(), or option ${name} be set: received ${inspect(client)}`,
    );
  }
}

/** Whether an option is set, or the client has what its default needs. */
function canDo<C>(
  name: keyof Methods<C>,
  client: C,
  methods: Methods<C>,
): boolean {
  if (methods[name] !== DEFAULTS[name]) return true;
  const methodsOfClient = client as Record<string, unknown> | null | undefined;
  return typeof methodsOfClient?.[NEEDS[name]] === "function";
}
