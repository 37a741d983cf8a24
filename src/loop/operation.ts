/**
 * Operations: work that begins when it is awaited, once, by `yield*` or `await`. The
 * class, its options, and the claim that refuses a second wait.
 *
 * @module
 */
import type { CreationStack } from "./creation_stack.ts";
import { drop } from "./waiters.ts";
import { MisuseError } from "../errors.ts";
import { levelOf, levels } from "./cancellation.ts";
import {
  checkFunction,
  checkOptions,
  checkSignal,
  checkString,
} from "./checks.ts";
import { current, getRunningLoop, loaded } from "./current.ts";
import type { Suspension } from "./future.ts";
import { Guarded } from "./guarded.ts";
import {
  track,
  tracking,
  type UnstartedRecord,
} from "./unstarted_operations.ts";
import { OperationWait } from "./operation_wait.ts";
import { findStrand } from "./strand.ts";
import type { Strand } from "./strand_tree.ts";

const STARTED = Symbol("started");

/** Options that every wait takes as its last argument. */
export interface WaitOptions {
  /** Ends the wait when it aborts, by throwing the signal's reason at the waiter. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of an {@linkcode Operation}. */
export interface OperationOptions extends WaitOptions {
  /** Name in messages, such as `"Queue.get()"`. */
  readonly name?: string | undefined;
  /**
   * Effect of a cancellation that is due when the operation starts. `"refuse"`:
   * it is thrown, and the operation does not start. `"enter"`: it is thrown at
   * the first wait inside, for blocks that may be a shield.
   *
   * @default {"refuse"}
   */
  readonly whenCancelled?: "refuse" | "enter" | undefined;
}

/**
 * Something to wait for: does nothing until it is awaited, and can be awaited
 * only once.
 *
 * Like a coroutine object in asyncio: `sleep(10)` or `queue.get()` do nothing
 * by themselves. Wait with `yield*` in a generator coroutine, with `await` in
 * an async function. A second wait throws. An operation that is never awaited
 * is a mistake, and is reported to the loop's exception handler when it is
 * collected or the loop closes: always in debug mode, else for the first 1,000
 * operations of the process.
 *
 * Outside tasks, awaiting an operation makes a task of the running loop for it.
 *
 * @example A custom operation, for both styles
 * ```ts
 * import { Operation, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const slowly = (value: number) =>
 *   new Operation(function* () {
 *     yield* sleep(5);
 *     return value;
 *   });
 * const options = { host: "virtual" } as const;
 * assertEquals(await run(async () => await slowly(1), options), 1);
 * assertEquals(await run(function* () {
 *   return yield* slowly(2);
 * }, options), 2);
 * ```
 *
 * @typeParam T Type of the result.
 */
export class Operation<T>
  implements PromiseLike<T>, Iterable<Suspension, T, unknown> {
  declare private readonly body:
    | (() => Iterator<Suspension, T, unknown>)
    | undefined;
  /** The name, the signal, and what a cancellation does that is due. */
  declare protected readonly options: OperationOptions;
  /** Record to report if the operation is never awaited; null if there is none. */
  declare private record: UnstartedRecord | typeof STARTED | null;

  /**
   * Makes an operation. Nothing runs yet.
   *
   * @param body A generator function: what waiting for the operation does. A
   * subclass may leave it out and override {@linkcode begin}.
   * @param options A name for messages, and a signal that ends the wait.
   * @throws {TypeError} If `body` is not a function or `signal` not an `AbortSignal`.
   */
  constructor(
    body: (() => Iterator<Suspension, T, unknown>) | undefined,
    options: OperationOptions = {},
  ) {
    // Classes that override begin() have no body, and need no field for it.
    if (body !== undefined) this.body = body;
    this.options = options;
    this.record = null;
    // Rare cases are elsewhere, so that V8 inlines this constructor.
    if (options !== TRUSTED) this.check();
    if (tracking.wanted) this.track();
  }

  /** Checks the arguments of the constructor. */
  private check(): void {
    const { body, options } = this;
    if (
      typeof body !== "function" && this.begin === Operation.prototype.begin
    ) {
      checkFunction(body, "make an operation", "body");
    }
    if (typeof options !== "object" || options === null) {
      checkOptions(options, "make an operation");
    }
    if (options.signal !== undefined) {
      checkSignal(options.signal, "make an operation");
    }
    if (options.name !== undefined && typeof options.name !== "string") {
      checkString(options.name, "make an operation", "name");
    }
  }

  /** Has the operation reported if it is never awaited. */
  private track(): void {
    this.record = track(this, this.label);
  }

  /** Name in messages. */
  private get label(): string {
    return this.options.name ?? "an operation";
  }

  /**
   * Makes the iterator that does the waiting. Called once, by the first wait.
   *
   * @returns The iterator that `yield*` steps.
   */
  protected begin(): Iterator<Suspension, T, unknown> {
    return this.body!();
  }

  /**
   * Marks the operation as started; throws at every wait but the first.
   *
   * @throws {MisuseError} If it was started before.
   */
  protected start(): void {
    const record = this.record;
    if (record === STARTED) {
      throw new MisuseError(
        `Cannot wait for ${this.label} a second time: an operation starts once, make a new one`,
      );
    }
    this.record = STARTED;
    if (record !== null) record.started();
  }

  /** Marks the operation as taken by code that will wait for it later, so that it is not reported. */
  private claim(): void {
    if (this.record === STARTED || this.record === null) return;
    this.record.started();
    this.record = null;
  }

  /**
   * Called when the task of the operation was cancelled before its first step,
   * and with it the only wait.
   *
   * @ignore
   */
  [drop](): void {
    this.claim();
    this.record = STARTED;
    this.refused();
  }

  /**
   * Called when the operation is not begun after all: its task is cancelled, or
   * its signal has aborted. An operation that was given a resource takes care
   * of it here.
   *
   * @ignore
   */
  refused(): void {}

  /**
   * Starts the operation in a generator coroutine: `yield* operation` calls this.
   *
   * @returns An iterator for `yield*` only.
   * @throws {MisuseError} If the operation was started before.
   */
  [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    this.start();
    if (levels.open > 0 && !this.entersCancelled) {
      refuseIfLevelCancelled(this);
    }
    return this.iterate();
  }

  /**
   * Whether it starts although a cancellation is due.
   *
   * @ignore
   */
  get entersCancelled(): boolean {
    return this.options.whenCancelled === "enter";
  }

  /**
   * Whether it has to run, also in a task that is cancelled before it begins.
   *
   * @ignore
   */
  get ownsResource(): boolean {
    return false;
  }

  /**
   * Makes the iterator that does the waiting, on behalf of the signal.
   *
   * @ignore
   */
  beginGuarded(): Iterator<Suspension, T, unknown> {
    return this.begin();
  }

  /**
   * The iterator of an operation that was just started.
   *
   * @ignore
   */
  iterate(): Iterator<Suspension, T, unknown> {
    const { signal } = this.options;
    return signal === undefined ? this.begin() : new Guarded(signal, this);
  }

  /**
   * Starts the operation in an async function: `await operation` calls this.
   *
   * @param onFulfilled Called with the result.
   * @param onRejected Called with the error.
   * @returns A promise for the value that the callback returns, made on demand.
   * @throws {MisuseError} If the operation was started before, or outside any
   * task no loop is running.
   */
  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const strand = findStrand();
    if (strand === null) {
      const implicit = getRunningLoop().createTask<T>(this, {
        name: `await ${this.label}`,
      });
      return implicit.then(onFulfilled, onRejected);
    }
    const madeAt = this.madeAt();
    this.start();
    const wait = this.waitIn(strand, onFulfilled ?? null, onRejected ?? null);
    if (madeAt !== null) strand.runner?.kernel.debug.keepStack(wait, madeAt);
    return wait;
  }

  /**
   * Where it was made, in debug mode, until it has started.
   *
   * @ignore
   */
  protected madeAt(): CreationStack | null {
    const { record } = this;
    return record === null || record === STARTED ? null : record.stack;
  }

  /** Lets an async function wait for the operation, which was just started. */
  protected waitIn<A, B>(
    strand: Strand,
    onFulfilled: ((value: T) => A | PromiseLike<A>) | null,
    onRejected: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const wait = new OperationWait<T, A, B>(
      strand,
      this.label,
      onFulfilled,
      onRejected,
    );
    wait.start(this);
    return wait;
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"Operation"`.
   */
  get [Symbol.toStringTag](): string {
    return "Operation";
  }
}

// No private method: it would cost each operation a brand.
function refuseIfLevelCancelled(operation: Operation<unknown>): void {
  const level = levelOf(current.stepper);
  if (level === null) return;
  operation.refused();
  throw level.reason;
}

/**
 * Marks `value` as taken by code that will wait for it later. An operation is
 * then not reported any more, even if the wait never begins.
 */
export function claim(value: unknown): void {
  if (value instanceof Operation) value["claim"]();
}

/** The options of `sleep(0)`, known to be right. */
export const TRUSTED: OperationOptions = { name: "sleep(0)" };

loaded.operations = true;
