/**
 * Rate of permits by a window that may begin anywhere.
 *
 * @module
 */
import { RingBuffer } from "../structures/ring_buffer.ts";
import type { RateRule } from "./rate_rule.ts";

/** Permits that were taken at one moment. */
interface Grant {
  readonly takenMs: number;
  weight: number;
}

/**
 * Window that may begin anywhere: each permit counts for one interval. Remembers
 * each moment of the last interval at which permits were taken.
 */
export class SlidingWindow implements RateRule {
  readonly capacity: number;
  readonly #intervalMs: number;
  readonly #grants = new RingBuffer<Grant>();
  #last: Grant | null = null;
  #taken = 0;

  constructor(permits: number, intervalMs: number) {
    this.capacity = permits;
    this.#intervalMs = intervalMs;
  }

  earliest(weight: number, nowMs: number): number {
    this.#forget(nowMs);
    let missing = this.#taken + weight - this.capacity;
    if (missing <= 0) return nowMs;
    for (const grant of this.#grants) {
      missing -= grant.weight;
      if (missing <= 0) return grant.takenMs + this.#intervalMs;
    }
    return Infinity;
  }

  take(weight: number, nowMs: number): void {
    this.#forget(nowMs);
    this.#taken += weight;
    if (this.#last !== null && this.#last.takenMs === nowMs) {
      this.#last.weight += weight;
    } else {
      this.#last = { takenMs: nowMs, weight };
      this.#grants.push(this.#last);
    }
  }

  giveBack(weight: number, takenMs: number): void {
    for (const grant of this.#grants) {
      if (grant.takenMs !== takenMs) continue;
      grant.weight -= weight;
      this.#taken -= weight;
      return;
    }
  }

  available(nowMs: number): number {
    this.#forget(nowMs);
    return this.capacity - this.#taken;
  }

  #forget(nowMs: number): void {
    for (
      let first = this.#grants.peek();
      first !== undefined && first.takenMs + this.#intervalMs <= nowMs;
      first = this.#grants.peek()
    ) {
      this.#grants.shift();
      this.#taken -= first.weight;
      if (first === this.#last) this.#last = null;
    }
  }
}
