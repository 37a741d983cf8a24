/**
 * URL of the script that the processes of a pool run.
 *
 * @module
 */

/** URL of the script: `file:` in a checkout, `https:` from a registry. */
export const PROCESS_SCRIPT: string = import.meta.resolve(
  "./process_entry.ts",
);

/** Puts the script into the module graph, so that registries and caches have it. Never called. */
export const loadProcessScript = (): Promise<unknown> =>
  import("./process_entry.ts");
