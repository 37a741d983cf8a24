/**
 * Rings in shared memory: bytes from one thread to one other, frame by frame, without a system call as long as the other
 * thread is awake.
 *
 *      0                  head                tail                  capacity
 *      +------------------+-------------------+---------------------+
 *      |       free       | frame | frame |   |        free         |
 *      +------------------+-------------------+---------------------+
 *                         ^ reader            ^ writer
 *
 * A frame is its length in bytes, in a word of 32 bits, and the bytes, filled up to whole words. It lies in one piece: a
 * frame that is too long for the rest of the ring begins at its start, and a word of `SKIP` says so. Head and tail count
 * words since the beginning, so that a full ring differs from an empty one; their remainders are the places.
 *
 * A writer opens a frame, writes the bytes where they stay, and commits. Its user may run code of others in between, and
 * has to see to it that this opens no second frame: that would lie at the same place. An open frame ends at `limit`; if it
 * was too short behind the last one, `reopen()` looks at the start of the ring, once. The reader's `#next` is behind the
 * frame that it reads, and `#head` in front of it until `release()` tells the writer that the room is free again: a
 * reader that dies over a frame leaves it in the ring, unless it has released it before.
 *
 * A reader that has read everything may say in the word ASLEEP that it goes to sleep, looks once more, and waits for that word to
 * change. The writer clears the word when it has written, and wakes the reader if it was set. So the reader is woken once
 * for a burst of frames, and no frame is overlooked.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";

// Places of the words in front of the bytes: each in a cache line of its own, as two threads write them.
const HEAD = 0;
const TAIL = 16;
const ASLEEP = 32;
const CROWDED = 48;
const WORDS_IN_FRONT = 64;

/** Stands for the length of a frame where the next one begins at the start of the ring. */
const SKIP = -1;

/** How long a reader looks for a frame before it blocks. The writer of a round trip takes some 10 us for the next one. */
const SPIN_MS = 0.05;
/** How often that is left out at most, before it is tried again. */
const SKIPS_MAX = 1_023;

/** Returns the size of a buffer for a ring of `capacityWords`, a power of two. */
export function ringBytes(capacityWords: number): number {
  return (WORDS_IN_FRONT + capacityWords) * 4;
}

/** The memory of a ring, as both its ends see it. */
class RingMemory {
  readonly words: Int32Array;
  /** Where the frames lie: an index of a byte is four times that of its word. */
  readonly bytes: Uint8Array;
  readonly capacity: number;
  readonly mask: number;

  constructor(buffer: SharedArrayBuffer, offsetBytes: number, words: number) {
    this.words = new Int32Array(buffer, offsetBytes, WORDS_IN_FRONT + words);
    this.bytes = new Uint8Array(
      buffer,
      offsetBytes + WORDS_IN_FRONT * 4,
      words * 4,
    );
    this.capacity = words;
    this.mask = words - 1;
  }
}

/** How many words hold no frame. */
function freeWords({ words, capacity }: RingMemory, tail: number): number {
  return capacity - ((tail - Atomics.load(words, HEAD)) | 0);
}

/** The end of a ring that writes. */
export class RingWriter {
  /** Bytes in which a frame is written, between `open()` or `reopen()` and {@linkcode RingWriter.limit}. */
  readonly bytes: Uint8Array;
  /** Index of the first byte that the frame must leave alone. */
  limit = 0;
  readonly #ring: RingMemory;
  /** Copy of the shared word, which nobody else changes. */
  #tail: number;
  /** Place of the length of the open frame. */
  #at = 0;
  /** Words to be skipped before the open frame. */
  #skipped = 0;

  /**
   * Makes the end.
   *
   * @param buffer Shared memory of {@linkcode ringBytes} bytes, all zero at first.
   * @param offsetBytes Where it begins there.
   * @param capacityWords Its capacity, a power of two.
   */
  constructor(
    buffer: SharedArrayBuffer,
    offsetBytes: number,
    capacityWords: number,
  ) {
    this.#ring = new RingMemory(buffer, offsetBytes, capacityWords);
    this.bytes = this.#ring.bytes;
    this.#tail = Atomics.load(this.#ring.words, TAIL);
  }

  /**
   * Opens a frame behind the last one. Nothing is visible to the reader before {@linkcode RingWriter.commit}; a frame
   * that is never committed did not happen.
   *
   * @returns Index of its first byte; -1 if the ring is full.
   */
  open(): number {
    const { mask } = this.#ring;
    const place = this.#tail & mask;
    const rest = mask + 1 - place;
    this.#skipped = 0;
    return this.openAt(
      place,
      Math.min(freeWords(this.#ring, this.#tail), rest),
    );
  }

  /**
   * Opens the frame at the start of the ring instead, for a frame that was too long for the rest.
   *
   * @returns Index of its first byte; -1 if there is no more room than behind the last frame.
   */
  reopen(): number {
    const { mask } = this.#ring;
    const rest = mask + 1 - (this.#tail & mask);
    const room = freeWords(this.#ring, this.#tail) - rest;
    if (this.#skipped > 0 || room <= rest) return -1;
    this.#skipped = rest;
    return this.openAt(0, room);
  }

  /** Closes the open frame, which ends before byte `end`, and wakes a sleeping reader. */
  commit(end: number): void {
    const { words, mask } = this.#ring;
    const length = end - (this.#at + 1) * 4;
    if (this.#skipped > 0) words[WORDS_IN_FRONT + (this.#tail & mask)] = SKIP;
    words[WORDS_IN_FRONT + this.#at] = length;
    this.#tail = (this.#tail + this.#skipped + 1 + (length + 3 >>> 2)) | 0;
    Atomics.store(words, TAIL, this.#tail);
    this.ring();
  }

  /** Wakes a sleeping reader, frame or not. */
  ring(): void {
    const { words } = this.#ring;
    if (Atomics.load(words, ASLEEP) === 0) return;
    if (Atomics.exchange(words, ASLEEP, 0) === 1) Atomics.notify(words, ASLEEP);
  }

  /** Asks the reader to say when there is room again; see {@linkcode RingReader.roomWanted}. */
  wantRoom(): void {
    Atomics.store(this.#ring.words, CROWDED, 1);
  }

  /** Opens a frame with a word for its length, if it can have a word of its own. */
  openAt(place: number, room: number): number {
    if (room < 2) return -1;
    this.#at = place;
    this.limit = (place + room) * 4;
    return (place + 1) * 4;
  }
}

/** The end of a ring that reads. */
export class RingReader {
  /** Bytes in which the frame lies. */
  readonly bytes: Uint8Array;
  /** Index of the first byte of the frame. */
  start = 0;
  /** Index behind its last byte. */
  end = 0;
  readonly #ring: RingMemory;
  /** Copy of the shared word, which nobody else changes. */
  #head: number;
  /** Head behind the frame that is being read. */
  #next: number;
  /** Whether this end has taken over from another one, and the shared word is a seal. */
  #tookOver = false;
  /** How often not to look for a frame before blocking, after the last time in vain, and from now on. */
  #failures = 0;
  #skips = 0;

  /**
   * Makes the end.
   *
   * @param buffer Shared memory of {@linkcode ringBytes} bytes, all zero at first.
   * @param offsetBytes Where it begins there.
   * @param capacityWords Its capacity, a power of two.
   */
  constructor(
    buffer: SharedArrayBuffer,
    offsetBytes: number,
    capacityWords: number,
  ) {
    this.#ring = new RingMemory(buffer, offsetBytes, capacityWords);
    this.bytes = this.#ring.bytes;
    this.#head = this.#next = Atomics.load(this.#ring.words, HEAD);
  }

  /** Count of all words that were ever written: frames before it can be read now. */
  get written(): number {
    return Atomics.load(this.#ring.words, TAIL);
  }

  /** Whether there is no frame. */
  get isEmpty(): boolean {
    return this.#next === this.written;
  }

  /**
   * Goes to the next frame and gives the room of the last one back.
   *
   * @param until Reads no frame behind this point, which {@linkcode RingReader.written} told.
   * @returns Whether there is one: it lies between `start` and `end` until {@linkcode RingReader.release}.
   * @throws {RangeError} If the bytes there are no frame.
   */
  next(until: number = this.written): boolean {
    const { words, mask, capacity } = this.#ring;
    this.release();
    if (this.#head === until) return false;
    let place = this.#head & mask;
    let taken = 0;
    if (words[WORDS_IN_FRONT + place] === SKIP) {
      taken = capacity - place;
      place = 0;
    }
    const length = words[WORDS_IN_FRONT + place]!;
    const inWords = 1 + (length + 3 >>> 2);
    taken += inWords;
    const written = (until - this.#head) | 0;
    if (length < 0 || place + inWords > capacity || taken > written) {
      throw new RangeError(`Cannot read a frame: its length is ${length}`);
    }
    this.start = (place + 1) * 4;
    this.end = this.start + length;
    this.#next = (this.#head + taken) | 0;
    return true;
  }

  /**
   * Frees the room of the frame, which has been read: from now on it counts as taken.
   *
   * @throws {Error} If another end has taken over, to which the frame belongs then.
   */
  release(): void {
    const head = this.#head;
    const next = this.#next;
    if (next === head) return;
    // Compared, not stored: either this end takes the frame or the one that takes over, never both.
    if (
      !this.#tookOver &&
      Atomics.compareExchange(this.#ring.words, HEAD, head, next) !== head
    ) throw new Error("Cannot take a frame: the ring was taken over");
    this.#head = next;
  }

  /**
   * Takes over from the end that has read so far. That can take no frame any more, even if its thread goes on for a while;
   * this end reads all that it has not taken.
   */
  takeOver(): void {
    const { words } = this.#ring;
    let head = Atomics.load(words, HEAD);
    for (;;) {
      const seen = Atomics.compareExchange(words, HEAD, head, ~head);
      if (seen === head) break;
      head = seen;
    }
    this.#head = this.#next = head;
    this.#tookOver = true;
  }

  /** Whether the writer had no room and there is some again. Forgets it. */
  roomWanted(): boolean {
    const { words } = this.#ring;
    return Atomics.load(words, CROWDED) !== 0 &&
      Atomics.exchange(words, CROWDED, 0) === 1;
  }

  /**
   * Blocks the thread until there is a frame, or somebody rings, or the time is over.
   *
   * Waking a thread takes as long as the rest of a round trip, so the thread first looks for a frame by itself. That
   * pays while the writer has a processor of its own; each time that it did not, it is left out more often.
   */
  block(timeoutMs: number): void {
    if (this.#skips > 0) this.#skips--;
    else if (this.spin()) return;
    if (!this.fallAsleep()) return;
    const { words } = this.#ring;
    Atomics.wait(words, ASLEEP, 1, timeoutMs);
    Atomics.store(words, ASLEEP, 0);
  }

  /**
   * Waits until there is a frame, or somebody rings. Does not keep the process alive.
   *
   * @returns A promise; null if there is a frame by now.
   */
  sleep(): Promise<unknown> | null {
    if (!this.fallAsleep()) return null;
    const { async, value } = Atomics.waitAsync(this.#ring.words, ASLEEP, 1);
    return async ? value : null;
  }

  /** Ends a sleep of this end. */
  wakeUp(): void {
    const { words } = this.#ring;
    Atomics.store(words, ASLEEP, 0);
    Atomics.notify(words, ASLEEP);
  }

  /** Looks for a frame for a moment. Returns whether there is one. */
  spin(): boolean {
    const untilMs = monotonicMs() + SPIN_MS;
    while (this.isEmpty) {
      if (monotonicMs() < untilMs) continue;
      this.#failures = Math.min(2 * this.#failures + 1, SKIPS_MAX);
      this.#skips = this.#failures;
      return false;
    }
    this.#failures = 0;
    return true;
  }

  /** Says that this end is asleep, unless there is a frame. */
  fallAsleep(): boolean {
    const { words } = this.#ring;
    Atomics.store(words, ASLEEP, 1);
    if (this.isEmpty) return true;
    Atomics.store(words, ASLEEP, 0);
    return false;
  }
}
