/**
 * Child processes, each in a process group of its own.
 *
 * A child does not keep this process alive. Being in a group of its own (and in a session), it gets no signals from the
 * terminal of this process. Starting it blocks for some milliseconds, as the runtime has to fork.
 *
 * @module
 */

import { readGranted, runGranted } from "./process.ts";

/** How a child ended. */
export interface ChildEnd {
  /** Exit code; 128 plus the number of the signal, if one ended it. */
  readonly code: number;
  /** Name of the signal that ended it. */
  readonly signal: string | null;
}

/** How a child is started. */
export interface ChildSettings {
  readonly args: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Working directory; that of this process, unless given. */
  readonly cwd?: string | URL | undefined;
  /** Standard output: read by {@linkcode Child.read}, that of this process, or none. Standard error is that of this process. */
  readonly stdout: "piped" | "inherit" | "null";
}

/** How many bytes are read at a time at most: what a pipe holds. */
const READ_BYTES = 65_536;

/** Path of the program that runs this process: Deno, unless the program was compiled. */
export function runtimePath(): string {
  return Deno.execPath();
}

/** Paths of the shell, best first: the permission may be for one of them, and `sh` is looked up in `PATH`. */
const SHELLS = ["/bin/sh", "sh"];

/** Path or name of a shell that may be run; null if none may. */
export function findShell(): string | null {
  return SHELLS.find((shell) => runGranted(shell)) ?? null;
}

/** URL of the module with which the program began. */
export function mainModule(): string {
  return Deno.mainModule;
}

/** Whether there is a file that may be read. Never asks the user. */
export function fileExists(file: URL): boolean {
  if (!readGranted(file.href)) return false;
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false; // the usual reason: there is none
  }
}

/** Does nothing with the failure of an input: a child that does not read any more ends, or has ended. */
function ignore(): void {}

/** A child process that was started; its standard input is a pipe. */
export class Child {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamBYOBReader | null;
  readonly pid: number;
  /** Fulfils when the process has ended; its output may not have been read by then. */
  readonly ended: Promise<ChildEnd>;

  /**
   * Starts a child.
   *
   * @param program Path or name of the program.
   * @param settings Arguments and so on.
   * @throws {Error} If that is not permitted, or the operating system refuses.
   */
  constructor(program: string, settings: ChildSettings) {
    const { args, env, cwd, stdout } = settings;
    this.#process = new Deno.Command(program, {
      args: [...args],
      ...(env !== undefined && { env: { ...env } }),
      ...(cwd !== undefined && { cwd }),
      stdin: "piped",
      stdout,
      stderr: "inherit",
      detached: true,
    }).spawn();
    this.#process.unref();
    this.pid = this.#process.pid;
    this.ended = this.#process.status;
    this.#input = this.#process.stdin.getWriter();
    this.#input.closed.catch(ignore);
    this.#output = stdout === "piped"
      ? this.#process.stdout.getReader({ mode: "byob" })
      : null;
  }

  /** Writes to its standard input. Never waits; the bytes must stay as they are. */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    this.#input.write(bytes).then(undefined, ignore);
  }

  /** Closes its standard input, behind what is being written. Does nothing the second time. */
  closeInput(): void {
    this.#input.close().catch(ignore);
  }

  /**
   * Reads its standard output.
   *
   * @param received Called with bytes, which may be used during the call only. Must not throw.
   * @returns A promise that fulfils at the end of the output.
   */
  async read(received: (bytes: Uint8Array) => void): Promise<void> {
    const output = this.#output;
    if (output === null) return;
    let buffer: ArrayBuffer = new ArrayBuffer(READ_BYTES);
    for (;;) {
      const { value, done } = await output.read(new Uint8Array(buffer));
      if (done) return;
      received(value);
      buffer = value.buffer;
    }
  }

  /** Closes the reading end of its output: a read that is under way ends. */
  stopReading(): void {
    // Nothing is left to do for a stream that has failed.
    this.#output?.cancel().catch(() => {});
  }

  /** Asks the child to end, by SIGTERM. Does nothing if it has ended. */
  terminate(): void {
    try {
      this.#process.kill("SIGTERM");
    } catch {
      // The child has ended: there is no other reason.
    }
  }

  /** Ends the child at once, without others of its group. Does nothing if it has ended. */
  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // The child has ended: there is no other reason.
    }
  }
}
