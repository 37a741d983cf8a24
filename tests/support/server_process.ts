/**
 * A server of another project as a child process on a free port of the
 * loopback: started, ended, started again on the same port and with the same
 * data.
 *
 * @module
 */

/** A server that runs until it is stopped. */
export interface ServerProcess extends AsyncDisposable {
  /** Port on 127.0.0.1; the same after each {@linkcode start}. */
  readonly port: number;
  /** Id of the process that runs now. */
  readonly pid: number;
  /** Log of all runs up to now. */
  readonly log: string;
  /**
   * Ends the process and waits for its end. SIGTERM by default, after which
   * the server saves what it has to. Does nothing where it has ended.
   */
  stop(signal?: Deno.Signal): Promise<void>;
  /** Starts it again, on the same port and data, and waits until it is ready. */
  start(): Promise<void>;
  /** Kills the process and removes its data. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Description of a server. */
export interface ServerProgram {
  /** Name of its executable. */
  readonly name: string;
  /** Arguments for a run on `port` with the data in `dir`. */
  readonly args: (port: number, dir: string) => string[];
  /** Part of the log line that says that the server takes connections. */
  readonly readyLine: string;
}

const DIRECTORIES = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/** Path of an executable, or `undefined` where it is not installed. */
export function findProgram(name: string): string | undefined {
  const directories = [
    ...DIRECTORIES,
    ...(Deno.env.get("PATH") ?? "").split(":"),
  ];
  for (const directory of directories) {
    if (directory === "") continue;
    try {
      if (Deno.statSync(`${directory}/${name}`).isFile) {
        return `${directory}/${name}`;
      }
    } catch {
      // Not there, or not for us: the next directory.
    }
  }
  return undefined;
}

/**
 * Registers a test that needs `program`. Where it is not installed the test is
 * skipped, and its name says why.
 */
export function testWith(
  program: string,
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  const ignore = findProgram(program) === undefined;
  Deno.test({
    name: ignore ? `${name} (skipped: no ${program} installed)` : name,
    ignore,
    fn,
  });
}

/** Starts `program` on a free port and waits until it takes connections. */
export async function startServer(
  program: ServerProgram,
): Promise<ServerProcess> {
  const path = findProgram(program.name);
  if (path === undefined) {
    throw new Error(`Cannot start ${program.name}: it is not installed`);
  }
  for (let attempt = 1;; attempt += 1) {
    const server = new RunningServer(program, path, freePort());
    try {
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      // Another process may have taken the port since it was found free.
      if (attempt === 3) throw error;
    }
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

class RunningServer implements ServerProcess {
  readonly port: number;
  readonly #program: ServerProgram;
  readonly #path: string;
  readonly #dir: string = Deno.makeTempDirSync({ prefix: "rota-server-" });
  #child: Deno.ChildProcess | undefined;
  #drained: Promise<unknown> = Promise.resolve();
  #log = "";

  constructor(program: ServerProgram, path: string, port: number) {
    this.#program = program;
    this.#path = path;
    this.port = port;
  }

  get pid(): number {
    if (this.#child === undefined) {
      throw new Error(`Cannot tell the pid: ${this.#program.name} is stopped`);
    }
    return this.#child.pid;
  }

  get log(): string {
    return this.#log;
  }

  async start(): Promise<void> {
    if (this.#child !== undefined) {
      throw new Error(`Cannot start ${this.#program.name}: it runs`);
    }
    const args = this.#program.args(this.port, this.#dir);
    // The kernel ends the server if the tests die before they could.
    const setpriv = findProgram("setpriv");
    const child = setpriv === undefined
      ? command(this.#path, args)
      : command(setpriv, ["--pdeathsig", "KILL", "--", this.#path, ...args]);
    this.#child = child;
    const ready = Promise.withResolvers<void>();
    this.#drained = Promise.all([
      this.#drain(child.stdout, ready.resolve),
      this.#drain(child.stderr, ready.resolve),
    ]).then(() =>
      ready.reject(
        new Error(`${this.#program.name} ended at its start:\n${this.#log}`),
      )
    );
    await ready.promise;
  }

  async stop(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    try {
      child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    await child.status;
    await this.#drained;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
    try {
      await Deno.remove(this.#dir, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async #drain(
    output: ReadableStream<Uint8Array>,
    ready: () => void,
  ): Promise<void> {
    let run = "";
    for await (const text of output.pipeThrough(new TextDecoderStream())) {
      this.#log += text;
      run += text;
      if (run.includes(this.#program.readyLine)) ready();
    }
  }
}

function command(path: string, args: string[]): Deno.ChildProcess {
  return new Deno.Command(path, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}
