/**
 * Deadlines that all lie equally far ahead, with one timer for all of them.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";

/** Something that has to end in time. */
export interface Due {
  /** Moment at which its time is over; 0 as long as it has none. Only the line writes it. */
  dueMs: number;
  /** Whether it has ended. */
  readonly hasEnded: boolean;
}

/** How many things that have ended the line keeps at least. */
const SPARE = 32;

/**
 * Things in the order in which they become due, each the same time after it was added.
 * Adding one costs a look at the clock and a place in an array. Things that have ended
 * leave when they are the half of all. The timer is left alone when its thing ends, and
 * finds the next one when it fires: most things are gone long before.
 */
export class DueLine<T extends Due> {
  readonly #loop: EventLoop;
  readonly #delayMs: number;
  readonly #due: (thing: T) => void;
  #line: T[] = [];
  /** How many of the line have ended, or a few more. */
  #over = 0;
  #timer: TimerHandle | null = null;

  constructor(loop: EventLoop, delayMs: number, due: (thing: T) => void) {
    this.#loop = loop;
    this.#delayMs = delayMs;
    this.#due = due;
  }

  /** Has `due` called with a thing in time, unless it has ended by then. */
  add(thing: T): void {
    thing.dueMs = this.#loop.time() + this.#delayMs;
    this.#line.push(thing);
    if (this.#timer === null) this.#arm(thing.dueMs);
  }

  /** Says that a thing has ended. */
  ended(): void {
    if (++this.#over <= SPARE || this.#over * 2 < this.#line.length) return;
    this.#line = this.#line.filter(isAlive);
    this.#over = 0;
  }

  #arm(whenMs: number): void {
    this.#timer = this.#loop.callAt(whenMs, () => this.#fire());
    this.#timer.unref(); // the server keeps the process alive, not a request that is over
  }

  #fire(): void {
    this.#timer = null;
    const nowMs = this.#loop.time();
    const line = this.#line.filter(isAlive);
    this.#over = 0;
    const next = line.findIndex(({ dueMs }) => dueMs > nowMs);
    const due = next < 0 ? line : line.slice(0, next);
    // Before anything is called, as that may add to the line.
    this.#line = next < 0 ? [] : line.slice(next);
    if (next >= 0) this.#arm(line[next]!.dueMs);
    for (const thing of due) {
      if (!thing.hasEnded) this.#due(thing);
    }
  }

  /** Forgets all. */
  close(): void {
    this.#line = [];
    this.#timer?.cancel();
    this.#timer = null;
  }
}

function isAlive({ hasEnded }: Due): boolean {
  return !hasEnded;
}
