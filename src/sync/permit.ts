/**
 * Permits: results of acquiring, which are released once.
 *
 * @module
 */
/**
 * The right to be inside: the result of acquiring a lock, a semaphore or a
 * token of a capacity limiter.
 *
 * `using permit = yield* lock.acquire()` releases it when the block is left,
 * `scoped(permit, ...)` when its body ends. Releasing it a second time does
 * nothing, so it never frees a permit that another task has acquired since.
 */
export interface Permit extends Disposable {
  /**
   * Whether the permit is valid now: false once it is released, and during a
   * {@linkcode Condition.wait}.
   */
  readonly held: boolean;
  /** Releases the permit and wakes the next in line. The second time it does nothing. */
  release(): void;
  /** The same as {@linkcode Permit.release}. */
  [Symbol.dispose](): void;
}
