/**
 * The tasks of a group, as the group sees them.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { Task, type TaskBody, type TaskOptions } from "../loop/task.ts";
import type { Limiter } from "./limit.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";

/** Who is told that a child has ended, in the turn after. */
export interface ChildOwner {
  /** The task that has opened the group. */
  readonly task: Task<unknown>;
  /** How many of its tasks run at once; null if all do. */
  readonly limiter: Limiter | null;
  childDone(child: Child): void;
}

/** One task in the list of a group. */
export interface Child extends ListNode<Child> {
  readonly task: Task<unknown>;
}

/**
 * A task that a group made itself: it is in the group's list, and its own first
 * done callback, so that a group costs no further object for each task.
 */
export class ChildTask<T> extends Task<T> implements Child {
  list: LinkedList<Child> | undefined = undefined;
  nextNode: Child | undefined = undefined;
  previousNode: Child | undefined = undefined;
  readonly owner: ChildOwner;

  constructor(
    owner: ChildOwner,
    loop: EventLoop,
    body: TaskBody<T>,
    options: TaskOptions,
    queued = true,
  ) {
    super(loop, body, options, queued);
    this.owner = owner;
    if (!this.done()) this["addWaiter"](this);
  }

  get task(): Task<unknown> {
    return this as Task<unknown>;
  }

  protected override intercept(): boolean {
    if (!this.done()) return false;
    this.owner.childDone(this);
    return true;
  }
}

/** A task that the loop's task factory made. */
export class ForeignChild implements Child {
  list: LinkedList<Child> | undefined = undefined;
  nextNode: Child | undefined = undefined;
  previousNode: Child | undefined = undefined;
  readonly task: Task<unknown>;

  constructor(owner: ChildOwner, task: Task<unknown>) {
    this.task = task;
    if (!task.done()) task.addDoneCallback(() => owner.childDone(this));
  }
}
