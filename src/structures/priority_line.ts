/*
 * Buckets by priority: a ring buffer for each priority (a level), a map that finds the level of a priority, and a heap
 * that has the highest level at its top.
 *
 *     priorities   10 ──▶ [ a b c ]      shift() takes a, b, c, then d, …
 *                   0 ──▶ [ d e ]        shiftOldest() takes whichever head has the lowest sequence
 *                 -10 ──▶ [ f ]
 *
 * A new level costs the logarithm of the number of levels. Values that are no longer wanted stay where they are until
 * they are met or swept.
 */
import { Heap } from "./heap.ts";
import { RingBuffer } from "./ring_buffer.ts";

/** Empty levels that are kept in case their priority comes again. Guessed: programs use a handful of priorities. */
const EMPTY_LEVELS_MAX = 16;

/** How many values of a level are read together. */
const VALUES_AHEAD = 16;

/** The values of one priority, in the order in which they came. */
class Level<T> {
  readonly priority: number;
  readonly values: RingBuffer<T> = new RingBuffer();
  /** Whether it is in the order; a level that is not is empty. */
  isOrdered = false;
  /** Whether it is in the order by age. */
  isAging = false;
  /** The sequence of its head when that was last asked for. The head may have left since: then the next one is younger. */
  sequence = -Infinity;
  /** How many values leave until the next ones are read ahead. */
  untilLook = 0;

  constructor(priority: number) {
    this.priority = priority;
  }

  /** Removes and returns the first wanted value; those before it are dropped, and the length shows how many. */
  shift(isWanted: (value: T) => boolean): T | undefined {
    const { values } = this;
    while (values.length > 0) {
      if (
        --this.untilLook <= 0 && values.length >= VALUES_AHEAD &&
        !this.#lookAhead(isWanted)
      ) continue;
      const value = values.shift() as T;
      if (isWanted(value)) return value;
    }
    return undefined;
  }

  /**
   * Reads the next values all at once; drops them and returns false if none is wanted. The values of one level lie far
   * apart in memory, among those of all others: where there are a hundred thousand, half the cost of each is waiting for
   * it, and the processor waits for several together if nothing is done in between.
   */
  #lookAhead(isWanted: (value: T) => boolean): boolean {
    const { values } = this;
    let wanted = 0;
    for (let index = 0; index < VALUES_AHEAD; index++) {
      if (isWanted(values.at(index))) wanted++;
    }
    this.untilLook = VALUES_AHEAD;
    if (wanted > 0) return true;
    for (let left = VALUES_AHEAD; left > 0; left--) values.shift();
    this.untilLook = 0;
    return false;
  }
}

/**
 * A queue with priorities: the value of the highest priority leaves first, and among equals the one that came first.
 *
 * | Method | Cost, for n values of p different priorities |
 * |---|---|
 * | `push`, `shift` | O(1) while the priority is in use, else O(log p) |
 * | `shiftOldest` | O(log p), amortized |
 * | `sweep` | O(n) |
 * | `clear`, `length` | O(1) |
 *
 * A value cannot be taken out of the middle. It is dropped when it is met and `isWanted` says no; `isWanted` must not
 * throw, must not change its mind from no to yes, and may be asked more than once about a value. Call `sweep` when the
 * unwanted ones may have become many.
 *
 * @example
 * ```ts
 * import { PriorityLine } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * const line = new PriorityLine<string>();
 * line.push("later", 0);
 * line.push("urgent", 10);
 * line.push("withdrawn", 10);
 * const isWanted = (value: string) => value !== "withdrawn";
 * assertEquals([line.shift(isWanted), line.shift(isWanted)], ["urgent", "later"]);
 * assertEquals(line.length, 0);
 * ```
 *
 * @typeParam T The type of the values; not `undefined`.
 */
export class PriorityLine<T> {
  /** The level that was added to last. */
  #last: Level<T> | null = null;
  readonly #levels: Map<number, Level<T>> = new Map();
  /** The levels that may have values, the highest at the top. */
  readonly #order: Heap<Level<T>> = new Heap((a, b) => a.priority > b.priority);
  /** The same by the age of their heads; made by the first `shiftOldest`. */
  #byAge: Heap<Level<T>> | null = null;
  /** Levels that have left the order, some of which may be in it again. */
  readonly #left: Level<T>[] = [];
  #length = 0;

  /** The number of values, wanted or not. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds a value behind all that have its priority or a higher one.
   *
   * @param value The value.
   * @param priority Its priority, higher first; not `NaN`.
   */
  push(value: T, priority: number): void {
    const last = this.#last;
    const level = last !== null && last.priority === priority
      ? last
      : this.#levelOf(priority);
    if (!level.isOrdered) {
      level.isOrdered = true;
      this.#order.push(level);
    }
    if (!level.isAging && this.#byAge !== null) this.#enterAging(level);
    level.values.push(value);
    this.#length++;
  }

  #levelOf(priority: number): Level<T> {
    let level = this.#levels.get(priority);
    if (level === undefined) {
      level = new Level(priority);
      this.#levels.set(priority, level);
    }
    return this.#last = level;
  }

  #enterAging(level: Level<T>): void {
    level.isAging = true;
    level.sequence = -Infinity;
    this.#byAge!.push(level);
  }

  /**
   * Removes and returns the first value that is wanted, or returns `undefined` if there is none. The values before
   * it are dropped.
   *
   * @param isWanted Whether a value is still wanted.
   */
  shift(isWanted: (value: T) => boolean): T | undefined {
    for (;;) {
      const level = this.#order.peek();
      if (level === undefined) return undefined;
      const { values } = level;
      const before = values.length;
      const value = level.shift(isWanted);
      this.#length -= before - values.length;
      if (value !== undefined) return value;
      // A level alone stays in place: as long as there is one priority, this costs what a ring costs.
      if (this.#order.length === 1) return undefined;
      this.#leaveOrder(level);
    }
  }

  /**
   * Removes and returns the wanted value that has been here longest, whatever its priority, or returns `undefined` if
   * there is none. Unwanted ones that are met are dropped.
   *
   * @param isWanted Whether a value is still wanted.
   * @param sequenceOf A number that grows from value to value in the order in which they are pushed.
   */
  shiftOldest(
    isWanted: (value: T) => boolean,
    sequenceOf: (value: T) => number,
  ): T | undefined {
    const byAge = this.#byAge ?? this.#startAging();
    for (let level = byAge.peek(); level !== undefined; level = byAge.peek()) {
      const sequence = this.#sequenceOfHead(level, isWanted, sequenceOf);
      if (sequence === level.sequence) {
        this.#length--;
        return level.values.shift();
      }
      // Its sequence was out of date: it moves to where it belongs, or away.
      byAge.pop();
      level.sequence = sequence;
      if (sequence < Infinity) byAge.push(level);
      else level.isAging = false;
    }
    return undefined;
  }

  /** `Infinity` if there is none; those before it are dropped. */
  #sequenceOfHead(
    level: Level<T>,
    isWanted: (value: T) => boolean,
    sequenceOf: (value: T) => number,
  ): number {
    const { values } = level;
    while (values.length > 0) {
      const value = values.peek() as T;
      if (isWanted(value)) return sequenceOf(value);
      values.shift();
      this.#length--;
    }
    return Infinity;
  }

  #startAging(): Heap<Level<T>> {
    this.#byAge = new Heap((a, b) => a.sequence < b.sequence);
    for (const level of this.#order) this.#enterAging(level);
    return this.#byAge;
  }

  /** Takes the highest level, which is empty, out of the order; forgets such levels once they are many. */
  #leaveOrder(level: Level<T>): void {
    this.#order.pop();
    level.isOrdered = false;
    const left = this.#left;
    if (left.push(level) <= EMPTY_LEVELS_MAX) return;
    for (const { isOrdered, priority } of left) {
      if (!isOrdered) this.#levels.delete(priority);
    }
    left.length = 0;
    if (this.#last !== null && !this.#last.isOrdered) this.#last = null;
  }

  /**
   * Drops all that are not wanted.
   *
   * @param isWanted Whether a value is still wanted.
   */
  sweep(isWanted: (value: T) => boolean): void {
    for (const { values } of this.#order) {
      for (let left = values.length; left > 0; left--) {
        const value = values.shift() as T;
        if (isWanted(value)) values.push(value);
        else this.#length--;
      }
    }
  }

  /** Removes all values and gives their memory back. */
  clear(): void {
    this.#last = null;
    this.#levels.clear();
    this.#order.clear();
    this.#left.length = 0;
    this.#byAge = null;
    this.#length = 0;
  }
}
