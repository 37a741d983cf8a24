/**
 * Sources of the operating system: its signals, and descriptors.
 *
 * @module
 */
import { InvalidStateError } from "../errors.ts";
import { DescriptorReader } from "../host/descriptor.ts";
import { onSignal } from "../host/signals.ts";
import { checkInteger, checkOptions, inspect } from "../loop/checks.ts";
import { core } from "../loop/core.ts";
import { type Descriptor, numberOf } from "../loop/descriptors.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Handle } from "../loop/handle.ts";
import { Source } from "./source.ts";
import type { SourceOptions } from "./source_options.ts";

class Signals extends Source<Deno.Signal> {
  readonly #remove: () => void;

  constructor(signal: Deno.Signal, options: SourceOptions) {
    super(options, {
      what: "listen for a signal",
      name: `fromSignal(${inspect(signal)})`,
      cannotBlock: "signals cannot be made to wait",
      outside: "always",
      buffer: 1,
      overflow: "drop-newest",
    });
    this.#remove = onSignal(
      signal,
      () => this.deliver(signal),
      (error) => this.fail(error),
    );
    this.begin(options.signal);
  }

  protected release(): void {
    this.#remove();
  }
}

/**
 * Listens for a signal of the operating system, and returns its arrivals as a source.
 *
 * The default action is off when the call returns, and on again when the source is left.
 * Arrivals are merged: one that comes while another one waits for the consumer counts in
 * `dropped`, so a consumer that reloads a file on SIGHUP reloads it once more after any
 * number of them, and not for each. With a larger `buffer` they come one by one, as far as
 * the operating system does not merge them itself. Handlers of the loop
 * ({@linkcode EventLoop.addSignalHandler}) and other sources get the signal as well.
 *
 * From the first wait until the source ends, the process stays alive.
 *
 * @example
 * ```ts
 * import { each, fromSignal, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * let reloads = 0;
 * await run(function* () {
 *   const hangups = fromSignal("SIGHUP");
 *   Deno.kill(Deno.pid, "SIGHUP");
 *   yield* each(hangups, (_signal, stop) => {
 *     reloads++;
 *     stop();
 *   });
 * });
 * assertEquals(reloads, 1);
 * ```
 *
 * @param signal Name of the signal, such as `"SIGHUP"`.
 * @param options Size of the buffer, policy, a signal of the other kind.
 * @returns The source, which listens already. Its items are the name.
 * @throws {TypeError} If the signal is unknown or cannot be handled, an option is of the
 * wrong type, or `overflow` is `"block"`.
 * @throws {RangeError} If `buffer` is not an integer >= 1.
 * @throws {MisuseError} If no loop is running.
 */
export function fromSignal(
  signal: Deno.Signal,
  options: SourceOptions = {},
): Source<Deno.Signal> {
  return new Signals(signal, options);
}

/** Options of {@linkcode fromReader}. */
export interface ReaderOptions extends SourceOptions {
  /**
   * Largest chunk, in bytes.
   *
   * @default {65_536}
   */
  readonly chunkBytes?: number | undefined;
}

const READ = "read from a descriptor";

/** Descriptors from which sources of a loop read, also while they wait for room. */
const readers = new WeakMap<EventLoop, Set<number>>();

/** Notes that a source reads from a descriptor. Throws if anything in the loop does so already. */
function reserve(loop: EventLoop, fd: number): Set<number> {
  const taken = readers.get(loop) ?? new Set();
  if (taken.has(fd) || loop[core].descriptors.isWatched(fd, "reader")) {
    throw new InvalidStateError(
      `Cannot ${READ}: the loop has a reader of descriptor ${fd} already`,
    );
  }
  readers.set(loop, taken.add(fd));
  return taken;
}

class Chunks extends Source<Uint8Array<ArrayBuffer>> {
  readonly #fd: number;
  readonly #taken: Set<number>;
  readonly #reader: DescriptorReader;
  readonly #waits: boolean;
  #handle: Handle | null = null;

  constructor(
    fd: number,
    chunkBytes: number,
    options: ReaderOptions,
  ) {
    super(options, {
      what: READ,
      name: "fromReader()",
      cannotBlock: null,
      outside: "always",
    });
    this.#fd = fd;
    this.#waits = (options.overflow ?? "block") === "block";
    this.#taken = reserve(this.loop, fd);
    try {
      // The loop checks the descriptor. Nothing is read before the next turn.
      this.#handle = this.loop.addReader(fd, this.#readable);
      this.#reader = new DescriptorReader(fd, chunkBytes);
    } catch (error) {
      this.#ignore();
      this.#taken.delete(fd);
      throw error;
    }
    this.begin(options.signal);
  }

  readonly #readable = (): void => {
    if (this.#waits && this.isFull) {
      this.#ignore();
      return;
    }
    let chunk: Uint8Array<ArrayBuffer> | null;
    try {
      chunk = this.#reader.read();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (chunk === null) return;
    if (chunk.byteLength === 0) this.end();
    else this.deliver(chunk);
  };

  /** Watches the descriptor no longer, which would be reported as readable in every turn. */
  #ignore(): void {
    this.#handle?.cancel();
    this.#handle = null;
  }

  protected override taken(): void {
    if (this.#handle !== null || this.closed) return;
    try {
      if (this.loop[core].descriptors.isWatched(this.#fd, "reader")) {
        throw new InvalidStateError(
          `Cannot ${READ}: the loop has another reader of descriptor ${this.#fd}`,
        );
      }
      this.#handle = this.loop.addReader(this.#fd, this.#readable);
    } catch (error) {
      this.fail(error); // the descriptor was closed
    }
  }

  protected release(): void {
    this.#ignore();
    this.#taken.delete(this.#fd);
    this.#reader.release();
  }
}

/**
 * Reads from a descriptor, and returns the chunks as a source, which ends at the end of the
 * input.
 *
 * The descriptor is watched when the call returns, and read in turns of the loop in which it
 * is readable: no thread waits. Each chunk is what one read of the system returns. When the
 * buffer is full, nothing more is read until there is room, so the writer has to wait; other
 * policies read on. The descriptor remains the caller's: close it after the source. No other
 * code may read from it meanwhile. The loop has one reader for each descriptor: a second
 * source is refused, but a later call of {@linkcode EventLoop.addReader} takes the descriptor
 * away from the source, which then waits for ever.
 *
 * Works for pipes, sockets and terminals, not for regular files. Needs a loop with
 * descriptors: `--allow-ffi`, not on Windows, and not on virtual time.
 *
 * @example
 * ```ts
 * import { each, fromReader, Pipe, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * using pipe = Pipe.open();
 * let text = "";
 * await run(function* () {
 *   const chunks = fromReader(pipe.readFd);
 *   pipe.write(new TextEncoder().encode("hello"));
 *   pipe.closeWrite();
 *   yield* each(chunks, (chunk) => {
 *     text += new TextDecoder().decode(chunk);
 *   });
 * });
 * assertEquals(text, "hello");
 * ```
 *
 * @param descriptor A descriptor number, or an object with one as `fd`.
 * @param options Size of the chunks, of the buffer, policy, a signal.
 * @returns The source, which watches the descriptor already.
 * @throws {TypeError} If an argument is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {DescriptorsUnsupportedError} If the loop watches no descriptors; the message says
 * what to grant.
 * @throws {OsError} If the system refuses, as for a closed descriptor or a regular file.
 * @throws {InvalidStateError} If the loop has a reader of the descriptor.
 * @throws {MisuseError} If no loop is running.
 */
export function fromReader(
  descriptor: Descriptor,
  options: ReaderOptions = {},
): Source<Uint8Array<ArrayBuffer>> {
  checkOptions(options, READ);
  const { chunkBytes = 65_536 } = options;
  checkInteger(chunkBytes, 1, READ, "chunkBytes");
  return new Chunks(numberOf(descriptor, READ), chunkBytes, options);
}
