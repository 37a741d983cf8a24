/**
 * Report of a shutdown: how long its phases took, which hooks failed, and what did not stop in time.
 *
 * @module
 */
import type { ShutdownPhase } from "./shutdown_timetable.ts";

/** Part of a program that did not stop in time. */
export interface ShutdownStraggler {
  /** A hook, the main task of a run, or another task. */
  readonly kind: "hook" | "main" | "task";
  /** Name of the hook or task. */
  readonly name: string;
  /** Phase in which its time was over; that of a hook which was not called. */
  readonly phase: ShutdownPhase;
  /** Description of what it waited for then. */
  readonly waitsFor: string;
  /** How long it had had to stop, in milliseconds. */
  readonly forMs: number;
  /** Where the task was made; only in debug mode. */
  readonly creationStack?: string;
}

/** Hook that failed. The exception handler of the loop has been told as well. */
export interface ShutdownFailure {
  /** Name of the hook. */
  readonly name: string;
  /** Phase of the hook. */
  readonly phase: ShutdownPhase;
  /** The error that it has thrown. */
  readonly error: unknown;
}

/** Phase that is over. */
export interface ShutdownPhaseReport {
  /** The phase. */
  readonly phase: ShutdownPhase;
  /** How long it took, in milliseconds. */
  readonly durationMs: number;
  /** How many hooks it had. */
  readonly hooks: number;
}

/** Report of a shutdown, as {@linkcode GracefulShutdown.report} has it. */
export interface ShutdownReport {
  /** Argument of {@linkcode GracefulShutdown.begin}, or the name of the signal. */
  readonly reason: unknown;
  /**
   * Exit code: 0 if all has stopped, 1 if something has not or a hook threw. That of the
   * process is another one if the program has set `Deno.exitCode`.
   */
  readonly code: 0 | 1;
  /** Time for everything, in milliseconds. */
  readonly budgetMs: number;
  /** How much of that was spent. */
  readonly durationMs: number;
  /** The phases that were reached, in order. */
  readonly phases: readonly ShutdownPhaseReport[];
  /** Everything that did not stop in time. */
  readonly stragglers: readonly ShutdownStraggler[];
  /** Hooks that threw. */
  readonly failures: readonly ShutdownFailure[];
  /** The report in a few lines. */
  toString(): string;
}

/** Makes a report. */
export function makeReport(
  fields: Omit<ShutdownReport, "toString">,
): ShutdownReport {
  const report: ShutdownReport = {
    ...fields,
    toString: () => textOf(report),
  };
  return Object.freeze(report);
}

/** Milliseconds as they are written: whole ones. */
export function inMs(durationMs: number): string {
  return `${Math.round(durationMs).toLocaleString("en-US")} ms`;
}

/** A short text for a reason, which may be anything. */
export function inText(reason: unknown): string {
  try {
    return reason instanceof Error ? reason.message : String(reason);
  } catch {
    return "a reason that has no text"; // such as an object without a prototype
  }
}

function textOf(report: ShutdownReport): string {
  const { stragglers, failures } = report;
  const budget = report.budgetMs === Infinity
    ? ""
    : ` of ${inMs(report.budgetMs)}`;
  const lines = [
    `rota: shutdown (${inText(report.reason)}) took ${
      inMs(report.durationMs)
    }${budget}: ${
      report.code === 0
        ? "all has stopped"
        : `${stragglers.length} did not stop in time, ${failures.length} failed`
    }`,
  ];
  for (
    const { kind, name, phase, waitsFor, forMs, creationStack } of stragglers
  ) {
    const subject = kind === "main" ? "main task" : kind;
    lines.push(
      `  ${subject} "${name}" did not stop in phase "${phase}": ` +
        `after ${inMs(forMs)} it waited for ${waitsFor}`,
    );
    if (creationStack !== undefined) {
      lines.push("    created at:", creationStack.replaceAll(/^/gm, "    "));
    }
  }
  for (const { name, phase, error } of failures) {
    lines.push(`  hook "${name}" failed in phase "${phase}": ${inText(error)}`);
  }
  return lines.join("\n");
}
