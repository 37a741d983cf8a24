/**
 * Timers with a callback, which can be cancelled and moved.
 *
 * @module
 */
import { InvalidStateError } from "../errors.ts";
import { NOT_QUEUED } from "../structures/timer_queue.ts";
import { checkNumber } from "./checks.ts";
import type { TimerCore } from "./core.ts";
import { Handle } from "./handle.ts";

// States of a timer; a cancelled one has given up its place wherever
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
  private readonly timers: TimerCore;
  /**
   * Maintained by the loop's timer queue.
   *
   * @ignore
   */
  whenMs: number;
  /**
   * Maintained by the loop's timer queue.
   *
   * @ignore
   */
  sequence = 0;
  /**
   * Maintained by the loop's timer queue.
   *
   * @ignore
   */
  queueBucket: number = NOT_QUEUED;
  /**
   * Maintained by the loop's timer queue.
   *
   * @ignore
   */
  queueIndex = 0;
  private state = PENDING;

  /** @ignore */
  constructor(
    timers: TimerCore,
    whenMs: number,
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ) {
    super(callback, args);
    this.timers = timers;
    this.whenMs = whenMs;
  }

  /**
   * Returns the moment at which the callback is due, or was.
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
    this.timers.dropTimer(this);
  }

  /**
   * Moves the callback to another moment, as if it had been scheduled now: it
   * goes behind those already due at that moment.
   *
   * A callback that was due but has not run yet does not run at its old moment.
   * A timer that has run runs again.
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
    this.timers.moveTimer(this, whenMs);
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

  /**
   * Whether the process is to live for this timer.
   *
   * @ignore
   */
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
    ) this.timers.timerHoldChanged(holds);
  }

  /**
   * Sets another deadline, as for a timer that was never due: for the loop, which queues it anew.
   *
   * @ignore
   */
  setDeadline(whenMs: number): void {
    this.whenMs = whenMs;
    this.state = this.state & UNHELD;
  }

  /**
   * The moment has come.
   *
   * @ignore
   */
  fallDue(): void {
    this.state = (this.state & UNHELD) | DUE;
  }

  /**
   * Called when its turn has come.
   *
   * @ignore
   */
  override run(): void {
    if (this.takeTurn()) super.run();
  }

  /**
   * Notes that the timer's turn has come; false for a stale entry of the ready
   * queue, as the timer was moved after it fell due.
   */
  protected takeTurn(): boolean {
    if ((this.state & ~UNHELD) !== DUE) return false;
    this.state = (this.state & UNHELD) | RAN;
    return true;
  }
}
