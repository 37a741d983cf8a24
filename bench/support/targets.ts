/**
 * The targets: how many times the figure of a limit or rival Rota may take.
 *
 * Machines differ by two, so no target is a number of nanoseconds: every one is
 * a ratio to another case of the same workload, measured in the same run. The
 * few in `atMost` depend on no machine: counts, and lateness that the system's
 * timers allow.
 *
 * @module
 */

/** A figure in a report: workload, case, and the measure if it is not `"time"`. */
export interface FigureName {
  readonly workload: string;
  readonly case: string;
  readonly measure?: string;
}

/** One row of the table. With neither of the two it is shown and not judged. */
export interface Target extends FigureName {
  /** At most so many times another case of the same workload and measure. */
  readonly timesOf?: readonly [number, string];
  /** At most this, in the unit of the figure. */
  readonly atMost?: number;
}

/** Rows of one workload, beside one case: a case and its ratio for each. */
function beside(
  workload: string,
  rival: string,
  ratios: Readonly<Record<string, number>>,
  measure?: string,
): Target[] {
  return Object.entries(ratios).map(([name, times]) => ({
    workload,
    case: name,
    timesOf: [times, rival],
    ...(measure !== undefined && { measure }),
  }));
}

const LOOPS = [
  "Rota, native",
  "Rota, native, precise",
  "Rota, portable",
  "Rota, portable, precise",
];

/** Sleeps that end before their time: none may. */
function neverEarly(delayMs: number): Target[] {
  return LOOPS.map((name) => ({
    workload: `sleep ${delayMs} ms`,
    case: name,
    measure: "early",
    atMost: 0,
  }));
}

/** How late sleeps are: asyncio rounds 0.2 ms up to a whole one. */
const LATENESS: readonly Target[] = [
  ...beside("sleep 0.2 ms", "asyncio", {
    "Rota, native": 0.1,
    "Rota, native, precise": 0.004,
    "Rota, portable, precise": 0.004,
  }, "p50"),
  ...beside("sleep 1 ms", "asyncio", {
    "Rota, native": 0.65,
    "Rota, native, precise": 0.035,
    "Rota, portable, precise": 0.035,
  }, "p50"),
  ...beside("sleep 1 ms", "setTimeout", {
    "Rota, portable": 1.2,
  }, "p50"),
];

const TIMERS: readonly Target[] = [
  ...beside("timer-create-1000", "Node setTimeout", { "Rota": 0.6 }),
  ...beside("timer-cancel-1000", "Node setTimeout", { "Rota": 0.6 }),
  ...beside("timer-create-100000", "Node setTimeout", { "Rota": 0.6 }),
  ...beside("timer-cancel-100000", "Node setTimeout", { "Rota": 0.6 }),
  ...beside("timer-create-1000000", "Node setTimeout", { "Rota": 0.5 }),
  ...beside("timer-cancel-1000000", "Node setTimeout", { "Rota": 0.6 }),
  ...beside("timers-due", "Node setTimeout", { "Rota": 1 }),
];

const PERIODIC: readonly Target[] = [
  ...beside("1,000 jobs", "one setInterval", { "Rota": 2.2 }, "CPU"),
  ...Object.entries({ "p50": 0.3, "p99": 1.5, "ticks missed": 0, "drift": 0 })
    .map(([measure, atMost]): Target => ({
      workload: "1,000 jobs",
      case: "Rota",
      measure,
      atMost,
    })),
];

/** Threads and processes: the round trip of raw workers is that of `postMessage`. */
const POOLS: readonly Target[] = [
  ...["pool-add", "pool-add-64"].flatMap((workload) =>
    ["workerpool", "poolifier", "piscina", "tinypool"].flatMap((rival) =>
      beside(workload, rival, { "Rota, native": 1, "Rota, portable": 1 })
    )
  ),
  ...Object.entries({
    "pool-add": 0.7,
    "pool-add-64": 0.8,
    "pool-map": 1.2,
    "pool-buffer": 1.1,
    "pool-fib": 1.05, // of the time of raw workers, so 0.95 of their gain
  }).flatMap(([workload, times]) =>
    beside(workload, "raw Worker", {
      "Rota, native": times,
      "Rota, portable": times,
    })
  ),
  ...beside("process-add", "raw Worker", {
    "Rota, native": 1.3,
    "Rota, portable": 2,
  }),
  ...beside("process-add", "asyncio ProcessPool", {
    "Rota, native": 1,
    "Rota, portable": 1,
  }),
  ...beside("waiting for 1,000 members", "round-robin", {
    "power-of-two": 0.5,
  }, "p99"),
];

/** Supervisors. A run and an end of "twice as many" children counts for each of so many. */
const SUPERVISORS: readonly Target[] = [
  ...beside("supervise", "taskGroup", {
    "Supervisor": 1.5,
    "DynamicSupervisor, a call each": 1.5,
  }),
  ...beside("restart", "taskGroup", { "restarts": 3 }),
  ...beside("supervise-many", "so many", { "twice as many": 2.5 }),
];

/** Servers: time from one response to the next, so 1.25 is 0.8 of the requests per second. */
const SERVERS: readonly Target[] = [
  ...beside("HTTP answer at once", "Deno.serve", { "Rota": 1.25 }),
  ...beside("HTTP answer with a file", "Deno.serve", { "Rota": 1.087 }),
  ...beside("HTTP answer by Hono", "Deno.serve", { "Rota": 1.25 }),
  ...beside("HTTP overload", "half the limit", {
    "ten times the limit": 2,
  }, "p99"),
];

/** All rows, in the order in which they are shown. */
export const TARGETS: readonly Target[] = [
  ...beside("chain", "queueMicrotask", {
    "Rota": 3,
    "Rota, timer pending": 3,
    "Rota, descriptor watched": 4,
  }),
  ...beside("bulk", "queueMicrotask", { "Rota": 0.67 }),
  ...beside("switch", "generators in a ring", { "Rota": 2.5 }),
  ...beside("async-switch", "await null", { "Rota": 4.5 }),
  ...beside("spawn", "Promise.all", { "Rota, generators": 0.66 }),
  ...beside("spawn", "Effect", { "Rota, generators of a function each": 0.75 }),
  ...beside("spawn", "Promise.all", {
    "Rota, async functions": 1.3,
    "Rota, async functions with an await": 1.3,
  }),
  ...beside("spawn-few", "effection", { "Rota, generators": 0.02 }),
  ...beside("hand-off", "Effect, takeAll", { "Rota, generators": 0.5 }),
  ...beside("hand-off", "TransformStream", { "Rota, async functions": 0.55 }),
  ...[1, 100].flatMap((burst) =>
    beside(`events-${burst}`, "bare listener", { "Rota, each": 2 })
  ),
  ...beside("limit-async", "async-sema", {
    "Rota, map": 0.28,
    "Rota, run": 0.45,
  }),
  ...beside("ten-at-once", "async-sema", {
    "Rota group, async functions": 0.8,
    "Rota group, generators": 0.5,
    "Rota Semaphore": 1.2,
  }),
  ...beside("limit-generator", "ten coroutines by hand", {
    "Rota, map": 1.5,
    "Rota, run": 3,
  }),
  ...beside("priorities", "Effect's dispatcher", {
    "Rota": 2.5,
    "Rota, ageing": 2.5,
  }),
  ...beside("priority-jobs", "ten arrays by hand", { "Rota": 6 }),
  ...beside("abort", "async tasks, no signal", {
    "Rota, waits of generators": 1,
    "Rota, waits of async functions": 1,
    "Rota, tasks": 1,
  }),
  ...beside("explore", "fast-check", {
    "Rota, generators": 0.5,
    "Rota, async functions": 1,
  }),
  ...TIMERS,
  ...POOLS,
  ...SUPERVISORS,
  ...beside("ping-pong", "uvloop", { "Rota": 1 }),
  ...beside("ping-pong", "uvloop, 1,000 idle pipes", {
    "Rota, 1,000 idle pipes": 1,
  }),
  ...PERIODIC,
  ...beside("bytes per timer", "Deno setTimeout", { "Rota": 0.18 }, "memory"),
  ...beside("bytes per parked task", "bare generator", {
    "Rota, on a future": 2.1,
    "Rota, in a sleep": 3.3,
  }, "memory"),
  // As in asyncio. Its own figure gets less where others use the machine.
  ...["Rota, native", "Rota, portable"].map((name): Target => ({
    workload: "deadline after 15 ms",
    case: name,
    measure: "turns",
    atMost: 4,
  })),
  ...beside("debug-call", "without debug mode", { "Rota, debug mode": 25 }),
  ...beside("task-tree", "a walk over them", { "Rota, taskTree": 10 }),
  ...beside("trace", "without a tracer", { "Rota, a tracer": 3 }),
  { workload: "debug-gather", case: "Rota, debug mode" },
  ...LATENESS,
  ...[0.2, 0.5, 1, 5, 20].flatMap(neverEarly),
  ...beside("cold start", "p-queue", {
    "Rota, generator": 1.25,
    "Rota ./loop, generator": 0.85,
  }, "over bare"),
  ...beside("HTTP request", "no loop", { "Rota, busy": 50 }, "p50"),
  ...SERVERS,
  ...beside("idle loop", "no loop", {
    "Rota, native": 3,
    "Rota, portable": 3,
  }, "CPU in 2 s"),
  ...beside("lag monitor", "setInterval of 100 ms", {
    "Rota, native": 1,
    "Rota, portable": 1,
  }, "CPU in 2 s"),
];
