/**
 * Counts primes, slowly: work that keeps a processor busy.
 *
 * @module
 */

/** Counts the primes from `from` up to, but not including, `to`. */
export function countPrimes(from: number, to: number): number {
  let count = 0;
  for (let n = Math.max(from, 2); n < to; n++) {
    let isPrime = true;
    for (let d = 2; d * d <= n; d++) {
      if (n % d === 0) {
        isPrime = false;
        break;
      }
    }
    if (isPrime) count++;
  }
  return count;
}
