/**
 * Runs the supervisor programs in some files and says which do not do what OTP does:
 *
 * ```sh
 * deno run --allow-read tests/conformance/supervisor/run.ts [--style=async] FILE…
 * ```
 *
 * @module
 */
import { compare, readPrograms } from "./compare.ts";
import type { Style } from "./style.ts";

let style: Style = "generator";
let identical = 0;
let different = 0;
for (const argument of Deno.args) {
  if (argument.startsWith("--style=")) {
    const name = argument.slice("--style=".length);
    if (name !== "async" && name !== "generator") {
      throw new TypeError(
        `Cannot run programs as the style must be "async" or "generator": received "${name}"`,
      );
    }
    style = name;
    continue;
  }
  for (const program of await readPrograms(argument)) {
    const difference = await compare(program, style);
    if (difference === null) identical++;
    else {
      different++;
      const { id, index, wanted, got } = difference;
      console.log(`${id} event ${index}: wanted ${wanted}, got ${got}`);
    }
  }
}
console.log(`${identical} identical, ${different} different`);
if (different > 0) Deno.exitCode = 1;
