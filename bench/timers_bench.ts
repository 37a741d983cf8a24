/**
 * Timers: made, cancelled, and due.
 *
 * Creating and cancelling: timers of 10 to 100 seconds, whole milliseconds at
 * random, with one shared callback, are all created, then all cancelled, and
 * then one turn runs, which counts as part of cancelling. Due at once: timers of
 * 1 to 20 ms in rotation, made before the time runs; the thread is blocked until
 * all are due.
 *
 * @module
 */
import { EventLoop, type TimerHandle } from "../mod.ts";
import { register, type Stopwatch, type Suite } from "./support/suite.ts";

/** Which part of a timer's life is timed. */
export type Phase = "create" | "cancel";

const NOTHING = (): void => {};
const BLOCKED_MS = 60;

/** The same pseudorandom delays in every run, and in the scripts of the rivals. */
function delays(size: number): number[] {
  let state = 12_345;
  return Array.from({ length: size }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return 10_000 + state % 90_001;
  });
}

/** Rota: in a running loop, as programs do it. */
export function timersOnLoop(
  phase: Phase,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const delaysMs = delays(size);
    const timers: TimerHandle[] = new Array(size);
    let pending = 0;
    await using loop = new EventLoop();
    loop.callSoon(() => {
      if (phase === "create") watch.start();
      for (let n = 0; n < size; n++) {
        timers[n] = loop.callLater(delaysMs[n]!, NOTHING);
      }
      if (phase === "create") watch.end();
      pending = loop.stats().timers;
      if (phase === "cancel") watch.start();
      for (let n = 0; n < size; n++) timers[n]!.cancel();
      loop.callSoon(() => {
        if (phase === "cancel") watch.end();
        pending -= loop.stats().timers;
        loop.stop();
      });
    });
    await loop.runForever();
    return pending;
  };
}

/** The runtime's own timers. */
export function timersInDeno(
  phase: Phase,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const delaysMs = delays(size);
    const timers: ReturnType<typeof setTimeout>[] = new Array(size);
    if (phase === "create") watch.start();
    for (let n = 0; n < size; n++) {
      timers[n] = setTimeout(NOTHING, delaysMs[n]!);
    }
    if (phase === "create") watch.end();
    if (phase === "cancel") watch.start();
    for (let n = 0; n < size; n++) clearTimeout(timers[n]);
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (phase === "cancel") watch.end();
    return timers.length;
  };
}

function blockThread(): void {
  const untilMs = performance.now() + BLOCKED_MS;
  while (performance.now() < untilMs);
}

/** Rota: all timers run, in order of their deadlines. */
export async function dueOnLoop(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  await using loop = new EventLoop();
  let ran = 0;
  const callback = (): void => {
    if (++ran === size) loop.stop();
  };
  for (let n = 0; n < size; n++) loop.callLater(1 + n % 20, callback);
  blockThread();
  watch.start();
  await loop.runForever();
  watch.end();
  return ran;
}

/** The runtime's own timers. */
export async function dueInDeno(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let ran = 0;
  const callback = (): void => {
    if (++ran === size) resolve();
  };
  for (let n = 0; n < size; n++) setTimeout(callback, 1 + n % 20);
  blockThread();
  watch.start();
  await promise;
  watch.end();
  return ran;
}

function createAndCancel(size: number, iterations?: number): Suite[] {
  return (["create", "cancel"] as const).map((phase) => ({
    name: `timer-${phase}-${size}`,
    title: `timer ${phase}, ${size.toLocaleString("en")} pending`,
    things: "timers",
    size,
    tinySize: 40,
    ...(iterations !== undefined && { iterations }),
    cases: [
      { name: "Rota", role: "rota", run: timersOnLoop(phase) },
      { name: "Deno setTimeout", role: "rival", run: timersInDeno(phase) },
    ],
    foreign: [
      {
        name: "Node setTimeout",
        program: "node",
        script: "timers.mjs",
        figure: phase,
      },
      {
        name: "asyncio",
        program: "python3",
        script: "timers.py",
        figure: phase,
      },
    ],
  }));
}

/** What is compared. */
export const suites: readonly Suite[] = [
  ...createAndCancel(1_000),
  ...createAndCancel(100_000, 10),
  ...createAndCancel(1_000_000, 3),
  {
    name: "timers-due",
    title: "timers due at once",
    things: "timers",
    size: 20_000,
    tinySize: 40,
    // Each figure is one run of 2 ms, in which a collection may fall or not.
    warmupMs: 2_500,
    roundMs: 0,
    rounds: 16,
    iterations: 30,
    cases: [
      { name: "Rota", role: "rota", run: dueOnLoop },
      { name: "Deno setTimeout", role: "rival", run: dueInDeno },
    ],
    foreign: [
      {
        name: "Node setTimeout",
        program: "node",
        script: "timers.mjs",
        args: ["due"],
        figure: "due",
      },
      {
        name: "asyncio",
        program: "python3",
        script: "timers.py",
        args: ["due"],
        figure: "due",
      },
    ],
  },
];
suites.forEach(register);
