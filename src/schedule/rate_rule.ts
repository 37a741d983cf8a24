/**
 * Contract of the algorithms that a rate limiter can count by.
 *
 * @module
 */
/** Algorithm that tells how many permits there are, and when. Times never go back. */
export interface RateRule {
  /** The most permits that can be taken at one moment. */
  readonly capacity: number;
  /** Returns the first moment, at `nowMs` or later, at which `weight` permits may be taken if nobody takes any before. */
  earliest(weight: number, nowMs: number): number;
  /** Takes permits at a moment at which that is possible. */
  take(weight: number, nowMs: number): void;
  /** Puts back permits that were taken at `takenMs` and will not be used. */
  giveBack(weight: number, takenMs: number): void;
  /** Returns how many permits may be taken now. */
  available(nowMs: number): number;
}
