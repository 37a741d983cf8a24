/**
 * Slot of a map, which works on one item after the other.
 *
 * @module
 */
import type { Future } from "../loop/future.ts";
import type { CancelledError } from "../errors.ts";
import type { Origin, WorkOutcome, WorkRunner } from "../loop/work_runner.ts";
import type { LimitCore, LimitedWork } from "./limit_core.ts";
import type { MapRun } from "./map_run.ts";

/** Slot of a map, with the item that it works on. */
export class MapSlot<T, R> implements LimitedWork {
  readonly #map: MapRun<T, R>;
  readonly core: LimitCore;
  runner: WorkRunner | null = null;
  item: T;
  index: number;
  /** Place among the slots of the map; written by the map. */
  place = 0;

  constructor(map: MapRun<T, R>, item: T, index: number) {
    this.#map = map;
    this.core = map.core;
    this.item = item;
    this.index = index;
  }

  get origin(): Origin | null {
    return this.#map.origin;
  }

  get taskName(): string {
    return "";
  }

  get priority(): number {
    return this.#map.rank;
  }

  get isCoroutine(): boolean {
    return this.#map.isCoroutine;
  }

  get whose(): Future<unknown> | null {
    return this.#map.whose;
  }

  begun(runner: WorkRunner): void {
    this.runner = runner;
  }

  launched(): void {
    this.core.launched();
  }

  call(): unknown {
    return this.#map.plan.body(this.item, this.index);
  }

  lost(reason: CancelledError): void {
    this.#map.lost(reason);
  }

  ended(
    outcome: WorkOutcome,
    value: unknown,
    runner: WorkRunner | null,
  ): void {
    this.#map.itemEnded(this, outcome, value, runner);
  }
}
