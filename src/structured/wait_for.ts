/**
 * `waitFor`, like asyncio's `wait_for`: a time limit on one thing.
 *
 * @module
 */
import { TimeoutError } from "../errors.ts";
import { isCancellation } from "../loop/cancellation.ts";
import { checkNumber, checkWaitOptions } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import { Future, type Suspension } from "../loop/future.ts";
import { claim, Operation, type WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { until } from "../loop/until.ts";
import { runInTimeout, timeoutAfter } from "./timeout.ts";
import { release } from "./watch.ts";
import {
  checkLoop,
  checkWaitable,
  letGo,
  startWaitable,
  type Waitable,
  type Waited,
} from "./waitable.ts";

/**
 * Waits for something for at most `timeoutMs`, and cancels it then.
 *
 * Like asyncio's `wait_for`: a {@linkcode timeout} around a wait in the current task. A future or task that is not done in time is cancelled, and the wait
 * goes on until it has ended; put it into a {@linkcode shield} to let it live.
 * Only a promise is left alone.
 *
 * With a limit of 0 or less it returns the result of a future that is done. Anything
 * else is cancelled, a coroutine before it has begun.
 *
 * @example
 * ```ts
 * import { Queue, run, TimeoutError, waitFor } from "@rota/rota";
 * import { assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const queue = new Queue<string>();
 *   await assertRejects(async () => await waitFor(queue.get(), 100), TimeoutError);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam W The waitable.
 * @param waitable A future, task, function, coroutine, operation or promise.
 * @param timeoutMs The limit, in milliseconds; `null` for none.
 * @param options A signal that ends it: its reason is then thrown.
 * @returns An operation of the result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `timeoutMs` is `NaN`.
 * @throws {TimeoutError} If it was not done in time.
 */
export function waitFor<W extends Waitable<unknown>>(
  waitable: W,
  timeoutMs: number | null,
  options: WaitOptions = {},
): Operation<Waited<W>> {
  const what = "wait for something";
  checkWaitable(waitable, what, "waitable");
  if (timeoutMs !== null) checkNumber(timeoutMs, what, "timeoutMs");
  const signal = checkWaitOptions(options, what);
  claim(waitable); // if the operation returned here is never awaited, it is reported, not the waitable
  const begin = () => {
    if (signal !== undefined && signal.aborted) letGo(waitable);
    return timeoutMs !== null && timeoutMs <= 0
      ? withoutTime(waitable, signal)
      : withinTime(waitable, timeoutMs, signal);
  };
  return new WaitForOperation(
    begin as () => Coroutine<Waited<W>>,
    waitable,
  );
}

/** Looks after the waitable if it does not begin, as its task is cancelled. */
class WaitForOperation<T> extends Operation<T> {
  readonly #waitable: Waitable<unknown>;

  constructor(begin: () => Coroutine<T>, waitable: Waitable<unknown>) {
    super(begin, WAIT_FOR);
    this.#waitable = waitable;
  }

  override refused(): void {
    letGo(this.#waitable);
  }
}

const WAIT_FOR = { name: "waitFor()" };

function withinTime(
  waitable: Waitable<unknown>,
  timeoutMs: number | null,
  signal: AbortSignal | undefined,
): Coroutine<unknown> {
  return runInTimeout(
    timeoutAfter(timeoutMs, signal),
    (block) =>
      typeof waitable === "function"
        ? block.run(waitable, undefined)
        : Symbol.iterator in waitable
        ? waitable as Iterable<Suspension, unknown, unknown>
        : until(waitable),
  );
}

/** Cancels whatever is not done now, and waits for its end. */
function* withoutTime<T>(
  waitable: Waitable<T>,
  signal: AbortSignal | undefined,
): Coroutine<T> {
  signal?.throwIfAborted();
  const loop = getRunningLoop();
  checkLoop(waitable, loop, "wait for something");
  const future = startWaitable(waitable, loop);
  if (future.done()) return future.result();
  const waiter = new Future<void>(loop, "a cancelled future in waitFor()");
  const ended = () => release(waiter);
  future.addDoneCallback(ended);
  try {
    future.cancel();
    // Not the future itself, so that this wait can be cancelled too.
    yield* new Operation(() => waiter[Symbol.iterator](), { signal });
  } finally {
    future.removeDoneCallback(ended);
  }
  try {
    return future.result();
  } catch (error) {
    if (!isCancellation(error)) throw error;
    throw new TimeoutError("Timed out: it had to be done at once", {
      cause: error,
    });
  }
}
