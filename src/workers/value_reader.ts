/**
 * Reader of values from bytes, in the format of `value_format.ts`. Bytes that nobody has written with care are refused.
 *
 * @module
 */
import { dateAt } from "../host/clock.ts";
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

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reader of one value. */
class Reader {
  #from: Uint8Array = scratch;
  #at = 0;
  #end = 0;

  start(from: Uint8Array, at: number, end: number): void {
    this.#from = from;
    this.#at = at;
    this.#end = end;
  }

  get at(): number {
    return this.#at;
  }

  take(depth: number): unknown {
    const tag = this.takeByte();
    if (tag >= INT_0) return tag - INT_0 - INT_BIAS;
    switch (tag) {
      case UNDEFINED:
        return undefined;
      case NULL:
        return null;
      case TRUE:
        return true;
      case FALSE:
        return false;
      case INT32:
        return this.takeInt32();
      case FLOAT64:
        this.takeScratch();
        return scratchFloat[0];
      case DATE:
        this.takeScratch();
        return dateAt(scratchFloat[0]!);
      case BIGINT64:
        this.takeScratch();
        return scratchBigint[0];
      case BIGINT:
        return this.takeBigint();
      default:
        return this.takeParts(tag, depth);
    }
  }

  takeParts(tag: number, depth: number): unknown {
    if (depth > DEPTH_MAX && tag >= ARRAY) refuse("it is nested too deeply");
    const kind = tag === VIEW ? this.takeByte() : -1;
    const count = this.takeCount();
    switch (tag) {
      case ASCII:
        return this.takeAscii(count);
      case UTF8:
        return decoder.decode(this.takeBytes(count));
      case UTF16:
        return this.takeUnits(count);
      case ARRAY:
        return this.takeArray(count, depth);
      case OBJECT:
        return this.takeRecord(count, depth);
      case MAP:
        return this.takeMap(count, depth);
      case SET:
        return this.takeSet(count, depth);
      case BUFFER:
        return this.takeBytes(count).buffer;
      case VIEW:
        return this.takeView(kind, count);
      default:
        return refuse(`there is no tag ${tag}`);
    }
  }

  takeByte(): number {
    if (this.#at >= this.#end) refuse("it ends too early");
    return this.#from[this.#at++]!;
  }

  takeCount(): number {
    let count = 0;
    let shift = 0;
    for (;;) {
      const byte = this.takeByte();
      count |= (byte & 127) << shift;
      if (byte < 128) break;
      shift += 7;
      if (shift > 28) refuse("a count is too long");
    }
    // Whatever is counted takes a byte at least.
    if (count < 0 || count > this.#end - this.#at) refuse("it ends too early");
    return count;
  }

  /** Copies eight bytes to the scratch. */
  takeScratch(): void {
    const at = this.#at;
    if (at + 8 > this.#end) refuse("it ends too early");
    for (let n = 0; n < 8; n++) scratch[n] = this.#from[at + n]!;
    this.#at = at + 8;
  }

  takeInt32(): number {
    const at = this.#at;
    if (at + 4 > this.#end) refuse("it ends too early");
    const from = this.#from;
    this.#at = at + 4;
    return from[at]! | from[at + 1]! << 8 | from[at + 2]! << 16 |
      from[at + 3]! << 24;
  }

  takeBigint(): bigint {
    const text = this.take(DEPTH_MAX);
    if (typeof text !== "string" || !/^-?[\da-f]+$/.test(text)) {
      return refuse("a bigint has no digits");
    }
    return text.startsWith("-")
      ? -BigInt(`0x${text.slice(1)}`)
      : BigInt(`0x${text}`);
  }

  /** Returns a copy of the next bytes, in a buffer of its own. */
  takeBytes(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    bytes.set(this.#from.subarray(this.#at, this.#at + count));
    this.#at += count;
    return bytes;
  }

  takeAscii(count: number): string {
    const from = this.#from;
    let text = "";
    for (const end = this.#at + count; this.#at < end; this.#at++) {
      text += String.fromCharCode(from[this.#at]!);
    }
    return text;
  }

  takeUnits(count: number): string {
    if (count % 2 !== 0) refuse("text has half a unit");
    const from = this.#from;
    let text = "";
    for (const end = this.#at + count; this.#at < end; this.#at += 2) {
      text += String.fromCharCode(from[this.#at]! | from[this.#at + 1]! << 8);
    }
    return text;
  }

  takeArray(count: number, depth: number): unknown[] {
    const array: unknown[] = [];
    for (let n = 0; n < count; n++) array.push(this.take(depth + 1));
    return array;
  }

  takeRecord(count: number, depth: number): Record<string, unknown> {
    const record: Record<string, unknown> = {};
    for (let n = 0; n < count; n++) {
      const key = this.take(DEPTH_MAX);
      if (typeof key !== "string") return refuse("a key is no string");
      const value = this.take(depth + 1);
      if (key !== "__proto__") record[key] = value;
      else { // assigning it would change the prototype
        const property = {
          value,
          configurable: true,
          enumerable: true,
          writable: true,
        };
        Object.defineProperty(record, key, property);
      }
    }
    return record;
  }

  takeMap(count: number, depth: number): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>();
    for (let n = 0; n < count; n++) {
      const key = this.take(depth + 1);
      map.set(key, this.take(depth + 1));
    }
    return map;
  }

  takeSet(count: number, depth: number): Set<unknown> {
    const set = new Set<unknown>();
    for (let n = 0; n < count; n++) set.add(this.take(depth + 1));
    return set;
  }

  takeView(kind: number, count: number): ArrayBufferView {
    const View = VIEWS[kind];
    if (View === undefined) return refuse(`there is no kind ${kind} of view`);
    if (count % (View.BYTES_PER_ELEMENT ?? 1) !== 0) {
      return refuse("a view has part of an element");
    }
    return new View(this.takeBytes(count).buffer);
  }
}

function refuse(why: string): never {
  throw new RangeError(`Cannot read a value: ${why}`);
}

const reader = new Reader();

/**
 * Reads a value that {@linkcode writeValue} has written.
 *
 * @param from The bytes; may be shared.
 * @param at Index of its first byte.
 * @param end Index behind its last byte.
 * @returns The value, of which nothing lies in `from`.
 * @throws {RangeError} If the bytes are none of a value, or of more than one.
 * @throws {TypeError} If text in it is no UTF-8.
 */
export function readValue(
  from: Uint8Array,
  at: number,
  end: number = from.length,
): unknown {
  reader.start(from, at, Math.min(end, from.length));
  const value = reader.take(0);
  if (reader.at !== end) refuse("something is behind it");
  return value;
}
