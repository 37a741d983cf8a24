/**
 * Rings of tasks that wait for one another: deadlocks, found in a snapshot of who
 * waits for whom.
 *
 * @module
 */
import type { Task } from "../loop/task.ts";
import type { TaskWait } from "../loop/waits.ts";

/** A task and what it waits for, at one moment. */
export interface WaitingTask {
  readonly task: Task<unknown>;
  readonly waits: readonly TaskWait[];
}

/**
 * Things that anybody may end a wait for: whoever has served them before need not
 * be the next to do it, so nothing follows from that one waiting.
 */
const OPEN =
  /^(?:Queue|PriorityQueue|LifoQueue|Channel|Flag|Condition\.wait|Barrier|postTask)/;

/** Whether only the tasks that hold the thing can end this wait. */
function isClosed({ kind, heldBy }: TaskWait): boolean {
  return heldBy.length > 0 && !OPEN.test(kind) &&
    !heldBy.some((task) => task.done());
}

/**
 * Finds the tasks that wait only for tasks that wait for one another: no step of a
 * task can end that. Returns a ring for each group of them, in which each task
 * waits for the next, and the last one for the first.
 */
export function findRings(waiting: readonly WaitingTask[]): WaitingTask[][] {
  const stuck = findStuck(waiting);
  const rings: WaitingTask[][] = [];
  /** Number of the walk in which a task was met. */
  const metIn = new Map<Task<unknown>, number>();
  let walk = 0;
  for (const start of stuck.keys()) {
    walk++;
    const trail: WaitingTask[] = [];
    let at: Task<unknown> = start;
    while (!metIn.has(at)) {
      metIn.set(at, walk);
      const here = stuck.get(at)!;
      trail.push(here);
      at = here.waits[0]!.heldBy[0]!;
    }
    if (metIn.get(at) !== walk) continue; // leads to a ring that is known
    rings.push(trail.slice(trail.findIndex(({ task }) => task === at)));
  }
  return rings;
}

/** The tasks each of whose waits only stuck tasks can end. */
function findStuck(
  waiting: readonly WaitingTask[],
): Map<Task<unknown>, WaitingTask> {
  const stuck = new Map<Task<unknown>, WaitingTask>();
  for (const entry of waiting) {
    if (entry.waits.every(isClosed)) stuck.set(entry.task, entry);
  }
  /** The tasks that wait for a task. */
  const waiters = new Map<Task<unknown>, Task<unknown>[]>();
  const free: Task<unknown>[] = [];
  for (const { task, waits } of stuck.values()) {
    for (const holder of waits.flatMap(({ heldBy }) => heldBy)) {
      if (!stuck.has(holder)) free.push(task);
      else if (waiters.has(holder)) waiters.get(holder)!.push(task);
      else waiters.set(holder, [task]);
    }
  }
  // A list that grows: whoever waits for a task that can go on can go on.
  for (const task of free) {
    if (stuck.delete(task)) free.push(...waiters.get(task) ?? []);
  }
  return stuck;
}
