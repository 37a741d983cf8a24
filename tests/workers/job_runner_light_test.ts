/**
 * JobRunner without the loop: what it loads, and when. This file imports nothing
 * of Rota that loads the loop, so its tests build on one another.
 *
 * @module
 */

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { loaded } from "../../src/loop/current.ts";
import { TestRunner } from "./support/runner.ts";

function moduleOf(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

const MOD = JSON.stringify(import.meta.resolve("../../mod.ts"));
const CURRENT_JOB = JSON.stringify(
  import.meta.resolve("../../src/workers/current_job.ts"),
);

Deno.test("Plain and async jobs that do not use Rota do not load the loop", async () => {
  await using test = new TestRunner();
  assertEquals(await test.call((a: number) => a + 1, [1]), 2);
  assertEquals(
    await test.call(async (a: number) => {
      await new Promise<void>((resolve) => resolve());
      return a + 1;
    }, [1]),
    2,
  );
  const module = moduleOf("export const f = async () => 5;");
  assertEquals(await test.call({ module, name: "f" }), 5);
  assertEquals(loaded, { makeLoop: null, operations: false });
});

Deno.test("currentJob() works in jobs without a loop, many at once", async () => {
  await using test = new TestRunner();
  const module = moduleOf(`
    import { currentJob } from ${CURRENT_JOB};
    export const plain = () => currentJob().name;
    export const later = async () => {
      const job = currentJob();
      for (let n = 0; n < 5; n++) {
        await new Promise((resolve) => queueMicrotask(resolve));
        if (currentJob() !== job) throw new Error("lost");
      }
      return job.name;
    };
    export const wait = () => new Promise((resolve) => {
      const { signal } = currentJob();
      signal.addEventListener("abort", () => resolve(currentJob().name));
    });`);
  const running = Array.from(
    { length: 10 },
    (_, n) =>
      test.call({ module, name: n % 2 === 0 ? "plain" : "later" }, [], {
        name: `${n}`,
      }),
  );
  assertEquals(
    await Promise.all(running),
    Array.from({ length: 10 }, (_, n) => `${n}`),
  );
  const waiting = test.run({ module, name: "wait" }, [], { name: "w" });
  test.runner.abort(waiting.id, "why");
  assertEquals(await waiting.outcome, { value: "w", transfer: [] });
  assertEquals(loaded.makeLoop, null);
});

Deno.test("A job that loads Rota while it runs finds its job, its loop and its task", async () => {
  await using test = new TestRunner();
  const job = test.run(
    async (mod: string, currentJob: string) => {
      const { sleep, currentTask } = await import(mod);
      const { currentJob: job } = await import(currentJob);
      await sleep(1);
      return [job().name, currentTask().name];
    },
    [JSON.parse(MOD), JSON.parse(CURRENT_JOB)],
    { name: "late" },
  );
  assertEquals(loaded.makeLoop, null);
  assertEquals(await job.outcome, { value: ["late", "late"], transfer: [] });
  assert(loaded.makeLoop !== null);
});

Deno.test("A job that became a task late was aborted before: its next operation throws", async () => {
  await using test = new TestRunner();
  const started = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  Reflect.set(globalThis, "rotaTest", { started, goOn });
  const module = moduleOf(`
    import { sleep } from ${MOD};
    export async function f() {
      globalThis.rotaTest.started.resolve();
      await globalThis.rotaTest.goOn.promise;
      await sleep(0);
    }`);
  const job = test.run({ module, name: "f" });
  await started.promise;
  test.runner.abort(job.id, "why");
  goOn.resolve();
  const outcome = await job.outcome;
  assert("error" in outcome);
  assertInstanceOf(outcome.error, Error);
  assertEquals(`${outcome.error}`, "CancelledError: Cancelled: why");
  Reflect.deleteProperty(globalThis, "rotaTest");
});
