/**
 * Functions that are given to `then` of an operation: they belong to the task.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { createTask, currentTask, run, sleep, wait } from "../../mod.ts";

const VIRTUAL = { host: "virtual" } as const;
const nameOfTask = () => currentTask()?.name;

Deno.test("a function given to then() runs in the task, and what it waits for is the task's", async () => {
  const log: unknown[] = [];
  await run(async () => {
    await createTask(async () => {
      await sleep(1).then(async () => {
        log.push(nameOfTask());
        await sleep(5);
        log.push(nameOfTask());
      });
    }, { name: "worker" });
  }, VIRTUAL);
  assertEquals(log, ["worker", "worker"]);
});

for (const delayMs of [0, 1]) {
  Deno.test(`both functions given to then() of sleep(${delayMs}) run in the task`, async () => {
    const log: unknown[] = [];
    const note = async (value: unknown) => {
      log.push(nameOfTask());
      await sleep(5);
      log.push(nameOfTask(), String(value));
    };
    await run(async () => {
      await createTask(
        () => sleep(delayMs, { value: "woken" }).then(note, note),
        {
          name: "worker",
        },
      );
      const cancelled = createTask(async () => {
        await sleep(delayMs).then(note, note);
      }, { name: "cancelled" });
      await sleep(0);
      cancelled.cancel("enough");
      await wait([cancelled]);
    }, VIRTUAL);
    assertEquals(log, [
      "worker",
      "worker",
      "woken",
      "cancelled",
      "cancelled",
      "CancelledError: Cancelled: enough",
    ]);
  });
}

Deno.test("a cancellation reaches what a function given to then() waits for", async () => {
  const log: unknown[] = [];
  await run(async () => {
    const task = createTask(async () => {
      await sleep(1).then(() => sleep(1_000));
      log.push("went on");
    });
    await sleep(20);
    task.cancel("enough");
    try {
      await task;
    } catch (error) {
      log.push(String(error));
    }
  }, VIRTUAL);
  assertEquals(log, ["CancelledError: Cancelled: enough"]);
});

Deno.test("a function given to then() cleans up after a cancellation", async () => {
  const log: unknown[] = [];
  await run(async () => {
    const task = createTask(() =>
      sleep(1_000).then(null, async (error) => {
        log.push(String(error));
        await sleep(5);
        log.push("clean");
        throw error;
      })
    );
    await sleep(20);
    task.cancel("enough");
    await wait([task]);
    log.push(task.cancelled());
  }, VIRTUAL);
  assertEquals(log, ["CancelledError: Cancelled: enough", "clean", true]);
});
