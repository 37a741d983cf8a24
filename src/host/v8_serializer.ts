/**
 * The structured clone of V8 as bytes.
 *
 * `node:v8` takes some twenty milliseconds to load, so it is loaded on first use.
 *
 * @module
 */
import type * as NodeV8 from "node:v8";

let v8: typeof NodeV8 | null = null;

function load(): typeof NodeV8 {
  return v8 ??= globalThis.process.getBuiltinModule("node:v8");
}

/**
 * Writes a value that the language itself defines. Objects of the runtime, such as a `Blob`, become empty objects.
 *
 * @throws {Error} If something cannot be cloned, such as a function.
 */
export function serialize(value: unknown): Uint8Array {
  const serializer = new (load().Serializer)();
  serializer.writeHeader();
  serializer.writeValue(value);
  return serializer.releaseBuffer();
}

/**
 * Reads what {@linkcode serialize} has written. Nothing of the result lies in `bytes`.
 *
 * @throws {Error} If the bytes are something else.
 */
export function deserialize(bytes: Uint8Array): unknown {
  const deserializer = new (load().Deserializer)(bytes.slice());
  deserializer.readHeader();
  return deserializer.readValue();
}
