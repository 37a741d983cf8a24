/**
 * Tasks that begin and end together.
 *
 * A group is left when all its tasks have ended, and not before. The first
 * failure cancels the others, and all failures are thrown together as one
 * error. A limit bounds how many run at once.
 */

import { run, sleep, taskGroup, TaskGroupError } from "@rota/rota";
import { assert, assertEquals } from "@std/assert";

await run(async () => {
  try {
    await taskGroup((group) => {
      group.createTask(() => sleep(10_000));
      group.createTask(async () => {
        await sleep(5);
        throw new Error("disk full");
      });
    }, { name: "backup" });
  } catch (error) {
    assert(error instanceof TaskGroupError);
    console.log(`${error.message}: ${error.errors.join()}`);
    assertEquals(error.errors.map(String), ["Error: disk full"]);
  }

  let running = 0;
  let runningMax = 0;
  await taskGroup((group) => {
    for (let n = 0; n < 6; n++) {
      group.createTask(function* () {
        runningMax = Math.max(runningMax, ++running);
        yield* sleep(5);
        running--;
      });
    }
  }, { limit: 2 });
  console.log(`never more than ${runningMax} of 6 at once`);
  assertEquals([running, runningMax], [0, 2]);
});
