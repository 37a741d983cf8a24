/**
 * Headstart of wake-ups: an estimate of how long the system takes to wake a thread.
 *
 * @module
 */
/** The part of the wake-ups that may be too early: 1 in 4. */
const WAKES_PER_EARLY = 4;
/** How much a wake-up that is not early raises the headstart. */
const HEADSTART_STEP_MS = 0.005;
/** The headstart is no more than this part of a wait: waking from a short one takes less. */
const HEADSTART_PART_MAX = 1 / 8;
/** The longest headstart: what is left after an early wake-up is spent on the thread. */
const HEADSTART_MS_MAX = 0.2;

/**
 * How long before a deadline the timer is to fire: as long as three wake-ups in
 * four take at least. The fourth is early, and waits for the rest.
 *
 * The estimate of a quantile by stochastic approximation: up by a step
 * after each that took longer, down by three after each that did not.
 */
export class Headstart {
  #ms = 0;

  /** Returns the headstart for a wait of `waitMs`, in milliseconds. */
  ofMs(waitMs: number): number {
    return Math.min(this.#ms, waitMs * HEADSTART_PART_MAX);
  }

  /** Takes note that a wake-up has taken `tookMs`. */
  learn(tookMs: number): void {
    const steps = tookMs > this.#ms ? 1 : 1 - WAKES_PER_EARLY;
    const ms = this.#ms + steps * HEADSTART_STEP_MS;
    this.#ms = Math.min(Math.max(ms, 0), HEADSTART_MS_MAX);
  }
}
