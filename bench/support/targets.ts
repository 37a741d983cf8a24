/**
 * What Rota has to reach, and what rivals gave that are not installed here.
 *
 * @module
 */

/** A figure in a report: workload, case, and the measure if it is not `"time"`. */
export interface FigureName {
  readonly workload: string;
  readonly case: string;
  readonly measure?: string;
}

/** One row of the table. */
export interface Target extends FigureName {
  /** At most this, in the unit of the figure. */
  readonly atMost?: number;
  /** At most so many times another case of the same workload and measure. */
  readonly timesOf?: readonly [number, string];
  /** What others gave when these targets were set, with the same work on another day. */
  readonly recorded?: Readonly<Record<string, number>>;
}

const PORTABLE_AND_NATIVE = [
  "Rota, native",
  "Rota, native, precise",
  "Rota, portable",
  "Rota, portable, precise",
];

/** All rows, in the order in which they are shown. */
export const TARGETS: readonly Target[] = [
  {
    workload: "chain",
    case: "Rota",
    timesOf: [3.5, "queueMicrotask"],
    recorded: { uvloop: 580, asyncio: 1_368 },
  },
  {
    workload: "chain",
    case: "Rota, timer pending",
    timesOf: [3.5, "queueMicrotask"],
  },
  { workload: "chain", case: "Rota, descriptor watched", atMost: 100 },
  {
    workload: "bulk",
    case: "Rota",
    timesOf: [1, "queueMicrotask"],
    recorded: { uvloop: 973, asyncio: 1_004 },
  },
  {
    workload: "switch",
    case: "Rota",
    timesOf: [3.5, "generators in a ring"],
    recorded: { uvloop: 559, asyncio: 864, trio: 1_249 },
  },
  {
    workload: "async-switch",
    case: "Rota",
    timesOf: [6, "await null"],
    recorded: { uvloop: 559, asyncio: 864 },
  },
  {
    workload: "priorities",
    case: "Rota",
    atMost: 170,
    recorded: { "Effect's dispatcher": 202, "arrays": 208, asyncio: 2_180 },
  },
  { workload: "priorities", case: "Rota, ageing", atMost: 170 },
  {
    workload: "timer-create-1000",
    case: "Rota",
    timesOf: [1, "Node setTimeout"],
    recorded: { Node: 209, uvloop: 414 },
  },
  {
    workload: "timer-cancel-1000",
    case: "Rota",
    timesOf: [1, "Node setTimeout"],
    recorded: { Node: 124, uvloop: 111 },
  },
  {
    workload: "timer-create-100000",
    case: "Rota",
    recorded: { Node: 777, uvloop: 1_784 },
  },
  {
    workload: "timer-cancel-100000",
    case: "Rota",
    recorded: { Node: 408, uvloop: 420 },
  },
  {
    workload: "timer-create-1000000",
    case: "Rota",
    atMost: 600,
    recorded: { Node: 1_111, uvloop: 2_516 },
  },
  {
    workload: "timer-cancel-1000000",
    case: "Rota",
    atMost: 150,
    recorded: { Node: 234, uvloop: 535 },
  },
  {
    workload: "timers-due",
    case: "Rota",
    atMost: 123,
    recorded: { Node: 123, uvloop: 1_130 },
  },
  ...[[0.2, -198, 918], [1, 96, 113]].flatMap((
    [delayMs, uvloop, asyncio],
  ): Target[] => {
    const about = { workload: `sleep ${delayMs} ms`, measure: "p50" };
    const recorded = { uvloop: uvloop!, asyncio: asyncio! };
    return [
      { ...about, case: "Rota, native", atMost: 70, recorded },
      { ...about, case: "Rota, native, precise", atMost: 3 },
      { ...about, case: "Rota, portable, precise", atMost: 3 },
    ];
  }),
  ...[0.2, 0.5, 1, 5, 20].flatMap((delayMs) =>
    PORTABLE_AND_NATIVE.map((name): Target => ({
      workload: `sleep ${delayMs} ms`,
      case: name,
      measure: "early",
      atMost: 0,
    }))
  ),
  {
    workload: "ping-pong",
    case: "Rota",
    atMost: 3_200,
    recorded: { uvloop: 3_200, asyncio: 5_700 },
  },
  {
    workload: "ping-pong",
    case: "Rota, 1,000 idle pipes",
    atMost: 3_300,
    recorded: { uvloop: 3_300, asyncio: 5_800 },
  },
  { workload: "spawn", case: "Rota, generators", atMost: 500 },
  {
    workload: "spawn",
    case: "Rota, generators of a function each",
    atMost: 1_500,
  },
  { workload: "spawn", case: "Rota, async functions", atMost: 1_900 },
  {
    workload: "spawn",
    case: "Rota, async functions with an await",
    atMost: 1_900,
  },
  { workload: "spawn-few", case: "Rota, generators" },
  { workload: "hand-off", case: "Rota, generators", atMost: 130 },
  { workload: "hand-off", case: "Rota, async functions", atMost: 300 },
  { workload: "ten-at-once", case: "Rota group, generators", atMost: 400 },
  {
    workload: "ten-at-once",
    case: "Rota group, async functions",
    atMost: 1_000,
  },
  { workload: "ten-at-once", case: "Rota Semaphore", atMost: 1_500 },
  // 200 ms for all of them.
  ...["waits of generators", "waits of async functions", "tasks"].map((
    name,
  ): Target => ({
    workload: "abort",
    case: `Rota, ${name}`,
    atMost: 2_000,
  })),
  ...["Rota, map", "Rota, run"].map((name): Target => ({
    workload: "limit-async",
    case: name,
    atMost: 1_000,
    recorded: { "p-limit": 1_721, "p-queue": 2_906, "async-sema": 1_259 },
  })),
  { workload: "limit-generator", case: "Rota, map", atMost: 400 },
  { workload: "limit-generator", case: "Rota, run" },
  { workload: "priority-jobs", case: "Rota", atMost: 900 },
  {
    workload: "bytes per timer",
    case: "Rota",
    measure: "memory",
    atMost: 250,
    recorded: { asyncio: 228, uvloop: 547, Node: 564 },
  },
  {
    workload: "bytes per parked task",
    case: "Rota, on a future",
    measure: "memory",
    atMost: 700,
    recorded: { asyncio: 926, Effect: 1_377 },
  },
  {
    workload: "bytes per parked task",
    case: "Rota, in a sleep",
    measure: "memory",
    atMost: 1_000,
    recorded: { asyncio: 926, Effect: 1_377 },
  },
  {
    workload: "cold start",
    case: "Rota, generator",
    measure: "over bare",
    atMost: 15,
    recorded: { Effect: 50 },
  },
  {
    workload: "HTTP request",
    case: "Rota, busy",
    measure: "p50",
    atMost: 1_500,
  },
  {
    workload: "idle loop",
    case: "Rota, native",
    measure: "CPU in 2 s",
    atMost: 20,
  },
  {
    workload: "idle loop",
    case: "Rota, portable",
    measure: "CPU in 2 s",
    atMost: 20,
  },
  ...([["CPU", 8], ["ticks missed", 0], ["p50", 0.3], ["p99", 1.5], [
    "drift",
    0,
  ]] as const).map(([measure, atMost]): Target => ({
    workload: "1,000 jobs",
    case: "Rota",
    measure,
    atMost,
  })),
];
