/**
 * Resources that were given to `scoped` are disposed of, also if the task that
 * was to run it is cancelled before it begins.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { createTask, run, scoped, sleep } from "../../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

const RESOURCES: Record<
  string,
  (log: string[]) => Disposable | AsyncDisposable
> = {
  "a disposal": (log) => ({
    [Symbol.dispose]: () => void log.push("disposed"),
  }),
  "an async disposal": (log) => ({
    [Symbol.asyncDispose]: () => {
      log.push("disposed");
      return Promise.resolve();
    },
  }),
};

const BODIES = {
  "a generator": function* () {
    yield* sleep(1);
  },
  "an async function": async () => {
    await sleep(1);
  },
};

for (const [resource, make] of Object.entries(RESOURCES)) {
  for (const [style, body] of Object.entries(BODIES)) {
    Deno.test(`A task made of scoped() with ${resource} and ${style}, cancelled before it begins, disposes`, async () => {
      const log: string[] = [];
      await run(async () => {
        const task = createTask(scoped(make(log), body as () => never));
        task.cancel();
        await sleep(5);
        log.push(task.cancelled() ? "cancelled" : "not cancelled");
      }, VIRTUAL);
      assertEquals(log, ["disposed", "cancelled"]);
    });
  }
}
