/**
 * Requests that come to a task that waits for its next turn only, at
 * `sleep(0)`: they serve as at any other wait, in both styles.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  createTask,
  isCancellation,
  run,
  sleep,
  type Task,
} from "../../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

/** Waits at `first` for its turn, goes on after a cancellation, and yields `turns` times more. */
const BODIES = {
  "a generator": (log: unknown[]) =>
    function* (turns: number) {
      for (let turn = 0; turn <= turns; turn++) {
        try {
          yield* sleep(0);
          log.push(turn);
        } catch (error) {
          if (!isCancellation(error)) throw error;
          log.push(`${turn}: ${(error as Error).message}`);
        }
      }
      return "the end";
    },
  "an async function": (log: unknown[]) => async (turns: number) => {
    for (let turn = 0; turn <= turns; turn++) {
      try {
        await sleep(0);
        log.push(turn);
      } catch (error) {
        if (!isCancellation(error)) throw error;
        log.push(`${turn}: ${(error as Error).message}`);
      }
    }
    return "the end";
  },
};

for (const [style, body] of Object.entries(BODIES)) {
  Deno.test(`Two requests at one sleep(0) of ${style} are thrown together, with the reason of the last`, async () => {
    const log: unknown[] = [];
    const result = await run(async () => {
      const task: Task<string> = createTask(() => body(log)(0) as never);
      await sleep(0);
      task.cancel("r0");
      task.cancel("r1");
      return [await task, task.cancelling()];
    }, VIRTUAL);
    assertEquals(result, ["the end", 2]);
    assertEquals(log, ["0: Cancelled: r1"]);
  });

  Deno.test(`A request at a sleep(0) of ${style} throws though a later one was taken back`, async () => {
    const log: unknown[] = [];
    const result = await run(async () => {
      const task: Task<string> = createTask(() => body(log)(1) as never);
      await sleep(0);
      task.cancel("r0");
      await sleep(0);
      await sleep(0);
      task.cancel("r1");
      task.uncancel();
      task.uncancel();
      return await task;
    }, VIRTUAL);
    assertEquals(result, "the end");
    assertEquals(log[0], "0: Cancelled: r0");
  });
}

Deno.test("Requests that come in the middle of a turn are each thrown by the sleep(0) of branches that were there", async () => {
  const log: string[] = [];
  const wait = async (name: string) => {
    try {
      await sleep(0);
      log.push(`${name} done`);
    } catch (error) {
      log.push(`${name}: ${(error as Error).message}`);
    }
  };
  const result = await run(async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const task: Task<string> = createTask(async () => {
      await Promise.all([wait("first"), promise.then(() => wait("second"))]);
      await wait("third");
      return "the end";
    });
    await sleep(0);
    task.cancel("r0");
    resolve();
    for (let times = 0; times < 3; times++) await Promise.resolve();
    task.cancel("r1");
    return await task;
  }, VIRTUAL);
  assertEquals(log, [
    "first: Cancelled: r1",
    "second: Cancelled: r1",
    "third done",
  ]);
  assertEquals(result, "the end");
});
