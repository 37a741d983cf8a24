/**
 * `serve`: an HTTP server whose requests are tasks.
 *
 * @module
 */
import { InvalidStateError, MisuseError } from "../errors.ts";
import { prepareOwners } from "../host/async_context.ts";
import { type HttpInfo, HttpServer } from "../host/http_server.ts";
import { isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOptions,
  isGeneratorFunction,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future, Suspension } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import { requirePriority } from "../loop/priority.ts";
import { cancellationBy, subscribe } from "../loop/signal_hub.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";
import { onShutdown } from "../supervise/graceful_shutdown.ts";
import type {
  ShutdownHook,
  ShutdownHookContext,
} from "../supervise/shutdown_hooks.ts";
import { closing, type FetchDesk, FetchRun, pathOf } from "./fetch_run.ts";
import { hookWaitMs, Intake, type IntakeCounts } from "./intake.ts";
import { isCut } from "./left_open.ts";
import { Lifespan } from "./lifespan.ts";
import {
  type ServeHandler,
  type ServeOptions,
  type SettledServe,
  settleServe,
} from "./serve_options.ts";

/** Counts and state of a {@linkcode Server}. */
export interface ServerStatistics extends IntakeCounts {
  /**
   * `"starting"` until it listens; `"serving"`; `"closing"` from the moment at which it
   * is not ready any more; `"ended"`.
   */
  readonly state: ServerState;
}

/** State of a {@linkcode Server}. */
export type ServerState = "starting" | "serving" | "closing" | "ended";

/** Options of {@linkcode Server.close}. */
export interface CloseServerOptions {
  /**
   * How long whatever is under way may take to end, in milliseconds; the rest is
   * cancelled then.
   *
   * @default {that of the server}
   */
  readonly graceMs?: number | undefined;
}

const WHAT = "serve";
const NO_OPTIONS = {};
/** How long a request that was cancelled may take to answer by itself. */
const ANSWER_MS = 100;
/** How long responses to requests that were cancelled may take to be sent. */
const FLUSH_MS = 100;

/**
 * A server, which {@linkcode serve} returns. Awaiting it, or `yield*`, waits for its end.
 */
export class Server implements PromiseLike<void>, AsyncDisposable {
  readonly #loop: EventLoop;
  readonly #settings: SettledServe<unknown>;
  readonly #handler: ServeHandler<unknown>;
  readonly #lifespan: Lifespan<unknown>;
  readonly #intake: Intake;
  readonly #closeAsked: Future<void>;
  readonly #task: Task<void>;
  #desk: FetchDesk | null = null;
  #http: HttpServer | null = null;
  #addr: Deno.Addr | null = null;
  #state: ServerState = "starting";
  /** Whether its lifespan is being opened, and that was not cancelled. */
  #isOpening = true;
  /** Set once what is under way has had its time: the reason. */
  #hurry: { readonly reason: unknown } | null = null;
  /** Whether nothing is waited for any more. */
  #forced = false;
  #httpFinished = false;
  /** Set when the runtime's server has ended by itself. */
  #failure: InvalidStateError | null = null;
  /** A cancellation of the server's task, which is thrown again when all has ended. */
  #cancellation: unknown = null;
  #cleanUps: (() => void)[] = [];
  #ready: () => void = () => {};

  /** @ignore */
  constructor(
    loop: EventLoop,
    handler: ServeHandler<unknown>,
    settings: SettledServe<unknown>,
  ) {
    this.#loop = loop;
    this.#handler = handler;
    this.#settings = settings;
    this.#lifespan = new Lifespan(settings.lifespan, {
      loop,
      name: settings.name,
      cancelMs: settings.cancelMs,
    });
    this.#intake = new Intake(loop, settings);
    this.#closeAsked = loop.createFuture("the end of a server");
    if (settings.shutdown) this.#joinShutdown();
    this.#task = loop.createTask(() => this.#main(), { name: settings.name });
    // Not in its body: a task that is cancelled before its first step has none.
    this.#task.addDoneCallback(() => this.#finish());
    const { signal } = settings;
    if (signal === undefined) return;
    const close = () => this.#beginClose(cancellationBy(signal));
    const subscription = subscribe(signal, close);
    this.#cleanUps.push(() => subscription.unsubscribe());
  }

  // -- Interface --

  /** Name of the server. */
  get name(): string {
    return this.#settings.name;
  }

  /** Address on which it listens; `null` before it does. */
  get addr(): Deno.Addr | null {
    return this.#addr;
  }

  /**
   * Waits until the server listens. That still holds when the wait returns.
   *
   * @returns An operation whose result is the address. It throws the error by which the
   * start has failed, and a {@linkcode MisuseError} if the server was closed before.
   */
  ready(): Operation<Deno.Addr> {
    return new Operation(() => this.#untilReady(), { name: "Server.ready()" });
  }

  *#untilReady(): Coroutine<Deno.Addr> {
    yield* this.#intake.until(() => this.#state !== "starting");
    if (this.#addr !== null) return this.#addr;
    yield* this.#untilEnded();
    throw new MisuseError(
      `Cannot wait until server "${this.name}" is ready: it was closed before`,
    );
  }

  /**
   * Closes the server. From now on the server is not ready and takes no more requests:
   * they are answered with 503. Event streams send their last event, WebSockets are closed.
   * Requests that were accepted go on, and so do functions in the background. When all has
   * ended, or `graceMs` later, whatever is left is cancelled, the connections are
   * closed, and the lifespan ends. May be called again; a shorter time counts.
   *
   * Cancelling the wait leaves the server to go on closing.
   *
   * @param options How long that may take.
   * @returns An operation that ends when the server has. It throws what the server has
   * failed with, such as an error of its lifespan.
   * @throws {TypeError} If `graceMs` is not a number.
   * @throws {RangeError} If it is negative or `NaN`.
   */
  close(options: CloseServerOptions = NO_OPTIONS): Operation<void> {
    const what = "close a server";
    checkOptions(options, what);
    const { graceMs = this.#settings.graceMs } = options;
    checkNotNegative(graceMs, what, "graceMs");
    return new Operation(() => this.#close(graceMs), {
      name: "Server.close()",
    });
  }

  *#close(graceMs: number): Coroutine<void> {
    const reason = "the server was closed";
    this.#beginClose(reason);
    if (graceMs !== Infinity && this.#state !== "ended") {
      const timer = this.#loop.callLater(graceMs, () => this.#hurryUp(reason));
      this.#cleanUps.push(() => timer.cancel());
    }
    yield* this.#untilEnded();
  }

  /** Waits for the end without cancelling the server, and throws what it has failed with. */
  *#untilEnded(): Coroutine<void> {
    yield* this.#intake.until(() => this.#task.done());
    const error = this.#task.cancelled() ? undefined : this.#task.exception();
    if (error !== undefined) throw error;
  }

  /**
   * Cancels whatever is under way, and closes the server.
   *
   * @param reason Cause, of any type.
   * @returns Whether the server had not ended.
   */
  cancel(reason?: unknown): boolean {
    if (this.#task.done()) return false;
    this.#beginClose(reason);
    this.#hurryUp(reason);
    return true;
  }

  /**
   * Has functions called when it is ready, and when its task has ended.
   *
   * @ignore
   */
  observe(ready: () => void, ended: (task: Task<void>) => void): void {
    this.#ready = ready;
    this.#task.addDoneCallback(() => ended(this.#task));
  }

  /**
   * Returns what the server is doing, and has done.
   *
   * @returns A frozen snapshot.
   */
  statistics(): ServerStatistics {
    return Object.freeze({ state: this.#state, ...this.#intake.counts() });
  }

  /** The same as {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Waits for the end of the server. Cancelling the wait cancels the server.
   *
   * @ignore
   */
  [Symbol.iterator](): Iterator<Suspension, void, unknown> {
    return this.#task[Symbol.iterator]();
  }

  /**
   * Waits for the end of the server. Cancelling the wait cancels the server.
   *
   * @param onFulfilled Called when it has ended.
   * @param onRejected Called with what it has failed with.
   * @returns A promise.
   */
  then<A = void, B = never>(
    onFulfilled?: ((value: void) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    return this.#task.then(onFulfilled, onRejected);
  }

  /** Name of the class in messages and inspections. */
  get [Symbol.toStringTag](): string {
    return "Server";
  }

  // -- Its task --

  *#main(): Coroutine<void> {
    const value = yield* this.#lifespan.start();
    this.#isOpening = false;
    let failure: { readonly error: unknown } | null = null;
    try {
      yield* this.#listen(value);
      yield* this.#untilClosed();
    } catch (error) {
      failure = { error };
    }
    yield* this.#endLifespan(failure);
  }

  #finish(): void {
    this.#state = "ended";
    this.#intake.close();
    for (const cleanUp of this.#cleanUps) cleanUp();
    this.#intake.recheck();
  }

  *#endLifespan(failure: { readonly error: unknown } | null): Coroutine<void> {
    try {
      yield* this.#lifespan.stop();
    } catch (error) {
      if (failure === null) throw error;
      throw new SuppressedError(
        error,
        failure.error,
        "Both the server and the end of its lifespan failed",
      );
    }
    if (failure !== null) throw failure.error;
    if (this.#cancellation !== null) throw this.#cancellation;
  }

  *#listen(value: unknown): Coroutine<void> {
    const settings = this.#settings;
    const owners = prepareOwners(true);
    if (owners !== null) yield* until(owners);
    if (this.#closeAsked.done()) return;
    this.#desk = {
      intake: this.#intake,
      handler: this.#handler,
      isCoroutine: isGeneratorFunction(this.#handler),
      value,
      retryAfter: String(Math.ceil(settings.retryAfterMs / 1_000)),
      socketCloseMs: settings.socketCloseMs,
      failed: (error, request, name) => this.#failed(error, request, name),
    };
    const http = this.#http = new HttpServer(
      settings.listen,
      (request, info) => this.#handle(request, info),
      (error) => this.#bodyFailed(error),
    );
    this.#addr = http.addr;
    http.finished.then(
      () => this.#finished(undefined),
      (error) => this.#finished({ cause: error }),
    );
    const end = { loopClosed: () => http.abort() };
    this.#loop[core].endings.add(end);
    this.#cleanUps.push(() => this.#loop[core].endings.delete(end));
    this.#state = "serving";
    this.#intake.recheck();
    this.#ready();
  }

  /** The runtime's server has ended; by itself, if the state says so. */
  #finished(options: ErrorOptions | undefined): void {
    this.#httpFinished = true;
    if (this.#http!.isEnding && options === undefined) {
      this.#intake.recheck();
      return;
    }
    this.#failure ??= new InvalidStateError(
      `Server "${this.name}" has stopped to listen by itself`,
      options,
    );
    this.#beginClose(this.#failure);
    this.#hurryUp(this.#failure);
  }

  /** Serves until it is closed or cancelled, and all has ended. */
  *#untilClosed(): Coroutine<void> {
    const intake = this.#intake;
    try {
      yield* this.#closeAsked;
      yield* intake.until(() => intake.isIdle || this.#hurry !== null);
    } catch (error) {
      this.#keepCancellation(error);
    }
    this.#beginClose(this.#cancellation);
    if (this.#http === null) return; // closed before it listened
    if (!intake.isIdle) yield* this.#cancelAll(intake);
    yield* this.#endHttp(this.#http);
    if (this.#failure !== null) throw this.#failure;
  }

  *#cancelAll(intake: Intake): Coroutine<void> {
    intake.cancel(this.#hurry?.reason ?? this.#cancellation);
    const { cancelMs } = this.#settings;
    yield* this.#wait(Math.min(ANSWER_MS, cancelMs), () => intake.isQuiet);
    intake.cutOff();
    yield* this.#wait(FLUSH_MS, () => intake.isIdle);
    if (intake.isIdle) return;
    // Bodies that do not end, in either direction, end by this.
    this.#http!.abort();
    yield* this.#wait(cancelMs, () => intake.isQuiet);
    this.#reportLeftovers();
  }

  *#endHttp(http: HttpServer): Coroutine<void> {
    if (this.#forced || this.#intake.hasLost) http.abort();
    else http.shutdown(); // for ever, if a body did not end
    yield* this.#wait(this.#settings.cancelMs, () => this.#httpFinished);
    if (!this.#httpFinished) http.unref();
  }

  /** Waits until a condition holds, but not for longer than a time. */
  *#waitFor(limitMs: number, holds: () => boolean): Coroutine<void> {
    let isOver = false;
    const timer = this.#loop.callLater(limitMs, () => {
      isOver = true;
      this.#intake.recheck();
    });
    try {
      yield* this.#intake.until(() => holds() || isOver || this.#forced);
    } finally {
      timer.cancel();
    }
  }

  /** The same in the task of the server. A cancellation ends the wait, and is kept. */
  *#wait(limitMs: number, holds: () => boolean): Coroutine<void> {
    try {
      yield* this.#waitFor(limitMs, holds);
    } catch (error) {
      this.#keepCancellation(error);
    }
  }

  #keepCancellation(error: unknown): void {
    if (!isCancellation(error)) throw error;
    this.#cancellation ??= error;
  }

  #reportLeftovers(): void {
    const names = this.#intake.leftovers();
    if (names.length === 0) return;
    this.#loop.callExceptionHandler({
      message:
        `Server "${this.name}" has ended, and did not wait any longer for ${
          names.join(", ")
        }`,
      name: this.name,
    });
  }

  // -- Closing --

  /** A shutdown has begun: a server that does not listen yet never will. */
  #announceEnd(reason: unknown): void {
    if (this.#http === null) this.#beginClose(reason);
    else this.#noLongerReady();
  }

  #noLongerReady(): void {
    if (this.#state !== "ended") this.#state = "closing";
    this.#intake.endsConnections = true;
  }

  #beginClose(reason: unknown): void {
    if (this.#state === "ended") return;
    const wasListening = this.#http !== null;
    if (wasListening) this.#noLongerReady();
    if (!this.#closeAsked.done()) this.#closeAsked.setResult();
    this.#intake.drain();
    if (!wasListening) this.#hurry ??= { reason };
  }

  #hurryUp(reason: unknown): void {
    this.#hurry ??= { reason };
    this.#intake.recheck();
    if (!this.#isOpening) return;
    this.#isOpening = false; // a second cancellation would have the lifespan give up its clean-up
    this.#task.cancel(reason);
  }

  #joinShutdown(): void {
    const { name } = this.#settings;
    const hooks: ShutdownHook[] = [];
    this.#cleanUps.push(() => hooks.forEach((hook) => hook.remove()));
    hooks.push(
      onShutdown("not-ready", ({ reason }) => this.#announceEnd(reason), {
        name,
      }),
      onShutdown("stop-intake", ({ reason }) => this.#beginClose(reason), {
        name,
      }),
      onShutdown("drain", (context) => this.#waitInHook(context), { name }),
      onShutdown("cancel", (context) => {
        this.#hurryUp(context.reason);
        return this.#waitInHook(context);
      }, { name }),
      onShutdown("force", () => this.#force(), { name }),
    );
  }

  /** Waits for the end within the time of a hook: the next phase sees to what is left. */
  *#waitInHook(context: ShutdownHookContext): Coroutine<void> {
    yield* this.#waitFor(
      hookWaitMs(context.deadlineMs - this.#loop.time()),
      () => this.#task.done(),
    );
  }

  #force(): void {
    this.#forced = true;
    this.#intake.recheck();
  }

  // -- Requests --

  #handle(request: Request, info: HttpInfo): Response | Promise<Response> {
    const { readinessPath, livenessPath, priority } = this.#settings;
    if (readinessPath !== null || livenessPath !== null) {
      const health = this.#health(request);
      if (health !== null) return health;
    }
    const desk = this.#desk!;
    let rank = 0;
    if (priority !== null) {
      try {
        rank = requirePriority(priority(request), "serve a request");
      } catch (error) {
        const answer = desk.failed(error, request, "a request");
        return this.#intake.endsConnections ? closing(answer) : answer;
      }
    }
    const run = new FetchRun(desk, request, info, rank);
    this.#intake.take(run);
    return run.outcome();
  }

  #health(request: Request): Response | null {
    const path = pathOf(request.url);
    const { readinessPath, livenessPath } = this.#settings;
    const isReady = this.#state === "serving";
    let status = 200;
    if (path === readinessPath) status = isReady ? 200 : 503;
    else if (path !== livenessPath) return null;
    const response = new Response(status === 200 ? "ok" : "closing", {
      status,
    });
    return this.#intake.endsConnections ? closing(response) : response;
  }

  /** Reports the error of a handler, and returns the response for it. */
  #failed(error: unknown, request: Request, name: string): Response {
    const response = this.#report(error, request, `Cannot answer ${name}`);
    return response ??
      new Response("Internal Server Error", { status: 500 });
  }

  /** Reports an error of a body, or of a response that cannot be sent. */
  #bodyFailed(error: unknown): Response {
    if (!isCut(error)) {
      this.#report(error, null, `Cannot send a response of "${this.name}"`);
    }
    return new Response("Internal Server Error", { status: 500 });
  }

  #report(
    error: unknown,
    request: Request | null,
    message: string,
  ): Response | void {
    const { onError } = this.#settings;
    let exception = error;
    if (onError !== null) {
      try {
        const response = onError(error, request);
        return response instanceof Response ? response : undefined;
      } catch (thrown) {
        exception = new SuppressedError(thrown, error, "onError has failed");
      }
    }
    this.#loop.callExceptionHandler({ message, exception, name: this.name });
  }
}

/**
 * Starts an HTTP server on the running loop, over `Deno.serve`. Each request runs in the
 * house: limited, cancelled when nobody wants it any more, drained at the end.
 *
 * The handler is a plain, async or generator function that gets the `Request` and a
 * {@linkcode RequestContext}, and gives a `Response`. The `fetch` of a framework can be
 * handed over as it is.
 *
 * - *Tasks.* The handler is called outside of the loop's turns, at once. Its request
 *   becomes a task when it first needs one, or after some 50 milliseconds; a generator
 *   function always is one. All that it awaits is cancelled with it. `TaskLocal` values
 *   of the code that calls `serve` are inherited.
 * - *Limits.* Beyond `maxConcurrent` requests wait in line, the most urgent first, and
 *   beyond `maxWaiting` they are answered with 503 and `Retry-After`.
 * - *Deadline.* After `requestTimeoutMs` the client is answered with 504 and the request is
 *   cancelled; a body that is still being sent fails then.
 *   A slow client may send half of a body, and then a bare `await request.text()` keeps its
 *   slot until the client goes, as the runtime cannot take it back: `until(() =>
 *   request.text())` ends with the request.
 * - *Clients that go.* A request that takes longer than some 50 milliseconds is
 *   cancelled when its client goes. No abort of `request.signal` is needed for that, nor its warning
 *   printed. A streamed body is told by its `cancel`.
 * - *Errors.* A handler that throws, or gives no `Response`, is answered for with 500, and
 *   reported once: to `onError` or else to the loop's exception handler. A body that
 *   fails half-way is cut, and reported in the same way.
 *
 * A handler that calls `context.upgradeWebSocket()` and then fails, or gives another response,
 * has its socket closed with 1011. After an upgrade by the runtime's own function, the
 * runtime ends the whole server in the latter case: the server fails then.
 *
 * The server is a task of the loop. It ends by {@linkcode Server.close}, its
 * `signal`, the phases of a graceful shutdown, or the end of `run`, which cancels it.
 * The phases: readiness says 503 from the first one on, and each response
 * `Connection: close`, while requests are still taken;
 * then no more are taken: those that come are answered with 503; event streams send their last event and WebSockets are closed
 * with 1001; after the drain phase whatever is left is cancelled and cut. The socket
 * listens until the last response has been sent. A client that does not read a response
 * without a stream is waited for `cancelMs` at the end, and does not keep the process alive
 * after that.
 *
 * A server whose lifespan is still opening when it is closed, or when a shutdown begins,
 * does not listen: it closes the lifespan again, or cancels the opening after `graceMs`.
 *
 * Await it for its end. A failure, such as a port that is taken or an error of its
 * lifespan, is thrown there, by {@linkcode Server.ready} and by `close`, or else
 * reported to the exception handler.
 *
 * Costs a few microseconds a request, half of it for the async context that tells a
 * handler's task; a generator function needs none.
 *
 * @example A server with a limit and a deadline
 * ```ts
 * import { run, sleep, until } from "@rota/rota";
 * import { serve } from "@rota/rota/serve";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const server = serve(function* (request) {
 *     yield* sleep(1);
 *     return new Response(new URL(request.url).pathname);
 *   }, {
 *     port: 0,
 *     hostname: "127.0.0.1",
 *     maxConcurrent: 100,
 *     requestTimeoutMs: 5_000,
 *   });
 *   const { port } = (yield* server.ready()) as Deno.NetAddr;
 *   const text = yield* until(async () =>
 *     await (await fetch(`http://127.0.0.1:${port}/hello`)).text()
 *   );
 *   assertEquals(text, "/hello");
 *   yield* server.close();
 * });
 * ```
 *
 * @typeParam V Type of the value of the lifespan.
 * @param handler Function that answers requests.
 * @param options Where to listen; limits, times, lifespan and so on.
 * @returns The server, which is starting.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If no loop is running.
 * @throws {HookTooLateError} If a graceful shutdown has begun, unless `shutdown` is `false`.
 */
export function serve<V = undefined>(
  handler: ServeHandler<V>,
  options: ServeOptions<V> = NO_OPTIONS,
): Server {
  checkFunction(handler, WHAT, "handler");
  const settings = settleServe(options, WHAT);
  return new Server(
    getRunningLoop(),
    handler as ServeHandler<unknown>, // the value comes from its own lifespan
    settings,
  );
}
