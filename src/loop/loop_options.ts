/**
 * Options of loops and tasks, and their checks.
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
import { checkInstruments, type Instrument } from "./instrument.ts";
import { checkPriority } from "./priority.ts";
import { checkScheduler, type Scheduler } from "./scheduler.ts";
import type { Task, TaskOptions } from "./task.ts";
import type { TaskBody } from "./task_body.ts";

/** Policy for a run in which every task waits and nothing is left to wake one. */
export type DeadlockPolicy = "ignore" | "report" | "error";

/** Options of an {@linkcode EventLoop}. */
export interface EventLoopOptions {
  /**
   * Host of the loop: `"native"` (epoll or poll(2), needs `--allow-ffi`),
   * `"poll"` (poll(2)), `"portable"` (no permission, no descriptors),
   * `"virtual"` (time jumps to the next deadline; for tests), `"auto"` (native
   * where FFI is granted already, else portable; never asks), or a custom host.
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
   * Duration from which debug mode reports a callback as slow.
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
   * `"inherit"` in the context of the code that scheduled them, for about a
   * microsecond each.
   *
   * @default {"empty"}
   */
  readonly asyncContext?: "empty" | "inherit" | undefined;
  /**
   * Policy for a run whose tasks all wait with nothing left to wake one.
   * `"error"` rejects it with a {@linkcode DeadlockError}; `"report"` calls the
   * exception handler, once, after a second; `"ignore"` waits.
   *
   * @default {"error" on the virtual host, else "report" in debug mode, else "ignore"}
   */
  readonly deadlock?: DeadlockPolicy | undefined;
  /**
   * Whether the virtual clock stands still while something outside the loop may
   * wake a task: `until`, or an async function that waits for a foreign promise.
   * After a second of real time the exception handler is called, once a run.
   *
   * @default {"wait"}
   */
  readonly outsideWaits?: "wait" | "ignore" | undefined;
  /**
   * Time after a cancellation at which an async function that has not reacted,
   * as it waits for a foreign promise, is reported to the exception handler.
   *
   * @default {1_000}
   */
  readonly cancelWarnMs?: number | undefined;
  /**
   * Order in which ready callbacks and tasks run: a
   * {@linkcode PriorityScheduler}, or a custom strategy. It must not belong to
   * another loop.
   *
   * @default {none: in the order in which things became ready, as in asyncio}
   */
  readonly scheduler?: Scheduler | undefined;
  /**
   * Objects that are told what the loop does, from its first turn on. See
   * {@linkcode Instrument}.
   *
   * @default {[]}
   */
  readonly instruments?: readonly Instrument[] | undefined;
}

/** Counts that {@linkcode EventLoop.stats} returns. */
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
  /** How often the loop, being busy, has let the runtime's own I/O through. */
  readonly ioGates: number;
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
  readonly instruments: readonly Instrument[];
}

/** Throws if an option of a loop is wrong. */
function checkLoopOptions(options: EventLoopOptions, what: string): void {
  checkOptions(options, what);
  const { slowCallbackMs = 100, cancelWarnMs = 1_000 } = options;
  for (const [name, allowed] of CHOICES) {
    checkOneOf(options[name], allowed, what, name);
  }
  checkNotNegative(slowCallbackMs, what, "slowCallbackMs");
  checkNotNegative(cancelWarnMs, what, "cancelWarnMs");
  if (options.scheduler !== undefined) checkScheduler(options.scheduler, what);
  if (options.instruments !== undefined) {
    checkInstruments(options.instruments, what);
  }
  checkHost(options.host, what);
}

const CHOICES: readonly (readonly [
  name: keyof EventLoopOptions,
  allowed: readonly unknown[],
])[] = [
  ["debug", [undefined, true, false]],
  ["timerPrecision", [undefined, "thrifty", "precise"]],
  ["asyncContext", [undefined, "empty", "inherit"]],
  ["deadlock", [undefined, "ignore", "report", "error"]],
  ["outsideWaits", [undefined, "wait", "ignore"]],
];

function checkHost(host: Host | HostChoice | undefined, what: string): void {
  if (typeof host !== "object" || host === null) {
    const names = [undefined, "auto", "native", "poll", "portable", "virtual"];
    checkOneOf(host, names, what, "host");
  } else if (typeof host.open !== "function") {
    throw new TypeError(
      `Cannot ${what} as host must keep the contract of Host: received ${
        inspect(host)
      } without open()`,
    );
  }
}

/** Checks the options of a loop, fills in the defaults, and makes the host. */
export function settleOptions(options: EventLoopOptions): SettledOptions {
  const what = "create an event loop";
  checkLoopOptions(options, what);
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
    instruments = [],
  } = options;
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
    instruments,
  };
}

/** The options of most tasks. */
export const NO_OPTIONS: TaskOptions = Object.freeze({});

/** Throws if an option of a task is wrong. */
export function checkTaskOptions(options: TaskOptions): void {
  const what = "create a task";
  checkOptions(options, what);
  const { name, signal, eager, priority } = options;
  if (name !== undefined) checkString(name, what, "name");
  if (signal !== undefined) checkSignal(signal, what);
  if (eager !== undefined) checkOneOf(eager, [true, false], what, "eager");
  if (priority !== undefined) checkPriority(priority, what);
}
