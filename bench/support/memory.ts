/**
 * The memory of a pending timer and of a parked task: `deno task bench:memory`.
 *
 * Each case runs in a process of its own, which collects its garbage, makes a
 * hundred thousand of them, collects again, and tells by how much its memory
 * (RSS) has grown.
 *
 * @module
 */
import { childScript, outputOfDeno } from "./child.ts";
import { type Figure, figure, printFigures } from "./report.ts";
import type { Role } from "./suite.ts";

const COUNT = 100_000;
const ROUNDS = 5;

const CASES: readonly (readonly [string, string, Role, string])[] = [
  ["bytes per timer", "Rota", "rota", "timer"],
  ["bytes per timer", "Deno setTimeout", "rival", "deno-timer"],
  ["bytes per parked task", "Rota, on a future", "rota", "future"],
  ["bytes per parked task", "Rota, in a sleep", "rota", "sleep"],
  ["bytes per parked task", "bare generator", "limit", "generator"],
  ["bytes per parked task", "bare async function", "rival", "async"],
];

/** Measures all cases, each in processes of its own. */
export async function measureMemory(
  count: number = COUNT,
  rounds: number = ROUNDS,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [workload, name, role, key] of CASES) {
    const bytes: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const printed = await outputOfDeno(
        childScript("memory.ts"),
        [key, `${count}`],
        ["--v8-flags=--expose-gc"],
      );
      bytes.push(Number(printed));
    }
    figures.push(
      figure(
        { workload, case: name, role, measure: "memory", unit: "bytes" },
        bytes,
      ),
    );
  }
  return figures;
}

if (import.meta.main) printFigures(await measureMemory());
