/**
 * The list of all modules is what the script writes, and the script puts each module after those that it imports.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import {
  LIST,
  loadOrder,
  loadOrderText,
  readSources,
} from "../dev/load_order.ts";

function sourcesOf(files: Record<string, string>): Map<string, string> {
  return new Map(Object.entries(files));
}

Deno.test("src/load_order.ts is what `deno task load-order` writes", async () => {
  const sources = await readSources();
  assertEquals(sources.get(LIST), loadOrderText(sources));
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
  assertEquals(loadOrder(sources), ["src/c.ts", "src/x/b.ts", "src/x/a.ts"]);
});

Deno.test("loadOrder() refuses a cycle and a file that is not there", () => {
  assertThrows(
    () =>
      loadOrder(sourcesOf({
        "mod.ts": 'import "./a.ts";',
        "a.ts": 'import "./b.ts";',
        "b.ts": 'import "./a.ts";',
      })),
    Error,
    "Cannot order the modules: mod.ts imports a.ts imports b.ts imports a.ts",
  );
  assertThrows(
    () => loadOrder(sourcesOf({ "mod.ts": 'import "./a.ts";' })),
    Error,
    "Cannot order the modules: there is no a.ts",
  );
});
