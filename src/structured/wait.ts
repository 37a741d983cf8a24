/**
 * Waiting for several things at once: what can be waited for, `wait`,
 * `asCompleted`, `gather` and `shield`.
 *
 * @module
 */
import {
  addWaiter,
  checkWaiter,
  pressureOf,
  removeWaiter,
} from "../loop/waiters.ts";
import { CancelledError, MisuseError, TimeoutError } from "../errors.ts";
import {
  checkNumber,
  checkOneOf,
  checkOptions as checkObject,
  checkSignal,
  inspect,
} from "../loop/checks.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { cancellation } from "../loop/cancellation.ts";
import { items, type OperationIterable } from "../loop/each.ts";
import { untilSettled } from "../loop/until.ts";
import type { Runnable } from "../loop/runnable.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import { Relay } from "../loop/priority_inheritance.ts";
import { type Coroutine, Task, type TaskBody } from "../loop/task.ts";
import { isAtWork } from "../loop/work_runner.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { Waiter, WaitQueue } from "../sync/wait_queue.ts";
import { lenderFor, lending, LendingFuture } from "./limit.ts";

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
  const task = findTask();
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
    future[addWaiter](this);
  }

  /** Calls back; the loop does it in the turn after the future is done. */
  run(): void {
    this.#callback(this.#future);
  }

  /** Takes it back, unless the future is done. */
  end(): void {
    this.#future[removeWaiter](this);
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

  override [pressureOf](): object {
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
 * Waiting inside a slot of a {@linkcode ConcurrencyLimit} for a job in line for the
 * same limit throws a {@linkcode MisuseError}, whatever `timeoutMs` says; with
 * `"first-completed"` only if there is nothing else to wait for.
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
  checkWaiters(futures, returnWhen);
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

/** Throws if who is about to wait would keep the wait from ever being over. */
function checkWaiters(
  futures: ReadonlySet<Future<unknown>>,
  returnWhen: ReturnWhen,
): void {
  let refusal: { readonly error: unknown } | null = null;
  for (const future of futures) {
    try {
      future[checkWaiter]();
      if (returnWhen === "first-completed") return; // this one may end it
    } catch (error) {
      refusal ??= { error };
      if (returnWhen !== "first-completed") break;
    }
  }
  if (refusal !== null) throw refusal.error;
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
 * On a loop with a scheduler, who waits for the next one lends its priority to all
 * that are left. Inside a slot of a {@linkcode ConcurrencyLimit} it gets a
 * {@linkcode MisuseError} if one of those is a job in line for the same limit.
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
  /** What is not done, with what listens for that. */
  readonly #todo: Map<F, Watch>;
  /** What is done; `null` for each that was not in time. */
  readonly #done = new RingBuffer<F | null>();
  readonly #waiters = new WaitQueue("asCompleted()");
  /** What is as urgent as those who wait; null if nobody has asked for it. */
  #relay: Relay | null = null;
  /** How many have not been asked for yet. */
  #left: number;
  #timer: TimerHandle | null = null;
  /** The loop of the futures; `null` if there are none. */
  #loop: EventLoop | null = null;
  /** The last task that was found not to keep any of them from being done. */
  #checked: Task<unknown> | null = null;

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
    this.#todo = new Map();
    for (const future of new Set(futures)) {
      this.#loop = future.loop;
      const watch = new Watch(future, this.#completed, this.#relayed);
      this.#todo.set(future, watch);
      this.#relay?.dependOn(future); // one that is done has asked for it already
    }
    this.#left = this.#todo.size;
    if (timeoutMs !== null && this.#loop !== null) {
      this.#timer = this.#loop.callLater(timeoutMs, this.#timedOut);
    }
  }

  readonly #timedOut = (): void => {
    for (const [future, watch] of this.#todo) {
      watch.end();
      this.#relay?.leaveWait(future);
      this.#put(null);
    }
    this.#todo.clear();
  };

  readonly #completed = (future: Future<unknown>): void => {
    if (!this.#todo.delete(future as F)) return; // it was not in time
    this.#relay?.leaveWait(future);
    this.#put(future as F);
    if (this.#todo.size === 0) this.#timer?.cancel();
  };

  #put(future: F | null): void {
    this.#done.push(future);
    this.#waiters.wakeNext();
  }

  /** Each of those that are left may be the next: who waits lends all of them its priority. */
  readonly #relayed = (): Relay => {
    if (this.#relay === null) {
      this.#relay = new Relay(this.#loop!);
      for (const future of this.#todo.keys()) this.#relay.dependOn(future);
    }
    return this.#relay;
  };

  /** Waits until one is done that nobody else takes, and takes it. */
  *#take(): Coroutine<F | null> {
    while (this.#done.length === 0) {
      this.#checkWaiter();
      const waiter = new NextWaiter(
        this.#waiters.open(),
        this.#waiters,
        this.#relayed,
      );
      this.#waiters.append(waiter);
      try {
        yield* waiter;
      } catch (error) {
        // Woken for what it cannot take any more: it is for the next in line.
        if (waiter.woken && this.#done.length > 0) this.#waiters.wakeNext();
        throw error;
      } finally {
        this.#waiters.leave(waiter);
      }
    }
    return this.#done.shift()!;
  }

  *#next(): Coroutine<F> {
    if (this.#loop !== null && getRunningLoop() !== this.#loop) {
      throw new MisuseError(
        "Cannot iterate as completed: it would wait for a future of another event loop",
      );
    }
    const lender = lenderFor(this.#todo.keys());
    const future = lender === null
      ? yield* this.#take()
      : yield* lending(lender, this.#take());
    if (future !== null) return future;
    throw new TimeoutError("Timed out: not all were completed in time");
  }

  /** Throws if the current task keeps one of those that are left from ever being done. */
  #checkWaiter(): void {
    const task = findTask();
    // What holds for a task goes on to hold: no job gets in line once more.
    if (task === this.#checked) return;
    if (isAtWork(task)) {
      for (const future of this.#todo.keys()) future[checkWaiter]();
    }
    this.#checked = task;
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

/** One who waits for whatever is done next, and lends all of it its priority. */
class NextWaiter extends Waiter {
  readonly #relayed: () => Relay;

  constructor(loop: EventLoop, queue: WaitQueue, relayed: () => Relay) {
    super(loop, "asCompleted()", queue, undefined, undefined);
    this.#relayed = relayed;
  }

  override [pressureOf](): object {
    return this.#relayed().pressure;
  }
}

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

/** The cancellation of a future that has ended in another way, as in asyncio. */
function lateCancellation(future: Future<unknown>): CancelledError {
  return cancellation(future instanceof Task ? future.heldReason : undefined);
}

/** A result or an error. The error of a cancellation stays there for the one who waits. */
function outcomeOf(future: Future<unknown>): unknown {
  if (!future.cancelled()) return errorOf(future);
  return new CancelledError(cancellation(future.cancelReason()).reason);
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
