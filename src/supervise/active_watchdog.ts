/**
 * The watchdog of this thread, and the shutdown that it is to expect, whichever of the two comes first.
 *
 * @module
 */

/** Signals and budget of a shutdown. */
export interface ExpectedShutdown {
  readonly signals: readonly Deno.Signal[];
  readonly budgetMs: number;
}

/** The part of a watchdog that a shutdown needs. */
export interface ShutdownWatch {
  /** Has it listen to the signals, in case that the thread is blocked when one comes; null for no shutdown. */
  expect(shutdown: ExpectedShutdown | null): void;
  /** The shutdown begins. Returns how long ago its signal came, in milliseconds. */
  begins(budgetMs: number): number;
}

let watch: ShutdownWatch | null = null;
let expected: ExpectedShutdown | null = null;

/** Whether this thread has a watchdog. */
export function hasWatch(): boolean {
  return watch !== null;
}

/** Sets the watchdog of this thread; null if it has none any more. */
export function setWatch(active: ShutdownWatch | null): void {
  watch = active;
  watch?.expect(expected);
}

/** Announces the shutdown of the process to the watchdog; null if none is to be expected any more. */
export function expectShutdown(shutdown: ExpectedShutdown | null): void {
  expected = shutdown;
  watch?.expect(shutdown);
}

/** Announces to the watchdog that the shutdown begins. Returns how long ago its signal came, in milliseconds. */
export function shutdownBegins(budgetMs: number): number {
  return watch === null ? 0 : watch.begins(budgetMs);
}
