/**
 * Calls `collected` with what was given to {@linkcode Registry.register} some
 * time after the object it was registered for is gone, or never: collection is
 * up to the engine.
 */
export class Registry<Held> {
  readonly #registry: FinalizationRegistry<Held>;

  /** Makes a registry. `collected` must not throw. */
  constructor(collected: (held: Held) => void) {
    this.#registry = new FinalizationRegistry(collected);
  }

  /** Watches `target`. `held` must not refer to it. Costs about a microsecond. */
  register(target: WeakKey, held: Held): void {
    this.#registry.register(target, held);
  }
}
