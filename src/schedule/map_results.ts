/**
 * Results of a map: all of them in an array, or one after the other.
 *
 * @module
 */
import { RingBuffer } from "../structures/ring_buffer.ts";

/** Where a map puts its results. */
export interface MapResults<R> {
  /** Whether somebody takes results while the map runs. */
  readonly streams: boolean;
  /** Whether the map may begin with another item. */
  hasRoom(): boolean;
  put(index: number, result: R): void;
}

/** All results of a map, for a task that waits for its end. */
export class ResultList<R> implements MapResults<R> {
  readonly streams = false;
  readonly list: R[] = [];
  readonly #ordered: boolean;

  constructor(ordered: boolean) {
    this.#ordered = ordered;
  }

  hasRoom(): boolean {
    return true;
  }

  put(index: number, result: R): void {
    if (this.#ordered) this.list[index] = result;
    else this.list.push(result);
  }
}

/** Results of a map that nobody has taken yet, for a task that takes one after the other. */
export class ResultStream<R> implements MapResults<R> {
  readonly streams = true;
  /** Returns how many results may wait; it changes with the size of the limit. */
  readonly #max: () => number;
  /** Results that can be taken, in this order. */
  readonly #ready = new RingBuffer<{ readonly value: R }>();
  /** Results by index that have to wait for earlier ones. */
  readonly #early = new Map<number, R>();
  readonly #ordered: boolean;
  #next = 0;

  constructor(ordered: boolean, max: () => number) {
    this.#ordered = ordered;
    this.#max = max;
  }

  hasRoom(): boolean {
    return this.#ready.length + this.#early.size < this.#max();
  }

  put(index: number, result: R): void {
    if (!this.#ordered || index === this.#next) this.#offer(result);
    else this.#early.set(index, result);
    while (this.#early.size > 0 && this.#early.has(this.#next)) {
      const next = this.#early.get(this.#next)!;
      this.#early.delete(this.#next);
      this.#offer(next);
    }
  }

  /** Takes the next result, if it is there. */
  take(): { readonly value: R } | undefined {
    return this.#ready.shift();
  }

  #offer(value: R): void {
    this.#next++;
    this.#ready.push({ value });
  }
}
