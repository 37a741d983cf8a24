/**
 * Places in the ready queue of a loop with a scheduler, and the sequences that
 * mark a place as used up.
 *
 * @module
 */
import type { Urgency } from "./priority_inheritance.ts";
import type { PriorityReadyQueue } from "./priority_ready_queue.ts";
import type { Runnable } from "./runnable.ts";
import type { ReadyItem } from "./scheduler.ts";

// Sequences of items that are not to be run.
/** Queued anew or withdrawn. The strategy may still have it, and return it once. */
export const GONE = -1;
/** Returned by the strategy, which must not do so again. */
export const GIVEN = -2;

/** Place of a runnable in the ready queue of a loop that goes by priority. */
export class ReadyPlace implements ReadyItem {
  readonly priority: number;
  sequence: number;
  readonly kind: ReadyItem["kind"];
  readonly number: number;
  readonly queue: PriorityReadyQueue;
  readonly runnable: Runnable;
  /** Priority node that moves this place when it changes. */
  urgency: Urgency | null;

  constructor(
    queue: PriorityReadyQueue,
    priority: number,
    sequence: number,
    kind: ReadyItem["kind"],
    number: number,
    runnable: Runnable,
    urgency: Urgency | null,
  ) {
    this.queue = queue;
    this.priority = priority;
    this.sequence = sequence;
    this.kind = kind;
    this.number = number;
    this.runnable = runnable;
    this.urgency = urgency;
  }

  get name(): string {
    return this.queue.nameOf(this.runnable);
  }

  get alive(): boolean {
    return this.sequence >= 0;
  }
}
