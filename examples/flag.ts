/**
 * A flag, asyncio's Event: something is so, and all who waited for it go on.
 *
 * Who waits for a flag that is set goes on at once. Taking it back makes those
 * who come later wait for the next time.
 */

import { Flag, getRunningLoop, run, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

const log: string[] = [];
await run(async () => {
  const ready = new Flag();
  const loop = getRunningLoop();
  const early = loop.createTask(function* () {
    yield* ready.wait();
    log.push("came early, waited");
  });
  const alsoEarly = loop.createTask(async () => {
    await ready.wait();
    log.push("so did I");
  });
  await sleep(10);
  log.push("ready");
  ready.set();
  await early;
  await alsoEarly;

  await ready.wait();
  log.push("came late, did not wait");
  ready.clear();
  assertEquals(ready.isSet(), false);
});
console.log(log.join("\n"));
assertEquals(log, [
  "ready",
  "came early, waited",
  "so did I",
  "came late, did not wait",
]);
