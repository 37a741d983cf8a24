/**
 * Tasks by module and name: the typed proxy, and what is sent in place of a task.
 *
 * @module
 */
// deno-lint-ignore-file no-explicit-any

import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  type ExecutorTask,
  type JobResult,
  type ModuleTask,
  taskModule,
  toTaskRef,
} from "../../src/workers/module_task.ts";
import type { Executor } from "../../src/workers/executor.ts";
import type { Future } from "../../src/loop/future.ts";

const JOBS = new URL("./support/jobs.ts", import.meta.url);
const WHAT = "submit a job";

const jobs = taskModule<typeof import("./support/jobs.ts")>(JOBS);

// -- The proxy --

Deno.test("taskModule() gives a frozen task for each name, the same each time", () => {
  const task = jobs.add;
  assertEquals({ ...task }, { module: JOBS.href, name: "add" });
  assert(Object.isFrozen(task));
  assertStrictEquals(jobs.add, task);
  assertNotStrictEquals(jobs.addLater as unknown, task as unknown);
  const { add } = jobs;
  assertStrictEquals(add, task);
});

Deno.test("A module of tasks can be awaited, shown, compared and turned into text", async () => {
  assertStrictEquals(await (jobs as any), jobs);
  assertEquals(JSON.stringify(jobs), "{}");
  assertEquals(Object.keys(jobs), []);
  assertEquals(Deno.inspect(jobs), Deno.inspect(Object.create(null)));
  assertEquals(jobs, jobs);
  for (const name of ["then", "toJSON", "constructor", "toString", "valueOf"]) {
    assertEquals((jobs as any)[name], undefined, name);
  }
  assertEquals((jobs as any)[Symbol.iterator], undefined);
  assertEquals((jobs as any)[Symbol.toPrimitive], undefined);
  assertEquals((jobs as any).__proto__, undefined);
});

Deno.test("A module of tasks cannot be changed", () => {
  assertThrows(() => (jobs as any).add = 1, TypeError);
  assertThrows(() => Object.defineProperty(jobs, "x", { value: 1 }), TypeError);
  assertThrows(() => Object.setPrototypeOf(jobs, {}), TypeError);
});

Deno.test("taskModule() takes URLs of modules that workers can load, and no others", () => {
  for (
    const url of [
      "file:///jobs.ts",
      "https://example.com/jobs.ts",
      "http://localhost/jobs.ts",
      "data:text/javascript,export default 1",
      "jsr:@a/b@1/jobs",
      "npm:jobs@1",
    ]
  ) {
    const { task } = taskModule<{ task(): void }>(url);
    assertEquals(task.module, new URL(url).href);
  }
});

/** Wrong modules, and the messages for them. */
const WRONG_MODULES: [module: unknown, message: string][] = [
  [
    "./jobs.ts",
    'Cannot submit a job as module must be an absolute URL, such as new URL("./jobs.ts", import.meta.url): received "./jobs.ts"',
  ],
  [
    "jobs.ts",
    'Cannot submit a job as module must be an absolute URL, such as new URL("jobs.ts", import.meta.url): received "jobs.ts"',
  ],
  [
    "/jobs.ts",
    'Cannot submit a job as module must be an absolute URL, such as new URL("/jobs.ts", import.meta.url): received "/jobs.ts"',
  ],
  [
    "",
    'Cannot submit a job as module must be an absolute URL, such as new URL("", import.meta.url): received ""',
  ],
  [
    "blob:https://example.com/1",
    'Cannot submit a job as module must be a URL of a scheme that workers can load (file: https: http: data: jsr: npm:): received "blob:https://example.com/1"',
  ],
  [
    "node:fs",
    'Cannot submit a job as module must be a URL of a scheme that workers can load (file: https: http: data: jsr: npm:): received "node:fs"',
  ],
  [
    "C:\\jobs.ts",
    'Cannot submit a job as module must be a URL of a scheme that workers can load (file: https: http: data: jsr: npm:): received "c:\\\\jobs.ts"',
  ],
  [
    undefined,
    "Cannot submit a job as module must be a URL: received undefined",
  ],
  [5, "Cannot submit a job as module must be a URL: received 5"],
  [{}, "Cannot submit a job as module must be a URL: received an object"],
];

Deno.test("Wrong modules are refused, by taskModule() and by toTaskRef()", () => {
  for (const [module, message] of WRONG_MODULES) {
    const error = assertThrows(
      () => toTaskRef({ module, name: "f" }, WHAT),
      TypeError,
    );
    assertEquals(error.message, message);
    const same = assertThrows(() => taskModule(module as any), TypeError);
    assertEquals(
      same.message,
      message.replace("submit a job", "make tasks of a module"),
    );
  }
});

// -- References --

Deno.test("toTaskRef() gives a frozen module and name", () => {
  const ref = toTaskRef({ module: JOBS, name: "add", extra: 1 }, WHAT);
  assertEquals(ref, { module: JOBS.href, name: "add" });
  assert(Object.isFrozen(ref));
});

Deno.test("toTaskRef() gives the same object for a function and for a member of a module of tasks", () => {
  assertStrictEquals(toTaskRef(jobs.add, WHAT), jobs.add as unknown);
  const fn = (a: number) => a + 1;
  const ref = toTaskRef(fn, WHAT);
  assertEquals(ref, { source: Function.prototype.toString.call(fn) });
  assert(Object.isFrozen(ref));
  assertStrictEquals(toTaskRef(fn, WHAT), ref);
});

Deno.test("toTaskRef() reads a task that may change each time", () => {
  const task = { module: JOBS.href, name: "add" };
  toTaskRef(task, WHAT);
  task.name = "addLater";
  assertEquals(toTaskRef(task, WHAT), { module: JOBS.href, name: "addLater" });
});

Deno.test("toTaskRef() refuses what is no task", () => {
  for (const task of [undefined, null, 5, "add", true, {}, [], 1n, Symbol()]) {
    const { message } = assertThrows(() => toTaskRef(task, WHAT), TypeError);
    assert(
      message.startsWith(
        "Cannot submit a job as task must be { module, name }, a member of taskModule() or a function: received ",
      ),
      message,
    );
  }
  assertThrows(
    () => toTaskRef({ module: JOBS, name: 5 }, WHAT),
    TypeError,
    "Cannot submit a job as name of the task must be a string: received 5",
  );
  assertThrows(
    () => toTaskRef({ module: JOBS }, WHAT),
    TypeError,
    "Cannot submit a job as name of the task must be a string: received undefined",
  );
  assertThrows(
    () => toTaskRef({ module: JOBS, name: "" }, WHAT),
    RangeError,
    'Cannot submit a job as name of the task must be that of an export: received ""',
  );
  assertThrows(() => toTaskRef(Math.max, WHAT), TypeError, "native");
  assertThrows(() => toTaskRef(class {}, WHAT), TypeError, "class");
});

// -- Types --

/** Compiles if `A` and `B` are the same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;
function assertType<_T extends true>(): void {}

/** Never called: the compiler reads it. */
function typesOfSubmit(pool: Executor): void {
  const sum = pool.submit(jobs.add, [1, 2]);
  assertType<Same<typeof sum, Future<number>>>();
  const later = pool.submit(jobs.addLater, [1, 2]);
  assertType<Same<typeof later, Future<number>>>();
  const text = pool.submit(jobs.steps, ["a"]);
  assertType<Same<typeof text, Future<string>>>();
  const inline = pool.submit((a: number) => `${a}`, [1]);
  assertType<Same<typeof inline, Future<string>>>();
  const inlineAsync = pool.submit(async (a: number) => [a], [1]);
  assertType<Same<typeof inlineAsync, Future<number[]>>>();
  const nothing = pool.submit(() => {}, []);
  assertType<Same<typeof nothing, Future<void>>>();
  pool.submit(jobs.optional, [1]);
  pool.submit(jobs.optional, [1, "a"]);
  pool.submit(jobs.rest, [1, 2, 3, 4]);
  pool.submit({ module: JOBS, name: "add" }, [1, 2]);

  // @ts-expect-error a wrong argument
  pool.submit(jobs.add, [1, "2"]);
  // @ts-expect-error an argument that is missing
  pool.submit(jobs.add, [1]);
  // @ts-expect-error an argument too many
  pool.submit(jobs.add, [1, 2, 3]);
  // @ts-expect-error a wrong optional argument
  pool.submit(jobs.optional, [1, 2]);
  // @ts-expect-error a wrong argument of a function
  pool.submit((a: number) => a, ["1"]);
  // @ts-expect-error no such export
  pool.submit(jobs.missing, []);
  // @ts-expect-error no function
  pool.submit(jobs.ANSWER, []);
  // @ts-expect-error a class
  pool.submit(jobs.Counter, []);
  // @ts-expect-error many values
  pool.submit(jobs.many, []);
  // @ts-expect-error read-only
  jobs.add = jobs.add;

  const doubled = pool.map(jobs.double, [1, 2]);
  assertType<Same<Awaited<typeof doubled>, number[]>>();
  // @ts-expect-error items of a wrong type
  pool.map(jobs.double, ["a"]);
}

Deno.test("Arguments and results of tasks have the types of the functions", () => {
  void typesOfSubmit;
  assertType<
    Same<typeof jobs.add, ModuleTask<[a: number, b: number], number>>
  >();
  assertType<Same<JobResult<Promise<string>>, string>>();
  assertType<Same<JobResult<number>, number>>();
  const task: ExecutorTask<[number, number], number> = jobs.add;
  assertStrictEquals(task, jobs.add);
});
