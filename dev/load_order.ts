/**
 * Writes the orders of loading: `deno task load-order`.
 *
 * `src/load_order.ts` lists all modules that `mod.ts` loads, each after those that it imports. Deno handles a module
 * twice, from reading it to checking what it read, if it is the first to import another one; once the list is loaded, no
 * module is the first to import anything. That is a quarter of what the import costs.
 *
 * A door of a folder gets such a list too, if it imports `./load_order.ts` first. `tests/load_order_test.ts` checks that
 * the lists are what this script writes.
 *
 * @module
 */
import { importsOf } from "../tests/support/source_text.ts";

/** Source text by path from the root, such as `"src/errors.ts"`. */
export type Sources = ReadonlyMap<string, string>;

/** The name of the generated files. */
const LIST = "load_order.ts";

const HEAD = `/**
 * Modules in the order of loading, each after those that it imports. Written by \`deno task load-order\`, not by hand.
 *
 * Deno handles a module twice if it is the first to import another one: for large modules that adds up to some four
 * milliseconds at the start of a program. Once this list is loaded, no module is the first to import anything.
 *
 * @module
 */
`;

function isList(path: string): boolean {
  return path.endsWith(`/${LIST}`);
}

/** Paths of the modules that `path` needs at run time, in the order in which it names them. */
function neededBy(sources: Sources, path: string): string[] {
  const source = sources.get(path);
  if (source === undefined) {
    throw new Error(`Cannot order the modules: there is no ${path}`);
  }
  return importsOf(source)
    .filter(({ specifier, typeOnly, dynamic }) =>
      !typeOnly && !dynamic && /^\.\.?\//.test(specifier)
    )
    .map(({ specifier }) =>
      new URL(specifier, `file:///${path}`).pathname.slice(1)
    )
    .filter((needed) => !isList(needed));
}

/** Returns all modules that `entry` loads, each after those that it imports; without `entry` itself. */
export function loadOrder(sources: Sources, entry: string): string[] {
  const order = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    if (order.has(path)) return;
    if (trail.includes(path)) {
      throw new Error(
        `Cannot order the modules: ${[...trail, path].join(" imports ")}`,
      );
    }
    for (const needed of neededBy(sources, path)) {
      visit(needed, [...trail, path]);
    }
    order.add(path);
  };
  visit(entry, []);
  order.delete(entry);
  return [...order];
}

/** Returns the entries that import a list, with the path of the list. */
function listsOf(sources: Sources): [entry: string, list: string][] {
  const found: [string, string][] = [];
  for (const [path, source] of sources) {
    if (!/^(src\/\w+\/)?mod\.ts$/.test(path)) continue;
    for (const { specifier } of importsOf(source)) {
      const list = new URL(specifier, `file:///${path}`).pathname.slice(1);
      if (isList(list)) found.push([path, list]);
    }
  }
  return found;
}

/** Returns the texts of the generated files by their paths. */
export function loadOrderTexts(sources: Sources): Map<string, string> {
  return new Map(
    listsOf(sources).map(([entry, list]) => {
      const folder = list.slice(0, -LIST.length);
      const lines = loadOrder(sources, entry).map((path) =>
        path.startsWith(folder)
          ? `import "./${path.slice(folder.length)}";\n`
          : `import "../${path.slice("src/".length)}";\n`
      );
      return [list, HEAD + lines.join("")];
    }),
  );
}

/** Reads `mod.ts` and all files of `src/`. */
export async function readSources(): Promise<Map<string, string>> {
  const root = new URL("../", import.meta.url);
  const sources = new Map<string, string>();
  const read = async (path: string) => {
    sources.set(path, await Deno.readTextFile(new URL(path, root)));
  };
  const readFolder = async (folder: string) => {
    const entries = await Array.fromAsync(Deno.readDir(new URL(folder, root)));
    entries.sort((a, b) => a.name < b.name ? -1 : 1);
    for (const { name, isDirectory } of entries) {
      if (isDirectory) await readFolder(`${folder}${name}/`);
      else if (name.endsWith(".ts")) await read(folder + name);
    }
  };
  await read("mod.ts");
  await readFolder("src/");
  return sources;
}

if (import.meta.main) {
  for (const [path, text] of loadOrderTexts(await readSources())) {
    await Deno.writeTextFile(new URL(`../${path}`, import.meta.url), text);
  }
}
