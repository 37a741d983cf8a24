/**
 * The function of the jobs that are measured.
 *
 * @module
 */

/** Returns the next number. */
export function increment(n: number): number {
  return n + 1;
}
