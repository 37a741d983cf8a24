/**
 * A timer with a callback: moved, repeated, cancelled.
 *
 * A watchdog barks unless it is fed in time. Feeding it moves the timer in
 * place, which is cheaper than a new one each time. On the virtual host this
 * takes no time.
 */

import { getRunningLoop, run, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

const PATIENCE_MS = 30;
const heard: string[] = [];

await run(function* () {
  const loop = getRunningLoop();
  const bark = (word: string) => {
    heard.push(word);
    console.log(`${word}, after ${loop.time()} ms`);
  };

  const watchdog = loop.callLater(PATIENCE_MS, bark, "woof");
  for (let meal = 0; meal < 4; meal++) {
    yield* sleep(10);
    watchdog.reschedule(loop.time() + PATIENCE_MS);
  }
  assertEquals(heard, []); // 40 ms have passed, but it was fed
  yield* sleep(2 * PATIENCE_MS);
  assertEquals(heard, ["woof"]);

  // A timer that has run can be set again, and one that waits withdrawn.
  watchdog.reschedule(loop.time());
  yield* sleep(1);
  assertEquals(heard, ["woof", "woof"]);
  {
    using _timer = loop.callLater(10, bark, "never"); // only in this block
  }
  yield* sleep(20);
  assertEquals(heard, ["woof", "woof"]);
}, { host: "virtual" });
