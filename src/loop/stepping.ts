/**
 * What the two things that step a generator have in common: a task, and an
 * async function that waits for an operation.
 *
 * @module
 */
import { CancelledError, MisuseError } from "../errors.ts";
import { inspect } from "./checks.ts";
import type { Block } from "./block.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Future, Suspension } from "./future.ts";
import type { Runnable } from "./handle.ts";

/** Go on with the result of what was waited for. */
export const NOT_INTERRUPTED = 0;
/** Throw a cancellation for `interruptReason`, unless what was waited for brings its own. */
export const CANCEL = 1;
/** Throw `interruptReason` itself. */
export const THROW = 2;

/** Something that steps a generator and can be interrupted in its wait. */
export interface Stepper extends Runnable {
  readonly loop: EventLoop;
  /** What the generator waits for; still there when its turn has come. */
  waitingOn: Future<unknown> | null;
  interruption: number;
  interruptReason: unknown;
  /** The innermost open block around the generator's place; null if none is open. */
  block: Block | null;
}

/** The error of a cancellation that arrives at a wait for `awaited`. */
export function cancellationFor(
  awaited: Future<unknown> | null,
  reason: unknown,
): unknown {
  // A cancellation that is there already goes first, with its own reason. Any
  // other failure of what was awaited stays unseen, for somebody else to look at.
  if (awaited !== null && awaited.done()) {
    if (awaited.cancelled()) return awaited["takeCancellation"]();
    if (awaited["value"] instanceof CancelledError) return awaited.exception();
  }
  return reason instanceof CancelledError ? reason : new CancelledError(reason);
}

/** What to throw at an interrupted stepper, which is then no longer interrupted. */
export function takeInterruption(stepper: Stepper): unknown {
  const { interruption, interruptReason } = stepper;
  stepper.interruption = NOT_INTERRUPTED;
  if (interruption === THROW) {
    stepper.interruptReason = undefined;
    return interruptReason;
  }
  // The reason stays: gather() may ask for it when the task has ended.
  return cancellationFor(stepper.waitingOn, interruptReason);
}

/** Cancels the wait of a stepper, or else marks it, so that its next step throws. */
export function interrupt(stepper: Stepper, reason: unknown): void {
  const awaited = stepper.waitingOn;
  if (awaited !== null) {
    if (awaited.cancel(reason)) return;
    if (awaited["isHandingOn"]()) {
      // The last in a ring of tasks that wait for each other: nobody wakes it.
      awaited["removeWaiter"](stepper);
      stepper.waitingOn = null;
      stepper.loop["schedule"](stepper);
    }
  }
  stepper.interruption = CANCEL;
  stepper.interruptReason = reason;
}

/** Takes an interruption back that has not been thrown yet. */
export function rescind(stepper: Stepper): void {
  if (stepper.interruption === CANCEL) stepper.interruption = NOT_INTERRUPTED;
}

/** What the generator yielded decides when it is stepped next. */
export function suspend(
  stepper: Stepper,
  target: Suspension,
  lastYielded: { future: Future<unknown> | null },
): void {
  if (target === undefined) {
    stepper.loop["schedule"](stepper);
    return;
  }
  // A future of this loop, yielded by its own iterator, that is not the stepper itself.
  if (
    lastYielded.future === target && target as unknown !== null &&
    target.loop === stepper.loop &&
    target !== stepper as unknown
  ) {
    lastYielded.future = null;
    stepper.waitingOn = target;
    target["addWaiter"](stepper);
    if (
      stepper.interruption === CANCEL && target.cancel(stepper.interruptReason)
    ) stepper.interruption = NOT_INTERRUPTED;
    return;
  }
  // A cancellation that is under way is worth more than the complaint.
  if (stepper.interruption === NOT_INTERRUPTED) {
    stepper.interruption = THROW;
    stepper.interruptReason = complaint(stepper, target, lastYielded.future);
  }
  lastYielded.future = null;
  stepper.loop["schedule"](stepper);
}

/** What is wrong with a value that a generator yielded. */
function complaint(
  stepper: Stepper,
  target: unknown,
  future: Future<unknown> | null,
): Error {
  if (target === stepper) {
    return new MisuseError("Cannot wait for a task in itself");
  }
  if (future !== null && future === target) {
    return new MisuseError(
      `Cannot wait for ${
        future["describe"]()
      }: it belongs to another event loop`,
    );
  }
  return new MisuseError(
    `Cannot wait for ${
      inspect(target)
    }: use "yield*" with an operation, future or task, ` +
      `and "yield* until(promise)" with a promise`,
  );
}
