/**
 * Metrics: as data, as text that promtool accepts, and through OpenTelemetry.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import * as otel from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  createTask,
  Lock,
  run,
  sleep,
  Supervisor,
  type Task,
  wait,
} from "../../mod.ts";
import {
  LagMonitor,
  Metrics,
  type MetricsOptions,
  taskTree,
} from "../../src/observe/mod.ts";

import { FakeExecutor } from "../../src/testing/fake_executor.ts";

const VIRTUAL = { host: "virtual", name: "main" } as const;

/** Checks text as `promtool check metrics` does, and returns the values by name and labels. */
function parse(text: string): Record<string, number> {
  assert(text.endsWith("\n"));
  const values: Record<string, number> = {};
  let family = { name: "", help: "", type: "" };
  const seen = new Set<string>();
  for (const line of text.slice(0, -1).split("\n")) {
    const about = /^# (HELP|TYPE) ([a-z][a-z0-9_]*) (.+)$/.exec(line);
    if (about !== null) {
      const [, kind, name, value] = about as unknown as string[];
      if (kind === "HELP") {
        assert(!seen.has(name!), `${name} comes twice`);
        seen.add(name!);
        family = { name: name!, help: value!, type: "" };
      } else {
        assertEquals(name, family.name, "HELP comes right before TYPE");
        family.type = value!;
        assertEquals(value === "counter", /_total$/.test(name!), name);
        assert(!/milli|minutes|hours|_ms|counter|gauge/.test(name!), name);
      }
      continue;
    }
    const sample =
      /^([a-z0-9_]+?)(_sum|_count)?(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (NaN|[+-]Inf|[-+.e\d]+)$/
        .exec(line);
    assert(sample !== null, line);
    const [, name, suffix = "", labels = "", value] = sample;
    const isSummary = family.type === "summary";
    assertEquals(isSummary ? name : name + suffix, family.name, line);
    assertEquals(labels.includes("quantile="), isSummary && suffix === "");
    const key = `${name}${suffix}{${labels}}`;
    assert(!(key in values), `${key} comes twice`);
    values[key] = Number(value);
  }
  return values;
}

Deno.test("text() is in the format of Prometheus, and counts what is there", async () => {
  await run(function* () {
    const lag = new LagMonitor({ everyMs: 100 });
    const metrics = new Metrics({ lag });
    parse(metrics.text()); // before the first sample
    const lock = new Lock();
    const made: Task<unknown>[] = [];
    for (let n = 0; n < 3; n++) {
      made.push(createTask(function* () {
        using _permit = yield* lock.acquire();
        yield* sleep(1_000);
      }));
    }
    made.push(createTask(async () => {
      await sleep(1_000);
    }));
    yield* sleep(250);
    made.push(createTask(() => {}));
    const values = parse(metrics.text());
    for (const [state, count] of Object.entries(taskTree().byState)) {
      assertEquals(values[`rota_loop_tasks{state="${state}"}`], count, state);
    }
    assertEquals(values['rota_loop_tasks{state="waiting"}'], 4);
    assertEquals(values["rota_loop_ready{}"], 1);
    assertEquals(values["rota_loop_timers{}"], 3);
    assertEquals(values["rota_loop_lag_seconds_count{}"], 2);
    assertEquals(values['rota_loop_lag_seconds{quantile="0.99"}'], 0);
    assert(values["rota_loop_turns_total{}"]! > 3);
    assertEquals(values["rota_loop_io_gates_total{}"], 0);
    // Two scrapers do not disturb each other.
    assertEquals(metrics.text(), metrics.text());
    assertMatch(metrics.headers["content-type"]!, /version=0\.0\.4/);
    for (const one of made) one.cancel();
    yield* wait(made);
    void lag.close();
  }, VIRTUAL);
});

Deno.test("Names of pools and supervisors become labels, whatever is in them", async () => {
  await run(async () => {
    const name = 'a "b"\\\n{c}';
    await using pool = new FakeExecutor();
    await using supervisor = new Supervisor({
      children: [
        { id: "steady", start: () => sleep(1e9) },
        { id: "failing", restart: "temporary", start: () => sleep(1) },
      ],
    });
    await supervisor.start();
    await sleep(50);
    const metrics = new Metrics({
      pools: { [name]: pool },
      supervisors: { top: supervisor },
    });
    const values = parse(metrics.text());
    const label = 'pool="a \\"b\\"\\\\\\n{c}"';
    assertEquals(values[`rota_pool_jobs{${label},state="queued"}`], 0);
    assertEquals(values[`rota_pool_jobs_ended_total{${label},end="done"}`], 0);
    assertEquals(
      values['rota_supervisor_children{supervisor="top",state="running"}'],
      1,
    );
    assertEquals(values['rota_supervisor_restarts_total{supervisor="top"}'], 0);
  });
});

Deno.test("export() has OpenTelemetry read the metrics, until it is disposed of", async () => {
  await run(async () => {
    const exporter = new InMemoryMetricExporter(
      AggregationTemporality.CUMULATIVE,
    );
    const reader = new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: 3_600_000,
    });
    const provider = new MeterProvider({ readers: [reader] });
    otel.metrics.setGlobalMeterProvider(provider);
    try {
      await using lag = new LagMonitor({ everyMs: 5 });
      const metrics = new Metrics({ lag });
      const read = async () => {
        exporter.reset();
        await reader.forceFlush();
        const found = exporter.getMetrics().flatMap(({ scopeMetrics }) =>
          scopeMetrics.flatMap(({ metrics }) => metrics)
        );
        return new Map(
          found.map(({ descriptor, dataPoints }) => [descriptor.name, {
            unit: descriptor.unit,
            points: dataPoints.map(({ attributes, value }) => ({
              ...attributes,
              value,
            })),
          }]),
        );
      };
      let turns: unknown;
      {
        using _export = metrics.export(otel);
        await sleep(50);
        const found = await read();
        assertEquals(
          found.get("rota.loop.tasks")!.points.map((point) =>
            (point as { state?: string }).state
          ),
          ["new", "ready", "running", "waiting"],
        );
        assertEquals(found.get("rota.loop.lag")!.unit, "s");
        assertEquals(found.get("rota.loop.lag")!.points.length, 2);
        turns = found.get("rota.loop.turns")!.points;
        assertEquals((turns as unknown[]).length, 1);
      }
      await sleep(20); // more turns, which nobody reads any more
      assertEquals((await read()).get("rota.loop.turns")!.points, turns);
    } finally {
      await provider.shutdown();
      otel.metrics.disable();
    }
  });
});

Deno.test("Metrics refuse what they cannot read", async () => {
  await run(function* () {
    const make = (options: unknown) => () =>
      new Metrics(options as MetricsOptions);
    assertThrows(make(null), TypeError);
    assertThrows(make({ loop: {} }), TypeError, "loop");
    assertThrows(make({ lag: {} }), TypeError, "lag must be a LagMonitor");
    assertThrows(make({ pools: { a: {} } }), TypeError, "Executor");
    assertThrows(make({ supervisors: { a: null } }), TypeError, "a.tree");
    assertThrows(() => new Metrics().export({} as never), TypeError, "metrics");
  }, VIRTUAL);
});
