/**
 * Consistent hashing: a ring of points, some for each node, on which a key
 * belongs to the node of the next point.
 *
 * @module
 */

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
}

/** A place on the ring. */
interface Point<T> {
  readonly place: number;
  readonly entry: Entry<T>;
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
  /** The points in the order of their places, those of nodes that have left included. */
  #points: Point<T>[] = [];
  /** Points that are not among them yet. */
  #fresh: Point<T>[] = [];
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
    const entry = { node, name, first, second };
    this.#entries.set(node, entry);
    const wanted = Math.round(POINTS * weight);
    const count = Math.max(POINTS_MIN, Math.min(wanted, POINTS_MAX));
    for (let index = 0; index < count; index++) {
      const place = mix(first ^ mix(second + Math.imul(index, 0x9e3779b9)));
      this.#fresh.push({ place, entry });
    }
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
    const points = this.#points;
    const hash = hashText(String(key), 0x5bd1e995);
    const start = firstFrom(points, hash);
    for (let step = 0; step < points.length; step++) {
      const { entry } = points[(start + step) % points.length]!;
      if (accepts === undefined) return entry.node;
      const chance = mix(hash ^ entry.second) / 2 ** 32;
      if (accepts(entry.node, chance)) return entry.node;
    }
    return undefined;
  }

  /** Puts the new points among the others, and drops those of nodes that have left. */
  #merge(): void {
    const entries = this.#entries;
    const isThere = ({ entry }: Point<T>) => entries.get(entry.node) === entry;
    const old = this.#points.filter(isThere);
    const fresh = this.#fresh.filter(isThere).sort(compare);
    const merged: Point<T>[] = [];
    let next = 0;
    for (const point of old) {
      while (next < fresh.length && compare(fresh[next]!, point) < 0) {
        merged.push(fresh[next++]!);
      }
      merged.push(point);
    }
    while (next < fresh.length) merged.push(fresh[next++]!);
    this.#points = merged;
    this.#fresh = [];
    this.#changed = false;
  }
}

/** Compares points by place; names decide between two at the same. */
function compare(a: Point<unknown>, b: Point<unknown>): number {
  if (a.place !== b.place) return a.place - b.place;
  return a.entry.name < b.entry.name ? -1 : 1;
}

/** Index of the first point whose place is not below `hash`; the number of points if there is none. */
function firstFrom(points: readonly Point<unknown>[], hash: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle]!.place < hash) low = middle + 1;
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
