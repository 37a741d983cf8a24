/**
 * `currentEffectiveDeadline`: the earliest of the time limits around a task.
 *
 * @module
 */
import { currentBlock } from "../loop/block.ts";

/**
 * Returns the moment when the running code will be cancelled at the latest because
 * its time is over: the earliest deadline of all {@linkcode CancelScope}s and
 * {@linkcode timeout}s around it in its task. Scopes around one with `shield` do not
 * count. Like trio's `current_effective_deadline`.
 *
 * @example The time that is left
 * ```ts
 * import { currentEffectiveDeadline, moveOnAfter, run, timeout } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   assertEquals(currentEffectiveDeadline(), Infinity);
 *   yield* timeout(50, function* () {
 *     yield* moveOnAfter(100, function* () {
 *       assertEquals(currentEffectiveDeadline(), 50);
 *     });
 *   });
 * }, { host: "virtual" });
 * ```
 *
 * @returns A moment on the clock of the loop, in milliseconds: `Infinity` if
 * there is no limit, `-Infinity` if a scope has been cancelled already.
 */
export function currentEffectiveDeadline(): number {
  let deadlineMs = Infinity;
  let shielded = false;
  for (let block = currentBlock(); block !== null; block = block.outer) {
    if (!shielded || block.cancels === "once") {
      if (block.cancellation !== null) return -Infinity;
      deadlineMs = Math.min(deadlineMs, block.deadlineMs);
    }
    shielded ||= block.shielded;
  }
  return deadlineMs;
}
