/**
 * Virtual host: time jumps to the next deadline instead of passing.
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
import { macrotask } from "./macrotask.ts";
import { after, type HostTimer, KeepAlive } from "./timers.ts";

/** Real time after which a clock that stands still is reported. */
const STANDSTILL_MS = 1_000;

/** Control of a virtual clock: decides where it moves when nothing is ready, and nothing outside is under way. */
export interface ClockControl {
  /**
   * Returns the moment to which the clock moves, `deadlineMs` at the latest;
   * `null` if it stands still. It may wake the loop instead, by queueing something.
   *
   * @param deadlineMs The first deadline of the loop; `Infinity` if it has none.
   */
  nextMoment(deadlineMs: number): number | null;
  /**
   * Whether all microtasks run before each question, also if the loop knows of
   * none: a plain callback may have resolved a promise.
   */
  readonly drains: boolean;
}

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
  /** Runs while the clock stands still; null if it does not. */
  #standstill: HostTimer | null = null;
  /** Null for a clock that jumps to the next deadline. */
  readonly #control: ClockControl | null;

  /**
   * Makes a host.
   *
   * @param startMs The first time on its clock, in milliseconds.
   * @param control Decides where the clock moves; `null` for a clock that jumps
   * to the next deadline.
   * @throws {TypeError} If `startMs` is not a number.
   * @throws {RangeError} If `startMs` is not finite.
   */
  constructor(startMs = 0, control: ClockControl | null = null) {
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
    this.#control = control;
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
    if (this.#control?.drains === true || this.#client!.hasPromiseWork()) {
      macrotask(() => {
        if (park === this.#park && this.#parked) this.#decide();
      });
    } else this.#decide();
  }

  #decide(): void {
    const client = this.#client!;
    if (client.hasOutsideWaits()) {
      this.#standStill("outside");
      return;
    }
    const deadlineMs = this.#deadlineMs;
    const momentMs = this.#control === null
      ? deadlineMs
      : this.#control.nextMoment(deadlineMs);
    if (!this.#parked) return; // the control has queued something
    if (momentMs === null) {
      this.#standStill("held");
      return;
    }
    this.unpark();
    if (momentMs === Infinity) client.starved();
    else {
      if (momentMs > this.#nowMs) this.#nowMs = momentMs;
      client.wake();
    }
  }

  /** Has the loop told if the clock has not moved in a second; a clock that nobody moves keeps the process alive for that. */
  #standStill(why: "outside" | "held"): void {
    this.#standstill ??= after(
      STANDSTILL_MS,
      () => this.#client!.stoodStill(why),
      why === "held",
    );
  }

  /** Decides anew, if it waits: a control has changed its mind. */
  decideAnew(): void {
    if (this.#parked) this.park(this.#deadlineMs, false);
  }

  /** Ends the wait without moving the clock, as a descriptor is ready. */
  protected endWait(): void {
    if (!this.#parked) return;
    this.unpark();
    this.#client!.wake();
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

  watch(fd: number, _events: number): boolean {
    throw new DescriptorsUnsupportedError(
      `Cannot watch descriptor ${fd}: the virtual host has no descriptors`,
    );
  }

  poll(_ready: ReadyListener): void {}

  close(): Promise<void> {
    this.rest();
    return Promise.resolve();
  }
}
