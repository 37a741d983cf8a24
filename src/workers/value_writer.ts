/**
 * Writer of values as bytes, in the format of `value_format.ts`.
 *
 * A value that would read back as anything but its structured clone is not written at all: the writer says so, and its
 * caller takes another way. One exception: a `Proxy` around a plain object or an array, which cannot be told apart, is
 * written as the object that it shows.
 *
 * @module
 */
import {
  ARRAY,
  ASCII,
  BIGINT,
  BIGINT64,
  BUFFER,
  DATE,
  DEPTH_MAX,
  FALSE,
  FLOAT64,
  INT32,
  INT_0,
  INT_BIAS,
  INT_MAX,
  MAP,
  NULL,
  OBJECT,
  scratch,
  scratchBigint,
  scratchFloat,
  SET,
  TRUE,
  UNDEFINED,
  UTF16,
  UTF8,
  VIEW,
  VIEWS,
} from "./value_format.ts";

/** Strings up to this length are copied by hand: a call of the runtime's encoder costs as much as some 60 characters. */
const BY_HAND_MAX = 64;
/** Objects of one value up to this count are searched in a list, more of them in a set. */
const LISTED_MAX = 24;

/** Kinds of views by the prototype of their class. */
const VIEW_KINDS: ReadonlyMap<object, number> = new Map(
  VIEWS.map(({ prototype }, kind) => [prototype, kind]),
);

const encoder = new TextEncoder();

/** Writer of one value. Its methods return where the next byte goes, or -1 if the value cannot be written. */
class Writer {
  #into: Uint8Array = scratch;
  #end = 0;
  /** Objects of the value so far: a clone keeps it apart whether one occurs twice. */
  #listed: object[] = [];
  #others: Set<object> | undefined;

  start(into: Uint8Array, end: number): void {
    this.#into = into;
    this.#end = end;
  }

  /** Lets go of all objects. */
  finish(): void {
    this.#into = scratch;
    this.#listed.length = 0;
    this.#others = undefined;
  }

  put(value: unknown, at: number, depth: number): number {
    switch (typeof value) {
      case "number":
        return this.putNumber(value, at);
      case "string":
        return this.putString(value, at);
      case "object":
        return value === null
          ? this.putTag(NULL, at)
          : this.putObject(value, at, depth);
      case "boolean":
        return this.putTag(value ? TRUE : FALSE, at);
      case "undefined":
        return this.putTag(UNDEFINED, at);
      case "bigint":
        return this.putBigint(value, at);
      default: // a function or a symbol: nothing clones it
        return -1;
    }
  }

  putTag(tag: number, at: number): number {
    if (at >= this.#end) return -1;
    this.#into[at] = tag;
    return at + 1;
  }

  /** Writes a tag and a count. */
  putHead(tag: number, count: number, at: number): number {
    if (at + 6 > this.#end) return -1;
    const into = this.#into;
    into[at++] = tag;
    while (count > 127) {
      into[at++] = count & 127 | 128;
      count >>>= 7;
    }
    into[at++] = count;
    return at;
  }

  putNumber(value: number, at: number): number {
    const int = value | 0;
    if (int !== value || int === 0 && 1 / value < 0) {
      scratchFloat[0] = value;
      return this.putScratch(FLOAT64, at);
    }
    if (int >= -INT_BIAS && int <= INT_MAX) {
      return this.putTag(INT_0 + INT_BIAS + int, at);
    }
    if (at + 5 > this.#end) return -1;
    const into = this.#into;
    into[at] = INT32;
    into[at + 1] = int;
    into[at + 2] = int >> 8;
    into[at + 3] = int >> 16;
    into[at + 4] = int >> 24;
    return at + 5;
  }

  /** Writes a tag and the eight bytes of the scratch. */
  putScratch(tag: number, at: number): number {
    if (at + 9 > this.#end) return -1;
    const into = this.#into;
    into[at] = tag;
    for (let n = 0; n < 8; n++) into[at + 1 + n] = scratch[n]!;
    return at + 9;
  }

  putBigint(value: bigint, at: number): number {
    if (BigInt.asIntN(64, value) === value) {
      scratchBigint[0] = value;
      return this.putScratch(BIGINT64, at);
    }
    const after = this.putTag(BIGINT, at);
    return after < 0 ? -1 : this.putString(value.toString(16), after);
  }

  putString(text: string, at: number): number {
    const { length } = text;
    if (length > BY_HAND_MAX) return this.putLongString(text, at);
    const from = this.putHead(ASCII, length, at);
    if (from < 0 || from + length > this.#end) return -1;
    const into = this.#into;
    for (let n = 0; n < length; n++) {
      const code = text.charCodeAt(n);
      if (code > 127) return this.putLongString(text, at);
      into[from + n] = code;
    }
    return from + length;
  }

  putLongString(text: string, at: number): number {
    const { length } = text;
    if (at + 6 + length > this.#end) return -1;
    if (!text.isWellFormed()) return this.putUnits(text, at);
    // The length is known afterwards only: it takes four bytes in any case.
    const from = at + 5;
    const { read, written } = encoder.encodeInto(
      text,
      this.#into.subarray(from, this.#end),
    );
    if (read < length) return -1;
    this.putLength(UTF8, written, at);
    return from + written;
  }

  /** Writes text with halves of surrogate pairs in it, which UTF-8 does not have. */
  putUnits(text: string, at: number): number {
    const { length } = text;
    let to = at + 5;
    if (to + 2 * length > this.#end) return -1;
    const into = this.#into;
    this.putLength(UTF16, 2 * length, at);
    for (let n = 0; n < length; n++) {
      const unit = text.charCodeAt(n);
      into[to++] = unit;
      into[to++] = unit >> 8;
    }
    return to;
  }

  /** Writes a tag and a number of bytes as four groups, whatever they are. */
  putLength(tag: number, bytes: number, at: number): void {
    const into = this.#into;
    into[at] = tag;
    into[at + 1] = bytes & 127 | 128;
    into[at + 2] = bytes >>> 7 & 127 | 128;
    into[at + 3] = bytes >>> 14 & 127 | 128;
    into[at + 4] = bytes >>> 21;
  }

  putObject(value: object, at: number, depth: number): number {
    if (depth > DEPTH_MAX || !this.isNew(value)) return -1;
    const prototype: object | null = Object.getPrototypeOf(value);
    switch (prototype) {
      case Object.prototype:
        return this.putRecord(value, at, depth);
      case Array.prototype:
        return Array.isArray(value) ? this.putArray(value, at, depth) : -1;
      case Map.prototype:
        return this.putMap(value, at, depth);
      case Set.prototype:
        return this.putSet(value, at, depth);
      case Date.prototype:
        scratchFloat[0] = Date.prototype.getTime.call(value);
        return this.putScratch(DATE, at);
      case ArrayBuffer.prototype:
        return this.putBuffer(value, at);
      default: {
        const kind = prototype === null ? undefined : VIEW_KINDS.get(prototype);
        return kind === undefined ? -1 : this.putView(value, kind, at);
      }
    }
  }

  /** Notes an object of the value. Returns false for the second time. */
  isNew(value: object): boolean {
    const listed = this.#listed;
    if (listed.includes(value)) return false;
    if (listed.length < LISTED_MAX) {
      listed.push(value);
      return true;
    }
    const others = this.#others ??= new Set();
    return others.size < others.add(value).size;
  }

  putRecord(value: object, at: number, depth: number): number {
    const keys = Object.keys(value);
    at = this.putHead(OBJECT, keys.length, at);
    const record = value as Readonly<Record<string, unknown>>;
    for (let n = 0; n < keys.length && at >= 0; n++) {
      const key = keys[n]!;
      at = this.putString(key, at);
      if (at >= 0) at = this.put(record[key], at, depth + 1);
    }
    return at;
  }

  putArray(value: readonly unknown[], at: number, depth: number): number {
    const { length } = value;
    // A hole or a property of another name is none of a plain list.
    const keys = Object.keys(value);
    if (keys.length !== length) return -1;
    if (length > 0 && keys[length - 1] !== String(length - 1)) return -1;
    at = this.putHead(ARRAY, length, at);
    for (let n = 0; n < length && at >= 0; n++) {
      at = this.put(value[n], at, depth + 1);
    }
    return at;
  }

  putMap(value: object, at: number, depth: number): number {
    const entries = [...Map.prototype.entries.call(value)];
    at = this.putHead(MAP, entries.length, at);
    for (const [key, item] of entries) {
      if (at >= 0) at = this.put(key, at, depth + 1);
      if (at >= 0) at = this.put(item, at, depth + 1);
    }
    return at;
  }

  putSet(value: object, at: number, depth: number): number {
    const items = [...Set.prototype.values.call(value)];
    at = this.putHead(SET, items.length, at);
    for (const item of items) {
      if (at >= 0) at = this.put(item, at, depth + 1);
    }
    return at;
  }

  putBuffer(value: object, at: number): number {
    const bytes = bytesOf(value as ArrayBuffer);
    if (bytes === null) return -1;
    at = this.putHead(BUFFER, bytes.length, at);
    return this.putBytes(bytes, at);
  }

  putView(value: object, kind: number, at: number): number {
    const { buffer, byteLength } = value as ArrayBufferView;
    // A clone has the whole buffer, and only one buffer for two views of it.
    if (byteLength !== buffer.byteLength || !this.isNew(buffer)) return -1;
    if (Object.getPrototypeOf(buffer) !== ArrayBuffer.prototype) return -1;
    const bytes = bytesOf(buffer as ArrayBuffer);
    if (bytes === null) return -1;
    at = this.putTag(VIEW, at);
    if (at >= 0) at = this.putHead(kind, bytes.length, at);
    return this.putBytes(bytes, at);
  }

  putBytes(bytes: Uint8Array, at: number): number {
    if (at < 0 || at + bytes.length > this.#end) return -1;
    this.#into.set(bytes, at);
    return at + bytes.length;
  }
}

/** Returns the bytes of a buffer, or null if it has been transferred or can change its size. */
function bytesOf(buffer: ArrayBuffer): Uint8Array | null {
  return buffer.resizable || buffer.detached ? null : new Uint8Array(buffer);
}

/** Writer that nobody uses; a getter in a value may itself write one. */
let idleWriter: Writer | undefined;

/**
 * Writes a value.
 *
 * @param value Any value.
 * @param into Buffer; may be shared.
 * @param at Index of the first byte to write.
 * @param end Index of the first byte to leave alone.
 * @returns The index behind the last byte; or -1 if the value does not fit, or has to be cloned: it has functions,
 * instances of classes, the same object twice, a hole in an array, part of a buffer, or cannot be cloned. Bytes behind
 * `at` may have been written then.
 */
export function writeValue(
  value: unknown,
  into: Uint8Array,
  at: number,
  end: number = into.length,
): number {
  const writer = idleWriter ?? new Writer();
  idleWriter = undefined;
  writer.start(into, Math.min(end, into.length));
  try {
    return writer.put(value, at, 0);
  } catch {
    // A getter threw, or an object is none of the class that its prototype says: cloning it throws again, or does better.
    return -1;
  } finally {
    writer.finish();
    idleWriter = writer;
  }
}
