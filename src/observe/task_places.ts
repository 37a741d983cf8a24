/**
 * Places of tasks in the source: where a generator is suspended, and where an
 * operation was made that is waited for.
 *
 * @module
 */
import { core } from "../loop/core.ts";
import type { Task } from "../loop/task.ts";
import { futureWaitedFor } from "../loop/waits.ts";

/** A place in the source. */
export interface TaskPlace {
  /** Name of the function; `""` if it has none. */
  readonly function: string;
  /** URL of the file. */
  readonly file: string;
  /** Line, from 1. */
  readonly line: number;
  /** Column, from 1. */
  readonly column: number;
  /**
   * Whether line and column are those of the source. If not, they are those of the
   * JavaScript that Deno has made of it.
   */
  readonly isExact: boolean;
}

/** Where the files of the library are: their frames tell nothing about a program. */
const LIBRARY = import.meta.resolve("../");
const FRAME =
  /^\s*at (?:(?:async )?(.*?) \()?(?:async )?([^()\s]+):(\d+):(\d+)\)?$/;

/** The innermost place in a stack that is in no file of the library; null if there is none. */
export function placeInStack(stack: string | undefined): TaskPlace | null {
  for (const frame of stack?.split("\n") ?? []) {
    const match = FRAME.exec(frame);
    if (match === null) continue;
    const [, name = "", file, line, column] = match;
    if (file!.startsWith(LIBRARY) || /^(?:ext|node|native):/.test(file!)) {
      continue;
    }
    return {
      function: name,
      file: file!,
      line: Number(line),
      column: Number(column),
      isExact: true,
    };
  }
  return null;
}

/** Where a task has begun its wait, if its loop is in debug mode. */
export function placeOfWait(task: Task<unknown>): TaskPlace | null {
  const { debug, debugging } = task.loop[core];
  if (!debugging) return null;
  const waiting = futureWaitedFor(task);
  if (waiting === null) return null;
  const { waiter, future } = waiting;
  if (waiter !== task as unknown) {
    return placeInStack(debug.creationStackOf(waiter));
  }
  return isOwn(task) ? placeInStack(debug.creationStackOf(future)) : null;
}

/** Whether the future that a generator waits for was made for this wait. */
function isOwn(task: Task<unknown>): boolean {
  const [wait] = task.waits();
  return wait !== undefined && wait.target !== task.waitingOn ||
    wait?.kind === "sleep";
}
