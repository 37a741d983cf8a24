/**
 * The one shape of all results, and how they are printed.
 *
 * @module
 */
import type { Role } from "./suite.ts";

/** One number about one case. */
export interface Figure {
  /** Which workload: the name of a suite, or of a runner such as `"memory"`. */
  readonly workload: string;
  /** Who did it: `"Rota"`, `"queueMicrotask"`. */
  readonly case: string;
  readonly role: Role;
  /** What was measured: `"time"`, `"p50"`, `"early"`. */
  readonly measure: string;
  /** `"ns"`, `"us"`, `"ms"`, `"bytes"`, `"%"` or `""` for a count. */
  readonly unit: string;
  /** The least of the rounds; of a count, which is of what should not be, the most. */
  readonly best: number;
  readonly median: number;
  /** One number for each round, in order. */
  readonly rounds: readonly number[];
}

/** Makes a figure of the results of the rounds. */
export function figure(
  about: Pick<Figure, "workload" | "case" | "role" | "measure" | "unit">,
  rounds: readonly number[],
): Figure {
  return {
    ...about,
    best: about.unit === "" ? Math.max(...rounds) : Math.min(...rounds),
    median: percentile(rounds, 50),
    rounds,
  };
}

/** Joins the figures of several runs of a suite: the rounds of each case count together. */
export function joinFigures(
  [first = [], ...others]: readonly (readonly Figure[])[],
): Figure[] {
  return first.map((about) => {
    const { case: name, measure } = about;
    const again = others.flat().filter((one) =>
      one.case === name && one.measure === measure
    );
    return figure(about, [about, ...again].flatMap(({ rounds }) => rounds));
  });
}

/** The value that `percent` of the values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.ceil(sorted.length * percent / 100);
  return sorted[Math.max(rank, 1) - 1] ?? NaN;
}

/** A number in as many digits as say something. */
export function format(value: number, unit: string): string {
  if (Number.isNaN(value)) return "?";
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : 1;
  const number = value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return unit === "" ? number : `${number} ${unit}`;
}

/** Prints a table; columns are as wide as they need to be. */
export function printTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length))
  );
  const line = (cells: readonly string[]) =>
    console.log(
      cells.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")
        .trimEnd(),
    );
  line(head);
  line(widths.map((width) => "-".repeat(width)));
  rows.forEach(line);
}

/** Prints what a runner found: for people, or with `--json` for machines. */
export function printFigures(figures: readonly Figure[]): void {
  if (Deno.args.includes("--json")) {
    console.log(JSON.stringify({ figures }));
    return;
  }
  printTable(
    ["workload", "case", "measure", "best", "median"],
    figures.map(({ workload, case: name, measure, unit, best, median }) => [
      workload,
      name,
      measure,
      format(best, unit),
      format(median, unit),
    ]),
  );
}
