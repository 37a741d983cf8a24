/**
 * One body for both styles of children.
 *
 * @module
 */
import type { Coroutine, Future, Operation } from "../../../src/loop/mod.ts";

/** The styles in which a child can be written. */
export type Style = "generator" | "async";

/** A body that yields what it waits for and is sent what that gives. */
// deno-lint-ignore no-explicit-any
export type Steps<T> = Generator<Operation<any> | Future<any>, T, any>;

/** Makes a body of a task: each `yield` becomes a `yield*` or an `await`. */
export function asSteps<T>(
  style: Style,
  steps: () => Steps<T>,
): () => Coroutine<T> | Promise<T> {
  return style === "generator"
    ? () => inGenerator(steps())
    : () => inAsync(steps());
}

function* inGenerator<T>(body: Steps<T>): Coroutine<T> {
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      value = yield* step.value;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

async function inAsync<T>(body: Steps<T>): Promise<T> {
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      value = await step.value;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}
