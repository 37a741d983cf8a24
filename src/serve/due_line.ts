/**
 * Deadlines that all lie equally far ahead, with one timer for all of them.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";

/**
 * Things in the order in which they become due, each the same time after it was added.
 * Adding and deleting cost an entry in a map. The timer is left alone when its thing is
 * deleted, and finds the next one when it fires: most things are gone long before.
 */
export class DueLine<T> {
  readonly #loop: EventLoop;
  readonly #delayMs: number;
  readonly #due: (thing: T) => void;
  readonly #line: Map<T, number> = new Map();
  #timer: TimerHandle | null = null;

  constructor(loop: EventLoop, delayMs: number, due: (thing: T) => void) {
    this.#loop = loop;
    this.#delayMs = delayMs;
    this.#due = due;
  }

  /** Has `due` called with a thing in time, unless it is deleted before. Returns when. */
  add(thing: T): number {
    const whenMs = this.#loop.time() + this.#delayMs;
    this.#line.set(thing, whenMs);
    if (this.#timer === null) this.#arm(whenMs);
    return whenMs;
  }

  delete(thing: T): void {
    this.#line.delete(thing);
  }

  #arm(whenMs: number): void {
    this.#timer = this.#loop.callAt(whenMs, () => this.#fire());
    this.#timer.unref(); // the server keeps the process alive, not a request that is over
  }

  #fire(): void {
    this.#timer = null;
    const nowMs = this.#loop.time();
    for (const [thing, whenMs] of this.#line) {
      if (whenMs > nowMs) {
        if (this.#timer === null) this.#arm(whenMs);
        return;
      }
      this.#line.delete(thing);
      this.#due(thing);
    }
  }

  /** Forgets all. */
  close(): void {
    this.#line.clear();
    this.#timer?.cancel();
    this.#timer = null;
  }
}
