/**
 * The shutdown on the board of a watchdog, as the thread that is watched writes it.
 *
 * @module
 */
import type { ExpectedShutdown, ShutdownWatch } from "./active_watchdog.ts";
import { type WatchBoard, WATCHED_SIGNALS, Word } from "./watch_board.ts";

const DURATION_MS_MAX = 2 ** 31 - 1;

/** Watch that a shutdown ends within its budget. */
export class BoardShutdown implements ShutdownWatch {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(board: WatchBoard) {
    this.#words = board.words;
  }

  expect(shutdown: ExpectedShutdown | null): void {
    const words = this.#words;
    if (shutdown === null) {
      Atomics.store(words, Word.SIGNALS, 0);
      Atomics.store(words, Word.BUDGET_MS, 0);
      Atomics.store(words, Word.BEGUN, 0);
      return;
    }
    let bits = 0;
    for (const signal of shutdown.signals) {
      const place = WATCHED_SIGNALS.indexOf(signal);
      if (place >= 0) bits |= 1 << place;
    }
    Atomics.store(words, Word.BUDGET_MS, wholeMs(shutdown.budgetMs));
    Atomics.store(words, Word.SIGNALS, bits);
  }

  begins(budgetMs: number): number {
    const words = this.#words;
    Atomics.store(words, Word.BEGUN, 1);
    const signalledMs = Atomics.load(words, Word.SIGNALLED_MS) - 1;
    return Math.min(Math.max(signalledMs, 0), budgetMs);
  }
}

/** Milliseconds as a whole number that fits into a word, and is not 0. */
function wholeMs(ms: number): number {
  return Math.max(1, Math.min(Math.ceil(ms), DURATION_MS_MAX));
}
