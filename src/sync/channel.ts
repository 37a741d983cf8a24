import { CancelledError, ChannelClosedError } from "../errors.ts";
import { checkInteger, checkOptions } from "../loop/checks.ts";
import { currentTask, getRunningLoop } from "../loop/current.ts";
import { items, type OperationIterable } from "../loop/generators.ts";
import {
  AttemptOperation,
  Operation,
  type WaitOptions,
} from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { RingBuffer } from "../structures/queues.ts";
import { WaitQueue } from "./wait_queue.ts";

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
    return () => new NextOperation(this);
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
      next: async () => await new NextOperation(this),
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
          getRunningLoop().createTask(new NextOperation(this), {
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
      currentTask()?.postponeCancel(error);
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

  /** Whether iterations just end. */
  private endsWell(): boolean {
    return this.#reason === null;
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

/** One step of an iteration. */
class NextOperation<T> extends Operation<IteratorResult<T, undefined>> {
  constructor(channel: Channel<T>) {
    super(function* (): Coroutine<IteratorResult<T, undefined>> {
      try {
        return { done: false, value: yield* channel.receive() };
      } catch (error) {
        if (error instanceof ChannelClosedError && channel["endsWell"]()) {
          return { done: true, value: undefined };
        }
        throw error;
      }
    }, RECEIVE);
  }
}

const SEND = { name: "Channel.send()" };
const RECEIVE = { name: "Channel.receive()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };
const EMPTY = Object.freeze({ state: "empty" });
const CLOSED = Object.freeze({ state: "closed" });
