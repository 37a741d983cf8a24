import { Effect } from "effect";

const answer = await Effect.runPromise(Effect.gen(function* () {
  yield* Effect.void;
  return 42;
}));
if (answer !== 42) throw new Error("The task did not run");
