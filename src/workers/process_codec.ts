/**
 * Values in frames: what goes between a pool and its processes.
 *
 * A body is empty for `undefined`, else it begins with a byte that says how the rest was written: as in `value_codec.ts`,
 * if that gives the structured clone of the value, or by V8.
 *
 * @module
 */
import { deserialize, serialize } from "../host/v8.ts";
import { HEADER_BYTES, writeHeader } from "./frames.ts";
import { readValue, writeValue } from "./value_codec.ts";
import { VIEWS } from "./value_format.ts";

const COMPACT = 1;
const CLONED = 2;
/** Bytes in front of a value. */
const HEAD_BYTES = HEADER_BYTES + 1;
/** Buffer that a writer keeps; larger values get one of their own. */
const KEPT_BYTES = 65_536;
/** Objects that are looked at to find out whether a value did not fit into the buffer. */
const LOOKED_AT_MAX = 10_000;

/** Writer of frames. */
export class FrameWriter {
  readonly #bodyBytesMax: number;
  readonly #buffer = new Uint8Array(KEPT_BYTES);
  /** Whether a value is being written. Code of the user's runs meanwhile, such as a getter, and may send as well. */
  #isBusy = false;

  /** @param bodyBytesMax Length of a frame's body at most; a longer one is refused. */
  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /**
   * Makes a frame.
   *
   * @param kind Kind of the frame: 0 to 255.
   * @param id Its number.
   * @param value Goes along as a structured clone.
   * @returns The bytes, until the next call.
   * @throws {DOMException} If something in the value cannot be cloned.
   * @throws {RangeError} If the frame would be too long.
   */
  frame(kind: number, id: number, value: unknown): Uint8Array<ArrayBuffer> {
    const frame = this.#body(value);
    const length = frame.length - HEADER_BYTES;
    if (length > this.#bodyBytesMax) {
      throw new RangeError(
        `Cannot send a value as it may take ${this.#bodyBytesMax} bytes at most: received one of ${length} bytes`,
      );
    }
    writeHeader(frame, kind, id, length);
    return frame;
  }

  /** Makes a frame as {@linkcode FrameWriter.frame} does, whose bytes are the caller's. */
  ownFrame(kind: number, id: number, value: unknown): Uint8Array<ArrayBuffer> {
    const frame = this.frame(kind, id, value);
    return frame.buffer === this.#buffer.buffer ? frame.slice() : frame;
  }

  /** Returns a frame with a body and without a header. */
  #body(value: unknown): Uint8Array<ArrayBuffer> {
    if (this.#isBusy) return this.#write(value, new Uint8Array(KEPT_BYTES));
    this.#isBusy = true;
    try {
      return this.#write(value, this.#buffer);
    } finally {
      this.#isBusy = false;
    }
  }

  #write(
    value: unknown,
    kept: Uint8Array<ArrayBuffer>,
  ): Uint8Array<ArrayBuffer> {
    if (value === undefined) return kept.subarray(0, HEADER_BYTES);
    const end = writeValue(value, kept, HEAD_BYTES);
    if (end >= 0) return compact(kept, end);
    const bytes = Math.min(roomFor(value), this.#bodyBytesMax);
    if (bytes + HEAD_BYTES > KEPT_BYTES) {
      const larger = new Uint8Array(HEAD_BYTES + bytes);
      const largerEnd = writeValue(value, larger, HEAD_BYTES);
      if (largerEnd >= 0) return compact(larger, largerEnd);
    }
    return cloned(value);
  }
}

function compact(
  frame: Uint8Array<ArrayBuffer>,
  end: number,
): Uint8Array<ArrayBuffer> {
  frame[HEADER_BYTES] = COMPACT;
  return frame.subarray(0, end);
}

function cloned(value: unknown): Uint8Array<ArrayBuffer> {
  // Throws for objects of the runtime that cannot be cloned, of which V8 knows nothing.
  const clone: unknown = structuredClone(value);
  refuseForeign(clone);
  const bytes = serializedOf(clone);
  const frame = new Uint8Array(HEAD_BYTES + bytes.length);
  frame[HEADER_BYTES] = CLONED;
  frame.set(bytes, HEAD_BYTES);
  return frame;
}

function serializedOf(clone: unknown): Uint8Array {
  try {
    return serialize(clone);
  } catch (cause) {
    // Such as shared memory, which can be cloned, but not for another process.
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DOMException(message, "DataCloneError");
  }
}

/**
 * Reads the value of a frame.
 *
 * @param body Body of the frame; nothing of the value lies in it.
 * @throws {Error} If it is no value.
 */
export function readBody(body: Uint8Array): unknown {
  if (body.length === 0) return undefined;
  switch (body[0]) {
    case COMPACT:
      return readValue(body, 1);
    case CLONED:
      return deserialize(body.subarray(1));
    default:
      throw new RangeError(
        `Cannot read a value: it begins with byte ${body[0]}`,
      );
  }
}

// -- Sizes --

/** Returns about how many bytes a value takes, rather too many. Getters of it may throw later, when it is written. */
function roomFor(value: unknown): number {
  const stack: unknown[] = [value];
  let bytes = 0;
  for (let n = 0; n < LOOKED_AT_MAX && stack.length > 0; n++) {
    const item = stack.pop();
    if (typeof item === "string") bytes += 6 + 3 * item.length;
    else if (typeof item !== "object" || item === null) bytes += 16;
    else if (item instanceof ArrayBuffer || ArrayBuffer.isView(item)) {
      bytes += 8 + item.byteLength;
    } else {
      bytes += 8;
      pushParts(item, stack);
    }
  }
  // Where there is more than was looked at, the rest is taken to be like it.
  return stack.length === 0 ? bytes : bytes * 2 + 64 * stack.length;
}

function pushParts(item: object, stack: unknown[]): void {
  try {
    if (item instanceof Map) {
      for (const [key, part] of item) stack.push(key, part);
    } else if (item instanceof Set) stack.push(...item);
    else for (const [key, part] of Object.entries(item)) stack.push(key, part);
  } catch {
    // A getter that throws: writing the value throws the same.
  }
}

// -- Objects of the runtime --

/** Prototypes of the objects that the language itself defines, as far as they can be cloned. */
const OWN_KIND: ReadonlySet<object | null> = new Set<object | null>([
  Object,
  Array,
  Map,
  Set,
  Date,
  RegExp,
  Boolean,
  Number,
  String,
  BigInt,
  ArrayBuffer,
  ...VIEWS,
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
].map(({ prototype }): object => prototype));

/** Throws if there is an object of the runtime in a clone, which would not be written. */
function refuseForeign(clone: unknown): void {
  const seen = new Set<object>();
  const stack: unknown[] = [clone];
  while (stack.length > 0) {
    const item = stack.pop();
    if (typeof item !== "object" || item === null || seen.has(item)) continue;
    seen.add(item);
    const prototype: object | null = Object.getPrototypeOf(item);
    if (!OWN_KIND.has(prototype)) {
      throw new DOMException(
        `An object of class ${prototype?.constructor.name} cannot be cloned for another process`,
        "DataCloneError",
      );
    }
    if (item instanceof ArrayBuffer || ArrayBuffer.isView(item)) continue;
    if (item instanceof Error) stack.push(item.cause);
    pushParts(item, stack);
  }
}

// -- Moved objects --

/** Throws if something is to be moved that processes cannot hand over. */
export function checkMoved(moved: readonly Transferable[]): void {
  for (const one of moved) {
    if (one instanceof ArrayBuffer) continue;
    throw new DOMException(
      `Only an ArrayBuffer can be transferred to another process: received an object of class ${one.constructor.name}`,
      "DataCloneError",
    );
  }
}

/** Empties the buffers that were sent: moving leaves nothing behind. */
export function detachMoved(moved: readonly Transferable[]): void {
  for (const one of moved) {
    if (one instanceof ArrayBuffer && !one.detached) one.transfer();
  }
}
