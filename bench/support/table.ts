/**
 * Everything there is to measure, beside what has to be reached:
 * `deno task bench:table [WORKLOAD…] [--json]`.
 *
 * Each suite runs in a process of its own. With words as arguments only those
 * suites and runners run whose names contain one of them. The exit status is 1
 * if a target was missed.
 *
 * @module
 */
import { outputOfDeno } from "./child.ts";
import { type Figure, format, printTable } from "./report.ts";
import { SUITES } from "./suites.ts";
import { type Target, TARGETS } from "./targets.ts";

/** The runners of what `Deno.bench` cannot measure. */
const RUNNERS = ["latency", "memory", "start", "http", "idle", "periodic"];

/** A target and what became of it. */
export interface Outcome {
  readonly target: Target;
  readonly figure: Figure;
  /** By how much of the limit the figure is off; below 1 is within. NaN without a target. */
  readonly ratio: number;
  readonly state: "pass" | "FAIL" | "-";
  /** What is to be reached, in words. */
  readonly goal: string;
  /** The others of the same workload and measure, measured now. */
  readonly others: readonly Figure[];
}

/** Compares a target with figures; `undefined` if it was not measured. */
export function judge(
  target: Target,
  figures: readonly Figure[],
): Outcome | undefined {
  const { workload, measure = "time", atMost, timesOf } = target;
  const field = figures.filter((one) =>
    one.workload === workload && one.measure === measure
  );
  const figure = field.find((one) => one.case === target.case);
  if (figure === undefined) return undefined;
  const others = field.filter(({ role }) => role !== "rota");
  let limit = NaN;
  let goal = "-";
  if (atMost !== undefined) {
    limit = atMost;
    goal = `${format(atMost, figure.unit)}`;
  } else if (timesOf !== undefined) {
    const [times, name] = timesOf;
    limit = times * (others.find((one) => one.case === name)?.best ?? NaN);
    goal = `${times} x ${name}`;
  }
  return {
    target,
    figure,
    ratio: figure.best / limit,
    state: Number.isNaN(limit) ? "-" : figure.best <= limit ? "pass" : "FAIL",
    goal,
    others,
  };
}

function row(
  { figure, ratio, state, goal, others, target }: Outcome,
): string[] {
  const { workload, measure, unit, best } = figure;
  const limit = others.find(({ role }) => role === "limit");
  const rivals = others.filter(({ role }) => role === "rival").map((one) =>
    `${one.case} ${format(one.best, "")}`
  );
  const recorded = Object.entries(target.recorded ?? {}).map(([name, value]) =>
    `(${name} ${format(value, "")})`
  );
  return [
    `${workload}${measure === "time" ? "" : `, ${measure}`}: ${figure.case}`,
    format(best, unit),
    limit === undefined ? "" : `${limit.case} ${format(limit.best, "")}`,
    limit === undefined ? "" : (best / limit.best).toFixed(2),
    goal,
    Number.isFinite(ratio) ? `${Math.round(ratio * 100)} %` : "",
    state,
    [...rivals, ...recorded].join(", "),
  ];
}

async function measureAll(words: readonly string[]): Promise<Figure[]> {
  const wanted = (name: string) =>
    words.length === 0 || words.some((word) => name.includes(word));
  const jobs: [string, string, string[]][] = [
    ...SUITES.map(({ name }): [string, string, string[]] => [
      name,
      "measure.ts",
      [name],
    ]),
    ...RUNNERS.map((name): [string, string, string[]] => [
      name,
      `${name}.ts`,
      [],
    ]),
  ];
  const figures: Figure[] = [];
  for (const [name, script, args] of jobs) {
    if (!wanted(name)) continue;
    console.error(`measuring ${name}`);
    const path = new URL(script, import.meta.url).pathname;
    const printed = await outputOfDeno(path, [...args, "--json"]);
    figures.push(...JSON.parse(printed).figures);
  }
  return figures;
}

if (import.meta.main) {
  const words = Deno.args.filter((word) => !word.startsWith("--"));
  const figures = await measureAll(words);
  const outcomes = TARGETS.map((target) => judge(target, figures))
    .filter((outcome) => outcome !== undefined);
  if (Deno.args.includes("--json")) {
    console.log(JSON.stringify({ figures, outcomes }));
  } else {
    printTable(
      [
        "workload",
        "Rota",
        "limit",
        "x limit",
        "target",
        "of target",
        "",
        "rivals (recorded on another day)",
      ],
      outcomes.map(row),
    );
  }
  if (outcomes.some(({ state }) => state === "FAIL")) Deno.exitCode = 1;
}
