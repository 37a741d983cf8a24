/**
 * Running an entry of a ready queue: tasks and posted tasks by a shorter way than
 * a method call.
 *
 * @module
 */
import { POSTED_RUN, type PostedTask, runPosted } from "./posted_task.ts";
import type { Runnable } from "./runnable.ts";
import { stepTask } from "./task_step.ts";
import { Task } from "./task.ts";

/** The `run` of tasks that do not override it. */
export const TASK_RUN = Task.prototype.run;

/**
 * Runs a runnable whose turn has come. A task's step is no method call: an error
 * that is thrown keeps the receivers of the frames on the stack.
 */
export function runRunnable(runnable: Runnable): void {
  if (runnable.run === TASK_RUN) stepTask(runnable as Task<unknown>);
  else if (runnable.run === POSTED_RUN) {
    runPosted(runnable as PostedTask<unknown>);
  } else runnable.run();
}
