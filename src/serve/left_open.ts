/**
 * Things that a response leaves open: a body that is a stream, and a socket.
 *
 * @module
 */
import { TimeoutError } from "../errors.ts";
import type { BodyStream, UpgradedSocket } from "../host/http_server.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Attachment, Intake } from "./intake.ts";

// -- Bodies --

/** Errors by which bodies were cut. They are no failures of a body. */
const cuts: WeakSet<object> = new WeakSet();

/** Whether a body has this error because its time was over. */
export function isCut(error: unknown): boolean {
  return typeof error === "object" && error !== null && cuts.has(error);
}

/**
 * Returns a body in place of that of a response, which fails at a moment if it has not been
 * sent by then. Throws if the body is locked, or was read, as the runtime does.
 */
export function limitBody(
  response: Response,
  stream: BodyStream,
  loop: EventLoop,
  dueMs: number,
  intake: Intake,
): BodyStream {
  if (response.bodyUsed) {
    throw new TypeError("Cannot send a body: it has been read already");
  }
  const expired = () => intake.bodyTimedOut();
  const limited = new LimitedBody(stream, loop, dueMs, expired);
  return new ReadableStream(limited, { highWaterMark: 0 });
}

type Chunk = Uint8Array<ArrayBuffer>;

/** Source of a body that hands on another one until its time is over. */
class LimitedBody implements UnderlyingDefaultSource<Chunk> {
  readonly #reader: ReadableStreamDefaultReader<Chunk>;
  readonly #loop: EventLoop;
  readonly #dueMs: number;
  readonly #expired: () => void;
  #timer: TimerHandle | null = null;

  constructor(
    stream: ReadableStream<Chunk>,
    loop: EventLoop,
    dueMs: number,
    expired: () => void,
  ) {
    this.#reader = stream.getReader();
    this.#loop = loop;
    this.#dueMs = dueMs;
    this.#expired = expired;
  }

  start(controller: ReadableStreamDefaultController<Chunk>): void {
    this.#timer = this.#loop.callAt(this.#dueMs, () => this.#cut(controller));
  }

  #cut(controller: ReadableStreamDefaultController<Chunk>): void {
    this.#timer = null;
    const error = new TimeoutError("The time of the request is over");
    cuts.add(error);
    controller.error(error);
    this.#expired();
    discard(this.#reader, this.#loop, error);
  }

  async pull(
    controller: ReadableStreamDefaultController<Chunk>,
  ): Promise<void> {
    let result: ReadableStreamReadResult<Chunk>;
    try {
      result = await this.#reader.read();
    } catch (error) {
      this.#end();
      throw error;
    }
    if (this.#timer === null) return; // cut, or cancelled
    if (result.done) {
      this.#end();
      controller.close();
    } else controller.enqueue(result.value);
  }

  cancel(reason: unknown): Promise<void> {
    this.#end();
    return this.#reader.cancel(reason);
  }

  #end(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}

/** Cancels a body that nobody wants any more. A failure of that is reported. */
export function discard(
  body: { cancel(reason: unknown): Promise<void> },
  loop: EventLoop,
  reason: unknown,
): void {
  body.cancel(reason).catch((error) => {
    if (error === reason) return;
    loop.callExceptionHandler({
      message: "A response body that nobody wanted could not be cancelled",
      exception: error,
    });
  });
}

// -- Sockets --

/** "Going away", as the protocol has it. */
const GOING_AWAY = 1001;
/** "Internal error". */
const FAILED = 1011;

/** How long a socket may take to open. */
const OPEN_MS = 500;

/** A WebSocket that the server closes at its end. */
export class ServedSocket implements Attachment {
  readonly #intake: Intake;
  readonly #socket: WebSocket;
  readonly #response: Response;
  readonly #closeMs: number;
  #timer: TimerHandle | null = null;
  readonly #closed = () => this.#detach();
  readonly #opened = () => this.#sayGoodbye();
  #code = GOING_AWAY;

  /** @param closeMs How long the client may take to answer. */
  constructor(intake: Intake, upgraded: UpgradedSocket, closeMs: number) {
    const { socket, response } = upgraded;
    this.#intake = intake;
    this.#socket = socket;
    this.#response = response;
    this.#closeMs = closeMs;
    socket.addEventListener("close", this.#closed);
    intake.attach(this);
  }

  /**
   * The response was given. A socket whose client has gone before it got that neither
   * opens nor closes.
   */
  answered(): void {
    this.#timer ??= this.#intake.loop.callLater(OPEN_MS, () => {
      this.#timer = null;
      if (this.#socket.readyState === WebSocket.CONNECTING) this.#lost();
    });
  }

  /** The handler did not return the response: returns it, for a socket that is closed once it is open. */
  giveUp(): Response {
    this.#code = FAILED;
    this.#close();
    return this.#response;
  }

  drain(): void {
    this.#close();
  }

  #close(): void {
    this.#timer?.cancel();
    const socket = this.#socket;
    if (socket.readyState === WebSocket.CONNECTING) {
      socket.addEventListener("open", this.#opened);
    } else this.#sayGoodbye();
    this.#timer = this.#intake.loop.callLater(
      this.#closeMs,
      () => this.#lost(),
    );
  }

  /** Detaches a socket that does not close by itself. */
  #lost(): void {
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      this.#intake.hasLost = true;
    }
    this.#detach();
  }

  #sayGoodbye(): void {
    const socket = this.#socket;
    if (socket.readyState === WebSocket.OPEN) socket.close(this.#code);
  }

  /** The end of the server drops the connection. */
  cut(): void {
    this.#detach();
  }

  #detach(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#socket.removeEventListener("close", this.#closed);
    this.#socket.removeEventListener("open", this.#opened);
    this.#intake.detach(this);
  }
}
