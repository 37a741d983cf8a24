/**
 * Plan of a periodic task that ticks at an interval.
 *
 * @module
 */
import type { Jitter } from "./jitter.ts";
import { LATE_MS, type MissedTicks, type Ticks } from "./ticks.ts";

/**
 * Ticks on a grid: the k-th is due at anchor + k x interval. That is a product
 * and not a sum, so that errors of rounding do not add up.
 */
export class IntervalTicks implements Ticks {
  readonly exhausted = false;
  index: number;
  readonly intervalMs: number;
  readonly #jitter: Jitter | null;
  #anchorMs: number;
  /** Number of the tick that falls on the anchor. */
  #anchorIndex: number;
  #jitterMs = 0;
  #dueMs: number;

  /**
   * @param anchorIndex Number of the tick at `anchorMs`.
   * @param first Whether the first tick is the one at the anchor, which has no
   * jitter, or the one after it.
   */
  constructor(
    intervalMs: number,
    anchorMs: number,
    anchorIndex: number,
    first: "anchor" | "after",
    jitter: Jitter | null,
  ) {
    this.intervalMs = intervalMs;
    this.#jitter = jitter;
    this.#anchorMs = anchorMs;
    this.#anchorIndex = anchorIndex;
    this.index = anchorIndex;
    this.#dueMs = anchorMs;
    if (first === "after") this.#goOn();
  }

  start(startMs: number): void {
    this.#anchorMs = startMs;
    this.#dueMs = this.#at(this.index);
  }

  /** Whether all jobs that start at the same moment with the same interval have the same ticks. */
  get isShareable(): boolean {
    return this.#jitter === null && this.#anchorIndex === 0;
  }

  /** Makes the tick of that number the next one. */
  moveTo(index: number): void {
    this.index = index;
    this.#dueMs = this.#at(index);
  }

  dueMs(_nowMs: number): number {
    return this.#dueMs;
  }

  lateMs(nowMs: number): number {
    return nowMs - this.#dueMs;
  }

  wakeMs(_nowMs: number): number {
    return this.#dueMs;
  }

  momentMs(): null {
    return null;
  }

  advance(nowMs: number, missed: MissedTicks): number {
    if (missed === "delay" && nowMs - this.#dueMs > LATE_MS) {
      this.#anchorMs = nowMs;
      this.#anchorIndex = this.index;
    }
    this.#goOn();
    return missed === "skip" && this.#dueMs < nowMs ? this.skipTo(nowMs) : 0;
  }

  skipTo(nowMs: number): number {
    if (this.#dueMs >= nowMs) return 0;
    const from = this.index;
    let index = this.#anchorIndex +
      Math.ceil((nowMs - this.#jitterMs - this.#anchorMs) / this.intervalMs);
    // The quotient is rounded, and may be one off.
    if (index > from && this.#at(index - 1) >= nowMs) index--;
    if (this.#at(index) < nowMs) index++;
    this.index = index;
    this.#dueMs = this.#at(index);
    return index - from;
  }

  resume(nowMs: number, missed: MissedTicks): void {
    if (missed === "burst" || this.#dueMs >= nowMs) return;
    if (missed === "skip") {
      this.skipTo(nowMs);
      return;
    }
    this.#anchorMs = nowMs;
    this.#anchorIndex = this.index - 1;
    this.#dueMs = this.#at(this.index);
  }

  #goOn(): void {
    this.index++;
    if (this.#jitter !== null) this.#jitterMs = this.#jitter.drawMs();
    this.#dueMs = this.#at(this.index);
  }

  #at(index: number): number {
    return this.#anchorMs + (index - this.#anchorIndex) * this.intervalMs +
      this.#jitterMs;
  }
}
