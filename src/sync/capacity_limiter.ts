/**
 * A limit that knows its borrowers.
 *
 * @module
 */
import { listHolders } from "../loop/waiters.ts";
import { MisuseError } from "../errors.ts";
import { checkInteger, inspect } from "../loop/checks.ts";
import { findTask } from "../loop/current.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Urgency } from "../loop/priority_inheritance.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Task } from "../loop/task.ts";
import { resourceWatch } from "../loop/resource_watch.ts";
import type { Permit } from "./permit.ts";
import { type Waiter, WaitQueue } from "./wait_queue.ts";

/** Snapshot of a limiter: the result of {@linkcode CapacityLimiter.statistics}. */
export interface CapacityLimiterStatistics {
  /** How many tokens are lent. */
  readonly borrowedTokens: number;
  /** How many tokens there are. */
  readonly totalTokens: number;
  /**
   * The borrowers, in the order in which they got their tokens; those included
   * that were woken with a token and have not run yet.
   */
  readonly borrowers: readonly object[];
  /** How many wait for a token: neither woken nor cancelled. */
  readonly tasksWaiting: number;
}

class BorrowedToken implements Permit {
  readonly #limiter: CapacityLimiter;
  readonly #borrower: object;
  /** Task that is raised to the priority of the waiters meanwhile; null if none is. */
  readonly urgency: Urgency | null;
  #held = true;

  constructor(
    limiter: CapacityLimiter,
    borrower: object,
    urgency: Urgency | null,
  ) {
    this.#limiter = limiter;
    this.#borrower = borrower;
    this.urgency = urgency;
  }

  get held(): boolean {
    return this.#held;
  }

  release(): void {
    if (this.#held) this.#limiter.releaseOnBehalfOf(this.#borrower);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** Makes it void, as it was given back. For the limiter. */
  expire(): void {
    this.#held = false;
  }
}

/** Payload of a waiter. */
interface Request {
  readonly borrower: object;
  /** Lent when the waiter is woken, before it runs. */
  token: BorrowedToken | null;
}

/** The private side of a limiter, for its waits. */
interface LimiterInternals {
  waitForToken(limiter: CapacityLimiter, borrower: object): Coroutine<Permit>;
}

/** Set by {@linkcode CapacityLimiter} when it is loaded. */
let internals: LimiterInternals;

/**
 * A semaphore that knows who is inside: lends a token to each of a number of
 * borrowers at a time.
 *
 * Like trio's `CapacityLimiter`. A borrower is a task, or any other object on
 * whose behalf a token is acquired. Each may have one: asking for a second,
 * which with a semaphore would wait for itself, throws at once. Tokens are lent
 * in the order in which they were asked for. How many there are can be changed
 * at any time. All methods take constant time, except {@linkcode statistics}.
 *
 * A token belongs to its borrower from the moment the borrower is woken with it
 * until it is released, also after a task has ended; `using` releases it. On a
 * loop that goes by priority a task with a token is raised to the priority of
 * those who wait; other borrowers cannot be.
 *
 * @example A second token would never come
 * ```ts
 * import { CapacityLimiter, MisuseError, run } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   const limiter = new CapacityLimiter(1);
 *   {
 *     using _token = await limiter.acquire();
 *     await assertRejects(async () => await limiter.acquire(), MisuseError);
 *     assertEquals(limiter.availableTokens, 0);
 *   }
 *   assertEquals(limiter.availableTokens, 1);
 * });
 * ```
 */
export class CapacityLimiter {
  readonly #waiters = new WaitQueue<Request>(
    "CapacityLimiter.acquire()",
    this,
    "held",
  );
  #totalTokens: number;
  readonly #tokens = new Map<object, BorrowedToken>();
  /** The waiters by borrower, some of which may be cancelled. */
  readonly #waiting = new Map<object, Waiter<Request>>();

  static {
    internals = {
      waitForToken: (limiter, borrower) => limiter.#waitForToken(borrower),
    };
  }

  /**
   * Makes a limiter.
   *
   * @param totalTokens How many tokens there are: an integer >= 0, or `Infinity`.
   * @throws {TypeError} If `totalTokens` is not a number.
   * @throws {RangeError} If it is neither an integer >= 0 nor `Infinity`.
   */
  constructor(totalTokens: number) {
    checkTotal(totalTokens, "create a capacity limiter");
    this.#totalTokens = totalTokens + 0; // which makes -0 a 0
  }

  /**
   * How many tokens there are. If it is raised, waiters get the new ones at
   * once. If it is lowered, tokens that are lent stay lent, and none is lent
   * until enough are back.
   *
   * @throws {TypeError} If it is set to something else than a number.
   * @throws {RangeError} If it is neither an integer >= 0 nor `Infinity`.
   */
  get totalTokens(): number {
    return this.#totalTokens;
  }

  set totalTokens(totalTokens: number) {
    checkTotal(totalTokens, "resize a capacity limiter");
    this.#totalTokens = totalTokens + 0;
    this.#wakeNext();
  }

  /** How many tokens are lent, those included whose borrowers are woken and have not run yet. */
  get borrowedTokens(): number {
    return this.#tokens.size;
  }

  /** How many tokens can be lent; 0 also if more are lent than there are. */
  get availableTokens(): number {
    return Math.max(this.#totalTokens - this.#tokens.size, 0);
  }

  /**
   * Acquires a token for the current task; waits while none is available or
   * others are in line.
   *
   * Cancelling the wait acquires nothing; if this waiter had been woken with a
   * token, that goes to the next. From a plain callback, use
   * {@linkcode tryAcquireOnBehalfOf}: no task is running there.
   *
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the token, to be disposed of. Awaiting
   * it throws a {@linkcode MisuseError} if the task has a token or waits for one.
   * @throws {TypeError} If `signal` is not an `AbortSignal`.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return new AcquireToken(this, null, options);
  }

  /**
   * Acquires a token for the current task if that is possible at once.
   *
   * @returns The token, or `null`.
   * @throws {MisuseError} If the task has a token or waits for one, or no task
   * is running.
   */
  tryAcquire(): Permit | null {
    return this.tryAcquireOnBehalfOf(currentBorrower());
  }

  /**
   * Acquires a token for another borrower than the current task; in all else
   * like {@linkcode acquire}. From a plain callback, use
   * {@linkcode tryAcquireOnBehalfOf}.
   *
   * @param borrower Any object.
   * @param options A signal that ends the wait.
   * @returns An operation whose result is the token, to be disposed of. Awaiting
   * it throws a {@linkcode MisuseError} if the borrower has a token or waits for
   * one. If the token is released on behalf of the borrower after the wake-up,
   * and before the waiting task runs, the result is a token that is not held.
   * @throws {TypeError} If `borrower` is not an object, or `signal` not an
   * `AbortSignal`.
   */
  acquireOnBehalfOf(
    borrower: object,
    options?: WaitOptions,
  ): Operation<Permit> {
    checkBorrower(borrower);
    return new AcquireToken(this, borrower, options);
  }

  /**
   * Acquires a token for another borrower if that is possible at once. May be
   * called from a plain callback.
   *
   * @param borrower Any object.
   * @returns The token, or `null`.
   * @throws {TypeError} If `borrower` is not an object.
   * @throws {MisuseError} If it has a token or waits for one.
   */
  tryAcquireOnBehalfOf(borrower: object): Permit | null {
    checkBorrower(borrower);
    const hasToken = this.#tokens.has(borrower);
    if (hasToken || this.#isWaiting(borrower)) {
      throw new MisuseError(
        `Cannot acquire a token: the borrower ${
          hasToken ? "has one" : "waits for one"
        } already`,
      );
    }
    if (this.availableTokens === 0 || this.#waiters.length > 0) return null;
    return this.#lend(borrower);
  }

  /**
   * Releases the token of the current task.
   *
   * @throws {MisuseError} If it has none, or no task is running.
   */
  release(): void {
    this.releaseOnBehalfOf(currentBorrower());
  }

  /**
   * Releases the token of a borrower, and lends it to the first in line.
   *
   * @param borrower An object that has a token. It has one as soon as it is
   * woken with it.
   * @throws {TypeError} If `borrower` is not an object.
   * @throws {MisuseError} If it has no token.
   */
  releaseOnBehalfOf(borrower: object): void {
    checkBorrower(borrower);
    const token = this.#tokens.get(borrower);
    if (token === undefined) {
      throw new MisuseError(
        "Cannot release a token: the borrower has none",
      );
    }
    token.expire();
    this.#tokens.delete(borrower);
    resourceWatch.current?.returned(this);
    this.#waiters.givenBack(token.urgency);
    this.#wakeNext();
  }

  /**
   * Returns the numbers and the borrowers of this moment. A waiter that was
   * woken with a token is a borrower, and waits no longer. Takes time in
   * proportion to the number of borrowers.
   *
   * @returns A frozen snapshot.
   */
  statistics(): CapacityLimiterStatistics {
    return Object.freeze({
      borrowedTokens: this.borrowedTokens,
      totalTokens: this.#totalTokens,
      borrowers: Object.freeze([...this.#tokens.keys()]),
      tasksWaiting: this.#waiters.pendingCount,
    });
  }

  /** Lists the tasks that have a token. */
  [listHolders](): Task<unknown>[] {
    return [...this.#tokens.keys()].filter((borrower) =>
      borrower instanceof Task
    );
  }

  #isWaiting(borrower: object): boolean {
    const waiter = this.#waiting.get(borrower);
    // If its loop was closed under it, it will never leave.
    return waiter !== undefined && waiter.pending && !waiter.loop.isClosed();
  }

  #lend(borrower: object): BorrowedToken {
    const token = new BorrowedToken(
      this,
      borrower,
      this.#waiters.takenBy(borrower instanceof Task ? borrower : null),
    );
    this.#tokens.set(borrower, token);
    resourceWatch.current?.taken("permit", this, "CapacityLimiter");
    return token;
  }

  /** Lends what is available to those in line, which own it before they run. */
  #wakeNext(): void {
    while (this.availableTokens > 0) {
      const next = this.#waiters.peek();
      if (next === undefined) return;
      next.item.token = this.#lend(next.item.borrower);
      this.#waiters.wakeNext();
    }
  }

  *#waitForToken(borrower: object): Coroutine<Permit> {
    const request: Request = { borrower, token: null };
    const waiter = this.#waiters.enter(request);
    this.#waiting.set(borrower, waiter);
    let arrived = false;
    try {
      yield* waiter;
      arrived = true;
      return request.token!;
    } finally {
      // A cancelled one may have asked again before it ran.
      if (this.#waiting.get(borrower) === waiter) {
        this.#waiting.delete(borrower);
      }
      this.#waiters.leave(waiter);
      if (!arrived) request.token?.release();
      // Newcomers may have had to wait, just because this one was in line.
      this.#wakeNext();
    }
  }
}

class AcquireToken extends AttemptOperation<Permit> {
  readonly #limiter: CapacityLimiter;
  /** Null for the task that awaits it. */
  #borrower: object | null;

  constructor(
    limiter: CapacityLimiter,
    borrower: object | null,
    options: WaitOptions | undefined,
  ) {
    super(ACQUIRE, options);
    this.#limiter = limiter;
    this.#borrower = borrower;
  }

  protected attempt(): IteratorReturnResult<Permit> | undefined {
    this.#borrower ??= currentBorrower();
    const token = this.#limiter.tryAcquireOnBehalfOf(this.#borrower);
    return token === null ? undefined : { done: true, value: token };
  }

  protected wait(): Coroutine<Permit> {
    return internals.waitForToken(this.#limiter, this.#borrower!);
  }
}

const ACQUIRE = { name: "CapacityLimiter.acquire()" };

/** Returns the task that is the borrower where none is named. */
function currentBorrower(): object {
  const task = findTask();
  if (task === null) {
    throw new MisuseError(
      "Cannot use a token of the current task: no task is running, name a borrower",
    );
  }
  return task;
}

function checkTotal(totalTokens: unknown, what: string): void {
  checkInteger(totalTokens, 0, what, "totalTokens", "or Infinity");
}

function checkBorrower(borrower: unknown): void {
  if (
    (typeof borrower !== "object" || borrower === null) &&
    typeof borrower !== "function"
  ) {
    throw new TypeError(
      `Cannot use a token as borrower must be an object: received ${
        inspect(borrower)
      }`,
    );
  }
}
