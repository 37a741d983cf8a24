/**
 * A loop in a thread of its own: counts for others, and dies in three ways when told to.
 *
 * @module
 */
import process from "node:process";
import { LoopHandle, type WorkerLoopContext } from "@rota/rota";

/** Functions of the loop, as others call them. */
export type Counter = {
  /** Counts one more. */
  next(): number;
  /** Dies, and is never heard of again. */
  die(how: "blocked" | "crashed" | "exited"): void;
};

/** Main function of the loop: counts from nothing each time that it is started. */
export async function main(
  worker: WorkerLoopContext<LoopHandle<Counter>>,
): Promise<void> {
  let count = 0;
  const handle = new LoopHandle<Counter>();
  handle.register("next", () => ++count);
  handle.register("die", (how) => {
    if (how === "exited") process.exit(7);
    if (how === "blocked") { for (;;); }
    queueMicrotask(() => {
      throw new Error("nobody catches this");
    });
  });
  worker.started(handle);
  await handle.serve();
}
