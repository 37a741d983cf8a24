import { run } from "../../src/loop/mod.ts";

const answer = await run(function* () {
  return 42;
});
if (answer !== 42) throw new Error("The task did not run");
