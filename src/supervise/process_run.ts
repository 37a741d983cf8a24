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

/** Guards of one run that are replaced when somebody has ended them. */
const GUARDS_MAX = 4;
/** Exit code by which programs tell that SIGTERM has ended them, if they handle it. */
const TERMINATED = 143;
/** Default of `closeGraceMs`, and that for a process that was written to, and so reads its input. */
const CLOSE_GRACE_MS = 100;
const READER_GRACE_MS = 2_000;

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
  /** Ends the group of the process, also if this process is killed; null if it may not be started. */
  #guard: Child | null = null;
  #guards = 0;
  readonly #child: Child;
  readonly #isRead: boolean;
  #isReady = false;
  #hasEnded = false;
  #isAsked = false;
  #isKilled = false;
  #wasWrittenTo = false;
  /** Rings when the process, whose input is closed, is to be told by a signal as well. */
  #termTimer: HostTimer | null = null;
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
    const guard = shell === null ? null : startGroupGuard(shell);
    this.#child = this.#start(guard);
    if (guard !== null) this.#guardBy(guard, shell!);
    if (memoryBytesMax !== Infinity) this.#watchMemory();
    if (ready === undefined) this.#becomeReady();
    this.#follow();
  }

  #start(guard: Child | null): Child {
    const { command: [program, ...args], env, cwd } = this.#settings;
    const stdout = this.#isRead ? "piped" : "inherit";
    try {
      return new Child(program, { args, env, cwd, stdout });
    } catch (cause) {
      guard?.closeInput();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw this.#crash("start", null, `could not be started: ${why}`, cause);
    }
  }

  /** Has a guard watch over the group. A guard that somebody else has ended is replaced. */
  async #guardBy(guard: Child, shell: string): Promise<void> {
    this.#guard = guard;
    this.#guards++;
    guard.write(encoder.encode(`${this.#child.pid}\n`));
    if (this.#isOver) guard.closeInput();
    const { signal } = await guard.ended;
    guard.closeInput(); // the end of the pipe that is here
    if (signal === null) return; // it has done what it is there for
    this.#guard = null;
    try {
      if (this.#guards === GUARDS_MAX) {
        throw new Error("its guards do not last");
      }
      this.#guardBy(startGroupGuard(shell), shell);
    } catch (cause) {
      if (this.#isOver) return;
      const how = "lost the shell that ends it with this process";
      this.#fail(this.#crash("killed", null, how, cause));
    }
  }

  /** Whether the group is to end. */
  get #isOver(): boolean {
    return this.#hasEnded || this.#isKilled;
  }

  // -- The supervisor's side --

  /**
   * Asks it to end.
   *
   * @param shutdownMs When it will be killed.
   */
  stop(shutdownMs: number): void {
    this.#isAsked = true;
    const { stop, closeGraceMs } = this.#settings;
    if (stop !== "SIGTERM") this.#child.closeInput();
    if (stop === "SIGTERM") this.#child.terminate();
    if (stop !== "close-stdin-then-SIGTERM") return;
    const graceMs = closeGraceMs ??
      (this.#wasWrittenTo ? READER_GRACE_MS : CLOSE_GRACE_MS);
    this.#termTimer = after(
      Math.min(graceMs, shutdownMs / 2),
      () => this.#child.terminate(),
      false,
    );
  }

  /** Ends it and its group. */
  kill(): void {
    this.#isKilled = true;
    if (!this.#hasEnded) this.#child.kill();
    this.#guard?.closeInput();
  }

  // -- The process --

  #becomeReady(): void {
    this.#isReady = true;
    const child = this.#child;
    this.#listener.started({
      pid: child.pid,
      write: (text) => {
        this.#wasWrittenTo = true;
        child.write(encoder.encode(text));
      },
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
    this.#termTimer?.cancel();
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
    const isOver = code === 0 || code === TERMINATED || signal === "SIGTERM";
    if (this.#isAsked && isOver) return null;
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
