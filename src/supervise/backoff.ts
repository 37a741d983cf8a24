/**
 * Backoff: how long a child waits for its restart, longer after each failure.
 *
 * @module
 */
import {
  checkNotNegative,
  checkNumber,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { ExponentialBackoff } from "../structures/backoff.ts";
import type { SeededRandom } from "../structures/random.ts";

/**
 * Delays of restarts. OTP has none: without this option a child is restarted at
 * once.
 */
export interface BackoffOptions {
  /**
   * Delay after the first failure, in milliseconds.
   *
   * @default {100}
   */
  readonly initialMs?: number | undefined;
  /**
   * Factor by which each further failure makes the delay longer.
   *
   * @default {2}
   */
  readonly factor?: number | undefined;
  /**
   * Longest delay, in milliseconds.
   *
   * @default {30_000}
   */
  readonly maxMs?: number | undefined;
  /**
   * `"full"`: the delay is a random part of what the failures make it, between
   * nothing and all, so that children that failed together do not come back
   * together. `"none"`: it is all of that.
   *
   * @default {"full"}
   */
  readonly jitter?: "full" | "none" | undefined;
  /**
   * How long a child has to run until the next failure counts as its first, in
   * milliseconds.
   *
   * @default {10_000}
   */
  readonly healthyMs?: number | undefined;
}

/** Backoff of a child, checked. It has no state: the failures are counted elsewhere. */
export class Backoff {
  readonly #delays: ExponentialBackoff;
  readonly #isRandom: boolean;
  readonly healthyMs: number;

  /** Checks the options and fills in the defaults. */
  constructor(options: BackoffOptions, what: string) {
    checkOptions(options, what, "backoff");
    const {
      initialMs = 100,
      factor = 2,
      maxMs = 30_000,
      jitter = "full",
      healthyMs = 10_000,
    } = options;
    checkFinite(initialMs, what, "backoff.initialMs");
    checkFinite(maxMs, what, "backoff.maxMs");
    checkFactor(factor, what);
    checkOneOf(jitter, ["full", "none"], what, "backoff.jitter");
    checkNotNegative(healthyMs, what, "backoff.healthyMs");
    this.#delays = new ExponentialBackoff(initialMs, factor, maxMs);
    this.#isRandom = jitter === "full";
    this.healthyMs = healthyMs;
  }

  /** The delay after so many failures in a row, at least one. */
  delayMs(failures: number, random: SeededRandom): number {
    return this.#delays.delayMs(failures, this.#isRandom ? random : null);
  }
}

function checkFinite(value: unknown, what: string, name: string): void {
  checkNotNegative(value, what, name);
  if (value === Infinity) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be finite: received Infinity`,
    );
  }
}

function checkFactor(factor: unknown, what: string): void {
  checkNumber(factor, what, "backoff.factor");
  if (!((factor as number) >= 1) || factor === Infinity) {
    throw new RangeError(
      `Cannot ${what} as backoff.factor must be finite and >= 1: received ${factor}`,
    );
  }
}
