/**
 * Watch over the steps of a thread: what its loops run at this moment, for a watchdog that looks on from another thread.
 *
 * Off by default. A loop with a watch has another ready queue, which tells of each entry that leaves it; a loop without
 * one runs the same code as if there were no such thing.
 *
 * @module
 */
import { RingBuffer } from "../structures/ring_buffer.ts";
import { TASK_RUN } from "./run_runnable.ts";
import type { ReadyQueue, Runnable } from "./runnable.ts";
import type { Task } from "./task.ts";

/** Told what the loops of this thread run. None of the calls may throw. */
export interface StepWatch {
  /** Word in which the queue puts the id of the task whose step runs, for tasks that are in `known`. */
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

/** Ready queue that tells a watch of each entry that leaves it. */
class WatchedQueue extends RingBuffer<Runnable> {
  readonly #watch: StepWatch;
  readonly #step: Int32Array;
  readonly #known: Int32Array;
  readonly #mask: number;

  constructor(watch: StepWatch) {
    super();
    this.#watch = watch;
    this.#step = watch.step;
    this.#known = watch.known;
    this.#mask = watch.known.length - 1;
  }

  override shift(): Runnable | undefined {
    const runnable = super.shift();
    if (runnable === undefined) return undefined;
    // The usual step writes one word, and reads another one.
    if (runnable.run === TASK_RUN) {
      const { id } = runnable as Task<unknown>;
      this.#step[0] = id;
      if (this.#known[id & this.#mask] === id) return runnable;
    }
    this.#watch.entering(runnable);
    return runnable;
  }
}

/** Returns a ready queue for a loop with or without a watch, which has the entries of the one before. */
export function makeReadyQueue(
  watch: StepWatch | null,
  before: ReadyQueue | null,
): ReadyQueue {
  const queue = watch === null
    ? new RingBuffer<Runnable>()
    : new WatchedQueue(watch);
  if (before === null) return queue;
  // The one before may be watched: its entries are only moved.
  const entries = before as RingBuffer<Runnable>;
  for (const runnable of entries) queue.push(runnable);
  entries.clear();
  return queue;
}
