/**
 * Everything there is to measure, beside its targets:
 * `deno task bench:table [WORKLOAD…] [--json]`.
 *
 * Each suite runs in a process of its own. A suite with a row that is close to
 * its target, on either side, is measured in four more (without the cases that
 * decide nothing), and the best of five counts, for Rota and the rival alike. With words as arguments only those
 * suites and runners run whose names contain one of them. The exit status is 1
 * if a target was missed.
 *
 * @module
 */
import {
  findProgram,
  HOW_TO_INSTALL,
  outputOfDeno,
  type Program,
} from "./child.ts";
import { type Figure, format, joinFigures, printTable } from "./report.ts";
import { SUITES } from "./suites.ts";
import { type Target, TARGETS } from "./targets.ts";

/** The runners of everything that `Deno.bench` cannot measure. Each takes the best of its rounds. */
const RUNNERS = [
  "balancer",
  "latency",
  "deadline",
  "memory",
  "start",
  "http",
  "serve",
  "idle",
  "periodic",
];
/** A suite is repeated if a figure is between these shares of what it may be. */
const CLOSE = [0.8, 1.4] as const;
const REPEATS = 4;

/** A target and its outcome. */
export interface Outcome {
  readonly target: Target;
  readonly figure: Figure;
  /** The figure in terms of the rival's; NaN if the target is not a ratio, or the rival was not measured. */
  readonly ratio: number;
  /** The figure in terms of what it may be; below 1 is within. NaN without a target. */
  readonly share: number;
  readonly state: "holds" | "MISSED" | "-";
  /** The case it is compared with. */
  readonly rival: Figure | undefined;
  /** The others of the same workload and measure. */
  readonly others: readonly Figure[];
}

/** Compares a target with figures; `undefined` if it was not measured. */
export function judge(
  target: Target,
  figures: readonly Figure[],
): Outcome | undefined {
  const { workload, measure = "time", atMost = NaN, timesOf } = target;
  const field = figures.filter((one) =>
    one.workload === workload && one.measure === measure
  );
  const figure = field.find((one) => one.case === target.case);
  if (figure === undefined) return undefined;
  const [times, name] = timesOf ?? [NaN, undefined];
  const rival = field.find((one) => one.case === name);
  const ratio = figure.best / (rival?.best ?? NaN);
  const limit = rival === undefined ? atMost : times * rival.best;
  return {
    target,
    figure,
    ratio,
    share: figure.best / limit,
    state: Number.isNaN(limit)
      ? "-"
      : figure.best <= limit
      ? "holds"
      : "MISSED",
    rival,
    others: field.filter((one) => one.role !== "rota" && one !== rival),
  };
}

function row(outcome: Outcome): string[] {
  const { figure, ratio, state, others, target, rival } = outcome;
  const { workload, measure, unit, best } = figure;
  const { timesOf, atMost } = target;
  const goal = timesOf?.[0].toString() ??
    (atMost === undefined ? "-" : format(atMost, unit));
  const beside = rival !== undefined
    ? `${rival.case} ${format(rival.best, "")}`
    : timesOf === undefined
    ? ""
    : `${timesOf[1]} not measured`;
  return [
    `${workload}${measure === "time" ? "" : `, ${measure}`}: ${figure.case}`,
    format(best, unit),
    beside,
    Number.isNaN(ratio) ? "" : ratio.toFixed(ratio < 0.1 ? 4 : 2),
    goal,
    state,
    others.map((one) => `${one.case} ${format(one.best, "")}`).join(", "),
  ];
}

/** A script that prints figures. */
interface Job {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  /** Arguments for a repetition, with only those cases that decide; without, there is none. */
  readonly repeatArgs?: readonly string[];
}

/** The cases of a workload that have a target, and those they are compared with. */
function decidingCases(workload: string): Set<string> {
  return new Set(
    TARGETS.filter((target) => target.workload === workload)
      .flatMap(({ case: name, timesOf }) =>
        timesOf === undefined ? [name] : [name, timesOf[1]]
      ),
  );
}

function jobsFor(words: readonly string[]): Job[] {
  const targeted = (name: string) =>
    TARGETS.some(({ workload }) => workload === name);
  const jobs = [
    ...SUITES.map(({ name }) => name).filter(targeted).map((name): Job => ({
      name,
      script: "measure.ts",
      args: [name],
      repeatArgs: [name, ...decidingCases(name)],
    })),
    ...RUNNERS.map((name): Job => ({
      name,
      script: `${name}.ts`,
      args: [],
    })),
  ];
  return jobs.filter(({ name }) =>
    words.length === 0 || words.some((word) => name.includes(word))
  );
}

async function measureOnce(
  script: string,
  args: readonly string[],
): Promise<Figure[]> {
  const path = new URL(script, import.meta.url).pathname;
  const printed = await outputOfDeno(path, [...args, "--json"]);
  return JSON.parse(printed).figures;
}

/** Whether one run more could change the verdict on one of the figures. */
export function isClose(figures: readonly Figure[]): boolean {
  const [from, to] = CLOSE;
  return TARGETS.some((target) => {
    const { share = NaN } = judge(target, figures) ?? {};
    return share > from && share < to;
  });
}

async function measureJob(job: Job): Promise<Figure[]> {
  const { name, script, args, repeatArgs } = job;
  console.error(`measuring ${name}`);
  const figures = await measureOnce(script, args);
  if (repeatArgs === undefined || !isClose(figures)) return figures;
  console.error(`  close to a target: ${REPEATS} times more`);
  const runs = [figures];
  while (runs.length <= REPEATS) {
    runs.push(await measureOnce(script, repeatArgs));
  }
  return joinFigures(runs);
}

/** Says which rivals are missing, as rows beside them are not judged. */
async function reportMissing(): Promise<void> {
  const programs = SUITES.flatMap(({ foreign = [] }) =>
    foreign.map(({ program }) => program)
  );
  for (const program of new Set<Program>(programs)) {
    if (await findProgram(program) === null) {
      console.error(`${HOW_TO_INSTALL[program]}; its rows are not judged`);
    }
  }
}

if (import.meta.main) {
  await reportMissing();
  const words = Deno.args.filter((word) => !word.startsWith("--"));
  const figures: Figure[] = [];
  for (const job of jobsFor(words)) figures.push(...await measureJob(job));
  const outcomes = TARGETS.map((target) => judge(target, figures))
    .filter((outcome) => outcome !== undefined);
  if (Deno.args.includes("--json")) {
    console.log(JSON.stringify({ figures, outcomes }));
  } else {
    printTable(
      ["workload", "Rota", "beside", "ratio", "target", "", "others"],
      outcomes.map(row),
    );
  }
  if (outcomes.some(({ state }) => state === "MISSED")) Deno.exitCode = 1;
}
