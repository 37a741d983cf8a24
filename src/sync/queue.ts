/**
 * What is handed from task to task: through queues, in three orders, and through
 * a channel, which may be closed from both ends.
 *
 * @module
 */
import {
  CancelledError,
  ChannelClosedError,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
} from "../errors.ts";
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
  inspect,
} from "../loop/checks.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import { items, type OperationIterable } from "../loop/generators.ts";
import {
  AttemptOperation,
  Operation,
  type WaitOptions,
} from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
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

const GET = { name: "Queue.get()" };
const PUT = { name: "Queue.put()" };
const JOIN = { name: "Queue.join()" };

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

// -- Channels --

/** How to make a {@linkcode Channel}. */
export interface ChannelOptions {
  /**
   * How many values it holds for receivers to come. With 0, each
   * {@linkcode Channel.send} waits for its receiver. `Infinity` is allowed.
   *
   * @default {0}
   */
  readonly capacity?: number | undefined;
}

/**
 * What {@linkcode Channel.tryReceive} gives: `"ok"` with a value, `"empty"` if
 * there is none at the moment, `"closed"` if there will never be one.
 *
 * @typeParam T What the values are.
 */
export type ChannelReceiveResult<T> =
  | { readonly state: "ok"; readonly value: T }
  | { readonly state: "empty" }
  | { readonly state: "closed" };

/** What {@linkcode Channel.stats} gives: the channel at one moment. */
export interface ChannelStats {
  /** How many values it holds. */
  readonly size: number;
  /** The most it has ever held. */
  readonly sizePeak: number;
  /** How many values were accepted. */
  readonly sent: number;
  /** How many values were handed to receivers. */
  readonly received: number;
  /** How many wait in {@linkcode Channel.send}. */
  readonly sendersWaiting: number;
  /** How many wait in {@linkcode Channel.receive}. */
  readonly receiversWaiting: number;
}

/**
 * Carries values from tasks that send to tasks that receive, in the order in
 * which they were sent, and can be closed.
 *
 * It has the interface of the `Channel` of `@std/async`, with operations
 * instead of promises. Where a {@linkcode Queue} counts unfinished items and
 * is shut down, a channel can hold nothing at all, so that sender and receiver
 * meet, and closes with a reason. Each value goes to one receiver; those who
 * wait are served in the order in which they came. `undefined` is a value like
 * any other. Everything takes constant time, but for closing, which wakes all
 * who wait.
 *
 * @example A producer and a consumer that meet
 * ```ts
 * import { Channel, getRunningLoop, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const received: number[] = [];
 * await run(async () => {
 *   const channel = new Channel<number>();
 *   getRunningLoop().createTask(function* () {
 *     for (let n = 0; n < 3; n++) yield* channel.send(n);
 *     channel.close();
 *   });
 *   for await (const n of channel) received.push(n);
 * });
 * assertEquals(received, [0, 1, 2]);
 * ```
 *
 * @typeParam T What the values are.
 */
export class Channel<T>
  implements
    AsyncIterable<T>,
    OperationIterable<T>,
    Disposable,
    AsyncDisposable {
  /** How many values it holds for receivers to come; 0 if sender and receiver meet. */
  readonly capacity: number;
  readonly #values = new RingBuffer<T>();
  /** How many of the values are for receivers that are woken and have not run: these find one, whatever happens. */
  #promised = 0;
  readonly #senders = new WaitQueue<T>("Channel.send()");
  readonly #receivers = new WaitQueue("Channel.receive()");
  #closed = false;
  #reason: { readonly error: unknown } | null = null;
  #sizePeak = 0;
  #sent = 0;
  #received = 0;

  /**
   * Makes an empty, open channel.
   *
   * @param options How many values it holds.
   * @throws {TypeError} If `capacity` is not a number.
   * @throws {RangeError} If it is neither an integer >= 0 nor `Infinity`.
   */
  constructor(options: ChannelOptions = {}) {
    const what = "create a channel";
    checkOptions(options, what);
    const { capacity = 0 } = options;
    checkInteger(capacity, 0, what, "capacity", "or Infinity");
    this.capacity = capacity + 0; // which makes -0 a 0
  }

  /** How many values it holds. More than `capacity` for a while if receivers are cancelled that were to get one. */
  get size(): number {
    return this.#values.length - this.#promised;
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Gives a snapshot of what is in the channel, and has gone through it.
   *
   * @returns The numbers, frozen.
   */
  stats(): ChannelStats {
    return Object.freeze({
      size: this.size,
      sizePeak: this.#sizePeak,
      sent: this.#sent,
      received: this.#received,
      sendersWaiting: this.#senders.length,
      receiversWaiting: this.#receivers.length,
    });
  }

  /**
   * Sends a value; waits while there is no room and nobody to take it.
   *
   * If the wait ends with an error, the value was not sent. A cancellation that
   * comes too late, in the turn after a receiver has taken the value, is thrown
   * at the task's next wait instead. From a plain callback, use
   * {@linkcode trySend}.
   *
   * @param value What to send.
   * @param options A signal that ends the wait.
   * @returns An operation: nothing is sent until it is waited for.
   * @throws {ChannelClosedError} If the channel is closed, or is closed during
   * the wait: with `value`.
   */
  send(value: T, options?: WaitOptions): Operation<void> {
    return new SendOperation(this, value, options);
  }

  /**
   * Takes the next value; waits while there is none.
   *
   * If the wait ends with an error, no value was taken: one that was on its way
   * to this receiver is there for the next. From a plain callback, use
   * {@linkcode tryReceive}.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the value.
   * @throws {ChannelClosedError} If the channel is closed and no value is left.
   * If it was closed with a reason, that is thrown instead.
   */
  receive(options?: WaitOptions): Operation<T> {
    return new ReceiveOperation(this, options);
  }

  /**
   * Sends a value if that is possible at once.
   *
   * @param value What to send.
   * @returns False if the channel is closed or full and nobody waits for a value.
   */
  trySend(value: T): boolean {
    if (this.#closed) return false;
    // It will find a value, not necessarily this one: they leave in the order in which they came.
    if (this.#receivers.wakeNext() !== undefined) this.#promised++;
    else if (this.size >= this.capacity) return false;
    this.#accept(value);
    this.#notePeak();
    return true;
  }

  /**
   * Takes the next value if there is one.
   *
   * A value for a receiver that has been woken but has not had its turn is not
   * for the taking.
   *
   * @returns `{ state: "ok", value }`, `{ state: "empty" }` or `{ state: "closed" }`.
   */
  tryReceive(): ChannelReceiveResult<T> {
    if (this.hasValue()) return { state: "ok", value: this.takeValue() };
    return this.#closed ? CLOSED : EMPTY;
  }

  /**
   * Closes the channel: nothing can be sent any more, what is there can still be
   * received. Those who wait in {@linkcode send} get a
   * {@linkcode ChannelClosedError} with their value. Closing again does nothing.
   */
  close(): void;
  /**
   * Closes the channel with a reason, which receivers get as an error once no
   * value is left, and iterations throw.
   *
   * @param reason What to throw at receivers.
   */
  close(reason: unknown): void;
  close(...rest: [reason: unknown] | []): void {
    if (this.#closed) return;
    this.#closed = true;
    if (rest.length > 0) this.#reason = { error: rest[0] };
    this.#senders.wakeAll(false);
    this.#receivers.wakeAll(false);
  }

  /** The same as {@linkcode Channel.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * The same as {@linkcode Channel.close}.
   *
   * @returns A promise that has resolved.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** @ignore */
  [items](): () => Operation<IteratorResult<T, undefined>> {
    return () => this.#next();
  }

  /**
   * Takes value after value until the channel is closed and empty; if it was
   * closed with a reason, that is thrown then. In a generator coroutine, use
   * `each(channel, ...)`.
   *
   * @returns An iterator for `for await`.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return {
      next: async () => await this.#next(),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /**
   * Gives the values as a stream, which ends as iterating does. Cancelling the
   * stream closes the channel, with the reason if there is one. Several streams
   * share the values. A loop must be running while the stream is read.
   *
   * @returns A stream that takes one value ahead of its reader.
   */
  toReadableStream(): ReadableStream<T> {
    return new ReadableStream<T>({
      pull: async (controller) => {
        try {
          // Whoever pulls may be a task that ends, or is cancelled, before the value comes.
          const { promise, resolve, reject } = Promise.withResolvers<
            IteratorResult<T, undefined>
          >();
          getRunningLoop().createTask(this.#next(), {
            name: "Channel.toReadableStream()",
          }).addDoneCallback((next) => {
            try {
              resolve(next.result());
            } catch (error) {
              reject(error);
            }
          });
          const step = await promise;
          if (step.done === true) controller.close();
          else controller.enqueue(step.value);
        } catch (error) {
          controller.error(error);
        }
      },
      cancel: (reason) => {
        if (reason === undefined) this.close();
        else this.close(reason);
      },
    });
  }

  #accept(value: T): void {
    this.#values.push(value);
    this.#sent++;
  }

  #notePeak(): void {
    if (this.size > this.#sizePeak) this.#sizePeak = this.size;
  }

  /** Lets the first of the waiting senders have its value accepted. */
  #acceptNext(): boolean {
    const sender = this.#senders.wakeNext();
    if (sender === undefined) return false;
    this.#accept(sender.item);
    return true;
  }

  /** Whether there is a value that is not promised; if nobody holds one, a sender hands in its own. */
  private hasValue(): boolean {
    return this.size > 0 || this.#acceptNext();
  }

  /** Takes the first value, and lets senders fill the room. */
  private takeValue(): T {
    const value = this.#values.shift() as T;
    this.#received++;
    while (this.size < this.capacity && this.#acceptNext());
    this.#notePeak();
    return value;
  }

  /** Waits for a promise, and takes a value. */
  private *waitToReceive(): Coroutine<T> {
    const receiver = this.#receivers.enter(undefined);
    let promised: boolean;
    try {
      promised = yield* receiver;
    } catch (error) {
      if (receiver.woken && receiver.result()) {
        // The value stays where it is, for whoever is next.
        if (this.#receivers.wakeNext() === undefined) this.#promised--;
        this.#notePeak();
      }
      throw error;
    } finally {
      this.#receivers.leave(receiver);
    }
    if (promised) this.#promised--;
    else if (this.size === 0) throw this.receiveError();
    return this.takeValue();
  }

  /** Waits for a receiver to accept the value. */
  private *waitToSend(value: T): Coroutine<void> {
    const sender = this.#senders.enter(value);
    let accepted: boolean;
    try {
      accepted = yield* sender;
    } catch (error) {
      accepted = sender.woken && sender.result();
      if (!accepted || !(error instanceof CancelledError)) throw error;
      findTask()?.postponeCancel(error);
    } finally {
      this.#senders.leave(sender);
    }
    if (!accepted) throw sendError(value);
  }

  /** What receivers get once no value is left. */
  private receiveError(): unknown {
    return this.#reason === null
      ? new ChannelClosedError(
        "Cannot receive from a channel: it is closed",
      )
      : this.#reason.error;
  }

  #next(): NextOperation<T> {
    return new NextOperation(
      () => this.receive(),
      // With a reason that is thrown.
      (error) => error instanceof ChannelClosedError && this.#reason === null,
      RECEIVE,
    );
  }
}

function sendError(value: unknown): ChannelClosedError {
  return new ChannelClosedError(
    "Cannot send to a channel: it is closed",
    value,
  );
}

class SendOperation<T> extends AttemptOperation<void> {
  readonly #channel: Channel<T>;
  readonly #value: T;

  constructor(
    channel: Channel<T>,
    value: T,
    options: WaitOptions | undefined,
  ) {
    super(SEND, options);
    this.#channel = channel;
    this.#value = value;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    if (this.#channel.trySend(this.#value)) return DONE;
    if (this.#channel.closed) throw sendError(this.#value);
    return undefined;
  }

  protected wait(): Coroutine<void> {
    return this.#channel["waitToSend"](this.#value);
  }
}

class ReceiveOperation<T> extends AttemptOperation<T> {
  readonly #channel: Channel<T>;

  constructor(channel: Channel<T>, options: WaitOptions | undefined) {
    super(RECEIVE, options);
    this.#channel = channel;
  }

  protected attempt(): IteratorReturnResult<T> | undefined {
    const channel = this.#channel;
    if (channel["hasValue"]()) {
      return { done: true, value: channel["takeValue"]() };
    }
    if (channel.closed) throw channel["receiveError"]();
    return undefined;
  }

  protected wait(): Coroutine<T> {
    return this.#channel["waitToReceive"]();
  }
}

/** One step of an iteration: what `take` gives, or the end if it throws what `isEnd` is about. */
class NextOperation<T> extends Operation<IteratorResult<T, undefined>> {
  constructor(
    take: () => Operation<T>,
    isEnd: (error: unknown) => boolean,
    options: { readonly name: string },
  ) {
    super(function* (): Coroutine<IteratorResult<T, undefined>> {
      try {
        return { done: false, value: yield* take() };
      } catch (error) {
        if (isEnd(error)) return { done: true, value: undefined };
        throw error;
      }
    }, options);
  }
}

const SEND = { name: "Channel.send()" };
const RECEIVE = { name: "Channel.receive()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };
const EMPTY = Object.freeze({ state: "empty" });
const CLOSED = Object.freeze({ state: "closed" });
