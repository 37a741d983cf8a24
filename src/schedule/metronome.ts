/**
 * Metronome of a loop: from when on its periodic jobs count, and in which order
 * jobs run that are due at the same moment.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { Beat } from "./beat.ts";
import { Grid } from "./grid.ts";

/**
 * Jobs that are made within so many milliseconds start at the same moment, so
 * that their ticks come together and wake the loop once.
 */
const TOGETHER_MS = 1;

/**
 * Start of jobs that are made one right after the other: the moment at which the
 * last of them was made, so that no tick comes early.
 */
export class Start {
  readonly #metronome: Metronome;
  readonly #firstMs: number;
  #nowMs: number;
  #isSettled = false;
  /** Grids by interval. */
  readonly #grids = new Map<number, Grid>();

  constructor(metronome: Metronome, nowMs: number) {
    this.#metronome = metronome;
    this.#firstMs = this.#nowMs = nowMs;
  }

  /** Whether a job that is made now starts with these; moves the start to now if so. */
  admits(nowMs: number): boolean {
    if (this.#isSettled || nowMs - this.#firstMs > TOGETHER_MS) return false;
    this.#nowMs = nowMs;
    return true;
  }

  /** Settles the start, as the first of the jobs needs to know it. */
  settle(): number {
    this.#isSettled = true;
    return this.#nowMs;
  }

  /** Finds the grid of an interval. */
  gridOf(intervalMs: number): Grid {
    let grid = this.#grids.get(intervalMs);
    if (grid === undefined) {
      grid = new Grid(this.#metronome, intervalMs, this.settle());
      this.#grids.set(intervalMs, grid);
    }
    return grid;
  }
}

/**
 * Starts and open beats of a loop.
 *
 * Jobs that are due at the same moment run in the order in which they were armed
 * for it, whether they share a timer or have one of their own. So a beat can be
 * joined only as long as it is the last that was armed for its moment.
 */
export class Metronome {
  readonly loop: EventLoop;
  #start: Start | null = null;
  /** The last beat that was armed for a moment, unless a job with a timer of its own was armed after it. */
  readonly #open = new Map<number, Beat>();

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** Finds the start of a job that is made now. */
  enter(): Start {
    const nowMs = this.loop.time();
    let start = this.#start;
    if (start === null || !start.admits(nowMs)) {
      start = this.#start = new Start(this, nowMs);
    }
    return start;
  }

  /** Finds the beat of a moment that can be joined. */
  openBeatAt(dueMs: number): Beat | undefined {
    const beat = this.#open.get(dueMs);
    return beat?.isOpen === true ? beat : undefined;
  }

  /** Notes that a beat was armed: it is the last of its moment. */
  armedBeat(beat: Beat): void {
    const { dueMs } = beat;
    this.#open.get(dueMs)?.close();
    this.#open.set(dueMs, beat);
  }

  /** Notes that a job with a timer of its own was armed: it is the last of that moment. */
  armedAlone(dueMs: number): void {
    if (this.#open.size === 0) return;
    const beat = this.#open.get(dueMs);
    if (beat === undefined) return;
    beat.close();
    this.#open.delete(dueMs);
  }

  /** Notes that a beat can be joined no more. */
  leftBeat(beat: Beat): void {
    const { dueMs } = beat;
    if (this.#open.get(dueMs) === beat) this.#open.delete(dueMs);
  }
}

const metronomes = new WeakMap<EventLoop, Metronome>();

/** Returns the metronome of a loop. */
export function metronomeOf(loop: EventLoop): Metronome {
  let metronome = metronomes.get(loop);
  if (metronome === undefined) {
    metronomes.set(loop, metronome = new Metronome(loop));
  }
  return metronome;
}
