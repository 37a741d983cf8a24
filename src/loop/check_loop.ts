/**
 * Check of arguments that have to be an event loop. A file of its own, as
 * `checks.ts` imports nothing.
 *
 * @module
 */
import { inspect } from "./checks.ts";
import { EventLoop } from "./event_loop.ts";

/** Throws unless `loop` is an event loop; `what` is what cannot be done without. */
export function checkLoop(loop: unknown, what: string): void {
  if (!(loop instanceof EventLoop)) {
    throw new TypeError(
      `Cannot ${what} as loop must be an EventLoop: received ${inspect(loop)}`,
    );
  }
}
