/**
 * What is told and made of tasks beside the loop itself: the list of those that
 * have not ended, and a factory that starts them at once.
 *
 * @module
 */
import { inspect } from "./checks.ts";
import { EventLoop } from "./event_loop.ts";
import { Task, type TaskBody, type TaskOptions } from "./task.ts";

function checkLoop(loop: EventLoop, what: string): void {
  if (!(loop instanceof EventLoop)) {
    throw new TypeError(
      `Cannot ${what} as loop must be an EventLoop: received ${inspect(loop)}`,
    );
  }
}

/**
 * Gives the tasks of a loop that have not ended, in the order of their creation.
 *
 * @example Who is still there
 * ```ts
 * import { allTasks, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const loop = getRunningLoop();
 *   loop.createTask(function* () {
 *     yield* sleep(10);
 *   }, { name: "helper" });
 *   assertEquals(allTasks(loop).map((task) => task.name), ["main", "helper"]);
 * }, { host: "virtual", name: "main" });
 * ```
 *
 * @param loop The loop.
 * @returns Its unfinished tasks.
 */
export function allTasks(loop: EventLoop): Task<unknown>[] {
  checkLoop(loop, "list the tasks of a loop");
  const tasks = loop["unfinishedTasks"]();
  for (const task of tasks) task["becomeKnown"]();
  return tasks;
}

/**
 * A {@linkcode TaskFactory} whose tasks run their first step inside
 * `createTask` if the loop is running: asyncio's eager tasks. A task that needs
 * no wait is done when `createTask` returns. It changes the order of events.
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
 * @typeParam T What the task produces.
 * @param loop The loop that creates a task.
 * @param body What the task runs.
 * @param options What was given to `createTask`.
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
