/**
 * Watch over the steps of a thread: what its loops run at this moment, for a watchdog that looks on from another thread.
 *
 * Off by default. A loop with a watch runs its handles in another function of the kernel, which tells of each; a loop
 * without one runs the same code as if there were no such thing.
 *
 * @module
 */
import type { Runnable } from "./runnable.ts";
import type { Task } from "./task.ts";

/** Told what the loops of this thread run. None of the calls may throw. */
export interface StepWatch {
  /** Word in which the kernel puts the id of the task whose step runs, for tasks that are in `known`. */
  readonly step: Int32Array;
  /** Ids of tasks that have been entered before, each at its place modulo the length, a power of two. */
  readonly known: Int32Array;
  /** A runnable is about to run, in a turn. */
  entering(runnable: Runnable): void;
  /** An async function of a task is about to be resumed: it goes on in a microtask that is queued next. */
  resuming(task: Task<unknown>): void;
  /** The turn is over: microtasks run. */
  leaving(): void;
  /** The loop waits. */
  parking(): void;
}

/** The watch of this thread; null if there is none. Loops take it over at the beginning of a run. */
export const stepWatch: { current: StepWatch | null } = { current: null };

/** Invitation of a thread that is about to start to the watchdog of this one. */
export interface WatchShare {
  /** URL of the module whose `joinStarted` the thread is to call with this. */
  readonly module: string;
  /** Line to the watchdog; it is transferred. */
  readonly port: MessagePort;
  /** Name of the thread in reports. */
  readonly name: string;
}

/** Maker of invitations; null without a watchdog. */
export const watchShare: { current: ((name: string) => WatchShare) | null } = {
  current: null,
};
