/**
 * `asCompleted`: futures in the order in which they are done.
 *
 * @module
 */
import { drop } from "../loop/waiters.ts";
import { TimeoutError } from "../errors.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { checkNumber, checkWaitOptions } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import {
  items,
  type ItemSource,
  type OperationIterable,
} from "../loop/each.ts";
import type { Future, Suspension } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Strand } from "../loop/strand_tree.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Completions } from "./completions.ts";
import {
  checkWaitables,
  loopOf,
  type LoopOptions,
  startWaitable,
  toArray,
  type Waitable,
  type Waited,
} from "./waitable.ts";

/** Options of {@linkcode asCompleted}. */
export interface AsCompletedOptions extends WaitOptions, LoopOptions {
  /**
   * The time limit for all of it, in milliseconds, counted from the call.
   *
   * @default {no limit}
   */
  readonly timeoutMs?: number | null | undefined;
}

/**
 * Iterates futures in the order in which they are done.
 *
 * Like asyncio's `as_completed`. Functions, coroutines, operations and promises
 * become tasks at once, in order; each entry counts once. There are two ways to
 * iterate:
 *
 * - `for (const next of asCompleted(...))` produces an operation for each: waiting
 *   for it returns the result, or throws the error, of whichever is done next.
 * - `for await (const future of asCompleted(...))`, and `each(asCompleted(...), ...)`
 *   in generator coroutines, produce the futures themselves, done.
 *
 * When the time is over, the wait for each that is left throws a
 * {@linkcode TimeoutError}. Nothing is cancelled by that, nor by leaving the loop
 * early or cancelling a wait.
 *
 * An iteration that is left early (by `break`, `throw` or a cancellation, by `stop()`
 * in `each`, by `return()`) is over: it lets go of the futures that are left, and
 * keeps no memory of them alive. Operations that it has handed out by then still
 * count. If several loops share it, it is over when the last of them is left.
 *
 * On a loop with a scheduler, a task that waits for the next one lends its priority
 * to all that are left. Inside a slot of a {@linkcode ConcurrencyLimit} the wait throws
 * a {@linkcode MisuseError} if one of these is a job in line for the same limit.
 *
 * @example The results
 * ```ts
 * import { asCompleted, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const order: number[] = [];
 * await run(function* () {
 *   const sleeps = [30, 10, 20].map((ms) => sleep(ms, { value: ms }));
 *   for (const next of asCompleted(sleeps)) order.push(yield* next);
 * }, { host: "virtual" });
 * assertEquals(order, [10, 20, 30]);
 * ```
 *
 * @example The futures, which tell which one it was
 * ```ts
 * import { asCompleted, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const names: string[] = [];
 * await run(async () => {
 *   const loop = getRunningLoop();
 *   const tasks = [30, 10].map((ms) =>
 *     loop.createTask(() => sleep(ms), { name: `${ms} ms` })
 *   );
 *   for await (const task of asCompleted(tasks)) names.push(task.name);
 * }, { host: "virtual" });
 * assertEquals(names, ["10 ms", "30 ms"]);
 * ```
 *
 * @typeParam T The type of the results.
 * @typeParam F The type of the futures.
 * @param entries Anything that can be waited for.
 * @param options A time limit, a signal that ends the waits, the loop.
 * @returns An iteration, which can be gone through once.
 * @throws {TypeError} If an entry cannot be waited for; then none is started.
 * @throws {RangeError} If `timeoutMs` is `NaN`.
 * @throws {MisuseError} If two entries are futures of different loops, or there
 * is no loop given, running or known from an entry.
 */
export function asCompleted<F extends Future<unknown>>(
  entries: Iterable<F>,
  options?: AsCompletedOptions,
): AsCompleted<Waited<F>, F & Future<Waited<F>>>;
/** Iterates whatever can be waited for in the order in which it is done. */
export function asCompleted<T>(
  entries: Iterable<Waitable<T>>,
  options?: AsCompletedOptions,
): AsCompleted<T, Future<T>>;
export function asCompleted<T>(
  entries: Iterable<Waitable<T>>,
  options: AsCompletedOptions = {},
): AsCompleted<T, Future<T>> {
  const what = "iterate as completed";
  const signal = checkWaitOptions(options, what);
  const { timeoutMs = null } = options;
  if (timeoutMs !== null) checkNumber(timeoutMs, what, "timeoutMs");
  const given = loopOf(options, what);
  const list = toArray(entries, what, "entries");
  const loop = checkWaitables(list, given, what, "entries") ??
    getRunningLoop();
  const futures: Future<T>[] = [];
  const started = new Set<unknown>();
  for (const entry of list) {
    if (typeof entry !== "function" && started.has(entry)) continue;
    started.add(entry);
    futures.push(startWaitable(entry, loop));
  }
  return new AsCompleted(futures, timeoutMs, { signal });
}

/**
 * The iteration that {@linkcode asCompleted} returns: over operations, or over
 * futures.
 *
 * @typeParam T The type of the results.
 * @typeParam F The type of the futures.
 */
export class AsCompleted<T, F extends Future<T> = Future<T>>
  implements
    IterableIterator<Operation<T>, undefined>,
    AsyncIterable<F>,
    OperationIterable<F> {
  readonly #options: WaitOptions;
  readonly #completions: Completions<F>;
  /** How many have not been asked for yet. */
  #left: number;
  /** How many operations were handed out whose waits are not over. */
  #owed = 0;
  /** How many iterations were begun and not left early. */
  #iterations = 0;

  /**
   * Made by {@linkcode asCompleted}.
   *
   * @ignore
   */
  constructor(
    futures: Iterable<F>,
    timeoutMs: number | null,
    options: WaitOptions,
  ) {
    this.#options = { ...options, name: "asCompleted()" } as WaitOptions;
    this.#completions = new Completions(futures, timeoutMs, this);
    this.#left = this.#completions.pending;
  }

  /** Hands out the wait for one more; `pick` makes its result of the future. */
  #handOut<R>(pick: (future: F) => R): Operation<R> {
    this.#left--;
    this.#owed++;
    const completions = this.#completions;
    return new NextOperation(
      function* () {
        return pick(yield* completions.next());
      },
      this.#oneIsOver,
      this.#options,
    );
  }

  readonly #oneIsOver = (): void => {
    this.#owed--;
    this.#closeIfOver();
  };

  /** Lets go of the futures that are left, if nobody will ask for one any more. */
  #closeIfOver(): void {
    if (this.#left === 0 && this.#owed === 0) this.#completions.close();
  }

  /** An iteration is left early. */
  #leave(): void {
    if (this.#iterations > 0) this.#iterations--;
    if (this.#iterations > 0) return;
    this.#left = 0;
    this.#closeIfOver();
  }

  /**
   * Starts the wait for the next one.
   *
   * @returns An operation of the result of whichever is done next.
   */
  next(): IteratorResult<Operation<T>, undefined> {
    if (this.#left === 0) return { done: true, value: undefined };
    return { done: false, value: this.#handOut((future) => future.result()) };
  }

  /**
   * Ends the iteration early, as `break` does in a `for` loop: the futures that are
   * left are let go of once the operations that were handed out are over. A second
   * time nothing happens.
   *
   * @example The faster of two
   * ```ts
   * import { asCompleted, run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await run(function* () {
   *   const sleeps = [30, 10].map((ms) => sleep(ms, { value: ms }));
   *   for (const next of asCompleted(sleeps)) {
   *     assertEquals(yield* next, 10);
   *     break; // calls return()
   *   }
   * }, { host: "virtual" });
   * ```
   *
   * @returns The end of the iteration.
   */
  return(): IteratorReturnResult<undefined> {
    this.#leave();
    return { done: true, value: undefined };
  }

  /**
   * Iterates the results.
   *
   * @returns The iterator, which is this.
   */
  [Symbol.iterator](): this {
    this.#iterations++;
    return this;
  }

  /** @ignore */
  [items](): ItemSource<F> {
    this.#iterations++;
    let isOpen = true;
    const next = (): Operation<IteratorResult<F, undefined>> =>
      isOpen && this.#left > 0
        ? this.#handOut((value) => ({ done: false, value }))
        : new Operation<IteratorResult<F, undefined>>(END, this.#options);
    const close = () => {
      if (isOpen) this.#leave();
      isOpen = false;
    };
    return Object.assign(next, { close });
  }

  /**
   * Iterates the futures. In a generator coroutine, use `each(...)`.
   *
   * @returns An iterator for `for await`. A wait of it that is cancelled ends the
   * iteration, as in an async generator.
   */
  [Symbol.asyncIterator](): AsyncIterator<F, undefined> {
    const source = this[items]();
    return {
      next: async () => {
        try {
          return await source();
        } catch (error) {
          // Each wait that is not in time throws; any other error ends the iteration.
          if (!(error instanceof TimeoutError)) source.close!();
          throw error;
        }
      },
      // deno-lint-ignore require-await
      return: async () => {
        source.close!();
        return { done: true, value: undefined };
      },
    };
  }
}

function* END(): Coroutine<IteratorResult<never, undefined>> {
  return { done: true, value: undefined };
}

/** The wait for one more future, which says when it is over, even if it never began. */
class NextOperation<R> extends Operation<R> {
  readonly #take: () => Coroutine<R>;
  readonly #onOver: () => void;
  #isOver = false;

  constructor(
    take: () => Coroutine<R>,
    onOver: () => void,
    options: WaitOptions,
  ) {
    super(undefined, options);
    this.#take = take;
    this.#onOver = onOver;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onOver();
  }

  protected override begin(): Coroutine<R> {
    return this.#run();
  }

  *#run(): Coroutine<R> {
    try {
      return yield* this.#take();
    } finally {
      this.#end();
    }
  }

  // A cancellation or a signal that is there already keeps it from beginning.

  override [Symbol.iterator](): Iterator<Suspension, R, unknown> {
    try {
      return super[Symbol.iterator]();
    } catch (error) {
      if (isCancellation(error)) this.#end();
      throw error;
    }
  }

  override iterate(): Iterator<Suspension, R, unknown> {
    if (this.options.signal?.aborted === true) this.#end();
    return super.iterate();
  }

  protected override waitIn<A, B>(
    strand: Strand,
    onFulfilled: ((value: R) => A | PromiseLike<A>) | null,
    onRejected: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    if (onRejected === null) return super.waitIn(strand, onFulfilled, null);
    return super.waitIn(strand, onFulfilled, (error) => {
      this.#end();
      return onRejected(error);
    });
  }

  override [drop](): void {
    super[drop]();
    this.#end();
  }
}
