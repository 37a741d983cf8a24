/**
 * Sources of a map: the one place that calls the `next` and `return` of a
 * user's iterator, and that knows what an iterator may do wrong.
 *
 * An iterator that has ended, has thrown or has broken the rules is at its end:
 * it is not asked again, and not closed. That is what `for` and `for await` do.
 *
 * @module
 */
import { AsyncItems } from "../loop/async_items.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { inspect } from "../loop/checks.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";

/** Anything that `for await` takes, and the sources of the library. */
export type MapSource<T> =
  | Iterable<T>
  | AsyncIterable<T>
  | OperationIterable<T>;

/** Any of the three, by what makes it one. */
type AnySource<T> = Partial<
  OperationIterable<T> & AsyncIterable<T> & Iterable<T>
>;

/** Stands for an item when there is none: items may be anything, `undefined` included. */
export const NO_ITEM: unique symbol = Symbol("no item");

/** Whether `source` can be iterated. */
export function isSource(source: unknown): boolean {
  const any = source as AnySource<unknown> | null | undefined;
  return typeof any?.[items] === "function" ||
    typeof any?.[Symbol.asyncIterator] === "function" ||
    typeof any?.[Symbol.iterator] === "function";
}

/** Whether the items of `source` have to be awaited. */
export function isAwaited<T>(
  source: MapSource<T>,
): source is AsyncIterable<T> | OperationIterable<T> {
  const { [items]: native, [Symbol.asyncIterator]: asynchronous } =
    source as AnySource<T>;
  return typeof native === "function" || typeof asynchronous === "function";
}

/** A source that has its items at once: a plain iterable. */
export class ReadySource<T> {
  readonly #iterator: Iterator<T>;
  /** `"asked"` while the iterator is at work, which may do anything to the map meanwhile. */
  #state: "open" | "asked" | "ended" = "open";

  constructor(source: Iterable<T>) {
    this.#iterator = checkIterator(source[Symbol.iterator](), "iterator");
  }

  get isAsked(): boolean {
    return this.#state === "asked";
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** Takes the next item; {@linkcode NO_ITEM} if there is none, or the iterator is at work already. */
  take(): T | typeof NO_ITEM {
    if (this.#state !== "open") return NO_ITEM;
    let after: "open" | "ended" = "ended";
    this.#state = "asked";
    try {
      const step = this.#iterator.next();
      if (typeof step !== "object" || step === null) refuseStep(step);
      if (step.done === true) return NO_ITEM;
      const { value } = step;
      after = "open";
      return value;
    } finally {
      this.#state = after;
    }
  }

  /** Closes the iterator if it has not ended. Throws what that throws. */
  close(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    const closing: unknown = this.#iterator.return?.();
    if (closing !== undefined) checkClosing(closing);
  }
}

/**
 * A source whose items have to be awaited: an async iterable, or a source of the
 * library. Everything it calls is called, and awaited, by the task that runs
 * these coroutines.
 */
export class AwaitedSource<T> {
  readonly #items:
    | { readonly kind: "operations"; readonly next: ItemSource<T> }
    | { readonly kind: "promises"; readonly async: AsyncItems<T> };
  #ended = false;

  constructor(source: AsyncIterable<T> | OperationIterable<T>) {
    const native = (source as AnySource<T>)[items];
    this.#items = typeof native === "function"
      ? { kind: "operations", next: (source as OperationIterable<T>)[items]() }
      : {
        kind: "promises",
        async: new AsyncItems(
          source as AsyncIterable<T>,
          "ConcurrencyLimit.map()",
          "map over a source",
        ),
      };
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Waits for the next item; {@linkcode NO_ITEM} if there is none any more. */
  *take(): Coroutine<T | typeof NO_ITEM> {
    const step = this.#items.kind === "operations"
      ? yield* this.#items.next()
      : yield* this.#nextOf(this.#items.async);
    let ended = true;
    try {
      if (typeof step !== "object" || step === null) refuseStep(step);
      if (step.done === true) return NO_ITEM;
      const { value } = step;
      ended = false;
      return value;
    } finally {
      this.#ended = ended;
    }
  }

  *#nextOf(source: AsyncItems<T>): Coroutine<IteratorResult<T>> {
    try {
      return yield* source.next();
    } finally {
      this.#ended = source.ended;
    }
  }

  /**
   * Closes the iterator if it has not ended, and waits for that. A cancellation
   * ends the wait, as `return()` may never settle. Errors go to `report`: the
   * map has ended with something that is worth more.
   */
  *close(report: (error: unknown) => void): Coroutine<void> {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#items.kind === "promises") {
      yield* this.#items.async.closeAfterError();
      return;
    }
    try {
      const closing = this.#items.next.close?.();
      if (closing instanceof Operation) yield* closing;
    } catch (error) {
      if (!isCancellation(error)) report(error);
    }
  }
}

function checkIterator<I>(iterator: I, kind: string): I {
  if (typeof iterator === "object" && iterator !== null) return iterator;
  if (typeof iterator === "function") return iterator;
  throw new TypeError(
    `Cannot map over a source as its ${kind} must be an object: received ${
      inspect(iterator)
    }`,
  );
}

function refuseStep(step: unknown): never {
  throw new TypeError(
    `Cannot map over a source as next() of its iterator must return an object: received ${
      inspect(step)
    }`,
  );
}

function checkClosing(closing: unknown): void {
  if (typeof closing === "object" && closing !== null) return;
  throw new TypeError(
    `Cannot close the source of a map as return() of its iterator must return an object: received ${
      inspect(closing)
    }`,
  );
}
