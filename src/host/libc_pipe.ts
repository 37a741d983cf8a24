/**
 * Pipes in the C library.
 *
 * @module
 */
import { FILES, lender, type Libc, O_CLOEXEC, O_NONBLOCK } from "./libc.ts";

/** The functions for pipes. */
export const PIPES = {
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

const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1n;

/** The C library with the functions for pipes. */
export type PipeLibc = Libc<typeof PIPES>;

/** Borrows the functions for pipes. */
export const borrowPipeLibc: () => PipeLibc = lender(
  PIPES,
  ({ symbols }) => symbols,
);

/** The functions by which a pipe is opened: other tables have them too. */
export type PipeOpener = Pick<PipeLibc, "check"> & {
  readonly symbols: Pick<
    Deno.DynamicLibrary<typeof PIPES>["symbols"],
    "close" | "fcntl" | "pipe" | "pipe2"
  >;
};

/** The two ends of a pipe, reading end first. */
export type PipeEnds = readonly [readFd: number, writeFd: number];

/** Opens a pipe whose ends never block and are not inherited by children. */
export function openPipe(libc: PipeOpener): PipeEnds {
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
export function openPipeInSteps(libc: PipeOpener): PipeEnds {
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
