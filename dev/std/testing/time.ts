/**
 * Stands in for `jsr:@std/testing/time` where jsr.io cannot be reached:
 * `FakeTime` over `@sinonjs/fake-timers`. It fakes what the original fakes
 * (`Date`, `setTimeout`, `setInterval` and their counterparts) and nothing else;
 * `AbortSignal.timeout` stays real. Without `links` in deno.json the original is
 * used.
 *
 * @module
 */

import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";

/** An error of this module. */
export class TimeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TimeError";
  }
}

/** How time goes on by itself. */
export interface FakeTimeOptions {
  /** Fake milliseconds for each real one; 0 stands still. */
  advanceRate: number;
  /** Real milliseconds between two steps. */
  advanceFrequency?: number;
}

/** What {@linkcode FakeTime.delay} takes. */
export interface DelayOptions {
  signal?: AbortSignal;
}

const FAKED = [
  "Date",
  "setTimeout",
  "clearTimeout",
  "setInterval",
  "clearInterval",
] as const;

const globals = globalThis as unknown as Record<string, unknown>;
const real = Object.fromEntries(FAKED.map((name) => [name, globals[name]]));
const realSetTimeout = globalThis.setTimeout;
const realClearTimeout = globalThis.clearTimeout;
const realSetInterval = globalThis.setInterval;
const realClearInterval = globalThis.clearInterval;

let current: FakeTime | undefined;

/** Puts the clock and the timers of the runtime under control until restored. */
export class FakeTime implements Disposable {
  readonly #clock: Clock;
  readonly #start: number;
  readonly #ticker: ReturnType<typeof setInterval> | undefined;

  constructor(
    start?: number | string | Date | null,
    options?: FakeTimeOptions,
  ) {
    if (current) {
      throw new TimeError("Cannot construct FakeTime: time is already faked");
    }
    const now = start === null || start === undefined
      ? Date.now()
      : new Date(start).getTime();
    if (Number.isNaN(now)) {
      throw new TimeError(
        `Cannot construct FakeTime: invalid start ${String(start)}`,
      );
    }
    this.#start = now;
    this.#clock = install({ now, toFake: [...FAKED] });
    const rate = Math.max(0, options?.advanceRate ?? 0);
    const frequency = Math.max(1, options?.advanceFrequency ?? 10);
    if (rate > 0) {
      this.#ticker = realSetInterval(
        () => this.tick(rate * frequency),
        frequency,
      );
    }
    current = this;
  }

  /** Restores real time. */
  static restore(): void {
    if (!current) {
      throw new TimeError("Cannot restore time: time is not faked");
    }
    current.restore();
  }

  /** Runs `callback` in real time and goes back to fake time afterwards. */
  static async restoreFor<T>(
    // deno-lint-ignore no-explicit-any
    callback: (...args: any[]) => Promise<T> | T,
    // deno-lint-ignore no-explicit-any
    ...args: any[]
  ): Promise<T> {
    if (!current) {
      throw new TimeError("Cannot restore time: time is not faked");
    }
    const fake = Object.fromEntries(FAKED.map((name) => [name, globals[name]]));
    Object.assign(globals, real);
    try {
      return await callback(...args);
    } finally {
      Object.assign(globals, fake);
    }
  }

  /** Fake milliseconds since 1970. Setting it runs what is due until then. */
  get now(): number {
    return this.#clock.now;
  }
  set now(value: number) {
    if (value < this.#clock.now) {
      throw new RangeError("Cannot set current time in the past");
    }
    this.#clock.tick(value - this.#clock.now);
  }

  /** What `now` was at first. */
  get start(): number {
    return this.#start;
  }

  /** Waits in real time. */
  delay(ms: number, options: DelayOptions = {}): Promise<void> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        realClearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = realSetTimeout(() => {
        signal?.removeEventListener("abort", abort);
        resolve();
      }, ms);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Lets the microtask queue run empty. */
  runMicrotasks(): Promise<void> {
    return this.delay(0);
  }

  /** Moves time on and runs what is due. */
  tick(ms = 0): void {
    this.#clock.tick(ms);
  }

  /** The same after the microtask queue has run empty. */
  async tickAsync(ms = 0): Promise<void> {
    await this.runMicrotasks();
    this.tick(ms);
  }

  /** Moves time to the next timer and runs it; false if there is none. */
  next(): boolean {
    const pending = this.#clock.countTimers() > 0;
    if (pending) this.#clock.next();
    return pending;
  }

  /** The same after the microtask queue has run empty. */
  async nextAsync(): Promise<boolean> {
    await this.runMicrotasks();
    return this.next();
  }

  /** Runs timer after timer until none is left. */
  runAll(): void {
    while (this.next());
  }

  /** The same, with the microtask queue run empty before each. */
  async runAllAsync(): Promise<void> {
    while (this.#clock.countTimers() > 0) await this.nextAsync();
  }

  /** Restores real time. */
  restore(): void {
    if (current !== this) {
      throw new TimeError("Cannot restore time: time is already restored");
    }
    current = undefined;
    this.#clock.uninstall();
    if (this.#ticker !== undefined) realClearInterval(this.#ticker);
  }

  /** Restores real time, if that has not been done. */
  [Symbol.dispose](): void {
    if (current === this) this.restore();
  }
}
