/**
 * Signals of the operating system that begin a shutdown, and force its end when they come a second time.
 *
 * After the first signal nobody listens any more, so that the second one finds the default action: it ends the process
 * with 128 and its number even while this thread is busy.
 *
 * A thread that is busy when it should stop listening learns of a signal late, and not when it came. If it was free for
 * the last time in the first half of {@linkcode SAME_REQUEST_MS}, the signal may be the twin of the first one, and counts as
 * that: to end a program that was asked once costs more than to have to ask once more.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";
import { exitProcess } from "../host/process.ts";
import { isListened, onSignal } from "../host/signals.ts";
import { after, type HostTimer } from "../host/timers.ts";
import { hasWatch } from "./active_watchdog.ts";
import { endsProcess, forcedExitCode } from "./exit_code.ts";

/**
 * Time in which a signal counts as one with the first. Ctrl-C reaches a program twice where what has started it passes
 * it on, and process managers send the same signal to a group and to its leader.
 */
export const SAME_REQUEST_MS = 200;

/** How much longer a watchdog surely listens, before it sees that this thread is not blocked. Guessed: twice what it takes. */
const WATCH_MS = 500;

/** Listeners to the signals of one shutdown. */
export class ShutdownSignals {
  readonly #removals: Map<Deno.Signal, () => void> = new Map();
  /** Called with each first signal; false if it is not for the shutdown. */
  readonly #onSignal: (signal: Deno.Signal) => boolean;
  readonly #onError: (error: unknown) => void;
  /** Timers of the time after the first signal; empty before it. */
  readonly #arming: HostTimer[] = [];
  /** When the first signal was delivered. */
  #firstMs = 0;
  /** Whether the thread was free late enough after it to have got all twins of it. */
  #wasFree = false;
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
        this.#set(signal, () => this.#signalled(signal));
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

  #signalled(signal: Deno.Signal): void {
    if (this.#arming.length > 0) {
      if (this.#sinceFirstMs() < SAME_REQUEST_MS || !this.#wasFree) return;
      exitProcess(forcedExitCode(signal));
    }
    if (!this.#onSignal(signal)) return;
    this.#firstMs = monotonicMs();
    this.#whenFreeAfter(SAME_REQUEST_MS / 2, () => {
      this.#wasFree = this.#sinceFirstMs() < SAME_REQUEST_MS;
    });
    this.#whenFreeAfter(SAME_REQUEST_MS, () => this.#force());
  }

  #sinceFirstMs(): number {
    return monotonicMs() - this.#firstMs;
  }

  /** Calls `fn` after a time and behind the signals that have come until then, which would be lost with their listeners. */
  #whenFreeAfter(ms: number, fn: () => void): void {
    const first = after(
      ms,
      () => this.#arming.push(after(0, fn, false)),
      false,
    );
    this.#arming.push(first);
  }

  /** From now on each signal ends the process. */
  #force(): void {
    if (this.#armed) return;
    this.#armed = true;
    for (const signal of [...this.#removals.keys()]) {
      this.#remove(signal);
      const endsItself = endsProcess(signal) && !isListened(signal);
      if (endsItself && !hasWatch()) continue;
      this.#set(signal, () => exitProcess(forcedExitCode(signal)));
      // While the watchdog listens, there is no default action.
      if (endsItself) this.#whenFreeAfter(WATCH_MS, () => this.#remove(signal));
    }
  }

  /** Removes all listeners. */
  clear(): void {
    for (const timer of this.#arming) timer.cancel();
    for (const signal of [...this.#removals.keys()]) this.#remove(signal);
  }
}
