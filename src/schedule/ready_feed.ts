/**
 * Feed of a map whose source has its items at once.
 *
 * @module
 */
import type { AnyClaim } from "./claim.ts";
import { MapClaim } from "./map_claim.ts";
import type { FedMap, MapFeed } from "./map_run.ts";
import { NO_ITEM, ReadySource } from "./map_source.ts";

/**
 * Takes an item for each slot that becomes free, then and there: no task of its
 * own is needed for that. Keeps one place in line while it wants a slot.
 */
export class ReadyFeed<T> implements MapFeed<T> {
  readonly #map: FedMap<T>;
  readonly #source: ReadySource<T>;
  #claim: MapClaim | null = null;

  constructor(map: FedMap<T>, source: Iterable<T>) {
    this.#map = map;
    this.#source = new ReadySource(source);
  }

  get isBusy(): boolean {
    return this.#claim !== null || this.#source.isAsked;
  }

  get hasEnded(): boolean {
    return this.#source.hasEnded;
  }

  /** Begins with as many items as there are slots for, and then joins the line for another slot. */
  refill(): void {
    const map = this.#map;
    if (this.#source.isAsked) return; // whoever asks the source does it afterwards
    while (
      !map.isStopped && !this.#source.hasEnded && this.#claim === null &&
      map.hasRoom()
    ) {
      if (!map.core.tryTake(map.rank)) {
        this.#joinLine();
        return;
      }
      this.#begin();
    }
    // A place in line is of no use to a source that has ended.
    if (this.#source.hasEnded) this.stop();
    map.checkEnd();
  }

  #joinLine(): void {
    const { core, loop, rank } = this.#map;
    const claim = new MapClaim(core, loop, rank, () => {
      this.#claim = null;
      this.#begin();
      this.refill();
    });
    this.#claim = claim;
    core.enter(claim as AnyClaim);
  }

  /** Has a slot: begins with the next item, or gives the slot back. */
  #begin(): void {
    const item = this.#take();
    if (item === NO_ITEM) this.#map.core.release(1, null);
    else this.#map.work(item);
  }

  #take(): T | typeof NO_ITEM {
    if (this.#map.isStopped) return NO_ITEM;
    try {
      const item = this.#source.take();
      // The source may have stopped the map when it was asked.
      return this.#map.isStopped ? NO_ITEM : item;
    } catch (error) {
      this.#map.fail(error, "failed");
      return NO_ITEM;
    }
  }

  takeForSlot(): T | typeof NO_ITEM {
    const map = this.#map;
    return map.hasRoom() && map.core.mayKeep(this.#claim as AnyClaim | null)
      ? this.#take()
      : NO_ITEM;
  }

  slotKept(): void {
    // The place in line is lost if its turn came while the source was asked.
    if (this.#claim === null) this.refill();
  }

  slotFreed(): void {
    this.refill();
  }

  resultTaken(): void {
    this.refill();
  }

  stop(): void {
    const claim = this.#claim;
    this.#claim = null;
    claim?.cancel();
  }

  giveUp(): void {
    // Nothing here is waited for.
  }

  lost(): boolean {
    this.#claim = null;
    return false;
  }

  close(): void {
    this.#source.close();
  }
}
