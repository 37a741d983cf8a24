/**
 * What a task inherits from the place where it was asked for, kept for one that
 * is made later.
 *
 * @module
 */
import { findTask } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Task } from "./task.ts";
import type { LocalValue } from "./task_local.ts";

/** The creator of a task, and what it hands down. */
export interface Origin {
  readonly parent: Task<unknown>;
  readonly locals: LocalValue | null;
  /** Enters the async context of the creator; null on most loops. */
  readonly enter: (<R>(fn: () => R) => R) | null;
}

/**
 * The origin of what the running code asks for; null outside of tasks. Gives
 * `known` if that is the same, so that many jobs of one task share one.
 */
export function findOrigin(
  loop: EventLoop,
  known: Origin | null,
): Origin | null {
  const parent = findTask();
  if (parent === null) return null;
  const { locals } = parent as unknown as { locals: LocalValue | null };
  if (loop["inheritsContext"]) {
    return { parent, locals, enter: loop["captureContext"]() };
  }
  return known !== null && known.parent === parent && known.locals === locals
    ? known
    : { parent, locals, enter: null };
}

/** Gives a task that has not begun what it inherits; null stands for no creator. */
export function inherit(task: Task<unknown>, origin: Origin | null): void {
  const parent = origin === null || origin.parent.done() ? null : origin.parent;
  task["parentTask"] = parent;
  task["locals"] = origin === null ? null : origin.locals;
  if (origin !== null && origin.enter !== null) {
    task["extra"]().enter = origin.enter;
  }
}
