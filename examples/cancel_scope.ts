/**
 * Cancel scopes: a part of a task is cancelled, while the task goes on.
 *
 * Once a scope is cancelled, every wait in it throws, until it is left.
 * Clean-up that has to wait is done in a scope with `shield`.
 */

import { cancelScope, failAfter, moveOnAfter, run, sleep } from "@rota/rota";
import { assertEquals, assertRejects } from "@std/assert";

const log: string[] = [];
await run(async () => {
  const asked = await moveOnAfter(20, () => sleep(10_000, { value: 42 }));
  log.push(asked.cancelledCaught ? "no answer: a guess" : `${asked.value}`);

  const limited = failAfter(20, () => sleep(10_000));
  const error = await assertRejects(async () => await limited);
  log.push(`no answer: ${error}`);

  const outcome = await cancelScope(async (scope) => {
    scope.cancel("not needed");
    try {
      await sleep(10_000);
    } finally {
      await cancelScope(async () => {
        await sleep(10);
        log.push("said goodbye");
      }, { shield: true, delayMs: 500 });
    }
  });
  assertEquals(outcome.cancelledCaught, true);
});
console.log(log.join("\n"));
assertEquals(log, [
  "no answer: a guess",
  "no answer: TimeoutError: Timed out: it had to be done within 20 ms",
  "said goodbye",
]);
