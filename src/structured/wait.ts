import { MisuseError, TimeoutError } from "../errors.ts";
import { checkNumber, checkOneOf, inspect } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { items, type OperationIterable } from "../loop/generators.ts";
import type { TimerHandle } from "../loop/handle.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { Queue } from "../sync/queue.ts";
import { lenderFor, lending } from "./limit.ts";
import {
  checkLoop,
  checkOptions,
  checkWaitables,
  JointFuture,
  loopOf,
  type LoopOptions,
  startWaitable,
  toArray,
  type Waitable,
  type Waited,
  Watch,
} from "./waitable.ts";

/** When {@linkcode wait} is over. */
export type ReturnWhen =
  | "first-completed"
  | "first-exception"
  | "all-completed";

/** How to {@linkcode wait}. */
export interface WaitForFuturesOptions extends WaitOptions {
  /**
   * How long at most, in milliseconds. Less than 0 counts as 0.
   *
   * @default {no limit}
   */
  readonly timeoutMs?: number | null | undefined;
  /**
   * Whether one that is done is enough, or one that failed, or it takes all. A
   * cancelled one has not failed.
   *
   * @default {"all-completed"}
   */
  readonly returnWhen?: ReturnWhen | undefined;
}

/**
 * What {@linkcode wait} gives.
 *
 * @typeParam F The futures.
 */
export interface WaitResult<F extends Future<unknown>> {
  /** Those that are done, in the order in which they were given. */
  readonly done: Set<F>;
  /** The others. */
  readonly pending: Set<F>;
}

const RETURN_WHEN: readonly ReturnWhen[] = [
  "first-completed",
  "first-exception",
  "all-completed",
];

/**
 * Waits for futures or tasks, and tells which are done.
 *
 * It is asyncio's `wait`. It cancels nothing: not when the time is over, which
 * is no error, and not when the wait is cancelled. It takes at least one turn
 * and looks at no results, so errors still count as unseen.
 *
 * @example Whatever comes first
 * ```ts
 * import { ensureFuture, run, sleep, wait } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const fast = ensureFuture(sleep(10));
 *   const slow = ensureFuture(sleep(1_000));
 *   const { done, pending } = yield* wait([fast, slow], {
 *     returnWhen: "first-completed",
 *   });
 *   assertEquals([done.has(fast), pending.has(slow)], [true, true]);
 *   slow.cancel();
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam F The futures.
 * @param futures Futures and tasks; each counts once. At least one.
 * @param options How long, and for how many; a signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `futures` is no iterable of futures, or an option is of
 * the wrong type.
 * @throws {RangeError} If there are none, or `timeoutMs` is `NaN`.
 */
export function wait<F extends Future<unknown>>(
  futures: Iterable<F>,
  options: WaitForFuturesOptions = {},
): Operation<WaitResult<F>> {
  const what = "wait for futures";
  checkOptions(options, what);
  const { timeoutMs = null, returnWhen = "all-completed", signal } = options;
  if (timeoutMs !== null) checkNumber(timeoutMs, what, "timeoutMs");
  checkOneOf(returnWhen, RETURN_WHEN, what, "returnWhen");
  const distinct = new Set(toArray(futures, what, "futures"));
  if (distinct.size === 0) {
    throw new RangeError(
      `Cannot ${what} as futures must have at least one: received none`,
    );
  }
  for (const future of distinct) {
    if (!(future instanceof Future)) {
      throw new TypeError(
        `Cannot ${what} as futures must consist of futures and tasks: received ${
          inspect(future)
        }, make a task with createTask()`,
      );
    }
  }
  return new Operation(
    () => waitForAll(distinct, timeoutMs, returnWhen),
    { name: "wait()", signal },
  );
}

function* waitForAll<F extends Future<unknown>>(
  futures: ReadonlySet<F>,
  timeoutMs: number | null,
  returnWhen: ReturnWhen,
): Coroutine<WaitResult<F>> {
  const loop = getRunningLoop();
  for (const future of futures) checkLoop(future, loop, "wait for futures");
  const waiter = new JointFuture(loop, describe(futures), futures);
  const timer = timeoutMs === null
    ? null
    : loop.callLater(timeoutMs, release, waiter);
  let left = futures.size;
  const completed = (future: Future<unknown>) => {
    left--;
    if (
      left > 0 && returnWhen !== "first-completed" &&
      !(returnWhen === "first-exception" && future.failed())
    ) return;
    timer?.cancel();
    release(waiter);
  };
  const watches: Watch[] = [];
  const relay = () => waiter.relayed();
  for (const future of futures) {
    watches.push(new Watch(future, completed, relay));
  }
  try {
    const lender = lenderFor(futures);
    if (lender === null) yield* waiter;
    else yield* lending(lender, waiter);
  } finally {
    timer?.cancel();
    for (const watch of watches) watch.end();
  }
  const done = new Set<F>();
  const pending = new Set<F>();
  for (const future of futures) (future.done() ? done : pending).add(future);
  return { done, pending };
}

function describe(futures: ReadonlySet<Future<unknown>>): string {
  return `${futures.size} ${
    futures.size === 1 ? "future" : "futures"
  } in wait()`;
}

/** Sets the result of a waiter, unless somebody else was faster. */
export function release(waiter: Future<void>): void {
  if (!waiter.done()) waiter.setResult();
}

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
