/**
 * Watches: done callbacks that can be taken back in constant time, and what is
 * done with the outcome that they report.
 *
 * @module
 */
import { onBehalf } from "../loop/waiters.ts";
import type { Future } from "../loop/future.ts";
import type { Runnable } from "../loop/runnable.ts";
import type { Relay } from "../loop/priority_inheritance.ts";

/** The side of a {@linkcode Watch} for which it watches: what depends on the future. */
export interface Dependent {
  /** Returns the node that is as urgent as the tasks that depend on the future. */
  relayed(): Relay;
  /** Future that waits for the watched one; null if nobody waits for that now. */
  readonly whose: Future<unknown> | null;
}

/**
 * A done callback that is taken back in constant time.
 *
 * To search for a callback among those of a future takes time in proportion to
 * their number, and many tasks may wait for the same future.
 */
export class Watch implements Runnable {
  readonly watched: Future<unknown>;
  readonly #callback: (future: Future<unknown>) => void;
  readonly #dependent: Dependent;

  constructor(
    future: Future<unknown>,
    callback: (future: Future<unknown>) => void,
    dependent: Dependent,
  ) {
    this.watched = future;
    this.#callback = callback;
    this.#dependent = dependent;
    future.addWaiter(this);
  }

  /** Returns the node that is as urgent as the tasks for which this watches. */
  relay(): Relay {
    return this.#dependent.relayed();
  }

  [onBehalf](): Future<unknown> | null {
    return this.#dependent.whose;
  }

  /** Calls back; the loop does it in the turn after the future is done. */
  run(): void {
    this.#callback(this.watched);
  }

  /** Takes the callback back, unless the future is done. */
  end(): void {
    this.watched.removeWaiter(this);
  }
}

/** Sets the result of a future without a value, unless it is done already. */
export function release(waiter: Future<void>): void {
  if (!waiter.done()) waiter.setResult();
}

/** Copies the outcome of a future that is done to a pending one; the error counts as seen from now on. */
export function relayOutcome<T>(from: Future<T>, to: Future<T>): void {
  if (from.cancelled()) to.cancel(from.cancelReason());
  else if (from.failed()) to.setException(from.exception());
  else to.setResult(from.result());
}
