/**
 * The explorer finds ten planted bugs, shrinks and replays them, and finds nothing
 * once they are repaired.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ExplorationError,
  type ExplorationFailure,
  explore,
  type ExploreStrategy,
} from "../../src/testing/mod.ts";
import { PLANTED_BUGS, type PlantedBug } from "./support/planted_bugs.ts";

const SEEDS = Array.from({ length: 10 }, (_, index) => index + 1);
const SEEDED = ["random", "pct"] as const;

async function find(
  { program, options, runsMax }: PlantedBug,
  strategy: ExploreStrategy,
  seed: number,
): Promise<ExplorationFailure> {
  const { failure } = await assertRejects(
    () =>
      explore(program(false), {
        ...options,
        strategy,
        seed,
        iterations: runsMax,
      }),
    ExplorationError,
    "",
    `${strategy}, seed ${seed}`,
  );
  return failure;
}

for (const bug of PLANTED_BUGS) {
  const { name, kind, program, options, runsMax } = bug;
  Deno.test(`Random choices and PCT find ${name} within ${runsMax} runs, on ten seeds`, async () => {
    for (const strategy of SEEDED) {
      for (const seed of SEEDS) {
        const failure = await find(bug, strategy, seed);
        const at = `${strategy}, seed ${seed}`;
        assertEquals([failure.kind, failure.seed], [kind, seed], at);
        // The fewest there are, for all but one: too many schedules for the search.
        const fewest = name === "close against send" ? 5 : 1;
        assert(failure.preemptions <= fewest, `${at}: ${failure.table}`);
        assert(failure.steps < 100, `${at}: ${failure.steps} steps`);
      }
    }
  });

  Deno.test(`Nothing is found in ${name}, repaired`, async () => {
    for (const strategy of ["random", "pct", "dfs", "round-robin"] as const) {
      const report = await explore(program(true), {
        ...options,
        strategy,
        seed: 11,
        iterations: 300,
      });
      assertEquals(report.uncontrolled, []);
    }
  });
}

Deno.test("Another process replays the schedules of all planted bugs", async () => {
  const schedules: Record<string, string> = {};
  const found: Record<string, unknown> = {};
  for (const bug of PLANTED_BUGS) {
    const { kind, schedule, table } = await find(bug, "random", 1);
    schedules[bug.name] = schedule;
    found[bug.name] = { kind, table };
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-check",
      new URL("children/replay.ts", import.meta.url).pathname,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = new Response(JSON.stringify(schedules)).body!;
  await input.pipeTo(child.stdin);
  const { stdout } = await child.output();
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)), found);
});
