import type { EventLoop } from "./event_loop.ts";
import { NO_ARGUMENTS } from "./handle.ts";
import { TimerHandle } from "./timer_handle.ts";

/**
 * What a {@linkcode TickTimer} calls, with the time if it is known, else `NaN`.
 * Returns the time if it was read when all was done, else `NaN`.
 */
export type TickCallback<T> = (target: T, readMs: number) => number;

/**
 * A timer of something that has to know when it begins and when it has ended. Of
 * several that run one after the other, each begins when the one before has
 * ended: they hand on what the clock said, as reading it costs as much as half of
 * all else. The loop sees to it that nothing else runs in between.
 */
export class TickTimer<T> extends TimerHandle {
  readonly #tick: TickCallback<T>;
  readonly #target: T;

  constructor(loop: EventLoop, callback: TickCallback<T>, target: T) {
    super(loop, Infinity, callback, NO_ARGUMENTS);
    this.#tick = callback;
    this.#target = target;
  }

  override run(): void {
    this.runAt(NaN);
  }

  /** Its turn has come; takes and returns what {@linkcode TickCallback} does. */
  runAt(readMs: number): number {
    return this.takeTurn() && !this.cancelled()
      ? this.#tick(this.#target, readMs)
      : readMs;
  }
}

/** The `run` of all of them, by which the kernel recognizes one. */
export const TICK_RUN = TickTimer.prototype.run;
