/**
 * Runs `examples/demo.ts` as its users do: as a process of its own, on real
 * files, and interrupted.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ROOT } from "./support/run_deno.ts";

const LIMIT_MS = 30_000;

/** Program that starts the demo, and its arguments, given those of `deno`. */
type StartedBy = (
  args: readonly string[],
) => readonly [program: string, args: readonly string[]];

/** A folder in which a demo runs, so that runs do not write over each other's result. */
class Workplace implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Workplace> {
    return new Workplace(await Deno.makeTempDir({ prefix: "rota_demo_" }));
  }

  async write(name: string, content: string | Uint8Array): Promise<string> {
    const path = `${this.folder}/${name}`;
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    return path;
  }

  /** Starts the demo; `by` may have another program do so. */
  start(
    names: readonly string[],
    by: StartedBy = (args) => [Deno.execPath(), args],
  ): Deno.ChildProcess {
    const demo = new URL("examples/demo.ts", ROOT).href;
    const [program, args] = by(["run", "-A", demo, "--ask-for=200", ...names]);
    return new Deno.Command(program, {
      args: [...args],
      cwd: this.folder,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", INIT_CWD: this.folder },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  async run(...names: string[]): Promise<Ended> {
    const child = this.start(names);
    await child.stdin.close();
    return await this.end(child);
  }

  /** Waits for the end of a child. One that does not end is killed. */
  async end(child: Deno.ChildProcess): Promise<Ended> {
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    try {
      const { code, stdout, stderr } = await child.output();
      const decoder = new TextDecoder();
      return {
        code,
        stdout: decoder.decode(stdout),
        stderr: decoder.decode(stderr),
        result: await this.#readResult(),
      };
    } finally {
      clearTimeout(timer);
    }
  }

  async #readResult(): Promise<string> {
    try {
      return await Deno.readTextFile(`${this.folder}/.report/concordance.txt`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The file that was written, "" if none was. */
  readonly result: string;
}

/** Whether there is such a program. */
async function canRun(program: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

/** How often each word stands in `text`, found in another way than by the demo. */
function countWords(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const run of text.split(/[^\p{ID_Continue}$]+/u)) {
    const start = [...run].findIndex((char) => /[\p{ID_Start}$_]/u.test(char));
    if (start < 0) continue;
    const word = [...run].slice(start).join("");
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

/** The counts that a result gives. */
function countsIn(result: string): Map<string, number> {
  const table = result.slice(result.indexOf("The words, "));
  return new Map(
    [...table.matchAll(/^ *(\d+) {2}(\S+) {2}\S/gm)]
      .map(([, count, word]) => [word!, Number(count)]),
  );
}

function sorted(counts: Map<string, number>): [string, number][] {
  return [...counts].sort(([a], [b]) => a < b ? -1 : 1);
}

async function readSources(folder: URL): Promise<string[]> {
  const texts: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) {
      texts.push(...await readSources(new URL(`${name}/`, folder)));
    } else if (name.endsWith(".ts")) {
      texts.push(await Deno.readTextFile(new URL(name, folder)));
    }
  }
  return texts;
}

Deno.test("the demo reads the sources of the repository by default", async () => {
  await using workplace = await Workplace.create();
  const { code, stdout, stderr, result } = await workplace.run();
  const texts = await readSources(ROOT);
  assertEquals(code, 0, stderr);
  assertEquals(stderr, "", "no progress bar where there is no terminal");
  assertStringIncludes(stdout, `Reading ${texts.length} files\n`);
  assertStringIncludes(stdout, `Result: ${workplace.folder}/.report/`);
  assertStringIncludes(
    result,
    `Concordance of ${texts.length} of ${texts.length} files\n`,
  );
  assertEquals(
    sorted(countsIn(result)),
    sorted(countWords(texts.join("\n"))),
  );
});

Deno.test("the demo reads the files that it is given", async () => {
  await using workplace = await Workplace.create();
  await workplace.write("first.txt", "one two\ntwo three\n\nzwölf $x _y 3z\n");
  await workplace.write("second.txt", "two\r\nthree, three: two.two\r\nno end");
  await workplace.write("empty.txt", "");
  const { code, stdout, stderr, result } = await workplace.run(
    "first.txt",
    `${workplace.folder}/second.txt`,
    "empty.txt",
  );
  const second = `${workplace.folder}/second.txt`;
  assertEquals(code, 0, stderr);
  assertEquals(stderr, "");
  assertEquals(
    stdout.replace(/ averages .*/, " averages …")
      .replace(/Served [1-9]\d* questions?/, "Served some questions"),
    [
      "Reading 3 files",
      "3 of 3 files, 7 lines, 15 words, 9 different",
      "Most frequent: two (5), three (3), $x (1), _y (1), end (1)",
      "Restarted: counter 1 (Error: crashed on purpose)",
      "Served some questions, 0 refused",
      "Status averages …",
      `Result: ${workplace.folder}/.report/concordance.txt`,
      "",
    ].join("\n"),
  );
  assertEquals(
    result,
    `Concordance of 3 of 3 files

The longest lines, in characters:

21  ${second}:2
14  first.txt:4
9  first.txt:2
7  first.txt:1
6  ${second}:3
3  ${second}:1
0  first.txt:3

The words, each with its number and where it comes first in the files
that have the most of it:

5  two  ${second}:1 (3), first.txt:1 (2)
3  three  ${second}:2 (2), first.txt:2
1  $x  first.txt:4
1  _y  first.txt:4
1  end  ${second}:3
1  no  ${second}:3
1  one  first.txt:1
1  z  first.txt:4
1  zwölf  first.txt:4
`,
  );
});

Deno.test("the demo counts a large file right, whatever the chunks it comes in", async () => {
  await using workplace = await Workplace.create();
  // Words of two-byte characters, so that some lie across two reads; lines of
  // all lengths; one line that is longer than a read; no line end at the end.
  const words = ["äöü", "naïve", "ключ", "word", "$1"];
  const lines: string[] = [];
  for (let n = 0; n < 5_000; n++) {
    lines.push(
      Array.from({ length: n % 17 }, (_, i) => words[(n + i) % 5]).join(" "),
    );
  }
  lines.push("long ".repeat(10_000));
  const text = lines.join("\n");
  await workplace.write("large.txt", text);
  const { code, stdout, stderr, result } = await workplace.run("large.txt");
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "1 of 1 file, 5001 lines, ");
  assertStringIncludes(result, "50000  large.txt:5001\n");
  assertEquals(sorted(countsIn(result)), sorted(countWords(text)));
});

Deno.test("the demo reads standard input", async () => {
  await using workplace = await Workplace.create();
  const child = workplace.start(["-"]);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("one two\nt"));
  await writer.write(new TextEncoder().encode("wo"));
  await writer.close();
  const { code, stderr, result } = await workplace.end(child);
  assertEquals(code, 0, stderr);
  assertEquals(sorted(countsIn(result)), [["one", 1], ["two", 2]]);
});

Deno.test("the demo names files that it cannot read, and reads the others", async () => {
  await using workplace = await Workplace.create();
  await workplace.write("there.txt", "here it is");
  await Deno.mkdir(`${workplace.folder}/folder`);
  const { code, stdout, stderr, result } = await workplace.run(
    "missing.txt",
    "there.txt",
    "folder",
  );
  assertEquals(code, 1);
  assertStringIncludes(
    stderr,
    "Cannot read missing.txt: there is no such file\n",
  );
  assertStringIncludes(stderr, "Cannot read folder: ");
  assertStringIncludes(stdout, "1 of 3 files, 1 line, 3 words, 3 different\n");
  assertStringIncludes(result, "Concordance of 1 of 3 files\n");
  assertEquals(
    sorted(countsIn(result)),
    [["here", 1], ["is", 1], ["it", 1]],
  );
});

Deno.test("the demo has nothing to restart if there is nothing to count", async () => {
  await using workplace = await Workplace.create();
  await workplace.write("empty.txt", "");
  const { code, stdout, stderr } = await workplace.run("empty.txt");
  assertEquals(code, 0, stderr);
  assertEquals(stderr, "");
  assertStringIncludes(stdout, "1 of 1 file, 0 lines, 0 words, 0 different\n");
  assert(!stdout.includes("Restarted"), stdout);
});

Deno.test({
  name: "the demo shows its children and how far it is on a terminal",
  ignore: !await canRun("script"),
  fn: async () => {
    await using workplace = await Workplace.create();
    await workplace.write("there.txt", "here it is");
    // Gives it a terminal.
    const child = workplace.start(["missing.txt", "there.txt"], (args) => [
      "script",
      ["-qec", [Deno.execPath(), ...args].join(" "), "/dev/null"],
    ]);
    const { code, stdout } = await workplace.end(child);
    await child.stdin.close();
    assertEquals(code, 1, stdout);
    assert(Number(/\((\d+) looks\)/.exec(stdout)?.[1]) > 0, stdout);
    assertStringIncludes(stdout, "demo (one-for-one, running");
    assertStringIncludes(stdout, "├─ counter 1 (restarting in ");
    assertStringIncludes(stdout, "Error: crashed on purpose");
    assertStringIncludes(stdout, "] 1 of 2 files, 0.0 MB");
    // Nothing of that is left.
    const last = stdout.slice(stdout.lastIndexOf("\x1b[J"));
    assertStringIncludes(last, "1 of 2 files, 1 line, 3 words, 3 different");
    assert(!last.includes("counter 2"), last);
  },
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test({
    name: `the demo writes what it has read when it gets ${signal}`,
    ignore: Deno.build.os === "windows",
    fn: async () => {
      await using workplace = await Workplace.create();
      await workplace.write("done.txt", "all of this");
      const child = workplace.start(["done.txt", "-"]);
      // The pipe, a chunk of the reader and the queue hold far less than this. When
      // all of it is written, most of it has been counted, and the end is open.
      const line = "word ".repeat(20) + "\n";
      const lines = 10_000;
      const writer = child.stdin.getWriter();
      try {
        for (let n = 0; n < lines; n += 100) {
          await writer.write(new TextEncoder().encode(line.repeat(100)));
        }
        child.kill(signal);
      } catch {
        // It has ended already. Its output says why.
      }
      const { code, stdout, stderr, result } = await workplace.end(child);
      await writer.abort().catch(() => {}); // nobody is left to read
      assertEquals(code, 130, stderr);
      assertEquals(stderr, "Interrupted, the result is incomplete\n");
      assertStringIncludes(stdout, "1 of 2 files, ");
      assertStringIncludes(
        result,
        "Concordance of 1 of 2 files, and of others as far as they were read\n",
      );
      const counts = countsIn(result);
      assertEquals(counts.get("all"), 1);
      const words = counts.get("word") ?? 0;
      assert(words >= 0.7 * 20 * lines, `it has counted ${words} words only`);
      assert(words <= 20 * lines, `it has counted ${words} words`);
      assertEquals([...counts.keys()].length, 4);
    },
  });
}
