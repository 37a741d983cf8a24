/**
 * Intrusive doubly linked list: the links are fields of the nodes.
 *
 *     list.first ──▶ node ──nextNode──▶ node ──nextNode──▶ node ◀── list.last
 *                         ◀─previousNode──    ◀─previousNode──
 *
 * Every list of `src/` is this one. Adding and removing allocate nothing, a node leaves from wherever it is, and
 * `node.list` tells whether it is in a list and in which.
 *
 * @module
 */

/**
 * The fields that a {@linkcode LinkedList} keeps in its nodes. All three are `undefined` in a new node and after it has
 * left its list, and are written by the list alone.
 *
 * A node that is in several lists at once needs a node for each of them, or one class that stands for it.
 *
 * @typeParam Node The class of the nodes.
 */
export interface ListNode<Node extends ListNode<Node>> {
  /** The list that holds the node. */
  list: LinkedList<Node> | undefined;
  /** The node behind this one. */
  nextNode: Node | undefined;
  /** The node before this one. */
  previousNode: Node | undefined;
}

/** An iteration under way: the node that it yields next. */
interface Cursor<Node> {
  next: Node | undefined;
}

/**
 * A doubly linked list whose links are in its nodes: nodes join at either end, and each can leave from wherever it is.
 *
 * | Method | Cost |
 * |---|---|
 * | `append`, `prepend`, `remove`, `shift` | O(1), plus the number of iterations under way; nothing is allocated |
 * | `first`, `last`, `length` | O(1) |
 * | `clear`, iteration, `toArray` | O(n) |
 *
 * An iteration allocates an iterator. Code that runs often and does not change the list meanwhile walks through
 * `first` and `nextNode` instead.
 *
 * @example A node leaves from the middle
 * ```ts
 * import { LinkedList, type ListNode } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * class Job implements ListNode<Job> {
 *   list: LinkedList<Job> | undefined = undefined;
 *   nextNode: Job | undefined = undefined;
 *   previousNode: Job | undefined = undefined;
 *   readonly name: string;
 *   constructor(name: string) {
 *     this.name = name;
 *   }
 * }
 *
 * const list = new LinkedList<Job>();
 * const jobs = ["a", "b", "c"].map((name) => new Job(name));
 * for (const job of jobs) list.append(job);
 * assertEquals(list.remove(jobs[1]!), true);
 * assertEquals(list.toArray().map(({ name }) => name), ["a", "c"]);
 * assertEquals(list.remove(jobs[1]!), false); // it has left already
 * ```
 *
 * @typeParam Node The class of the nodes. The list is fast as long as they have one shape.
 */
export class LinkedList<Node extends ListNode<Node>> implements Iterable<Node> {
  #first: Node | undefined = undefined;
  #last: Node | undefined = undefined;
  #length = 0;
  /** Made by the first iteration. `remove` moves the cursors that are at the leaving node. */
  #cursors: Set<Cursor<Node>> | undefined = undefined;

  /** The number of nodes. */
  get length(): number {
    return this.#length;
  }

  /** The node at the beginning, or `undefined` if the list is empty. */
  get first(): Node | undefined {
    return this.#first;
  }

  /** The node at the end, or `undefined` if the list is empty. */
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
    if (this.#cursors === undefined) return;
    for (const cursor of this.#cursors) cursor.next ??= node;
  }

  /**
   * Adds a node at the beginning. Iterations under way do not yield it.
   *
   * @param node A node that is in no list.
   * @throws {Error} If it is in a list, this one included.
   */
  prepend(node: Node): void {
    if (node.list !== undefined) {
      throw new Error("Cannot prepend a node: it is in a list already");
    }
    const first = this.#first;
    node.list = this;
    node.nextNode = first;
    if (first === undefined) this.#last = node;
    else first.previousNode = node;
    this.#first = node;
    this.#length++;
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
    if (this.#cursors !== undefined) this.#passOver(node);
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

  /** Copies the nodes into an array, first to last. */
  toArray(): Node[] {
    const nodes: Node[] = [];
    for (let node = this.#first; node !== undefined; node = node.nextNode) {
      nodes.push(node);
    }
    return nodes;
  }

  /**
   * Yields the nodes, first to last.
   *
   * The list may be changed meanwhile, by the receiver of a node or by others. A node that leaves before its turn is
   * not yielded. A node that is appended is yielded too, as long as the iteration has not ended; so a loop that appends
   * in every round does not end. A node that leaves and is appended again counts as a new one.
   */
  *[Symbol.iterator](): Generator<Node, void, undefined> {
    const cursors = this.#cursors ??= new Set();
    const cursor: Cursor<Node> = { next: this.#first };
    cursors.add(cursor);
    try {
      while (cursor.next !== undefined) {
        const node: Node = cursor.next;
        cursor.next = node.nextNode;
        yield node;
      }
    } finally {
      cursors.delete(cursor);
      if (cursors.size === 0) this.#cursors = undefined;
    }
  }

  /** Moves the iterations on that would yield a leaving node next. */
  #passOver(node: Node): void {
    for (const cursor of this.#cursors!) {
      if (cursor.next === node) cursor.next = node.nextNode;
    }
  }
}
