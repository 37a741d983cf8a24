/**
 * Jobs that end their worker while they are loaded, or take its globals away: none
 * is left without an end.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  getRunningLoop,
  ProcessPool,
  run,
  scoped,
  ThreadPool,
  WorkerCrashError,
} from "../../mod.ts";

const POOLS = [ThreadPool, ProcessPool];

/** A job of a module that ends its worker when it is imported. */
function exitAtImport(more: string) {
  const module = `data:text/javascript,Deno.exit(4);${more}`;
  return { module, name: "f" };
}

for (const Pool of POOLS) {
  for (const more of ["", "export function f() { return 1 }"]) {
    const what = more === "" ? "without" : "with";
    Deno.test(`${Pool.name}: Deno.exit() in a module ${what} exports ends its job as "exit"`, async () => {
      const told: unknown[] = [];
      await run(async () => {
        getRunningLoop().setExceptionHandler((_, { message }) =>
          told.push(message)
        );
        await using pool = new Pool({ maxWorkers: 1 });
        const error = await assertRejects(
          () => Promise.resolve(pool.submit(exitAtImport(more), [])),
          WorkerCrashError,
        );
        assertEquals([error.kind, error.exitCode], ["exit", 4]);
      });
      await run(function* () {
        yield* scoped(new Pool({ maxWorkers: 1 }), function* (pool) {
          try {
            yield* pool.submit(exitAtImport(more), []);
          } catch (error) {
            assert(error instanceof WorkerCrashError);
            assertEquals([error.kind, error.exitCode], ["exit", 4]);
            return;
          }
          throw new Error("the job has returned");
        });
      });
      assertEquals(told, []);
    });
  }
}

/** Takes globals away, by their names, and then throws. */
function robAndThrow(names: readonly string[]): void {
  const error = new RangeError("oh");
  for (const name of names) Reflect.set(globalThis, name, undefined);
  throw error;
}

/** Takes globals away for good, and has an error that no job has thrown end the worker. */
async function robAndDie(names: readonly string[]): Promise<void> {
  const { setTimeout } = globalThis;
  const forever = new Promise<void>(() => {});
  for (const name of names) Reflect.set(globalThis, name, undefined);
  setTimeout(() => {
    throw new RangeError("stray");
  }, 0);
  await forever;
}

for (const Pool of POOLS) {
  Deno.test(`${Pool.name}: a job that takes globals away ends, and so does its worker`, async () => {
    await run(async () => {
      await using pool = new Pool({ maxWorkers: 1 });
      getRunningLoop().setExceptionHandler(() => {}); // threads may die later
      for (const names of [["Promise", "Map", "Error"], ["Set", "Date"]]) {
        await assertRejects(
          () => Promise.resolve(pool.submit(robAndThrow, [names])),
          RangeError,
          "oh",
        );
      }
    });
    await run(async () => {
      await using pool = new Pool({ maxWorkers: 1 });
      for (
        const names of [
          ["Promise", "Map", "Error"],
          ["Atomics", "performance", "Uint8Array", "Error"],
        ]
      ) {
        const error = await assertRejects(
          () => Promise.resolve(pool.submit(robAndDie, [names])),
          WorkerCrashError,
        );
        assert(["error", "rejection", "exit"].includes(error.kind));
      }
    });
  });
}
