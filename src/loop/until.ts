import { CancelledError } from "../errors.ts";
import { runOwned } from "../host/runtime.ts";
import { checkOptions, inspect } from "./checks.ts";
import { findOwner, getRunningLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future } from "./future.ts";
import { Operation, type WaitOptions } from "./operation.ts";
import type { Coroutine } from "./task.ts";

/**
 * Waits for something that is not of the loop: a promise.
 *
 * In a generator coroutine it is the way to wait for promises; in an async
 * function, the way to make such a wait one of the loop, which can be
 * cancelled, and which the virtual clock stands still for. Cancelling it leaves
 * the promise alone; what becomes of that later is ignored, except that a
 * failure other than an abort, or the closing of what was waited on, is reported
 * to the loop's exception handler. Any
 * number of waits for the same promise add one reaction to it, and leave
 * nothing on it when they end.
 *
 * Given a function, it calls it when the wait starts, and async functions
 * called in there belong to the current task: their own waits are cancelled with
 * it, and `currentTask` and {@linkcode TaskLocal} work in them.
 *
 * @example A promise in a generator coroutine
 * ```ts
 * import { run, until } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const text = await run(function* () {
 *   const response = yield* until(new Response("hello").text());
 *   return response.toUpperCase();
 * });
 * assertEquals(text, "HELLO");
 * ```
 *
 * @typeParam T What the promise resolves to.
 * @param source A promise, or a function that returns one.
 * @param options A signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `source` is neither, or `signal` no `AbortSignal`.
 */
export function until<T>(
  source: PromiseLike<T> | (() => PromiseLike<T>),
  options: WaitOptions = {},
): Operation<T> {
  if (typeof source !== "function" && typeof source?.then !== "function") {
    throw new TypeError(
      `Cannot wait until a promise settles as source must be a promise, or a function that returns one: received ${
        inspect(source)
      }`,
    );
  }
  checkOptions(options, "wait until a promise settles");
  return new Operation<T>(() => waitForSettlement(settle(source)), {
    ...options,
    name: "until()",
  });
}

/** Listens to what `source` is or gives. */
function settle<T>(
  source: PromiseLike<T> | (() => PromiseLike<T>),
): Settlement<T> {
  const loop = getRunningLoop();
  const promise = typeof source === "function" ? call(source) : source;
  // Its then() would be called where nobody knows any more who waits.
  if (promise instanceof Future) promise["checkWaiter"]();
  return new Settlement(loop, promise);
}

/** What a promise comes to, for one who waits. */
class Settlement<T> {
  readonly loop: EventLoop;
  readonly future: Future<T>;
  readonly reaction: Reaction<T>;

  constructor(loop: EventLoop, promise: PromiseLike<T>) {
    this.loop = loop;
    this.future = new Future<T>(loop, "a promise in until()");
    this.reaction = reactionOf(promise) as Reaction<T>;
    this.reaction.waiters.add(this.future);
  }

  /** Nobody waits any more. */
  leave(): void {
    const { loop, future, reaction } = this;
    if (reaction.waiters.delete(future)) reaction.lastLoop = loop;
  }
}

/**
 * Waits until a promise settles, for a task of a loop that may not be running
 * yet. It listens at once: an error is kept for the one who waits, and reported
 * like that of any future if nobody does.
 */
export function untilSettled<T>(
  promise: PromiseLike<T>,
  loop: EventLoop,
): Operation<T> {
  if (loop.isClosed()) loop["refuseClosed"]("create a task");
  return new SettledOperation(promise, loop);
}

class SettledOperation<T> extends Operation<T> {
  readonly #settlement: Settlement<T>;

  constructor(promise: PromiseLike<T>, loop: EventLoop) {
    super(undefined, SETTLED);
    this.#settlement = new Settlement(loop, promise);
  }

  protected override begin(): Coroutine<T> {
    return waitForSettlement(this.#settlement);
  }

  protected override drop(): void {
    super.drop();
    this.#settlement.leave();
  }
}

const SETTLED = { name: "until()" };

function* waitForSettlement<T>(settlement: Settlement<T>): Coroutine<T> {
  const { loop, future } = settlement;
  loop["outsideBegan"]();
  try {
    return yield* future;
  } finally {
    loop["outsideEnded"]();
    settlement.leave();
  }
}

/** Calls `source` so that what it awaits finds the current task again. */
function call<T>(source: () => PromiseLike<T>): PromiseLike<T> {
  const owner = findOwner();
  const promise = owner === null ? source() : runOwned(owner, source);
  if (typeof promise?.then !== "function") {
    throw new TypeError(
      `Cannot wait until a promise settles as source must return a promise: received ${
        inspect(promise)
      }`,
    );
  }
  return promise;
}

/** The one reaction of a promise that is waited for, on behalf of all who wait. */
class Reaction<T> {
  readonly waiters: Set<Future<T>> = new Set();
  /** The loop of the last who left without an answer. */
  lastLoop: EventLoop | null = null;

  constructor(promise: PromiseLike<T>) {
    // A foreign thenable may do anything in its then(); a promise may not.
    Promise.resolve(promise).then(
      (value) => {
        reactions.delete(promise);
        for (const future of this.waiters) {
          if (!future.done()) future.setResult(value);
        }
      },
      (error) => {
        reactions.delete(promise);
        let told = false;
        for (const future of this.waiters) {
          // It is about to leave, or can do so no more.
          if (future.done() || future.loop.isClosed()) {
            this.lastLoop = future.loop;
          } else {
            future.setException(error);
            told = true;
          }
        }
        if (!told) this.#reportLost(error);
      },
    );
  }

  /** Nobody waits any more, but this reaction has kept the error from being reported as unhandled. */
  #reportLost(error: unknown): void {
    // Who cancels a wait often closes what was waited on, which fails for that.
    const aborted = error instanceof CancelledError ||
      (error instanceof DOMException && error.name === "AbortError") ||
      error instanceof Deno.errors.Interrupted ||
      error instanceof Deno.errors.BadResource;
    if (aborted) return;
    this.lastLoop?.callExceptionHandler({
      message: "A promise given to until() failed after its waiter had left",
      exception: error,
    });
  }
}

const reactions = new WeakMap<PromiseLike<unknown>, Reaction<unknown>>();

function reactionOf(promise: PromiseLike<unknown>): Reaction<unknown> {
  let reaction = reactions.get(promise);
  if (reaction === undefined) {
    reactions.set(promise, reaction = new Reaction(promise));
  }
  return reaction;
}
