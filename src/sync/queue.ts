/**
 * Queues between tasks: first in first out, by priority, last in first out.
 *
 * @module
 */
import {
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
} from "../errors.ts";
import {
  checkFunction,
  checkOneOf,
  checkOptions,
  inspect,
} from "../loop/checks.ts";
import { items, type OperationIterable } from "../loop/each.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import {
  compareNaturally,
  FifoStore,
  type ItemStore,
  LifoStore,
  PriorityStore,
} from "./item_store.ts";
import { NextOperation } from "./iteration.ts";
import { WaitQueue } from "./wait_queue.ts";

/** The private side of a queue, for its operations. */
interface QueueInternals {
  /** Takes the next item, of which there must be one. */
  takeItem<T>(queue: BaseQueue<T>): T;
  /** Waits for an item, and takes it. */
  waitToGet<T>(queue: BaseQueue<T>): Coroutine<T>;
  /** Waits for room, and adds the item. */
  waitToPut<T>(queue: BaseQueue<T>, item: T): Coroutine<void>;
  /** Whether no item is unfinished. */
  isFinished(queue: BaseQueue<unknown>): boolean;
  /** Waits until no item is unfinished. */
  waitToJoin(queue: BaseQueue<unknown>): Coroutine<void>;
}

/** Set by {@linkcode BaseQueue} when it is loaded. */
let internals: QueueInternals;

/** Snapshot of a queue: the result of {@linkcode BaseQueue.statistics}. */
export interface QueueStatistics {
  /** How many items are in the queue. */
  readonly size: number;
  /** The largest `size` so far. */
  readonly sizePeak: number;
  /** How many items fit in; `Infinity` if there is no limit. */
  readonly maxSize: number;
  /** How many items were put, and are not marked as done. */
  readonly unfinished: number;
  /** How many tasks wait in {@linkcode BaseQueue.get}: neither woken nor cancelled. */
  readonly gettersWaiting: number;
  /** How many tasks wait in {@linkcode BaseQueue.put}. */
  readonly puttersWaiting: number;
  /** How many tasks wait in {@linkcode BaseQueue.join}. */
  readonly joinersWaiting: number;
}

/**
 * The common part of {@linkcode Queue}, {@linkcode PriorityQueue} and
 * {@linkcode LifoQueue}, which differ in the item that comes out next.
 *
 * @typeParam T The items.
 */
export abstract class BaseQueue<T>
  implements AsyncIterable<T>, OperationIterable<T> {
  /** How many items fit in; `Infinity` if there is no limit. */
  readonly maxSize: number;
  readonly #store: ItemStore<T>;
  readonly #getters = new WaitQueue("Queue.get()", this);
  readonly #putters = new WaitQueue("Queue.put()", this);
  readonly #joiners = new WaitQueue("Queue.join()", this);
  #unfinished = 0;
  #sizePeak = 0;
  #shutDown = false;

  static {
    internals = {
      takeItem: (queue) => queue.#takeItem(),
      waitToGet: (queue) => queue.#waitToGet(),
      waitToPut: (queue, item) => queue.#waitToPut(item),
      isFinished: (queue) => queue.#unfinished === 0,
      waitToJoin: (queue) => queue.#waitToJoin(),
    };
  }

  /**
   * Called by the derived classes.
   *
   * @ignore
   */
  constructor(maxSize: number, store: ItemStore<T>) {
    if (typeof maxSize !== "number") {
      throw new TypeError(
        `Cannot create a queue as maxSize must be a number: received ${
          inspect(maxSize)
        }`,
      );
    }
    if (
      Number.isNaN(maxSize) ||
      (maxSize !== Infinity && !Number.isInteger(maxSize))
    ) {
      throw new RangeError(
        `Cannot create a queue as maxSize must be an integer or Infinity: received ${maxSize}`,
      );
    }
    this.maxSize = maxSize > 0 ? maxSize : Infinity;
    this.#store = store;
  }

  /** How many items are in the queue. */
  get size(): number {
    return this.#store.length;
  }

  /**
   * Returns whether there is no item.
   *
   * @returns Whether `size` is 0.
   */
  empty(): boolean {
    return this.#store.length === 0;
  }

  /**
   * Returns whether there is no room.
   *
   * @returns Whether `size` has reached `maxSize`.
   */
  full(): boolean {
    return this.#store.length >= this.maxSize;
  }

  /**
   * Takes the next item; waits while there is none.
   *
   * Waiters are woken in the order in which they came, one for each item. A
   * woken one that is overtaken by a newcomer waits again, at the end of the
   * line. Cancelling the wait takes no item; if this waiter had been woken, the
   * next in line is woken instead. From a plain callback, use
   * {@linkcode getNowait}. An async function that may leave the wait behind, as
   * in a `Promise.race`, should end it by a signal: else it takes an item that
   * nobody receives.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the item. It does nothing until it is
   * awaited.
   * @throws {QueueShutDownError} When the queue is shut down and no item is left.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  get(options?: WaitOptions): Operation<T> {
    return new GetOperation(this, options);
  }

  /**
   * Adds an item; waits while there is no room.
   *
   * In all else it mirrors {@linkcode get}: cancelling the wait adds nothing.
   * From a plain callback, use {@linkcode putNowait}: `put(item)` that nobody
   * awaits adds nothing.
   *
   * @param item The item to add.
   * @param options A signal that ends the wait.
   * @returns An operation. It does nothing until it is awaited.
   * @throws {QueueShutDownError} When the queue is shut down.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  put(item: T, options?: WaitOptions): Operation<void> {
    return new PutOperation(this, item, options);
  }

  /**
   * Takes the next item at once. May be called from a plain callback.
   *
   * @returns The item.
   * @throws {QueueEmptyError} If there is none.
   * @throws {QueueShutDownError} If there is none, and the queue is shut down.
   */
  getNowait(): T {
    if (this.#store.length === 0) {
      if (this.#shutDown) throw shutDownError("get an item");
      throw new QueueEmptyError("Cannot get an item: the queue is empty");
    }
    return this.#takeItem();
  }

  /**
   * Adds an item at once. May be called from a plain callback.
   *
   * @param item The item to add.
   * @throws {QueueFullError} If there is no room.
   * @throws {QueueShutDownError} If the queue is shut down.
   */
  putNowait(item: T): void {
    if (this.#shutDown) throw shutDownError("put an item");
    if (this.full()) {
      throw new QueueFullError(
        `Cannot put an item: the queue is full, its maxSize is ${this.maxSize}`,
      );
    }
    this.#store.add(item);
    this.#unfinished++;
    const { length } = this.#store;
    if (length > this.#sizePeak) this.#sizePeak = length;
    this.#getters.wakeNext();
  }

  #takeItem(): T {
    const item = this.#store.take() as T;
    this.#putters.wakeNext();
    return item;
  }

  *#waitToGet(): Coroutine<T> {
    while (this.#store.length === 0) {
      if (this.#shutDown) throw shutDownError("get an item");
      const getter = this.#getters.enter(undefined);
      let arrived = false;
      try {
        yield* getter;
        arrived = true;
      } finally {
        this.#getters.leave(getter);
        // The item that it was woken for is for the next in line.
        if (!arrived && getter.woken && this.#store.length > 0) {
          this.#getters.wakeNext();
        }
      }
    }
    try {
      return this.#takeItem();
    } catch (error) {
      // The comparison of a priority queue threw, and the item is still there.
      this.#getters.wakeNext();
      throw error;
    }
  }

  *#waitToPut(item: T): Coroutine<void> {
    while (this.full()) {
      if (this.#shutDown) throw shutDownError("put an item");
      const putter = this.#putters.enter(undefined);
      let arrived = false;
      try {
        yield* putter;
        arrived = true;
      } finally {
        this.#putters.leave(putter);
        if (!arrived && putter.woken && !this.full()) this.#putters.wakeNext();
      }
    }
    try {
      this.putNowait(item);
    } catch (error) {
      this.#putters.wakeNext();
      throw error;
    }
  }

  /**
   * Marks one item that was taken as done; {@linkcode join} waits for all.
   *
   * @throws {RangeError} If it is called more often than items were put.
   */
  taskDone(): void {
    if (this.#unfinished === 0) {
      throw new RangeError(
        "Cannot finish an item: taskDone() was called more often than put()",
      );
    }
    if (--this.#unfinished === 0) this.#joiners.wakeAll();
  }

  /**
   * Waits until {@linkcode taskDone} was called for every item that was put.
   * Cancelling the wait has no effect on the items.
   *
   * @param options A signal that ends the wait.
   * @returns An operation, which takes no turn if no item is unfinished.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  join(options?: WaitOptions): Operation<void> {
    return new JoinOperation(this, options);
  }

  *#waitToJoin(): Coroutine<void> {
    const joiner = this.#joiners.enter(undefined);
    try {
      yield* joiner;
    } finally {
      this.#joiners.leave(joiner);
    }
  }

  /**
   * Returns the numbers of this moment.
   *
   * @returns A frozen snapshot.
   */
  statistics(): QueueStatistics {
    return Object.freeze({
      size: this.size,
      sizePeak: this.#sizePeak,
      maxSize: this.maxSize,
      unfinished: this.#unfinished,
      gettersWaiting: this.#getters.pendingCount,
      puttersWaiting: this.#putters.pendingCount,
      joinersWaiting: this.#joiners.pendingCount,
    });
  }

  /**
   * Shuts the queue down: from now on {@linkcode put} throws, {@linkcode get}
   * throws once no item is left, and iterations end. All waiters are woken.
   *
   * @param options With `immediate`, the items that are left are dropped, and
   * count as finished for {@linkcode join}.
   * @throws {TypeError} If `immediate` is not a boolean.
   */
  shutdown(options: { readonly immediate?: boolean | undefined } = {}): void {
    const what = "shut a queue down";
    checkOptions(options, what);
    const { immediate = false } = options;
    checkOneOf(immediate, [true, false], what, "immediate");
    this.#shutDown = true;
    if (immediate) {
      const dropped = this.#store.length;
      this.#store.clear();
      this.#unfinished = Math.max(this.#unfinished - dropped, 0);
      if (this.#unfinished === 0) this.#joiners.wakeAll();
    }
    this.#getters.wakeAll();
    this.#putters.wakeAll();
  }

  /** @ignore */
  [items](): () => Operation<IteratorResult<T, undefined>> {
    return () => this.#next();
  }

  /**
   * Takes item after item until the queue is shut down and empty. In a generator
   * coroutine, use `each(queue, ...)`.
   *
   * @returns An iterator for `for await`.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: async () => await this.#next() };
  }

  #next(): NextOperation<T> {
    return new NextOperation(
      () => this.get(),
      (error) => error instanceof QueueShutDownError,
      GET,
    );
  }
}

function shutDownError(what: string): QueueShutDownError {
  return new QueueShutDownError(`Cannot ${what}: the queue is shut down`);
}

class GetOperation<T> extends AttemptOperation<T> {
  readonly #queue: BaseQueue<T>;

  constructor(queue: BaseQueue<T>, options: WaitOptions | undefined) {
    super(GET, options);
    this.#queue = queue;
  }

  protected attempt(): IteratorReturnResult<T> | undefined {
    return this.#queue.empty()
      ? undefined
      : { done: true, value: internals.takeItem(this.#queue) };
  }

  protected wait(): Coroutine<T> {
    return internals.waitToGet(this.#queue);
  }
}

class PutOperation<T> extends AttemptOperation<void> {
  readonly #queue: BaseQueue<T>;
  readonly #item: T;

  constructor(queue: BaseQueue<T>, item: T, options: WaitOptions | undefined) {
    super(PUT, options);
    this.#queue = queue;
    this.#item = item;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    if (this.#queue.full()) return undefined;
    this.#queue.putNowait(this.#item);
    return DONE;
  }

  protected wait(): Coroutine<void> {
    return internals.waitToPut(this.#queue, this.#item);
  }
}

class JoinOperation extends AttemptOperation<void> {
  readonly #queue: BaseQueue<unknown>;

  constructor(queue: BaseQueue<unknown>, options: WaitOptions | undefined) {
    super(JOIN, options);
    this.#queue = queue;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    return internals.isFinished(this.#queue) ? DONE : undefined;
  }

  protected wait(): Coroutine<void> {
    return internals.waitToJoin(this.#queue);
  }
}

const GET = { name: "Queue.get()" };
const PUT = { name: "Queue.put()" };
const JOIN = { name: "Queue.join()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };

/**
 * A queue between tasks: the item put first is taken first.
 *
 * Like asyncio's `Queue`. With a `maxSize`, producers wait while it is full, so
 * that a fast producer does not run ahead of its consumers.
 *
 * @example A producer and a consumer
 * ```ts
 * import { getRunningLoop, Queue, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const received: number[] = [];
 * await run(async () => {
 *   const queue = new Queue<number>(2);
 *   getRunningLoop().createTask(function* () {
 *     for (let n = 0; n < 5; n++) yield* queue.put(n);
 *     queue.shutdown();
 *   });
 *   for await (const n of queue) received.push(n);
 * });
 * assertEquals(received, [0, 1, 2, 3, 4]);
 * ```
 *
 * @typeParam T The items.
 */
export class Queue<T> extends BaseQueue<T> {
  /**
   * Makes an empty queue.
   *
   * @param maxSize How many items fit in; 0 or less, or `Infinity`, for no limit.
   * @throws {TypeError} If `maxSize` is not a number.
   * @throws {RangeError} If it is neither an integer nor `Infinity`.
   */
  constructor(maxSize = Infinity) {
    super(maxSize, new FifoStore<T>());
  }
}

/**
 * A queue from which the least item is taken first, equal ones in the order in
 * which they were put.
 *
 * Like asyncio's `PriorityQueue`. Without `compare`, items are compared by `<`
 * if they have a natural order: numbers and bigints (not `NaN`), strings,
 * booleans, and objects that `valueOf()` or `Symbol.toPrimitive` turns into one
 * of these, such as a `Date`. All items must be of one of these kinds. Other
 * items, such as plain objects and arrays, have none: `put` and `putNowait`
 * throw a `TypeError` as soon as two have to be compared, and the queue stays
 * as it was. Putting and taking an item takes a number of comparisons that
 * grows with the logarithm of the size.
 *
 * @example Small numbers first, and jobs by their time
 * ```ts
 * import { PriorityQueue } from "@rota/rota";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const queue = new PriorityQueue<number>();
 * for (const n of [3, 1, 2]) queue.putNowait(n);
 * assertEquals([queue.getNowait(), queue.getNowait(), queue.getNowait()], [1, 2, 3]);
 *
 * const jobs = new PriorityQueue<{ at: number }>(Infinity, (a, b) => a.at - b.at);
 * for (const at of [20, 10]) jobs.putNowait({ at });
 * assertEquals(jobs.getNowait(), { at: 10 });
 *
 * const unordered = new PriorityQueue<{ at: number }>();
 * unordered.putNowait({ at: 20 });
 * assertThrows(() => unordered.putNowait({ at: 10 }), TypeError);
 * ```
 *
 * @typeParam T The items.
 */
export class PriorityQueue<T> extends BaseQueue<T> {
  /**
   * Makes an empty queue.
   *
   * @param maxSize How many items fit in; 0 or less, or `Infinity`, for no limit.
   * @param compare Returns a number below 0 if `a` comes out before `b`, as for
   * `Array.sort`. A result that is `NaN` or not a number is a `TypeError`, at
   * whoever puts or takes the item. By default, items are compared by `<`.
   * @throws {TypeError} If `maxSize` is not a number or `compare` not a function.
   * @throws {RangeError} If `maxSize` is neither an integer nor `Infinity`.
   */
  constructor(
    maxSize = Infinity,
    compare: (a: T, b: T) => number = compareNaturally,
  ) {
    checkFunction(compare, "create a queue", "compare");
    super(maxSize, new PriorityStore<T>(compare));
  }
}

/**
 * A queue from which the item put last is taken first.
 *
 * Like asyncio's `LifoQueue`.
 *
 * @example The newest first
 * ```ts
 * import { LifoQueue } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new LifoQueue<string>();
 * for (const word of ["old", "new"]) queue.putNowait(word);
 * assertEquals(queue.getNowait(), "new");
 * ```
 *
 * @typeParam T The items.
 */
export class LifoQueue<T> extends BaseQueue<T> {
  /**
   * Makes an empty queue.
   *
   * @param maxSize How many items fit in; 0 or less, or `Infinity`, for no limit.
   * @throws {TypeError} If `maxSize` is not a number.
   * @throws {RangeError} If it is neither an integer nor `Infinity`.
   */
  constructor(maxSize = Infinity) {
    super(maxSize, new LifoStore<T>());
  }
}
