/**
 * A mean in which old values count less and less.
 *
 * @module
 */

/**
 * A time-weighted moving average: each value counts less the older it is, by a
 * factor of e for each span of time.
 *
 * Unlike an exponential average that starts with its first value, it is the plain
 * mean of what has come within a time that is short beside the span. Adding a
 * value and reading the mean take constant time.
 *
 * @example
 * ```ts
 * import { DecayingMean } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * const mean = new DecayingMean(1_000);
 * mean.add(10, 0);
 * mean.add(30, 0);
 * assertEquals(mean.value, 20);
 * mean.add(100, 1e6); // the others are long ago
 * assertEquals(Math.round(mean.value), 100);
 * ```
 */
export class DecayingMean {
  readonly #spanMs: number;
  #sum = 0;
  #count = 0;
  #atMs = -Infinity;

  /**
   * Makes a mean of no values.
   *
   * @param spanMs Time in which the weight of a value falls to 37 %.
   */
  constructor(spanMs: number) {
    this.#spanMs = spanMs;
  }

  /** The mean; `NaN` if there is no value yet. */
  get value(): number {
    return this.#sum / this.#count;
  }

  /**
   * Adds a value.
   *
   * @param value The value.
   * @param nowMs The moment, not before that of the last one.
   */
  add(value: number, nowMs: number): void {
    const kept = this.#keptUntil(nowMs);
    this.#sum = this.#sum * kept + value;
    this.#count = this.#count * kept + 1;
    this.#atMs = nowMs;
  }

  /**
   * Returns how many values there are, old ones counted by what is left of their weight.
   *
   * @param nowMs The moment.
   * @returns The number, with fractions.
   */
  count(nowMs: number): number {
    return this.#count * this.#keptUntil(nowMs);
  }

  /**
   * Returns the mean of the values and one more, which stands for what is known
   * otherwise: without recent values it comes close to that.
   *
   * @param other The other value.
   * @param nowMs The moment.
   * @returns The mean.
   */
  valueWith(other: number, nowMs: number): number {
    const kept = this.#keptUntil(nowMs);
    return (this.#sum * kept + other) / (this.#count * kept + 1);
  }

  /** Forgets all values. */
  clear(): void {
    this.#sum = 0;
    this.#count = 0;
    this.#atMs = -Infinity;
  }

  #keptUntil(nowMs: number): number {
    const ageMs = nowMs - this.#atMs;
    return ageMs > 0 ? Math.exp(-ageMs / this.#spanMs) : 1;
  }
}
