/**
 * Bodies of tasks whose results nobody wants: they are dropped, so that a group that
 * runs for long does not keep them.
 *
 * @module
 */
import { isGeneratorFunction } from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future, type Suspension } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import { type Coroutine, takeBody, type TaskBody } from "../loop/task_body.ts";
import { isCoroutine } from "./waitable.ts";

/** Returns the same body with `undefined` as its result. */
export function discarding<T>(
  body: TaskBody<T>,
  loop: EventLoop,
): TaskBody<T> {
  if (typeof body !== "function") {
    takeBody(body, loop);
    return dropped(body) as Coroutine<T>;
  }
  if (isGeneratorFunction(body)) {
    return function* () {
      yield* body() as Coroutine<T>;
      return undefined as T;
    };
  }
  return () => {
    const product = body();
    if (
      isCoroutine(product) || product instanceof Operation ||
      product instanceof Future
    ) return dropped(product) as Coroutine<T>;
    if (typeof (product as PromiseLike<T> | null)?.then !== "function") {
      return undefined as T;
    }
    return (product as PromiseLike<T>).then(() => undefined as T);
  };
}

function* dropped(
  waiting: Iterable<Suspension, unknown, unknown>,
): Coroutine<undefined> {
  yield* waiting;
  return undefined;
}
