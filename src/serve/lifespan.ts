/**
 * Lifespan of a server: a resource that is opened before it listens and closed when it has ended.
 *
 * @module
 */
import { isCancellation } from "../loop/cancellation.ts";
import { checkFunction, isSteppable, isThenable } from "../loop/checks.ts";
import { inspect } from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";
import { moveOnAfter } from "../structured/move_on.ts";

/**
 * The lifespan of a server: an async generator function, whose `yield` gives the value
 * and which goes on behind it when the server has ended; or a plain, async or generator
 * function that returns the value, which is disposed of at the end if it can be, by
 * `[Symbol.asyncDispose]()` or else `[Symbol.dispose]()`; or such a value itself.
 *
 * A server that is cancelled while its lifespan is being opened waits until that has
 * failed, or closes again what was opened all the same. A promise that has not settled
 * `cancelMs` later is reported to the loop's exception handler, and waited for no longer;
 * what it opens after that is closed when it is there.
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

/** The server of a lifespan. */
export interface LifespanOwner {
  readonly loop: EventLoop;
  readonly name: string;
  /** How long an opening may go on once it was cancelled, in milliseconds. */
  readonly cancelMs: number;
}

/** A lifespan that was or will be started, once. */
export class Lifespan<V> {
  readonly #source: LifespanSource<V> | null;
  readonly #owner: LifespanOwner;
  /** Closes what was opened; null if there is nothing to close. */
  #stop: (() => Coroutine<void>) | null = null;

  constructor(source: LifespanSource<V> | null, owner: LifespanOwner) {
    this.#source = source;
    this.#owner = owner;
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
      product = yield* this.#untilOpen(() => promise, dispose);
    }
    return this.#keep(product as V);
  }

  *#startGenerator(generator: AsyncGenerator<V, void, void>): Coroutine<V> {
    const first = yield* this.#untilOpen(
      () => generator.next(),
      () => generator.return(),
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
    if (isDisposable(value)) {
      this.#stop = function* () {
        yield* until(async () => await dispose(value));
      };
    }
    return value;
  }

  /** Closes what was opened. */
  *stop(): Coroutine<void> {
    const stop = this.#stop;
    this.#stop = null;
    if (stop !== null) yield* stop();
  }

  /**
   * Waits for something that `open` opens. If the wait is cancelled, and it was opened all
   * the same, it is closed again before the cancellation is thrown.
   */
  *#untilOpen<T>(
    open: () => PromiseLike<T>,
    close: (value: T) => unknown,
  ): Coroutine<T> {
    let promise: PromiseLike<T> | undefined;
    try {
      return yield* until(() => promise = open());
    } catch (error) {
      if (promise !== undefined && isCancellation(error)) {
        yield* this.#closeAgain(promise, close, error);
      }
      throw error;
    }
  }

  *#closeAgain<T>(
    promise: PromiseLike<T>,
    close: (value: T) => unknown,
    cancellation: unknown,
  ): Coroutine<void> {
    let opened: { readonly value: T } | null;
    try {
      opened = yield* this.#untilSettled(promise, close);
    } catch {
      return; // `until` reports the failure of a promise that it has left
    }
    if (opened === null) return;
    const { value } = opened;
    try {
      yield* until(async () => await close(value));
    } catch (error) {
      throw new SuppressedError(
        error,
        cancellation,
        "The start of a lifespan was cancelled, and its end failed",
      );
    }
  }

  /** Waits for a promise for some time; null if it is left to itself then. */
  *#untilSettled<T>(
    promise: PromiseLike<T>,
    close: (value: T) => unknown,
  ): Coroutine<{ readonly value: T } | null> {
    const { loop, name, cancelMs } = this.#owner;
    let hasSettled = false;
    try {
      const { value } = yield* moveOnAfter(cancelMs, function* () {
        const value = yield* until(promise);
        hasSettled = true;
        return { value };
      });
      if (value !== undefined) return value;
      loop.callExceptionHandler({
        message:
          `Server "${name}" has ended, and did not wait any longer for its lifespan to open`,
        name,
      });
      return null;
    } finally {
      if (!hasSettled) {
        promise.then((value) => this.#closeLate(() => close(value)), () => {});
      }
    }
  }

  /** Closes what was opened when nobody waited for it any more. */
  #closeLate(close: () => unknown): void {
    const { loop, name } = this.#owner;
    const body = async () => {
      try {
        await close();
      } catch (exception) {
        const message =
          `Server "${name}" has ended, and then the end of its lifespan failed`;
        loop.callExceptionHandler({ message, exception, name });
      }
    };
    if (loop.isClosed()) body();
    else loop.createTask(body, { name: `end of the lifespan of ${name}` });
  }
}

/** Disposes of a value, if that can be. */
function dispose(value: unknown): unknown {
  if (!isDisposable(value)) return undefined;
  if (typeof value[Symbol.asyncDispose] === "function") {
    return value[Symbol.asyncDispose]!();
  }
  return value[Symbol.dispose]!();
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
