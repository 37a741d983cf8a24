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
