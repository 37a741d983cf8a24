/**
 * Jobs that take their thread down with them now and then.
 *
 * @module
 */
import process from "node:process";

/** Returns the square of `n`; ends its thread instead if `shared` says that this is the unlucky call. */
export function square(n: number, shared: SharedArrayBuffer): number {
  const callsLeft = new Int32Array(shared);
  if (Atomics.sub(callsLeft, 0, 1) === 1) process.exit(7);
  return n * n;
}
