/**
 * Restart intensity: how many restarts a supervisor makes within a time before it
 * gives up.
 *
 * @module
 */
import { RingBuffer } from "../structures/ring_buffer.ts";

/** Counts restarts in a sliding window. Each restart costs O(1), amortised. */
export class RestartIntensity {
  readonly maxRestarts: number;
  readonly withinMs: number;
  /** Moments of the restarts that are in the window, the oldest first. */
  readonly #moments: RingBuffer<number> = new RingBuffer();

  constructor(maxRestarts: number, withinMs: number) {
    this.maxRestarts = maxRestarts;
    this.withinMs = withinMs;
  }

  /** Counts a restart; false if that is one too many. */
  count(nowMs: number): boolean {
    if (this.maxRestarts === Infinity) return true;
    const moments = this.#moments;
    while (
      moments.length > 0 && nowMs - (moments.peek() as number) > this.withinMs
    ) moments.shift();
    if (moments.length >= this.maxRestarts) return false;
    moments.push(nowMs);
    return true;
  }
}
