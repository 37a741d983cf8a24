/**
 * The timers of the runtime, and keeping the process alive with one.
 *
 * @module
 */

/** A longer delay makes the runtime's timers fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1;

/** A timer of the runtime. */
export interface HostTimer {
  /** Withdraws it; does nothing once it has fired or been cancelled. */
  cancel(): void;
}

/**
 * Calls `fn` once, no sooner than `ms` milliseconds from now: the delay is
 * rounded up to whole milliseconds, and the runtime adds about one more. The
 * one exception: after 2^31-1 ms (24.8 days) it is called in any case.
 *
 * With `hold` false the process may end before that.
 */
export function after(ms: number, fn: () => void, hold: boolean): HostTimer {
  const timer = setTimeout(fn, Math.min(Math.ceil(ms), DELAY_MS_MAX));
  if (!hold) Deno.unrefTimer(timer);
  return { cancel: () => clearTimeout(timer) };
}

/** Keeps the process alive while it is on. */
export class KeepAlive {
  #interval: ReturnType<typeof setInterval> | undefined;

  /** Turns it on or off; does nothing if it is so already. */
  set(on: boolean): void {
    if (on) this.#interval ??= setInterval(() => {}, 2 ** 30);
    else {
      clearInterval(this.#interval);
      this.#interval = undefined;
    }
  }
}
