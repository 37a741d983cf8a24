import { dateAt } from "../host/timing.ts";
import { inspect } from "../loop/checks.ts";
import type { Jitter, MissedTicks, Ticks } from "./ticks.ts";

/**
 * Says when something is to happen, on the wall clock. A `Cron` of the package
 * `croner` is one as it is, time zones included.
 */
export interface Schedule {
  /**
   * Gives the first moment after another one.
   *
   * @param after The other one.
   * @returns The moment, or `null` if there is none any more.
   */
  nextRun(after: Date): Date | null;
}

/** A schedule that gives the same moment again is asked for what is this much later. */
const LATER_MS = [0, 1, 1_000, 60_000, 3_600_000];

/**
 * The moments of a schedule.
 *
 * They are on the wall clock, which can be set, while the timers of the loop are
 * on one that cannot. So each look compares with the wall clock anew: nothing is
 * early, and a clock that was set back brings no moment a second time.
 */
export class ScheduleTicks implements Ticks {
  index: number;
  readonly #schedule: Schedule;
  readonly #wallClockMs: () => number;
  /** How long to wait at most until the wall clock is looked at again. */
  readonly #recheckMs: number;
  readonly #jitter: Jitter | null;
  #momentMs: number;
  #jitterMs = 0;
  /** No moment up to this one comes again. */
  #lastMs: number;

  /**
   * @param index The number of the tick that is the first to run.
   * @param first Whether that is at once, or the next moment of the schedule.
   * @throws {TypeError} If the schedule gives something else than moments.
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

  start(_nowMs: number): void {
    // Its moments are its own.
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

  /** Nobody knows how many were missed without asking for each: they count as one. */
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

  /** The first moment after `wallMs` that has not been. */
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
