/**
 * The lists of modules in the order of loading are what the script writes, and the script puts each module after those
 * that it imports.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { loadOrder, loadOrderTexts, readSources } from "../dev/load_order.ts";

function sourcesOf(files: Record<string, string>): Map<string, string> {
  return new Map(Object.entries(files));
}

Deno.test("every load_order.ts is what `deno task load-order` writes", async () => {
  const sources = await readSources();
  const texts = loadOrderTexts(sources);
  for (const [path, text] of texts) assertEquals(sources.get(path), text, path);
  const lists = [...sources.keys()].filter((path) => /load_order/.test(path));
  assertEquals(lists, [...texts.keys()].sort());
});

Deno.test("loadOrderTexts() writes a list for each entry that imports one", () => {
  const sources = sourcesOf({
    "mod.ts": 'import "./src/load_order.ts"; export { a } from "./src/x/a.ts";',
    "src/x/mod.ts": 'import "./load_order.ts"; export { a } from "./a.ts";',
    "src/x/a.ts": 'import "../errors.ts";',
    "src/y/mod.ts": 'export { a } from "../x/a.ts";',
    "src/errors.ts": "",
  });
  const imports = [...loadOrderTexts(sources)].map((
    [path, text],
  ) => [path, ...text.match(/(?<=import ")[^"]*/g) ?? []]);
  assertEquals(imports, [
    ["src/load_order.ts", "./errors.ts", "./x/a.ts"],
    ["src/x/load_order.ts", "../errors.ts", "./a.ts"],
  ]);
});

Deno.test("loadOrder() puts each module after those that it imports", () => {
  const sources = sourcesOf({
    "mod.ts":
      'import "./src/load_order.ts"; export { a } from "./src/x/a.ts"; export type { e } from "./src/e.ts";',
    "src/load_order.ts": "",
    "src/x/a.ts":
      'import { c } from "../c.ts"; import { b } from "./b.ts"; import type { d } from "../d.ts"; import("../d.ts");',
    "src/x/b.ts": 'export { c } from "../c.ts"; import "node:process";',
    "src/c.ts": "",
    "src/d.ts": "",
    "src/e.ts": "",
  });
  assertEquals(loadOrder(sources, "mod.ts"), [
    "src/c.ts",
    "src/x/b.ts",
    "src/x/a.ts",
  ]);
});

Deno.test("loadOrder() refuses a cycle and a file that is not there", () => {
  assertThrows(
    () =>
      loadOrder(
        sourcesOf({
          "mod.ts": 'import "./a.ts";',
          "a.ts": 'import "./b.ts";',
          "b.ts": 'import "./a.ts";',
        }),
        "mod.ts",
      ),
    Error,
    "Cannot order the modules: mod.ts imports a.ts imports b.ts imports a.ts",
  );
  assertThrows(
    () => loadOrder(sourcesOf({ "mod.ts": 'import "./a.ts";' }), "mod.ts"),
    Error,
    "Cannot order the modules: there is no a.ts",
  );
});
