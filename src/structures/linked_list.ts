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
