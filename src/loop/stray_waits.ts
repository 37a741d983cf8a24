/**
 * Waits of code outside of tasks, and what posted tasks listen to: no turn will
 * come for either once the loop is closed, so the loop ends them.
 *
 * @module
 */
import { LoopClosedError } from "../errors.ts";
import type { Subscription } from "./signal_hub.ts";
import type { Wait } from "./promise_wait.ts";

/** Waits and subscriptions that end when their loop closes. */
export class StrayWaits {
  /** Subscriptions of posted tasks to signals. */
  readonly subscriptions: Set<Subscription> = new Set();
  readonly #waits = new Set<Wait<unknown, unknown, unknown>>();

  /** How many waits there are. */
  get size(): number {
    return this.#waits.size;
  }

  /** Keeps a wait outside of tasks, to end it when the loop closes. */
  enterStray(wait: Wait<unknown, unknown, unknown>): void {
    this.#waits.add(wait);
  }

  /** Lets go of a wait outside of tasks. */
  leaveStray(wait: Wait<unknown, unknown, unknown>): void {
    this.#waits.delete(wait);
  }

  /** Ends all: subscriptions are dropped, waits throw a `LoopClosedError`. */
  close(): void {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.subscriptions.clear();
    for (const wait of [...this.#waits]) {
      wait.close(
        new LoopClosedError(
          `Cannot wait for ${wait.describe()}: its loop is closed`,
        ),
      );
    }
  }
}
