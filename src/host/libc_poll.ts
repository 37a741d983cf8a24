/**
 * poll(2) in the C library.
 *
 * @module
 */
import { lender, type Libc } from "./libc.ts";
import { PIPES } from "./libc_pipe.ts";
import { ARCH, DARWIN } from "./platform.ts";

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
    name: DARWIN && ARCH === "x86_64" ? "fstat$INODE64" : "fstat",
    parameters: ["i32", "buffer"],
    result: "i32",
    optional: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

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
 * `struct pollfd { int fd; short events, revents; }`: the first number in
 * 32-bit words, the others in 16-bit words.
 */
export const POLLFD = { bytes: 8, fd: 0, events: 2, revents: 3 } as const;

/**
 * The fields of `struct stat` that tell files apart, in 64-bit words: `st_dev` (on macOS
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

/** The C library with the functions for poll(2), and those for pipes. */
export type PollLibc = Libc<typeof POLL_WITH_STAT>;

/** Borrows the functions for poll(2). */
export const borrowPollLibc: () => PollLibc = lender(
  POLL_WITH_STAT,
  ({ symbols }) => symbols,
);
