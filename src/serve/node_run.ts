/**
 * Requests of `node:http`: from the call of the listener to the end of the response.
 *
 * @module
 */
import { cancellation, isCancellation } from "../loop/cancellation.ts";
import { isSteppable, isThenable } from "../loop/checks.ts";
import type { Future } from "../loop/future.ts";
import type { Task } from "../loop/task.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Intake } from "./intake.ts";
import { type Refusal, RequestRun } from "./request_run.ts";

/** The part of an `IncomingMessage` of `node:http` that is needed. */
export interface NodeRequest {
  /** Method, such as `"GET"`. */
  readonly method?: string | undefined;
  /** Path with the query. */
  readonly url?: string | undefined;
  /** Connection of the client. */
  readonly socket?: NodeSocket | null | undefined;
  /** Whether all of it has come. */
  readonly complete?: boolean | undefined;
  /** Whether it was ended, also before its time. */
  readonly destroyed?: boolean | undefined;
  /** Ends it: whoever reads its body gets an error. */
  destroy?(): unknown;
}

/** The part of a `Socket` of `node:net` that is needed. */
export interface NodeSocket {
  /** Has a function called when it is closed. */
  on(event: "close", listener: () => void): unknown;
}

/** The part of a `ServerResponse` of `node:http` that is needed. */
export interface NodeResponse {
  /** Whether its headers cannot be changed any more. */
  readonly headersSent: boolean;
  /** Whether it was ended. */
  readonly writableEnded: boolean;
  /** Whether all of it was handed to the system. */
  readonly writableFinished: boolean;
  /** Whether it, or its connection, is gone. */
  readonly destroyed: boolean;
  /** Status. */
  statusCode: number;
  /** Returns the names of the headers that were set. */
  getHeaderNames(): string[];
  /** Sets a header. */
  setHeader(name: string, value: string): unknown;
  /** Takes a header away. */
  removeHeader(name: string): void;
  /** Ends it. */
  end(body?: string): unknown;
  /** Cuts it, with its connection. */
  destroy(error?: Error): unknown;
  /** Has a function called when it is over, or has failed. */
  on(event: "close" | "error", listener: () => void): unknown;
}

/** The server, as its requests see it. */
export interface NodeDesk {
  readonly intake: Intake;
  readonly retryAfterMs: number;
  /** Returns the requests of a connection whose responses are not over. */
  requestsOf(socket: NodeSocket): Set<NodeRun>;
  /** Called when the response of a request is over. */
  responded(run: NodeRun): void;
  /** Called with an error of the listener. */
  failed(error: unknown, run: NodeRun): void;
}

/**
 * Turns in which the functions of a request have to be seen outside of all operations
 * before it ends: they need one or two to get from one operation to the next.
 */
const QUIET_TURNS = 4;
/** How long functions that wait for an operation are left alone before they are looked at again. */
const LINGER_MS = 5;
/** Product of a function whose end is told by other means. */
const TOLD_LATER: PromiseLike<void> = { then: () => TOLD_LATER as never };

/** Errors of those who read a body that has ended before its time. */
const BODY_LOST: readonly unknown[] = [
  "ABORT_ERR",
  "ECONNRESET",
  "ERR_STREAM_PREMATURE_CLOSE",
];

function isBodyLost(error: unknown): boolean {
  return error instanceof Error &&
    BODY_LOST.includes((error as { code?: unknown }).code);
}

/** Whether a request has ended without the whole of its body. */
function isCutOff({ destroyed, complete }: NodeRequest): boolean {
  return destroyed === true && complete === false;
}

/** Path of a request, without its query. */
export function pathOf({ url = "" }: NodeRequest): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

/**
 * A request of `node:http`. A framework returns from its listener at once and answers
 * later, and nobody learns when its handler ends. So the request ends when its response
 * is over and what was called for it waits for no operation.
 */
export class NodeRun extends RequestRun {
  readonly request: NodeRequest;
  readonly isCoroutine: boolean;
  readonly #desk: NodeDesk;
  readonly response: NodeResponse;
  readonly #listener: () => unknown;
  /** Requests of the same connection. */
  readonly #neighbours: Set<NodeRun> | null;
  #task: Task<unknown> | null = null;
  #isClosed = false;
  /** Ends the wait for the end of the response. */
  #whenClosed: (() => void) | null = null;

  constructor(
    desk: NodeDesk,
    request: NodeRequest,
    response: NodeResponse,
    listener: () => unknown,
    isCoroutine: boolean,
    rank: number,
  ) {
    super(desk.intake, rank);
    this.request = request;
    this.isCoroutine = isCoroutine;
    this.#desk = desk;
    this.response = response;
    this.#listener = listener;
    response.on("close", () => this.closed());
    const { socket } = request;
    // A response in line behind others of its connection is not closed with that.
    this.#neighbours = socket ? desk.requestsOf(socket).add(this) : null;
  }

  get name(): string {
    return `${this.request.method ?? "GET"} ${pathOf(this.request)}`;
  }

  /** Null after the end, so that functions which go on get a task of their own for what they await. */
  override get runner(): Task<unknown> | null {
    return this.hasEnded ? null : this.#task = super.runner;
  }

  /** The response was sent, or its client has gone. */
  closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#neighbours?.delete(this);
    if (!this.response.writableFinished) {
      this.cancel("gone", "the client has gone");
    }
    // The function may wait for the rest of a body, which nobody sends any more.
    if (this.abortion !== null && !this.hasEnded) this.request.destroy?.();
    this.#whenClosed?.();
    this.#desk.responded(this);
  }

  // -- Its function --

  call(): unknown {
    const product = this.#listener();
    if (this.isCoroutine || isSteppable(product)) {
      return this.#afterCoroutine(product as Coroutine<unknown>);
    }
    if (isThenable(product)) {
      const failed = (error: unknown) => this.end(true, error);
      product.then(() => this.#endWithResponse(), failed);
    } else this.#endWithResponse();
    return TOLD_LATER;
  }

  *#afterCoroutine(product: Coroutine<unknown>): Coroutine<void> {
    yield* product;
    if (this.#isClosed) return;
    const closed: Future<void> = this.loop.createFuture("a response");
    this.#whenClosed = () => {
      if (!closed.done()) closed.setResult();
    };
    yield* closed;
  }

  /** Ends the request once its response is over, and what was called waits for nothing. */
  #endWithResponse(): void {
    this.#whenClosed = () => this.#endQuietly(QUIET_TURNS);
    if (this.#isClosed) this.#whenClosed();
  }

  #endQuietly(turns: number): void {
    const task = this.#task;
    if (task === null || turns === 0 || this.loop.isClosed()) {
      this.end(false, undefined);
    } else if (task.isOutside()) {
      this.loop.callSoon(() => this.#endQuietly(turns - 1));
    } else this.loop.callLater(LINGER_MS, () => this.#endQuietly(QUIET_TURNS));
  }

  returned(): void {
    // The response is over.
  }

  threw(error: unknown): void {
    // The rest of its body does not come, as the client has gone or was answered.
    if (isBodyLost(error) && isCutOff(this.request)) {
      this.abortion ??= { why: "gone", error: cancellation(error) };
    } else if (!isCancellation(error)) {
      this.#desk.failed(error, this);
      this.#answer(500, "Internal Server Error");
      return;
    }
    this.refused(this.abortion?.why ?? "cancelled");
  }

  // -- Answers --

  refused(why: Refusal): void {
    if (why === "timeout") this.#answer(504, "Gateway Timeout");
    else if (why !== "gone") this.#refuse();
  }

  expired(): void {
    this.#answer(504, "Gateway Timeout");
  }

  override cancel(why: Refusal, reason: unknown): void {
    const isFirst = this.abortion === null;
    if (isFirst && why === "cancelled" && this.state === "running") {
      this.#refuse();
    }
    super.cancel(why, reason);
  }

  #refuse(): void {
    const seconds = Math.ceil(this.#desk.retryAfterMs / 1_000);
    this.#answer(503, "Service Unavailable", String(seconds));
  }

  /** Answers in place of the function. A response that is under way is cut. */
  #answer(status: number, text: string, retryAfter?: string): void {
    const response = this.response;
    if (response.writableEnded || response.destroyed) return;
    // The function may go on to write to it, and its error would end the process.
    response.on("error", () => {});
    if (response.headersSent) {
      response.destroy();
      return;
    }
    for (const header of response.getHeaderNames()) {
      response.removeHeader(header);
    }
    response.statusCode = status;
    response.setHeader("content-type", "text/plain");
    if (status !== 500) response.setHeader("connection", "close");
    if (retryAfter !== undefined) response.setHeader("retry-after", retryAfter);
    response.end(text);
  }

  /** Has the response say that its connection is closed after it. */
  announceEnd(): void {
    if (this.response.headersSent) return;
    this.response.setHeader("connection", "close");
  }

  protected watchClient(): void {
    // Listens from the beginning.
  }

  protected unwatchClient(): void {
    // The listener goes with the response.
  }
}
