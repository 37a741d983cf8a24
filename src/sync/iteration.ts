/**
 * Iteration over a queue or a channel.
 *
 * @module
 */
import { Operation } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";

/**
 * Step of an iteration: takes an item, and ends if `isEnd` says so of the
 * error that this throws.
 */
export class NextOperation<T> extends Operation<IteratorResult<T, undefined>> {
  constructor(
    take: () => Operation<T>,
    isEnd: (error: unknown) => boolean,
    options: { readonly name: string },
  ) {
    super(function* (): Coroutine<IteratorResult<T, undefined>> {
      try {
        return { done: false, value: yield* take() };
      } catch (error) {
        if (isEnd(error)) return { done: true, value: undefined };
        throw error;
      }
    }, options);
  }
}
