/**
 * Memory of this thread.
 *
 * @module
 */

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
