/**
 * Options of pools and of `submit`: defaults, and what is refused.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { run, ThreadPool } from "../../mod.ts";
import {
  type PoolOptions,
  settlePoolOptions,
} from "../../src/workers/pool_options.ts";
import type { SubmitOptions } from "../../src/workers/executor.ts";
import {
  checkSubmitOptions,
  copyArguments,
  NO_JOB_SETTINGS,
} from "../../src/workers/submit_options.ts";

const settle = (options: PoolOptions, workers = 4) =>
  settlePoolOptions(options, "create a thread pool", workers);

Deno.test("the defaults of a pool", () => {
  const { seed, ...settings } = settle({});
  assertEquals(Number.isSafeInteger(seed), true);
  assertEquals(settings, {
    name: "",
    overload: "block",
    onCrash: "reject",
    minWorkers: 0,
    maxWorkers: 4,
    concurrency: 1,
    highWaterMark: Infinity,
    idleTimeoutMs: 30_000,
    startTimeoutMs: 30_000,
    cancelGraceMs: 1_000,
    unresponsiveMs: 30_000,
    recycleAfterJobs: Infinity,
    recycleAboveBytes: Infinity,
    retriesMax: 2,
    maxRestarts: 5,
    withinMs: 60_000,
    backoffMinMs: 100,
    backoffMaxMs: 10_000,
  });
  assertEquals(settle({ minWorkers: 9 }).maxWorkers, 9);
  assertEquals(settle({ backoff: { minMs: 20_000 } }).backoffMaxMs, 20_000);
});

Deno.test("wrong options of a pool are refused", () => {
  const cases: [options: object | number, error: typeof Error, text: string][] =
    [
      [7, TypeError, "options must be an object: received 7"],
      [{ name: 1 }, TypeError, "name must be a string: received 1"],
      [{ minWorkers: -1 }, RangeError, "minWorkers must be an integer >= 0"],
      [{ maxWorkers: 0 }, RangeError, "maxWorkers must be an integer >= 1"],
      [{ maxWorkers: Infinity }, RangeError, "maxWorkers must be an integer"],
      [
        { minWorkers: 3, maxWorkers: 2 },
        RangeError,
        "maxWorkers must be at least minWorkers, 3: received 2",
      ],
      [{ concurrency: 0 }, RangeError, "concurrency"],
      [{ idleTimeoutMs: NaN }, RangeError, "idleTimeoutMs must not be NaN"],
      [{ startTimeoutMs: 0 }, RangeError, "startTimeoutMs must be > 0"],
      [{ cancelGraceMs: -1 }, RangeError, "cancelGraceMs must be >= 0"],
      [{ unresponsiveMs: "1" }, TypeError, "unresponsiveMs must be a number"],
      [{ highWaterMark: -1 }, RangeError, "highWaterMark"],
      [{ overload: "drop" }, TypeError, "overload must be one of"],
      [{ onCrash: "ignore" }, TypeError, "onCrash must be one of"],
      [{ retriesMax: 0.5 }, RangeError, "retriesMax"],
      [{ maxRestarts: -1 }, RangeError, "maxRestarts"],
      [{ withinMs: -1 }, RangeError, "withinMs"],
      [{ recycle: 5 }, TypeError, "options must be an object"],
      [{ recycle: { afterJobs: 0 } }, RangeError, "recycle.afterJobs"],
      [{ recycle: { aboveBytes: "1" } }, TypeError, "recycle.aboveBytes"],
      [{ backoff: { minMs: -1 } }, RangeError, "backoff.minMs"],
      [
        { backoff: { minMs: 5, maxMs: 4 } },
        RangeError,
        "backoff.maxMs must be at least backoff.minMs, 5: received 4",
      ],
      [{ backoff: { seed: 2 ** 60 } }, RangeError, "backoff.seed"],
    ];
  for (const [options, error, text] of cases) {
    const thrown = assertThrows(() => settle(options as PoolOptions), error);
    assertMatch(thrown.message, /^Cannot create a thread pool as .*: received/);
    assertEquals(thrown.message.includes(text), true, thrown.message);
  }
});

Deno.test("the options of submit, complete", () => {
  assertEquals(checkSubmitOptions(undefined), NO_JOB_SETTINGS);
  assertEquals(checkSubmitOptions({}), NO_JOB_SETTINGS);
  const { signal } = new AbortController();
  const onProgress = () => {};
  const transfer = [new ArrayBuffer(1)];
  assertEquals(
    checkSubmitOptions({
      name: "a",
      signal,
      priority: "background",
      key: 7,
      transfer,
      idempotent: true,
      onProgress,
    }),
    {
      name: "a",
      signal,
      rank: -10,
      key: 7,
      deadlineMs: Infinity,
      transfer,
      idempotent: true,
      onProgress,
    },
  );
});

Deno.test("wrong options of submit are refused", async () => {
  const moved = new ArrayBuffer(8);
  structuredClone(moved, { transfer: [moved] });
  const buffer = new ArrayBuffer(8);
  const cases: [options: object | number, error: typeof Error, text: string][] =
    [
      [7, TypeError, "options must be an object: received 7"],
      [{ name: 1 }, TypeError, "name must be a string: received 1"],
      [{ signal: {} }, TypeError, "signal must be an AbortSignal"],
      [
        { signal: Object.create(AbortSignal.prototype) },
        TypeError,
        "Cannot submit a job as signal must be an AbortSignal: received",
      ],
      [{ priority: "high" }, TypeError, 'priority must be "user-blocking"'],
      [{ priority: NaN }, TypeError, "priority"],
      [{ key: {} }, TypeError, "key must be a string or a number"],
      [{ key: NaN }, TypeError, "key must not be NaN"],
      [{ deadlineMs: "1" }, TypeError, "deadlineMs must be a number"],
      [{ deadlineMs: NaN }, RangeError, "deadlineMs must not be NaN"],
      [{ deadlineMs: -5 }, RangeError, "deadlineMs must be after now, 0"],
      [{ transfer: buffer }, TypeError, "transfer must be an array"],
      [{ transfer: [1] }, TypeError, "objects that can be moved: received 1"],
      [
        { transfer: [buffer, {}] },
        TypeError,
        "objects that can be moved: received an object",
      ],
      [
        { transfer: [[buffer]] },
        TypeError,
        "objects that can be moved: received an array",
      ],
      [
        { transfer: [new Map()] },
        TypeError,
        "objects that can be moved: received an object of class Map",
      ],
      [{ transfer: [moved] }, TypeError, "an ArrayBuffer that was moved"],
      [
        { transfer: [new Uint8Array(1)] },
        TypeError,
        "received an object of class Uint8Array, whose buffer can be moved",
      ],
      [
        { transfer: [new SharedArrayBuffer(1)] },
        TypeError,
        "received a SharedArrayBuffer",
      ],
      [
        { transfer: [buffer, buffer] },
        TypeError,
        "hold each object once: received one of them twice",
      ],
      [{ idempotent: 1 }, TypeError, "idempotent must be one of true, false"],
      [{ onProgress: 1 }, TypeError, "onProgress must be a function"],
      [
        { onProgress: function* () {} },
        TypeError,
        "onProgress must be a plain function",
      ],
    ];
  await run(() => {
    for (const [options, error, text] of cases) {
      const thrown = assertThrows(
        () => checkSubmitOptions(options as SubmitOptions),
        error,
      );
      assertMatch(thrown.message, /^Cannot submit a job as .*: received/);
      assertEquals(thrown.message.includes(text), true, thrown.message);
    }
  }, { host: "virtual" });
  assertThrows(
    () => copyArguments("abc" as never),
    TypeError,
    'Cannot submit a job as args must be an array: received "abc"',
  );
});

Deno.test("a wrong transfer moves nothing, and a wrong task of a map is refused at once", async () => {
  await run(async () => {
    await using pool = new ThreadPool({ maxWorkers: 1 });
    const buffer = new ArrayBuffer(1);
    const { port1, port2 } = new MessageChannel();
    const transfer: unknown[] = [buffer, {}];
    assertThrows(
      () =>
        pool.submit((kept: ArrayBuffer) => kept, [buffer], {
          transfer: transfer as Transferable[],
        }),
      TypeError,
      "Cannot submit a job as transfer must hold objects that can be moved",
    );
    assert(!buffer.detached);
    const { readable, writable } = new TransformStream();
    checkSubmitOptions({ transfer: [buffer, port1, readable, writable] });
    port1.close();
    port2.close();
    for (const task of [5, null, { module: 1, name: "f" }, Math.max]) {
      assertThrows(
        () => pool.map(task as () => number, [1]),
        TypeError,
        "Cannot map over a source as ",
      );
    }
  });
});
