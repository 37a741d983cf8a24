/**
 * Exponential backoff: delays that grow with the number of failures.
 *
 * @module
 */

/** A source of numbers from 0 to below 1. */
export interface Chance {
  /** Returns the next number. */
  next(): number;
}

/**
 * Delays that grow by a factor with each failure, up to a limit. Without state: the
 * failures are counted elsewhere.
 *
 * @example
 * ```ts
 * import { ExponentialBackoff } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * const backoff = new ExponentialBackoff(100, 2, 1_000);
 * const delays = [1, 2, 3, 4, 5].map((failures) => backoff.delayMs(failures, null));
 * assertEquals(delays, [100, 200, 400, 800, 1_000]);
 * ```
 */
export class ExponentialBackoff {
  readonly #initialMs: number;
  readonly #factor: number;
  readonly #maxMs: number;

  /**
   * Makes the rule. The caller has checked the numbers: finite, not negative, and a
   * factor of at least 1.
   *
   * @param initialMs Delay after the first failure, in milliseconds.
   * @param factor Factor for each further one.
   * @param maxMs Longest delay, in milliseconds.
   */
  constructor(initialMs: number, factor: number, maxMs: number) {
    this.#initialMs = initialMs;
    this.#factor = factor;
    this.#maxMs = maxMs;
  }

  /**
   * Returns the delay after so many failures in a row.
   *
   * @param failures How many, at least 1.
   * @param jitter Random numbers for full jitter: the delay is then a random part of what
   * the failures make it. `null` for all of it.
   * @returns The delay in milliseconds.
   */
  delayMs(failures: number, jitter: Chance | null): number {
    const grownMs = this.#initialMs * this.#factor ** (failures - 1);
    // 0 * Infinity is NaN: no delay remains none.
    const delayMs = this.#initialMs === 0 ? 0 : Math.min(grownMs, this.#maxMs);
    return jitter === null ? delayMs : delayMs * jitter.next();
  }
}
