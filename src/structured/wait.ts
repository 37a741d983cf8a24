/**
 * `wait`: waits for some or all of several futures, and cancels none.
 *
 * @module
 */
import { checkWaiter, explain } from "../loop/waiters.ts";
import {
  checkNumber,
  checkOneOf,
  checkWaitOptions,
  inspect,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { WaitFacts } from "../loop/waits.ts";
import { JointFuture } from "./joint_future.ts";
import { lenderFor, lending } from "./lending.ts";
import { release, Watch } from "./watch.ts";
import { checkLoop, toArray } from "./waitable.ts";

/** Decides when {@linkcode wait} is over. */
export type ReturnWhen =
  | "first-completed"
  | "first-exception"
  | "all-completed";

/** Options of {@linkcode wait}. */
export interface WaitForFuturesOptions extends WaitOptions {
  /**
   * The longest time that it waits, in milliseconds. Less than 0 counts as 0.
   *
   * @default {no limit}
   */
  readonly timeoutMs?: number | null | undefined;
  /**
   * Ends the wait when one future is done, when one has failed, or when all are
   * done. A cancelled future has not failed.
   *
   * @default {"all-completed"}
   */
  readonly returnWhen?: ReturnWhen | undefined;
}

/**
 * The result of {@linkcode wait}.
 *
 * @typeParam F The type of the futures.
 */
export interface WaitResult<F extends Future<unknown>> {
  /** The futures that are done, in the order in which they were given. */
  readonly done: Set<F>;
  /** The other futures. */
  readonly pending: Set<F>;
}

const RETURN_WHEN: readonly ReturnWhen[] = [
  "first-completed",
  "first-exception",
  "all-completed",
];

/**
 * Waits for futures or tasks, and returns which are done.
 *
 * Like asyncio's `wait`. It cancels nothing: not when the time is over, which is no
 * error, and not when the wait is cancelled. It takes at least one turn and looks
 * at no results, so errors still count as unseen. `wait(task)` instead of
 * `wait([task])` throws.
 *
 * Waiting inside a slot of a {@linkcode ConcurrencyLimit} for a job in line for the
 * same limit throws a {@linkcode MisuseError}, whatever `timeoutMs` says; with
 * `"first-completed"` only if there is nothing else to wait for.
 *
 * @example The first of two
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
 * @typeParam F The type of the futures.
 * @param futures Futures and tasks; each counts once. At least one.
 * @param options The time limit, and how many to wait for; a signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `futures` is no iterable of futures, or an option is of
 * the wrong type.
 * @throws {RangeError} If there are no futures, or `timeoutMs` is `NaN`.
 */
export function wait<F extends Future<unknown>>(
  futures: Iterable<F>,
  options: WaitForFuturesOptions = {},
): Operation<WaitResult<F>> {
  const what = "wait for futures";
  const signal = checkWaitOptions(options, what);
  const { timeoutMs = null, returnWhen = "all-completed" } = options;
  if (timeoutMs !== null) checkNumber(timeoutMs, what, "timeoutMs");
  checkOneOf(returnWhen, RETURN_WHEN, what, "returnWhen");
  const distinct = new Set(toArray(futures, what, "futures"));
  if (distinct.size === 0) {
    throw new RangeError(
      `Cannot ${what} as futures must have at least one: received none`,
    );
  }
  for (const future of distinct) checkFuture(future, what);
  return new Operation(
    () => waitForAll(distinct, timeoutMs, returnWhen),
    { name: "wait()", signal },
  );
}

function checkFuture(value: unknown, what: string): void {
  if (value instanceof Future) return;
  throw new TypeError(
    `Cannot ${what} as futures must consist of futures and tasks: received ${
      inspect(value)
    }, make a task with createTask()`,
  );
}

/** The future that {@linkcode wait} waits for: done when enough of the others are. */
class EnoughFuture extends JointFuture<void> {
  readonly #futures: ReadonlySet<Future<unknown>>;

  constructor(loop: EventLoop, futures: ReadonlySet<Future<unknown>>) {
    const { size } = futures;
    super(loop, `${size} ${size === 1 ? "future" : "futures"} in wait()`);
    this.#futures = futures;
  }

  protected override awaited(): Iterable<Future<unknown>> {
    return this.#futures;
  }

  override [explain](): WaitFacts {
    return { ...super[explain](), kind: "wait" };
  }
}

function* waitForAll<F extends Future<unknown>>(
  futures: ReadonlySet<F>,
  timeoutMs: number | null,
  returnWhen: ReturnWhen,
): Coroutine<WaitResult<F>> {
  const loop = getRunningLoop();
  for (const future of futures) checkLoop(future, loop, "wait for futures");
  checkWaiters(futures, returnWhen);
  const waiter = new EnoughFuture(loop, futures);
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
  for (const future of futures) {
    watches.push(new Watch(future, completed, waiter));
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

/** Throws if the task that is about to wait would keep the wait from ever being over. */
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
