/**
 * Functions called in two other threads: what a call costs, one in flight and 64, with values large and small, and what
 * two threads gain over one.
 *
 * @module
 */
import { fib } from "./children/pool_jobs.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";
import {
  inline,
  type JobName,
  piscinaThreads,
  poolifierThreads,
  rawWorkers,
  rotaThreads,
  tinypoolThreads,
  type WithPool,
  workerpoolThreads,
  WORKERS,
} from "./support/worker_pools.ts";

/** Calls before the clock starts: workers are compiled by then. */
const WARMUP_CALLS = 3_000;
const IN_FLIGHT = 64;
const BUFFER_BYTES = 1 << 24;

/** One call, and whether its result is right. */
interface Call {
  readonly name: JobName;
  /** Makes the arguments, which may be moved. */
  readonly args: () => readonly unknown[];
  readonly isRight: (result: unknown) => boolean;
  readonly moved?: boolean;
}

const ADD: Call = {
  name: "add",
  args: () => [1, 2],
  isRight: (result) => result === 3,
};
const MAP: Call = {
  name: "echo",
  args: () => [
    new Map<string, unknown>([
      ["when", new Date(5)],
      ["bytes", new Uint8Array(1_024)],
    ]),
  ],
  isRight: (result) => result instanceof Map && result.size === 2,
};
const BUFFER: Call = {
  name: "giveBack",
  args: () => [new ArrayBuffer(BUFFER_BYTES)],
  isRight: (result) =>
    result instanceof ArrayBuffer && result.byteLength === BUFFER_BYTES,
  moved: true,
};
const FIB: Call = {
  name: "fib",
  args: () => [27],
  isRight: (result) => result === 196_418,
};

/** Makes calls, so many at a time, of which the warm-up is not timed. */
function calls(
  withPool: WithPool,
  { name, args, isRight, moved = false }: Call,
  atATime: number,
  warmupCalls: number,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    let done = 0;
    await withPool(async (pool) => {
      const callMany = async (count: number): Promise<void> => {
        let left = count;
        const callSome = async (): Promise<void> => {
          while (left-- > 0) {
            const list = args();
            const result = await pool.call(
              name,
              list,
              moved ? [...list] as Transferable[] : undefined,
            );
            if (isRight(result)) done++;
          }
        };
        await Promise.all(Array.from({ length: atATime }, callSome));
      };
      await callMany(Math.min(warmupCalls, size));
      done = 0;
      watch.start();
      await callMany(size);
      watch.end();
    });
    return done;
  };
}

const ROTA: Readonly<Record<string, WithPool>> = {
  "Rota, native": rotaThreads("native"),
  "Rota, portable": rotaThreads("portable"),
};
const RIVALS: Readonly<Record<string, WithPool>> = {
  "workerpool": workerpoolThreads,
  "poolifier": poolifierThreads,
  "piscina": piscinaThreads,
  "tinypool": tinypoolThreads,
};

/** The cases of a suite: Rota's, raw workers, and others. */
function cases(
  call: Call,
  atATime: number,
  others: Readonly<Record<string, WithPool>>,
  warmupCalls = WARMUP_CALLS,
): Suite["cases"] {
  const list = (pools: Readonly<Record<string, WithPool>>) =>
    Object.entries(pools).map(([name, withPool]) => ({
      name,
      run: calls(withPool, call, atATime, warmupCalls),
    }));
  return [
    ...list(ROTA).map((one) => ({ ...one, role: "rota" as const })),
    ...list({ "raw Worker": rawWorkers })
      .map((one) => ({ ...one, role: "limit" as const })),
    ...list(others).map((one) => ({ ...one, role: "rival" as const })),
  ];
}

/** Several runs of each, as every run starts workers of its own. */
const RUNS = { warmupMs: 0, roundMs: 400, rounds: 7, iterations: 5 };

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "pool-add",
  title: "add(1, 2) in a thread, one call at a time",
  things: "calls",
  size: 5_000,
  tinySize: 5,
  ...RUNS,
  cases: cases(ADD, 1, RIVALS),
}, {
  name: "pool-add-64",
  title: "add(1, 2) in two threads, 64 calls at a time",
  things: "calls",
  size: 20_000,
  tinySize: 128,
  ...RUNS,
  cases: cases(ADD, IN_FLIGHT, RIVALS),
}, {
  name: "pool-map",
  title: "a Map with a date and 1 KB of bytes, there and back",
  things: "calls",
  size: 5_000,
  tinySize: 5,
  ...RUNS,
  cases: cases(MAP, 1, {}),
}, {
  name: "pool-buffer",
  title: "16 MB transferred there and back",
  things: "calls",
  size: 50,
  tinySize: 2,
  ...RUNS,
  cases: cases(BUFFER, 1, {}, 10),
}, {
  name: "pool-fib",
  title: `fib(27) in two threads`,
  things: "calls",
  size: 200,
  tinySize: 4,
  ...RUNS,
  cases: cases(FIB, WORKERS, { "inline": inline({ fib }) }, 20),
}];
suites.forEach(register);
