/**
 * Work outside of the loop that may still wake one of its tasks: async functions
 * that wait for foreign promises, and `until`. A virtual clock stands still for
 * it, and it is no deadlock.
 *
 * @module
 */

/** Kernel, as far as it has to know of changes. */
export interface OutsideListener {
  /** The first wait of an `until` began, or the last one ended. */
  outsideWaitsChanged(): void;
  /** Called when a kind of outside work has come to an end. */
  outsideWorkEnded(): void;
  /** An async function has ended: promise reactions may be under way. */
  promisesWereTouched(): void;
}

/** Counts of what waits outside of one loop. */
export class OutsideWork {
  /** Waits for foreign promises by `until`. */
  waits = 0;
  /** Tasks that run an async function. */
  asyncTasks = 0;
  /** Async functions that are parked in no operation of this loop. */
  asyncOutside = 0;
  readonly #listener: OutsideListener;

  constructor(listener: OutsideListener) {
    this.#listener = listener;
  }

  /** Whether anything outside may wake a task. */
  get isPending(): boolean {
    return this.waits > 0 || this.asyncOutside > 0;
  }

  /** An `until` waits for a foreign promise. */
  outsideBegan(): void {
    if (this.waits++ === 0) this.#listener.outsideWaitsChanged();
  }

  /** An `until` waits no longer. */
  outsideEnded(): void {
    if (--this.waits > 0) return;
    this.#listener.outsideWaitsChanged();
    this.#listener.outsideWorkEnded();
  }

  /** A task has begun to run an async function. */
  asyncTaskStarted(): void {
    this.asyncTasks++;
  }

  /** A task has ended that ran an async function. */
  asyncTaskEnded(): void {
    this.asyncTasks--;
    this.#listener.promisesWereTouched();
  }

  /** An async function waits in no operation of this loop. */
  wentOutside(): void {
    this.asyncOutside++;
  }

  /** An async function is back in an operation of this loop, or has ended. */
  cameInside(): void {
    if (--this.asyncOutside === 0) this.#listener.outsideWorkEnded();
  }
}
