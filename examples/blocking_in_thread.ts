/**
 * A blocking function in a thread: the loop goes on meanwhile.
 *
 * The function needs nothing around it, so its source is sent to the thread.
 */

import {
  type Coroutine,
  getRunningLoop,
  run,
  sleep,
  toThread,
} from "@rota/rota";
import { assert } from "@std/assert";

/** Blocks its thread, as a slow native library would. */
function block(ms: number): string {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(cell, 0, 0, ms);
  return `blocked for ${ms} ms`;
}

await run(function* () {
  let ticks = 0;
  const ticker = getRunningLoop().createTask(function* (): Coroutine<void> {
    for (;;) {
      yield* sleep(5);
      ticks++;
    }
  });
  const answer = yield* toThread(block, 100);
  ticker.cancel();
  console.log(`The thread ${answer}; the loop ticked ${ticks} times meanwhile`);
  assert(ticks > 1);
});
