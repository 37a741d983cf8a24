/**
 * Consistent hashing: a ring of points, some for each node, on which a key
 * belongs to the node of the next point.
 *
 * @module
 */

/** More than there may be nodes. A place and the number of a node are one number for sorting. */
const SLOTS = 2 ** 21;
/** Points of a node of weight 1. Shares differ by some 9 % with so many. */
const POINTS = 128;
/** Limits to the points of a node, whatever its weight. */
const POINTS_MIN = 8;
const POINTS_MAX = 4_096;

/** A node and its name, in two hashes: of two names that agree in one of them the ring still has different points. */
interface Entry<T> {
  readonly node: T;
  readonly name: string;
  readonly first: number;
  readonly second: number;
  /** How many points it has. */
  readonly count: number;
  /** Number by which its points name it; -1 before it has any. */
  slot: number;
}

/**
 * A ring on which each key belongs to one of several nodes, and to the same one
 * as long as the nodes are the same, in every process and in whatever order they
 * were added.
 *
 * With `n` nodes of equal weight each has some `1/n` of the keys. A node that
 * joins takes that many from the others, one that leaves hands its own to them,
 * and no other key moves.
 *
 * | Method | Cost, for `p` points, 128 a node of weight 1 |
 * |---|---|
 * | `find` | O(log p), and O(p) once after a change |
 * | `add`, `remove` | O(1) |
 *
 * @example A node that leaves hands its keys on, and only these move
 * ```ts
 * import { HashRing } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * const ring = new HashRing<string>();
 * for (const node of ["a", "b", "c"]) ring.add(node, node);
 * const keys = Array.from({ length: 100 }, (_, n) => n);
 * const before = keys.map((key) => ring.find(key));
 * ring.remove("b");
 * for (const key of keys) {
 *   if (before[key] !== "b") assertEquals(ring.find(key), before[key]);
 * }
 * ```
 *
 * @typeParam T The type of the nodes.
 */
export class HashRing<T> {
  readonly #entries = new Map<T, Entry<T>>();
  /** Places of the points in their order, those of nodes that have left included. */
  #places: Uint32Array = new Uint32Array(0);
  /** Numbers of the nodes of these points. */
  #owners: Uint32Array = new Uint32Array(0);
  /** The nodes by number. */
  #slots: Entry<T>[] = [];
  #changed = false;

  /** The number of nodes. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Adds a node.
   *
   * @param node A node that is not on the ring.
   * @param name Its name, from which its places follow.
   * @param weight Its share in the keys, beside those of others.
   * @throws {Error} If the node is on the ring.
   */
  add(node: T, name: string, weight: number = 1): void {
    if (this.#entries.has(node)) {
      throw new Error("Cannot add a node: it is on the ring already");
    }
    const first = hashText(name, 0x9747b28c);
    const second = hashText(name, 0x3c6ef372);
    const wanted = Math.round(POINTS * weight);
    const count = Math.max(POINTS_MIN, Math.min(wanted, POINTS_MAX));
    this.#entries.set(node, { node, name, first, second, count, slot: -1 });
    this.#changed = true;
  }

  /**
   * Takes a node away.
   *
   * @param node Any node.
   * @returns Whether it was on the ring.
   */
  remove(node: T): boolean {
    const removed = this.#entries.delete(node);
    if (removed) this.#changed = true;
    return removed;
  }

  /**
   * Returns the node to which a key belongs: of those that `accepts` takes, the
   * next one on the ring.
   *
   * @param key The key. A number and its decimal text are the same key.
   * @param accepts Whether a node may have the key; all may, if it is left out.
   * `chance` is a number from 0 to 1 that is always the same for a key and a
   * node, for nodes that are to have a part of their keys only.
   * @returns The node; `undefined` if there is none.
   */
  find(
    key: string | number,
    accepts?: (node: T, chance: number) => boolean,
  ): T | undefined {
    if (this.#changed) this.#merge();
    const { length } = this.#places;
    const hash = hashText(String(key), 0x5bd1e995);
    const start = firstFrom(this.#places, hash);
    for (let step = 0; step < length; step++) {
      const entry = this.#slots[this.#owners[(start + step) % length]!]!;
      if (accepts === undefined) return entry.node;
      const chance = mix(hash ^ entry.second) / 2 ** 32;
      if (accepts(entry.node, chance)) return entry.node;
    }
    return undefined;
  }

  /** Puts the points of new nodes among the others, and drops those of nodes that have left. */
  #merge(): void {
    const old = this.#slots;
    const fresh: Entry<T>[] = [];
    const slots = this.#slots = [...this.#entries.values()];
    for (const [slot, entry] of slots.entries()) {
      if (entry.slot < 0) fresh.push(entry);
      entry.slot = slot;
    }
    const kept = this.#sortKeys(old);
    const added = sortedPoints(fresh);
    const length = kept.length + added.length;
    const places = this.#places = new Uint32Array(length);
    const owners = this.#owners = new Uint32Array(length);
    let next = 0;
    let from = 0;
    for (let index = 0; index < length; index++) {
      const isNew = from === kept.length ||
        next < added.length && added[next]! < kept[from]!;
      const point = isNew ? added[next++]! : kept[from++]!;
      places[index] = Math.floor(point / SLOTS);
      owners[index] = point % SLOTS;
      this.#settleTie(index);
    }
    this.#changed = false;
  }

  /** The points of nodes that have not left, in their order, each as one number. */
  #sortKeys(old: readonly Entry<T>[]): Float64Array {
    const places = this.#places;
    const owners = this.#owners;
    const keys = new Float64Array(places.length);
    let count = 0;
    for (let index = 0; index < places.length; index++) {
      const entry = old[owners[index]!]!;
      if (this.#entries.get(entry.node) !== entry) continue;
      keys[count++] = places[index]! * SLOTS + entry.slot;
    }
    return keys.subarray(0, count);
  }

  /** Has the names decide about the order of points at the same place, not the numbers of the nodes. */
  #settleTie(index: number): void {
    const places = this.#places;
    const owners = this.#owners;
    const nameAt = (at: number) => this.#slots[owners[at]!]!.name;
    for (let at = index; at > 0; at--) {
      if (places[at] !== places[at - 1] || nameAt(at - 1) <= nameAt(at)) return;
      const owner = owners[at]!;
      owners[at] = owners[at - 1]!;
      owners[at - 1] = owner;
    }
  }
}

/** All points of some nodes, in their order, each as one number. */
function sortedPoints(entries: readonly Entry<unknown>[]): Float64Array {
  const count = entries.reduce((sum, entry) => sum + entry.count, 0);
  const points = new Float64Array(count);
  let at = 0;
  for (const { first, second, count, slot } of entries) {
    for (let index = 0; index < count; index++) {
      const place = mix(first ^ mix(second + Math.imul(index, 0x9e3779b9)));
      points[at++] = place * SLOTS + slot;
    }
  }
  return points.sort();
}

/** Index of the first place that is not below `hash`; the number of places if there is none. */
function firstFrom(places: Uint32Array, hash: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle]! < hash) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Scrambles 32 bits: the last step of MurmurHash3 by Austin Appleby, which is in the public domain. */
function mix(bits: number): number {
  bits ^= bits >>> 16;
  bits = Math.imul(bits, 0x85ebca6b);
  bits ^= bits >>> 13;
  bits = Math.imul(bits, 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** Hash of a text, one for each seed. */
function hashText(text: string, seed: number): number {
  let bits = seed;
  for (let index = 0; index < text.length; index++) {
    bits = Math.imul(bits ^ text.charCodeAt(index), 0x5bd1e995);
    bits ^= bits >>> 15;
  }
  return mix(bits ^ text.length);
}
