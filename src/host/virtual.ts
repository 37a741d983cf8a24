/**
 * Virtual host: time jumps to the next deadline instead of passing.
 *
 * @module
 */
import { DescriptorsUnsupportedError } from "../errors.ts";
import { checkUnowned, type Host, type HostClient } from "./host.ts";
import { macrotask } from "./macrotask.ts";
import { after, type HostTimer, KeepAlive } from "./timers.ts";

/** Real time after which a clock that stands still is reported. */
const STANDSTILL_MS = 1_000;

/**
 * The host of tests: its time stands still while there is work and jumps to the next deadline when there is none.
 *
 * It waits only for what it cannot look into: while something outside may still wake the loop
 * ({@linkcode HostClient.hasOutsideWaits}), the clock does not move and no deadlock is reported. If that takes a second
 * of real time, the loop's exception handler is called, once a run, with the tasks that wait.
 *
 * @example An hour that takes no time
 * ```ts
 * import { EventLoop, sleep, VirtualHost } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * await using loop = new EventLoop({ host: new VirtualHost(1_000) });
 * await loop.runUntilComplete(sleep(3_600_000));
 * assertEquals(loop.time(), 3_601_000);
 * ```
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
  readonly #keepAlive = new KeepAlive();
  /** Runs while the clock stands still for something outside; null if it does not. */
  #standstill: HostTimer | null = null;

  /**
   * Makes a host.
   *
   * @param startMs The first time on its clock, in milliseconds.
   * @throws {TypeError} If `startMs` is not a number.
   * @throws {RangeError} If `startMs` is not finite.
   */
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
    // A macrotask lets the whole microtask queue run empty. Programs made of
    // generators only have nothing there, and need not pay for it.
    if (this.#client!.hasPromiseWork()) {
      macrotask(() => {
        if (park === this.#park && this.#parked) this.#decide();
      });
    } else this.#decide();
  }

  #decide(): void {
    const client = this.#client!;
    if (client.hasOutsideWaits()) {
      this.#standstill ??= after(
        STANDSTILL_MS,
        () => client.stoodStill(),
        false,
      );
      return;
    }
    this.unpark();
    if (this.#deadlineMs === Infinity) client.starved();
    else {
      if (this.#deadlineMs > this.#nowMs) this.#nowMs = this.#deadlineMs;
      client.wake();
    }
  }

  unpark(): void {
    this.#parked = false;
    this.#standstill?.cancel();
    this.#standstill = null;
  }

  rest(): void {
    this.unpark();
    this.keepAlive(false);
  }

  keepAlive(on: boolean): void {
    this.#keepAlive.set(on);
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
