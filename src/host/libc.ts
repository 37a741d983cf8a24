/**
 * The C library on loan.
 *
 * A table of functions is opened when somebody first borrows it and closed when the last borrower has released it. Each
 * user has a table of its own (`libc_pipe.ts`, `libc_poll.ts`, `libc_epoll.ts`), because opening
 * costs some 130 us for each function that is called synchronously (the runtime
 * compiles a fast path for it) and next to nothing for the pending ones.
 *
 * `errno` belongs to a thread. After a pending ("nonblocking") call it is that
 * of another one and tells nothing; after a synchronous call it must be read
 * before anything else is called. So calls whose errno matters are made
 * synchronously, and pending calls are used for nothing but waiting.
 *
 * @module
 */

import { DescriptorsUnsupportedError } from "../errors.ts";
import { osError } from "./errno.ts";
import { ARCH, DARWIN, OS } from "./platform.ts";
import { ffiGranted } from "./process.ts";

// -- Functions --

/** The functions that tell why a call failed; every table has them. */
export const ERRNO = {
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
 * The functions that every user of descriptors needs.
 *
 * `ssize_t` results are taken as their low 32 bits: no system transfers more
 * than 2^31-1 bytes in a call, and a 64-bit result would be a `bigint`.
 */
export const FILES = {
  ...ERRNO,
  /** int close(int fd) */
  close: { parameters: ["i32"], result: "i32" },
  /** ssize_t read(int fd, void *buffer, size_t size) */
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  /** ssize_t write(int fd, const void *buffer, size_t size) */
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type ErrnoSymbols = Deno.DynamicLibrary<typeof ERRNO>["symbols"];

// -- Constants --

/** `O_NONBLOCK`, and on Linux `EFD_NONBLOCK` and `TFD_NONBLOCK` as well. */
export const O_NONBLOCK: number = DARWIN ? 0x4 : 0o4000;
/** Linux: `O_CLOEXEC`, `EPOLL_CLOEXEC`, `EFD_CLOEXEC` and `TFD_CLOEXEC`. */
export const O_CLOEXEC = 0o2000000;
// -- Opening --

const LIBRARIES: Partial<Record<typeof OS, readonly string[]>> = {
  linux: [
    "libc.so.6", // glibc
    `libc.musl-${ARCH}.so.1`,
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
  for (const path of LIBRARIES[OS] ?? []) {
    try {
      return Deno.dlopen(path, table);
    } catch (failure) {
      failures.push(failure);
    }
  }
  throw new DescriptorsUnsupportedError(
    `Cannot open the C library: none was found that fits ${OS}`,
    { cause: new AggregateError(failures) },
  );
}

const errnoValue = new Int32Array(1);
const errnoBytes = new Uint8Array(errnoValue.buffer);

/** A table of C functions, on loan. */
export class Libc<S extends Deno.ForeignLibraryInterface> {
  /** The functions, by name. */
  readonly symbols: Deno.DynamicLibrary<S>["symbols"];
  readonly #errnoSymbols: ErrnoSymbols;
  #giveBack: (() => void) | undefined;

  /**
   * @param library The open library.
   * @param errnoSymbols Its functions for {@linkcode Libc.errno}.
   * @param giveBack Called once, by the first {@linkcode Libc.release}.
   */
  constructor(
    library: Deno.DynamicLibrary<S>,
    errnoSymbols: ErrnoSymbols,
    giveBack: () => void,
  ) {
    this.symbols = library.symbols;
    this.#errnoSymbols = errnoSymbols;
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
   * @param doing The action, as in `Cannot <doing>: ...`.
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

/**
 * Makes a function that lends a table: it opens the library for the first borrower and closes it after the last.
 *
 * @param table The functions; {@linkcode FILES} and more.
 * @param errnoSymbolsOf Returns the functions for {@linkcode Libc.errno} of the open library, which the compiler does not
 * find through `S`.
 */
export function lender<S extends Deno.ForeignLibraryInterface>(
  table: S,
  errnoSymbolsOf: (library: Deno.DynamicLibrary<S>) => ErrnoSymbols,
): () => Libc<S> {
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
    return new Libc(library, errnoSymbolsOf(library), giveBack);
  };
}
