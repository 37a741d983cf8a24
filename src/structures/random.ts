/**
 * Random numbers from a seed, so that a run can be repeated.
 *
 * @module
 */
/**
 * A generator of numbers that look random and are the same for the same seed, on every machine and in every version of Rota.
 *
 * The generator is sfc32 of the PractRand test suite by Chris Doty-Humphrey (https://pracrand.sourceforge.net): 128
 * bits of state, a period of at least 2^32 and 2^127 on average. Not for secrets: the numbers can be predicted.
 */
export class SeededRandom {
  #a = 0;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * Starts the sequence of a seed.
   *
   * @param seed Any safe integer. Different seeds give unrelated sequences.
   * @throws {RangeError} If it is not a safe integer.
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) {
      throw new RangeError(
        `Cannot seed a generator as seed must be a safe integer: received ${seed}`,
      );
    }
    this.#b = seed | 0;
    this.#c = Math.floor(seed / 2 ** 32) | 0;
    // Without these rounds similar seeds would begin with similar numbers.
    for (let round = 0; round < 15; round++) this.#nextUint32();
  }

  /** Returns the next number: at least 0, below 1, one of 2^32 that are equally likely and evenly spaced. */
  next(): number {
    return this.#nextUint32() / 2 ** 32;
  }

  /**
   * Returns the next whole number below a bound, each equally likely.
   *
   * @param bound The number of possible results, from 1 to 2^32. The least result is 0.
   * @throws {RangeError} If the bound is not a whole number in that range.
   */
  nextInt(bound: number): number {
    if (!(Number.isInteger(bound) && bound >= 1 && bound <= 2 ** 32)) {
      throw new RangeError(
        `Cannot draw a whole number as bound must be an integer from 1 to 2^32: received ${bound}`,
      );
    }
    // The rest of 2^32 after the last full multiple of the bound would favour small results: draw again. Fewer than
    // every second draw is refused.
    const limit = 2 ** 32 - 2 ** 32 % bound;
    let drawn = this.#nextUint32();
    while (drawn >= limit) drawn = this.#nextUint32();
    return drawn % bound;
  }

  /**
   * Puts the elements of an array in a random order, in place; each order is equally likely.
   *
   * @typeParam T The type of the elements.
   * @param array The array; it is changed.
   * @returns The same array.
   */
  shuffle<T>(array: T[]): T[] {
    for (let end = array.length - 1; end > 0; end--) {
      const chosen = this.nextInt(end + 1);
      const element = array[end] as T;
      array[end] = array[chosen] as T;
      array[chosen] = element;
    }
    return array;
  }

  #nextUint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21 | this.#c >>> 11) + sum) | 0;
    return sum >>> 0;
  }
}
