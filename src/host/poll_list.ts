/**
 * Descriptors as the array of structs that poll(2) takes.
 *
 * @module
 */
import { READABLE, WRITABLE } from "./host.ts";
import { POLLFD, POLLIN, POLLOUT } from "./libc_poll.ts";

/** An array of `struct pollfd` that grows: the descriptors in the form for poll(2). */
export class PollList {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #ints: Int32Array = new Int32Array(0);
  #shorts: Int16Array = new Int16Array(0);
  #length = 0;

  /** The memory, to lend to the C library. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
  }

  push(fd: number, events: number): void {
    const size = (this.#length + 1) * POLLFD.bytes;
    if (size > this.#bytes.length) this.#grow(2 * size);
    this.#ints[this.#length * 2 + POLLFD.fd] = fd;
    this.#shorts[this.#length * 4 + POLLFD.events] =
      ((events & READABLE) !== 0 ? POLLIN : 0) |
      ((events & WRITABLE) !== 0 ? POLLOUT : 0);
    this.#length++;
  }

  /** The events that the last call found for entry `index`. */
  found(index: number): number {
    return this.#shorts[index * 4 + POLLFD.revents]!;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#ints = new Int32Array(bytes.buffer);
    this.#shorts = new Int16Array(bytes.buffer);
  }
}
