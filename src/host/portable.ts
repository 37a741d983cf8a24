/**
 * The two hosts that need nothing of the operating system: one that waits with
 * the runtime's timers, and one whose time is a number.
 *
 * @module
 */
import { DescriptorsUnsupportedError } from "../errors.ts";
import {
  checkUnowned,
  type Host,
  type HostClient,
  type ReadyListener,
} from "./host.ts";
import {
  after,
  detached,
  holdOpen,
  type HostHold,
  type HostTimer,
  macrotask,
  monotonicMs,
} from "./runtime.ts";

/**
 * Waits with the runtime's timers: runs anywhere and needs no permission, but
 * wakes about a millisecond late and knows no descriptors.
 */
export class PortableHost implements Host {
  readonly name: string = "portable";
  readonly virtual: boolean = false;

  #client: HostClient | undefined;
  #parked = false;
  #deadlineMs = Infinity;
  #hold = true;
  #keepAlive: HostHold | undefined;

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
    if (on) {
      this.#keepAlive ??= holdOpen();
    } else {
      this.#keepAlive?.release();
      this.#keepAlive = undefined;
    }
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
   * Sees to it that a timer fires at the deadline, or before it. Only called
   * detached, since the wake belongs to the async context of this call.
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

/**
 * The host of tests: time stands still while there is work and jumps to the
 * next deadline when there is none.
 *
 * It waits for nothing but what it cannot see into: while something outside
 * may still wake the loop ({@linkcode HostClient.hasOutsideWaits}), the clock
 * neither moves nor is a deadlock reported.
 */
export class VirtualHost implements Host {
  readonly name = "virtual";
  readonly virtual = true;
  #nowMs: number;
  #deadlineMs = Infinity;
  #client: HostClient | undefined;
  /** Counts parks, so that a decision put off to the next macrotask knows whether it is stale. */
  #park = 0;
  #parked = false;
  #hold: HostHold | null = null;

  /** Makes a host whose clock starts at `startMs`. */
  constructor(startMs = 0) {
    const what = "Cannot make a virtual host as startMs must be";
    if (typeof startMs !== "number") {
      throw new TypeError(
        `${what} a number of milliseconds: received ${typeof startMs}`,
      );
    }
    if (!Number.isFinite(startMs)) {
      throw new RangeError(`${what} finite: received ${startMs}`);
    }
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  open(client: HostClient): void {
    checkUnowned(this.#client);
    this.#client = client;
  }

  park(deadlineMs: number, _hold: boolean): void {
    this.#deadlineMs = deadlineMs;
    this.#parked = true;
    const park = ++this.#park;
    // One macrotask lets the whole microtask queue run empty. Programs made of
    // generators only have nothing there, and need not pay for it.
    if (this.#client!.hasPromiseWork()) {
      macrotask(() => {
        if (park === this.#park && this.#parked) this.#decide();
      });
    } else this.#decide();
  }

  #decide(): void {
    const client = this.#client!;
    if (client.hasOutsideWaits()) return;
    this.#parked = false;
    if (this.#deadlineMs === Infinity) client.starved();
    else {
      if (this.#deadlineMs > this.#nowMs) this.#nowMs = this.#deadlineMs;
      client.wake();
    }
  }

  unpark(): void {
    this.#parked = false;
  }

  rest(): void {
    this.#parked = false;
    this.keepAlive(false);
  }

  keepAlive(on: boolean): void {
    if (on === (this.#hold !== null)) return;
    if (on) this.#hold = holdOpen();
    else {
      this.#hold!.release();
      this.#hold = null;
    }
  }

  watch(fd: number, _events: number): never {
    throw new DescriptorsUnsupportedError(
      `Cannot watch descriptor ${fd}: the virtual host has no descriptors`,
    );
  }

  poll(): void {}

  close(): Promise<void> {
    this.rest();
    return Promise.resolve();
  }
}
