/**
 * A channel between tasks, which may be closed from both ends.
 *
 * @module
 */
import { cancellationIn } from "../loop/cancellation.ts";
import { ChannelClosedError } from "../errors.ts";
import { checkInteger, checkOptions } from "../loop/checks.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import { items, type OperationIterable } from "../loop/each.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { NextOperation } from "./iteration.ts";
import { WaitQueue } from "./wait_queue.ts";

/** Options of a {@linkcode Channel}. */
export interface ChannelOptions {
  /**
   * How many values the channel holds for later receivers. With 0, each
   * {@linkcode Channel.send} waits for its receiver. `Infinity` is allowed.
   *
   * @default {0}
   */
  readonly capacity?: number | undefined;
}

/**
 * Result of {@linkcode Channel.tryReceive}: `"ok"` with a value, `"empty"` if
 * there is none at the moment, `"closed"` if there will never be one.
 *
 * @typeParam T The values.
 */
export type ChannelReceiveResult<T> =
  | { readonly state: "ok"; readonly value: T }
  | { readonly state: "empty" }
  | { readonly state: "closed" };

/**
 * Snapshot of a channel: the result of {@linkcode Channel.stats}. At every
 * moment, `sent` is `received + size`.
 */
export interface ChannelStats {
  /** How many values the channel holds for later receivers. */
  readonly size: number;
  /** The largest `size` so far. */
  readonly sizePeak: number;
  /** How many values were accepted. */
  readonly sent: number;
  /**
   * How many values went to receivers. A receiver that is woken with a value
   * counts before it runs; if it is cancelled by then, the value goes to the next
   * one, or back to those that are held.
   */
  readonly received: number;
  /** How many tasks wait in {@linkcode Channel.send}: neither woken nor cancelled. */
  readonly sendersWaiting: number;
  /** How many tasks wait in {@linkcode Channel.receive}: neither woken nor cancelled. */
  readonly receiversWaiting: number;
}

/** The private side of a channel, for its operations. */
interface ChannelInternals {
  /** Whether there is a value to take; if none is held, a sender hands in its own. */
  hasValue(channel: Channel<unknown>): boolean;
  /** Takes the first value, of which there must be one. */
  takeValue<T>(channel: Channel<T>): T;
  /** Waits for a value, and takes it. */
  waitToReceive<T>(channel: Channel<T>): Coroutine<T>;
  /** Waits for a receiver to accept the value. */
  waitToSend<T>(channel: Channel<T>, value: T): Coroutine<void>;
  /** Returns the error of receivers, once the channel is closed and no value is left. */
  receiveError(channel: Channel<unknown>): unknown;
}

/** Set by {@linkcode Channel} when it is loaded. */
let internals: ChannelInternals;

/**
 * A channel: carries values from tasks that send to tasks that receive, in the
 * order in which they were sent, and can be closed.
 *
 * Like the `Channel` of `@std/async`, with operations instead of promises. Where
 * a {@linkcode Queue} counts unfinished items and is shut down, a channel can
 * hold nothing at all, so that sender and receiver meet, and closes with a
 * reason. Each value goes to one receiver, and waiters are served in the order
 * in which they came. `undefined` is a value like any other. Everything takes
 * constant time, but for closing, which wakes all waiters.
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
 * @typeParam T The values.
 */
export class Channel<T>
  implements
    AsyncIterable<T>,
    OperationIterable<T>,
    Disposable,
    AsyncDisposable {
  /** How many values the channel holds for later receivers; 0 if sender and receiver meet. */
  readonly capacity: number;
  readonly #values = new RingBuffer<T>();
  /** Number of values set aside for receivers that are woken and have not run: each of them finds one. */
  #promised = 0;
  readonly #senders = new WaitQueue<T>("Channel.send()", this);
  readonly #receivers = new WaitQueue("Channel.receive()", this);
  #closed = false;
  #reason: { readonly error: unknown } | null = null;
  #sizePeak = 0;
  #sent = 0;
  #received = 0;

  static {
    internals = {
      hasValue: (channel) => channel.#hasValue(),
      takeValue: (channel) => channel.#takeValue(),
      waitToReceive: (channel) => channel.#waitToReceive(),
      waitToSend: (channel, value) => channel.#waitToSend(value),
      receiveError: (channel) => channel.#receiveError(),
    };
  }

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

  /**
   * How many values it holds for later receivers; not those set aside for
   * receivers that are woken. More than `capacity` for a while if such receivers
   * are cancelled.
   */
  get size(): number {
    return this.#values.length - this.#promised;
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Returns the numbers of this moment.
   *
   * @returns A frozen snapshot.
   */
  stats(): ChannelStats {
    return Object.freeze({
      size: this.size,
      sizePeak: this.#sizePeak,
      sent: this.#sent,
      received: this.#received + this.#promised,
      sendersWaiting: this.#senders.pendingCount,
      receiversWaiting: this.#receivers.pendingCount,
    });
  }

  /**
   * The same as {@linkcode stats}, under the name that it has in the other
   * primitives.
   *
   * @returns A frozen snapshot.
   */
  statistics(): ChannelStats {
    return this.stats();
  }

  /**
   * Sends a value; waits while there is neither room nor a receiver.
   *
   * If the wait ends with an error, the value was not sent. A cancellation that
   * comes too late, in the turn after a receiver has taken the value, is thrown
   * at the task's next wait instead. From a plain callback, use
   * {@linkcode trySend}: `send(value)` that nobody awaits sends nothing.
   *
   * @param value The value to send.
   * @param options A signal that ends the wait.
   * @returns An operation. It does nothing until it is awaited.
   * @throws {ChannelClosedError} If the channel is closed, or is closed during
   * the wait. The error has the `value`.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  send(value: T, options?: WaitOptions): Operation<void> {
    return new SendOperation(this, value, options);
  }

  /**
   * Takes the next value; waits while there is none.
   *
   * If the wait ends with an error, no value was taken: one that was set aside
   * for this receiver goes to the next. From a plain callback, use
   * {@linkcode tryReceive}. An async function that may leave the wait behind, as
   * in a `Promise.race`, should end it by a signal: else it takes a value that
   * nobody receives.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the value. It does nothing until it is
   * awaited.
   * @throws {ChannelClosedError} If the channel is closed and no value is left.
   * If it was closed with a reason, that is thrown instead.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  receive(options?: WaitOptions): Operation<T> {
    return new ReceiveOperation(this, options);
  }

  /**
   * Sends a value if that is possible at once. May be called from a plain
   * callback.
   *
   * @param value The value to send.
   * @returns Whether it was sent: not if the channel is closed, or full and no
   * receiver waits.
   */
  trySend(value: T): boolean {
    if (this.#closed) return false;
    // The receiver will find a value, not necessarily this one: they leave in the order in which they came.
    if (this.#receivers.wakeNext() !== undefined) this.#promised++;
    else if (this.size >= this.capacity) return false;
    this.#accept(value);
    this.#notePeak();
    return true;
  }

  /**
   * Takes the next value if there is one. May be called from a plain callback.
   *
   * A value that is set aside for a woken receiver is not available.
   *
   * @returns `{ state: "ok", value }`, `{ state: "empty" }` or `{ state: "closed" }`.
   */
  tryReceive(): ChannelReceiveResult<T> {
    if (this.#hasValue()) return { state: "ok", value: this.#takeValue() };
    return this.#closed ? CLOSED : EMPTY;
  }

  /**
   * Closes the channel: nothing can be sent any more, values that are there can
   * still be received. Waiting senders get a {@linkcode ChannelClosedError} with
   * their value. Closing again does nothing.
   */
  close(): void;
  /**
   * Closes the channel with a reason, which receivers and iterations throw once
   * no value is left.
   *
   * @param reason The error for receivers.
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
   * Returns the values as a stream, which ends as an iteration does. Cancelling
   * the stream closes the channel, with the reason if there is one. Several
   * streams share the values. A loop must be running while the stream is read.
   *
   * @returns A stream that takes one value ahead of its reader.
   */
  toReadableStream(): ReadableStream<T> {
    return new ReadableStream<T>({
      pull: async (controller) => {
        try {
          // The task that pulls may end, or be cancelled, before the value comes.
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

  /** Accepts the value of the first waiting sender, if any. */
  #acceptNext(): boolean {
    const sender = this.#senders.wakeNext();
    if (sender === undefined) return false;
    this.#accept(sender.item);
    return true;
  }

  #hasValue(): boolean {
    return this.size > 0 || this.#acceptNext();
  }

  #takeValue(): T {
    const value = this.#values.shift() as T;
    this.#received++;
    // Senders fill the room.
    while (this.size < this.capacity && this.#acceptNext());
    this.#notePeak();
    return value;
  }

  *#waitToReceive(): Coroutine<T> {
    const receiver = this.#receivers.enter(undefined);
    let promised = false;
    let arrived = false;
    try {
      promised = yield* receiver;
      arrived = true;
    } finally {
      this.#receivers.leave(receiver);
      if (!arrived && receiver.woken && receiver.result()) this.#passOn();
    }
    if (promised) this.#promised--;
    else if (this.size === 0) throw this.#receiveError();
    return this.#takeValue();
  }

  /** The value that was set aside for a receiver stays where it is, for the next one. */
  #passOn(): void {
    if (this.#receivers.wakeNext() === undefined) this.#promised--;
    this.#notePeak();
  }

  *#waitToSend(value: T): Coroutine<void> {
    const sender = this.#senders.enter(value);
    let accepted: boolean;
    try {
      accepted = yield* sender;
    } catch (error) {
      accepted = sender.woken && sender.result();
      const cancelled = cancellationIn(error);
      if (!accepted || cancelled === null) throw error;
      findTask()?.postponeCancel(cancelled);
    } finally {
      this.#senders.leave(sender);
    }
    if (!accepted) throw sendError(value);
  }

  #receiveError(): unknown {
    return this.#reason === null
      ? new ChannelClosedError(
        "Cannot receive from a channel: it is closed",
      )
      : this.#reason.error;
  }

  #next(): NextOperation<T> {
    return new NextOperation(
      () => this.receive(),
      // A reason is thrown instead.
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
    return internals.waitToSend(this.#channel, this.#value);
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
    if (internals.hasValue(channel)) {
      return { done: true, value: internals.takeValue(channel) };
    }
    if (channel.closed) throw internals.receiveError(channel);
    return undefined;
  }

  protected wait(): Coroutine<T> {
    return internals.waitToReceive(this.#channel);
  }
}

const SEND = { name: "Channel.send()" };
const RECEIVE = { name: "Channel.receive()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };
const EMPTY = Object.freeze({ state: "empty" });
const CLOSED = Object.freeze({ state: "closed" });
