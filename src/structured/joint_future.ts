/**
 * Joint futures: futures that depend on several others, and lend these the
 * priority of whoever waits.
 *
 * @module
 */
import { explain, pressureOf } from "../loop/waiters.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Relay } from "../loop/priority_inheritance.ts";
import type { WaitFacts } from "../loop/waits.ts";
import type { Dependent } from "./watch.ts";

/** Returns a priority node that hands on what it is lent to all of `futures`. */
export function relayTo(
  loop: EventLoop,
  futures: Iterable<Future<unknown>>,
): Relay {
  const relay = new Relay(loop);
  for (const future of futures) relay.dependOn(future);
  return relay;
}

/** The futures that are not done. */
export function pendingOf(
  futures: Iterable<Future<unknown>>,
): Future<unknown>[] {
  return [...futures].filter((future) => !future.done());
}

/** A future that depends on several others. */
export abstract class JointFuture<T> extends Future<T> implements Dependent {
  #relay: Relay | null = null;

  /** The futures on which this one depends. */
  protected abstract awaited(): Iterable<Future<unknown>>;

  /** Adds a future on which this one depends. */
  dependOn(future: Future<unknown>): void {
    this.#relay?.dependOn(future);
  }

  get whose(): Future<unknown> {
    return this as Future<unknown>;
  }

  override [explain](): WaitFacts {
    const { kind, target } = super[explain]();
    return { kind, target, behind: pendingOf(this.awaited()) };
  }

  override [pressureOf](): object {
    return this.relayed().pressure;
  }

  /** The node that is as urgent as the tasks that wait for this; made when it is asked for. */
  relayed(): Relay {
    return this.#relay ??= relayTo(this.loop, this.awaited());
  }
}
