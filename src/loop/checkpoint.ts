import { AttemptOperation } from "./attempt_operation.ts";
import { getRunningLoop } from "./current.ts";
import type { Operation, WaitOptions } from "./operation.ts";
import { sleep } from "./sleep.ts";
import type { Coroutine } from "./task.ts";

/**
 * Gives everything that is ready one turn, then goes on: `sleep(0)` by a name
 * that says why.
 *
 * @example Two tasks alternate
 * ```ts
 * import { getRunningLoop, run, yieldNow } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const log: string[] = [];
 * const say = (name: string) =>
 *   function* () {
 *     for (let n = 1; n <= 2; n++) {
 *       log.push(`${name}${n}`);
 *       yield* yieldNow();
 *     }
 *   };
 * await run(function* () {
 *   const other = getRunningLoop().createTask(say("b"));
 *   yield* say("a")();
 *   yield* other;
 * });
 * assertEquals(log, ["a1", "b1", "a2", "b2"]);
 * ```
 *
 * @param options A signal that ends the wait.
 * @returns An operation: nothing happens until it is waited for.
 * @throws {TypeError} If `signal` is not an `AbortSignal`.
 */
export function yieldNow(options: WaitOptions = {}): Operation<void> {
  return sleep(0, options);
}

/**
 * Lets others have their turn if it is time for that, and a cancellation
 * through; else goes on at once. For long computations between waits.
 *
 * It is time when the loop has not been able to look at its timers and
 * descriptors for about a millisecond; on the virtual host, where work takes no
 * time, at every 128th call. Costs some 150 ns when it is not time.
 *
 * @example A computation that does not hold up the rest
 * ```ts
 * import { checkpoint, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(function* () {
 *   let sum = 0;
 *   for (let n = 1; n <= 10_000; n++) {
 *     sum += n;
 *     yield* checkpoint();
 *   }
 *   return sum;
 * });
 * assertEquals(sum, 50_005_000);
 * ```
 *
 * @returns An operation: nothing happens until it is waited for.
 */
export function checkpoint(): Operation<void> {
  return new Checkpoint(CHECKPOINT, undefined);
}

const CHECKPOINT = { name: "checkpoint()" };
const GO_ON: IteratorReturnResult<void> = { done: true, value: undefined };

class Checkpoint extends AttemptOperation<void> {
  protected attempt(): IteratorReturnResult<void> | undefined {
    return getRunningLoop()["isTimeToYield"]() ? undefined : GO_ON;
  }

  protected *wait(): Coroutine<void> {
    yield;
  }
}
