/**
 * Every benchmark once, at a tiny size, so that none can rot.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import * as rota from "../mod.ts";
import { compare, measureBoth, ROWS } from "../bench/compare.ts";
import {
  childScript,
  findProgram,
  outputOf,
  ROOT,
} from "../bench/support/child.ts";
import { measureDeadline } from "../bench/support/deadline.ts";
import { measureHttp } from "../bench/support/http.ts";
import { measureIdle } from "../bench/support/idle.ts";
import { measureLatency } from "../bench/support/latency.ts";
import { measureMemory } from "../bench/support/memory.ts";
import { measurePeriodic } from "../bench/support/periodic.ts";
import {
  type Figure,
  figure,
  joinFigures,
  percentile,
} from "../bench/support/report.ts";
import { measureServe } from "../bench/support/serve.ts";
import { measureStart } from "../bench/support/start.ts";
import { runCase } from "../bench/support/suite.ts";
import { SUITES } from "../bench/support/suites.ts";
import { isClose, judge } from "../bench/support/table.ts";
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

/** Runs of a script at a tiny size: several suites share a script, or a run of it. */
const foreignRuns = new Map(
  SUITES.flatMap((suite) => suite.foreign ?? [])
    .map((one) => [[one.script, ...one.args ?? []].join(" "), one]),
);
for (const [run, { program, script, args = [] }] of foreignRuns) {
  const path = await findProgram(program);
  Deno.test({
    name: `bench/children/${run} prints its figures`,
    ignore: path === null,
    fn: async () => {
      const printed = await outputOf(path!, [
        childScript(script),
        "40",
        "1",
        ...args,
      ]);
      const figures: Record<string, unknown> = JSON.parse(printed);
      for (const suite of SUITES) {
        for (const one of suite.foreign ?? []) {
          if ([one.script, ...one.args ?? []].join(" ") !== run) continue;
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

Deno.test("bench:serve measures", async () => {
  // The other workloads need wrk, and a second each.
  assertMeasured(await measureServe(1, ["overload"], 100));
});

Deno.test("bench:idle measures", async () => {
  assertMeasured(await measureIdle(10));
});

Deno.test("bench:periodic measures", async () => {
  assertMeasured(await measurePeriodic(3, 40, 1, 0));
});

Deno.test("bench:deadline measures", async () => {
  assertMeasured(await measureDeadline(1));
});

Deno.test("bench:table has a case for each target", () => {
  for (const target of TARGETS) {
    const suite = SUITES.find(({ name }) => name === target.workload);
    if (suite === undefined) continue; // measured by a runner
    const names = [...suite.cases, ...suite.foreign ?? []]
      .map(({ name }) => name);
    assert(names.includes(target.case), `${target.workload}: ${target.case}`);
    const rival = target.timesOf?.[1] ?? target.case;
    assert(names.includes(rival), `${target.workload}: ${rival}`);
  }
});

Deno.test("every target that is a time of Rota is a ratio to a case of the same run", () => {
  const absolute = TARGETS.filter(({ atMost }) => atMost !== undefined)
    .map(({ workload, measure }) =>
      measure === "early" ? measure : `${workload}, ${measure}`
    );
  assertEquals([...new Set(absolute)].sort(), [
    "1,000 jobs, drift",
    "1,000 jobs, p50",
    "1,000 jobs, p99",
    "1,000 jobs, ticks missed",
    "deadline after 15 ms, turns",
    "early",
  ]);
});

const about = { workload: "w", measure: "time", unit: "ns" };
const figures = [
  figure({ ...about, case: "Rota", role: "rota" }, [40, 30, 50]),
  figure({ ...about, case: "least", role: "limit" }, [10, 12]),
];

Deno.test("judge() compares with another case, with a number, or not at all", () => {
  const target = { workload: "w", case: "Rota" };
  const times = (factor: number, name = "least") =>
    judge({ ...target, timesOf: [factor, name] }, figures);
  assertEquals(times(3)?.state, "holds");
  assertEquals(times(3)?.ratio, 3);
  assertEquals(times(2.9)?.state, "MISSED");
  assertEquals(times(1, "absent")?.state, "-");
  assertEquals(judge({ ...target, atMost: 30 }, figures)?.state, "holds");
  assertEquals(judge({ ...target, atMost: 29 }, figures)?.state, "MISSED");
  assertEquals(judge(target, figures)?.state, "-");
  assertEquals(judge({ ...target, case: "absent" }, figures), undefined);
});

Deno.test("isClose() is true on either side of a target, and false far from all", () => {
  const chainAt = (ns: number) => [
    figure({ ...about, workload: "chain", case: "Rota", role: "rota" }, [ns]),
    figure(
      { ...about, workload: "chain", case: "queueMicrotask", role: "limit" },
      [10],
    ),
  ];
  const target = TARGETS.find(({ workload, case: name }) =>
    workload === "chain" && name === "Rota"
  )!;
  const limit = target.timesOf![0] * 10;
  assert(isClose(chainAt(limit * 0.9)));
  assert(isClose(chainAt(limit * 1.3)));
  assert(!isClose(chainAt(limit * 0.5)));
  assert(!isClose(chainAt(limit * 2)));
});

Deno.test("a figure is the best of all rounds; of a count, the worst", () => {
  const [joined] = joinFigures([
    figures,
    [figure({ ...about, case: "Rota", role: "rota" }, [20, 60])],
  ].map(([first]) => [first!]));
  assertEquals(joined!.best, 20);
  assertEquals(joined!.median, 40);
  assertEquals(joined!.rounds, [40, 30, 50, 20, 60]);
  const count = { ...about, unit: "", case: "Rota", role: "rota" } as const;
  assertEquals(figure(count, [0, 3, 1]).best, 3);
});

for (const { name, run } of ROWS) {
  Deno.test(`bench:compare measures ${name}`, async () => {
    assert(await run(rota, 400) > 0);
  });
}

Deno.test("bench:compare runs a row of two checkouts in processes of their own", async () => {
  const root = ROOT.pathname;
  const results = await measureBoth(root, root, "bulk", 1, 0);
  for (const side of [results.before, results.after]) {
    assertEquals(side.length, 1);
    assert(side[0]!.every((ns) => ns > 0));
  }
});

Deno.test("compare() wants the best and the median within 3 %", () => {
  const before = [[10, 20], [12, 22], [11, 21]] as const;
  const state = (...after: [number, number][]) =>
    compare({ before, after }).state;
  assertEquals(state([10.2, 21.5]), "holds");
  assertEquals(state([10.2, 23]), "unclear");
  assertEquals(state([11, 21]), "unclear");
  assertEquals(state([11, 23]), "SLOWER");
  assertEquals(state([11, 23], [10, 20], [12, 21]), "holds");
});

Deno.test("percentile() takes the nearest rank", () => {
  const values = [5, 1, 4, 2, 3];
  assertEquals(percentile(values, 50), 3);
  assertEquals(percentile(values, 99), 5);
  assertEquals(percentile([7], 50), 7);
});
