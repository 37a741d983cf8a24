import { CancelledError } from "../errors.ts";

/** A listener on an {@linkcode AbortSignal} that can be taken back. */
export interface Subscription {
  /** Takes it back; harmless when done twice or after the abort. */
  unsubscribe(): void;
}

type Listener = (reason: unknown) => void;

/**
 * All listeners of one signal behind a single one of its own.
 *
 * Adding a listener to an `AbortSignal` takes time in proportion to those it
 * has (18 s for 100,000), and a long-lived signal keeps each of them. So a
 * signal gets one listener, when its first subscriber comes, which is removed
 * when the last one leaves.
 */
class SignalHub {
  readonly #signal: AbortSignal;
  readonly #listeners = new Map<object, Listener>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(listener: Listener): Subscription {
    if (this.#listeners.size === 0) {
      this.#signal.addEventListener("abort", this);
    }
    const subscription = { unsubscribe: () => this.#remove(subscription) };
    this.#listeners.set(subscription, listener);
    return subscription;
  }

  #remove(subscription: object): void {
    if (!this.#listeners.delete(subscription) || this.#listeners.size > 0) {
      return;
    }
    this.#signal.removeEventListener("abort", this);
    hubs.delete(this.#signal);
  }

  handleEvent(): void {
    this.#signal.removeEventListener("abort", this);
    hubs.delete(this.#signal);
    const { reason } = this.#signal;
    // One listener may take another one back while this runs: a Map copes.
    for (const [subscription, listener] of this.#listeners) {
      this.#listeners.delete(subscription);
      listener(reason);
    }
  }
}

const hubs = new WeakMap<AbortSignal, SignalHub>();
const cancellations = new WeakMap<AbortSignal, CancelledError>();

/**
 * Calls `listener` with the signal's reason when it aborts, in the order of
 * subscription; at once if it has aborted. `listener` must not throw. O(1).
 */
export function subscribe(
  signal: AbortSignal,
  listener: Listener,
): Subscription {
  if (signal.aborted) {
    listener(signal.reason);
    return { unsubscribe: () => {} };
  }
  let hub = hubs.get(signal);
  if (hub === undefined) hubs.set(signal, hub = new SignalHub(signal));
  return hub.add(listener);
}

/**
 * The cancellation of all tasks that an aborted signal cancels: one error for
 * all of them, as making one costs more than everything else about it.
 */
export function cancellationBy(signal: AbortSignal): CancelledError {
  const { reason } = signal;
  if (reason instanceof CancelledError) return reason;
  let error = cancellations.get(signal);
  if (error === undefined) {
    cancellations.set(signal, error = new CancelledError(reason));
  }
  return error;
}
