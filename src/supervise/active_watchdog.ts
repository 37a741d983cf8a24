/**
 * The watchdog of this thread, and the shutdown that it is to expect, whichever of the two comes first.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";

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
/** Moment at which the budget of the shutdown that has begun is spent; null if none has. */
let endsMs: number | null = null;

/** Whether this thread has a watchdog. */
export function hasWatch(): boolean {
  return watch !== null;
}

/** Sets the watchdog of this thread; null if it has none any more. */
export function setWatch(active: ShutdownWatch | null): void {
  watch = active;
  if (watch === null || expected === null) return;
  if (endsMs === null) return watch.expect(expected);
  // The shutdown is under way: there is no signal to wait for, and only the rest of the budget is left.
  const budgetMs = Math.max(endsMs - monotonicMs(), 0);
  watch.expect({ signals: [], budgetMs });
  watch.begins(budgetMs);
}

/** Announces the shutdown of the process to the watchdog; null if none is to be expected any more. */
export function expectShutdown(shutdown: ExpectedShutdown | null): void {
  expected = shutdown;
  if (shutdown === null) endsMs = null;
  watch?.expect(shutdown);
}

/** Announces to the watchdog that the shutdown begins. Returns how long ago its signal came, in milliseconds. */
export function shutdownBegins(budgetMs: number): number {
  const agoMs = watch === null ? 0 : watch.begins(budgetMs);
  endsMs = monotonicMs() + budgetMs - agoMs;
  return agoMs;
}
