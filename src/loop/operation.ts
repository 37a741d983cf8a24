import { CancelledError, MisuseError } from "../errors.ts";
import { type Block, BodyFuture } from "./block.ts";
import { core } from "./core.ts";
import {
  checkFunction,
  checkOptions,
  checkSignal,
  checkString,
  checkWaitOptions,
} from "./checks.ts";
import { current, findTask, getRunningLoop } from "./current.ts";
import { type Future, lastYielded, type Suspension } from "./future.ts";
import {
  track,
  tracking,
  type UnstartedRecord,
} from "./unstarted_operations.ts";
import {
  CANCEL,
  interrupt,
  NOT_INTERRUPTED,
  Outcome,
  rescind,
  type Stepper,
  suspend,
  takeInterruption,
  THROW,
  Wait,
} from "./waiting.ts";
import { listen, SignalListener } from "./signal_hub.ts";
import type { Coroutine, Task } from "./task.ts";

const STARTED = Symbol("started");

/** What every wait takes as its last argument. */
export interface WaitOptions {
  /** Ends the wait when it aborts, by throwing the signal's reason at the waiter. */
  readonly signal?: AbortSignal | undefined;
}

/** How to make an {@linkcode Operation}. */
export interface OperationOptions extends WaitOptions {
  /** What to call it in messages, such as `"Queue.get()"`. */
  readonly name?: string | undefined;
  /**
   * What a cancellation does that came before an async function awaits this.
   * `"refuse"`: it is thrown, and the operation does not start. `"enter"`: it is
   * thrown at the first wait inside, which is for blocks that may be a shield.
   *
   * @default {"refuse"}
   */
  readonly whenCancelled?: "refuse" | "enter" | undefined;
}

/**
 * Something to wait for that starts when it is waited for, and once.
 *
 * It is what a coroutine object is in asyncio: `sleep(10)` or `queue.get()` do
 * nothing by themselves. Wait with `yield*` in a generator coroutine, with
 * `await` in an async function. A second wait throws. An operation that nobody
 * ever waits for is a mistake and is reported to the loop's exception handler
 * when it is collected or the loop closes: always in debug mode, else for the
 * first 1,000 operations of the process.
 *
 * Awaited outside any task, it runs under a task of the running loop that is
 * made for it.
 *
 * @example An operation of one's own, for both styles
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
 * @typeParam T What waiting for it gives.
 */
export class Operation<T>
  implements PromiseLike<T>, Iterable<Suspension, T, unknown> {
  declare private readonly body:
    | (() => Iterator<Suspension, T, unknown>)
    | undefined;
  declare private readonly options: OperationOptions;
  /** What to report if nobody ever waits; null if nothing. */
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
    // What overrides begin() has no body, and need not carry a field for it.
    if (body !== undefined) this.body = body;
    this.options = options;
    this.record = null;
    // All that is rare is elsewhere, so that V8 inlines this into what it makes.
    if (options !== TRUSTED) this.check();
    if (tracking.wanted) this.track();
  }

  /** Checks what the constructor was given. */
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

  /** Has the operation reported if nobody ever waits for it. */
  private track(): void {
    this.record = track(this, this.label);
  }

  /** What to call the operation in messages. */
  private get label(): string {
    return this.options.name ?? "an operation";
  }

  /**
   * Makes the iterator that does the waiting. Called once, by the first who waits.
   *
   * @returns What `yield*` is to go through.
   */
  protected begin(): Iterator<Suspension, T, unknown> {
    return this.body!();
  }

  /**
   * Marks the operation as started; only the first who waits gets through.
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

  /** Somebody has taken it, to wait for it later: nobody has forgotten it. */
  private claim(): void {
    if (this.record === STARTED || this.record === null) return;
    this.record.started();
    this.record = null;
  }

  /**
   * Its task was cancelled before it began, and with it the only wait there is.
   *
   * @ignore
   */
  protected drop(): void {
    this.claim();
    this.record = STARTED;
  }

  /**
   * For operations that are their own iterator: ends the wait as `throw` would,
   * if all that does is to let go and throw the same error. False if it does more.
   *
   * @ignore
   */
  protected quit(): boolean {
    return false;
  }

  /**
   * Starts the operation in a generator coroutine: `yield* operation` calls this.
   *
   * @returns An iterator for `yield*` only.
   * @throws {MisuseError} If the operation was started before.
   */
  [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    this.start();
    return this.iterate();
  }

  /** The iterator of an operation that was just started. */
  private iterate(): Iterator<Suspension, T, unknown> {
    const { signal } = this.options;
    return signal === undefined ? this.begin() : new Guarded(signal, this);
  }

  /**
   * Starts the operation in an async function: `await operation` calls this.
   *
   * @param onFulfilled What to call with the result.
   * @param onRejected What to call with the error.
   * @returns What the callback returned, as a promise that is made when
   * somebody asks for it.
   * @throws {MisuseError} If the operation was started before, or outside any
   * task no loop is running.
   */
  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const task = findTask();
    if (task === null) {
      const implicit = getRunningLoop().createTask<T>(this, {
        name: `await ${this.label}`,
      });
      return implicit.then(onFulfilled, onRejected);
    }
    this.start();
    return this.waitIn(task, onFulfilled ?? null, onRejected ?? null);
  }

  /** Lets an async function of `task` wait for the operation, which was just started. */
  private waitIn<A, B>(
    task: Task<unknown>,
    onFulfilled: ((value: T) => A | PromiseLike<A>) | null,
    onRejected: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const wait = new OperationWait<T, A, B>(
      task,
      this.label,
      onFulfilled,
      onRejected,
    );
    wait.start(this);
    return wait;
  }

  /**
   * Names the class in messages and inspections.
   *
   * @returns `"Operation"`.
   */
  get [Symbol.toStringTag](): string {
    return "Operation";
  }
}

/**
 * Says that somebody has taken `value`, to wait for it later. If it is an
 * operation, it is not reported any more, even if that one never gets so far.
 */
export function claim(value: unknown): void {
  if (value instanceof Operation) value["claim"]();
}

/**
 * Goes through an iterator, and throws the signal's reason at whatever wait it
 * is in when the signal aborts. An iterator by hand: each generator that an error
 * goes through takes a microsecond, and one signal may end very many waits.
 */
class Guarded<T> extends SignalListener
  implements Iterator<Suspension, T, unknown> {
  declare private readonly signal: AbortSignal;
  declare private readonly operation: Operation<T>;
  declare private iterator: Iterator<Suspension, T, unknown> | null;
  declare private stepper: Stepper | null;
  /** What it waits for, while it waits. */
  declare private target: Suspension;
  declare private waiting: boolean;
  declare private isAborted: boolean;
  /** The signal ends one wait: clean-up may wait again. */
  declare private delivered: boolean;

  constructor(signal: AbortSignal, operation: Operation<T>) {
    super();
    this.signal = signal;
    this.operation = operation;
    this.iterator = null;
    this.stepper = null;
    this.target = undefined;
    this.waiting = false;
    this.isAborted = false;
    this.delivered = false;
  }

  next(sent?: unknown): IteratorResult<Suspension, T> {
    if (this.iterator === null) return this.start();
    this.waiting = false;
    try {
      return this.suspend(this.iterator.next(sent));
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  private start(): IteratorResult<Suspension, T> {
    this.signal.throwIfAborted();
    this.stepper = current.stepper;
    listen(this.signal, this);
    try {
      this.iterator = this.operation["begin"]();
      return this.suspend(this.iterator.next());
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  protected override aborted(signal: AbortSignal): void {
    this.isAborted = true;
    // What is there already is delivered; the signal then ends the next wait.
    if (this.waiting && this.target?.done() !== true) {
      throwInto(this.stepper!, this.target, signal.reason);
    }
  }

  throw(error: unknown): IteratorResult<Suspension, T> {
    if (this.iterator === null || this.quit()) throw error;
    this.waiting = false;
    // A cancellation in the same turn stands for both.
    this.delivered ||= this.isAborted &&
      (error instanceof CancelledError || error === this.signal.reason);
    if (this.delivered) {
      this.leave();
      return this.iterator.throw!(error);
    }
    try {
      return this.suspend(this.iterator.throw!(error));
    } catch (thrown) {
      this.leave();
      throw thrown;
    }
  }

  /** Does the same as {@linkcode Operation.quit}. */
  quit(): boolean {
    if (this.iterator === null || !quit(this.iterator)) return false;
    this.leave();
    return true;
  }

  return(value: T): IteratorResult<Suspension, T> {
    this.leave();
    return this.iterator?.return?.(value) ?? { done: true, value };
  }

  /** Waits for what a step has come to, unless it is over, or has to be aborted. */
  private suspend(
    step: IteratorResult<Suspension, T>,
  ): IteratorResult<Suspension, T> {
    while (step.done !== true) {
      if (!this.isAborted || this.delivered) {
        this.target = step.value;
        this.waiting = true;
        return step;
      }
      this.delivered = true;
      step = this.iterator!.throw!(this.signal.reason);
    }
    this.leave();
    return step;
  }

  private leave(): void {
    this.unsubscribe();
    this.waiting = false;
  }
}

/** Ends the wait that an iterator is in without throwing, if its `throw` would throw what it is given. */
function quit(iterator: Iterator<Suspension, unknown, unknown>): boolean {
  return iterator instanceof Guarded
    ? iterator.quit()
    : iterator instanceof Operation && iterator["quit"]();
}

/** Takes `stepper` out of its wait and throws `error` at it in the next turn. */
function throwInto(stepper: Stepper, target: Suspension, error: unknown): void {
  if (stepper.interruption !== NOT_INTERRUPTED) return; // a cancellation is on its way
  stepper.interruption = THROW;
  stepper.interruptReason = error;
  if (target === undefined) return; // it is in the ready queue already
  target["removeWaiter"](stepper);
  stepper.waitingOn = null;
  stepper.loop[core].schedule(stepper);
}

/** An async function that waits for an operation: steps its generator for it. */
class OperationWait<T, A, B> extends Wait<T, A, B> implements Stepper {
  declare readonly loop: Stepper["loop"];
  waitingOn: Future<unknown> | null = null;
  interruption: number = NOT_INTERRUPTED;
  interruptReason: unknown = undefined;
  block: Block | null;
  readonly #label: string;
  /** What to begin with, until the first step. */
  #operation: Operation<T> | null = null;
  #iterator: Iterator<Suspension, T, unknown> | null = null;
  #abandoned = false;

  constructor(
    task: Task<unknown>,
    label: string,
    onFulfilled: ((value: T) => A | PromiseLike<A>) | null,
    onRejected: ((reason: unknown) => B | PromiseLike<B>) | null,
  ) {
    super(task.loop, task, onFulfilled, onRejected);
    this.block = this.place;
    this.#label = label;
  }

  /** Takes the first step at once, as awaiting a coroutine does in asyncio. */
  start(operation: Operation<T>): void {
    this.#operation = operation;
    const pending = operation["options"].whenCancelled === "enter"
      ? undefined
      : this.task!["takePendingCancellation"](this.place);
    if (pending !== undefined) this.interrupt(pending.reason);
    // A cancelled wait does not begin. And an async function that finds one
    // thing after the other ready has to let the loop have its turn.
    if (pending !== undefined || !this.loop[core].mayStartAtOnce()) {
      this.loop[core].schedule(this);
      return;
    }
    const { loop, task, stepper } = current;
    current.loop = this.loop;
    try {
      this.run();
    } finally {
      current.loop = loop;
      current.task = task;
      current.stepper = stepper;
    }
  }

  run(): void {
    current.task = this.task;
    current.stepper = this;
    const entered = this.#operation?.["options"].whenCancelled === "enter";
    let step!: IteratorResult<Suspension, T>;
    let failed = false;
    let error: unknown;
    try {
      const iterator = this.#iterator;
      if (iterator === null) step = this.#firstStep();
      else if (this.interruption === NOT_INTERRUPTED) {
        this.waitingOn = null;
        step = iterator.next();
      } else {
        error = takeInterruption(this);
        this.waitingOn = null;
        // To throw and catch it takes some 400 ns.
        failed = quit(iterator);
        if (!failed) step = iterator.throw!(error);
      }
    } catch (thrown) {
      failed = true;
      error = thrown;
    }
    if (failed) {
      current.task = null;
      this.#end(error);
      return;
    }
    current.task = null;
    if (step.done === true) {
      // Cancelled in its last step, too late to be thrown: the next wait throws.
      if (this.interruption === CANCEL) {
        this.task!["keepCancellation"](this.place, this.interruptReason);
      }
      if (!this.#abandoned) this.succeed(step.value);
      return;
    }
    suspend(this, step.value, lastYielded);
    if (entered && !(step.value instanceof BodyFuture)) {
      const pending = this.task!["takePendingCancellation"](this.block);
      if (pending !== undefined) interrupt(this, pending.reason);
      return;
    }
    const level = this.task!["levelCancellation"](this.block);
    if (level !== null) interrupt(this, level);
  }

  #firstStep(): IteratorResult<Suspension, T> {
    const operation = this.#operation!;
    this.#operation = null;
    if (this.interruption !== NOT_INTERRUPTED) {
      if (operation["options"].whenCancelled !== "enter") {
        throw takeInterruption(this);
      }
      this.interruption = NOT_INTERRUPTED;
      this.task!["pendAt"](this.place, this.interruptReason);
    }
    this.#iterator = operation["iterate"]();
    return this.#iterator.next();
  }

  #end(error: unknown): void {
    // After its task nobody listens any more, but a failed clean-up is not
    // swallowed: only the cancellation itself, when it comes back out, is.
    if (this.#abandoned || !this.hasListener()) {
      this.loop[core].failures.reportUnheard(this.#label, error);
    }
    if (!this.#abandoned) this.fail(error);
  }

  override innermost(): Block | null {
    return this.block;
  }

  interrupt(reason: unknown): void {
    interrupt(this, reason);
  }

  rescind(): void {
    rescind(this);
  }

  abandon(): void {
    this.#abandoned = true;
    interrupt(this, undefined);
  }

  describe(): string {
    return this.waitingOn === null ? this.#label : this.waitingOn["describe"]();
  }
}

/** The options of `sleep(0)`, known to be right. */
export const TRUSTED: OperationOptions = { name: "sleep(0)" };

/**
 * An operation that is often over at once: it tries, and only if that fails
 * runs a generator that waits. Locks and queues are built on it.
 *
 * What is over at once makes no iterator but itself, and `await` no wait, so that
 * the uncontended case costs little.
 *
 * @example A counter that one may only take from while it is above zero
 * ```ts
 * import { AttemptOperation, type Coroutine, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let count = 1;
 * class Take extends AttemptOperation<number> {
 *   protected attempt(): IteratorReturnResult<number> | undefined {
 *     return count > 0 ? { done: true, value: --count } : undefined;
 *   }
 *   protected *wait(): Coroutine<number> {
 *     while (count === 0) yield* sleep(1);
 *     return --count;
 *   }
 * }
 * const taken = await run(async () => {
 *   return await new Take({ name: "take" }, {});
 * });
 * assertEquals([taken, count], [0, 0]);
 * ```
 *
 * @typeParam T What waiting for it gives.
 */
export abstract class AttemptOperation<T> extends Operation<T> {
  private result: IteratorReturnResult<T> | null = null;

  /**
   * Makes an operation. Nothing is tried yet.
   *
   * @param named An object that has the name and nothing else, shared by all of a kind.
   * @param options What the caller gave.
   * @throws {TypeError} If `options` is not an object or `signal` not an `AbortSignal`.
   */
  constructor(named: OperationOptions, options: WaitOptions | undefined) {
    super(
      undefined,
      options === undefined ? named : withSignal(named, options),
    );
  }

  /**
   * Does it now if that is possible.
   *
   * @returns The result in the form an iterator gives it, or `undefined`.
   */
  protected abstract attempt(): IteratorReturnResult<T> | undefined;

  /**
   * Waits until it is possible, and does it.
   *
   * @returns A coroutine that gives the result.
   */
  protected abstract wait(): Coroutine<T>;

  /**
   * Tries, and gives what is to be gone through: the wait itself, so that this
   * object need not outlive the attempt, or this object if there is none.
   *
   * @returns An iterator, for `yield*` only.
   */
  protected override begin(): Iterator<Suspension, T, unknown> {
    const result = this.attempt();
    if (result === undefined) return this.wait();
    this.result = result;
    return this as unknown as Iterator<Suspension, T, unknown>;
  }

  /**
   * Starts the operation in an async function: `await operation` calls this.
   *
   * @param onFulfilled What to call with the result; at once, if it is over at once.
   * @param onRejected What to call with the error.
   * @returns What the callback returned.
   * @throws {MisuseError} If the operation was started before.
   */
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    const task = findTask();
    if (
      task === null || typeof onFulfilled !== "function" ||
      typeof onRejected !== "function" ||
      this["options"].signal !== undefined || task["isInterrupted"]() ||
      !task.loop[core].mayStartAtOnce()
    ) return super.then(onFulfilled, onRejected);
    this.start();
    let result: IteratorReturnResult<T> | undefined;
    try {
      result = this.attempt();
    } catch (error) {
      const outcome = new Outcome<A | B>();
      outcome.follow(task.loop, onRejected, error);
      return outcome;
    }
    if (result === undefined) {
      return this["waitIn"](task, onFulfilled, onRejected);
    }
    const outcome = new Outcome<A | B>();
    outcome.follow(task.loop, onFulfilled, result.value);
    return outcome;
  }

  /** Gives the result, as the iterator of a `yield*` expression. */
  private next(): IteratorResult<Suspension, T> {
    return this.result!;
  }
}

/** The options of the operation: those of its kind, with the signal of the caller. */
function withSignal(
  named: OperationOptions,
  options: WaitOptions,
): OperationOptions {
  const what = `wait for ${named?.name ?? "an operation"}`;
  const signal = checkWaitOptions(options, what);
  return signal === undefined ? named : { ...named, signal };
}
