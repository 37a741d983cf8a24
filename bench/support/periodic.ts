/**
 * What 1,000 jobs every 10 ms cost, and how late they are:
 * `deno task bench:periodic`.
 *
 * Each way in a process of its own, by turns, warmed up for three seconds in
 * which everything is started and stopped four times. What is measured begins
 * with the start of the jobs, when those of before have ended. Lateness is
 * against the start of each job + k x 10 ms, and drift is that of the last tick
 * in whole milliseconds. The best of five runs counts for each figure.
 *
 * @module
 */
import { childScript, findProgram, outputOf, outputOfDeno } from "./child.ts";
import { type Figure, figure, printFigures } from "./report.ts";
import type { Role } from "./suite.ts";

const JOBS = 1_000;
const FOR_MS = 2_000;
const ROUNDS = 5;
const WARMUP_MS = 3_000;

const WAYS: readonly (readonly [string, Role, string])[] = [
  ["Rota", "rota", "rota"],
  ["one setInterval", "limit", "one"],
  ["setInterval each", "rival", "each"],
  ["Effect", "rival", "effect"],
  ["asyncio", "rival", "asyncio"],
];

/** What a child prints, and how it is called in the report. */
const MEASURES: readonly (readonly [string, string, string])[] = [
  ["cpu", "CPU", "%"],
  ["missed", "ticks missed", "%"],
  ["p50", "p50", "ms"],
  ["p99", "p99", "ms"],
  ["drift", "drift", "ms"],
];

async function measureWay(
  way: string,
  jobs: number,
  forMs: number,
  warmupMs: number,
): Promise<Record<string, number>> {
  const printed = way === "asyncio"
    ? await outputOf("python3", [
      childScript("periodic.py"),
      `${jobs}`,
      `${forMs}`,
    ])
    : await outputOfDeno(childScript("periodic.ts"), [
      way,
      `${jobs}`,
      `${forMs}`,
      `${warmupMs}`,
    ]);
  const figures: Record<string, number> = JSON.parse(printed);
  // One tick more or less may fall to either side of the end.
  return { ...figures, missed: Math.max(100 - figures["done"]!, 0) };
}

/** Measures all ways, by turns. */
export async function measurePeriodic(
  jobs: number = JOBS,
  forMs: number = FOR_MS,
  rounds: number = ROUNDS,
  warmupMs: number = WARMUP_MS,
): Promise<Figure[]> {
  const ways = await findProgram("python3") !== null
    ? WAYS
    : WAYS.filter(([, , way]) => way !== "asyncio");
  const results = ways.map((): Record<string, number>[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, [, , way]] of ways.entries()) {
      results[index]!.push(await measureWay(way, jobs, forMs, warmupMs));
    }
  }
  return ways.flatMap(([name, role], index) =>
    MEASURES.map(([key, measure, unit]) =>
      figure(
        { workload: "1,000 jobs", case: name, role, measure, unit },
        results[index]!.map((result) => result[key]!),
      )
    )
  );
}

if (import.meta.main) printFigures(await measurePeriodic());
