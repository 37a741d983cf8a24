/**
 * Several results at once, and work that outlives its waiter.
 *
 * gather() starts everything it is given, of either style, and waits for all of
 * it. shield(task): cancelling the waiter leaves the task running.
 */

import {
  gather,
  getRunningLoop,
  run,
  shield,
  sleep,
  waitFor,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

async function sizeOf(name: string): Promise<number> {
  await sleep(20);
  if (name === "") throw new RangeError("No name");
  return name.length;
}

await run(async () => {
  const [size, word] = await gather([
    () => sizeOf("readme"),
    sleep(10, { value: "ten" }),
  ]);
  console.log(`both at once: ${size} and ${word}`);
  assertEquals([size, word], [6, "ten"]);

  const names = ["mod", ""].map((name) => () => sizeOf(name));
  const results = await gather(names, { returnExceptions: true });
  console.log(`failures among the results: ${results.map(String).join(", ")}`);
  assertEquals(results.map(String), ["3", "RangeError: No name"]);

  const saving = getRunningLoop().createTask(() => sizeOf("shielded"));
  const [error] = await gather([waitFor(shield(saving), 5)], {
    returnExceptions: true,
  });
  console.log(`${error}; but the work goes on`);
  assertEquals(await saving, 8);
});
