/**
 * Messages between a pool and one of its processes: kinds, and what their number and value are.
 *
 * @module
 */
import type { WorkerCrashKind } from "../errors.ts";
import type { PackedError } from "./error_codec.ts";
import type { TaskRef } from "./module_task.ts";

/** Messages to the process. */
export const ToProcess = {
  /** A job; its value is a {@linkcode JobMessage}. */
  JOB: 1,
  /** Aborts the signal of a job; the reason is a packed error. */
  ABORT: 2,
  PING: 3,
  /** The process waits in its event loop from now on until it gets the next job. */
  REST: 4,
  /** The process ends once it has no job. */
  CLOSE: 5,
  /** A job that a job of the process has submitted returned a value; the number is that of its `NestedSpec`. */
  NESTED_RETURNED: 6,
  /** Such a job threw a packed error, or was refused with one. */
  NESTED_THREW: 7,
  NESTED_PROGRESSED: 8,
} as const;

/** Messages of the process. */
export const FromProcess = {
  /** The first. */
  READY: 1,
  /** A job returned a value. */
  RETURNED: 2,
  /** A job threw a packed error. */
  THREW: 3,
  PROGRESSED: 4,
  /** Reply to a ping; its value is the memory in use. */
  ANSWERED: 5,
  /** The process ends; its value is a {@linkcode DeathMessage}; nothing follows. */
  DIED: 6,
  /** A job submits another one; its value is a `NestedSpec`. */
  NESTED: 7,
  /** A job cancels another one; its value is a {@linkcode WithdrawMessage}. */
  WITHDRAWN: 8,
} as const;

/** A job. */
export type JobMessage = readonly [
  name: string,
  task: TaskRef,
  args: readonly unknown[],
  remainingMs: number,
  locals: Readonly<Record<string, unknown>> | null,
];

/** Number of a job that a job has submitted, and why that cancels it. */
export type WithdrawMessage = readonly [number: number, reason: PackedError];

/** Why a process ends. */
export type DeathMessage = readonly [
  kind: Extract<WorkerCrashKind, "error" | "rejection" | "protocol">,
  error: PackedError,
];

/** Settings of a process, as JSON its only argument. */
export interface ProcessSettings {
  readonly frameBytesMax: number;
}
