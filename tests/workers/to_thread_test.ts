/**
 * `toThread` and the default executor with real threads.
 *
 * @module
 */
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  type Future,
  gather,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  timeout,
  TimeoutError,
  until,
} from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { LoopHandle } from "../../src/workers/loop_handle.ts";
import { toThread } from "../../src/workers/to_thread.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";

const PORTABLE = { host: "portable" } as const;

const add = (a: number, b: number) => a + b;
const spin = () => {
  for (;;);
};

for (const style of STYLES) {
  Deno.test(`toThread() calls a function in a thread, in ${style}`, async () => {
    const sum = await run(
      inStyle(style, function* () {
        const future: Future<number> = toThread(add, 1, 2);
        assertEquals(future.done(), false); // at once, and under way
        const loop = getRunningLoop();
        const more: number[] = yield gather([
          toThread(add, 3, 4),
          loop.runInExecutor(null, add, 5, 6),
        ]);
        return [yield future, ...more];
      }),
      PORTABLE,
    );
    assertEquals(sum, [3, 7, 11]);
  });

  Deno.test(`an error in a thread reaches the caller, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        try {
          yield toThread(() => {
            throw new RangeError("in the thread");
          });
        } catch (error) {
          assertInstanceOf(error, RangeError);
          assertEquals(error.message, "in the thread");
          return;
        }
        throw new Error("nothing was thrown");
      }),
      PORTABLE,
    );
  });

  Deno.test(`cancelling the waiter ends a job that spins, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        yield toThread(add, 1, 1); // the thread runs
        let job: Future<unknown> | undefined;
        try {
          yield timeout(
            20,
            inStyle(style, function* () {
              yield job = toThread(spin);
            }),
          );
        } catch (error) {
          assertInstanceOf(error, TimeoutError);
        }
        assertEquals(job?.cancelled(), true);
        assertEquals(yield toThread(add, 2, 2), 4);
      }),
      PORTABLE,
    );
  });

  Deno.test(`the virtual clock stands still for a job, in ${style}`, async () => {
    const time = await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        let rang = false;
        loop.callLater(1, () => rang = true);
        assertEquals([yield toThread(add, 1, 2), rang], [3, false]);
        yield sleep(1);
        return [loop.time(), rang];
      }),
      { host: "virtual" },
    );
    assertEquals(time, [1, true]);
  });
}

Deno.test("toThread() needs a running loop, and an executor that has not been shut down", async () => {
  assertThrows(() => toThread(add, 1, 2), MisuseError, "no loop is running");
  await run(async () => {
    const loop = getRunningLoop();
    assertEquals(await toThread(add, 1, 2), 3);
    await loop.shutdownDefaultExecutor();
    assertThrows(() => toThread(add, 1, 2), ExecutorShutDownError);
    assertThrows(
      () => loop.runInExecutor(null, add, 1, 2),
      ExecutorShutDownError,
    );
  }, PORTABLE);
});

Deno.test("the end of run() ends jobs that are left, and the threads", async () => {
  const left: Future<unknown>[] = [];
  await run(async () => {
    await toThread(add, 1, 2);
    left.push(toThread(spin), toThread(spin), toThread(add, 1, 2));
  }, PORTABLE);
  assertEquals(left.map((job) => job.done()), [true, true, true]);
  assertEquals(outcomeOf(left[0]!).split(":")[0], "cancelled");

  await assertRejects(
    () =>
      run(async () => {
        const loop = getRunningLoop();
        const task = loop.createTask(async () => await toThread(spin));
        await sleep(0);
        task.cancel("enough");
        await task;
      }, PORTABLE),
    CancelledError,
    "enough",
  );
});

Deno.test("each run has a default executor of its own", async () => {
  for (let i = 0; i < 2; i++) {
    assertEquals(await run(() => toThread(add, i, 1), PORTABLE), i + 1);
  }
  const [one, two] = await Promise.all([
    run(() => toThread(add, 1, 1), PORTABLE),
    run(() => toThread(add, 2, 2), PORTABLE),
  ]);
  assertEquals([one, two], [2, 4]);
});

Deno.test("a handle goes to a job, by hand until pools carry it", async () => {
  await run(async () => {
    using handle = new LoopHandle();
    const told = Promise.withResolvers<unknown>();
    handle.register("tell", (value: unknown) => told.resolve(value));
    const { value, transfer } = handle.transferable();
    const other = LoopHandle.receive(
      structuredClone(value, { transfer }),
    );
    other.post("tell", await toThread(add, 1, 1));
    assertEquals(await until(told.promise), 2);
    other.close();
  }, PORTABLE);
});
