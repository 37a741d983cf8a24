/**
 * URL of the script that the threads of a pool run.
 *
 * @module
 */

/** URL of the script: `file:` in a checkout, `https:` from a registry. */
export const THREAD_SCRIPT: string = import.meta.resolve("./thread_entry.ts");

/** Puts the script into the module graph, so that registries and caches have it. Nobody calls it. */
export const loadThreadScript = (): Promise<unknown> =>
  import("./thread_entry.ts");
