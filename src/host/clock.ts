/**
 * The clocks of the machine.
 *
 * @module
 */

/**
 * Milliseconds on the machine's monotonic clock, counted from about the start
 * of the program, with fractions down to nanoseconds. Never goes back, and
 * differs from `CLOCK_MONOTONIC` by a constant.
 */
export function monotonicMs(): number {
  return performance.now();
}

/** Milliseconds since 1970 on the machine's wall clock. It jumps in both directions when somebody sets it. */
export function wallClockMs(): number {
  return Date.now();
}

/** The moment `wallMs` milliseconds after the beginning of 1970. */
export function dateAt(wallMs: number): Date {
  return new Date(wallMs);
}
