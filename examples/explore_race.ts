/**
 * A race that tests do not see: found by an exploration, shrunk to one switch, and
 * replayed from a line of text.
 *
 * A cache loads a page once, also if several tasks ask for it at a time. Or so it
 * was meant to: between the look into the map and the entry there is a wait.
 */

import { createTask, gather, run, sleep } from "@rota/rota";
import { ExplorationError, explore, replay } from "@rota/rota/testing";
import { assertEquals, assertRejects } from "@std/assert";

/** Caches pages by address. `checksAgain` repairs it. */
class PageCache {
  loads = 0;
  readonly #pages = new Map<string, string>();
  readonly #checksAgain: boolean;

  constructor(checksAgain: boolean) {
    this.#checksAgain = checksAgain;
  }

  async get(address: string): Promise<string> {
    const page = this.#pages.get(address);
    if (page !== undefined) return page;
    await sleep(0); // asks whether it may load this at all
    if (this.#checksAgain && this.#pages.has(address)) {
      return this.#pages.get(address)!;
    }
    this.loads++;
    this.#pages.set(address, `page of ${address}`);
    return this.#pages.get(address)!;
  }
}

/** The program: all of its state is made anew in each run. */
const program = (checksAgain: boolean) => async () => {
  const cache = new PageCache(checksAgain);
  const early = createTask(() => cache.get("/home"), { name: "early" });
  const late = createTask(async () => {
    await sleep(0);
    await sleep(0);
    await cache.get("/home");
  }, { name: "late" });
  await gather([early, late]);
  assertEquals(cache.loads, 1, "the page was loaded twice");
};

// In the usual order the race does not show, however often the test runs.
await run(program(false));
await run(program(false), { host: "virtual" });
console.log("two runs: no failure");

// An exploration finds the schedule, and prints all that is needed to see why.
const { failure } = await assertRejects(
  () => explore(program(false), { strategy: "pct", seed: 2 }),
  ExplorationError,
);
console.log(`found in run ${failure.runs}: ${failure.kind}`);
console.log(`schedule: ${failure.schedule}`);
console.log(failure.table);

// The schedule is all that has to be kept, in a bug report say.
const again = await assertRejects(
  () => replay(program(false), failure.schedule),
  ExplorationError,
);
assertEquals(again.failure.table, failure.table);

// Every schedule of the repaired cache, and not only some of them.
const report = await explore(program(true), {
  strategy: "dfs",
  iterations: 5_000,
});
assertEquals(report.complete, true);
console.log(`repaired: nothing found in all ${report.runs} schedules`);
