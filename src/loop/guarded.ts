/**
 * The `signal` of an operation: ends its wait when it aborts.
 *
 * @module
 */
import { holdError, isCancellation } from "./cancellation.ts";
import { current } from "./current.ts";
import type { Suspension } from "./future.ts";
import { listen, SignalListener } from "./signal_hub.ts";
import { quit, quits, type Stepper } from "./stepping.ts";

/** The operation, as its signal sees it. */
interface Beginnable<T> {
  /** Makes the iterator that does the waiting. */
  beginGuarded(): Iterator<Suspension, T, unknown>;
  /** Called when the operation is not begun after all. */
  refused(): void;
}

/**
 * Steps an iterator, and throws the signal's reason at its current wait when
 * the signal aborts. An iterator by hand: each generator that an error goes
 * through takes a microsecond, and one signal may end very many waits.
 */
export class Guarded<T> extends SignalListener
  implements Iterator<Suspension, T, unknown> {
  declare private readonly signal: AbortSignal;
  declare private readonly operation: Beginnable<T>;
  declare private iterator: Iterator<Suspension, T, unknown> | null;
  declare private stepper: Stepper | null;
  /** Future or turn for which it waits, while it waits. */
  declare private target: Suspension;
  declare private waiting: boolean;
  declare private isAborted: boolean;
  /** The signal ends one wait: clean-up may wait again. */
  declare private delivered: boolean;

  constructor(
    signal: AbortSignal,
    operation: Beginnable<T>,
  ) {
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
    if (this.signal.aborted) {
      this.operation.refused();
      throw this.signal.reason;
    }
    this.stepper = current.stepper;
    listen(this.signal, this);
    try {
      this.iterator = this.operation.beginGuarded();
      return this.suspend(this.iterator.next());
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  protected override aborted(signal: AbortSignal): void {
    this.isAborted = true;
    // An outcome that is there already is delivered; the signal then ends the
    // next wait.
    if (this.waiting && this.target?.done() !== true) {
      throwInto(this.stepper!, this.target, signal.reason);
    }
  }

  throw(error: unknown): IteratorResult<Suspension, T> {
    if (this.iterator === null || this[quit]()) throw error;
    this.waiting = false;
    // A cancellation in the same turn stands for both.
    this.delivered ||= this.isAborted &&
      (isCancellation(error) || error === this.signal.reason);
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

  [quit](): boolean {
    if (this.iterator === null || !quits(this.iterator)) return false;
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

/** Takes `stepper` out of its wait and throws `error` at it in the next turn. */
function throwInto(stepper: Stepper, target: Suspension, error: unknown): void {
  if (stepper.due !== null) return; // a cancellation is on its way
  holdError(stepper, error);
  if (target === undefined) return; // it is in the ready queue already
  target.removeWaiter(stepper);
  stepper.waitingOn = null;
  stepper.kernel.schedule(stepper);
}
