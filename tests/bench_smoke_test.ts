/**
 * Every benchmark once, at a tiny size, so that none can rot.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { childScript, isInstalled, outputOf } from "../bench/support/child.ts";
import { measureHttp } from "../bench/support/http.ts";
import { measureIdle } from "../bench/support/idle.ts";
import { measureLatency } from "../bench/support/latency.ts";
import { measureMemory } from "../bench/support/memory.ts";
import { measurePeriodic } from "../bench/support/periodic.ts";
import { type Figure, figure, percentile } from "../bench/support/report.ts";
import { measureStart } from "../bench/support/start.ts";
import { runCase } from "../bench/support/suite.ts";
import { SUITES } from "../bench/support/suites.ts";
import { judge } from "../bench/support/table.ts";
import { TARGETS } from "../bench/support/targets.ts";

/** Insists that a workload times one part of itself. */
class StrictWatch {
  #state = "new";

  start(): void {
    assertEquals(this.#state, "new");
    this.#state = "running";
  }

  end(): void {
    assertEquals(this.#state, "running");
    this.#state = "done";
  }

  check(): void {
    assertEquals(this.#state, "done");
  }
}

for (const suite of SUITES) {
  Deno.test(`bench ${suite.name} does its work at a tiny size`, async (context) => {
    for (const one of suite.cases) {
      await context.step(one.name, async () => {
        const watch = new StrictWatch();
        await runCase(suite, one, suite.tinySize, watch);
        watch.check();
      });
    }
  });
}

// Several suites share a script.
const scripts = new Map(
  SUITES.flatMap((suite) => suite.foreign ?? [])
    .map(({ program, script }) => [script, program]),
);
for (const [script, program] of scripts) {
  Deno.test({
    name: `bench/children/${script} prints its figures`,
    ignore: !await isInstalled(program),
    fn: async () => {
      const args = ["40", "1", "40", "1"];
      const printed = await outputOf(program, [childScript(script), ...args]);
      const figures: Record<string, unknown> = JSON.parse(printed);
      for (const suite of SUITES) {
        for (const one of suite.foreign ?? []) {
          if (one.script !== script) continue;
          const numbers = figures[one.figure];
          assert(Array.isArray(numbers) && numbers.length > 0);
          assert(numbers.every((number) => number > 0));
        }
      }
    },
  });
}

function assertMeasured(figures: readonly Figure[]): void {
  assert(figures.length > 0);
  for (const { rounds, best } of figures) {
    assert(rounds.length > 0);
    assert(Number.isFinite(best));
  }
}

Deno.test("bench:latency measures", async () => {
  assertMeasured(await measureLatency(2, [0.2, 1]));
});

Deno.test("bench:memory measures", async () => {
  assertMeasured(await measureMemory(200, 1));
});

Deno.test("bench:start measures", async () => {
  assertMeasured(await measureStart(1));
});

Deno.test("bench:http measures", async () => {
  assertMeasured(await measureHttp(3, 1));
});

Deno.test("bench:idle measures", async () => {
  assertMeasured(await measureIdle(10));
});

Deno.test("bench:periodic measures", async () => {
  assertMeasured(await measurePeriodic(3, 40, 1, 0));
});

Deno.test("bench:table has a case for each target", () => {
  for (const target of TARGETS) {
    const suite = SUITES.find(({ name }) => name === target.workload);
    if (suite === undefined) continue; // measured by a runner
    const names = [...suite.cases, ...suite.foreign ?? []]
      .map(({ name }) => name);
    assert(names.includes(target.case), `${target.workload}: ${target.case}`);
    const limit = target.timesOf?.[1] ?? target.case;
    assert(names.includes(limit), `${target.workload}: ${limit}`);
  }
});

Deno.test("judge() compares with a number, with another case, or not at all", () => {
  const about = { workload: "w", measure: "time", unit: "ns" };
  const figures = [
    figure({ ...about, case: "Rota", role: "rota" }, [40, 30, 50]),
    figure({ ...about, case: "least", role: "limit" }, [10, 12]),
  ];
  const target = { workload: "w", case: "Rota" };
  assertEquals(judge({ ...target, atMost: 30 }, figures)?.state, "pass");
  assertEquals(judge({ ...target, atMost: 29 }, figures)?.state, "FAIL");
  const times = (factor: number) =>
    judge({ ...target, timesOf: [factor, "least"] }, figures);
  assertEquals(times(3)?.state, "pass");
  assertEquals(times(2.9)?.state, "FAIL");
  assertEquals(judge(target, figures)?.state, "-");
  assertEquals(
    judge({ ...target, timesOf: [1, "absent"] }, figures)?.state,
    "-",
  );
  assertEquals(judge({ ...target, case: "absent" }, figures), undefined);
});

Deno.test("percentile() takes the nearest rank", () => {
  const values = [5, 1, 4, 2, 3];
  assertEquals(percentile(values, 50), 3);
  assertEquals(percentile(values, 99), 5);
  assertEquals(percentile([7], 50), 7);
});
