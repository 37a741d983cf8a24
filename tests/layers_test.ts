/**
 * The architecture, as a test: which folder may import from which, and which
 * file is the door to which part of the outside world.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { codeOf, importsOf, lineAt } from "./support/source_text.ts";

/**
 * The layers, innermost first. A file imports values from its own layer and
 * from those above it in this list, types from anywhere. A file in `src/` that
 * belongs to none of them fails: adding a layer is a decision.
 */
const LAYERS = [
  "src/errors.ts",
  "src/structures/",
  "src/host/",
  "src/loop/",
  "src/sync/",
  "src/structured/",
  "src/schedule/",
  "src/sources/",
  "src/workers/",
  "src/supervise/",
  "src/serve/",
  "src/fleet/",
  "src/observe/",
  "src/testing/",
  "src/load_order.ts",
  "mod.ts",
];

/** Files that import no values at all. */
const LEAVES = ["src/errors.ts"];

/**
 * The parts of the outside world, and the one file that may name each. An
 * empty list bans a thing. This finds accidents, not evasions: code that is bent
 * on reaching `globalThis["set" + "Timeout"]` gets there.
 */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  "AbortSignal.any": [], // leaks on a signal that lives long
  "AbortSignal.timeout": [], // a timer that no clock of ours knows
  "BroadcastChannel": [],
  "MessageChannel": ["src/host/message_port.ts"],
  "MessagePort": ["src/host/message_port.ts"],
  "AsyncLocalStorage": ["src/host/async_context.ts"],
  "Date.now": ["src/host/clock.ts"],
  "Deno.Command": ["src/host/child_process.ts"],
  "Deno.addSignalListener": ["src/host/signals.ts"],
  "Deno.build": ["src/host/platform.ts"],
  "Deno.dlopen": ["src/host/libc.ts"],
  "Deno.env": ["src/host/process.ts"],
  "Deno.execPath": ["src/host/child_process.ts"],
  "Deno.exit": ["src/host/process.ts"],
  "Deno.kill": ["src/host/process.ts"],
  "Deno.mainModule": ["src/host/child_process.ts"],
  "Deno.memoryUsage": ["src/host/v8.ts"],
  "Deno.openSync": ["src/host/inherited_pipe.ts"],
  "Deno.permissions": ["src/host/process.ts"],
  "Deno.readTextFile": ["src/host/inspector.ts"],
  "Deno.readTextFileSync": ["src/host/process_stat.ts"],
  "Deno.refTimer": [],
  "Deno.removeSignalListener": ["src/host/signals.ts"],
  "Deno.serve": ["src/host/http_server.ts"],
  "Deno.statSync": ["src/host/child_process.ts"],
  "Deno.test": ["src/host/test_runner.ts"],
  "Deno.watchFs": ["src/host/event_sources.ts"],
  "Deno.unrefTimer": ["src/host/timers.ts"],
  "Deno.upgradeWebSocket": ["src/host/http_server.ts"],
  "FinalizationRegistry": ["src/host/finalization.ts"],
  "Math.random": [],
  "clearImmediate": [],
  "clearInterval": ["src/host/timers.ts"],
  "clearTimeout": ["src/host/timers.ts"],
  "console": ["src/host/process.ts"],
  "new Date": ["src/host/clock.ts"],
  "navigator.hardwareConcurrency": ["src/host/platform.ts"],
  "new WebSocket": ["src/host/event_sources.ts"],
  "new Worker": [], // cannot be stopped; src/host/thread.ts has threads that can
  "performance": ["src/host/clock.ts"],
  "queueMicrotask": ["src/host/microtask.ts"],
  "setImmediate": ["src/host/macrotask.ts"],
  "setInterval": ["src/host/timers.ts"],
  "setTimeout": ["src/host/timers.ts"],
};

/** The same for modules that are not ours. One that is missing here is banned. */
const MODULE_DOORS: Readonly<Record<string, readonly string[]>> = {
  "node:async_hooks": ["src/host/async_context.ts"],
  "node:inspector": ["src/host/inspector.ts"],
  "node:v8": ["src/host/v8.ts"],
  "node:worker_threads": ["src/host/thread.ts"],
};

/** Source text by path from the root, such as "src/errors.ts". */
type Tree = ReadonlyMap<string, string>;

function layerOf(path: string): number {
  return LAYERS.findIndex((layer) =>
    layer.endsWith("/") ? path.startsWith(layer) : path === layer
  );
}

function isModule(specifier: string): boolean {
  return specifier.startsWith("./") || specifier.startsWith("../");
}

function resolve(from: string, specifier: string): string {
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

function findUnknownFiles(tree: Tree): string[] {
  return [...tree.keys()].filter((path) => layerOf(path) < 0)
    .map((path) => `${path}: in no layer`);
}

function findWrongImports(tree: Tree): string[] {
  const wrong: string[] = [];
  for (const [path, source] of tree) {
    for (const { specifier, typeOnly, line } of importsOf(source)) {
      const say = (why: string) =>
        wrong.push(`${path}:${line}: "${specifier}" ${why}`);
      if (!isModule(specifier)) {
        if (!MODULE_DOORS[specifier]?.includes(path)) {
          say("is not allowed here");
        }
        continue;
      }
      const target = resolve(path, specifier);
      const layer = layerOf(target);
      if (layer < 0) say("is in no layer");
      else if (typeOnly) continue;
      else if (LEAVES.includes(path)) say("in a file that imports no values");
      else if (layer > layerOf(path)) {
        say(`is in ${LAYERS[layer]}, further out`);
      }
    }
  }
  return wrong;
}

function findCycle(tree: Tree): string[] {
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): string[] | undefined => {
    const seenAt = trail.indexOf(path);
    if (seenAt >= 0) return [...trail.slice(seenAt), path];
    if (done.has(path)) return undefined;
    trail.push(path);
    for (
      const { specifier, typeOnly, dynamic } of importsOf(tree.get(path) ?? "")
    ) {
      if (typeOnly || dynamic || !isModule(specifier)) continue;
      const cycle = visit(resolve(path, specifier));
      if (cycle) return cycle;
    }
    trail.pop();
    done.add(path);
    return undefined;
  };
  for (const path of tree.keys()) {
    const cycle = visit(path);
    if (cycle) return cycle;
  }
  return [];
}

function patternOf(door: string): RegExp {
  const words = door.replace("new ", "new\\s+").replace(".", "\\s*\\??\\.\\s*");
  // A member of something else, such as `host.setTimeout`, is no door. A spread
  // and a member of globalThis are.
  return new RegExp(
    `(?:(?<![\\w$#]|(?<!\\.\\.)\\.\\s*)|\\bglobalThis\\s*\\??\\.\\s*)${words}\\b`,
    "g",
  );
}

function findOpenDoors(tree: Tree): string[] {
  const open: string[] = [];
  for (const [path, source] of tree) {
    const code = codeOf(source);
    for (const [door, homes] of Object.entries(DOORS)) {
      if (homes.includes(path)) continue;
      for (const match of code.matchAll(patternOf(door))) {
        open.push(`${path}:${lineAt(source, match.index)}: ${door}`);
      }
    }
  }
  return open;
}

async function readTree(): Promise<Tree> {
  const root = new URL("../", import.meta.url);
  const tree = new Map<string, string>();
  const readFolder = async (folder: string) => {
    const entries = await Array.fromAsync(Deno.readDir(new URL(folder, root)));
    entries.sort((a, b) => a.name < b.name ? -1 : 1);
    for (const { name, isDirectory } of entries) {
      if (isDirectory) await readFolder(`${folder}${name}/`);
      else {
        const path = `${folder}${name}`;
        tree.set(path, await Deno.readTextFile(new URL(path, root)));
      }
    }
  };
  await readFolder("src/");
  try {
    tree.set("mod.ts", await Deno.readTextFile(new URL("mod.ts", root)));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return tree;
}

// -- The tree --

Deno.test("every file in src/ belongs to a layer", async () => {
  assertEquals(findUnknownFiles(await readTree()), []);
});

Deno.test("values are imported only from the same layer or from further in", async () => {
  assertEquals(findWrongImports(await readTree()), []);
});

Deno.test("no cycle of value imports", async () => {
  assertEquals(findCycle(await readTree()), []);
});

Deno.test("each part of the outside world has one door at most, and every door is used", async () => {
  const tree = await readTree();
  const wrong: string[] = [];
  for (const [door, homes] of Object.entries(DOORS)) {
    if (homes.length > 1) wrong.push(`${door} has several doors`);
    for (const home of homes) {
      const found = codeOf(tree.get(home) ?? "").match(patternOf(door));
      if (found === null) wrong.push(`${home} does not name ${door}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("each part of the outside world is named only in its door", async () => {
  assertEquals(findOpenDoors(await readTree()), []);
});

// -- The finders --

function treeOf(files: Record<string, string>): Tree {
  return new Map(Object.entries(files));
}

Deno.test("findUnknownFiles() names files outside of the layers", () => {
  const tree = treeOf({
    "mod.ts": "",
    "src/errors.ts": "",
    "src/loop/task.ts": "",
    "src/util.ts": "",
    "src/looping/task.ts": "",
  });
  assertEquals(findUnknownFiles(tree), [
    "src/util.ts: in no layer",
    "src/looping/task.ts: in no layer",
  ]);
});

Deno.test("findWrongImports() lets inner layers, neighbours and types through", () => {
  const tree = treeOf({
    "mod.ts": 'export { run } from "./src/loop/run.ts";',
    "src/errors.ts": 'import type { Task } from "./loop/task.ts";',
    "src/host/async_context.ts":
      'import { AsyncLocalStorage } from "node:async_hooks";',
    "src/sync/lock.ts": `
      import { Task } from "../loop/task.ts";
      import { Waiters } from "./waiters.ts";
      import type { Supervisor } from "../supervise/supervisor.ts";
      export type { Group } from "../structured/group.ts";`,
  });
  assertEquals(findWrongImports(tree), []);
});

Deno.test("findWrongImports() finds every other arrow", () => {
  const tree = treeOf({
    "src/errors.ts": 'import { x } from "./errors.ts";',
    "src/host/clock.ts": 'import { hrtime } from "node:process";',
    "src/loop/task.ts": `
      import { Lock } from "../sync/lock.ts";
      export * from "../structured/group.ts";
      const lazy = () => import("../workers/pool.ts");
      import { type Mock } from "../testing/mock.ts";`,
    "src/sync/lock.ts": 'import "../../mod.ts"; import "npm:fastq@1";',
    "src/sync/event.ts": 'import type { X } from "../../tests/x.ts";',
  });
  assertEquals(findWrongImports(tree), [
    'src/errors.ts:1: "./errors.ts" in a file that imports no values',
    'src/host/clock.ts:1: "node:process" is not allowed here',
    'src/loop/task.ts:2: "../sync/lock.ts" is in src/sync/, further out',
    'src/loop/task.ts:3: "../structured/group.ts" is in src/structured/, further out',
    'src/loop/task.ts:4: "../workers/pool.ts" is in src/workers/, further out',
    'src/loop/task.ts:5: "../testing/mock.ts" is in src/testing/, further out',
    'src/sync/lock.ts:1: "../../mod.ts" is in mod.ts, further out',
    'src/sync/lock.ts:1: "npm:fastq@1" is not allowed here',
    'src/sync/event.ts:1: "../../tests/x.ts" is in no layer',
  ]);
});

Deno.test("findCycle() follows values, not types or import()", () => {
  const files = {
    "src/loop/a.ts": 'import { b } from "./b.ts"; import "./d.ts";',
    "src/loop/b.ts": 'import { c } from "./c.ts";',
    "src/loop/c.ts": 'import type { A } from "./a.ts"; import("./b.ts");',
    "src/loop/d.ts": 'import { c } from "./c.ts";',
  };
  assertEquals(findCycle(treeOf(files)), []);
  files["src/loop/c.ts"] = 'export { b } from "./b.ts";';
  assertEquals(findCycle(treeOf(files)), [
    "src/loop/b.ts",
    "src/loop/c.ts",
    "src/loop/b.ts",
  ]);
});

Deno.test("findOpenDoors() finds a name wherever it is code", () => {
  const source = [
    "setTimeout(f, 1);",
    "globalThis.setTimeout(f, 1); globalThis?.console.log();",
    "const t = `${Date.now()}`;",
    "call(...performance.toJSON());",
    "new  Date(); new Worker(url);",
    "const random = Math\n  .random;",
    "let timer: ReturnType<typeof setInterval>;",
  ].join("\n");
  assertEquals(findOpenDoors(treeOf({ "src/loop/a.ts": source })), [
    "src/loop/a.ts:3: Date.now",
    "src/loop/a.ts:6: Math.random",
    "src/loop/a.ts:2: console",
    "src/loop/a.ts:5: new Date",
    "src/loop/a.ts:5: new Worker",
    "src/loop/a.ts:4: performance",
    "src/loop/a.ts:8: setInterval",
    "src/loop/a.ts:1: setTimeout",
    "src/loop/a.ts:2: setTimeout",
  ]);
  assertEquals(
    findOpenDoors(
      treeOf({ "src/host/timers.ts": "setTimeout(f, clearTimeout);" }),
    ),
    [],
  );
});

Deno.test("findOpenDoors() leaves members, longer names and text alone", () => {
  const source = `
    // setTimeout
    /** {@linkcode console} */
    host.setTimeout(1); this.#setTimeout(); setTimeouts(); _setTimeout();
    const s = "console" + 'performance' + \`Date.now \${1}\`;
    if (/queueMicrotask/.test(s)) Deno.exitCode = 1;
    interface Door { performanceMs: number }
    const d: Date = given; Math.max(1);`;
  assertEquals(findOpenDoors(treeOf({ "src/loop/a.ts": source })), []);
});

// -- The text --

Deno.test("codeOf() keeps code and the place of everything", () => {
  const cases: [source: string, code: string][] = [
    ["a // b\nc", "a     \nc"],
    ["a /* b\nc */ d", "a     \n     d"],
    ["a /* never closed", "a                "],
    [`f("a // b", 'it\\'s') // c`, `f("      ", '     ')     `],
    ["`a ${b} c`", "`  ${b}  `"],
    ["`a ${ { b: `c ${d}` } } e`;f", "`  ${ { b: `  ${d}` } }  `;f"],
    ["`\\${a} \\` b` + c", "`          ` + c"],
    ["x = /[/\"]\\/'/g; y", "x =           ; y"],
    ["a / b / c", "a / b / c"],
    ["(a) / b; c[0] / d", "(a) / b; c[0] / d"],
    ["return /'/", "return    "],
    ["x.return / 2 / 1", "x.return / 2 / 1"],
    ["i++ / 2 / 1", "i++ / 2 / 1"],
    ["f(/a`b/, 1_0e3 / 2 / 3)", "f(     , 1_0e3 / 2 / 3)"],
    ["#!/usr/bin/env x\na", "                \na"],
    ['"ü😀" + b', '"   " + b'],
    ['"not closed\nb', '"          \nb'],
    ["", ""],
  ];
  for (const [source, code] of cases) {
    assertEquals(codeOf(source), code, source);
    assertEquals(codeOf(source).length, source.length);
  }
});

Deno.test("importsOf() finds every form of import and nothing else", () => {
  const source = `
import a from "./a.ts";
import b, { c as d } from './b.ts';
import * as e from "./e.ts";
import "./f.ts";
import {
  g, // with a comment "./x.ts"
  type H,
} from "./g.ts";
import type { I } from "./i.ts";
import type * as J from "./j.ts";
import type K from "./k.ts";
import type from "./l.ts";
export { m } from "./m.ts";
export * from "./n.ts";
export * as o from "./o.ts";
export type { P } from "./p.ts";
const q = await import("./q.ts");
const r = import.meta.url + "./x.ts";
export const s = Array.from("./x.ts");
export type T = "./x.ts";
export type { U };
export default "./x.ts";
const v = 'import "./x.ts"'; // import "./x.ts"
x.import("./x.ts");
import w from "./w.json" with { type: "json" };
export { y };
const z = from("./x.ts");
`;
  assertEquals(
    importsOf(source).map(({ specifier, typeOnly, dynamic, line }) =>
      `${line} ${specifier}${typeOnly ? " type" : ""}${dynamic ? " ()" : ""}`
    ),
    [
      "2 ./a.ts",
      "3 ./b.ts",
      "4 ./e.ts",
      "5 ./f.ts",
      "6 ./g.ts",
      "10 ./i.ts type",
      "11 ./j.ts type",
      "12 ./k.ts type",
      "13 ./l.ts",
      "14 ./m.ts",
      "15 ./n.ts",
      "16 ./o.ts",
      "17 ./p.ts type",
      "18 ./q.ts ()",
      "26 ./w.json",
    ],
  );
});
