/**
 * Runs every program in `examples/`: it must end by itself, succeed, and have
 * something to show.
 *
 * A file directly in `examples/` is a program, and so is `main.ts` in a folder
 * of it. Other files in folders belong to a program. The demo has its own test.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ROOT, runDeno } from "./support/run_deno.ts";

const EXAMPLES = new URL("examples/", ROOT);

async function findPrograms(folder = ""): Promise<string[]> {
  const programs: string[] = [];
  for await (
    const { name, isDirectory } of Deno.readDir(new URL(folder, EXAMPLES))
  ) {
    const path = `${folder}${name}`;
    if (path.startsWith("demo")) continue;
    if (isDirectory) programs.push(...await findPrograms(`${path}/`));
    else if (folder === "" ? name.endsWith(".ts") : name === "main.ts") {
      programs.push(path);
    }
  }
  return programs.sort();
}

for (const program of await findPrograms()) {
  Deno.test(`examples/${program} runs`, async () => {
    const { code, killed, stdout, stderr } = await runDeno(
      ["run", "-A", "--no-prompt", new URL(program, EXAMPLES).href],
      { limitMs: 20_000 },
    );
    const output = `\n${stdout}\n${stderr}`;
    assert(!killed, `it did not end within 20 seconds:${output}`);
    assertEquals(code, 0, `it failed:${output}`);
    assert(stdout.trim() !== "", `it printed nothing:${output}`);
  });
}
