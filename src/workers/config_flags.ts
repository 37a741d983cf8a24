/**
 * Configuration of child processes, as flags of `deno run`.
 *
 * The runtime looks for a configuration beside the script that it runs, if that is a file, and for none if it comes from a
 * registry. Modules of the program may need the one of the program: its names of imports, for example.
 *
 * @module
 */
import { fileExists, mainModule } from "../host/child_process.ts";

const NAMES = ["deno.json", "deno.jsonc"];
const GIVEN = /^(?:-c|--config|--no-config)(?:=|$)/;

/**
 * Returns the flag for the configuration of the program: that of the nearest folder around its main module which has one.
 *
 * @param script URL of the script of the child.
 * @param flags Flags that were given.
 * @returns No flag if the script is a file, the flags name a configuration, or there is none that may be read.
 */
export function configFlags(
  script: string,
  flags: readonly string[],
): readonly string[] {
  if (script.startsWith("file:")) return [];
  if (flags.some((flag) => GIVEN.test(flag))) return [];
  const found = findConfig(mainModule());
  return found === null ? [] : [`--config=${found}`];
}

/** Returns the path of the configuration for a module; null if there is none. */
function findConfig(module: string): string | null {
  if (!module.startsWith("file:")) return null;
  let folder = new URL(".", module);
  for (;;) {
    for (const name of NAMES) {
      const file = new URL(name, folder);
      if (fileExists(file)) return decodeURIComponent(file.pathname);
    }
    const parent = new URL("..", folder);
    if (parent.href === folder.href) return null;
    folder = parent;
  }
}
