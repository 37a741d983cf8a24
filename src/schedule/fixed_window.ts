/**
 * Rate of permits by windows that follow each other.
 *
 * @module
 */
import type { RateRule } from "./rate_rule.ts";

/** Windows that follow each other, each with so many permits. The first begins with the first permit. */
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
      // The windows are too short to be told apart on this clock.
      this.#originMs = nowMs;
      window = 0;
    }
    this.#window = window;
    this.#taken = 0;
  }
}
