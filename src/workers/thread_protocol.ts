/**
 * Messages between a pool and one of its threads: kinds, and what their number and value are.
 *
 * @module
 */
import type { WorkerCrashKind } from "../errors.ts";
import type { PackedError } from "./error_codec.ts";
import type { TaskRef } from "./module_task.ts";

/** Messages to the thread. */
export const ToThread = {
  /** A task, under the number by which jobs name it; replaces the one that had the number. */
  TASK: 1,
  /** A job; its value is a {@linkcode JobMessage}. */
  JOB: 2,
  /** Aborts the signal of a job; the reason is a packed error. */
  ABORT: 3,
  PING: 4,
  /** The thread ends once it has no job. */
  CLOSE: 5,
  /** A job that a job of the thread has submitted returned a value; the number is that of its `NestedSpec`. */
  NESTED_RETURNED: 6,
  /** Such a job threw a packed error, or was refused with one. */
  NESTED_THREW: 7,
  NESTED_PROGRESSED: 8,
} as const;

/** Messages of the thread. */
export const FromThread = {
  /** The first; its number is that of the thread in the operating system, 0 if it is not known. */
  READY: 1,
  /** A job returned a value. */
  RETURNED: 2,
  /** A job threw a packed error. */
  THREW: 3,
  PROGRESSED: 4,
  /** Reply to a ping; its value is the memory in use. */
  ANSWERED: 5,
  /** The thread ends as it was asked to; nothing follows. */
  CLOSED: 6,
  /** The thread ends; its value is a {@linkcode DeathMessage}; nothing follows. */
  DIED: 7,
  /** A job submits another one; its value is a `NestedSpec`. */
  NESTED: 8,
  /** A job cancels another one; its value is a {@linkcode WithdrawMessage}. */
  WITHDRAWN: 9,
} as const;

/** A job: the number of its task, its arguments, and the rest unless all of it is as usual. */
export type JobMessage = readonly [
  task: number,
  args: readonly unknown[],
  rest?: JobRest,
];

/** Settings that few jobs have. */
export interface JobRest {
  readonly name: string;
  readonly remainingMs: number;
  readonly locals: Readonly<Record<string, unknown>> | null;
}

/** Number of a job that a job has submitted, and why that cancels it. */
export type WithdrawMessage = readonly [number: number, reason: PackedError];

/** Why a thread ends. */
export type DeathMessage = readonly [
  kind: Extract<WorkerCrashKind, "error" | "rejection" | "out-of-memory">,
  error: PackedError,
];

/** How many tasks have a number at a time. */
export const TASKS_MAX = 1_000;

/** Returns the text that tells tasks apart. */
export function taskKey(task: TaskRef): string {
  return "source" in task ? task.source : `${task.module}#${task.name}`;
}
