/**
 * What generators have no syntax for: `await` of a promise, `for await` and
 * `await using`.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { runOwned } from "../host/runtime.ts";
import { runBody } from "./block.ts";
import { core } from "./core.ts";
import { checkFunction, checkOptions, inspect } from "./checks.ts";
import { currentTask, findOwner, getRunningLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Operation, type WaitOptions } from "./operation.ts";
import type { Coroutine } from "./task.ts";

/**
 * Waits for something that is not of the loop: a promise.
 *
 * In a generator coroutine it is the way to wait for promises; in an async
 * function, the way to make such a wait one of the loop, which can be
 * cancelled, and which the virtual clock stands still for. Cancelling it leaves
 * the promise alone; what becomes of that later is ignored, except that a
 * failure other than an abort, or the closing of what was waited on, is reported
 * to the loop's exception handler. Any
 * number of waits for the same promise add one reaction to it, and leave
 * nothing on it when they end.
 *
 * Given a function, it calls it when the wait starts, and async functions
 * called in there belong to the current task: their own waits are cancelled with
 * it, and `currentTask` and {@linkcode TaskLocal} work in them.
 *
 * @example A promise in a generator coroutine
 * ```ts
 * import { run, until } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const text = await run(function* () {
 *   const response = yield* until(new Response("hello").text());
 *   return response.toUpperCase();
 * });
 * assertEquals(text, "HELLO");
 * ```
 *
 * @typeParam T What the promise resolves to.
 * @param source A promise, or a function that returns one.
 * @param options A signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `source` is neither, or `signal` no `AbortSignal`.
 */
export function until<T>(
  source: PromiseLike<T> | (() => PromiseLike<T>),
  options: WaitOptions = {},
): Operation<T> {
  if (typeof source !== "function" && typeof source?.then !== "function") {
    throw new TypeError(
      `Cannot wait until a promise settles as source must be a promise, or a function that returns one: received ${
        inspect(source)
      }`,
    );
  }
  checkOptions(options, "wait until a promise settles");
  return new Operation<T>(() => waitForSettlement(settle(source)), {
    ...options,
    name: "until()",
  });
}

/** Listens to what `source` is or gives. */
function settle<T>(
  source: PromiseLike<T> | (() => PromiseLike<T>),
): Settlement<T> {
  const loop = getRunningLoop();
  const promise = typeof source === "function" ? call(source) : source;
  // Its then() would be called where nobody knows any more who waits.
  if (promise instanceof Future) promise["checkWaiter"]();
  return new Settlement(loop, promise);
}

/** What a promise comes to, for one who waits. */
class Settlement<T> {
  readonly loop: EventLoop;
  readonly future: Future<T>;
  readonly reaction: Reaction<T>;

  constructor(loop: EventLoop, promise: PromiseLike<T>) {
    this.loop = loop;
    this.future = new Future<T>(loop, "a promise in until()");
    this.reaction = reactionOf(promise) as Reaction<T>;
    this.reaction.waiters.add(this.future);
  }

  /** Nobody waits any more. */
  leave(): void {
    const { loop, future, reaction } = this;
    if (reaction.waiters.delete(future)) reaction.lastLoop = loop;
  }
}

/**
 * Waits until a promise settles, for a task of a loop that may not be running
 * yet. It listens at once: an error is kept for the one who waits, and reported
 * like that of any future if nobody does.
 */
export function untilSettled<T>(
  promise: PromiseLike<T>,
  loop: EventLoop,
): Operation<T> {
  if (loop.isClosed()) loop[core].refuseClosed("create a task");
  return new SettledOperation(promise, loop);
}

class SettledOperation<T> extends Operation<T> {
  readonly #settlement: Settlement<T>;

  constructor(promise: PromiseLike<T>, loop: EventLoop) {
    super(undefined, SETTLED);
    this.#settlement = new Settlement(loop, promise);
  }

  protected override begin(): Coroutine<T> {
    return waitForSettlement(this.#settlement);
  }

  protected override drop(): void {
    super.drop();
    this.#settlement.leave();
  }
}

const SETTLED = { name: "until()" };

function* waitForSettlement<T>(settlement: Settlement<T>): Coroutine<T> {
  const { loop, future } = settlement;
  loop[core].outside.outsideBegan();
  try {
    return yield* future;
  } finally {
    loop[core].outside.outsideEnded();
    settlement.leave();
  }
}

/** Calls `source` so that what it awaits finds the current task again. */
function call<T>(source: () => PromiseLike<T>): PromiseLike<T> {
  const owner = findOwner();
  const promise = owner === null ? source() : runOwned(owner, source);
  if (typeof promise?.then !== "function") {
    throw new TypeError(
      `Cannot wait until a promise settles as source must return a promise: received ${
        inspect(promise)
      }`,
    );
  }
  return promise;
}

/** The one reaction of a promise that is waited for, on behalf of all who wait. */
class Reaction<T> {
  readonly waiters: Set<Future<T>> = new Set();
  /** The loop of the last who left without an answer. */
  lastLoop: EventLoop | null = null;

  constructor(promise: PromiseLike<T>) {
    // A foreign thenable may do anything in its then(); a promise may not.
    Promise.resolve(promise).then(
      (value) => {
        reactions.delete(promise);
        for (const future of this.waiters) {
          if (!future.done()) future.setResult(value);
        }
      },
      (error) => {
        reactions.delete(promise);
        let told = false;
        for (const future of this.waiters) {
          // It is about to leave, or can do so no more.
          if (future.done() || future.loop.isClosed()) {
            this.lastLoop = future.loop;
          } else {
            future.setException(error);
            told = true;
          }
        }
        if (!told) this.#reportLost(error);
      },
    );
  }

  /** Nobody waits any more, but this reaction has kept the error from being reported as unhandled. */
  #reportLost(error: unknown): void {
    // Who cancels a wait often closes what was waited on, which fails for that.
    const aborted = error instanceof CancelledError ||
      (error instanceof DOMException && error.name === "AbortError") ||
      error instanceof Deno.errors.Interrupted ||
      error instanceof Deno.errors.BadResource;
    if (aborted) return;
    this.lastLoop?.callExceptionHandler({
      message: "A promise given to until() failed after its waiter had left",
      exception: error,
    });
  }
}

const reactions = new WeakMap<PromiseLike<unknown>, Reaction<unknown>>();

function reactionOf(promise: PromiseLike<unknown>): Reaction<unknown> {
  let reaction = reactions.get(promise);
  if (reaction === undefined) {
    reactions.set(promise, reaction = new Reaction(promise));
  }
  return reaction;
}

// -- Items and resources --

/**
 * The key under which a source of items that is part of the library tells
 * {@linkcode each} how to wait for them without a promise in between, so that
 * no item is lost when the wait is cancelled.
 */
export const items: unique symbol = Symbol("items");

/** A source of items that {@linkcode each} can wait for by operations. */
export interface OperationIterable<T> {
  /** Starts an iteration: each call of the result is the wait for one more item. */
  [items](): ItemSource<T>;
}

/** An iteration of an {@linkcode OperationIterable}. */
export interface ItemSource<T> {
  /** Makes the wait for one more item. */
  (): Operation<IteratorResult<T, undefined>>;
  /**
   * Called when an iteration is left early; gives the wait for its end, if there
   * is something to wait for.
   */
  readonly close?: (() => Operation<unknown> | void) | undefined;
}

/** What {@linkcode each} calls for each item. */
export type EachBody<T> = (
  item: T,
  stop: () => void,
) => Coroutine<unknown> | PromiseLike<unknown> | void;

/**
 * Runs `body` with each item of an iterable, one after the other: `for await`
 * for generator coroutines.
 *
 * The next item is asked for when `body` is done with the last one. When it
 * throws, calls `stop`, or the wait is cancelled, the iterator is closed, as
 * leaving a `for await` loop does. If it still owes an item then, nobody waits
 * for it to close.
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
 * @typeParam T What the items are.
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
/** The same for whatever else `for await` takes. */
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
  let open = true;
  try {
    while (!stopped) {
      const step = yield* next();
      if (step.done === true) {
        open = false;
        return;
      }
      yield* runBody(currentTask()!, run, step.value);
    }
  } finally {
    const closing = open ? next.close?.() : undefined;
    if (closing instanceof Operation) yield* closing;
  }
}

function* eachAsync<T>(
  source: AsyncIterable<T>,
  body: EachBody<T>,
): Coroutine<void> {
  const iterator = source[Symbol.asyncIterator]();
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  const run = (item: T) => body(item, stop) as Coroutine<unknown>;
  while (!stopped) {
    const next = new PendingNext(iterator);
    let step: IteratorResult<T>;
    try {
      step = yield* until(next.promise);
    } catch (error) {
      // An iterator that has failed itself is at its end, and not closed.
      if (next.state === "pending") closeLater(iterator);
      else if (next.state === "fulfilled") yield* closeAfter(iterator);
      throw error;
    }
    if (step.done === true) return;
    try {
      yield* runBody(currentTask()!, run, step.value);
    } catch (error) {
      yield* closeAfter(iterator);
      throw error;
    }
  }
  yield* close(iterator);
}

/** A call of `next()` that knows what has become of it before anybody who waits for it does. */
export class PendingNext<T> {
  readonly promise: Promise<IteratorResult<T>>;
  state: "pending" | "fulfilled" | "rejected" = "pending";

  constructor(iterator: AsyncIterator<T>) {
    this.promise = Promise.resolve(iterator.next());
    this.promise.then(
      () => this.state = "fulfilled",
      () => this.state = "rejected",
    );
  }
}

function* close(iterator: AsyncIterator<unknown>): Coroutine<void> {
  if (iterator.return === undefined) return;
  yield* until(Promise.resolve(iterator.return()));
}

/** Closes after an error, which is worth more than one of closing, as in `for await`. */
export function* closeAfter(iterator: AsyncIterator<unknown>): Coroutine<void> {
  try {
    yield* close(iterator);
  } catch (error) {
    reportClosing(getRunningLoop(), error);
  }
}

/**
 * Closes an iterator that still owes an item. Many put `return()` in line behind
 * that, for ever if it never comes, so nobody waits for it.
 */
export function closeLater(iterator: AsyncIterator<unknown>): void {
  if (iterator.return === undefined) return;
  const loop = getRunningLoop();
  Promise.try(() => iterator.return!()).then(
    undefined,
    (error) => reportClosing(loop, error),
  );
}

function reportClosing(loop: EventLoop, error: unknown): void {
  if (error instanceof CancelledError) return;
  loop.callExceptionHandler({
    message: "An iterator failed to close after each() had been left",
    exception: error,
  });
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
    yield* runBody(currentTask()!, run, item);
    if (stopped) return;
  }
}

/**
 * Runs `body` with a resource and disposes of it afterwards, however the body
 * ends: `await using` for generator coroutines.
 *
 * The resource is disposed of by `[Symbol.asyncDispose]()`, else by
 * `[Symbol.dispose]()`, and waited for. If body and disposal both fail, a
 * `SuppressedError` has both. A cancellation during the disposal ends only the
 * wait for it.
 *
 * @example A file that is closed in any case
 * ```ts
 * import { run, scoped, until } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile();
 * await Deno.writeTextFile(path, "hello");
 * const size = await run(function* () {
 *   const file = yield* until(Deno.open(path));
 *   return yield* scoped(file, function* (file) {
 *     const { size } = yield* until(file.stat());
 *     return size;
 *   });
 * });
 * assertEquals(size, 5);
 * await Deno.remove(path);
 * ```
 *
 * @typeParam R What the resource is.
 * @typeParam T What the body gives.
 * @param resource Something with `[Symbol.asyncDispose]` or `[Symbol.dispose]`.
 * @param body A generator function or async function.
 * @returns An operation: nothing happens until it is waited for. It gives what
 * the body gives.
 * @throws {TypeError} If `resource` cannot be disposed of or `body` is not a function.
 */
export function scoped<R extends AsyncDisposable | Disposable, T>(
  resource: R,
  body: (resource: R) => Coroutine<T> | PromiseLike<T> | T,
): Operation<T> {
  const both = resource as
    | Partial<AsyncDisposable & Disposable>
    | null
    | undefined;
  if (
    typeof both?.[Symbol.asyncDispose] !== "function" &&
    typeof both?.[Symbol.dispose] !== "function"
  ) {
    throw new TypeError(
      `Cannot open a scope as resource must have [Symbol.asyncDispose] or [Symbol.dispose]: received ${
        inspect(resource)
      }`,
    );
  }
  checkFunction(body, "open a scope", "body");
  return new Operation<T>(() => inScope(resource, body), { name: "scoped()" });
}

function* inScope<R extends AsyncDisposable | Disposable, T>(
  resource: R,
  body: (resource: R) => Coroutine<T> | PromiseLike<T> | T,
): Coroutine<T> {
  let result: T;
  try {
    result = yield* runBody(currentTask()!, body, resource);
  } catch (error) {
    try {
      yield* dispose(resource);
    } catch (disposalError) {
      throw new SuppressedError(
        disposalError,
        error,
        "Both the body and the disposal failed",
      );
    }
    throw error;
  }
  yield* dispose(resource);
  return result;
}

function* dispose(
  resource: Partial<AsyncDisposable & Disposable>,
): Coroutine<void> {
  if (typeof resource[Symbol.asyncDispose] === "function") {
    yield* until(Promise.resolve(resource[Symbol.asyncDispose]!()));
  } else resource[Symbol.dispose]!();
}

function isThenable(value: unknown): value is PromiseLike<never> {
  return typeof (value as PromiseLike<never> | null | undefined)?.then ===
    "function";
}
