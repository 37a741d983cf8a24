/**
 * Signals of the operating system.
 *
 * The runtime gets one listener for each signal, however many handle it. While there is at least one, the signal's
 * default action is off. After the last was removed it is on again, and for SIGPIPE that is a change: the runtime ignores
 * it at first, and once it was listened to and no longer is, writing to a closed pipe ends the process.
 *
 * @module
 */
import { microtask } from "./microtask.ts";

/** A listener, and the handler of its errors. */
interface Entry {
  readonly listener: () => void;
  readonly onError: (error: unknown) => void;
  removed: boolean;
}

/** Signals that the operating system, or the runtime, does not let programs handle. */
const UNHANDLEABLE: ReadonlySet<string> = new Set(
  ["SIGKILL", "SIGSTOP", "SIGILL", "SIGFPE", "SIGSEGV"],
);

/** The listeners of one signal, and the one listener that the runtime has for all of them. */
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

/**
 * Whether `signal` has a listener of {@linkcode onSignal}, or one of Node's `process.on`, as npm packages set them. Listeners
 * that were given to `Deno.addSignalListener` elsewhere cannot be known of.
 */
export function isListened(signal: Deno.Signal): boolean {
  return deliveries.get(signal)?.isListened() === true ||
    globalThis.process.listenerCount(signal) > 0;
}

/** The delivery of each signal that was ever listened to. */
const deliveries = new Map<Deno.Signal, Delivery>();

/**
 * Calls `listener` each time the process receives `signal`.
 *
 * Listeners run in the order in which they were added, each as often as it was
 * added. A listener that is added or removed during a delivery takes no part in
 * it. They run in the async context in which the signal got its first listener.
 * Signals that arrive before the first of them could be delivered count as one.
 * A listener does not keep the process alive.
 *
 * @param onError Called with what `listener` throws; must not throw itself.
 * @returns A function that removes the listener; does nothing the second time.
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
