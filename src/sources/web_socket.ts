/**
 * Web sockets as sources: messages in, messages out, and the way in which the connection
 * ends.
 *
 * @module
 */
import type { WebSocketClosedError } from "../errors.ts";
import { isRuntimeSocket } from "../host/event_sources.ts";
import { checkWaitOptions } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { Flag } from "../sync/flag.ts";
import {
  checkData,
  CLOSED,
  closedError,
  CONNECTING,
  Connection,
  type Goodbye,
  OPEN,
  Sender,
  settleSocket,
  socketOf,
  type WebSocketClose,
  type WebSocketData,
  type WebSocketMessage,
  type WebSocketOptions,
} from "./connection.ts";
import { Source } from "./source.ts";

const READ = "read from a web socket";

/**
 * A web socket as a source of messages: returned by {@linkcode fromWebSocket}.
 *
 * The source owns the socket. However it ends, the connection is closed: with code 1000
 * when its consumer leaves or it is closed, with 1009 after a message that is too large,
 * with 1013 after an overflow (from a client 4009 and 4013), and the peer has
 * `closeTimeoutMs` to answer. After a clean end by the peer, iterations end when the buffer is empty; after any other, they throw a
 * {@linkcode WebSocketClosedError} then.
 */
export class WebSocketSource extends Source<WebSocketMessage> {
  readonly #connection: Connection;
  readonly #isOutside: boolean;
  readonly #sender: Sender;
  /** Set when the connection is open, and when it will never be. */
  readonly #begun = new Flag();
  readonly #over = new Flag();
  #wasOpen: boolean;
  #goodbye: Goodbye = [1000, ""];
  #close: WebSocketClose | null = null;
  /** The reason of its signal, else the error with which the connection has ended. */
  #error: unknown = null;

  /** @ignore */
  constructor(
    socketOrUrl: WebSocket | string | URL,
    options: WebSocketOptions,
  ) {
    const settings = settleSocket(options, READ);
    const isOutside = typeof socketOrUrl === "string" ||
      socketOrUrl instanceof URL || isRuntimeSocket(socketOrUrl);
    super(options, {
      what: READ,
      name: "fromWebSocket()",
      cannotBlock: "a web socket cannot be made to wait",
      outside: isOutside ? "always" : "real",
    });
    this.#isOutside = isOutside || !this.loop[core].virtual;
    const socket = socketOf(socketOrUrl, settings.protocols, READ);
    const connection = this.#connection = new Connection(
      socket,
      this.loop,
      {
        connectionOpened: () => this.#opened(),
        messageCame: (message) => this.deliver(message),
        messageRefused: (error) => this.fail(error),
        connectionClosed: (close, error) => this.#lost(close, error),
      },
      settings,
    );
    this.#sender = new Sender({
      loop: this.loop,
      connection,
      isOutside: this.#isOutside,
      sendError: () => this.#errorFor("send to"),
    }, settings.sendBufferBytes);
    this.#wasOpen = socket.readyState === OPEN;
    if (this.#wasOpen) this.#begun.set();
    this.begin(options.signal);
  }

  /** The socket, for what this class does not offer, such as `protocol` and `url`. */
  get socket(): WebSocket {
    return this.#connection.socket;
  }

  /** State of the connection. */
  get state(): "connecting" | "open" | "closing" | "closed" {
    switch (this.socket.readyState) {
      case CONNECTING:
        return "connecting";
      case OPEN:
        return "open";
      case CLOSED:
        return "closed";
    }
    return "closing";
  }

  /**
   * Sends a message; waits until the connection is open, and while more than
   * `sendBufferBytes` wait in the socket. Several senders go in the order in which they
   * came.
   *
   * If the wait ends with an error, nothing was sent. A message that was handed to the
   * socket may still be lost with the connection. While the socket is full it is looked at
   * every 1 to 16 ms: the runtime does not tell when it has drained.
   *
   * @param data The message.
   * @param options A signal that ends the wait.
   * @returns An operation. It does nothing until it is awaited.
   * @throws {WebSocketClosedError} If the connection is closed, or closes during the wait.
   * If the signal of the source has aborted, its reason is thrown.
   * @throws {TypeError} If `data` cannot be sent, or `signal` is not an `AbortSignal`.
   */
  send(data: WebSocketData, options?: WaitOptions): Operation<void> {
    checkData(data);
    return this.#sender.send(data, options);
  }

  /**
   * Waits until the connection is open; goes on at once if it was open before.
   *
   * @param options A signal that ends the wait.
   * @returns An operation. It does nothing until it is awaited.
   * @throws {WebSocketClosedError} If the connection was never made, or the source is closed
   * before it is. If the signal of the source has aborted, its reason is thrown.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  waitOpen(options?: WaitOptions): Operation<void> {
    return this.#waiting(this.#begun, "waitOpen()", options, () => {
      if (this.#wasOpen) return;
      this.failureSeen();
      throw this.#errorFor("wait for");
    });
  }

  /**
   * Waits until the connection has ended, and says how. Never throws because of the way
   * in which it ended. Once the source is closed, that is `closeTimeoutMs` later at the
   * latest: a connection whose peer does not answer the goodbye counts as closed with code
   * 1006, although the runtime cannot cut it.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result has code, reason and `wasClean`. It does nothing
   * until it is awaited.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  waitClosed(options?: WaitOptions): Operation<WebSocketClose> {
    return this.#waiting(this.#over, "waitClosed()", options, () => {
      this.failureSeen();
      return this.#close!;
    });
  }

  #waiting<T>(
    flag: Flag,
    name: string,
    options: WaitOptions | undefined,
    result: () => T,
  ): Operation<T> {
    const { loop } = this;
    const isOutside = this.#isOutside;
    const signal = checkWaitOptions(options, `wait in ${name}`);
    return new Operation(function* () {
      if (isOutside) loop[core].outside.outsideBegan();
      try {
        yield* flag.wait();
      } finally {
        if (isOutside) loop[core].outside.outsideEnded();
      }
      return result();
    }, { signal, name: `WebSocketSource.${name}` });
  }

  /**
   * Says goodbye, and takes no more messages: iterations end with what is buffered, and
   * whoever waits for the connection or for room to send gets an error, without waiting for
   * the peer. Use {@linkcode waitClosed} to wait for the answer. Calling it again does
   * nothing.
   *
   * @param code Close code: 1000, or 3000 to 4999.
   * @param reason Reason for the peer, at most 123 bytes of UTF-8.
   * @throws {DOMException} If the code or the reason is refused by the runtime. Nothing
   * has happened then.
   */
  override close(code = 1000, reason = ""): void {
    if (this.closed) return;
    // By the socket itself, which checks the arguments.
    if (!this.#connection.isOver) this.socket.close(code, reason);
    super.close();
  }

  /** @ignore */
  protected override overflowed(): void {
    this.#goodbye = [1013, "too many messages"];
  }

  /** @ignore */
  protected override aborted(reason: unknown): void {
    this.#error = reason;
  }

  /** @ignore */
  protected release(): void {
    this.#connection.close(...this.#goodbye);
    this.#begun.set();
    this.#sender.wake();
  }

  /** Error for those who want something of the connection; `null` while it is of use. */
  #errorFor(what: string): unknown {
    if (this.#error !== null) return this.#error;
    if (!this.closed && !this.#connection.isOver) return null;
    return closedError(what, this.#goodbye);
  }

  #opened(): void {
    this.#wasOpen = true;
    this.#begun.set();
    this.#sender.wake();
  }

  #lost(close: WebSocketClose, error: WebSocketClosedError): void {
    this.#close = close;
    this.#error ??= error;
    this.#over.set();
    this.#begun.set();
    if (close.wasClean) this.end();
    else this.fail(error);
    this.#sender.wake();
  }
}

/**
 * Takes over a web socket, or opens one, and returns its messages as a source.
 *
 * The source listens when the call returns: messages are kept from then on. On the side of a
 * server, make it in the handler that upgrades the request: in a task that begins a turn later,
 * the first messages are lost, or the socket closed. A web socket
 * cannot be made to wait, so `overflow: "block"` is refused, and a peer that sends faster
 * than its messages are taken ends the connection once `buffer` messages wait, unless
 * another policy is given.
 *
 * @example A question and its answer
 * ```ts
 * import { fromWebSocket, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = Deno.serve(
 *   { hostname: "127.0.0.1", port: 0, onListen: () => {} },
 *   (request) => {
 *     const { socket, response } = Deno.upgradeWebSocket(request);
 *     socket.onmessage = ({ data }) => socket.send(`${data}?`);
 *     return response;
 *   },
 * );
 * await run(async () => {
 *   const socket = fromWebSocket(`ws://127.0.0.1:${server.addr.port}`);
 *   await socket.send("who");
 *   assertEquals(await socket.take(), "who?");
 *   socket.close(1000, "bye");
 *   assertEquals((await socket.waitClosed()).code, 1000);
 * });
 * ```
 *
 * @param socketOrUrl A socket that is connecting or open, of a client or from
 * `Deno.upgradeWebSocket`, or a URL to connect to (needs `--allow-net`; binary messages
 * come as `ArrayBuffer`).
 * @param options Size of the buffer, policy, limits, a signal.
 * @returns The source, which listens already.
 * @throws {TypeError} If an argument is of the wrong type, or `overflow` is `"block"`.
 * @throws {RangeError} If a number is out of range.
 * @throws {DOMException} If the URL is malformed.
 * @throws {InvalidStateError} If the socket is closed, or about to be.
 * @throws {MisuseError} If no loop is running.
 */
export function fromWebSocket(
  socketOrUrl: WebSocket | string | URL,
  options: WebSocketOptions = {},
): WebSocketSource {
  return new WebSocketSource(socketOrUrl, options);
}
