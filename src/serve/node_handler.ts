/**
 * Servers of `node:http`, and frameworks made for it, such as Express: each request has
 * its task.
 *
 * @module
 */
import { prepareOwners } from "../host/async_context.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
  isGeneratorFunction,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import {
  DEFAULT_PRIORITY,
  type Priority,
  requirePriority,
} from "../loop/priority.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";
import { moveOnAfter } from "../structured/move_on.ts";
import { onShutdown } from "../supervise/graceful_shutdown.ts";
import type {
  ShutdownHook,
  ShutdownHookContext,
} from "../supervise/shutdown_hooks.ts";
import type { BackgroundOptions } from "./fetch_run.ts";
import { hookWaitMs, Intake } from "./intake.ts";
import {
  type NodeDesk,
  type NodeRequest,
  type NodeResponse,
  NodeRun,
  type NodeSocket,
  pathOf,
} from "./node_run.ts";
import {
  checkPaths,
  type IntakeOptions,
  type SettledIntake,
  settleIntake,
} from "./serve_options.ts";
import type {
  CloseServerOptions,
  ServerState,
  ServerStatistics,
} from "./server.ts";

/** The part of a `Server` of `node:http` that is needed. */
export interface NodeServer {
  /** Stops listening, and calls back when all connections are closed. */
  close(callback?: (error?: Error) => void): unknown;
  /** Closes the connections that have no request. */
  closeIdleConnections(): void;
  /** Closes all connections. */
  closeAllConnections(): void;
}

/**
 * Options of {@linkcode nodeHandler}.
 *
 * @typeParam Q Type of the requests.
 * @typeParam S Type of the responses.
 */
export interface NodeHandlerOptions<Q = NodeRequest, S = NodeResponse>
  extends IntakeOptions {
  /**
   * Name of the server in messages.
   *
   * @default {"server"}
   */
  readonly name?: string | undefined;
  /**
   * Returns the priority of a request: its place in line, and that of its task on a
   * loop with priorities. An error of it is treated as one of the listener.
   *
   * @default {"user-visible" for all}
   */
  readonly priority?: ((request: Q) => Priority) | undefined;
  /**
   * Path at which the server says whether it is ready: 200, and 503 once it is going
   * to close. Answered outside of the limit, and not by the listener.
   */
  readonly readinessPath?: string | undefined;
  /** Path at which the server says that it lives: always 200. */
  readonly livenessPath?: string | undefined;
  /**
   * Called with each error of the listener, in place of the loop's exception handler. It
   * may answer the request; otherwise that is answered with 500.
   *
   * @default {report to the exception handler}
   */
  readonly onError?:
    | ((error: unknown, request: Q, response: S) => void)
    | undefined;
  /**
   * Whether the server takes part in the graceful shutdown of the loop or process:
   * see `gracefulShutdown`.
   *
   * @default {true}
   */
  readonly shutdown?: boolean | undefined;
}

/** Listener for the requests of a `node:http` server, made by {@linkcode nodeHandler}. */
export interface NodeHandler extends AsyncDisposable {
  /** Serves a request. `createServer` is given the handler itself. */
  (request: NodeRequest, response: NodeResponse): void;
  /**
   * Names the server whose connections are to be closed at the end. Without this it is
   * known from the first request on.
   *
   * @param server Server that was made with this handler.
   * @returns The same.
   */
  attach<T extends NodeServer>(server: T): T;
  /**
   * Runs a function that outlives the response. The server waits for it when it closes,
   * and cancels it with all else; the end of the request does not. A failure is reported
   * to the loop's exception handler.
   *
   * @param body An async function or generator function.
   * @param options Its name.
   * @returns The task.
   * @throws {TypeError} If `body` is no function.
   */
  background<T>(
    body: () => Coroutine<T> | PromiseLike<T> | T,
    options?: BackgroundOptions,
  ): Task<T>;
  /**
   * Returns what the server is doing, and has done.
   *
   * @returns A frozen snapshot.
   */
  statistics(): ServerStatistics;
  /**
   * Closes the server: it takes no more connections, answers requests that come all the
   * same with 503, and closes idle connections. Requests that were accepted go on, and so
   * do functions in the background. When all has ended, or `graceMs` later, whatever is
   * left is cancelled and responses that are under way are cut; then all connections are
   * closed. May be called again; a shorter time counts.
   *
   * Cancelling the wait leaves the server to go on closing.
   *
   * @param options How long that may take.
   * @returns An operation that ends when all is closed.
   * @throws {TypeError} If `graceMs` is not a number.
   * @throws {RangeError} If it is negative or `NaN`.
   */
  close(options?: CloseServerOptions): Operation<void>;
}

const WHAT = "handle requests of node:http";
const NO_OPTIONS = Object.freeze({});

/**
 * Wraps a listener for requests of `node:http`, such as an Express app, so that each
 * request has its task.
 *
 * The listener belongs to that task, and so do the handlers of a framework that it calls:
 * `currentTask`, `TaskLocal` and cancellation work in them, what they await is cancelled
 * with the request, and the `signal` of the task serves `fetch`.
 *
 * - *Limits:* at most `maxConcurrent` requests run, `maxWaiting` are in line; others are
 *   answered with 503 and `Retry-After`.
 * - *The client goes* before it has its response: the task is cancelled, at the close of
 *   the response and not at that of the request, whose body may have been read long ago.
 * - *Time:* after `requestTimeoutMs` the client gets 504, or its response is cut if it is
 *   under way, and the task is cancelled.
 * - *Cancellations* are thrown in the handlers of a framework, and so arrive at its error
 *   handler, which need not do anything about them: see `isCancellation`.
 * - *Errors* of the listener itself are answered with 500 and reported to the loop's
 *   exception handler. A framework has an error handler of its own.
 *
 * The end of a handler cannot be seen from here. So a request ends when its response is
 * over and the functions that were called for it wait for no operation of the loop; any
 * that wait for something else go on without the request. Work for after the response
 * belongs into {@linkcode NodeHandler.background}.
 *
 * At a graceful shutdown of the program, responses say `Connection: close` from its first
 * phase on; `"stop-intake"` closes the server and idle connections; `"drain"` waits for
 * requests and background functions; `"cancel"` cancels them and cuts their responses;
 * then all connections are closed. Connections that were upgraded, such as WebSockets,
 * are up to the program.
 *
 * Under a supervisor the child is a generator function that makes the handler, listens, calls
 * `started`, waits for the `"close"` of the server, and has `yield* handler.close()` in its
 * `finally`. Resources of the server are opened before that and closed after it.
 *
 * Needs a running loop. Costs a task for each request that needs one: whose listener
 * waits for an operation, or takes longer than 5 ms.
 *
 * @example Express on `node:http`
 * ```ts
 * import { nodeHandler } from "@rota/rota/serve";
 * import { run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 * import { createServer } from "node:http";
 * import type { AddressInfo } from "node:net";
 *
 * // Any (request, response) listener, so also: const app = express();
 * const text = await run(async () => {
 *   await using handler = nodeHandler(async (_request, response) => {
 *     await sleep(10); // cancelled if the client goes
 *     response.end("hello");
 *   }, { maxConcurrent: 100, requestTimeoutMs: 5_000 });
 *   const server = handler.attach(createServer(handler));
 *   await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
 *   const { port } = server.address() as AddressInfo;
 *   return await (await fetch(`http://127.0.0.1:${port}/`)).text();
 * });
 * assertEquals(text, "hello");
 * ```
 *
 * @typeParam Q Type of the requests.
 * @typeParam S Type of the responses.
 * @param listener Function that answers a request: plain, async or a generator function.
 * @param options Limits, time and priority.
 * @returns A function for `createServer`.
 * @throws {TypeError} If `listener` or an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If no loop is running.
 */
export function nodeHandler<Q extends NodeRequest, S extends NodeResponse>(
  listener: (request: Q, response: S) => unknown,
  options: NodeHandlerOptions<Q, S> = NO_OPTIONS,
): NodeHandler {
  checkFunction(listener, WHAT, "listener");
  const settings = settle(options as unknown as NodeHandlerOptions);
  const service = new NodeService(getRunningLoop(), settings);
  const isCoroutine = isGeneratorFunction(listener);
  // A function that node:http calls on its server.
  function handler(
    this: unknown,
    request: NodeRequest,
    response: NodeResponse,
  ): void {
    service.meet(this);
    if (service.answersItself(request, response)) return;
    const call = () => listener.call(this, request as Q, response as S);
    service.take(request, response, call, isCoroutine);
  }
  return Object.assign(handler, {
    attach: <T extends NodeServer>(server: T) => service.attach(server),
    background: <T>(
      body: () => Coroutine<T> | PromiseLike<T> | T,
      options?: BackgroundOptions,
    ) => service.background(body, options) as Task<T>,
    statistics: () => service.statistics(),
    close: (options?: CloseServerOptions) => service.close(options),
    [Symbol.asyncDispose]: async () => await service.close(),
  });
}

/** The options, checked, each with its value. */
interface Settings extends SettledIntake {
  readonly name: string;
  readonly shutdown: boolean;
  readonly priority: ((request: NodeRequest) => Priority) | undefined;
  readonly readinessPath: string | null;
  readonly livenessPath: string | null;
  readonly onError: NodeHandlerOptions["onError"];
}

function settle(options: NodeHandlerOptions): Settings {
  checkOptions(options, WHAT);
  const { name = "server", shutdown = true, priority, onError } = options;
  checkString(name, WHAT, "name");
  checkOneOf(shutdown, [true, false], WHAT, "shutdown");
  if (priority !== undefined) checkFunction(priority, WHAT, "priority");
  if (onError !== undefined) checkFunction(onError, WHAT, "onError");
  return {
    ...settleIntake(options, WHAT),
    name,
    shutdown,
    priority,
    onError,
    ...checkPaths(options, WHAT),
  };
}

// -- The server --

/** All requests of a handler, and their end. */
class NodeService implements NodeDesk {
  readonly intake: Intake;
  readonly settings: Settings;
  readonly #loop: EventLoop;
  readonly #runs: Set<NodeRun> = new Set();
  readonly #bySocket: WeakMap<NodeSocket, Set<NodeRun>> = new WeakMap();
  readonly #closeAsked: Future<void>;
  readonly #task: Task<void>;
  #state: ServerState = "serving";
  #server: NodeServer | null = null;
  /** Fulfils when the server is closed; null until it was asked to. */
  #closed: Promise<void> | null = null;
  /** Set once what is under way has had its time: the reason. */
  #hurry: { readonly reason: unknown } | null = null;
  #cleanUps: (() => void)[] = [];

  constructor(loop: EventLoop, settings: Settings) {
    this.#loop = loop;
    this.settings = settings;
    this.intake = new Intake(loop, settings);
    this.#closeAsked = loop.createFuture("the end of a server");
    if (settings.shutdown) this.#joinShutdown();
    this.#task = loop.createTask(() => this.#main(), { name: settings.name });
    prepareOwners(true);
  }

  attach<T extends NodeServer>(server: T): T {
    if (!isServer(server)) {
      throw new TypeError(
        `Cannot ${WHAT} as server must be one of node:http: received ${
          inspect(server)
        }`,
      );
    }
    this.#server = server;
    return server;
  }

  /** Learns the server from the `this` of a request. */
  meet(server: unknown): void {
    if (this.#server === null && isServer(server)) this.#server = server;
  }

  statistics(): ServerStatistics {
    return Object.freeze({ state: this.#state, ...this.intake.counts() });
  }

  // -- Requests --

  get retryAfterMs(): number {
    return this.settings.retryAfterMs;
  }

  /** Answers a question for the state of the server. */
  answersItself(request: NodeRequest, response: NodeResponse): boolean {
    const { readinessPath, livenessPath } = this.settings;
    if (readinessPath === null && livenessPath === null) return false;
    const path = pathOf(request);
    if (path !== readinessPath && path !== livenessPath) return false;
    const isServing = this.#state === "serving";
    const isOk = path === livenessPath || isServing;
    response.statusCode = isOk ? 200 : 503;
    response.setHeader("content-type", "text/plain");
    if (this.intake.endsConnections) response.setHeader("connection", "close");
    response.end(isOk ? "ok" : "closing");
    return true;
  }

  take(
    request: NodeRequest,
    response: NodeResponse,
    listener: () => unknown,
    isCoroutine: boolean,
  ): void {
    const { priority } = this.settings;
    let rank = DEFAULT_PRIORITY;
    let call = listener;
    try {
      if (priority !== undefined) {
        rank = requirePriority(priority(request), WHAT);
      }
    } catch (error) {
      isCoroutine = false;
      call = () => {
        throw error;
      };
    }
    const run = new NodeRun(this, request, response, call, isCoroutine, rank);
    this.#runs.add(run);
    this.intake.hold();
    if (this.intake.endsConnections) run.announceEnd();
    this.intake.take(run);
  }

  requestsOf(socket: NodeSocket): Set<NodeRun> {
    const known = this.#bySocket.get(socket);
    if (known !== undefined) return known;
    const runs: Set<NodeRun> = new Set();
    this.#bySocket.set(socket, runs);
    socket.on("close", () => runs.forEach((run) => run.closed()));
    return runs;
  }

  /** The response of a request is over. */
  responded(run: NodeRun): void {
    this.#runs.delete(run);
    this.intake.unhold();
  }

  background(
    body: () => unknown,
    options: BackgroundOptions = NO_OPTIONS,
  ): Task<unknown> {
    const what = "run a background function";
    checkFunction(body, what, "body");
    checkOptions(options, what);
    const name = options.name ??
      (body.name === "" ? `background of ${this.settings.name}` : body.name);
    return this.intake.background(body as TaskBody<unknown>, name);
  }

  /** Reports an error of the listener, to `onError` or to the exception handler. */
  failed(error: unknown, run: NodeRun): void {
    const { onError, name } = this.settings;
    let exception = error;
    if (onError !== undefined) {
      try {
        onError(error, run.request, run.response);
        return;
      } catch (thrown) {
        exception = new SuppressedError(thrown, error, "onError has failed");
      }
    }
    const message = `Cannot answer ${run.name}`;
    this.#loop.callExceptionHandler({ message, exception, name });
  }

  // -- Its task --

  *#main(): Coroutine<void> {
    const { intake } = this;
    const end = { loopClosed: () => this.#drop() };
    this.#loop[core].endings.add(end);
    this.#cleanUps.push(() => this.#loop[core].endings.delete(end));
    let cancelled: unknown = null;
    try {
      try {
        yield* this.#closeAsked;
        yield* intake.until(() => intake.isIdle || this.#hurry !== null);
      } catch (error) {
        cancelled = error;
      }
      this.#beginClose();
      yield* this.#endIntake(this.#hurry?.reason ?? cancelled);
      yield* this.#endConnections();
    } finally {
      this.#drop();
      for (const cleanUp of this.#cleanUps) cleanUp();
      this.#task.addDoneCallback(() => intake.recheck());
    }
    if (cancelled !== null) throw cancelled;
  }

  *#endIntake(reason: unknown): Coroutine<void> {
    const { intake } = this;
    if (intake.isIdle) return;
    intake.cancel(reason);
    yield* moveOnAfter(this.settings.cancelMs, () => intake.untilIdle());
    const names = intake.leftovers();
    if (names.length === 0) return;
    const { name } = this.settings;
    this.#loop.callExceptionHandler({
      message: `Server "${name}" has ended, and did not wait any longer for ${
        names.join(", ")
      }`,
      name,
    });
  }

  /** Closes what is left: all requests were answered. Upgraded connections may stay. */
  *#endConnections(): Coroutine<void> {
    const closed = this.#closed;
    this.#server?.closeAllConnections();
    if (closed === null) return;
    yield* moveOnAfter(this.settings.cancelMs, () => until(closed));
  }

  #drop(): void {
    this.#state = "ended";
    this.intake.drain();
    this.#stopListening();
    this.#server?.closeAllConnections();
    this.intake.close();
  }

  // -- Closing --

  #noLongerReady(): void {
    if (this.#state === "serving") this.#state = "closing";
    this.intake.endsConnections = true;
    for (const run of this.#runs) run.announceEnd();
  }

  #beginClose(): void {
    this.#noLongerReady();
    if (!this.#closeAsked.done()) this.#closeAsked.setResult();
    this.intake.drain();
    this.#stopListening();
  }

  #stopListening(): void {
    const server = this.#server;
    if (server === null || this.#closed !== null) return;
    // An error says that it does not listen, or not any more.
    this.#closed = new Promise((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
  }

  #hurryUp(reason: unknown): void {
    this.#hurry ??= { reason };
    this.intake.recheck();
  }

  close(options: CloseServerOptions = NO_OPTIONS): Operation<void> {
    const what = "close a server";
    checkOptions(options, what);
    const { graceMs = this.settings.graceMs } = options;
    checkNotNegative(graceMs, what, "graceMs");
    return new Operation(() => this.#close(graceMs), {
      name: "NodeHandler.close()",
    });
  }

  *#close(graceMs: number): Coroutine<void> {
    this.#beginClose();
    if (graceMs !== Infinity && !this.#task.done()) {
      const hurry = () => this.#hurryUp("the server was closed");
      const timer = this.#loop.callLater(graceMs, hurry);
      this.#cleanUps.push(() => timer.cancel());
    }
    yield* this.intake.until(() => this.#task.done());
  }

  #joinShutdown(): void {
    const { name } = this.settings;
    const hooks: ShutdownHook[] = [
      onShutdown("not-ready", () => this.#noLongerReady(), { name }),
      onShutdown("stop-intake", () => this.#beginClose(), { name }),
      onShutdown("drain", (context) => this.#waitInHook(context), { name }),
      onShutdown("cancel", (context) => {
        this.#hurryUp(context.reason);
        return this.#waitInHook(context);
      }, { name }),
      onShutdown("force", () => this.#drop(), { name }),
    ];
    this.#cleanUps.push(() => hooks.forEach((hook) => hook.remove()));
  }

  /** Waits for the end within the time of a hook: the next phase sees to what is left. */
  *#waitInHook({ deadlineMs }: ShutdownHookContext): Coroutine<void> {
    const waitMs = hookWaitMs(deadlineMs - this.#loop.time());
    const ended = () => this.intake.until(() => this.#task.done());
    yield* moveOnAfter(waitMs, ended);
  }
}

function isServer(value: unknown): value is NodeServer {
  return typeof value === "object" && value !== null &&
    typeof (value as NodeServer).close === "function" &&
    typeof (value as NodeServer).closeIdleConnections === "function" &&
    typeof (value as NodeServer).closeAllConnections === "function";
}
