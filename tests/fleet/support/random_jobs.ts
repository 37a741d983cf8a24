/**
 * The function of random jobs.
 *
 * @module
 */
import { type Coroutine, currentJob, sleep } from "@rota/rota";

/** Takes its time, and fails in its first attempts. */
export function* work(
  n: number,
  ms: number,
  failures: number,
): Coroutine<number> {
  yield* sleep(ms);
  if (currentJob()!.lease!.attempt <= failures) throw new Error("again");
  return n;
}
