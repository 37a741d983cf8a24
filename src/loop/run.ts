/**
 * `run`: a loop for one main function, from making to closing.
 *
 * @module
 */
import { Runner, type RunOptions } from "./runner.ts";
import { checkBody, type TaskBody } from "./task_body.ts";

/**
 * Runs `main` on a fresh loop, cleans up, and returns the result.
 *
 * Like asyncio's `run`. When `main` has ended, the tasks that are left are
 * cancelled and run on until they have cleaned up; their errors are reported to
 * the exception handler. Then the loop is closed.
 *
 * SIGINT cancels `main` once, so that it can clean up; `run` then rejects with
 * an {@linkcode InterruptedError}. A second SIGINT ends the process with exit
 * code 130. While only foreign promises are pending, the runtime decides
 * whether the process lives on; see {@linkcode EventLoop.runUntilComplete}.
 *
 * With the option `shutdown` a SIGINT or SIGTERM begins a graceful shutdown: see
 * {@linkcode gracefulShutdown}.
 *
 * @example In both styles
 * ```ts
 * import { run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const one = await run(async () => {
 *   await sleep(1);
 *   return 1;
 * });
 * const two = await run(function* () {
 *   yield* sleep(1);
 *   return 2;
 * });
 * assertEquals([one, two], [1, 2]);
 * ```
 *
 * @typeParam T Type of the result.
 * @param main An async function or generator function without parameters, a
 * generator that has not started, or an operation.
 * @param options The host, debug mode, and more.
 * @returns A promise for the result of `main`. Rejects with the error of
 * `main`, with a `CancelledError` if `main` was cancelled.
 * @throws {TypeError} If `main` or an option is of the wrong type.
 * @throws {MisuseError} If `loopFactory` returns a loop that is running.
 * @throws {DeadlockError} If all tasks wait for ever; see `deadlock`.
 * @throws {InterruptedError} If SIGINT ended `main`, or a shutdown did that does
 * not end the process itself.
 */
export async function run<T>(
  main: TaskBody<T>,
  options: RunOptions = {},
): Promise<T> {
  if (typeof main !== "function") checkBody(main, "run a program");
  const runner = new Runner(options);
  let result: T;
  try {
    result = await runner.run(main);
  } catch (error) {
    try {
      await runner.close();
    } catch (closingError) {
      // A scheduler that has erred ends the clean-up in the same way.
      if (closingError === error) throw error;
      throw new SuppressedError(
        closingError,
        error,
        "Both the program and its clean-up failed",
      );
    }
    throw error;
  }
  await runner.close();
  return result;
}
