import { CancelledError } from "../errors.ts";

/** A listener on an {@linkcode AbortSignal} that can be taken back. */
export interface Subscription {
  /** Takes it back; harmless when done twice or after the abort. */
  unsubscribe(): void;
}

type Listener = (reason: unknown) => void;

/** Tells a listener that its signal has aborted. */
let notify: (listener: SignalListener, signal: AbortSignal) => void;

/**
 * Listener on a signal, its place in the list of all listeners, and its
 * subscription, in one object: one signal may end very many waits.
 */
export abstract class SignalListener implements Subscription {
  // Declared and assigned, as in Future.
  /** The hub it is at, as long as it listens. */
  declare hub: SignalHub | null;
  /** Neighbours in the list of the hub. */
  declare nextListener: SignalListener | null;
  declare previousListener: SignalListener | null;

  constructor() {
    this.hub = null;
    this.nextListener = null;
    this.previousListener = null;
  }

  /** The signal has aborted. Called once; must not throw. */
  protected abstract aborted(signal: AbortSignal): void;

  unsubscribe(): void {
    if (this.hub !== null) this.hub.remove(this);
  }

  static {
    notify = (listener, signal) => listener.aborted(signal);
  }
}

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
  #first: SignalListener | null = null;
  #last: SignalListener | null = null;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  add(listener: SignalListener): void {
    const last = this.#last;
    listener.hub = this;
    listener.previousListener = last;
    this.#last = listener;
    if (last !== null) last.nextListener = listener;
    else {
      this.#first = listener;
      this.signal.addEventListener("abort", this);
    }
  }

  /** Takes out a listener that is at this hub. */
  remove(listener: SignalListener): void {
    this.#unlink(listener);
    if (this.#first === null && !this.signal.aborted) this.#end();
  }

  #unlink(listener: SignalListener): void {
    const next = listener.nextListener;
    const previous = listener.previousListener;
    if (previous === null) this.#first = next;
    else previous.nextListener = next;
    if (next === null) this.#last = previous;
    else next.previousListener = previous;
    listener.hub = null;
    listener.nextListener = null;
    listener.previousListener = null;
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
      let listener = this.#first;
      listener !== null;
      listener = this.#first
    ) {
      this.#unlink(listener);
      notify(listener, signal);
    }
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
 * Has `listener` told when the signal aborts, in the order in which this was
 * called; at once if it has aborted. O(1).
 *
 * @param listener One that listens to no signal.
 */
export function listen(signal: AbortSignal, listener: SignalListener): void {
  if (signal.aborted) {
    notify(listener, signal);
    return;
  }
  let hub = hubs.get(signal);
  if (hub === undefined) hubs.set(signal, hub = new SignalHub(signal));
  hub.add(listener);
}

/** Has a function called with the signal's reason when the signal aborts. */
export function subscribe(
  signal: AbortSignal,
  listener: Listener,
): Subscription {
  const subscription = new FunctionListener(listener);
  listen(signal, subscription);
  return subscription;
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
