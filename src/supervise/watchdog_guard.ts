/**
 * Work of a watchdog for one of the threads that it watches: looks at the board, writes reports, keeps the time of a shutdown, and ends the
 * process.
 *
 * The outside world comes in as arguments, so that tests need neither a thread nor time.
 *
 * @module
 */
import { BlockDetector } from "./block_detector.ts";
import { forcedExitCode } from "./exit_code.ts";
import { inMs } from "./shutdown_report.ts";
import { SAME_REQUEST_MS } from "./shutdown_signals.ts";
import { type WatchBoard, WATCHED_SIGNALS, Word } from "./watch_board.ts";
import type { WatchdogBlock } from "./watchdog.ts";

/** Settings of the watch over one thread. */
export interface GuardSettings {
  /** Name of the thread; null for the one that has made the watchdog. */
  readonly thread: string | null;
  /** Whether code outside of loops may run for as long as it likes. */
  readonly loopsOnly: boolean;
  /** Duration from which a block is told, in milliseconds. */
  readonly blockMs: number;
  /** Duration from which the process is ended; `Infinity` for never. */
  readonly endAfterMs: number;
  /** Exit code of the process then. */
  readonly exitCode: number;
  /** The most that counts between two looks, if this thread was held up itself. */
  readonly mostMs: number;
  /** Whether blocks are written to standard error. */
  readonly writes: boolean;
}

/** The world outside, for a watchdog. */
export interface GuardWorld {
  /** Milliseconds on a clock that never goes back. */
  now(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Sends a report to the thread that has made the watchdog. */
  report(block: WatchdogBlock): void;
  /** Writes a line to standard error. */
  write(text: string): void;
  /** Calls `listener` at each `signal`; returns a function that ends this. */
  listen(signal: Deno.Signal, listener: () => void): () => void;
  /** Ends the process, with the code if that is possible. */
  end(code: number): void;
}

/** How much longer than the budget a thread gets that is not blocked: it ends the process itself. */
const GRACE_MS = 1_000;
/** A thread that has not reacted for so long is blocked, and not only late. */
const STUCK_MS = 200;
/** Time until a thread that is not blocked surely listens to no signals any more. */
const HAND_OVER_MS = SAME_REQUEST_MS + STUCK_MS;

/** Looks in the time that a block is told from, at least. */
const LOOKS_PER_BLOCK = 4;

/** Watchdog of one thread. */
export class WatchdogGuard {
  readonly #board: WatchBoard;
  readonly #settings: GuardSettings;
  readonly #world: GuardWorld;
  readonly #detector: BlockDetector;
  /** How often it has to look, in milliseconds. */
  readonly everyMs: number;
  /** The thing that ran when the block was told, in words; null if none was. */
  #told: Pick<WatchdogBlock, "description" | "kind" | "sinceMs"> | null = null;
  readonly #listening: Map<number, () => void> = new Map();
  /** The first signal; null before it. */
  #signal: Deno.Signal | null = null;
  /** Time since it came. */
  #signalMs = 0;
  #handedOver = false;
  #lookedMs = NaN;
  /** Time since the shutdown began, or its first signal came; NaN if neither has. */
  #shutdownMs = NaN;

  constructor(board: WatchBoard, settings: GuardSettings, world: GuardWorld) {
    this.#board = board;
    this.#settings = settings;
    this.#world = world;
    const { blockMs, endAfterMs, mostMs } = settings;
    this.#detector = new BlockDetector(blockMs, mostMs);
    this.everyMs = Math.min(blockMs, endAfterMs) / LOOKS_PER_BLOCK;
  }

  /** Takes a look. To be called every so often, as the settings say. */
  look(): void {
    const nowMs = this.#world.now();
    const beat = Atomics.load(this.#board.words, Word.BEAT);
    const goneMs = Number.isNaN(this.#lookedMs) ? 0 : nowMs - this.#lookedMs;
    const passedMs = Math.min(goneMs, this.#settings.mostMs);
    this.#lookedMs = nowMs;
    this.#signalMs += passedMs;
    this.#lookAtBlock(nowMs, beat);
    if (!this.#detector.isSteady) {
      Atomics.add(this.#board.words, Word.SUSPENDED_MS, Math.round(goneMs));
    }
    this.#listen();
    this.#countShutdown(passedMs);
  }

  /** Ends all listening. */
  close(): void {
    for (const remove of this.#listening.values()) remove();
    this.#listening.clear();
  }

  // -- Blocks --

  #lookAtBlock(nowMs: number, beat: number): void {
    const event = this.#detector.look(nowMs, beat);
    if (event.kind === "over") {
      if (this.#told !== null) this.#report("over", event.blockedMs);
      this.#told = null;
    } else if (event.kind === "blocked") this.#blocked(event.blockedMs);
    const { isSteady, blockedMs } = this.#detector;
    if (!isSteady || blockedMs < this.#settings.endAfterMs) return;
    const ran = this.#board.describe(this.#board.running());
    this.#world.write(
      `rota: watchdog: the process is ended, as ${this.#subject} has been blocked for ${
        inMs(blockedMs)
      } by ${ran}`,
    );
    this.#world.end(this.#settings.exitCode);
  }

  /** The block has lasted for so long that it is told, maybe again. */
  #blocked(blockedMs: number): void {
    const { thread, loopsOnly, writes } = this.#settings;
    const running = this.#board.running();
    if (loopsOnly && running.kind === "outside") return;
    const { kind, others } = running;
    const description = this.#board.describe(running);
    const sinceMs = this.#told?.sinceMs ?? this.#world.wallMs() - blockedMs;
    this.#told = { description, kind, sinceMs };
    // The next time it is to be known which one of them it is.
    if (others.length > 0) Atomics.store(this.#board.words, Word.EXACT, 1);
    if (writes) {
      this.#world.write(
        `rota: watchdog: ${this.#subject} has been blocked for ${
          inMs(blockedMs)
        } by ${description}`,
      );
    }
    // The thread itself gets to know it when it is over.
    if (thread !== null) this.#report("blocked", blockedMs);
  }

  #report(state: "blocked" | "over", blockedMs: number): void {
    const { thread } = this.#settings;
    this.#world.report({ thread, state, ...this.#told!, blockedMs });
  }

  get #subject(): string {
    const { thread } = this.#settings;
    return thread === null ? "the thread" : `thread "${thread}"`;
  }

  #isStuck(): boolean {
    return this.#detector.isSteady && this.#detector.blockedMs >= STUCK_MS;
  }

  // -- Shutdown --

  #isBegun(): boolean {
    return Atomics.load(this.#board.words, Word.BEGUN) !== 0;
  }

  /** Listens to the signals that the board names, and to no others. */
  #listen(): void {
    const wanted = this.#handsOver()
      ? 0
      : Atomics.load(this.#board.words, Word.SIGNALS);
    for (const [place, signal] of WATCHED_SIGNALS.entries()) {
      const isWanted = (wanted >> place & 1) === 1;
      const remove = this.#listening.get(place);
      if (isWanted && remove === undefined) {
        const listener = () => this.#signalled(signal);
        this.#listening.set(place, this.#world.listen(signal, listener));
      } else if (!isWanted && remove !== undefined) {
        remove();
        this.#listening.delete(place);
      }
    }
  }

  /** Whether the thread deals with the shutdown, so that a second signal is to find nobody who listens. */
  #handsOver(): boolean {
    if (this.#signal === null) this.#handedOver = false;
    else if (this.#isBegun() && this.#signalMs > HAND_OVER_MS) {
      // Once and for all: it may be blocked later.
      this.#handedOver ||= !this.#isStuck();
    }
    return this.#handedOver;
  }

  #signalled(signal: Deno.Signal): void {
    const isFirst = this.#signal === null;
    if (isFirst || !this.#isBegun() && !this.#isStuck()) {
      this.#signal = signal;
      this.#signalMs = 0;
      if (this.#isBegun()) return;
      this.#shutdownMs = 0;
      Atomics.store(this.#board.words, Word.SIGNALLED_MS, 1);
    } else if (this.#isStuck() && this.#signalMs > SAME_REQUEST_MS) {
      this.#world.end(forcedExitCode(signal));
    }
  }

  #countShutdown(passedMs: number): void {
    const { words } = this.#board;
    const budgetMs = Atomics.load(words, Word.BUDGET_MS);
    const begun = this.#isBegun();
    if (budgetMs === 0) this.#forgetShutdown();
    else if (!Number.isNaN(this.#shutdownMs)) this.#shutdownMs += passedMs;
    else if (begun) this.#shutdownMs = 0;
    const ms = this.#shutdownMs;
    Atomics.store(words, Word.SIGNALLED_MS, Number.isNaN(ms) ? 0 : ms + 1);
    if (budgetMs === 0 || !(ms >= budgetMs)) return;
    if (this.#isStuck()) this.#endStuck(budgetMs);
    else if (begun && ms >= budgetMs + GRACE_MS) this.#endStuck(budgetMs);
    // The program has done something else about the signal.
    else if (!begun) this.#forgetShutdown();
  }

  #forgetShutdown(): void {
    this.#signal = null;
    this.#shutdownMs = NaN;
  }

  #endStuck(budgetMs: number): void {
    this.#world.write(
      `rota: shutdown (${this.#signal ?? "begun"}): when the budget of ${
        inMs(budgetMs)
      } was spent, ${this.#subject} had been blocked for ${
        inMs(this.#detector.blockedMs)
      } by ${this.#board.describe(this.#board.running())}`,
    );
    this.#world.end(1);
  }
}
