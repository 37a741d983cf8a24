/**
 * Options of a graceful shutdown, and their checks.
 *
 * @module
 */
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { ShutdownReport } from "./shutdown_report.ts";
import {
  type PhaseTimes,
  type SharedPhase,
  SHUTDOWN_PHASES,
  timetableOf,
} from "./shutdown_timetable.ts";

/** Options of the graceful shutdown of a run. */
export interface RunShutdownOptions {
  /**
   * Signals of the operating system that begin the shutdown. A handler that the
   * program sets for one of them on a loop takes precedence.
   *
   * @default {["SIGINT", "SIGTERM"], but [] with scope "loop"}
   */
  readonly signals?: readonly Deno.Signal[] | undefined;
  /**
   * Time for everything, from the signal to the end of the process. Below the 10
   * seconds of `docker stop` by default.
   *
   * @default {9_000}
   */
  readonly budgetMs?: number | undefined;
  /**
   * How long the program goes on as before, so that a load balancer notices that
   * it is not ready any more.
   *
   * @default {0}
   */
  readonly preStopMs?: number | undefined;
  /**
   * Share of the budget that each phase has, in milliseconds. `"drain"` has what
   * the others leave. By default, of what is left besides the shares that are set
   * and `preStopMs`: `"not-ready"`, `"pre-stop"` and `"force"` 5 %, `"stop-intake"`
   * 10 %, `"cancel"` 15 %. A phase that is over before leaves its time to those
   * that follow. With a budget of `Infinity` a phase has the share that is set, from its
   * own beginning, or all the time it needs.
   */
  readonly sharesMs?:
    | Readonly<Partial<Record<SharedPhase, number>>>
    | undefined;
  /**
   * Whether the phase `"drain"` lasts until main has ended, or its time is over.
   *
   * @default {true}
   */
  readonly waitForMain?: boolean | undefined;
  /**
   * Whether the shutdown sets the exit code, unless the program has, and ends the
   * process: at once if something has not stopped, when all loops are closed if a main
   * was cancelled, else when the budget is spent and the process is still there. Without it, `run` throws an
   * {@linkcode InterruptedError} if main was cancelled, and what has not stopped
   * is given up.
   *
   * @default {true, but false with scope "loop"}
   */
  readonly exit?: boolean | undefined;
  /**
   * Whether the shutdown is that of the process, however many loops take part in
   * it, or of this loop alone: with a {@linkcode GracefulShutdown.signal} and
   * hooks of its own, and without a say over the process. Tests use it.
   *
   * @default {"process", but "loop" on the virtual host}
   */
  readonly scope?: "process" | "loop" | undefined;
  /**
   * Called with the report at the end.
   *
   * @default {a function that writes it to standard error, unless the code is 0}
   */
  readonly onReport?: ((report: ShutdownReport) => void) | undefined;
}

/** Options of {@linkcode gracefulShutdown}. */
export interface GracefulShutdownOptions extends RunShutdownOptions {
  /**
   * Loop that takes part.
   *
   * @default {the running loop}
   */
  readonly loop?: EventLoop | undefined;
}

/** Options with all defaults filled in. */
export interface SettledShutdown {
  readonly signals: readonly Deno.Signal[];
  readonly budgetMs: number;
  readonly preStopMs: number;
  readonly sharesMs: Readonly<Partial<Record<SharedPhase, number>>>;
  readonly timetable: PhaseTimes;
  readonly waitForMain: boolean;
  readonly exit: boolean;
  readonly scope: "process" | "loop";
  readonly onReport: ((report: ShutdownReport) => void) | undefined;
}

const BUDGET_MS = 9_000;

/** The action that wrong options refuse. */
export const WHAT = "set up graceful shutdown";

/** Checks the options and fills in the defaults. */
export function settleShutdown(
  options: RunShutdownOptions,
  virtual: boolean,
): SettledShutdown {
  checkOptions(options, WHAT);
  const {
    scope = virtual ? "loop" : "process",
    budgetMs = BUDGET_MS,
    preStopMs = 0,
    sharesMs = {},
    waitForMain = true,
    onReport,
  } = options;
  checkOneOf(scope, ["process", "loop"], WHAT, "scope");
  const isLoop = scope === "loop";
  const {
    exit = !isLoop,
    signals = isLoop ? [] : ["SIGINT", "SIGTERM"],
  } = options;
  checkNotNegative(budgetMs, WHAT, "budgetMs");
  checkNotNegative(preStopMs, WHAT, "preStopMs");
  checkShares(sharesMs);
  checkOneOf(waitForMain, [true, false], WHAT, "waitForMain");
  checkOneOf(exit, isLoop ? [false] : [true, false], WHAT, "exit");
  checkSignals(signals, isLoop);
  if (onReport !== undefined) checkFunction(onReport, WHAT, "onReport");
  const timetable = timetableOf({ budgetMs, preStopMs, sharesMs }, WHAT);
  return {
    signals: [...new Set(signals)],
    budgetMs,
    preStopMs,
    sharesMs: { ...sharesMs },
    timetable,
    waitForMain,
    exit,
    scope,
    onReport,
  };
}

function checkShares(sharesMs: unknown): void {
  if (typeof sharesMs !== "object" || sharesMs === null) {
    throw new TypeError(
      `Cannot ${WHAT} as sharesMs must be an object: received ${
        inspect(sharesMs)
      }`,
    );
  }
  const shared = SHUTDOWN_PHASES.filter((phase) => phase !== "drain");
  for (const [phase, ms] of Object.entries(sharesMs)) {
    checkOneOf(phase, shared, WHAT, "each key of sharesMs");
    checkNotNegative(ms, WHAT, `sharesMs["${phase}"]`);
  }
}

function checkSignals(signals: unknown, isLoop: boolean): void {
  if (!Array.isArray(signals)) {
    throw new TypeError(
      `Cannot ${WHAT} as signals must be an array: received ${
        inspect(signals)
      }`,
    );
  }
  for (const signal of signals) checkString(signal, WHAT, "each signal");
  if (isLoop && signals.length > 0) {
    throw new TypeError(
      `Cannot ${WHAT} as signals must be empty with scope "loop": received ${
        signals.join(", ")
      }`,
    );
  }
}

/**
 * Returns what holds when a second one joins: the signals of both, and the shorter budget. All else is as the first one
 * has set it.
 *
 * @throws {RangeError} If the shares of the first do not fit into the shorter budget.
 */
export function joinShutdown(
  first: SettledShutdown,
  options: RunShutdownOptions,
): SettledShutdown {
  const second = settleShutdown(options, first.scope === "loop");
  const budgetMs = options.budgetMs === undefined
    ? first.budgetMs
    : Math.min(first.budgetMs, second.budgetMs);
  const signals = options.signals === undefined
    ? first.signals
    : [...new Set([...first.signals, ...second.signals])];
  return {
    ...first,
    budgetMs,
    signals,
    timetable: timetableOf({ ...first, budgetMs }, WHAT),
  };
}
