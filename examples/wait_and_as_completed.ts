/**
 * Three ways to wait for one or several: wait, waitFor and asCompleted.
 *
 * wait() returns which tasks are done and cancels nothing. waitFor() has a time
 * limit and cancels the task that is not done by then. asCompleted() returns
 * results in the order in which they come.
 */

import {
  asCompleted,
  getRunningLoop,
  run,
  sleep,
  TimeoutError,
  wait,
  waitFor,
} from "@rota/rota";
import { assert, assertEquals, assertRejects } from "@std/assert";

await run(async () => {
  const loop = getRunningLoop();
  const ask = (name: string, ms: number) =>
    loop.createTask(() => sleep(ms, { value: name }), { name });

  const tasks = [ask("slow", 300), ask("fast", 10)];
  const first = await wait(tasks, { returnWhen: "first-completed" });
  for (const task of first.done) console.log(`first: ${task.name}`);
  assertEquals([first.done.size, first.pending.size], [1, 1]);

  const [slow] = first.pending;
  assert(slow !== undefined);
  const late = waitFor(slow, 10);
  const error = await assertRejects(async () => await late, TimeoutError);
  console.log(`${slow.name}: ${error}`);
  assert(slow.cancelled());

  const order: string[] = [];
  const racers = [ask("c", 45), ask("a", 5), ask("b", 25)];
  for (const next of asCompleted(racers)) order.push(await next);
  console.log(`as completed: ${order.join(", ")}`);
  assertEquals(order, ["a", "b", "c"]);
});
