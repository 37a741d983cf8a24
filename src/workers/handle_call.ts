/**
 * Call of a function of another loop: the future at the caller.
 *
 * @module
 */
import { inWords } from "../loop/waiters.ts";
import { MisuseError } from "../errors.ts";
import { core } from "../loop/core.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import {
  cancellationBy,
  subscribe,
  type Subscription,
} from "../loop/signal_hub.ts";

/** Party that carries a call out, as the call sees it. */
export interface Callee {
  /** The caller has cancelled the call, which has ended with that. */
  withdraw(reason: unknown): void;
}

/**
 * Future of a call. Ends with what the callee says, or at once when it is
 * cancelled; the callee is told then, and may take its time.
 */
export class HandleCall<T> extends Future<T> implements EndListener {
  readonly #name: string;
  #callee: Callee | null = null;
  #subscription: Subscription | null = null;

  constructor(loop: EventLoop, name: string) {
    super(loop, `call of "${name}"`);
    this.#name = name;
    loop[core].outside.outsideBegan();
    loop[core].endings.add(this);
  }

  /** The call is under way. Cancels it when `signal` aborts. */
  begun(callee: Callee, signal: AbortSignal | undefined): void {
    this.#callee = callee;
    if (signal === undefined) return;
    const subscription = subscribe(
      signal,
      () => this.cancel(cancellationBy(signal)),
    );
    if (!this.done()) this.#subscription = subscription;
  }

  /** The function has returned. */
  returned(value: T): void {
    if (this.done()) return;
    super.setResult(value);
    this.#leave();
  }

  /** The function has thrown, or the call has failed otherwise. */
  threw(error: unknown): void {
    if (this.done()) return;
    this.fail(error);
    this.#leave();
  }

  /** The task of the function was cancelled where it ran. */
  cancelledThere(error: unknown): void {
    if (this.done()) return;
    this.finishCancelled(error);
    this.#leave();
  }

  override cancel(reason?: unknown): boolean {
    if (!super.cancel(reason)) return false;
    const callee = this.#callee;
    this.#leave();
    callee?.withdraw(reason);
    return true;
  }

  loopClosed(): void {
    this.cancel("the event loop of the caller was closed");
  }

  /** Lets go of everything that a call under way holds. Called once, at the end. */
  #leave(): void {
    const kernel = this.loop[core];
    this.#callee = null;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
    kernel.endings.delete(this);
    kernel.outside.outsideEnded();
  }

  override setResult(_value: T): never {
    throw new MisuseError(
      `Cannot set the result of ${this[inWords]()}: its function decides it`,
    );
  }

  override setException(_error: unknown): never {
    throw new MisuseError(
      `Cannot set the exception of ${this[inWords]()}: its function decides it`,
    );
  }

  override [inWords](): string {
    return `call of "${this.#name}"`;
  }

  override get [Symbol.toStringTag](): string {
    return "HandleCall";
  }
}
