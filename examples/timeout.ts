/**
 * A time limit on a block, which can be moved.
 *
 * When the time is over, the block is cancelled at the point where it waits,
 * and a TimeoutError comes out of it. Here the limit is on each part of a
 * download, not on all of it: each part that arrives moves the deadline.
 */

import {
  type Coroutine,
  getRunningLoop,
  run,
  sleep,
  timeout,
  TimeoutError,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

const PATIENCE_MS = 80;

/** Takes as many milliseconds for each part as it is given. */
function* download(partsMs: readonly number[]): Coroutine<string> {
  const loop = getRunningLoop();
  let parts = 0;
  try {
    return yield* timeout(PATIENCE_MS, function* (scope) {
      for (const ms of partsMs) {
        yield* sleep(ms);
        parts++;
        scope.reschedule(loop.time() + PATIENCE_MS);
      }
      return `all ${parts} parts`;
    });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    return `stuck after ${parts} parts`;
  }
}

await run(function* () {
  const steady = yield* download([30, 30, 30, 30]);
  const stuck = yield* download([10, 10, 10_000]);
  console.log(`steady: ${steady}; stuck: ${stuck}`);
  assertEquals([steady, stuck], ["all 4 parts", "stuck after 2 parts"]);
}, { host: "virtual" }); // so that a slow machine changes nothing
