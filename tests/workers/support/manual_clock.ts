/**
 * A clock for pools that stands still until a test moves it.
 *
 * @module
 */
import type { PoolClock, PoolTimer } from "../../../src/workers/pool_clock.ts";

interface ManualTimer extends PoolTimer {
  readonly dueMs: number;
  readonly fn: () => void;
}

/** A clock that is moved by hand. */
export class ManualClock implements PoolClock {
  #nowMs: number;
  readonly #timers: Set<ManualTimer> = new Set();

  constructor(nowMs: number = 1_000) {
    this.#nowMs = nowMs;
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.size;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, fn: () => void): PoolTimer {
    if (!(ms >= 0 && ms < Infinity)) throw new RangeError(`delay ${ms}`);
    const timer: ManualTimer = {
      dueMs: this.#nowMs + ms,
      fn,
      cancel: () => this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Time until the next timer; Infinity if none is set. */
  untilNext(): number {
    return Math.min(...[...this.#timers].map(({ dueMs }) => dueMs)) -
      this.#nowMs;
  }

  /** Moves the clock, and calls what is due on the way. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      let next: ManualTimer | undefined;
      for (const timer of this.#timers) {
        if (timer.dueMs > endMs) continue;
        if (next === undefined || timer.dueMs < next.dueMs) next = timer;
      }
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fn();
    }
    this.#nowMs = endMs;
  }
}
