/**
 * Metrics of loops, pools and supervisors: as data, as text for Prometheus, and for
 * OpenTelemetry.
 *
 * @module
 */
import {
  checkFunction,
  checkHas,
  checkOptions,
  inspect,
} from "../loop/checks.ts";
import { checkLoop } from "../loop/check_loop.ts";
import { core } from "../loop/core.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import { checkExecutor } from "../loop/default_executor.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Task } from "../loop/task.ts";
import { isReady } from "../loop/waits.ts";
import type { SupervisorTree } from "../supervise/supervisor_tree.ts";
import type { Executor, ExecutorStats } from "../workers/executor.ts";
import { LagMonitor } from "./lag_monitor.ts";
import type { TaskState } from "./task_tree.ts";

/** A value of a {@linkcode Metric}. */
export interface MetricSample {
  /** Labels that tell it from the others, such as `{ state: "waiting" }`. */
  readonly labels: Readonly<Record<string, string>>;
  /** The value, in base units: seconds, not milliseconds. May be `NaN`. */
  readonly value: number;
  /** Ending of the name: `"_sum"` and `"_count"` of a summary. */
  readonly suffix?: "_sum" | "_count";
}

/** A metric and its values. */
export interface Metric {
  /** Name for Prometheus, such as `"rota_loop_tasks"`. */
  readonly name: string;
  /** Meaning, in a sentence without a full stop. */
  readonly help: string;
  /** `"counter"` for what only grows. */
  readonly type: "gauge" | "counter" | "summary";
  /** Unit of the values. */
  readonly unit: "seconds" | "none";
  /** The values. */
  readonly samples: readonly MetricSample[];
}

/** Something with a tree of supervisors, such as a {@linkcode Supervisor}. */
export interface HasTree {
  /** Takes a snapshot of it. */
  tree(): SupervisorTree;
}

/** Options of {@linkcode Metrics}. */
export interface MetricsOptions {
  /**
   * The loop.
   *
   * @default {the running loop}
   */
  readonly loop?: EventLoop | undefined;
  /** Monitor of its lag. Without one there are no metrics of the lag. */
  readonly lag?: LagMonitor | undefined;
  /** Pools and other executors, by the name that they have in the label `pool`. */
  readonly pools?: Readonly<Record<string, Executor>> | undefined;
  /** Supervisors, by the name that they have in the label `supervisor`; those inside have longer ones. */
  readonly supervisors?: Readonly<Record<string, HasTree>> | undefined;
}

/** Meter of `npm:@opentelemetry/api`, as far as {@linkcode Metrics.export} uses it. */
export interface OtelMeter {
  /** Makes an instrument for a value that goes up and down. */
  createObservableGauge(name: string, options?: OtelMetricOptions): unknown;
  /** Makes an instrument for a value that only grows. */
  createObservableCounter(name: string, options?: OtelMetricOptions): unknown;
  /** Has a function called at each collection. */
  // deno-lint-ignore no-explicit-any
  addBatchObservableCallback(callback: any, observables: any): void;
  /** Undoes that. */
  // deno-lint-ignore no-explicit-any
  removeBatchObservableCallback(callback: any, observables: any): void;
}

/** Options of an instrument of OpenTelemetry. */
export interface OtelMetricOptions {
  /** Meaning of the values. */
  description?: string;
  /** Unit of the values. */
  unit?: string;
}

/** The package `npm:@opentelemetry/api`, as far as {@linkcode Metrics.export} uses it. */
export interface OtelMetricsApi {
  /** Entry for metrics. */
  readonly metrics: {
    /** Returns the meter of a library. */
    getMeter(name: string): OtelMeter;
  };
}

const WHAT = "make metrics";

/**
 * Metrics of a loop, and of the pools and supervisors that it is given: tasks by
 * state, what is ready, timers, turns, lag, jobs, workers, restarts.
 *
 * Nothing is counted for it: each reading looks at what is there. It changes nothing,
 * so that several readers do not disturb each other, and its time does not count as
 * lag. Takes a part of a microsecond for each task.
 *
 * @example A page for Prometheus
 * ```ts
 * import { LagMonitor, Metrics, run, serve, sleep } from "@rota/rota";
 * import { assertStringIncludes } from "@std/assert";
 *
 * await run(async () => {
 *   await using lag = new LagMonitor();
 *   const metrics = new Metrics({ lag });
 *   await using server = serve(
 *     () => new Response(metrics.text(), { headers: metrics.headers }),
 *     { port: 0, hostname: "127.0.0.1" },
 *   );
 *   const { port } = await server.ready() as Deno.NetAddr;
 *   const response = await fetch(`http://127.0.0.1:${port}/`);
 *   assertStringIncludes(await response.text(), "\nrota_loop_turns_total ");
 * });
 * ```
 */
export class Metrics {
  readonly #loop: EventLoop;
  readonly #lag: LagMonitor | null;
  readonly #pools: Readonly<Record<string, Executor>>;
  readonly #supervisors: Readonly<Record<string, HasTree>>;

  /** Headers of an HTTP response with {@linkcode text}. */
  readonly headers: Readonly<Record<string, string>> = Object.freeze({
    "content-type": "text/plain; version=0.0.4; charset=utf-8",
  });

  /**
   * Makes metrics. Nothing is read yet.
   *
   * @param options The loop, and all else to be measured.
   * @throws {TypeError} If an option is of the wrong type.
   */
  constructor(options: MetricsOptions = {}) {
    checkOptions(options, WHAT);
    const { lag, pools = {}, supervisors = {} } = options;
    if (options.loop !== undefined) checkLoop(options.loop, WHAT);
    if (lag !== undefined && !(lag instanceof LagMonitor)) {
      throw new TypeError(
        `Cannot ${WHAT} as lag must be a LagMonitor: received ${inspect(lag)}`,
      );
    }
    for (const pool of Object.values(pools)) checkExecutor(pool, WHAT);
    for (const [name, supervisor] of Object.entries(supervisors)) {
      checkFunction(supervisor?.tree, WHAT, `supervisors.${name}.tree`);
    }
    this.#loop = options.loop ?? getRunningLoop();
    this.#lag = lag ?? null;
    this.#pools = { ...pools };
    this.#supervisors = { ...supervisors };
  }

  /**
   * Reads all metrics.
   *
   * @returns The metrics, each with its values.
   */
  read(): Metric[] {
    const read = () => [
      ...metricsOfLag(this.#lag),
      ...metricsOfLoop(this.#loop),
      ...metricsOfPools(this.#pools),
      ...metricsOfSupervisors(this.#supervisors),
    ];
    return this.#lag === null ? read() : this.#lag.exclude(read);
  }

  /**
   * Reads all metrics as text in the format of Prometheus, version 0.0.4.
   *
   * @returns The text, which ends with a line feed.
   */
  text(): string {
    const write = () => `${this.read().flatMap(linesOf).join("\n")}\n`;
    return this.#lag === null ? write() : this.#lag.exclude(write);
  }

  /**
   * Exports all metrics to OpenTelemetry: they are read whenever a reader of it
   * collects. Names are like `rota.loop.tasks`; sums of summaries are left out.
   *
   * @param api The package `npm:@opentelemetry/api`, whose provider of metrics is set.
   * @returns The export: dispose of it to end it.
   * @throws {TypeError} If `api` is something else.
   */
  export(api: OtelMetricsApi): Disposable {
    const what = "export metrics";
    checkHas(
      api?.metrics,
      ["getMeter"],
      what,
      "api.metrics",
      "that of @opentelemetry/api",
    );
    const meter = api.metrics.getMeter("rota");
    const instruments = new Map(
      this.read().map((metric) => [metric.name, instrumentOf(meter, metric)]),
    );
    const all = [...instruments.values()];
    const collect = (
      result: {
        observe(instrument: unknown, value: number, labels: object): void;
      },
    ) => {
      for (const { name, samples } of this.read()) {
        for (const { labels, value, suffix } of samples) {
          if (suffix !== undefined || Number.isNaN(value)) continue;
          result.observe(instruments.get(name), value, labels);
        }
      }
    };
    meter.addBatchObservableCallback(collect, all);
    return {
      [Symbol.dispose]: () => meter.removeBatchObservableCallback(collect, all),
    };
  }
}

function instrumentOf(meter: OtelMeter, metric: Metric): unknown {
  const { type, unit, help } = metric;
  const name = metric.name.replace(/_total$/, "").replace(/_seconds$/, "")
    .replace("_", ".").replace("_", ".");
  const options = {
    description: help,
    ...unit === "seconds" && { unit: "s" },
  };
  return type === "counter"
    ? meter.createObservableCounter(name, options)
    : meter.createObservableGauge(name, options);
}

// -- Reading --

function gauge(
  name: string,
  help: string,
  samples: MetricSample[] | number,
  unit: Metric["unit"] = "none",
): Metric {
  return { name, help, type: "gauge", unit, samples: listOf(samples) };
}

function counter(
  name: string,
  help: string,
  samples: MetricSample[] | number,
  unit: Metric["unit"] = "none",
): Metric {
  return { name, help, type: "counter", unit, samples: listOf(samples) };
}

function listOf(samples: MetricSample[] | number): MetricSample[] {
  return typeof samples === "number"
    ? [{ labels: {}, value: samples }]
    : samples;
}

/** A value for each of the counts, under a label. */
function byLabel(
  label: string,
  counts: Readonly<Record<string, number>>,
  labels: Readonly<Record<string, string>> = {},
): MetricSample[] {
  return Object.entries(counts).map(([name, value]) => ({
    labels: { ...labels, [label]: name },
    value,
  }));
}

function metricsOfLag(lag: LagMonitor | null): Metric[] {
  if (lag === null) return [];
  const { p50, p99, max, sumTotal, samplesTotal, suspendedTotal } = lag
    .snapshot();
  const samples: MetricSample[] = [
    { labels: { quantile: "0.5" }, value: p50 / 1_000 },
    { labels: { quantile: "0.99" }, value: p99 / 1_000 },
    { labels: {}, value: sumTotal / 1_000, suffix: "_sum" },
    { labels: {}, value: samplesTotal, suffix: "_count" },
  ];
  return [
    {
      name: "rota_loop_lag_seconds",
      help: "How late the loop runs its timers; quantiles over the last window",
      type: "summary",
      unit: "seconds",
      samples,
    },
    gauge(
      "rota_loop_lag_max_seconds",
      "Greatest lag of the last window",
      max / 1_000,
      "seconds",
    ),
    counter(
      "rota_loop_suspended_seconds_total",
      "Time in which the process was found to be suspended",
      suspendedTotal / 1_000,
      "seconds",
    ),
  ];
}

function metricsOfLoop(loop: EventLoop): Metric[] {
  const { ready, timers, descriptors, outsideWaits, turns, ioGates } = loop
    .stats();
  return [
    gauge(
      "rota_loop_tasks",
      "Tasks that have not ended",
      byLabel("state", countTasks(loop)),
    ),
    gauge("rota_loop_ready", "Callbacks and tasks that are ready", ready),
    gauge("rota_loop_timers", "Timers that are pending", timers),
    gauge("rota_loop_descriptors", "Descriptors that are watched", descriptors),
    gauge(
      "rota_loop_outside_waits",
      "Waits for promises that are not of the loop",
      outsideWaits,
    ),
    counter("rota_loop_turns_total", "Turns of the loop", turns),
    counter(
      "rota_loop_io_gates_total",
      "Pauses of the busy loop for the I/O of the runtime",
      ioGates,
    ),
  ];
}

/** Counts tasks by their state, without asking what they wait for. */
function countTasks(loop: EventLoop): Record<TaskState, number> {
  const counts = { new: 0, ready: 0, running: 0, waiting: 0 };
  const running = findTask();
  for (const task of loop[core].tasks.toArray()) {
    counts[task === running ? "running" : stateOf(task)]++;
  }
  return counts;
}

function stateOf(task: Task<unknown>): TaskState {
  if (task.placeInLine() !== null) return "waiting";
  if (task.coroutine === null && !task.promised) return "new";
  return isReady(task) ? "ready" : "waiting";
}

/** A pool by its label, and its counts. */
interface PoolCounts {
  readonly pool: { readonly pool: string };
  readonly stats: ExecutorStats;
}

function metricsOfPools(pools: Readonly<Record<string, Executor>>): Metric[] {
  const all = Object.entries(pools).map(([pool, executor]): PoolCounts => ({
    pool: { pool },
    stats: executor.stats(),
  }));
  if (all.length === 0) return [];
  return [...metricsOfJobs(all), ...metricsOfWorkers(all)];
}

function metricsOfJobs(all: readonly PoolCounts[]): Metric[] {
  return [
    gauge(
      "rota_pool_jobs",
      "Jobs that have not ended",
      all.flatMap(({ pool, stats: { queued, running } }) =>
        byLabel("state", { queued, running }, pool)
      ),
    ),
    counter(
      "rota_pool_jobs_ended_total",
      "Jobs that have ended",
      all.flatMap(({ pool, stats: { done, failed, cancelled, crashed } }) =>
        byLabel("end", { done, failed, cancelled, crashed }, pool)
      ),
    ),
    counter(
      "rota_pool_jobs_rerun_total",
      "Times that a job was begun again as its worker had died",
      all.map(({ pool, stats }) => ({ labels: pool, value: stats.rerun })),
    ),
    durations("wait", "Time from the submission of a job until it began", all),
    durations("run", "Time from the beginning of a job until its result", all),
  ];
}

function durations(
  what: "wait" | "run",
  help: string,
  all: readonly PoolCounts[],
): Metric {
  const samples = all.flatMap(({ pool, stats }) => {
    const { p50, p99 } = stats[`${what}Ms`];
    return byLabel("percentile", { 50: p50 / 1_000, 99: p99 / 1_000 }, pool);
  });
  return gauge(`rota_pool_job_${what}_seconds`, help, samples, "seconds");
}

function metricsOfWorkers(all: readonly PoolCounts[]): Metric[] {
  return [
    gauge(
      "rota_pool_workers",
      "Workers",
      all.flatMap(({ pool, stats }) => byLabel("state", stats.workers, pool)),
    ),
    gauge(
      "rota_pool_lost_threads",
      "Threads that go on although they were killed",
      all.map(({ pool, stats }) => ({
        labels: pool,
        value: stats.lostThreads,
      })),
    ),
  ];
}

function metricsOfSupervisors(
  supervisors: Readonly<Record<string, HasTree>>,
): Metric[] {
  const trees = Object.entries(supervisors).flatMap(([name, supervisor]) =>
    treesIn(name, supervisor.tree())
  );
  if (trees.length === 0) return [];
  return [
    gauge(
      "rota_supervisor_children",
      "Children of supervisors",
      trees.flatMap(({ name, tree }) => {
        const counts: Record<string, number> = {};
        for (const { state } of tree.children) {
          counts[state] = (counts[state] ?? 0) + 1;
        }
        return byLabel("state", counts, { supervisor: name });
      }),
    ),
    counter(
      "rota_supervisor_restarts_total",
      "Restarts that supervisors have made",
      trees.map(({ name, tree }) => ({
        labels: { supervisor: name },
        value: tree.restarts,
      })),
    ),
  ];
}

/** A tree, and those inside of it. */
function treesIn(
  name: string,
  tree: SupervisorTree,
): { name: string; tree: SupervisorTree }[] {
  const inside = tree.children.flatMap(({ id, supervisor }) =>
    supervisor === null ? [] : treesIn(`${name}/${id}`, supervisor)
  );
  return [{ name, tree }, ...inside];
}

// -- Text --

function linesOf({ name, help, type, samples }: Metric): string[] {
  return [
    `# HELP ${name} ${escapeText(help)}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(({ labels, value, suffix = "" }) => {
      const pairs = Object.entries(labels).map(([label, text]) =>
        `${label}="${escapeText(text).replaceAll('"', '\\"')}"`
      );
      const list = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
      return `${name}${suffix}${list} ${numberText(value)}`;
    }),
  ];
}

function escapeText(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}
