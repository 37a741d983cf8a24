import { InvalidStateError } from "../errors.ts";
import { NOT_QUEUED, type TimerNode } from "../structures/timer_queue.ts";
import { checkNumber } from "./checks.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Relay } from "./scheduler.ts";

/** What the ready queue holds: a callback's handle, or a task or wait to go on with. */
export interface Runnable {
  /** Its turn has come. What it throws goes to the loop's exception handler. */
  run(): void;
  /** Gives what is as urgent as those who wait for this, on loops that go by priority; without it, see `RankedQueue`. */
  readonly relay?: () => Relay;
}

/** Stands in for the arguments of a callback that has none; never written to. */
const NO_ARGUMENTS: readonly unknown[] = Object.freeze([]);

/**
 * A callback that was handed to a loop and may still be withdrawn.
 *
 * It is asyncio's `Handle`: {@linkcode EventLoop.callSoon} and
 * {@linkcode EventLoop.addReader} return one. It is disposable, so that
 * `using handle = loop.callSoon(...)` withdraws the callback when the block is
 * left.
 */
export class Handle implements Disposable {
  /** Null once withdrawn, so that nothing the callback refers to is kept. */
  declare private callback: ((...args: never[]) => unknown) | null;
  declare private args: readonly unknown[];

  /**
   * Handles are made by the methods of {@linkcode EventLoop} that return them.
   *
   * @ignore
   */
  constructor(
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ) {
    this.callback = callback;
    this.args = args.length === 0 ? NO_ARGUMENTS : args;
  }

  /**
   * Withdraws the callback: it does not run any more, and the handle lets go of
   * it and of its arguments. Does nothing when it has run or was withdrawn.
   *
   * @example A callback that is not wanted after all
   * ```ts
   * import { newEventLoop } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * await using loop = newEventLoop({ host: "virtual" });
   * const log: string[] = [];
   * const handle = loop.callSoon(() => log.push("unwanted"));
   * loop.callSoon(() => loop.stop());
   * handle.cancel();
   * await loop.runForever();
   * assertEquals(log, []);
   * assertEquals(handle.cancelled(), true);
   * ```
   */
  cancel(): void {
    this.callback = null;
    this.args = NO_ARGUMENTS;
  }

  /**
   * Tells whether {@linkcode cancel} was called.
   *
   * @returns Whether it was, be it before or after the callback ran.
   */
  cancelled(): boolean {
    return this.callback === null;
  }

  /** The same as {@linkcode cancel}. */
  [Symbol.dispose](): void {
    this.cancel();
  }

  /**
   * Runs the callback unless it was withdrawn. The loop calls this.
   *
   * @ignore
   */
  run(): void {
    const callback = this.callback;
    if (callback === null) return;
    if (this.args.length === 0) callback();
    else callback(...(this.args as never[]));
  }

  /** What to call this handle in messages. */
  private describe(): string {
    const name = this.callback?.name;
    return `callback ${
      name === undefined || name === "" ? "(anonymous)" : `"${name}"`
    }`;
  }
}

/** What the timers of a loop hold: a callback's handle, or a task's sleep. */
export interface Timer extends TimerNode, Runnable {
  /** Whether the process is to live for this timer: not for one that never runs. */
  holdsProcess(): boolean;
  /** The moment has come: `run` is called when its turn has come. */
  fallDue(): void;
}

// What has become of a timer; a cancelled one has given up its place wherever
// it was. Numbers, as a handle has one field for all of its state.
const PENDING = 0;
const DUE = 1;
const RAN = 2;
/** Added to the state of a timer that does not keep the process alive. */
const UNHELD = 4;

/**
 * A callback that a loop runs at a moment, and that may be withdrawn or moved.
 *
 * {@linkcode EventLoop.callLater} and {@linkcode EventLoop.callAt} return one.
 */
export class TimerHandle extends Handle {
  private readonly loop: EventLoop;
  /** Maintained by the loop's timer queue. @ignore */
  whenMs: number;
  /** Maintained by the loop's timer queue. @ignore */
  sequence = 0;
  /** Maintained by the loop's timer queue. @ignore */
  queueBucket: number = NOT_QUEUED;
  /** Maintained by the loop's timer queue. @ignore */
  queueIndex = 0;
  private state = PENDING;

  /** @ignore */
  constructor(
    loop: EventLoop,
    whenMs: number,
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ) {
    super(callback, args);
    this.loop = loop;
    this.whenMs = whenMs;
  }

  /**
   * Tells when the callback is due, or was.
   *
   * @returns A moment on the clock of {@linkcode EventLoop.time}, in
   * milliseconds; `Infinity` for a timer that never runs.
   */
  when(): number {
    return this.whenMs;
  }

  /**
   * Withdraws the callback. It leaves the loop's timers at once, and the handle
   * lets go of it and of its arguments. Does nothing when it has run or was
   * withdrawn. Costs O(1) for most timers, O(log n) for those about to be due.
   */
  override cancel(): void {
    if (this.cancelled()) return;
    super.cancel();
    this.loop["dropTimer"](this);
  }

  /**
   * Moves the callback to another moment, as if it had been scheduled now: it
   * goes behind those already due at that moment.
   *
   * A callback that was due but has not run yet does not run at its old moment.
   * One that has run runs again.
   *
   * @example A watchdog that is put off as long as something happens
   * ```ts
   * import { run, sleep } from "@rota/rota";
   * import { assertEquals } from "@std/assert";
   *
   * const barked = await run(function* () {
   *   const loop = getRunningLoop();
   *   let barkedAt = 0;
   *   const watchdog = loop.callAt(100, () => barkedAt = loop.time());
   *   yield* sleep(60);
   *   watchdog.reschedule(loop.time() + 100);
   *   yield* sleep(200);
   *   return barkedAt;
   * }, { host: "virtual" });
   * assertEquals(barked, 160);
   *
   * import { getRunningLoop } from "@rota/rota";
   * ```
   *
   * @param whenMs The new moment on the clock of {@linkcode EventLoop.time}. A
   * moment that has passed means as soon as possible, `Infinity` never.
   * @throws {TypeError} If `whenMs` is not a number.
   * @throws {RangeError} If `whenMs` is `NaN`.
   * @throws {InvalidStateError} If the timer was cancelled.
   * @throws {LoopClosedError} If the loop is closed.
   */
  reschedule(whenMs: number): void {
    checkNumber(whenMs, "reschedule a timer", "whenMs");
    if (this.cancelled()) {
      throw new InvalidStateError(
        "Cannot reschedule a timer: it was cancelled",
      );
    }
    this.loop["moveTimer"](this, whenMs);
  }

  /**
   * Makes the pending timer keep the process alive while its loop runs, as it
   * does from the start. Undoes {@linkcode unref}.
   */
  ref(): void {
    this.setHolds(true);
  }

  /**
   * Lets the process end while the timer is pending, if nothing else keeps it
   * alive. The timer still runs if the process lives that long.
   */
  unref(): void {
    this.setHolds(false);
  }

  /** Whether the process is to live for this timer. @ignore */
  holdsProcess(): boolean {
    return this.state < UNHELD && this.whenMs !== Infinity;
  }

  /** Sets whether the timer keeps the process alive, and tells the loop if that changes anything. */
  private setHolds(holds: boolean): void {
    const held = this.state < UNHELD;
    if (holds === held) return;
    const counted = this.holdsProcess();
    this.state ^= UNHELD;
    if (
      (this.state & ~UNHELD) === PENDING && !this.cancelled() &&
      this.holdsProcess() !== counted
    ) this.loop["timerHoldChanged"](holds);
  }

  /** Sets another deadline, as for a timer that was never due. */
  private move(whenMs: number): void {
    this.whenMs = whenMs;
    this.state = this.state & UNHELD;
  }

  /** The moment has come. @ignore */
  fallDue(): void {
    this.state = (this.state & UNHELD) | DUE;
  }

  /** Its turn has come. @ignore */
  override run(): void {
    // Else a stale entry of the ready queue: the timer was moved after it fell due.
    if ((this.state & ~UNHELD) !== DUE) return;
    this.state = (this.state & UNHELD) | RAN;
    super.run();
  }
}

/**
 * What a {@linkcode TickTimer} calls, with the time if it is known, else `NaN`.
 * Returns the time if it was read when all was done, else `NaN`.
 */
export type TickCallback<T> = (target: T, readMs: number) => number;

/**
 * A timer of something that has to know when it begins and when it has ended. Of
 * several that run one after the other, each begins when the one before has
 * ended: they hand on what the clock said, as reading it costs as much as half of
 * all else. The loop sees to it that nothing else runs in between.
 */
export class TickTimer<T> extends TimerHandle {
  private readonly target: T;

  constructor(loop: EventLoop, callback: TickCallback<T>, target: T) {
    super(loop, Infinity, callback, NO_ARGUMENTS);
    this.target = target;
  }

  override run(): void {
    this.runAt(NaN);
  }

  /** Its turn has come; takes and returns what {@linkcode TickCallback} does. */
  private runAt(readMs: number): number {
    const callback = this["callback"] as TickCallback<T> | null;
    const state = this["state"];
    if ((state & ~UNHELD) !== DUE) return readMs; // as in TimerHandle.run
    this["state"] = (state & UNHELD) | RAN;
    return callback === null ? readMs : callback(this.target, readMs);
  }
}

/** How the loop recognizes one. */
export const TICK_RUN = TickTimer.prototype.run;

/** A callback that waits for a future, and is called with it. */
export class DoneCallback extends Handle {
  readonly #original: (...args: never[]) => unknown;

  constructor(callback: (...args: never[]) => unknown, future: unknown) {
    super(callback, [future]);
    this.#original = callback;
  }

  /** Whether this was made for `callback`. */
  isFor(callback: (...args: never[]) => unknown): boolean {
    return this.#original === callback;
  }
}
