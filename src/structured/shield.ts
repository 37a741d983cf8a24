import type { Future } from "../loop/future.ts";
import { LendingFuture } from "./limit.ts";
import {
  checkLoop,
  checkOptions,
  checkWaitable,
  loopOf,
  type LoopOptions,
  startWaitable,
  type Waitable,
  type Waited,
} from "./waitable.ts";
import { Watch } from "./watch.ts";

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
