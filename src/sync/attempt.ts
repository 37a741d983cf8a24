import type { Suspension } from "../loop/future.ts";
import {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";

/**
 * An operation that is often over at once: it tries, and only if that fails
 * runs a generator that waits. Its own iterator, so that the first case
 * allocates nothing further.
 */
export abstract class AttemptOperation<T> extends Operation<T> {
  #waiting: Coroutine<T> | null = null;

  /**
   * @param named An object that has the name and nothing else, shared by all of a kind.
   * @param options What the caller gave.
   */
  constructor(named: OperationOptions, options: WaitOptions | undefined) {
    super(
      undefined,
      options?.signal === undefined
        ? named
        : { ...named, signal: options.signal },
    );
  }

  /** Does it now if that is possible: the result in the iterator's form, or `undefined`. */
  protected abstract attempt(): IteratorReturnResult<T> | undefined;

  /** Waits until it is possible, and does it. */
  protected abstract wait(): Coroutine<T>;

  protected override begin(): Iterator<Suspension, T, unknown> {
    return this;
  }

  next(): IteratorResult<Suspension, T> {
    if (this.#waiting === null) {
      const result = this.attempt();
      if (result !== undefined) return result;
      this.#waiting = this.wait();
    }
    return this.#waiting.next();
  }

  throw(error: unknown): IteratorResult<Suspension, T> {
    if (this.#waiting === null) throw error;
    return this.#waiting.throw(error);
  }

  return(value: T): IteratorResult<Suspension, T> {
    return this.#waiting === null
      ? { done: true, value }
      : this.#waiting.return(value);
  }
}
