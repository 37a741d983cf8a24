/**
 * Those who wait in line: the most urgent first, and of equals who came first.
 *
 * @module
 */
import { Heap } from "./heap.ts";
import { RingBuffer } from "./ring_buffer.ts";

/** Those of one priority. */
interface Level<T> {
  readonly priority: number;
  readonly values: RingBuffer<T>;
}

/**
 * A queue with priorities. As long as all are the same it costs what a ring
 * costs; else adding and taking out take time in proportion to the logarithm of
 * how many different priorities there are.
 */
export class PriorityLine<T> {
  /** The level that was added to last. */
  #last: Level<T> | null = null;
  /** Those with values in them, and the one that has become empty last, if it is the only one. */
  readonly #levels: Map<number, Level<T>> = new Map();
  readonly #order: Heap<Level<T>> = new Heap((a, b) => a.priority > b.priority);

  /** Adds a value behind all that have its priority or a higher one. */
  push(value: T, priority: number): void {
    const last = this.#last;
    const level = last !== null && last.priority === priority
      ? last
      : this.#levelOf(priority);
    level.values.push(value);
  }

  #levelOf(priority: number): Level<T> {
    let level = this.#levels.get(priority);
    if (level === undefined) {
      level = { priority, values: new RingBuffer() };
      this.#levels.set(priority, level);
      this.#order.push(level);
    }
    return this.#last = level;
  }

  /**
   * Removes and returns the first value that `isWanted` says yes to, or returns
   * `undefined` if there is none. Those before it are removed.
   */
  shift(isWanted: (value: T, priority: number) => boolean): T | undefined {
    for (;;) {
      const level = this.#order.peek();
      if (level === undefined) return undefined;
      const { values, priority } = level;
      while (values.length > 0) {
        const value = values.shift() as T;
        if (isWanted(value, priority)) return value;
      }
      if (this.#levels.size === 1) return undefined;
      this.#order.pop();
      this.#levels.delete(priority);
      if (this.#last === level) this.#last = null;
    }
  }
}
