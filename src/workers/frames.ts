/**
 * Frames on a stream of bytes: each has a header that says what it is and how long, and a body.
 *
 * A header is 16 bytes, numbers in them lowest byte first: two bytes `RO`, version, kind, length of the body (32 bits),
 * and a number that the kind gives a meaning (64-bit float). Anything else on the stream is refused at its first byte
 * that differs, so that bytes of somebody else are not taken for a length.
 *
 * @module
 */

/** Bytes of a header. */
export const HEADER_BYTES = 16;

const MAGIC_0 = 0x52;
const MAGIC_1 = 0x4f;
/** Version of the protocol; both sides are of the same version of the library, or refuse one another. */
const VERSION = 1;
/** Room for the body of a frame that comes in parts, at first: it grows with what arrives, not with what is announced. */
const ROOM_BYTES = 65_536;

/** Largest length that a header can hold. */
export const LENGTH_MAX = 0xffff_ffff;

// Converts the number of a header: a DataView for each buffer would have to be made first.
const scratch = new Uint8Array(8);
const scratchFloat = new Float64Array(scratch.buffer);

/** Called with each frame; the body may be used during the call only. */
export type FrameListener = (
  kind: number,
  id: number,
  body: Uint8Array,
) => void;

/** Writes a header at the beginning of a buffer. */
export function writeHeader(
  into: Uint8Array,
  kind: number,
  id: number,
  length: number,
): void {
  into[0] = MAGIC_0;
  into[1] = MAGIC_1;
  into[2] = VERSION;
  into[3] = kind;
  into[4] = length;
  into[5] = length >>> 8;
  into[6] = length >>> 16;
  into[7] = length >>> 24;
  scratchFloat[0] = id;
  into.set(scratch, 8);
}

function lengthIn(header: Uint8Array, at: number): number {
  return (header[at + 4]! | header[at + 5]! << 8 | header[at + 6]! << 16 |
    header[at + 7]! << 24) >>> 0;
}

function idIn(header: Uint8Array, at: number): number {
  for (let n = 0; n < 8; n++) scratch[n] = header[at + 8 + n]!;
  return scratchFloat[0]!;
}

/** Throws if the bytes of a header that are there are not those of one. */
function checkHeader(header: Uint8Array, at: number, count: number): void {
  if (
    header[at] === MAGIC_0 && (count < 2 || header[at + 1] === MAGIC_1) &&
    (count < 3 || header[at + 2] === VERSION)
  ) return;
  const bytes = [...header.subarray(at, at + Math.min(count, 3))];
  throw new RangeError(
    `Cannot read a frame: it begins with bytes ${bytes.join(", ")}`,
  );
}

/** Reader of frames from a stream of bytes, in parts of any size. */
export class FrameReader {
  readonly #bodyBytesMax: number;
  readonly #onFrame: FrameListener;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerBytes = 0;
  /** Body of the frame that has begun to arrive, or part of its room. */
  #body: Uint8Array<ArrayBuffer> | null = null;
  #bodyBytes = 0;
  #length = 0;

  /**
   * @param bodyBytesMax Length of a body at most; a longer one is refused.
   * @param onFrame Called with each frame, in their order.
   */
  constructor(bodyBytesMax: number, onFrame: FrameListener) {
    this.#bodyBytesMax = bodyBytesMax;
    this.#onFrame = onFrame;
  }

  /** Whether part of a frame has come, and the rest has not. */
  get isPartial(): boolean {
    return this.#headerBytes > 0;
  }

  /**
   * Takes the next bytes of the stream.
   *
   * @param bytes Any number of them; they are not kept.
   * @throws {RangeError} If they are no frames, or too long a one. The reader cannot be used any more then.
   */
  push(bytes: Uint8Array): void {
    const { length } = bytes;
    let at = 0;
    while (at < length) {
      if (this.#headerBytes > 0) at = this.#goOn(bytes, at);
      else at = this.#takeWhole(bytes, at);
    }
  }

  /** Takes a frame that is there as a whole, or begins one that is not. Returns where the next byte is. */
  #takeWhole(bytes: Uint8Array, at: number): number {
    const count = bytes.length - at;
    checkHeader(bytes, at, count);
    if (count < HEADER_BYTES) return this.#goOn(bytes, at);
    const length = this.#checkedLength(bytes, at);
    const from = at + HEADER_BYTES;
    if (count - HEADER_BYTES < length) return this.#goOn(bytes, at);
    this.#onFrame(
      bytes[at + 3]!,
      idIn(bytes, at),
      bytes.subarray(from, from + length),
    );
    return from + length;
  }

  #checkedLength(header: Uint8Array, at: number): number {
    const length = lengthIn(header, at);
    if (length <= this.#bodyBytesMax) return length;
    throw new RangeError(
      `Cannot read a frame as it may have ${this.#bodyBytesMax} bytes at most: received one of ${length} bytes`,
    );
  }

  /** Takes part of a frame. Returns where the next byte is. */
  #goOn(bytes: Uint8Array, at: number): number {
    if (this.#headerBytes < HEADER_BYTES) {
      const end = Math.min(
        bytes.length,
        at + HEADER_BYTES - this.#headerBytes,
      );
      this.#header.set(bytes.subarray(at, end), this.#headerBytes);
      this.#headerBytes += end - at;
      checkHeader(this.#header, 0, this.#headerBytes);
      if (this.#headerBytes < HEADER_BYTES) return end;
      this.#length = this.#checkedLength(this.#header, 0);
      at = end;
    }
    const end = Math.min(bytes.length, at + this.#length - this.#bodyBytes);
    if (end > at) this.#append(bytes.subarray(at, end));
    if (this.#bodyBytes === this.#length) this.#end();
    return end;
  }

  #append(part: Uint8Array): void {
    const needed = this.#bodyBytes + part.length;
    let body = this.#body;
    if (body === null || body.length < needed) {
      const room = Math.min(this.#length, Math.max(ROOM_BYTES, 2 * needed));
      const larger = new Uint8Array(room);
      if (body !== null) larger.set(body.subarray(0, this.#bodyBytes));
      this.#body = body = larger;
    }
    body.set(part, this.#bodyBytes);
    this.#bodyBytes = needed;
  }

  #end(): void {
    const body = this.#body ?? new Uint8Array(0);
    const kind = this.#header[3]!;
    this.#headerBytes = 0;
    this.#body = null;
    this.#bodyBytes = 0;
    const length = this.#length;
    this.#length = 0;
    this.#onFrame(kind, idIn(this.#header, 0), body.subarray(0, length));
  }
}
