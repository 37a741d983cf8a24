/**
 * until(): promises of others as waits of the loop.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  currentTask,
  DeadlockError,
  getRunningLoop,
  MisuseError,
  run,
  sleep,
  TaskLocal,
  until,
  type WaitOptions,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";
import { inStyle, outcomeOf, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

for (const style of STYLES) {
  Deno.test(`until() in ${style} gives what the promise gives, and throws what it throws`, async () => {
    const error = new Error("broken");
    await run(
      inStyle(style, function* () {
        assertEquals(yield until(Promise.resolve("at once")), "at once");
        assertEquals(yield until(() => Promise.resolve("called")), "called");
        const { promise, resolve } = Promise.withResolvers<string>();
        setImmediate(() => resolve("later"));
        assertEquals(yield until(promise), "later");
        for (
          const make of [
            () => until(Promise.reject(error)),
            () => until(() => Promise.reject(error)),
          ]
        ) {
          let caught: unknown;
          try {
            yield make();
          } catch (thrown) {
            caught = thrown;
          }
          assertStrictEquals(caught, error);
        }
      }),
      VIRTUAL,
    );
  });

  Deno.test(`until() in ${style} takes thenables that are no promises`, async () => {
    const thenable = {
      then(resolve: (value: string) => void) {
        resolve("thenable");
      },
    } as PromiseLike<string>;
    const value = await run(
      inStyle(style, function* () {
        return yield until(thenable);
      }),
      VIRTUAL,
    );
    assertEquals(value, "thenable");
  });

  Deno.test(`A wait by until() in ${style} is ended by cancel() and by a signal, and the promise goes on`, async () => {
    const { loop, reports } = openLoop();
    const { promise, resolve } = Promise.withResolvers<string>();
    const controller = new AbortController();
    const make = (options?: WaitOptions) =>
      loop.createTask(inStyle(style, function* () {
        return yield until(promise, options);
      }));
    const [cancelled, aborted, patient] = [
      make(),
      make({ signal: controller.signal }),
      make(),
    ];
    await runTurns(loop, 1);
    assertEquals(loop.stats().outsideWaits, 3);
    cancelled!.cancel("why");
    controller.abort(new Error("aborted"));
    await runTurns(loop, 1);
    assertEquals(outcomeOf(cancelled!), "cancelled: Cancelled: why");
    assertEquals(outcomeOf(aborted!), "failed: aborted");
    assertEquals(outcomeOf(patient!), "pending");
    resolve("value");
    await loop.runUntilComplete(patient!);
    assertEquals(outcomeOf(patient!), "result: value");
    assertEquals(loop.stats().outsideWaits, 0);
    await loop.close();
    assertEquals(reports, []);
  });
}

Deno.test("The function given to until() is called when the wait starts, in the task that waits", async () => {
  const requestId = new TaskLocal("none");
  const log: unknown[] = [];
  await run(function* () {
    requestId.set("r1");
    const operation = until(async () => {
      log.push([currentTask()?.name, requestId.get()]);
      await Promise.resolve();
      log.push([currentTask()?.name, requestId.get()]);
      assertStrictEquals(getRunningLoop(), loop);
    });
    const loop = getRunningLoop();
    yield* sleep(1);
    assertEquals(log, []);
    yield* operation;
  }, { ...VIRTUAL, name: "main" });
  assertEquals(log, [["main", "r1"], ["main", "r1"]]);
});

Deno.test("What a helper called by until() waits for is cancelled with the task", async () => {
  const { loop, reports } = openLoop();
  const log: string[] = [];
  const helper = async () => {
    try {
      await sleep(1_000);
      log.push("ran on");
    } finally {
      log.push("helper cleaned up");
    }
  };
  const task = loop.createTask(function* () {
    yield* until(helper);
  });
  await runTurns(loop, 2);
  task.cancel("why");
  await runTurns(loop, 3);
  assertEquals(log, ["helper cleaned up"]);
  assertEquals(outcomeOf(task), "cancelled: Cancelled: why");
  assertEquals(loop.stats().timers, 0);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("The virtual clock stands still while a promise is waited for", async () => {
  const times: number[] = [];
  await run(function* () {
    const loop = getRunningLoop();
    const other = loop.createTask(function* () {
      yield* sleep(1_000);
      times.push(loop.time());
    });
    for (let n = 0; n < 3; n++) {
      yield* until(new Promise<void>((resolve) => setImmediate(resolve)));
      times.push(loop.time());
    }
    yield* other;
  }, VIRTUAL);
  assertEquals(times, [0, 0, 0, 1_000]);
});

Deno.test('With outsideWaits: "ignore" the clock moves on, and a promise that never settles is a deadlock', async () => {
  const options = { ...VIRTUAL, outsideWaits: "ignore", name: "main" } as const;
  const error = await assertRejects(
    () =>
      run(function* () {
        yield* sleep(1_000);
        yield* until(new Promise(() => {}));
      }, options),
    DeadlockError,
  );
  assertEquals(error.tasks, [
    { name: "main", waitsFor: "a promise in until()" },
  ]);
});

// -- Errors that come too late --

Deno.test("A promise that fails after its waiter has left is reported, once", async () => {
  const { loop, reports } = openLoop();
  const { promise, reject } = Promise.withResolvers<void>();
  const tasks = [1, 2].map(() =>
    loop.createTask(function* () {
      yield* until(promise);
    })
  );
  await runTurns(loop, 1);
  for (const task of tasks) task.cancel();
  await runTurns(loop, 1);
  const error = new Error("too late");
  reject(error);
  await runTurns(loop, 2);
  await loop.close();
  assertEquals(
    reports.map(({ message, exception }) => [message, exception]),
    [["A promise given to until() failed after its waiter had left", error]],
  );
});

Deno.test("A promise that fails in the same turn in which its waiter is cancelled is reported", async () => {
  for (const cancelFirst of [true, false]) {
    const { loop, reports } = openLoop();
    const { promise, reject } = Promise.withResolvers<void>();
    const error = new Error("in the same turn");
    const task = loop.createTask(function* () {
      yield* until(promise);
    });
    await runTurns(loop, 1);
    if (cancelFirst) task.cancel();
    reject(error);
    await Promise.resolve();
    if (!cancelFirst) task.cancel();
    await runTurns(loop, 3);
    assert(task.cancelled());
    await loop.close();
    assertEquals(reports.map(({ exception }) => exception), [error]);
  }
});

Deno.test("A promise that was merely aborted after its waiter had left is no news", async () => {
  const { loop, reports } = openLoop();
  for (
    const reason of [
      new DOMException("aborted", "AbortError"),
      new CancelledError("stop"),
    ]
  ) {
    const { promise, reject } = Promise.withResolvers<void>();
    const task = loop.createTask(function* () {
      yield* until(promise);
    });
    await runTurns(loop, 1);
    task.cancel();
    await runTurns(loop, 1);
    reject(reason);
    await runTurns(loop, 1);
  }
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A promise that fails while somebody else still waits for it goes to them alone", async () => {
  const { loop, reports } = openLoop();
  const { promise, reject } = Promise.withResolvers<void>();
  const body = function* () {
    yield* until(promise);
  };
  const [gone, there] = [loop.createTask(body), loop.createTask(body)];
  await runTurns(loop, 1);
  gone.cancel();
  await runTurns(loop, 1);
  const error = new Error("broken");
  reject(error);
  const caught = await assertRejects(() => loop.runUntilComplete(there));
  assertStrictEquals(caught, error);
  await loop.close();
  assertEquals(reports, []);
});

// -- Arguments --

Deno.test("until() takes promises and functions, and says so", () => {
  for (
    const [wrong, received] of [
      [undefined, "undefined"],
      [null, "null"],
      [5, "5"],
      [{}, "an object"],
    ]
  ) {
    const error = assertThrows(
      () => until(wrong as unknown as Promise<void>),
      TypeError,
    );
    assertEquals(
      error.message,
      `Cannot wait until a promise settles as source must be a promise, or a function that returns one: received ${received}`,
    );
  }
  const options = { signal: 1 } as unknown as WaitOptions;
  assertThrows(() => until(Promise.resolve(), options), TypeError, "signal");
});

for (const style of STYLES) {
  Deno.test(`A function given to until() in ${style} that returns no promise, or throws, is an error at the wait`, async () => {
    const error = await assertRejects(
      () =>
        run(
          inStyle(style, function* () {
            yield until((() => 5) as unknown as () => Promise<void>);
          }),
          VIRTUAL,
        ),
      TypeError,
    );
    assertEquals(
      error.message,
      "Cannot wait until a promise settles as source must return a promise: received 5",
    );
    const thrown = new Error("in the function");
    const caught = await assertRejects(() =>
      run(
        inStyle(style, function* () {
          yield until((): Promise<void> => {
            throw thrown;
          });
        }),
        VIRTUAL,
      )
    );
    assertStrictEquals(caught, thrown);
  });
}

Deno.test("until() without a loop says so", async () => {
  const error = await assertRejects(
    async () => await until(Promise.resolve()),
    MisuseError,
  );
  assertInstanceOf(error, MisuseError);
});

// -- Memory --

/** A program that prints by how many megabytes the heap has grown over `body`. */
function growth(setup: string, body: string): string {
  return `
    import {
      asCompleted, ensureFuture, gather, getRunningLoop, Operation, run, shield, sleep,
      taskGroup, TimeoutError, until, wait, waitFor,
    } from "@rota/rota";
    const heap = () => {
      gc();
      return Deno.memoryUsage().heapUsed;
    };
    await run(async () => {
      const loop = getRunningLoop();
      ${setup}
      const round = async () => {
        for (let n = 0; n < 100_000; n++) {
          ${body}
        }
      };
      await round();
      const before = heap();
      await round();
      console.log((heap() - before) / 1e6);
    }, { host: "virtual", outsideWaits: "ignore" });
  `;
}

/** Opens a group whose only slot is taken for ever. */
const STUCK_GROUP = `
  const opened = loop.createFuture();
  loop.createTask(function* () {
    yield* taskGroup(function* (group) {
      group.createTask(() => loop.createFuture());
      opened.setResult(group);
      yield* loop.createFuture();
    }, { limit: 1 });
  });
  const group = await opened;
`;

const ROUNDS: Readonly<Record<string, readonly [string, string]>> = {
  "a task that is cancelled in line for a slot of its group": [
    STUCK_GROUP,
    `
      group.createTask(() => {}).cancel();
      if (n % 64 === 0) await sleep(0);
    `,
  ],
  "a task in line for a slot of its group that goes up and down": [
    `${STUCK_GROUP} const task = group.createTask(() => {});`,
    "task.setPriority(n % 2);",
  ],
  "until() on one promise that never settles": [
    "const never = new Promise(() => {});",
    `
      const task = loop.createTask(function* () {
        yield* until(never);
      });
      await sleep(0);
      task.cancel();
      await sleep(0);
    `,
  ],
  "until() with a signal on one promise that never settles": [
    "const never = new Promise(() => {});",
    `
      const controller = new AbortController();
      const wait = until(never, { signal: controller.signal });
      loop.callSoon(() => controller.abort());
      await wait.then(null, () => {});
      if (n % 64 === 0) await sleep(0);
    `,
  ],
  "an operation with a signal on one future that is never done": [
    "const never = loop.createFuture();",
    `
      const controller = new AbortController();
      const wait = new Operation(() => never[Symbol.iterator](), { signal: controller.signal });
      loop.callSoon(() => controller.abort());
      await wait.then(null, () => {});
      if (n % 64 === 0) await sleep(0);
    `,
  ],
  "a callback that is added to and removed from one future that is never done":
    [
      "const never = loop.createFuture();",
      `
      const callback = () => {};
      never.addDoneCallback(callback);
      never.removeDoneCallback(callback);
      if (n % 64 === 0) await sleep(0);
    `,
    ],
  "wait() for the first of something and one future that is never done": [
    "const never = loop.createFuture();",
    `
      const first = loop.createFuture();
      loop.callSoon(() => first.setResult());
      await wait([first, never], { returnWhen: "first-completed" });
    `,
  ],
  "gather() that something has ended, with one future that is never done": [
    "const never = loop.createFuture();",
    `
      const broken = loop.createFuture();
      loop.callSoon(() => broken.setException(new RangeError("broken")));
      const error = await gather([broken, never]).then(null, (error) => error);
      if (!(error instanceof RangeError)) throw error;
    `,
  ],
  "waitFor() with a limit on one promise that never settles": [
    "const never = new Promise(() => {});",
    `
      const error = await waitFor(never, 1).then(null, (error) => error);
      if (!(error instanceof TimeoutError)) throw error;
    `,
  ],
  "ensureFuture() of one promise that never settles, cancelled": [
    "const never = new Promise(() => {});",
    `
      ensureFuture(never).cancel();
      await sleep(0);
    `,
  ],
  "shield() of one future that is never done, given up": [
    "const never = loop.createFuture();",
    `
      const error = await waitFor(shield(never), 1).then(null, (error) => error);
      if (!(error instanceof TimeoutError)) throw error;
    `,
  ],
  "asCompleted() of one future that is never done, given up": [
    "const never = loop.createFuture();",
    `
      const [next] = asCompleted([never], { timeoutMs: 1 });
      const error = await next.then(null, (error) => error);
      if (!(error instanceof TimeoutError)) throw error;
    `,
  ],
  "a sleep that is cancelled before it ends": [
    "",
    `
      const task = loop.createTask(function* () {
        yield* sleep(1e6);
      });
      await sleep(0);
      task.cancel();
      await sleep(0);
    `,
  ],
};

for (const [what, [setup, body]] of Object.entries(ROUNDS)) {
  Deno.test(`100,000 times ${what} leave the heap as it was`, async () => {
    const { stdout, stderr, code } = await runProgram(growth(setup, body), {
      flags: ["-A", "--v8-flags=--expose-gc"],
      limitMs: 120_000,
    });
    assertEquals(code, 0, stderr);
    const grownMb = Number(stdout);
    // A leak of 50 bytes a wait would show as 5.
    assert(grownMb < 4, `it grew by ${grownMb} MB`);
  });
}
