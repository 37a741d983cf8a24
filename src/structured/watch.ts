/**
 * Waiting for several futures without belonging to them.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { Future } from "../loop/future.ts";
import type { Runnable } from "../loop/handle.ts";
import { Relay } from "../loop/urgency.ts";

/**
 * A done callback that is taken back in constant time: to look for it among
 * those of a future takes as long as there are many, and everybody may be
 * waiting for the same one.
 */
export class Watch implements Runnable {
  readonly #future: Future<unknown>;
  readonly #callback: (future: Future<unknown>) => void;
  /** Gives what is as urgent as those for whom this watches. */
  readonly relay: () => Relay;

  constructor(
    future: Future<unknown>,
    callback: (future: Future<unknown>) => void,
    relay: () => Relay,
  ) {
    this.#future = future;
    this.#callback = callback;
    this.relay = relay;
    future["addWaiter"](this);
  }

  /** Calls back; the loop does it in the turn after the future is done. */
  run(): void {
    this.#callback(this.#future);
  }

  /** Takes it back, unless the future is done. */
  end(): void {
    this.#future["removeWaiter"](this);
  }
}

/** What is waited for when it is several futures: whoever waits lends all of them their priority. */
export class JointFuture extends Future<void> {
  readonly #futures: Iterable<Future<unknown>>;
  #relay: Relay | null = null;

  constructor(
    loop: EventLoop,
    label: string,
    futures: Iterable<Future<unknown>>,
  ) {
    super(loop, label);
    this.#futures = futures;
  }

  /** There is one more of them. */
  add(future: Future<unknown>): void {
    this.#relay?.dependOn(future);
  }

  protected override pressure(): object {
    return this.relayed().pressure;
  }

  /** What is as urgent as those who wait for this. */
  relayed(): Relay {
    if (this.#relay === null) {
      this.#relay = new Relay(this.loop);
      for (const future of this.#futures) this.#relay.dependOn(future);
    }
    return this.#relay;
  }
}
