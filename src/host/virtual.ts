import { holdOpen, type HostHold, macrotask } from "./timing.ts";
import { DescriptorsUnsupportedError } from "../errors.ts";
import type { Host, HostClient } from "./host.ts";
import { checkUnowned } from "./ownership.ts";

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
