/**
 * Jobs for the tests of workers, in every style.
 *
 * @module
 */
// deno-lint-ignore-file require-await
import {
  type Coroutine,
  createTask,
  currentTask,
  getRunningLoop,
  Lock,
  type Operation,
  sleep,
  taskGroup,
  TaskLocal,
  until,
} from "../../../mod.ts";
import { currentJob } from "../../../src/workers/current_job.ts";
import { transportedLocals } from "../../../src/workers/transport.ts";
import { withTransfer } from "../../../src/workers/transfer.ts";

export const ANSWER = 42;
export class Counter {}

/** Goes along with jobs. */
export const requestId = new TaskLocal("none", { transport: "request id" });
/** Stays. */
export const secret = new TaskLocal("none");

// -- Plain values, in each style --

export function add(a: number, b: number): number {
  return a + b;
}

export async function addLater(a: number, b: number): Promise<number> {
  return a + b;
}

export function* steps(text: string): Coroutine<string> {
  yield* sleep(0);
  return text.toUpperCase();
}

export const double = (a: number): number => a * 2;

export function optional(a: number, b?: string): string {
  return `${a}${b}`;
}

export function rest(...numbers: number[]): number {
  return numbers.length;
}

export async function* many(): AsyncGenerator<number> {
  yield 1;
}

export function fail(message: string): never {
  throw new RangeError(message);
}

export async function failLater(message: string): Promise<never> {
  await sleep(0);
  throw new RangeError(message);
}

export function* failInSteps(message: string): Coroutine<never> {
  yield* sleep(0);
  throw new RangeError(message);
}

// -- Ways to use the loop --

export const operation = (ms: number): Operation<void> => sleep(ms);

export function generatorObject(text: string): Coroutine<string> {
  return steps(text);
}

export const promiseOfHelper = (a: number, b: number): Promise<number> =>
  addSlowly(a, b);

async function addSlowly(a: number, b: number): Promise<number> {
  await sleep(1);
  await Promise.resolve();
  await sleep(1);
  return a + b;
}

export function callback(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  getRunningLoop().callLater(1, () => resolve("called back"));
  return promise;
}

export async function group(): Promise<string[]> {
  const lock = new Lock();
  const log: string[] = [];
  await taskGroup(async (group) => {
    for (const name of ["a", "b"]) {
      group.spawn(async () => {
        await lock.acquire();
        try {
          await sleep(1);
          log.push(name);
        } finally {
          lock.release();
        }
      });
    }
  });
  return log;
}

// -- What a job knows of itself --

export interface Seen {
  readonly name: string | undefined;
  readonly same: boolean;
  readonly requestId: string;
  readonly secret: string;
}

function see(first = currentJob()): Seen {
  return {
    name: currentJob()?.name,
    same: currentJob() === first,
    requestId: requestId.get(),
    secret: secret.get(),
  };
}

export const lookPlain = (): Seen => see();

export async function lookAsync(): Promise<Seen[]> {
  const job = currentJob();
  const seen = [see(job)];
  await Promise.resolve();
  seen.push(see(job));
  await sleep(1);
  seen.push(see(job));
  seen.push(await createTask(async () => see(job)));
  requestId.set("set");
  seen.push(see(job));
  seen.push(await createTask(async () => see(job)));
  return seen;
}

export function* lookInSteps(): Coroutine<Seen[]> {
  const job = currentJob();
  const seen = [see(job)];
  yield* until(Promise.resolve());
  seen.push(see(job));
  yield* sleep(1);
  seen.push(see(job));
  seen.push(
    yield* createTask(function* () {
      return see(job);
    }),
  );
  requestId.set("set");
  seen.push(see(job));
  seen.push(yield* createTask(async () => see(job)));
  return seen;
}

export const lookInTask = (): unknown => createTask(async () => see());

export async function handOn(): Promise<unknown[]> {
  const values: unknown[] = [transportedLocals()];
  requestId.set("r2");
  values.push(transportedLocals());
  values.push(await createTask(async () => transportedLocals()));
  return values;
}

let late: TaskLocal<string> | null = null;

export async function declareLate(): Promise<string> {
  await sleep(0);
  late ??= new TaskLocal("initial", { transport: "late" });
  return late.get();
}

export function lookAtTask(): (string | undefined)[] {
  return [currentTask()?.name];
}

export function deadline(): number {
  return currentJob()!.deadlineMs;
}

export function report(count: number): boolean {
  let went = true;
  for (let n = 1; n <= count; n++) went &&= currentJob()!.progress(n);
  return went;
}

export function reportFunction(): void {
  currentJob()!.progress(() => {});
}

/** Reports once more after its end. */
export function reportLate(): void {
  const job = currentJob()!;
  Promise.resolve().then(() => job.progress(`late: ${currentJob() === null}`));
}

// -- Waits that only an abort ends --

/** Functions to call when a job waits, by its name. */
export const waiting: Map<string, () => void> = new Map();

function nowWaiting(): void {
  waiting.get(currentJob()!.name)?.();
}

export async function waitAsync(): Promise<void> {
  try {
    nowWaiting();
    await sleep(Infinity);
  } finally {
    await sleep(0);
    currentJob()!.progress("cleaned up");
  }
}

export function* waitInSteps(): Coroutine<void> {
  try {
    nowWaiting();
    yield* sleep(Infinity);
  } finally {
    yield* sleep(0);
    currentJob()!.progress("cleaned up");
  }
}

/** Waits for its signal, outside of the loop. */
export function waitForSignal(): Promise<unknown> {
  const { signal } = currentJob()!;
  const { promise, resolve } = Promise.withResolvers<unknown>();
  signal.addEventListener("abort", () => {
    currentJob()!.progress("heard");
    resolve([`${signal.reason}`, signal.aborted]);
  });
  nowWaiting();
  return promise;
}

/** Waits outside of the loop until it is told to go on; then at the next operation. */
export async function waitOutside(): Promise<string> {
  nowWaiting();
  await new Promise<void>((resolve) => {
    waiting.set("go on", resolve);
  });
  try {
    await sleep(0);
  } catch (error) {
    return `${error}`;
  }
  return "went on";
}

export function* ignoreCancel(): Coroutine<string> {
  try {
    nowWaiting();
    yield* sleep(Infinity);
  } catch {
    return "ignored it";
  }
  return "never";
}

// -- Results --

export function moved(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  return withTransfer(bytes, [bytes.buffer]);
}

export const uncloneable = (): unknown => () => {};

export const thenThrows = (): unknown => ({
  get then() {
    throw new RangeError("then");
  },
});
