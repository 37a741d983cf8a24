/**
 * Main functions of worker loops for tests.
 *
 * @module
 */
import process from "node:process";
import {
  type Coroutine,
  getRunningLoop,
  isCancellation,
  sleep,
} from "../../../src/loop/mod.ts";
import { ChildShutdown } from "../../../src/errors.ts";
import type { WorkerLoopContext } from "../../../src/supervise/worker_loop.ts";
import { LoopHandle } from "../../../src/workers/loop_handle.ts";

/** Functions of the loop of {@linkcode serve}. */
export interface Served {
  double(n: number): number;
  slowly(n: number, ms: number): Promise<number>;
  stop(): void;
  crash(message: string): void;
  block(): void;
  exit(code: number): void;
  fillHeap(): void;
  keepBytes(count: number): void;
}

const kept: unknown[] = [];

function makeHandle(): LoopHandle<Served> {
  const handle = new LoopHandle<Served>();
  handle.register("double", (n) => n * 2);
  handle.register("slowly", async (n, ms) => {
    await sleep(ms);
    return n * 2;
  });
  handle.register("stop", () => handle.close());
  handle.register("crash", (message) => {
    queueMicrotask(() => {
      throw new RangeError(message);
    });
  });
  handle.register("block", () => {
    for (;;);
  });
  handle.register("exit", (code) => process.exit(code));
  handle.register("fillHeap", () => {
    for (;;) kept.push(new Array(10_000).fill(0).map(() => ({ a: [1] })));
  });
  handle.register("keepBytes", (count) => {
    kept.push(new Uint8Array(count).fill(1));
  });
  return handle;
}

export async function serve(
  worker: WorkerLoopContext<LoopHandle<Served>>,
): Promise<void> {
  const handle = makeHandle();
  worker.started(handle);
  await handle.serve();
}

export function* serveInGenerator(
  worker: WorkerLoopContext<LoopHandle<Served>>,
): Coroutine<void> {
  const handle = makeHandle();
  worker.started(handle);
  yield* handle.serve();
}

/** Tells what becomes of it by a handle of the test. */
export async function tell(
  worker: WorkerLoopContext,
  log: LoopHandle<{ say(what: string): void }>,
): Promise<void> {
  worker.started();
  try {
    await sleep(Infinity);
  } catch (error) {
    if (!isCancellation(error)) throw error;
    await log.call("say", `asked by ${(error as { reason?: unknown }).reason}`);
    throw error;
  }
}

/** Says that it has been asked, and goes on all the same. */
export async function refuse(
  worker: WorkerLoopContext,
  log: LoopHandle<{ say(what: string): void }>,
): Promise<void> {
  worker.started();
  for (;;) {
    try {
      await sleep(Infinity);
    } catch {
      await log.call("say", "refused");
    }
  }
}

export async function end(
  worker: WorkerLoopContext,
  how: string,
): Promise<string> {
  worker.started(how);
  await sleep(1);
  if (how === "throw") throw new RangeError("thrown by main");
  if (how === "shutdown") throw new ChildShutdown("enough");
  return "dropped";
}

export function endAtOnce(worker: WorkerLoopContext, how: string): void {
  worker.started(how);
  if (how === "throw") throw new RangeError("thrown at once");
}

export function fail(_worker: WorkerLoopContext): Promise<void> {
  throw new RangeError("no start");
}

export function silent(_worker: WorkerLoopContext): void {}

export async function withoutParameters(): Promise<void> {
  await sleep(Infinity);
}

export function exitAtOnce(_worker: WorkerLoopContext): void {
  process.exit(3);
}

export async function startSlowly(worker: WorkerLoopContext): Promise<void> {
  await sleep(Infinity);
  worker.started();
}

export async function startTwice(worker: WorkerLoopContext): Promise<void> {
  worker.started();
  await sleep(0);
  worker.started();
}

export function startWithFunction(worker: WorkerLoopContext): void {
  worker.started(() => 1);
}

export async function beat(
  worker: WorkerLoopContext,
  beats: number,
): Promise<void> {
  worker.started();
  for (let n = 0; n < beats; n++) {
    worker.heartbeat();
    await sleep(5);
  }
  await sleep(Infinity);
}

export async function leaveTimer(worker: WorkerLoopContext): Promise<void> {
  worker.started();
  getRunningLoop().createTask(async () => {
    await sleep(Infinity);
  });
  await sleep(1);
}
