/**
 * Shutdowns on a virtual clock, played to their end.
 *
 * @module
 */
import { assert } from "@std/assert";
import {
  type Coroutine,
  type EventLoop,
  type ExceptionContext,
  newEventLoop,
  run,
} from "../../../mod.ts";
import {
  type GracefulShutdown,
  gracefulShutdown,
} from "../../../src/supervise/graceful_shutdown.ts";
import type { RunShutdownOptions } from "../../../src/supervise/shutdown_options.ts";
import type { ShutdownReport } from "../../../src/supervise/shutdown_report.ts";

/** What is left of a run that was shut down. */
export interface Played {
  /** The only report. */
  readonly report: ShutdownReport;
  /** How the run has ended, in words. */
  readonly outcome: string;
  /** What the exception handler was told. */
  readonly told: readonly ExceptionContext[];
  readonly loop: EventLoop;
}

/** Runs `main`, which begins a shutdown, with a budget of a second. */
export async function playShutdown(
  main: (shutdown: GracefulShutdown) => unknown,
  options: RunShutdownOptions = {},
): Promise<Played> {
  const told: ExceptionContext[] = [];
  const reports: ShutdownReport[] = [];
  let loop: EventLoop | undefined;
  let outcome: string;
  try {
    const result = await run(
      () => main(gracefulShutdown()) as Coroutine<unknown>,
      {
        host: "virtual",
        name: "main",
        outsideWaits: "ignore",
        shutdown: {
          budgetMs: 1_000,
          onReport: (report) => reports.push(report),
          ...options,
        },
        loopFactory: (options) => {
          loop = newEventLoop(options);
          loop.setExceptionHandler((_, context) => told.push(context));
          return loop;
        },
      },
    );
    outcome = `result: ${String(result)}`;
  } catch (error) {
    outcome = String(error);
  }
  const [report] = reports;
  assert(report !== undefined && reports.length === 1, `${reports.length}`);
  return { report, outcome, told, loop: loop! };
}
