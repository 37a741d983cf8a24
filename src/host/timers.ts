/** A longer delay makes the runtime's timers fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1;

/** A timer of the runtime. */
export interface HostTimer {
  /** Withdraws it; does nothing once it has fired or been cancelled. */
  cancel(): void;
}

/** Something that keeps the process alive. */
export interface HostHold {
  /** Lets the process end again; does nothing the second time. */
  release(): void;
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

/** Keeps the process alive until the hold is released. */
export function holdOpen(): HostHold {
  const interval = setInterval(() => {}, 2 ** 30);
  return { release: () => clearInterval(interval) };
}
