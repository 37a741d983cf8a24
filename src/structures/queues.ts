/**
 * What things wait in: a queue in a circle, a list that each may leave from where
 * it stands, and a heap.
 *
 * @module
 */

/*
 * A queue in a circle: the head moves forward on `shift`, the tail on `push`, and both wrap around.
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
 */

const CAPACITY_MIN = 16;

/**
 * A ring up to this capacity is kept when it runs empty. Guessed: lower costs a loop with steady large turns a new ring
 * in each, higher keeps more memory (8 bytes a slot) after a burst.
 */
const CAPACITY_KEEP = 8192;

/**
 * Holds values in the order in which they came; the oldest leaves first.
 *
 * | Method | Cost |
 * |---|---|
 * | `push`, `shift`, `pop` | O(1), amortized |
 * | `peek`, `length` | O(1) |
 * | `clear` | O(1) |
 * | iteration | O(n) |
 *
 * The memory of a burst is given back when the ring runs empty. A value that has left is no longer referenced.
 *
 * @typeParam T The type of the values. With `undefined` among them, ask `length` whether the ring is empty.
 */
export class RingBuffer<T> implements Iterable<T> {
  #slots: (T | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);
  /** Capacity - 1. */
  #mask = CAPACITY_MIN - 1;
  #head = 0;
  #length = 0;

  /** How many values are in the ring. */
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

  /** Returns the value that leaves after so many others; there must be one. */
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

/**
 * What a {@linkcode LinkedList} needs of its nodes. All three fields are `undefined` in a new node and after it has
 * left its list, and are written by the list alone.
 *
 * @typeParam Node The class of the nodes.
 */
export interface ListNode<Node extends ListNode<Node>> {
  /** The list that holds the node. */
  list: LinkedList<Node> | undefined;
  /** The node that was appended after this one. */
  nextNode: Node | undefined;
  /** The node that was appended before this one. */
  previousNode: Node | undefined;
}

/**
 * Holds nodes in the order in which they were appended, and lets each leave from wherever it stands.
 *
 * The links are in the nodes: a node is in at most one list, and nothing is allocated to hold it. All methods but
 * `clear` and iteration take constant time.
 *
 * @typeParam Node The class of the nodes.
 */
export class LinkedList<Node extends ListNode<Node>> implements Iterable<Node> {
  #first: Node | undefined = undefined;
  #last: Node | undefined = undefined;
  #length = 0;
  /** The nodes that iterations under way will yield next: `remove` moves those that stand on the leaving node. */
  readonly #cursors = new Set<{ next: Node | undefined }>();

  /** How many nodes are in the list. */
  get length(): number {
    return this.#length;
  }

  /** The node that was appended first of those in the list, or `undefined` if the list is empty. */
  get first(): Node | undefined {
    return this.#first;
  }

  /** The node that was appended last of those in the list, or `undefined` if the list is empty. */
  get last(): Node | undefined {
    return this.#last;
  }

  /**
   * Adds a node at the end.
   *
   * @param node A node that is in no list.
   * @throws {Error} If it is in a list, this one included.
   */
  append(node: Node): void {
    if (node.list !== undefined) {
      throw new Error("Cannot append a node: it is in a list already");
    }
    const last = this.#last;
    node.list = this;
    node.previousNode = last;
    if (last === undefined) this.#first = node;
    else last.nextNode = node;
    this.#last = node;
    this.#length++;
    if (this.#cursors.size === 0) return;
    for (const cursor of this.#cursors) cursor.next ??= node;
  }

  /**
   * Takes a node out.
   *
   * @param node Any node.
   * @returns Whether it was in this list. A node of another list, or of none, is left alone.
   */
  remove(node: Node): boolean {
    if (node.list !== this) return false;
    const { nextNode, previousNode } = node;
    if (this.#cursors.size > 0) {
      for (const cursor of this.#cursors) {
        if (cursor.next === node) cursor.next = nextNode;
      }
    }
    if (previousNode === undefined) this.#first = nextNode;
    else previousNode.nextNode = nextNode;
    if (nextNode === undefined) this.#last = previousNode;
    else nextNode.previousNode = previousNode;
    node.list = undefined;
    node.nextNode = undefined;
    node.previousNode = undefined;
    this.#length--;
    return true;
  }

  /** Removes and returns the first node, or returns `undefined` if the list is empty. */
  shift(): Node | undefined {
    const node = this.#first;
    if (node !== undefined) this.remove(node);
    return node;
  }

  /** Removes all nodes. */
  clear(): void {
    while (this.shift() !== undefined);
  }

  /**
   * Yields the nodes, first to last.
   *
   * The list may be changed meanwhile, by the receiver of a node or by others. A node that leaves before its turn is
   * not yielded. A node that is appended is yielded too, as long as the iteration has not ended; so a loop that appends
   * in every round does not end. A node that leaves and is appended again counts as a new one.
   */
  *[Symbol.iterator](): Generator<Node, void, undefined> {
    const cursor = { next: this.#first };
    this.#cursors.add(cursor);
    try {
      while (cursor.next !== undefined) {
        const node: Node = cursor.next;
        cursor.next = node.nextNode;
        yield node;
      }
    } finally {
      this.#cursors.delete(cursor);
    }
  }
}

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
