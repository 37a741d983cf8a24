/**
 * Waiting on Linux: one epoll set that holds an eventfd, a timerfd and the user's descriptors.
 *
 * A busy loop asks it synchronously (`epoll_wait` with timeout 0, a fifth of a microsecond), a sleeping one with the
 * pending call of {@linkcode NativeHost}; writing to the eventfd interrupts that.
 *
 * Facts that make this code what it is:
 *
 * - Everything is level-triggered. A synchronous look takes an edge-triggered
 *   event away from the pending call, which would then sleep on.
 * - A registration belongs to an open file *and* a number. Closing the last
 *   descriptor of a file removes it silently, so our books may name
 *   descriptors the kernel has forgotten: `watch` always makes the call, and
 *   tries the other one if the kernel disagrees about whether it knows the
 *   descriptor. Closing a descriptor that was duplicated does *not* remove it,
 *   and then there is no way left to: it is reported for ever under a number
 *   that is closed or means something else. Each registration therefore carries
 *   a mark, and when an event with an unknown mark appears, a new set is made.
 * - Regular files, directories and devices like /dev/null are refused (EPERM).
 *   select and poll call them always ready; so does this host.
 * - A timerfd has no timer slack, unlike the timeout of `epoll_wait`, and counts
 *   nanoseconds instead of milliseconds.
 * - Between its firing and the promise reaction there are two threads to wake,
 *   which takes 40 us at best and 300 us after a rest on a busy machine. So it is
 *   set ahead of the deadline, see {@linkcode Headstart}.
 *
 * @module
 */

import { monotonicMs } from "./clock.ts";
import { errnoCode, osError } from "./errno.ts";
import { Headstart } from "./headstart.ts";
import { READABLE, type ReadyListener, WRITABLE } from "./host.ts";
import { O_CLOEXEC, O_NONBLOCK } from "./libc.ts";
import {
  borrowEpollLibc,
  CLOCK_MONOTONIC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_EVENT,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  type EpollLibc,
  EPOLLOUT,
  ITIMERSPEC,
  TFD_TIMER_ABSTIME,
  TIMESPEC,
} from "./libc_epoll.ts";
import { NativeHost } from "./native.ts";

/**
 * Descriptors found by one call. The kernel moves what it has reported to the
 * end of its list, so that a small number starves nobody.
 */
const READY_MAX = 64;

/** Marks the host's own two descriptors in the set. */
const OWN = 0;

/** Farther deadlines are cut to this: the wake is early. 68 years. */
const SECONDS_MAX = 2 ** 31 - 1;

/** A descriptor in the epoll set. */
interface Registration {
  readonly events: number;
  /** Unique to the last `epoll_ctl` that the kernel accepted for it. */
  readonly mark: number;
}

/** The host that waits with epoll: wakes within microseconds, knows descriptors. Linux only. */
export class EpollHost extends NativeHost {
  readonly name: string = "epoll";

  readonly #descriptors = new Map<number, Registration>();
  /** Descriptors that epoll refused, with the events of interest. */
  readonly #alwaysReady = new Map<number, number>();
  #lastMark = OWN;

  // Opened when first needed.
  #libc: EpollLibc | undefined;
  #epollFd = -1;
  #eventFd = -1;
  #timerFd = -1;
  /** Sets that were replaced while a call was pending on them. */
  readonly #retiredFds: number[] = [];
  /** The difference between the kernel's CLOCK_MONOTONIC and the time. */
  #clockOffsetMs = 0;
  /** Reads the kernel's clock in half the time that the runtime takes for it. */
  #readClock:
    | ((clock: number, time: Uint32Array<ArrayBuffer>) => number)
    | undefined;
  /** The deadline the timerfd is set for. */
  #armedMs = Infinity;
  /** When it fires. */
  #firesMs = Infinity;
  readonly #headstart = new Headstart();

  // Lent to the C library; the pending call has one of its own.
  readonly #ready = new Uint32Array(READY_MAX * EPOLL_EVENT.words);
  readonly #pendingReady = new Uint32Array(EPOLL_EVENT.words);
  readonly #event = new Uint32Array(EPOLL_EVENT.words);
  readonly #timerValue = new Uint32Array(ITIMERSPEC.words);
  readonly #counter = new BigUint64Array(1);
  readonly #clock = new Uint32Array(TIMESPEC.words);

  now(): number {
    const readClock = this.#readClock;
    if (readClock === undefined) return monotonicMs();
    readClock(CLOCK_MONOTONIC, this.#clock);
    return kernelMs(this.#clock) - this.#clockOffsetMs;
  }

  watch(fd: number, events: number): boolean {
    let same = true;
    if (events === 0) this.#forget(fd);
    else same = this.#register(fd, events);
    this.descriptorsChanged();
    return same;
  }

  poll(ready: ReadyListener): void {
    if (this.#descriptors.size > 0) this.#pollSet(ready);
    if (this.#alwaysReady.size > 0) {
      for (const fd of [...this.#alwaysReady.keys()]) {
        const events = this.#alwaysReady.get(fd);
        if (events !== undefined) ready(fd, events);
      }
    }
  }

  // -- Waiting --

  protected watchesDescriptors(): boolean {
    return this.#descriptors.size > 0;
  }

  protected watchesAlwaysReady(): boolean {
    return this.#alwaysReady.size > 0;
  }

  protected openNative(): void {
    this.#openSet();
  }

  protected aim(deadlineMs: number): boolean {
    this.#arm(this.#openSet(), deadlineMs);
    return true;
  }

  protected beginCall(): Promise<unknown> {
    return this.#openSet().symbols.epoll_wait_pending(
      this.#epollFd,
      this.#pendingReady,
      1,
      -1,
    );
  }

  protected interruptCall(): void {
    this.#counter[0] = 1n;
    this.#libc?.symbols.write(this.#eventFd, this.#counter, 8n);
  }

  protected endCall(interrupted: boolean): void {
    if (interrupted) {
      // Non-blocking and never failing; takes the counter back to 0.
      this.#libc?.symbols.read(this.#eventFd, this.#counter, 8n);
    }
    for (const fd of this.#retiredFds.splice(0)) this.#libc?.symbols.close(fd);
  }

  protected beforeWake(): void {
    if (this.#descriptors.size === 0) this.#spendHeadstart();
  }

  /** Spends the rest of the time until the deadline, if the timer has fired ahead of it. */
  #spendHeadstart(): void {
    const deadlineMs = this.#armedMs;
    let nowMs = this.now();
    if (nowMs < this.#firesMs) return; // the call has ended for another reason
    this.#headstart.learn(nowMs - this.#firesMs);
    while (nowMs < deadlineMs) nowMs = this.now();
  }

  /** Sets the timerfd. Also makes one that has fired unready. */
  #arm(libc: EpollLibc, deadlineMs: number): void {
    if (deadlineMs === this.#armedMs) return;
    this.#armedMs = deadlineMs;
    this.#firesMs = deadlineMs;
    // With descriptors nobody knows what a wake-up is for.
    if (this.#descriptors.size === 0 && deadlineMs !== Infinity) {
      this.#firesMs -= this.#headstart.ofMs(deadlineMs - this.now());
    }
    writeTimer(this.#timerValue, this.#firesMs + this.#clockOffsetMs);
    libc.check(
      libc.symbols.timerfd_settime(
        this.#timerFd,
        TFD_TIMER_ABSTIME,
        this.#timerValue,
        null,
      ),
      "set the timer of the event loop",
    );
  }

  // -- Descriptors --

  #pollSet(ready: ReadyListener): void {
    const libc = this.#libc;
    if (libc === undefined) return;
    const count = libc.symbols.epoll_wait(
      this.#epollFd,
      this.#ready,
      READY_MAX,
      0,
    );
    if (count === 0) return;
    if (count < 0) {
      const errno = libc.errno();
      // A signal came in: the next turn looks again.
      if (errnoCode(errno) === "EINTR") return;
      throw osError("look for ready descriptors", errno);
    }
    // `ready` may change registrations; what it has changed is not reported
    // from this batch, and is no reason to make a new set.
    const firstNewMark = this.#lastMark;
    let unknown = false;
    for (let index = 0; index < count; index++) {
      if (!this.#report(libc, index * EPOLL_EVENT.words, ready)) unknown = true;
    }
    if (unknown && firstNewMark === this.#lastMark) this.#replaceSet(libc);
  }

  /** Reports the event at a place of the batch. Returns false if its mark is unknown. */
  #report(libc: EpollLibc, at: number, ready: ReadyListener): boolean {
    const mark = this.#ready[at + EPOLL_EVENT.dataHigh]!;
    const fd = this.#ready[at + EPOLL_EVENT.dataLow]!;
    if (mark === OWN) {
      // A timer that has fired would make every look dearer until the next
      // park. (While parked, it is there to end the pending call.)
      if (fd === this.#timerFd && !this.isParked) this.#arm(libc, Infinity);
      return true;
    }
    const registration = this.#descriptors.get(fd);
    if (registration === undefined || registration.mark !== mark) return false;
    const events = this.#ready[at + EPOLL_EVENT.events]!;
    const failed = (events & (EPOLLERR | EPOLLHUP)) !== 0;
    const found = (failed || (events & EPOLLIN) !== 0 ? READABLE : 0) |
      (failed || (events & EPOLLOUT) !== 0 ? WRITABLE : 0);
    ready(fd, found & registration.events);
    return true;
  }

  /** Returns false if the number has come to mean another file. */
  #register(fd: number, events: number): boolean {
    const libc = this.#openSet();
    const known = this.#descriptors.get(fd);
    const mark = this.#nextMark();
    let errno = this.#control(
      libc,
      known === undefined ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
      fd,
      events,
      mark,
    );
    // Our books and the kernel's may differ; see the file's header.
    const code = errnoCode(errno);
    if (known !== undefined && code === "ENOENT") {
      errno = this.#control(libc, EPOLL_CTL_ADD, fd, events, mark);
    } else if (known === undefined && code === "EEXIST") {
      errno = this.#control(libc, EPOLL_CTL_MOD, fd, events, mark);
    }
    if (errno === 0) {
      this.#descriptors.set(fd, { events, mark });
      return !this.#alwaysReady.delete(fd) && code !== "ENOENT";
    }
    if (errnoCode(errno) === "EPERM") {
      this.#alwaysReady.set(fd, events);
      return !this.#descriptors.delete(fd);
    }
    throw osError(`watch descriptor ${fd}`, errno);
  }

  #forget(fd: number): void {
    if (this.#alwaysReady.delete(fd)) return;
    if (!this.#descriptors.delete(fd)) return;
    this.#nextMark();
    // Fails if it was closed before: then there is nothing left to delete, or
    // something that cannot be deleted any more (see the file's header).
    this.#libc?.symbols.epoll_ctl(this.#epollFd, EPOLL_CTL_DEL, fd, null);
  }

  #nextMark(): number {
    this.#lastMark = this.#lastMark === 0xffff_ffff
      ? OWN + 1
      : this.#lastMark + 1;
    return this.#lastMark;
  }

  /** Returns the errno of a failure, or 0. */
  #control(
    libc: EpollLibc,
    operation: number,
    fd: number,
    events: number,
    mark: number,
  ): number {
    this.#event[EPOLL_EVENT.events] =
      ((events & READABLE) !== 0 ? EPOLLIN : 0) |
      ((events & WRITABLE) !== 0 ? EPOLLOUT : 0);
    this.#event[EPOLL_EVENT.dataLow] = fd;
    this.#event[EPOLL_EVENT.dataHigh] = mark;
    const { epoll_ctl } = libc.symbols;
    const result = epoll_ctl(this.#epollFd, operation, fd, this.#event);
    return result === 0 ? 0 : libc.errno();
  }

  // -- Opening and closing --

  #openSet(): EpollLibc {
    if (this.#libc !== undefined) return this.#libc;
    const libc = borrowEpollLibc();
    const opened: number[] = [];
    const keep = (fd: number): number => {
      libc.check(fd, "open an event loop");
      opened.push(fd);
      return fd;
    };
    try {
      const { epoll_create1, eventfd, timerfd_create } = libc.symbols;
      const flags = O_CLOEXEC | O_NONBLOCK;
      this.#epollFd = keep(epoll_create1(O_CLOEXEC));
      this.#eventFd = keep(eventfd(0, flags));
      this.#timerFd = keep(timerfd_create(CLOCK_MONOTONIC, flags));
      this.#addOwn(libc);
    } catch (failure) {
      for (const fd of opened) libc.symbols.close(fd);
      libc.release();
      throw failure;
    }
    this.#clockOffsetMs = measureClockOffset(libc);
    this.#readClock = libc.symbols.clock_gettime;
    this.#libc = libc;
    return libc;
  }

  #addOwn(libc: EpollLibc): void {
    for (const fd of [this.#eventFd, this.#timerFd]) {
      const errno = this.#control(libc, EPOLL_CTL_ADD, fd, READABLE, OWN);
      if (errno !== 0) throw osError("open an event loop", errno);
    }
  }

  /** Makes a new set, without the registrations that cannot be deleted; see the file's header. */
  #replaceSet(libc: EpollLibc): void {
    const { close, epoll_create1 } = libc.symbols;
    const fresh = libc.check(epoll_create1(O_CLOEXEC), "open an event loop");
    const old = this.#epollFd;
    this.#epollFd = fresh;
    this.#addOwn(libc);
    for (const [fd, { events, mark }] of this.#descriptors) {
      // A descriptor that fails was closed by its owner, who will say so.
      this.#control(libc, EPOLL_CTL_ADD, fd, events, mark);
    }
    if (this.isCalling) {
      // The eventfd is in both sets, so this ends the wait on the old one.
      this.#retiredFds.push(old);
      this.interrupt();
    } else {
      close(old);
    }
  }

  protected closeNative(): void {
    const libc = this.#libc;
    if (libc === undefined) return;
    this.#libc = undefined;
    this.#readClock = undefined;
    for (const fd of [this.#epollFd, this.#eventFd, this.#timerFd]) {
      libc.symbols.close(fd);
    }
    libc.release();
  }
}

/** Writes the moment for `timerfd_settime`, on the kernel's clock; `Infinity` is never. */
function writeTimer(value: Uint32Array, kernelMs: number): void {
  let seconds = 0;
  let nanos = 0;
  if (kernelMs !== Infinity) {
    seconds = Math.min(Math.floor(kernelMs / 1_000), SECONDS_MAX);
    // Rounded down: rather early than late.
    nanos = Math.min(
      Math.floor((kernelMs - seconds * 1_000) * 1e6),
      999_999_999,
    );
    // Both zero would mean "never".
    if (seconds === 0 && nanos === 0) nanos = 1;
  }
  value[ITIMERSPEC.valueSeconds] = seconds;
  value[ITIMERSPEC.valueNanos] = nanos;
}

/** The moment that `clock_gettime` has written, in milliseconds. */
function kernelMs(time: Uint32Array): number {
  return time[TIMESPEC.seconds]! * 1e3 + time[TIMESPEC.nanos]! / 1e6;
}

/**
 * How far the kernel's CLOCK_MONOTONIC is ahead of `monotonicMs`. The two run
 * alike but start elsewhere, and differently in each thread. Never too little, so
 * that time does not go back where one takes over from the other and nothing is
 * early on either, and too much by the time of one call.
 */
function measureClockOffset(libc: EpollLibc): number {
  const time = new Uint32Array(TIMESPEC.words);
  let offsetMs = Infinity;
  for (let round = 0; round < 8; round++) {
    const readMs = monotonicMs();
    libc.check(
      libc.symbols.clock_gettime(CLOCK_MONOTONIC, time),
      "read the clock",
    );
    offsetMs = Math.min(offsetMs, kernelMs(time) - readMs);
  }
  return offsetMs;
}
