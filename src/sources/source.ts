/**
 * Sources: events from outside as items that a task takes one after the other, with
 * a bounded buffer in between.
 *
 * A subclass knows where the items come from. It calls `deliver`, `end` and `fail`,
 * and is told once, by `release`, when nothing more is wanted:
 *
 *     OPEN --end(), fail()--> ENDED      items that are buffered can still be taken
 *     OPEN, ENDED --leave()--> ENDED     and nothing is buffered any more
 *
 * @module
 */
import { resourceWatch } from "../loop/resource_watch.ts";
import {
  MisuseError,
  SourceClosedError,
  SourceOverflowError,
} from "../errors.ts";
import { AttemptOperation, mayGoOnAtOnce } from "../loop/attempt_operation.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { core } from "../loop/core.ts";
import { getRunningLoop } from "../loop/current.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type {
  Operation,
  OperationOptions,
  WaitOptions,
} from "../loop/operation.ts";
import { subscribe, type Subscription } from "../loop/signal_hub.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { isUnseen } from "../loop/waiters.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import {
  type Overflow,
  settle,
  type SourceKind,
  type SourceOptions,
} from "./source_options.ts";

export type { Overflow, SourceOptions } from "./source_options.ts";

/** The private side of a source, for its operations. */
interface SourceInternals {
  attempt<T>(source: Source<T>): T | typeof NOTHING | typeof ENDED;
  enter<T>(source: Source<T>, wait: ItemWait<T, unknown>): void;
  exit<T>(source: Source<T>, wait: ItemWait<T, unknown>): void;
}

const NOTHING = Symbol("nothing");
const ENDED = Symbol("ended");

/** Set by {@linkcode Source} when it is loaded. */
let internals: SourceInternals;

/**
 * Items from outside, for one consumer: what `fromEvent`, `fromWebSocket` and the
 * other functions of this folder return.
 *
 * A source is subscribed when the call that made it returns. Items are kept in a buffer
 * from then on until the consumer takes them: nothing is lost between making a source and
 * going through it, unless the buffer overflows, and then `overflow` decides and `dropped`
 * counts.
 *
 * Take items by `each(source, …)` in a generator coroutine, by `for await` in an async
 * function, or one at a time by {@linkcode take}. Only one wait at a time is allowed,
 * as events go to all who listen: make a source for each consumer. A wait that is
 * cancelled takes no item.
 *
 * The source unsubscribes, once and at once, when an iteration is left in any way
 * (`break`, an error, a cancellation, `stop()`), by {@linkcode close} and `using`, when
 * its `signal` aborts, when it ends or fails by itself, and at the latest when the loop
 * is closed. A source that is never gone through and never closed stays subscribed
 * until then. After it was left, further iterations end at once.
 *
 * From the first wait until the source ends, the process stays alive, and waits are no
 * deadlock. On a virtual clock that holds only for sources outside the program, such as
 * files and sockets, and while somebody waits; then the clock stands still. Waits for the
 * events of an `EventTarget` do not hold it up.
 *
 * @typeParam T The items.
 */
export abstract class Source<T>
  implements
    AsyncIterable<T>,
    OperationIterable<T>,
    Disposable,
    AsyncDisposable {
  /** The loop to which the consumer belongs. */
  protected readonly loop: EventLoop;
  /** Name in messages. */
  protected readonly label: string;
  readonly #items = new RingBuffer<T>();
  readonly #capacity: number;
  readonly #overflow: Overflow;
  readonly #isOutside: boolean;
  readonly #place: Place;
  readonly #ending: EndListener = { loopClosed: () => this.#leave() };
  /** Whether the loop counts on this source to wake somebody. */
  #isHolding = false;
  #subscription: Subscription | null = null;
  #dropped = 0;
  #waiter: ItemWait<T, unknown> | null = null;
  #ended = false;
  /** Error with which it has ended, reported like that of any future if nobody sees it. */
  #failure: Future<never> | null = null;

  static {
    internals = {
      attempt: (source) => source.#attempt(),
      enter: (source, wait) => source.#enter(wait),
      exit: (source, wait) => source.#exit(wait),
    };
  }

  /**
   * Sources are made by the functions of this folder. The subclass subscribes
   * afterwards, and calls {@linkcode begin} when it has.
   *
   * @ignore
   */
  constructor(options: SourceOptions, kind: SourceKind) {
    [this.#capacity, this.#overflow] = settle(options, kind);
    this.loop = getRunningLoop();
    this.label = kind.name;
    this.#place = { loop: this.loop, label: `an item of ${kind.name}` };
    this.#isOutside = kind.outside === "always" ||
      kind.outside === "real" && !this.loop[core].virtual;
  }

  /** Ties a source that has subscribed to its signal and its loop. */
  protected begin(signal: AbortSignal | undefined): void {
    if (this.#ended) return; // by what subscribing has called
    this.loop[core].endings.add(this.#ending);
    resourceWatch.current?.taken("listener", this, this.label);
    if (signal === undefined) return;
    this.#subscription = subscribe(signal, (reason) => {
      this.#items.clear();
      this.aborted(reason);
      this.#failWith(reason, "quiet");
    });
  }

  /** Unsubscribes. Called once, whatever ends the source; must not throw. */
  protected abstract release(): void;

  /** Returns an operation that waits until everything is cleaned up, if that takes time. */
  protected cleanUp(): Operation<unknown> | undefined {
    return undefined;
  }

  /** Called when the consumer begins to wait. */
  protected wanted(): void {
    // Most sources need not be asked.
  }

  /** Called when the source is about to end as its signal has aborted. */
  protected aborted(_reason: unknown): void {
    // Only web sockets have other waits that end.
  }

  /** Called when the source is about to end as its buffer is full. */
  protected overflowed(): void {
    // Only a web socket has somebody to tell.
  }

  /** Called when an item was taken: there is room for another one. */
  protected taken(): void {
    // Most sources cannot wait for room.
  }

  /** How many items were dropped because the buffer was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How many items wait in the buffer. */
  get size(): number {
    return this.#items.length;
  }

  /** Whether no more items will come; those of the buffer can still be taken. */
  get closed(): boolean {
    return this.#ended;
  }

  /** Whether an item would have to wait. */
  protected get isFull(): boolean {
    return this.#items.length >= this.#capacity;
  }

  /** Hands in an item, from any code. Dropped if the source has ended. */
  protected deliver(item: T): void {
    if (this.#ended) return;
    if (this.isFull && !this.#makeRoom()) return;
    this.#items.push(item);
    this.#wake();
  }

  /** Applies the policy; returns whether the new item may be kept. */
  #makeRoom(): boolean {
    switch (this.#overflow) {
      case "block": // the source has asked for one item more than it had to
        return true;
      case "drop-oldest":
        this.#items.shift();
        this.#dropped++;
        return true;
      case "drop-newest":
        this.#dropped++;
        return false;
      case "error":
        this.#dropped++;
        this.overflowed();
        this.#failWith(
          new SourceOverflowError(
            `Cannot keep an item of ${this.label}: its buffer of ${this.#capacity} is full`,
          ),
          "loud",
        );
        return false;
    }
  }

  #wake(): void {
    const waiter = this.#waiter;
    if (waiter !== null && !waiter.done()) waiter.setResult(undefined);
  }

  /** Ends the source; what is buffered can still be taken. */
  protected end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
    this.loop[core].endings.delete(this.#ending);
    resourceWatch.current?.returned(this);
    this.#letGo();
    try {
      this.release();
    } finally {
      this.#wake(); // also if an emitter refuses to be left
    }
  }

  /** Ends the source with an error, which the consumer gets after what is buffered. */
  protected fail(error: unknown): void {
    // The end of the loop cancels the tasks of a merge that was left without a word.
    this.#failWith(error, isCancellation(error) ? "quiet" : "loud");
  }

  #failWith(error: unknown, how: "quiet" | "loud"): void {
    if (this.#ended) return;
    this.#failure = new Future<never>(this.loop, this.label);
    this.#failure.setException(error);
    if (how === "quiet") this.failureSeen();
    this.end();
  }

  /** Notes that the error need not be reported, as it is known by other means. */
  protected failureSeen(): void {
    this.#failure?.exception();
  }

  /** Ends the source, as its consumer has gone. */
  #leave(): void {
    this.#items.clear();
    const failure = this.#failure;
    this.#failure = null;
    this.end();
    if (failure !== null && failure[isUnseen]()) {
      this.report(
        failure.exception(),
        "failed and nobody ever looked at the error",
      );
    }
  }

  /** Has the exception handler told of an error that reaches nobody else. */
  protected report(error: unknown, what: string): void {
    if (isCancellation(error)) return; // of a task that has ended by it
    this.loop.callExceptionHandler({
      message: `${this.label} ${what}`,
      exception: error,
    });
  }

  #attempt(): T | typeof NOTHING | typeof ENDED {
    if (this.#waiter !== null) this.#refuse();
    if (this.#items.length > 0) return this.#shift();
    if (!this.#ended) return NOTHING;
    const failure = this.#failure;
    if (failure === null) return ENDED;
    this.#failure = null;
    return failure.result(); // which throws
  }

  #shift(): T {
    const item = this.#items.shift() as T;
    this.taken();
    return item;
  }

  /** Whether the next item can be taken at once. */
  #hasReady(): boolean {
    return this.#items.length > 0 && this.#waiter === null;
  }

  /** A wait begins: nobody else waits. */
  #enter(wait: ItemWait<T, unknown>): void {
    this.#waiter = wait;
    if (this.#isOutside && !this.#isHolding) {
      this.#isHolding = true;
      this.loop[core].outside.outsideBegan();
    }
    this.wanted();
  }

  /** The wait is over, in whatever way. */
  #exit(wait: ItemWait<T, unknown>): void {
    if (this.#waiter !== wait) return; // it has not begun
    this.#waiter = null;
    // Virtual time may go on. A real loop does not mind, and to tell it costs time.
    if (this.#isHolding && this.loop[core].virtual) this.#letGo();
  }

  #letGo(): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    this.loop[core].outside.outsideEnded();
  }

  #refuse(): never {
    throw new MisuseError(
      `Cannot wait for an item of ${this.label}: somebody waits for it already, make a source for each consumer`,
    );
  }

  /**
   * Takes the next item; waits while there is none.
   *
   * A wait that ends with an error has taken no item, and leaves the source as it
   * was. To get an event that you cause yourself, make the source first, then cause
   * the event, then take it. An async function that may leave the wait behind, as in a
   * `Promise.race`, should end it by a signal: else it is in the way of the next wait.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the item. It does nothing until it is
   * awaited.
   * @throws {SourceClosedError} If the source has ended and nothing is left.
   * @throws {MisuseError} If somebody waits for an item already.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  take(options?: WaitOptions): Operation<T> {
    return new TakeOperation(this, this.#place, options);
  }

  /**
   * Unsubscribes at once. Items that are buffered can still be taken; then iterations
   * end, and {@linkcode take} throws. Calling it again does nothing.
   */
  close(): void {
    this.end();
  }

  /** Unsubscribes and drops what is buffered: the end of a block that has `using`. */
  [Symbol.dispose](): void {
    this.#leave();
  }

  /**
   * Unsubscribes, drops what is buffered, and waits until everything is cleaned up.
   *
   * @returns A promise that resolves then.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#leave();
    if (!this.loop.isClosed()) await this.cleanUp();
  }

  /** @ignore */
  [items](): ItemSource<T> {
    return this.#iteration().next;
  }

  #iteration(): Iteration<T> {
    let role: IterationRole = "new";
    const change = (to: IterationRole) => {
      if (role !== "consumer") role = to;
    };
    const next = Object.assign(
      () => new NextOperation<T>(this, this.#place, change),
      {
        close: () => {
          // The items are those of another consumer.
          if (role === "refused") return undefined;
          this.#leave();
          return this.cleanUp();
        },
      },
    );
    return { next, change };
  }

  /**
   * Takes item after item until the source ends; throws the error with which it
   * failed. Leaving the loop closes the source. In a generator coroutine, use
   * `each(source, …)`.
   *
   * @returns An iterator for `for await`.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    const { next, change } = this.#iteration();
    return {
      // No async function: the wait is that of the caller, and costs half as much.
      next: () => {
        if (this.#hasReady() && mayGoOnAtOnce()) {
          change("consumer");
          return Promise.resolve({ done: false, value: this.#shift() });
        }
        const { promise, resolve, reject } = Promise.withResolvers<
          IteratorResult<T, undefined>
        >();
        try {
          next().then(
            resolve,
            (error) => this.#failLeaving(next, error, reject),
          );
        } catch (error) {
          this.#failLeaving(next, error, reject); // no loop is running
        }
        return promise;
      },
      return: async () => {
        await next.close?.();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Closes an iteration whose step has failed: "for await" does not. */
  #failLeaving(
    { close }: ItemSource<T>,
    error: unknown,
    reject: (error: unknown) => void,
  ): void {
    // A call that was refused ends nothing.
    const closing = error instanceof MisuseError ? undefined : close?.();
    if (closing === undefined) return reject(error);
    closing.then(() => reject(error), (other) => {
      this.report(other, "failed to close");
      reject(error);
    });
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"Source"`.
   */
  get [Symbol.toStringTag](): string {
    return "Source";
  }
}

/**
 * A wait for an item: the future that the task waits for, and the iterator that enters the
 * wait and takes the item. Written by hand, as nested generators would double the cost.
 */
class ItemWait<T, R> extends Future<R> {
  // Declared here and assigned in the constructor, as in Future.
  declare private readonly source: Source<T>;
  declare private readonly operation: ItemOperation<T, R>;
  declare private entered: boolean;

  constructor(
    loop: EventLoop,
    label: string,
    source: Source<T>,
    operation: ItemOperation<T, R>,
  ) {
    super(loop, label);
    this.source = source;
    this.operation = operation;
    this.entered = false;
  }

  protected override next(): IteratorResult<Future<unknown>, R> {
    if (!this.entered) {
      // The item may have come since the attempt, which can be some time ago.
      const found = this.operation.take();
      if (found !== undefined) return found;
      this.entered = true;
      this.operation.enter(this);
    }
    if (!this.done()) return super.next() as IteratorResult<Future<unknown>, R>;
    internals.exit(this.source, this as ItemWait<T, unknown>);
    this.result(); // which throws a cancellation
    return this.operation.take()!;
  }

  protected override throw(error: unknown): never {
    internals.exit(this.source, this as ItemWait<T, unknown>);
    throw error;
  }

  protected override return(value: R): IteratorResult<Future<unknown>, R> {
    internals.exit(this.source, this as ItemWait<T, unknown>);
    return { done: true, value };
  }
}

/** The next item, in the form that the caller wants it. */
abstract class ItemOperation<T, R> extends AttemptOperation<R> {
  declare protected readonly source: Source<T>;
  declare private readonly place: Place;

  constructor(
    source: Source<T>,
    place: Place,
    named: OperationOptions,
    options: WaitOptions | undefined,
  ) {
    super(named, options);
    this.source = source;
    this.place = place;
  }

  /** Makes the result of what was found. */
  protected abstract form(item: T | typeof ENDED): R;
  /** Called with what the wait throws. */
  protected failed(_error: unknown): void {
    // Only iterations have to know.
  }

  /** Takes an item, if there is one. */
  take(): IteratorReturnResult<R> | undefined {
    try {
      const item = internals.attempt(this.source);
      return item === NOTHING
        ? undefined
        : { done: true, value: this.form(item) };
    } catch (error) {
      this.failed(error);
      throw error;
    }
  }

  /** Begins to wait. */
  enter(wait: ItemWait<T, R>): void {
    internals.enter(this.source, wait as ItemWait<T, unknown>);
  }

  protected attempt(): IteratorReturnResult<R> | undefined {
    return this.take();
  }

  protected wait(): Coroutine<R> {
    const { loop, label } = this.place;
    const wait = new ItemWait<T, R>(loop, label, this.source, this);
    return wait as unknown as Coroutine<R>;
  }
}

/** Whether an iteration has had its turn; not if another consumer was there first. */
type IterationRole = "new" | "consumer" | "refused";

/** An iteration: makes its waits, and notes its turn. */
interface Iteration<T> {
  readonly next: ItemSource<T>;
  readonly change: (to: IterationRole) => void;
}

/** Where waits belong. */
interface Place {
  readonly loop: EventLoop;
  /** Name of the wait, in words. */
  readonly label: string;
}

const NEXT = { name: "the next item of a source" };
const TAKE = { name: "Source.take()" };
const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

class NextOperation<T> extends ItemOperation<T, IteratorResult<T, undefined>> {
  declare private readonly change: (to: IterationRole) => void;

  constructor(
    source: Source<T>,
    place: Place,
    change: (to: IterationRole) => void,
  ) {
    super(source, place, NEXT, undefined);
    this.change = change;
  }

  override enter(wait: ItemWait<T, IteratorResult<T, undefined>>): void {
    super.enter(wait);
    this.change("consumer");
  }

  protected form(item: T | typeof ENDED): IteratorResult<T, undefined> {
    this.change("consumer");
    return item === ENDED ? DONE : { done: false, value: item as T };
  }

  protected override failed(error: unknown): void {
    if (error instanceof MisuseError) this.change("refused");
  }
}

class TakeOperation<T> extends ItemOperation<T, T> {
  constructor(
    source: Source<T>,
    place: Place,
    options: WaitOptions | undefined,
  ) {
    super(source, place, TAKE, options);
  }

  protected form(item: T | typeof ENDED): T {
    if (item !== ENDED) return item as T;
    throw new SourceClosedError(
      "Cannot take an item of a source: it has ended",
    );
  }
}
