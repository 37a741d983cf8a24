/**
 * Time limits that are no error: `moveOnAfter` and `moveOnAt`, like trio's.
 *
 * @module
 */
import { checkFunction, checkNumber } from "../loop/checks.ts";
import type { Operation } from "../loop/operation.ts";
import type { BlockBody } from "./block_body.ts";
import {
  CancelScope,
  type ScopeOptions,
  type ScopeOutcome,
} from "./cancel_scope.ts";
import { checkScopeOptions } from "./scope_options.ts";

/**
 * Runs `body` for at most `delayMs` milliseconds, and goes on without it.
 *
 * Like trio's `move_on_after`: a {@linkcode cancelScope} with a deadline. With a
 * delay of 0 or less the first wait throws. With `shield`, scopes around cannot
 * cancel the body, as for clean-up that waits.
 *
 * @example A guess instead of the answer
 * ```ts
 * import { moveOnAfter, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const price = await run(async () => {
 *   const asked = await moveOnAfter(100, () => sleep(5_000, { value: 42 }));
 *   return asked.cancelledCaught ? 40 : asked.value;
 * }, { host: "virtual" });
 * assertEquals(price, 40);
 * ```
 *
 * @example Clean-up in a cancelled scope, for at most a second
 * ```ts
 * import { cancelScope, moveOnAfter, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let saved = false;
 * await run(async () => {
 *   await cancelScope(async (scope) => {
 *     scope.cancel();
 *     await moveOnAfter(1_000, async () => {
 *       await sleep(10);
 *       saved = true;
 *     }, { shield: true });
 *   });
 * }, { host: "virtual" });
 * assertEquals(saved, true);
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param delayMs The limit, in milliseconds from the moment the operation starts.
 * @param body A generator function or async function, called with the scope.
 * @param options Whether to shield; a signal: its reason is then thrown.
 * @returns An operation of the outcome.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `delayMs` is `NaN`.
 */
export function moveOnAfter<T>(
  delayMs: number,
  body: BlockBody<CancelScope, T>,
  options: ScopeOptions = {},
): Operation<ScopeOutcome<T>> {
  const what = "move on";
  checkNumber(delayMs, what, "delayMs");
  checkFunction(body, what, "body");
  const { shield, signal } = checkScopeOptions(options, what);
  return new CancelScope({ signal, shield, delayMs }).run(body);
}

/**
 * Runs `body` until the moment `deadlineMs`, and goes on without it.
 *
 * Like trio's `move_on_at`; in all else like {@linkcode moveOnAfter}.
 *
 * @example
 * ```ts
 * import { getRunningLoop, moveOnAt, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const endMs = getRunningLoop().time() + 10;
 *   const { cancelledCaught } = yield* moveOnAt(endMs, () => sleep(20));
 *   assertEquals(cancelledCaught, true);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param deadlineMs A moment on the clock of the loop, in milliseconds.
 * @param body A generator function or async function, called with the scope.
 * @param options Whether to shield; a signal: its reason is then thrown.
 * @returns An operation of the outcome.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `deadlineMs` is `NaN`.
 */
export function moveOnAt<T>(
  deadlineMs: number,
  body: BlockBody<CancelScope, T>,
  options: ScopeOptions = {},
): Operation<ScopeOutcome<T>> {
  const what = "move on";
  checkNumber(deadlineMs, what, "deadlineMs");
  checkFunction(body, what, "body");
  const { shield, signal } = checkScopeOptions(options, what);
  return new CancelScope({ signal, shield, deadlineMs }).run(body);
}
