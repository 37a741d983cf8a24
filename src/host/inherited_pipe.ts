/**
 * Pipes that this process was started with, under descriptors above those of standard error.
 *
 * They are opened anew by their paths, `/dev/fd/3` and so on, which takes permission to read or write just these. The new
 * descriptors are not inherited by children; the old ones cannot be closed, and are.
 *
 * @module
 */

/** Path of an inherited descriptor. */
export function inheritedPath(fd: number): string {
  return `/dev/fd/${fd}`;
}

/** End of a pipe to read from. */
export class PipeInput {
  readonly #file: Deno.FsFile;

  /** Opens the pipe under a descriptor. Throws if there is none, or it may not be read. */
  constructor(fd: number) {
    this.#file = Deno.openSync(inheritedPath(fd), { read: true });
  }

  /** Waits for bytes, and blocks the thread meanwhile. Returns how many came; null at the end. */
  readBlocking(buffer: Uint8Array): number | null {
    return this.#file.readSync(buffer);
  }

  /** The same in a thread of the runtime's pool. */
  read(buffer: Uint8Array): Promise<number | null> {
    return this.#file.read(buffer);
  }
}

/** End of a pipe to write to. */
export class PipeOutput {
  readonly #file: Deno.FsFile;

  /** Opens the pipe under a descriptor. Throws if there is none, or it may not be written. */
  constructor(fd: number) {
    this.#file = Deno.openSync(inheritedPath(fd), { write: true });
  }

  /** Writes all bytes, and blocks the thread until the pipe has taken them. Throws if nobody reads them. */
  writeBlocking(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) at += this.#file.writeSync(bytes.subarray(at));
  }
}
