/**
 * Time that a library adds to the start of a program: `deno task bench:start`.
 *
 * Processes that import a library and run one trivial task, against one that
 * does nothing, by turns; everything is cached. Best of ten.
 *
 * Rota is imported by its entry "." and by its door "./loop", which has no more
 * than a loop and its tasks.
 *
 * @module
 */
import { childScript, outputOfDeno } from "./child.ts";
import { type Figure, figure, printFigures, printTable } from "./report.ts";
import type { Role } from "./suite.ts";

const ROUNDS = 10;

const CASES: readonly (readonly [string, string, Role])[] = [
  ["Rota, generator", "start_rota.ts", "rota"],
  ["Rota, async function", "start_rota_async.ts", "rota"],
  ["Rota ./loop, generator", "start_loop.ts", "rota"],
  ["effection", "start_effection.ts", "rival"],
  ["p-queue", "start_p_queue.ts", "rival"],
  ["Effect", "start_effect.ts", "rival"],
];

/** The rival that the others are compared with. */
const RIVAL = "p-queue";

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

/** Prints each best time over bare Deno as a part of that of the rival. */
function printRatios(figures: readonly Figure[]): void {
  const added = figures.filter(({ measure }) => measure === "over bare");
  const rival = added.find((figure) => figure.case === RIVAL);
  console.log();
  printTable(
    ["case", `beside ${RIVAL}`],
    added.map((figure) => [
      figure.case,
      (figure.best / (rival?.best ?? NaN)).toFixed(2),
    ]),
  );
}

if (import.meta.main) {
  const figures = await measureStart();
  printFigures(figures);
  if (!Deno.args.includes("--json")) printRatios(figures);
}
