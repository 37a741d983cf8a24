/**
 * Ring buffer: the head moves forward on `shift`, the tail on `push`, and both wrap around.
 *
 *      0     1     2     3     4     5     6     7      capacity 8, mask 7, length 5
 *   +-----+-----+-----+-----+-----+-----+-----+-----+
 *   |  d  |  e  |     |     |     |  a  |  b  |  c  |
 *   +-----+-----+-----+-----+-----+-----+-----+-----+
 *                  ^                 ^
 *                 tail              head                push writes at (head + length) & mask
 *
 * The capacity is a power of two, so that wrapping is one `&`. A full ring is copied into one of twice the size; a ring
 * that runs empty and is larger than CAPACITY_KEEP is dropped for a small one.
 *
 * @module
 */

const CAPACITY_MIN = 16;

/**
 * A ring of up to this capacity is kept when it runs empty. Guessed: lower costs a loop with steady large turns a new ring
 * in each, higher keeps more memory (8 bytes a slot) after a burst.
 */
const CAPACITY_KEEP = 8192;

/**
 * A queue in one array that wraps around: values leave in the order in which they came, the oldest first.
 *
 * | Method | Cost |
 * |---|---|
 * | `push`, `unshift`, `shift`, `pop` | O(1), amortized |
 * | `peek`, `at`, `length` | O(1) |
 * | `clear` | O(1) |
 * | iteration | O(n) |
 *
 * The memory of a burst is given back when the ring runs empty. A value that has left is no longer referenced.
 *
 * @example
 * ```ts
 * import { RingBuffer } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * const ring = new RingBuffer<string>();
 * for (const value of ["a", "b", "c"]) ring.push(value);
 * assertEquals([ring.shift(), ring.pop(), ring.peek()], ["a", "c", "b"]);
 * ```
 *
 * @typeParam T The type of the values. With `undefined` among them, ask `length` whether the ring is empty.
 */
export class RingBuffer<T> implements Iterable<T> {
  #slots: (T | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);
  /** Capacity - 1. */
  #mask = CAPACITY_MIN - 1;
  #head = 0;
  #length = 0;

  /** The number of values. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds a value at the tail.
   *
   * @param value The newest value; it leaves last.
   */
  push(value: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#slots[(this.#head + this.#length) & this.#mask] = value;
    this.#length++;
  }

  /**
   * Adds a value at the head.
   *
   * @param value The value that leaves first.
   */
  unshift(value: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#head = (this.#head - 1) & this.#mask;
    this.#slots[this.#head] = value;
    this.#length++;
  }

  /** Removes and returns the oldest value, or returns `undefined` if the ring is empty. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const head = this.#head;
    const value = this.#slots[head];
    this.#slots[head] = undefined;
    this.#head = (head + 1) & this.#mask;
    if (--this.#length === 0 && this.#mask >= CAPACITY_KEEP) this.clear();
    return value;
  }

  /** Removes and returns the newest value, or returns `undefined` if the ring is empty. */
  pop(): T | undefined {
    if (this.#length === 0) return undefined;
    const last = (this.#head + --this.#length) & this.#mask;
    const value = this.#slots[last];
    this.#slots[last] = undefined;
    if (this.#length === 0 && this.#mask >= CAPACITY_KEEP) this.clear();
    return value;
  }

  /** Returns the oldest value and leaves it in place, or returns `undefined` if the ring is empty. */
  peek(): T | undefined {
    return this.#slots[this.#head];
  }

  /**
   * Returns a value by its place and leaves it there.
   *
   * @param index The number of values that leave before it: at least 0, less than `length`.
   */
  at(index: number): T {
    return this.#slots[(this.#head + index) & this.#mask] as T;
  }

  /** Removes all values and gives their memory back. */
  clear(): void {
    this.#slots = new Array(CAPACITY_MIN).fill(undefined);
    this.#mask = CAPACITY_MIN - 1;
    this.#head = 0;
    this.#length = 0;
  }

  /** Yields the values, oldest first. The ring must not be changed meanwhile. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let offset = 0; offset < this.#length; offset++) {
      yield this.#slots[(this.#head + offset) & this.#mask] as T;
    }
  }

  #grow(): void {
    const slots = this.#slots;
    const capacity = slots.length;
    const wider: (T | undefined)[] = new Array(2 * capacity);
    // The holes behind are read as undefined, and cost nothing to make.
    for (let offset = 0; offset < capacity; offset++) {
      wider[offset] = slots[(this.#head + offset) & this.#mask];
    }
    this.#slots = wider;
    this.#mask = 2 * capacity - 1;
    this.#head = 0;
  }
}
