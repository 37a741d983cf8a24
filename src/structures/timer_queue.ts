/**
 * The timers of a loop: a wheel of wheels whose slots are opened one at a time.
 *
 *     run    the slot that was opened last, sorted; consumed from its head
 *     heap   what is pushed with a deadline before the end of that slot
 *     -------------------------------------------------- near tick: no timer above is due later, none below earlier
 *     wheel 0   [ | | | |... 256 slots of a quarter of a millisecond ]
 *     wheel 1   [    |    |... 256 slots of 64 ms, each as long as wheel 0    ]      ... six wheels, 2,231 years
 *
 * The earliest timer is the head of the run or the top of the heap. When both are empty the earliest slot is opened: a
 * large slot of a coarse wheel is spread over the finer ones, any other becomes the run. Slots are unordered, so that
 * a timer that is cancelled before its slot is opened, the common fate of a timeout, costs two array accesses; the
 * order is exact all the same, since run and heap compare the deadlines themselves. Opening a slot that lies far ahead
 * sends all timers before it to the heap; when these become many, the near tick moves back and they go to the wheels.
 *
 * Why not a heap alone: Deno 2.9.6, two shared cores, ns a timer, best of three
 * processes, between which the figures swing by 1.5 times and more. The node, of
 * nine fields, is allocated within the time of its push.
 *
 *                         1,000     100,000   1,000,000  due       churn  bytes
 *     binary heap         27 + 24   217 + 246  391 + 282  34 + 197  496   210
 *     4-ary heap, keys    24 + 16   173 + 94   254 + 87   26 + 141  306   192
 *     the same, lazy      30 + 10   145 + 56   239 + 40   28 + 147  342   182
 *     this                57 + 38   151 + 56   314 + 48   23 + 35   132   183
 *
 * First three: push + remove, in that order, with 10 to 100 s to go. Due: push +
 * pop of 20,000 timers of 1 to 20 ms. Churn: remove the oldest of 100,000, push
 * another, peek. Bytes: RSS for each of a million; 166 of them are nodes alone.
 * The 4-ary heap would do for timers that are cancelled, but each pop from a large
 * heap is a walk through cache misses, and so is each peek of a lazy one that is
 * full of dead timers.
 *
 * @module
 */

import { sortTimers } from "./timer_sort.ts";

/** A timer as a {@linkcode TimerQueue} sees it. */
export interface TimerNode {
  /** The deadline in milliseconds: set before the push, left alone while queued. `Infinity` is never due. */
  whenMs: number;
  /** The order among equal deadlines: written by the queue, meaningful only among the nodes it holds. */
  sequence: number;
  /** Where the queue keeps the node: {@linkcode NOT_QUEUED} in a new node, then written by the queue alone. */
  queueBucket: number;
  /** The place in that bucket: 0 in a new node, then written by the queue alone. */
  queueIndex: number;
}

/** The {@linkcode TimerNode.queueBucket} of a node that is in no queue: a new, removed or popped one. */
export const NOT_QUEUED: number = -1;

/** A power of two, so that deadline * TICKS_PER_MS is exact. */
const TICKS_PER_MS = 4;
const LEVELS = 6;
const SLOTS = 256;

/** Later deadlines (2,231 years) share the last slot of the top wheel; the run and the heap order them all the same. */
const TICK_LAST = SLOTS ** LEVELS - 1;

/** Ticks in one slot of each wheel, and the reciprocals: powers of two, so that products are exact. */
const SLOT_TICKS = Float64Array.from(
  { length: LEVELS },
  (_, level) => SLOTS ** level,
);
const SLOTS_PER_TICK = SLOT_TICKS.map((ticks) => 1 / ticks);

/** Buckets below are slots of the wheels, `level * SLOTS + slot`; then come the three other places of a node. */
const NEVER = LEVELS * SLOTS;
const RUN = NEVER + 1;
const HEAP = NEVER + 2;

/** A slot with no more timers than this is opened as it is, not spread over finer wheels. Guessed: lower means more
 * spreading of sparse timers, higher means longer stretches of time whose new timers go to the heap. */
const DIRECT_MAX = 64;

/** Pushes the heap takes before it asks whether the wheels should have them. Guessed: a heap of this size is fast. */
const HEAP_FREE = 1024;
const HEAP_CAPACITY_MIN = 64;

/**
 * Arrays of queues that need none yet: most loops that only run something never
 * have a timer, and making them takes as long as making the rest of the loop. Never written to.
 */
const NO_HEAP_MS = Float64Array.of(Infinity);
const NO_HEAP_SEQUENCE = new Int32Array(1);
const NO_SLOTS = new Int32Array(0);

/** V8 keeps numbers below 2^30 inside the object on every platform; a greater one costs 16 bytes a node. */
const SEQUENCE_END = 2 ** 30;

/**
 * A queue of timers: they leave by deadline, those with equal deadlines in the order in which they were pushed.
 *
 * Deadlines are never rounded and may lie in the past, before deadlines that were handed out already, or years ahead.
 * The queue runs no code but its own. It keeps no reference to a node that was removed or popped.
 *
 * | Method | Cost |
 * |---|---|
 * | `push`, `remove` | O(1) while the deadline is ahead, O(log n) in the n timers about to come due |
 * | `peekMs`, `popDue` | O(log n), amortized: now and then a slot of m timers is opened in O(m log m) |
 * | `size` | O(1) |
 * | `clear`, iteration | O(n) |
 *
 * @typeParam Node The class of the nodes. The queue is fast as long as there is only one.
 */
export class TimerQueue<Node extends TimerNode> {
  #size = 0;
  #sequence: number;

  /** A whole number of ticks: what is due before it is in the run or the heap, everything else in the wheels. */
  #nearTick = 0;
  /** The tick after the window of each wheel. A window is one slot of the next wheel, and holds those of finer ones. */
  readonly #windowEnd: Float64Array = SLOT_TICKS.map((ticks) => ticks * SLOTS);
  readonly #levelSize = new Int32Array(LEVELS);
  /** A bit for each slot: set exactly while its bucket exists. */
  #occupied = NO_SLOTS;
  /**
   * Arrays that are never empty: an emptied one is dropped, as V8 does not reliably shrink it. There is room for them
   * once one is needed: most loops that only run something never have a timer.
   */
  #buckets: (Node[] | undefined)[] = [];

  /** The opened slot in order; what was popped or removed is undefined, and so is everything before the head. */
  #run: (Node | undefined)[] = [];
  #runHead = 0;
  #runSize = 0;
  /** The deadline at the head, Infinity when the run is empty. */
  #runMs = Infinity;

  #heap: Node[] = [];
  /** Deadlines by heap position; [0] is Infinity while the heap is empty. */
  #heapMs = NO_HEAP_MS;
  #heapSequence = NO_HEAP_SEQUENCE;
  #heapLimit = HEAP_FREE;

  /**
   * Makes an empty queue.
   *
   * @param firstSequence The number of the first node, from 0 to 2^30. Only a
   * test of what happens after a billion pushes needs another than 0.
   */
  constructor(firstSequence: number = 0) {
    this.#sequence = firstSequence;
  }

  /** The number of timers that are queued, including those that are never due. */
  get size(): number {
    return this.#size;
  }

  /**
   * Queues a timer for the deadline in `node.whenMs`.
   *
   * The node may have been queued before, once it is popped or removed; it is then ordered as a new one.
   *
   * @param node A node that is in no queue.
   * @throws {RangeError} If the deadline is `NaN` or `-Infinity`.
   * @throws {Error} If the node is queued.
   */
  push(node: Node): void {
    const whenMs = node.whenMs;
    if (!(whenMs > -Infinity)) {
      throw new RangeError(
        `Cannot queue a timer as whenMs must be a number above -Infinity: received ${whenMs}`,
      );
    }
    if (node.queueBucket !== NOT_QUEUED) {
      throw new Error("Cannot queue a timer: it is queued already");
    }
    if (this.#heap.length >= this.#heapLimit) this.#relieveHeap();
    if (this.#sequence === SEQUENCE_END) this.#renumber();
    node.sequence = this.#sequence++;
    this.#size++;
    this.#place(node, whenMs);
  }

  /**
   * Takes a timer out again.
   *
   * @param node A node that is in this queue or in none.
   * @returns Whether it was queued. A node that was never pushed, or has been popped, removed or cleared, is left alone.
   */
  remove(node: Node): boolean {
    const bucketIndex = node.queueBucket;
    if (bucketIndex === NOT_QUEUED) return false;
    const index = node.queueIndex;
    node.queueBucket = NOT_QUEUED;
    this.#size--;
    if (bucketIndex <= NEVER) this.#removeFromBucket(bucketIndex, index);
    else if (bucketIndex === HEAP) this.#removeFromHeap(index);
    else this.#removeFromRun(index);
    return true;
  }

  /** Returns the earliest deadline, exactly, or `Infinity` if there is none or none will ever come. */
  peekMs(): number {
    const runMs = this.#runMs;
    const heapMs = this.#heapMs[0]!;
    const whenMs = runMs < heapMs ? runMs : heapMs;
    return whenMs === Infinity && this.#openEarliest() ? this.#runMs : whenMs;
  }

  /**
   * Removes and returns the first timer whose deadline has come.
   *
   * @param nowMs The time. A timer is due when its deadline is not greater; `Infinity` makes all due that ever will be.
   * @returns The node, or `undefined` if none is due.
   */
  popDue(nowMs: number): Node | undefined {
    const whenMs = this.peekMs();
    if (!(whenMs <= nowMs) || whenMs === Infinity) return undefined;
    const next = this.#runMs === whenMs ? this.#run[this.#runHead]! : undefined;
    if (
      next !== undefined &&
      (this.#heapMs[0]! > whenMs || next.sequence < this.#heapSequence[0]!)
    ) {
      next.queueBucket = NOT_QUEUED;
      this.#size--;
      this.#removeFromRun(this.#runHead);
      return next;
    }
    const top = this.#heap[0]!;
    this.remove(top);
    return top;
  }

  /** Removes all timers. */
  clear(): void {
    if (this.#size === 0) return;
    for (const node of this) node.queueBucket = NOT_QUEUED;
    this.#size = 0;
    this.#levelSize.fill(0);
    this.#occupied.fill(0);
    this.#buckets.fill(undefined);
    this.#resetNear();
  }

  /** Yields the queued nodes in no particular order. The queue must not be changed meanwhile. */
  *[Symbol.iterator](): Generator<Node, void, undefined> {
    for (const node of this.#run) {
      if (node !== undefined) yield node;
    }
    yield* this.#heap;
    for (const bucket of this.#buckets) {
      if (bucket !== undefined) yield* bucket;
    }
  }

  /** Puts the node where its deadline belongs: the heap, the slot of the finest wheel that reaches so far, or NEVER. */
  #place(node: Node, whenMs: number): void {
    let bucketIndex = NEVER;
    if (whenMs !== Infinity) {
      let tick = whenMs * TICKS_PER_MS;
      if (tick > TICK_LAST) tick = TICK_LAST;
      if (tick < this.#nearTick) {
        this.#pushToHeap(node, whenMs, node.sequence);
        return;
      }
      let level = 0;
      while (tick >= this.#windowEnd[level]!) level++;
      bucketIndex = level * SLOTS +
        ((tick * SLOTS_PER_TICK[level]!) & (SLOTS - 1));
      this.#levelSize[level]!++;
    }
    node.queueBucket = bucketIndex;
    if (this.#buckets.length === 0) {
      this.#buckets = new Array(NEVER + 1).fill(undefined);
      this.#occupied = new Int32Array(LEVELS * SLOTS / 32);
    }
    const bucket = this.#buckets[bucketIndex];
    if (bucket === undefined) {
      node.queueIndex = 0;
      this.#buckets[bucketIndex] = [node];
      if (bucketIndex !== NEVER) {
        this.#occupied[bucketIndex >> 5]! |= 1 << bucketIndex;
      }
    } else {
      node.queueIndex = bucket.length;
      bucket.push(node);
    }
  }

  /** Fills the gap with the last node: a slot has no order. */
  #removeFromBucket(bucketIndex: number, index: number): void {
    const bucket = this.#buckets[bucketIndex]!;
    const last = bucket.pop()!;
    if (index < bucket.length) {
      bucket[index] = last;
      last.queueIndex = index;
    }
    if (bucketIndex !== NEVER) this.#levelSize[bucketIndex >> 8]!--;
    if (bucket.length === 0) {
      this.#buckets[bucketIndex] = undefined;
      if (bucketIndex !== NEVER) {
        this.#occupied[bucketIndex >> 5]! &= ~(1 << bucketIndex);
      }
    }
  }

  /** Makes the earliest slot the run, given that run and heap are empty. Returns false if all slots are empty as well. */
  #openEarliest(): boolean {
    // After a burst.
    if (this.#heapMs.length > 4 * HEAP_FREE) this.#resetNear();
    for (let level = 0; level < LEVELS;) {
      if (this.#levelSize[level] === 0) {
        level++;
        continue;
      }
      const bucketIndex = this.#firstOccupied(level);
      const bucket = this.#buckets[bucketIndex]!;
      this.#buckets[bucketIndex] = undefined;
      this.#occupied[bucketIndex >> 5]! &= ~(1 << bucketIndex);
      this.#levelSize[level]! -= bucket.length;
      const ticks = SLOT_TICKS[level]!;
      const startTick = this.#windowEnd[level]! -
        (SLOTS - bucketIndex % SLOTS) * ticks;
      const windowEnd = this.#windowEnd;
      if (level === 0 || bucket.length <= DIRECT_MAX) {
        this.#nearTick = startTick + ticks;
        for (let finer = 0; finer < level; finer++) {
          windowEnd[finer] = this.#nearTick;
        }
        this.#startRun(bucket);
        return true;
      }
      // Spread it over the next finer wheel; look there again.
      this.#nearTick = startTick;
      level--;
      for (let finer = 0; finer < level; finer++) windowEnd[finer] = startTick;
      windowEnd[level] = startTick + ticks;
      for (let index = 0; index < bucket.length; index++) {
        this.#place(bucket[index]!, bucket[index]!.whenMs);
      }
    }
    return false;
  }

  #firstOccupied(level: number): number {
    let word = level * (SLOTS / 32);
    while (this.#occupied[word] === 0) word++;
    const bits = this.#occupied[word]!;
    return word * 32 + 31 - Math.clz32(bits & -bits);
  }

  #startRun(bucket: Node[]): void {
    const run = sortTimers(bucket);
    for (let index = 0; index < run.length; index++) {
      const node = run[index]!;
      node.queueBucket = RUN;
      node.queueIndex = index;
    }
    this.#run = run;
    this.#runHead = 0;
    this.#runSize = run.length;
    this.#runMs = run[0]!.whenMs;
    this.#heapLimit = HEAP_FREE;
  }

  #removeFromRun(index: number): void {
    const run = this.#run;
    run[index] = undefined;
    if (--this.#runSize === 0) {
      this.#run = [];
      this.#runMs = Infinity;
    } else if (index === this.#runHead) {
      while (run[index] === undefined) index++;
      this.#runHead = index;
      this.#runMs = run[index]!.whenMs;
    }
  }

  #pushToHeap(node: Node, whenMs: number, sequence: number): void {
    const index = this.#heap.length;
    if (this.#heapMs === NO_HEAP_MS) {
      this.#heapMs = new Float64Array(HEAP_CAPACITY_MIN).fill(Infinity);
      this.#heapSequence = new Int32Array(HEAP_CAPACITY_MIN);
    } else if (index === this.#heapMs.length) {
      const heapMs = new Float64Array(index * 2);
      heapMs.set(this.#heapMs);
      this.#heapMs = heapMs;
      const heapSequence = new Int32Array(index * 2);
      heapSequence.set(this.#heapSequence);
      this.#heapSequence = heapSequence;
    }
    node.queueBucket = HEAP;
    this.#heap.push(node);
    this.#siftUp(index, node, whenMs, sequence);
  }

  #removeFromHeap(index: number): void {
    const heap = this.#heap;
    const heapMs = this.#heapMs;
    const heapSequence = this.#heapSequence;
    const node = heap.pop()!;
    const size = heap.length;
    if (index === size) {
      if (size === 0) heapMs[0] = Infinity;
      return;
    }
    const whenMs = heapMs[size]!;
    const sequence = heapSequence[size]!;
    // The hole sinks to a leaf without a look at the node, which nearly always belongs there. Sifting up from the leaf
    // also serves the node that belongs above the hole where it began.
    for (let first = index * 4 + 1; first < size; first = index * 4 + 1) {
      let best = first;
      let bestMs = heapMs[first]!;
      const end = first + 4 < size ? first + 4 : size;
      for (let child = first + 1; child < end; child++) {
        const childMs = heapMs[child]!;
        if (
          childMs < bestMs ||
          (childMs === bestMs && heapSequence[child]! < heapSequence[best]!)
        ) {
          best = child;
          bestMs = childMs;
        }
      }
      const bestNode = heap[best]!;
      heap[index] = bestNode;
      bestNode.queueIndex = index;
      heapMs[index] = bestMs;
      heapSequence[index] = heapSequence[best]!;
      index = best;
    }
    this.#siftUp(index, node, whenMs, sequence);
  }

  #siftUp(
    index: number,
    node: Node,
    whenMs: number,
    sequence: number,
  ): void {
    const heap = this.#heap;
    const heapMs = this.#heapMs;
    const heapSequence = this.#heapSequence;
    while (index > 0) {
      const parent = (index - 1) >> 2;
      const parentMs = heapMs[parent]!;
      if (
        parentMs < whenMs ||
        (parentMs === whenMs && heapSequence[parent]! < sequence)
      ) break;
      const parentNode = heap[parent]!;
      heap[index] = parentNode;
      parentNode.queueIndex = index;
      heapMs[index] = parentMs;
      heapSequence[index] = heapSequence[parent]!;
      index = parent;
    }
    heap[index] = node;
    node.queueIndex = index;
    heapMs[index] = whenMs;
    heapSequence[index] = sequence;
  }

  /**
   * Moves the near tick back to the earliest timer and spreads heap and run over the wheels, unless this would move more
   * timers out of the finer wheels than it takes from the heap. So each push pays for a few moves at most.
   */
  #relieveHeap(): void {
    const tick = Math.min(
      Math.max(Math.floor(this.peekMs() * TICKS_PER_MS), 0),
      TICK_LAST,
    );
    const windowEnd = this.#windowEnd;
    let level = 0;
    let moved = this.#runSize;
    while (tick < windowEnd[level]! - SLOTS * SLOT_TICKS[level]!) {
      moved += this.#levelSize[level++]!;
    }
    if (moved > this.#heap.length) {
      this.#heapLimit = moved;
      return;
    }
    const nodes = this.#heap;
    for (const node of this.#run) {
      if (node !== undefined) nodes.push(node);
    }
    for (let bucketIndex = 0; bucketIndex < level * SLOTS; bucketIndex++) {
      const bucket = this.#buckets[bucketIndex];
      if (bucket === undefined) continue;
      for (const node of bucket) nodes.push(node);
      this.#buckets[bucketIndex] = undefined;
    }
    this.#levelSize.fill(0, 0, level);
    this.#occupied.fill(0, 0, level * (SLOTS / 32));
    this.#resetNear();
    this.#nearTick = tick;
    for (let finer = 0; finer < level; finer++) {
      const window = SLOTS * SLOT_TICKS[finer]!;
      windowEnd[finer] = (Math.floor(tick / window) + 1) * window;
    }
    for (const node of nodes) this.#place(node, node.whenMs);
    // Deadlines below zero have no slot and are in the heap again: they must not be moved at each push.
    this.#heapLimit = Math.max(HEAP_FREE, 2 * this.#heap.length);
  }

  /** Makes run and heap empty and small. */
  #resetNear(): void {
    this.#run = [];
    this.#runSize = 0;
    this.#runMs = Infinity;
    this.#heap = [];
    this.#heapMs = NO_HEAP_MS;
    this.#heapSequence = NO_HEAP_SEQUENCE;
    this.#heapLimit = HEAP_FREE;
  }

  /** Numbers the queued nodes from 0 on, in their order: once in a billion pushes. */
  #renumber(): void {
    const nodes = [...this].sort((a, b) => a.sequence - b.sequence);
    this.#sequence = 0;
    for (const node of nodes) {
      node.sequence = this.#sequence++;
      if (node.queueBucket === HEAP) {
        this.#heapSequence[node.queueIndex] = node.sequence;
      }
    }
  }
}
