/**
 * A flag, like asyncio's Event: wait() returns once some task has called set().
 *
 * Waiting for a flag that is set returns at once. After clear(), later waiters
 * wait for the next set().
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
