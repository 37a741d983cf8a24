/**
 * Tasks that wait for each other in a chain are cancelled together, however long
 * the chain is: no recursion, and no task is left.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  createTask,
  gather,
  getRunningLoop,
  run,
  shield,
  sleep,
  type Task,
} from "../../mod.ts";

const VIRTUAL = { host: "virtual" } as const;
const LENGTH = 20_000;

/** Makes a task that waits for another one. */
type Link = (before: Task<unknown>) => Task<unknown>;

const LINKS: Record<string, Link> = {
  "a generator": (before) =>
    createTask(function* () {
      yield* before;
    }),
  "an async function": (before) =>
    createTask(async () => {
      await before;
    }),
  "gather() in a generator": (before) =>
    createTask(function* () {
      yield* gather([before]);
    }),
};

for (const [name, link] of Object.entries(LINKS)) {
  Deno.test(`A chain of ${LENGTH} tasks is cancelled whole, each ${name}`, async () => {
    const left = await run(async () => {
      const loop = getRunningLoop();
      let last: Task<unknown> = createTask(() => sleep(1e6));
      for (let n = 1; n < LENGTH; n++) last = link(last);
      await sleep(5);
      assertEquals(last.cancel("enough"), true);
      await sleep(5);
      assertEquals(last.cancelled(), true);
      return loop.stats().tasks;
    }, VIRTUAL);
    assertEquals(left, 1);
  });
}

Deno.test("A ring of tasks that wait for each other ends when one of them is cancelled", async () => {
  const ends = await run(async () => {
    const tasks: Task<unknown>[] = [];
    for (let n = 0; n < 5; n++) {
      tasks.push(createTask(function* () {
        yield* sleep(1);
        yield* tasks[(n + 1) % 5]!;
      }));
    }
    await sleep(5);
    tasks[2]!.cancel("enough");
    await sleep(5);
    return tasks.map((task) => task.cancelled());
  }, { ...VIRTUAL, deadlock: "ignore" });
  assertEquals(ends, [true, true, true, true, true]);
});

Deno.test("A shield ends a chain: the task behind it goes on", async () => {
  const ends = await run(async () => {
    const inner = createTask(() => sleep(20, { value: "inner" }));
    const outer = createTask(() => shield(inner));
    await sleep(5);
    outer.cancel();
    await sleep(5);
    return [outer.cancelled(), await inner];
  }, VIRTUAL);
  assertEquals(ends, [true, "inner"]);
});
