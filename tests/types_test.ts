/**
 * What the compiler knows: the types that waiting gives, those that are
 * inferred, and calls that must not compile.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { assertType, type IsExact } from "@std/testing/types";
import {
  type Coroutine,
  currentTask,
  each,
  type EventLoop,
  type Future,
  getRunningLoop,
  isFuture,
  newEventLoop,
  Operation,
  run,
  type RunOptions,
  scoped,
  sleep,
  type Task,
  type TaskBody,
  TaskLocal,
  type TimerHandle,
  until,
} from "../mod.ts";

const VIRTUAL = { host: "virtual" } as const;

/** Is only compiled: what stands in it must be right or wrong, not run. */
function onlyCompiled(_: (loop: EventLoop) => unknown): void {}

Deno.test("yield* gives what an operation, future or task is of", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const operation = new Operation(function* () {
      yield* sleep(0);
      return 5;
    });
    assertType<IsExact<typeof operation, Operation<number>>>(true);
    const number = yield* operation;
    assertType<IsExact<typeof number, number>>(true);

    const future = loop.createFuture<string>();
    future.setResult("text");
    const text = yield* future;
    assertType<IsExact<typeof text, string>>(true);

    const task = loop.createTask(() => new Date(0));
    const date = yield* task;
    assertType<IsExact<typeof date, Date>>(true);

    const nothing = yield* sleep(0);
    assertType<IsExact<typeof nothing, void>>(true);
    const value = yield* sleep(0, { value: [1] });
    assertType<IsExact<typeof value, number[]>>(true);
    const awaited = yield* until(Promise.resolve(true));
    assertType<IsExact<typeof awaited, boolean>>(true);
    const called = yield* until(() => Promise.resolve(1n));
    assertType<IsExact<typeof called, bigint>>(true);
    assertEquals([number, text, date.getTime(), value], [5, "text", 0, [1]]);
  }, VIRTUAL);
});

Deno.test("yield* gives T as it is, await gives Awaited<T>", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture<Promise<number>>();
    future.setResult(Promise.resolve(1));
    const promise = yield* future;
    assertType<IsExact<typeof promise, Promise<number>>>(true);
    const task = loop.createTask(async () => {
      const flat = await future;
      assertType<IsExact<typeof flat, number>>(true);
      return flat;
    });
    assertEquals(yield* task, 1);
    assertEquals(promise instanceof Promise, true);
  }, VIRTUAL);
});

Deno.test("createTask() infers what the body produces, in each way of writing it", async () => {
  await run(async () => {
    const loop = getRunningLoop();
    const fromGenerator = loop.createTask(function* () {
      yield* sleep(0);
      return 1;
    });
    assertType<IsExact<typeof fromGenerator, Task<number>>>(true);
    const fromAsync = loop.createTask(async () => {
      await sleep(0);
      return "text";
    });
    assertType<IsExact<typeof fromAsync, Task<string>>>(true);
    const coroutine = function* (n: number): Coroutine<boolean> {
      yield* sleep(0);
      return n > 0;
    };
    const fromCall = loop.createTask(() => coroutine(1));
    assertType<IsExact<typeof fromCall, Task<boolean>>>(true);
    const fromObject = loop.createTask(coroutine(0));
    assertType<IsExact<typeof fromObject, Task<boolean>>>(true);
    const fromOperation = loop.createTask(sleep(0, { value: 5n }));
    assertType<IsExact<typeof fromOperation, Task<bigint>>>(true);
    const fromPlain = loop.createTask(() => null);
    assertType<IsExact<typeof fromPlain, Task<null>>>(true);
    const fromNothing = loop.createTask(function* () {});
    assertType<IsExact<typeof fromNothing, Task<void>>>(true);
    const all = await Promise.all([fromGenerator, fromAsync, fromCall]);
    assertType<IsExact<typeof all, [number, string, boolean]>>(true);
    await Promise.all([fromObject, fromOperation, fromPlain, fromNothing]);
  }, VIRTUAL);
});

Deno.test("run() and runUntilComplete() infer their result", async () => {
  const number = await run(function* () {
    return 1;
  }, VIRTUAL);
  assertType<IsExact<typeof number, number>>(true);
  const text = await run(async () => "text", VIRTUAL);
  assertType<IsExact<typeof text, string>>(true);
  await using loop = newEventLoop(VIRTUAL);
  const future = loop.createFuture<Date>();
  future.setResult(new Date(0));
  const date = await loop.runUntilComplete(future);
  assertType<IsExact<typeof date, Date>>(true);
  assertEquals([number, text, date.getTime()], [1, "text", 0]);
});

Deno.test("Extra arguments of callbacks are checked against their parameters", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const callback = (name: string, times: number) => `${name} ${times}`;
  const handle = loop.callSoon(callback, "a", 1);
  const timer = loop.callLater(5, callback, "b", 2);
  assertType<IsExact<typeof timer, TimerHandle>>(true);
  handle.cancel();
  timer.cancel();
  onlyCompiled((loop) => {
    // @ts-expect-error an argument is missing
    loop.callSoon(callback, "a");
    // @ts-expect-error an argument is of the wrong type
    loop.callLater(5, callback, 1, "a");
    // @ts-expect-error there is one too many
    loop.callAt(5, callback, "a", 1, 2);
    // @ts-expect-error the delay comes first
    loop.callLater(callback, 5, "a", 1);
  });
});

Deno.test("What cannot be waited for does not compile", () => {
  onlyCompiled(function* (loop) {
    // @ts-expect-error a promise needs until()
    yield* Promise.resolve(1);
    // @ts-expect-error work that is under way is no body
    loop.createTask(Promise.resolve(1));
    // @ts-expect-error a number is no body
    loop.createTask(5);
    // @ts-expect-error a body has no parameters
    loop.createTask((_: number) => 1);
    // @ts-expect-error a coroutine yields by yield* only
    loop.createTask(function* () {
      yield 5;
    });
    // @ts-expect-error an operation is made of a generator function
    new Operation(async () => 1);
    // @ts-expect-error a promise is no number
    sleep(Promise.resolve(1));
    // @ts-expect-error numbers cannot be disposed of
    scoped(5, () => {});
    // @ts-expect-error numbers cannot be gone through
    each(5, () => {});
    // @ts-expect-error until() takes promises
    until(5);
    // @ts-expect-error a task's result is what its body returns
    loop.createTask(() => 1).setResult("text");
  });
});

Deno.test("Options that may be left out may also be undefined, and nothing else", () => {
  const signal: AbortSignal | undefined = undefined;
  const name: string | undefined = undefined;
  onlyCompiled((loop) => {
    loop.createTask(() => 1, { signal, name, eager: undefined });
    sleep(5, { signal });
    until(Promise.resolve(), { signal });
    new Operation(function* () {}, { signal, name });
    newEventLoop({ debug: undefined, host: undefined });
    const options: RunOptions = { name, cancelGraceMs: undefined };
    // @ts-expect-error there is no such option
    loop.createTask(() => 1, { nam: "typo" });
    // @ts-expect-error there is no such host
    newEventLoop({ host: "windows" });
    // @ts-expect-error options are not changed
    options.name = "other";
    // @ts-expect-error null is not undefined
    sleep(5, { signal: null });
    return options;
  });
});

Deno.test("A body that is handed on keeps its type", async () => {
  function twice<T>(body: TaskBody<T>): Task<T> {
    return getRunningLoop().createTask<T>(body);
  }
  await run(function* () {
    const number = yield* twice(() => 5);
    assertType<IsExact<typeof number, number>>(true);
    assertEquals(number, 5);
  }, VIRTUAL);
});

Deno.test("Values of variables, scopes and items have their types in the bodies", async () => {
  const local = new TaskLocal<string | null>(null);
  const given = local.get();
  assertType<IsExact<typeof given, string | null>>(true);
  await run(function* () {
    const size = yield* scoped(
      { size: 3, [Symbol.dispose]() {} },
      function* (it) {
        assertType<IsExact<typeof it.size, number>>(true);
        yield;
        return it.size;
      },
    );
    assertType<IsExact<typeof size, number>>(true);
    const flat = yield* scoped(
      { [Symbol.dispose]() {} },
      () => Promise.resolve("text"),
    );
    assertType<IsExact<typeof flat, string>>(true);
    yield* each([1, Promise.resolve(2)], (item) => {
      assertType<IsExact<typeof item, number>>(true);
    });
    yield* each(ReadableStream.from(["a"]), function* (item, stop) {
      assertType<IsExact<typeof item, string>>(true);
      assertType<IsExact<typeof stop, () => void>>(true);
    });
    assertEquals([size, flat], [3, "text"]);
  }, VIRTUAL);
});

Deno.test("isFuture() narrows, and currentTask() may be null", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const something: unknown = loop.createFuture();
  if (isFuture(something)) {
    assertType<IsExact<typeof something, Future<unknown>>>(true);
  }
  const task = currentTask();
  assertType<IsExact<typeof task, Task<unknown> | null>>(true);
  assertEquals(task, null);
});
