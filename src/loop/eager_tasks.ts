/**
 * `eagerTaskFactory`: tasks that run their first step when they are created.
 *
 * @module
 */
import { checkLoop } from "./check_loop.ts";
import type { EventLoop } from "./event_loop.ts";
import { Task, type TaskOptions } from "./task.ts";
import type { TaskBody } from "./task_body.ts";

/**
 * A {@linkcode TaskFactory} whose tasks run their first step inside
 * `createTask` if the loop is running: like asyncio's eager tasks. A task that
 * needs no wait is done when `createTask` returns. It changes the order of
 * events.
 *
 * @example A result that is there at once
 * ```ts
 * import { eagerTaskFactory, getRunningLoop, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   loop.setTaskFactory(eagerTaskFactory);
 *   const task = loop.createTask(function* () {
 *     return 42;
 *   });
 *   assertEquals(task.result(), 42);
 * });
 * ```
 *
 * @typeParam T Type of the result.
 * @param loop The loop that creates a task.
 * @param body Body of the task.
 * @param options Options passed to `createTask`.
 * @returns The task.
 */
export function eagerTaskFactory<T>(
  loop: EventLoop,
  body: TaskBody<T>,
  options: TaskOptions,
): Task<T> {
  checkLoop(loop, "create a task");
  return new Task<T>(loop, body, { eager: true, ...options });
}
