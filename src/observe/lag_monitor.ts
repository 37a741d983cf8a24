/**
 * Lag of a loop: how late its timers are, over the last minute, and what has made
 * them late.
 *
 * @module
 */
import { onSignal } from "../host/signals.ts";
import {
  checkFunction,
  checkNotNegative,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { checkLoop } from "../loop/check_loop.ts";
import { core } from "../loop/core.ts";
import { findTask, getRunningLoop } from "../loop/current.ts";
import type { EndListener } from "../loop/endings.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Future } from "../loop/future.ts";
import { describeHandle, Handle } from "../loop/handle.ts";
import type { Instrument } from "../loop/instrument.ts";
import { Operation } from "../loop/operation.ts";
import { sleep } from "../loop/sleep.ts";
import type { Task } from "../loop/task.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import { inWords } from "../loop/waiters.ts";
import { Histogram } from "../structures/histogram.ts";
import { Watchdog } from "../supervise/watchdog.ts";

/** A lag beyond the threshold, as a {@linkcode LagMonitor} tells of it. */
export interface LagEvent {
  /**
   * `"blocked"` if something has kept the thread, computing or waiting in native code;
   * `"suspended"` if the process or the machine was stopped meanwhile.
   */
  readonly kind: "blocked" | "suspended";
  /** How late a timer was, or would have been, in milliseconds. */
  readonly lagMs: number;
  /** When it ran, on the loop's clock. */
  readonly atMs: number;
  /**
   * Description of the longest step or callback of that time, such as `task "name"`;
   * `null` if none took half of the lag: many short ones have, or code that no loop
   * has started.
   */
  readonly culprit: string | null;
  /** Id of the task, if it is one. */
  readonly taskId: number | null;
  /** How long that step or callback took, in milliseconds; 0 without one. */
  readonly tookMs: number;
}

/** Lag of the last window, from {@linkcode LagMonitor.snapshot}; times in milliseconds, `NaN` before the first sample. */
export interface LagSnapshot {
  /** How many samples the window has. */
  readonly samples: number;
  /** Median. Percentiles are correct within 4 %. */
  readonly p50: number;
  /** 99th percentile. */
  readonly p99: number;
  /** Greatest one. */
  readonly max: number;
  /** The sum of all lags since the monitor began. */
  readonly sumTotal: number;
  /** How many samples there were since then. */
  readonly samplesTotal: number;
  /** How long the process was found to be suspended since then. Counts as no lag. */
  readonly suspendedTotal: number;
}

/** Options of a {@linkcode LagMonitor}. */
export interface LagMonitorOptions {
  /**
   * The loop.
   *
   * @default {the running loop}
   */
  readonly loop?: EventLoop | undefined;
  /**
   * Time between two samples. A shorter block may pass between two of them, and is told
   * of all the same if it was that of a step or callback that is timed.
   *
   * @default {500}
   */
  readonly everyMs?: number | undefined;
  /**
   * Time for which samples count.
   *
   * @default {60_000}
   */
  readonly windowMs?: number | undefined;
  /**
   * Lag from which listeners are told.
   *
   * @default {100}
   */
  readonly thresholdMs?: number | undefined;
  /** First listener of {@linkcode LagMonitor.subscribe}. */
  readonly onLag?: ((event: LagEvent) => void) | undefined;
  /**
   * Whether steps and callbacks are timed, so that an event has its culprit. Costs a
   * look at the clock for each step while there is a listener; nothing without one.
   *
   * @default {true}
   */
  readonly culprits?: boolean | undefined;
  /**
   * Whether a {@linkcode Watchdog} watches as well: the one of this thread, or a new one,
   * which is closed with the monitor. Its thread writes to standard error while a block
   * lasts, and knows for certain whether the process was suspended.
   *
   * @default {false}
   */
  readonly watchdog?: boolean | undefined;
}

const WHAT = "monitor the lag of a loop";
/** Parts of the window that are forgotten together. */
const SLICES = 6;
/** Time in which the news of a suspension arrive. */
const NEWS_MS = 60;
/** A lag is suspension as a whole if less than this is left of it. */
const REST_MS = 20;

/**
 * Watches how late a loop runs its timers: median, 99th percentile and maximum over
 * the last minute, an event for each lag beyond a threshold, and what caused it.
 *
 * The monitor sets a timer twice a second and notes how late it runs: because steps,
 * callbacks or code outside of the loop kept the thread, or because too much was
 * ready. Time in which the process is stopped (`SIGSTOP`) counts as `"suspended"` and
 * is no lag: it is known by the signal with which the process goes on, and of a whole
 * machine by the watchdog, if there is one. Time that the monitor needs to make a
 * snapshot is not counted either.
 *
 * Costs as much as a `setInterval` of 100 ms, as the wake-up of a loop costs more than
 * that of a timer of the runtime.
 *
 * Events come some 60 ms after the lag, when it is known of which kind it is: by a
 * call of the listeners, in the order in which they were added, between the steps of
 * the loop. An error of a listener goes to the exception handler of the loop. A thread
 * that never comes back tells nothing; that is what the option `watchdog` is for.
 *
 * The monitor ends with its loop. It keeps neither the process nor `run` alive. On a
 * virtual loop its timer moves the clock on for ever, so that no deadlock is found.
 *
 * @example
 * ```ts
 * import { type LagEvent, LagMonitor, run, sleep } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const events: LagEvent[] = [];
 * await run(function* () {
 *   const monitor = new LagMonitor({
 *     everyMs: 10,
 *     thresholdMs: 50,
 *     onLag: (event) => events.push(event),
 *   });
 *   yield* sleep(20);
 *   const end = performance.now() + 100;
 *   while (performance.now() < end); // keeps the thread
 *   while (events.length === 0) yield* sleep(10);
 *   void monitor.close();
 * }, { name: "main" });
 * assertEquals([events[0]!.kind, events[0]!.culprit], ["blocked", 'task "main"']);
 * ```
 */
export class LagMonitor implements AsyncDisposable {
  readonly #loop: EventLoop;
  readonly #everyMs: number;
  readonly #thresholdMs: number;
  readonly #window: Window;
  readonly #listeners: Set<(event: LagEvent) => void> = new Set();
  readonly #stopwatch: Stopwatch | null;
  readonly #watchdog: Watchdog | null;
  readonly #ownsWatchdog: boolean;
  readonly #suspensions: Suspensions;
  readonly #ending: EndListener = { loopClosed: () => void this.close() };
  #timer: TimerHandle;
  #dueMs: number;
  /** Time spent on snapshots since the last sample. */
  #readingMs = 0;
  /** A lag of which it is not known yet what it was. */
  #late: LagEvent | null = null;
  #sumTotal = 0;
  #samplesTotal = 0;
  #suspendedTotal = 0;
  #closed = false;

  /**
   * Begins to monitor.
   *
   * @param options The loop, and how.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a duration is out of range.
   * @throws {LoopClosedError} If the loop is closed.
   * @throws {WatchdogUnsupportedError} If a watchdog is wanted and may not be.
   */
  constructor(options: LagMonitorOptions = {}) {
    checkLagOptions(options);
    const {
      loop = getRunningLoop(),
      everyMs = 500,
      windowMs = 60_000,
      thresholdMs = 100,
      culprits = true,
      watchdog = false,
      onLag,
    } = options;
    this.#loop = loop;
    this.#everyMs = everyMs;
    this.#thresholdMs = thresholdMs;
    this.#window = new Window(windowMs, loop.time());
    this.#stopwatch = culprits ? new Stopwatch(loop) : null;
    this.#dueMs = loop.time() + everyMs;
    this.#timer = loop.callAt(this.#dueMs, this.#sample);
    this.#timer.unref();
    const current = watchdog ? Watchdog.current : null;
    this.#ownsWatchdog = watchdog && current === null;
    this.#watchdog = this.#ownsWatchdog ? this.#startWatchdog() : current;
    this.#suspensions = new Suspensions(this.#watchdog);
    loop[core].endings.add(this.#ending);
    if (onLag !== undefined) this.subscribe(onLag);
  }

  #startWatchdog(): Watchdog {
    try {
      return new Watchdog({ blockMs: Math.max(this.#thresholdMs, 4) });
    } catch (error) {
      this.#timer.cancel();
      throw error;
    }
  }

  /**
   * Calls a function with each lag beyond the threshold.
   *
   * @param listener Called until the result is disposed of, or the monitor is closed.
   * @returns The subscription: dispose of it to end it.
   * @throws {TypeError} If `listener` is no function.
   */
  subscribe(listener: (event: LagEvent) => void): Disposable {
    checkFunction(listener, "subscribe to the lag of a loop", "listener");
    const own = (event: LagEvent): void => listener(event);
    if (!this.#closed) this.#listeners.add(own);
    this.#time();
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(own);
        this.#time();
      },
    };
  }

  /** Times steps if there is somebody to tell. */
  #time(): void {
    this.#stopwatch?.run(this.#listeners.size > 0);
  }

  /**
   * Returns the lag of the last window. Reading it changes nothing, so that several
   * readers do not disturb each other; the time it takes counts as no lag.
   *
   * @returns A frozen snapshot.
   */
  snapshot(): LagSnapshot {
    return this.exclude(() => {
      const histogram = this.#window.merged(this.#loop.time());
      return Object.freeze({
        samples: histogram.count,
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        max: histogram.quantile(1),
        sumTotal: this.#sumTotal,
        samplesTotal: this.#samplesTotal,
        suspendedTotal: this.#suspendedTotal,
      });
    });
  }

  /**
   * Runs a function whose time does not count as lag, such as one that writes what
   * was measured.
   *
   * @typeParam T Type of the result.
   * @param fn The function. An error of it is thrown.
   * @returns Its result.
   */
  exclude<T>(fn: () => T): T {
    const beganMs = this.#loop.time();
    try {
      return fn();
    } finally {
      this.#readingMs += this.#loop.time() - beganMs;
    }
  }

  // -- Samples --

  readonly #sample = (): void => {
    const nowMs = this.#loop.time();
    const sampleMs = Math.max(nowMs - this.#dueMs - this.#readingMs, 0);
    const culprit = this.#stopwatch?.take() ?? null;
    // A step that blocked between two samples would have made a timer as late.
    const lagMs = Math.max(sampleMs, (culprit?.tookMs ?? 0) - this.#readingMs);
    this.#readingMs = 0;
    if (this.#late !== null) this.#conclude();
    if (lagMs < this.#thresholdMs) {
      this.#suspensions.take(); // a short one says nothing about a later lag
      this.#count(sampleMs);
    } else {
      const isIt = culprit !== null && culprit.tookMs >= lagMs / 2;
      this.#late = {
        kind: "blocked",
        lagMs,
        atMs: nowMs,
        ...isIt ? culprit : NO_CULPRIT,
      };
    }
    const inMs = this.#late === null
      ? this.#everyMs
      : Math.min(NEWS_MS, this.#everyMs);
    this.#dueMs = nowMs + inMs;
    // A listener may have closed the monitor.
    if (!this.#closed) {
      this.#timer = this.#loop.callAt(this.#dueMs, this.#sample);
      this.#timer.unref();
    }
  };

  #count(lagMs: number): void {
    this.#window.add(this.#loop.time(), lagMs);
    this.#sumTotal += lagMs;
    this.#samplesTotal++;
  }

  /** The kind of a lag is known by now. */
  #conclude(): void {
    const late = this.#late!;
    this.#late = null;
    const suspendedMs = Math.min(this.#suspensions.take(), late.lagMs);
    const restMs = late.lagMs - suspendedMs;
    this.#suspendedTotal += suspendedMs;
    if (suspendedMs === 0) {
      this.#count(late.lagMs);
      return this.#tell(late);
    }
    if (restMs > REST_MS) this.#count(restMs);
    this.#tell({
      ...late,
      ...NO_CULPRIT,
      kind: "suspended",
      lagMs: suspendedMs,
    });
    if (restMs >= this.#thresholdMs) this.#tell({ ...late, lagMs: restMs });
  }

  #tell(event: LagEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(Object.freeze(event));
      } catch (error) {
        this.#loop.callExceptionHandler({
          message: "A listener of a lag monitor threw",
          exception: error,
        });
      }
    }
  }

  /**
   * Ends the monitor, and the watchdog if the monitor has made it. Calling it again
   * does nothing.
   *
   * @returns A promise that resolves once that has ended.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#timer.cancel();
      this.#listeners.clear();
      this.#stopwatch?.run(false);
      this.#suspensions.close();
      this.#loop[core].endings.delete(this.#ending);
    }
    return this.#ownsWatchdog ? this.#watchdog!.close() : Promise.resolve();
  }

  /**
   * The same as {@linkcode close}.
   *
   * @returns A promise that resolves once all has ended.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function checkLagOptions(options: LagMonitorOptions): void {
  checkOptions(options, WHAT);
  for (const name of ["everyMs", "windowMs", "thresholdMs"] as const) {
    const value = options[name];
    if (value === undefined) continue;
    checkNotNegative(value, WHAT, name);
    if (!(value >= 1 && value < Infinity)) {
      throw new RangeError(
        `Cannot ${WHAT} as ${name} must be >= 1 and finite: received ${value}`,
      );
    }
  }
  if (options.loop !== undefined) checkLoop(options.loop, WHAT);
  if (options.onLag !== undefined) checkFunction(options.onLag, WHAT, "onLag");
  for (const name of ["culprits", "watchdog"] as const) {
    checkOneOf(options[name], [undefined, true, false], WHAT, name);
  }
}

/** Samples of the last while, in slices that are forgotten one after the other. */
class Window {
  readonly #slices: Histogram[] = [];
  readonly #merged: Histogram = new Histogram();
  readonly #sliceMs: number;
  /** When the first slice began. */
  readonly #originMs: number;
  /** Number of the newest slice since then. */
  #newest = 0;

  constructor(windowMs: number, nowMs: number) {
    this.#sliceMs = windowMs / SLICES;
    this.#originMs = nowMs;
    // The newest slice is not full, and comes on top.
    for (let n = 0; n <= SLICES; n++) this.#slices.push(new Histogram());
  }

  add(nowMs: number, value: number): void {
    this.#forget(nowMs);
    this.#slices[this.#newest % this.#slices.length]!.add(value);
  }

  merged(nowMs: number): Histogram {
    this.#forget(nowMs);
    this.#merged.clear();
    for (const slice of this.#slices) {
      if (slice.count > 0) this.#merged.addAll(slice);
    }
    return this.#merged;
  }

  #forget(nowMs: number): void {
    const newest = Math.floor((nowMs - this.#originMs) / this.#sliceMs);
    const { length } = this.#slices;
    const passed = Math.min(newest - this.#newest, length);
    for (let n = 0; n < passed; n++) {
      this.#slices[(newest - n) % length]!.clear();
    }
    this.#newest = Math.max(newest, this.#newest);
  }
}

/** A step or callback that took long. */
interface Culprit {
  readonly culprit: string | null;
  readonly taskId: number | null;
  readonly tookMs: number;
}

const NO_CULPRIT: Culprit = { culprit: null, taskId: null, tookMs: 0 };

/** Durations below this are not worth a description. */
const WORTH_MS = 0.5;

/** Times steps and callbacks, and remembers the longest one. */
class Stopwatch implements Instrument {
  readonly #loop: EventLoop;
  #isOn = false;
  #lastMs = 0;
  #longest: Culprit | null = null;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  run(isOn: boolean): void {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    this.#lastMs = Infinity; // what has begun before was not seen
    if (isOn) this.#loop.addInstrument(this);
    else this.#loop.removeInstrument(this);
  }

  /** Returns the longest one since the last call. */
  take(): Culprit | null {
    const longest = this.#longest;
    this.#longest = null;
    return longest;
  }

  turnBegins(): void {
    this.#lastMs = this.#loop.time();
  }

  // Of a step only the end is timed: it begins where the one before has ended.

  stepEnds(task: Task<unknown>): void {
    const tookMs = this.#tookMs();
    if (tookMs > WORTH_MS && tookMs > (this.#longest?.tookMs ?? 0)) {
      const culprit = `task "${task.name}"`;
      this.#longest = { culprit, taskId: task.id, tookMs };
    }
  }

  callbackEnds(callback: Handle | Future<unknown>): void {
    const tookMs = this.#tookMs();
    if (tookMs > WORTH_MS && tookMs > (this.#longest?.tookMs ?? 0)) {
      const culprit = callback instanceof Handle
        ? describeHandle(callback)
        : callback[inWords]();
      this.#longest = { culprit, taskId: null, tookMs };
    }
  }

  #tookMs(): number {
    const nowMs = this.#loop.time();
    const tookMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    return tookMs;
  }
}

/** Knows whether the process was suspended. */
class Suspensions {
  readonly #watchdog: Watchdog | null;
  #remove: () => void = () => {};
  #suspendedMs: number;
  #hasGoneOn = false;

  constructor(watchdog: Watchdog | null) {
    this.#watchdog = watchdog;
    this.#suspendedMs = watchdog?.suspendedMs ?? 0;
    const goesOn = () => {
      this.#hasGoneOn = true;
    };
    try {
      this.#remove = onSignal("SIGCONT", goesOn, () => {});
    } catch {
      // Windows has no such signal, and no way to stop a process.
    }
  }

  /** How long it was suspended since the last call; `Infinity` if that is not known, but that it was. */
  take(): number {
    const before = this.#suspendedMs;
    const hasGoneOn = this.#hasGoneOn;
    this.#suspendedMs = this.#watchdog?.suspendedMs ?? 0;
    this.#hasGoneOn = false;
    const suspendedMs = this.#suspendedMs - before;
    return suspendedMs === 0 && hasGoneOn ? Infinity : suspendedMs;
  }

  close(): void {
    this.#remove();
  }
}

/**
 * Measures the lag of the loop once: the time from this wait until the loop gets to
 * it, with all that is ready before.
 *
 * @example
 * ```ts
 * import { measureLag, run } from "@rota/rota";
 * import { assert } from "@std/assert";
 *
 * await run(async () => {
 *   assert(await measureLag() < 1_000);
 * });
 * ```
 *
 * @returns An operation whose result is the lag in milliseconds.
 */
export function measureLag(): Operation<number> {
  return new Operation(function* () {
    const { loop } = findTask()!;
    const beganMs = loop.time();
    yield* sleep(0);
    return loop.time() - beganMs;
  }, { name: "measureLag()" });
}
