/**
 * The same program on the loop, in threads, in processes and in a fleet: one line
 * says where. The fleet goes through Redis, where `redis-server` is installed.
 */

import {
  type Executor,
  ProcessPool,
  run,
  taskModule,
  ThreadPool,
} from "@rota/rota";
import { bullmqExecutor } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { assertEquals } from "@std/assert";
import { withRedis } from "./jobs/redis.ts";

const { countLetters } = taskModule<typeof import("./jobs/letters.ts")>(
  new URL("./jobs/letters.ts", import.meta.url),
);

/** The program. */
async function program(executor: Executor): Promise<number> {
  await using _ = executor;
  const words: unknown[] = [];
  const first = await executor.submit(countLetters, ["to be or not"], {
    onProgress: (word) => void words.push(word),
  });
  assertEquals(words, ["to", "be", "or", "not"]);
  const others = await executor.map(countLetters, ["to be", "that is", "it"]);
  return others.reduce((a, b) => a + b, first);
}

/** Runs it in a place. */
async function runIn(
  place: string,
  makeExecutor: () => Executor,
): Promise<void> {
  const letters = await run(() => program(makeExecutor()));
  assertEquals(letters, 21);
  console.log(`${place}: ${letters} letters`);
}

await runIn("loop", () => new LoopExecutor());
await runIn("threads", () => new ThreadPool({ maxWorkers: 2 }));
await runIn("processes", () => new ProcessPool({ maxWorkers: 1 }));
await withRedis((redis) =>
  runIn(
    "fleet",
    () => bullmqExecutor({ ...redis, executor: new LoopExecutor() }),
  )
);
