/**
 * How late a sleep ends: `deno task bench:latency`.
 *
 * One sleep after the other, in a loop that has nothing else to do. Lateness is
 * the time a sleep took less what was asked for; a sleep that is early is an
 * error of the loop.
 *
 * @module
 */
import {
  type Coroutine,
  type EventLoopOptions,
  run,
  sleep,
} from "../../mod.ts";
import { childScript, findProgram, outputOf } from "./child.ts";
import { type Figure, figure, percentile, printFigures } from "./report.ts";
import type { Role } from "./suite.ts";

const SLEEPS = 300;
const DELAYS_MS = [0.2, 0.5, 1, 5, 20];
/** Delays up to this are cheap enough to be measured several times. */
const SHORT_MS = 1;
const ROUNDS = 3;

const LOOPS: readonly (readonly [string, EventLoopOptions])[] = [
  ["Rota, native", { host: "native" }],
  ["Rota, native, precise", { host: "native", timerPrecision: "precise" }],
  ["Rota, portable", { host: "portable" }],
  ["Rota, portable, precise", { host: "portable", timerPrecision: "precise" }],
];

/** How late each of some sleeps was, in microseconds; negative means early. */
export type Sleeps = (delayMs: number, sleeps: number) => Promise<number[]>;

async function lateness(
  delayMs: number,
  sleeps: number,
  options: EventLoopOptions,
): Promise<number[]> {
  const lateUs: number[] = [];
  await run(function* (): Coroutine<void> {
    // A precise loop learns how late its wake-ups are.
    for (let n = 0; n < 20; n++) yield* sleep(delayMs);
    for (let n = 0; n < sleeps; n++) {
      const startMs = performance.now();
      yield* sleep(delayMs);
      lateUs.push((performance.now() - startMs - delayMs) * 1e3);
    }
  }, options);
  return lateUs;
}

async function latenessInDeno(
  delayMs: number,
  sleeps: number,
): Promise<number[]> {
  const lateUs: number[] = [];
  for (let n = 0; n < sleeps; n++) {
    const startMs = performance.now();
    await new Promise<void>((resolve) => setTimeout(resolve, delayMs));
    lateUs.push((performance.now() - startMs - delayMs) * 1e3);
  }
  return lateUs;
}

function latenessInPython(path: string): Sleeps {
  return async (delayMs, sleeps) => {
    const args = [childScript("sleep.py"), `${delayMs}`, `${sleeps}`];
    return JSON.parse(await outputOf(path, args));
  };
}

async function allWays(): Promise<[string, Role, Sleeps][]> {
  const ways = LOOPS.map(([name, options]): [string, Role, Sleeps] => [
    name,
    "rota",
    (delayMs, sleeps) => lateness(delayMs, sleeps, options),
  ]);
  ways.push(["setTimeout", "rival", latenessInDeno]);
  const python = await findProgram("python3");
  if (python !== null) {
    ways.push(["asyncio", "rival", latenessInPython(python)]);
  }
  return ways;
}

/** Measures all delays on all kinds of loops, and of the rivals. */
export async function measureLatency(
  sleeps: number = SLEEPS,
  delaysMs: readonly number[] = DELAYS_MS,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, role, sleepInTurn] of await allWays()) {
    for (const delayMs of delaysMs) {
      const rounds: number[][] = [];
      while (rounds.length < (delayMs > SHORT_MS ? 1 : ROUNDS)) {
        rounds.push(await sleepInTurn(delayMs, sleeps));
      }
      const about = { workload: `sleep ${delayMs} ms`, case: name, role };
      for (const percent of [50, 99]) {
        figures.push(figure(
          { ...about, measure: `p${percent}`, unit: "us" },
          rounds.map((lateUs) => percentile(lateUs, percent)),
        ));
      }
      figures.push(figure({ ...about, measure: "early", unit: "" }, [
        rounds.flat().filter((lateUs) => lateUs < 0).length,
      ]));
    }
  }
  return figures;
}

if (import.meta.main) printFigures(await measureLatency());
