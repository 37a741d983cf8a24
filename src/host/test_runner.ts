/**
 * The test runner of the runtime.
 *
 * @module
 */

/** Registers a test; does nothing outside of `deno test`. */
export function registerTest(definition: Deno.TestDefinition): void {
  Deno.test(definition);
}
