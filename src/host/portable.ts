/**
 * Portable host: waits with the timers of the runtime.
 *
 * @module
 */
import { DescriptorsUnsupportedError } from "../errors.ts";
import { monotonicMs } from "./clock.ts";
import {
  checkUnowned,
  type Host,
  type HostClient,
  type ReadyListener,
} from "./host.ts";
import { detached } from "./microtask.ts";
import { after, type HostTimer, KeepAlive } from "./timers.ts";

/**
 * The host that waits with the runtime's timers: runs anywhere and needs no permission, but wakes about a millisecond
 * late and knows no descriptors.
 */
export class PortableHost implements Host {
  readonly name: string = "portable";
  readonly virtual: boolean = false;

  #client: HostClient | undefined;
  #parked = false;
  #deadlineMs = Infinity;
  #hold = true;
  readonly #keepAlive = new KeepAlive();

  /** Left running by `unpark`: the next park can usually use it. */
  #timer: HostTimer | undefined;
  #timerDeadlineMs = Infinity;
  #timerHold = true;

  now(): number {
    return monotonicMs();
  }

  open(client: HostClient): void {
    checkUnowned(this.#client);
    this.#client = client;
  }

  park(deadlineMs: number, hold: boolean): void {
    this.#parked = true;
    this.#deadlineMs = deadlineMs;
    this.#hold = hold;
    if (deadlineMs <= monotonicMs()) {
      this.#wake();
    } else {
      detached(this.#settle);
    }
  }

  unpark(): void {
    this.#parked = false;
  }

  rest(): void {
    this.#parked = false;
    this.#cancelTimer();
    this.keepAlive(false);
  }

  keepAlive(on: boolean): void {
    this.#keepAlive.set(on);
  }

  watch(fd: number, _events: number): never {
    throw new DescriptorsUnsupportedError(
      `Cannot watch descriptor ${fd}: the portable host has none, run with --allow-ffi to get the native host`,
    );
  }

  poll(_ready: ReadyListener): void {}

  close(): Promise<void> {
    this.rest();
    return Promise.resolve();
  }

  /**
   * Sets a timer that fires at the deadline or before it. Only called detached, since the wake belongs to the async
   * context of this call.
   */
  readonly #settle = (): void => {
    if (!this.#parked) return;
    const delayMs = this.#deadlineMs - monotonicMs();
    if (delayMs <= 0) {
      this.#wake();
      return;
    }
    if (this.#deadlineMs === Infinity) {
      this.#cancelTimer();
      return;
    }
    if (
      this.#timer !== undefined && this.#timerHold === this.#hold &&
      this.#timerDeadlineMs <= this.#deadlineMs
    ) return;
    this.#cancelTimer();
    this.#timerDeadlineMs = this.#deadlineMs;
    this.#timerHold = this.#hold;
    // Rounded down, since the runtime's timers are more than a millisecond
    // late. The few that are early all the same are set again when they fire.
    this.#timer = after(Math.floor(delayMs), this.#fired, this.#hold);
  };

  readonly #fired = (): void => {
    this.#timer = undefined;
    this.#settle();
  };

  #wake(): void {
    this.#parked = false;
    this.#client?.wake();
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
