/**
 * Grid of ticks that several jobs go by.
 *
 * @module
 */
import { Beat } from "./beat.ts";
import type { Metronome } from "./metronome.ts";
import type { PeriodicCore } from "./periodic_core.ts";

/** Ticks of an interval from one moment on, for all jobs that go by them. */
export class Grid {
  readonly metronome: Metronome;
  readonly #intervalMs: number;
  readonly #anchorMs: number;
  /** Beat that was joined last, which most jobs will join. */
  #latest: Beat | null = null;
  /** Beat that is over, to be used again. */
  #spare: Beat | null = null;

  constructor(metronome: Metronome, intervalMs: number, anchorMs: number) {
    this.metronome = metronome;
    this.#intervalMs = intervalMs;
    this.#anchorMs = anchorMs;
  }

  /** Returns when a tick is due. A product and not a sum: errors of rounding do not add up. */
  dueMs(index: number): number {
    return this.#anchorMs + index * this.#intervalMs;
  }

  /** Arms `job`, which is armed for nothing, for a tick. */
  join(job: PeriodicCore, index: number): void {
    const latest = this.#latest;
    if (latest !== null && latest.index === index && latest.isOpen) {
      latest.add(job);
    } else this.#find(index).add(job);
  }

  #find(index: number): Beat {
    const dueMs = this.dueMs(index);
    let beat = this.metronome.openBeatAt(dueMs);
    // Two ticks may be due at one moment, if the interval is below what the clock resolves.
    if (beat === undefined || beat.grid !== this || beat.index !== index) {
      beat = this.#spare ?? new Beat(this);
      this.#spare = null;
      beat.set(index, dueMs, this.dueMs(index + 1));
      this.metronome.armedBeat(beat);
    }
    return this.#latest = beat;
  }

  /** Forgets a beat that can be joined no more. */
  leave(beat: Beat): void {
    this.metronome.leftBeat(beat);
    if (this.#latest === beat) this.#latest = null;
  }

  /** Takes back a beat that is over. */
  giveBack(beat: Beat): void {
    this.#spare = beat;
  }
}
