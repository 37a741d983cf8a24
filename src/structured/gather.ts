/**
 * `gather`: several results at once.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { cancellation } from "../loop/cancellation.ts";
import { checkOneOf, checkWaitOptions } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { Task } from "../loop/task.ts";
import { LendingFuture } from "./lending_futures.ts";
import { Watch } from "./watch.ts";
import {
  checkWaitables,
  loopOf,
  type LoopOptions,
  startWaitable,
  toArray,
  type Waitable,
  type Waited,
} from "./waitable.ts";

/** Options of {@linkcode gather}. */
export interface GatherOptions extends LoopOptions {
  /**
   * Whether failures and cancellations are put among the results, instead of
   * being thrown.
   *
   * @default {false}
   */
  readonly returnExceptions?: boolean | undefined;
}

/**
 * The results of {@linkcode gather}, in the order of the entries.
 *
 * @typeParam E The entries, an array or a tuple.
 */
export type Gathered<E extends readonly Waitable<unknown>[]> = {
  -readonly [K in keyof E]: Waited<E[K]>;
};

/**
 * The results of {@linkcode gather} with `returnExceptions`: an error where there
 * is no result.
 *
 * @typeParam E The entries, an array or a tuple.
 */
export type GatheredOrFailed<E extends readonly Waitable<unknown>[]> = {
  -readonly [K in keyof E]: Waited<E[K]> | Error;
};

/**
 * Runs all entries at the same time, and returns a future of their results in order.
 *
 * Like asyncio's `gather`. Functions, coroutines, operations and promises become
 * tasks at once, in order, whether or not the future that is returned is awaited.
 * The same future, coroutine or operation twice runs once; a function runs once for
 * each time it is listed.
 *
 * The first entry that fails or is cancelled ends the whole with its error. The
 * others go on; if one of them fails later, and nobody looks at that, the error goes
 * to the exception handler. A {@linkcode taskGroup} would cancel them. With
 * `returnExceptions` all are waited for, and errors are among the results.
 *
 * Cancelling the future, or a task that waits for it, cancels every entry that has
 * not ended; the future is then cancelled itself once they have. After it is done,
 * cancelling does nothing. `gather(task)` instead of `gather([task])` throws.
 *
 * @example
 * ```ts
 * import { gather, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const [name, size] = await run(async () =>
 *   await gather([
 *     sleep(20, { value: "readme" }),
 *     async () => {
 *       await sleep(10);
 *       return 42;
 *     },
 *   ]), { host: "virtual" });
 * assertEquals(name.toUpperCase(), "README");
 * assertEquals(size + 1, 43);
 * ```
 *
 * @example Failures among the results
 * ```ts
 * import { gather, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const results = await run(function* () {
 *   return yield* gather([
 *     () => "fine",
 *     (): string => {
 *       throw new Error("broken");
 *     },
 *   ], { returnExceptions: true });
 * });
 * assertEquals(results.map(String), ["fine", "Error: broken"]);
 * ```
 *
 * @typeParam E The entries.
 * @param entries Anything that can be waited for. Without any, the future is done.
 * @param options Whether errors count as results; the loop.
 * @returns A future of the results.
 * @throws {TypeError} If an entry cannot be waited for; then none is started.
 * @throws {MisuseError} If two entries are futures of different loops, or there
 * is no loop given, running or known from an entry.
 */
export function gather<E extends readonly Waitable<unknown>[] | []>(
  entries: E,
  options?: GatherOptions & { readonly returnExceptions?: false | undefined },
): Future<Gathered<E>>;
/** Runs all entries, with errors among the results. */
export function gather<E extends readonly Waitable<unknown>[] | []>(
  entries: E,
  options: GatherOptions,
): Future<GatheredOrFailed<E>>;
/** Runs all entries of any iterable. */
export function gather<T>(
  entries: Iterable<Waitable<T>>,
  options?: GatherOptions & { readonly returnExceptions?: false | undefined },
): Future<T[]>;
/** Runs all entries of any iterable, with errors among the results. */
export function gather<T>(
  entries: Iterable<Waitable<T>>,
  options: GatherOptions,
): Future<(T | Error)[]>;
export function gather(
  entries: Iterable<Waitable<unknown>>,
  options: GatherOptions = {},
): Future<unknown[]> {
  const what = "gather";
  checkWaitOptions(options as object, what); // a signal among them would be ignored, but not a wrong one
  const { returnExceptions = false } = options;
  checkOneOf(returnExceptions, [true, false], what, "returnExceptions");
  const given = loopOf(options, what);
  const list = toArray(entries, what, "entries");
  const loop = checkWaitables(list, given, what, "entries") ??
    getRunningLoop();
  const outer = new GatheringFuture(loop, returnExceptions);
  const started = new Map<unknown, Future<unknown>>();
  for (const entry of list) {
    let child = started.get(entry);
    const isNew = child === undefined;
    if (child === undefined) {
      child = startWaitable(entry, loop);
      // Each mention of a function is a run of its own.
      started.set(typeof entry === "function" ? child : entry, child);
    }
    outer.add(child, isNew);
  }
  outer.begin();
  return outer;
}

/** The future of all results. */
class GatheringFuture extends LendingFuture<unknown[]> {
  /** In the order of the entries, with repetitions. */
  readonly #children: Future<unknown>[] = [];
  /** The children that were done when they were added. */
  readonly #early: Future<unknown>[] = [];
  /** The watches of the others, until this is done. */
  #watches: Watch[] = [];
  readonly #returnExceptions: boolean;
  #left = 0;
  #cancelRequested = false;

  constructor(loop: EventLoop, returnExceptions: boolean) {
    super(loop, "gather()");
    this.#returnExceptions = returnExceptions;
  }

  /**
   * Adds the child of one more entry, before the next one starts: an eager one
   * may end those before it.
   */
  add(child: Future<unknown>, isNew: boolean): void {
    this.#children.push(child);
    if (!isNew) return;
    this.#left++;
    if (child.done()) this.#early.push(child);
    else {
      this.#watches.push(
        new Watch(child, this.#childDone, this),
      );
    }
  }

  /** All children are there. */
  begin(): void {
    if (this.#children.length === 0) this.setResult([]);
    for (const child of this.#early) this.#childDone(child);
  }

  readonly #childDone = (child: Future<unknown>): void => {
    this.#left--;
    // An error that comes too late is left for somebody else to look at: if nobody
    // does, it goes to the exception handler.
    if (this.done()) return;
    if (!this.#returnExceptions && (child.cancelled() || child.failed())) {
      this.setException(errorOf(child));
      // The others may live for long, and would keep this.
      for (const watch of this.#watches) watch.end();
      this.#watches = [];
      return;
    }
    if (this.#left > 0) return;
    if (this.#cancelRequested) {
      const last = this.#children[this.#children.length - 1]!;
      this.setException(
        last.cancelled() ? errorOf(last) : lateCancellation(last),
      );
      return;
    }
    this.setResult(this.#children.map(outcomeOf));
  };

  protected override awaited(): Iterable<Future<unknown>> {
    return this.#children;
  }

  /** Cancels the children. The result is there when they are done. */
  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    let accepted = false;
    for (const child of this.#children) {
      if (child.cancel(reason)) accepted = true;
    }
    if (accepted) this.#cancelRequested = true;
    return accepted;
  }
}

/** The error that a future throws instead of a result. */
function errorOf(future: Future<unknown>): unknown {
  try {
    return future.result();
  } catch (error) {
    return error;
  }
}

/** The cancellation of a future that has ended in another way, as in asyncio. */
function lateCancellation(future: Future<unknown>): CancelledError {
  return cancellation(future instanceof Task ? future.heldReason : undefined);
}

/** A result or an error. The error of a cancellation stays there for whoever waits. */
function outcomeOf(future: Future<unknown>): unknown {
  if (!future.cancelled()) return errorOf(future);
  const reason = future.cancelReason();
  return reason instanceof CancelledError
    ? new CancelledError(reason.reason)
    : new CancelledError(reason);
}
