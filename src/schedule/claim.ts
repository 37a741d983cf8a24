/**
 * Place in the line for slots of a limit, which a job or a map has.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";

/** A claim, whatever its result is. */
export type AnyClaim = Claim<unknown>;

/**
 * Place in line for slots of a limit: that of a job, or of a map that wants to
 * begin with another item. As a future it is done when all is over.
 */
export abstract class Claim<T> extends Future<T>
  implements ListNode<Claim<unknown>> {
  declare list: LinkedList<Claim<unknown>> | undefined;
  declare nextNode: Claim<unknown> | undefined;
  declare previousNode: Claim<unknown> | undefined;
  /** Priority as a number: higher first. Only the queue writes it. */
  declare rank: number;
  /** How many slots it takes. */
  declare readonly weight: number;
  /** Number that grows from one arrival to the next, where that matters. Only the limit writes it. */
  declare arrival: number;

  constructor(loop: EventLoop, label: string, rank: number, weight: number) {
    super(loop, label);
    this.list = undefined;
    this.nextNode = undefined;
    this.previousNode = undefined;
    this.rank = rank;
    this.weight = weight;
    this.arrival = 0;
  }

  /** Whether this is a job: jobs count as pending while they are in line, and may be dropped. */
  abstract readonly isJob: boolean;

  /** Called when it has its slots. */
  abstract begin(): void;
}

/** A job, as the line sees it. */
export interface Droppable extends AnyClaim {
  /** Called when it was taken out of the line and will never run. */
  drop(error: Error): void;
}
