/**
 * The arithmetic of rate limits: when so many permits may be taken. No rule
 * knows of those who wait, nor of a clock.
 *
 * @module
 */
import { RingBuffer } from "../structures/ring_buffer.ts";

/** A rule for how many permits there are, and when. Times never go back. */
export interface RateRule {
  /** How many permits can be taken at one moment at most. */
  readonly capacity: number;
  /** The first moment, at `nowMs` or after, at which `weight` permits may be taken if nobody takes any before. */
  earliest(weight: number, nowMs: number): number;
  /** Takes permits at a moment at which that is possible. */
  take(weight: number, nowMs: number): void;
  /** Gives back what was taken at `takenMs` by somebody who will not use it. */
  giveBack(weight: number, takenMs: number): void;
  /** How many permits may be taken now. */
  available(nowMs: number): number;
}

/**
 * A bucket that holds so many permits and fills evenly. What was taken is counted
 * from the moment at which the bucket was full last, so that no rounding adds up.
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
    // The division may be off by a rounding; what counts is the other way round.
    while (count > 0 && this.#filledMs(this.#taken + count) > nowMs) count--;
    while (
      count < this.capacity && this.#filledMs(this.#taken + count + 1) <= nowMs
    ) count++;
    return Math.max(count, 0);
  }

  #isFull(nowMs: number): boolean {
    return this.#filledMs(this.#taken + this.capacity) <= nowMs;
  }

  /** When so many permits may have been taken since the bucket was full. */
  #filledMs(count: number): number {
    return count <= this.capacity
      ? this.#fullMs
      : this.#fullMs + (count - this.capacity) * this.#intervalMs /
          this.#permits;
  }
}

/** So many permits in each window; windows follow each other, the first begins with the first permit. */
export class FixedWindow implements RateRule {
  readonly capacity: number;
  readonly #intervalMs: number;
  #originMs: number | null = null;
  #window = 0;
  #taken = 0;

  constructor(permits: number, intervalMs: number) {
    this.capacity = permits;
    this.#intervalMs = intervalMs;
  }

  earliest(weight: number, nowMs: number): number {
    this.#moveTo(nowMs);
    return this.#taken + weight <= this.capacity
      ? nowMs
      : this.#beginMs(this.#window + 1);
  }

  take(weight: number, nowMs: number): void {
    this.#originMs ??= nowMs;
    this.#moveTo(nowMs);
    this.#taken += weight;
  }

  giveBack(weight: number, takenMs: number): void {
    if (takenMs >= this.#beginMs(this.#window)) this.#taken -= weight;
  }

  available(nowMs: number): number {
    this.#moveTo(nowMs);
    return this.capacity - this.#taken;
  }

  #beginMs(window: number): number {
    return this.#originMs! + window * this.#intervalMs;
  }

  #moveTo(nowMs: number): void {
    if (this.#originMs === null || nowMs < this.#beginMs(this.#window + 1)) {
      return;
    }
    let window = Math.floor((nowMs - this.#originMs) / this.#intervalMs);
    // The division may be off by a rounding.
    if (this.#beginMs(window) > nowMs) window--;
    else if (this.#beginMs(window + 1) <= nowMs) window++;
    if (this.#beginMs(window) > nowMs || this.#beginMs(window + 1) <= nowMs) {
      // They are too short to be told apart on such a clock.
      this.#originMs = nowMs;
      window = 0;
    }
    this.#window = window;
    this.#taken = 0;
  }
}

interface Grant {
  readonly takenMs: number;
  weight: number;
}

/**
 * So many permits in any window, wherever it begins: each counts for one interval.
 * Remembers each moment at which permits were taken during the last one.
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
