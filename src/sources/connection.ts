/**
 * Connections of web sockets: their options, what happens to them, and the line of those
 * who send.
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
import { openWebSocket } from "../host/event_sources.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import {
  checkHas,
  checkInteger,
  checkNotNegative,
  checkOptions,
  inspect,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { Lock } from "../sync/lock.ts";
import type { SourceOptions } from "./source_options.ts";

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
  /**
   * How long the peer has to answer a goodbye, in milliseconds on the clock of the loop. After
   * that the connection counts as closed, with code 1006, and the loop's exception handler is
   * told: the runtime cannot cut it, and keeps it until the peer does. `Infinity`: for ever.
   *
   * @default {10_000}
   */
  readonly closeTimeoutMs?: number | undefined;
}

/** States of a socket. */
export const CONNECTING = 0;
export const OPEN = 1;
const CLOSING = 2;
export const CLOSED = 3;

/** First and longest pause of a sender that waits for the socket to drain. */
const DRAIN_FIRST_MS = 1;
const DRAIN_MAX_MS = 16;

/** Options with their defaults. */
export interface SocketSettings {
  readonly protocols: readonly string[];
  readonly maxMessageBytes: number;
  readonly sendBufferBytes: number;
  readonly closeTimeoutMs: number;
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
    closeTimeoutMs = 10_000,
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
  checkNotNegative(closeTimeoutMs, what, "closeTimeoutMs");
  return { protocols, maxMessageBytes, sendBufferBytes, closeTimeoutMs };
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

/** A connection: the listeners at a socket. */
export class Connection implements EndListener {
  readonly socket: WebSocket;
  readonly #loop: EventLoop;
  readonly #owner: ConnectionOwner;
  readonly #maxBytes: number;
  readonly #closeTimeoutMs: number;
  /** Runs while the peer owes an answer. */
  #patience: TimerHandle | null = null;
  #isForgotten = false;
  /** Error that the runtime has told of, just before the end. */
  #cause: unknown = undefined;

  constructor(
    socket: WebSocket,
    loop: EventLoop,
    owner: ConnectionOwner,
    { maxMessageBytes, closeTimeoutMs }: SocketSettings,
  ) {
    this.socket = socket;
    this.#loop = loop;
    this.#owner = owner;
    this.#maxBytes = maxMessageBytes;
    this.#closeTimeoutMs = closeTimeoutMs;
    socket.addEventListener("message", this.#messageCame);
    socket.addEventListener("open", this.#opened);
    socket.addEventListener("error", this.#failed);
    socket.addEventListener("close", this.#closed);
    loop[core].endings.add(this);
  }

  /** Stops listening: nobody is left to be told, not even of the answer to a goodbye. */
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
    this.#beginToWait();
    if (socket.readyState >= CLOSING) return;
    try {
      socket.close(code, reason);
    } catch {
      socket.close(code + 3_000, reason);
    }
  }

  /** The goodbye is about to be said: the peer has to answer in time. */
  #beginToWait(): void {
    const delayMs = this.#closeTimeoutMs;
    if (this.#isForgotten || this.#patience !== null) return;
    if (delayMs === Infinity) return;
    this.#patience = this.#loop.callLater(delayMs, () => this.#giveUp());
  }

  /** The peer has not answered. The runtime cannot cut the connection. */
  #giveUp(): void {
    this.forget();
    const close = Object.freeze({ code: 1006, reason: "", wasClean: false });
    const error = new WebSocketClosedError(
      `The web socket was closed with code 1006: its peer did not answer a goodbye within ${this.#closeTimeoutMs} ms`,
      close,
    );
    this.#owner.connectionClosed(close, error);
    this.#loop.callExceptionHandler({
      message: "A web socket was given up, and is open in the runtime still",
      exception: error,
    });
  }

  /** Stops listening: the owner is told nothing any more. */
  forget(): void {
    const { socket } = this;
    this.#isForgotten = true;
    this.#patience?.cancel();
    this.#patience = null;
    socket.removeEventListener("message", this.#messageCame);
    socket.removeEventListener("open", this.#opened);
    socket.removeEventListener("error", this.#failed);
    socket.removeEventListener("close", this.#closed);
    this.#loop[core].endings.delete(this);
  }
}

/** The side of the connection that a {@linkcode Sender} sees. */
export interface SendingSide {
  readonly loop: EventLoop;
  /** The connection of now; `null` if there is none. */
  readonly connection: Connection | null;
  /** Whether waits for a connection are waits for something outside. */
  readonly isOutside: boolean;
  /** Returns the error with which sending fails now; `null` if waiting may help. */
  readonly sendError: () => unknown;
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

/** Code and reason of a goodbye. */
export type Goodbye = readonly [code: number, reason: string];

/** Returns the error for those who want something of a connection that this side has closed. */
export function closedError(
  what: string,
  [code, reason]: Goodbye,
): WebSocketClosedError {
  return new WebSocketClosedError(`Cannot ${what} a web socket: it is closed`, {
    code,
    reason,
    wasClean: false,
  });
}
