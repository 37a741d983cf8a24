/**
 * Structures that hold things in an order: ring buffer, linked list, heap, queue with priorities, timer queue; and a
 * random generator with a seed.
 *
 * The loop and everything above it is built on them. They know nothing of loops and tasks, import nothing of Rota, and
 * run no code but their own and the comparisons that they are given.
 *
 * @example Five timers, in the order of their deadlines
 * ```ts
 * import { NOT_QUEUED, SeededRandom, type TimerNode, TimerQueue } from "@rota/rota/structures";
 * import { assertEquals } from "@std/assert";
 *
 * class Timer implements TimerNode {
 *   sequence = 0;
 *   queueBucket = NOT_QUEUED;
 *   queueIndex = 0;
 *   readonly whenMs: number;
 *   constructor(whenMs: number) {
 *     this.whenMs = whenMs;
 *   }
 * }
 *
 * const queue = new TimerQueue<Timer>();
 * for (const whenMs of new SeededRandom(1).shuffle([10, 20, 30, 40, 50])) {
 *   queue.push(new Timer(whenMs));
 * }
 * const due: number[] = [];
 * for (let timer = queue.popDue(30); timer !== undefined; timer = queue.popDue(30)) {
 *   due.push(timer.whenMs);
 * }
 * assertEquals(due, [10, 20, 30]);
 * assertEquals(queue.peekMs(), 40);
 * ```
 *
 * @module
 */
export { type Chance, ExponentialBackoff } from "./backoff.ts";
export { DecayingMean } from "./decaying_mean.ts";
export { HashRing } from "./hash_ring.ts";
export { Heap } from "./heap.ts";
export { Histogram } from "./histogram.ts";
export { LinkedList, type ListNode } from "./linked_list.ts";
export { PriorityLine } from "./priority_line.ts";
export { SeededRandom } from "./random.ts";
export { RingBuffer } from "./ring_buffer.ts";
export { NOT_QUEUED, type TimerNode, TimerQueue } from "./timer_queue.ts";
