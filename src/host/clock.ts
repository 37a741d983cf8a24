/**
 * Milliseconds on the machine's monotonic clock, counted from about the start
 * of the program, with fractions down to nanoseconds. Never goes back, and
 * differs from `CLOCK_MONOTONIC` by a constant.
 */
export function monotonicMs(): number {
  return performance.now();
}
