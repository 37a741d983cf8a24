import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { LinkedList, ListNode } from "../structures/linked_list.ts";

/**
 * One who stands in line for slots of a limit: a job, or a map that wants to
 * begin with another item. Its future is done when all is over.
 */
export abstract class Claim<T> extends Future<T>
  implements ListNode<Claim<unknown>> {
  declare list: LinkedList<Claim<unknown>> | undefined;
  declare nextNode: Claim<unknown> | undefined;
  declare previousNode: Claim<unknown> | undefined;
  /** The number of its priority: higher first. Only its queue changes it. */
  declare rank: number;
  /** How many slots it takes. */
  declare readonly weight: number;
  /** Grows from one who comes to the next, where that has to be known. Only the limit sets it. */
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

  /** Whether it is a job, which counts as pending while it stands in line, and may be dropped. */
  abstract readonly isJob: boolean;

  /** It has its slots. */
  abstract begin(): void;
}
