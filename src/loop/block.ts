/**
 * Blocks of a task, which are cancelled as a whole, and the async functions that
 * are their bodies.
 *
 * @module
 */
import { CancelledError } from "../errors.ts";
import { runOwned } from "../host/async_context.ts";
import { checkFunction, checkOneOf, isGeneratorFunction } from "./checks.ts";
import { current, findPlace } from "./current.ts";
import { Future, type Suspension } from "./future.ts";
import type { Stepper } from "./waiting.ts";
import type { Coroutine, Task } from "./task.ts";

/** How to open a {@linkcode Block}. */
export interface BlockOptions {
  /**
   * What {@linkcode Block.cancel} does. `"once"` is asyncio's way: one error at
   * one wait, and a request that counts in {@linkcode Task.cancelling}.
   * `"level"` is trio's: no request, but every wait inside throws from then on
   * until the block is closed, except under a shielded block.
   *
   * @default {"once"}
   */
  readonly cancels?: "once" | "level" | undefined;
  /**
   * The first value of {@linkcode Block.shielded}.
   *
   * @default {false}
   */
  readonly shielded?: boolean | undefined;
}

/**
 * A part of a task that can be cancelled by itself: what a timeout, a task
 * group or a cancel scope opens around its body.
 *
 * Blocks nest, and branches of an async function that run side by side, as in
 * `Promise.all`, may have one each. Cancelling a block cancels what the task
 * waits for inside of it, and aborts the signals of this block and of those
 * inside. Each block must be closed by its opener, innermost first.
 */
export class Block {
  /** The task this block is a part of. */
  readonly task: Task<unknown>;
  /** The block around this one; `null` for that of the whole task. */
  readonly outer: Block | null;
  /** What {@linkcode cancel} does. */
  readonly cancels: "once" | "level";
  /**
   * When the block is going to be cancelled, on the clock of the loop: for those
   * who ask how much time is left. The opener writes it.
   */
  deadlineMs: number = Infinity;
  /** What steps the generator that opened this block, and closes it. */
  private readonly opener: Stepper;
  private closed = false;
  /** The outstanding requests that this block has made. */
  private requests = 0;
  /** The open blocks right inside. */
  private inner: Set<Block> | null = null;
  /** A cancellation that an async function inside gets at its next wait. */
  private pending: { readonly reason: unknown } | null = null;
  private shield: boolean;
  private levelError: CancelledError | null = null;
  private controller: AbortController | null = null;
  private aborted = false;
  private reason: unknown = undefined;

  /**
   * Made by {@linkcode Task.openBlock}.
   *
   * @ignore
   */
  constructor(
    task: Task<unknown>,
    outer: Block | null,
    opener: Stepper,
    options: BlockOptions,
  ) {
    this.task = task;
    this.outer = outer;
    this.opener = opener;
    this.cancels = options.cancels ?? "once";
    this.shield = options.shielded === true;
  }

  /**
   * Whether level cancellations of blocks around this one are kept out. They
   * apply again once it is closed, or this is set to false.
   *
   * @throws {TypeError} If it is set to something else than a boolean.
   */
  get shielded(): boolean {
    return this.shield;
  }

  set shielded(shielded: boolean) {
    if (shielded === this.shield) return;
    checkOneOf(shielded, [true, false], "shield a block", "shielded");
    this.shield = shielded;
    if (!shielded) this.task["levelChanged"](this);
  }

  /**
   * A signal that aborts when this block, or one around it, is cancelled. Made
   * on first use. The reason is a {@linkcode CancelledError}.
   */
  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.aborted) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  /**
   * Cancels the task for the sake of this block, in the way chosen when it was
   * opened. With `"once"`, whoever calls it calls {@linkcode uncancel} when the
   * cancellation has reached the end of the block. Once that is closed, nothing
   * happens.
   *
   * @param reason What to say about the cause.
   * @returns Whether neither the block nor the task had ended.
   */
  cancel(reason?: unknown): boolean {
    if (this.closed) return false;
    if (this.cancels === "level") return this.task["cancelLevel"](this, reason);
    return this.task["cancelFrom"](this, reason);
  }

  /**
   * Takes back one request of {@linkcode cancel}, as {@linkcode Task.uncancel}
   * does.
   *
   * @returns How many requests remain that concern this block.
   */
  uncancel(): number {
    if (this.requests > 0) this.requests--;
    this.task.uncancel();
    return this.task["afterUncancel"](this);
  }

  /**
   * Tells how many requests for cancellation of the task are outstanding, less
   * those of blocks beside this one in an async function.
   *
   * @returns What {@linkcode Task.cancelling} tells, where there are none.
   */
  cancelling(): number {
    return this.task["requestsAt"](this);
  }

  /**
   * What every wait inside throws, for a block that was cancelled with
   * `"level"`: one and the same error, so that the opener knows it again.
   */
  get cancellation(): CancelledError | null {
    return this.levelError;
  }

  /**
   * Calls `body` as the inside of this block, in its task.
   *
   * What an async function waits for then belongs to the task, as with
   * `until(() => body())`. But a cancellation does not end the wait for it: it is
   * thrown into whatever the function waits for, or else into its next wait, and
   * the block goes on when the function has ended.
   *
   * @typeParam A What the body is called with.
   * @typeParam T What the body gives.
   * @param body A generator function, an async function or a plain one.
   * @param argument What to call it with.
   * @returns What to `yield*` for the result. Do it at once.
   * @throws {TypeError} If `body` is not a function.
   */
  run<A, T>(
    body: (argument: A) => Coroutine<T> | PromiseLike<T> | T,
    argument: A,
  ): Iterable<Suspension, T, unknown> {
    if (typeof body !== "function") checkFunction(body, "run a block", "body");
    return runBody(this.task, body, argument, this);
  }

  /** Ends the block. The block around it becomes the innermost again. */
  close(): void {
    this.task["closeBlock"](this);
  }

  /** Whether this is `block`, or inside of it. */
  private isIn(block: Block): boolean {
    if (this === block) return true;
    for (let at = this.outer; at !== null; at = at.outer) {
      if (at === block) return true;
    }
    return false;
  }

  /** Calls `visit` for this block and those inside; not for those inside one for which it is false. */
  private visit(visit: (block: Block) => boolean): void {
    if (!visit(this) || this.inner === null) return;
    for (const block of [...this.inner]) block.visit(visit);
  }

  /** Aborts the signal, with a cancellation. */
  private abort(error: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = error;
    this.controller?.abort(error);
  }

  /** The cancellation was dealt with: what starts from now on gets a fresh signal. */
  private renew(): void {
    if (!this.aborted) return;
    this.aborted = false;
    this.reason = undefined;
    this.controller = null;
  }
}

/** Whether `error` is what a block around `block` cancels all waits inside with. */
export function isFromOutside(error: unknown, block: Block): boolean {
  for (let outer = block.outer; outer !== null; outer = outer.outer) {
    if (outer.cancellation === error) return true;
  }
  return false;
}

/**
 * Calls `body` in the current task: the result is what to `yield*` for what it
 * gives. An async function then belongs to the task, and is waited for to its
 * very end: a cancellation goes to what it waits for, not to the wait for it.
 */
export function runBody<A, T>(
  task: Task<unknown>,
  body: (argument: A) => Coroutine<T> | PromiseLike<T> | T,
  argument: A,
  place: Block | null = findPlace(task),
): Iterable<Suspension, T, unknown> {
  const product = isGeneratorFunction(body)
    ? body(argument)
    : runOwned(place ?? task, () => body(argument));
  if (typeof product !== "object" || product === null) {
    return new Finished(product as T);
  }
  // An operation or future is both, and is waited for as what it is.
  if (typeof (product as Coroutine<T>)[Symbol.iterator] === "function") {
    const isWaited = typeof (product as Coroutine<T>).throw === "function" ||
      typeof (product as PromiseLike<T>).then === "function";
    if (isWaited) return product as Iterable<Suspension, T, unknown>;
  }
  return typeof (product as PromiseLike<T>).then === "function"
    ? new BodyFuture<T>(task, place, product as PromiseLike<T>)
    : new Finished(product as T);
}

/** A body that was over at once. */
class Finished<T> implements Iterable<Suspension, T, unknown> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    return {
      next: () => ({ done: true, value: this.#value }),
      throw: (error) => {
        throw error;
      },
    };
  }
}

/** What an async function inside a task produces. Whoever wants it to end cancels what it waits for. */
export class BodyFuture<T> extends Future<T> {
  readonly #task: Task<unknown>;
  /** The block that the function is in. */
  readonly #place: Block | null;
  /** Whether the wait for this is one of an async function itself. */
  readonly #nested: boolean;

  constructor(
    task: Task<unknown>,
    place: Block | null,
    promise: PromiseLike<T>,
  ) {
    super(task.loop, "an async function inside a block");
    this.#task = task;
    this.#place = place;
    this.#nested = current.stepper !== task as unknown;
    task["bodyBegan"](this.#nested);
    promise.then(
      (value) => {
        if (this.#ended(false)) this.setResult(value);
      },
      (error) => {
        const cancelled = error instanceof CancelledError;
        if (this.#ended(cancelled)) this.setException(error);
      },
    );
  }

  #ended(cancelled: boolean): boolean {
    this.#task["bodyEnded"](this.#place, this.#nested, cancelled);
    return !this.done();
  }

  override *[Symbol.iterator](): Generator<Suspension, T, unknown> {
    try {
      return yield* { [Symbol.iterator]: () => super[Symbol.iterator]() };
    } catch (error) {
      if (!this.done() || this.failed()) throw error;
      // It had ended already: a cancellation is for what comes next.
      this.#task["pendAt"](this.#place, error);
      return this.result();
    } finally {
      this.#task["bodyLeft"](this.#place);
    }
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    this.#task["cancelBody"](this.#place, reason);
    return true;
  }
}
