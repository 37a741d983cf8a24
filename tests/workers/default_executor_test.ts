/**
 * The default executor of a loop: `runInExecutor`, `setDefaultExecutor`, `shutdownDefaultExecutor`, and what becomes of
 * it at the end of a run. With an executor that runs nothing; `to_thread_test.ts` has real threads.
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
  type Future,
  getRunningLoop,
  LoopClosedError,
  MisuseError,
  run,
  Runner,
  sleep,
} from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { provideDefaultExecutor } from "../../src/loop/default_executor.ts";
import { openLoop } from "../support/loops.ts";
import { inStyle, outcomeOf, STYLES } from "../support/styles.ts";
import { runDeno } from "../support/run_deno.ts";
import { FakeExecutor } from "./support/fake_executor.ts";

const VIRTUAL = { host: "virtual" } as const;
const work = (n: number) => n;

/** Has every loop make this executor. */
function provide(executor: FakeExecutor = new FakeExecutor()): FakeExecutor[] {
  const made: FakeExecutor[] = [];
  provideDefaultExecutor(() => {
    made.push(executor);
    return executor;
  });
  return made;
}

for (const style of STYLES) {
  Deno.test(`runInExecutor(null) makes one executor, on first use, in ${style}`, async () => {
    const executor = new FakeExecutor();
    const made = provide(executor);
    const result = await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        assertEquals(made.length, 0);
        const one: Future<number> = loop.runInExecutor(null, work, 1);
        const two = loop.runInExecutor(null, work, 2);
        assertEquals([made.length, executor.jobs.length], [1, 2]);
        assertEquals([one.done(), executor.jobs[1]!.args], [false, [2]]);
        setTimeout(() => {
          executor.jobs[0]!.setResult(10);
          executor.jobs[1]!.setException(new RangeError("two"));
        });
        assertEquals(yield one, 10);
        try {
          yield two;
        } catch (error) {
          return error;
        }
        return "no error";
      }),
      VIRTUAL,
    );
    assertInstanceOf(result, RangeError);
    assertEquals(executor.shutdowns, [{ graceMs: Infinity }]);
    assertEquals(executor.ended, true);
  });

  Deno.test(`runInExecutor() takes any executor, in ${style}`, async () => {
    const made = provide();
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const executor = new FakeExecutor(loop);
        const job = loop.runInExecutor(executor, work, 3);
        executor.jobs[0]!.setResult(30);
        assertEquals(yield job, 30);
        assertEquals([made.length, executor.shutdowns.length], [0, 0]);
      }),
      VIRTUAL,
    );
  });

  Deno.test(`setDefaultExecutor() leaves the former one alone; the end shuts both down, in ${style}`, async () => {
    const own = new FakeExecutor();
    const made = provide(own);
    const first = new FakeExecutor();
    const second = new FakeExecutor();
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        loop.setDefaultExecutor(first);
        const job = loop.runInExecutor(null, work, 1);
        loop.setDefaultExecutor(second);
        first.jobs[0]!.setResult(1);
        assertEquals(yield job, 1);
        assertEquals(made.length, 0);
        yield sleep(0);
      }),
      VIRTUAL,
    );
    assertEquals([first.shutdowns.length, second.shutdowns.length], [0, 1]);

    // One that the loop has made is nobody else's to shut down.
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const job = loop.runInExecutor(null, work, 1);
        own.jobs[0]!.setResult(1);
        assertEquals(yield job, 1);
        loop.setDefaultExecutor(first);
      }),
      VIRTUAL,
    );
    assertEquals([own.shutdowns.length, first.shutdowns.length], [1, 1]);
  });

  Deno.test(`after shutdownDefaultExecutor() runInExecutor(null) throws, in ${style}`, async () => {
    const executor = new FakeExecutor();
    provide(executor);
    await run(
      inStyle(style, function* () {
        const loop = getRunningLoop();
        const job = loop.runInExecutor(null, work, 1);
        const shutdown = loop.createTask(() =>
          loop.shutdownDefaultExecutor({ graceMs: 50 })
        );
        yield sleep(0);
        yield sleep(0);
        assertEquals([shutdown.done(), job.done()], [false, false]);
        assertThrows(
          () => loop.runInExecutor(null, work, 1),
          ExecutorShutDownError,
          "Cannot run in the default executor: it has been shut down",
        );
        executor.jobs[0]!.setResult(5);
        yield shutdown;
        assertEquals(yield job, 5);
        // As in asyncio, another one does not help; a second call joins the first.
        loop.setDefaultExecutor(new FakeExecutor());
        assertThrows(
          () => loop.runInExecutor(null, work, 1),
          ExecutorShutDownError,
        );
        yield loop.shutdownDefaultExecutor();
        const other = new FakeExecutor(loop);
        const fine = loop.runInExecutor(other, work, 1);
        other.jobs[0]!.setResult(6);
        assertEquals(yield fine, 6);
      }),
      VIRTUAL,
    );
    assertEquals(executor.shutdowns[0], { graceMs: 50 });
  });
}

Deno.test("shutdownDefaultExecutor() without an executor only refuses further use", async () => {
  const made = provide();
  await run(async () => {
    const loop = getRunningLoop();
    const unused = loop.shutdownDefaultExecutor(); // begins when it is waited for
    loop.runInExecutor(new FakeExecutor(loop), work, 1).cancel();
    await unused;
    assertThrows(
      () => loop.runInExecutor(null, work, 1),
      ExecutorShutDownError,
    );
  }, VIRTUAL);
  assertEquals(made, []);
});

Deno.test("the end of run() waits for jobs that no task waits for", async () => {
  const executor = new FakeExecutor();
  provide(executor);
  let job: Future<number> | undefined;
  const order: string[] = [];
  await run(async () => {
    const loop = getRunningLoop();
    job = loop.runInExecutor(null, work, 1);
    job.addDoneCallback(() => order.push("job ended"));
    loop.createTask(async () => {
      try {
        await sleep(Infinity);
      } finally {
        await sleep(1);
        order.push("task ended");
        setTimeout(() => executor.jobs[0]!.setResult(1));
      }
    });
    await sleep(0);
  }, { host: "portable" });
  assertEquals(order, ["task ended", "job ended"]);
  assertEquals([outcomeOf(job!), executor.ended], ["result: 1", true]);
});

Deno.test("the end of run() cancels the jobs of the tasks that it cancels", async () => {
  const executor = new FakeExecutor();
  provide(executor);
  await run(async () => {
    const loop = getRunningLoop();
    loop.createTask(async () => await loop.runInExecutor(null, work, 1));
    loop.createTask(function* () {
      yield* loop.runInExecutor(null, work, 2);
    });
    await sleep(0);
    await sleep(0);
  }, VIRTUAL);
  assertEquals(executor.jobs.map((job) => job.cancelled()), [true, true]);
});

Deno.test("the grace of run() holds for tasks and jobs together", async () => {
  const executor = new FakeExecutor();
  provide(executor);
  await run(async () => {
    const loop = getRunningLoop();
    loop.runInExecutor(null, work, 1);
    loop.createTask(async () => {
      try {
        await sleep(Infinity);
      } finally {
        await sleep(30);
      }
    });
    await sleep(0);
  }, { host: "virtual", outsideWaits: "ignore", cancelGraceMs: 100 });
  assertEquals(executor.shutdowns, [{ graceMs: 70 }]);
  assertEquals(
    outcomeOf(executor.jobs[0]!),
    "cancelled: Cancelled: the grace is over",
  );
});

Deno.test("a run that fails shuts the default executor down, too", async () => {
  const executor = new FakeExecutor();
  provide(executor);
  await assertRejects(
    () =>
      run(() => {
        getRunningLoop().runInExecutor(null, work, 1).cancel();
        throw new RangeError("main");
      }, VIRTUAL),
    RangeError,
    "main",
  );
  assertEquals(executor.ended, true);
});

Deno.test("a Runner keeps the default executor until it is closed", async () => {
  const executor = new FakeExecutor();
  const made = provide(executor);
  const runner = new Runner(VIRTUAL);
  for (let i = 0; i < 2; i++) {
    await runner.run(async () => {
      const job = getRunningLoop().runInExecutor(null, work, i);
      executor.jobs[i]!.setResult(i);
      assertEquals(await job, i);
    });
  }
  assertEquals([made.length, executor.ended], [1, false]);
  await runner.close();
  assertEquals(executor.shutdowns.length, 1);
});

Deno.test("a loop that is closed gives its default executor up", async () => {
  const executor = new FakeExecutor();
  provide(executor);
  const { loop, reports } = openLoop();
  await loop.runUntilComplete(async () => {
    const job = loop.runInExecutor(null, work, 1);
    executor.jobs[0]!.setResult(1);
    await job;
  });
  await loop.close();
  assertEquals([executor.shutdowns, reports], [[], []]);
  assertThrows(() => loop.runInExecutor(null, work, 1), LoopClosedError);
  assertThrows(() => loop.setDefaultExecutor(executor), LoopClosedError);
});

Deno.test("bad arguments are refused before anything changes", async () => {
  const made = provide();
  await run(async () => {
    const loop = getRunningLoop();
    for (const bad of [undefined, 1, {}, { submit() {} }, () => {}]) {
      assertThrows(
        () => loop.setDefaultExecutor(bad as never),
        TypeError,
        "Cannot set the default executor as executor must be an Executor",
      );
      assertThrows(
        () => loop.runInExecutor(bad as never, work, 1),
        TypeError,
        "Cannot run in an executor as executor must be an Executor",
      );
    }
    assertThrows(() => loop.setDefaultExecutor(null as never), TypeError);
    assertThrows(
      () => loop.shutdownDefaultExecutor({ graceMs: -1 }),
      RangeError,
      "graceMs",
    );
    assertThrows(
      () => loop.shutdownDefaultExecutor({ cancelPending: 1 as never }),
      TypeError,
      "cancelPending",
    );
    assertThrows(
      () => loop.shutdownDefaultExecutor(null as never),
      TypeError,
      "options",
    );

    const other = openLoop();
    const foreign = new FakeExecutor(other.loop);
    assertThrows(
      () => loop.runInExecutor(foreign, work, 1),
      MisuseError,
      "it serves another event loop",
    );
    assertEquals(foreign.jobs[0]!.cancelled(), true);
    await other.loop.close();
  }, VIRTUAL);
  assertEquals(made, []);
});

Deno.test("with the loop alone, runInExecutor(null) says what to import", async () => {
  const { stdout, stderr } = await runDeno([
    "eval",
    `import { run, getRunningLoop } from "${new URL(
      "../../src/loop/mod.ts",
      import.meta.url,
    )}";
    await run(async () => {
      try {
        getRunningLoop().runInExecutor(null, () => 1);
      } catch (error) {
        console.log(String(error));
      }
    });`,
  ]);
  assertEquals(
    [stdout.trim(), stderr],
    [
      'MisuseError: Cannot run in the default executor: there is none, import "@rota/rota" or "@rota/rota/workers" to have one made, or set one by setDefaultExecutor()',
      "",
    ],
  );
});
