/**
 * What the library needs of the runtime, except for native code: what is
 * allowed, the environment, standard error and the end of the process; which
 * task a promise continuation belongs to, and when an object is gone; time, and
 * being called later; signals of the operating system.
 *
 * What is expensive to have is fetched on first use: `node:async_hooks` when the
 * first task runs a function that is no generator function.
 *
 * @module
 */
import type { AsyncLocalStorage } from "node:async_hooks";

// -- The process --

/** Whether native libraries may be opened. Asks the runtime, never the user. */
export function ffiGranted(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/** Whether environment variable `variable` may be read. Never asks the user. */
function envGranted(variable: string): boolean {
  return Deno.permissions.querySync({ name: "env", variable }).state ===
    "granted";
}

/** Reads an environment variable, if that is allowed without asking. */
export function readEnvironment(name: string): string | undefined {
  return envGranted(name) ? Deno.env.get(name) : undefined;
}

/** Writes `text` to standard error: what a loop says when nobody else listens. */
export function writeError(text: string): void {
  // deno-lint-ignore no-console
  console.error(text);
}

/** Ends the process at once with `code`. */
export function exitProcess(code: number): never {
  Deno.exit(code);
}

// -- Who is running, and who is gone --

let hooks: typeof import("node:async_hooks") | null = null;
let storage: AsyncLocalStorage<object> | null = null;
let preparation: Promise<void> | null = null;

/** To have the module at once takes some ten milliseconds: it loads the whole Node layer. */
function load(): typeof import("node:async_hooks") {
  return hooks ??= globalThis.process.getBuiltinModule("node:async_hooks");
}

/**
 * Imports what {@linkcode runOwned} needs, if it `isNeeded` and not there: that
 * takes two milliseconds, and a few microtasks until it can be had.
 *
 * Gives what to wait for, also to those who do not need it, so that nobody
 * overtakes anybody; `null` if nothing is under way. The promise always fulfils:
 * should the import fail, {@linkcode runOwned} tries in its own way.
 */
export function prepareOwners(isNeeded: boolean): Promise<void> | null {
  if (preparation !== null || hooks !== null || !isNeeded) return preparation;
  preparation = import("node:async_hooks").then((module) => {
    hooks ??= module;
  }, () => {});
  preparation.then(() => {
    preparation = null;
  });
  return preparation;
}

/** Runs `fn` with `owner` as what {@linkcode ownerOfContinuation} finds, there and in all that `fn` awaits. */
export function runOwned<T, A extends unknown[]>(
  owner: object,
  fn: (...args: A) => T,
  ...args: A
): T {
  storage ??= new (load().AsyncLocalStorage)<object>();
  return storage.run(owner, fn, ...args);
}

/** The innermost `owner` around the running continuation, or `undefined`. */
export function ownerOfContinuation(): object | undefined {
  return storage === null ? undefined : storage.getStore();
}

/** Keeps the current async context: the result runs a function in it. Costs about a microsecond. */
export function captureContext(): <T>(fn: () => T) => T {
  return load().AsyncLocalStorage.snapshot() as <T>(fn: () => T) => T;
}

/**
 * Calls `collected` with what was given to {@linkcode Registry.register} some
 * time after the object it was registered for is gone, or never: collection is
 * up to the engine.
 */
export class Registry<Held> {
  readonly #registry: FinalizationRegistry<Held>;

  /** Makes a registry. `collected` must not throw. */
  constructor(collected: (held: Held) => void) {
    this.#registry = new FinalizationRegistry(collected);
  }

  /** Watches `target`. `held` must not refer to it. Costs about a microsecond. */
  register(target: WeakKey, held: Held): void {
    this.#registry.register(target, held);
  }
}

// -- Time --

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

// -- Signals --

// One listener of the runtime for each signal, however many handle it. While at
// least one is there, the signal's default action is off. After the last was
// removed it is on again, and for SIGPIPE that is a change: the runtime ignores
// it at first, and once it was listened to and is no more, writing to a closed
// pipe ends the process.

/** A listener, and who is told what it throws. */
interface Entry {
  readonly listener: () => void;
  readonly onError: (error: unknown) => void;
  removed: boolean;
}

/** What the operating system does not let anybody handle, or the runtime. */
const UNHANDLEABLE: ReadonlySet<string> = new Set(
  ["SIGKILL", "SIGSTOP", "SIGILL", "SIGFPE", "SIGSEGV"],
);

/** The listeners of one signal, and the one that the runtime has for them. */
class Delivery {
  readonly #signal: Deno.Signal;
  readonly #entries: Entry[] = [];
  #delivered = false;

  constructor(signal: Deno.Signal) {
    this.#signal = signal;
  }

  isListened(): boolean {
    return this.#entries.length > 0;
  }

  add(entry: Entry): void {
    if (this.#entries.length === 0) {
      Deno.addSignalListener(this.#signal, this.#deliver);
    }
    this.#entries.push(entry);
  }

  remove(entry: Entry): void {
    if (entry.removed) return;
    entry.removed = true;
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    // At once, also during a delivery: a listener that removes itself and sends
    // the signal to its own process wants the default action.
    if (this.#entries.length === 0) {
      Deno.removeSignalListener(this.#signal, this.#deliver);
    }
  }

  readonly #deliver = (): void => {
    // The runtime walks through a live set. When the last listener is removed
    // during a delivery and another one added, it comes by here again.
    if (this.#delivered) return;
    this.#delivered = true;
    microtask(() => {
      this.#delivered = false;
    });
    for (const entry of [...this.#entries]) {
      if (entry.removed) continue;
      try {
        entry.listener();
      } catch (error) {
        entry.onError(error);
      }
    }
  };
}

/** Whether somebody listens to `signal` by way of {@linkcode onSignal}. */
export function isListened(signal: Deno.Signal): boolean {
  return deliveries.get(signal)?.isListened() === true;
}

/** One for each signal that was ever listened to. */
const deliveries = new Map<Deno.Signal, Delivery>();

/**
 * Calls `listener` each time the process receives `signal`.
 *
 * Listeners run in the order in which they were added, each as often as it was
 * added. One that is added during a delivery does not take part in it, nor does
 * one that is removed. They run in the async context in which the signal got
 * its first listener. Signals that arrive before the first of them could be
 * delivered count as one. A listener does not keep the process alive.
 *
 * @param onError Told what `listener` throws; must not throw itself.
 * @returns Removes the listener; does nothing the second time.
 * @throws {TypeError} If there is no such signal, or it cannot be handled.
 */
export function onSignal(
  signal: Deno.Signal,
  listener: () => void,
  onError: (error: unknown) => void,
): () => void {
  if (UNHANDLEABLE.has(signal)) {
    throw new TypeError(
      `Cannot handle signal "${signal}": the operating system does not let programs handle it`,
    );
  }
  const delivery = deliveries.get(signal) ?? new Delivery(signal);
  const entry: Entry = { listener, onError, removed: false };
  try {
    delivery.add(entry);
  } catch (cause) {
    const received = typeof signal === "string" ? `"${signal}"` : typeof signal;
    throw new TypeError(
      `Cannot handle a signal as signal must be a signal name such as "SIGTERM": received ${received}`,
      { cause },
    );
  }
  deliveries.set(signal, delivery);
  return () => delivery.remove(entry);
}
