/**
 * Web sockets as sources: messages in, messages out with backpressure, and the way in
 * which the connection ends.
 *
 * Two facts of the runtime (Deno 2.9) show here. It tells nobody when a socket has sent
 * what was buffered, so a sender that has to wait looks again after 1, 2, 4, … 16 ms. And
 * it lets only the server's side send the codes of the protocol, such as 1009: a client
 * sends the code of the private range that lies 3,000 above it.
 *
 * @module
 */
import {
  InvalidStateError,
  MessageTooLargeError,
  WebSocketClosedError,
} from "../errors.ts";
import { isRuntimeSocket, openWebSocket } from "../host/event_sources.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import { checkInteger, checkOptions, inspect } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import type { Endings, EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Flag } from "../sync/flag.ts";
import { Lock } from "../sync/lock.ts";
import { checkHas, Source, type SourceOptions } from "./source.ts";

/** A message that came: a text, or bytes in the form that the socket's `binaryType` says. */
export type WebSocketMessage = string | ArrayBuffer | Blob;

/** Anything that a web socket can send. */
export type WebSocketData =
  | string
  | ArrayBuffer
  | Blob
  | ArrayBufferView<ArrayBuffer>;

/** End of a connection. */
export interface WebSocketClose {
  /** Close code; 1006 if the connection was lost or never made. */
  readonly code: number;
  /** Reason that was given; `""` if none. */
  readonly reason: string;
  /** Whether both sides have said goodbye. */
  readonly wasClean: boolean;
}

/** Options of {@linkcode fromWebSocket}. */
export interface WebSocketOptions extends SourceOptions {
  /** Subprotocols to offer, for a socket that is opened from a URL. */
  readonly protocols?: readonly string[] | undefined;
  /**
   * Largest message that is accepted, in bytes; for texts, of their UTF-8. A larger one
   * ends the source with a {@linkcode MessageTooLargeError}, and the connection with
   * code 1009 (from a client 4009: the runtime lets it send no other). The runtime has
   * read the message by then: the limit protects the program, not its memory from a
   * single message.
   *
   * @default {16_777_216}
   */
  readonly maxMessageBytes?: number | undefined;
  /**
   * How many bytes may wait in the socket before {@linkcode WebSocketSource.send} waits.
   *
   * @default {1_048_576}
   */
  readonly sendBufferBytes?: number | undefined;
}

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** First and longest pause of a sender that waits for the socket to drain. */
const DRAIN_FIRST_MS = 1;
const DRAIN_MAX_MS = 16;

/** Options with their defaults. */
export interface SocketSettings {
  readonly protocols: readonly string[];
  readonly maxMessageBytes: number;
  readonly sendBufferBytes: number;
}

/** Checks the options that only web sockets have. */
export function settleSocket(
  options: WebSocketOptions,
  what: string,
): SocketSettings {
  checkOptions(options, what);
  const {
    protocols = [],
    maxMessageBytes = 1 << 24,
    sendBufferBytes = 1 << 20,
  } = options;
  if (!Array.isArray(protocols)) {
    throw new TypeError(
      `Cannot ${what} as protocols must be an array: received ${
        inspect(protocols)
      }`,
    );
  }
  checkInteger(maxMessageBytes, 1, what, "maxMessageBytes", "or Infinity");
  checkInteger(sendBufferBytes, 0, what, "sendBufferBytes", "or Infinity");
  return { protocols, maxMessageBytes, sendBufferBytes };
}

/** Opens a socket for a URL; checks any other. */
export function socketOf(
  socketOrUrl: unknown,
  protocols: readonly string[],
  what: string,
): WebSocket {
  if (typeof socketOrUrl === "string" || socketOrUrl instanceof URL) {
    const socket = openWebSocket(socketOrUrl, protocols);
    socket.binaryType = "arraybuffer";
    return socket;
  }
  checkHas(
    socketOrUrl,
    ["send", "close", "addEventListener", "removeEventListener"],
    what,
    "socketOrUrl",
    "a WebSocket or a URL",
  );
  const socket = socketOrUrl as WebSocket;
  if (socket.readyState >= CLOSING) {
    throw new InvalidStateError(`Cannot ${what}: the web socket is closed`);
  }
  return socket;
}

/** Size of a message in bytes: exact only where a text might be larger than the limit. */
function bytesOf(message: WebSocketMessage, limit: number): number {
  if (typeof message === "string") {
    const { length } = message;
    return length * 3 <= limit
      ? length
      : new TextEncoder().encode(message).byteLength;
  }
  return message instanceof Blob ? message.size : message.byteLength;
}

/** Owner of a connection: told what happens to it. */
export interface ConnectionOwner {
  connectionOpened(): void;
  messageCame(message: WebSocketMessage): void;
  /** A message was too large; the connection is being closed. */
  messageRefused(error: MessageTooLargeError): void;
  /** Called once, unless the connection was forgotten. */
  connectionClosed(close: WebSocketClose, error: WebSocketClosedError): void;
}

/** One connection: the listeners at a socket. */
export class Connection implements EndListener {
  readonly socket: WebSocket;
  readonly #endings: Endings;
  readonly #owner: ConnectionOwner;
  readonly #maxBytes: number;
  /** Error that the runtime has told of, just before the end. */
  #cause: unknown = undefined;

  constructor(
    socket: WebSocket,
    loop: EventLoop,
    owner: ConnectionOwner,
    maxBytes: number,
  ) {
    this.socket = socket;
    this.#endings = loop[core].endings;
    this.#owner = owner;
    this.#maxBytes = maxBytes;
    socket.addEventListener("message", this.#messageCame);
    socket.addEventListener("open", this.#opened);
    socket.addEventListener("error", this.#failed);
    socket.addEventListener("close", this.#closed);
    this.#endings.add(this);
  }

  /** Nobody is left to be told, not even of the answer to a goodbye. */
  loopClosed(): void {
    this.forget();
  }

  get isOpen(): boolean {
    return this.socket.readyState === OPEN;
  }

  /** Whether it will never be open again. */
  get isOver(): boolean {
    return this.socket.readyState >= CLOSING;
  }

  readonly #opened = (): void => this.#owner.connectionOpened();

  readonly #messageCame = ({ data }: MessageEvent): void => {
    const bytes = bytesOf(data, this.#maxBytes);
    if (bytes <= this.#maxBytes) {
      this.#owner.messageCame(data);
      return;
    }
    this.close(1009, "message too big");
    this.#owner.messageRefused(
      new MessageTooLargeError(
        `Cannot accept a message of ${bytes} bytes: at most ${this.#maxBytes} are allowed`,
        bytes,
        this.#maxBytes,
      ),
    );
  };

  readonly #failed = (event: Event): void => {
    const { error, message } = event as Partial<ErrorEvent>;
    this.#cause = error ?? (message ? new Error(message) : undefined);
  };

  readonly #closed = ({ code, reason, wasClean }: CloseEvent): void => {
    this.forget();
    // The runtime says 0 where the standard says 1006.
    const close = Object.freeze({ code: code || 1006, reason, wasClean });
    const cause = this.#cause;
    const because = cause instanceof Error ? `: ${cause.message}` : "";
    const error = new WebSocketClosedError(
      `The web socket was closed with code ${close.code}${because}`,
      close,
      cause === undefined ? undefined : { cause },
    );
    this.#owner.connectionClosed(close, error);
  };

  /** Takes no more messages, and says goodbye; the owner is told of the end. */
  close(code: number, reason: string): void {
    const { socket } = this;
    socket.removeEventListener("message", this.#messageCame);
    if (socket.readyState >= CLOSING) return;
    try {
      socket.close(code, reason);
    } catch {
      socket.close(code + 3_000, reason);
    }
  }

  /** Stops listening: the owner is told nothing any more. */
  forget(): void {
    const { socket } = this;
    socket.removeEventListener("message", this.#messageCame);
    socket.removeEventListener("open", this.#opened);
    socket.removeEventListener("error", this.#failed);
    socket.removeEventListener("close", this.#closed);
    this.#endings.delete(this);
  }
}

/** What a {@linkcode Sender} needs to know. */
export interface SendingSide {
  readonly loop: EventLoop;
  /** The connection of now; `null` if there is none. */
  readonly connection: Connection | null;
  /** Whether waits for a connection are waits for something outside. */
  readonly isOutside: boolean;
  /** The error with which sending fails now; `null` if waiting may help. */
  sendError(): unknown;
}

/** Senders in line, one after the other. */
export class Sender {
  readonly #side: SendingSide;
  readonly #maxBuffered: number;
  readonly #line = new Lock();
  #change: Future<void> | null = null;

  constructor(side: SendingSide, maxBuffered: number) {
    this.#side = side;
    this.#maxBuffered = maxBuffered;
  }

  send(data: WebSocketData, options: WaitOptions | undefined): Operation<void> {
    return new SendOperation(this, data, options);
  }

  /** Wakes the sender that waits: the connection is open, or over. */
  wake(): void {
    const change = this.#change;
    if (change !== null && !change.done()) change.setResult();
  }

  /** Sends at once, if nobody is in line and the socket has room. */
  trySend(data: WebSocketData): boolean {
    return !this.#line.locked() && this.#hand(data);
  }

  /** Hands the data to the socket if it has room. Throws if it never will. */
  #hand(data: WebSocketData): boolean {
    const side = this.#side;
    const error = side.sendError();
    if (error !== null) throw error;
    const { connection } = side;
    if (
      connection === null || !connection.isOpen ||
      connection.socket.bufferedAmount > this.#maxBuffered
    ) return false;
    connection.socket.send(data);
    return true;
  }

  *waitToSend(data: WebSocketData): Coroutine<void> {
    using _turn = yield* this.#line.acquire();
    let delayMs = DRAIN_FIRST_MS;
    while (!this.#hand(data)) {
      const isFull = this.#side.connection?.isOpen === true;
      yield* this.#pause(isFull ? delayMs : null);
      delayMs = isFull ? Math.min(delayMs * 2, DRAIN_MAX_MS) : DRAIN_FIRST_MS;
    }
  }

  /** Waits until the socket may have drained, or without a delay for a connection. */
  *#pause(delayMs: number | null): Coroutine<void> {
    const { loop, isOutside } = this.#side;
    const change = this.#change = new Future<void>(loop, SEND.name);
    const timer = delayMs === null
      ? null
      : loop.callLater(delayMs, () => this.wake());
    const isOut = timer === null && isOutside;
    if (isOut) loop[core].outside.outsideBegan();
    try {
      yield* change;
    } finally {
      if (isOut) loop[core].outside.outsideEnded();
      timer?.cancel();
      this.#change = null;
    }
  }
}

const SEND = { name: "WebSocketSource.send()" };
const SENT: IteratorReturnResult<void> = { done: true, value: undefined };

class SendOperation extends AttemptOperation<void> {
  readonly #sender: Sender;
  readonly #data: WebSocketData;

  constructor(
    sender: Sender,
    data: WebSocketData,
    options: WaitOptions | undefined,
  ) {
    super(SEND, options);
    this.#sender = sender;
    this.#data = data;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    return this.#sender.trySend(this.#data) ? SENT : undefined;
  }

  protected wait(): Coroutine<void> {
    return this.#sender.waitToSend(this.#data);
  }
}

/** Throws unless the runtime can send `data`. */
export function checkData(data: unknown): void {
  const isData = typeof data === "string" || data instanceof ArrayBuffer ||
    ArrayBuffer.isView(data) || data instanceof Blob;
  if (isData) return;
  throw new TypeError(
    `Cannot send to a web socket as data must be a string, bytes or a Blob: received ${
      inspect(data)
    }`,
  );
}

const READ = "read from a web socket";

/**
 * A web socket as a source of messages: returned by {@linkcode fromWebSocket}.
 *
 * The source owns the socket. However it ends, the connection is closed: with code 1000
 * when its consumer leaves or it is closed, with 1009 after a message that is too large,
 * with 1013 after an overflow (from a client 4009 and 4013). After a clean end by the
 * peer, iterations end when the buffer is empty; after any other, they throw a
 * {@linkcode WebSocketClosedError} then.
 */
export class WebSocketSource extends Source<WebSocketMessage>
  implements ConnectionOwner, SendingSide {
  /** @ignore */
  declare readonly loop: EventLoop;
  /** @ignore */
  readonly connection: Connection;
  /** @ignore */
  readonly isOutside: boolean;
  readonly #sender: Sender;
  /** Set when the connection is open, and when it will never be. */
  readonly #begun = new Flag();
  readonly #over = new Flag();
  #wasOpen: boolean;
  #goodbye: readonly [code: number, reason: string] = [1000, ""];
  #close: WebSocketClose | null = null;
  #error: WebSocketClosedError | null = null;

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
    this.isOutside = isOutside || !this.loop[core].virtual;
    const socket = socketOf(socketOrUrl, settings.protocols, READ);
    this.connection = new Connection(
      socket,
      this.loop,
      this,
      settings.maxMessageBytes,
    );
    this.#sender = new Sender(this, settings.sendBufferBytes);
    this.#wasOpen = socket.readyState === OPEN;
    if (this.#wasOpen) this.#begun.set();
    this.begin(options.signal);
  }

  /** The socket, for what this class does not offer, such as `protocol` and `url`. */
  get socket(): WebSocket {
    return this.connection.socket;
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
   * @throws {WebSocketClosedError} If the connection was never made.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  waitOpen(options?: WaitOptions): Operation<void> {
    return this.#waiting(this.#begun, "waitOpen()", options, () => {
      if (this.#wasOpen) return;
      this.failureSeen();
      throw this.#error;
    });
  }

  /**
   * Waits until the connection has ended, and says how. Never throws because of the way
   * in which it ended. A peer that does not answer to a goodbye keeps the connection
   * open: the runtime cannot cut it.
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
    const { loop, isOutside } = this;
    return new Operation(function* () {
      if (isOutside) loop[core].outside.outsideBegan();
      try {
        yield* flag.wait();
      } finally {
        if (isOutside) loop[core].outside.outsideEnded();
      }
      return result();
    }, { ...options, name: `WebSocketSource.${name}` });
  }

  /**
   * Says goodbye, and takes no more messages; what is buffered can still be taken. Use
   * {@linkcode waitClosed} to wait for the answer. Calling it again does nothing.
   *
   * @param code Close code: 1000, or 3000 to 4999.
   * @param reason Reason for the peer, at most 123 bytes of UTF-8.
   * @throws {DOMException} If the code or the reason is refused by the runtime. Nothing
   * has happened then.
   */
  override close(code = 1000, reason = ""): void {
    if (this.closed) return;
    // By the socket itself, which checks the arguments.
    if (!this.connection.isOver) this.socket.close(code, reason);
    super.close();
  }

  protected override overflowed(): void {
    this.#goodbye = [1013, "too many messages"];
  }

  protected release(): void {
    this.connection.close(...this.#goodbye);
    this.#sender.wake();
  }

  /** @ignore */
  sendError(): unknown {
    if (this.#error !== null) return this.#error;
    if (!this.closed && !this.connection.isOver) return null;
    const [code, reason] = this.#goodbye;
    return new WebSocketClosedError(
      "Cannot send to a web socket: it is closed",
      {
        code,
        reason,
        wasClean: false,
      },
    );
  }

  /** @ignore */
  connectionOpened(): void {
    this.#wasOpen = true;
    this.#begun.set();
    this.#sender.wake();
  }

  /** @ignore */
  messageCame(message: WebSocketMessage): void {
    this.deliver(message);
  }

  /** @ignore */
  messageRefused(error: MessageTooLargeError): void {
    this.fail(error);
  }

  /** @ignore */
  connectionClosed(close: WebSocketClose, error: WebSocketClosedError): void {
    this.#close = close;
    this.#error = error;
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
 * The source listens when the call returns: messages are kept from then on. A web socket
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
