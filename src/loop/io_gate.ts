/**
 * Gate for the runtime's own I/O: when a loop looks at its clock, and when it
 * yields the thread.
 *
 * @module
 */
import type { Host } from "../host/host.ts";
import { macrotask } from "../host/macrotask.ts";
import { microtask } from "../host/microtask.ts";

/** Turns between two looks while there is always something ready and turns are quick: at most. */
export const TURNS_PER_LOOK = 16;
/** Turns between two looks while a deadline is less than {@linkcode SOON_MS} away, should turns become slow. */
export const TURNS_PER_LOOK_SOON = 4;
export const SOON_MS = 100;
/** How long the loop may keep the thread before it lets the runtime's own I/O through. */
export const GATE_MS = 1;
/** Bounds of the number of handles between two looks, which aims at {@linkcode LOOK_MS}. */
export const HANDLES_PER_LOOK_MAX = 256;
/** How much time should lie between two looks at most. */
export const LOOK_MS = 0.05;
/**
 * Passes of the runtime's event loop that make up the gate. Its sockets are
 * polled every 61 passes (tokio's event interval), so fewer may miss them.
 */
const GATE_PASSES = 64;
/** On a virtual host the gate opens by count, so that runs can be repeated. */
const GATE_HANDLES_VIRTUAL = 4_096;

/** Gate of one loop: measures how long the loop has kept the thread, and yields it. */
export class IoGate {
  /** How many handles may run until the next look at the clock. */
  handlesPerLook = 64;
  /** When the loop last looked at the clock. */
  lookedAtMs = 0;
  /** When the runtime's own I/O last had its turn. */
  yieldedAtMs = 0;
  /** How often the gate was opened. */
  openings = 0;
  /**
   * Turns until the next look. Starts at 1 after each rest of the loop, as the
   * length of turns is unknown then, and doubles while they prove to be quick.
   */
  #turnsPerLook = 1;
  private wokenAtMs = 0;
  private readonly host: Host;
  private readonly virtual: boolean;

  constructor(host: Host) {
    this.host = host;
    this.virtual = host.virtual;
  }

  /** The loop was woken from outside: it has worked only since then. */
  noteWakeUp(): void {
    this.wokenAtMs = this.lookedAtMs = this.host.now();
    this.#turnsPerLook = 1;
  }

  /** The runtime has had the thread. */
  noteYield(): void {
    this.yieldedAtMs = this.wokenAtMs = this.lookedAtMs = this.host.now();
    this.#turnsPerLook = 1;
  }

  /**
   * Whether the loop has had the thread for long enough, given what has run
   * since it last gave it away; also measures how long turns and handles take,
   * given how many handles were still allowed until this look.
   */
  isDue(
    nowMs: number,
    turns: number,
    handles: number,
    handlesLeft: number,
  ): boolean {
    if (this.virtual) return handles >= GATE_HANDLES_VIRTUAL;
    const tookMs = nowMs - this.lookedAtMs;
    this.lookedAtMs = nowMs;
    this.#setHandles(tookMs, this.handlesPerLook - handlesLeft);
    this.#setTurns(tookMs, turns);
    if (nowMs - this.yieldedAtMs < GATE_MS) return false;
    // A loop that was woken from outside has worked only since then. But if
    // that happens turn after turn, it may all be in one chain of microtasks.
    return nowMs - this.wokenAtMs >= GATE_MS || turns >= TURNS_PER_LOOK;
  }

  /** Sets how many handles may run until the next look, as `ran` of them took `tookMs`. */
  #setHandles(tookMs: number, ran: number): void {
    const { handlesPerLook } = this;
    if (tookMs > 2 * LOOK_MS) {
      const wanted = Math.floor(ran * LOOK_MS / tookMs);
      this.handlesPerLook = Math.max(1, Math.min(handlesPerLook >> 2, wanted));
    } else if (
      tookMs < LOOK_MS && 2 * ran >= handlesPerLook &&
      handlesPerLook < HANDLES_PER_LOOK_MAX
    ) this.handlesPerLook = 2 * handlesPerLook;
  }

  /** Sets how many turns may run until the next look. */
  #setTurns(tookMs: number, turns: number): void {
    if (tookMs > LOOK_MS) this.#turnsPerLook = 1;
    else if (turns > 0) {
      this.#turnsPerLook = Math.min(2 * this.#turnsPerLook, TURNS_PER_LOOK);
    }
  }

  /** Returns in how many turns the next look is due, if the first deadline is in `leftMs`. */
  turnsPerLook(leftMs: number): number {
    return leftMs > SOON_MS
      ? this.#turnsPerLook
      : Math.min(this.#turnsPerLook, TURNS_PER_LOOK_SOON);
  }

  /** Yields the thread to the runtime for as long as it needs to poll its sockets. */
  open(then: () => void): void {
    this.openings++;
    // The loop goes on in a microtask: directly inside a macrotask of the
    // runtime V8 makes a message of each error that is thrown, caught or not,
    // which takes longer than throwing it.
    let passes = GATE_PASSES;
    const pass = () => {
      if (--passes > 0) macrotask(pass);
      else microtask(then);
    };
    macrotask(pass);
  }
}
