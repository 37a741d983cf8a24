/**
 * Wall clock that schedules go by.
 *
 * @module
 */
import { wallClockMs as machineClockMs } from "../host/clock.ts";
import { core } from "../loop/core.ts";
import { inspect } from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";

/**
 * How long a schedule waits at most until it looks at the wall clock again, which
 * may have been set, or gone on while the machine was asleep.
 */
const RECHECK_MS = 60_000;

/** Wall clock: that of the machine, that of a virtual host, or the user's. */
export class WallClock {
  /** After how long it has to be looked at again, as it may have been set. */
  readonly recheckMs: number;
  readonly #readMs: () => number;

  constructor(loop: EventLoop, given: (() => number) | undefined) {
    const virtual = loop[core].virtual;
    // On a virtual host nobody can set it, and it moves with the loop's.
    this.recheckMs = given === undefined && virtual ? Infinity : RECHECK_MS;
    this.#readMs = given ?? (virtual ? () => loop.time() : machineClockMs);
  }

  /** Returns the time in milliseconds since 1970. */
  read(): number {
    const wallMs: unknown = this.#readMs();
    if (typeof wallMs !== "number" || !Number.isFinite(wallMs)) {
      throw new TypeError(
        `Cannot read the wall clock as wallClockMs must return a finite number: received ${
          inspect(wallMs)
        }`,
      );
    }
    return wallMs;
  }
}
