/**
 * Unfinished tasks of a loop as a linked list, and their end when the loop is
 * closed.
 *
 * @module
 */
import { describeWait, destroy } from "./waiters.ts";
import { CancelledError } from "../errors.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Task } from "./task.ts";

/**
 * Unfinished tasks of a loop, in the order of their creation. The list runs
 * through the tasks' own fields: adding and removing allocates nothing.
 */
export class TaskList {
  /** How many tasks there are. */
  size = 0;
  private first: Task<unknown> | null = null;
  private last: Task<unknown> | null = null;

  /** Appends a task that is in no list. */
  add(task: Task<unknown>): void {
    task.previousTask = this.last;
    if (this.last === null) this.first = task;
    else this.last.nextTask = task;
    this.last = task;
    this.size++;
  }

  /** Takes out a task that is in this list. */
  remove(task: Task<unknown>): void {
    const next = task.nextTask;
    const previous = task.previousTask;
    if (previous === null) this.first = next;
    else previous.nextTask = next;
    if (next === null) this.last = previous;
    else next.previousTask = previous;
    task.nextTask = task.previousTask = null;
    this.size--;
  }

  /** Copies the list, in the order in which the tasks were added. */
  toArray(): Task<unknown>[] {
    const tasks: Task<unknown>[] = [];
    for (let task = this.first; task !== null; task = task.nextTask) {
      tasks.push(task);
    }
    return tasks;
  }
}

/**
 * Ends the tasks of a loop that is being closed, as cancelled: they cannot run
 * on without it, and waiters outside the loop are woken.
 */
export function destroyTasks(loop: EventLoop): void {
  for (const task of loop[core].tasks.toArray()) {
    loop.callExceptionHandler({
      message: `Task "${task.name}" was destroyed while it waited for ${
        task[describeWait]()
      }: its event loop was closed`,
      task,
      name: task.name,
      ...loop[core].debug.creationOf(task),
    });
    task[destroy](new CancelledError("the event loop was closed"));
  }
}
