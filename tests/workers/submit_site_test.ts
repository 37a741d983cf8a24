/**
 * Places of submissions in the stacks of errors.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { addSite } from "../../src/workers/submit_site.ts";

/** Returns what the place adds to the stack of an error. */
function addedBy(frames: readonly string[]): string {
  const site = new Error("submitted");
  site.stack = ["Error: submitted", ...frames].join("\n");
  const error = new Error("m");
  error.stack = "Error: m";
  addSite(error, site);
  return error.stack;
}

const OWN = [
  "    at SubmitSites.take (file:///rota/src/workers/submit_site.ts:24:12)",
  "    at PoolCore.submit (file:///rota/src/workers/pool_core.ts:9:1)",
];

Deno.test("frames of the pool itself are left out, those of the program are not", () => {
  const user = [
    "    at PoolCoreUser.go (file:///PoolCore/main.ts:1:1)",
    "    at PoolCore (file:///main.ts:1:1)",
  ];
  assertEquals(
    addedBy([...OWN, ...user]),
    ["Error: m", "    --- submitted at ---", ...user].join("\n"),
  );
});

Deno.test("a stack without frames of the program, or without any, adds nothing", () => {
  assertEquals(addedBy(OWN), "Error: m");
  assertEquals(addedBy([]), "Error: m");
});
