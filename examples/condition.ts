/**
 * A condition: waiting, with a lock, for a change that another task makes.
 *
 * waitFor() releases the lock while it waits, and holds it again when it calls
 * the predicate, so nothing can change in between.
 */

import { Condition, getRunningLoop, run, sleep } from "@rota/rota";
import { assertEquals } from "@std/assert";

const condition = new Condition();
const shelf: string[] = [];

/** Takes `count` things at once, or waits until there are as many. */
function* buy(count: number) {
  using _permit = yield* condition.acquire();
  yield* condition.waitFor(() => shelf.length >= count);
  return shelf.splice(0, count);
}

await run(async () => {
  const loop = getRunningLoop();
  const pair = loop.createTask(buy(2), { name: "pair" });
  const single = loop.createTask(buy(1), { name: "single" });
  for (const thing of ["cup", "plate", "bowl"]) {
    await sleep(5);
    using _permit = await condition.acquire();
    shelf.push(thing);
    condition.notifyAll();
  }
  console.log(`one bought ${await single}, the other ${(await pair).join()}`);
  assertEquals([await single, await pair], [["cup"], ["plate", "bowl"]]);
});
