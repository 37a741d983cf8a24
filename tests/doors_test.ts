/**
 * The doors: every folder of `src/` has a `mod.ts`, which is its table of contents, and `deno.json` exports it.
 *
 * The list of folders is read from the disk, so a new folder fails here until it has a door.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { readSources } from "../dev/load_order.ts";
import { ROOT } from "./support/run_deno.ts";
import { codeOf } from "./support/source_text.ts";

/** Folders whose doors are no part of the entry: nothing of them is for a running program. */
const APART = ["structures", "testing"];

/**
 * Names of doors that "." leaves out: only a host of one's own that is built around another one needs `createHost`, and
 * only one whose clock is moved by other rules needs `ClockControl`. Each is a decision.
 */
const NOT_IN_ENTRY: Readonly<Record<string, readonly string[]>> = {
  host: ["ClockControl", "createHost"],
};

interface Door {
  /** Its module doc, or `""`. */
  readonly doc: string;
  /** Exported names, types among them. */
  readonly names: readonly string[];
  /** The code that is neither the list of loading nor a named re-export. */
  readonly rest: string;
}

const NAMED = /\bexport\s+(?:type\s+)?\{([^}]*)\}\s*from\s*"[^"]*"\s*;?/g;
const LIST = /^import "\.\/(?:src\/)?load_order\.ts";$/m;

function doorOf(source: string): Door {
  const code = codeOf(source.replace(LIST, ""));
  const names = [...code.matchAll(NAMED)].flatMap(([, list = ""]) =>
    list.split(",").map((item) => item.trim()).filter((item) => item !== "")
      .map((item) => item.split(/\s+/).at(-1) ?? item)
  );
  return {
    doc: /^\/\*\*[^]*?\*\//.exec(source)?.[0] ?? "",
    names: names.sort(),
    rest: code.replaceAll(NAMED, "").trim(),
  };
}

async function exportsOfConfig(): Promise<Record<string, string>> {
  const config = await Deno.readTextFile(new URL("deno.json", ROOT));
  return JSON.parse(config).exports;
}

const sources = await readSources();
const folders = [
  ...new Set(
    [...sources.keys()].map((path) => /^src\/(\w+)\//.exec(path)?.[1])
      .filter((folder) => folder !== undefined),
  ),
];

Deno.test("src/ has folders", () => {
  assertEquals(folders.includes("structures"), true);
  assertEquals(folders.includes("loop"), true);
});

for (const folder of folders) {
  const source = sources.get(`src/${folder}/mod.ts`) ?? "";
  const { doc, names, rest } = doorOf(source);

  Deno.test(`src/${folder}/mod.ts has a module doc with an example`, () => {
    assertEquals(doc.includes("@module"), true);
    assertEquals(/@example[^]*\* ```ts\n[^]*\* ```\n/.test(doc), true);
    assertEquals(doc.includes(`"@rota/rota/${folder}"`), true);
    assertEquals(/\bassert\w*\(/.test(doc), true);
  });

  Deno.test(`src/${folder}/mod.ts is named re-exports and nothing else`, () => {
    assertEquals(rest, "");
    assertEquals(names.length > 0, true);
    assertEquals(names, [...new Set(names)]);
  });

  Deno.test(`deno.json exports ./${folder}`, async () => {
    const exported = await exportsOfConfig();
    assertEquals(exported[`./${folder}`], `./src/${folder}/mod.ts`);
  });

  if (!APART.includes(folder)) {
    Deno.test(`"." has every name of ./${folder}`, () => {
      const entry = doorOf(sources.get("mod.ts") ?? "").names;
      const except = NOT_IN_ENTRY[folder] ?? [];
      assertEquals(
        names.filter((name) => !entry.includes(name)),
        [...except],
      );
    });
  }
}

Deno.test('every name of "." comes through a door', () => {
  const through = new Set(
    folders.filter((folder) => !APART.includes(folder)).flatMap((folder) =>
      doorOf(sources.get(`src/${folder}/mod.ts`) ?? "").names
    ),
  );
  const { names } = doorOf(sources.get("mod.ts") ?? "");
  assertEquals(names.filter((name) => !through.has(name)), []);
});

Deno.test("deno.json exports the entry and the doors and nothing else", async () => {
  const expected = [".", ...folders.map((folder) => `./${folder}`)].sort();
  assertEquals(Object.keys(await exportsOfConfig()).sort(), expected);
});

Deno.test('"." has the values of each door, the same ones', async () => {
  const entry: Record<string, unknown> = await import(
    new URL("mod.ts", ROOT).href
  );
  for (const folder of folders) {
    if (APART.includes(folder) || !sources.has(`src/${folder}/mod.ts`)) {
      continue;
    }
    const door: Record<string, unknown> = await import(
      new URL(`src/${folder}/mod.ts`, ROOT).href
    );
    for (const name of Object.keys(door)) {
      if (NOT_IN_ENTRY[folder]?.includes(name)) continue;
      assertEquals(Object.is(entry[name], door[name]), true, name);
    }
  }
});

Deno.test("doorOf() tells names, module doc and the rest apart", () => {
  const door = doorOf(`/**
 * Things.
 *
 * @module
 */
import "./load_order.ts";

export { b, a as c, type D } from "./a.ts";
export type { E } from "./a.ts";
export * from "./b.ts";
`);
  assertEquals(door.names, ["D", "E", "b", "c"]);
  assertEquals(door.rest, 'export * from "      ";');
  assertEquals(door.doc.includes("@module"), true);
  assertEquals(doorOf("export const x = 1;").doc, "");
});
