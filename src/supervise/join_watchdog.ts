/**
 * Joining: a thread that another thread's watchdog watches as well.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";
import { isPort, type LinePort, openLine, Port } from "../host/message_port.ts";
import { checkOptions, checkString, inspect } from "../loop/checks.ts";
import type { WatchShare } from "../loop/step_watch.ts";
import { hasWatch } from "./active_watchdog.ts";
import { checkBlockMs, ThreadWatch } from "./thread_watch.ts";
import type { JoinMessage } from "./watchdog_thread.ts";

/** Options of {@linkcode joinWatchdog}. */
export interface JoinWatchdogOptions {
  /**
   * Name of this thread in reports.
   *
   * @default {"Thread-" and a number}
   */
  readonly name?: string | undefined;
  /**
   * Duration from which a block of this thread is reported.
   *
   * @default {that of the watchdog}
   */
  readonly blockMs?: number | undefined;
}

const WHAT = "join a watchdog";

/** Ports by which this thread has joined: each serves once. */
const usedPorts: WeakSet<LinePort> = new WeakSet();

/** Returns the invitation of a thread that is about to start. */
export function inviteTo(port: LinePort, name: string): WatchShare {
  return { module: import.meta.url, port, name };
}

/**
 * Membership of this thread with a watchdog of another one, by {@linkcode
 * joinWatchdog}. Does not keep the thread alive.
 */
export interface WatchdogMembership extends Disposable {
  /** Whether nobody watches this thread any more, as either side has closed. */
  readonly closed: boolean;
  /**
   * Waits until the watchdog looks at this thread. A block before that may go
   * unseen.
   *
   * @returns A promise that resolves once it does.
   * @throws {MisuseError} If either side closes before.
   */
  ready(): Promise<void>;
  /** Leaves the watchdog. Calling it again does nothing. */
  close(): void;
  /** The same as {@linkcode WatchdogMembership.close}. */
  [Symbol.dispose](): void;
}

class Membership implements WatchdogMembership {
  readonly #watch: ThreadWatch = new ThreadWatch(() => {});
  readonly #port: Port;

  constructor(port: LinePort, message: Omit<JoinMessage, "memory">) {
    this.#port = new Port(port, {
      message: () => {},
      // The watchdog is closed, or the thread that had it has ended.
      ended: () => this.close(),
    });
    const { memory } = this.#watch.board;
    this.#port.send({ ...message, memory } satisfies JoinMessage);
    this.#watch.start(undefined, (name) => inviteTo(this.#share(), name));
  }

  get closed(): boolean {
    return !this.#watch.isOn;
  }

  ready(): Promise<void> {
    return this.#watch.ready();
  }

  /** Makes a port for a thread that this one starts. */
  #share(): LinePort {
    const [mine, theirs] = openLine();
    this.#port.send({ port: mine }, [mine]);
    return theirs;
  }

  close(): void {
    if (this.closed) return;
    this.#watch.stop();
    this.#watch.refuse(
      new MisuseError("Cannot wait for the watchdog: it watches no more"),
    );
    this.#port.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Has the watchdog of another thread watch the loops of this one as well, for
 * threads that the program starts itself. The threads of a {@linkcode ThreadPool}
 * and the loops of `workerLoop` join by themselves.
 *
 * The other thread calls {@linkcode Watchdog.share}, and sends the port over. Blocks
 * of this thread are written to standard error while they last, with its name, and
 * are told to the thread that made the watchdog. They do not end the process, unless
 * they keep a graceful shutdown of this thread from ending within its budget. When
 * the thread ends, in whatever way, it is forgotten; when the watchdog is closed or
 * its own thread ends, this one is not watched any more.
 *
 * @example In the script of a worker
 * ```ts ignore
 * import { joinWatchdog, run } from "@rota/rota";
 *
 * self.onmessage = async ({ data }) => {
 *   using _ = joinWatchdog(data.watchdog, { name: "images" });
 *   await run(main);
 * };
 * // Elsewhere: worker.postMessage({ watchdog: port }, [port]);
 * ```
 *
 * @param port A port of {@linkcode Watchdog.share}, for this thread alone.
 * @param options Its name, and the duration from which blocks are reported.
 * @returns The membership, to leave by.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If `blockMs` is out of range.
 * @throws {MisuseError} If this thread is watched already, or the port was used before.
 */
export function joinWatchdog(
  port: LinePort,
  options: JoinWatchdogOptions = {},
): WatchdogMembership {
  if (!isPort(port)) {
    throw new TypeError(
      `Cannot ${WHAT} as port must be a MessagePort: received ${inspect(port)}`,
    );
  }
  checkOptions(options, WHAT);
  const { name = null, blockMs = null } = options;
  if (name !== null) checkString(name, WHAT, "name");
  if (blockMs !== null) checkBlockMs(blockMs, WHAT, "blockMs");
  if (hasWatch()) {
    throw new MisuseError(`Cannot ${WHAT}: this thread is watched already`);
  }
  if (usedPorts.has(port)) {
    throw new MisuseError(
      `Cannot ${WHAT}: the port was used before, share another one`,
    );
  }
  usedPorts.add(port);
  return new Membership(port, { name, blockMs, loopsOnly: false });
}

/** Has the thread of a pool join, whose jobs may compute outside of its loop. */
export function joinStarted({ port, name }: WatchShare): void {
  new Membership(port, { name, blockMs: null, loopsOnly: true });
}
