/**
 * A web socket that is opened anew when its connection is lost.
 *
 *     connecting ──open──> open ──lost──> waiting ──delay over──> connecting
 *         └──────failed──────────────────────┘
 *     any of them ──close(), left, given up──> closed
 *
 * @module
 */
import { ReconnectLimitError, type WebSocketClosedError } from "../errors.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkPlainFunction,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { ExponentialBackoff } from "../structures/backoff.ts";
import { SeededRandom } from "../structures/random.ts";
import { Source } from "./source.ts";
import {
  checkData,
  closedError,
  Connection,
  type ConnectionOwner,
  type Goodbye,
  OPEN,
  Sender,
  type SendingSide,
  settleSocket,
  socketOf,
  type SocketSettings,
  type WebSocketClose,
  type WebSocketData,
  type WebSocketMessage,
  type WebSocketOptions,
} from "./connection.ts";

/** State of a {@linkcode ReconnectingWebSocket}. */
export type ReconnectingState = "connecting" | "open" | "waiting" | "closed";

/** Delays between the attempts of a {@linkcode ReconnectingWebSocket}. */
export interface ReconnectBackoff {
  /**
   * Delay after the first failure, in milliseconds.
   *
   * @default {100}
   */
  readonly initialMs?: number | undefined;
  /**
   * Factor by which each further failure makes the delay longer.
   *
   * @default {2}
   */
  readonly factor?: number | undefined;
  /**
   * Longest delay, in milliseconds.
   *
   * @default {30_000}
   */
  readonly maxMs?: number | undefined;
  /**
   * `"full"`: the delay is a random part of what the failures make it, so that clients
   * that lost the same server do not come back together. `"none"`: all of that.
   *
   * @default {"full"}
   */
  readonly jitter?: "full" | "none" | undefined;
  /**
   * How long a connection has to be open until its loss counts as the first failure, in
   * milliseconds.
   *
   * @default {10_000}
   */
  readonly healthyMs?: number | undefined;
}

/** Options of {@linkcode reconnecting}. */
export interface ReconnectingOptions extends WebSocketOptions {
  /** Delays between attempts. */
  readonly backoff?: ReconnectBackoff | undefined;
  /** Seed of the random delays. */
  readonly seed?: number | undefined;
  /**
   * How many failures in a row are followed by another attempt. After one more the source
   * fails with a {@linkcode ReconnectLimitError}.
   *
   * @default {Infinity}
   */
  readonly maxRetries?: number | undefined;
  /**
   * Decides whether a connection that has ended is opened anew. If not, the source ends
   * after a clean end, and fails with a {@linkcode WebSocketClosedError} after any other.
   * An error of the function ends the source.
   *
   * @default {every end but a clean one with code 1000}
   */
  readonly retry?: ((close: WebSocketClose) => boolean) | undefined;
  /** Called with the new state after each change. An error of the function ends the source. */
  readonly onState?: ((state: ReconnectingState) => void) | undefined;
}

interface Settings extends SocketSettings {
  readonly backoff: ExponentialBackoff;
  readonly healthyMs: number;
  readonly random: SeededRandom | null;
  readonly maxRetries: number;
  readonly retry: (close: WebSocketClose) => boolean;
  readonly onState: ((state: ReconnectingState) => void) | undefined;
}

const WHAT = "keep a web socket connected";
let seeds = 0;

/** The seed that is given, else another one for each source. */
function randomOf(seed: number | undefined): SeededRandom {
  if (seed === undefined) return new SeededRandom(seeds++);
  checkInteger(seed, Number.MIN_SAFE_INTEGER, WHAT, "seed");
  return new SeededRandom(seed);
}

function settle(options: ReconnectingOptions): Settings {
  const socket = settleSocket(options, WHAT);
  const {
    backoff = {},
    seed,
    maxRetries = Infinity,
    retry = (close: WebSocketClose) => !(close.wasClean && close.code === 1000),
    onState,
  } = options;
  checkInteger(maxRetries, 0, WHAT, "maxRetries", "or Infinity");
  checkPlainFunction(retry, WHAT, "retry");
  if (onState !== undefined) checkPlainFunction(onState, WHAT, "onState");
  const random = randomOf(seed);
  return {
    ...socket,
    ...settleBackoff(backoff, random),
    maxRetries,
    retry,
    onState,
  };
}

function settleBackoff(
  options: ReconnectBackoff,
  random: SeededRandom,
): Pick<Settings, "backoff" | "healthyMs" | "random"> {
  checkOptions(options, WHAT);
  const {
    initialMs = 100,
    factor = 2,
    maxMs = 30_000,
    jitter = "full",
    healthyMs = 10_000,
  } = options;
  checkFinite(initialMs, "backoff.initialMs");
  checkFinite(maxMs, "backoff.maxMs");
  checkNumber(factor, WHAT, "backoff.factor", "");
  if (!(factor >= 1 && factor < Infinity)) {
    throw new RangeError(
      `Cannot ${WHAT} as backoff.factor must be finite and >= 1: received ${factor}`,
    );
  }
  checkOneOf(jitter, ["full", "none"], WHAT, "backoff.jitter");
  checkNotNegative(healthyMs, WHAT, "backoff.healthyMs");
  return {
    backoff: new ExponentialBackoff(initialMs, factor, maxMs),
    healthyMs,
    random: jitter === "full" ? random : null,
  };
}

function checkFinite(value: unknown, name: string): void {
  checkNotNegative(value, WHAT, name);
  if (value === Infinity) {
    throw new RangeError(
      `Cannot ${WHAT} as ${name} must be finite: received Infinity`,
    );
  }
}

/** Opens a connection: returns a socket, or the URL of one. */
export type OpenSocket = () => WebSocket | string | URL;

/**
 * A web socket that is opened anew when its connection is lost, as a source of messages:
 * returned by {@linkcode reconnecting}.
 */
export class ReconnectingWebSocket extends Source<WebSocketMessage> {
  readonly #open: OpenSocket;
  readonly #settings: Settings;
  readonly #sender: Sender;
  readonly #side: Side;
  readonly #owner: ConnectionOwner = {
    connectionOpened: () => this.#opened(),
    messageCame: (message) => this.deliver(message),
    messageRefused: (error) => this.#failWith(error),
    connectionClosed: (close, error) => this.#lost(close, error),
  };
  #state: ReconnectingState = "connecting";
  #failures = 0;
  #openedMs: number | null = null;
  #timer: TimerHandle | null = null;
  #error: unknown = null;
  #goodbye: Goodbye = [1000, ""];

  /** @ignore */
  constructor(open: OpenSocket, options: ReconnectingOptions) {
    const settings = settle(options);
    super(options, {
      what: WHAT,
      name: "reconnecting()",
      cannotBlock: "a web socket cannot be made to wait",
      outside: "real",
    });
    this.#open = open;
    this.#settings = settings;
    this.#side = new Side(this.loop, () => this.#sendError());
    this.#sender = new Sender(this.#side, settings.sendBufferBytes);
    this.#connect(socketOf(open(), settings.protocols, WHAT));
    this.begin(options.signal);
  }

  /** State of now. */
  get state(): ReconnectingState {
    return this.#state;
  }

  /** How many connections in a row have failed, or were lost before they were healthy. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Sends a message; waits while there is no connection, and while more than
   * `sendBufferBytes` wait in the socket. Several senders go in the order in which they
   * came.
   *
   * Nothing is kept for later: a sender waits until there is a connection, and if its wait
   * ends with an error, nothing was sent. A message that was handed to a connection which
   * is lost then is not sent again: it arrives at most once.
   *
   * @param data The message.
   * @param options A signal that ends the wait.
   * @returns An operation. It does nothing until it is awaited.
   * @throws {WebSocketClosedError} If the source is closed. If it has failed, or its signal
   * has aborted, that error is thrown.
   * @throws {TypeError} If `data` cannot be sent, or `signal` is not an `AbortSignal`.
   */
  send(data: WebSocketData, options?: WaitOptions): Operation<void> {
    checkData(data);
    return this.#sender.send(data, options);
  }

  #sendError(): unknown {
    if (this.#error !== null) return this.#error;
    if (!this.closed) return null;
    return closedError("send to", this.#goodbye);
  }

  #connect(socket: WebSocket): void {
    this.#side.connection = new Connection(
      socket,
      this.loop,
      this.#owner,
      this.#settings,
    );
    this.#openedMs = null;
    this.#enter("connecting");
    if (socket.readyState === OPEN) this.#opened();
  }

  #enter(state: ReconnectingState): void {
    if (this.#state === state) return;
    this.#state = state;
    try {
      this.#settings.onState?.(state);
    } catch (error) {
      if (this.closed) this.report(error, "failed in onState()");
      else this.#failWith(error);
    }
  }

  #failWith(error: unknown): void {
    this.#error = error;
    this.fail(error);
  }

  /** Another attempt, in a turn of the loop. */
  #retry(): void {
    this.#timer = null;
    let socket: WebSocket;
    try {
      socket = socketOf(this.#open(), this.#settings.protocols, WHAT);
    } catch (error) {
      this.#failWith(error);
      return;
    }
    // The function may have closed this source.
    if (this.closed) socket.close();
    else this.#connect(socket);
  }

  #opened(): void {
    this.#openedMs = this.loop.time();
    this.#enter("open");
    this.#sender.wake();
  }

  #lost(close: WebSocketClose, error: WebSocketClosedError): void {
    this.#side.connection = null;
    this.#sender.wake();
    if (this.closed) return;
    const { healthyMs, maxRetries, backoff, random } = this.#settings;
    const isHealthy = this.#openedMs !== null &&
      this.loop.time() - this.#openedMs >= healthyMs;
    const failures = this.#failures = isHealthy ? 1 : this.#failures + 1;
    if (!this.#mayRetry(close, error)) return;
    if (failures > maxRetries) {
      const message =
        `Cannot ${WHAT}: gave up after ${failures} failures in a row`;
      this.#failWith(
        new ReconnectLimitError(message, failures, { cause: error }),
      );
      return;
    }
    const delayMs = backoff.delayMs(failures, random);
    this.#timer = this.loop.callLater(delayMs, () => this.#retry());
    this.#enter("waiting");
  }

  /** Asks the policy; ends the source if it is against another attempt. */
  #mayRetry(close: WebSocketClose, error: WebSocketClosedError): boolean {
    try {
      if (this.#settings.retry(close)) return !this.closed;
    } catch (thrown) {
      this.#failWith(thrown);
      return false;
    }
    if (close.wasClean) this.end();
    else this.#failWith(error);
    return false;
  }

  /**
   * Says goodbye if there is a connection, and makes no other; messages that are buffered
   * can still be taken. Calling it again does nothing.
   *
   * @param code Close code: 1000, or 3000 to 4999.
   * @param reason Reason for the peer, at most 123 bytes of UTF-8.
   * @throws {DOMException} If the code or the reason is refused by the runtime. Nothing has
   * happened then.
   */
  override close(code = 1000, reason = ""): void {
    if (this.closed) return;
    const { connection } = this.#side;
    if (connection !== null && !connection.isOver) {
      connection.socket.close(code, reason);
    }
    super.close();
  }

  /** @ignore */
  protected override aborted(reason: unknown): void {
    this.#error = reason;
  }

  /** @ignore */
  protected override overflowed(): void {
    this.#goodbye = [1013, "too many messages"];
  }

  /** @ignore */
  protected release(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#side.connection?.close(...this.#goodbye);
    this.#sender.wake();
    this.#enter("closed");
  }
}

/** The connection of now, for those who send. */
class Side implements SendingSide {
  readonly loop: EventLoop;
  readonly isOutside: boolean;
  connection: Connection | null = null;
  readonly sendError: () => unknown;

  constructor(loop: EventLoop, sendError: () => unknown) {
    this.loop = loop;
    this.isOutside = !loop[core].virtual;
    this.sendError = sendError;
  }
}

/**
 * Keeps a web socket connected, and returns the messages of all its connections as one
 * source.
 *
 * The first attempt is made at once. When a connection is lost or cannot be made, the next
 * attempt follows after a delay on the clock of the loop, which doubles with each failure
 * and is a random part of that (full jitter), the same for the same `seed`. `retry` says
 * which ends are final, `maxRetries` when to give up. Connections are made whether or not
 * somebody takes messages. The end of a connection shows in `state` and `onState`, not
 * among the messages: what the peer sent meanwhile is lost, so say again there what you
 * want to hear.
 *
 * Closing the source, by leaving it or otherwise, ends the attempts, and gives the peer
 * `closeTimeoutMs` to answer the goodbye. A message that is too
 * large, an overflow, and an error that `open` throws end it too. On virtual time, `open`
 * has to return sockets that the test plays: time does not stand still for a real one.
 *
 * @example A server that is away at first
 * ```ts
 * import { reconnecting, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let attempts = 0;
 * await using server = Deno.serve(
 *   { hostname: "127.0.0.1", port: 0, onListen: () => {} },
 *   (request) => {
 *     if (++attempts < 3) return new Response("not yet", { status: 503 });
 *     const { socket, response } = Deno.upgradeWebSocket(request);
 *     socket.onopen = () => socket.send("hello");
 *     return response;
 *   },
 * );
 * const states: string[] = [];
 * await run(async () => {
 *   using socket = reconnecting(`ws://127.0.0.1:${server.addr.port}`, {
 *     backoff: { initialMs: 1 },
 *     onState: (state) => states.push(state),
 *   });
 *   assertEquals(await socket.take(), "hello");
 * });
 * assertEquals(attempts, 3);
 * assertEquals(states, [
 *   "waiting", "connecting", "waiting", "connecting", "open", "closed",
 * ]);
 * ```
 *
 * @param open A URL, or a function that returns one or a socket; called for each attempt.
 * @param options As for {@linkcode fromWebSocket}; delays, and when to give up.
 * @returns The source, which is connecting already.
 * @throws {TypeError} If an argument is of the wrong type, or `overflow` is `"block"`.
 * @throws {RangeError} If a number is out of range.
 * @throws {DOMException} If the URL is malformed.
 * @throws {MisuseError} If no loop is running.
 */
export function reconnecting(
  open: string | URL | OpenSocket,
  options: ReconnectingOptions = {},
): ReconnectingWebSocket {
  if (typeof open === "string" || open instanceof URL) {
    return new ReconnectingWebSocket(() => open, options);
  }
  checkFunction(open, WHAT, "open");
  return new ReconnectingWebSocket(open, options);
}
