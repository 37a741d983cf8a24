/**
 * The timers of the runtime, and keeping the process alive with one.
 *
 * @module
 */
import { microtask } from "./microtask.ts";

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

/**
 * Microtasks until a timer is set to keep the process alive. Guessed: the first timer of a process costs five
 * milliseconds, as it loads the runtime's Node layer, and a program that only computes is over before that.
 */
const MICROTASKS_BEFORE_HOLD = 64;

/** Keeps the process alive while it is on. */
export class KeepAlive {
  #on = false;
  #interval: ReturnType<typeof setInterval> | undefined;
  /** How many microtasks to let pass; they keep the process alive themselves. */
  #microtasksLeft = 0;

  /** Turns it on or off; does nothing if it is so already. */
  set(on: boolean): void {
    if (on === this.#on) return;
    this.#on = on;
    if (!on) {
      clearInterval(this.#interval);
      this.#interval = undefined;
      return;
    }
    const counting = this.#microtasksLeft > 0;
    this.#microtasksLeft = MICROTASKS_BEFORE_HOLD;
    if (!counting) microtask(this.#count);
  }

  readonly #count = (): void => {
    if (!this.#on) this.#microtasksLeft = 0;
    else if (--this.#microtasksLeft > 0) microtask(this.#count);
    else this.#interval = setInterval(() => {}, 2 ** 30);
  };
}
