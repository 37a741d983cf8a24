/**
 * Watchdog: a thread that names the task that blocks the loops of another one, while it blocks.
 *
 * @module
 */
import { MisuseError, WatchdogUnsupportedError } from "../errors.ts";
import { type LinePort, openLine } from "../host/message_port.ts";
import { detached } from "../host/microtask.ts";
import { readGranted, writeError } from "../host/process.ts";
import { loadThreads, type Thread, type Threads } from "../host/thread.ts";
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
} from "../loop/checks.ts";
import { hasWatch } from "./active_watchdog.ts";
import { inviteTo } from "./join_watchdog.ts";
import {
  checkBlockMs,
  endingGranted,
  heldUntil,
  KILLED_CODE,
  ThreadWatch,
  type WatchdogEnding,
} from "./thread_watch.ts";
import { type RunningKind, Word } from "./watch_board.ts";
import type {
  ShareMessage,
  WatchdogData,
  WatchdogSettings,
} from "./watchdog_thread.ts";

/** URL of the script: `file:` in a checkout, `https:` from a registry. */
const SCRIPT = import.meta.resolve("./watchdog_thread.ts");

/** Puts the script into the module graph, so that registries and caches have it; never called. */
export const loadWatchdogScript = (): Promise<unknown> =>
  import("./watchdog_thread.ts");

/** A block of a thread: one that is over, or, in another thread, one that lasts. */
export interface WatchdogBlock {
  /**
   * Name of the thread; null for the one that has made the watchdog. That one can
   * only be told of its own blocks when they are over.
   */
  readonly thread: string | null;
  /** Whether the thread is still blocked. */
  readonly state: "blocked" | "over";
  /** Description of what blocks it, or has: `task "name"`, `callback "name"`. */
  readonly description: string;
  /** Whether that is in a step of a loop, after a task was resumed, or outside of both. */
  readonly kind: RunningKind;
  /** When it began, in milliseconds since 1970. The same in all reports of one block. */
  readonly sinceMs: number;
  /** How long the thread is blocked, or was, in milliseconds: as exact as the watchdog looks. */
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
  /** First listener of {@linkcode Watchdog.subscribe}. */
  readonly onBlock?: ((block: WatchdogBlock) => void) | undefined;
  /**
   * Whether a graceful shutdown whose thread is blocked ends within its budget.
   * Needs `--allow-ffi` or, with exit code 137, `--allow-run`. With `true` a
   * watchdog without these is refused. By default it does as much as it may, and
   * writes a line to standard error if there is a shutdown to guard and it may not.
   *
   * @default {as far as the permissions go}
   */
  readonly guardShutdown?: boolean | undefined;
}

const WHAT = "make a watchdog";

/** The watchdog that was made in this thread. */
let current: Watchdog | null = null;

/**
 * A thread that watches the loops of this one, and of others: it names the task that
 * blocks a loop while it blocks, also if it never comes back, and by request ends
 * the process.
 *
 * A process needs only one watchdog. It watches all loops of the thread that makes it, and
 * of the threads that join: those of a {@linkcode ThreadPool} and of `workerLoop`
 * that are started after it do so by themselves, also by threads that have joined;
 * others by {@linkcode Watchdog.share} and {@linkcode joinWatchdog}. A thread that
 * ends is forgotten. When the thread that has made the watchdog ends, so does the
 * watchdog. Without one nothing is watched.
 *
 * A thread is blocked if its event loop has not run for `blockMs`, whatever the
 * reason: a computation, a synchronous read, `Atomics.wait`, `prompt`, or a debugger
 * that holds it, so set no `endAfterMs` while you debug. Not blocked is a process or
 * machine that is suspended: {@linkcode Watchdog.suspendedMs} counts that. In a
 * thread of a pool plain jobs may compute for as long as they like; only steps of
 * its loop can block it.
 *
 * A block is written to standard error after `blockMs`, and again each time that it
 * has lasted twice as long; so a block has a few lines, and names what runs at that
 * moment. {@linkcode Watchdog.subscribe} tells the program: of this thread once it
 * is free again, of others while it lasts, too.
 *
 * A step of a task or a callback is named exactly. Code of an async function runs
 * between the turns of the loop: the watchdog names the task that was resumed last,
 * and says so. If more than four were resumed at once, it names up to 32 of which it
 * is one; from the next block on it tells them apart. Code that no loop has started,
 * such as a handler of `Deno.serve`, counts as outside.
 *
 * With a {@linkcode gracefulShutdown} it sees to it that a process whose thread is
 * blocked ends within the budget, too, and that a second signal ends it at once. A
 * watchdog made after the shutdown began guards the rest of the budget. {@linkcode
 * Watchdog.ends} tells how it can do that with the permissions of the program:
 * `"exit"`, with the right code, needs `--allow-ffi`; `"kill"`, with the code 137,
 * `--allow-run`; `"never"` means that it can only report. Then a shutdown that is to
 * be guarded is told of on standard error as soon as there are both.
 *
 * Costs a thread, which looks every 50 ms or less, a timer as often in each thread
 * that is watched, about 2 ns for each step of a generator, and about 15 for each
 * time that an async function is resumed. It does not keep the process alive. From a
 * local folder it needs permission to read its script.
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
  readonly #settings: WatchdogSettings;
  readonly #watch: ThreadWatch = new ThreadWatch(() => this.#takeReports());
  readonly #listeners: Set<(block: WatchdogBlock) => void> = new Set();
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers();
  #thread: Thread | null = null;
  #failure: unknown;
  /** Ports for the watchdog that has no thread yet. */
  #unsent: LinePort[] = [];
  #reportsTaken = 0;
  #closed = false;

  /** The watchdog that this thread has made, until it is closed; null if there is none. */
  static get current(): Watchdog | null {
    return current;
  }

  /**
   * Makes a watchdog, and begins to start its thread.
   *
   * @param options Durations, and what to do about blocks.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a duration is out of range, or `exitCode` is no code.
   * @throws {WatchdogUnsupportedError} If it is to end the process and may not, or
   * may not read the script of its thread.
   * @throws {MisuseError} If this thread is watched already.
   */
  constructor(options: WatchdogOptions = {}) {
    this.ends = endingGranted();
    this.#settings = settle(options, this.ends);
    checkStart();
    if (hasWatch()) {
      throw new MisuseError(`Cannot ${WHAT}: this thread has one already`);
    }
    const { onBlock, guardShutdown } = options;
    if (onBlock !== undefined) this.#listeners.add(onBlock);
    current = this;
    this.#watch.start(guardShutdown, (name) => inviteTo(this.share(), name));
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
      memory: this.#watch.board.memory,
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
      return this.#endedWith(error);
    }
    for (const port of this.#unsent.splice(0)) this.#send(port);
  }

  /** The thread is gone, or was never there. */
  #endedWith(cause: unknown): void {
    this.#thread?.mail.close();
    for (const port of this.#unsent.splice(0)) port.close();
    this.#ended.resolve();
    if (this.#closed) return;
    this.#closed = true;
    const error = new WatchdogUnsupportedError(
      "Cannot watch this thread: the thread of the watchdog could not start, or has ended",
      { cause },
    );
    this.#watch.refuse(error);
    writeError(`rota: ${error.message}: ${cause}`);
    this.#turnOff();
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
    return this.#watch.ready();
  }

  // -- Other threads --

  /**
   * Makes a port by which one other thread can join: send it there, in the list of
   * what is transferred, and call {@linkcode joinWatchdog} with it. Threads that Rota
   * starts need none. A port that is not used costs next to nothing; close it.
   *
   * @returns The port, for one thread.
   * @throws {MisuseError} If the watchdog is closed.
   */
  share(): LinePort {
    if (this.#closed) {
      throw new MisuseError("Cannot share the watchdog: it is closed");
    }
    const [mine, theirs] = openLine();
    if (this.#thread === null) this.#unsent.push(mine);
    else this.#send(mine);
    return theirs;
  }

  #send(port: LinePort): void {
    try {
      this.#thread!.mail.post({ port } satisfies ShareMessage, [port]);
    } catch {
      return; // the other end was closed, and this one with it
    }
    Atomics.add(this.#watch.board.words, Word.MAILS, 1);
  }

  // -- Reports --

  /**
   * Calls a function with each block that lasts for `blockMs`: of this thread when it
   * is over; of others when it is first seen, each time that it has lasted twice as
   * long, and when it is over. The calls come between the turns of loops, in the order
   * in which the watchdog has seen the blocks. Errors that the function throws are
   * written to standard error.
   *
   * @param listener Called until the result is disposed of, or the watchdog is closed.
   * @returns The subscription: dispose of it to end it.
   * @throws {TypeError} If `listener` is no function.
   */
  subscribe(listener: (block: WatchdogBlock) => void): Disposable {
    checkFunction(listener, "subscribe to the watchdog", "listener");
    // Twice the same function are two subscriptions.
    const own = (block: WatchdogBlock): void => listener(block);
    this.#listeners.add(own);
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
  }

  /**
   * How long the process or machine was suspended since the watchdog began, in
   * milliseconds: the sum of the times in which its own thread did not get to run,
   * from 200 ms on. A monitor that finds its timer late can tell by it that the
   * thread was not blocked.
   */
  get suspendedMs(): number {
    return Atomics.load(this.#watch.board.words, Word.SUSPENDED_MS);
  }

  #takeReports(): void {
    const sent = Atomics.load(this.#watch.board.words, Word.REPORTS);
    while (this.#reportsTaken !== sent && !this.#closed) {
      this.#reportsTaken++;
      this.#tell(this.#thread!.mail.take() as WatchdogBlock);
    }
  }

  #tell(block: WatchdogBlock): void {
    const failed = (error: unknown) =>
      writeError(`rota: a listener of the watchdog threw: ${error}`);
    for (const listener of [...this.#listeners]) {
      try {
        const result = listener(block) as unknown;
        if (result instanceof Promise) result.catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  }

  // -- The end --

  /**
   * Ends the thread. Other threads that have joined are watched no more. Calling it
   * again does nothing.
   *
   * @returns A promise that resolves once the thread has ended.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      Atomics.store(this.#watch.board.words, Word.CLOSE, 1);
      this.#turnOff();
      this.#watch.refuse(
        new MisuseError("Cannot wait for the watchdog: it is closed"),
      );
    }
    return heldUntil(this.#ended.promise);
  }

  #turnOff(): void {
    this.#watch.stop();
    this.#listeners.clear();
    if (current === this) current = null;
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

function settle(
  options: WatchdogOptions,
  ends: WatchdogEnding,
): WatchdogSettings {
  checkOptions(options, WHAT);
  const {
    blockMs = 1_000,
    endAfterMs = Infinity,
    exitCode = ends === "exit" ? 1 : KILLED_CODE,
    write = true,
    onBlock,
    guardShutdown = false,
  } = options;
  checkBlockMs(blockMs, WHAT, "blockMs");
  checkBlockMs(endAfterMs, WHAT, "endAfterMs");
  checkInteger(exitCode, 0, WHAT, "exitCode");
  if (exitCode > 255) {
    throw new RangeError(
      `Cannot ${WHAT} as exitCode must be <= 255: received ${exitCode}`,
    );
  }
  checkOneOf(write, [true, false], WHAT, "write");
  if (onBlock !== undefined) checkFunction(onBlock, WHAT, "onBlock");
  checkOneOf(guardShutdown, [true, false], WHAT, "guardShutdown");
  if (endAfterMs !== Infinity) checkEnding(exitCode, ends);
  if (guardShutdown && ends === "never") {
    refuseEnding("a shutdown whose thread is blocked");
  }
  return { blockMs, endAfterMs, exitCode, writes: write };
}

/** Throws if the thread cannot start. */
function checkStart(): void {
  if (!SCRIPT.startsWith("file:") || readGranted(SCRIPT)) return;
  throw new WatchdogUnsupportedError(
    `Cannot ${WHAT}: the permission to read ${SCRIPT} is missing, run with --allow-read`,
  );
}

/** Throws if the process cannot be ended, or not with this code. */
function checkEnding(exitCode: number, ends: WatchdogEnding): void {
  if (ends === "exit" || ends === "kill" && exitCode === KILLED_CODE) return;
  if (ends === "never") refuseEnding("the process");
  throw new WatchdogUnsupportedError(
    `Cannot ${WHAT} that ends the process with code ${exitCode}: the permission is missing, run with --allow-ffi; with --allow-run alone the code is ${KILLED_CODE}`,
  );
}

function refuseEnding(subject: string): never {
  throw new WatchdogUnsupportedError(
    `Cannot ${WHAT} that ends ${subject}: the permission is missing, run with --allow-ffi, or with --allow-run for exit code ${KILLED_CODE}`,
  );
}
