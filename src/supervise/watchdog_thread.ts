/**
 * Script of the thread of a watchdog. Elsewhere it does nothing.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";
import { exitNow } from "../host/libc_exit.ts";
import { ffiGranted, killProcess, writeError } from "../host/process.ts";
import { onSignal } from "../host/signals.ts";
import { loadThreads } from "../host/thread.ts";
import { after } from "../host/timers.ts";
import { WatchBoard, Word } from "./watch_board.ts";
import {
  type GuardSettings,
  type GuardWorld,
  WatchdogGuard,
} from "./watchdog_guard.ts";

/** Data that the thread is started with. */
export interface WatchdogData {
  readonly memory: SharedArrayBuffer;
  readonly settings: GuardSettings;
}

const world: GuardWorld = {
  now: monotonicMs,
  write: writeError,
  listen: (signal, listener) =>
    onSignal(signal, listener, (error) => writeError(`rota: ${error}`)),
  end: (code) => {
    if (ffiGranted()) exitNow(code);
    else killProcess();
  },
};

/** Looks every so often until the board says that it is enough. Then nothing keeps the thread alive. */
function watch({ memory, settings }: WatchdogData): void {
  const board = new WatchBoard(memory);
  const guard = new WatchdogGuard(board, settings, world);
  const look = (): void => {
    if (Atomics.load(board.words, Word.CLOSE) !== 0) return guard.close();
    guard.look();
    after(settings.everyMs, look, true);
  };
  look();
  Atomics.store(board.words, Word.WATCHES, 1);
}

const { inside } = await loadThreads();
const thread = inside(import.meta.url);
if (thread !== null) watch(thread.data as unknown as WatchdogData);
