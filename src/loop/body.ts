/**
 * The functions that the loop calls for a task: bodies of blocks, and what
 * `until`, `each` and `scoped` are given.
 *
 * @module
 */
import { runOwned } from "../host/async_context.ts";
import {
  type CancelRequest,
  endedByCancellation,
  type Holder,
  isCancellation,
  passOn,
  type RequestsGo,
} from "./cancellation.ts";
import { isGeneratorFunction, isSteppable, isThenable } from "./checks.ts";
import { current } from "./current.ts";
import { Future, type Suspension } from "./future.ts";
import { Call, findStrand, InnerStrand } from "./strand.ts";
import type { Coroutine } from "./task_body.ts";
import type { Task } from "./task.ts";

/**
 * Calls `body` in a strand of the current task; the result is what to `yield*`
 * for its outcome. An async function is waited for to its very end: a
 * cancellation goes to what it waits for, not to the wait for it.
 *
 * @param strand Where it runs; null for a strand of its own.
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
    // A request that is due by now is for the first operation of the body.
    passOn(stepper, inside);
    const promise = product as PromiseLike<T>;
    return new StrandFuture<T>(inside, promise, BODY_LABEL, ends);
  }
  if (ends) inside.close();
  // An operation, a future or a generator is waited for as what it is.
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
 * @param what What it is, in words, for messages.
 * @param onLost Told of a failure that comes when nobody waits any more.
 * @param isCleanUp Whether the cancellation of a scope leaves the wait for it alone.
 * @returns The wait for it; it has to be waited for at once.
 * @throws What `fn` throws.
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

/** Whether `value` can be gone through by `yield*`, and is meant to be. */
function isWaitable(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    typeof (value as Coroutine<unknown>)[Symbol.iterator] === "function" &&
    (isSteppable(value) || isThenable(value));
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

/**
 * The outcome of an async function that runs as a strand of a task.
 *
 * A request does not end the wait for it: the strand throws it, or holds it until
 * its next operation. What it has not thrown at its end passes on to the stepper
 * that waits here.
 */
export class StrandFuture<T> extends Future<T> {
  readonly #strand: InnerStrand;
  readonly #stepper: Holder;
  /** What to close at the end: a strand that was made for this function only. */
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

  /** It has failed when nobody waited for it any more. */
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

  override requestsGo(_request: CancelRequest): RequestsGo {
    return "inside";
  }

  override cancel(_reason?: unknown): boolean {
    return !this.done();
  }
}

/** How many turns a function that was called has to get from one wait in the loop to the next. */
const TURNS_TO_WAIT_AGAIN = 2;

/**
 * The outcome of an async function that was called for a task, such as
 * `iterator.next()`. A request goes to whatever it waits for in the loop. If it
 * waits for nothing of the loop, also after some turns, the wait for it ends.
 */
export class CallFuture<T> extends StrandFuture<T> {
  #givenUp = false;
  readonly #onLost: (error: unknown) => void;
  /** Whether a cancelled scope, in which every wait throws, does not end the wait for it. */
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

  /** Whether the wait was given up while the function went on. */
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
        if (!request.isLevel) request.state = "thrown";
        this.giveUp(request.reason);
      }
    };
    this.kernel.schedule({ run });
    this.kernel.promiseResumed = true;
  }

  /** Ends the wait, whatever the function does: its next operation throws as well. */
  giveUp(reason?: unknown): boolean {
    if (this.done()) return false;
    this.#givenUp = true;
    return Future.prototype.cancel.call(this, reason);
  }
}
