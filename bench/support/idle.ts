/**
 * What a loop uses that has nothing to do for an hour: `deno task bench:idle`.
 *
 * @module
 */
import { childScript, outputOfDeno } from "./child.ts";
import { type Figure, figure, printFigures } from "./report.ts";

const FOR_MS = 2_000;

/** Measures the CPU time of processes in which a loop waits, alone and with a monitor of its lag. */
export async function measureIdle(forMs: number = FOR_MS): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const lag of ["", "lag"]) {
    const limit = lag === "" ? "no loop" : "setInterval of 100 ms";
    for (const host of ["none", "native", "portable"]) {
      const printed = await outputOfDeno(childScript("idle.ts"), [
        host,
        `${forMs}`,
        lag,
      ]);
      figures.push(figure({
        workload: lag === "" ? "idle loop" : "lag monitor",
        case: host === "none" ? limit : `Rota, ${host}`,
        role: host === "none" ? "limit" : "rota",
        measure: `CPU in ${forMs / 1_000} s`,
        unit: "ms",
      }, [Number(printed)]));
    }
  }
  return figures;
}

if (import.meta.main) printFigures(await measureIdle());
