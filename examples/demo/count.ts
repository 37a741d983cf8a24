/**
 * The children that count: each takes blocks out of the queue, has the threads
 * find the words, and adds these up.
 *
 * @module
 */

import { type Coroutine, each, taskModule } from "@rota/rota";
import type { Job } from "./job.ts";

const { parse } = taskModule<typeof import("./parse.ts")>(
  new URL("./parse.ts", import.meta.url),
);

/**
 * Counts until the queue is shut down and empty. The counter of the first block
 * crashes, to show that it is restarted.
 */
export function* countBlocks(job: Job): Coroutine<void> {
  yield* each(job.blocks, function* (block): Coroutine<void> {
    const isFirst = job.blocksTaken++ === 0;
    job.concordance.add(yield* job.pool!.submit(parse, [block]));
    if (isFirst) throw new Error("crashed on purpose");
  });
}
