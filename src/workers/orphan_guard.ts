/**
 * Child processes that never outlive this process, nor their grandchildren them.
 *
 * Beside each child runs a guard: a shell in a session of its own, that waits at a pipe of this process. When this process
 * closes the pipe, or ends in whatever way, the guard kills the process group of the child and ends.
 *
 * The guard has a second duty where the system has `/proc`. The runtime gives a child three descriptors only; a fourth,
 * by which the child sends its frames, is the guard's output, which the child opens by its path. So standard output and
 * standard error of the child are those of this process, whoever writes there: the runtime, native code, grandchildren.
 * Elsewhere frames take the place of standard output, and what the child prints goes to standard error.
 *
 *     this process ──input──▶ child (descriptor 3)
 *          ▲  │               │ (descriptor 4)
 *          │  └──life line──▶ guard
 *          └────────output────┘
 *
 * @module
 */
import { Child, type ChildEnd } from "../host/child_process.ts";
import { OS } from "../host/platform.ts";
import { after } from "../host/timers.ts";

/** Descriptors by which a guarded child gets and sends its messages. */
export const INPUT_FD = 3;
export const OUTPUT_FD = 4;

const GUARD =
  'read -r group || exit 0; read -r line; kill -s KILL -- "-$group" 2>/dev/null; exit 0';
/** Starts the program that its arguments name, with the guard's output as descriptor 4. */
const BY_PROC =
  'guard=$1; shift; exec "$@" 3<&0 0</dev/null 4>"/proc/$guard/fd/1"';
/** The same with the standard output of the shell as descriptor 4. */
const BY_STDOUT = 'shift; exec "$@" 3<&0 0</dev/null 4>&1 1>&2';

/** How long the output of a child that has ended may stay open: somebody outside of its group may hold it. */
const DRAIN_MS = 200;

/** Whether children can open the pipes of others by their paths. */
export const HAS_PROC: boolean = OS === "linux";

/** Settings of a guarded child. */
export interface GuardedSettings {
  /** Shell of the guard, and of the child before it becomes what it is to be. */
  readonly shell: string;
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Working directory; that of this process, unless given. */
  readonly cwd?: string | URL | undefined;
}

/** Told what a guarded child does. */
export interface GuardedListener {
  /** The child has sent bytes, which may be used during the call only. Must not throw. */
  received(bytes: Uint8Array): void;
  /** The child could not be started; nothing follows. */
  failed(cause: unknown): void;
  /** The child has ended, its group and its guard too; nothing follows. */
  ended(end: ChildEnd): void;
}

/** A child process with a guard. */
export class GuardedChild {
  readonly #guard: Child;
  readonly #child: Child;
  readonly #listener: GuardedListener;
  #hasEnded = false;

  /** See {@linkcode startGuarded}. */
  constructor(
    guard: Child,
    child: Child,
    source: Child,
    listener: GuardedListener,
  ) {
    this.#guard = guard;
    this.#child = child;
    this.#listener = listener;
    guard.write(new TextEncoder().encode(`${child.pid}\n`));
    this.#follow(source);
    this.#followGuard();
  }

  /** Process and process group of the child. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Whether the child is there. */
  get isAlive(): boolean {
    return !this.#hasEnded;
  }

  /** Sends bytes to the child. Never waits; the bytes must stay as they are. */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    this.#child.write(bytes);
  }

  /** Ends the child at once, and with it all of its group. */
  kill(): void {
    this.#child.kill();
    this.#guard.closeInput();
  }

  /** Waits for the end, with output read to its end. */
  async #follow(source: Child): Promise<void> {
    const listener = this.#listener;
    const reading = source.read((bytes) => listener.received(bytes))
      .catch(() => {}); // a pipe that cannot be read has nothing more to say
    const end = await this.#child.ended;
    this.#hasEnded = true;
    this.#child.closeInput();
    this.#guard.closeInput();
    await this.#guard.ended;
    const limit = after(DRAIN_MS, () => source.stopReading(), false);
    await reading;
    limit.cancel();
    listener.ended(end);
  }

  /** Ends a child that has lost its guard. */
  async #followGuard(): Promise<void> {
    await this.#guard.ended;
    if (!this.#hasEnded) this.#child.kill();
  }
}

/**
 * Starts a guard for a child that is started otherwise, and has descriptors of its own. It
 * takes the id of the process group as a line, and kills the group when its input is closed.
 *
 * @param shell Shell of the guard.
 * @throws {Error} If it cannot be started.
 */
export function startGroupGuard(shell: string): Child {
  return new Child(shell, { args: ["-c", GUARD], stdout: "null" });
}

/**
 * Starts a child and its guard.
 *
 * @param settings Program, arguments and so on.
 * @param listener Never called inside of this call.
 * @param hasProc Whether the child can open the guard's output.
 * @returns The child; null if it could not be started, as the listener is told.
 */
export function startGuarded(
  settings: GuardedSettings,
  listener: GuardedListener,
  hasProc: boolean = HAS_PROC,
): GuardedChild | null {
  const { shell, command, env, cwd } = settings;
  let guard: Child | null = null;
  try {
    guard = new Child(shell, {
      args: ["-c", GUARD],
      stdout: hasProc ? "piped" : "null",
    });
    const script = hasProc ? BY_PROC : BY_STDOUT;
    const child = new Child(shell, {
      args: ["-c", script, shell, `${guard.pid}`, ...command],
      env,
      cwd,
      stdout: hasProc ? "inherit" : "piped",
    });
    return new GuardedChild(guard, child, hasProc ? guard : child, listener);
  } catch (cause) {
    fail(guard, listener, cause);
    return null;
  }
}

async function fail(
  guard: Child | null,
  listener: GuardedListener,
  cause: unknown,
): Promise<void> {
  guard?.closeInput();
  await guard?.ended;
  guard?.stopReading();
  listener.failed(cause);
}
