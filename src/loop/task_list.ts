/**
 * The tasks of a loop that have not ended.
 *
 * @module
 */
import type { Task } from "./task.ts";

/** A list that runs through its tasks' own fields: adding and removing allocates nothing. */
export class TaskList {
  /** How many tasks there are. */
  size = 0;
  private first: Task<unknown> | null = null;
  private last: Task<unknown> | null = null;

  /** Appends a task that is in no list. */
  add(task: Task<unknown>): void {
    task["previousTask"] = this.last;
    if (this.last === null) this.first = task;
    else this.last["nextTask"] = task;
    this.last = task;
    this.size++;
  }

  /** Takes out a task that is in this list. */
  remove(task: Task<unknown>): void {
    const next = task["nextTask"];
    const previous = task["previousTask"];
    if (previous === null) this.first = next;
    else previous["nextTask"] = next;
    if (next === null) this.last = previous;
    else next["previousTask"] = previous;
    task["nextTask"] = task["previousTask"] = null;
    this.size--;
  }

  /** Copies the list, in the order in which the tasks were added. */
  toArray(): Task<unknown>[] {
    const tasks: Task<unknown>[] = [];
    for (let task = this.first; task !== null; task = task["nextTask"]) {
      tasks.push(task);
    }
    return tasks;
  }
}
