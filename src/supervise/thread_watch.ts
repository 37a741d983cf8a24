/**
 * The part of a watchdog that is in the thread which it watches: publishes what the loops run, and shows every so often
 * that the thread is not blocked.
 *
 * @module
 */
import { ffiGranted, killGranted, writeError } from "../host/process.ts";
import { microtask } from "../host/microtask.ts";
import { after, type HostTimer, KeepAlive } from "../host/timers.ts";
import { checkNotNegative } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { runningLoops } from "../loop/current.ts";
import { stepWatch, type WatchShare, watchShare } from "../loop/step_watch.ts";
import {
  type ExpectedShutdown,
  setWatch,
  type ShutdownWatch,
} from "./active_watchdog.ts";
import { BoardShutdown } from "./board_shutdown.ts";
import { StepPublisher } from "./step_publisher.ts";
import { WatchBoard, Word } from "./watch_board.ts";

/** Shorter blocks would need looks faster than timers. */
const DURATION_MS_MIN = 4;

/** Throws unless a watchdog can see blocks of this duration. */
export function checkBlockMs(ms: unknown, what: string, name: string): void {
  checkNotNegative(ms, what, name);
  if (ms as number >= DURATION_MS_MIN) return;
  throw new RangeError(
    `Cannot ${what} as ${name} must be >= ${DURATION_MS_MIN}: received ${ms}`,
  );
}

/** Exit code of a process that is killed. */
export const KILLED_CODE = 137;

/** Means of a watchdog to end the process. */
export type WatchdogEnding = "exit" | "kill" | "never";

/** Returns what the permissions of the program allow. */
export function endingGranted(): WatchdogEnding {
  return ffiGranted() ? "exit" : killGranted() ? "kill" : "never";
}

/** Watch over the shutdown, for a watchdog that may not end the process: listening would only keep signals from doing it. */
class UnableShutdown implements ShutdownWatch {
  #isToTell: boolean;

  constructor(isToTell: boolean) {
    this.#isToTell = isToTell;
  }

  expect(shutdown: ExpectedShutdown | null): void {
    if (shutdown === null || !this.#isToTell) return;
    this.#isToTell = false;
    writeError(
      "rota: watchdog: a shutdown whose thread is blocked will not end within its budget: the permission to end the process is missing, " +
        `run with --allow-ffi, or with --allow-run for exit code ${KILLED_CODE}, or set guardShutdown to false`,
    );
  }

  begins(): number {
    return 0;
  }
}

/** Time between two signs of life until the watchdog has said how often it wants them. */
const FIRST_MS = 1;

/** Watch over this thread. */
export class ThreadWatch {
  readonly board: WatchBoard = new WatchBoard();
  readonly #publisher: StepPublisher = new StepPublisher(this.board);
  readonly #beaten: () => void;
  readonly #ready: PromiseWithResolvers<void> = Promise.withResolvers();
  #timer: HostTimer | null = null;
  #isOn = false;

  /** @param beaten Called with each sign of life. */
  constructor(beaten: () => void) {
    this.#beaten = beaten;
    this.#ready.promise.catch(() => {}); // told to those who ask
  }

  /** Whether it is on. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /**
   * Turns it on.
   *
   * @param guardShutdown Whether a shutdown is to be watched; if undefined, as far as the permissions go.
   * @param share Makes invitations for threads that this one starts.
   */
  start(
    guardShutdown: boolean | undefined,
    share: (name: string) => WatchShare,
  ): void {
    this.#isOn = true;
    setWatch(
      guardShutdown === false || endingGranted() === "never"
        ? new UnableShutdown(guardShutdown !== false)
        : new BoardShutdown(this.board),
    );
    stepWatch.current = this.#publisher;
    watchShare.current = share;
    adoptWatches();
    this.#beat();
  }

  /** Turns it off. */
  stop(): void {
    this.#timer?.cancel();
    if (!this.#isOn) return;
    this.#isOn = false;
    setWatch(null);
    stepWatch.current = null;
    watchShare.current = null;
    adoptWatches();
  }

  /** Waits until the watchdog looks. */
  ready(): Promise<void> {
    return heldUntil(this.#ready.promise);
  }

  /** Fails those who wait for it. */
  refuse(error: Error): void {
    this.#ready.reject(error);
  }

  /** Shows that this thread is not blocked. The timer does not keep the process alive. */
  readonly #beat = (): void => {
    const { words } = this.board;
    Atomics.add(words, Word.BEAT, 1);
    if (Atomics.load(words, Word.WATCHES) !== 0) this.#ready.resolve();
    if (words[Word.EXACT] !== 0) this.#publisher.beExact();
    this.#beaten();
    if (!this.#isOn) return;
    const everyMs = Atomics.load(words, Word.EVERY_MS) || FIRST_MS;
    this.#timer = after(everyMs, this.#beat, false);
  };
}

/** Keeps the process alive until the promise is settled, for those who wait. */
export function heldUntil(promise: Promise<void>): Promise<void> {
  const holding = new KeepAlive();
  holding.set(true);
  return promise.finally(() => holding.set(false));
}

/** Has the loops of this thread take over the watch, or let go of it: between two turns of those that run. */
function adoptWatches(): void {
  microtask(() => {
    for (const loop of runningLoops) loop[core].adoptWatch();
  });
}
