/**
 * `scoped`: a body with a resource that is disposed of at its end, in place of
 * `await using`.
 *
 * @module
 */
import { callInTask, runBody } from "./body.ts";
import { cancellationIn, isCancellation } from "./cancellation.ts";
import { checkFunction, inspect } from "./checks.ts";
import { current, getRunningLoop } from "./current.ts";
import { Operation, type OperationOptions } from "./operation.ts";
import type { Coroutine } from "./task_body.ts";
import { reportLost } from "./until.ts";

/**
 * Runs `body` with a resource and disposes of the resource afterwards, however
 * the body ends: `await using` for generator coroutines.
 *
 * The resource is disposed of by `[Symbol.asyncDispose]()`, whose promise is
 * awaited, else by `[Symbol.dispose]()`. If body and disposal both fail, a
 * `SuppressedError` with both is thrown.
 *
 * An async disposal may use operations of the loop. A cancellation during the
 * disposal is thrown into the operation for which it waits, and `scoped` still
 * waits for its end. While it waits for anything else, such as a foreign
 * promise, a `task.cancel` or an expired timeout ends the wait, unless the
 * disposal is back in an operation within two turns; the disposal runs on, and
 * its failure is reported to the loop's exception handler. A cancelled scope
 * does not end the wait: only operations inside the disposal throw, unless the
 * disposal opens a shielded scope for them.
 *
 * @example A file that is closed in any case
 * ```ts
 * import { run, scoped, until } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile();
 * await Deno.writeTextFile(path, "hello");
 * const size = await run(function* () {
 *   const file = yield* until(Deno.open(path));
 *   return yield* scoped(file, function* (file) {
 *     const { size } = yield* until(file.stat());
 *     return size;
 *   });
 * });
 * assertEquals(size, 5);
 * await Deno.remove(path);
 * ```
 *
 * @typeParam R Type of the resource.
 * @typeParam T Type of the result.
 * @param resource Something with `[Symbol.asyncDispose]` or `[Symbol.dispose]`.
 * @param body A generator function or async function.
 * @returns An operation: nothing happens until it is waited for. It returns the
 * result of the body.
 * @throws {TypeError} If `resource` cannot be disposed of or `body` is not a function.
 */
export function scoped<R extends AsyncDisposable | Disposable, T>(
  resource: R,
  body: (resource: R) => Coroutine<T> | PromiseLike<T> | T,
): Operation<T> {
  const both = resource as
    | Partial<AsyncDisposable & Disposable>
    | null
    | undefined;
  if (
    typeof both?.[Symbol.asyncDispose] !== "function" &&
    typeof both?.[Symbol.dispose] !== "function"
  ) {
    throw new TypeError(
      `Cannot open a scope as resource must have [Symbol.asyncDispose] or [Symbol.dispose]: received ${
        inspect(resource)
      }`,
    );
  }
  checkFunction(body, "open a scope", "body");
  return new ScopedOperation(() => inScope(resource, body), SCOPED);
}

const SCOPED: OperationOptions = { name: "scoped()", whenCancelled: "enter" };

/** Runs in any case: the resource was taken over when it was made. */
class ScopedOperation<T> extends Operation<T> {
  override get ownsResource(): boolean {
    return true;
  }
}

function* inScope<R extends AsyncDisposable | Disposable, T>(
  resource: R,
  body: (resource: R) => Coroutine<T> | PromiseLike<T> | T,
): Coroutine<T> {
  let result: T;
  try {
    result = yield* runBody(null, body, resource);
  } catch (error) {
    try {
      yield* dispose(resource);
    } catch (disposalError) {
      throw bothFailed(error, disposalError);
    }
    throw error;
  }
  yield* dispose(resource);
  return result;
}

function bothFailed(error: unknown, disposalError: unknown): SuppressedError {
  const cancelled = cancellationIn(disposalError);
  // The failure of the body is thrown now, so the cancellation has to be thrown
  // again later.
  if (cancelled !== null && !isCancellation(error)) {
    current.task!.postponeCancel(cancelled);
  }
  return new SuppressedError(
    disposalError,
    error,
    "Both the body and the disposal failed",
  );
}

function* dispose(
  resource: Partial<AsyncDisposable & Disposable>,
): Coroutine<void> {
  if (typeof resource[Symbol.asyncDispose] !== "function") {
    resource[Symbol.dispose]!();
    return;
  }
  const loop = getRunningLoop();
  yield* callInTask(
    () => resource[Symbol.asyncDispose]!(),
    "a disposal in scoped()",
    (error) => reportLost(loop, error),
    true,
  );
}
