/**
 * Callbacks with a priority of their own, from `callWithPriority`.
 *
 * @module
 */
import { callbackNameOf, Handle } from "./handle.ts";
import { type Priority, requirePriority } from "./priority.ts";
import type { PriorityReadyQueue } from "./priority_ready_queue.ts";
import { GONE, ReadyPlace } from "./ready_place.ts";
import type { ReadyItem } from "./scheduler.ts";

/** Whether a handle is one that `queue` was given. */
export let isHandleOf: (
  handle: PriorityHandle,
  queue: PriorityReadyQueue,
) => boolean;

/**
 * A callback with a priority of its own, which may be withdrawn and moved.
 *
 * {@linkcode EventLoop.callWithPriority} returns one.
 */
export class PriorityHandle extends Handle implements ReadyItem {
  // A handle is its own place in the queue, as handles are made by the thousand; once it
  // is moved, it has one like everything else.
  private place: PriorityReadyQueue | ReadyPlace | null;
  private level: number;
  /** @ignore */
  sequence: number;
  /** @ignore */
  number: number;

  /** @ignore */
  constructor(
    queue: PriorityReadyQueue | null,
    priority: number,
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ) {
    super(callback, args);
    this.place = queue;
    this.level = priority;
    this.sequence = GONE;
    this.number = 0;
  }

  /** Priority of the callback, as a number. */
  get priority(): number {
    return this.level;
  }

  /** @ignore */
  get kind(): "callback" {
    return "callback";
  }

  /** @ignore */
  get name(): string {
    return callbackNameOf(this);
  }

  /** @ignore */
  get alive(): boolean {
    return this.sequence >= 0;
  }

  /**
   * Makes it more or less urgent. If it waits for its turn it goes behind what is
   * ready with that priority.
   *
   * @param priority How urgent it is.
   * @throws {TypeError} If `priority` is no priority.
   */
  setPriority(priority: Priority): void {
    const level = requirePriority(priority, "set the priority of a callback");
    const { place } = this;
    if (place instanceof ReadyPlace) {
      if (place.alive) this.place = place.queue.requeue(place, level);
    } else if (place !== null && this.alive) {
      this.place = place.replace(this, level);
    }
    this.level = level;
  }

  static {
    isHandleOf = ({ place }, queue) =>
      (place instanceof ReadyPlace ? place.queue : place) === queue;
  }
}
