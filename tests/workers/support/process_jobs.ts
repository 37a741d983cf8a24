/**
 * Jobs for the tests of processes.
 *
 * @module
 */
import process from "node:process";
import { type Coroutine, sleep } from "../../../mod.ts";
import { withTransfer } from "../../../src/workers/transfer.ts";
import { currentJob } from "../../../src/workers/current_job.ts";

export function add(a: number, b: number): number {
  return a + b;
}

export async function addLater(a: number, b: number): Promise<number> {
  await null;
  return a + b;
}

export async function addAfter(ms: number, a: number, b: number) {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return a + b;
}

export function* addInCoroutine(a: number, b: number): Coroutine<number> {
  yield* sleep(1);
  return a + b;
}

export function identity(value: unknown): unknown {
  return value;
}

export function pid(): number {
  return Deno.pid;
}

export function uncloneable(): unknown {
  return { f: () => 1 };
}

export function fail(): never {
  throw new RangeError("mine", { cause: new TypeError("deeper") });
}

export function print(text: string): void {
  console.log(`console ${text}`);
  Deno.stdout.writeSync(new TextEncoder().encode(`stdout ${text}\n`));
  process.stdout.write(`process ${text}\n`);
  new Deno.Command("sh", { args: ["-c", `echo grandchild ${text}`] })
    .spawn();
}

export function bytes(count: number): Uint8Array {
  return new Uint8Array(count).fill(7);
}

let gift = new ArrayBuffer(1);

export function giveAway(count: number): ArrayBuffer {
  gift = new ArrayBuffer(count);
  return withTransfer(gift, [gift]);
}

export function leftOfGift(): number {
  return gift.byteLength;
}

export function progress(count: number): number {
  for (let n = 0; n < count; n++) currentJob()!.progress(n);
  return count;
}

export async function untilAborted(): Promise<string> {
  const { signal } = currentJob()!;
  await new Promise<void>((resolve) => {
    const hold = setInterval(() => {}, 1_000);
    signal.addEventListener("abort", () => {
      clearInterval(hold);
      resolve();
    });
    currentJob()!.progress("waits");
  });
  return "aborted";
}

export function spin(): never {
  currentJob()!.progress(Deno.pid);
  for (;;);
}

export async function spinInMicrotasks(): Promise<never> {
  currentJob()!.progress(Deno.pid);
  for (;;) await null;
}

/** Waits until it is killed. */
export function wait(): Promise<never> {
  currentJob()!.progress(Deno.pid);
  return new Promise(() => setInterval(() => {}, 1_000));
}

/** Starts a grandchild in the same group, and returns its process. */
export function startGrandchild(): number {
  return new Deno.Command("sleep", { args: ["100"], stdin: "null" }).spawn()
    .pid;
}

export function stateOf(name: Deno.PermissionName): string {
  return Deno.permissions.querySync({ name }).state;
}

export function readPipe(): string {
  try {
    Deno.openSync("/dev/fd/3").close();
    return "opened";
  } catch (error) {
    return String(error);
  }
}

export function environment(name: string): string | undefined {
  return Deno.env.get(name);
}

export function directory(): string {
  return Deno.cwd();
}

// -- Deaths --

export function leave(code: number): never {
  Deno.exit(code);
}

export function leaveByProcess(code: number): never {
  process.exit(code);
}

export async function leaveLater(code: number): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  Deno.exit(code);
}

/** Throws outside of the job, while the job waits. */
export function throwOutside(): Promise<never> {
  setTimeout(() => {
    throw new RangeError("outside");
  }, 1);
  return new Promise(() => setInterval(() => {}, 1_000));
}

export function rejectOutside(): Promise<never> {
  setTimeout(() => {
    Promise.reject(new RangeError("unhandled"));
  }, 1);
  return new Promise(() => setInterval(() => {}, 1_000));
}

/** Returns, and throws after that. */
export function throwAfterwards(ms: number): string {
  setTimeout(() => {
    throw new RangeError("afterwards");
  }, ms);
  return "returned";
}

export function rejectAfterwards(): string {
  Promise.reject(new RangeError("afterwards"));
  return "returned";
}

export function exhaust(): never {
  const kept: unknown[] = [];
  for (;;) kept.push(new Array(10_000).fill(0.5));
}

export async function exhaustLater(): Promise<never> {
  await null;
  return exhaust();
}

export function exhaustInTimer(): Promise<never> {
  setTimeout(exhaust, 1);
  return new Promise(() => setInterval(() => {}, 1_000));
}

/** Writes bytes where the frames go, and waits. */
export function writeRaw(bytes: readonly number[], leaves: boolean): unknown {
  // The pipe has no path for a job without permissions; these jobs have all.
  Deno.writeFileSync("/dev/fd/4", new Uint8Array(bytes));
  if (leaves) Deno.exit(0);
  return new Promise(() => setInterval(() => {}, 1_000));
}

export const NO_FUNCTION = 1;
