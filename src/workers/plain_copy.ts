/**
 * Copies of values that every way to a worker can carry: structured clones
 * without what only some of them take, such as shared memory.
 *
 * @module
 */

/** A copy, and about how many characters and bytes it has. */
export interface PlainCopy {
  readonly value: unknown;
  readonly size: number;
}

/**
 * Copies a value.
 *
 * @param value The value, of any type.
 * @returns The copy; null if the value cannot be cloned, or only within a process.
 */
export function copyPlain(value: object): PlainCopy | null {
  let clone: unknown;
  try {
    clone = structuredClone(value);
  } catch {
    return null;
  }
  const size = sizeOf(clone);
  return size === null ? null : { value: clone, size };
}

// The classes as they were: a job may take globals away.
const { ArrayBuffer, Date, DOMException, Error, Map, RegExp, Set } = globalThis;

/** Cost of an object or an entry of one. */
const ENTRY = 16;

/** The size of a clone, which has neither getters nor proxies; null if not all of it is plain. */
function sizeOf(clone: unknown): number | null {
  const seen = new Set<object>();
  const open: unknown[] = [clone];
  let size = 0;
  while (open.length > 0) {
    const value = open.pop();
    size += ENTRY;
    if (typeof value === "string") size += value.length;
    if (typeof value !== "object" || value === null || seen.has(value)) {
      continue;
    }
    seen.add(value);
    const bytes = bytesOf(value);
    if (bytes !== null) size += bytes;
    else if (!openUp(value, open)) return null;
  }
  return size;
}

/** The length of a buffer, or of what is behind a view; null for other objects, and for shared memory. */
function bytesOf(value: object): number | null {
  if (value instanceof ArrayBuffer) return value.byteLength;
  return ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer
    ? value.buffer.byteLength
    : null;
}

/** Adds what is inside an object to a list; false if it is not plain. */
function openUp(value: object, open: unknown[]): boolean {
  if (value instanceof Map) {
    for (const [key, item] of value) open.push(key, item);
    return true;
  }
  if (value instanceof Set) {
    for (const item of value) open.push(item);
    return true;
  }
  if (value instanceof Error) {
    open.push(value.message, value.stack, value.cause);
    return !(value instanceof DOMException);
  }
  if (!isRecord(value)) {
    return value instanceof Date || value instanceof RegExp;
  }
  for (const key of Object.keys(value)) {
    open.push(key, (value as Record<string, unknown>)[key]);
  }
  return true;
}

function isRecord(value: object): boolean {
  return Array.isArray(value) ||
    Object.getPrototypeOf(value) === Object.prototype;
}
