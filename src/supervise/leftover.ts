/**
 * Rest of a run that could not be ended: an async function that waits for a promise
 * outside the loop.
 *
 * @module
 */
import type { Future } from "../loop/future.ts";

/** Something that goes on although its supervisor has given up waiting for it. */
export class Leftover {
  /** Done when it has ended after all. */
  readonly future: Future<unknown>;
  /** Description of what it waits for; `undefined` if it is part of a child that is a supervisor, which has reported it. */
  readonly waitsFor: string | undefined;

  constructor(future: Future<unknown>, waitsFor?: string) {
    this.future = future;
    this.waitsFor = waitsFor;
  }
}
