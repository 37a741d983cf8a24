/**
 * Loop handles as arguments of jobs in threads.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { type Coroutine, run, sleep } from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { LoopHandle } from "../../src/workers/loop_handle.ts";
import { ThreadPool } from "../../src/workers/thread_pool.ts";

const PORTABLE = { host: "portable" } as const;

Deno.test("a job calls the loop of its submitter by a handle that it was given", async () => {
  await run(async () => {
    await using pool = new ThreadPool({ maxWorkers: 2 });
    using handle = new LoopHandle();
    handle.register("double", (n: number) => 2 * n);
    handle.register("later", function* (n: number) {
      yield* sleep(1);
      return 2 * n;
    });

    const inAsync = async (handle: LoopHandle, n: number) =>
      await handle.call("double", n);
    assertEquals(await pool.submit(inAsync, [handle, 4]), 8);
    const inGenerator = function* (
      handle: LoopHandle,
      n: number,
    ): Coroutine<unknown> {
      return yield* handle.call("later", n);
    };
    assertEquals(await pool.submit(inGenerator, [handle, 5]), 10);

    const jobs = Array.from(
      { length: 50 },
      (_, i) => pool.submit(inAsync, [handle, i]),
    );
    for (const [i, job] of jobs.entries()) assertEquals(await job, 2 * i);
  }, PORTABLE);
});

Deno.test("a job whose arguments cannot be sent fails, with a handle among them or in them", async () => {
  await run(async () => {
    await using pool = new ThreadPool({ maxWorkers: 1 });
    const handle = new LoopHandle();
    const ignore = (..._args: unknown[]) => {};
    await assertRejects(
      async () => await pool.submit(ignore, [handle, () => {}]),
      Error,
      "could not be cloned",
    );
    await assertRejects(
      async () => await pool.submit(ignore, [{ handle }]),
      Error,
      "send its transferable() instead",
    );
    handle.close();
    await assertRejects(
      async () => await pool.submit(ignore, [handle]),
      ExecutorShutDownError,
      "Cannot transfer a loop handle",
    );
    assertEquals(await pool.submit(() => 1, []), 1);
  }, PORTABLE);
});
