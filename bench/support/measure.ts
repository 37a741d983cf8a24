/**
 * Measures suites as `deno task bench:table` needs it: in rounds that go
 * through all cases in turn, so that a slow moment of the machine hits all of
 * them alike.
 *
 * Run as a program it measures a suite in this process: `measure.ts SUITE
 * [CASE…] [--json]`.
 *
 * @module
 */
import { childScript, findProgram, outputOf } from "./child.ts";
import { type Figure, figure, printFigures } from "./report.ts";
import { type Case, type ForeignCase, runCase, type Suite } from "./suite.ts";
import { SUITES } from "./suites.ts";

const ROUNDS = 5;
const ROUND_MS = 200;
/** V8 optimizes in steps and in the background: fewer runs find it half done. */
const WARMUP_MS = 1_000;
const WARMUP_RUNS = 2;

/** Adds up what lies between `start` and `end`. */
class Clock {
  totalMs = 0;
  #startMs = 0;

  start(): void {
    this.#startMs = performance.now();
  }

  end(): void {
    this.totalMs += performance.now() - this.#startMs;
  }
}

async function warmUp(suite: Suite, one: Case): Promise<void> {
  const { warmupMs = WARMUP_MS } = suite;
  const endMs = performance.now() + warmupMs;
  for (let runs = 0; runs < WARMUP_RUNS || performance.now() < endMs; runs++) {
    await runCase(suite, one, suite.size, new Clock());
  }
}

async function measureCase(suite: Suite, one: Case): Promise<number> {
  const { size, roundMs = ROUND_MS } = suite;
  const endMs = performance.now() + roundMs;
  const clock = new Clock();
  let runs = 0;
  do {
    await runCase(suite, one, size, clock);
    runs++;
  } while (performance.now() < endMs);
  return clock.totalMs * 1e6 / (size * runs);
}

async function measureForeign(
  { size }: Suite,
  rounds: number,
  { program, script, args = [], figure: key }: ForeignCase,
): Promise<number[] | null> {
  const path = await findProgram(program);
  if (path === null) return null;
  const printed = await outputOf(path, [
    childScript(script),
    `${size}`,
    `${rounds}`,
    ...args,
  ]);
  return JSON.parse(printed)[key];
}

/** Measures all cases of a suite in this process, and the foreign ones in theirs. */
export async function measure(
  suite: Suite,
  rounds: number = suite.rounds ?? ROUNDS,
): Promise<Figure[]> {
  const { name: workload, cases, foreign = [] } = suite;
  suite.prepare?.();
  for (const one of cases) await warmUp(suite, one);
  const results = cases.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, one] of cases.entries()) {
      results[index]!.push(await measureCase(suite, one));
    }
  }
  const about = { workload, measure: "time", unit: "ns" };
  const figures = cases.map(({ name, role }, index) =>
    figure({ ...about, case: name, role }, results[index]!)
  );
  for (const one of foreign) {
    const numbers = await measureForeign(suite, rounds, one);
    if (numbers === null) continue;
    figures.push(
      figure({ ...about, case: one.name, role: "rival" }, numbers),
    );
  }
  return figures;
}

/** A suite with only those cases whose names are given; with all of them if none is. */
function only(suite: Suite, names: readonly string[]): Suite {
  if (names.length === 0) return suite;
  const { cases, foreign = [] } = suite;
  return {
    ...suite,
    cases: cases.filter(({ name }) => names.includes(name)),
    foreign: foreign.filter(({ name }) => names.includes(name)),
  };
}

if (import.meta.main) {
  const [first, ...names] = Deno.args.filter((arg) => !arg.startsWith("--"));
  const suite = SUITES.find(({ name }) => name === first);
  if (suite === undefined) {
    console.error(
      `Name one of ${SUITES.map(({ name }) => name).join(", ")}`,
    );
    Deno.exit(2);
  }
  printFigures(await measure(only(suite, names)));
}
