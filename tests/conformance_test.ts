/**
 * Rota does what CPython's asyncio does: every recorded program gives exactly
 * the recorded trace. `conformance/README.md` defines programs and traces.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  compare,
  type Difference,
  readPrograms,
} from "./conformance/compare.ts";
import { execute } from "./conformance/interpreter.ts";
import type { Program, ProgramRecord } from "./conformance/language.ts";

const FOLDER = new URL("./conformance/programs/", import.meta.url);
const PROGRAMS = 548;

async function readFamilies(): Promise<
  ReadonlyMap<string, readonly ProgramRecord[]>
> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(FOLDER)) names.push(name);
  const families = new Map<string, readonly ProgramRecord[]>();
  for (const name of names.sort()) {
    families.set(
      name.replace(".json", ""),
      await readPrograms(new URL(name, FOLDER)),
    );
  }
  return families;
}

const families = await readFamilies();

Deno.test("all conformance programs are there, each once", () => {
  const ids = [...families.values()].flat().map(({ id }) => id);
  assertEquals(ids.length, PROGRAMS);
  assertEquals(new Set(ids).size, PROGRAMS);
});

for (const [family, programs] of families) {
  Deno.test(`${family}: ${programs.length} programs do what CPython does`, async () => {
    const differences: Difference[] = [];
    for (const program of programs) {
      const difference = await compare(program);
      if (difference !== null) differences.push(difference);
    }
    assertEquals(differences, []);
  });
}

Deno.test("the scenarios show the rules they are for", async () => {
  for (const program of families.get("scenarios") ?? []) {
    const { trace } = await execute(program);
    const events = trace.map(([, ...event]) => event);
    const { id, name, expect = [], absent = [] } = program;
    let at = 0;
    for (const wanted of expect) {
      const found = events.findIndex((event, index) =>
        index >= at && startsWith(event, wanted)
      );
      assertEquals(found >= 0, true, `${id} (${name}): no ${wanted}`);
      at = found + 1;
    }
    for (const unwanted of absent) {
      const found = events.some((event) => startsWith(event, unwanted));
      assertEquals(found, false, `${id} (${name}): ${unwanted}`);
    }
  }
});

function startsWith(event: readonly unknown[], start: readonly unknown[]) {
  return start.every((part, index) =>
    JSON.stringify(part) === JSON.stringify(event[index])
  );
}

// -- The interpreter, where it must not hide anything --

function program(main: unknown, more: Partial<Program> = {}): Program {
  return {
    id: "test",
    objects: [],
    deadline: 32,
    bodies: { main } as Program["bodies"],
    ...more,
  };
}

for (
  const [what, broken, message] of [
    ["an unknown statement", program([["leap"]]), "unknown statement"],
    [
      "an unknown awaitable",
      program([["await", ["tea", 5]]]),
      "unknown awaitable",
    ],
    [
      "an unknown kind of object",
      program([], { objects: [["x", "sofa"]] as never }),
      "unknown kind of object",
    ],
    [
      "an unknown condition",
      program([["if", ["late", "x"], [], []]], { objects: [["x", "var", 1]] }),
      "unknown condition",
    ],
    ["a body that is not there", program([["spawn", "t", "b"]]), "no body"],
    [
      "a callback that waits",
      program([["call_soon", "h", [["await", ["sleep", 1]]]], [
        "await",
        ["sleep", 1],
      ]]),
      "cannot wait",
    ],
    [
      "an error that the language does not know",
      program([["set_result", "x", 1]], { objects: [["x", "var", 1]] }),
      "unexpected error TypeError",
    ],
    [
      "a program that does not end",
      program([["call_soon", "h", [["repeat", 9_999_999, [["add", "x", 1]]]]], [
        "await",
        ["sleep", 1],
      ]], { objects: [["x", "var", 1]] }),
      "too many statements",
    ],
  ] as const
) {
  Deno.test(`${what} fails the program, whatever it catches`, async () => {
    const { main = [] } = broken.bodies;
    const caught = {
      ...broken,
      bodies: {
        main: [["try", main, [[["BaseException"], []]], null]],
      } as Program["bodies"],
    };
    for (const version of [broken, caught]) {
      const { failure } = await execute(version);
      assertEquals(failure?.message.includes(message), true, `${failure}`);
    }
  });
}

Deno.test("a difference is found wherever it is", async () => {
  const trace: ProgramRecord["trace"] = [
    [0, "main", "start"],
    [0.015625, "main", "r", "sleep", null],
    [0.015625, "main", "ret", null],
    [0.015625, "main", "end", "ok", null],
    [0.015625, "loop", "final", []],
  ];
  const good = { ...program([["await", ["sleep", 0.015625]]]), trace };
  assertEquals(await compare(good), null);
  for (const index of trace.keys()) {
    const wrong = [...trace];
    wrong[index] = [0.5, "main", "log", "x"];
    assertEquals((await compare({ ...good, trace: wrong }))?.index, index);
    const short = trace.slice(0, index);
    assertEquals((await compare({ ...good, trace: short }))?.index, index);
  }
  const long: ProgramRecord["trace"] = [...trace, [1, "loop", "final", []]];
  assertEquals((await compare({ ...good, trace: long }))?.index, trace.length);
});
