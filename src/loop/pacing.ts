/**
 * When a loop gives up the thread, and when it does not: the gate for the
 * runtime's own I/O, and the last microseconds before a deadline.
 *
 * @module
 */
import type { Host } from "../host/host.ts";
import { macrotask } from "../host/macrotask.ts";
import { microtask } from "../host/microtask.ts";

/** Turns between two looks at the clock while there is always something ready. */
export const TURNS_PER_LOOK = 16;
/** How long the loop may keep the thread before it lets the runtime's own I/O through. */
export const GATE_MS = 1;
/** Bounds of the number of handles between two looks, which aims at {@linkcode LOOK_MS}. */
export const HANDLES_PER_LOOK_MAX = 256;
const LOOK_MS = 0.05;
/**
 * Passes of the runtime's event loop that make up the gate. Its sockets are
 * polled every 61 passes (tokio's event interval), so fewer may miss them.
 */
const GATE_PASSES = 64;
/** On a virtual host the gate opens by count, so that runs can be repeated. */
const GATE_HANDLES_VIRTUAL = 4_096;

/** Tells when a loop has kept the thread for long enough, and gives it away. */
export class IoGate {
  /** How many handles may run until the next look at the clock. */
  handlesPerLook = 64;
  /** When the loop last looked at the clock. */
  lookedAtMs = 0;
  /** When the runtime's own I/O last had its turn. */
  yieldedAtMs = 0;
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
  }

  /** The runtime has had the thread. */
  noteYield(): void {
    this.yieldedAtMs = this.wokenAtMs = this.lookedAtMs = this.host.now();
  }

  /**
   * Whether the loop has had the thread for long enough, given what has run
   * since it last gave it away; also measures how long handles take.
   */
  isDue(nowMs: number, turns: number, handles: number): boolean {
    if (this.virtual) return handles >= GATE_HANDLES_VIRTUAL;
    const tookMs = nowMs - this.lookedAtMs;
    this.lookedAtMs = nowMs;
    if (tookMs > 2 * LOOK_MS) {
      this.handlesPerLook = Math.max(1, this.handlesPerLook >> 2);
    } else if (tookMs < LOOK_MS && this.handlesPerLook < HANDLES_PER_LOOK_MAX) {
      this.handlesPerLook *= 2;
    }
    if (nowMs - this.yieldedAtMs < GATE_MS) return false;
    // A loop that was woken from outside has worked only since then. But if
    // that happens turn after turn, it may all be in one chain of microtasks.
    return nowMs - this.wokenAtMs >= GATE_MS || turns >= TURNS_PER_LOOK;
  }

  /** Gives the thread to the runtime for as long as it takes to see its sockets. */
  open(then: () => void): void {
    // It goes on in a microtask: right inside a macrotask of the runtime V8 makes
    // a message for whoever called that of each error that is thrown, caught or
    // not, which takes longer than all else about throwing it.
    let passes = GATE_PASSES;
    const pass = () => {
      if (--passes > 0) macrotask(pass);
      else microtask(then);
    };
    macrotask(pass);
  }
}

/** Bounds of what a precise loop gets up ahead of a deadline. */
const AHEAD_MS_MIN = 0.05;
const AHEAD_MS_MAX = 2.5;
const AHEAD_MS_FIRST = 0.25;
/** The last stretch before a deadline is waited for without giving up the thread. */
const SPIN_MS = 0.02;

/** Whether a deadline is so close that the thread is not given up before it. */
export function isImminent(leftMs: number): boolean {
  return leftMs <= SPIN_MS;
}

/** Learns how late wake-ups are, and makes up for it. */
export class Precision {
  /** How long before a deadline the host is to wake the loop. */
  aheadMs = AHEAD_MS_FIRST;

  /** Gets up further ahead after a late wake-up, and a little less far after each early one. */
  learn(lateMs: number): void {
    const wantedMs = lateMs * 1.25;
    const step = wantedMs > this.aheadMs ? 0.5 : 0.05;
    const aheadMs = this.aheadMs + (wantedMs - this.aheadMs) * step;
    this.aheadMs = Math.min(Math.max(aheadMs, AHEAD_MS_MIN), AHEAD_MS_MAX);
  }

  /**
   * Whether a deadline is so close that the loop does not park. It goes on with
   * `passed` after a pass of the runtime, with `spin` if there is no time for one.
   */
  approach(leftMs: number, passed: () => void, spin: () => void): boolean {
    if (!(leftMs <= this.aheadMs)) return false;
    if (isImminent(leftMs)) microtask(spin);
    else macrotask(passed);
    return true;
  }
}
