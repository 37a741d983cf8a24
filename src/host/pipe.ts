/**
 * Pipes of the operating system, by the C library.
 *
 * @module
 */
import { OsError } from "../errors.ts";
import { EBADF, errnoCode, osError } from "./errno.ts";
import {
  borrowPipeLibc,
  openPipe,
  type PipeEnds,
  type PipeLibc,
} from "./libc_pipe.ts";

const CLOSED = -1;

function checkBytes(value: unknown, doing: string, name: string): void {
  if (value instanceof Uint8Array) return;
  const received = value === null ? "null" : typeof value;
  throw new TypeError(
    `Cannot ${doing} as ${name} must be a Uint8Array: received ${received}`,
  );
}

/**
 * A pipe of the operating system: bytes written to one end come out of the
 * other, in order.
 *
 * The two ends are plain descriptors, to be watched by an event loop or given to
 * native code. Neither blocks, and child processes do not inherit them. Needs
 * `--allow-ffi`; not on Windows.
 *
 * Closing a descriptor while a loop watches it is a mistake: stop watching
 * first. A pipe that is never closed keeps its descriptors until the process
 * ends.
 *
 * @example Sending some bytes to oneself
 * ```ts
 * import { Pipe } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * using pipe = Pipe.open();
 * const buffer = new Uint8Array(16);
 * assertEquals(pipe.read(buffer), null); // nothing there yet
 *
 * assertEquals(pipe.write(new TextEncoder().encode("hello")), 5);
 * assertEquals(pipe.read(buffer), 5);
 * assertEquals(new TextDecoder().decode(buffer.subarray(0, 5)), "hello");
 *
 * pipe.closeWrite();
 * assertEquals(pipe.read(buffer), 0); // the end
 * ```
 */
export class Pipe implements Disposable {
  readonly #libc: PipeLibc;
  #readFd: number;
  #writeFd: number;

  private constructor(libc: PipeLibc, ends: PipeEnds) {
    this.#libc = libc;
    [this.#readFd, this.#writeFd] = ends;
  }

  /**
   * Opens a pipe.
   *
   * @returns The pipe, both ends open.
   * @throws {DescriptorsUnsupportedError} Without `--allow-ffi`, or on a system
   * that has no such pipes.
   * @throws {OsError} If the operating system refuses, such as with `"EMFILE"`
   * when too many files are open.
   */
  static open(): Pipe {
    const libc = borrowPipeLibc();
    try {
      return new Pipe(libc, openPipe(libc));
    } catch (failure) {
      libc.release();
      throw failure;
    }
  }

  /**
   * The descriptor of the end to read from.
   *
   * @throws {OsError} With `"EBADF"` if that end is closed.
   */
  get readFd(): number {
    return this.#openReadFd("get the descriptor to read from a pipe");
  }

  /**
   * The descriptor of the end to write to.
   *
   * @throws {OsError} With `"EBADF"` if that end is closed.
   */
  get writeFd(): number {
    return this.#openWriteFd("get the descriptor to write to a pipe");
  }

  /**
   * Takes bytes out of the pipe, as many as there are and fit. Never waits.
   *
   * @param buffer Where to put them. It must have room for at least one, since
   * 0 would look like the end.
   * @returns How many bytes were read; 0 if no more will come, because the
   * writing end is closed; `null` if there are none at the moment.
   * @throws {TypeError} If `buffer` is no `Uint8Array`.
   * @throws {RangeError} If `buffer` is empty.
   * @throws {OsError} With `"EBADF"` if the reading end is closed.
   */
  read(buffer: Uint8Array<ArrayBuffer>): number | null {
    const doing = "read from a pipe";
    checkBytes(buffer, doing, "buffer");
    if (buffer.byteLength === 0) {
      throw new RangeError(
        "Cannot read from a pipe as buffer must not be empty: received 0 bytes",
      );
    }
    const { read } = this.#libc.symbols;
    const size = BigInt(buffer.byteLength);
    return this.#transferred(
      read(this.#openReadFd(doing), buffer, size),
      doing,
    );
  }

  /**
   * Puts bytes into the pipe, as many as it has room for. Never waits.
   *
   * Up to 512 bytes (4,096 on Linux) go in together or not at all; of more, the
   * first part may be taken.
   *
   * @param bytes The bytes to write.
   * @returns How many bytes were taken; `null` if the pipe is full.
   * @throws {TypeError} If `bytes` is no `Uint8Array`.
   * @throws {OsError} With `"EPIPE"` if the reading end is closed, with
   * `"EBADF"` if the writing end is. (`"EPIPE"` comes with the signal SIGPIPE,
   * which is ignored, except in a program that listened to it and stopped
   * listening: there it ends the process.)
   */
  write(bytes: Uint8Array<ArrayBuffer>): number | null {
    const doing = "write to a pipe";
    checkBytes(bytes, doing, "bytes");
    const { write } = this.#libc.symbols;
    const size = BigInt(bytes.byteLength);
    return this.#transferred(
      write(this.#openWriteFd(doing), bytes, size),
      doing,
    );
  }

  /**
   * Closes the reading end: writing fails from now on. Does nothing the second
   * time.
   */
  closeRead(): void {
    const fd = this.#readFd;
    if (fd === CLOSED) return;
    this.#readFd = CLOSED;
    this.#closeEnd(fd);
  }

  /**
   * Closes the writing end: who reads gets what is left, then the end. Does
   * nothing the second time.
   */
  closeWrite(): void {
    const fd = this.#writeFd;
    if (fd === CLOSED) return;
    this.#writeFd = CLOSED;
    this.#closeEnd(fd);
  }

  /** Closes both ends. Does nothing the second time. */
  close(): void {
    this.closeWrite();
    this.closeRead();
  }

  /** Closes both ends, like {@linkcode Pipe.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #closeEnd(fd: number): void {
    // The descriptor is gone, whatever the call returns.
    this.#libc.symbols.close(fd);
    if (this.#readFd === CLOSED && this.#writeFd === CLOSED) {
      this.#libc.release();
    }
  }

  #openReadFd(doing: string): number {
    if (this.#readFd !== CLOSED) return this.#readFd;
    throw new OsError(
      `Cannot ${doing}: its reading end is closed`,
      "EBADF",
      EBADF,
    );
  }

  #openWriteFd(doing: string): number {
    if (this.#writeFd !== CLOSED) return this.#writeFd;
    throw new OsError(
      `Cannot ${doing}: its writing end is closed`,
      "EBADF",
      EBADF,
    );
  }

  /** A call that never blocks is not interrupted either: no EINTR. */
  #transferred(result: number, doing: string): number | null {
    if (result >= 0) return result;
    const errno = this.#libc.errno();
    if (errnoCode(errno) === "EAGAIN") return null;
    throw osError(doing, errno);
  }
}
