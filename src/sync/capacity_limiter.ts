import { MisuseError } from "../errors.ts";
import { AttemptOperation } from "../loop/attempt_operation.ts";
import { inspect } from "../loop/checks.ts";
import { currentTask } from "../loop/current.ts";
import type { Operation, WaitOptions } from "../loop/operation.ts";
import type { Coroutine } from "../loop/task.ts";
import { checkInteger } from "../loop/checks.ts";
import type { Permit } from "./permit.ts";
import { type Waiter, WaitQueue } from "./wait_queue.ts";

/** What {@linkcode CapacityLimiter.statistics} tells. */
export interface CapacityLimiterStatistics {
  /** How many tokens are out. */
  readonly borrowedTokens: number;
  /** How many there are. */
  readonly totalTokens: number;
  /** Who has one, in the order in which they got it. */
  readonly borrowers: readonly object[];
  /** How many wait for one. */
  readonly tasksWaiting: number;
}

class BorrowedToken implements Permit {
  readonly #limiter: CapacityLimiter;
  readonly #borrower: object;
  #held = true;

  constructor(limiter: CapacityLimiter, borrower: object) {
    this.#limiter = limiter;
    this.#borrower = borrower;
  }

  get held(): boolean {
    return this.#held && this.#limiter["isTokenOf"](this.#borrower, this);
  }

  release(): void {
    if (this.held) this.#limiter.releaseOnBehalfOf(this.#borrower);
    this.#held = false;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Lets a number of borrowers at a time inside, and knows who they are.
 *
 * It is trio's. A borrower is a task, or any other object on whose behalf a token
 * is taken. Each may have one: asking for a second, which with a semaphore would
 * wait for itself, throws at once. Tokens are handed out in the order in which
 * they were asked for. How many there are can be changed at any time. All
 * methods take constant time, except {@linkcode statistics}.
 *
 * A token belongs to its borrower until it is given back, also when a task has
 * ended; `using` sees to it. As a borrower need not be a task, none is raised to
 * the priority of those who wait, as the holder of a lock is.
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
  readonly #waiters = new WaitQueue<object>("CapacityLimiter.acquire()");
  #totalTokens: number;
  readonly #borrowers = new Map<object, Permit>();
  /** Those who wait, or were woken and have not had their turn. */
  readonly #waiting = new Map<object, Waiter<object>>();

  /**
   * Makes a limiter.
   *
   * @param totalTokens How many tokens there are: an integer >= 0, or `Infinity`.
   * @throws {TypeError} If `totalTokens` is not a number.
   * @throws {RangeError} If it is not one it may be.
   */
  constructor(totalTokens: number) {
    checkTotal(totalTokens, "create a capacity limiter");
    this.#totalTokens = totalTokens + 0; // which makes -0 a 0
  }

  /**
   * How many tokens there are. With more, those in line get them. With fewer,
   * those that are out stay out, and none is handed out until enough are back.
   *
   * @throws {TypeError} If it is set to something else than a number.
   * @throws {RangeError} If it is not an integer >= 0, or `Infinity`.
   */
  get totalTokens(): number {
    return this.#totalTokens;
  }

  set totalTokens(totalTokens: number) {
    checkTotal(totalTokens, "resize a capacity limiter");
    this.#totalTokens = totalTokens + 0;
    this.#wakeNext();
  }

  /** How many tokens are out, those included that are on their way to a woken waiter. */
  get borrowedTokens(): number {
    return this.#borrowers.size;
  }

  /** How many tokens can be handed out: less than 0 never, also if too many are out. */
  get availableTokens(): number {
    return Math.max(this.#totalTokens - this.#borrowers.size, 0);
  }

  /**
   * Takes a token for the current task; waits while there is none or somebody
   * was in line before.
   *
   * Cancelling the wait takes nothing, and if a token was on its way to this
   * waiter, it goes to the next.
   *
   * @param options A signal that ends the wait.
   * @returns An operation that gives the token, to be disposed of. Waiting for it
   * throws a {@linkcode MisuseError} if the task has a token or waits for one.
   */
  acquire(options?: WaitOptions): Operation<Permit> {
    return new AcquireOperation(this, null, options);
  }

  /**
   * Takes a token for the current task if that is possible at once.
   *
   * @returns The token, or `null`.
   * @throws {MisuseError} If the task has a token already or waits for one, or no
   * task is running.
   */
  tryAcquire(): Permit | null {
    return this.tryAcquireOnBehalfOf(this.currentBorrower());
  }

  /**
   * Takes a token for somebody else than the current task; in all else it is
   * {@linkcode acquire}.
   *
   * @param borrower Any object.
   * @param options A signal that ends the wait.
   * @returns An operation that gives the token, to be disposed of.
   * @throws {TypeError} If `borrower` is not an object.
   */
  acquireOnBehalfOf(
    borrower: object,
    options?: WaitOptions,
  ): Operation<Permit> {
    checkBorrower(borrower);
    return new AcquireOperation(this, borrower, options);
  }

  /**
   * Takes a token for somebody else if that is possible at once.
   *
   * @param borrower Any object.
   * @returns The token, or `null`.
   * @throws {TypeError} If `borrower` is not an object.
   * @throws {MisuseError} If it has a token or waits for one.
   */
  tryAcquireOnBehalfOf(borrower: object): Permit | null {
    checkBorrower(borrower);
    if (this.#borrowers.has(borrower) || this.#isWaiting(borrower)) {
      throw new MisuseError(
        `Cannot acquire a token: the borrower ${
          this.#borrowers.has(borrower) ? "has one" : "waits for one"
        } already`,
      );
    }
    if (this.availableTokens === 0 || this.#waiters.length > 0) return null;
    return this.#lend(borrower);
  }

  /**
   * Gives back the token of the current task.
   *
   * @throws {MisuseError} If it has none, or no task is running.
   */
  release(): void {
    this.releaseOnBehalfOf(this.currentBorrower());
  }

  /**
   * Gives back the token of a borrower, and hands it to the first in line.
   *
   * @param borrower Who has the token.
   * @throws {TypeError} If `borrower` is not an object.
   * @throws {MisuseError} If it has none.
   */
  releaseOnBehalfOf(borrower: object): void {
    checkBorrower(borrower);
    if (this.#isWaiting(borrower) || !this.#borrowers.delete(borrower)) {
      throw new MisuseError(
        "Cannot release a token: the borrower has none",
      );
    }
    this.#wakeNext();
  }

  /**
   * Tells who has tokens. Takes time in proportion to how many have.
   *
   * @returns A frozen snapshot.
   */
  statistics(): CapacityLimiterStatistics {
    let tasksWaiting = 0;
    for (const borrower of this.#waiting.keys()) {
      if (this.#isWaiting(borrower)) tasksWaiting++;
    }
    return Object.freeze({
      borrowedTokens: this.borrowedTokens,
      totalTokens: this.#totalTokens,
      borrowers: Object.freeze([...this.#borrowers.keys()]),
      tasksWaiting,
    });
  }

  /** The task on whose behalf is asked for what names nobody. */
  private currentBorrower(): object {
    const task = currentTask();
    if (task === null) {
      throw new MisuseError(
        "Cannot use a token of the current task: no task is running, name a borrower",
      );
    }
    return task;
  }

  /** Whether a token is the one that the borrower has. */
  private isTokenOf(borrower: object, token: Permit): boolean {
    return this.#borrowers.get(borrower) === token;
  }

  #isWaiting(borrower: object): boolean {
    const waiter = this.#waiting.get(borrower);
    if (waiter === undefined) return false;
    if (!waiter.loop.isClosed()) return true;
    this.#waiting.delete(borrower); // the loop was closed under it
    return false;
  }

  #lend(borrower: object): Permit {
    const token = new BorrowedToken(this, borrower);
    this.#borrowers.set(borrower, token);
    return token;
  }

  /** A woken waiter has its token already, before it runs. */
  #wakeNext(): void {
    while (this.availableTokens > 0) {
      const next = this.#waiters.peek();
      if (next === undefined) return;
      this.#lend(next.item);
      this.#waiters.wakeNext();
    }
  }

  /** Waits in line. */
  private *waitForToken(borrower: object): Coroutine<Permit> {
    this.#waiters.open();
    // Those who stood in line may have gone with their loop.
    if (this.availableTokens > 0 && this.#waiters.length === 0) {
      return this.#lend(borrower);
    }
    const waiter = this.#waiters.enter(borrower);
    this.#waiting.set(borrower, waiter);
    try {
      yield* waiter;
    } catch (error) {
      if (waiter.woken) this.#borrowers.delete(borrower);
      throw error;
    } finally {
      this.#waiting.delete(borrower);
      this.#waiters.leave(waiter);
      this.#wakeNext();
    }
    return this.#borrowers.get(borrower)!;
  }
}

class AcquireOperation extends AttemptOperation<Permit> {
  readonly #limiter: CapacityLimiter;
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
    this.#borrower ??= this.#limiter["currentBorrower"]();
    const token = this.#limiter.tryAcquireOnBehalfOf(this.#borrower);
    return token === null ? undefined : { done: true, value: token };
  }

  protected wait(): Coroutine<Permit> {
    return this.#limiter["waitForToken"](this.#borrower!);
  }
}

const ACQUIRE = { name: "CapacityLimiter.acquire()" };

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
