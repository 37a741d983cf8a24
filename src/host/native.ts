/**
 * Waiting with a system call: the half that epoll and poll(2) have in common.
 *
 * A busy loop asks for ready descriptors synchronously. A sleeping loop has one pending call on a thread of the runtime's
 * pool, and never a second one: there are 32 such threads, and files, name look-ups and imports need them too.
 *
 *            begin                 interrupt
 *     none ────────▶ pending ────────────────▶ ending
 *       ▲               │ deadline, descriptor    │
 *       └───────────────┴─────────────────────────┘
 *
 * - A pending call keeps the process alive and cannot be taken back. Waking one of its descriptors ends it, and it
 *   resolves some 50 us later. Hence the three states; and hence a park that needs no descriptors and must not hold the
 *   process uses a timer of the runtime.
 * - The report of a pending call may be out of date when its promise reaction runs: meanwhile a descriptor may have been
 *   closed and its number given to something else. So its result is not even looked at. It says "get up"; which
 *   descriptors are ready is what a synchronous call says.
 *
 * @module
 */
import {
  checkUnowned,
  type Host,
  type HostClient,
  type ReadyListener,
} from "./host.ts";
import { macrotask } from "./macrotask.ts";
import { detached } from "./microtask.ts";
import { after, type HostTimer, KeepAlive } from "./timers.ts";

/** A host that waits with one pending system call; its subclasses say with which. */
export abstract class NativeHost implements Host {
  abstract readonly name: string;
  readonly virtual: boolean = false;

  #client: HostClient | undefined;
  #parked = false;
  #deadlineMs = Infinity;
  #hold = true;
  readonly #keepAlive = new KeepAlive();
  /** Replaces a pending call that would hold the process. */
  #timer: HostTimer | undefined;
  /** Number of the latest park, by which a callback that cannot be withdrawn finds out that it is stale. */
  #parkId = 0;

  /** The pending call: none, one, or one that was interrupted. */
  #wait: "none" | "pending" | "ending" = "none";
  /** Resolves when the last pending call is over. */
  #waitOver: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  abstract now(): number;
  abstract watch(fd: number, events: number): boolean;
  abstract poll(ready: ReadyListener): void;

  // -- The system call --

  /** Whether there are descriptors that only a call can wait for. */
  protected abstract watchesDescriptors(): boolean;

  /** Whether there are descriptors that no call can wait for, as they are always ready. */
  protected abstract watchesAlwaysReady(): boolean;

  /** Opens what a call needs, if it is not open. Throws if the operating system refuses. */
  protected abstract openNative(): void;

  /** Has the call, pending or not, end at the deadline. Returns false if a pending one would end too late. */
  protected abstract aim(deadlineMs: number): boolean;

  /** Begins a call that ends at the deadline or when a descriptor is ready. */
  protected abstract beginCall(deadlineMs: number): Promise<unknown>;

  /** Makes the pending call end soon. */
  protected abstract interruptCall(): void;

  /** The call is over; takes back what {@linkcode interruptCall} has done, if it was interrupted. */
  protected abstract endCall(interrupted: boolean): void;

  /** The call has ended by itself, and the loop is about to be woken. */
  protected abstract beforeWake(): void;

  /** Releases everything that {@linkcode openNative} has opened; no call is pending. */
  protected abstract closeNative(): void;

  // -- The contract --

  open(client: HostClient): void {
    checkUnowned(this.#client);
    this.#client = client;
  }

  park(deadlineMs: number, hold: boolean): void {
    // Opened here and not when the wait begins, so that the loop sees it fail.
    if (this.#needsCall(deadlineMs, hold)) this.openNative();
    this.#parked = true;
    this.#parkId++;
    this.#deadlineMs = deadlineMs;
    this.#hold = hold;
    if (deadlineMs <= this.now()) this.#wake();
    else detached(this.#settleIfParked);
  }

  unpark(): void {
    // A pending call is left alone: the next park can use it again, and if it
    // resolves before that, nobody is woken.
    this.#parked = false;
    this.#cancelTimer();
  }

  rest(): void {
    this.#parked = false;
    this.#cancelTimer();
    this.interrupt();
    this.#keepAlive.set(false);
  }

  keepAlive(on: boolean): void {
    this.#keepAlive.set(on);
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.rest();
    await this.#waitOver;
    this.closeNative();
  }

  // -- Waiting --

  /** Whether the loop is parked. */
  protected get isParked(): boolean {
    return this.#parked;
  }

  /** Whether a call is pending, interrupted or not. */
  protected get isCalling(): boolean {
    return this.#wait !== "none";
  }

  /** The descriptors have changed: a loop that is parked waits for the new ones. */
  protected descriptorsChanged(): void {
    if (this.#parked) detached(this.#settleIfParked);
  }

  /** Ends the pending call, if there is one; a loop that is parked gets another one. */
  protected interrupt(): void {
    if (this.#wait !== "pending") return;
    this.#wait = "ending";
    this.interruptCall();
  }

  readonly #settleIfParked = (): void => {
    if (this.#parked) this.#settle();
  };

  /**
   * Makes the way of waiting fit the current park. Only called detached, since the wake belongs to the async context of
   * this call.
   */
  #settle(): void {
    if (this.watchesAlwaysReady()) {
      this.#wakeInMacrotask();
      return;
    }
    this.#cancelTimer();
    if (!this.#needsCall(this.#deadlineMs, this.#hold)) {
      this.interrupt();
      this.#startTimer();
      return;
    }
    this.openNative();
    const inTime = this.aim(this.#deadlineMs);
    if (this.#wait === "none") {
      this.#wait = "pending";
      this.#waitOver = this.beginCall(this.#deadlineMs)
        .then(this.#waited, this.#waited);
    } else if (!inTime) {
      this.interrupt(); // the next call begins when this one is over
    }
  }

  /** Without descriptors a timer will do, unless it is to hold the process. */
  #needsCall(deadlineMs: number, hold: boolean): boolean {
    return this.watchesDescriptors() || (hold && deadlineMs !== Infinity);
  }

  /** The pending call is over, for whatever reason; see the file's header. */
  readonly #waited = (): void => {
    const interrupted = this.#wait === "ending";
    this.#wait = "none";
    this.endCall(interrupted);
    if (!this.#parked) return;
    if (interrupted) {
      this.#settle(); // parked again since: that park wants a call of its own
    } else {
      this.beforeWake();
      this.#wake();
    }
  };

  #wakeInMacrotask(): void {
    const parkId = this.#parkId;
    macrotask(() => {
      if (this.#parked && this.#parkId === parkId) this.#wake();
    });
  }

  #wake(): void {
    this.#parked = false;
    this.#cancelTimer();
    this.#client?.wake();
  }

  #startTimer(): void {
    if (this.#deadlineMs === Infinity) return;
    const delayMs = Math.max(this.#deadlineMs - this.now(), 0);
    this.#timer = after(delayMs, this.#timerFired, false);
  }

  readonly #timerFired = (): void => {
    this.#timer = undefined;
    if (this.#parked) this.#wake();
  };

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
