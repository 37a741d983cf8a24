import { MisuseError } from "../errors.ts";
import {
  checkOptions as checkObject,
  checkSignal,
  inspect,
} from "../loop/checks.ts";
import { currentTask, getRunningLoop } from "../loop/current.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Runnable } from "../loop/handle.ts";
import { Operation } from "../loop/operation.ts";
import type { Coroutine, Task, TaskBody } from "../loop/task.ts";
import { untilSettled } from "../loop/until.ts";
import { Relay } from "../loop/urgency.ts";

/**
 * What can be waited for beside others: a future or task, whatever a task can
 * run (a generator function or async function without parameters, a generator
 * that has not started, an operation), or a promise.
 *
 * @typeParam T What it gives.
 */
export type Waitable<T> = Future<T> | TaskBody<T> | PromiseLike<T>;

/**
 * What waiting for a {@linkcode Waitable} gives.
 *
 * @typeParam W The waitable.
 */
export type Waited<W> = W extends Future<infer T> ? T
  : W extends Operation<infer T> ? T
  : W extends Coroutine<infer T> ? T
  : W extends () => infer R ? Waited<R>
  : Awaited<W>;

/** On which loop to make what has to be made. */
export interface LoopOptions {
  /**
   * The loop, for calls outside of a running one.
   *
   * @default {the loop of the futures given, else the running loop}
   */
  readonly loop?: EventLoop | undefined;
}

/**
 * Makes a future of anything that can be waited for, and starts it.
 *
 * A future or task is returned as it is. What a task can run becomes a task,
 * whose first step runs in the next turn. A promise becomes a task that waits
 * for it, as `until` does: cancelling that task leaves the promise alone.
 *
 * @example
 * ```ts
 * import { ensureFuture, run, sleep } from "@rota/rota";
 * import { assertEquals, assertStrictEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const task = ensureFuture(sleep(5, { value: "slept" }));
 *   assertStrictEquals(ensureFuture(task), task);
 *   const promised = ensureFuture(Promise.resolve("kept"));
 *   assertEquals([yield* task, yield* promised], ["slept", "kept"]);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam W What is waited for.
 * @param waitable A future, task, function, coroutine, operation or promise.
 * @param options On which loop.
 * @returns The future.
 * @throws {TypeError} If `waitable` is none of these, or `loop` no `EventLoop`.
 * @throws {MisuseError} If it is a future of another loop than the one given,
 * or no loop is given or running.
 */
export function ensureFuture<W extends Waitable<unknown>>(
  waitable: W,
  options: LoopOptions = {},
): W extends Task<unknown> ? W : Future<Waited<W>> {
  const what = "make a future";
  checkObject(options, what);
  checkWaitable(waitable, what, "waitable");
  const loop = loopOf(options, what);
  if (loop !== undefined) checkLoop(waitable, loop, what);
  return startWaitable(waitable, loop) as W extends Task<unknown> ? W
    : Future<Waited<W>>;
}

/** Makes a future of what has been checked. */
export function startWaitable<T>(
  waitable: Waitable<T>,
  loop: EventLoop | undefined,
): Future<T> {
  if (waitable instanceof Future) return waitable;
  const on = loop ?? getRunningLoop();
  if (isBody(waitable)) return on.createTask<T>(waitable as TaskBody<T>);
  // It listens at once, so that no failure goes unheard: the task begins later if
  // the loop is not running, or if its factory has it so.
  return on.createTask<T>(untilSettled(waitable as PromiseLike<T>, on), {
    eager: true,
  });
}

/** Throws unless `value` can be waited for. */
export function checkWaitable(
  value: unknown,
  what: string,
  name: string,
): void {
  if (
    value instanceof Future || isBody(value) ||
    typeof (value as PromiseLike<unknown> | null)?.then === "function"
  ) return;
  throw new TypeError(
    `Cannot ${what} as ${name} must be a future, a task, a coroutine, an operation, a promise or a function: received ${
      inspect(value)
    }`,
  );
}

/** The loop among the options. Throws unless it is one, or missing. */
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

/** The task that runs now, which a block is to be a part of. Throws unless there is one. */
export function taskFor(what: string): Task<unknown> {
  const task = currentTask();
  if (task === null) {
    throw new MisuseError(`Cannot ${what}: no task is running`);
  }
  return task;
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

/** Throws unless all of `futures` are futures of one loop; `loop`, if it is given. */
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

/** What an iterable gives, as an array, unless it is something to wait for itself. */
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

/** Throws unless `options` has a signal that is one, or none. */
export function checkOptions(
  options: { readonly signal?: AbortSignal | undefined },
  what: string,
): void {
  checkObject(options, what);
  if (options.signal !== undefined) checkSignal(options.signal, what);
}

/** Whether `value` is a generator that runs when it is stepped. */
export function isCoroutine(value: unknown): value is Coroutine<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as Coroutine<unknown>).next === "function" &&
    typeof (value as Coroutine<unknown>).throw === "function" &&
    !(value instanceof Future) && !(value instanceof Operation);
}

function isBody(value: unknown): boolean {
  return typeof value === "function" || value instanceof Operation ||
    isCoroutine(value);
}

/**
 * A done callback that is taken back in constant time: to look for it among
 * those of a future takes as long as there are many, and everybody may be
 * waiting for the same one.
 */
export class Watch implements Runnable {
  readonly #future: Future<unknown>;
  readonly #callback: (future: Future<unknown>) => void;
  /** Gives what is as urgent as those for whom this watches. */
  readonly relay: () => Relay;

  constructor(
    future: Future<unknown>,
    callback: (future: Future<unknown>) => void,
    relay: () => Relay,
  ) {
    this.#future = future;
    this.#callback = callback;
    this.relay = relay;
    future["addWaiter"](this);
  }

  /** Calls back; the loop does it in the turn after the future is done. */
  run(): void {
    this.#callback(this.#future);
  }

  /** Takes it back, unless the future is done. */
  end(): void {
    this.#future["removeWaiter"](this);
  }
}

/** What is waited for when it is several futures: whoever waits lends all of them their priority. */
export class JointFuture extends Future<void> {
  readonly #futures: Iterable<Future<unknown>>;
  #relay: Relay | null = null;

  constructor(
    loop: EventLoop,
    label: string,
    futures: Iterable<Future<unknown>>,
  ) {
    super(loop, label);
    this.#futures = futures;
  }

  /** There is one more of them. */
  add(future: Future<unknown>): void {
    this.#relay?.dependOn(future);
  }

  protected override pressure(): object {
    return this.relayed().pressure;
  }

  /** What is as urgent as those who wait for this. */
  relayed(): Relay {
    if (this.#relay === null) {
      this.#relay = new Relay(this.loop);
      for (const future of this.#futures) this.#relay.dependOn(future);
    }
    return this.#relay;
  }
}
