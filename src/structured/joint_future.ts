/**
 * Joint futures: futures that depend on several others, and lend these the
 * priority of whoever waits.
 *
 * @module
 */
import { pressureOf } from "../loop/waiters.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import { Relay } from "../loop/priority_inheritance.ts";

/** Returns a priority node that hands on what it is lent to all of `futures`. */
export function relayTo(
  loop: EventLoop,
  futures: Iterable<Future<unknown>>,
): Relay {
  const relay = new Relay(loop);
  for (const future of futures) relay.dependOn(future);
  return relay;
}

/** A future that depends on several others. */
export abstract class JointFuture<T> extends Future<T> {
  #relay: Relay | null = null;

  /** The futures on which this one depends. */
  protected abstract awaited(): Iterable<Future<unknown>>;

  /** Adds a future on which this one depends. */
  dependOn(future: Future<unknown>): void {
    this.#relay?.dependOn(future);
  }

  override [pressureOf](): object {
    return this.relayed().pressure;
  }

  /** The node that is as urgent as the tasks that wait for this; made when it is asked for. */
  relayed(): Relay {
    return this.#relay ??= relayTo(this.loop, this.awaited());
  }
}
