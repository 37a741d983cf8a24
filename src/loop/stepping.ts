/**
 * Stepping: how a generator is resumed, and how its waits are suspended. Tasks
 * step their own generator; the waits of async functions step that of an
 * operation.
 *
 * @module
 */
import { inWords } from "./waiters.ts";
import { MisuseError } from "../errors.ts";
import type { Block } from "./block.ts";
import {
  type Holder,
  holdError,
  holdLevel,
  levels,
  suspended,
} from "./cancellation.ts";
import type { LoopCore } from "./core.ts";
import { inspect } from "./checks.ts";
import type { Future, Suspension } from "./future.ts";
import type { Runnable } from "./runnable.ts";
import type { Strand } from "./strand_tree.ts";

/**
 * Steps a generator.
 *
 * @internal
 */
export interface Stepper extends Runnable, Holder {
  readonly kernel: LoopCore;
  /** The future that the generator waits for; still there when its turn has come. */
  waitingOn: Future<unknown> | null;
  /** Turn in which it began to wait, modulo 2 to the power of 32. */
  since: number;
  /** The innermost block that the generator has opened and not closed. */
  block: Block | null;
  /** The innermost block around the generator's place, whoever opened it. */
  readonly innermostBlock: Block | null;
  /** The strand to which functions belong that the generator calls. */
  readonly innermostStrand: Strand;
  /** Whether a cancellation replaces a failure of what was waited for, as in CPython's tasks. */
  readonly replacesFailures: boolean;
}

/**
 * The key under which an iterator ends its wait as `throw` would, if all that does
 * is to let go and throw the same error. False if it does more.
 */
export const quit: unique symbol = Symbol("quit");

/** Ends the wait that an iterator is in without throwing, if it can. */
export function quits(
  iterator: Iterator<Suspension, unknown, unknown>,
): boolean {
  return (iterator as { [quit]?(): boolean })[quit]?.() === true;
}

/** The value that the generator yielded decides when it is stepped next. */
export function suspend(
  stepper: Stepper,
  target: Suspension,
  lastYielded: { future: Future<unknown> | null },
): void {
  if (target === undefined) {
    stepper.kernel.schedule(stepper);
    if (levels.open > 0) holdLevel(stepper);
    return;
  }
  // A future of this loop, yielded by its own iterator, that is not the stepper itself.
  if (
    lastYielded.future === target && target as unknown !== null &&
    target.kernel === stepper.kernel &&
    target !== stepper as unknown
  ) {
    lastYielded.future = null;
    stepper.waitingOn = target;
    stepper.since = stepper.kernel.turns | 0;
    target.addWaiter(stepper);
    if (stepper.due !== null || levels.open > 0) suspended(stepper, target);
    return;
  }
  // A cancellation that is under way is worth more than the complaint.
  if (stepper.due === null) {
    holdError(stepper, complaint(stepper, target, lastYielded.future));
  }
  lastYielded.future = null;
  stepper.kernel.schedule(stepper);
}

/** Returns the error for a wrong value that a generator yielded. */
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
      `Cannot wait for ${future[inWords]()}: it belongs to another event loop`,
    );
  }
  return new MisuseError(
    `Cannot wait for ${
      inspect(target)
    }: use "yield*" with an operation, future or task, ` +
      `and "yield* until(promise)" with a promise`,
  );
}
