/**
 * The top-level counterpart of `EventLoop.createTask`.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { createTask, MisuseError, run, sleep } from "../mod.ts";

Deno.test("createTask() makes a task on the running loop, with its options", async () => {
  const result = await run(function* () {
    const task = createTask(function* () {
      yield* sleep(5);
      return 42;
    }, { name: "helper" });
    assertEquals(task.name, "helper");
    return yield* task;
  }, { host: "virtual" });
  assertEquals(result, 42);
});

Deno.test("createTask() belongs to the loop of the code that calls it, beside another loop", async () => {
  const main = (name: string) => async () => {
    await sleep(1);
    const task = createTask(async () => {
      await sleep(1);
      return name;
    });
    return await task;
  };
  const options = { host: "virtual" } as const;
  assertEquals(
    await Promise.all([run(main("a"), options), run(main("b"), options)]),
    ["a", "b"],
  );
});

Deno.test("createTask() without a running loop, and with a promise, throws", async () => {
  assertThrows(
    () => createTask(() => sleep(1)),
    MisuseError,
    "no loop is running",
  );
  await run(() => {
    assertThrows(() => createTask(Promise.resolve() as never), TypeError);
  }, { host: "virtual" });
});
