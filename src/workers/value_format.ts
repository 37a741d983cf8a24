/**
 * Format of values as bytes: for the values that most calls consist of, made and read faster than the structured clone
 * of the runtime.
 *
 * A value is a tag and what follows from it; numbers of elements come before the elements, as groups of seven bits,
 * lowest first. Numbers are in the order of the machine, as both sides run on it.
 *
 * | tag | what follows |
 * |---|---|
 * | `UNDEFINED` … `FALSE` | nothing |
 * | `INT_0` and above | nothing: the integer is the tag less `INT_0`, less `INT_BIAS` |
 * | `INT32`, `FLOAT64`, `BIGINT64`, `DATE` | the number |
 * | `BIGINT` | its digits to base 16, as a string |
 * | `ASCII`, `UTF8`, `UTF16` | length in bytes, then the text |
 * | `ARRAY`, `SET` | how many, then the elements |
 * | `OBJECT`, `MAP` | how many, then key and value of each |
 * | `BUFFER`, `VIEW` | (kind of the view), length in bytes, then the bytes |
 *
 * @module
 */
export const UNDEFINED = 1;
export const NULL = 2;
export const TRUE = 3;
export const FALSE = 4;
export const INT32 = 5;
export const FLOAT64 = 6;
export const BIGINT64 = 7;
export const BIGINT = 8;
export const ASCII = 9;
export const UTF8 = 10;
export const UTF16 = 11;
export const DATE = 12;
export const ARRAY = 13;
export const OBJECT = 14;
export const MAP = 15;
export const SET = 16;
export const BUFFER = 17;
export const VIEW = 18;
/** Tag of the integer `-INT_BIAS`; those of the next integers follow. */
export const INT_0 = 32;
export const INT_BIAS = 32;
/** Largest integer that is a tag. */
export const INT_MAX: number = 255 - INT_0 - INT_BIAS;

/** Depth to which values may be nested: a writer that goes deeper could overflow the stack. */
export const DEPTH_MAX = 100;

/** A class of views on buffers, of which instances can be written. */
export interface ViewClass {
  readonly BYTES_PER_ELEMENT?: number;
  readonly prototype: ArrayBufferView;
  new (buffer: ArrayBuffer): ArrayBufferView;
}

/** Classes of views; the kind of a view is its index. */
export const VIEWS: readonly ViewClass[] = [
  Uint8Array,
  Uint8ClampedArray,
  Int8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
  Float16Array,
  Float32Array,
  Float64Array,
  DataView,
];

// Numbers are converted in here, because a DataView for each buffer would have to be made or found first.
export const scratch: Uint8Array<ArrayBuffer> = new Uint8Array(8);
export const scratchFloat: Float64Array = new Float64Array(scratch.buffer);
export const scratchBigint: BigInt64Array = new BigInt64Array(
  scratch.buffer,
);
