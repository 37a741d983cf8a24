/**
 * Interleavings of five tasks of six steps each.
 *
 * @module
 */
import fc from "fast-check";
import { type Coroutine, createTask, sleep } from "../mod.ts";
import { explore } from "../src/testing/mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

const TASKS = 5;
const STEPS = 6;

/** Counts the interleavings in which every step was made, and how many different ones there were. */
class Interleavings {
  done = 0;
  #order = "";
  readonly #orders = new Set<string>();

  step(task: number): void {
    this.#order += task;
  }

  end(): void {
    if (this.#order.length !== TASKS * STEPS) {
      throw new Error(`${this.#order.length} steps were made`);
    }
    this.#orders.add(this.#order);
    this.#order = "";
    this.done++;
  }

  /** How many were done. Throws unless most of them differ. */
  check(): number {
    if (this.#orders.size < this.done * 0.8) {
      throw new Error(`${this.#orders.size} of ${this.done} differ`);
    }
    return this.done;
  }
}

/** Rota explores; its first run is made twice. */
async function byExplore(
  size: number,
  watch: Stopwatch,
  program: (seen: Interleavings) => () => unknown,
): Promise<number> {
  const seen = new Interleavings();
  watch.start();
  await explore(program(seen), { seed: size, iterations: size - 1 });
  watch.end();
  return seen.check();
}

function generators(seen: Interleavings): () => Coroutine<void> {
  return function* () {
    const tasks = Array.from(
      { length: TASKS },
      (_, task) =>
        createTask(function* () {
          for (let step = 0; step < STEPS; step++) {
            yield* sleep(0);
            seen.step(task);
          }
        }),
    );
    for (const task of tasks) yield* task;
    seen.end();
  };
}

function asyncFunctions(seen: Interleavings): () => Promise<void> {
  return async () => {
    const tasks = Array.from(
      { length: TASKS },
      (_, task) =>
        createTask(async () => {
          for (let step = 0; step < STEPS; step++) {
            await sleep(0);
            seen.step(task);
          }
        }),
    );
    for (const task of tasks) await task;
    seen.end();
  };
}

/** Async functions whose promises are put into the scheduler of fast-check. */
async function byFastCheck(size: number, watch: Stopwatch): Promise<number> {
  const seen = new Interleavings();
  const property = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
    const tasks = Array.from({ length: TASKS }, async (_, task) => {
      for (let step = 0; step < STEPS; step++) {
        await scheduler.schedule(Promise.resolve());
        seen.step(task);
      }
    });
    await scheduler.waitFor(Promise.all(tasks));
    seen.end();
  });
  watch.start();
  await fc.assert(property, { numRuns: size, seed: size });
  watch.end();
  return seen.check();
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "explore",
  title: "interleavings of 5 tasks of 6 steps",
  things: "interleavings",
  size: 1_000,
  tinySize: 8,
  cases: [
    {
      name: "Rota, generators",
      role: "rota",
      run: (size, watch) => byExplore(size, watch, generators),
    },
    {
      name: "Rota, async functions",
      role: "rota",
      run: (size, watch) => byExplore(size, watch, asyncFunctions),
    },
    { name: "fast-check", role: "rival", run: byFastCheck },
  ],
}];
suites.forEach(register);
