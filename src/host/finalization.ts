/**
 * Finalization: learning that an object was collected.
 *
 * @module
 */

/**
 * Calls a function some time after an object was collected, or never: collection is up to the engine.
 *
 * @typeParam Held The value that the function is called with.
 */
export class Registry<Held> {
  readonly #registry: FinalizationRegistry<Held>;

  /**
   * Makes a registry.
   *
   * @param collected Called with the value given to {@linkcode Registry.register}; must not throw.
   */
  constructor(collected: (held: Held) => void) {
    this.#registry = new FinalizationRegistry(collected);
  }

  /** Watches `target`. `held` must not refer to it, or it is never collected. Costs about a microsecond. */
  register(target: WeakKey, held: Held): void {
    this.#registry.register(target, held);
  }
}
