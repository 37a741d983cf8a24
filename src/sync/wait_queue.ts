import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Coroutine } from "../loop/task.ts";
import { MisuseError } from "../errors.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";

/** One who waits in a {@linkcode WaitQueue}, until somebody sets the result or it is cancelled. */
class Waiter extends Future<void> implements ListNode<Waiter> {
  list: LinkedList<Waiter> | undefined = undefined;
  nextNode: Waiter | undefined = undefined;
  previousNode: Waiter | undefined = undefined;
}

/**
 * Those who wait for the same thing, first come, first served: the one wait
 * queue that locks, semaphores, queues and the rest are built on.
 *
 * Waking somebody only queues a task; until its turn comes it may still be
 * cancelled. Whoever wakes therefore hands nothing over: the woken one looks
 * again, and `wait` tells the owner when a woken one did not get that far, so
 * that somebody else can be woken in its place.
 */
export class WaitQueue {
  readonly #label: string;
  readonly #waiters = new LinkedList<Waiter>();
  #loop: EventLoop | null = null;

  /** @param label What is waited for, such as `"Queue.get()"`, for deadlock reports. */
  constructor(label: string) {
    this.#label = label;
  }

  /** How many wait, those included who are woken but have not had their turn. */
  get length(): number {
    return this.#waiters.length;
  }

  /** Whether somebody waits who has been neither woken nor cancelled. */
  hasPending(): boolean {
    for (const waiter of this.#waiters) {
      if (!waiter.done()) return true;
    }
    return false;
  }

  /** Whether somebody waits who has not been cancelled. */
  hasUncancelled(): boolean {
    for (const waiter of this.#waiters) {
      if (!waiter.cancelled()) return true;
    }
    return false;
  }

  /**
   * Waits to be woken. The waiter leaves the queue whatever happens.
   *
   * @param lost Called if the wait ends with an error, before that goes on:
   * `woken` tells whether the waiter had been woken nevertheless.
   */
  *wait(lost: (woken: boolean) => void): Coroutine<void> {
    const loop = getRunningLoop();
    if (this.#loop === null) this.#loop = loop;
    else if (this.#loop !== loop) {
      if (this.#waiters.length > 0) {
        throw new MisuseError(
          `Cannot wait for ${this.#label}: it is in use on another event loop`,
        );
      }
      this.#loop = loop;
    }
    const waiter = new Waiter(loop, this.#label);
    this.#waiters.append(waiter);
    try {
      yield* waiter;
    } catch (error) {
      this.#waiters.remove(waiter);
      const woken = waiter.done() && !waiter.cancelled();
      if (!waiter.done()) waiter.cancel();
      lost(woken);
      throw error;
    }
    this.#waiters.remove(waiter);
  }

  /** Wakes the first who has not been woken or cancelled, and leaves it in the queue; false if there is none. */
  wakeFirst(): boolean {
    for (const waiter of this.#waiters) {
      if (waiter.done()) continue;
      waiter.setResult();
      return true;
    }
    return false;
  }

  /** Wakes the first who has not been woken or cancelled, and takes it out, and all before it; false if there is none. */
  shiftFirst(): boolean {
    for (
      let waiter = this.#waiters.shift();
      waiter !== undefined;
      waiter = this.#waiters.shift()
    ) {
      if (waiter.done()) continue;
      waiter.setResult();
      return true;
    }
    return false;
  }

  /** Wakes all. They stay in the queue until their turn. */
  wakeAll(): void {
    for (const waiter of this.#waiters) {
      if (!waiter.done()) waiter.setResult();
    }
  }
}
