/**
 * A binary heap: the least value comes out first, equal ones in no particular
 * order. Push and pop take O(log n) comparisons.
 */
export class Heap<T> implements Iterable<T> {
  readonly #values: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /** Orders by `before`, which tells whether its first argument comes out before its second. */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  /** How many values there are. */
  get length(): number {
    return this.#values.length;
  }

  /** The least value, which stays in place, or `undefined` if there is none. */
  peek(): T | undefined {
    return this.#values[0];
  }

  /** Adds a value. */
  push(value: T): void {
    const values = this.#values;
    // User code may throw in the comparison, so nothing moves before all is known.
    const path: number[] = [];
    let index = values.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(value, values[parent]!)) break;
      path.push(parent);
      index = parent;
    }
    let hole = values.length;
    for (const parent of path) {
      values[hole] = values[parent]!;
      hole = parent;
    }
    values[hole] = value;
  }

  /** Removes and returns the least value, or returns `undefined` if there is none. */
  pop(): T | undefined {
    const values = this.#values;
    const length = values.length - 1;
    if (length <= 0) return values.pop();
    const last = values[length]!;
    const path: number[] = [];
    for (let index = 0;;) {
      let child = 2 * index + 1;
      if (child >= length) break;
      if (
        child + 1 < length && this.#before(values[child + 1]!, values[child]!)
      ) child++;
      if (!this.#before(values[child]!, last)) break;
      path.push(child);
      index = child;
    }
    const first = values[0];
    values.pop();
    let hole = 0;
    for (const child of path) {
      values[hole] = values[child]!;
      hole = child;
    }
    values[hole] = last;
    return first;
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
