/**
 * `eventStream`: server-sent events from anything that can be iterated.
 *
 * @module
 */
import { isCancellation } from "../loop/cancellation.ts";
import {
  checkNumber,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import {
  findLocals,
  getRunningLoop,
  type LocalValue,
} from "../loop/current.ts";
import { each, items, type OperationIterable } from "../loop/each.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { until } from "../loop/until.ts";
import type { Attachment, Intake } from "./intake.ts";
import { requestLocal } from "./request_run.ts";

/** An event of an event stream, as the standard has it. */
export interface ServerSentEvent {
  /** Data: text as it is, anything else as JSON. */
  readonly data: unknown;
  /**
   * Type of the event.
   *
   * @default {"message"}
   */
  readonly event?: string | undefined;
  /** Id by which a client that connects again says what it has got. */
  readonly id?: string | undefined;
  /** After how many milliseconds a client that was cut off connects again. */
  readonly retryMs?: number | undefined;
}

/** Item of an event stream: an event, or the text of one. */
export type EventStreamItem = ServerSentEvent | string;

/** Options of {@linkcode eventStream}. */
export interface EventStreamOptions {
  /** Sent at the end if the server closes, in place of what is still to come. */
  readonly lastEvent?: EventStreamItem | undefined;
  /**
   * After how many milliseconds without an event a comment is sent, so that no proxy
   * takes the connection for a dead one; `Infinity` for never.
   *
   * @default {15_000}
   */
  readonly heartbeatMs?: number | undefined;
  /** More headers. */
  readonly headers?: HeadersInit | undefined;
}

const WHAT = "make an event stream";
const NO_OPTIONS: EventStreamOptions = {};
const encoder = new TextEncoder();
const HEARTBEAT = encoder.encode(":\n\n");

/** Source of an event stream: anything that `for await` takes, or an {@linkcode OperationIterable}. */
export type EventStreamSource =
  | OperationIterable<EventStreamItem>
  | AsyncIterable<EventStreamItem>
  | Iterable<EventStreamItem>;

/**
 * Makes a response that is a stream of server-sent events.
 *
 * The source is iterated in a task of its own, which begins when the client reads, and
 * inherits the `TaskLocal` values of the code that called this. An item is pulled when
 * the one before was taken: a slow client slows the source down and fills no memory.
 *
 * When the client goes, the task is cancelled, and with it what the source waits for. If
 * it goes before it has read anything, the source is closed all the same.
 * When the server closes, `lastEvent` is sent at once, the stream ends and the task is
 * cancelled; for that, call it inside of a handler of {@linkcode serve}. An error of the
 * source cuts the stream, and is reported by the server. `requestTimeoutMs` holds for
 * the stream as a whole.
 *
 * @example Events until the server closes
 * ```ts
 * import { run, sleep } from "@rota/rota";
 * import { eventStream, serve } from "@rota/rota/serve";
 * import { assertEquals } from "@std/assert";
 *
 * async function* ticks() {
 *   for (let n = 1;; n++) {
 *     yield { data: { n }, id: String(n) };
 *     await sleep(1_000);
 *   }
 * }
 * await run(async () => {
 *   const server = serve(() => eventStream(ticks(), { lastEvent: "bye" }), {
 *     port: 0,
 *     hostname: "127.0.0.1",
 *   });
 *   const { port } = await server.ready() as Deno.NetAddr;
 *   const response = await fetch(`http://127.0.0.1:${port}/`);
 *   const events: string[] = [];
 *   for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
 *     if (events.push(text) === 1) server.cancel(); // the client has got the first one
 *   }
 *   await server;
 *   assertEquals(events, ['id: 1\ndata: {"n":1}\n\n', "data: bye\n\n"]);
 * });
 * ```
 *
 * @param source Anything that `for await` takes, or an {@linkcode OperationIterable}.
 * @param options Last event, heartbeat and headers.
 * @returns The response.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `heartbeatMs` is not positive, or `lastEvent` cannot be sent.
 * @throws {MisuseError} If no loop is running.
 */
export function eventStream(
  source: EventStreamSource,
  options: EventStreamOptions = NO_OPTIONS,
): Response {
  checkSource(source);
  checkOptions(options, WHAT);
  const { lastEvent, heartbeatMs = 15_000, headers } = options;
  checkNumber(heartbeatMs, WHAT, "heartbeatMs");
  if (!(heartbeatMs > 0)) {
    throw new RangeError(
      `Cannot ${WHAT} as heartbeatMs must be > 0: received ${heartbeatMs}`,
    );
  }
  const last = lastEvent === undefined ? null : encode(lastEvent);
  const all = new Headers(headers);
  if (!all.has("content-type")) all.set("content-type", "text/event-stream");
  if (!all.has("cache-control")) all.set("cache-control", "no-store");
  const stream = new EventStream(source, last, heartbeatMs);
  const body = new ReadableStream(stream, { highWaterMark: 0 });
  return new Response(body, { headers: all });
}

function checkSource(source: unknown): void {
  const all = source as Record<symbol, unknown> | null | undefined;
  const isIterable = typeof source !== "string" &&
    [items, Symbol.asyncIterator, Symbol.iterator].some((key) =>
      typeof all?.[key] === "function"
    );
  if (isIterable) return;
  throw new TypeError(
    `Cannot ${WHAT} as source must be iterable: received ${inspect(source)}`,
  );
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Source of the body of an event stream. */
class EventStream implements UnderlyingDefaultSource<Bytes>, Attachment {
  readonly #source: EventStreamSource;
  readonly #last: Bytes | null;
  readonly #heartbeatMs: number;
  readonly #loop: EventLoop = getRunningLoop();
  readonly #locals: LocalValue | null = findLocals();
  readonly #intake: Intake | null = requestLocal.get()?.intake ?? null;
  #controller: ReadableStreamDefaultController<Bytes> | null = null;
  #task: Task<void> | null = null;
  #heartbeat: TimerHandle | null = null;
  /** Whether the client waits for something. */
  #wanted = false;
  /** Set while an item waits for the client. */
  #turn: Future<void> | null = null;
  #closed = false;

  constructor(
    source: EventStreamSource,
    last: Bytes | null,
    heartbeatMs: number,
  ) {
    this.#source = source;
    this.#last = last;
    this.#heartbeatMs = heartbeatMs;
  }

  pull(controller: ReadableStreamDefaultController<Bytes>): void {
    this.#wanted = true;
    if (this.#controller === null) this.#begin(controller);
    else if (this.#turn?.done() === false) this.#turn.setResult();
  }

  #begin(controller: ReadableStreamDefaultController<Bytes>): void {
    this.#controller = controller;
    const task = this.#loop.createTask(() => this.#pump(), {
      name: "event stream",
    });
    task.inheritFrom(null, this.#locals, null);
    this.#task = task;
    task.addDoneCallback(() => this.#ended());
    this.#armHeartbeat();
    this.#intake?.attach(this);
  }

  *#pump(): Coroutine<void> {
    const write = (item: EventStreamItem) => this.#write(item);
    try {
      yield* each(this.#source, function* (item: EventStreamItem) {
        yield* write(item);
      });
    } catch (error) {
      if (isCancellation(error)) throw error;
      this.#close(error);
      return;
    }
    this.#close();
  }

  *#write(item: EventStreamItem): Coroutine<void> {
    const bytes = encode(item);
    while (!this.#wanted) {
      const turn = this.#turn = this.#loop.createFuture("the client");
      try {
        yield* turn;
      } finally {
        this.#turn = null;
      }
    }
    this.#send(bytes);
  }

  #send(bytes: Bytes): void {
    if (this.#closed) return;
    this.#wanted = false;
    this.#controller!.enqueue(bytes);
    this.#armHeartbeat();
  }

  #armHeartbeat(): void {
    this.#heartbeat?.cancel();
    if (this.#heartbeatMs === Infinity) return;
    this.#heartbeat = this.#loop.callLater(this.#heartbeatMs, () => {
      // A client that does not read needs no sign of life.
      if (this.#wanted) this.#send(HEARTBEAT);
      else this.#armHeartbeat();
    });
  }

  /** Ends the stream, with an error if there is one. */
  #close(...failure: [] | [unknown]): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#heartbeat?.cancel();
    if (failure.length === 0) this.#controller!.close();
    else this.#controller!.error(failure[0]);
  }

  #ended(): void {
    this.#close(); // it was cancelled
    this.#intake?.detach(this);
  }

  /** The client has gone, or nobody wants the response. */
  cancel(): void {
    this.#closed = true;
    this.#heartbeat?.cancel();
    if (this.#task === null) this.#leaveSource();
    else this.#task.cancel("the client has gone");
  }

  /** Closes a source that was not begun: one that listens to events has done so since it was made. */
  #leaveSource(): void {
    if (this.#loop.isClosed()) return;
    const source = this.#source as Partial<
      & OperationIterable<EventStreamItem>
      & AsyncIterable<EventStreamItem>
    >;
    const iterator = source[items] === undefined
      ? source[Symbol.asyncIterator]?.()
      : undefined;
    const closing = iterator === undefined
      ? source[items]?.().close?.()
      : until(async () => await iterator.return?.());
    if (!(closing instanceof Operation)) return;
    this.#loop.createTask(() => closing, { name: "event stream" });
  }

  drain(): void {
    if (this.#closed) return;
    if (this.#last !== null) this.#send(this.#last);
    this.#close();
    this.#task!.cancel("the server is closing");
  }

  cut(): void {
    this.#close();
    this.#task!.cancel("the server has ended");
  }
}

const LINE_BREAK = /\r\n|\r|\n/;

/** Returns an event as it is sent. */
function encode(item: EventStreamItem): Bytes {
  if (typeof item === "string") return encoder.encode(dataLines(item) + "\n");
  const what = "send an event";
  if (typeof item !== "object" || item === null) {
    throw new TypeError(
      `Cannot ${what} as it must be a string or an object with data: received ${
        inspect(item)
      }`,
    );
  }
  const { data, event, id, retryMs } = item;
  let text = "";
  if (event !== undefined) {
    text += `event: ${checkLine(event, what, "event")}\n`;
  }
  if (id !== undefined) text += `id: ${checkLine(id, what, "id")}\n`;
  if (retryMs !== undefined) {
    checkNumber(retryMs, what, "retryMs");
    text += `retry: ${Math.max(Math.round(retryMs), 0)}\n`;
  }
  const json = typeof data === "string" ? data : JSON.stringify(data);
  return encoder.encode(text + dataLines(json ?? "") + "\n");
}

function dataLines(text: string): string {
  return text.split(LINE_BREAK).map((line) => `data: ${line}\n`).join("");
}

function checkLine(value: unknown, what: string, name: string): string {
  checkString(value, what, name);
  const line = value as string;
  if (!LINE_BREAK.test(line) && !line.includes("\0")) return line;
  throw new RangeError(
    `Cannot ${what} as ${name} must be one line: received ${inspect(line)}`,
  );
}
