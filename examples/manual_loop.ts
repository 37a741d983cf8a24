/**
 * The life of a loop, step by step: made, run several times, closed.
 *
 * Most programs use run(), which does all of this. Doing it yourself is useful
 * where a loop lives longer than one program, as in a test suite or a prompt. A
 * loop that is not running merely queues; `await using` would close it as well.
 */

import {
  getRunningLoop,
  LoopClosedError,
  newEventLoop,
  sleep,
} from "@rota/rota";
import { assertEquals, assertThrows } from "@std/assert";

const loop = newEventLoop();
try {
  let ticks = 0;
  const ticker = loop.createTask(function* () {
    for (;;) {
      yield* sleep(10);
      ticks++;
    }
  }, { name: "ticker" });

  const sum = await loop.runUntilComplete(async () => {
    await sleep(25);
    assertEquals(getRunningLoop(), loop);
    return 40 + 2;
  });
  console.log(`first run: ${sum}, ${ticks} ticks`);
  assertEquals(loop.isRunning(), false);

  // The ticker is still there. It goes on with the next run.
  loop.callLater(25, () => loop.stop());
  await loop.runForever();
  console.log(`second run: ${ticks} ticks`);

  // Clean up before closing: a task that is left behind is reported.
  ticker.cancel();
  loop.stop();
  await loop.runForever(); // one turn
  assertEquals(ticker.cancelled(), true);
} finally {
  await loop.close();
}
assertThrows(() => loop.callSoon(() => {}), LoopClosedError);
console.log("closed");
