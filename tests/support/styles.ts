/**
 * One body for both styles of tasks, so that a test of both says it once.
 *
 * @module
 */

import type { Coroutine, Future, Operation } from "../../mod.ts";

/** The styles in which a task can be written. */
export const STYLES = ["a generator", "an async function"] as const;

/** One of them. */
export type Style = typeof STYLES[number];

/** What both styles can wait for. */
export type Awaitable = Operation<unknown> | Future<unknown>;

/** A body that yields what it waits for and is sent what that gives. */
// deno-lint-ignore no-explicit-any
export type Steps<T> = () => Generator<Awaitable, T, any>;

/** Makes a body of a task in `style`: each `yield` becomes a `yield*` or an `await`. */
export function inStyle<T>(
  style: Style,
  steps: Steps<T>,
): () => Coroutine<T> | Promise<T> {
  return style === "a generator"
    ? () => asGenerator(steps)
    : () => asAsync(steps);
}

function* asGenerator<T>(steps: Steps<T>): Coroutine<T> {
  const body = steps();
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

async function asAsync<T>(steps: Steps<T>): Promise<T> {
  const body = steps();
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

/** How a future or task has ended, in one line. Looks at its error. */
export function outcomeOf(future: Future<unknown>): string {
  if (!future.done()) return "pending";
  try {
    return `result: ${String(future.result())}`;
  } catch (error) {
    const what = future.cancelled() ? "cancelled" : "failed";
    return `${what}: ${error instanceof Error ? error.message : String(error)}`;
  }
}
