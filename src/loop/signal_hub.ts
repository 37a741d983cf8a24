import { CancelledError } from "../errors.ts";
import { LinkedList, type ListNode } from "../structures/linked_list.ts";

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
  readonly signal: AbortSignal;
  readonly #entries = new LinkedList<Entry>();

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  add(listener: Listener): Subscription {
    if (this.#entries.length === 0) {
      this.signal.addEventListener("abort", this);
    }
    const entry = new Entry(this, listener);
    this.#entries.append(entry);
    return entry;
  }

  remove(entry: Entry): void {
    if (!this.#entries.remove(entry) || this.#entries.length > 0) return;
    if (!this.signal.aborted) this.#end();
  }

  #end(): void {
    this.signal.removeEventListener("abort", this);
    hubs.delete(this.signal);
  }

  handleEvent(): void {
    this.#end();
    const { reason } = this.signal;
    // One listener may take another one back while this runs.
    for (
      let entry = this.#entries.shift();
      entry !== undefined;
      entry = this.#entries.shift()
    ) entry.listener(reason);
  }
}

/** One listener of a hub. */
class Entry implements Subscription, ListNode<Entry> {
  list: LinkedList<Entry> | undefined = undefined;
  nextNode: Entry | undefined = undefined;
  previousNode: Entry | undefined = undefined;
  readonly listener: Listener;
  readonly #hub: SignalHub;

  constructor(hub: SignalHub, listener: Listener) {
    this.#hub = hub;
    this.listener = listener;
  }

  unsubscribe(): void {
    this.#hub.remove(this);
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
