/**
 * What a program pays before it begins: `deno task bench:start`.
 *
 * Processes that import a library and run one trivial task, against one that
 * does nothing, by turns; everything is cached. Best of ten.
 *
 * @module
 */
import { childScript, outputOfDeno } from "./child.ts";
import { type Figure, figure, printFigures } from "./report.ts";
import type { Role } from "./suite.ts";

const ROUNDS = 10;

const CASES: readonly (readonly [string, string, Role])[] = [
  ["Rota, generator", "start_rota.ts", "rota"],
  ["Rota, async function", "start_rota_async.ts", "rota"],
  ["effection", "start_effection.ts", "rival"],
  ["p-queue", "start_p_queue.ts", "rival"],
];

async function startMs(script: string): Promise<number> {
  const beganMs = performance.now();
  await outputOfDeno(childScript(script), [], ["--cached-only"]);
  return performance.now() - beganMs;
}

/** Measures what each adds to the best time of a process that does nothing. */
export async function measureStart(rounds: number = ROUNDS): Promise<Figure[]> {
  const scripts = ["start_bare.ts", ...CASES.map(([, script]) => script)];
  const tookMs = scripts.map((): number[] => []);
  for (const script of scripts) await startMs(script); // fills the caches
  for (let round = 0; round < rounds; round++) {
    for (const [index, script] of scripts.entries()) {
      tookMs[index]!.push(await startMs(script));
    }
  }
  const about = { workload: "cold start", unit: "ms" };
  const bareMs = Math.min(...tookMs[0]!);
  return [
    figure({
      ...about,
      case: "bare Deno",
      role: "limit",
      measure: "start",
    }, tookMs[0]!),
    ...CASES.map(([name, , role], index) =>
      figure(
        { ...about, case: name, role, measure: "over bare" },
        tookMs[index + 1]!.map((ms) => ms - bareMs),
      )
    ),
  ];
}

if (import.meta.main) printFigures(await measureStart());
