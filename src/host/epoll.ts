/**
 * Waiting on Linux.
 *
 * One epoll set holds an eventfd, a timerfd and the user's descriptors. A busy
 * loop asks it synchronously (`epoll_wait` with timeout 0, a fifth of a
 * microsecond). A sleeping loop has one pending `epoll_wait` on a thread of the
 * runtime's pool, and never a second one: there are 32 such threads, and files,
 * name look-ups and imports need them too.
 *
 * Facts that make this code what it is:
 *
 * - A pending call keeps the process alive and cannot be taken back. It is
 *   ended by writing to the eventfd, and it resolves some 50 us later. Hence the
 *   three states of {@linkcode EpollHost.#wait}, and hence a park that needs no
 *   descriptors and must not hold the process uses a plain timer.
 * - What a pending call reports may be out of date when the promise reaction
 *   runs: meanwhile a descriptor may have been closed and its number given to
 *   something else. So its result is not even looked at. It says "get up"; what
 *   is ready is what a synchronous call says.
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

import {
  after,
  detached,
  holdOpen,
  type HostHold,
  type HostTimer,
  macrotask,
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
  errnoCode,
  ITIMERSPEC,
  O_CLOEXEC,
  O_NONBLOCK,
  osError,
  TFD_TIMER_ABSTIME,
  TIMESPEC,
} from "./libc.ts";

/**
 * Descriptors found by one call. The kernel moves what it has reported to the
 * end of its list, so that a small number starves nobody.
 */
const READY_MAX = 64;

/** Marks the host's own two descriptors in the set. */
const OWN = 0;

/** Farther deadlines are cut to this: the wake is early. 68 years. */
const SECONDS_MAX = 2 ** 31 - 1;

/** Of so many wake-ups one is to be too early. */
const WAKES_PER_EARLY = 4;
/** By how much one that is not early raises what was learned. */
const HEADSTART_STEP_MS = 0.005;
/** No more than this part of a wait is spared: waking from a short one takes less. */
const HEADSTART_PART_MAX = 1 / 8;
/** What is left after an early wake-up is waited for on the thread: not for longer than this. */
const HEADSTART_MS_MAX = 0.2;

/**
 * How long before a deadline the timer is to fire: as long as three wake-ups in
 * four take at least. The fourth is early, and waits for the rest.
 *
 * It is an estimate of a quantile by stochastic approximation: up by a step
 * after each that took longer, down by three after each that did not.
 */
export class Headstart {
  #ms = 0;

  /** For a wait of so many milliseconds. */
  ofMs(waitMs: number): number {
    return Math.min(this.#ms, waitMs * HEADSTART_PART_MAX);
  }

  /** A wake-up has taken so long. */
  learn(tookMs: number): void {
    const steps = tookMs > this.#ms ? 1 : 1 - WAKES_PER_EARLY;
    const ms = this.#ms + steps * HEADSTART_STEP_MS;
    this.#ms = Math.min(Math.max(ms, 0), HEADSTART_MS_MAX);
  }
}

/** A descriptor in the epoll set. */
interface Registration {
  readonly events: number;
  /** Unique to the last `epoll_ctl` that the kernel accepted for it. */
  readonly mark: number;
}

/** Waits with epoll: wakes within microseconds, knows descriptors. Linux. */
export class EpollHost implements Host {
  readonly name: string = "epoll";
  readonly virtual: boolean = false;

  #client: HostClient | undefined;
  #parked = false;
  #deadlineMs = Infinity;
  #hold = true;
  #keepAlive: HostHold | undefined;
  /** Stands in for the timerfd where a pending call would hold the process. */
  #timer: HostTimer | undefined;
  /** Tells the parks apart for callbacks that cannot be withdrawn. */
  #parkId = 0;

  /** The pending call: none, one, or one that was told to end. */
  #wait: "none" | "pending" | "ending" = "none";
  /** Resolves when the last pending call is over. */
  #waitOver: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  readonly #descriptors = new Map<number, Registration>();
  /** What epoll refused, with the events of interest. */
  readonly #alwaysReady = new Map<number, number>();
  #lastMark = OWN;

  // Opened when first needed.
  #libc: EpollLibc | undefined;
  #epollFd = -1;
  #eventFd = -1;
  #timerFd = -1;
  /** Sets that were replaced while a call was pending on them. */
  readonly #retiredFds: number[] = [];
  /** What to add to the time to get the kernel's CLOCK_MONOTONIC. */
  #clockOffsetMs = 0;
  /** Reads the kernel's clock in half the time that the runtime takes for it. */
  #readClock: EpollLibc["symbols"]["clock_gettime"] | undefined;
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

  open(client: HostClient): void {
    checkUnowned(this.#client);
    this.#client = client;
  }

  park(deadlineMs: number, hold: boolean): void {
    // Opened here and not when the wait begins, so that the loop sees it fail.
    if (this.#needsCall(deadlineMs, hold)) this.#openSet();
    this.#parked = true;
    this.#parkId++;
    this.#deadlineMs = deadlineMs;
    this.#hold = hold;
    if (deadlineMs <= this.now()) {
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
    let same = true;
    if (events === 0) {
      this.#forget(fd);
    } else {
      same = this.#register(fd, events);
    }
    if (this.#parked) detached(this.#settleIfParked);
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

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  // -- Waiting --

  /**
   * Makes the way of waiting fit what the current park waits for. Only called
   * detached, since the wake belongs to the async context of this call.
   */
  #settle(): void {
    if (this.#alwaysReady.size > 0) {
      const parkId = this.#parkId;
      macrotask(() => {
        if (this.#parked && this.#parkId === parkId) this.#wake();
      });
      return;
    }
    this.#cancelTimer();
    if (!this.#needsCall(this.#deadlineMs, this.#hold)) {
      this.#endWait();
      if (this.#deadlineMs !== Infinity) {
        const delayMs = this.#deadlineMs - this.now();
        this.#timer = after(Math.max(delayMs, 0), this.#timerFired, false);
      }
      return;
    }
    const libc = this.#openSet();
    this.#arm(libc, this.#deadlineMs);
    if (this.#wait === "none") {
      this.#wait = "pending";
      this.#waitOver = libc.symbols.epoll_wait_pending(
        this.#epollFd,
        this.#pendingReady,
        1,
        -1,
      ).then(this.#waited, this.#waited);
    }
  }

  /** Without descriptors a timer will do, unless it is to hold the process. */
  #needsCall(deadlineMs: number, hold: boolean): boolean {
    return this.#descriptors.size > 0 || (hold && deadlineMs !== Infinity);
  }

  readonly #settleIfParked = (): void => {
    if (this.#parked) this.#settle();
  };

  /** The pending call is over, for whatever reason; see the file's header. */
  readonly #waited = (): void => {
    const ended = this.#wait === "ending";
    this.#wait = "none";
    if (ended) {
      // Non-blocking and never failing; takes the counter back to 0.
      this.#libc?.symbols.read(this.#eventFd, this.#counter, 8n);
    }
    for (const fd of this.#retiredFds.splice(0)) this.#libc?.symbols.close(fd);
    if (!this.#parked) return;
    if (ended) {
      this.#settle(); // parked again since: that park wants a call of its own
    } else {
      if (this.#descriptors.size === 0) this.#spendHeadstart();
      this.#wake();
    }
  };

  /** If the timer has fired, ahead of the deadline: spends what is left. */
  #spendHeadstart(): void {
    const deadlineMs = this.#armedMs;
    let nowMs = this.now();
    if (nowMs < this.#firesMs) return; // the call has ended for another reason
    this.#headstart.learn(nowMs - this.#firesMs);
    while (nowMs < deadlineMs) nowMs = this.now();
  }

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
    this.#counter[0] = 1n;
    this.#libc?.symbols.write(this.#eventFd, this.#counter, 8n);
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Sets the timerfd. Also makes one that has fired unready. */
  #arm(libc: EpollLibc, deadlineMs: number): void {
    if (deadlineMs === this.#armedMs) return;
    this.#armedMs = deadlineMs;
    this.#firesMs = deadlineMs;
    let seconds = 0;
    let nanos = 0;
    if (deadlineMs !== Infinity) {
      // With descriptors nobody knows what a wake-up is for.
      if (this.#descriptors.size === 0) {
        this.#firesMs -= this.#headstart.ofMs(deadlineMs - this.now());
      }
      const dueMs = this.#firesMs + this.#clockOffsetMs;
      seconds = Math.min(Math.floor(dueMs / 1_000), SECONDS_MAX);
      // Both zero would mean "never". Rounded down: rather early than late.
      nanos = Math.min(
        Math.floor((dueMs - seconds * 1_000) * 1e6),
        999_999_999,
      );
      if (seconds === 0 && nanos === 0) nanos = 1;
    }
    this.#timerValue[ITIMERSPEC.valueSeconds] = seconds;
    this.#timerValue[ITIMERSPEC.valueNanos] = nanos;
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
      const at = index * EPOLL_EVENT.words;
      const mark = this.#ready[at + EPOLL_EVENT.dataHigh]!;
      const fd = this.#ready[at + EPOLL_EVENT.dataLow]!;
      if (mark === OWN) {
        // A timer that has fired would make every look dearer until the next
        // park. (While parked, it is there to end the pending call.)
        if (fd === this.#timerFd && !this.#parked) this.#arm(libc, Infinity);
        continue;
      }
      const registration = this.#descriptors.get(fd);
      if (registration === undefined || registration.mark !== mark) {
        unknown = true;
        continue;
      }
      const events = this.#ready[at + EPOLL_EVENT.events]!;
      const failed = (events & (EPOLLERR | EPOLLHUP)) !== 0;
      const found = (failed || (events & EPOLLIN) !== 0 ? READABLE : 0) |
        (failed || (events & EPOLLOUT) !== 0 ? WRITABLE : 0);
      ready(fd, found & registration.events);
    }
    if (unknown && firstNewMark === this.#lastMark) this.#replaceSet(libc);
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

  /** Gets rid of registrations that cannot be deleted; see the file's header. */
  #replaceSet(libc: EpollLibc): void {
    const { close, epoll_create1 } = libc.symbols;
    const fresh = libc.check(epoll_create1(O_CLOEXEC), "open an event loop");
    const old = this.#epollFd;
    this.#epollFd = fresh;
    this.#addOwn(libc);
    for (const [fd, { events, mark }] of this.#descriptors) {
      // Those that fail were closed by their owner, who will say so.
      this.#control(libc, EPOLL_CTL_ADD, fd, events, mark);
    }
    if (this.#wait === "none") {
      close(old);
    } else {
      // The eventfd is in both sets, so this ends the wait on the old one.
      this.#retiredFds.push(old);
      this.#endWait();
    }
  }

  async #close(): Promise<void> {
    this.rest();
    this.#descriptors.clear();
    this.#alwaysReady.clear();
    await this.#waitOver;
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
