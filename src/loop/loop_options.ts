/**
 * How loops and tasks are made: the options, and the checks of what was given.
 *
 * @module
 */
import { readEnvironment } from "../host/process.ts";
import type { Host } from "../host/host.ts";
import { createHost, type HostChoice } from "../host/select.ts";
import {
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  inspect,
} from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import { checkPriority } from "./priority.ts";
import { checkScheduler, type Scheduler } from "./scheduler.ts";
import type { Task, TaskOptions } from "./task.ts";
import type { TaskBody } from "./task_body.ts";

/** What to do when every task waits and nothing is there to wake one. */
export type DeadlockPolicy = "ignore" | "report" | "error";

/** How to make an {@linkcode EventLoop}. */
export interface EventLoopOptions {
  /**
   * How to wait: `"native"` (epoll or poll(2), needs `--allow-ffi`), `"poll"`
   * (poll(2)), `"portable"` (no permission, no descriptors), `"virtual"` (time
   * jumps to the next deadline; for tests), `"auto"` (native where FFI is
   * granted already, else portable; never asks), or a host of your own.
   *
   * @default {"auto"}
   */
  readonly host?: HostChoice | Host | undefined;
  /**
   * Whether to watch for mistakes: see {@linkcode EventLoop.debug}.
   *
   * @default {whether ROTA_DEBUG is 1 in an environment that may be read}
   */
  readonly debug?: boolean | undefined;
  /**
   * From which duration on debug mode reports a callback as slow.
   *
   * @default {100}
   */
  readonly slowCallbackMs?: number | undefined;
  /**
   * `"precise"` learns how late wake-ups are and spends what is left before a
   * deadline polling: the median lateness of a short sleep is 1 to 3 us, at the
   * price of some CPU before each deadline. `"thrifty"` spends next to nothing:
   * on Linux one sleep in four waits on the thread for its last 0.2 ms or less.
   *
   * @default {"thrifty"}
   */
  readonly timerPrecision?: "thrifty" | "precise" | undefined;
  /**
   * `"empty"` runs callbacks and tasks in the empty AsyncLocalStorage context;
   * `"inherit"` in that of whoever scheduled them, for about a microsecond each.
   *
   * @default {"empty"}
   */
  readonly asyncContext?: "empty" | "inherit" | undefined;
  /**
   * What becomes of a run whose tasks all wait with nothing there to wake one.
   * `"error"` rejects it with a {@linkcode DeadlockError}; `"report"` tells the
   * exception handler, once, after a second; `"ignore"` waits.
   *
   * @default {"error" on the virtual host, else "report" in debug mode, else "ignore"}
   */
  readonly deadlock?: DeadlockPolicy | undefined;
  /**
   * Whether the virtual clock stands still while something outside the loop may
   * wake a task: `until`, or an async function that waits for a foreign promise.
   *
   * @default {"wait"}
   */
  readonly outsideWaits?: "wait" | "ignore" | undefined;
  /**
   * How long after a cancellation the exception handler is told of an async
   * function that has not reacted, as it waits for a foreign promise.
   *
   * @default {1_000}
   */
  readonly cancelWarnMs?: number | undefined;
  /**
   * In which order what is ready runs: a {@linkcode PriorityScheduler}, or a
   * strategy of one's own. It must not belong to another loop.
   *
   * @default {none: in the order in which things became ready, as in asyncio}
   */
  readonly scheduler?: Scheduler | undefined;
}

/** What {@linkcode EventLoop.stats} tells. */
export interface LoopStats {
  /** The name of the host: `"epoll"`, `"poll"`, `"portable"`, `"virtual"`. */
  readonly host: string;
  /** Turns so far. */
  readonly turns: number;
  /** Callbacks and tasks that run in the next turn. */
  readonly ready: number;
  /** Timers that are pending. */
  readonly timers: number;
  /** Descriptors that are watched. */
  readonly descriptors: number;
  /** Signals that have a handler. */
  readonly signals: number;
  /** Tasks that have not ended. */
  readonly tasks: number;
  /** Waits for foreign promises by `until`. */
  readonly outsideWaits: number;
}

/** A factory for tasks: see {@linkcode EventLoop.setTaskFactory}. */
export type TaskFactory = <T>(
  loop: EventLoop,
  body: TaskBody<T>,
  options: TaskOptions,
) => Task<T>;

/** The options of a loop, checked, with a value for each. */
export interface SettledOptions {
  readonly host: Host;
  readonly debug: boolean;
  readonly slowCallbackMs: number;
  readonly precise: boolean;
  readonly inheritsContext: boolean;
  readonly deadlock: DeadlockPolicy | undefined;
  readonly ignoresOutside: boolean;
  readonly cancelWarnMs: number;
  readonly scheduler: Scheduler | undefined;
}

/** Checks the options of a loop, fills in the defaults, and makes the host. */
export function settleOptions(options: EventLoopOptions): SettledOptions {
  const what = "create an event loop";
  checkOptions(options, what);
  const {
    host = "auto",
    debug = readEnvironment("ROTA_DEBUG") === "1",
    slowCallbackMs = 100,
    timerPrecision = "thrifty",
    asyncContext = "empty",
    deadlock,
    outsideWaits = "wait",
    cancelWarnMs = 1_000,
    scheduler,
  } = options;
  checkOneOf(debug, [true, false], what, "debug");
  checkOneOf(timerPrecision, ["thrifty", "precise"], what, "timerPrecision");
  checkOneOf(asyncContext, ["empty", "inherit"], what, "asyncContext");
  checkOneOf(
    deadlock,
    [undefined, "ignore", "report", "error"],
    what,
    "deadlock",
  );
  checkOneOf(outsideWaits, ["wait", "ignore"], what, "outsideWaits");
  checkNotNegative(slowCallbackMs, what, "slowCallbackMs");
  checkNotNegative(cancelWarnMs, what, "cancelWarnMs");
  if (scheduler !== undefined) checkScheduler(scheduler, what);
  if (typeof host !== "object" || host === null) {
    checkOneOf(
      host,
      ["auto", "native", "poll", "portable", "virtual"],
      what,
      "host",
    );
  }
  if (typeof host === "object" && typeof host.open !== "function") {
    throw new TypeError(
      `Cannot ${what} as host must keep the contract of Host: received ${
        inspect(host)
      } without open()`,
    );
  }
  return {
    host: typeof host === "string" ? createHost(host) : host,
    debug,
    slowCallbackMs,
    precise: timerPrecision === "precise",
    inheritsContext: asyncContext === "inherit",
    deadlock,
    ignoresOutside: outsideWaits === "ignore",
    cancelWarnMs,
    scheduler,
  };
}

/** The options of most tasks. */
export const NO_OPTIONS: TaskOptions = Object.freeze({});

/** Throws if the options of a task are not what they may be. */
export function checkTaskOptions(options: TaskOptions): void {
  const what = "create a task";
  checkOptions(options, what);
  const { name, signal, eager, priority } = options;
  if (name !== undefined) checkString(name, what, "name");
  if (signal !== undefined) checkSignal(signal, what);
  if (eager !== undefined) checkOneOf(eager, [true, false], what, "eager");
  if (priority !== undefined) checkPriority(priority, what);
}
