import { run } from "../../mod.ts";

const answer = await run(async () => await 42);
if (answer !== 42) throw new Error("The task did not run");
