/**
 * Processes of a pool, as the pool sees them.
 *
 * Frames go to the child by a pipe, and come from it by another one: see `orphan_guard.ts`. The runtime reads and writes
 * them, so nothing depends on the host of the loop, nor on native code.
 *
 * @module
 */
import { type ChildEnd, runtimePath } from "../host/child_process.ts";
import { monotonicMs } from "../host/clock.ts";
import { inheritedPath } from "../host/inherited_pipe.ts";
import { detached } from "../host/microtask.ts";
import { cpuMsOf } from "../host/process_stat.ts";
import { after, type HostTimer } from "../host/timers.ts";
import { configFlags } from "./config_flags.ts";
import { type PackedError, packError, unpackError } from "./error_codec.ts";
import { FrameReader } from "./frames.ts";
import type {
  JobSpec,
  LinkEnd,
  LinkListener,
  LinkStarter,
  NestedSpec,
  WorkerLink,
} from "./link.ts";
import { NestedDesk } from "./nested_desk.ts";
import {
  type GuardedChild,
  type GuardedListener,
  HAS_PROC,
  INPUT_FD,
  OUTPUT_FD,
  startGuarded,
} from "./orphan_guard.ts";
import {
  permissionFlags,
  type ProcessPermissions,
} from "./permission_flags.ts";
import {
  checkMoved,
  detachMoved,
  FrameWriter,
  readBody,
} from "./process_codec.ts";
import {
  type DeathMessage,
  FromProcess,
  type JobMessage,
  type ProcessSettings,
  ToProcess,
  type WithdrawMessage,
} from "./process_protocol.ts";
import { PROCESS_SCRIPT } from "./process_script.ts";

/** How long a process without a job blocks in a read before it is told to wait in its event loop. */
const REST_AFTER_MS = 10;

/** Options of the processes of a pool, complete. */
export interface ProcessLinkOptions {
  /** Shell that may be run. */
  readonly shell: string;
  readonly permissions: ProcessPermissions;
  /** More arguments of `deno run`. */
  readonly flags: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Working directory; that of this process, unless given. */
  readonly cwd?: string | URL | undefined;
  /** Length of a frame at most, in either direction. */
  readonly frameBytesMax: number;
  /** Whether children can open the pipes of others by their paths. */
  readonly hasProc?: boolean | undefined;
}

/** Returns the program of a process, and its arguments. */
function commandOf(options: ProcessLinkOptions): string[] {
  const settings: ProcessSettings = { frameBytesMax: options.frameBytesMax };
  return [
    runtimePath(),
    "run",
    ...permissionFlags(options.permissions, {
      read: [inheritedPath(INPUT_FD)],
      write: [inheritedPath(OUTPUT_FD)],
    }),
    ...configFlags(PROCESS_SCRIPT, options.flags),
    ...options.flags,
    PROCESS_SCRIPT,
    JSON.stringify(settings),
  ];
}

/** Makes a starter of processes. */
export function processStarter(options: ProcessLinkOptions): LinkStarter {
  return (listener) => new ProcessLink(options, listener);
}

/** A process, as its pool sees it. */
class ProcessLink implements WorkerLink, GuardedListener {
  readonly #listener: LinkListener;
  readonly #writer: FrameWriter;
  readonly #reader: FrameReader;
  #child: GuardedChild | null = null;
  #phase: "starting" | "working" | "ended" = "starting";
  #isClosing = false;
  /** Why the process ends, if that is known. */
  #fate: Pick<LinkEnd, "kind" | "cause"> | null = null;
  /** Numbers of the jobs that it has. */
  readonly #jobs = new Set<number>();
  #isResting = false;
  #idleSinceMs = 0;
  #restTimer: HostTimer | null = null;
  /** Jobs that jobs of the process have submitted; null before the first. */
  #nested: NestedDesk | null = null;

  constructor(options: ProcessLinkOptions, listener: LinkListener) {
    this.#listener = listener;
    this.#writer = new FrameWriter(options.frameBytesMax);
    this.#reader = new FrameReader(options.frameBytesMax, this.#receive);
    // Elsewhere, as a child tells of itself in the async context in which it was started.
    detached(() => this.start(options));
  }

  start(options: ProcessLinkOptions): void {
    const { shell, env, cwd, hasProc = HAS_PROC } = options;
    if (this.#fate !== null) return this.over(null);
    const command = commandOf(options);
    this.#child = startGuarded(
      { shell, command, env, cwd },
      this,
      hasProc,
    );
  }

  // -- The pool's side --

  send(job: JobSpec): void {
    const child = this.#child;
    if (child === null || this.#phase === "ended") return;
    const { id, name, task, args, transfer, remainingMs, locals } = job;
    checkMoved(transfer);
    const message: JobMessage = [name, task, args, remainingMs, locals];
    child.write(this.#writer.ownFrame(ToProcess.JOB, id, message));
    detachMoved(transfer);
    this.#jobs.add(id);
    this.#isResting = false;
  }

  abort(id: number, reason: unknown): void {
    const packed = packError(reason);
    try {
      this.tell(ToProcess.ABORT, id, packed);
    } catch {
      // Too long a reason: the job has to end all the same.
      const nothing: PackedError = { kind: "undefined" };
      this.tell(ToProcess.ABORT, id, nothing);
    }
    this.#nested?.cancel(id, reason);
  }

  ping(): void {
    this.tell(ToProcess.PING, 0);
  }

  close(): void {
    this.#isClosing = true;
    if (this.#child === null) {
      this.#fate ??= { kind: "closed", cause: undefined };
    }
    this.tell(ToProcess.CLOSE, 0);
  }

  kill(): void {
    this.endAs("killed", undefined);
  }

  cpuMs(): number {
    const child = this.#child;
    return child?.isAlive === true ? cpuMsOf(child.pid) : NaN;
  }

  livesOn(): boolean {
    return this.#child?.isAlive === true;
  }

  tell(kind: number, id: number, value?: unknown): void {
    if (this.#child === null || this.#phase === "ended") return;
    this.#child.write(this.#writer.ownFrame(kind, id, value));
  }

  /** Notes why the process ends, and ends it. */
  endAs(kind: LinkEnd["kind"], cause: unknown): void {
    this.#fate ??= { kind, cause };
    this.#child?.kill();
  }

  // -- Rest --

  /** The last job has ended: tells the process some time later to wait in its event loop. */
  becameIdle(): void {
    this.#idleSinceMs = monotonicMs();
    // The timer serves many jobs, as it looks at the time when it rings.
    this.#restTimer ??= after(REST_AFTER_MS, this.#rest, false);
  }

  readonly #rest = (): void => {
    this.#restTimer = null;
    if (this.#jobs.size > 0 || this.#isResting || this.#isClosing) return;
    const leftMs = this.#idleSinceMs + REST_AFTER_MS - monotonicMs();
    if (leftMs > 0) {
      this.#restTimer = after(leftMs, this.#rest, false);
      return;
    }
    this.#isResting = true;
    this.tell(ToProcess.REST, 0);
  };

  // -- The process's side --

  received(bytes: Uint8Array): void {
    // After the first that nobody understands, nobody knows where the next frame begins.
    if (this.#fate?.kind === "protocol") return;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.endAs("protocol", error);
    }
  }

  readonly #receive = (kind: number, id: number, body: Uint8Array): void => {
    const value = readBody(body);
    const listener = this.#listener;
    switch (kind) {
      case FromProcess.RETURNED:
        this.#nested?.parentEnded(id);
        this.jobEnded(id);
        return listener.returned(id, value);
      case FromProcess.THREW:
        this.#nested?.parentEnded(id);
        this.jobEnded(id);
        return listener.threw(id, unpackError(value as PackedError));
      case FromProcess.PROGRESSED:
        return listener.progressed(id, value);
      case FromProcess.ANSWERED:
        return listener.answered(value as number);
      case FromProcess.READY:
        return this.ready();
      case FromProcess.DIED: {
        const [kind, error] = value as DeathMessage;
        this.#fate ??= { kind, cause: unpackError(error) };
        return;
      }
      case FromProcess.NESTED:
        this.#nested ??= this.openDesk();
        return this.#nested.submit(id, value as NestedSpec);
      case FromProcess.WITHDRAWN: {
        const [number, reason] = value as WithdrawMessage;
        return this.#nested?.withdraw(id, number, unpackError(reason));
      }
      default:
        throw new RangeError(`Cannot read a frame: its kind is ${kind}`);
    }
  };

  openDesk(): NestedDesk {
    return new NestedDesk(this.#listener, {
      returned: (number, value) =>
        this.tell(ToProcess.NESTED_RETURNED, number, value),
      threw: (number, error) =>
        this.tell(ToProcess.NESTED_THREW, number, packError(error)),
      progressed: (number, value) =>
        this.tell(ToProcess.NESTED_PROGRESSED, number, value),
    });
  }

  ready(): void {
    if (this.#phase !== "starting") return;
    this.#phase = "working";
    this.becameIdle();
    this.#listener.ready();
  }

  jobEnded(id: number): void {
    if (this.#jobs.delete(id) && this.#jobs.size === 0) this.becameIdle();
  }

  failed(cause: unknown): void {
    this.#fate ??= { kind: "start", cause };
    this.over(null);
  }

  ended(end: ChildEnd): void {
    this.#fate ??= this.fateOf(end);
    this.over(end.code);
  }

  /** Returns why a process has ended that has not said so. */
  fateOf({ code, signal }: ChildEnd): Pick<LinkEnd, "kind" | "cause"> {
    const cause = undefined;
    // V8 ends the process by a trap when it has no memory left.
    if (signal === "SIGTRAP") return { kind: "out-of-memory", cause };
    if (signal !== null) return { kind: "killed", cause };
    if (this.#phase === "starting") {
      const text = `it ended with exit code ${code} before it was ready`;
      return { kind: "start", cause: new Error(text) };
    }
    if (this.#reader.isPartial) {
      return {
        kind: "protocol",
        cause: new RangeError("Cannot read a frame: part of it is missing"),
      };
    }
    const isClosed = this.#isClosing && code === 0 && this.#jobs.size === 0;
    return { kind: isClosed ? "closed" : "exit", cause };
  }

  over(exitCode: number | null): void {
    this.#phase = "ended";
    this.#restTimer?.cancel();
    this.#restTimer = null;
    this.#nested?.close();
    const { kind, cause } = this.#fate!;
    this.#listener.ended({ kind, exitCode, cause });
  }
}
