/**
 * Random sequences of crashes, commands and delays, on Rota's supervisor and by a naive
 * model of OTP's rules.
 *
 * @module
 */
import { taskModule } from "../../src/workers/module_task.ts";
import { ThreadPool } from "../../src/workers/thread_pool.ts";
import { run } from "../../src/loop/run.ts";
import { gather } from "../../src/structured/gather.ts";
import type * as Search from "./model/search.ts";

/** The seeds: from 1 on, in parts, which the threads share. */
const SEQUENCES = 100_000;
const PARTS = 20;
const THREADS = Math.min(navigator.hardwareConcurrency, 4);

const { search } = taskModule<typeof Search>(
  new URL("./model/search.ts", import.meta.url),
);

Deno.test(`random sequences follow the rules: seeds 1 to ${SEQUENCES}`, async () => {
  const count = SEQUENCES / PARTS;
  const found = await run(async () => {
    await using pool = new ThreadPool({ maxWorkers: THREADS });
    return await gather(
      Array.from(
        { length: PARTS },
        (_, part) => pool.submit(search, [1 + part * count, count]),
      ),
    );
  });
  const [first] = found.filter((difference) => difference !== null);
  if (first !== undefined) throw new Error(first);
});
