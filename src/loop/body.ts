/**
 * Async functions that are a part of a task: the bodies of timeouts, groups and
 * scopes.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { runOwned } from "../host/async_context.ts";
import type { Block } from "./block.ts";
import { current, findPlace } from "./current.ts";
import { Future, type Suspension } from "./future.ts";
import type { Coroutine, Task } from "./task.ts";

const GeneratorFunctionPrototype = Object.getPrototypeOf(function* () {});

/**
 * Calls `body` in the current task: the result is what to `yield*` for what it
 * gives. An async function then belongs to the task, and is waited for to its
 * very end: a cancellation goes to what it waits for, not to the wait for it.
 */
export function runBody<A, T>(
  task: Task<unknown>,
  body: (argument: A) => Coroutine<T> | PromiseLike<T> | T,
  argument: A,
  place: Block | null = findPlace(task),
): Iterable<Suspension, T, unknown> {
  const product = Object.getPrototypeOf(body) === GeneratorFunctionPrototype
    ? body(argument)
    : runOwned(place ?? task, () => body(argument));
  if (typeof product !== "object" || product === null) {
    return new Finished(product as T);
  }
  // An operation or future is both, and is waited for as what it is.
  if (typeof (product as Coroutine<T>)[Symbol.iterator] === "function") {
    const isWaited = typeof (product as Coroutine<T>).throw === "function" ||
      typeof (product as PromiseLike<T>).then === "function";
    if (isWaited) return product as Iterable<Suspension, T, unknown>;
  }
  return typeof (product as PromiseLike<T>).then === "function"
    ? new BodyFuture<T>(task, place, product as PromiseLike<T>)
    : new Finished(product as T);
}

/** A body that was over at once. */
class Finished<T> implements Iterable<Suspension, T, unknown> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    return {
      next: () => ({ done: true, value: this.#value }),
      throw: (error) => {
        throw error;
      },
    };
  }
}

/** What an async function inside a task produces. Whoever wants it to end cancels what it waits for. */
export class BodyFuture<T> extends Future<T> {
  readonly #task: Task<unknown>;
  /** The block that the function is in. */
  readonly #place: Block | null;
  /** Whether the wait for this is one of an async function itself. */
  readonly #nested: boolean;

  constructor(
    task: Task<unknown>,
    place: Block | null,
    promise: PromiseLike<T>,
  ) {
    super(task.loop, "an async function inside a block");
    this.#task = task;
    this.#place = place;
    this.#nested = current.stepper !== task as unknown;
    task["bodyBegan"](this.#nested);
    promise.then(
      (value) => {
        if (this.#ended(false)) this.setResult(value);
      },
      (error) => {
        const cancelled = error instanceof CancelledError;
        if (this.#ended(cancelled)) this.setException(error);
      },
    );
  }

  #ended(cancelled: boolean): boolean {
    this.#task["bodyEnded"](this.#place, this.#nested, cancelled);
    return !this.done();
  }

  override *[Symbol.iterator](): Generator<Suspension, T, unknown> {
    try {
      return yield* { [Symbol.iterator]: () => super[Symbol.iterator]() };
    } catch (error) {
      if (!this.done() || this.failed()) throw error;
      // It had ended already: a cancellation is for what comes next.
      this.#task["pendAt"](this.#place, error);
      return this.result();
    } finally {
      this.#task["bodyLeft"](this.#place);
    }
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    this.#task["cancelBody"](this.#place, reason);
    return true;
  }
}
