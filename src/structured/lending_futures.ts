/**
 * Futures that depend on tasks which may need a slot: whoever waits for one lends
 * its own slot meanwhile.
 *
 * @module
 */
import { checkWaiter } from "../loop/waiters.ts";
import type { Suspension } from "../loop/future.ts";
import { ChildTask } from "./group_tasks.ts";
import { JointFuture } from "./joint_future.ts";
import {
  lenderFor,
  lending,
  type OnFulfilled,
  type OnRejected,
  thenLending,
} from "./lending.ts";

/** A task of a group for which a waiting task with a slot may have to lend it. */
export class LendingTask<T> extends ChildTask<T> {
  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    const lender = lenderFor([this]);
    return lender === null
      ? super[Symbol.iterator]()
      : lending(lender, { [Symbol.iterator]: () => super[Symbol.iterator]() });
  }

  override then<A = T, B = never>(
    onFulfilled?: OnFulfilled<T, A>,
    onRejected?: OnRejected<B>,
  ): PromiseLike<A | B> {
    return thenLending(this, lenderFor([this]), onFulfilled, onRejected) ??
      super.then(onFulfilled, onRejected);
  }
}

/** A future that depends on futures for which a waiting task with a slot may have to lend it. */
export abstract class LendingFuture<T> extends JointFuture<T> {
  /** A wait that would keep one of them from ever being done keeps this from it. */
  override [checkWaiter](): void {
    for (const future of this.awaited()) future[checkWaiter]();
  }

  override [Symbol.iterator](): Iterator<Suspension, T, unknown> {
    this[checkWaiter]();
    const lender = lenderFor(this.awaited());
    return lender === null
      ? super[Symbol.iterator]()
      : lending(lender, { [Symbol.iterator]: () => super[Symbol.iterator]() });
  }

  override then<A = T, B = never>(
    onFulfilled?: OnFulfilled<T, A>,
    onRejected?: OnRejected<B>,
  ): PromiseLike<A | B> {
    this[checkWaiter]();
    const lender = lenderFor(this.awaited());
    return thenLending(this, lender, onFulfilled, onRejected) ??
      super.then(onFulfilled, onRejected);
  }
}
