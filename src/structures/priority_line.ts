/**
 * A queue with priorities: a bucket for each priority that is in use, first in,
 * first out, and a heap of buckets.
 *
 * @module
 */
import { Heap } from "./heap.ts";
import { RingBuffer } from "./ring_buffer.ts";

/** How many values of a bucket are read together. */
const VALUES_AHEAD = 16;
/** From so many buckets on, one that has run empty is not kept for later. */
const BUCKETS_KEPT = 16;
/** A bucket with fewer unwanted values is not cleared of them. */
const SWEEP_MIN = 1_024;
/** The heap by age may hold so many buckets that are gone, and as many as there are others. */
const GONE_MAX = 64;

/** Values of one priority, in the order in which they came. */
class Bucket<T> {
  readonly priority: number;
  readonly values = new RingBuffer<T>();
  /** How many of them are known not to be wanted any more. */
  unwanted = 0;
  /** How many leave until the next ones are looked at. */
  untilLook = 0;
  /** Whether it is in the heap by priority. */
  isQueued = false;
  /** Age of its first value when it was put into the heap by age, or less; Infinity if it is not there. */
  age = Infinity;

  constructor(priority: number) {
    this.priority = priority;
  }
}

/**
 * A queue with priorities, the highest first.
 *
 * As long as all values have the same priority it costs what a ring costs; else
 * adding and taking out take time in proportion to the logarithm of how many
 * different priorities there are. A value need not be taken out when it is not
 * wanted any more: `isWanted`, the same function in every call, is asked before
 * one is returned.
 *
 * @typeParam T The type of the values; not `undefined`.
 */
export class PriorityLine<T> {
  /** The bucket that was added to last. */
  #last: Bucket<T> | null = null;
  readonly #buckets: Map<number, Bucket<T>> = new Map();
  /** Buckets that may have values. The first may be empty. */
  readonly #order: Heap<Bucket<T>> = new Heap((a, b) =>
    a.priority > b.priority
  );
  /** Returns a number that is the lower the older a value is; null if age does not count. */
  readonly #ageOf: ((value: T) => number) | null;
  /** The same buckets by the age of their first value, which may have grown since. */
  readonly #ages: Heap<Bucket<T>> = new Heap((a, b) => a.age < b.age);
  /** How many buckets have become empty by {@linkcode forgo} since empty ones were dropped. */
  #hollow = 0;
  #length = 0;

  /**
   * Makes an empty queue.
   *
   * @param ageOf Returns a number that grows from value to value, for
   * {@linkcode shiftOldest}.
   */
  constructor(ageOf: ((value: T) => number) | null = null) {
    this.#ageOf = ageOf;
  }

  /** How many values are in the queue, wanted or not. */
  get length(): number {
    return this.#length;
  }

  /** Adds a value behind all that have its priority or a higher one. */
  push(value: T, priority: number): void {
    const last = this.#last;
    const bucket = last !== null && last.priority === priority
      ? last
      : this.#bucketOf(priority);
    if (!bucket.isQueued) this.#enter(bucket);
    if (this.#ageOf !== null && bucket.age === Infinity) {
      bucket.age = this.#ageOf(value);
      this.#ages.push(bucket);
    }
    bucket.values.push(value);
    this.#length++;
  }

  #bucketOf(priority: number): Bucket<T> {
    let bucket = this.#buckets.get(priority);
    if (bucket === undefined) {
      bucket = new Bucket(priority);
      this.#buckets.set(priority, bucket);
    }
    return this.#last = bucket;
  }

  #enter(bucket: Bucket<T>): void {
    bucket.isQueued = true;
    this.#order.push(bucket);
  }

  /**
   * Removes and returns the first value that is wanted, or returns `undefined`
   * if there is none. Items before it are removed.
   */
  shift(isWanted: (value: T) => boolean): T | undefined {
    for (;;) {
      const bucket = this.#order.peek();
      if (bucket === undefined) return undefined;
      const value = this.#shiftFrom(bucket, isWanted);
      if (value !== undefined) return value;
      // The only one stays, so that a queue with one priority costs no heap.
      if (this.#order.length === 1) return undefined;
      this.#order.pop();
      bucket.isQueued = false;
      if (this.#buckets.size > BUCKETS_KEPT) {
        this.#buckets.delete(bucket.priority);
        if (this.#last === bucket) this.#last = null;
      }
    }
  }

  /** Removes and returns the oldest value that is wanted, whatever its priority. */
  shiftOldest(isWanted: (value: T) => boolean): T | undefined {
    const ages = this.#ages;
    for (;;) {
      const bucket = ages.pop();
      if (bucket === undefined) return undefined;
      const first = this.#peekFrom(bucket, isWanted);
      if (first === undefined) {
        bucket.age = Infinity;
        continue;
      }
      const age = this.#ageOf!(first);
      if (age > bucket.age) {
        bucket.age = age;
        ages.push(bucket);
        continue;
      }
      const value = this.#shiftFrom(bucket, isWanted);
      const next = this.#peekFrom(bucket, isWanted);
      bucket.age = next === undefined ? Infinity : this.#ageOf!(next);
      if (next !== undefined) ages.push(bucket);
      // Empty buckets are found only when they are the oldest.
      if (ages.length > 2 * this.#order.length + GONE_MAX) this.#dropEmpty();
      return value;
    }
  }

  /** Lists the values that are wanted of the highest priority that has some, in order. */
  front(isWanted: (value: T) => boolean): T[] {
    let best: Bucket<T> | undefined;
    for (const bucket of this.#buckets.values()) {
      if (best !== undefined && best.priority >= bucket.priority) continue;
      if (this.#peekFrom(bucket, isWanted) !== undefined) best = bucket;
    }
    return best === undefined ? [] : [...best.values].filter(isWanted);
  }

  /** Returns the oldest value that is wanted, whatever its priority. */
  oldest(isWanted: (value: T) => boolean): T | undefined {
    let oldest: T | undefined;
    for (const bucket of this.#buckets.values()) {
      const first = this.#peekFrom(bucket, isWanted);
      if (first === undefined) continue;
      if (oldest === undefined || this.#ageOf!(first) < this.#ageOf!(oldest)) {
        oldest = first;
      }
    }
    return oldest;
  }

  /** Removes a value of this priority, wherever it stands. Takes time in proportion to how many there are. */
  remove(value: T, priority: number): void {
    const bucket = this.#buckets.get(priority);
    if (bucket === undefined) return;
    const { values } = bucket;
    for (let left = values.length; left > 0; left--) {
      const next = values.shift() as T;
      if (next === value) this.#length--;
      else values.push(next);
    }
  }

  /** Lets go of all buckets that are empty, wherever they are in the heaps. */
  #dropEmpty(): void {
    this.#hollow = 0;
    this.#last = null;
    this.#order.clear();
    this.#ages.clear();
    for (const [priority, bucket] of this.#buckets) {
      if (bucket.values.length === 0) this.#buckets.delete(priority);
      else {
        this.#order.push(bucket);
        if (this.#ageOf !== null) this.#ages.push(bucket);
      }
    }
  }

  #shiftFrom(
    bucket: Bucket<T>,
    isWanted: (value: T) => boolean,
  ): T | undefined {
    const { values } = bucket;
    if (values.length === 0) return undefined;
    if (--bucket.untilLook <= 0 && values.length >= VALUES_AHEAD) {
      this.#lookAhead(bucket, isWanted);
    }
    while (values.length > 0) {
      const value = values.shift() as T;
      this.#length--;
      if (isWanted(value)) return value;
      bucket.unwanted--;
    }
    return undefined;
  }

  #peekFrom(bucket: Bucket<T>, isWanted: (value: T) => boolean): T | undefined {
    const { values } = bucket;
    while (values.length > 0) {
      const value = values.peek() as T;
      if (isWanted(value)) return value;
      values.shift();
      this.#length--;
      bucket.unwanted--;
    }
    return undefined;
  }

  /**
   * Reads the next values all at once, and drops them if none is wanted. In
   * memory those of one bucket lie far apart, among those of all others: where
   * there are a hundred thousand, half of what one costs is waiting for it. The
   * processor waits for several together if nothing is done in between.
   */
  #lookAhead(bucket: Bucket<T>, isWanted: (value: T) => boolean): void {
    const { values } = bucket;
    let wanted = 0;
    for (let index = 0; index < VALUES_AHEAD; index++) {
      if (isWanted(values.at(index))) wanted++;
    }
    bucket.untilLook = VALUES_AHEAD;
    if (wanted > 0) return;
    for (let left = VALUES_AHEAD; left > 0; left--) values.shift();
    this.#length -= VALUES_AHEAD;
    bucket.unwanted -= VALUES_AHEAD;
  }

  /**
   * Takes note that a value of this priority is not wanted any more. Once such
   * are the greater part of their bucket, and many, they are removed.
   */
  forgo(priority: number, isWanted: (value: T) => boolean): void {
    const bucket = this.#buckets.get(priority);
    if (bucket === undefined) return;
    const { values } = bucket;
    if (++bucket.unwanted === values.length) {
      this.#length -= values.length;
      values.clear();
      bucket.unwanted = 0;
      if (2 * ++this.#hollow > this.#buckets.size + BUCKETS_KEPT) {
        this.#dropEmpty();
      }
    } else if (
      bucket.unwanted >= SWEEP_MIN && 2 * bucket.unwanted > values.length
    ) this.#sweepBucket(bucket, isWanted);
  }

  /** Removes all that are not wanted any more; takes time in proportion to the length. */
  sweep(isWanted: (value: T) => boolean): void {
    for (const bucket of this.#buckets.values()) {
      this.#sweepBucket(bucket, isWanted);
    }
  }

  #sweepBucket(bucket: Bucket<T>, isWanted: (value: T) => boolean): void {
    const { values } = bucket;
    for (let left = values.length; left > 0; left--) {
      const value = values.shift() as T;
      if (isWanted(value)) values.push(value);
      else this.#length--;
    }
    bucket.unwanted = 0;
  }

  /** Removes all values. */
  clear(): void {
    this.#last = null;
    this.#buckets.clear();
    this.#order.clear();
    this.#ages.clear();
    this.#hollow = 0;
    this.#length = 0;
  }
}
