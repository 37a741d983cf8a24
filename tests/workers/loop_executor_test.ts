import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  getRunningLoop,
  run,
  sleep,
  TaskLocal,
  TimeoutError,
} from "@rota/rota";
import { LoopExecutor, type ModuleTask } from "@rota/rota/workers";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { inStyle, STYLES } from "../support/styles.ts";

const ROTA = import.meta.resolve("@rota/rota");

async function nap(rota: string, ms: number): Promise<number> {
  const { sleep } = await import(rota);
  await sleep(ms);
  return ms;
}

const local = new TaskLocal("none", { transport: "loop-executor-test" });

for (const style of STYLES) {
  const virtual = { host: "virtual" } as const;

  Deno.test(`LoopExecutor runs its jobs by priority, so many at a time, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        const executor = new LoopExecutor({ concurrency: 2 });
        const ends: number[] = [];
        const futures = [30, 20, 10, 5].map((ms, n) => {
          const future = executor.submit(nap, [ROTA, ms], { priority: n });
          future.addDoneCallback(() => ends.push(ms));
          return future;
        });
        assertEquals(executor.capacity, 2);
        for (const future of futures) yield future;
        // The most urgent two were begun first.
        assertEquals(ends, [5, 10, 20, 30]);
        assertEquals(executor.stats().done, 4);
        yield executor.shutdown();
        assertThrows(
          () => executor.submit(nap, [ROTA, 1]),
          ExecutorShutDownError,
        );
      }),
      virtual,
    );
  });

  Deno.test(`LoopExecutor cancels jobs that wait and jobs that run, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        const executor = new LoopExecutor();
        const running = executor.submit(nap, [ROTA, 1_000]);
        const waiting = executor.submit(nap, [ROTA, 1_000]);
        const late = executor.submit(nap, [ROTA, 1_000], {
          deadlineMs: getRunningLoop().time() + 50,
        });
        yield sleep(100);
        assertInstanceOf(late.exception(), TimeoutError);
        waiting.cancel("enough");
        running.cancel("enough");
        let error: unknown;
        try {
          yield running;
        } catch (thrown) {
          error = thrown;
        }
        assertInstanceOf(error, CancelledError);
        assert(waiting.cancelled());
        assertEquals(getRunningLoop().time() < 500, true);
        assertEquals(executor.stats().cancelled, 3);
        yield executor.shutdown();
      }),
      virtual,
    );
  });

  Deno.test(`a job of a LoopExecutor knows itself, and copies what it is given, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        const executor = new LoopExecutor({ concurrency: 2 });
        local.set("seen");
        const given = { n: 1 };
        const told: unknown[] = [];
        const future = executor.submit(
          async (rota: string, value: { n: number }) => {
            const { currentJob } = await import(rota);
            const job = currentJob();
            value.n++;
            job.progress(value);
            const square = await job.submit((n: number) => n * n, [7]);
            return [job.name, job.lease, value, square];
          },
          [ROTA, given],
          { name: "self", onProgress: (value) => void told.push(value) },
        );
        const result = (yield future) as unknown[];
        assertEquals(result, ["self", null, { n: 2 }, 49]);
        assertEquals(given, { n: 1 });
        assertEquals(told, [{ n: 2 }]);
        yield executor.shutdown();
      }),
      virtual,
    );
  });
}

/** Registers a function that the next module of a job calls when it is loaded; returns the module. */
function moduleThatCalls(fn: () => void): string {
  const key = `loop-executor-test-${crypto.randomUUID()}`;
  Object.assign(globalThis, { [key]: fn });
  const source = `globalThis["${key}"]();
    delete globalThis["${key}"];
    export async function nap(rota) {
      const { sleep } = await import(rota);
      await sleep(60_000);
    }`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

for (const style of STYLES) {
  Deno.test(`a job of a LoopExecutor is cancelled in any turn around the loading of its module, in ${style}`, async () => {
    for (let turns = 0; turns < 10; turns++) {
      await run(
        inStyle(style, function* () {
          const loop = getRunningLoop();
          const executor = new LoopExecutor();
          const cancelIn = (turns: number): void => {
            if (turns === 0) future.cancel("enough");
            else loop.callSoon(cancelIn, turns - 1);
          };
          const module = moduleThatCalls(() => loop.callSoon(cancelIn, turns));
          const task: ModuleTask<[string], void> = { module, name: "nap" };
          const future = executor.submit(task, [ROTA]);
          let error: unknown;
          try {
            yield future;
          } catch (thrown) {
            error = thrown;
          }
          assertInstanceOf(error, CancelledError);
          yield executor.shutdown(); // waits for whatever runs
          assertEquals(loop.time(), 0, `${turns} turns after the loading`);
        }),
        { host: "virtual" },
      );
    }
  });
}

Deno.test("errors, results and modules that cannot be handed over fail their own job", async () => {
  await run(async () => {
    await using executor = new LoopExecutor({ name: "loop" });
    const failures: [string, () => PromiseLike<unknown>][] = [
      ["no", () =>
        executor.submit(() => {
          throw new RangeError("no");
        }, [])],
      ["could not be cloned", () => executor.submit(() => () => 1, [])],
      [
        "could not be cloned",
        () => executor.submit((f: unknown) => f, [() => 1]),
      ],
      [
        "Cannot load the module",
        () => executor.submit({ module: "file:///nowhere.ts", name: "x" }, []),
      ],
    ];
    for (const [words, submit] of failures) {
      let message = "";
      try {
        await submit();
      } catch (error) {
        message = (error as Error).message;
      }
      assert(message.includes(words), `${words}: ${message}`);
    }
    assertEquals(await executor.submit((n: number) => n, [1]), 1);
    assertThrows(() => new LoopExecutor({ concurrency: 0 }), RangeError);
  });
});
