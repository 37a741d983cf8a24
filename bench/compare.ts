/**
 * Two checkouts beside one another: what has a change cost?
 *
 * ```sh
 * deno run -A bench/compare.ts ../before . --rounds=7        # every row
 * deno run -A bench/compare.ts ../before . chain --rounds=15 # rows with such a name
 * ```
 *
 * Every figure comes from a process of its own, which imports nothing of a
 * checkout but its `mod.ts`, warms up, and repeats the workload for half a
 * second or more. In each round both checkouts are measured one right after the other,
 * and the next round begins with the other one. A row holds if the best and the
 * median after are within 3 % of those before; it is slower if both are beyond,
 * and unclear if they disagree: then measure that row again in more rounds. The
 * same path given twice shows how much the machine sways. The exit status is 1
 * if a row is slower.
 *
 * The file is complete in itself, so that a copy of it can compare checkouts
 * that do not have it.
 *
 * @module
 */
type Rota = typeof import("../mod.ts");

/** Does the workload once; returns the milliseconds it took. Throws unless all of it was done. */
type Workload = (rota: Rota, size: number) => Promise<number>;

interface Row {
  readonly name: string;
  readonly size: number;
  readonly run: Workload;
}

const WITHIN = 1.03;
/** How long a process warms up, and then how long it measures. */
const MEASURE_MS = 600;
const TASKS = 200;
const CAPACITY = 100;
const HOUR_MS = 3_600_000;
const NOTHING = (): void => {};

function check(done: number, size: number): void {
  if (done !== size) throw new Error(`Did ${done} of ${size}`);
}

/** One callback that schedules itself again and again. */
function chain(besideTimer: boolean): Workload {
  return async ({ EventLoop }, size) => {
    await using loop = new EventLoop({ host: "portable" });
    const timer = besideTimer ? loop.callLater(HOUR_MS, NOTHING) : undefined;
    let count = 0;
    const again = (): void => {
      if (++count < size) loop.callSoon(again);
      else loop.stop();
    };
    loop.callSoon(again);
    const startMs = performance.now();
    await loop.runForever();
    const tookMs = performance.now() - startMs;
    timer?.cancel();
    check(count, size);
    return tookMs;
  };
}

/** Callbacks that are scheduled from outside, then run. */
const bulk: Workload = async ({ EventLoop }, size) => {
  await using loop = new EventLoop({ host: "portable" });
  let count = 0;
  const callback = (): void => {
    if (++count === size) loop.stop();
  };
  const startMs = performance.now();
  for (let n = 0; n < size; n++) loop.callSoon(callback);
  await loop.runForever();
  const tookMs = performance.now() - startMs;
  check(count, size);
  return tookMs;
};

/** Tasks of one function that take turns. */
function switches(style: "generator" | "async"): Workload {
  return async ({ EventLoop, sleep }, size) => {
    await using loop = new EventLoop({ host: "portable" });
    const steps = size / TASKS;
    let count = 0;
    let running = TASKS;
    const ended = (): void => {
      if (--running === 0) loop.stop();
    };
    const generator = function* () {
      for (let step = 0; step < steps; step++) {
        yield* sleep(0);
        count++;
      }
      ended();
    };
    const asyncFunction = async () => {
      for (let step = 0; step < steps; step++) {
        await sleep(0);
        count++;
      }
      ended();
    };
    for (let task = 0; task < TASKS; task++) {
      if (style === "generator") loop.createTask(generator);
      else loop.createTask(asyncFunction);
    }
    const startMs = performance.now();
    await loop.runForever();
    const tookMs = performance.now() - startMs;
    check(count, size);
    return tookMs;
  };
}

/** Tasks that end at once, made in a group and joined. */
function spawn(kind: "shared" | "fresh" | "async"): Workload {
  return async ({ run, taskGroup }, size) => {
    let count = 0;
    let tookMs = NaN;
    const shared = function* () {
      count++;
    };
    await run(function* () {
      const startMs = performance.now();
      yield* taskGroup((group) => {
        for (let n = 0; n < size; n++) {
          if (kind === "shared") group.createTask(shared);
          else if (kind === "async") {
            group.createTask(async () => {
              count++;
            });
          } else {
            group.createTask(function* () {
              count++;
            });
          }
        }
      });
      tookMs = performance.now() - startMs;
    }, { host: "portable" });
    check(count, size);
    return tookMs;
  };
}

/** Integers through a bounded queue, their order checked. */
function handOff(style: "generators" | "async"): Workload {
  return async ({ gather, Queue, run }, size) => {
    const queue = new Queue<number>(CAPACITY);
    let count = 0;
    const take = (number: number): void => check(number, count++);
    const bodies = style === "generators"
      ? [function* () {
        for (let n = 0; n < size; n++) yield* queue.put(n);
      }, function* () {
        for (let n = 0; n < size; n++) take(yield* queue.get());
      }]
      : [async () => {
        for (let n = 0; n < size; n++) await queue.put(n);
      }, async () => {
        for (let n = 0; n < size; n++) take(await queue.get());
      }];
    let tookMs = NaN;
    await run(async () => {
      const startMs = performance.now();
      await gather(bodies);
      tookMs = performance.now() - startMs;
    }, { host: "portable" });
    check(count, size);
    return tookMs;
  };
}

/** Timers of 10 to 100 s in a running loop: all made, then all cancelled. */
function timers(phase: "create" | "cancel"): Workload {
  return async ({ EventLoop }, size) => {
    let state = 12_345;
    const delaysMs = Array.from({ length: size }, () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return 10_000 + state % 90_001;
    });
    await using loop = new EventLoop();
    let pending = 0;
    let tookMs = NaN;
    loop.callSoon(() => {
      const startMs = performance.now();
      const handles = delaysMs.map((ms) => loop.callLater(ms, NOTHING));
      const createdMs = performance.now();
      if (phase === "create") tookMs = createdMs - startMs;
      pending = loop.stats().timers;
      for (const handle of handles) handle.cancel();
      // Measured in this turn: before the next one the runtime gets the thread.
      if (phase === "cancel") tookMs = performance.now() - createdMs;
      loop.callSoon(() => {
        pending -= loop.stats().timers;
        loop.stop();
      });
    });
    await loop.runForever();
    check(pending, size);
    return tookMs;
  };
}

/** Timers of 1 to 20 ms, all due when the thread gets free. */
const timersDue: Workload = async ({ EventLoop }, size) => {
  await using loop = new EventLoop();
  let count = 0;
  const callback = (): void => {
    if (++count === size) loop.stop();
  };
  for (let n = 0; n < size; n++) loop.callLater(1 + n % 20, callback);
  const untilMs = performance.now() + 25;
  while (performance.now() < untilMs);
  const startMs = performance.now();
  await loop.runForever();
  const tookMs = performance.now() - startMs;
  check(count, size);
  return tookMs;
};

/** All rows, in the order in which they are measured. */
export const ROWS: readonly Row[] = [
  { name: "chain", size: 200_000, run: chain(false) },
  { name: "chain, timer pending", size: 200_000, run: chain(true) },
  { name: "bulk", size: 100_000, run: bulk },
  { name: "switch, generators", size: 100_000, run: switches("generator") },
  { name: "switch, async", size: 100_000, run: switches("async") },
  { name: "spawn, shared", size: 100_000, run: spawn("shared") },
  { name: "spawn, fresh", size: 100_000, run: spawn("fresh") },
  { name: "spawn, async", size: 50_000, run: spawn("async") },
  { name: "hand-off, generators", size: 100_000, run: handOff("generators") },
  { name: "hand-off, async", size: 100_000, run: handOff("async") },
  { name: "timers, create 1,000", size: 1_000, run: timers("create") },
  { name: "timers, create 100,000", size: 100_000, run: timers("create") },
  { name: "timers, cancel 100,000", size: 100_000, run: timers("cancel") },
  { name: "timers, 20,000 due", size: 20_000, run: timersDue },
];

/** The best run of a process and the one in the middle, in ns for each thing. */
type Result = readonly [best: number, median: number];

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Measures a row in this process, for about so long. */
async function measureHere(
  root: string,
  name: string,
  forMs: number,
): Promise<Result> {
  const rota: Rota = await import(`file://${root}/mod.ts`);
  const { run, size } = ROWS.find((row) => row.name === name)!;
  const repeat = async (forMs: number, atLeast: number): Promise<number[]> => {
    const tookNs: number[] = [];
    const endMs = performance.now() + forMs;
    while (performance.now() < endMs || tookNs.length < atLeast) {
      tookNs.push(await run(rota, size) * 1e6 / size);
    }
    return tookNs;
  };
  await repeat(forMs, 3);
  const tookNs = await repeat(forMs, 5);
  return [Math.min(...tookNs), middle(tookNs)];
}

/** Measures a row in a process of its own. */
async function measureApart(
  root: string,
  name: string,
  forMs: number,
): Promise<Result> {
  const self = new URL(import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--no-config",
      "--no-lock",
      self,
      "--child",
      root,
      name,
      `${forMs}`,
    ],
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).output();
  if (!success) {
    const text = new TextDecoder().decode(stderr);
    throw new Error(`Cannot measure ${name} in ${root}: ${text}`);
  }
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** The results of a row, before and after, one for each round. */
export async function measureBoth(
  before: string,
  after: string,
  name: string,
  rounds: number,
  forMs: number = MEASURE_MS,
): Promise<{ before: Result[]; after: Result[] }> {
  const results = { before: [] as Result[], after: [] as Result[] };
  for (let round = 0; round < rounds; round++) {
    const sides = round % 2 === 0
      ? ["before", "after"] as const
      : ["after", "before"] as const;
    for (const side of sides) {
      const root = side === "before" ? before : after;
      results[side].push(await measureApart(root, name, forMs));
    }
  }
  return results;
}

/** Compares the best and the medians: after by before. */
export function compare(
  { before, after }: { before: readonly Result[]; after: readonly Result[] },
): { best: number; median: number; state: "holds" | "SLOWER" | "unclear" } {
  const best = least(after) / least(before);
  const median = typical(after) / typical(before);
  const beyond = [best, median].filter((ratio) => ratio > WITHIN).length;
  const state = (["holds", "unclear", "SLOWER"] as const)[beyond]!;
  return { best, median, state };
}

function least(results: readonly Result[]): number {
  return Math.min(...results.map(([best]) => best));
}

function typical(results: readonly Result[]): number {
  return middle(results.map(([, median]) => median));
}

async function main(args: readonly string[]): Promise<void> {
  const flag = args.find((arg) => arg.startsWith("--rounds="));
  const rounds = Number(flag?.slice("--rounds=".length) ?? 7);
  const [before, after, ...words] = args.filter((arg) => !arg.startsWith("--"));
  if (before === undefined || after === undefined || !(rounds >= 1)) {
    console.error("compare.ts BEFORE AFTER [ROW…] [--rounds=7]");
    Deno.exit(2);
  }
  const rows = ROWS.filter(({ name }) =>
    words.length === 0 || words.some((word) => name.includes(word))
  );
  const line = (cells: readonly string[]): void =>
    console.log(
      cells.map((cell, n) => n === 0 ? cell.padEnd(24) : cell.padStart(11))
        .join(" "),
    );
  line(["best; median of " + rounds, "before", "after", "x best"].concat(
    ["before", "after", "x median", ""],
  ));
  const ns = (value: number) => `${value.toFixed(1)} ns`;
  for (const { name } of rows) {
    const results = await measureBoth(
      await Deno.realPath(before),
      await Deno.realPath(after),
      name,
      rounds,
    );
    const { best, median, state } = compare(results);
    line([
      name,
      ns(least(results.before)),
      ns(least(results.after)),
      best.toFixed(3),
      ns(typical(results.before)),
      ns(typical(results.after)),
      median.toFixed(3),
      state,
    ]);
    if (state === "SLOWER") Deno.exitCode = 1;
  }
}

if (import.meta.main) {
  const [first, root, name, forMs] = Deno.args;
  if (first === "--child") {
    const result = await measureHere(root!, name!, Number(forMs));
    console.log(JSON.stringify(result));
  } else await main(Deno.args);
}
