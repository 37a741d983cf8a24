/**
 * From an interval or a schedule to the plan of a periodic task.
 *
 * @module
 */
import { inspect } from "../loop/checks.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { SeededRandom } from "../structures/random.ts";
import { IntervalTicks } from "./interval_ticks.ts";
import { Jitter } from "./jitter.ts";
import type { PeriodicSettings } from "./periodic_options.ts";
import { type Schedule, ScheduleTicks } from "./schedule_ticks.ts";
import type { Ticks } from "./ticks.ts";
import { WallClock } from "./wall_clock.ts";

/** Makes the plans of one job: the first one, and one for each `reschedule`. */
export class TickPlanner {
  readonly #loop: EventLoop;
  readonly #settings: PeriodicSettings;
  readonly #jitter: Jitter | null;
  /** Made when it is needed, which it is not for intervals without jitter. */
  #madeClock: WallClock | null = null;

  constructor(loop: EventLoop, settings: PeriodicSettings) {
    this.#loop = loop;
    this.#settings = settings;
    const { jitterMs, seed } = settings;
    this.#jitter = jitterMs > 0
      ? new Jitter(
        new SeededRandom(seed ?? nextSeed(this.#clock.read())),
        jitterMs,
      )
      : null;
  }

  /** Makes a plan from now on. `index` is the number of its first tick, which may be due at once. */
  plan(
    interval: number | Schedule,
    index: number,
    immediate: boolean,
  ): Ticks {
    if (typeof interval === "number") {
      return new IntervalTicks(
        interval,
        this.#loop.time(),
        immediate ? index : index - 1,
        immediate ? "anchor" : "after",
        this.#jitter,
      );
    }
    const clock = this.#clock;
    return new ScheduleTicks(
      interval,
      () => clock.read(),
      clock.recheckMs,
      index,
      immediate ? "now" : "next",
      this.#jitter,
    );
  }

  get #clock(): WallClock {
    return this.#madeClock ??= new WallClock(
      this.#loop,
      this.#settings.wallClockMs,
    );
  }
}

let seeds = 0;

/** A seed that differs from job to job, and from run to run on a real clock. */
function nextSeed(wallMs: number): number {
  return (Math.floor(wallMs) + seeds++ * 2 ** 32) % Number.MAX_SAFE_INTEGER;
}

/** Throws unless `interval` is an interval in milliseconds or a schedule. */
export function checkInterval(interval: unknown, what: string): void {
  if (typeof interval === "number") {
    if (interval > 0 && interval < Infinity) return;
    throw new RangeError(
      `Cannot ${what} as interval must be a finite number of milliseconds above 0: received ${interval}`,
    );
  }
  if (typeof (interval as Schedule | null)?.nextRun === "function") return;
  throw new TypeError(
    `Cannot ${what} as interval must be a number of milliseconds or a schedule with nextRun(): received ${
      inspect(interval)
    }`,
  );
}
