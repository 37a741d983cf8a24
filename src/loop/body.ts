/**
 * Functions that the loop calls for a task: bodies of blocks, and the functions
 * passed to `until`, `each` and `scoped`.
 *
 * @module
 */
import { explain } from "./waiters.ts";
import { runOwned } from "../host/async_context.ts";
import {
  type CancelRequest,
  endedByCancellation,
  type Holder,
  isCancellation,
  markThrown,
  passOn,
  type RequestsGo,
} from "./cancellation.ts";
import { isGeneratorFunction, isSteppable, isThenable } from "./checks.ts";
import { current } from "./current.ts";
import { Future, type Suspension } from "./future.ts";
import { Call, findStrand, InnerStrand } from "./strand.ts";
import type { Coroutine } from "./task_body.ts";
import type { Task } from "./task.ts";
import type { WaitFacts } from "./waits.ts";

/**
 * Calls `body` in a strand of the current task, and returns an iterable to
 * `yield*` for its outcome. An async function is waited for to its very end: a
 * cancellation goes to the operation for which it waits, and does not end the
 * wait for the function.
 *
 * @param strand Strand in which it runs; null for a new one.
 */
export function runBody<A, T>(
  strand: InnerStrand | null,
  body: (argument: A) => Coroutine<T> | PromiseLike<T> | T,
  argument: A,
): Iterable<Suspension, T, unknown> {
  // A generator runs as the stepper that goes through it, and needs no strand.
  if (isGeneratorFunction(body)) return body(argument) as Coroutine<T>;
  const stepper = current.stepper!;
  const inside = strand ?? newCall(current.task!);
  const ends = strand === null;
  let product: Coroutine<T> | PromiseLike<T> | T;
  let isPromise: boolean;
  try {
    product = runOwned(inside, body, argument);
    isPromise = isThenable(product) && !isWaitable(product);
  } catch (error) {
    if (ends) inside.close();
    throw error;
  }
  if (isPromise) {
    // A request that is due already is thrown by the first operation of the
    // body.
    passOn(stepper, inside);
    const promise = product as PromiseLike<T>;
    return new StrandFuture<T>(inside, promise, BODY_LABEL, ends);
  }
  if (ends) inside.close();
  // Operations, futures and generators are awaited directly.
  return isWaitable(product)
    ? product as Iterable<Suspension, T, unknown>
    : new Finished(product as T);
}

const BODY_LABEL = "an async function inside a block";

/** A strand inside the innermost one of a task's running code. */
function newCall(task: Task<unknown>): Call {
  const strand = findStrand();
  return new Call(
    task,
    strand instanceof InnerStrand ? strand : task.rootBlock(),
  );
}

/**
 * Calls an async function for the current task, in a strand of its own.
 *
 * @param what Name of the function in messages.
 * @param onLost Called with a failure that comes after the wait has ended.
 * @param isCleanUp Whether the cancellation of a scope does not end the wait.
 * @returns The wait for the function, to be awaited at once.
 * @throws Any error that `fn` throws.
 */
export function callInTask<T>(
  fn: () => PromiseLike<T> | T,
  what: string,
  onLost: (error: unknown) => void,
  isCleanUp: boolean = false,
): CallFuture<T> {
  const stepper = current.stepper!;
  const call = newCall(current.task!);
  let product: PromiseLike<T> | T;
  try {
    product = runOwned(call, fn);
  } catch (error) {
    call.close();
    throw error;
  }
  passOn(stepper, call);
  return new CallFuture<T>(call, product, what, onLost, isCleanUp);
}

/** Whether `value` is meant to be awaited with `yield*`. */
function isWaitable(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    typeof (value as Coroutine<unknown>)[Symbol.iterator] === "function" &&
    (isSteppable(value) || isThenable(value));
}

/** The result of a body that returned a plain value. */
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

/**
 * The outcome of an async function that runs as a strand of a task.
 *
 * A request does not end this wait: the strand throws it, or holds it until its
 * next operation. Requests that it has not thrown at its end pass to the
 * stepper that waits here.
 */
export class StrandFuture<T> extends Future<T> {
  readonly #strand: InnerStrand;
  readonly #stepper: Holder;
  /** Whether to close the strand at the end, as it was made for this function only. */
  readonly #ends: boolean;

  constructor(
    strand: InnerStrand,
    promise: PromiseLike<T>,
    label: string,
    ends = false,
  ) {
    super(strand.task.loop, label);
    this.#strand = strand;
    this.#stepper = current.stepper!;
    this.#ends = ends;
    strand.enter();
    const fulfilled = (value: T) => {
      this.#end(null);
      if (!this.done()) this.setResult(value);
    };
    const rejected = (error: unknown) => {
      this.#end(isCancellation(error) ? error : null);
      if (!this.done()) this.setException(error);
      else this.lost(error);
    };
    try {
      promise.then(fulfilled, rejected);
    } catch (error) {
      rejected(error); // nobody will call back
    }
  }

  /** Called when the function fails after the wait for it has ended. */
  protected lost(_error: unknown): void {}

  /** The function has ended, by `cancellation` if that is not null. */
  #end(cancellation: unknown): void {
    const strand = this.#strand;
    if (strand.task.done()) return;
    strand.exit();
    strand.task.calmDown();
    const waiter = this.done() ? null : this.#stepper;
    if (cancellation !== null) {
      endedByCancellation(strand, cancellation, waiter);
    } else if (waiter !== null) passOn(strand, waiter);
    if (this.#ends) strand.close();
  }

  /** The strand that runs. */
  protected get strand(): InnerStrand {
    return this.#strand;
  }

  /** Facts about the wait for the function, whose own waits tell more. */
  override [explain](): WaitFacts {
    return { kind: "promise", target: null, behind: [], isInside: true };
  }

  override requestsGo(_request: CancelRequest): RequestsGo {
    return "inside";
  }

  override cancel(_reason?: unknown): boolean {
    return !this.done();
  }
}

/** Turns that a called function has to get from one operation of the loop to the next. */
const TURNS_TO_WAIT_AGAIN = 2;

/**
 * The outcome of an async function that was called for a task, such as
 * `iterator.next()`. A request is thrown into the operation for which it waits.
 * If the function waits in no operation, and is in none two turns later either,
 * the wait for it ends and the function goes on alone.
 */
export class CallFuture<T> extends StrandFuture<T> {
  #givenUp = false;
  readonly #onLost: (error: unknown) => void;
  /** Whether the wait goes on in a cancelled scope, although every operation inside throws there. */
  readonly #isCleanUp: boolean;

  constructor(
    call: Call,
    product: PromiseLike<T> | T,
    label: string,
    onLost: (error: unknown) => void,
    isCleanUp: boolean,
  ) {
    super(
      call,
      isThenable(product) ? product : Promise.resolve(product),
      label,
      true,
    );
    this.#onLost = onLost;
    this.#isCleanUp = isCleanUp;
  }

  /** Whether the wait ended while the function went on. */
  get givenUp(): boolean {
    return this.#givenUp;
  }

  protected override lost(error: unknown): void {
    this.#onLost(error);
  }

  override requestsGo(_request: CancelRequest): RequestsGo {
    return this.#givenUp ? "here" : "inside";
  }

  override askToEnd(request: CancelRequest): void {
    if (this.#isCleanUp && request.isLevel) return;
    if (!this.strand.isOutside()) return;
    let turnsLeft = TURNS_TO_WAIT_AGAIN;
    const run = () => {
      if (this.done() || !this.strand.isOutside()) return;
      if (--turnsLeft > 0) this.kernel.schedule({ run });
      else if (request.state !== "taken back") {
        markThrown(request);
        this.giveUp(request.reason);
      }
    };
    this.kernel.schedule({ run });
    this.kernel.promiseResumed = true;
  }

  /**
   * Ends the wait, while the function runs on. Its next operation throws as
   * well, unless the request is of a scope that was left since.
   */
  giveUp(reason?: unknown): boolean {
    if (this.done()) return false;
    this.#givenUp = true;
    return Future.prototype.cancel.call(this, reason);
  }
}
