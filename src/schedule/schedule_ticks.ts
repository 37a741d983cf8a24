/**
 * Plan of a periodic task that goes by a schedule on the wall clock.
 *
 * @module
 */
import { dateAt } from "../host/clock.ts";
import { inspect } from "../loop/checks.ts";
import type { Jitter } from "./jitter.ts";
import type { MissedTicks, Ticks } from "./ticks.ts";

/**
 * Schedule of moments on the wall clock. A `Cron` of the package `croner` is one
 * as it is, time zones included.
 */
export interface Schedule {
  /**
   * Returns the first moment after another one.
   *
   * @param after The other moment.
   * @returns The moment, or `null` if there are no more.
   */
  nextRun(after: Date): Date | null;
}

/** How much later a schedule is asked again that has returned a moment which has been. */
const LATER_MS = [0, 1, 1_000, 60_000, 3_600_000];

/**
 * Plan by the moments of a schedule.
 *
 * These are on the wall clock, which can be set, while the timers of the loop are
 * on a clock that cannot. So each look compares with the wall clock anew: no tick
 * is early, and a clock that was set back brings no moment a second time.
 */
export class ScheduleTicks implements Ticks {
  index: number;
  readonly #schedule: Schedule;
  readonly #wallClockMs: () => number;
  /** Longest time until the wall clock is looked at again. */
  readonly #recheckMs: number;
  readonly #jitter: Jitter | null;
  #momentMs: number;
  #jitterMs = 0;
  /** Last moment that has been: none up to this one comes again. */
  #lastMs: number;

  /**
   * @param index Number of the first tick.
   * @param first Whether that is due at once, or at the next moment of the
   * schedule.
   * @throws {TypeError} If the schedule returns something else than moments.
   * @throws {RangeError} If it does not go on.
   */
  constructor(
    schedule: Schedule,
    wallClockMs: () => number,
    recheckMs: number,
    index: number,
    first: "now" | "next",
    jitter: Jitter | null,
  ) {
    this.#schedule = schedule;
    this.#wallClockMs = wallClockMs;
    this.#recheckMs = recheckMs;
    this.#jitter = jitter;
    this.index = index;
    this.#lastMs = wallClockMs();
    this.#momentMs = this.#lastMs;
    if (first === "next") this.#plan(this.#after(this.#lastMs));
  }

  get exhausted(): boolean {
    return this.#momentMs === Infinity;
  }

  start(_startMs: number): void {
    // A schedule has moments of its own.
  }

  dueMs(nowMs: number): number {
    return nowMs - this.lateMs(nowMs);
  }

  lateMs(_nowMs: number): number {
    return this.#wallClockMs() - (this.#momentMs + this.#jitterMs);
  }

  wakeMs(nowMs: number): number {
    return nowMs + Math.min(-this.lateMs(nowMs), this.#recheckMs);
  }

  momentMs(): number {
    return this.#momentMs;
  }

  advance(_nowMs: number, missed: MissedTicks): number {
    this.#lastMs = this.#momentMs;
    const next = this.#after(this.#lastMs);
    this.index++;
    this.#plan(next);
    return missed === "burst" ? 0 : this.#skipPassed();
  }

  skipTo(_nowMs: number): number {
    return this.#skipPassed();
  }

  resume(_nowMs: number, missed: MissedTicks): void {
    if (missed !== "burst") this.#skipPassed();
  }

  /** Drops moments that have passed. They count as one: only asking for each would tell how many. */
  #skipPassed(): number {
    const wallMs = this.#wallClockMs();
    if (this.#momentMs + this.#jitterMs >= wallMs) return 0;
    this.#momentMs = this.#after(wallMs);
    return 1;
  }

  #plan(momentMs: number): void {
    this.#momentMs = momentMs;
    if (this.#jitter !== null) this.#jitterMs = this.#jitter.drawMs();
  }

  /** Returns the first moment after `wallMs` that has not been. */
  #after(wallMs: number): number {
    for (const laterMs of LATER_MS) {
      const date: unknown = this.#schedule.nextRun(dateAt(wallMs + laterMs));
      if (date === null) return Infinity;
      const momentMs = date instanceof Date ? date.getTime() : NaN;
      if (Number.isNaN(momentMs)) {
        throw new TypeError(
          `Cannot go by a schedule as nextRun() must return a valid Date or null: received ${
            inspect(date)
          }`,
        );
      }
      if (momentMs > this.#lastMs) return momentMs;
    }
    throw new RangeError(
      `Cannot go by a schedule as nextRun() must return later moments: received one that is not after ${
        dateAt(this.#lastMs).toISOString()
      }, again and again`,
    );
  }
}
