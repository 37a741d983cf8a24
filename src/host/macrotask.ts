/**
 * Macrotasks: passes of the runtime's own event loop.
 *
 * @module
 */

let immediate: ((callback: () => void) => unknown) | undefined;

/**
 * Runs `callback` in the next pass of the runtime's own event loop, after all microtasks.
 *
 * `setImmediate` is looked up on first use: that loads the runtime's Node layer, which takes some five milliseconds, and
 * short programs do without.
 */
export function macrotask(callback: () => void): void {
  immediate ??= setImmediate;
  immediate(callback);
}
