/**
 * Callbacks of futures: handles that are called with the future once it is done.
 *
 * @module
 */
import { Handle } from "./handle.ts";

/** A callback that waits for a future, and is called with it. */
export class DoneCallback extends Handle {
  readonly #original: (...args: never[]) => unknown;

  constructor(callback: (...args: never[]) => unknown, future: unknown) {
    super(callback, [future]);
    this.#original = callback;
  }

  /** Whether this was made for `callback`. */
  isFor(callback: (...args: never[]) => unknown): boolean {
    return this.#original === callback;
  }
}
