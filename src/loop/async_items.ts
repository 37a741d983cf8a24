/**
 * An async iterator as a task goes through it: `next()` and `return()` run as that
 * task, are cancelled with it, and let virtual time go on while they wait in an
 * operation of the loop.
 *
 * @module
 */
import { type CallFuture, callInTask } from "./body.ts";
import { inspect } from "./checks.ts";
import { getRunningLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { isCancellation } from "./cancellation.ts";
import type { Coroutine } from "./task_body.ts";

/** The iteration of one source, from its first item to its end. */
export class AsyncItems<T> {
  readonly #iterator: AsyncIterator<T>;
  readonly #loop: EventLoop;
  /** In messages, such as `"each()"`. */
  readonly #what: string;
  readonly #deed: string;
  #ended = false;

  /**
   * Opens the source.
   *
   * @param what Name of the caller in messages, such as `"each()"`.
   * @param deed Deed of the caller in messages, such as `"map over a source"`.
   * @throws {TypeError} If its iterator is no object.
   */
  constructor(source: AsyncIterable<T>, what: string, deed: string) {
    this.#loop = getRunningLoop();
    this.#what = what;
    this.#deed = deed;
    const iterator: unknown = source instanceof ReadableStream
      ? new StreamItems<T>(source)
      : source[Symbol.asyncIterator]();
    if (!isObject(iterator)) {
      throw new TypeError(
        `Cannot ${deed} as its async iterator must be an object: received ${
          inspect(iterator)
        }`,
      );
    }
    this.#iterator = iterator as AsyncIterator<T>;
  }

  /** Whether there is nothing to close: the iterator is at its end, has failed, or is closed. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Waits for the next item.
   *
   * A cancellation is thrown into the operation for which the iterator waits.
   * While the iterator waits for anything else, the wait for it ends within a
   * few turns. The iterator is closed then, and also when the wait ends
   * otherwise before there is an item.
   *
   * @returns A coroutine that returns the step of the iterator.
   * @throws {TypeError} If `next()` returns no object.
   */
  *next(): Coroutine<IteratorResult<T>> {
    this.#ended = true; // unless there is an item
    const call = callInTask(
      () => this.#iterator.next(),
      `the next item in ${this.#what}`,
      (error) => this.#report(error),
    );
    let step: IteratorResult<T>;
    try {
      step = yield* call;
    } catch (error) {
      yield* this.#afterFailure(call);
      throw error;
    }
    this.#ended = checkStep(step, this.#deed, "next()").done === true;
    return step;
  }

  /** An iterator that has failed itself is at its end, and not closed. */
  *#afterFailure(call: CallFuture<unknown>): Coroutine<void> {
    if (!call.done() || call.givenUp) {
      call.giveUp();
      this.closeLater();
    } else if (!call.failed() && !call.cancelled()) {
      this.#ended = false;
      yield* this.closeAfterError();
    }
  }

  /**
   * Closes the iterator, as leaving a `for await` loop does.
   *
   * @throws {TypeError} If `return()` returns no object.
   */
  *close(): Coroutine<void> {
    const iterator = this.#iterator;
    if (this.#ended) return;
    this.#ended = true;
    if (iterator.return === undefined || iterator.return === null) return;
    const call = callInTask(
      () => iterator.return!(),
      `the end of an iterator in ${this.#what}`,
      (error) => this.#report(error),
    );
    checkStep(yield* call, this.#deed, "return()");
  }

  /** Closes the iterator after an error, which hides an error of the closing, as in `for await`. */
  *closeAfterError(): Coroutine<void> {
    try {
      yield* this.close();
    } catch (error) {
      this.#report(error);
    }
  }

  /**
   * Closes an iterator that still owes an item. Many queue `return()` behind
   * that item, which may never come, so it is not waited for.
   */
  closeLater(): void {
    const iterator = this.#iterator;
    if (iterator.return === undefined || iterator.return === null) return;
    Promise.try(() => iterator.return!()).then(
      undefined,
      (error) => this.#report(error),
    );
  }

  #report(error: unknown): void {
    if (isCancellation(error)) return;
    this.#loop.callExceptionHandler({
      message: `An iterator failed to close after ${this.#what} had been left`,
      exception: error,
    });
  }
}

/** Throws if a step of an iterator is none, as `for await` does. */
function checkStep<S>(step: S, deed: string, method: string): S {
  if (isObject(step)) return step;
  throw new TypeError(
    `Cannot ${deed} as ${method} of its iterator must return an object: received ${
      inspect(step)
    }`,
  );
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null ||
    typeof value === "function";
}

/**
 * The chunks of a stream. A stream's own iterator queues `return()` behind a
 * chunk that it owes; this one cancels the stream at once.
 */
class StreamItems<T> implements AsyncIterator<T, undefined> {
  readonly #reader: ReadableStreamDefaultReader<T>;

  constructor(stream: ReadableStream<T>) {
    this.#reader = stream.getReader();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    let step: ReadableStreamReadResult<T>;
    try {
      step = await this.#reader.read();
    } catch (error) {
      this.#reader.releaseLock();
      throw error;
    }
    if (!step.done) return { done: false, value: step.value };
    this.#reader.releaseLock();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    const cancelled = this.#reader.cancel();
    this.#reader.releaseLock();
    await cancelled;
    return { done: true, value: undefined };
  }
}
