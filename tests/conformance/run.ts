/**
 * Runs the programs in some files and says which do not do what CPython does:
 *
 * ```sh
 * deno run --allow-read tests/conformance/run.ts FILE…
 * ```
 *
 * @module
 */
import { compare, readPrograms } from "./compare.ts";

let identical = 0;
let different = 0;
for (const path of Deno.args) {
  for (const program of await readPrograms(path)) {
    const difference = await compare(program);
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
