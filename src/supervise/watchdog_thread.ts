/**
 * Script of the thread of a watchdog. Elsewhere it does nothing.
 *
 * @module
 */
import { monotonicMs, wallClockMs } from "../host/clock.ts";
import { exitNow } from "../host/libc_exit.ts";
import { type LinePort, Port } from "../host/message_port.ts";
import { ffiGranted, killProcess, writeError } from "../host/process.ts";
import { onSignal } from "../host/signals.ts";
import { loadThreads, type Mail } from "../host/thread.ts";
import { after } from "../host/timers.ts";
import { WatchBoard, Word } from "./watch_board.ts";
import {
  type GuardSettings,
  type GuardWorld,
  WatchdogGuard,
} from "./watchdog_guard.ts";

/** Settings of a watchdog, as they are sent to its thread. */
export interface WatchdogSettings {
  /** Duration from which a block is told, in milliseconds. */
  readonly blockMs: number;
  /** Duration from which a block of the thread that has made it ends the process; `Infinity` for never. */
  readonly endAfterMs: number;
  /** Exit code of the process then. */
  readonly exitCode: number;
  /** Whether blocks are written to standard error. */
  readonly writes: boolean;
}

/** Data that the thread is started with. */
export interface WatchdogData {
  readonly memory: SharedArrayBuffer;
  readonly settings: WatchdogSettings;
}

/** A port at which a thread may join. */
export interface ShareMessage {
  readonly port: LinePort;
}

/** A thread joins. */
export interface JoinMessage {
  readonly memory: SharedArrayBuffer;
  /** Name of the thread; null for a number. */
  readonly name: string | null;
  /** Duration from which a block is told; null for that of the watchdog. */
  readonly blockMs: number | null;
  readonly loopsOnly: boolean;
}

/** Longest time between two looks: a shutdown counts on them. */
const EVERY_MS_MAX = 50;
/** The most that counts between two looks: a suspended process has not been blocked. */
const COUNTED_MS_MAX = 500;

/** Watchdog of a process, in its own thread. */
class ProcessWatchdog {
  readonly #board: WatchBoard;
  readonly #mail: Mail;
  readonly #settings: WatchdogSettings;
  readonly #world: GuardWorld;
  readonly #guards: Set<WatchdogGuard> = new Set();
  readonly #ports: Set<Port> = new Set();
  /** How often it looks: as often as the guard that asks for most. */
  #everyMs = EVERY_MS_MAX;
  /** How many messages of the thread that has made it were taken. */
  #taken = 0;
  #threads = 0;

  constructor({ memory, settings }: WatchdogData, mail: Mail) {
    this.#board = new WatchBoard(memory);
    this.#mail = mail;
    this.#settings = settings;
    this.#world = {
      now: monotonicMs,
      wallMs: wallClockMs,
      report: (report) => {
        mail.post(report, []);
        Atomics.add(this.#board.words, Word.REPORTS, 1);
      },
      write: writeError,
      listen: (signal, listener) =>
        onSignal(signal, listener, (error) => writeError(`rota: ${error}`)),
      end: (code) => {
        if (ffiGranted()) exitNow(code);
        else killProcess();
      },
    };
    this.#add(this.#board, { ...settings, thread: null, loopsOnly: false });
  }

  /** Looks every so often until the board says that it is enough. Then nothing keeps the thread alive. */
  run(): void {
    if (Atomics.load(this.#board.words, Word.CLOSE) !== 0) return this.#close();
    for (const guard of this.#guards) guard.look();
    const sent = Atomics.load(this.#board.words, Word.MAILS);
    for (; this.#taken !== sent; this.#taken++) {
      this.#listen((this.#mail.take() as ShareMessage).port);
    }
    after(this.#everyMs, () => this.run(), true);
  }

  #close(): void {
    for (const guard of this.#guards) guard.close();
    for (const port of this.#ports) port.close();
  }

  #add(
    board: WatchBoard,
    settings: Omit<GuardSettings, "mostMs">,
  ): WatchdogGuard {
    const { endAfterMs } = settings;
    const mostMs = Math.min(endAfterMs / 2, COUNTED_MS_MAX);
    const guard = new WatchdogGuard(
      board,
      { ...settings, mostMs },
      this.#world,
    );
    this.#guards.add(guard);
    this.#adaptPace();
    const { words } = board;
    const everyMs = Math.ceil(Math.min(guard.everyMs, EVERY_MS_MAX));
    Atomics.store(words, Word.EVERY_MS, everyMs);
    Atomics.store(words, Word.WATCHES, 1);
    return guard;
  }

  #adaptPace(): void {
    this.#everyMs = EVERY_MS_MAX;
    for (const { everyMs } of this.#guards) {
      this.#everyMs = Math.min(everyMs, this.#everyMs);
    }
  }

  /** Waits at a port for the thread that joins by it. Once that has ended, it is forgotten. */
  #listen(line: LinePort): void {
    let guard: WatchdogGuard | null = null;
    const port = new Port(line, {
      message: (message) => {
        const request = message as ShareMessage | JoinMessage;
        if ("port" in request) this.#listen(request.port);
        else guard ??= this.#join(request);
      },
      ended: () => {
        this.#ports.delete(port);
        if (guard === null) return;
        this.#guards.delete(guard);
        this.#adaptPace();
        guard.close();
      },
    });
    this.#ports.add(port);
  }

  #join({ memory, name, blockMs, loopsOnly }: JoinMessage): WatchdogGuard {
    this.#threads++;
    return this.#add(new WatchBoard(memory), {
      thread: name ?? `Thread-${this.#threads}`,
      loopsOnly,
      blockMs: blockMs ?? this.#settings.blockMs,
      endAfterMs: Infinity,
      exitCode: 1,
      writes: this.#settings.writes,
    });
  }
}

const { inside } = await loadThreads();
const thread = inside(import.meta.url);
if (thread !== null) {
  new ProcessWatchdog(thread.data as unknown as WatchdogData, thread.mail)
    .run();
}
