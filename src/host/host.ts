/**
 * The contract between an event loop and the world it waits in.
 *
 * A loop owns one host. The loop decides *what* happens in a turn; the host
 * only knows what time it is and how to wait. Four hosts keep this contract,
 * and `tests/host_contract_test.ts` runs the same suite over all of them:
 *
 * | host           | file          | waits with                               | descriptors |
 * | -------------- | ------------- | ---------------------------------------- | ----------- |
 * | `EpollHost`    | `epoll.ts`    | one epoll set with a timerfd and eventfd | yes         |
 * | `PollHost`     | `poll.ts`     | poll(2) and a pipe to itself             | yes         |
 * | `PortableHost` | `portable.ts` | the runtime's timers                     | no          |
 * | `VirtualHost`  | `virtual.ts`  | nothing: time jumps to the next deadline | no          |
 *
 * The life of a host: `open` once, then any number of `park` ... `wake` (or
 * `unpark`) pairs, `rest` whenever the loop stops running, `close` once.
 *
 * @module
 */
import { MisuseError } from "../errors.ts";

/** Interest in, or readiness of, the reading side of a descriptor. */
export const READABLE = 1;

/** Interest in, or readiness of, the writing side of a descriptor. */
export const WRITABLE = 2;

/** The loop that owns a host, as the host sees it. */
export interface HostClient {
  /**
   * The park is over: the deadline came, or a descriptor may be ready. At most
   * once for each park, and never after `unpark`, `rest` or `close`. A wake may
   * come too early or for nothing; the loop looks at the clock itself. It may
   * be called from inside `park`.
   */
  wake(): void;
  /**
   * Nothing can ever wake this loop again: there is no deadline, and nothing
   * outside that could call in. Only hosts that own their clock can know that.
   */
  starved(): void;
  /**
   * The clock of this host has not moved for a second of real time, as something
   * outside may still wake the loop, or as the clock is held and nobody moves it.
   * Only hosts that own their clock call it.
   */
  stoodStill(why?: "outside" | "held"): void;
  /** Whether something outside the loop may still wake one of its tasks. */
  hasOutsideWaits(): boolean;
  /** Whether promise reactions may be under way that will queue callbacks. */
  hasPromiseWork(): boolean;
}

/** Called with each descriptor that {@linkcode Host.poll} finds ready. */
export type ReadyListener = (fd: number, events: number) => void;

/** The clock of a loop and its way of waiting. See the module text for the order of the calls. */
export interface Host {
  /** The name of the host in statistics and messages. */
  readonly name: string;
  /**
   * Whether the clock stands still while there is work. A loop on such a host
   * reads the clock in each turn and never does anything that depends on how
   * long the work took.
   */
  readonly virtual: boolean;
  /** Milliseconds on a clock that never goes back. */
  now(): number;
  /** Binds the host to its loop. Opens nothing: a host opens on first need. */
  open(client: HostClient): void;
  /**
   * Nothing is ready: call `client.wake()` once the clock reaches `deadlineMs`
   * (`Infinity`: never) or a watched descriptor is ready, whichever is first.
   * Called while parked, it replaces the deadline.
   *
   * With `hold` false the wait must not keep the process alive by itself
   * (watched descriptors do all the same).
   */
  park(deadlineMs: number, hold: boolean): void;
  /** The loop goes on by itself: forget the park. Harmless when not parked. */
  unpark(): void;
  /** The loop has stopped running: hold nothing that keeps the process alive. */
  rest(): void;
  /** While on, the process stays alive whether or not the loop is parked. */
  keepAlive(on: boolean): void;
  /**
   * Sets the interest in a descriptor to `events` ({@linkcode READABLE},
   * {@linkcode WRITABLE}, both, or 0 for none), in force when it returns.
   *
   * @returns False if the number was watched before and has come to mean
   * another file since, so that whoever waits for the old one must be dropped.
   * @throws {Error} If this host cannot watch descriptors, or not this one.
   */
  watch(fd: number, events: number): boolean;
  /** Calls `ready` with each descriptor that is ready now. Never blocks. */
  poll(ready: ReadyListener): void;
  /**
   * Releases all resources. Idempotent; afterwards only `now` may be called.
   * Resolves when no call of the operating system is pending any more.
   */
  close(): Promise<void>;
}

/** Throws if a host has a loop already: it could not tell whom to wake. */
export function checkUnowned(client: HostClient | undefined): void {
  if (client !== undefined) {
    throw new MisuseError(
      "Cannot open a host: it belongs to an event loop already",
    );
  }
}
