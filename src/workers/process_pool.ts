/**
 * Pool of processes.
 *
 * @module
 */
import { findShell, mainModule } from "../host/child_process.ts";
import { COMPILED, hardwareThreads, OS } from "../host/platform.ts";
import { allReadGranted } from "../host/process.ts";
import { canWatchProcesses } from "../host/process_stat.ts";
import { checkInteger, checkString } from "../loop/checks.ts";
import type { Future } from "../loop/future.ts";
import type { Operation } from "../loop/operation.ts";
import { BaseExecutor } from "./base_executor.ts";
import { checkEnvironment } from "./checks.ts";
import type {
  ExecutorStats,
  ShutdownOptions,
  SubmitOptions,
} from "./executor.ts";
import { lazyStarter } from "./lazy_link.ts";
import { type ExecutorTask, type JobResult, toTaskRef } from "./module_task.ts";
import {
  checkFlags,
  checkPermissions,
  type ProcessPermissions,
} from "./permission_flags.ts";
import { PoolCore } from "./pool_core.ts";
import {
  checkDetection,
  type PoolOptions,
  settlePoolOptions,
} from "./pool_options.ts";
import type { ProcessLinkOptions } from "./process_link.ts";
import { checkSubmitOptions, copyArguments } from "./submit_options.ts";
import { transportedLocals } from "./transport.ts";

const CREATE = "create a process pool";
/** Default of `frameBytesMax`: 256 MB. */
const FRAME_BYTES_MAX = 2 ** 28;
/** Least that `frameBytesMax` may be: what the protocol itself takes. */
const FRAME_BYTES_MIN = 1_024;
/** Most that it may be: what one buffer can hold. */
const FRAME_BYTES_LIMIT = 2 ** 31 - 1;

/** Options of a {@linkcode ProcessPool}. */
export interface ProcessPoolOptions extends PoolOptions {
  /**
   * Permissions of the processes. They never ask the user.
   *
   * @default {reading files, as loading modules takes it; if this program may not read everything, the folder of its main module}
   */
  readonly permissions?: ProcessPermissions | undefined;
  /**
   * More arguments for `deno run`, such as `--cached-only` or
   * `--v8-flags=--max-old-space-size=512`. Flags about permissions are refused:
   * those belong into `permissions`.
   * The configuration is that of the program, as found in the folders around its
   * main module, if this library was loaded from a registry; `--config=FILE` names
   * another one.
   *
   * @default {[]}
   */
  readonly flags?: readonly string[] | undefined;
  /** Environment variables of the processes, added to those of this process. To read them, jobs need `permissions.env`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /**
   * Working directory of the processes.
   *
   * @default {that of this process}
   */
  readonly cwd?: string | URL | undefined;
  /**
   * Most bytes that the arguments or the result of a job may take. A job with more
   * fails with a `RangeError`.
   *
   * @default {268_435_456}
   */
  readonly frameBytesMax?: number | undefined;
}

const NO_OPTIONS: ProcessPoolOptions = Object.freeze({});

/**
 * A pool of processes, which call functions for this one.
 *
 * Processes are for work that may crash, leak or be hostile: each has its own
 * memory and its own permissions, fewer than this program unless you say so, and
 * can be ended whatever it does. Starting one takes some tens of milliseconds, so
 * they are started when there are jobs for them, and kept. For work that is to be
 * trusted, threads take less time to start and less memory.
 *
 * Bytes that a process sends are parsed in this program, values of some classes by
 * V8's own deserializer. Hostile code could send bytes that no job would: it is
 * kept apart only as well as that parser is free of faults.
 *
 * Arguments and results are copied, as by `structuredClone`; an `ArrayBuffer` can
 * be moved, other objects cannot. Output of a job appears where this program
 * prints (on macOS, on standard error).
 *
 * Each process is the leader of a process group of its own. Ctrl-C goes to this
 * program only, which can let the jobs end. When a process ends, whatever it has
 * started in its group ends as well; and when this program ends, even by SIGKILL,
 * so do all its processes.
 *
 * A job runs on a thread that computes nothing else. When it has ended, what it
 * has left behind, such as a timer, goes on some milliseconds later, or with the
 * next job.
 *
 * Needs `--allow-run=sh` or `--allow-run`, and neither FFI nor a special host of
 * the loop. Not on Windows, nor in a program made by `deno compile`.
 *
 * @example A function of a module
 * ```ts ignore
 * import { ProcessPool, run, taskModule } from "@rota/rota";
 *
 * const jobs = taskModule<typeof import("./jobs.ts")>(
 *   new URL("./jobs.ts", import.meta.url),
 * );
 * await run(async () => {
 *   await using pool = new ProcessPool({ permissions: { read: ["./jobs.ts"] } });
 *   const primes = await pool.submit(jobs.countPrimes, [1_000_000]);
 * });
 * ```
 *
 * @example A process that dies
 * ```ts
 * import { ProcessPool, run, WorkerCrashError } from "@rota/rota";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await run(async () => {
 *   await using pool = new ProcessPool({ maxWorkers: 1 });
 *   const error = await assertRejects(
 *     async () => await pool.submit(() => Deno.exit(7), []),
 *     WorkerCrashError,
 *   );
 *   assertEquals([error.kind, error.exitCode], ["exit", 7]);
 *   assertEquals(await pool.submit((a: number) => a + 1, [1]), 2);
 * });
 * ```
 *
 * @example In a generator
 * ```ts
 * import { ProcessPool, run, scoped } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = await run(function* () {
 *   return yield* scoped(new ProcessPool(), function* (pool) {
 *     return yield* pool.submit((a: number, b: number) => a + b, [1, 2]);
 *   });
 * });
 * assertEquals(sum, 3);
 * ```
 */
export class ProcessPool extends BaseExecutor {
  readonly #core: PoolCore;

  /**
   * Makes a pool. No process is started before the first job.
   *
   * @param options Sizes, permissions and more.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If a number is out of range.
   * @throws {Deno.errors.NotCapable} Without the permission to run `sh`. The user
   * is not asked.
   * @throws {Deno.errors.NotSupported} On Windows, and in a program made by
   * `deno compile`.
   * @throws {DetectionUnsupportedError} If `unresponsiveMs` is given and can have no effect.
   */
  constructor(options: ProcessPoolOptions = NO_OPTIONS) {
    super();
    const settings = settlePoolOptions(options, CREATE, hardwareThreads());
    const link = settleLink(options);
    checkDetection(options, CREATE, canWatchProcesses, "--allow-all");
    const { name } = settings;
    this.#core = new PoolCore(
      lazyStarter(async () => {
        const { processStarter } = await import("./process_link.ts");
        return processStarter(link);
      }),
      settings,
      {
        pool: name === ""
          ? "ProcessPool"
          : `ProcessPool ${JSON.stringify(name)}`,
        kind: "process",
      },
      { transportedLocals },
    );
  }

  /** How many jobs it runs at a time at most. */
  get capacity(): number {
    return this.#core.capacity;
  }

  /**
   * Has a function called in a process. A job ends exactly once: with the result,
   * the error, a cancellation, or a {@linkcode WorkerCrashError} if its process
   * has died.
   *
   * Cancelling the future, or aborting the signal, takes a job out of line; a
   * running one has its own signal aborted, and if it has not ended after
   * `cancelGraceMs`, its process is killed.
   *
   * @param task The function: see {@linkcode ExecutorTask}.
   * @param args Its arguments. They are copied when the job begins, not now: leave
   * alone what is in them until then.
   * @param options Name, signal, priority, deadline and so on.
   * @returns A future of the result. It fails with a `DataCloneError` if an
   * argument or the result cannot be copied, and with a `RangeError` if that takes
   * more than `frameBytesMax`.
   * @throws {TypeError} If an argument is of the wrong type, or the source of a
   * function does not stand by itself.
   * @throws {RangeError} If `deadlineMs` is `NaN` or has passed.
   * @throws {ExecutorShutDownError} After `shutdown`.
   * @throws {MisuseError} If no loop is running, or the pool is in use on another one.
   * @throws {OverloadError} If there is no room, with `overload: "reject"`.
   */
  submit<A extends readonly unknown[], R>(
    task: ExecutorTask<A, R>,
    args: A,
    options?: SubmitOptions,
  ): Future<JobResult<R>> {
    const ref = toTaskRef(task, "submit a job");
    const given = copyArguments(args);
    return this.#core.submit(ref, given, checkSubmitOptions(options));
  }

  /**
   * Takes no more jobs, lets the others end, and ends the processes. Calling it
   * again joins the first call, and may shorten its grace.
   *
   * @param options How long jobs may take, and what becomes of those in line.
   * @returns An operation that ends when no process is left.
   * @throws {TypeError} If an option is of the wrong type.
   * @throws {RangeError} If `graceMs` is negative or `NaN`.
   */
  shutdown(options?: ShutdownOptions): Operation<void> {
    return this.#core.shutdown(options);
  }

  /**
   * Returns the counts.
   *
   * @returns A copy.
   */
  stats(): ExecutorStats {
    return this.#core.stats();
  }

  /**
   * Name of the class in messages and inspections.
   *
   * @returns `"ProcessPool"`.
   */
  get [Symbol.toStringTag](): string {
    return "ProcessPool";
  }
}

// -- Options --

function settleLink(options: ProcessPoolOptions): ProcessLinkOptions {
  const { permissions = {}, flags = [], env, cwd } = options;
  checkPermissions(permissions, CREATE);
  checkFlags(flags, CREATE);
  if (env !== undefined) checkEnvironment(env, CREATE);
  if (cwd !== undefined) checkDirectory(cwd);
  const { frameBytesMax = FRAME_BYTES_MAX } = options;
  checkInteger(frameBytesMax, FRAME_BYTES_MIN, CREATE, "frameBytesMax");
  if (frameBytesMax > FRAME_BYTES_LIMIT) {
    throw new RangeError(
      `Cannot ${CREATE} as frameBytesMax must be <= ${FRAME_BYTES_LIMIT}: received ${frameBytesMax}`,
    );
  }
  const read = permissions.read ?? readDefault();
  checkPermissions({ read }, CREATE); // the folder of the program may have a comma
  return {
    shell: requireShell(),
    permissions: { ...permissions, read },
    flags: [...flags],
    env: env === undefined ? undefined : { ...env },
    cwd,
    frameBytesMax,
  };
}

function checkDirectory(cwd: unknown): void {
  if (!(cwd instanceof URL)) return checkString(cwd, CREATE, "cwd");
  if (cwd.protocol === "file:") return;
  throw new TypeError(
    `Cannot ${CREATE} as a URL of cwd must be that of a folder: received ${cwd.href}`,
  );
}

function requireShell(): string {
  if (OS === "windows") {
    throw new Deno.errors.NotSupported(
      `Cannot ${CREATE}: Windows has no process groups; use a thread pool`,
    );
  }
  if (COMPILED) {
    throw new Deno.errors.NotSupported(
      `Cannot ${CREATE}: a compiled program has no deno to run; use a thread pool`,
    );
  }
  const shell = findShell();
  if (shell !== null) return shell;
  throw new Deno.errors.NotCapable(
    `Cannot ${CREATE}: the permission to run sh is missing, run with --allow-run=sh or --allow-run`,
  );
}

/** Returns what processes may read unless something else is said. */
function readDefault(): boolean | readonly URL[] {
  if (allReadGranted()) return true;
  const main = mainModule();
  return main.startsWith("file:") ? [new URL(".", main)] : false;
}
