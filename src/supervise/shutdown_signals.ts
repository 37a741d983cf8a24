/**
 * Signals of the operating system that begin a shutdown, and force its end when they come a second time.
 *
 * After the first signal nobody listens any more, so that the second one finds the default action: it ends the process
 * with 128 and its number even while this thread is busy.
 *
 * @module
 */
import { exitProcess } from "../host/process.ts";
import { isListened, onSignal } from "../host/signals.ts";
import { after, type HostTimer } from "../host/timers.ts";
import { endsProcess, forcedExitCode } from "./exit_code.ts";

/**
 * Time in which a signal counts as one with the first. Ctrl-C reaches a program twice where what has started it passes
 * it on, and process managers send the same signal to a group and to its leader.
 */
export const SAME_REQUEST_MS = 200;

/** Listeners to the signals of one shutdown. */
export class ShutdownSignals {
  readonly #removals: Map<Deno.Signal, () => void> = new Map();
  /** Called with each first signal; false if it is not for the shutdown. */
  readonly #onSignal: (signal: Deno.Signal) => boolean;
  readonly #onError: (error: unknown) => void;
  #arming: HostTimer | null = null;
  #armed = false;

  constructor(
    onSignal: (signal: Deno.Signal) => boolean,
    onError: (error: unknown) => void,
  ) {
    this.#onSignal = onSignal;
    this.#onError = onError;
  }

  /** Listens to more signals. Throws if one of them cannot be handled; nothing has changed then. */
  listen(signals: readonly Deno.Signal[]): void {
    const added: Deno.Signal[] = [];
    try {
      for (const signal of signals) {
        if (this.#removals.has(signal)) continue;
        this.#set(signal, () => this.#first(signal));
        added.push(signal);
      }
    } catch (error) {
      for (const signal of added) this.#remove(signal);
      throw error;
    }
  }

  #set(signal: Deno.Signal, listener: () => void): void {
    this.#removals.set(signal, onSignal(signal, listener, this.#onError));
  }

  #remove(signal: Deno.Signal): void {
    this.#removals.get(signal)?.();
    this.#removals.delete(signal);
  }

  #first(signal: Deno.Signal): void {
    if (this.#arming !== null || !this.#onSignal(signal)) return;
    this.#arming = after(SAME_REQUEST_MS, () => this.force(), false);
  }

  /** From now on each signal ends the process. */
  force(): void {
    if (this.#armed) return;
    this.#armed = true;
    for (const signal of [...this.#removals.keys()]) {
      this.#remove(signal);
      if (endsProcess(signal) && !isListened(signal)) continue;
      this.#set(signal, () => exitProcess(forcedExitCode(signal)));
    }
  }

  /** Removes all listeners. */
  clear(): void {
    this.#arming?.cancel();
    for (const signal of [...this.#removals.keys()]) this.#remove(signal);
  }
}
