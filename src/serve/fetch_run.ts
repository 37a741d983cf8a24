/**
 * Requests of the runtime's server: from a `Request` to its `Response`.
 *
 * @module
 */
import { CancelledError, InvalidStateError } from "../errors.ts";
import {
  type BodyStream,
  type HttpInfo,
  isBodyLost,
  isUpgraded,
  streamOf,
  type UpgradedSocket,
  upgradeToWebSocket,
  watchClient,
  type WebSocketUpgradeOptions,
} from "../host/http_server.ts";
import { cancellation, isCancellation } from "../loop/cancellation.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import type { Intake } from "./intake.ts";
import { discard, limitBody, ServedSocket } from "./left_open.ts";
import { type Refusal, RequestRun } from "./request_run.ts";
import type { ServeHandler } from "./serve_options.ts";

/** Status of a response that nobody gets any more, as nginx has it. */
const CLIENT_GONE = 499;

/** The server, as its requests see it. */
export interface FetchDesk {
  readonly intake: Intake;
  readonly handler: ServeHandler<unknown>;
  /** Whether calling the handler only makes a generator. */
  readonly isCoroutine: boolean;
  /** Value of the lifespan. */
  readonly value: unknown;
  /** Text of the header `Retry-After`. */
  readonly retryAfter: string;
  readonly socketCloseMs: number;
  /** Reports an error, and returns the response for it. */
  failed(error: unknown, request: Request, name: string): Response;
}

/** Options of {@linkcode RequestContext.background}. */
export interface BackgroundOptions {
  /**
   * Name of the task.
   *
   * @default {the name of the function, or that of the request}
   */
  readonly name?: string | undefined;
}

/**
 * Second argument of a handler: what it may know of its request and its server. In a
 * handler of Hono it is `c.env`.
 *
 * @typeParam V Type of the value of the lifespan.
 */
export class RequestContext<V = undefined> {
  readonly #run: FetchRun;
  readonly #request: Request;
  readonly #info: HttpInfo;

  /** @ignore */
  constructor(run: FetchRun, request: Request, info: HttpInfo) {
    this.#run = run;
    this.#request = request;
    this.#info = info;
  }

  /** Value of the server's lifespan; `undefined` without one. */
  get value(): V {
    return this.#run.desk.value as V;
  }

  /** Facts about the request that the runtime knows: `remoteAddr` and `completed`. */
  get info(): HttpInfo {
    return this.#info;
  }

  /** Address of the client, which the runtime knows until the response is sent. */
  get remoteAddr(): Deno.Addr {
    return this.#info.remoteAddr;
  }

  /**
   * Fulfils when the response was sent, or will not be sent, also if the client has
   * gone: see `Deno.ServeHandlerInfo.completed`.
   */
  get completed(): Promise<void> {
    return this.#info.completed;
  }

  /**
   * Aborts when the request is cancelled: its client has gone, its time is over, or
   * the server ends. For `fetch` and the like. Unlike `request.signal` it does not
   * abort after a response, and has the runtime print no warning. Made on first use.
   */
  get signal(): AbortSignal {
    return this.#run.signal;
  }

  /**
   * Runs a function that outlives the response. The server waits for it when it
   * closes, and cancels it with all else. The end of the request leaves it alone. A
   * failure is reported to the loop's exception handler.
   *
   * @example A log that is written after the response
   * ```ts
   * import { run, sleep } from "@rota/rota";
   * import { serve } from "@rota/rota/serve";
   * import { assertEquals } from "@std/assert";
   *
   * const log: string[] = [];
   * await run(async () => {
   *   await using server = serve((_request, context) => {
   *     context.background(async () => {
   *       await sleep(5);
   *       log.push("written");
   *     });
   *     return new Response("ok");
   *   }, { port: 0, hostname: "127.0.0.1" });
   *   const { port } = await server.ready() as Deno.NetAddr;
   *   await (await fetch(`http://127.0.0.1:${port}/`)).text();
   * });
   * assertEquals(log, ["written"]);
   * ```
   *
   * @param body An async function or generator function.
   * @param options Its name.
   * @returns The task.
   * @throws {TypeError} If `body` is no function.
   */
  background<T>(
    body: () => Coroutine<T> | PromiseLike<T> | T,
    options: BackgroundOptions = {},
  ): Task<T> {
    const what = "run a background function";
    checkFunction(body, what, "body");
    checkOptions(options, what);
    const name = options.name ??
      (body.name === ""
        ? `background of ${this.#run.nameBy(this.#request)}`
        : body.name);
    const { intake } = this.#run;
    return intake.background(body as TaskBody<unknown>, name) as Task<T>;
  }

  /**
   * Makes a WebSocket of the request, as `Deno.upgradeWebSocket` does, and has the
   * server close it in good time: with code 1001 when no more requests are taken. A
   * client that does not answer within `socketCloseMs` is dropped.
   *
   * @param options Subprotocol, and how long a client may be silent.
   * @returns The socket, and the response, which the handler has to return.
   * @throws {TypeError} If the request does not ask for a WebSocket, or an option is of
   * the wrong type.
   * @throws {RangeError} If `idleTimeoutMs` is not positive.
   * @throws {InvalidStateError} If the request was answered before.
   */
  upgradeWebSocket(options: WebSocketUpgradeOptions = {}): UpgradedSocket {
    return this.#run.upgrade(this.#request, options);
  }
}

/** A request of the runtime's server. */
export class FetchRun extends RequestRun {
  declare readonly desk: FetchDesk;
  /** Null once it has ended. */
  declare private request: Request | null;
  declare private info: HttpInfo | null;
  declare private label: string | null;
  declare private answered: boolean;
  declare private response: Response | null;
  declare private resolve: ((response: Response) => void) | null;
  declare private unwatch: (() => void) | null;
  declare private socket: ServedSocket | null;

  constructor(
    desk: FetchDesk,
    request: Request,
    info: HttpInfo,
    rank: number,
  ) {
    super(desk.intake, rank);
    this.desk = desk;
    this.request = request;
    this.info = info;
    this.label = null;
    this.answered = false;
    this.response = null;
    this.resolve = null;
    this.unwatch = null;
    this.socket = null;
  }

  override get name(): string {
    return this.nameBy(this.request);
  }

  nameBy(request: Request | null): string {
    return this.label ??= nameOf(request);
  }

  override get isCoroutine(): boolean {
    return this.desk.isCoroutine;
  }

  override call(): unknown {
    const request = this.request!;
    return this.desk.handler(
      request,
      new RequestContext(this, request, this.info!),
    );
  }

  /** The response, at once if it is known. */
  outcome(): Response | Promise<Response> {
    const { response } = this;
    if (response !== null) {
      this.response = null;
      return response;
    }
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  upgrade(request: Request, options: WebSocketUpgradeOptions): UpgradedSocket {
    checkUpgradeOptions(options);
    const name = this.nameBy(request); // cannot be told any more once it is upgraded
    if (this.answered || this.hasEnded) {
      throw new InvalidStateError(
        `Cannot upgrade to a WebSocket: ${name} was answered before`,
      );
    }
    const wasWatched = this.unwatch !== null;
    this.stopWatching();
    let upgraded: UpgradedSocket;
    try {
      upgraded = upgradeToWebSocket(request, options);
    } catch (error) { // the request does not ask for it, and may be answered otherwise
      if (wasWatched) this.watchClient();
      throw error;
    }
    const { socketCloseMs } = this.desk;
    this.socket = new ServedSocket(this.intake, upgraded, socketCloseMs);
    return upgraded;
  }

  // -- Outcomes --

  override returned(value: unknown): void {
    if (value instanceof Response) {
      this.answer(value);
      return;
    }
    this.threw(
      new TypeError(
        `Cannot answer ${this.name} as the handler must return a Response: received ${
          inspect(value)
        }`,
      ),
    );
  }

  override threw(error: unknown): void {
    // The body cannot be read any more, as the client has gone or was answered.
    if (isBodyLost(error)) {
      this.abortion ??= { why: "gone", error: cancellation(error) };
    } else if (!isCancellation(error)) {
      this.answer(this.desk.failed(error, this.request!, this.name));
      return;
    }
    if (!this.answered) this.refused(this.abortion?.why ?? "cancelled");
  }

  /**
   * Frameworks answer for errors of handlers, and print them. Hono asks an error that has
   * `getResponse` for its response instead, and a cancellation is no news.
   */
  protected override errorFor(why: Refusal, reason: unknown): CancelledError {
    const error = new CancelledError(
      reason instanceof CancelledError ? reason.reason : reason,
    );
    const getResponse = () => this.refusal(why);
    return Object.defineProperty(error, "getResponse", { value: getResponse });
  }

  override refused(why: Refusal): void {
    this.answer(this.refusal(why));
  }

  private refusal(why: Refusal): Response {
    if (why === "gone") return new Response(null, { status: CLIENT_GONE });
    if (why === "timeout") {
      return new Response("Gateway Timeout", { status: 504 });
    }
    return new Response("Service Unavailable", {
      status: 503,
      headers: { "retry-after": this.desk.retryAfter },
    });
  }

  override expired(): void {
    if (!this.answered) this.refused("timeout");
  }

  override cutOff(): void {
    if (!this.answered) this.refused("cancelled");
  }

  private answer(response: Response): void {
    this.stopWatching();
    const { intake } = this;
    if (this.answered) {
      this.discard(response, "it comes too late");
      return;
    }
    this.answered = true;
    let answer: Response;
    try {
      answer = this.socket === null
        ? this.prepare(response)
        : this.answerUpgrade(this.socket, response);
    } catch (error) { // its body is locked, was used, or the like
      this.desk.failed(error, this.request!, this.name);
      answer = new Response("Internal Server Error", { status: 500 });
      if (intake.endsConnections) closing(answer);
    }
    if (this.resolve !== null) this.resolve(answer);
    else this.response = answer;
  }

  private prepare(response: Response): Response {
    // Upgraded without the context, which would know the right response.
    if (response.status >= 400 && isUpgraded(this.info!)) {
      return new Response(null, { status: 101 });
    }
    // Any other body is with the runtime as soon as it gets the response.
    const stream = streamOf(response);
    const answer = stream === null ? response : this.keepBody(response, stream);
    return this.intake.endsConnections ? closing(answer) : answer;
  }

  /**
   * The runtime ends the whole server if a request that was upgraded is answered by
   * anything else. So a handler that has failed since then, or took too long, has its
   * socket closed.
   */
  private answerUpgrade(socket: ServedSocket, response: Response): Response {
    socket.answered();
    if (response.status === 101) return response;
    this.discard(response, "the request was upgraded to a WebSocket");
    return socket.giveUp();
  }

  private discard({ body }: Response, reason: string): void {
    // A body that somebody reads cannot be cancelled.
    if (body === null || body.locked) return;
    discard(body, this.intake.loop, reason);
  }

  /** Waits for a body at the end of the server, and limits its time. */
  private keepBody(response: Response, stream: BodyStream): Response {
    const { intake, info } = this;
    const over = () => intake.unhold();
    intake.hold();
    info!.completed.then(over, over);
    const { loop, requestTimeoutMs } = intake;
    if (requestTimeoutMs === Infinity) return response;
    const dueMs = this.dueMs === 0
      ? loop.time() + requestTimeoutMs
      : this.dueMs;
    const source = limitBody(response, stream, loop, dueMs, intake);
    return new Response(source, response);
  }

  /**
   * Lets go of what it was made of. The runtime's async context keeps its owners for
   * as long as to the next full garbage collection: all that they hold would be copied
   * by each small one.
   */
  override forget(): void {
    this.request = this.info = this.resolve = null;
  }

  // -- The client --

  protected override watchClient(): void {
    if (this.answered) return;
    this.unwatch = watchClient(
      this.request!,
      this.info!,
      () => this.cancel("gone", "the client has gone"),
    );
  }

  protected override unwatchClient(): void {
    this.stopWatching();
  }

  private stopWatching(): void {
    const unwatch = this.unwatch;
    this.unwatch = null;
    if (unwatch !== null) unwatch();
  }
}

/** Returns the path of a URL, which the runtime has made: cheaper than to parse it. */
export function pathOf(url: string): string {
  const begin = url.indexOf("/", url.indexOf("//") + 2);
  if (begin < 0) return "/";
  const end = url.indexOf("?", begin);
  return end < 0 ? url.slice(begin) : url.slice(begin, end);
}

function checkUpgradeOptions(options: WebSocketUpgradeOptions): void {
  const what = "upgrade to a WebSocket";
  checkOptions(options, what);
  const { protocol, idleTimeoutMs = 30_000 } = options;
  if (protocol !== undefined) checkString(protocol, what, "protocol");
  checkNotNegative(idleTimeoutMs, what, "idleTimeoutMs");
  if (idleTimeoutMs === 0) {
    throw new RangeError(
      `Cannot ${what} as idleTimeoutMs must be > 0: received 0`,
    );
  }
}

function nameOf(request: Request | null): string {
  if (request === null) return "a request";
  try {
    return `${request.method} ${pathOf(request.url)}`;
  } catch {
    return "a request"; // it is over, and the runtime has forgotten it
  }
}

/** Returns the response, which tells the client to close its connection. */
export function closing(response: Response): Response {
  if (response.status === 101) return response;
  try {
    response.headers.set("connection", "close");
    return response;
  } catch { // its headers are immutable
    const copy = new Response(response.body, response);
    copy.headers.set("connection", "close");
    return copy;
  }
}
