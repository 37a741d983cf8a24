/**
 * Storage of a queue. It alone decides which item comes out next.
 *
 * @module
 */
import { inspect } from "../loop/checks.ts";
import { Heap } from "../structures/heap.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";

/** The items of a queue. */
export interface ItemStore<T> {
  readonly length: number;
  add(item: T): void;
  /** Removes and returns the next item, of which there must be one. */
  take(): T | undefined;
  clear(): void;
}

/** First in, first out. */
export class FifoStore<T> extends RingBuffer<T> implements ItemStore<T> {
  add(item: T): void {
    this.push(item);
  }
  take(): T | undefined {
    return this.shift();
  }
}

/** Last in, first out. */
export class LifoStore<T> extends RingBuffer<T> implements ItemStore<T> {
  add(item: T): void {
    this.push(item);
  }
  take(): T | undefined {
    return this.pop();
  }
}

/** The least item first; equal items in the order in which they went in. */
export class PriorityStore<T> implements ItemStore<T> {
  readonly #heap: Heap<{ item: T; sequence: number }>;
  #sequence = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#heap = new Heap((a, b) => {
      const order: unknown = compare(a.item, b.item);
      // Any other result would leave the items unsorted without a word.
      if (typeof order !== "number" || Number.isNaN(order)) {
        throw notAnOrder(order);
      }
      if (order !== 0) return order < 0;
      return a.sequence < b.sequence;
    });
  }
  get length(): number {
    return this.#heap.length;
  }
  add(item: T): void {
    this.#heap.push({ item, sequence: this.#sequence++ });
  }
  take(): T | undefined {
    return this.#heap.pop()?.item;
  }
  clear(): void {
    this.#heap.clear();
  }
}

function notAnOrder(order: unknown): TypeError {
  return new TypeError(
    `Cannot compare the items of a priority queue as compare must return a number: received ${
      inspect(order)
    }`,
  );
}

/**
 * Compares two items by `<`, if both have the same natural order.
 *
 * @returns Below 0 if `a` is less, above 0 if `b` is, else 0.
 * @throws {TypeError} If one of them has none, or another one.
 */
export function compareNaturally<T>(a: T, b: T): number {
  if (typeof a === "number" && typeof b === "number") {
    const order = a - b;
    if (order < 0 || order > 0) return order;
    if (a === b) return 0; // also infinite ones
  }
  const left = naturalValue(a);
  const right = naturalValue(b);
  if (kindOf(left) !== kindOf(right)) {
    throw new TypeError(
      `Cannot compare the items of a priority queue as without compare they must be of one kind: received ${
        inspect(a)
      } and ${inspect(b)}`,
    );
  }
  return left < right ? -1 : right < left ? 1 : 0;
}

type Ordered = number | bigint | string | boolean;

/** Returns the primitive that `<` would compare. */
function naturalValue(item: unknown): Ordered {
  const value = typeof item === "object" && item !== null
    ? primitiveOf(item)
    : item;
  switch (typeof value) {
    case "string":
    case "bigint":
    case "boolean":
      return value;
    case "number":
      if (!Number.isNaN(value)) return value;
  }
  throw new TypeError(
    `Cannot compare the items of a priority queue as without compare they must be numbers, strings or objects with such a value: received ${
      inspect(item)
    }`,
  );
}

/** Converts an object as `<` does, but never to a mere description such as "[object Object]". */
function primitiveOf(item: object): unknown {
  const convert: unknown = Reflect.get(item, Symbol.toPrimitive);
  return typeof convert === "function"
    ? Reflect.apply(convert, item, ["number"])
    : item.valueOf?.();
}

/** Numbers of both kinds have one order. */
function kindOf(value: Ordered): string {
  return typeof value === "bigint" ? "number" : typeof value;
}
