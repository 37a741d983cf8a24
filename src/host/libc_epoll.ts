/**
 * epoll(7) in the C library, with timerfd, eventfd and the clock.
 *
 * @module
 */
import { FILES, lender, type Libc } from "./libc.ts";
import { ARCH } from "./platform.ts";

const EPOLL = {
  ...FILES,
  /** int epoll_create1(int flags) */
  epoll_create1: { parameters: ["i32"], result: "i32" },
  /** int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) */
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  /** int epoll_wait(int epfd, struct epoll_event *events, int max, int ms) */
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  /** The same, on a thread of the runtime's pool. */
  epoll_wait_pending: {
    name: "epoll_wait",
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  /** int eventfd(unsigned int initial, int flags) */
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  /** int timerfd_create(clockid_t clock, int flags) */
  timerfd_create: { parameters: ["i32", "i32"], result: "i32" },
  /**
   * int timerfd_settime(int fd, int flags, const struct itimerspec *value,
   *                     struct itimerspec *old)
   */
  timerfd_settime: {
    parameters: ["i32", "i32", "buffer", "buffer"],
    result: "i32",
  },
  /** int clock_gettime(clockid_t clock, struct timespec *time) */
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The clock of `monotonicMs`, on Linux. */
export const CLOCK_MONOTONIC = 1;
/** `timerfd_settime`: the time is a moment, not a span. */
export const TFD_TIMER_ABSTIME = 1;

/** `epoll_ctl`: add a descriptor. */
export const EPOLL_CTL_ADD = 1;
/** `epoll_ctl`: delete a descriptor. */
export const EPOLL_CTL_DEL = 2;
/** `epoll_ctl`: modify the events of a descriptor. */
export const EPOLL_CTL_MOD = 3;
/** epoll: something can be read. */
export const EPOLLIN = 0x1;
/** epoll: something can be written. */
export const EPOLLOUT = 0x4;
/** epoll: an error is waiting. Reported whether or not asked for. */
export const EPOLLERR = 0x8;
/** epoll: the other side is gone. Reported whether or not asked for. */
export const EPOLLHUP = 0x10;

/**
 * `struct epoll_event { uint32_t events; uint64_t data; }` in 32-bit words. The
 * structure is packed on x86-64, and there only.
 */
export const EPOLL_EVENT: {
  readonly words: number;
  readonly events: number;
  readonly dataLow: number;
  readonly dataHigh: number;
} = ARCH === "x86_64"
  ? { words: 3, events: 0, dataLow: 1, dataHigh: 2 }
  : { words: 4, events: 0, dataLow: 2, dataHigh: 3 };

/**
 * `struct itimerspec { struct timespec it_interval, it_value; }` in 32-bit
 * words; the upper halves of all four numbers stay 0.
 */
export const ITIMERSPEC = { words: 8, valueSeconds: 4, valueNanos: 6 } as const;

/** `struct timespec { time_t tv_sec; long tv_nsec; }` in 32-bit words. */
export const TIMESPEC = { words: 4, seconds: 0, nanos: 2 } as const;

/** The C library with the functions for epoll(7). */
export type EpollLibc = Libc<typeof EPOLL>;

/** Borrows the functions for epoll(7). */
export const borrowEpollLibc: () => EpollLibc = lender(
  EPOLL,
  ({ symbols }) => symbols,
);
