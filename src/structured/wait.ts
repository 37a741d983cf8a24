import { checkNumber, checkOneOf, inspect } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future } from "../loop/future.ts";
import { Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { lenderFor, lending } from "./limit.ts";
import { checkLoop, checkOptions, toArray } from "./waitable.ts";
import { JointFuture, Watch } from "./watch.ts";

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
