/**
 * Detector of blocks: from the beats of a thread, and its own looks at them, it concludes how long the thread has been
 * blocked.
 *
 * Time counts as long as it itself gets to look. A machine or process that is suspended stops both threads, which is no
 * block: after a gap between two looks nothing is concluded before the thread has had the time to beat.
 *
 * @module
 */

/** Conclusion of a look. */
export type BlockEvent =
  /** Nothing new. */
  | { readonly kind: "none" }
  /** The block has lasted for `blockMs`, or for twice as long as when it was last told. */
  | { readonly kind: "blocked"; readonly blockedMs: number }
  /** A block that was told is over. */
  | { readonly kind: "over"; readonly blockedMs: number };

/** Time between two looks from which on it was a gap. */
const GAP_MS = 200;

const NONE: BlockEvent = { kind: "none" };

/** Detector for one thread. */
export class BlockDetector {
  readonly #blockMs: number;
  readonly #mostMs: number;
  #beat: number | null = null;
  #lookedMs = NaN;
  #steady = true;
  #blockedMs = 0;
  /** From which duration on the block is told. */
  #tellMs: number;

  /**
   * @param blockMs Duration from which a block is told.
   * @param mostMs The most that counts between two looks. If it takes longer, this thread was held up itself.
   */
  constructor(blockMs: number, mostMs: number) {
    this.#blockMs = blockMs;
    this.#mostMs = mostMs;
    this.#tellMs = blockMs;
  }

  /** How long the thread has been blocked. */
  get blockedMs(): number {
    return this.#blockedMs;
  }

  /** Whether the last look was no later than usual, so that something may be concluded. */
  get isSteady(): boolean {
    return this.#steady;
  }

  /** Takes a look: the time, and the number of beats so far. */
  look(nowMs: number, beat: number): BlockEvent {
    const passedMs = this.#beat === null ? 0 : nowMs - this.#lookedMs;
    this.#steady = passedMs <= GAP_MS;
    this.#lookedMs = nowMs;
    if (beat !== this.#beat) {
      const blockedMs = this.#blockedMs;
      const told = this.#tellMs > this.#blockMs;
      this.#beat = beat;
      this.#blockedMs = 0;
      this.#tellMs = this.#blockMs;
      return told ? { kind: "over", blockedMs } : NONE;
    }
    this.#blockedMs += Math.min(passedMs, this.#mostMs);
    if (!this.#steady || this.#blockedMs < this.#tellMs) return NONE;
    this.#tellMs = 2 * Math.max(this.#tellMs, this.#blockedMs);
    return { kind: "blocked", blockedMs: this.#blockedMs };
  }
}
