/**
 * Turns until a deadline is seen by a task whose steps are long:
 * `deno task bench:deadline`.
 *
 * A time limit of 15 ms around a task that computes for 5 ms in every turn.
 * asyncio ends it in the fourth turn. Each figure is the most of five limits.
 *
 * @module
 */
import { type Coroutine, moveOnAfter, run, sleep } from "../../mod.ts";
import { childScript, findProgram, outputOf } from "./child.ts";
import { type Figure, figure, printFigures } from "./report.ts";

const LIMIT_MS = 15;
const STEP_MS = 5;
const ROUNDS = 5;

function compute(forMs: number): void {
  const untilMs = performance.now() + forMs;
  while (performance.now() < untilMs);
}

/** How many turns some limits took, one after the other. */
async function turnsOnLoop(
  host: "native" | "portable",
  rounds: number,
): Promise<number[]> {
  const counts: number[] = [];
  await run(function* (): Coroutine<void> {
    for (let round = 0; round < rounds; round++) {
      let turns = 0;
      yield* moveOnAfter(LIMIT_MS, function* () {
        // Without the bound a deadline that never comes would hang the table.
        for (; turns < 1_000; turns++) {
          compute(STEP_MS);
          yield* sleep(0);
        }
      });
      counts.push(turns);
      yield* sleep(LIMIT_MS); // the loop is idle before the next
    }
  }, { host });
  return counts;
}

async function turnsInPython(path: string, rounds: number): Promise<number[]> {
  const args = [LIMIT_MS, STEP_MS, rounds].map(String);
  return JSON.parse(
    await outputOf(path, [childScript("deadline.py"), ...args]),
  );
}

/** Measures both hosts, and asyncio where there is a Python. */
export async function measureDeadline(
  rounds: number = ROUNDS,
): Promise<Figure[]> {
  const about = {
    workload: `deadline after ${LIMIT_MS} ms`,
    measure: "turns",
    unit: "",
  };
  const figures: Figure[] = [];
  for (const host of ["native", "portable"] as const) {
    figures.push(figure(
      { ...about, case: `Rota, ${host}`, role: "rota" },
      await turnsOnLoop(host, rounds),
    ));
  }
  const python = await findProgram("python3");
  if (python !== null) {
    figures.push(figure(
      { ...about, case: "asyncio", role: "rival" },
      await turnsInPython(python, rounds),
    ));
  }
  return figures;
}

if (import.meta.main) printFigures(await measureDeadline());
