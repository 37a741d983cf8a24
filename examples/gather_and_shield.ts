/**
 * Several results at once, and work that is not to be given up.
 *
 * gather() starts everything it is given, of either style, and waits for all of
 * it. shield() waits for a task without taking it along when the wait is over.
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
