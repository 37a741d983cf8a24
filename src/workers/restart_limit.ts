/**
 * When a worker that has died is replaced: exponential backoff with full jitter,
 * and a limit of failures in a row.
 *
 * @module
 */
import { ExponentialBackoff } from "../structures/backoff.ts";
import { SeededRandom } from "../structures/random.ts";

/** Numbers of a {@linkcode RestartLimit}. */
export interface RestartLimitOptions {
  /** How many starts in a row may fail. */
  readonly maxRestarts: number;
  /** Failures to start that are further apart are not in a row. */
  readonly withinMs: number;
  /** Limit of the first delay; it doubles with each failure. */
  readonly backoffMinMs: number;
  /** Most that the limit grows to. */
  readonly backoffMaxMs: number;
  /** Seed of the random delays. */
  readonly seed: number;
}

/**
 * Says when the next worker may be started, and when to give up.
 *
 * After the first failure a worker may be started at once. Before the attempt
 * after that there is a delay, evenly distributed between 0 and a limit that
 * doubles with each failure in a row (full jitter: pools that have failed together
 * do not all try again together). Work that was done ends the row.
 *
 * A worker that died of a job has failed, but was able to start: such failures
 * delay the next worker, and do not count towards giving up.
 */
export class RestartLimit {
  readonly #options: RestartLimitOptions;
  readonly #backoff: ExponentialBackoff;
  readonly #random: SeededRandom;
  /** Failures in a row. */
  #failures = 0;
  /** Failures to start in a row, with none of another kind in between. */
  #startFailures = 0;
  #lastFailureMs = -Infinity;
  #nextStartMs = -Infinity;

  constructor(options: RestartLimitOptions) {
    this.#options = options;
    this.#backoff = new ExponentialBackoff(
      options.backoffMinMs,
      2,
      options.backoffMaxMs,
    );
    this.#random = new SeededRandom(options.seed);
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Moment from which a worker may be started. */
  get nextStartMs(): number {
    return this.#nextStartMs;
  }

  /** Whether too many starts in a row have failed. */
  get exhausted(): boolean {
    return this.#startFailures > this.#options.maxRestarts;
  }

  /**
   * Notes a failure, and draws the next delay.
   *
   * @param startedMs When the worker was started.
   * @param nowMs When it failed.
   * @param couldStart Whether it has had a job.
   */
  failed(startedMs: number, nowMs: number, couldStart: boolean): void {
    // Counted up to the start: a start may take long until it has failed.
    if (startedMs - this.#lastFailureMs > this.#options.withinMs) {
      this.reset();
    }
    this.#failures++;
    this.#startFailures = couldStart ? 0 : this.#startFailures + 1;
    this.#lastFailureMs = nowMs;
    this.#nextStartMs = this.#failures === 1
      ? nowMs
      : nowMs + this.#backoff.delayMs(this.#failures - 1, this.#random);
  }

  /** Notes that a worker has done work, or forgets all failures to begin anew. */
  reset(): void {
    this.#failures = this.#startFailures = 0;
    this.#lastFailureMs = this.#nextStartMs = -Infinity;
  }
}
