/**
 * The end of a loop, for parts of the library that hold something for it outside:
 * threads, processes, lines to other threads.
 *
 * A loop ends in two steps. First its run ends for good: `run` and `Runner` are
 * about to cancel the tasks that are left, and turns go on until these have
 * cleaned up. Then it is closed, and no turn comes any more. A loop that is closed
 * without a runner skips the first step.
 *
 * @module
 */

/** Part that has to know when its loop ends. Neither call may throw. */
export interface EndListener {
  /** The run ends for good; turns go on until the tasks that are left have cleaned up. Called once at most. */
  loopEnds?(): void;
  /** The loop is being closed; its tasks are about to be destroyed. Called once. */
  loopClosed(): void;
}

/** The parts that one loop has to tell of its end. */
export class Endings {
  readonly #listeners = new Set<EndListener>();
  #begun = false;

  /** Has a part told, until {@linkcode delete}. */
  add(listener: EndListener): void {
    this.#listeners.add(listener);
  }

  /** Forgets a part. */
  delete(listener: EndListener): void {
    this.#listeners.delete(listener);
  }

  /** Whether the run has ended for good. */
  get begun(): boolean {
    return this.#begun;
  }

  /** The run ends for good. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    for (const listener of [...this.#listeners]) listener.loopEnds?.();
  }

  /** The loop is being closed. */
  close(): void {
    this.#begun = true;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener.loopClosed();
  }
}
