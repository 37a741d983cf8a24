/**
 * Body: the function that a block (timeout, cancel scope, task group) runs inside
 * the current task.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { findTask } from "../loop/current.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";

/**
 * The function that a block runs: a generator function or an async function.
 *
 * @typeParam S The block, which the body is called with.
 * @typeParam T The type of its result.
 */
export type BlockBody<S, T> = (
  scope: S,
) => Coroutine<T> | PromiseLike<T> | T;

/** The task that runs now, of which a block is to be a part. Throws unless there is one. */
export function taskFor(what: string): Task<unknown> {
  const task = findTask();
  if (task === null) {
    throw new MisuseError(`Cannot ${what}: no task is running`);
  }
  return task;
}
