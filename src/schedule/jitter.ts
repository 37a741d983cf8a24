/**
 * Random delays of the ticks of a periodic task.
 *
 * @module
 */
import type { SeededRandom } from "../structures/random.ts";

/** Source of random delays, the same for the same seed. */
export class Jitter {
  readonly #random: SeededRandom;
  readonly #jitterMs: number;

  constructor(random: SeededRandom, jitterMs: number) {
    this.#random = random;
    this.#jitterMs = jitterMs;
  }

  /** Draws the next delay: at least 0, below `jitterMs`. */
  drawMs(): number {
    return this.#random.next() * this.#jitterMs;
  }
}
