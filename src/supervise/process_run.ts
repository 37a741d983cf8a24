/**
 * A child process while it runs: its output by lines, its memory, its end, and the guard that
 * ends its process group.
 *
 * @module
 */
import { WorkerCrashError, type WorkerCrashKind } from "../errors.ts";
import { Child, type ChildEnd, findShell } from "../host/child_process.ts";
import { residentBytesOf } from "../host/process_stat.ts";
import { after, type HostTimer } from "../host/timers.ts";
import { startGroupGuard } from "../workers/orphan_guard.ts";
import type {
  ProcessSettings,
  SupervisedProcess,
} from "./supervised_process.ts";

/** Told what becomes of a process. */
export interface ProcessRunListener {
  /** The process is ready. */
  started(process: SupervisedProcess): void;
  /** The process has sent a heartbeat. Called by functions that were given to `call` only. */
  beaten(): void;
  /** Has a function called in a turn of the loop, in order. */
  call(fn: () => void): void;
  /** The process has ended, with all of its group; nothing follows. The error is `null` if it was no failure. */
  ended(error: Error | null): void;
}

/** How often it is asked for its memory, if that is limited. */
const MEMORY_MS = 250;
/** How long the output of a process that has ended may stay open: somebody outside of its group may hold it. */
const DRAIN_MS = 200;
/** A line that is longer is cut. */
const LINE_LENGTH_MAX = 1 << 20;

const encoder = new TextEncoder();

/** Cuts bytes into lines. */
class Lines {
  readonly #decoder = new TextDecoder();
  readonly #line: (line: string) => void;
  #rest = "";

  constructor(line: (line: string) => void) {
    this.#line = line;
  }

  push(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true }))
      .split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) this.#emit(line);
    if (this.#rest.length > LINE_LENGTH_MAX) this.end();
  }

  /** No more bytes come: what is left is the last line. */
  end(): void {
    const rest = this.#rest;
    this.#rest = "";
    if (rest !== "") this.#emit(rest);
  }

  #emit(line: string): void {
    this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }
}

/** A process that was started. */
export class ProcessRun {
  readonly #settings: ProcessSettings;
  readonly #path: string;
  readonly #listener: ProcessRunListener;
  readonly #guard: Child | null;
  readonly #child: Child;
  readonly #isRead: boolean;
  #isReady = false;
  #hasEnded = false;
  #isAsked = false;
  /** The error of which it is to end; null if there is none. */
  #failure: Error | null = null;
  #memoryTimer: HostTimer | null = null;

  /**
   * Starts the program.
   *
   * @throws {WorkerCrashError} If that fails.
   */
  constructor(
    settings: ProcessSettings,
    path: string,
    listener: ProcessRunListener,
  ) {
    this.#settings = settings;
    this.#path = path;
    this.#listener = listener;
    const { ready, heartbeat, onLine, memoryBytesMax } = settings;
    this.#isRead = ready !== undefined || heartbeat !== undefined ||
      onLine !== undefined;
    const shell = findShell();
    this.#guard = shell === null ? null : startGroupGuard(shell);
    this.#child = this.#start();
    this.#guard?.write(encoder.encode(`${this.#child.pid}\n`));
    if (memoryBytesMax !== Infinity) this.#watchMemory();
    if (ready === undefined) this.#becomeReady();
    this.#follow();
  }

  #start(): Child {
    const { command: [program, ...args], env, cwd } = this.#settings;
    const stdout = this.#isRead ? "piped" : "inherit";
    try {
      return new Child(program, { args, env, cwd, stdout });
    } catch (cause) {
      this.#guard?.closeInput();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw this.#crash("start", null, `could not be started: ${why}`, cause);
    }
  }

  // -- The supervisor's side --

  /** Asks it to end. */
  stop(): void {
    this.#isAsked = true;
    if (this.#settings.stop === "SIGTERM") this.#child.terminate();
    else this.#child.closeInput();
  }

  /** Ends it and its group. */
  kill(): void {
    if (!this.#hasEnded) this.#child.kill();
    this.#guard?.closeInput();
  }

  // -- The process --

  #becomeReady(): void {
    this.#isReady = true;
    const child = this.#child;
    this.#listener.started({
      pid: child.pid,
      write: (text) => child.write(encoder.encode(text)),
    });
  }

  #heard(line: string): void {
    const { ready, heartbeat, onLine } = this.#settings;
    try {
      onLine?.(line);
      if (!this.#isReady && ready!(line)) this.#becomeReady();
      if (heartbeat === undefined || heartbeat(line)) this.#listener.beaten();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Ends it as it is not as it should be. */
  #fail(error: Error): void {
    this.#failure ??= error;
    this.kill();
  }

  #watchMemory(): void {
    this.#memoryTimer = after(MEMORY_MS, () => {
      const { memoryBytesMax } = this.#settings;
      const usedBytes = residentBytesOf(this.#child.pid);
      if (usedBytes > memoryBytesMax) {
        const how =
          `used ${usedBytes} bytes of memory, more than the ${memoryBytesMax} that it may`;
        this.#fail(this.#crash("out-of-memory", null, how));
      } else this.#watchMemory();
    }, false);
  }

  /** Waits for the end, with output read to its end. */
  async #follow(): Promise<void> {
    const child = this.#child;
    const lines = new Lines((line) =>
      this.#listener.call(() => this.#heard(line))
    );
    const reading = child.read((bytes) => lines.push(bytes))
      .catch(() => {}); // a pipe that cannot be read has nothing more to say
    const end = await child.ended;
    this.#hasEnded = true;
    this.#memoryTimer?.cancel();
    child.closeInput();
    this.#guard?.closeInput();
    await this.#guard?.ended;
    const limit = after(DRAIN_MS, () => child.stopReading(), false);
    await reading;
    limit.cancel();
    lines.end();
    this.#listener.call(() => this.#listener.ended(this.#errorOf(end)));
  }

  #errorOf({ code, signal }: ChildEnd): Error | null {
    if (this.#failure !== null) return this.#failure;
    if (this.#isAsked && (code === 0 || signal === "SIGTERM")) return null;
    if (code === 0 && this.#isReady) return null;
    const early = this.#isReady ? "" : " before it was ready";
    return signal === null
      ? this.#crash("exit", code, `ended with exit code ${code}${early}`)
      : this.#crash("killed", code, `was ended by ${signal}${early}`);
  }

  #crash(
    kind: WorkerCrashKind,
    code: number | null,
    how: string,
    cause?: unknown,
  ): WorkerCrashError {
    return new WorkerCrashError(
      `The process of child "${this.#path}" ${how}`,
      kind,
      code,
      cause === undefined ? undefined : { cause },
    );
  }
}
