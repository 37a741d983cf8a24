/**
 * The C library: the functions used here, the layout of the structures they
 * take, and what their error numbers mean.
 *
 * A table is opened when somebody first borrows it and closed when the last
 * borrower has released it. Each user has a table of its own, because opening
 * costs some 130 us for each function that is called synchronously (the runtime
 * compiles a fast path for it) and next to nothing for the pending ones.
 *
 * `errno` belongs to a thread. After a pending ("nonblocking") call it is that
 * of another one and tells nothing; after a synchronous call it must be read
 * before anything else is called. This is why whatever may fail for a reason
 * is called synchronously, and pending calls are used for nothing but waiting.
 *
 * @module
 */

import { DescriptorsUnsupportedError, OsError } from "../errors.ts";
import { ffiGranted } from "./runtime.ts";

const DARWIN = Deno.build.os === "darwin";

// -- Functions --

const ERRNO = {
  /** int *__errno_location(void) */
  errno_location: {
    name: DARWIN ? "__error" : "__errno_location",
    parameters: [],
    result: "pointer",
  },
  /** void *memcpy(void *to, const void *from, size_t size) */
  memcpy: { parameters: ["buffer", "pointer", "usize"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * `ssize_t` results are taken as their low 32 bits: no system transfers more
 * than 2^31-1 bytes in a call, and a 64-bit result would be a `bigint`.
 */
const FILES = {
  ...ERRNO,
  /** int close(int fd) */
  close: { parameters: ["i32"], result: "i32" },
  /** ssize_t read(int fd, void *buffer, size_t size) */
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  /** ssize_t write(int fd, const void *buffer, size_t size) */
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const PIPES = {
  ...FILES,
  /** int pipe(int fds[2]) */
  pipe: { parameters: ["buffer"], result: "i32" },
  /** int pipe2(int fds[2], int flags); macOS has none */
  pipe2: { parameters: ["buffer", "i32"], result: "i32", optional: true },
  /**
   * int fcntl(int fd, int command, ...)
   *
   * Apple's arm64 passes variable arguments on the stack, all other systems in
   * the third register. Nine parameters put the value in both places: eight
   * fill the registers. (The stack half is untested: there was no Mac.)
   */
  fcntl: {
    parameters: [
      "i32",
      "i32",
      "isize",
      "isize",
      "isize",
      "isize",
      "isize",
      "isize",
      "isize",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** On macOS `nfds_t` is 32 bits wide: small numbers are passed alike. */
const POLL = {
  ...PIPES,
  /** int poll(struct pollfd *fds, nfds_t count, int timeout_ms) */
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  /** The same, on a thread of the runtime's pool. */
  poll_pending: {
    name: "poll",
    parameters: ["buffer", "usize", "i32"],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const POLL_WITH_STAT = {
  ...POLL,
  /**
   * int fstat(int fd, struct stat *status). Older C libraries only have it
   * inside their headers, and 64-bit Intel Macs under another name.
   */
  fstat: {
    name: DARWIN && Deno.build.arch === "x86_64" ? "fstat$INODE64" : "fstat",
    parameters: ["i32", "buffer"],
    result: "i32",
    optional: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

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

// -- Constants and layouts --

/** `O_NONBLOCK`, and on Linux `EFD_NONBLOCK` and `TFD_NONBLOCK` as well. */
export const O_NONBLOCK: number = DARWIN ? 0x4 : 0o4000;
/** Linux: `O_CLOEXEC`, `EPOLL_CLOEXEC`, `EFD_CLOEXEC` and `TFD_CLOEXEC`. */
export const O_CLOEXEC = 0o2000000;
/** The clock of `monotonicMs`, on Linux. */
export const CLOCK_MONOTONIC = 1;
/** `timerfd_settime`: the time is a moment, not a span. */
export const TFD_TIMER_ABSTIME = 1;

const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1n;

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

/** poll: something can be read. */
export const POLLIN = 0x1;
/** poll: something can be written. */
export const POLLOUT = 0x4;
/** poll: an error is waiting. Reported whether or not asked for. */
export const POLLERR = 0x8;
/** poll: the other side is gone. Reported whether or not asked for. */
export const POLLHUP = 0x10;
/** poll: the descriptor is not open. */
export const POLLNVAL = 0x20;

/**
 * `struct epoll_event { uint32_t events; uint64_t data; }` in 32-bit words. It
 * is packed on x86-64, and there only.
 */
export const EPOLL_EVENT: {
  readonly words: number;
  readonly events: number;
  readonly dataLow: number;
  readonly dataHigh: number;
} = Deno.build.arch === "x86_64"
  ? { words: 3, events: 0, dataLow: 1, dataHigh: 2 }
  : { words: 4, events: 0, dataLow: 2, dataHigh: 3 };

/**
 * `struct itimerspec { struct timespec it_interval, it_value; }` in 32-bit
 * words; the upper halves of all four numbers stay 0.
 */
export const ITIMERSPEC = { words: 8, valueSeconds: 4, valueNanos: 6 } as const;

/** `struct timespec { time_t tv_sec; long tv_nsec; }` in 32-bit words. */
export const TIMESPEC = { words: 4, seconds: 0, nanos: 2 } as const;

/**
 * `struct pollfd { int fd; short events, revents; }`: the first number in
 * 32-bit words, the others in 16-bit words.
 */
export const POLLFD = { bytes: 8, fd: 0, events: 2, revents: 3 } as const;

/**
 * What tells files apart in `struct stat`, in 64-bit words: `st_dev` (on macOS
 * 32 bits of the first word) and `st_ino`. No platform's is larger than 256 bytes.
 */
export const STAT: {
  readonly words: number;
  readonly device: number;
  readonly deviceMask: bigint;
  readonly inode: number;
} = {
  words: 32,
  device: 0,
  deviceMask: DARWIN ? 0xffff_ffffn : 0xffff_ffff_ffff_ffffn,
  inode: 1,
};

// -- Errors --

/** Errors a caller may want to tell apart; the second number is for macOS. */
const ERRORS: readonly (readonly [string, string, number, number])[] = [
  ["EPERM", "operation not permitted", 1, 1],
  ["ENOENT", "no such entry", 2, 2],
  ["EINTR", "interrupted by a signal", 4, 4],
  ["EIO", "input or output error", 5, 5],
  ["EBADF", "it is not an open descriptor", 9, 9],
  ["EAGAIN", "it would block", 11, 35],
  ["ENOMEM", "out of memory", 12, 12],
  ["EACCES", "permission denied", 13, 13],
  ["EFAULT", "bad address", 14, 14],
  ["EEXIST", "the entry exists", 17, 17],
  ["EINVAL", "invalid argument", 22, 22],
  ["ENFILE", "the system has too many open files", 23, 23],
  ["EMFILE", "the process has too many open files", 24, 24],
  ["ENOSPC", "no space left", 28, 28],
  ["EPIPE", "the other end is closed", 32, 32],
  ["ENOSYS", "the system does not have this call", 38, 78],
  ["ELOOP", "too deeply nested", 40, 62],
];

function findError(errno: number): (typeof ERRORS)[number] | undefined {
  const column = DARWIN ? 3 : 2;
  return ERRORS.find((error) => error[column] === errno);
}

/** The name of an error number, such as `"EBADF"`. */
export function errnoCode(errno: number): string {
  return findError(errno)?.[0] ?? `errno ${errno}`;
}

/**
 * The error for a call that failed with `errno`.
 *
 * @param doing What was tried, as in `Cannot <doing>: ...`.
 */
export function osError(doing: string, errno: number): OsError {
  const code = errnoCode(errno);
  const text = findError(errno)?.[1] ?? "the operating system refused";
  return new OsError(`Cannot ${doing}: ${text} (${code})`, code, errno);
}

// -- Opening --

const LIBRARIES: Partial<Record<typeof Deno.build.os, readonly string[]>> = {
  linux: [
    "libc.so.6", // glibc
    `libc.musl-${Deno.build.arch}.so.1`,
    "libc.so",
  ],
  // By its full path, for there is no such file: the loader has it in a cache.
  darwin: ["/usr/lib/libSystem.B.dylib"],
};

/** Opens the first library that has all of `table`. */
function openLibrary<S extends Deno.ForeignLibraryInterface>(
  table: S,
): Deno.DynamicLibrary<S> {
  // Asked first, because opening in the state "prompt" would stop and ask.
  if (!ffiGranted()) {
    throw new DescriptorsUnsupportedError(
      "Cannot open the C library: the permission is missing, run with --allow-ffi",
    );
  }
  const failures: unknown[] = [];
  for (const path of LIBRARIES[Deno.build.os] ?? []) {
    try {
      return Deno.dlopen(path, table);
    } catch (failure) {
      failures.push(failure);
    }
  }
  throw new DescriptorsUnsupportedError(
    `Cannot open the C library: none was found that fits ${Deno.build.os}`,
    { cause: new AggregateError(failures) },
  );
}

const errnoValue = new Int32Array(1);
const errnoBytes = new Uint8Array(errnoValue.buffer);

/** A table of C functions, on loan. */
export class Libc<S extends typeof ERRNO> {
  /** The functions, by name. */
  readonly symbols: Deno.DynamicLibrary<S>["symbols"];
  readonly #errnoSymbols: Deno.DynamicLibrary<typeof ERRNO>["symbols"];
  #giveBack: (() => void) | undefined;

  /**
   * @param library The open library.
   * @param giveBack Called once, by the first {@linkcode Libc.release}.
   */
  constructor(library: Deno.DynamicLibrary<S>, giveBack: () => void) {
    this.symbols = library.symbols;
    // Each table contains these two; the compiler cannot see it through `S`.
    this.#errnoSymbols = library.symbols as unknown as Deno.DynamicLibrary<
      typeof ERRNO
    >["symbols"];
    this.#giveBack = giveBack;
  }

  /**
   * Why the last synchronous call failed. Call nothing in between: any call of
   * the runtime's may change it. (A garbage collection might as well; none was
   * ever seen to.)
   */
  errno(): number {
    const { errno_location, memcpy } = this.#errnoSymbols;
    // Copied, because looking through a pointer takes more rights than this.
    memcpy(errnoBytes, errno_location(), 4n);
    return errnoValue[0]!;
  }

  /**
   * Passes on the result of a synchronous call.
   *
   * @param doing What was tried, as in `Cannot <doing>: ...`.
   * @throws {OsError} If the result says that the call failed.
   */
  check(result: number, doing: string): number {
    if (result >= 0) return result;
    throw osError(doing, this.errno());
  }

  /** Ends the loan. Does nothing the second time. */
  release(): void {
    const giveBack = this.#giveBack;
    this.#giveBack = undefined;
    giveBack?.();
  }
}

/** Opens a library for the first borrower and closes it after the last. */
function lender<S extends typeof ERRNO>(table: S): () => Libc<S> {
  let library: Deno.DynamicLibrary<S> | undefined;
  let borrowers = 0;
  const giveBack = (): void => {
    borrowers--;
    if (borrowers > 0) return;
    library?.close();
    library = undefined;
  };
  return () => {
    library ??= openLibrary(table);
    borrowers++;
    return new Libc(library, giveBack);
  };
}

/** What a pipe needs of the C library. */
export type PipeLibc = Libc<typeof PIPES>;
/** What {@linkcode PollHost} needs of the C library. */
export type PollLibc = Libc<typeof POLL_WITH_STAT>;
/** What {@linkcode EpollHost} needs of the C library. */
export type EpollLibc = Libc<typeof EPOLL>;

/** Borrows the functions for pipes. */
export const borrowPipeLibc: () => PipeLibc = lender(PIPES);
/** Borrows the functions for poll(2). */
export const borrowPollLibc: () => PollLibc = lender(POLL_WITH_STAT);
/** Borrows the functions for epoll(7). */
export const borrowEpollLibc: () => EpollLibc = lender(EPOLL);

/** The two ends of a pipe, reading end first. */
export type PipeEnds = readonly [readFd: number, writeFd: number];

/** Opens a pipe whose ends never block and are not inherited by children. */
export function openPipe(libc: PipeLibc | PollLibc): PipeEnds {
  const { pipe2 } = libc.symbols;
  if (pipe2 === null) return openPipeInSteps(libc);
  const ends = new Int32Array(2);
  libc.check(pipe2(ends, O_NONBLOCK | O_CLOEXEC), "open a pipe");
  return [ends[0]!, ends[1]!];
}

/**
 * {@linkcode openPipe} where there is no `pipe2`. A child that is started by
 * another thread between the steps inherits the ends; nothing can be done.
 */
export function openPipeInSteps(libc: PipeLibc | PollLibc): PipeEnds {
  const { close, fcntl, pipe } = libc.symbols;
  const ends = new Int32Array(2);
  libc.check(pipe(ends), "open a pipe");
  const [readFd, writeFd] = [ends[0]!, ends[1]!];
  const set = (fd: number, command: number, value: bigint): void => {
    const result = fcntl(fd, command, value, 0n, 0n, 0n, 0n, 0n, value);
    libc.check(result, `set up descriptor ${fd} of a pipe`);
  };
  try {
    for (const fd of [readFd, writeFd]) {
      set(fd, F_SETFD, FD_CLOEXEC);
      set(fd, F_SETFL, BigInt(O_NONBLOCK));
    }
  } catch (failure) {
    close(readFd);
    close(writeFd);
    throw failure;
  }
  return [readFd, writeFd];
}
