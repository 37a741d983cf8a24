/**
 * Task-local values that go along with jobs.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { createTask, MisuseError, run, TaskLocal } from "../../mod.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import { transportedLocals } from "../../src/workers/transport.ts";
import { inStyle, STYLES } from "../support/styles.ts";
import { TestRunner } from "./support/runner.ts";
import { requestId, type Seen } from "./support/jobs.ts";

const jobs = taskModule<typeof import("./support/jobs.ts")>(
  new URL("./support/jobs.ts", import.meta.url),
);

const VIRTUAL = { host: "virtual" } as const;

const color = new TaskLocal("red", { transport: "color" });
const size = new TaskLocal<number | undefined>(1, { transport: "size" });
const stays = new TaskLocal("here");

for (const style of STYLES) {
  Deno.test(`transportedLocals() collects what the task has set or inherited (${style})`, async () => {
    const seen: unknown[] = [];
    await run(
      inStyle(style, function* () {
        seen.push(transportedLocals());
        stays.set("there");
        seen.push(transportedLocals());
        color.set("green");
        yield createTask(inStyle(style, function* () {
          size.set(undefined);
          seen.push(transportedLocals());
        }));
        color.set("blue");
        seen.push(transportedLocals());
        using _ = size.set(3);
        seen.push(transportedLocals());
      }),
      VIRTUAL,
    );
    assertEquals(seen, [
      null,
      null,
      { color: "green", size: undefined },
      { color: "blue" },
      { color: "blue", size: 3 },
    ]);
    assertEquals(transportedLocals(), null);
  });
}

Deno.test("The values are plain data, whatever their names", async () => {
  const odd = new TaskLocal(0, { transport: "__proto__" });
  await run(async () => {
    odd.set(5);
    const locals = transportedLocals()!;
    assertEquals(Object.getPrototypeOf(locals), Object.prototype);
    assertEquals(Object.entries(structuredClone(locals)), [["__proto__", 5]]);
  }, VIRTUAL);
});

Deno.test("A job has the values of its submitter, and its own from then on, in every style", async () => {
  await using test = new TestRunner();
  const locals = { "request id": "r1", "of nobody here": 1 };
  const plain = await test.call(jobs.lookPlain, [], { locals }) as Seen;
  assertEquals(plain.requestId, "r1");
  const later = await test.call(jobs.lookInTask, [], { locals }) as Seen;
  assertEquals(later.requestId, "r1");
  for (const task of [jobs.lookAsync, jobs.lookInSteps]) {
    const seen = await test.call(task, [], { locals }) as Seen[];
    assertEquals(
      seen.map((value) => value.requestId),
      ["r1", "r1", "r1", "r1", "set", "set"],
    );
  }
  assertEquals(requestId.get(), "none");
});

Deno.test("A job without values finds the initial ones", async () => {
  await using test = new TestRunner();
  const seen = await test.call(jobs.lookPlain) as Seen;
  assertEquals([seen.requestId, seen.secret], ["none", "none"]);
  const inherited = await test.call(jobs.lookPlain, [], {
    locals: { toString: 1 },
  }) as Seen;
  assertEquals(inherited.requestId, "none");
});

Deno.test("A job hands the values on that came with it, also those that nothing here declares", async () => {
  await using test = new TestRunner();
  const seen = await test.call(jobs.handOn, [], {
    locals: { "request id": "r1", "of nobody here": 1 },
  });
  assertEquals(seen, [
    { "request id": "r1", "of nobody here": 1 },
    { "request id": "r2", "of nobody here": 1 },
    { "request id": "r2", "of nobody here": 1 },
  ]);
});

Deno.test("A variable that is made in the job, after it has begun, finds its value", async () => {
  await using test = new TestRunner();
  const value = await test.call(jobs.declareLate, [], {
    locals: { late: "found" },
  });
  assertEquals(value, "found");
});

Deno.test("Names for transport are checked, and taken once", () => {
  const options = (transport: unknown) => ({ transport }) as never;
  assertThrows(
    () => new TaskLocal(0, options(5)),
    TypeError,
    "Cannot make a task-local variable as transport must be a string: received 5",
  );
  assertThrows(
    () => new TaskLocal(0, { transport: "" }),
    RangeError,
    'Cannot make a task-local variable as transport must be a name: received ""',
  );
  assertThrows(
    () => new TaskLocal(0, { transport: "color" }),
    MisuseError,
    'Cannot make a task-local variable: another one is transported as "color" already',
  );
  assertThrows(() => new TaskLocal(0, null as never), TypeError, "options");
  assertEquals(new TaskLocal(0, { transport: undefined }).transport, null);
  assertEquals(color.transport, "color");
});
