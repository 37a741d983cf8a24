import { AttemptOperation } from "../loop/attempt_operation.ts";
import { MisuseError, RateLimitError } from "../errors.ts";
import { type Operation, type WaitOptions } from "../loop/operation.ts";
import {
  checkInteger,
  checkNumber,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { Coroutine } from "../loop/task.ts";
import { RingBuffer } from "../structures/ring_buffer.ts";
import { type Waiter, WaitQueue } from "../sync/wait_queue.ts";

/** How a {@linkcode RateLimiter} counts. */
export type RateAlgorithm = "token-bucket" | "fixed-window" | "sliding-window";

/** How to make a {@linkcode RateLimiter}. */
export interface RateLimiterOptions {
  /** How many permits there are in an interval: a safe integer >= 1. */
  readonly permits: number;
  /** How long an interval is, in milliseconds. */
  readonly intervalMs: number;
  /**
   * How permits are counted. With W for the interval:
   *
   * - `"token-bucket"`: permits come back one by one, evenly, and at most `burst`
   *   of them are there. In any time T no more than `burst + permits * T / W` are
   *   taken.
   * - `"fixed-window"`: the first permit begins a window, windows follow each
   *   other, and no more than `permits` are taken in any of them. Around the
   *   border of two it may be twice as many in less than W.
   * - `"sliding-window"`: no more than `permits` are taken in any time of W,
   *   wherever it begins, its end not included. Remembers every moment of the
   *   last W at which permits were taken.
   *
   * @default {"token-bucket"}
   */
  readonly algorithm?: RateAlgorithm | undefined;
  /**
   * How many permits a token bucket holds, and has at first. Only for that.
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

/** How to {@linkcode RateLimiter.acquire}. */
export interface RateAcquireOptions extends WaitOptions {
  /**
   * How many permits to take at once, at most as many as there can be.
   *
   * @default {1}
   */
  readonly weight?: number | undefined;
}

/** What somebody in line waits for. */
interface Want {
  readonly weight: number;
  /** When it was given that, which is before it goes on. */
  takenMs: number;
}

/**
 * Lets so many things happen in so much time.
 *
 * Those who wait are served strictly in order: nobody takes permits while
 * somebody waits, and one that needs many is not overtaken by those that need
 * few. One timer of the loop wakes the first of them at the moment at which its
 * permits are there; it is gone when nobody waits. Times are those of
 * {@linkcode EventLoop.time}, exact on a virtual host.
 *
 * Permits count from the moment they are taken. They are not given back, except
 * when the wait for them is cancelled in the very turn in which they came. A
 * limiter belongs to the loop that it is used on; on another one, where the clock
 * is another, it begins anew.
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
 * @example To be told when to come back
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
  #waiters = new WaitQueue<Want>("RateLimiter.acquire()");
  #loop: EventLoop | null = null;
  #timer: TimerHandle | null = null;
  /** The first in line, for whom the timer was set. */
  #timedFor: Waiter<Want> | null = null;

  /**
   * Makes a limiter, with all its permits there.
   *
   * @param options How many permits in which time, how to count, and what to do
   * if none is there.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is not one it may be.
   */
  constructor(options: RateLimiterOptions) {
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
    checkOneOf(
      algorithm,
      ["token-bucket", "fixed-window", "sliding-window"],
      what,
      "algorithm",
    );
    checkOneOf(onLimit, ["delay", "fail"], what, "onLimit");
    if (burst !== undefined) {
      checkCount(burst, what, "burst");
      if (algorithm !== "token-bucket") {
        throw new TypeError(
          `Cannot ${what} as burst must be left out with "${algorithm}": received ${burst}`,
        );
      }
    }
    this.#makeRule = algorithm === "fixed-window"
      ? () => new FixedWindow(permits, intervalMs)
      : algorithm === "sliding-window"
      ? () => new SlidingWindow(permits, intervalMs)
      : () => new TokenBucket(permits, intervalMs, burst ?? permits);
    this.#rule = this.#makeRule();
    this.#fails = onLimit === "fail";
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

  /** How many wait for permits. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Takes permits; waits until they are there and all who came before have
   * theirs, or throws, as `onLimit` says.
   *
   * Cancelling the wait takes nothing, and the next in line moves up.
   *
   * @param options How many permits; a signal that ends the wait.
   * @returns An operation: nothing is taken until it is waited for. Waiting for
   * it throws a {@linkcode RateLimitError} with `onLimit: "fail"`.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `weight` is not an integer from 1 to what there can be.
   */
  acquire(options: RateAcquireOptions = {}): Operation<void> {
    checkOptions(options, "wait for a rate limiter");
    const { weight = 1, signal } = options;
    this.#checkWeight(weight);
    return new AcquireOperation(
      this,
      weight,
      signal === undefined ? undefined : { signal },
    );
  }

  /**
   * Takes permits if that is possible at once. It does not push in before those
   * who wait.
   *
   * @param weight How many.
   * @returns Whether they were taken.
   * @throws {TypeError} If `weight` is not a number.
   * @throws {RangeError} If it is not an integer from 1 to what there can be.
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
   * Tells how long it takes until so many permits could be taken if nobody else
   * took any before. Those who wait already are not counted in.
   *
   * @param weight How many.
   * @returns Milliseconds; 0 if they are there.
   * @throws {TypeError} If `weight` is not a number.
   * @throws {RangeError} If it is not an integer from 1 to what there can be.
   * @throws {MisuseError} If no loop is running.
   */
  retryAfterMs(weight: number = 1): number {
    this.#checkWeight(weight);
    const nowMs = this.#bind().time();
    return this.#rule.earliest(weight, nowMs) - nowMs;
  }

  /** Waits in line. */
  private *waitForPermits(weight: number): Coroutine<void> {
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
        this.#timedFor = null; // the first in line may have its permits sooner
      }
      throw error;
    } finally {
      this.#waiters.leave(waiter);
      this.#serve(loop);
    }
  }

  /** Wakes those for whom there are permits, in order, and has the timer wake the next. */
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

  /** Sets the timer for the first in line, or takes it away if there is none. */
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

  /** Takes the limiter into use on the running loop. */
  #bind(): EventLoop {
    const loop = getRunningLoop();
    if (loop === this.#loop) return loop;
    if (this.#loop !== null) {
      if (this.#waiters.length > 0 && !this.#loop.isClosed()) {
        throw new MisuseError(
          "Cannot use a rate limiter: it is in use on another event loop",
        );
      }
      this.#waiters = new WaitQueue("RateLimiter.acquire()");
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

class AcquireOperation extends AttemptOperation<void> {
  readonly #limiter: RateLimiter;
  readonly #weight: number;

  constructor(
    limiter: RateLimiter,
    weight: number,
    options: WaitOptions | undefined,
  ) {
    super(ACQUIRE, options);
    this.#limiter = limiter;
    this.#weight = weight;
  }

  protected attempt(): IteratorReturnResult<void> | undefined {
    return this.#limiter.tryAcquire(this.#weight) ? DONE : undefined;
  }

  protected wait(): Coroutine<void> {
    return this.#limiter["waitForPermits"](this.#weight);
  }
}

/** Throws unless `value` is something that can be counted up to. */
function checkCount(value: unknown, what: string, name: string): void {
  checkInteger(value, 1, what, name);
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(
      `Cannot ${what} as ${name} must be a safe integer: received ${value}`,
    );
  }
}

const ACQUIRE = { name: "RateLimiter.acquire()" };
const DONE: IteratorReturnResult<void> = { done: true, value: undefined };

/** A rule for how many permits there are, and when. Times never go back. */
interface RateRule {
  /** How many permits can be taken at one moment at most. */
  readonly capacity: number;
  /** The first moment, at `nowMs` or after, at which `weight` permits may be taken if nobody takes any before. */
  earliest(weight: number, nowMs: number): number;
  /** Takes permits at a moment at which that is possible. */
  take(weight: number, nowMs: number): void;
  /** Gives back what was taken at `takenMs` by somebody who will not use it. */
  giveBack(weight: number, takenMs: number): void;
  /** How many permits may be taken now. */
  available(nowMs: number): number;
}

/**
 * A bucket that holds so many permits and fills evenly. What was taken is counted
 * from the moment at which the bucket was full last, so that no rounding adds up.
 */
class TokenBucket implements RateRule {
  readonly capacity: number;
  readonly #permits: number;
  readonly #intervalMs: number;
  #fullMs = -Infinity;
  #taken = 0;

  constructor(permits: number, intervalMs: number, burst: number) {
    this.#permits = permits;
    this.#intervalMs = intervalMs;
    this.capacity = burst;
  }

  earliest(weight: number, nowMs: number): number {
    return Math.max(nowMs, this.#filledMs(this.#taken + weight));
  }

  take(weight: number, nowMs: number): void {
    if (this.#isFull(nowMs)) {
      this.#fullMs = nowMs;
      this.#taken = 0;
    }
    this.#taken += weight;
  }

  giveBack(weight: number, takenMs: number): void {
    if (takenMs < this.#fullMs) return; // it has been full again since
    this.#taken = Math.max(this.#taken - weight, 0);
  }

  available(nowMs: number): number {
    if (this.#isFull(nowMs)) return this.capacity;
    const filled = (nowMs - this.#fullMs) * this.#permits / this.#intervalMs;
    let count = Math.floor(this.capacity - this.#taken + filled);
    // The division may be off by a rounding; what counts is the other way round.
    while (count > 0 && this.#filledMs(this.#taken + count) > nowMs) count--;
    while (
      count < this.capacity && this.#filledMs(this.#taken + count + 1) <= nowMs
    ) count++;
    return Math.max(count, 0);
  }

  #isFull(nowMs: number): boolean {
    return this.#filledMs(this.#taken + this.capacity) <= nowMs;
  }

  /** When so many permits may have been taken since the bucket was full. */
  #filledMs(count: number): number {
    return count <= this.capacity
      ? this.#fullMs
      : this.#fullMs + (count - this.capacity) * this.#intervalMs /
          this.#permits;
  }
}

/** So many permits in each window; windows follow each other, the first begins with the first permit. */
class FixedWindow implements RateRule {
  readonly capacity: number;
  readonly #intervalMs: number;
  #originMs: number | null = null;
  #window = 0;
  #taken = 0;

  constructor(permits: number, intervalMs: number) {
    this.capacity = permits;
    this.#intervalMs = intervalMs;
  }

  earliest(weight: number, nowMs: number): number {
    this.#moveTo(nowMs);
    return this.#taken + weight <= this.capacity
      ? nowMs
      : this.#beginMs(this.#window + 1);
  }

  take(weight: number, nowMs: number): void {
    this.#originMs ??= nowMs;
    this.#moveTo(nowMs);
    this.#taken += weight;
  }

  giveBack(weight: number, takenMs: number): void {
    if (takenMs >= this.#beginMs(this.#window)) this.#taken -= weight;
  }

  available(nowMs: number): number {
    this.#moveTo(nowMs);
    return this.capacity - this.#taken;
  }

  #beginMs(window: number): number {
    return this.#originMs! + window * this.#intervalMs;
  }

  #moveTo(nowMs: number): void {
    if (this.#originMs === null || nowMs < this.#beginMs(this.#window + 1)) {
      return;
    }
    let window = Math.floor((nowMs - this.#originMs) / this.#intervalMs);
    // The division may be off by a rounding.
    if (this.#beginMs(window) > nowMs) window--;
    else if (this.#beginMs(window + 1) <= nowMs) window++;
    if (this.#beginMs(window) > nowMs || this.#beginMs(window + 1) <= nowMs) {
      // They are too short to be told apart on such a clock.
      this.#originMs = nowMs;
      window = 0;
    }
    this.#window = window;
    this.#taken = 0;
  }
}

interface Grant {
  readonly takenMs: number;
  weight: number;
}

/**
 * So many permits in any window, wherever it begins: each counts for one interval.
 * Remembers each moment at which permits were taken during the last one.
 */
class SlidingWindow implements RateRule {
  readonly capacity: number;
  readonly #intervalMs: number;
  readonly #grants = new RingBuffer<Grant>();
  #last: Grant | null = null;
  #taken = 0;

  constructor(permits: number, intervalMs: number) {
    this.capacity = permits;
    this.#intervalMs = intervalMs;
  }

  earliest(weight: number, nowMs: number): number {
    this.#forget(nowMs);
    let missing = this.#taken + weight - this.capacity;
    if (missing <= 0) return nowMs;
    for (const grant of this.#grants) {
      missing -= grant.weight;
      if (missing <= 0) return grant.takenMs + this.#intervalMs;
    }
    return Infinity;
  }

  take(weight: number, nowMs: number): void {
    this.#forget(nowMs);
    this.#taken += weight;
    if (this.#last !== null && this.#last.takenMs === nowMs) {
      this.#last.weight += weight;
    } else {
      this.#last = { takenMs: nowMs, weight };
      this.#grants.push(this.#last);
    }
  }

  giveBack(weight: number, takenMs: number): void {
    for (const grant of this.#grants) {
      if (grant.takenMs !== takenMs) continue;
      grant.weight -= weight;
      this.#taken -= weight;
      return;
    }
  }

  available(nowMs: number): number {
    this.#forget(nowMs);
    return this.capacity - this.#taken;
  }

  #forget(nowMs: number): void {
    for (
      let first = this.#grants.peek();
      first !== undefined && first.takenMs + this.#intervalMs <= nowMs;
      first = this.#grants.peek()
    ) {
      this.#grants.shift();
      this.#taken -= first.weight;
      if (first === this.#last) this.#last = null;
    }
  }
}
