/**
 * What tests of servers have in common: a server with a client, and clients that send what no well-behaved one would.
 *
 * @module
 */
import {
  type Coroutine,
  type ExceptionContext,
  getRunningLoop,
  run,
  until,
} from "../../mod.ts";
import {
  type RequestContext,
  serve,
  type ServeHandler,
  type ServeOptions,
  type Server,
} from "../../src/serve/mod.ts";
import { inStyle, type Steps, type Style } from "../support/styles.ts";

/** A server under test, and what the exception handler was told. */
export interface Stand {
  readonly server: Server;
  readonly url: string;
  readonly port: number;
  readonly reports: ExceptionContext[];
}

const LOCAL = { port: 0, hostname: "127.0.0.1" };

/** Runs `body` with a server, and closes it. */
export async function withServer<V = undefined>(
  handler: ServeHandler<V>,
  options: ServeOptions<V>,
  body: (stand: Stand) => Promise<void>,
): Promise<void> {
  await run(async () => {
    const reports: ExceptionContext[] = [];
    getRunningLoop().setExceptionHandler((_loop, context) => {
      reports.push(context);
    });
    await using server = serve(handler, { ...LOCAL, ...options });
    const { port } = await server.ready() as Deno.NetAddr;
    const url = `http://127.0.0.1:${port}`;
    await body({ server, url, port, reports });
  });
}

/** Makes a handler in a style; a generator is a generator function, as a user writes it. */
export function handlerIn(
  style: Style,
  steps: (request: Request, context: RequestContext<undefined>) => ReturnType<
    Steps<Response>
  >,
): ServeHandler {
  if (style === "a generator") {
    return function* (request, context) {
      return yield* inStyle(
        style,
        () => steps(request, context),
      )() as Coroutine<
        Response
      >;
    };
  }
  return (request, context) =>
    inStyle(style, () => steps(request, context))() as Promise<Response>;
}

/** Fetches a text, with its status in front. */
export function get(url: string, init: RequestInit = {}): Promise<string> {
  return Promise.resolve(until(async () => {
    const response = await fetch(url, init);
    return `${response.status} ${await response.text()}`;
  }));
}

/** A connection on which a test writes what it likes. */
export class RawClient implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #decoder = new TextDecoder();
  #closed = false;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async connect(port: number): Promise<RawClient> {
    return new RawClient(await Deno.connect({ port, hostname: "127.0.0.1" }));
  }

  async send(text: string): Promise<void> {
    await this.#connection.write(new TextEncoder().encode(text));
  }

  /** Sends a request without a body. */
  request(path: string): Promise<void> {
    return this.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  }

  /** Asks for a WebSocket. */
  upgrade(path: string): Promise<void> {
    return this.send(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    );
  }

  /** What has come next, "" at the end of the connection. */
  async read(): Promise<string> {
    const buffer = new Uint8Array(65_536);
    try {
      const count = await this.#connection.read(buffer);
      return count === null
        ? ""
        : this.#decoder.decode(buffer.subarray(0, count));
    } catch {
      return ""; // reset
    }
  }

  /** All that comes until the end of the connection. */
  async readAll(): Promise<string> {
    let all = "";
    for (let text = await this.read(); text !== ""; text = await this.read()) {
      all += text;
    }
    return all;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
