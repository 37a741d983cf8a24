/**
 * Lending: a task of a limited group that waits for tasks of its own gives its slot
 * to others meanwhile, as these may need it to end.
 *
 * @module
 */
import { inWords, takeCancellation } from "../loop/waiters.ts";
import { CancelledError } from "../errors.ts";
import {
  type CancelRequest,
  isCancellation,
  markThrown,
} from "../loop/cancellation.ts";
import { findTask } from "../loop/current.ts";
import type { Future, Suspension } from "../loop/future.ts";
import { PromiseWait } from "../loop/promise_wait.ts";
import type { Coroutine } from "../loop/task_body.ts";
import type { Task } from "../loop/task.ts";
import { ChildTask } from "./group_tasks.ts";

/** A task that has a slot to lend. */
export interface Lender {
  /**
   * Whether it has begun, and `future` is an unfinished task of its own that may
   * need the slot: one that it made in the same group, or one of a group that it
   * opened.
   */
  ownsUnfinished(future: Future<unknown>): boolean;
  /** Lends its slot to others while it waits. */
  lend(): void;
  /**
   * A wait for which the slot was lent is over. After the last of them the task
   * takes its slot back.
   *
   * @returns The future of the slot, if the task has to wait for one; else null.
   */
  reclaim(): Future<void> | null;
  /** The task goes on without having waited for its slot to the end, and takes one. */
  goOn(): void;
  /** See {@linkcode Task.postponeCancel}. */
  postponeCancel(error: CancelledError): void;
}

/** The task, if it has a slot that it can lend. */
export function lenderOf(task: Task<unknown> | null): Lender | null {
  return task instanceof ChildTask ? task.lender : null;
}

/** The current task, if it is about to wait for a task of its own that may need its slot. */
export function lenderFor(futures: Iterable<Future<unknown>>): Lender | null {
  const lender = lenderOf(findTask());
  if (lender === null) return null;
  for (const future of futures) {
    if (lender.ownsUnfinished(future)) return lender;
  }
  return null;
}

/** Waits with the slot of the waiting task lent; goes on when it has one again. */
export function* lending<T>(
  lender: Lender,
  waiting: Iterable<Suspension, T, unknown>,
): Coroutine<T> {
  lender.lend();
  let value: T;
  try {
    value = yield* waiting;
  } catch (error) {
    const interruption = yield* returning(lender);
    if (interruption === null) throw error;
    if (isCancellation(error)) throw interruption.error;
    // The failure of what was awaited goes first, and the cancellation is not lost.
    if (interruption.error instanceof CancelledError) {
      lender.postponeCancel(interruption.error);
    }
    throw error;
  }
  const interruption = yield* returning(lender);
  if (interruption !== null) throw interruption.error;
  return value;
}

/** Waits until a task has its slot again; returns the error that ended that wait before. */
export function* returning(
  lender: Lender,
): Coroutine<{ readonly error: unknown } | null> {
  const slot = lender.reclaim();
  if (slot === null) return null;
  try {
    yield* slot;
    return null;
  } catch (error) {
    return { error };
  } finally {
    lender.goOn();
  }
}

export type OnFulfilled<T, A> =
  | ((value: T) => A | PromiseLike<A>)
  | null
  | undefined;
export type OnRejected<B> =
  | ((reason: unknown) => B | PromiseLike<B>)
  | null
  | undefined;

/** Waits in an async function with the slot lent: null if it does not wait, or has nothing to lend. */
export function thenLending<T, A, B>(
  future: Future<T>,
  lender: Lender | null,
  onFulfilled: OnFulfilled<T, A>,
  onRejected: OnRejected<B>,
): PromiseLike<A | B> | null {
  if (
    lender === null || typeof onFulfilled !== "function" ||
    typeof onRejected !== "function"
  ) return null;
  const wait = new LendingWait(lender, future, onFulfilled, onRejected);
  future.addWaiter(wait);
  return wait;
}

/** The wait of an async function that lends the slot of its task. */
class LendingWait<T, A, B> extends PromiseWait<T, A, B> {
  readonly #lender: Lender;
  /** The slot for which it waits in the end. */
  #slot: Future<void> | null = null;

  constructor(
    lender: Lender,
    future: Future<T>,
    onFulfilled: (value: T) => A | PromiseLike<A>,
    onRejected: (reason: unknown) => B | PromiseLike<B>,
  ) {
    super(future, onFulfilled, onRejected);
    this.#lender = lender;
    lender.lend();
  }

  override run(): void {
    if (this.#slot === null) {
      if (!this.isOver()) return;
      this.#slot = this.#lender.reclaim();
      if (this.#slot !== null) {
        this.#slot.addWaiter(this);
        const level = this.strand!.level;
        if (level !== null) this.interrupt(level);
        return;
      }
    } else {
      this.#lender.goOn();
      if (this.#slot.cancelled()) {
        return this.fail(this.#slot[takeCancellation]());
      }
    }
    super.run();
  }

  override interrupt(request: CancelRequest): void {
    // A cancellation that is there already comes while the constructor runs.
    if (#slot in this && this.#slot?.cancel(request.reason)) {
      markThrown(request);
      return;
    }
    super.interrupt(request);
  }

  override get waitingOn(): Future<unknown> | null {
    return #slot in this && this.#slot !== null ? this.#slot : super.waitingOn;
  }

  override [inWords](): string {
    return this.#slot === null ? super[inWords]() : this.#slot[inWords]();
  }
}
