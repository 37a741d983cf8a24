/**
 * Which configuration a child process gets.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { configFlags } from "../../src/workers/config_flags.ts";

const REMOTE = "https://jsr.io/@rota/rota/1.0.0/src/workers/process_entry.ts";
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

Deno.test("a script from a registry gets the configuration of the program", () => {
  assertEquals(configFlags(REMOTE, []), [`--config=${CONFIG}`]);
  assertEquals(configFlags(REMOTE, ["--cached-only", "--check"]), [
    `--config=${CONFIG}`,
  ]);
});

Deno.test("a script that is a file finds its own", () => {
  assertEquals(configFlags("file:///a/b.ts", []), []);
});

Deno.test("a configuration that was named is the only one", () => {
  for (const flag of ["--config=a.json", "--no-config", "-c", "--config"]) {
    assertEquals(configFlags(REMOTE, [flag, "a.json"]), []);
  }
});
