/**
 * Options of `serve`, and the checks of them.
 *
 * @module
 */
import type { HttpInfo, ListenOptions } from "../host/http_server.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  inspect,
} from "../loop/checks.ts";
import type { Priority } from "../loop/priority.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { ConcurrencyLimit } from "../schedule/concurrency_limit.ts";
import type { RequestContext } from "./fetch_run.ts";
import { checkLifespan, type LifespanSource } from "./lifespan.ts";

/**
 * Function that answers a request: a plain, async or generator function. The `fetch`
 * of a framework such as Hono is one.
 *
 * @typeParam V Type of the value of the lifespan.
 */
export type ServeHandler<V = undefined> = (
  request: Request,
  context: RequestContext<V>,
) => Response | PromiseLike<Response> | Coroutine<Response>;

/** Options of the intake: how much is taken in, and for how long. */
export interface IntakeOptions {
  /**
   * How many requests run at a time, or a limit that is shared with others: each
   * request is a job of it then, which begins in the next turn at the earliest. A
   * request runs until its handler has ended, also if its client was answered before.
   *
   * @default {Infinity}
   */
  readonly maxConcurrent?: number | ConcurrencyLimit | undefined;
  /**
   * How many requests may wait in line. A request that finds the line full is answered with
   * 503 and `Retry-After`, as is one for which an `overload` of the limit leaves no room.
   *
   * @default {maxConcurrent, or the size of the limit}
   */
  readonly maxWaiting?: number | undefined;
  /**
   * How long a request may take, in milliseconds, its time in line and the sending of a
   * streamed body included.
   *
   * @default {Infinity}
   */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * Time in the header `Retry-After`, in milliseconds; rounded up to seconds.
   *
   * @default {1_000}
   */
  readonly retryAfterMs?: number | undefined;
  /**
   * How long whatever is under way may take to end once the server closes, in
   * milliseconds; the rest is cancelled then. In a graceful shutdown its phases
   * decide instead.
   *
   * @default {10_000}
   */
  readonly graceMs?: number | undefined;
  /**
   * How long what was cancelled may take to end, in milliseconds. Requests that have
   * not ended by then are reported to the exception handler, and not waited for; nor is a
   * lifespan that does not open.
   *
   * @default {5_000}
   */
  readonly cancelMs?: number | undefined;
}

/**
 * Options of {@linkcode serve}.
 *
 * @typeParam V Type of the value of the lifespan.
 */
export interface ServeOptions<V = undefined>
  extends ListenOptions, IntakeOptions {
  /**
   * Name of the server, for its task and in messages.
   *
   * @default {"server"}
   */
  readonly name?: string | undefined;
  /**
   * Returns the priority of a request: its place in line, and that of its task on a
   * loop with priorities. An error of it is treated as one of the handler.
   *
   * @default {"user-visible" for all}
   */
  readonly priority?: ((request: Request) => Priority) | undefined;
  /**
   * Resource that is opened before the server listens, and closed when it has ended. See
   * {@linkcode LifespanSource}.
   */
  readonly lifespan?: LifespanSource<V> | undefined;
  /**
   * Path at which the server says whether it is ready: 200, and 503 once it is going
   * to close. Answered outside of the limit, and not by the handler.
   */
  readonly readinessPath?: string | undefined;
  /** Path at which the server says that it lives: always 200. */
  readonly livenessPath?: string | undefined;
  /**
   * How long clients of WebSockets may take to answer when the server closes them, in
   * milliseconds.
   *
   * @default {1_000}
   */
  readonly socketCloseMs?: number | undefined;
  /**
   * Called with each error of a handler, of a body that was being sent, and of a
   * response that cannot be sent, in place of the loop's exception handler. It may
   * return the response for an error of a handler. `request` is `null` if it is not
   * known to which request the error belongs.
   *
   * @default {report to the exception handler, and answer with 500}
   */
  readonly onError?:
    | ((error: unknown, request: Request | null) => Response | void)
    | undefined;
  /**
   * Whether the server takes part in the graceful shutdown of the loop or process:
   * see `gracefulShutdown`.
   *
   * @default {true}
   */
  readonly shutdown?: boolean | undefined;
  /** Closes the server when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of the intake, each with its value. */
export interface SettledIntake {
  readonly maxConcurrent: number | ConcurrencyLimit;
  readonly maxWaiting: number;
  readonly requestTimeoutMs: number;
  readonly retryAfterMs: number;
  readonly graceMs: number;
  readonly cancelMs: number;
}

/** The options of a server, each with its value. */
export interface SettledServe<V> extends SettledIntake {
  readonly name: string;
  readonly priority: ((request: Request) => Priority) | null;
  readonly lifespan: LifespanSource<V> | null;
  readonly readinessPath: string | null;
  readonly livenessPath: string | null;
  readonly socketCloseMs: number;
  readonly onError:
    | ((error: unknown, request: Request | null) => Response | void)
    | null;
  readonly shutdown: boolean;
  readonly signal: AbortSignal | undefined;
  readonly listen: ListenOptions;
}

/** Checks the options of an intake, and fills in the defaults. */
export function settleIntake(
  options: IntakeOptions,
  what: string,
): SettledIntake {
  const { maxConcurrent = Infinity, requestTimeoutMs = Infinity } = options;
  const { retryAfterMs = 1_000, graceMs = 10_000, cancelMs = 5_000 } = options;
  const isLimit = maxConcurrent instanceof ConcurrencyLimit;
  if (!isLimit) {
    checkInteger(maxConcurrent, 1, what, "maxConcurrent", "or Infinity");
  }
  const { maxWaiting = isLimit ? maxConcurrent.size : maxConcurrent } = options;
  checkInteger(maxWaiting, 0, what, "maxWaiting", "or Infinity");
  checkNotNegative(requestTimeoutMs, what, "requestTimeoutMs");
  checkNotNegative(retryAfterMs, what, "retryAfterMs");
  checkNotNegative(graceMs, what, "graceMs");
  checkNotNegative(cancelMs, what, "cancelMs");
  return {
    maxConcurrent,
    maxWaiting,
    requestTimeoutMs,
    retryAfterMs,
    graceMs,
    cancelMs,
  };
}

/** Checks the options of a server, and fills in the defaults. */
export function settleServe<V>(
  options: ServeOptions<V>,
  what: string,
): SettledServe<V> {
  checkOptions(options, what);
  const intake = settleIntake(options, what);
  const { name = "server", shutdown = true, signal } = options;
  const { priority, onError, lifespan, socketCloseMs = 1_000 } = options;
  checkString(name, what, "name");
  checkOneOf(shutdown, [true, false], what, "shutdown");
  checkSignal(signal, what);
  if (priority !== undefined) checkFunction(priority, what, "priority");
  if (onError !== undefined) checkFunction(onError, what, "onError");
  if (lifespan !== undefined) checkLifespan(lifespan, what);
  checkNotNegative(socketCloseMs, what, "socketCloseMs");
  return {
    ...intake,
    name,
    priority: priority ?? null,
    lifespan: lifespan ?? null,
    ...checkPaths(options, what),
    socketCloseMs,
    onError: onError ?? null,
    shutdown,
    signal,
    listen: settleListen(options, what),
  };
}

/** Checks the paths of health: two are told apart, and each may be missing. */
export function checkPaths(
  options: { readinessPath?: unknown; livenessPath?: unknown },
  what: string,
): { readinessPath: string | null; livenessPath: string | null } {
  const readinessPath = checkPath(options.readinessPath, what, "readinessPath");
  const livenessPath = checkPath(options.livenessPath, what, "livenessPath");
  if (readinessPath !== null && readinessPath === livenessPath) {
    throw new RangeError(
      `Cannot ${what} as livenessPath must differ from readinessPath: received ${
        inspect(livenessPath)
      }`,
    );
  }
  return { readinessPath, livenessPath };
}

function checkPath(path: unknown, what: string, name: string): string | null {
  if (path === undefined) return null;
  checkString(path, what, name);
  if (/^\/[^?#]*$/.test(path as string)) return path as string;
  throw new RangeError(
    `Cannot ${what} as ${name} must begin with "/" and have no query: received ${
      inspect(path)
    }`,
  );
}

/** Options for the runtime, without those that are not set: it tells them apart. */
function settleListen(options: ListenOptions, what: string): ListenOptions {
  const { port, hostname, path, reusePort, cert, key } = options;
  if (port !== undefined) {
    checkInteger(port, 0, what, "port");
    if (port > 65_535) {
      throw new RangeError(
        `Cannot ${what} as port must be at most 65535: received ${port}`,
      );
    }
  }
  for (const [name, value] of Object.entries({ hostname, path, cert, key })) {
    if (value !== undefined) checkString(value, what, name);
  }
  if (reusePort !== undefined) {
    checkOneOf(reusePort, [true, false], what, "reusePort");
  }
  const place = port ?? hostname;
  if (path !== undefined && place !== undefined) {
    throw new TypeError(
      `Cannot ${what} as path excludes port and hostname: received ${
        inspect(place)
      }`,
    );
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError(
      `Cannot ${what} as cert and key must be given together: received only ${
        cert === undefined ? "key" : "cert"
      }`,
    );
  }
  const all = { port, hostname, path, reusePort, cert, key };
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined),
  );
}

export type { HttpInfo, ListenOptions };
