/**
 * `createTask`: a task on the loop that is running.
 *
 * @module
 */
import { getRunningLoop } from "./current.ts";
import { NO_OPTIONS } from "./loop_options.ts";
import type { Task, TaskOptions } from "./task.ts";
import type { TaskBody } from "./task_body.ts";

/**
 * Makes a task on the running loop and queues its first step, which runs in the
 * next turn. Like asyncio's `create_task`.
 *
 * Short for `getRunningLoop().createTask(body, options)`; see
 * {@linkcode EventLoop.createTask} for what `body` may be and what it costs. The
 * loop keeps the task until it has ended. A task that the program neither waits
 * for nor puts into a {@linkcode TaskGroup} is cancelled when {@linkcode run}
 * ends; if it fails, that is reported to the exception handler.
 *
 * @example Two things at once
 * ```ts
 * import { createTask, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * await run(function* () {
 *   const slow = createTask(function* () {
 *     yield* sleep(20);
 *     log.push("slow");
 *     return 42;
 *   }, { name: "slow" });
 *   yield* sleep(10);
 *   log.push("main");
 *   assertEquals(yield* slow, 42);
 * }, { host: "virtual" });
 * assertEquals(log, ["main", "slow"]);
 * ```
 *
 * @typeParam T Type of the result.
 * @param body A generator function or async function without parameters, a
 * generator that has not started, or an operation.
 * @param options A name, a signal that cancels the task, an eager start.
 * @returns The task: a future of what `body` produces.
 * @throws {TypeError} If `body` is none of these, or an option is of the wrong type.
 * @throws {MisuseError} If no loop is running, or several are and the code
 * belongs to none of them.
 */
export function createTask<T>(
  body: TaskBody<T>,
  options: TaskOptions = NO_OPTIONS,
): Task<T> {
  return getRunningLoop().createTask(body, options);
}
