/**
 * Functions that tests have called in threads.
 *
 * @module
 */
import process from "node:process";
import { parentPort, threadId, workerData } from "node:worker_threads";
import { createHost } from "../../../src/host/select.ts";
import { currentJob } from "../../../src/workers/current_job.ts";
import { ThreadPool } from "../../../src/workers/thread_pool.ts";
import { withTransfer } from "../../../src/workers/transfer.ts";

export function add(a: number, b: number): number {
  return a + b;
}

export async function addLater(a: number, b: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return a + b;
}

export function* addInGenerator(
  a: number,
  b: number,
): Generator<never, number, void> {
  return a + b;
}

export function echo(value: unknown): unknown {
  return value;
}

/** Moves a buffer back. */
export function giveBack(buffer: ArrayBuffer): ArrayBuffer {
  return withTransfer(buffer, [buffer]);
}

/** Adds in a thread of a pool of its own. */
export async function addElsewhere(a: number, b: number): Promise<number> {
  await using pool = new ThreadPool({ maxWorkers: 1 });
  return await pool.submit((a: number, b: number) => a + b, [a, b]);
}

export function whichThread(): number {
  return threadId;
}

/** Returns the host that a loop of a job gets. */
export async function whichHost(): Promise<string> {
  const host = createHost("auto");
  await host.close();
  return host.name;
}

export function readEnv(name: string): string | undefined {
  return process.env[name];
}

export class OddError extends Error {
  readonly code = 17;

  static {
    this.prototype.name = "OddError";
  }
}

export function throwOdd(message: string): never {
  throw new OddError(message, { cause: new RangeError("inner") });
}

export function returnFunction(): unknown {
  return () => {};
}

export function tellFunction(): string {
  try {
    currentJob()!.progress(() => {});
  } catch (error) {
    return (error as Error).name;
  }
  return "told";
}

export function tellMany(count: number): number {
  for (let n = 0; n < count; n++) currentJob()!.progress(n);
  return count;
}

export async function untilAborted(): Promise<never> {
  const job = currentJob()!;
  const { signal } = job;
  job.progress("begun");
  await new Promise((resolve) =>
    signal.addEventListener("abort", resolve, { once: true })
  );
  throw signal.reason;
}

export function untilAbortedWith(_value: unknown): Promise<never> {
  return untilAborted();
}

/** Tells progress, and more of it while that is written. */
export function tellNested(): number {
  const job = currentJob()!;
  job.progress({
    pad: "x".repeat(40),
    get a() {
      job.progress("inner");
      return 1;
    },
    z: "y".repeat(30),
  });
  return 7;
}

/** Posts a message as no thread of a pool does. */
export function post(message: unknown): Promise<never> {
  parentPort!.postMessage(message);
  return new Promise(() => {});
}

// -- Being busy --

export const busy: Readonly<Record<string, () => unknown>> = {
  "a loop": () => {
    for (;;);
  },
  "microtasks": async () => {
    for (;;) await null;
  },
  "Atomics.wait": () =>
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
};

export function beBusy(how: string): unknown {
  currentJob()!.progress("begun");
  return busy[how]!();
}

/** Sleeps in the C library, for so long that nobody can end it. */
export function sleepNatively(ms: number): void {
  const { symbols } = Deno.dlopen("libc.so.6", {
    usleep: { parameters: ["u32"], result: "i32" },
  });
  currentJob()!.progress("begun");
  symbols.usleep(ms * 1_000);
}

// -- Dying --

/** Ways to die. */
export const deaths: Readonly<Record<string, () => void>> = {
  "throw": () => {
    throw new OddError("dying", { cause: new RangeError("inner") });
  },
  "rejection": () => {
    Promise.reject(new OddError("dying", { cause: new RangeError("inner") }));
  },
  "process.exit(0)": () => process.exit(0),
  "process.exit(7)": () => process.exit(7),
  "Deno.exit(3)": () => Deno.exit(3),
};

/** Computes for a while, and ends the thread. */
export function exitAfter(ms: number): void {
  currentJob()!.progress("begun");
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
  process.exit(7);
}

/** Returns, and ends the thread as soon as the result was sent. */
export function returnAndExit(): string {
  queueMicrotask(() => process.exit(3));
  return "returned";
}

/** Waits for another message of the pool, spoils it, and ends the thread. */
export function spoilUnread(): never {
  const { memory } = workerData.data as { memory: SharedArrayBuffer };
  const words = new Int32Array(memory, memory.byteLength / 2);
  currentJob()!.progress("begun");
  const head = Atomics.load(words, 0);
  while (Atomics.load(words, 16) === head);
  words[64 + (head & words.length - 65)] = -7;
  process.exit(7);
}

/** Fills the memory. */
export function fill(): void {
  const lists: unknown[] = [];
  for (;;) lists.push(new Array(10_000).fill(0).map(() => ({ a: [1] })));
}

const never = new Promise<never>(() => {});

/** Calls a function somewhere in a thread; does not end by itself. */
export const places: Readonly<
  Record<string, (die: () => void) => unknown>
> = {
  "in a plain function": (die) => {
    die();
    return never;
  },
  "after an await": async (die) => {
    await null;
    die();
    await never;
  },
  "in a timer": (die) => {
    setTimeout(die, 1);
    return never;
  },
  "in a message": (die) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = die;
    port2.postMessage("die");
    return never;
  },
};

export function dieIn(place: string, death: string): unknown {
  return places[place]!(death === "fill" ? fill : deaths[death]!);
}
