/**
 * Timers of a loop: those that are pending, and how many of them do not keep the
 * process alive.
 *
 * @module
 */
import { TimerQueue } from "../structures/timer_queue.ts";
import { core, type TimerCore } from "./core.ts";
import type { EventLoop } from "./event_loop.ts";
import type { Timer } from "./runnable.ts";
import { type TickCallback, TickTimer } from "./tick_timer.ts";
import { TimerHandle } from "./timer_handle.ts";

/** Stands in for -Infinity, which the timer queue does not take. */
const EARLIEST_MS = -Number.MAX_VALUE;

/** Kernel, as far as it has to know of changes: it may be parked until a deadline. */
export interface TimerListener {
  /** Throws if no timer may be started any more. */
  checkMayStart(what: string): void;
  /** A timer was started. */
  timerStarted(whenMs: number): void;
  /** The first deadline, or whether the process is to live for a timer, may have changed. */
  timersChanged(): void;
}

/** Pending timers of one loop. */
export class LoopTimers implements TimerCore {
  readonly #loop: EventLoop;
  readonly #listener: TimerListener;
  readonly #pending: TimerQueue<Timer> = new TimerQueue();
  /** How many of them do not keep the process alive. */
  #unheld = 0;

  constructor(loop: EventLoop, listener: TimerListener) {
    this.#loop = loop;
    this.#listener = listener;
  }

  /** How many timers are pending. */
  get size(): number {
    return this.#pending.size;
  }

  /** Whether the process is to live for one of them. */
  get hold(): boolean {
    return this.#pending.size > this.#unheld;
  }

  /** Lists the timers that are pending, in no particular order. */
  list(): Timer[] {
    return [...this.#pending];
  }

  /** Returns the first deadline; `Infinity` if there is none. */
  firstMs(): number {
    return this.#pending.peekMs();
  }

  /** Makes a timer for a callback, and starts it. */
  createTimer(
    whenMs: number,
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
  ): TimerHandle {
    const timer = new TimerHandle(
      this,
      whenMs === -Infinity ? EARLIEST_MS : whenMs,
      callback,
      args,
    );
    return this.#begin(timer, callback);
  }

  createTickTimer<T>(callback: TickCallback<T>, target: T): TimerHandle {
    if (this.#loop[core].overridden) {
      return this.#loop.callAt(Infinity, () => void callback(target, NaN));
    }
    return this.#begin(new TickTimer(this, callback, target), callback);
  }

  /** Starts a timer that may have a creation stack and a priority. */
  #begin(timer: TimerHandle, callback: unknown): TimerHandle {
    const kernel = this.#loop[core];
    if (kernel.instrumented) kernel.debug.instrument(timer, callback);
    this.startTimer(timer);
    kernel.ranking?.noteTimer(timer);
    return timer;
  }

  startTimer(timer: Timer): void {
    this.#listener.checkMayStart("schedule a callback");
    const { whenMs } = timer;
    this.#pending.push(timer);
    if (whenMs === Infinity) this.#unheld++;
    this.#listener.timerStarted(whenMs);
  }

  dropTimer(timer: Timer): void {
    if (!this.#pending.remove(timer)) {
      this.#loop[core].ranking?.withdrawTimer(timer);
      return;
    }
    if (!timer.holdsProcess()) this.#unheld--;
    this.#listener.timersChanged();
  }

  moveTimer(timer: TimerHandle, whenMs: number): void {
    this.#listener.checkMayStart("reschedule a timer");
    if (!this.#pending.remove(timer)) {
      this.#loop[core].ranking?.withdrawTimer(timer);
    } else if (!timer.holdsProcess()) this.#unheld--;
    timer.setDeadline(whenMs === -Infinity ? EARLIEST_MS : whenMs);
    this.#pending.push(timer);
    if (!timer.holdsProcess()) this.#unheld++;
    this.#listener.timersChanged();
  }

  timerHoldChanged(holds: boolean): void {
    this.#unheld += holds ? -1 : 1;
    this.#listener.timersChanged();
  }

  /** Takes out the next timer whose deadline has come, if there is one. */
  popDue(nowMs: number): Timer | undefined {
    const timer = this.#pending.popDue(nowMs);
    if (timer === undefined) return undefined;
    timer.fallDue();
    if (!timer.holdsProcess()) this.#unheld--;
    return timer;
  }

  /** Forgets all timers. */
  clear(): void {
    this.#pending.clear();
  }
}
