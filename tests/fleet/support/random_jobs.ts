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

/** Tokens of the leases with which each job has begun, in order. */
export const begun: Map<number, number[]> = new Map();

/** Takes its time, and returns the token of its lease. */
export function* tokenOf(n: number, ms: number): Coroutine<number> {
  const { fencingToken } = currentJob()!.lease!;
  begun.set(n, [...begun.get(n) ?? [], fencingToken]);
  yield* sleep(ms);
  return fencingToken;
}
