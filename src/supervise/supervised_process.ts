/**
 * Child processes of any program as children of a supervisor.
 *
 * @module
 */
import {
  checkFunction,
  checkInteger,
  checkNotNegative,
  checkOneOf,
  checkOptions,
  checkString,
  inspect,
} from "../loop/checks.ts";
import { canWatchProcesses } from "../host/process_stat.ts";
import { DetectionUnsupportedError, MisuseError } from "../errors.ts";
import { checkEnvironment } from "../workers/checks.ts";
import { OutsideChild } from "./outside_child.ts";
import type { ProcessRun, ProcessRunListener } from "./process_run.ts";
import type { ChildEnd } from "./child_end.ts";
import {
  type ChildControl,
  type ChildHost,
  type Supervisable,
  supervised,
} from "./supervised.ts";

/** A process that runs: the value of the child, `run.value`. */
export interface SupervisedProcess {
  /** Id of the process, and of its process group. */
  readonly pid: number;
  /**
   * Writes to its standard input. Never waits; what a process does not read stays in
   * memory, and is lost with it.
   *
   * @param text The text, which is sent as UTF-8.
   */
  write(text: string): void;
}

/** How a child process is asked to end: see {@linkcode ChildProcessOptions.stop}. */
export type ProcessStop =
  | "close-stdin-then-SIGTERM"
  | "close-stdin"
  | "SIGTERM";

/** Options of {@linkcode childProcess}. */
export interface ChildProcessOptions {
  /** Environment variables, added to those of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /**
   * Working directory.
   *
   * @default {that of this process}
   */
  readonly cwd?: string | URL | undefined;
  /**
   * Called with each line of its standard output until it returns `true`: the child is
   * ready then. An error of it is a failed start.
   *
   * @default {ready as soon as it is started}
   */
  readonly ready?: ((line: string) => boolean) | undefined;
  /**
   * Says which lines of its standard output are heartbeats, for `heartbeatMs` of the child.
   *
   * @default {all, if the output is read}
   */
  readonly heartbeat?: ((line: string) => boolean) | undefined;
  /**
   * Called with each line of its standard output, without the end of the line; one of more
   * than 1,048,576 characters comes in pieces. The output is read if there is this, `ready`
   * or `heartbeat`; else it is that of this process. If this or `heartbeat` throws, the
   * process is killed, and has crashed with the error.
   */
  readonly onLine?: ((line: string) => void) | undefined;
  /**
   * How it is asked to end:
   *
   * - `"close-stdin-then-SIGTERM"`: its standard input, a pipe, is closed; if it has not
   *   ended after `closeGraceMs`, it gets the signal SIGTERM as well;
   * - `"close-stdin"`: its standard input is closed, and it has all its `shutdown` time;
   * - `"SIGTERM"`: it gets the signal at once.
   *
   * @default {"close-stdin-then-SIGTERM"}
   */
  readonly stop?: ProcessStop | undefined;
  /**
   * How long after its standard input was closed the signal SIGTERM follows, in
   * milliseconds; no longer than half of the `shutdown` time of the child. Without it, a
   * program that was written to, and so reads its input, has 2,000, any other 100: most of
   * those never look at it.
   *
   * @default {100, or 2_000 if it was written to}
   */
  readonly closeGraceMs?: number | undefined;
  /**
   * Most memory that it may have in use, in bytes, without processes that it starts. Looked
   * at every 250 milliseconds; a process that has more is killed. Needs Linux, and
   * `--allow-all` to read `/proc`.
   *
   * @default {Infinity}
   */
  readonly memoryBytesMax?: number | undefined;
}

/** The options, checked, each with its value. */
export interface ProcessSettings {
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>> | undefined;
  readonly cwd: string | URL | undefined;
  readonly ready: ((line: string) => boolean) | undefined;
  readonly heartbeat: ((line: string) => boolean) | undefined;
  readonly onLine: ((line: string) => void) | undefined;
  readonly stop: ProcessStop;
  /** `undefined` for the default, which depends on what it does. */
  readonly closeGraceMs: number | undefined;
  readonly memoryBytesMax: number;
}

const WHAT = "make a child process";
const STOPS: readonly [ProcessStop, ...ProcessStop[]] = [
  "close-stdin-then-SIGTERM",
  "close-stdin",
  "SIGTERM",
];
const NO_OPTIONS: ChildProcessOptions = Object.freeze({});

/**
 * Makes the `start` of a child that is a process.
 *
 * Each start of the child starts the program, in a session and process group of its own, so
 * that Ctrl-C at the terminal does not reach it: this process alone decides when it ends. Its
 * standard input is a pipe. An end with exit code 0 is `"normal"`, and so a silent
 * exit of a permanent child; any other, or one before it was ready, is a crash with a
 * {@linkcode WorkerCrashError}.
 *
 * Stopping asks the program to end, as `stop` says: its input is closed, and SIGTERM follows
 * after a short time. That counts as `"shutdown"` if it ends by the signal or with exit code 0
 * or 143, by which programs tell of it. After the child's `shutdown` time the whole group is
 * killed; so is what is left of it whenever the program has ended.
 *
 * A shell that waits beside it, its guard, kills the group also if this process ends in
 * whatever way, so that nothing is left behind. A guard that somebody has ended is replaced,
 * three times; then the child has crashed. Three things stay impossible. A process that leaves
 * the group, as daemons do by `setsid`, is not found. A process whose guard and this process
 * are killed within the same few milliseconds lives on, with its input closed. And without the
 * permission to run `sh` there is no guard: only the program itself is killed, and only while
 * this process lives.
 *
 * While it runs, this process stays alive, and a virtual clock stands still. Needs
 * `--allow-run`.
 *
 * @example A program that says when it is ready
 * ```ts
 * import { run, Supervisor } from "@rota/rota";
 * import { childProcess } from "@rota/rota/supervise";
 * import { assertEquals } from "@std/assert";
 *
 * const lines: string[] = [];
 * await run(async () => {
 *   await using supervisor = new Supervisor({
 *     children: [{
 *       id: "server",
 *       start: childProcess(["sh", "-c", "echo listening; exec sleep 100"], {
 *         ready: (line) => line === "listening",
 *         onLine: (line) => lines.push(line),
 *       }),
 *     }],
 *   });
 *   await supervisor.start();
 * });
 * assertEquals(lines, ["listening"]);
 * ```
 *
 * @param command Path or name of the program, and its arguments.
 * @param options Environment, when it is ready, how it is stopped, limits.
 * @returns A function for the `start` of a {@linkcode ChildSpec}.
 * @throws {TypeError} If `command` is no array of strings, or an option is of the wrong type.
 * @throws {RangeError} If `command` is empty, or a number is out of range.
 * @throws {DetectionUnsupportedError} If memory is limited, and cannot be known.
 */
export function childProcess(
  command: readonly string[],
  options: ChildProcessOptions = NO_OPTIONS,
): () => Supervisable {
  const settings = settle(command, options);
  return () => new ProcessChild(settings);
}

function settle(
  command: readonly string[],
  options: ChildProcessOptions,
): ProcessSettings {
  checkOptions(options, WHAT);
  const { env, cwd, ready, heartbeat, onLine } = options;
  const { stop = STOPS[0], closeGraceMs, memoryBytesMax = Infinity } = options;
  const argv = checkCommand(command);
  if (env !== undefined) checkEnvironment(env, WHAT);
  if (cwd !== undefined && !(cwd instanceof URL)) checkString(cwd, WHAT, "cwd");
  for (const [name, fn] of Object.entries({ ready, heartbeat, onLine })) {
    if (fn !== undefined) checkFunction(fn, WHAT, name);
  }
  checkOneOf(stop, STOPS, WHAT, "stop");
  if (closeGraceMs !== undefined) {
    checkNotNegative(closeGraceMs, WHAT, "closeGraceMs");
  }
  checkMemory(memoryBytesMax);
  return {
    command: argv,
    env: env === undefined ? undefined : { ...env },
    cwd,
    ready,
    heartbeat,
    onLine,
    stop,
    closeGraceMs,
    memoryBytesMax,
  };
}

function checkMemory(memoryBytesMax: number): void {
  checkInteger(memoryBytesMax, 1, WHAT, "memoryBytesMax", "or Infinity");
  if (memoryBytesMax === Infinity || canWatchProcesses()) return;
  throw new DetectionUnsupportedError(
    `Cannot ${WHAT} with memoryBytesMax: the memory of a process can be known on Linux only, with --allow-all`,
  );
}

function checkCommand(command: unknown): readonly [string, ...string[]] {
  if (!Array.isArray(command)) {
    throw new TypeError(
      `Cannot ${WHAT} as command must be an array: received ${
        inspect(command)
      }`,
    );
  }
  for (const [index, part] of command.entries()) {
    checkString(part, WHAT, `command[${index}]`);
  }
  const [program, ...args]: string[] = command;
  if (program === undefined || program === "") {
    throw new RangeError(
      `Cannot ${WHAT} as command must begin with a program: received ${
        JSON.stringify(command)
      }`,
    );
  }
  return [program, ...args];
}

/** Start of a child process, one of many. */
class ProcessChild implements Supervisable {
  readonly #settings: ProcessSettings;

  constructor(settings: ProcessSettings) {
    this.#settings = settings;
  }

  [supervised](host: ChildHost): ChildControl {
    const { ready, heartbeat, onLine } = this.#settings;
    if (host.heartbeatMs !== Infinity && !(ready ?? heartbeat ?? onLine)) {
      throw new MisuseError(
        `Cannot start child "${host.path}" with heartbeatMs: its output is not read, give heartbeat, ready or onLine to childProcess()`,
      );
    }
    return new LazyProcess(host, this.#settings);
  }
}

/** A child process whose code is being loaded, and the run once that is there. */
class LazyProcess extends OutsideChild implements ProcessRunListener {
  #run: ProcessRun | null = null;

  constructor(host: ChildHost, settings: ProcessSettings) {
    super(host);
    this.#load(settings);
  }

  async #load(settings: ProcessSettings): Promise<void> {
    try {
      const { ProcessRun } = await import("./process_run.ts");
      if (this.isOver) return;
      this.#run = new ProcessRun(settings, this.host.path, this);
    } catch (error) {
      this.over({ kind: "crash", error });
    }
  }

  protected override beginStop(): void {
    const { shutdown } = this.host;
    const shutdownMs = shutdown === "brutal-kill" ? 0 : shutdown;
    if (this.#run !== null) this.#run.stop(shutdownMs);
    else this.over(this.quietEnd());
  }

  protected override beginKill(): void {
    if (this.#run !== null) this.#run.kill();
    else this.over(this.quietEnd());
  }

  // -- The run --

  started(process: SupervisedProcess): void {
    this.ready(process);
  }

  beaten(): void {
    this.host.heartbeat();
  }

  call(fn: () => void): void {
    this.inTurn(fn);
  }

  ended(error: Error | null): void {
    const end: ChildEnd = error === null || this.request === "kill"
      ? this.quietEnd()
      : { kind: "crash", error };
    this.over(end);
  }
}
