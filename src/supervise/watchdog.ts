/**
 * Watchdog: a thread that names the task that blocks the loops of another one, while it blocks.
 *
 * @module
 */
import { MisuseError, WatchdogUnsupportedError } from "../errors.ts";
import {
  ffiGranted,
  killGranted,
  readGranted,
  writeError,
} from "../host/process.ts";
import { loadThreads, type Thread, type Threads } from "../host/thread.ts";
import { detached, microtask } from "../host/microtask.ts";
import { after, type HostTimer, KeepAlive } from "../host/timers.ts";
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { runningLoops } from "../loop/current.ts";
import { stepWatch } from "../loop/step_watch.ts";
import { hasWatch, setWatch } from "./active_watchdog.ts";
import { BoardShutdown } from "./board_shutdown.ts";
import { StepPublisher } from "./step_publisher.ts";
import { type RunningKind, WatchBoard, Word } from "./watch_board.ts";
import type { GuardSettings } from "./watchdog_guard.ts";
import type { WatchdogData } from "./watchdog_thread.ts";

/** URL of the script: `file:` in a checkout, `https:` from a registry. */
const SCRIPT = import.meta.resolve("./watchdog_thread.ts");

/** Puts the script into the module graph, so that registries and caches have it; never called. */
export const loadWatchdogScript = (): Promise<unknown> =>
  import("./watchdog_thread.ts");

/** A block of a thread that is over. */
export interface WatchdogBlock {
  /** Description of what has blocked it: `task "name"`, `callback "name"`. */
  readonly description: string;
  /** Whether that was in a step of a loop, after a task was resumed, or outside of both. */
  readonly kind: RunningKind;
  /** How long the thread was blocked, in milliseconds: as exact as the watchdog looks. */
  readonly blockedMs: number;
}

/** Options of a {@linkcode Watchdog}. */
export interface WatchdogOptions {
  /**
   * Duration from which a block is reported.
   *
   * @default {1_000}
   */
  readonly blockMs?: number | undefined;
  /**
   * Duration from which a block ends the process. Needs `--allow-ffi` or, with
   * exit code 137, `--allow-run`.
   *
   * @default {Infinity}
   */
  readonly endAfterMs?: number | undefined;
  /**
   * Exit code of the process then. Another one than 137 needs `--allow-ffi`.
   *
   * @default {1, but 137 without --allow-ffi}
   */
  readonly exitCode?: number | undefined;
  /**
   * Whether the watchdog writes to standard error while the thread is blocked:
   * after `blockMs`, and each time after twice as long.
   *
   * @default {true}
   */
  readonly write?: boolean | undefined;
  /** Called on this thread after a block that was reported. */
  readonly onBlock?: ((block: WatchdogBlock) => void) | undefined;
}

const WHAT = "make a watchdog";
const KILLED_CODE = 137;
/** Looks in the time that a block is told from, at least. */
const LOOKS_PER_BLOCK = 4;
/** Shorter blocks would need looks faster than timers. */
const DURATION_MS_MIN = 4;
/** Longest time between two looks: a shutdown counts on them. */
const EVERY_MS_MAX = 50;
/** The most that counts between two looks: a suspended process has not been blocked. */
const COUNTED_MS_MAX = 500;

/**
 * A thread that watches this one: it names the task that blocks the loop while it
 * blocks, also if it never comes back, and by request ends the process.
 *
 * There is at most one for a thread, and it serves all its loops; without one
 * nothing is watched. It writes to standard error after `blockMs`; {@linkcode
 * WatchdogOptions.onBlock} is called once the thread is free again. A process or
 * machine that is suspended does not count as blocked.
 *
 * A step of a task or a callback is named exactly. Code of an async function runs
 * between the turns of the loop: the watchdog names the task that was resumed last,
 * and says so. Code that no loop has started, such as a handler of `Deno.serve`,
 * counts as outside.
 *
 * With a {@linkcode gracefulShutdown} it sees to it that a process whose thread is
 * blocked ends within the budget, too, and that a second signal ends it at once.
 * {@linkcode Watchdog.ends} tells how it can do that with the permissions of the
 * program: `"exit"`, with the right code, needs `--allow-ffi`; `"kill"`, with the
 * code 137, `--allow-run`; `"never"` means that it can only report.
 *
 * Costs a thread, which looks every 50 ms or less, a timer as often in this one, a
 * nanosecond or two for each step of a generator, and some forty for each time that
 * an async function is resumed. It does not keep the process alive. From a local
 * folder it needs permission to read its script.
 *
 * @example
 * ```ts
 * import { run, sleep, Watchdog } from "@rota/rota";
 * import { assert } from "@std/assert";
 *
 * const blocks: string[] = [];
 * await using watchdog = new Watchdog({
 *   blockMs: 100,
 *   write: false,
 *   onBlock: ({ description }) => blocks.push(description),
 * });
 * await watchdog.ready();
 * await run(function* () {
 *   const end = Date.now() + 500;
 *   while (Date.now() < end); // blocks
 *   while (blocks.length === 0) yield* sleep(10);
 * }, { name: "main" });
 * assert(blocks.includes('task "main"'));
 * ```
 */
export class Watchdog implements AsyncDisposable {
  /** How it can end the process, with the permissions of the program. */
  readonly ends: "exit" | "kill" | "never";
  readonly #board: WatchBoard = new WatchBoard();
  readonly #settings: GuardSettings;
  readonly #onBlock: ((block: WatchdogBlock) => void) | undefined;
  readonly #ready: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers();
  #thread: Thread | null = null;
  #failure: unknown;
  #timer: HostTimer | null = null;
  #blocksSeen = 0;
  #isOn = false;
  #closed = false;

  /**
   * Makes a watchdog, and begins to start its thread.
   *
   * @param options Durations, and what to do about blocks.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a duration is out of range, or `exitCode` is no code.
   * @throws {WatchdogUnsupportedError} If it is to end the process and may not, or
   * may not read the script of its thread.
   * @throws {MisuseError} If this thread has a watchdog already.
   */
  constructor(options: WatchdogOptions = {}) {
    this.ends = ffiGranted() ? "exit" : killGranted() ? "kill" : "never";
    this.#settings = settle(options, this.ends);
    checkStart();
    if (hasWatch()) {
      throw new MisuseError(`Cannot ${WHAT}: this thread has one already`);
    }
    this.#onBlock = options.onBlock;
    this.#ready.promise.catch(() => {}); // told to those who ask
    this.#isOn = true;
    // A watchdog that cannot end the process would only keep signals from doing it.
    setWatch(
      this.ends === "never"
        ? { expect: () => {}, begins: () => 0 }
        : new BoardShutdown(this.#board),
    );
    stepWatch.current = new StepPublisher(this.#board);
    adoptWatches();
    this.#beat();
    // In no async context of the program's.
    detached(() => {
      loadThreads().then(
        (threads) => this.#start(threads),
        (error) => this.#endedWith(error),
      );
    });
  }

  #start(threads: Threads): void {
    if (this.#closed) return this.#endedWith(undefined);
    const data: WatchdogData = {
      memory: this.#board.memory,
      settings: this.#settings,
    };
    try {
      this.#thread = threads.start(SCRIPT, {
        name: "rota watchdog",
        data: { ...data },
      }, {
        failed: (error) => {
          this.#failure = error;
        },
        messaged: () => {},
        ended: (exitCode) =>
          this.#endedWith(
            this.#failure ?? new Error(`its thread ended with ${exitCode}`),
          ),
      });
    } catch (error) {
      this.#endedWith(error);
    }
  }

  /** The thread is gone, or was never there. */
  #endedWith(cause: unknown): void {
    this.#thread?.mail.close();
    this.#ended.resolve();
    if (!this.#closed) {
      const error = new WatchdogUnsupportedError(
        "Cannot watch this thread: the thread of the watchdog could not start, or has ended",
        { cause },
      );
      this.#ready.reject(error);
      writeError(`rota: ${error.message}: ${cause}`);
      this.#turnOff();
    } else {
      this.#ready.reject(
        new MisuseError("Cannot wait for the watchdog: it is closed"),
      );
    }
  }

  /**
   * Waits until the thread watches. A block before that may go unseen. In a
   * generator: `yield* until(watchdog.ready())`.
   *
   * @returns A promise that resolves once the thread watches.
   * @throws {WatchdogUnsupportedError} If the thread cannot start.
   * @throws {MisuseError} If the watchdog was closed before.
   */
  ready(): Promise<void> {
    return this.#holdUntil(this.#ready.promise);
  }

  /** Keeps the process alive until the promise is settled, for those who wait. */
  #holdUntil(promise: Promise<void>): Promise<void> {
    const holding = new KeepAlive();
    holding.set(true);
    return promise.finally(() => holding.set(false));
  }

  /** Shows the watchdog that this thread is not blocked. The timer does not keep the process alive. */
  readonly #beat = (): void => {
    const { words } = this.#board;
    Atomics.add(words, Word.BEAT, 1);
    if (Atomics.load(words, Word.WATCHES) !== 0) this.#ready.resolve();
    const blocks = Atomics.load(words, Word.BLOCKS);
    if (blocks !== this.#blocksSeen) {
      this.#blocksSeen = blocks;
      this.#tellBlock();
    }
    if (this.#closed) return;
    this.#timer = after(this.#settings.everyMs, this.#beat, false);
  };

  #tellBlock(): void {
    const { running, blockedMs } = this.#board.lastBlock();
    try {
      this.#onBlock?.({
        description: this.#board.describe(running),
        kind: running.kind,
        blockedMs,
      });
    } catch (error) {
      writeError(`rota: the function onBlock of the watchdog threw: ${error}`);
    }
  }

  /**
   * Ends the thread. Calling it again does nothing.
   *
   * @returns A promise that resolves once the thread has ended.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      Atomics.store(this.#board.words, Word.CLOSE, 1);
      this.#turnOff();
    }
    return this.#holdUntil(this.#ended.promise);
  }

  #turnOff(): void {
    this.#timer?.cancel();
    if (!this.#isOn) return;
    this.#isOn = false;
    setWatch(null);
    stepWatch.current = null;
    adoptWatches();
  }

  /**
   * The same as {@linkcode close}.
   *
   * @returns A promise that resolves once the thread has ended.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Has the loops of this thread take over the watch, or let go of it: between two turns of those that run. */
function adoptWatches(): void {
  microtask(() => {
    for (const loop of runningLoops) loop[core].adoptWatch();
  });
}

function settle(
  options: WatchdogOptions,
  ends: Watchdog["ends"],
): GuardSettings {
  checkOptions(options, WHAT);
  const {
    blockMs = 1_000,
    endAfterMs = Infinity,
    exitCode = ends === "exit" ? 1 : KILLED_CODE,
    write = true,
    onBlock,
  } = options;
  checkDuration(blockMs, "blockMs");
  checkDuration(endAfterMs, "endAfterMs");
  checkInteger(exitCode, 0, WHAT, "exitCode");
  if (exitCode > 255) {
    throw new RangeError(
      `Cannot ${WHAT} as exitCode must be <= 255: received ${exitCode}`,
    );
  }
  checkOneOf(write, [true, false], WHAT, "write");
  if (onBlock !== undefined) checkFunction(onBlock, WHAT, "onBlock");
  if (endAfterMs !== Infinity) checkEnding(exitCode, ends);
  const shortestMs = Math.min(blockMs, endAfterMs);
  return {
    blockMs,
    endAfterMs,
    exitCode,
    everyMs: Math.min(shortestMs / LOOKS_PER_BLOCK, EVERY_MS_MAX),
    mostMs: Math.min(endAfterMs / 2, COUNTED_MS_MAX),
    writes: write,
  };
}

/** Throws unless a watchdog can see blocks of this duration. */
function checkDuration(ms: unknown, name: string): void {
  checkNotNegative(ms, WHAT, name);
  if (ms as number >= DURATION_MS_MIN) return;
  throw new RangeError(
    `Cannot ${WHAT} as ${name} must be >= ${DURATION_MS_MIN}: received ${ms}`,
  );
}

/** Throws if the thread cannot start. */
function checkStart(): void {
  if (!SCRIPT.startsWith("file:") || readGranted(SCRIPT)) return;
  throw new WatchdogUnsupportedError(
    `Cannot ${WHAT}: the permission to read ${SCRIPT} is missing, run with --allow-read`,
  );
}

/** Throws if the process cannot be ended, or not with this code. */
function checkEnding(exitCode: number, ends: Watchdog["ends"]): void {
  if (ends === "exit" || ends === "kill" && exitCode === KILLED_CODE) return;
  throw new WatchdogUnsupportedError(
    ends === "never"
      ? `Cannot ${WHAT} that ends the process: the permission is missing, run with --allow-ffi, or with --allow-run for exit code ${KILLED_CODE}`
      : `Cannot ${WHAT} that ends the process with code ${exitCode}: the permission is missing, run with --allow-ffi; with --allow-run alone the code is ${KILLED_CODE}`,
  );
}
