/**
 * Wire between a pool's thread and a worker's: messages in both directions, in order.
 *
 * A message is a kind, a number and a value. It goes by the ring, if the value fits there and reads back as its structured
 * clone; else the value goes by a message port, and the ring has a frame that says so. The port has no listeners: its
 * messages are taken out when the ring announces them. So the rings alone decide order and wake whoever waits, and
 * an idle wire holds neither the process nor a processor.
 *
 * A value is written straight into the ring, between `open()` and `commit()`, so that code of the user's runs in
 * between: getters, and traps of proxies. Messages that such code sends on the same wire go by the port, and are announced
 * once the frame is closed.
 *
 * @module
 */
import type { Mail } from "../host/thread.ts";
import { ringBytes, RingReader, RingWriter } from "./ring.ts";
import { readValue } from "./value_reader.ts";
import { writeValue } from "./value_writer.ts";

/** Capacity of each ring in words: 64 KiB. Guessed: some thousand small messages. */
const CAPACITY_WORDS = 1 << 14;
/** Bytes of a frame at most; longer values are copied faster by the port than byte by byte. */
const FRAME_BYTES_MAX = 1 << 13;
/** Added to the kind of a message whose value is in the port. */
const BY_PORT = 128;
/** Bytes of kind and number in front of the value. */
const HEAD_BYTES = 5;

const RING_BYTES = ringBytes(CAPACITY_WORDS);
const NOTHING: readonly Transferable[] = [];

/** Makes the shared memory of a wire. */
export function wireMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * RING_BYTES);
}

/** Receives messages. An error that it throws ends the drain: the message counts as taken, and the next one comes with the next drain. */
export type Receive = (kind: number, id: number, value: unknown) => void;

/** An end of a wire. */
export class Wire {
  readonly #in: RingReader;
  readonly #out: RingWriter;
  /** Opens the other end of the ring that this end writes. */
  readonly #openOut: () => RingReader;
  readonly #mail: Mail;
  /** Kinds and numbers of messages whose values are in the port, and that had no room in the ring. */
  readonly #crowded: number[] = [];
  /** Whether a frame is open. Code of the user's runs meanwhile, such as a getter, and may send as well. */
  #isWriting = false;

  /**
   * Makes an end.
   *
   * @param memory Memory that {@linkcode wireMemory} returned.
   * @param mail The end's port.
   * @param end Which end: one must be the pool's, the other the worker's.
   */
  constructor(memory: SharedArrayBuffer, mail: Mail, end: "pool" | "worker") {
    const [inAt, outAt] = end === "pool" ? [0, RING_BYTES] : [RING_BYTES, 0];
    this.#in = new RingReader(memory, inAt, CAPACITY_WORDS);
    this.#out = new RingWriter(memory, outAt, CAPACITY_WORDS);
    this.#openOut = () => new RingReader(memory, outAt, CAPACITY_WORDS);
    this.#mail = mail;
  }

  /**
   * Sends a message. Messages that a getter of the value sends meanwhile come after it, if it goes by the ring.
   *
   * @param kind Its kind: 0 to 127.
   * @param id Its number, of 32 bits.
   * @param value Goes along as a structured clone.
   * @param transfer Objects of the value that are moved.
   * @throws {DOMException} If something cannot be cloned or moved; nothing was sent then.
   */
  send(
    kind: number,
    id: number,
    value: unknown,
    transfer: readonly Transferable[] = NOTHING,
  ): void {
    if (transfer.length === 0 && this.#crowded.length === 0) {
      const isWritten = this.write(kind, id, value);
      // A getter has sent, too: whatever becomes of this value, that is announced.
      if (this.#crowded.length > 0) this.flush();
      if (isWritten) return;
    }
    this.#mail.post(value, transfer);
    if (this.#crowded.length === 0 && this.write(kind | BY_PORT, id, null)) {
      return;
    }
    this.#crowded.push(kind | BY_PORT, id);
    this.flush();
  }

  /** Announces messages that had no room, as far as there is some now; asks for more if not all have. */
  flush(): boolean {
    const crowded = this.#crowded;
    if (crowded.length === 0) return true;
    if (this.#isWriting) return false; // whoever writes flushes afterwards
    if (this.announce()) return true;
    this.#out.wantRoom();
    // The reader may have made room before it was asked, and says nothing then.
    return this.announce();
  }

  announce(): boolean {
    const crowded = this.#crowded;
    let n = 0;
    while (
      n < crowded.length && this.write(crowded[n]!, crowded[n + 1]!, null)
    ) n += 2;
    crowded.splice(0, n);
    return crowded.length === 0;
  }

  /** Writes a frame. Returns false if it has no room, or another one is open. */
  write(kind: number, id: number, value: unknown): boolean {
    if (this.#isWriting) return false;
    this.#isWriting = true;
    try {
      const out = this.#out;
      const at = out.open();
      if (at >= 0) {
        if (this.writeAt(at, kind, id, value)) return true;
        // The frame had all the room that one may take: elsewhere it fits no better.
        if (out.limit - at >= FRAME_BYTES_MAX) return false;
      }
      const start = out.reopen();
      return start >= 0 && this.writeAt(start, kind, id, value);
    } finally {
      this.#isWriting = false;
    }
  }

  writeAt(
    at: number,
    kind: number,
    id: number,
    value: unknown,
  ): boolean {
    const out = this.#out;
    const { bytes } = out;
    const limit = Math.min(out.limit, at + FRAME_BYTES_MAX);
    if (at + HEAD_BYTES > limit) return false;
    const end = writeValue(value, bytes, at + HEAD_BYTES, limit);
    if (end < 0) return false;
    bytes[at] = kind;
    bytes[at + 1] = id;
    bytes[at + 2] = id >> 8;
    bytes[at + 3] = id >> 16;
    bytes[at + 4] = id >> 24;
    out.commit(end);
    return true;
  }

  /**
   * Receives the messages that are there by now. Messages that come meanwhile wait for the next call.
   *
   * @param receive Called with each.
   * @returns Whether there were any.
   * @throws {Error} If somebody else has written into the ring or the port.
   */
  drain(receive: Receive): boolean {
    const ring = this.#in;
    const isBusy = !ring.isEmpty;
    const until = ring.written;
    while (ring.next(until)) {
      const kind = kindOf(ring);
      const id = idOf(ring);
      const value = kind < BY_PORT
        ? readValue(ring.bytes, ring.start + HEAD_BYTES, ring.end)
        : this.#mail.take();
      // Before it is acted on: the other end may want to know what was not, if this one dies of it.
      ring.release();
      receive(kind & ~BY_PORT, id, value);
    }
    if (ring.roomWanted()) this.#out.ring();
    this.flush();
    return isBusy;
  }

  /**
   * Returns the numbers of messages of a kind that the other end has not taken, and takes them over: if its thread is not
   * quite gone, it cannot take them any more. Nothing may be sent after that.
   */
  untaken(kind: number): number[] {
    const ids: number[] = [];
    const add = (itsKind: number, id: number) => {
      if ((itsKind & ~BY_PORT) === kind) ids.push(id);
    };
    const ring = this.#openOut();
    ring.takeOver();
    while (ring.next()) add(kindOf(ring), idOf(ring));
    const crowded = this.#crowded;
    for (let n = 0; n < crowded.length; n += 2) {
      add(crowded[n]!, crowded[n + 1]!);
    }
    return ids;
  }

  /** Blocks the thread until there may be a message or the time is over. */
  block(timeoutMs: number): void {
    this.#in.block(timeoutMs);
  }

  /** Waits until there may be a message: null if there is one by now. Does not keep the process alive. */
  sleep(): Promise<unknown> | null {
    return this.#in.sleep();
  }

  /** Whether there is a message. */
  get hasMessages(): boolean {
    return !this.#in.isEmpty;
  }

  /** Ends a sleep of this end. */
  wakeUp(): void {
    this.#in.wakeUp();
  }

  /** Closes the port, and ends a sleep of this end. */
  close(): void {
    this.#mail.close();
    this.wakeUp();
  }
}

function kindOf({ bytes, start, end }: RingReader): number {
  if (end - start >= HEAD_BYTES) return bytes[start]!;
  throw new RangeError(`Cannot read a message: it has ${end - start} bytes`);
}

function idOf({ bytes, start }: RingReader): number {
  const id = bytes[start + 1]! | bytes[start + 2]! << 8 |
    bytes[start + 3]! << 16 | bytes[start + 4]! << 24;
  return id >>> 0;
}
