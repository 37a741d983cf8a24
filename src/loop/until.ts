/**
 * `until`: waiting for a foreign promise, or for a function that returns one, in
 * place of `await`. Also what becomes of promises that nobody waits for any more.
 *
 * @module
 */
import { checkWaiter, drop, explain } from "./waiters.ts";
import { isCancellation } from "./cancellation.ts";
import { callInTask } from "./body.ts";
import { core } from "./core.ts";
import { checkOptions, inspect, isThenable } from "./checks.ts";
import { getRunningLoop } from "./current.ts";
import type { EventLoop } from "./event_loop.ts";
import { Future, type Suspension } from "./future.ts";
import {
  Operation,
  type OperationOptions,
  type WaitOptions,
} from "./operation.ts";
import type { Coroutine } from "./task_body.ts";
import type { WaitFacts } from "./waits.ts";

/**
 * Waits for a promise that is not of the loop.
 *
 * Use it in a generator coroutine where you would write `await` in an async
 * function. In an async function it turns the wait into an operation, which can
 * be cancelled, and for which the virtual clock stands still. A cancellation
 * ends the wait at once and leaves the promise alone. Its outcome is ignored
 * then, except that a failure other than a cancellation or the closing of a
 * resource is reported to the loop's exception handler. All waits for one
 * promise share one reaction on it, and leave nothing else on it when they end.
 *
 * A function is called when the wait starts. Async functions called in there
 * belong to the current task: their own waits are cancelled with it, and
 * `currentTask` and {@linkcode TaskLocal} work in them. While such a function
 * waits in an operation of the loop, a cancellation is thrown there, `until`
 * ends when the function does, and virtual time goes on. While it waits for
 * anything else, a cancellation ends the wait, unless the function is back in
 * an operation within two turns; the function runs on, and its failure is
 * handled like that of a promise.
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
 * @typeParam T Type of the result.
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
  return new UntilOperation<T>(source, { ...options, name: "until()" });
}

/** Waits for a promise, or for the one that a function returns. */
class UntilOperation<T> extends Operation<T> {
  readonly #source: PromiseLike<T> | (() => PromiseLike<T>);

  constructor(
    source: PromiseLike<T> | (() => PromiseLike<T>),
    options: OperationOptions,
  ) {
    super(undefined, options);
    this.#source = source;
  }

  protected override begin(): Iterator<Suspension, T, unknown> {
    return begin(this.#source);
  }

  /** Listens to the promise: if no other code does, its failure would end the process. */
  override refused(): void {
    if (typeof this.#source !== "function") neglect(this.#source);
  }
}

/** Listens to a promise that is not awaited after all, as its task is cancelled. */
export function neglect(promise: PromiseLike<unknown>): void {
  if (!(promise instanceof Future)) settle(promise, getRunningLoop()).leave();
}

/** Begins to listen to `source`, or to the promise that it returns. */
function begin<T>(
  source: PromiseLike<T> | (() => PromiseLike<T>),
): Iterator<Suspension, T, unknown> {
  const loop = getRunningLoop();
  if (typeof source !== "function") {
    return waitForSettlement(settle(source, loop));
  }
  const report = (error: unknown) => reportLost(loop, error);
  return callInTask(
    () => checkPromise(source()),
    "a promise in until()",
    report,
  )[Symbol.iterator]();
}

function settle<T>(promise: PromiseLike<T>, loop: EventLoop): Settlement<T> {
  // The then() of a future would be called where the waiting task is not known
  // any more.
  if (promise instanceof Future) promise[checkWaiter]();
  return new Settlement(loop, promise);
}

function checkPromise<T>(promise: PromiseLike<T>): PromiseLike<T> {
  if (!isThenable(promise)) {
    throw new TypeError(
      `Cannot wait until a promise settles as source must return a promise: received ${
        inspect(promise)
      }`,
    );
  }
  if (promise instanceof Future) promise[checkWaiter]();
  return promise;
}

/** Reports the failure of a promise after the wait for it has ended. */
export function reportLost(loop: EventLoop | null, error: unknown): void {
  // Code that cancels a wait often closes the resource as well, and the promise
  // fails for that.
  const isExpected = isCancellation(error) ||
    (error instanceof DOMException && error.name === "AbortError") ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BadResource;
  if (isExpected) return;
  loop?.callExceptionHandler({
    message: "A promise given to until() failed after its waiter had left",
    exception: error,
  });
}

/** Future of a promise that is not of the loop. */
class SettlementFuture<T> extends Future<T> {
  readonly #promise: PromiseLike<T>;

  constructor(loop: EventLoop, promise: PromiseLike<T>) {
    super(loop, "a promise in until()");
    this.#promise = promise;
  }

  override [explain](): WaitFacts {
    const promise = this.#promise;
    return {
      kind: "until",
      target: promise,
      behind: promise instanceof Future ? [promise as Future<unknown>] : [],
    };
  }
}

/** The outcome of a promise, for one waiter. */
class Settlement<T> {
  readonly loop: EventLoop;
  readonly future: Future<T>;
  readonly reaction: Reaction<T>;

  constructor(loop: EventLoop, promise: PromiseLike<T>) {
    this.loop = loop;
    this.future = new SettlementFuture<T>(loop, promise);
    this.reaction = reactionOf(promise) as Reaction<T>;
    this.reaction.waiters.add(this.future);
  }

  /** Ends the wait. */
  leave(): void {
    const { loop, future, reaction } = this;
    if (reaction.waiters.delete(future)) reaction.lastLoop = loop;
  }
}

/**
 * Waits until a promise settles, for a task of a loop that may not be running
 * yet. Listens at once: an error is kept for the waiter, and reported like that
 * of any future if there is none.
 */
export function untilSettled<T>(
  promise: PromiseLike<T>,
  loop: EventLoop,
): Operation<T> {
  if (loop.isClosed()) loop[core].refuseClosed("create a task");
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

  override [drop](): void {
    super[drop]();
    this.#settlement.leave();
  }
}

const SETTLED = { name: "until()" };

function* waitForSettlement<T>(settlement: Settlement<T>): Coroutine<T> {
  const { loop, future } = settlement;
  loop[core].outside.outsideBegan();
  try {
    return yield* future;
  } finally {
    loop[core].outside.outsideEnded();
    settlement.leave();
  }
}

/** The only reaction on a promise, on behalf of all waits for it. */
class Reaction<T> {
  readonly waiters: Set<Future<T>> = new Set();
  /** The loop of the last wait that ended without an outcome. */
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
          // The waiter is about to leave, or was left behind by a closed loop.
          if (future.done() || future.loop.isClosed()) {
            this.lastLoop = future.loop;
          } else {
            future.setException(error);
            told = true;
          }
        }
        // Without this reaction the runtime would have reported the error as
        // unhandled.
        if (!told) reportLost(this.lastLoop, error);
      },
    );
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
