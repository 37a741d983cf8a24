/**
 * Listeners on abort signals: one listener of the signal's for all of ours.
 *
 * Adding a listener to an `AbortSignal` takes time in proportion to those it has (18 s for 100,000), and a long-lived
 * signal keeps each of them. So a signal gets one listener, a hub, when its first subscriber comes; it is removed when
 * the last one leaves.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";

/** A listener on an {@linkcode AbortSignal} that can be taken back. */
export interface Subscription {
  /** Takes it back; harmless when done twice or after the abort. */
  unsubscribe(): void;
}

type Listener = (reason: unknown) => void;

/**
 * A listener on a signal, its node in the list of them, and the subscription, in one object: one signal may end very
 * many waits.
 */
export abstract class SignalListener
  implements Subscription, ListNode<SignalListener> {
  // Declared and assigned, as in Future. Written by the list.
  /**
   * The hub at which it listens.
   *
   * @ignore
   */
  declare list: LinkedList<SignalListener> | undefined;
  /** @ignore */
  declare nextNode: SignalListener | undefined;
  /** @ignore */
  declare previousNode: SignalListener | undefined;

  constructor() {
    this.list = undefined;
    this.nextNode = undefined;
    this.previousNode = undefined;
  }

  /** Called once, when the signal has aborted; must not throw. */
  protected abstract aborted(signal: AbortSignal): void;

  unsubscribe(): void {
    this.list?.remove(this);
  }
}

/** The listeners of one signal, which itself listens as long as there are any. */
class SignalHub extends LinkedList<SignalListener> {
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    super();
    this.signal = signal;
  }

  override append(listener: SignalListener): void {
    if (this.length === 0) this.signal.addEventListener("abort", this);
    super.append(listener);
  }

  override remove(listener: SignalListener): boolean {
    const removed = super.remove(listener);
    if (removed && this.length === 0 && !this.signal.aborted) this.#end();
    return removed;
  }

  #end(): void {
    this.signal.removeEventListener("abort", this);
    hubs.delete(this.signal);
  }

  handleEvent(): void {
    this.#end();
    const { signal } = this;
    // A listener may take another one back while this runs.
    for (
      let listener = this.shift();
      listener !== undefined;
      listener = this.shift()
    ) listener["aborted"](signal);
  }
}

/** A function that listens. */
class FunctionListener extends SignalListener {
  readonly #listener: Listener;

  constructor(listener: Listener) {
    super();
    this.#listener = listener;
  }

  protected aborted(signal: AbortSignal): void {
    this.#listener(signal.reason);
  }
}

const hubs = new WeakMap<AbortSignal, SignalHub>();
const cancellations = new WeakMap<AbortSignal, CancelledError>();

/**
 * Calls `listener` when the signal aborts, or at once if it has. Listeners of one signal are called in the order in
 * which they were added. O(1).
 *
 * @param listener A listener that listens to no signal.
 */
export function listen(signal: AbortSignal, listener: SignalListener): void {
  if (signal.aborted) {
    listener["aborted"](signal);
    return;
  }
  let hub = hubs.get(signal);
  if (hub === undefined) hubs.set(signal, hub = new SignalHub(signal));
  hub.append(listener);
}

/** Like {@linkcode listen}, for a function, which is called with the signal's reason. */
export function subscribe(
  signal: AbortSignal,
  listener: Listener,
): Subscription {
  const subscription = new FunctionListener(listener);
  listen(signal, subscription);
  return subscription;
}

/**
 * Returns the cancellation of all tasks that an aborted signal cancels: one error for all of them, as making one costs
 * more than everything else about it.
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
