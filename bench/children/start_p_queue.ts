import PQueue from "p-queue";

const answer = await new PQueue().add(() => 42);
if (answer !== 42) throw new Error("The task did not run");
