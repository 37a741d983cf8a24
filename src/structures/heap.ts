/**
 * Binary heap in one array, with a comparison given by its maker.
 *
 * @module
 */
/**
 * A binary heap: the value that comes before all others leaves first, equal ones in no particular order.
 *
 * | Method | Cost |
 * |---|---|
 * | `push`, `pop` | O(log n) comparisons |
 * | `peek`, `length`, `clear` | O(1) |
 * | iteration | O(n) |
 *
 * A comparison may throw: `push` and `pop` pass the error on and leave the heap as it was.
 *
 * @example
 * ```ts
 * import { Heap } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * const heap = new Heap<number>((a, b) => a < b);
 * for (const value of [3, 1, 2]) heap.push(value);
 * assertEquals([heap.pop(), heap.peek(), heap.length], [1, 2, 2]);
 * ```
 *
 * @typeParam T The type of the values.
 */
export class Heap<T> implements Iterable<T> {
  readonly #values: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /**
   * Makes an empty heap.
   *
   * @param before Whether its first argument leaves before its second.
   */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  /** The number of values. */
  get length(): number {
    return this.#values.length;
  }

  /** Returns the first value and leaves it in place, or returns `undefined` if the heap is empty. */
  peek(): T | undefined {
    return this.#values[0];
  }

  /**
   * Adds a value.
   *
   * @param value The value.
   */
  push(value: T): void {
    const values = this.#values;
    // The place is found before anything moves, as the comparison may throw.
    let place = values.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#before(value, values[parent]!)) break;
      place = parent;
    }
    values.push(value);
    let hole = values.length - 1;
    while (hole > place) {
      const parent = (hole - 1) >> 1;
      values[hole] = values[parent]!;
      hole = parent;
    }
    values[place] = value;
  }

  /** Removes and returns the first value, or returns `undefined` if the heap is empty. */
  pop(): T | undefined {
    const values = this.#values;
    const length = values.length - 1;
    if (length <= 0) return values.pop();
    const place = this.#placeOfLast(length);
    // All on the way from the root to the place move up by one.
    let value = values.pop()!;
    for (let index = place; index > 0; index = (index - 1) >> 1) {
      const above = values[index]!;
      values[index] = value;
      value = above;
    }
    const first = values[0]!;
    values[0] = value;
    return first;
  }

  /** Where the last value belongs once the first has left; nothing moves, as the comparison may throw. */
  #placeOfLast(length: number): number {
    const values = this.#values;
    const last = values[length]!;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= length) return place;
      if (
        child + 1 < length && this.#before(values[child + 1]!, values[child]!)
      ) child++;
      if (!this.#before(values[child]!, last)) return place;
      place = child;
    }
  }

  /** Removes all values. */
  clear(): void {
    this.#values.length = 0;
  }

  /** Yields the values in no particular order. The heap must not be changed meanwhile. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    yield* this.#values;
  }
}
