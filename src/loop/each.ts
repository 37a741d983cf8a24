/**
 * `each`: a function called for every item of an async iterable, a channel or a
 * queue, in place of `for await`.
 *
 * @module
 */
import { AsyncItems } from "./async_items.ts";
import { runBody } from "./body.ts";
import { isCancellation } from "./cancellation.ts";
import {
  checkFunction,
  inspect,
  isGeneratorFunction,
  isThenable,
} from "./checks.ts";
import { getRunningLoop } from "./current.ts";
import { Operation } from "./operation.ts";
import type { Coroutine } from "./task_body.ts";
import { until } from "./until.ts";

/**
 * Key of the method by which sources of this library let {@linkcode each} wait
 * for items without a promise in between, so that no item is lost when the wait
 * is cancelled.
 */
export const items: unique symbol = Symbol("items");

/** A source of items that {@linkcode each} can wait for by operations. */
export interface OperationIterable<T> {
  /** Starts an iteration: each call of the returned function waits for one more item. */
  [items](): ItemSource<T>;
}

/** An iteration of an {@linkcode OperationIterable}. */
export interface ItemSource<T> {
  /** Makes the wait for one more item. */
  (): Operation<IteratorResult<T, undefined>>;
  /**
   * Called when an iteration is left early; returns an operation that waits for
   * its end, if there is something to wait for.
   */
  readonly close?: (() => Operation<unknown> | void) | undefined;
}

/** Function that {@linkcode each} calls for each item. */
export type EachBody<T> = (
  item: T,
  stop: () => void,
) => Coroutine<unknown> | PromiseLike<unknown> | void;

/**
 * Runs `body` with each item of an iterable, one after the other: `for await`
 * for generator coroutines.
 *
 * The next item is requested when `body` has returned, or its promise has
 * settled. When `body` throws or calls `stop`, or the wait is cancelled, the
 * iterator is closed, as leaving a `for await` loop does. If it still owes an
 * item then, `each` does not wait for it to close. An error of the closing is
 * thrown; after another error, the loop's exception handler is told of it.
 *
 * A cancellation is thrown into the operation for which `body` or the iterator
 * waits. While an async iterator waits for anything else, such as a foreign
 * promise, a cancellation ends the wait for it within a few turns. An async
 * `body` is always waited for to its end: the cancellation is thrown by its
 * next operation.
 *
 * @example The lines of a stream
 * ```ts
 * import { each, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const words: string[] = [];
 * await run(function* () {
 *   yield* each(ReadableStream.from(["a", "b", "c"]), function* (word, stop) {
 *     words.push(word);
 *     if (word === "b") stop();
 *   });
 * });
 * assertEquals(words, ["a", "b"]);
 * ```
 *
 * @typeParam T Type of the items.
 * @param source Anything that `for await` takes.
 * @param body A generator function or async function. `stop()` ends the
 * iteration after this item.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `source` is not iterable or `body` is not a function.
 */
export function each<T>(
  source: OperationIterable<T>,
  body: EachBody<T>,
): Operation<void>;
/** The same for all other sources that `for await` takes. */
export function each<T>(
  source:
    | OperationIterable<T>
    | AsyncIterable<T>
    | Iterable<T | PromiseLike<T>>,
  body: EachBody<T>,
): Operation<void>;
export function each<T>(
  source:
    | OperationIterable<T>
    | AsyncIterable<T>
    | Iterable<T | PromiseLike<T>>,
  body: EachBody<T>,
): Operation<void> {
  const native = (source as OperationIterable<T> | null)?.[items];
  const asynchronous = (source as AsyncIterable<T> | null)
    ?.[Symbol.asyncIterator];
  if (
    typeof native !== "function" && typeof asynchronous !== "function" &&
    typeof (source as Iterable<T> | null)?.[Symbol.iterator] !== "function"
  ) {
    throw new TypeError(
      `Cannot iterate as source must be iterable: received ${inspect(source)}`,
    );
  }
  checkFunction(body, "iterate", "body");
  return new Operation<void>(
    typeof native === "function"
      ? () => eachItem(source as OperationIterable<T>, body)
      : typeof asynchronous === "function"
      ? () => eachAsync(source as AsyncIterable<T>, body)
      : () => eachSync(source as Iterable<T | PromiseLike<T>>, body),
    { name: "each()" },
  );
}

function* eachItem<T>(
  source: OperationIterable<T>,
  body: EachBody<T>,
): Coroutine<void> {
  const next = source[items]();
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  const run = (item: T) => body(item, stop) as Coroutine<unknown>;
  // Called directly, a generator function costs a tenth of what any other body does.
  const isGenerator = isGeneratorFunction(body);
  let open = true;
  let failed = false;
  try {
    while (!stopped) {
      const step = yield* next();
      if (step.done === true) {
        open = false;
        return;
      }
      if (isGenerator) yield* run(step.value);
      else yield* runBody(null, run, step.value);
    }
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    if (open) yield* failed ? closeAfterError(next) : close(next);
  }
}

function* close({ close }: ItemSource<unknown>): Coroutine<void> {
  const closing = close?.();
  if (closing instanceof Operation) yield* closing;
}

/** An error of the iteration hides one of its closing, as in `for await`. */
function* closeAfterError(next: ItemSource<unknown>): Coroutine<void> {
  const loop = getRunningLoop();
  try {
    yield* close(next);
  } catch (error) {
    if (isCancellation(error)) return;
    loop.callExceptionHandler({
      message: "A source failed to close after each() had been left",
      exception: error,
    });
  }
}

function* eachAsync<T>(
  source: AsyncIterable<T>,
  body: EachBody<T>,
): Coroutine<void> {
  const items = new AsyncItems(source, "each()", "iterate over a source");
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  const run = (item: T) => body(item, stop) as Coroutine<unknown>;
  while (!stopped) {
    const step = yield* items.next();
    if (step.done === true) return;
    try {
      yield* runBody(null, run, step.value);
    } catch (error) {
      yield* items.closeAfterError();
      throw error;
    }
  }
  yield* items.close();
}

function* eachSync<T>(
  source: Iterable<T | PromiseLike<T>>,
  body: EachBody<T>,
): Coroutine<void> {
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  const run = (item: T) => body(item, stop) as Coroutine<unknown>;
  for (const entry of source) {
    const item: T = isThenable(entry) ? yield* until<T>(entry) : entry as T;
    yield* runBody(null, run, item);
    if (stopped) return;
  }
}
