/**
 * Waiting: a loop that has nothing to run is parked. The host waits on its
 * behalf for the first deadline, a descriptor, or code that queues something.
 *
 * @module
 */
import type { Host, HostClient } from "../host/host.ts";
import { detached, microtask } from "../host/microtask.ts";
import { DEADLOCK_MS, type DeadlockWatch } from "./deadlock.ts";
import type { IoGate } from "./io_gate.ts";
import type { LoopTimers } from "./loop_timers.ts";
import type { Precision } from "./precision.ts";
import { stepWatch } from "./step_watch.ts";

/**
 * A turn runs, or a continuation that begins one is on its way: a microtask hop,
 * the gate, or the last stretch before a deadline. A stopped loop is awake, too.
 */
export const AWAKE = 0;
/** The host is being asked to wait right now, and might answer at once. */
const PARKING = 1;
/** The host waits on behalf of the loop, until something is queued. */
export const PARKED = 2;
/** State of a loop that has nothing to run. */
export type WaitState = typeof AWAKE | typeof PARKING | typeof PARKED;

/** Kernel, as far as the wait calls it at its end. */
export interface Sleeper {
  /** Begins the next turn; to be called in a microtask. */
  readonly nextTurn: () => void;
  /** The host has waited, and the runtime has had the thread: a turn is to begin now. */
  woken(): void;
  /** Whether something outside of the loop may still wake one of its tasks. */
  hasOutsideWaits(): boolean;
  /** Whether promise reactions may be under way that go on with a task. */
  hasPromiseWork(): boolean;
}

/** Wait of one loop. */
export class Parking implements HostClient {
  /** Whether the loop is parked or about to be. */
  state: WaitState = AWAKE;
  readonly #sleeper: Sleeper;
  readonly #host: Host;
  readonly #timers: LoopTimers;
  readonly #gate: IoGate;
  readonly #precision: Precision | null;
  readonly #deadlock: DeadlockWatch;
  /** Deadline until which the host was asked to wait. */
  #untilMs = Infinity;
  /** Whether it was asked to keep the process alive. */
  #holding = false;
  /** Whether the host is going to be asked anew. */
  #parksAnew = false;
  /** When the wait counts as a deadlock; Infinity if it does not. */
  #deadlockAtMs = Infinity;

  constructor(
    sleeper: Sleeper,
    host: Host,
    timers: LoopTimers,
    gate: IoGate,
    precision: Precision | null,
    deadlock: DeadlockWatch,
  ) {
    this.#sleeper = sleeper;
    this.#host = host;
    this.#timers = timers;
    this.#gate = gate;
    this.#precision = precision;
    this.#deadlock = deadlock;
  }

  /** Has the host wait for the first deadline, or until the loop is woken. */
  park(): void {
    stepWatch.current?.parking();
    let untilMs = this.#timers.firstMs();
    let { hold } = this.#timers;
    if (untilMs === Infinity && this.#deadlock.isNeeded()) {
      if (this.#deadlockAtMs === Infinity) {
        this.#deadlockAtMs = this.#host.now() + DEADLOCK_MS;
      }
      untilMs = this.#deadlockAtMs;
      hold = true;
    } else this.#deadlockAtMs = Infinity;
    this.#untilMs = untilMs;
    this.#holding = hold;
    this.state = PARKING;
    this.#host.park(
      this.#precision === null ? untilMs : untilMs - this.#precision.aheadMs,
      hold,
    );
    if (this.state === PARKING) this.state = PARKED;
  }

  /** Ends the wait of the host, as code outside the loop has queued something. */
  unpark(): void {
    this.state = AWAKE;
    this.#deadlockAtMs = Infinity;
    this.#host.unpark();
    if (!this.#host.virtual) this.#gate.noteWakeUp();
    detached(this.#sleeper.nextTurn);
  }

  /** Ends the wait so that the run can fail. */
  fail(): void {
    if (this.state === AWAKE) return;
    this.state = AWAKE;
    microtask(this.#sleeper.nextTurn);
  }

  /** The run has ended. */
  rest(): void {
    stepWatch.current?.parking();
    this.#deadlockAtMs = Infinity;
    this.#host.rest();
  }

  /** Reports a deadlock to the watch once it has lasted long enough. */
  checkDeadlock(nowMs: number): void {
    if (nowMs < this.#deadlockAtMs) return;
    this.#deadlockAtMs = Infinity;
    this.#deadlock.expired();
  }

  /** A timer was started while the host waits. */
  timerStarted(whenMs: number): void {
    if (
      whenMs < this.#untilMs || !this.#holding ||
      this.#deadlockAtMs !== Infinity
    ) this.parkAnew();
  }

  /** Has the host wait anew if the timers now ask for something else. */
  timersChanged(): void {
    const untilMs = this.#timers.firstMs();
    const hold = untilMs !== Infinity && this.#timers.hold;
    if (untilMs !== this.#untilMs || hold !== this.#holding) this.parkAnew();
  }

  /**
   * Has the host wait anew, as what the loop waits for was changed from
   * outside. The host is called a little later, so that its code does not run
   * in the async context of the caller.
   */
  parkAnew(): void {
    if (this.#parksAnew) return;
    this.#parksAnew = true;
    detached(this.#parkIfParked);
  }

  readonly #parkIfParked = (): void => {
    this.#parksAnew = false;
    if (this.state !== AWAKE) this.park();
  };

  // Calls of the host.

  /** The host has ended its wait. */
  wake(): void {
    const { state } = this;
    if (state === AWAKE) return;
    this.state = AWAKE;
    const precision = this.#precision;
    const askedMs = precision === null
      ? Infinity
      : this.#untilMs - precision.aheadMs;
    if (state === PARKING) {
      microtask(this.#sleeper.nextTurn);
      return;
    }
    this.#gate.noteYield();
    const lateMs = this.#gate.yieldedAtMs - askedMs;
    if (precision !== null && lateMs >= 0) precision.learn(lateMs);
    this.#sleeper.woken();
  }

  starved(): void {
    this.#deadlock.starved();
  }

  stoodStill(why: "outside" | "held" = "outside"): void {
    this.#deadlock.stoodStill(why);
  }

  hasOutsideWaits(): boolean {
    return this.#sleeper.hasOutsideWaits();
  }

  hasPromiseWork(): boolean {
    return this.#sleeper.hasPromiseWork();
  }
}
