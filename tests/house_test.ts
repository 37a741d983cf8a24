/**
 * The house rules that a reader relies on: classes do not reach into those of other files, files and functions fit into
 * a head and say at their top what is in them, comments begin with what they are about.
 *
 * The text is read, not the types: see `support/source_text.ts` for what that knows. No exceptions: a file that breaks a
 * rule is cut, not listed.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { readSources } from "../dev/load_order.ts";
import { codeOf, lineAt } from "./support/source_text.ts";

/** Source text by path from the root. */
type Sources = ReadonlyMap<string, string>;

/** Lines of code, without comments and blank lines. Some 400: the kernel, which is read as one text, has a few more. */
const FILE_LINES_MAX = 450;
const FUNCTION_LINES_MAX = 40;

async function readHouse(): Promise<Sources> {
  const sources = await readSources();
  sources.delete("mod.ts");
  return sources;
}

// -- Back doors --

const HIDDEN =
  /\b(?:private|protected)\s+(?:(?:static|override|abstract|readonly|declare|async|get|set|accessor)\s+)*(?:\*\s*)?([\w$]+)/g;
const INDEXED = /(?:[\w$)\]!]|\?\.)\s*\[\s*(["'`])(\s*)\1\s*\]/g;

/** The members that the classes of a file declare private or protected. */
function hiddenMembers(source: string): Set<string> {
  const names = [...codeOf(source).matchAll(HIDDEN)].map(([, name = ""]) =>
    name
  );
  return new Set(names);
}

/** Every `x["member"]` in a file whose member is hidden, but in a class of another file. */
function findBackDoors(sources: Sources): string[] {
  const hidden = new Map<string, Set<string>>();
  for (const [path, source] of sources) hidden.set(path, hiddenMembers(source));
  const anywhere = new Set([...hidden.values()].flatMap((names) => [...names]));
  const found: string[] = [];
  for (const [path, source] of sources) {
    for (const match of codeOf(source).matchAll(INDEXED)) {
      const text = source.slice(match.index, match.index + match[0].length);
      const name = /["'`]([\w$]+)["'`]/.exec(text)?.[1];
      if (name === undefined || !anywhere.has(name)) continue;
      if (hidden.get(path)!.has(name)) continue;
      found.push(`${path}:${lineAt(source, match.index)}: ["${name}"]`);
    }
  }
  return found;
}

// -- Sizes --

function countLines(code: string): number {
  return code.split("\n").filter((line) => line.trim() !== "").length;
}

function findLongFiles(sources: Sources, max: number): string[] {
  const found: string[] = [];
  for (const [path, source] of sources) {
    const lines = countLines(codeOf(source));
    if (lines > max) found.push(`${path}: ${lines} lines`);
  }
  return found;
}

/** The place of the other bracket for the place of each. */
function bracketPairs(code: string): Map<number, number> {
  const pairs = new Map<number, number>();
  const open: number[] = [];
  for (let at = 0; at < code.length; at++) {
    if ("({[".includes(code[at]!)) open.push(at);
    else if (")}]".includes(code[at]!)) {
      const other = open.pop();
      if (other === undefined) continue;
      pairs.set(at, other);
      pairs.set(other, at);
    }
  }
  return pairs;
}

const CONTROL = new Set(["if", "for", "await", "while", "switch", "catch"]);

/** Whether the parameters that end at `close` are those of a function, and not the head of a statement. */
function isParameterList(
  code: string,
  pairs: ReadonlyMap<number, number>,
  close: number,
): boolean {
  const before = code.slice(0, pairs.get(close) ?? 0);
  const word = /([\w$]+)\s*$/.exec(before)?.[1];
  return word === undefined || !CONTROL.has(word);
}

/** Whether the brace at `brace` begins the body of a function: behind `=>`, `)` or `): Type`. */
function beginsFunction(
  code: string,
  pairs: ReadonlyMap<number, number>,
  brace: number,
): boolean {
  let at = code.slice(0, brace).trimEnd().length - 1;
  if (code.slice(at - 1, at + 1) === "=>") return true;
  if (code[at] === ")") return isParameterList(code, pairs, at);
  let seen = ""; // the character behind, of the return type so far
  let angles = 0; // how many type parameter lists are open, from behind
  for (; at >= 0; at--) {
    const char = code[at]!;
    if (/\s/.test(char)) continue;
    if (char === ")" && seen === ":" && angles === 0) {
      return isParameterList(code, pairs, at);
    }
    if (char === ":" && seen === "") return false; // an object in an object
    if (char === "=" && seen !== ">" || ";({".includes(char)) return false;
    if (angles === 0 && ",?".includes(char)) return false;
    if (char === "}" && !["", "|", "&", "[", ">"].includes(seen)) return false;
    if (")}]".includes(char)) at = pairs.get(at) ?? -1;
    else if (char === ">" && code[at - 1] !== "=") angles++;
    else if (char === "<") angles--;
    seen = char;
  }
  return false;
}

/** Every function whose body has more than `max` lines of code, from brace to brace. */
function findLongFunctions(sources: Sources, max: number): string[] {
  const found: string[] = [];
  for (const [path, source] of sources) {
    const code = codeOf(source);
    const pairs = bracketPairs(code);
    for (const [at, end] of pairs) {
      if (code[at] !== "{") continue;
      const lines = countLines(code.slice(at, end + 1));
      if (lines <= max || !beginsFunction(code, pairs, at)) continue;
      found.push(`${path}:${lineAt(source, at)}: ${lines} lines`);
    }
  }
  return found.sort();
}

// -- Headers --

/** Every file that does not begin with a module doc, generated lists excepted. */
function findHeaderless(sources: Sources): string[] {
  const paths = [...sources.keys()].filter((path) =>
    !path.endsWith("/load_order.ts")
  );
  return paths.filter((path) => !hasHeader(sources.get(path)!));
}

function hasHeader(source: string): boolean {
  const comment = /^\/\*\*([^]*?)\*\//.exec(source)?.[1];
  if (comment === undefined) return false;
  const lines = comment.replaceAll(MARKUP, "").split("\n");
  const at = lines.indexOf("@module");
  return at >= 0 && lines.slice(0, at).some((line) => line.trim() !== "");
}

// -- Openings of comments --

/** Openings of sentences in which the noun or the verb of the field is missing. */
const VAGUE =
  /^(?:What|Who|Whoever|Whatever|Those|One|It is|Gives|Tells|This|Somebody|Nobody)\b/;
/** Openings that are fine within a comment, where the noun is known by then, but not at its beginning. */
const VAGUE_AT_FIRST = /^(?:It|Its|So|They|Their|That)\b/;

const COMMENT = /\/\*\*?([^]*?)\*\/|^[ \t]*(\/\/.*(?:\n[ \t]*\/\/.*)*)/gm;
const MARKUP = /^[ \t]*(?:\*|\/\/)[ \t]?/gm;
const EXAMPLE = /^```[^]*?^```$/gm;
const TAG = /^(?:@(?:param|typeParam) \S+|@throws \{\w+\}|@\w+|\d+\.|[-*])\s+/;

/** The paragraphs of a comment and the texts of its tags, each on one line, without examples of code. */
function paragraphsOf(comment: string): string[] {
  const text = comment.replaceAll(MARKUP, "").replaceAll(EXAMPLE, "\n");
  return text.split(/\n\s*\n|\n(?=@|\d+\. |[-*] )/)
    .map((paragraph) => paragraph.replaceAll(/\s+/g, " ").trim())
    .map((paragraph) => paragraph.replace(TAG, ""));
}

/** Every sentence in a comment that opens with a vague word. */
function findVagueOpenings(sources: Sources): string[] {
  const found: string[] = [];
  for (const [path, source] of sources) {
    for (const match of source.matchAll(COMMENT)) {
      const sentences = paragraphsOf(match[1] ?? match[2]!)
        .flatMap((paragraph) => paragraph.split(/(?<=[.:;!?]) (?=[A-Z])/));
      const first = sentences.find((sentence) => sentence !== "");
      for (const sentence of sentences) {
        const isVague = VAGUE.test(sentence) ||
          sentence === first && VAGUE_AT_FIRST.test(sentence);
        if (!isVague) continue;
        found.push(`${path}:${lineAt(source, match.index)}: ${sentence}`);
      }
    }
  }
  return found;
}

// -- The house --

Deno.test("no file of src/ uses private members of the classes of another file", async () => {
  assertEquals(findBackDoors(await readHouse()), []);
});

Deno.test(`no file of src/ has more than ${FILE_LINES_MAX} lines of code`, async () => {
  assertEquals(findLongFiles(await readHouse(), FILE_LINES_MAX), []);
});

Deno.test(`no function in src/ has more than ${FUNCTION_LINES_MAX} lines`, async () => {
  assertEquals(findLongFunctions(await readHouse(), FUNCTION_LINES_MAX), []);
});

Deno.test("every file of src/ says at its top what is in it", async () => {
  assertEquals(findHeaderless(await readHouse()), []);
});

Deno.test("every sentence in the comments of src/ begins with a noun or a verb that says what it is about", async () => {
  assertEquals(findVagueOpenings(await readHouse()), []);
});

// -- The finders --

function sourcesOf(files: Record<string, string>): Sources {
  return new Map(Object.entries(files));
}

Deno.test("findBackDoors() finds private members of other files, and only those", () => {
  const sources = sourcesOf({
    "src/a.ts": `export class A {
      declare private readonly one: number;
      protected abstract override two(): void;
      private get three(): number { return this.one; }
      private static async *four() {}
      open = 0;
    }
    helper(a["one"]);`,
    "src/b.ts": `import { A } from "./a.ts";
      a["one"]; a?.["two"](); a!['three'] = 1; list[0]["four"]; f()[ "one" ];
      a["open"]; a["unknown"]; const t = ["one"]; type T = Table["one two"];
      // a["one"]
      class B { private four() { this["four"](); } }`,
  });
  assertEquals(findBackDoors(sources), [
    'src/b.ts:2: ["one"]',
    'src/b.ts:2: ["two"]',
    'src/b.ts:2: ["three"]',
    'src/b.ts:2: ["one"]',
  ]);
});

Deno.test("findVagueOpenings() looks at each sentence of comments, and at nothing else", () => {
  const sources = sourcesOf({
    "src/a.ts": `/** What is a queue. */
/**
 * A queue. One
 * of many. Whoever
 * waits goes on: Those in line first.
 *
 * \`\`\`ts
 * // This is code.
 * \`\`\`
 *
 * @param a What to do.
 * @returns A list
 * - Gives nothing.
 */
// Tells all
// of it is said. It is so. It has to be.
const a = "// What"; // Only whole lines count.
`,
    "src/b.ts": `/** Whether one of those is
 * What the whole is. */
// A line
// This line goes on with.
/** \`one\`: Onerous. Whatever. */
// It waits. It goes on.`,
  });
  assertEquals(findVagueOpenings(sources), [
    "src/a.ts:1: What is a queue.",
    "src/a.ts:2: One of many.",
    "src/a.ts:2: Whoever waits goes on:",
    "src/a.ts:2: Those in line first.",
    "src/a.ts:2: What to do.",
    "src/a.ts:2: Gives nothing.",
    "src/a.ts:15: Tells all of it is said.",
    "src/a.ts:15: It is so.",
    "src/b.ts:5: Whatever.",
    "src/b.ts:6: It waits.",
  ]);
});

Deno.test("findHeaderless() finds files that do not begin with a module doc", () => {
  const sources = sourcesOf({
    "src/a.ts": "/**\n * Queues.\n *\n * @module\n */\na;\n",
    "src/b.ts": "a;\n",
    "src/c.ts": "/** Queue. */\nclass A {}\n/**\n * @module\n */\n",
    "src/d.ts": "a;\n/**\n * Queues.\n *\n * @module\n */\n",
    "src/e.ts": "/*\n * Queues.\n *\n * @module\n */\n",
    "src/f.ts": "/**\n * @module\n */\n",
    "src/load_order.ts": "a;\n",
  });
  assertEquals(
    findHeaderless(sources),
    ["src/b.ts", "src/c.ts", "src/d.ts", "src/e.ts", "src/f.ts"],
  );
});

Deno.test("findLongFiles() counts lines of code", () => {
  const sources = sourcesOf({
    "src/a.ts": "/**\n * Doc.\n */\na;\n\n  // comment\nb; // c\n",
    "src/b.ts": "a;\nb;\nc;\n",
  });
  assertEquals(findLongFiles(sources, 2), ["src/b.ts: 3 lines"]);
});

Deno.test("findLongFunctions() knows functions from other blocks", () => {
  const long = "{\n  a;\n\n  // comment\n  b;\n}";
  const functions = [
    `function f() ${long}`,
    `function* f<T>(a: T, b = { c: 1 }): Generator<T, void> ${long}`,
    `class A { #m(): void ${long} }`,
    `class A { get m(): string | undefined ${long} }`,
    `class A { constructor() ${long} }`,
    `class A { m(a: number): { b: string; c: number } ${long} }`,
    `class A { m(): readonly [a: string, b: () => void] ${long} }`,
    `const f = (a: number) => ${long};`,
    `const f = async (a: number): Promise<void> => ${long};`,
    `g(async () => ${long});`,
    `function f(a: unknown): a is { b: string } ${long}`,
  ];
  for (const source of functions) {
    assertEquals(
      findLongFunctions(sourcesOf({ "src/a.ts": source }), 3),
      ["src/a.ts:1: 4 lines"],
      source,
    );
    assertEquals(findLongFunctions(sourcesOf({ "src/a.ts": source }), 4), []);
  }
  const others = [
    `class A extends B<C> ${long}`,
    `interface A extends B ${long}`,
    `if (a) ${long} else ${long}`,
    `for (const a of b(c)) ${long}`,
    `for await (const a of b) ${long}`,
    `while (a) ${long}`,
    `switch (a(b)) ${long}`,
    `try ${long} catch (error) ${long} finally ${long}`,
    `const a: B = ${long};`,
    `const a = b ? c(d) : ${long};`,
    `f(a, ${long});`,
    `const a = { b: c(d), e: ${long} };`,
    `type A = { a: (b: number) => void } & ${long};`,
    `f(); class A ${long}`,
  ];
  for (const source of others) {
    assertEquals(
      findLongFunctions(sourcesOf({ "src/a.ts": source }), 3),
      [],
      source,
    );
  }
});
