/**
 * Limit of how many permits are taken in a time.
 *
 * @module
 */
import { MisuseError, RateLimitError } from "../errors.ts";
import {
  checkInteger,
  checkNumber,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { type Waiter, WaitQueue } from "../sync/wait_queue.ts";
import { FixedWindow } from "./fixed_window.ts";
import type { RateRule } from "./rate_rule.ts";
import { SlidingWindow } from "./sliding_window.ts";
import { TokenBucket } from "./token_bucket.ts";

/** Algorithms that a {@linkcode RateLimiter} can count by. */
export type RateAlgorithm = "token-bucket" | "fixed-window" | "sliding-window";

/** Options of a {@linkcode RateLimiter}. */
export interface RateLimiterOptions {
  /** Number of permits in an interval: a safe integer >= 1. */
  readonly permits: number;
  /** Length of an interval, in milliseconds. */
  readonly intervalMs: number;
  /**
   * Algorithm by which permits are counted. With W for the interval:
   *
   * - `"token-bucket"`: permits come back one by one, evenly, and at most `burst`
   *   of them are there. In any time T no more than `burst + permits * T / W` are
   *   taken.
   * - `"fixed-window"`: the first permit begins a window, windows follow each
   *   other, and no more than `permits` are taken in any of them. Around the
   *   border of two it may be twice as many in less than W.
   * - `"sliding-window"`: no more than `permits` are taken in any time of W,
   *   wherever it begins, its end not included. The limiter remembers every
   *   moment of the last W at which permits were taken.
   *
   * @default {"token-bucket"}
   */
  readonly algorithm?: RateAlgorithm | undefined;
  /**
   * Number of permits that a token bucket holds, and has at first. Only for
   * `"token-bucket"`.
   *
   * @default {permits}
   */
  readonly burst?: number | undefined;
  /**
   * Whether `acquire` waits for its permits, or throws a
   * {@linkcode RateLimitError} if they are not there.
   *
   * @default {"delay"}
   */
  readonly onLimit?: "delay" | "fail" | undefined;
}

/** Options of {@linkcode RateLimiter.acquire}. */
export interface RateAcquireOptions extends WaitOptions {
  /**
   * Number of permits to take at once, at most as many as there can be.
   *
   * @default {1}
   */
  readonly weight?: number | undefined;
}

/** Permits that a task in line waits for. */
interface Want {
  readonly weight: number;
  /** When the permits were taken for it, which is before it goes on. */
  takenMs: number;
}

/**
 * Limits how often something happens: at most so many permits in an interval.
 *
 * Waiting tasks are served strictly in order: nobody takes permits while a task
 * waits, and a task that needs many is not overtaken by tasks that need few. A
 * single timer of the loop wakes the first of them at the moment at which its
 * permits are there; without waiters there is no timer. Times are those of
 * {@linkcode EventLoop.time}, exact on a virtual host.
 *
 * Permits count from the moment they are taken. They are not given back, except
 * when the wait for them is cancelled in the very turn in which they came. A
 * limiter belongs to the loop that it is used on; on another loop, which has
 * another clock, it begins anew.
 *
 * Taking a permit takes constant time; with `"sliding-window"` finding out when
 * the next one is there may take time in proportion to its weight.
 *
 * @example Two in 100 ms
 * ```ts
 * import { getRunningLoop, RateLimiter, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const times: number[] = [];
 * await run(function* () {
 *   const limiter = new RateLimiter({
 *     permits: 2,
 *     intervalMs: 100,
 *     algorithm: "sliding-window",
 *   });
 *   for (let n = 0; n < 5; n++) {
 *     yield* limiter.acquire();
 *     times.push(getRunningLoop().time());
 *   }
 * }, { host: "virtual" });
 * assertEquals(times, [0, 0, 100, 100, 200]);
 * ```
 *
 * @example Fail instead of waiting
 * ```ts
 * import { RateLimiter, RateLimitError, run } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const limiter = new RateLimiter({
 *     permits: 1,
 *     intervalMs: 250,
 *     onLimit: "fail",
 *   });
 *   await limiter.acquire();
 *   const error = await assertRejects(
 *     async () => await limiter.acquire(),
 *     RateLimitError,
 *   );
 *   assertEquals(error.retryAfterMs, 250);
 * }, { host: "virtual" });
 * ```
 */
export class RateLimiter {
  readonly #makeRule: () => RateRule;
  #rule: RateRule;
  readonly #fails: boolean;
  /** Made once for all operations. */
  readonly #wait: WaitForPermits = (weight) => this.#waitForPermits(weight);
  #waiters = new WaitQueue<Want>("RateLimiter.acquire()", this);
  #loop: EventLoop | null = null;
  #timer: TimerHandle | null = null;
  /** First waiter in line, for which the timer was set. */
  #timedFor: Waiter<Want> | null = null;

  /**
   * Makes a limiter that has all its permits.
   *
   * @param options Number of permits and interval, algorithm, and what to do if
   * there are no permits.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: RateLimiterOptions) {
    const { makeRule, fails } = settleOptions(options);
    this.#makeRule = makeRule;
    this.#rule = makeRule();
    this.#fails = fails;
  }

  /**
   * How many permits may be taken now; 0 while somebody waits.
   *
   * @throws {MisuseError} If no loop is running.
   */
  get available(): number {
    const loop = this.#bind();
    return this.#waiters.length > 0 ? 0 : this.#rule.available(loop.time());
  }

  /** How many tasks wait for permits. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Takes permits; waits until they are there and all tasks that came before have
   * theirs, or throws, as `onLimit` says.
   *
   * A cancelled wait takes nothing, and the next in line moves up.
   *
   * @param options How many permits; a signal that ends the wait.
   * @returns An operation: nothing is taken until it is awaited. Awaiting it
   * throws a {@linkcode RateLimitError} with `onLimit: "fail"`.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `weight` is not an integer from 1 to the most that there can be.
   */
  acquire(options: RateAcquireOptions = {}): Operation<void> {
    checkOptions(options, "wait for a rate limiter");
    const { weight = 1, signal } = options;
    this.#checkWeight(weight);
    return new AcquireOperation(
      this,
      weight,
      this.#wait,
      signal === undefined ? undefined : { signal },
    );
  }

  /**
   * Takes permits if that is possible at once. It does not overtake waiting tasks.
   *
   * @param weight Number of permits.
   * @returns Whether they were taken.
   * @throws {TypeError} If `weight` is not a number.
   * @throws {RangeError} If it is not an integer from 1 to the most that there can be.
   * @throws {MisuseError} If no loop is running.
   */
  tryAcquire(weight: number = 1): boolean {
    this.#checkWeight(weight);
    const loop = this.#bind();
    if (this.#waiters.length > 0) return false;
    const nowMs = loop.time();
    if (this.#rule.earliest(weight, nowMs) > nowMs) return false;
    this.#rule.take(weight, nowMs);
    return true;
  }

  /**
   * Returns how long it takes until so many permits could be taken if nobody else
   * took any before. Tasks that wait already are not taken into account.
   *
   * @param weight Number of permits.
   * @returns Milliseconds; 0 if they are there.
   * @throws {TypeError} If `weight` is not a number.
   * @throws {RangeError} If it is not an integer from 1 to the most that there can be.
   * @throws {MisuseError} If no loop is running.
   */
  retryAfterMs(weight: number = 1): number {
    this.#checkWeight(weight);
    const nowMs = this.#bind().time();
    return this.#rule.earliest(weight, nowMs) - nowMs;
  }

  /** Waits in line for permits. */
  *#waitForPermits(weight: number): Coroutine<void> {
    const loop = this.#bind();
    if (this.#fails) {
      const retryAfterMs = this.retryAfterMs(weight);
      throw new RateLimitError(
        `Cannot acquire ${weight} of a rate limiter: not before ${retryAfterMs} ms from now`,
        retryAfterMs,
      );
    }
    const want: Want = { weight, takenMs: NaN };
    const waiter = this.#waiters.enter(want);
    if (this.#timer === null) this.#setTimer(loop, waiter);
    try {
      yield* waiter;
    } catch (error) {
      if (waiter.woken) {
        this.#rule.giveBack(weight, want.takenMs);
        this.#timedFor = null; // the first in line may get its permits sooner
      }
      throw error;
    } finally {
      this.#waiters.leave(waiter);
      this.#serve(loop);
    }
  }

  /** Wakes the tasks for which there are permits, in order, and sets the timer for the next. */
  #serve(loop: EventLoop): void {
    const nowMs = loop.time();
    for (
      let first = this.#waiters.peek();
      first !== undefined;
      first = this.#waiters.peek()
    ) {
      const want = first.item;
      if (this.#rule.earliest(want.weight, nowMs) > nowMs) break;
      this.#rule.take(want.weight, nowMs);
      want.takenMs = nowMs;
      this.#waiters.wakeNext();
    }
    this.#setTimer(loop);
  }

  /** Sets the timer for the first in line, or cancels it if there is none. */
  #setTimer(
    loop: EventLoop,
    first: Waiter<Want> | undefined = this.#waiters.peek(),
  ): void {
    if (first !== undefined && first === this.#timedFor) return;
    this.#timer?.cancel();
    this.#timer = null;
    this.#timedFor = first ?? null;
    if (first === undefined) return;
    const whenMs = this.#rule.earliest(first.item.weight, loop.time());
    this.#timer = loop.callAt(whenMs, () => {
      this.#timer = null;
      this.#timedFor = null;
      this.#serve(loop);
    });
  }

  /** Binds the limiter to the running loop; throws if it is in use on another one. */
  #bind(): EventLoop {
    const loop = getRunningLoop();
    if (loop === this.#loop) return loop;
    if (this.#loop !== null) {
      if (this.#waiters.length > 0 && !this.#loop.isClosed()) {
        throw new MisuseError(
          "Cannot use a rate limiter: it is in use on another event loop",
        );
      }
      this.#waiters = new WaitQueue("RateLimiter.acquire()", this);
      this.#rule = this.#makeRule();
      this.#timer = null;
      this.#timedFor = null;
    }
    this.#loop = loop;
    return loop;
  }

  #checkWeight(weight: unknown): void {
    const what = "take permits of a rate limiter";
    checkInteger(weight, 1, what, "weight");
    const { capacity } = this.#rule;
    if ((weight as number) > capacity) {
      throw new RangeError(
        `Cannot ${what} as weight must be at most ${capacity}, which is all there can be: received ${weight}`,
      );
    }
  }
}

/** Takes permits at once if they are there, and else waits for them. */
class AcquireOperation extends AttemptOperation<void> {
  readonly #limiter: RateLimiter;
  readonly #weight: number;
  readonly #waitForPermits: WaitForPermits;

  constructor(
    limiter: RateLimiter,
    weight: number,
    waitForPermits: WaitForPermits,
    options: WaitOptions | undefined,
  ) {
    super(ACQUIRE, options);
    this.#limiter = limiter;
    this.#weight = weight;
    this.#waitForPermits = waitForPermits;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    return this.#limiter.tryAcquire(this.#weight) ? DONE : undefined;
  }

  protected wait(): Coroutine<void> {
    return this.#waitForPermits(this.#weight);
  }
}

/** Checks the options of a limiter. Each is read once. */
function settleOptions(
  options: RateLimiterOptions,
): { readonly makeRule: () => RateRule; readonly fails: boolean } {
  const what = "create a rate limiter";
  checkOptions(options, what);
  const {
    permits,
    intervalMs,
    algorithm = "token-bucket",
    burst,
    onLimit = "delay",
  } = options;
  checkCount(permits, what, "permits");
  checkNumber(intervalMs, what, "intervalMs");
  if (!(intervalMs > 0 && intervalMs < Infinity)) {
    throw new RangeError(
      `Cannot ${what} as intervalMs must be > 0 and finite: received ${intervalMs}`,
    );
  }
  checkOneOf(algorithm, ALGORITHMS, what, "algorithm");
  checkOneOf(onLimit, ["delay", "fail"], what, "onLimit");
  if (burst !== undefined) {
    checkCount(burst, what, "burst");
    if (algorithm !== "token-bucket") {
      throw new TypeError(
        `Cannot ${what} as burst must be left out with "${algorithm}": received ${burst}`,
      );
    }
  }
  const makeRule = algorithm === "fixed-window"
    ? () => new FixedWindow(permits, intervalMs)
    : algorithm === "sliding-window"
    ? () => new SlidingWindow(permits, intervalMs)
    : () => new TokenBucket(permits, intervalMs, burst ?? permits);
  return { makeRule, fails: onLimit === "fail" };
}

/** Throws unless `value` is a number that can be counted up to. */
function checkCount(value: unknown, what: string, name: string): void {
  checkInteger(value, 1, what, name);
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be a safe integer: received ${value}`,
    );
  }
}

/** Waits in line for permits. */
type WaitForPermits = (weight: number) => Coroutine<void>;

const ALGORITHMS: readonly RateAlgorithm[] = [
  "token-bucket",
  "fixed-window",
  "sliding-window",
];

const ACQUIRE = { name: "RateLimiter.acquire()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };
