/**
 * A process that is inspected and does nothing: prints its URL, and ends with its input.
 *
 * @module
 */
import { run, until } from "../../../mod.ts";
import { inspect } from "../../../src/observe/mod.ts";

await run(async () => {
  await using inspector = inspect();
  console.log(await inspector.ready());
  await until(new Response(Deno.stdin.readable).text());
});
