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
import {
  AttemptOperation,
  Operation,
  type WaitOptions,
} from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { items, type OperationIterable } from "../loop/generators.ts";
import { Heap, RingBuffer } from "../structures/queues.ts";
import { WaitQueue } from "./wait_queue.ts";

/** Where a queue keeps its items: which one comes out next is all that differs. */
interface Store<T> {
  readonly length: number;
  add(item: T): void;
  take(): T | undefined;
  clear(): void;
}

class FifoStore<T> extends RingBuffer<T> implements Store<T> {
  add(item: T): void {
    this.push(item);
  }
  take(): T | undefined {
    return this.shift();
  }
}

class LifoStore<T> extends RingBuffer<T> implements Store<T> {
  add(item: T): void {
    this.push(item);
  }
  take(): T | undefined {
    return this.pop();
  }
}

/** Equal items come out in the order in which they went in. */
class PriorityStore<T> implements Store<T> {
  readonly #heap: Heap<{ item: T; sequence: number }>;
  #sequence = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#heap = new Heap((a, b) => {
      const order = compare(a.item, b.item);
      return order < 0 || (order === 0 && a.sequence < b.sequence);
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

/**
 * What {@linkcode Queue}, {@linkcode PriorityQueue} and {@linkcode LifoQueue}
 * have in common. They differ in which item comes out next.
 *
 * @typeParam T What the items are.
 */
export abstract class BaseQueue<T>
  implements AsyncIterable<T>, OperationIterable<T> {
  /** How many items fit in; `Infinity` if there is no limit. */
  readonly maxSize: number;
  readonly #store: Store<T>;
  readonly #getters = new WaitQueue("Queue.get()");
  readonly #putters = new WaitQueue("Queue.put()");
  readonly #joiners = new WaitQueue("Queue.join()");
  private unfinished = 0;
  #shutDown = false;

  /**
   * Made by the classes derived from this one.
   *
   * @ignore
   */
  constructor(maxSize: number, store: Store<T>) {
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
   * Tells whether there is no item.
   *
   * @returns Whether `size` is 0.
   */
  empty(): boolean {
    return this.#store.length === 0;
  }

  /**
   * Tells whether there is no room.
   *
   * @returns Whether `size` has reached `maxSize`.
   */
  full(): boolean {
    return this.#store.length >= this.maxSize;
  }

  /**
   * Takes the next item; waits while there is none.
   *
   * Those who wait are woken in the order in which they came, one for each
   * item. A woken one that is overtaken by a newcomer waits again, at the end.
   * Cancelling the wait takes no item, and wakes the next in line if this one
   * had been woken. From a plain callback, use {@linkcode getNowait}.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the item.
   * @throws {QueueShutDownError} When the queue is shut down and no item is left.
   */
  get(options?: WaitOptions): Operation<T> {
    return new GetOperation(this, options);
  }

  /**
   * Adds an item; waits while there is no room.
   *
   * In all else it is the mirror of {@linkcode get}: cancelling the wait adds
   * nothing. From a plain callback, use {@linkcode putNowait}.
   *
   * @param item What to add.
   * @param options A signal that ends the wait.
   * @returns An operation: nothing is added until it is waited for.
   * @throws {QueueShutDownError} When the queue is shut down.
   */
  put(item: T, options?: WaitOptions): Operation<void> {
    return new PutOperation(this, item, options);
  }

  /**
   * Takes the next item at once.
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
    return this.takeItem();
  }

  /**
   * Adds an item at once.
   *
   * @param item What to add.
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
    this.addItem(item);
  }

  /** Takes the next item, of which there is one, and wakes who waits for room. */
  private takeItem(): T {
    const item = this.#store.take() as T;
    this.#putters.wakeNext();
    return item;
  }

  /** Adds an item, for which there is room, and wakes who waits for one. */
  private addItem(item: T): void {
    this.#store.add(item);
    this.unfinished++;
    this.#getters.wakeNext();
  }

  /** Waits for an item, and takes it. */
  private *waitToGet(): Coroutine<T> {
    while (this.#store.length === 0) {
      if (this.#shutDown) throw shutDownError("get an item");
      const getter = this.#getters.enter(undefined);
      try {
        yield* getter;
      } catch (error) {
        // Woken for an item that it cannot take any more: it is for the next in line.
        if (getter.woken && this.#store.length > 0) this.#getters.wakeNext();
        throw error;
      } finally {
        this.#getters.leave(getter);
      }
    }
    try {
      return this.takeItem();
    } catch (error) {
      // The comparison of a priority queue threw, and the item is still there.
      this.#getters.wakeNext();
      throw error;
    }
  }

  /** Waits for room, and adds the item. */
  private *waitToPut(item: T): Coroutine<void> {
    while (this.full()) {
      if (this.#shutDown) throw shutDownError("put an item");
      const putter = this.#putters.enter(undefined);
      try {
        yield* putter;
      } catch (error) {
        if (putter.woken && !this.full()) this.#putters.wakeNext();
        throw error;
      } finally {
        this.#putters.leave(putter);
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
   * Says that the work on one item that was taken is done: {@linkcode join}
   * waits for that.
   *
   * @throws {RangeError} If it is called more often than items were put.
   */
  taskDone(): void {
    if (this.unfinished === 0) {
      throw new RangeError(
        "Cannot finish an item: taskDone() was called more often than put()",
      );
    }
    if (--this.unfinished === 0) this.#joiners.wakeAll();
  }

  /**
   * Waits until {@linkcode taskDone} was called for every item that was put.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that is over at once if no item is unfinished.
   */
  join(options?: WaitOptions): Operation<void> {
    return new JoinOperation(this, options);
  }

  /** Waits in line. */
  private *waitToJoin(): Coroutine<void> {
    const joiner = this.#joiners.enter(undefined);
    try {
      yield* joiner;
    } finally {
      this.#joiners.leave(joiner);
    }
  }

  /**
   * Ends the queue's life: {@linkcode put} throws from now on, {@linkcode get}
   * once no item is left, and iterations end. Those who wait are woken.
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
      this.unfinished = Math.max(this.unfinished - dropped, 0);
      if (this.unfinished === 0) this.#joiners.wakeAll();
    }
    this.#getters.wakeAll();
    this.#putters.wakeAll();
  }

  /** @ignore */
  [items](): () => Operation<IteratorResult<T, undefined>> {
    return () => new NextOperation(this);
  }

  /**
   * Takes item after item until the queue is shut down and empty. In a generator
   * coroutine, use `each(queue, ...)`.
   *
   * @returns An iterator for `for await`.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: async () => await new NextOperation(this) };
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
      : { done: true, value: this.#queue["takeItem"]() };
  }

  protected wait(): Coroutine<T> {
    return this.#queue["waitToGet"]();
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
    return this.#queue["waitToPut"](this.#item);
  }
}

class JoinOperation extends AttemptOperation<void> {
  readonly #queue: BaseQueue<unknown>;

  constructor(queue: BaseQueue<unknown>, options: WaitOptions | undefined) {
    super(JOIN, options);
    this.#queue = queue;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    return this.#queue["unfinished"] === 0 ? DONE : undefined;
  }

  protected wait(): Coroutine<void> {
    return this.#queue["waitToJoin"]();
  }
}

/** One step of an iteration. */
class NextOperation<T> extends Operation<IteratorResult<T, undefined>> {
  constructor(queue: BaseQueue<T>) {
    super(function* (): Coroutine<IteratorResult<T, undefined>> {
      try {
        return { done: false, value: yield* queue.get() };
      } catch (error) {
        if (error instanceof QueueShutDownError) {
          return { done: true, value: undefined };
        }
        throw error;
      }
    }, GET);
  }
}

const GET = { name: "Queue.get()" };
const PUT = { name: "Queue.put()" };
const JOIN = { name: "Queue.join()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };

/**
 * A queue between tasks: what is put first is taken first.
 *
 * It is asyncio's. With a `maxSize`, whoever puts waits while it is full, so
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
 * @typeParam T What the items are.
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
 * A queue from which the least item is taken first; equal ones in the order in
 * which they were put.
 *
 * @example Small numbers first
 * ```ts
 * import { PriorityQueue } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const queue = new PriorityQueue<number>();
 * for (const n of [3, 1, 2]) queue.putNowait(n);
 * assertEquals([queue.getNowait(), queue.getNowait(), queue.getNowait()], [1, 2, 3]);
 * ```
 *
 * @typeParam T What the items are.
 */
export class PriorityQueue<T> extends BaseQueue<T> {
  /**
   * Makes an empty queue.
   *
   * @param maxSize How many items fit in; 0 or less, or `Infinity`, for no limit.
   * @param compare Below 0 if `a` comes out before `b`, as for `Array.sort`. By
   * default items are compared by `<`.
   * @throws {TypeError} If `maxSize` is not a number or `compare` not a function.
   * @throws {RangeError} If `maxSize` is neither an integer nor `Infinity`.
   */
  constructor(
    maxSize = Infinity,
    compare: (a: T, b: T) => number = compareByLess,
  ) {
    checkFunction(compare, "create a queue", "compare");
    super(maxSize, new PriorityStore<T>(compare));
  }
}

function compareByLess<T>(a: T, b: T): number {
  return a < b ? -1 : b < a ? 1 : 0;
}

/**
 * A queue from which the item put last is taken first.
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
 * @typeParam T What the items are.
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
