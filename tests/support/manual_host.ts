import { monotonicMs } from "../../src/host/clock.ts";
import type { Host, HostClient } from "../../mod.ts";

/**
 * A host with a clock like that of the real ones, but which the test moves: it
 * waits until it is told to wake.
 */
export class ManualHost implements Host {
  readonly name = "manual";
  readonly virtual = false;
  /** The time. Set it while the loop runs, or {@linkcode advanceTo} a wake. */
  nowMs = 0;
  /** The deadline the loop waits for; `null` while it is not parked. */
  deadlineMs: number | null = null;
  /** Whether that wait is to keep the process alive. */
  holds = false;
  /** What `keepAlive` was called with last. */
  keptAlive = false;
  opened = 0;
  closed = 0;
  rested = 0;
  #client: HostClient | null = null;
  #onPark: (() => void) | null = null;

  now(): number {
    return this.nowMs;
  }

  open(client: HostClient): void {
    this.opened++;
    this.#client = client;
  }

  park(deadlineMs: number, hold: boolean): void {
    this.deadlineMs = deadlineMs;
    this.holds = hold;
    this.#onPark?.();
  }

  unpark(): void {
    this.deadlineMs = null;
  }

  rest(): void {
    this.rested++;
    this.deadlineMs = null;
    this.keptAlive = false;
  }

  keepAlive(on: boolean): void {
    this.keptAlive = on;
  }

  watch(): boolean {
    return true;
  }

  poll(): void {}

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }

  /** Waits until the loop is parked. */
  async parked(): Promise<void> {
    while (this.deadlineMs === null) {
      await new Promise<void>((resolve) => this.#onPark = resolve);
    }
  }

  /** Moves the clock and wakes the parked loop, as if a deadline had come. */
  advanceTo(ms: number): void {
    this.nowMs = ms;
    this.deadlineMs = null;
    this.#client?.wake();
  }

  /** Moves the clock to the deadline and waits until the loop is parked again. */
  async runUntil(ms: number): Promise<void> {
    await this.parked();
    while (this.deadlineMs !== null && this.deadlineMs <= ms) {
      this.advanceTo(this.deadlineMs);
      await this.parked();
    }
    this.nowMs = ms;
  }
}

/** Keeps the thread busy for at least `ms` milliseconds of real time. */
export function keepBusy(ms: number): void {
  const end = monotonicMs() + ms;
  while (monotonicMs() < end);
}
