/**
 * Time limits that throw: `failAfter` and `failAt`, like trio's.
 *
 * @module
 */
import { TimeoutError } from "../errors.ts";
import { checkFunction, checkNumber } from "../loop/checks.ts";
import { Operation } from "../loop/operation.ts";
import type { BlockBody } from "./block_body.ts";
import { CancelScope, type ScopeOptions } from "./cancel_scope.ts";
import { checkScopeOptions } from "./scope_options.ts";

/**
 * Runs `body` for at most `delayMs` milliseconds, and throws if that is too short.
 *
 * Like trio's `fail_after`: {@linkcode moveOnAfter} with a {@linkcode TimeoutError}
 * at the end. Unlike in a {@linkcode timeout}, every wait in the body throws once the
 * time is over, clean-up included. With `shield`, scopes around cannot cancel the
 * body, as for clean-up that waits.
 *
 * @example
 * ```ts
 * import { failAfter, run, sleep, TimeoutError } from "@rota/rota";
 * import { assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   await assertRejects(async () => await failAfter(100, () => sleep(200)), TimeoutError);
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param delayMs The limit, in milliseconds from the moment the operation starts.
 * @param body A generator function or async function, called with the scope.
 * @param options Whether to shield; a signal: its reason is then thrown.
 * @returns An operation of the body's result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `delayMs` is `NaN`.
 * @throws {TimeoutError} If the time was over.
 */
export function failAfter<T>(
  delayMs: number,
  body: BlockBody<CancelScope, T>,
  options: ScopeOptions = {},
): Operation<T> {
  const what = "set a time limit";
  checkNumber(delayMs, what, "delayMs");
  checkFunction(body, what, "body");
  const { shield, signal } = checkScopeOptions(options, what);
  const scope = new CancelScope({ signal, shield, delayMs });
  return orFail(scope, body, "failAfter()", `within ${delayMs} ms`);
}

/**
 * Runs `body` until the moment `deadlineMs`, and throws if that is too short.
 *
 * Like trio's `fail_at`; in all else like {@linkcode failAfter}.
 *
 * @example
 * ```ts
 * import { failAt, getRunningLoop, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await run(function* () {
 *   const endMs = getRunningLoop().time() + 10;
 *   assertEquals(yield* failAt(endMs, () => sleep(5, { value: "in time" })), "in time");
 * }, { host: "virtual" });
 * ```
 *
 * @typeParam T The type of the body's result.
 * @param deadlineMs A moment on the clock of the loop, in milliseconds.
 * @param body A generator function or async function, called with the scope.
 * @param options Whether to shield; a signal: its reason is then thrown.
 * @returns An operation of the body's result.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `deadlineMs` is `NaN`.
 * @throws {TimeoutError} If the time was over.
 */
export function failAt<T>(
  deadlineMs: number,
  body: BlockBody<CancelScope, T>,
  options: ScopeOptions = {},
): Operation<T> {
  const what = "set a time limit";
  checkNumber(deadlineMs, what, "deadlineMs");
  checkFunction(body, what, "body");
  const { shield, signal } = checkScopeOptions(options, what);
  const scope = new CancelScope({ signal, shield, deadlineMs });
  return orFail(scope, body, "failAt()", "by its deadline");
}

function orFail<T>(
  scope: CancelScope,
  body: BlockBody<CancelScope, T>,
  name: string,
  limit: string,
): Operation<T> {
  return new Operation(function* () {
    const outcome = yield* scope.run(body);
    if (!outcome.cancelledCaught) return outcome.value;
    throw new TimeoutError(`Timed out: it had to be done ${limit}`);
  }, { name, whenCancelled: "enter" });
}
