import { MisuseError, TimeoutError } from "../errors.ts";
import { checkNumber } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { items, type OperationIterable } from "../loop/generators.ts";
import type { TimerHandle } from "../loop/handle.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { Queue } from "../sync/queue.ts";
import { lenderFor, lending } from "./limit.ts";
import {
  checkOptions,
  checkWaitables,
  loopOf,
  type LoopOptions,
  startWaitable,
  toArray,
  type Waitable,
  type Waited,
} from "./waitable.ts";

/** How to iterate {@linkcode asCompleted}. */
export interface AsCompletedOptions extends WaitOptions, LoopOptions {
  /**
   * How long all of it may take, in milliseconds, counted from the call.
   *
   * @default {no limit}
   */
  readonly timeoutMs?: number | null | undefined;
}

/**
 * Gives futures in the order in which they are done.
 *
 * It is asyncio's `as_completed`. Functions, coroutines, operations and
 * promises become tasks at once, in order; each entry counts once. There are
 * two ways to go through them:
 *
 * - `for (const next of asCompleted(...))` gives an operation for each: waiting
 *   for it gives the result, or throws the error, of whichever is done next.
 * - `for await (const future of asCompleted(...))`, and `each(asCompleted(...), ...)`
 *   in generator coroutines, give the futures themselves, done.
 *
 * When the time is over, the wait for each that is left throws a
 * {@linkcode TimeoutError}. Nothing is cancelled by that, nor by leaving the
 * loop early or cancelling a wait.
 *
 * @example
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
 * @example Which one it was
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
 * @typeParam T What the entries give.
 * @typeParam F The futures.
 * @param entries What to wait for.
 * @param options How long, a signal that ends the waits, on which loop.
 * @returns What to iterate, once.
 * @throws {TypeError} If an entry cannot be waited for; then none is started.
 * @throws {RangeError} If `timeoutMs` is `NaN`.
 * @throws {MisuseError} If two entries are futures of different loops, or there
 * is no loop given, running or known from an entry.
 */
export function asCompleted<F extends Future<unknown>>(
  entries: Iterable<F>,
  options?: AsCompletedOptions,
): AsCompleted<Waited<F>, F & Future<Waited<F>>>;
/** The same for whatever can be waited for. */
export function asCompleted<T>(
  entries: Iterable<Waitable<T>>,
  options?: AsCompletedOptions,
): AsCompleted<T, Future<T>>;
export function asCompleted<T>(
  entries: Iterable<Waitable<T>>,
  options: AsCompletedOptions = {},
): AsCompleted<T, Future<T>> {
  const what = "iterate as completed";
  checkOptions(options, what);
  const { timeoutMs = null, signal } = options;
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
 * What {@linkcode asCompleted} returns: an iteration over operations, or over
 * futures.
 *
 * @typeParam T What the futures give.
 * @typeParam F The futures.
 */
export class AsCompleted<T, F extends Future<T> = Future<T>>
  implements
    IterableIterator<Operation<T>, undefined>,
    AsyncIterable<F>,
    OperationIterable<F> {
  readonly #options: WaitOptions;
  readonly #todo: Set<F>;
  /** What is done; `null` for each that was not in time. */
  readonly #done: Queue<F | null> = new Queue();
  /** How many have not been asked for yet. */
  #left: number;
  #timer: TimerHandle | null = null;
  /** The loop of the futures; `null` if there are none. */
  #loop: EventLoop | null = null;

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
    this.#options = options;
    this.#todo = new Set(futures);
    this.#left = this.#todo.size;
    for (const future of this.#todo) {
      future.addDoneCallback(this.#completed as (future: Future<T>) => void);
    }
    for (const { loop } of this.#todo) {
      this.#loop = loop;
      if (timeoutMs !== null) {
        this.#timer = loop.callLater(timeoutMs, this.#timedOut);
      }
      break;
    }
  }

  readonly #timedOut = (): void => {
    for (const future of this.#todo) {
      future.removeDoneCallback(this.#completed as (future: Future<T>) => void);
      this.#done.putNowait(null);
    }
    this.#todo.clear();
  };

  readonly #completed = (future: F): void => {
    if (!this.#todo.delete(future)) return; // it was not in time
    this.#done.putNowait(future);
    if (this.#todo.size === 0) this.#timer?.cancel();
  };

  *#next(): Coroutine<F> {
    if (this.#loop !== null && getRunningLoop() !== this.#loop) {
      throw new MisuseError(
        "Cannot iterate as completed: it would wait for a future of another event loop",
      );
    }
    const lender = lenderFor(this.#todo);
    const future = lender === null
      ? yield* this.#done.get()
      : yield* lending(lender, this.#done.get());
    if (future !== null) return future;
    throw new TimeoutError("Timed out: not all were completed in time");
  }

  /**
   * Starts the wait for the next one.
   *
   * @returns An operation that gives the result of whichever is done next.
   */
  next(): IteratorResult<Operation<T>, undefined> {
    if (this.#left === 0) return { done: true, value: undefined };
    this.#left--;
    const next = () => this.#next();
    const value = new Operation(function* () {
      return (yield* next()).result();
    }, { ...this.#options, name: "asCompleted()" });
    return { done: false, value };
  }

  /**
   * Goes through the results.
   *
   * @returns The iterator, which is this.
   */
  [Symbol.iterator](): this {
    return this;
  }

  /** @ignore */
  [items](): () => Operation<IteratorResult<F, undefined>> {
    return () => {
      const ask = this.#left > 0;
      if (ask) this.#left--;
      const next = () => this.#next();
      return new Operation(
        function* (): Coroutine<IteratorResult<F, undefined>> {
          if (!ask) return { done: true, value: undefined };
          return { done: false, value: yield* next() };
        },
        { ...this.#options, name: "asCompleted()" },
      );
    };
  }

  /**
   * Goes through the futures. In a generator coroutine, use `each(...)`.
   *
   * @returns An iterator for `for await`.
   */
  [Symbol.asyncIterator](): AsyncIterator<F, undefined> {
    const next = this[items]();
    return { next: async () => await next() };
  }
}
