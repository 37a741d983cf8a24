/**
 * Bodies that return broken thenables, and results that are their own future: a
 * clear error, and no task that never ends.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import {
  cancelScope,
  createTask,
  currentTask,
  each,
  MisuseError,
  type Operation,
  run,
  scoped,
  sleep,
  taskGroup,
  timeout,
  until,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

const BROKEN: Record<string, () => unknown> = {
  "whose then is a getter that throws": () => ({
    get then(): never {
      throw new RangeError("broken");
    },
  }),
  "whose then throws": () => ({
    then(): never {
      throw new RangeError("broken");
    },
  }),
};

const BLOCKS: Record<string, (body: () => never) => Operation<unknown>> = {
  "timeout()": (body) => timeout(100, body),
  "taskGroup()": (body) => taskGroup(body),
  "cancelScope()": (body) => cancelScope(body),
  "scoped()": (body) => scoped({ [Symbol.dispose]() {} }, body),
  "each()": (body) => each([1], body),
  "until()": (body) => until(body as never),
};

/** The `RangeError` in an error, which a group wraps. */
function nameOf(error: unknown): string {
  return error instanceof AggregateError
    ? nameOf(error.errors[0])
    : (error as Error).name;
}

for (const [what, make] of Object.entries(BROKEN)) {
  Deno.test(`A task whose body returns a thenable ${what} fails with its error`, async () => {
    await run(async () => {
      await assertRejects(
        async () => await createTask(make as () => never),
        RangeError,
        "broken",
      );
    }, VIRTUAL);
  });
  for (const [name, block] of Object.entries(BLOCKS)) {
    Deno.test(`${name} with a body that returns a thenable ${what} fails, and time goes on`, async () => {
      const names = await run(function* () {
        const names: string[] = [];
        try {
          yield* block(make as () => never);
        } catch (error) {
          names.push(nameOf(error));
        }
        const child = createTask(async () => {
          try {
            await block(make as () => never);
          } catch (error) {
            names.push(nameOf(error));
          }
        });
        yield* child;
        yield* sleep(10);
        return names;
      }, VIRTUAL);
      assertEquals(names, ["RangeError", "RangeError"]);
    });
  }
}

Deno.test("A main that returns its own task is refused, and so is a wait for such a task", async () => {
  await assertRejects(
    () => run(() => currentTask() as unknown, VIRTUAL),
    MisuseError,
    "Cannot wait for a task in itself",
  );
  await assertRejects(
    () =>
      run(function* () {
        return currentTask() as unknown;
      }, VIRTUAL),
    MisuseError,
    "its result is itself",
  );
  await run(async () => {
    const task = createTask(function* (): Generator<undefined, unknown> {
      yield;
      return currentTask();
    });
    await assertRejects(
      async () => await task,
      MisuseError,
      "its result is itself",
    );
  }, VIRTUAL);
});
