/**
 * Watch over the steps of a thread: what its loops run at this moment, for a watchdog that looks on from another thread.
 *
 * Off by default. A loop with a watch runs its handles in another function of the kernel, which tells of each; a loop
 * without one runs the same code as if there were no such thing.
 *
 * @module
 */
import type { LinePort } from "../host/message_port.ts";
import type { RingBuffer } from "../structures/ring_buffer.ts";
import { runRunnable, TASK_RUN } from "./run_runnable.ts";
import type { ReadyQueue, Runnable } from "./runnable.ts";
import { YIELD_RUN } from "./sleep.ts";
import type { Task } from "./task.ts";
import { stepTask } from "./task_step.ts";
import { TICK_RUN } from "./tick_timer.ts";

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

/** Kernel, as far as a watch needs it. */
interface WatchedKernel {
  readonly ready: ReadyQueue;
  /** Runs so many handles from the head of the queue. */
  runFifo(count: number): void;
  runnableFailed(runnable: Runnable, error: unknown): void;
  /** Runs one handle on behalf of debug mode and instruments. */
  runObserved(runnable: Runnable): void;
}

/** Runs so many handles from the head of the queue of a kernel, and tells the watch of each before. */
export function runWatched(
  watch: StepWatch,
  kernel: WatchedKernel,
  count: number,
): void {
  const { step, known } = watch;
  const mask = known.length - 1;
  const ready = kernel.ready as RingBuffer<Runnable>;
  for (; count > 0; count--) {
    const runnable = ready.shift()!;
    try {
      if (runnable.run === TASK_RUN) {
        // The usual step writes one word, and reads another one.
        const { id } = runnable as Task<unknown>;
        step[0] = id;
        if (known[id & mask] !== id) watch.entering(runnable);
        stepTask(runnable as Task<unknown>);
      } else if (runnable.run === YIELD_RUN) {
        step[0] = 0; // the task goes on later
        runnable.run();
      } else {
        watch.entering(runnable);
        if (runnable.run !== TICK_RUN) runRunnable(runnable);
        else {
          // A job whose ticks are many may have to go on later.
          ready.unshift(runnable);
          kernel.runFifo(1);
        }
      }
    } catch (error) {
      kernel.runnableFailed(runnable, error);
    }
  }
}

/** The same in debug mode and with instruments, with or without a watch. */
export function runStepwise(
  watch: StepWatch | null,
  kernel: WatchedKernel,
  count: number,
): void {
  for (; count > 0; count--) {
    const runnable = kernel.ready.shift()!;
    watch?.entering(runnable);
    try {
      kernel.runObserved(runnable);
    } catch (error) {
      kernel.runnableFailed(runnable, error);
    }
  }
}

/** Invitation of a thread that is about to start to the watchdog of this one. */
export interface WatchShare {
  /** URL of the module whose `joinStarted` the thread is to call with this. */
  readonly module: string;
  /** Line to the watchdog; it is transferred. */
  readonly port: LinePort;
  /** Name of the thread in reports. */
  readonly name: string;
}

/** Maker of invitations; null without a watchdog. */
export const watchShare: { current: ((name: string) => WatchShare) | null } = {
  current: null,
};
