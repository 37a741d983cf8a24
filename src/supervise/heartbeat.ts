/**
 * Heartbeat of a child: noticing that it has been silent for too long.
 *
 * @module
 */
import { HeartbeatLostError } from "../errors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";

/** Looks within the time that a child may be silent. */
const LOOKS = 4;
/** Milliseconds by which sums of times may be wrong. */
const ROUNDING_MS = 1e-6;

/** Run of a child, as its heartbeat sees it. */
export interface BeatingRun {
  readonly loop: EventLoop;
  readonly path: string;
  /** Ends it: it has crashed with this error. */
  killFor(error: Error): void;
}

/**
 * Watch over the heartbeat of a run.
 *
 * Silence is counted in steps, each as long as a step was meant to take at most. If
 * the machine was suspended, the process stopped, or the loop held up by a long
 * callback, a look comes late, and the child, which could not run either, is not
 * blamed for the time between.
 */
export class Heartbeat {
  readonly #run: BeatingRun;
  readonly #heartbeatMs: number;
  readonly #timer: TimerHandle;
  /** Silence up to the last look or beat. */
  #silentMs = 0;
  #lookedMs: number;
  #stepMs = 0;

  constructor(run: BeatingRun, heartbeatMs: number) {
    this.#run = run;
    this.#heartbeatMs = heartbeatMs;
    this.#lookedMs = run.loop.time();
    this.#timer = run.loop.callLater(this.#nextMs(), () => this.#look());
    this.#timer.unref();
  }

  /** The child has said that it is alive. */
  beat(): void {
    this.#silentMs = 0;
    this.#lookedMs = this.#run.loop.time();
  }

  /** Ends the watch. */
  stop(): void {
    this.#timer.cancel();
  }

  #nextMs(): number {
    const leftMs = this.#heartbeatMs - this.#silentMs;
    return this.#stepMs = Math.min(this.#heartbeatMs / LOOKS, leftMs);
  }

  #look(): void {
    const nowMs = this.#run.loop.time();
    this.#silentMs += Math.min(nowMs - this.#lookedMs, this.#stepMs);
    this.#lookedMs = nowMs;
    if (this.#silentMs < this.#heartbeatMs - ROUNDING_MS) {
      this.#timer.reschedule(nowMs + this.#nextMs());
      return;
    }
    this.#run.killFor(
      new HeartbeatLostError(
        `Child "${this.#run.path}" has sent no heartbeat for ${this.#heartbeatMs} ms`,
      ),
    );
  }
}
