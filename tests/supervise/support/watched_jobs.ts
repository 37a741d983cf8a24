/**
 * Jobs that block their thread.
 *
 * @module
 */
import { type Coroutine, sleep } from "../../../src/loop/mod.ts";
import type { WorkerLoopContext } from "../../../src/supervise/worker_loop.ts";

/** Blocks the thread. */
export function spin(ms: number): void {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

/** Blocks the loop of its thread. */
export function* spinInStep(ms: number): Coroutine<void> {
  yield* sleep(5);
  spin(ms);
  yield* sleep(5);
}

/** Blocks the loop of its thread after it was resumed. */
export async function spinWhenResumed(ms: number): Promise<void> {
  await sleep(5);
  spin(ms);
  await sleep(5);
}

/** Main function of a worker loop that blocks for ever. */
export async function hang(worker: WorkerLoopContext): Promise<void> {
  worker.started();
  await sleep(20);
  for (;;);
}
