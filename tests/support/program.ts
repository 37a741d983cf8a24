/**
 * Runs a program that uses Rota as a child process, for what only the end of a
 * process can show.
 *
 * @module
 */

/** How a program is run. */
export interface ProgramOptions {
  /** Flags of `deno run`. All permissions by default. */
  readonly flags?: readonly string[];
  /** Added to the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it is in a process group of its own. */
  readonly detached?: boolean;
  /** When a program that has not ended is killed. 30 seconds by default. */
  readonly limitMs?: number;
}

/** What became of a program. */
export interface ProgramEnd {
  /** The exit code; that of a killed program is not 0. */
  readonly code: number;
  /** The signal that ended it, if one did. */
  readonly signal: Deno.Signal | null;
  /** Whether it had to be killed because it did not end. */
  readonly killed: boolean;
  /** What it wrote to standard output that {@linkcode Program.line} has not given yet. */
  readonly stdout: string;
  readonly stderr: string;
}

const ENTRY = import.meta.resolve("../../mod.ts");

/** A program that is running. */
export class Program {
  readonly #child: Deno.ChildProcess;
  readonly #path: string;
  readonly #limit: ReturnType<typeof setTimeout>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stderr: Promise<string>;
  #text = "";
  #killed = false;

  constructor(source: string, options: ProgramOptions) {
    const { flags = ["-A"], env = {}, limitMs = 30_000, detached = false } =
      options;
    this.#path = Deno.makeTempFileSync({ prefix: "program_", suffix: ".ts" });
    Deno.writeTextFileSync(
      this.#path,
      source.replaceAll(`"@rota/rota"`, JSON.stringify(ENTRY)),
    );
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-config",
        "--no-check",
        "--no-prompt",
        ...flags,
        this.#path,
      ],
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
      detached,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#limit = setTimeout(() => {
      this.#killed = true;
      this.#child.kill("SIGKILL");
    }, limitMs);
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    this.#stderr = new Response(this.#child.stderr).text();
  }

  /** Waits for the next line of standard output; `null` after the last. */
  async line(): Promise<string | null> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#lines.read();
      if (done) return null;
      this.#text += value;
    }
  }

  /** Its id, and that of its process group if it is detached. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Sends it a signal. */
  send(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for its end. */
  async end(): Promise<ProgramEnd> {
    try {
      let stdout = "";
      for (
        let line = await this.line();
        line !== null;
        line = await this.line()
      ) stdout += `${line}\n`;
      const { code, signal } = await this.#child.status;
      const stderr = await this.#stderr;
      const killed = this.#killed;
      return { code, signal, killed, stdout: stdout + this.#text, stderr };
    } finally {
      clearTimeout(this.#limit);
      Deno.removeSync(this.#path);
    }
  }
}

/** Starts a program, in which `"@rota/rota"` is this library. */
export function startProgram(
  source: string,
  options: ProgramOptions = {},
): Program {
  return new Program(source, options);
}

/** Runs a program to its end. */
export function runProgram(
  source: string,
  options: ProgramOptions = {},
): Promise<ProgramEnd> {
  return new Program(source, options).end();
}
