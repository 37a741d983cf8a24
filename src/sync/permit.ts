/**
 * The right to be inside: what acquiring a lock or a semaphore gives.
 *
 * `using permit = yield* lock.acquire()` gives it back when the block is left,
 * `scoped(permit, ...)` when its body ends. Giving it back a second time does
 * nothing, so it never frees what somebody else has acquired since.
 */
export interface Permit extends Disposable {
  /** Whether it counts now: not any more once it is given back, and not during a {@linkcode Condition.wait}. */
  readonly held: boolean;
  /** Gives it back, and wakes whoever is next. The second time it does nothing. */
  release(): void;
  /** The same as {@linkcode Permit.release}. */
  [Symbol.dispose](): void;
}
