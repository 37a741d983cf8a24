/**
 * The tasks of a group, as the group sees them.
 *
 * @module
 */
import { onBehalf, urgencyOfEnd } from "../loop/waiters.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import type { Relay } from "../loop/priority_inheritance.ts";
import { Task, type TaskOptions } from "../loop/task.ts";
import type { TaskBody } from "../loop/task_body.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";
import type { GroupSlots } from "./group_slots.ts";
import type { Lender } from "./lending.ts";

/** A group, as its tasks see it. */
export interface ChildOwner {
  /** The task that has opened the group. */
  readonly task: Task<unknown>;
  /** The slots of a limited group; null if all of its tasks may run at once. */
  readonly slots: GroupSlots | null;
  /** Called in the turn after the one in which a child has ended. */
  childDone(child: Child): void;
  /** The group, as the program has it. */
  readonly group: object;
  /** The node that is as urgent as the task that waits for the group; null if none waits yet. */
  joined(): Relay | null;
  /** Future for which the task waits that has opened the group; null if it does not wait yet. */
  joining(): Future<unknown> | null;
  /** Lists the tasks that have a slot. */
  slotHolders(): Future<unknown>[];
}

/** A task in the list of a group. */
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
    if (!this.done()) this.addWaiter(this);
  }

  get task(): Task<unknown> {
    return this as Task<unknown>;
  }

  /** The task itself, if it takes a slot that it can lend; else null. */
  get lender(): Lender | null {
    return null;
  }

  /** The slot is given back, if the task has one: it has ended. */
  giveBack(): void {}

  /** The end of the task is as urgent as the wait for the group. */
  override [urgencyOfEnd](): object | null {
    return this.owner.joined();
  }

  /** The end of the task is awaited on behalf of the group. */
  override [onBehalf](awaited: Future<unknown>): Future<unknown> | null {
    return awaited === this as Future<unknown>
      ? this.owner.joining()
      : this as Future<unknown>;
  }

  override intercept(): boolean {
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
