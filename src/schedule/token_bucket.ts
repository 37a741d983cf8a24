/**
 * Rate of permits by a bucket that fills evenly.
 *
 * @module
 */
import type { RateRule } from "./rate_rule.ts";

/**
 * Bucket that holds so many permits and fills evenly. Permits are counted from
 * the moment at which the bucket was full last, so that errors of rounding do not
 * add up.
 */
export class TokenBucket implements RateRule {
  readonly capacity: number;
  readonly #permits: number;
  readonly #intervalMs: number;
  #fullMs = -Infinity;
  #taken = 0;

  constructor(permits: number, intervalMs: number, burst: number) {
    this.#permits = permits;
    this.#intervalMs = intervalMs;
    this.capacity = burst;
  }

  earliest(weight: number, nowMs: number): number {
    return Math.max(nowMs, this.#filledMs(this.#taken + weight));
  }

  take(weight: number, nowMs: number): void {
    if (this.#isFull(nowMs)) {
      this.#fullMs = nowMs;
      this.#taken = 0;
    }
    this.#taken += weight;
  }

  giveBack(weight: number, takenMs: number): void {
    if (takenMs < this.#fullMs) return; // it has been full again since
    this.#taken = Math.max(this.#taken - weight, 0);
  }

  available(nowMs: number): number {
    if (this.#isFull(nowMs)) return this.capacity;
    const filled = (nowMs - this.#fullMs) * this.#permits / this.#intervalMs;
    let count = Math.floor(this.capacity - this.#taken + filled);
    // The division may be off by a rounding; #filledMs decides.
    while (count > 0 && this.#filledMs(this.#taken + count) > nowMs) count--;
    while (
      count < this.capacity && this.#filledMs(this.#taken + count + 1) <= nowMs
    ) count++;
    return Math.max(count, 0);
  }

  #isFull(nowMs: number): boolean {
    return this.#filledMs(this.#taken + this.capacity) <= nowMs;
  }

  /** Returns when so many permits may have been taken since the bucket was full. */
  #filledMs(count: number): number {
    return count <= this.capacity
      ? this.#fullMs
      : this.#fullMs + (count - this.capacity) * this.#intervalMs /
          this.#permits;
  }
}
