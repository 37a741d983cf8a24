/**
 * The programs that Erlang/OTP ran, with the traces that its own `supervisor` gave.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  compare,
  type Difference,
  readPrograms,
} from "../conformance/supervisor/compare.ts";

const FOLDER = new URL("../conformance/supervisor/programs/", import.meta.url);

for (const style of ["generator", "async"] as const) {
  Deno.test(`supervisors do what OTP's do, children in the style ${style}`, async () => {
    const differences: Difference[] = [];
    let count = 0;
    for await (const { name } of Deno.readDir(FOLDER)) {
      for (const program of await readPrograms(new URL(name, FOLDER))) {
        count++;
        const difference = await compare(program, style);
        if (difference !== null) differences.push(difference);
      }
    }
    assertEquals(differences, []);
    assertEquals(count, 300);
  });
}

Deno.test("the program that compares says which programs differ, where, and how many", async () => {
  const file = JSON.parse(
    await Deno.readTextFile(new URL("start.json", FOLDER)),
  );
  const [program] = file.programs;
  const [, right] = program.trace[0];
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    program.trace[0][1] = ["started", "z"];
    await Deno.writeTextFile(path, JSON.stringify(file));
    for (const style of ["generator", "async"]) {
      const { code, stdout } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--allow-read",
          import.meta.resolve("../conformance/supervisor/run.ts"),
          `--style=${style}`,
          path,
        ],
      }).output();
      assertEquals([code, ...new TextDecoder().decode(stdout).split("\n")], [
        1,
        `${program.id} event 0.1: wanted ["started","z"], got ${
          JSON.stringify(right)
        }`,
        `${file.count - 1} identical, 1 different`,
        "",
      ]);
    }
  } finally {
    await Deno.remove(path);
  }
});
