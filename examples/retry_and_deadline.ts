/**
 * `retry` and `deadline` of @std/async in tasks: Rota has none of its own.
 *
 * Both return promises. `until(() => ...)` makes the wait for one a wait of the
 * task, and calls the function inside of it. The signal of the task, handed on,
 * ends what is under way when the task is cancelled; `isRetriable` keeps retry
 * from beginning anew then.
 */

import {
  CancelledError,
  currentTask,
  getRunningLoop,
  run,
  sleep,
  until,
} from "@rota/rota";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { deadline, retry } from "@std/async";

let attempts = 0;

/** A service that is slow at first, and fails then: the third time it works. */
function callService(signal: AbortSignal): Promise<string> {
  attempts++;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const delayMs = attempts === 1 ? 60_000 : 5;
  const timer = setTimeout(() => {
    if (attempts === 2) reject(new Error("busy"));
    else resolve(`answered attempt ${attempts}`);
  }, delayMs);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(signal.reason);
  }, { once: true });
  return promise;
}

/** Each attempt may take 30 ms. */
function ask(): Promise<string> {
  const { signal } = currentTask()!;
  const attempt = async () => {
    const own = new AbortController();
    const abort = () => own.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await deadline(callService(own.signal), 30, { signal });
    } catch (error) {
      own.abort(error); // what was too slow is not left behind
      console.log(`attempt ${attempts}: ${(error as Error).message}`);
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  };
  return retry(attempt, {
    maxAttempts: 5,
    minTimeout: 2,
    jitter: 0,
    isRetriable: () => !signal.aborted,
  });
}

await run(async () => {
  const loop = getRunningLoop();
  const answer = await loop.createTask(() => until(ask));
  console.log(answer);
  assertEquals(answer, "answered attempt 3");

  attempts = 0;
  const cancelled = loop.createTask(() => until(ask));
  await sleep(10);
  cancelled.cancel("not needed any more");
  await assertRejects(async () => await cancelled, CancelledError);
  await sleep(50);
  console.log(`cancelled after ${attempts} attempt`);
  assert(attempts === 1, `${attempts} attempts`);
});
