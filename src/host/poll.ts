/**
 * Waiting with poll(2), on POSIX systems without epoll.
 *
 * Shaped like `epoll.ts`: a busy loop looks synchronously, a sleeping one has at
 * most one pending call, whose result only says "get up". What differs:
 *
 * - The kernel keeps no set. Each call is given the whole list, and a pending one
 *   works on a copy of its own. When the list changes or an earlier deadline
 *   comes, a byte in a pipe ends the pending call, and the next one takes over.
 * - A pending call holds on to the files in its list: one that is closed
 *   meanwhile stays open (and the other end of a pipe sees no end) until the
 *   call is over. So it is ended at once, even when the loop is busy.
 * - poll(2) knows numbers, not files. A number that is closed is dropped when it
 *   is next looked at. If it is used again before that, without a word to this
 *   host, only the identity of the file tells: it is compared with that at
 *   registration before a descriptor is reported, at the price of one `fstat`.
 * - Every look costs time in proportion to the number of descriptors.
 *
 * Runs on Linux, where it is tested; not tested on macOS.
 *
 * @module
 */

import {
  after,
  detached,
  holdOpen,
  type HostHold,
  type HostTimer,
  monotonicMs,
} from "./runtime.ts";
import {
  checkUnowned,
  type Host,
  type HostClient,
  READABLE,
  type ReadyListener,
  WRITABLE,
} from "./host.ts";
import {
  borrowPollLibc,
  errnoCode,
  openPipe,
  osError,
  POLLERR,
  POLLFD,
  POLLHUP,
  POLLIN,
  type PollLibc,
  POLLNVAL,
  POLLOUT,
  STAT,
} from "./libc.ts";

/** Longer waits are cut to this: the wake is early. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

const EBADF = 9;

/** A descriptor and the interest in it. Replaced, not changed. */
interface Registration {
  readonly fd: number;
  readonly events: number;
  readonly device: bigint;
  readonly inode: bigint;
}

/** A growing array of `struct pollfd`. */
class PollList {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #ints: Int32Array = new Int32Array(0);
  #shorts: Int16Array = new Int16Array(0);
  #length = 0;

  /** The memory, to lend to the C library. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
  }

  push(fd: number, events: number): void {
    const size = (this.#length + 1) * POLLFD.bytes;
    if (size > this.#bytes.length) this.#grow(2 * size);
    this.#ints[this.#length * 2 + POLLFD.fd] = fd;
    this.#shorts[this.#length * 4 + POLLFD.events] =
      ((events & READABLE) !== 0 ? POLLIN : 0) |
      ((events & WRITABLE) !== 0 ? POLLOUT : 0);
    this.#length++;
  }

  /** What the last call found for entry `index`. */
  found(index: number): number {
    return this.#shorts[index * 4 + POLLFD.revents]!;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#ints = new Int32Array(bytes.buffer);
    this.#shorts = new Int16Array(bytes.buffer);
  }
}

/** Waits with poll(2): wakes within a millisecond, knows descriptors. */
export class PollHost implements Host {
  readonly name: string = "poll";
  readonly virtual: boolean = false;

  #client: HostClient | undefined;
  #parked = false;
  #deadlineMs = Infinity;
  #hold = true;
  #keepAlive: HostHold | undefined;
  /** Stands in where a pending call would hold the process. */
  #timer: HostTimer | undefined;

  /** The pending call: none, one, or one that was told to end. */
  #wait: "none" | "pending" | "ending" = "none";
  #waitDeadlineMs = Infinity;
  /** Resolves when the last pending call is over. */
  #waitOver: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  readonly #descriptors = new Map<number, Registration>();
  /** Numbers that were closed without a word to this host. */
  readonly #dropped = new Set<number>();
  /** The descriptors in the form for the C library, when up to date. */
  readonly #list = new PollList();
  #listed: readonly Registration[] | undefined;
  /** Lent to the pending call, hence not touched while there is one. */
  readonly #pendingList = new PollList();

  // Opened when first needed.
  #libc: PollLibc | undefined;
  #wakeReadFd = -1;
  #wakeWriteFd = -1;
  readonly #wakeBytes = new Uint8Array(8);
  /** Lent to `fstat`. */
  readonly #status = new BigUint64Array(STAT.words);

  now(): number {
    return monotonicMs();
  }

  open(client: HostClient): void {
    checkUnowned(this.#client);
    this.#client = client;
  }

  park(deadlineMs: number, hold: boolean): void {
    // Opened here and not when the wait begins, so that the loop sees it fail.
    if (this.#needsCall(deadlineMs, hold)) this.#openLibc();
    this.#parked = true;
    this.#deadlineMs = deadlineMs;
    this.#hold = hold;
    if (deadlineMs <= monotonicMs()) {
      this.#wake();
    } else {
      detached(this.#settleIfParked);
    }
  }

  unpark(): void {
    // A pending call is left alone: the next park can use it again, and if it
    // resolves before that, nobody is woken.
    this.#parked = false;
    this.#cancelTimer();
  }

  rest(): void {
    this.#parked = false;
    this.#cancelTimer();
    this.#endWait();
    this.keepAlive(false);
  }

  keepAlive(on: boolean): void {
    if (on) {
      this.#keepAlive ??= holdOpen();
    } else {
      this.#keepAlive?.release();
      this.#keepAlive = undefined;
    }
  }

  watch(fd: number, events: number): boolean {
    if (events !== 0) this.#checkOpen(fd);
    let same = !this.#dropped.delete(fd);
    const known = this.#descriptors.get(fd);
    if (events !== 0) {
      if (known !== undefined && !this.#isSameFile(known)) same = false;
      const [device, inode] = this.#identify(fd);
      this.#descriptors.set(fd, { fd, events, device, inode });
    } else if (!this.#descriptors.delete(fd)) {
      return true;
    }
    this.#listed = undefined;
    this.#endWait();
    if (this.#parked) detached(this.#settleIfParked);
    return same;
  }

  poll(ready: ReadyListener): void {
    const libc = this.#libc;
    if (libc === undefined || this.#descriptors.size === 0) return;
    const listed = this.#listed ?? this.#fillList();
    let left = this.#look(libc, this.#list);
    if (left === 0) return;
    for (let index = 0; left > 0 && index < listed.length; index++) {
      const found = this.#list.found(index);
      if (found === 0) continue;
      left--;
      const registration = listed[index]!;
      const { fd, events } = registration;
      // Replaced or removed by `ready`, since the look.
      if (this.#descriptors.get(fd) !== registration) continue;
      if ((found & POLLNVAL) !== 0 || !this.#isSameFile(registration)) {
        this.#descriptors.delete(fd);
        this.#dropped.add(fd);
        this.#listed = undefined;
        continue;
      }
      const failed = (found & (POLLERR | POLLHUP)) !== 0;
      const ways = (failed || (found & POLLIN) !== 0 ? READABLE : 0) |
        (failed || (found & POLLOUT) !== 0 ? WRITABLE : 0);
      if ((ways & events) !== 0) ready(fd, ways & events);
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  // -- Waiting --

  /**
   * Makes the way of waiting fit what the current park waits for. Only called
   * detached, since the wake belongs to the async context of this call.
   */
  #settle(): void {
    this.#cancelTimer();
    if (!this.#needsCall(this.#deadlineMs, this.#hold)) {
      this.#endWait();
      if (this.#deadlineMs !== Infinity) {
        const delayMs = this.#deadlineMs - monotonicMs();
        this.#timer = after(Math.max(delayMs, 0), this.#timerFired, false);
      }
    } else if (this.#wait === "none") {
      this.#beginWait(this.#openLibc());
    } else if (this.#deadlineMs < this.#waitDeadlineMs) {
      this.#endWait(); // the next call begins when this one is over
    }
  }

  /** Without descriptors a timer will do, unless it is to hold the process. */
  #needsCall(deadlineMs: number, hold: boolean): boolean {
    return this.#descriptors.size > 0 || (hold && deadlineMs !== Infinity);
  }

  readonly #settleIfParked = (): void => {
    if (this.#parked) this.#settle();
  };

  #beginWait(libc: PollLibc): void {
    this.#pendingList.clear();
    this.#pendingList.push(this.#wakeReadFd, READABLE);
    for (const { fd, events } of this.#descriptors.values()) {
      this.#pendingList.push(fd, events);
    }
    let timeoutMs = -1;
    if (this.#deadlineMs !== Infinity) {
      const delayMs = Math.max(this.#deadlineMs - monotonicMs(), 0);
      timeoutMs = Math.min(Math.ceil(delayMs), TIMEOUT_MS_MAX);
    }
    this.#wait = "pending";
    this.#waitDeadlineMs = this.#deadlineMs;
    this.#waitOver = libc.symbols.poll_pending(
      this.#pendingList.bytes,
      BigInt(this.#pendingList.length),
      timeoutMs,
    ).then(this.#waited, this.#waited);
  }

  /** The pending call is over, for whatever reason. */
  readonly #waited = (): void => {
    const ended = this.#wait === "ending";
    this.#wait = "none";
    if (ended) {
      // Non-blocking; takes out the one byte that `#endWait` has put in.
      this.#libc?.symbols.read(this.#wakeReadFd, this.#wakeBytes, 8n);
    }
    if (!this.#parked) return;
    if (ended) {
      this.#settle();
    } else {
      this.#wake();
    }
  };

  readonly #timerFired = (): void => {
    this.#timer = undefined;
    if (this.#parked) this.#wake();
  };

  #wake(): void {
    this.#parked = false;
    this.#cancelTimer();
    this.#client?.wake();
  }

  #endWait(): void {
    if (this.#wait !== "pending") return;
    this.#wait = "ending";
    this.#libc?.symbols.write(this.#wakeWriteFd, this.#wakeBytes, 1n);
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  // -- Descriptors --

  #fillList(): readonly Registration[] {
    this.#list.clear();
    const listed = [...this.#descriptors.values()];
    for (const { fd, events } of listed) this.#list.push(fd, events);
    this.#listed = listed;
    return listed;
  }

  /** Looks without blocking. Returns how many entries are ready. */
  #look(libc: PollLibc, list: PollList): number {
    const count = libc.symbols.poll(list.bytes, BigInt(list.length), 0);
    if (count >= 0) return count;
    const errno = libc.errno();
    // A signal came in: the next turn looks again.
    if (errnoCode(errno) === "EINTR") return 0;
    throw osError("look for ready descriptors", errno);
  }

  /** What tells the file behind a number from others; zeros where that cannot be asked. */
  #identify(fd: number): readonly [device: bigint, inode: bigint] {
    const fstat = this.#libc?.symbols.fstat;
    if (!fstat || fstat(fd, this.#status) !== 0) return [0n, 0n];
    return [
      this.#status[STAT.device]! & STAT.deviceMask,
      this.#status[STAT.inode]!,
    ];
  }

  /** Whether a number still means the file it was registered for. */
  #isSameFile(registration: Registration): boolean {
    const [device, inode] = this.#identify(registration.fd);
    return device === registration.device && inode === registration.inode;
  }

  #checkOpen(fd: number): void {
    const libc = this.#openLibc();
    const list = new PollList();
    list.push(fd, 0);
    const found = this.#look(libc, list) > 0 ? list.found(0) : 0;
    // poll(2) passes over negative numbers.
    if (fd < 0 || (found & POLLNVAL) !== 0) {
      throw osError(`watch descriptor ${fd}`, EBADF);
    }
  }

  // -- Opening and closing --

  #openLibc(): PollLibc {
    if (this.#libc !== undefined) return this.#libc;
    const libc = borrowPollLibc();
    try {
      [this.#wakeReadFd, this.#wakeWriteFd] = openPipe(libc);
    } catch (failure) {
      libc.release();
      throw failure;
    }
    this.#libc = libc;
    return libc;
  }

  async #close(): Promise<void> {
    this.rest();
    this.#descriptors.clear();
    this.#dropped.clear();
    await this.#waitOver;
    const libc = this.#libc;
    if (libc === undefined) return;
    this.#libc = undefined;
    libc.symbols.close(this.#wakeReadFd);
    libc.symbols.close(this.#wakeWriteFd);
    libc.release();
  }
}
