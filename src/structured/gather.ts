import { CancelledError } from "../errors.ts";
import { checkOneOf } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { Task } from "../loop/task.ts";
import { LendingFuture } from "./limit.ts";
import {
  checkLoop,
  checkOptions,
  checkWaitable,
  checkWaitables,
  loopOf,
  type LoopOptions,
  startWaitable,
  toArray,
  type Waitable,
  type Waited,
  Watch,
} from "./waitable.ts";

/** How to {@linkcode gather}. */
export interface GatherOptions extends LoopOptions {
  /**
   * Whether failures and cancellations stand among the results, instead of
   * ending the whole.
   *
   * @default {false}
   */
  readonly returnExceptions?: boolean | undefined;
}

/**
 * What {@linkcode gather} gives: the results in the order of the entries.
 *
 * @typeParam E The entries, an array or a tuple.
 */
export type Gathered<E extends readonly Waitable<unknown>[]> = {
  -readonly [K in keyof E]: Waited<E[K]>;
};

/**
 * The same with `returnExceptions`: an error stands where there is no result.
 *
 * @typeParam E The entries, an array or a tuple.
 */
export type GatheredOrFailed<E extends readonly Waitable<unknown>[]> = {
  -readonly [K in keyof E]: Waited<E[K]> | Error;
};

/**
 * Waits for all entries at once, and gives their results in order.
 *
 * It is asyncio's `gather`. Functions, coroutines, operations and promises
 * become tasks at once, in order, whether or not somebody waits for the future
 * that is returned. The same future, coroutine or operation twice runs once; a
 * function runs once for each time it stands there.
 *
 * The first entry that fails or is cancelled ends the whole with its error. The
 * others go on; if one of them fails later, and nobody looks at that, the
 * exception handler is told. A {@linkcode taskGroup} would cancel them. With
 * `returnExceptions` all are waited for, and errors stand among the results.
 *
 * Cancelling the future cancels every entry that has not ended; it is then
 * cancelled itself once they have. After it is done, cancelling does nothing.
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
 * @param entries What to wait for. None gives a future that is done.
 * @param options Whether errors count as results; on which loop.
 * @returns A future of the results.
 * @throws {TypeError} If an entry cannot be waited for; then none is started.
 * @throws {MisuseError} If two entries are futures of different loops, or there
 * is no loop given, running or known from an entry.
 */
export function gather<E extends readonly Waitable<unknown>[] | []>(
  entries: E,
  options?: GatherOptions & { readonly returnExceptions?: false | undefined },
): Future<Gathered<E>>;
/** The same, with errors among the results. */
export function gather<E extends readonly Waitable<unknown>[] | []>(
  entries: E,
  options: GatherOptions,
): Future<GatheredOrFailed<E>>;
/** The same for any iterable. */
export function gather<T>(
  entries: Iterable<Waitable<T>>,
  options?: GatherOptions & { readonly returnExceptions?: false | undefined },
): Future<T[]>;
/** The same for any iterable, with errors among the results. */
export function gather<T>(
  entries: Iterable<Waitable<T>>,
  options: GatherOptions,
): Future<(T | Error)[]>;
export function gather(
  entries: Iterable<Waitable<unknown>>,
  options: GatherOptions = {},
): Future<unknown[]> {
  const what = "gather";
  checkOptions(options as object, what);
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

class GatheringFuture extends LendingFuture<unknown[]> {
  /** In the order of the entries, with repetitions. */
  readonly #children: Future<unknown>[] = [];
  /** Those that were done when they were added. */
  readonly #early: Future<unknown>[] = [];
  /** The others, until this is done. */
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
        new Watch(child, this.#childDone, this.#urgency),
      );
    }
  }

  /** Now all are there. */
  begin(): void {
    if (this.#children.length === 0) this.setResult([]);
    for (const child of this.#early) this.#childDone(child);
  }

  readonly #urgency = () => this.relayed();

  readonly #childDone = (child: Future<unknown>): void => {
    this.#left--;
    // What comes too late is left for somebody else to look at: if nobody does,
    // the exception handler is told.
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

  /** Cancels the children. This is over when they are. */
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

/** What a future that has no result throws at the one who asks. */
function errorOf(future: Future<unknown>): unknown {
  try {
    return future.result();
  } catch (error) {
    return error;
  }
}

/** The cancellation of a future that has ended in another way, as asyncio has it. */
function lateCancellation(future: Future<unknown>): CancelledError {
  const reason = future instanceof Task ? future.interruptReason : undefined;
  return reason instanceof CancelledError ? reason : new CancelledError(reason);
}

/** A result or an error. The error of a cancellation stays there for the one who waits. */
function outcomeOf(future: Future<unknown>): unknown {
  if (!future.cancelled()) return errorOf(future);
  const reason = future.cancelReason();
  return reason instanceof CancelledError
    ? new CancelledError(reason.reason)
    : new CancelledError(reason);
}

/**
 * Waits for something without taking it along when the waiter is cancelled.
 *
 * It is asyncio's `shield`. Functions, coroutines, operations and promises
 * become a task at once. Cancelling the future that is returned, or the task
 * that waits for it, ends the wait; what is shielded goes on. If it then fails,
 * and nobody else looks at that, the exception handler is told. What is shielded
 * may itself be cancelled; the future is cancelled with it.
 *
 * @example The wait is over, the work is not
 * ```ts
 * import { getRunningLoop, run, shield, sleep, TimeoutError, waitFor } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const work = getRunningLoop().createTask(() => sleep(20, { value: "saved" }));
 *   await assertRejects(async () => await waitFor(shield(work), 10), TimeoutError);
 *   assertEquals(await work, "saved");
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam W What is waited for.
 * @param waitable A future, task, function, coroutine, operation or promise.
 * @param options On which loop.
 * @returns A future of its result; the very one that was given if it is done.
 * @throws {TypeError} If `waitable` is none of these.
 * @throws {MisuseError} If no loop is given or running, or it is another than
 * that of the future given.
 */
export function shield<W extends Waitable<unknown>>(
  waitable: W,
  options: LoopOptions = {},
): Future<Waited<W>> {
  const what = "shield";
  checkOptions(options as object, what);
  checkWaitable(waitable, what, "waitable");
  const loop = loopOf(options, what);
  if (loop !== undefined) checkLoop(waitable, loop, what);
  const inner = startWaitable(waitable, loop) as Future<Waited<W>>;
  if (inner.done()) return inner;
  const outer = new ShieldingFuture(inner);
  const innerDone = () => {
    // An error that comes too late is left for somebody else to look at.
    if (outer.done()) return;
    if (inner.cancelled()) outer.cancel();
    else if (inner.failed()) outer.setException(inner.exception());
    else outer.setResult(inner.result());
  };
  const watch = new Watch(
    inner as Future<unknown>,
    innerDone,
    () => outer.relayed(),
  );
  outer.addDoneCallback(() => watch.end());
  return outer;
}

class ShieldingFuture<T> extends LendingFuture<T> {
  readonly #inner: Future<T>;

  constructor(inner: Future<T>) {
    super(inner.loop, "shield()");
    this.#inner = inner;
  }

  protected override awaited(): Iterable<Future<unknown>> {
    return [this.#inner as Future<unknown>];
  }
}
