/**
 * Place of a map in the line for the slots of its limit.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import { type AnyClaim, Claim } from "./claim.ts";
import type { LimitCore } from "./limit_core.ts";

/** Place in line of a map that wants to begin with another item. */
export class MapClaim extends Claim<void> {
  readonly #core: LimitCore;
  readonly #onBegin: (() => void) | null;
  /** Whether it has a slot. */
  granted = false;

  /** `onBegin` is called when it has a slot; without one, the future is done then. */
  constructor(
    core: LimitCore,
    loop: EventLoop,
    rank: number,
    onBegin: (() => void) | null,
  ) {
    super(loop, "a slot of a limit", rank, 1);
    this.#core = core;
    this.#onBegin = onBegin;
  }

  override get isJob(): boolean {
    return false;
  }

  begin(): void {
    this.granted = true;
    if (this.#onBegin === null) this.setResult();
    else this.#onBegin();
  }

  override cancel(reason?: unknown): boolean {
    if (this.done()) return false;
    super.cancel(reason);
    if (this.list !== undefined) this.#core.withdraw(this as AnyClaim);
    return true;
  }
}
