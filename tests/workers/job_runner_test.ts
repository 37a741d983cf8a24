/**
 * JobRunner: jobs in every style, what they know of themselves, how they end.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  CancelledError,
  MisuseError,
  run,
  sleep,
  TimeoutError,
  until,
} from "../../mod.ts";
import { ExecutorShutDownError } from "../../src/errors.ts";
import { autoHost } from "../../src/host/auto_host.ts";
import { createHost } from "../../src/host/select.ts";
import { currentJob } from "../../src/workers/current_job.ts";
import { taskModule } from "../../src/workers/module_task.ts";
import { type TestJob, TestRunner } from "./support/runner.ts";
import { waiting } from "./support/jobs.ts";

const jobs = taskModule<typeof import("./support/jobs.ts")>(
  new URL("./support/jobs.ts", import.meta.url),
);

/** URL of a module with this code. */
function moduleOf(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

/** A promise that modules can wait for while they are loaded, by its name in `globalThis`. */
function openGate(): { readonly name: string; open(): void } {
  const name = `gate${crypto.randomUUID().replaceAll("-", "")}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  Reflect.set(globalThis, name, promise);
  return { name, open: resolve };
}

/** Starts a job that waits, and returns once it does. */
async function startWaiting(
  test: TestRunner,
  task: unknown,
  name = crypto.randomUUID(),
): Promise<TestJob> {
  const isWaiting = new Promise<void>((resolve) => waiting.set(name, resolve));
  const job = test.run(task, [], { name });
  await isWaiting;
  return job;
}

// -- Styles --

Deno.test("A job may be a plain, an async or a generator function of a module", async () => {
  await using test = new TestRunner();
  assertEquals(await test.call(jobs.add, [1, 2]), 3);
  assertEquals(await test.call(jobs.addLater, [1, 2]), 3);
  assertEquals(await test.call(jobs.steps, ["a"]), "A");
  assertEquals(await test.call(jobs.double, [2]), 4);
  assertEquals(await test.call(jobs.rest, [1, 2, 3]), 3);
});

Deno.test("A job may be a function that is sent by its source, in each style", async () => {
  await using test = new TestRunner();
  assertEquals(await test.call((a: number, b: number) => a + b, [1, 2]), 3);
  assertEquals(
    await test.call(async (a: number) => {
      await Promise.resolve();
      return a * 2;
    }, [2]),
    4,
  );
  assertEquals(
    await test.call(function* (text: string) {
      return text.toUpperCase();
    }, ["a"]),
    "A",
  );
  assertEquals(
    await test.call(function named() {
      return "ünïcödé 😀 % # \\ \" ' `";
    }),
    "ünïcödé 😀 % # \\ \" ' `",
  );
  // deno-fmt-ignore
  assertEquals(await test.call((a: number) => a // a comment at the end
  , [5]), 5);
});

Deno.test("A job may return an operation, a generator, a promise or a task", async () => {
  await using test = new TestRunner();
  assertEquals(await test.call(jobs.operation, [1]), undefined);
  assertEquals(await test.call(jobs.generatorObject, ["a"]), "A");
  assertEquals(await test.call(jobs.promiseOfHelper, [1, 2]), 3);
  assertEquals(
    ((await test.call(jobs.lookInTask)) as { same: boolean }).same,
    true,
  );
});

Deno.test("A job may use the loop in whatever it calls", async () => {
  await using test = new TestRunner();
  assertEquals(await test.call(jobs.callback), "called back");
  assertEquals(await test.call(jobs.group), ["a", "b"]);
  assertEquals(await test.call(jobs.lookAtTask, [], { name: "me" }), ["me"]);
});

Deno.test("A plain job of a module that is loaded ends inside run()", async () => {
  await using test = new TestRunner();
  await test.call(jobs.add, [1, 2]);
  const { ends } = test;
  test.run(jobs.add, [1, 2]);
  assertEquals(test.ends, ends + 1);
  assertEquals(test.runner.running, 0);
});

Deno.test("Errors of jobs arrive, in each style", async () => {
  await using test = new TestRunner();
  for (const task of [jobs.fail, jobs.failLater, jobs.failInSteps]) {
    await assertRejects(() => test.call(task, ["oh"]), RangeError, "oh");
  }
  await assertRejects(() => test.call(jobs.thenThrows), RangeError, "then");
  assertStrictEquals(
    ((await test.run(() => {
      throw undefined;
    }).outcome) as { error: unknown }).error,
    undefined,
  );
});

Deno.test("Many jobs at once in one worker each know their own name", async () => {
  await using test = new TestRunner();
  const tasks = [jobs.lookPlain, jobs.lookAsync, jobs.lookInSteps];
  const started = Array.from({ length: 60 }, (_, n) => ({
    n,
    job: test.run(tasks[n % 3], [], {
      name: `${n}`,
      locals: { "request id": `r${n}` },
    }),
  }));
  for (const { n, job } of started) {
    const outcome = await job.outcome;
    assert("value" in outcome);
    const seen = [outcome.value].flat();
    for (const [index, value] of seen.entries()) {
      assertEquals(value, {
        name: `${n}`,
        same: true,
        requestId: index < 4 ? `r${n}` : "set",
        secret: "none",
      });
    }
    assertEquals(seen.length, n % 3 === 0 ? 1 : 6);
  }
  assertEquals(test.runner.running, 0);
});

Deno.test("A job that is run inside a turn or a task of another loop is no part of that", async () => {
  await run(function* () {
    const test = new TestRunner({ loop: { host: "portable" } });
    const plain = test.run(jobs.lookPlain, [], { name: "plain" });
    yield* sleep(1);
    const loaded = test.run(jobs.lookAtTask, [], { name: "inner" });
    const outcome = async () => [await plain.outcome, await loaded.outcome];
    const [first, second] = yield* until(outcome);
    assertEquals((first as { value: { name: string } }).value.name, "plain");
    assertEquals((second as { value: unknown }).value, ["inner"]);
    yield* until(() => test.runner.close());
  });
});

// -- currentJob --

Deno.test("currentJob() is null outside of jobs", async () => {
  assertEquals(currentJob(), null);
  await run(async () => {
    assertEquals(currentJob(), null);
  });
});

Deno.test("The deadline is on the clock of the worker", async () => {
  await using test = new TestRunner();
  const before = performance.now();
  const deadline = await test.call(jobs.deadline, [], { remainingMs: 1e6 });
  const after = performance.now();
  assert(typeof deadline === "number");
  assert(before + 1e6 <= deadline && deadline <= after + 1e6);
  assertEquals(await test.call(jobs.deadline), Infinity);
});

Deno.test("Progress arrives in order, before the result, and not after it", async () => {
  await using test = new TestRunner();
  const job = test.run(jobs.report, [3]);
  assertEquals(await job.outcome, { value: true, transfer: [] });
  assertEquals(job.progress, [1, 2, 3]);
  const late = test.run(jobs.reportLate);
  await late.outcome;
  await Promise.resolve();
  assertEquals(late.progress, []);
  await assertRejects(() => test.call(jobs.reportFunction), DOMException);
});

// -- Results --

Deno.test("withTransfer() names what is moved", async () => {
  await using test = new TestRunner();
  const outcome = await test.run(jobs.moved, [8]).outcome;
  assert("value" in outcome);
  assertEquals(outcome.value, new Uint8Array(8));
  assertEquals(outcome.transfer.length, 1);
  assert((outcome.transfer[0] as ArrayBuffer).detached);
});

Deno.test("A result that cannot be handed over fails its job only", async () => {
  await using test = new TestRunner();
  const error = await assertRejects(
    () => test.call(jobs.uncloneable, [], { name: "odd" }),
    TypeError,
    'Cannot hand over the result of job "odd": ',
  );
  assertInstanceOf(error.cause, DOMException);
  assertEquals(await test.call(jobs.add, [1, 2]), 3);
});

// -- Abort --

for (const style of ["Async", "InSteps"] as const) {
  Deno.test(`abort() cancels a job (wait${style}), which cleans up`, async () => {
    await using test = new TestRunner();
    const job = await startWaiting(test, jobs[`wait${style}`]);
    assertEquals(test.runner.running, 1);
    test.runner.abort(job.id, "enough");
    test.runner.abort(job.id, "again");
    const outcome = await job.outcome;
    assert("error" in outcome);
    assertInstanceOf(outcome.error, CancelledError);
    assertEquals(outcome.error.reason, "enough");
    assertEquals(job.progress, ["cleaned up"]);
    assertEquals(test.runner.running, 0);
  });
}

Deno.test("abort() aborts the signal of a job, whose listeners know their job", async () => {
  await using test = new TestRunner();
  const reasons: [unknown, string][] = [
    ["why", "CancelledError: Cancelled: why"],
    [undefined, "CancelledError: Cancelled"],
    [new TimeoutError("late"), "TimeoutError: late"],
  ];
  for (const [reason, text] of reasons) {
    const job = await startWaiting(test, jobs.waitForSignal);
    test.runner.abort(job.id, reason);
    assertEquals(await job.outcome, { value: [text, true], transfer: [] });
    assertEquals(job.progress, ["heard"]);
  }
});

Deno.test("A job that waits outside of the loop is cancelled at its next operation", async () => {
  await using test = new TestRunner();
  const job = await startWaiting(test, jobs.waitOutside);
  test.runner.abort(job.id, "why");
  waiting.get("go on")!();
  assertEquals(await job.outcome, {
    value: "CancelledError: Cancelled: why",
    transfer: [],
  });
});

Deno.test("A job that ignores its cancellation returns its result", async () => {
  await using test = new TestRunner();
  const job = await startWaiting(test, jobs.ignoreCancel);
  test.runner.abort(job.id, "why");
  assertEquals(await job.outcome, { value: "ignored it", transfer: [] });
});

Deno.test("abort() of a job that has ended, or never was, does nothing", async () => {
  await using test = new TestRunner();
  const job = test.run(jobs.add, [1, 2]);
  await job.outcome;
  test.runner.abort(job.id, "why");
  test.runner.abort(99, "why");
  assertEquals(test.ends, 1);
});

// -- Modules --

Deno.test("An export that is missing, or no function, fails the job and lists what there is", async () => {
  await using test = new TestRunner();
  const module = moduleOf("export const a = 1; export function b() {}");
  await assertRejects(
    () => test.call({ module, name: "c" }),
    TypeError,
    `Cannot run export "c" of ${module}: there is no such export, its exports are a, b`,
  );
  await assertRejects(
    () => test.call({ module, name: "a" }),
    TypeError,
    `Cannot run export "a" of ${module}: it is no function but 1, its exports are a, b`,
  );
  await assertRejects(
    () => test.call({ module: moduleOf(""), name: "c" }),
    TypeError,
    "there is no such export, it exports nothing",
  );
  await assertRejects(
    () => test.call({ ...jobs.add, name: "many" }),
    TypeError,
    "an async generator function gives many values",
  );
  // Also when the module is loaded already.
  const error = await assertRejects(
    () => test.call({ module, name: "toString" }),
    TypeError,
  );
  assertStringIncludes(error.message, "there is no such export");
});

Deno.test("A module that cannot be loaded fails the job, with the cause", async () => {
  await using test = new TestRunner();
  const cases: [module: string, cause: new (...args: never[]) => Error][] = [
    [moduleOf("throw new RangeError('at import')"), RangeError],
    [moduleOf("syntax error"), TypeError], // which names the place
    [new URL("./missing.ts", import.meta.url).href, TypeError],
    [moduleOf("await Promise.reject(new EvalError('rejected'))"), EvalError],
  ];
  for (const [module, cause] of cases) {
    const error = await assertRejects(() => test.call({ module, name: "f" }));
    assertInstanceOf(error, Error);
    assert(error.message.startsWith(`Cannot load the module ${module}: `));
    assertInstanceOf(error.cause, cause);
  }
  assertEquals(await test.call(jobs.add, [1, 2]), 3);
});

Deno.test("A module that does not finish loading fails its jobs after a limit, and is tried again by the next", async () => {
  const gate = openGate();
  const module = moduleOf(
    `await globalThis.${gate.name}; export const f = () => "loaded";`,
  );
  {
    await using test = new TestRunner({ loadLimitMs: 1 });
    await assertRejects(
      () => test.call({ module, name: "f" }),
      TimeoutError,
      `Cannot run export "f" of ${module}: its module has not loaded within 1 ms`,
    );
    assertEquals(test.runner.running, 0);
  }
  await using test = new TestRunner();
  const job = test.run({ module, name: "f" });
  gate.open();
  assertEquals(await job.outcome, { value: "loaded", transfer: [] });
});

Deno.test("abort() ends a job at once whose module is being loaded; others go on", async () => {
  await using test = new TestRunner();
  const gate = openGate();
  const module = moduleOf(
    `await globalThis.${gate.name}; export const f = () => "loaded";`,
  );
  const aborted = test.run({ module, name: "f" });
  const other = test.run({ module, name: "f" });
  assertEquals(test.runner.running, 2);
  test.runner.abort(aborted.id, "why");
  assertEquals(test.runner.running, 1);
  const outcome = await aborted.outcome;
  assert("error" in outcome && outcome.error instanceof CancelledError);
  assertEquals(outcome.error.reason, "why");
  gate.open();
  assertEquals(await other.outcome, { value: "loaded", transfer: [] });
  assertEquals(test.ends, 2);
});

Deno.test("A module is loaded once for many jobs", async () => {
  await using test = new TestRunner();
  Reflect.set(globalThis, "rotaTestLoads", 0);
  const module = moduleOf(
    "globalThis.rotaTestLoads++; export const f = () => globalThis.rotaTestLoads;",
  );
  const all = Array.from({ length: 5 }, () => test.call({ module, name: "f" }));
  assertEquals(await Promise.all(all), [1, 1, 1, 1, 1]);
  Reflect.deleteProperty(globalThis, "rotaTestLoads");
});

// -- Functions by source --

Deno.test("A function that uses what is around it fails with the reason", async () => {
  await using test = new TestRunner();
  const around = 5;
  for (const task of [() => around, async () => around]) {
    const error = await assertRejects(
      () => test.call(task),
      ReferenceError,
      "around is not defined: a function that is sent by its source sees globals only",
    );
    assertInstanceOf(error.cause, ReferenceError);
  }
  await assertRejects(
    () =>
      test.call(function* () {
        return around;
      }),
    ReferenceError,
    "sees globals only",
  );
});

Deno.test("Other errors of such a function arrive as they are", async () => {
  await using test = new TestRunner();
  const error = await assertRejects(() =>
    test.call(() => {
      throw new ReferenceError("my own");
    })
  );
  assertInstanceOf(error, ReferenceError);
  assertEquals(error.message, "my own");
  assertEquals(error.cause, undefined);
});

Deno.test("A function of a module with an undefined name is not told about sources", async () => {
  await using test = new TestRunner();
  const module = moduleOf("export const f = () => nothing;");
  const error = await assertRejects(
    () => test.call({ module, name: "f" }),
    ReferenceError,
  );
  assertEquals(error.message, "nothing is not defined");
});

// -- The end --

Deno.test("close() cancels what is left, and takes no more jobs", async () => {
  const test = new TestRunner();
  const async = await startWaiting(test, jobs.waitAsync);
  const inSteps = await startWaiting(test, jobs.waitInSteps);
  const outside = await startWaiting(test, jobs.waitForSignal);
  await test.runner.close();
  for (const { outcome } of [async, inSteps, outside]) {
    const ended = await outcome;
    assert("error" in ended);
    assertInstanceOf(ended.error, CancelledError);
  }
  assertEquals(async.progress, ["cleaned up"]);
  assertEquals(inSteps.progress, ["cleaned up"]);
  assertEquals(test.runner.running, 0);
  await assertRejects(() => test.call(jobs.add, [1, 2]), ExecutorShutDownError);
  await assertRejects(() => test.call(jobs.add, [1, 2]), MisuseError);
  await test.runner.close();
});

Deno.test("Host auto is portable where a native host would outlive its thread", async () => {
  const { mayBeNative } = autoHost;
  try {
    autoHost.mayBeNative = false;
    const host = createHost("auto");
    assertEquals(host.name, "portable");
    await host.close();
  } finally {
    autoHost.mayBeNative = mayBeNative;
  }
});
