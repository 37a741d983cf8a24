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
