/**
 * `toThread`: a function in the default executor of the running loop.
 *
 * @module
 */
import { getRunningLoop } from "../loop/current.ts";
import type { Future } from "../loop/future.ts";
import "./default_executor.ts";
import type { ExecutorTask, JobResult } from "./module_task.ts";

/**
 * Has a function called in a thread, so that it does not block the loop. Like
 * asyncio's `to_thread`.
 *
 * Short for `getRunningLoop().runInExecutor(null, task, ...args)`; see
 * {@linkcode EventLoop.runInExecutor}. The function runs in the default executor,
 * a pool of threads unless {@linkcode EventLoop.setDefaultExecutor} set another
 * one. It has nothing of this thread: its source is sent, or the name of an export
 * of a module, and its arguments and result are copied. Unlike in asyncio the job
 * begins whether the future is awaited or not.
 *
 * @example A blocking call beside a timer
 * ```ts
 * import { gather, run, sleep, toThread } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const [answer] = await run(function* () {
 *   return yield* gather([
 *     toThread((ms: number) => {
 *       const end = Date.now() + ms;
 *       while (Date.now() < end);
 *       return "blocked for a while";
 *     }, 20),
 *     sleep(5),
 *   ]);
 * });
 * assertEquals(answer, "blocked for a while");
 * ```
 *
 * @typeParam A The types of the arguments.
 * @typeParam R Return type of the function.
 * @param task The function: one that needs nothing around it, or an export of a
 * module.
 * @param args Its arguments.
 * @returns A future of the result. Cancelling it cancels the job.
 * @throws {TypeError} If `task` is nothing that the executor can call.
 * @throws {MisuseError} If no loop is running.
 * @throws {ExecutorShutDownError} If the default executor has been shut down.
 */
export function toThread<A extends unknown[], R>(
  task: ExecutorTask<A, R>,
  ...args: A
): Future<JobResult<R>> {
  return getRunningLoop().runInExecutor(null, task, ...args);
}
