/**
 * `ensureFuture`: a future for anything that can be awaited.
 *
 * @module
 */
import { checkOptions } from "../loop/checks.ts";
import type { Future } from "../loop/future.ts";
import type { Task } from "../loop/task.ts";
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
 * Returns a future for anything that can be waited for, and starts it.
 *
 * Like asyncio's `ensure_future`. A future or task is returned as it is. A task
 * body becomes a task, whose first step runs in the next turn. A promise
 * becomes a task that waits for it, as `until` does: cancelling that task
 * leaves the promise alone.
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
 * @typeParam W The waitable.
 * @param waitable A future, task, function, coroutine, operation or promise.
 * @param options The loop on which a task is made.
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
  checkOptions(options, what);
  checkWaitable(waitable, what, "waitable");
  const loop = loopOf(options, what);
  if (loop !== undefined) checkLoop(waitable, loop, what);
  return startWaitable(waitable, loop) as W extends Task<unknown> ? W
    : Future<Waited<W>>;
}
