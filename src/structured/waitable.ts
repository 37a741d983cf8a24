/**
 * Waitables: whatever can be waited for beside other things, and how it is checked
 * and started.
 *
 * @module
 */
import { drop } from "../loop/waiters.ts";
import { MisuseError } from "../errors.ts";
import { inspect, isSteppable, isThenable } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine, TaskBody } from "../loop/task_body.ts";
import { neglect, untilSettled } from "../loop/until.ts";

/**
 * Anything that can be waited for beside other things: a future or task, whatever
 * a task can run (a generator function or async function without parameters, a
 * generator that has not started, an operation), or a promise.
 *
 * @typeParam T The type of its result.
 */
export type Waitable<T> = Future<T> | TaskBody<T> | PromiseLike<T>;

/**
 * The type of the result of a {@linkcode Waitable}.
 *
 * @typeParam W The waitable.
 */
export type Waited<W> = W extends Future<infer T> ? T
  : W extends Operation<infer T> ? T
  : W extends Coroutine<infer T> ? T
  : W extends () => infer R ? Waited<R>
  : Awaited<W>;

/** The loop on which tasks are made for what is no future yet. */
export interface LoopOptions {
  /**
   * The loop, for calls outside of a running one.
   *
   * @default {the loop of the futures given, else the running loop}
   */
  readonly loop?: EventLoop | undefined;
}

/** Returns a future for a waitable that has been checked; makes and starts a task unless it is one. */
export function startWaitable<T>(
  waitable: Waitable<T>,
  loop: EventLoop | undefined,
): Future<T> {
  if (waitable instanceof Future) return waitable;
  const on = loop ?? getRunningLoop();
  if (isBody(waitable)) return on.createTask<T>(waitable as TaskBody<T>);
  // An eager task listens at once, so that no failure goes unheard: the task
  // begins later if the loop is not running, or if its factory has it so.
  return on.createTask<T>(untilSettled(waitable as PromiseLike<T>, on), {
    eager: true,
  });
}

/**
 * Lets go of a waitable that nobody waits for after all: an operation is not missed, and
 * a promise that fails does not end the process.
 */
export function letGo(waitable: Waitable<unknown>): void {
  if (waitable instanceof Future || typeof waitable === "function") return;
  if (waitable instanceof Operation) waitable[drop]();
  else if (!isCoroutine(waitable)) neglect(waitable as PromiseLike<unknown>);
}

/** Throws unless `value` can be waited for. */
export function checkWaitable(
  value: unknown,
  what: string,
  name: string,
): void {
  if (value instanceof Future || isBody(value) || isThenable(value)) return;
  throw new TypeError(
    `Cannot ${what} as ${name} must be a future, a task, a coroutine, an operation, a promise or a function: received ${
      inspect(value)
    }`,
  );
}

/** Returns the loop among the options. Throws unless it is one, or missing. */
export function loopOf(
  options: LoopOptions,
  what: string,
): EventLoop | undefined {
  const { loop } = options;
  if (loop !== undefined && !(loop instanceof EventLoop)) {
    throw new TypeError(
      `Cannot ${what} as loop must be an EventLoop: received ${inspect(loop)}`,
    );
  }
  return loop;
}

/** Throws if `value` is a future of another loop. */
export function checkLoop(
  value: unknown,
  loop: EventLoop,
  what: string,
): void {
  if (value instanceof Future && value.loop !== loop) {
    throw new MisuseError(
      `Cannot ${what}: it would wait for a future of another event loop`,
    );
  }
}

/**
 * Throws unless all can be waited for, and the futures among them belong to one
 * loop.
 *
 * @returns That loop: `loop`, if it is given.
 */
export function checkWaitables(
  waitables: readonly unknown[],
  loop: EventLoop | undefined,
  what: string,
  name: string,
): EventLoop | undefined {
  for (let index = 0; index < waitables.length; index++) {
    const waitable = waitables[index];
    checkWaitable(waitable, what, `${name}[${index}]`);
    if (waitable instanceof Future) {
      loop ??= waitable.loop;
      checkLoop(waitable, loop, what);
    }
  }
  return loop;
}

/**
 * Copies an iterable of waitables into an array. Throws if it is a waitable itself:
 * a future and a generator can be iterated, too, but `[task]` was meant.
 */
export function toArray<T>(
  iterable: Iterable<T>,
  what: string,
  name: string,
): readonly T[] {
  // A copy, as what is started may change the array.
  if (Array.isArray(iterable)) return iterable.slice();
  if (
    iterable instanceof Future || iterable instanceof Operation ||
    isCoroutine(iterable) || typeof iterable === "string" ||
    typeof (iterable as Iterable<T> | null)?.[Symbol.iterator] !== "function"
  ) {
    throw new TypeError(
      `Cannot ${what} as ${name} must be an array, a set or the like: received ${
        inspect(iterable)
      }`,
    );
  }
  return [...iterable];
}

/** Whether `value` is a generator that runs when it is stepped. */
export function isCoroutine(value: unknown): value is Coroutine<unknown> {
  return isSteppable(value) &&
    !(value instanceof Future) && !(value instanceof Operation);
}

function isBody(value: unknown): boolean {
  return typeof value === "function" || value instanceof Operation ||
    isCoroutine(value);
}
