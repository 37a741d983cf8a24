/**
 * Results and errors that throw when they are read: their job ends all the same,
 * once, and no other job notices.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { ProcessPool, run, ThreadPool } from "../../mod.ts";
import { TestRunner } from "./support/runner.ts";

const add = (a: number, b: number): number => a + b;

/** Functions whose result cannot be read, by what that throws. */
const results = {
  "an object without a prototype": () => ({
    get a() {
      throw Object.create(null);
    },
  }),
  "an error whose message throws": () => ({
    get a() {
      throw Object.defineProperty(new Error("x"), "message", {
        get() {
          // deno-lint-ignore no-throw-literal
          throw 2;
        },
      });
    },
  }),
  "a proxy, in an async function": async () => {
    await null;
    return {
      get a() {
        throw new Proxy(new Error("x"), {
          getPrototypeOf() {
            throw new Error("trap");
          },
        });
      },
    };
  },
  "an object, in a generator": function* () {
    return {
      get a() {
        throw Object.create(null);
      },
    };
  },
};

/** Functions that throw what cannot be read. */
const errors = {
  "a proxy": () => {
    throw new Proxy(new Error("x"), {
      getPrototypeOf() {
        throw new Error("trap");
      },
    });
  },
  "a proxy, in an async function": async () => {
    await null;
    throw new Proxy(new Error("x"), {
      getPrototypeOf() {
        throw new Error("trap");
      },
    });
  },
  "a proxy, in a generator": function* () {
    throw new Proxy(new Error("x"), {
      getPrototypeOf() {
        throw new Error("trap");
      },
    });
  },
  "a ReferenceError whose message throws": () => {
    throw Object.defineProperty(new ReferenceError("x"), "message", {
      get() {
        // deno-lint-ignore no-throw-literal
        throw 2;
      },
    });
  },
};

for (const [name, task] of Object.entries(results)) {
  Deno.test(`A result whose getter throws ${name}, fails its job only`, async () => {
    await using test = new TestRunner();
    const job = test.run(task, [], { name: "odd" });
    const outcome = await job.outcome;
    assert("error" in outcome);
    assertInstanceOf(outcome.error, TypeError);
    assertStringIncludes(
      outcome.error.message,
      'Cannot hand over the result of job "odd": ',
    );
    assertEquals(await test.call(add, [1, 2]), 3);
    assertEquals(test.ends, 2);
    assertEquals(test.runner.running, 0);
  });
}

for (const [name, task] of Object.entries(errors)) {
  Deno.test(`A function by its source that throws ${name}, fails its job only`, async () => {
    await using test = new TestRunner();
    const outcome = await test.run(task).outcome;
    assert("error" in outcome);
    assertEquals(await test.call(add, [1, 2]), 3);
    assertEquals(test.ends, 2);
    assertEquals(test.runner.running, 0);
  });
}

for (const Pool of [ThreadPool, ProcessPool]) {
  Deno.test(`${Pool.name}: odd results and errors fail their jobs, and no worker dies`, async () => {
    await run(async () => {
      await using pool = new Pool({ maxWorkers: 1 });
      for (const task of Object.values(results)) {
        await assertRejects(
          () => Promise.resolve(pool.submit<[], unknown>(task, [])),
          TypeError,
          "Cannot hand over the result of",
        );
      }
      for (const task of Object.values(errors)) {
        await assertRejects(
          () => Promise.resolve(pool.submit<[], unknown>(task, [])),
          Error,
        );
      }
      assertEquals(await pool.submit(add, [1, 2]), 3);
      assertEquals(pool.stats().crashed, 0);
      assertEquals(pool.stats().failed, 8);
    });
  });
}
