/**
 * Bodies of tasks: their kinds, and how they become a generator to step.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { inspect, isSteppable, isThenable } from "./checks.ts";
import { core } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future, type Suspension } from "./future.ts";
import { claim, Operation } from "./operation.ts";

/**
 * A generator that runs as a task, or as a part of one by `yield*`.
 *
 * @typeParam T Type of the result.
 */
export type Coroutine<T> = Generator<Suspension, T, unknown>;

/**
 * Body of a task: a generator function or async function without parameters, a
 * generator that has not started, or an operation.
 *
 * @typeParam T Type of the result.
 */
export type TaskBody<T> =
  | (() => Coroutine<T> | PromiseLike<T> | T)
  | Coroutine<T>
  | Operation<T>;

/**
 * The `next` of every generator. Generators of different functions have
 * different hidden classes, so that looking it up in each would be a megamorphic
 * load of 5 ns in each step.
 */
export const nextOfGenerator: (
  this: Iterator<Suspension, unknown, unknown>,
) => IteratorResult<Suspension, unknown> =
  Object.getPrototypeOf(function* () {}).prototype.next;

/** Makes a generator of an iterable, whose iteration begins with its first step. */
function* asGenerator(
  iterable: Iterable<Suspension, unknown, unknown>,
): Coroutine<unknown> {
  return yield* iterable;
}

/** Returns the generator to step for the return value of a body; null if that is a promise or a plain value. */
export function coroutineOf(
  product: unknown,
): Iterator<Suspension, unknown, unknown> | null {
  if (product instanceof Operation || product instanceof Future) {
    // `() => sleep(5)` returns one: waited for like in a generator. It does not
    // begin if the function has cancelled the task.
    if (product instanceof Operation) claim(product);
    return asGenerator(product);
  }
  if (!isGenerator(product)) return null;
  const coroutine = product as Iterator<Suspension, unknown, unknown>;
  return coroutine.next === nextOfGenerator
    ? coroutine
    : asGenerator({ [Symbol.iterator]: () => coroutine });
}

/**
 * Whether a task that is cancelled before its first step need not begin: all but
 * one that was made of an operation that owns something, such as `scoped()`.
 */
export function mayRefuse(body: TaskBody<unknown> | null): boolean {
  return typeof body === "function" || !(body instanceof Operation) ||
    !body.ownsResource;
}

function isGenerator(value: unknown): boolean {
  return isSteppable(value) && !(value instanceof Future);
}

/** Throws unless `body` is something a task can run. */
export function checkBody(body: unknown, what: string): void {
  if (
    typeof body === "function" || body instanceof Operation || isGenerator(body)
  ) return;
  const hint = isThenable(body) ? ", pass () => work() instead of work()" : "";
  throw new TypeError(
    `Cannot ${what} as its body must be a generator function, an async function, a coroutine or an operation: received ${
      inspect(body)
    }${hint}`,
  );
}

/** The coroutines that tasks of loops in debug mode were made of. */
const takenCoroutines = new WeakSet<WeakKey>();

/**
 * Marks `body`, which has been checked and is no function, as taken by a task.
 * In debug mode it throws if another task was made of the same coroutine: that
 * check costs more than making the task.
 */
export function takeBody(body: TaskBody<unknown>, loop: EventLoop): void {
  if (body instanceof Operation) claim(body);
  else if (loop?.[core].debugging === true) {
    if (takenCoroutines.has(body)) {
      throw new MisuseError(
        "Cannot create a task: another task was made of the same coroutine, call the generator function again",
      );
    }
    takenCoroutines.add(body);
  }
}
