/**
 * Handlers of one loop for signals of the operating system, one for each signal.
 *
 * @module
 */
import { onSignal } from "../host/signals.ts";

/** Handlers of a loop for signals of the operating system. */
export class SignalHandlers {
  readonly #removals = new Map<string, () => void>();
  /** Objects made for the handlers, by which their creation stacks are found. */
  readonly #owners = new Map<string, object>();

  /** How many signals are handled. */
  get size(): number {
    return this.#removals.size;
  }

  /** Runs `deliver` on each `signal`, in place of what was set for it before. */
  set(
    signal: Deno.Signal,
    deliver: () => void,
    onError: (error: unknown) => void,
    owner: object = this,
  ): void {
    const removal = onSignal(signal, deliver, onError);
    // The old one goes last: a signal that is refused changes nothing, and the
    // default action never has a moment in which it could apply.
    this.#removals.get(signal)?.();
    this.#removals.set(signal, removal);
    this.#owners.set(signal, owner);
  }

  /** Lists the signals that have a handler, with what was made for each. */
  list(): [signal: string, owner: object][] {
    return [...this.#owners];
  }

  /** Whether there is a handler for `signal`. */
  has(signal: string): boolean {
    return this.#removals.has(signal);
  }

  /** Removes the handler of `signal`; false if there was none. */
  remove(signal: string): boolean {
    const removal = this.#removals.get(signal);
    if (removal === undefined) return false;
    this.#removals.delete(signal);
    this.#owners.delete(signal);
    removal();
    return true;
  }

  /** Removes all handlers. */
  clear(): void {
    for (const signal of [...this.#removals.keys()]) this.remove(signal);
  }
}
