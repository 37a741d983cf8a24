/**
 * `allTasks`: the tasks of a loop that have not ended.
 *
 * @module
 */
import { checkLoop } from "./check_loop.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Task } from "./task.ts";

/**
 * Returns the unfinished tasks of a loop, in the order of their creation.
 *
 * @example The tasks that are left
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
  const tasks = loop[core].tasks.toArray();
  for (const task of tasks) task.becomeKnown();
  return tasks;
}
