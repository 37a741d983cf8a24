/**
 * `shield`: a wait whose cancellation does not reach what is waited for.
 *
 * @module
 */
import { checkWaitOptions } from "../loop/checks.ts";
import type { Future } from "../loop/future.ts";
import { LendingFuture } from "./lending_futures.ts";
import { relayOutcome, Watch } from "./watch.ts";
import {
  checkLoop,
  checkWaitable,
  loopOf,
  type LoopOptions,
  startWaitable,
  type Waitable,
  type Waited,
} from "./waitable.ts";

/**
 * Returns a future of something, whose cancellation leaves that running.
 *
 * Like asyncio's `shield`. Functions, coroutines, operations and promises become a
 * task at once. Cancelling the future that is returned, or the task that waits for
 * it, ends the wait; the shielded task goes on. If it then fails, and nobody else
 * looks at that, the error goes to the exception handler. If the shielded task is
 * cancelled itself, so is the future.
 *
 * It shields one thing that is waited for. A {@linkcode cancelScope} with `shield`
 * shields all waits of its body.
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
 * @typeParam W The waitable.
 * @param waitable A future, task, function, coroutine, operation or promise.
 * @param options The loop on which a task is made.
 * @returns A future of its result; the one that was given if it is done.
 * @throws {TypeError} If `waitable` is none of these.
 * @throws {MisuseError} If no loop is given or running, or it is another than
 * that of the future given.
 */
export function shield<W extends Waitable<unknown>>(
  waitable: W,
  options: LoopOptions = {},
): Future<Waited<W>> {
  const what = "shield";
  checkWaitOptions(options as object, what); // a signal among them would be ignored, but not a wrong one
  checkWaitable(waitable, what, "waitable");
  const loop = loopOf(options, what);
  if (loop !== undefined) checkLoop(waitable, loop, what);
  const inner = startWaitable(waitable, loop) as Future<Waited<W>>;
  if (inner.done()) return inner;
  const outer = new ShieldingFuture(inner);
  const innerDone = () => {
    // An error that comes too late is left for somebody else to look at.
    if (outer.done()) return;
    if (inner.cancelled()) outer.cancel(); // without the reason, as in asyncio
    else relayOutcome(inner, outer);
  };
  const watch = new Watch(
    inner as Future<unknown>,
    innerDone,
    outer,
  );
  outer.addDoneCallback(() => watch.end());
  return outer;
}

/** A future with the outcome of another one, which it does not cancel. */
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
