/**
 * The engine, V8: the memory of this thread, and structured clones as bytes.
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

/** Returns how many bytes the objects of this thread take, array buffers among them. */
export function usedBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/**
 * Loads what tells how many bytes the heap of this thread may have. The number grows when the runtime, at the limit, has
 * stopped the running function for good and left everything else to go on.
 */
export async function loadHeapLimit(): Promise<() => number> {
  const { getHeapStatistics } = await import("node:v8");
  return () => getHeapStatistics().heap_size_limit;
}
