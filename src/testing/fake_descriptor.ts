/**
 * Descriptors that exist only in a test: a virtual loop watches them as a real one
 * watches sockets and pipes.
 *
 * @module
 */
import { DescriptorsUnsupportedError, OsError } from "../errors.ts";
import { READABLE, type ReadyListener, WRITABLE } from "../host/host.ts";
import { checkInteger, checkOptions, inspect } from "../loop/checks.ts";

/** Options of a {@linkcode FakeDescriptor}. */
export interface FakeDescriptorOptions {
  /**
   * How many bytes that were written it holds until the test takes them. The
   * descriptor is writable while there is room.
   *
   * @default {65_536}
   */
  readonly capacity?: number | undefined;
}

/** Far above any number that the system gives out, so that neither is taken for the other. */
const FIRST_FD = 1_000_000_000;
/** Number of `EBADF` on Linux, as the host of a virtual clock has no platform. */
const EBADF = 9;

/**
 * A descriptor whose data a test makes up: both ends of a socket in one object.
 *
 * {@linkcode VirtualClock.openDescriptor} makes one. `loop.addReader` and
 * `addWriter` take it, on the loop of that clock. Readiness is level-triggered as
 * with real descriptors: a callback runs in each turn in which there is something
 * to read, or room to write.
 *
 * The program under test calls `readSync`, `writeSync` and `close`, like those of
 * `Deno.FsFile`; the test calls `feed`, `end` and `takeWritten`.
 *
 * @example A reader that collects what arrives
 * ```ts
 * import { getRunningLoop, sleep } from "@rota/rota";
 * import { runVirtual } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const received: string[] = [];
 * await runVirtual(async (clock) => {
 *   const loop = getRunningLoop();
 *   using socket = clock.openDescriptor();
 *   loop.addReader(socket, () => {
 *     const buffer = new Uint8Array(16);
 *     const length = socket.readSync(buffer);
 *     if (length === null) loop.removeReader(socket);
 *     else received.push(new TextDecoder().decode(buffer.subarray(0, length)));
 *   });
 *   socket.feed("hello");
 *   await sleep(10);
 *   socket.end();
 *   await sleep(10);
 * });
 * assertEquals(received, ["hello"]);
 * ```
 */
export class FakeDescriptor implements Disposable {
  /** The number, which no real descriptor has. */
  readonly fd: number;
  readonly #owner: FakeDescriptors;
  readonly #capacity: number;
  #incoming: Uint8Array[] = [];
  #ended = false;
  #written: Uint8Array[] = [];
  #writtenBytes = 0;
  #closed = false;

  /** @ignore */
  constructor(owner: FakeDescriptors, fd: number, capacity: number) {
    this.#owner = owner;
    this.fd = fd;
    this.#capacity = capacity;
  }

  /** Whether {@linkcode close} was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Has data arrive. Readers are told in the next turn, a loop that waits is woken.
   *
   * @param data Bytes, or a string that is encoded as UTF-8.
   * @throws {TypeError} If `data` is neither.
   * @throws {OsError} If the descriptor is closed, or its input has ended.
   */
  feed(data: Uint8Array | string): void {
    const bytes = bytesOf(data, "feed a descriptor");
    this.#checkOpen("feed");
    if (this.#ended) {
      throw new OsError(
        `Cannot feed descriptor ${this.fd}: its input has ended`,
        "EPIPE",
        32,
      );
    }
    if (bytes.length === 0) return;
    this.#incoming.push(bytes);
    this.#owner.changed();
  }

  /** Ends the input: `readSync` returns `null` once all data is read. Calling it again does nothing. */
  end(): void {
    this.#ended = true;
    this.#owner.changed();
  }

  /**
   * Takes what the program has written, which makes room for more.
   *
   * @returns The bytes since the last call.
   */
  takeWritten(): Uint8Array {
    const all = new Uint8Array(this.#writtenBytes);
    let at = 0;
    for (const chunk of this.#written) {
      all.set(chunk, at);
      at += chunk.length;
    }
    this.#written = [];
    this.#writtenBytes = 0;
    this.#owner.changed();
    return all;
  }

  /**
   * Reads what has arrived, without blocking.
   *
   * @param buffer Where the bytes go.
   * @returns How many were read; `null` at the end of the input.
   * @throws {Deno.errors.WouldBlock} If there is nothing to read yet.
   * @throws {OsError} If the descriptor is closed.
   */
  readSync(buffer: Uint8Array): number | null {
    this.#checkOpen("read from");
    const chunk = this.#incoming[0];
    if (chunk === undefined) {
      if (this.#ended) return null;
      throw new Deno.errors.WouldBlock(
        `Cannot read from descriptor ${this.fd}: nothing has arrived`,
      );
    }
    const length = Math.min(buffer.length, chunk.length);
    buffer.set(chunk.subarray(0, length));
    if (length === chunk.length) this.#incoming.shift();
    else this.#incoming[0] = chunk.subarray(length);
    return length;
  }

  /**
   * Writes as much as there is room for, without blocking.
   *
   * @param data The bytes.
   * @returns How many were written.
   * @throws {Deno.errors.WouldBlock} If there is no room.
   * @throws {OsError} If the descriptor is closed.
   */
  writeSync(data: Uint8Array): number {
    this.#checkOpen("write to");
    const length = Math.min(data.length, this.#capacity - this.#writtenBytes);
    if (length === 0 && data.length > 0) {
      throw new Deno.errors.WouldBlock(
        `Cannot write to descriptor ${this.fd}: there is no room`,
      );
    }
    this.#written.push(data.slice(0, length));
    this.#writtenBytes += length;
    return length;
  }

  /** Closes it: callbacks for it run no more. Calling it again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#owner.forget(this.fd);
  }

  /** The same as {@linkcode close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * The directions in which it is ready.
   *
   * @ignore
   */
  readyEvents(): number {
    const readable = this.#incoming.length > 0 || this.#ended;
    const writable = this.#writtenBytes < this.#capacity;
    return (readable ? READABLE : 0) | (writable ? WRITABLE : 0);
  }

  #checkOpen(what: string): void {
    if (!this.#closed) return;
    throw new OsError(
      `Cannot ${what} descriptor ${this.fd}: it is closed`,
      "EBADF",
      EBADF,
    );
  }
}

function bytesOf(data: unknown, what: string): Uint8Array {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof Uint8Array) return data.slice();
  throw new TypeError(
    `Cannot ${what} as data must be a Uint8Array or a string: received ${
      inspect(data)
    }`,
  );
}

/** Descriptors of one virtual clock, as its host sees them. */
export class FakeDescriptors {
  readonly #open = new Map<number, FakeDescriptor>();
  readonly #interests = new Map<number, number>();
  readonly #wake: () => void;
  #nextFd = FIRST_FD;

  /** `wake` ends the wait of the host. */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  /** Makes a descriptor. */
  make(options: FakeDescriptorOptions): FakeDescriptor {
    const what = "open a fake descriptor";
    checkOptions(options, what);
    const { capacity = 65_536 } = options;
    checkInteger(capacity, 0, what, "capacity");
    const descriptor = new FakeDescriptor(this, this.#nextFd++, capacity);
    this.#open.set(descriptor.fd, descriptor);
    return descriptor;
  }

  /** Readiness may have changed: a loop that waits looks. */
  changed(): void {
    for (const [fd, events] of this.#interests) {
      if ((this.#open.get(fd)!.readyEvents() & events) !== 0) {
        this.#wake();
        return;
      }
    }
  }

  /** Drops a descriptor that is closed. */
  forget(fd: number): void {
    this.#open.delete(fd);
    this.#interests.delete(fd);
  }

  /** Sets the interest in a descriptor, as `Host.watch` does. */
  watch(fd: number, events: number): boolean {
    if (events === 0) {
      this.#interests.delete(fd);
      return true;
    }
    if (this.#open.has(fd)) {
      this.#interests.set(fd, events);
      this.changed();
      return true;
    }
    if (fd >= FIRST_FD && fd < this.#nextFd) {
      throw new OsError(
        `Cannot watch descriptor ${fd}: it is closed`,
        "EBADF",
        EBADF,
      );
    }
    throw new DescriptorsUnsupportedError(
      `Cannot watch descriptor ${fd}: a virtual clock has only descriptors of its openDescriptor()`,
    );
  }

  /** Calls `ready` with each watched descriptor that is ready, as `Host.poll` does. */
  poll(ready: ReadyListener): void {
    for (const [fd, interest] of this.#interests) {
      const events = this.#open.get(fd)!.readyEvents() & interest;
      if (events !== 0) ready(fd, events);
    }
  }
}
