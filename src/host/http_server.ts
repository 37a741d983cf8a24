/**
 * The runtime's HTTP server and WebSockets.
 *
 * @module
 */

import { holdWarningBack } from "./process.ts";

/** Request as the runtime describes it besides the `Request`. */
export interface HttpInfo {
  /** Address of the client. */
  readonly remoteAddr: Deno.Addr;
  /** Fulfils when the response has been sent, or will not be; made on first use. */
  readonly completed: Promise<void>;
}

/** Function that answers requests. */
export type HttpHandler = (
  request: Request,
  info: HttpInfo,
) => Response | Promise<Response>;

/** Where and how to listen: the options of `Deno.serve` that {@linkcode HttpServer} takes. */
export interface ListenOptions {
  /** Port; 0 for any free one. */
  readonly port?: number | undefined;
  /** Host name or address. */
  readonly hostname?: string | undefined;
  /** Path of a Unix domain socket, in place of a port. */
  readonly path?: string | undefined;
  /** Whether other processes may listen on the same port. */
  readonly reusePort?: boolean | undefined;
  /** Certificate in PEM format, for HTTPS. */
  readonly cert?: string | undefined;
  /** Key of the certificate, in PEM format. */
  readonly key?: string | undefined;
}

/** A socket that listens for HTTP. */
export class HttpServer {
  readonly #server: Deno.HttpServer<Deno.Addr>;
  readonly #controller = new AbortController();
  #ending = false;

  /**
   * Listens at once.
   *
   * @param options Where and how.
   * @param handler Called with each request.
   * @param onError Called with errors of response bodies, and of responses that cannot
   * be sent.
   * @throws {Deno.errors.AddrInUse} If somebody else listens there; and whatever
   * else the runtime throws.
   */
  constructor(
    options: ListenOptions,
    handler: HttpHandler,
    onError: (error: unknown) => Response,
  ) {
    const settings = {
      ...options,
      handler,
      onError,
      onListen() {},
      signal: this.#controller.signal,
    };
    this.#server = Deno.serve(
      settings as Deno.ServeTcpOptions & {
        handler: HttpHandler;
      },
    );
  }

  /** Address on which it listens. */
  get addr(): Deno.Addr {
    return this.#server.addr;
  }

  /** Whether it was asked to end. */
  get isEnding(): boolean {
    return this.#ending;
  }

  /** Fulfils when it has ended. */
  get finished(): Promise<void> {
    return this.#server.finished;
  }

  /**
   * Ends it when the responses that are under way have been sent. Connections that
   * are idle, or have sent half of a request's head, and WebSockets are closed at once.
   * For ever if a body does not end: {@linkcode abort} cannot help then, as it throws.
   */
  shutdown(): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#server.shutdown().catch(() => {}); // `finished` tells of that, too
  }

  /** Lets the process end while connections are still open. */
  unref(): void {
    this.#server.unref();
  }

  /** Ends it at once, with all connections. Does nothing after {@linkcode shutdown}. */
  abort(): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#controller.abort();
  }
}

// -- Clients that go --

/** Beginning of the runtime's warning about request signals, which it prints once. */
const LEGACY_WARNING = "Deno.serve: request.signal aborts on success";

/**
 * Calls a function when the client of a request goes before it has its response.
 *
 * Costs as much as the rest of a small request, so it is for requests that take a while.
 *
 * The signal of the request is the only thing that tells. The runtime prints a warning
 * at the end of the first successful request whose signal was read, even if nobody
 * listens to it any more, for programs that rely on its abort at that time. We do
 * not, so that one line is kept from being printed.
 *
 * @returns A function that ends the watch; to be called before the response is sent.
 */
export function watchClient(
  request: Request,
  info: HttpInfo,
  gone: () => void,
): () => void {
  const { signal } = request;
  if (signal.aborted) {
    gone();
    return () => {};
  }
  signal.addEventListener("abort", gone);
  return () => {
    signal.removeEventListener("abort", gone);
    holdWarningBack(LEGACY_WARNING, info.completed);
  };
}

// -- Bodies --

/** Whether an error says that the body of a request cannot be read, as the connection or the request is over. */
export function isBodyLost(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource &&
    /^Cannot read (request )?body/.test(error.message);
}

/** Key under which the runtime keeps the parts of a response; undefined if it does so no more. */
const innerKey: symbol | undefined = Object.getOwnPropertySymbols(
  new Response(null),
).find((key) => key.description === "response");

/** Body of a response that is a stream. */
export type BodyStream = ReadableStream<Uint8Array<ArrayBuffer>>;

/**
 * Returns the body of a response if it is a stream, and null if it is text, bytes or
 * nothing. Reading `body` makes a stream of any body, which takes twice as long to send:
 * so this looks at how the runtime keeps it, as long as it is kept that way, and reads `body`
 * otherwise. To wait for `info.completed` of all responses instead would leave a small
 * request 0.75 of the speed of a bare one, in place of 0.84.
 */
export function streamOf(response: Response): BodyStream | null {
  if (innerKey !== undefined) {
    const inner = (response as unknown as Record<symbol, InnerResponse>)[
      innerKey
    ];
    if (inner !== undefined) {
      const body = inner.body;
      if (body === null || body === undefined) return null;
      const isStatic = typeof body.streamOrStatic === "object" &&
        !(body.streamOrStatic instanceof ReadableStream);
      if (isStatic) return null;
    }
  }
  return response.body;
}

interface InnerResponse {
  readonly body?: { readonly streamOrStatic: unknown } | null;
}

// -- WebSockets --

/** Whether the runtime has made a WebSocket of a request that was not answered: from then on it knows no client of it. */
export function isUpgraded(info: HttpInfo): boolean {
  try {
    info.remoteAddr;
    return false;
  } catch {
    return true;
  }
}

/** Options of {@linkcode upgradeToWebSocket}. */
export interface WebSocketUpgradeOptions {
  /** Subprotocol that the server has chosen. */
  readonly protocol?: string | undefined;
  /**
   * After how many milliseconds without a word a client is asked whether it is there, and
   * dropped if it does not answer; rounded up to seconds. `Infinity` for never.
   *
   * @default {30_000}
   */
  readonly idleTimeoutMs?: number | undefined;
}

/** A socket that a request has become, and the response that says so. */
export interface UpgradedSocket {
  /** The socket; open once the response was sent. */
  readonly socket: WebSocket;
  /** The response, which the handler has to return. */
  readonly response: Response;
}

/** Makes a WebSocket of a request. Throws a `TypeError` if it does not ask for one. */
export function upgradeToWebSocket(
  request: Request,
  { protocol, idleTimeoutMs = 30_000 }: WebSocketUpgradeOptions,
): UpgradedSocket {
  return Deno.upgradeWebSocket(request, {
    ...(protocol !== undefined && { protocol }),
    // 0 stands for never.
    idleTimeout: idleTimeoutMs === Infinity
      ? 0
      : Math.ceil(idleTimeoutMs / 1_000),
  });
}
