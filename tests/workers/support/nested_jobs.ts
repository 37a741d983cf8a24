/**
 * Jobs that submit jobs to their own pool, in both styles.
 *
 * @module
 */
import {
  type Coroutine,
  currentJob,
  type Future,
  gather,
  type LoopHandle,
  MisuseError,
  sleep,
  type SubmitOptions,
  TaskLocal,
  taskModule,
  withTransfer,
} from "../../../mod.ts";

const jobs = taskModule<typeof import("./nested_jobs.ts")>(import.meta.url);

export function add(a: number, b: number): number {
  return a + b;
}

export function echo(value: unknown): unknown {
  return value;
}

export function fail(message: string): never {
  throw new RangeError(message, { cause: new TypeError("deeper") });
}

// -- Divide and conquer --

function plainFib(n: number): number {
  return n < 2 ? n : plainFib(n - 1) + plainFib(n - 2);
}

/** Has one branch computed elsewhere where there is room, else here. */
export async function fib(n: number, depth: number): Promise<number> {
  if (depth === 0) return plainFib(n);
  const branch = currentJob()!.submit(jobs.fib, [n - 1, depth - 1]);
  const other = await fib(n - 2, depth - 1);
  try {
    return other + await branch;
  } catch (error) {
    if (!(error instanceof MisuseError)) throw error;
    return other + plainFib(n - 1);
  }
}

export function* fibInCoroutine(n: number, depth: number): Coroutine<number> {
  if (depth === 0) return plainFib(n);
  const branch = currentJob()!.submit(jobs.fibInCoroutine, [n - 1, depth - 1]);
  const other = yield* fibInCoroutine(n - 2, depth - 1);
  try {
    return other + (yield* branch);
  } catch (error) {
    if (!(error instanceof MisuseError)) throw error;
    return other + plainFib(n - 1);
  }
}

// -- One job, submitted in each style --

type Name = keyof typeof jobs;

function submit(
  name: string,
  args: readonly unknown[],
  options?: SubmitOptions,
): Future<unknown> {
  const task = jobs[name as Name] as { module: string; name: string };
  return currentJob()!.submit(task, args, options);
}

export async function call(
  name: string,
  args: readonly unknown[],
  options?: SubmitOptions,
): Promise<unknown> {
  return await submit(name, args, options);
}

export function* callInCoroutine(
  name: string,
  args: readonly unknown[],
  options?: SubmitOptions,
): Coroutine<unknown> {
  return yield* submit(name, args, options);
}

/** A plain function cannot wait, but may return what it would wait for. */
export function callInPlain(
  name: string,
  args: readonly unknown[],
  options?: SubmitOptions,
): unknown {
  return submit(name, args, options);
}

export async function callMany(count: number): Promise<number[]> {
  return await gather(
    Array.from(
      { length: count },
      (_, n) => currentJob()!.submit(jobs.add, [n, n]),
    ),
  );
}

/** Submits a job after awaits that have nothing to do with the loop. */
export async function callLate(): Promise<unknown> {
  const job = currentJob()!;
  await new Promise((resolve) => setTimeout(resolve, 1));
  return await job.submit((a: number) => a + 1, [1]);
}

// -- Mistakes --

export async function callUncloneable(): Promise<string> {
  const future = submit("echo", [() => {}]);
  try {
    await future;
  } catch (error) {
    return (error as Error).name;
  }
  return "taken";
}

export function* callUncloneableInCoroutine(): Coroutine<string> {
  const future = submit("echo", [() => {}]);
  try {
    yield* future;
  } catch (error) {
    return (error as Error).name;
  }
  return "taken";
}

/** Names of the errors that bad arguments give at once. */
export function callWrongly(): string[] {
  const job = currentJob()! as unknown as {
    submit(...args: unknown[]): unknown;
  };
  const bad: unknown[][] = [
    [5, []],
    [jobs.add, 5],
    [jobs.add, [], { name: 5 }],
    [jobs.add, [], { deadlineMs: 0 }],
    [jobs.add, [], { transfer: [5] }],
  ];
  return bad.map((args) => {
    try {
      job.submit(...args);
    } catch (error) {
      return (error as Error).name;
    }
    return "taken";
  });
}

let left: ReturnType<typeof currentJob> = null;

export function leaveJob(): void {
  left = currentJob();
}

export function callAfterEnd(): string {
  try {
    left!.submit(jobs.add, [1, 2]);
  } catch (error) {
    return String(error);
  }
  return "taken";
}

// -- Ends of the submitter --

let aborted = 0;

/** How many waiting jobs of this worker were aborted. */
export function countAborted(): number {
  return aborted;
}

/** Tells that it runs, and waits until it is cancelled. */
export async function wait(): Promise<never> {
  const job = currentJob()!;
  job.progress("waits");
  try {
    await sleep(1_000_000);
  } finally {
    aborted++;
  }
  throw new Error("not cancelled");
}

const forward = {
  onProgress: (value: unknown) => void parent?.progress(value),
};
let parent: ReturnType<typeof currentJob> = null;

/** Waits for a job that waits. */
export async function waitNested(): Promise<unknown> {
  parent = currentJob();
  return await submit("wait", [], forward);
}

export function* waitNestedInCoroutine(): Coroutine<unknown> {
  parent = currentJob();
  return yield* submit("wait", [], forward);
}

/** Submits a job that waits, ignores its own cancellation, and tells what becomes of the other. */
export async function ignoreAbort(): Promise<string> {
  parent = currentJob();
  const future = submit("wait", [], forward);
  const { promise, resolve } = Promise.withResolvers<void>();
  future.addDoneCallback(() => resolve());
  await promise;
  return `cancelled: ${future.cancelled()}`;
}

/** Waits for a job that waits, until the thread or process dies. */
export async function dieNested(): Promise<never> {
  parent = currentJob();
  submit("wait", [], {
    onProgress: () => {
      parent!.progress("waits");
      Deno.exit(7);
    },
  });
  return await new Promise<never>(() => setInterval(() => {}, 1_000));
}

/** Submits a job that waits, and does not react to anything once that runs. */
export async function spinNested(): Promise<never> {
  parent = currentJob();
  const { promise, resolve } = Promise.withResolvers<void>();
  submit("wait", [], { onProgress: () => resolve() });
  await promise;
  parent!.progress("spins");
  for (;;);
}

/** Tells that it runs, and fails when it is cancelled. */
export async function waitAndFail(): Promise<never> {
  try {
    return await wait();
  } catch {
    throw new RangeError("at the end");
  }
}

/** Returns while a job that it has submitted waits. */
export async function returnEarly(name: string): Promise<string> {
  parent = currentJob();
  const { promise, resolve } = Promise.withResolvers<void>();
  submit(name, [], { onProgress: () => resolve() });
  await promise;
  return "early";
}

/** A plain function that leaves a job behind. */
export function leaveBehind(): string {
  submit("wait", []);
  return "left";
}

/** Cancels a job that it has submitted, in three ways. */
export async function cancelNested(how: string): Promise<string> {
  const controller = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  if (how === "aborted before") controller.abort(new Error("why"));
  const future = submit("wait", [], {
    signal: controller.signal,
    onProgress: () => resolve(),
  });
  if (how !== "aborted before") await promise;
  if (how === "signal") controller.abort(new Error("why"));
  if (how === "future") future.cancel("why");
  try {
    await future;
  } catch (error) {
    return `${future.cancelled()}: ${(error as Error).name}`;
  }
  return "returned";
}

// -- What goes along --

/** The deadline of the running job, from now. */
export function leftMs(): number {
  return currentJob()!.deadlineMs - performance.now();
}

export async function deadlines(): Promise<unknown[]> {
  const deadlineMs = performance.now() + 60_000;
  const inTime = await submit("leftMs", [], { deadlineMs }) as number;
  const late = submit("wait", [], { deadlineMs: performance.now() + 50 });
  let error: unknown;
  try {
    await late;
  } catch (failure) {
    error = failure;
  }
  return [inTime > 1_000 && inTime <= 60_000, (error as Error).name];
}

export async function tellAll(): Promise<unknown[]> {
  const told: unknown[] = [];
  const result = await submit("tell", [3], {
    onProgress: (value) => told.push(value),
  });
  return [...told, result];
}

export function tell(count: number): number {
  for (let n = 0; n < count; n++) currentJob()!.progress(n);
  return count;
}

export function nameOf(): string {
  return currentJob()!.name;
}

export const requestId: TaskLocal<string> = new TaskLocal("none", {
  transport: "tests/nested/request",
});

export function readLocal(): string {
  return requestId.get();
}

/** Moves a buffer there and back. */
export async function move(): Promise<number[]> {
  const buffer = new Uint8Array([1, 2, 3]).buffer;
  const back = await submit("giveBack", [buffer], { transfer: [buffer] });
  return [buffer.byteLength, (back as ArrayBuffer).byteLength];
}

export function giveBack(buffer: ArrayBuffer): ArrayBuffer {
  return withTransfer(buffer, [buffer]);
}

/** Hands a loop handle on to a job in another thread. */
export async function handOn(handle: LoopHandle): Promise<unknown> {
  return await submit("callHandle", [handle]);
}

export async function callHandle(handle: LoopHandle): Promise<unknown> {
  using it = handle;
  return await it.call("double", 21);
}
