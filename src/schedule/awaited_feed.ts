/**
 * Feed of a map whose source has to be awaited.
 *
 * @module
 */
import { destroy } from "../loop/waiters.ts";
import { CancelledError } from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { OperationIterable } from "../loop/each.ts";
import type { Coroutine } from "../loop/task_body.ts";
import { Task } from "../loop/task.ts";
import type { AnyClaim } from "./claim.ts";
import { MapClaim } from "./map_claim.ts";
import type { FedMap, MapFeed } from "./map_run.ts";
import { AwaitedSource, NO_ITEM } from "./map_source.ts";

/** Task that goes through the source. */
class Puller extends Task<void> {
  readonly #lost: (reason: CancelledError) => void;

  constructor(
    loop: EventLoop,
    body: Coroutine<void>,
    lost: (reason: CancelledError) => void,
  ) {
    super(loop, body, { name: "ConcurrencyLimit.map()" });
    this.#lost = lost;
  }

  override [destroy](reason: CancelledError): void {
    super[destroy](reason);
    this.#lost(reason);
  }
}

/**
 * Goes through the source in a task of its own. It takes a slot first, waits for
 * an item in it, and hands both on to the map.
 */
export class AwaitedFeed<T> implements MapFeed<T> {
  readonly #map: FedMap<T>;
  readonly #source: AsyncIterable<T> | OperationIterable<T>;
  #puller: Task<void> | null;
  /** Claim by which the puller has a slot, or wants one. */
  #claim: MapClaim | null = null;
  #ended = false;

  constructor(
    map: FedMap<T>,
    source: AsyncIterable<T> | OperationIterable<T>,
  ) {
    this.#map = map;
    this.#source = source;
    this.#puller = new Puller(
      map.loop,
      this.#pull(),
      (reason) => map.lost(reason),
    );
    this.#puller.addDoneCallback((puller) => this.#pullerEnded(puller));
  }

  get isBusy(): boolean {
    return this.#puller !== null;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  *#pull(): Coroutine<void> {
    const map = this.#map;
    const source = new AwaitedSource(this.#source);
    try {
      while (!source.hasEnded && !map.isStopped) {
        while (!map.hasRoom()) yield* map.change();
        yield* this.#pullOne(source);
      }
    } finally {
      this.#ended = source.hasEnded;
      yield* source.close((error) => map.report(error));
    }
  }

  /** Waits for a slot, then for an item, and begins with it. */
  *#pullOne(source: AwaitedSource<T>): Coroutine<void> {
    const map = this.#map;
    const claim = new MapClaim(map.core, map.loop, map.rank, null);
    this.#claim = claim;
    map.core.enter(claim as AnyClaim);
    let item: T | typeof NO_ITEM = NO_ITEM;
    try {
      yield* claim;
      const next = yield* source.take();
      // An item that came when the map was stopped is not worked on.
      if (!map.isStopped) item = next;
    } finally {
      this.#claim = null;
      if (item === NO_ITEM) {
        if (claim.granted) map.core.release(1, null);
        else claim.cancel();
      }
    }
    if (item !== NO_ITEM) map.work(item);
  }

  #pullerEnded(puller: Task<void>): void {
    const map = this.#map;
    this.#puller = null;
    if (puller.failed()) map.fail(puller.exception(), "failed");
    else if (puller.cancelled() && !map.isStopped) {
      map.fail(new CancelledError(puller.cancelReason()), "cancelled");
    }
    map.checkEnd();
  }

  refill(): void {
    // The puller does it.
  }

  takeForSlot(): typeof NO_ITEM {
    return NO_ITEM;
  }

  slotKept(): void {
    // Nothing to do: this feed keeps no slot.
  }

  slotFreed(): void {
    this.#map.checkEnd();
  }

  resultTaken(): void {
    this.#map.wake();
  }

  stop(): void {
    this.#puller?.cancel();
  }

  /** Cancels the puller once more, which ends its wait for a `return()` that may never settle. */
  giveUp(): void {
    this.#puller?.cancel();
  }

  lost(): boolean {
    const claim = this.#claim;
    this.#claim = this.#puller = null;
    return claim?.granted === true;
  }

  close(): void {
    // The puller has done it.
  }
}
