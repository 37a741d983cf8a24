/**
 * Waiting with poll(2), on POSIX systems without epoll.
 *
 * The waiting itself is in `native.ts`. Differences from epoll:
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

import { monotonicMs } from "./clock.ts";
import { EBADF, errnoCode, osError } from "./errno.ts";
import { READABLE, type ReadyListener, WRITABLE } from "./host.ts";
import { openPipe } from "./libc_pipe.ts";
import {
  borrowPollLibc,
  POLLERR,
  POLLHUP,
  POLLIN,
  type PollLibc,
  POLLNVAL,
  POLLOUT,
  STAT,
} from "./libc_poll.ts";
import { NativeHost } from "./native.ts";
import { PollList } from "./poll_list.ts";

/** Longer waits are cut to this: the wake is early. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** A descriptor and the interest in it. Replaced, not changed. */
interface Registration {
  readonly fd: number;
  readonly events: number;
  readonly device: bigint;
  readonly inode: bigint;
}

/** The host that waits with poll(2): wakes within a millisecond, knows descriptors. */
export class PollHost extends NativeHost {
  readonly name: string = "poll";

  /** The deadline of the pending call. */
  #waitDeadlineMs = Infinity;

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
    this.interrupt();
    this.descriptorsChanged();
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

  // -- Waiting --

  protected watchesDescriptors(): boolean {
    return this.#descriptors.size > 0;
  }

  protected watchesAlwaysReady(): boolean {
    return false; // poll(2) knows what to say about such files
  }

  protected openNative(): void {
    this.#openLibc();
  }

  protected aim(deadlineMs: number): boolean {
    return deadlineMs >= this.#waitDeadlineMs;
  }

  protected beginCall(deadlineMs: number): Promise<unknown> {
    const libc = this.#openLibc();
    this.#pendingList.clear();
    this.#pendingList.push(this.#wakeReadFd, READABLE);
    for (const { fd, events } of this.#descriptors.values()) {
      this.#pendingList.push(fd, events);
    }
    let timeoutMs = -1;
    if (deadlineMs !== Infinity) {
      const delayMs = Math.max(deadlineMs - monotonicMs(), 0);
      timeoutMs = Math.min(Math.ceil(delayMs), TIMEOUT_MS_MAX);
    }
    this.#waitDeadlineMs = deadlineMs;
    return libc.symbols.poll_pending(
      this.#pendingList.bytes,
      BigInt(this.#pendingList.length),
      timeoutMs,
    );
  }

  protected interruptCall(): void {
    this.#libc?.symbols.write(this.#wakeWriteFd, this.#wakeBytes, 1n);
  }

  protected endCall(interrupted: boolean): void {
    if (!interrupted) return;
    // Non-blocking; takes out the one byte that `interruptCall` has put in.
    this.#libc?.symbols.read(this.#wakeReadFd, this.#wakeBytes, 8n);
  }

  protected beforeWake(): void {}

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

  /** The identity of the file behind a number; zeros where that cannot be asked. */
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

  protected closeNative(): void {
    this.#descriptors.clear();
    this.#dropped.clear();
    const libc = this.#libc;
    if (libc === undefined) return;
    this.#libc = undefined;
    libc.symbols.close(this.#wakeReadFd);
    libc.symbols.close(this.#wakeWriteFd);
    libc.release();
  }
}
