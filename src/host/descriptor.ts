/**
 * Reading from any descriptor, by the C library.
 *
 * @module
 */
import { errnoCode, osError } from "./errno.ts";
import { ERRNO, FILES, lender, type Libc } from "./libc.ts";

/** The functions for reading. */
const READS = {
  ...ERRNO,
  read: FILES.read,
} as const satisfies Deno.ForeignLibraryInterface;

const borrowReads: () => Libc<typeof READS> = lender(
  READS,
  ({ symbols }) => symbols,
);

/** Reads from a descriptor that somebody else has opened and will close. */
export class DescriptorReader {
  readonly #libc: Libc<typeof READS>;
  readonly #fd: number;
  readonly #buffer: Uint8Array<ArrayBuffer>;

  /**
   * Makes a reader.
   *
   * @param chunkBytes The most that a read returns.
   * @throws {RangeError} If there is no room for so many bytes.
   * @throws {DescriptorsUnsupportedError} Without `--allow-ffi`, or without a C library.
   */
  constructor(fd: number, chunkBytes: number) {
    this.#fd = fd;
    // First, as it may throw: a library that was borrowed has to be returned.
    this.#buffer = new Uint8Array(chunkBytes);
    this.#libc = borrowReads();
  }

  /**
   * Takes what is there, as one read of the system does.
   *
   * @returns A copy of the bytes, none at the end; `null` if there is nothing now.
   * @throws {OsError} If the system refuses.
   */
  read(): Uint8Array<ArrayBuffer> | null {
    const { read } = this.#libc.symbols;
    const count = read(
      this.#fd,
      this.#buffer,
      BigInt(this.#buffer.byteLength),
    );
    if (count >= 0) return this.#buffer.slice(0, count);
    const errno = this.#libc.errno();
    const code = errnoCode(errno);
    if (code === "EAGAIN" || code === "EINTR") return null;
    throw osError(`read from descriptor ${this.#fd}`, errno);
  }

  /** Returns the C library. To be called once. */
  release(): void {
    this.#libc.release();
  }
}
