/**
 * Descriptors that a loop watches: the callbacks that run when one is readable
 * or writable.
 *
 * @module
 */
import { OsError } from "../errors.ts";
import { type Host, READABLE, WRITABLE } from "../host/host.ts";
import { inspect } from "./checks.ts";
import { Handle } from "./handle.ts";
import type { Runnable } from "./runnable.ts";

/** A descriptor number, or an object that has one as `fd`. */
export type Descriptor = number | { readonly fd: number };

interface Watched {
  reader: Handle | null;
  writer: Handle | null;
}

/** The number of a descriptor; throws if `descriptor` is none. */
export function numberOf(descriptor: Descriptor, what: string): number {
  const fd: unknown = typeof descriptor === "object" && descriptor !== null
    ? descriptor.fd
    : descriptor;
  if (typeof fd !== "number") {
    throw new TypeError(
      `Cannot ${what} as the descriptor must be a number or an object with a number as fd: received ${
        inspect(descriptor)
      }`,
    );
  }
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fff_ffff) {
    throw new RangeError(
      `Cannot ${what} as the descriptor must be an integer >= 0: received ${fd}`,
    );
  }
  return fd;
}

/** A callback for a descriptor: withdrawing it ends the watching too. */
export class DescriptorHandle extends Handle {
  readonly #remove: (handle: Handle) => void;

  /** `remove` ends the watching, if it is still for this handle. */
  constructor(
    callback: (...args: never[]) => unknown,
    args: readonly unknown[],
    remove: (handle: Handle) => void,
  ) {
    super(callback, args);
    this.#remove = remove;
  }

  override cancel(): void {
    if (this.cancelled()) return;
    super.cancel();
    this.#remove(this);
  }
}

/** Which callbacks a loop runs for which descriptors. */
export class Descriptors {
  readonly #host: Host;
  readonly #watched = new Map<number, Watched>();
  readonly #queue: (runnable: Runnable) => void;

  /** Ready callbacks go to `queue`. */
  constructor(host: Host, queue: (runnable: Runnable) => void) {
    this.#host = host;
    this.#queue = queue;
  }

  /** How many descriptors are watched. */
  get size(): number {
    return this.#watched.size;
  }

  /** Lists the callbacks, with what they are for in words. */
  list(): [name: string, handle: Handle][] {
    return [...this.#watched].flatMap(([fd, { reader, writer }]) => [
      ...reader === null
        ? []
        : [[`reader of ${fd}`, reader] as [string, Handle]],
      ...writer === null
        ? []
        : [[`writer of ${fd}`, writer] as [string, Handle]],
    ]);
  }

  /** Sets the callback of one direction of a descriptor, in place of the previous one. */
  add(
    descriptor: Descriptor,
    direction: "reader" | "writer",
    handle: Handle,
  ): void {
    const fd = numberOf(descriptor, `add a ${direction}`);
    const watched = this.#watched.get(fd) ?? { reader: null, writer: null };
    const other = direction === "reader" ? watched.writer : watched.reader;
    const event = direction === "reader" ? READABLE : WRITABLE;
    const otherEvent = direction === "reader" ? WRITABLE : READABLE;
    const before = watched[direction];
    if (!this.#host.watch(fd, other === null ? event : event | otherEvent)) {
      // The number belongs to another file now: the old callbacks would never
      // run.
      if (other !== null) {
        watched[direction === "reader" ? "writer" : "reader"] = null;
        other.cancel();
        this.#host.watch(fd, event);
      }
    }
    watched[direction] = handle;
    this.#watched.set(fd, watched);
    before?.cancel();
  }

  /** Whether anything runs for one direction of a descriptor. */
  isWatched(fd: number, direction: "reader" | "writer"): boolean {
    return (this.#watched.get(fd)?.[direction] ?? null) !== null;
  }

  /** Whether `handle` is what runs for one direction of a descriptor. */
  has(
    descriptor: Descriptor,
    direction: "reader" | "writer",
    handle: Handle,
  ): boolean {
    const fd = numberOf(descriptor, `remove a ${direction}`);
    return this.#watched.get(fd)?.[direction] === handle;
  }

  /** Removes the callback of one direction; false if there was none. */
  remove(descriptor: Descriptor, direction: "reader" | "writer"): boolean {
    const fd = numberOf(descriptor, `remove a ${direction}`);
    const watched = this.#watched.get(fd);
    const handle = watched?.[direction];
    if (watched === undefined || handle === null || handle === undefined) {
      return false;
    }
    watched[direction] = null;
    handle.cancel();
    const remaining = (watched.reader === null ? 0 : READABLE) |
      (watched.writer === null ? 0 : WRITABLE);
    if (remaining === 0) this.#watched.delete(fd);
    try {
      this.#host.watch(fd, remaining);
    } catch (error) {
      // The descriptor was closed first. Nothing is watched under its number now.
      if (!(error instanceof OsError)) throw error;
      this.#watched.delete(fd);
      watched.reader?.cancel();
      watched.writer?.cancel();
    }
    return true;
  }

  /** Queues the callbacks of the descriptors that are ready now. */
  poll(): void {
    this.#host.poll(this.#ready);
  }

  readonly #ready = (fd: number, events: number): void => {
    const watched = this.#watched.get(fd);
    if (watched === undefined) return;
    if ((events & READABLE) !== 0 && watched.reader !== null) {
      this.#queue(watched.reader);
    }
    if ((events & WRITABLE) !== 0 && watched.writer !== null) {
      this.#queue(watched.writer);
    }
  };

  /** Forgets everything. */
  clear(): void {
    const all = [...this.#watched];
    this.#watched.clear();
    for (const [fd, watched] of all) {
      watched.reader?.cancel();
      watched.writer?.cancel();
      this.#host.watch(fd, 0);
    }
  }
}
