/**
 * Time: what it is, being called later, and being called as soon as the runtime
 * gets round to it.
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

/**
 * Milliseconds since 1970 on the machine's wall clock. Somebody may set it, so
 * that it jumps, in both directions.
 */
export function wallClockMs(): number {
  return Date.now();
}

/** The moment `wallMs` milliseconds after the beginning of 1970. */
export function dateAt(wallMs: number): Date {
  return new Date(wallMs);
}

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

/** Runs `callback` when the current microtask is done: 15 to 20 ns. */
export const microtask: (callback: () => void) => void = queueMicrotask;

let immediate: ((callback: () => void) => unknown) | undefined;

/**
 * Runs `callback` in the next pass of the runtime's own event loop.
 *
 * `setImmediate` is looked up on first use: that loads the runtime's Node layer,
 * which takes some five milliseconds that a short program need not spend.
 */
export function macrotask(callback: () => void): void {
  immediate ??= setImmediate;
  immediate(callback);
}

let submit: () => void;
const detachedCallbacks: (() => void)[] = [];

/**
 * Runs `callback` a few microtasks later, in the async context this module was
 * loaded in and not in that of the caller.
 *
 * A promise reaction or a timer belongs to the async context in which it was
 * registered. So whatever registers one on the library's own account, while
 * code of the user is on the stack, has to leave that context first; otherwise
 * the user's `AsyncLocalStorage` values show up in code that is not theirs.
 */
export function detached(callback: () => void): void {
  if (detachedCallbacks.push(callback) === 1) submit();
}

/** Registers the next reaction from inside the last: same async context. */
function listen(): void {
  const { promise, resolve } = Promise.withResolvers<void>();
  submit = resolve;
  promise.then(() => {
    listen();
    // A microtask each, so that one that throws does not take others with it.
    for (const callback of detachedCallbacks.splice(0)) microtask(callback);
  });
}

listen();
