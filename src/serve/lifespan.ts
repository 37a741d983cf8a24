/**
 * Lifespan of a server: a resource that is opened before it listens and closed when it has ended.
 *
 * @module
 */
import { isCancellation } from "../loop/cancellation.ts";
import { checkFunction, isSteppable, isThenable } from "../loop/checks.ts";
import { inspect } from "../loop/checks.ts";
import type { Suspension } from "../loop/future.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";

/**
 * The lifespan of a server: an async generator function, whose `yield` gives the value
 * and which goes on behind it when the server has ended; or a plain, async or generator
 * function that returns the value, which is disposed of at the end if it can be, by
 * `[Symbol.asyncDispose]()` or else `[Symbol.dispose]()`; or such a value itself.
 *
 * A server that is cancelled while its lifespan is being opened waits until that has
 * failed, or closes again what was opened all the same.
 *
 * @typeParam V Type of the value, which each handler gets as `context.value`.
 */
export type LifespanSource<V> =
  | (() =>
    | AsyncGenerator<V, void, void>
    | Coroutine<V>
    | PromiseLike<V>
    | V)
  | (V & (AsyncDisposable | Disposable));

type Both = Partial<AsyncDisposable & Disposable>;

/** A lifespan that was or will be started, once. */
export class Lifespan<V> {
  readonly #source: LifespanSource<V> | null;
  /** Closes what was opened; null if there is nothing to close. */
  #stop: (() => Coroutine<void>) | null = null;

  constructor(source: LifespanSource<V> | null) {
    this.#source = source;
  }

  /** Opens it, and returns the value. Runs in the task of the server. */
  *start(): Coroutine<V> {
    const source = this.#source;
    if (source === null) return undefined as V;
    if (typeof source !== "function") return this.#keep(source as V);
    let product: unknown = source();
    if (isAsyncGenerator<V>(product)) {
      return yield* this.#startGenerator(product);
    }
    if (isSteppable(product)) product = yield* product as Coroutine<V>;
    else if (isThenable(product)) {
      const promise = product as PromiseLike<V>;
      product = yield* untilOpen(() => promise, (value) => {
        this.#keep(value);
        return this.stop();
      });
    }
    return this.#keep(product as V);
  }

  *#startGenerator(generator: AsyncGenerator<V, void, void>): Coroutine<V> {
    const first = yield* untilOpen(
      () => generator.next(),
      () => until(() => generator.return()),
    );
    if (first.done === true) {
      throw new TypeError(
        "Cannot start a server as its lifespan must yield a value: it returned without one",
      );
    }
    this.#stop = function* () {
      const last = yield* until(() => generator.next());
      if (last.done === true) return;
      yield* until(() => generator.return());
      throw new TypeError(
        `Cannot end a lifespan as it must yield only once: it yielded ${
          inspect(last.value)
        } as well`,
      );
    };
    return first.value;
  }

  /** Has a value disposed of at the end, if it can be. */
  #keep(value: V): V {
    const both = value as Both | null | undefined;
    if (!isDisposable(both)) return value;
    this.#stop = function* () {
      if (typeof both[Symbol.asyncDispose] === "function") {
        yield* until(() => both[Symbol.asyncDispose]!() as Promise<void>);
      } else both[Symbol.dispose]!();
    };
    return value;
  }

  /** Closes what was opened. */
  *stop(): Coroutine<void> {
    const stop = this.#stop;
    this.#stop = null;
    if (stop !== null) yield* stop();
  }
}

/**
 * Waits for something that `open` opens. If the wait is cancelled, and it was opened all the same,
 * it is closed again before the cancellation is thrown.
 */
function* untilOpen<T>(
  open: () => PromiseLike<T>,
  close: (value: T) => Iterable<Suspension, unknown>,
): Coroutine<T> {
  let promise: PromiseLike<T> | undefined;
  try {
    return yield* until(() => promise = open());
  } catch (error) {
    if (promise !== undefined && isCancellation(error)) {
      yield* closeLate(promise, close, error);
    }
    throw error;
  }
}

function* closeLate<T>(
  promise: PromiseLike<T>,
  close: (value: T) => Iterable<Suspension, unknown>,
  cancellation: unknown,
): Coroutine<void> {
  let value: T;
  try {
    value = yield* until(promise);
  } catch {
    return; // `until` reports the failure of a promise that it has left
  }
  try {
    yield* close(value);
  } catch (error) {
    throw new SuppressedError(
      error,
      cancellation,
      "The start of a lifespan was cancelled, and its end failed",
    );
  }
}

/** Throws unless a value can be a lifespan: a function, or something to dispose of. */
export function checkLifespan(source: unknown, what: string): void {
  if (!isDisposable(source)) checkFunction(source, what, "lifespan");
}

function isAsyncGenerator<V>(
  value: unknown,
): value is AsyncGenerator<V, void, void> {
  return isSteppable(value) && Symbol.asyncIterator in (value as object);
}

function isDisposable(value: unknown): value is Both {
  if (typeof value !== "object" && typeof value !== "function") return false;
  const both = value as Both | null;
  return typeof both?.[Symbol.asyncDispose] === "function" ||
    typeof both?.[Symbol.dispose] === "function";
}
