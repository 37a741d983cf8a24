/**
 * `waitAllTasksBlocked`, `Sequencer`, and the assertions about checkpoints.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  CancelledError,
  createTask,
  EventLoop,
  getRunningLoop,
  InvalidStateError,
  Lock,
  MisuseError,
  Queue,
  run,
  sleep,
  timeout,
  until,
} from "../../mod.ts";
import {
  assertCheckpoints,
  AssertionError,
  assertNoCheckpoints,
  cancelEverywhere,
  runTestLoop,
  Sequencer,
  waitAllTasksBlocked,
} from "../../src/testing/mod.ts";
import { inStyle, type Steps, STYLES } from "../support/styles.ts";

// -- waitAllTasksBlocked --

for (const style of STYLES) {
  for (const host of ["virtual", "portable"] as const) {
    Deno.test(`waitAllTasksBlocked() waits for steps and continuations, in ${style} on a ${host} host`, async () => {
      await run(
        inStyle(style, function* () {
          const log: string[] = [];
          createTask(function* () {
            for (let n = 0; n < 50; n++) yield* sleep(0);
            log.push("generator");
            yield* sleep(60_000);
          });
          createTask(async () => {
            for (let n = 0; n < 50; n++) await null;
            await sleep(0);
            for (let n = 0; n < 50; n++) await Promise.resolve();
            log.push("async");
            await sleep(60_000);
          });
          const startMs = getRunningLoop().time();
          yield waitAllTasksBlocked();
          assertEquals(log.toSorted(), ["async", "generator"]);
          if (host === "virtual") {
            assertEquals(getRunningLoop().time(), startMs);
          }
          yield waitAllTasksBlocked(); // at once again
        }),
        { host, handleInterrupt: false },
      );
    });
  }

  Deno.test(`those who wait for all tasks to be blocked go on together, in ${style}`, async () => {
    await run(
      inStyle(style, function* () {
        const turns: number[] = [];
        const wait = inStyle(style, function* () {
          yield waitAllTasksBlocked();
          turns.push(getRunningLoop().stats().turns);
          yield sleep(0);
        });
        const tasks = [createTask(wait), createTask(wait), createTask(wait)];
        for (const task of tasks) yield task;
        assertEquals(new Set(turns).size, 1);
        assertEquals(turns.length, 3);
      }),
      { host: "virtual" },
    );
  });

  Deno.test(`waiting for all tasks can be cancelled anywhere, in ${style}`, async () => {
    const points = await cancelEverywhere(
      () =>
        inStyle(style, function* () {
          yield waitAllTasksBlocked();
          yield sleep(5);
          yield waitAllTasksBlocked();
        })(),
      function* () {
        yield* waitAllTasksBlocked(); // it still works
        yield* sleep(5); // and holds no clock
      },
    );
    assert(points >= 3, `${points}`);
  });
}

Deno.test("waitAllTasksBlocked() refuses a wrong signal and ends by a right one", async () => {
  assertThrows(
    () => waitAllTasksBlocked({ signal: 1 as never }),
    TypeError,
    "signal must be",
  );
  await run(async () => {
    const busy = createTask(function* () {
      for (;;) yield* sleep(0);
    });
    const controller = new AbortController();
    const waiting = createTask(() =>
      waitAllTasksBlocked({ signal: controller.signal })
    );
    await sleep(0);
    controller.abort(new Error("enough"));
    await assertRejects(async () => await waiting, Error, "enough");
    busy.cancel();
  }, { host: "virtual" });
});

Deno.test("a loop that is stopped under waitAllTasksBlocked() holds nothing", async () => {
  const loop = new EventLoop({ host: "virtual" });
  loop.setExceptionHandler(() => {});
  loop.createTask(() => waitAllTasksBlocked());
  loop.callSoon(() => loop.stop());
  await loop.runForever();
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
  await loop.close();
});

// -- Sequencer --

for (const style of STYLES) {
  Deno.test(`a sequence runs in its order, in ${style}`, async () => {
    await runTestLoop(() =>
      inStyle(style, function* () {
        const sequence = new Sequencer();
        const log: number[] = [];
        const worker = (positions: number[]) =>
          inStyle(style, function* () {
            for (const position of positions) {
              using _step: Disposable = yield sequence.position(position);
              yield sleep(10 - position);
              log.push(position);
            }
          });
        const tasks = [[2, 5], [0, 4], [1, 3]].map((positions) =>
          createTask(worker(positions))
        );
        for (const task of tasks) yield task;
        assertEquals(log, [0, 1, 2, 3, 4, 5]);
      })()
    );
  });

  Deno.test(`a sequence breaks when a task that waits is cancelled, in ${style}`, async () => {
    await runTestLoop(() =>
      inStyle(style, function* () {
        const sequence = new Sequencer();
        const take = (position: number) =>
          createTask(inStyle(style, function* () {
            const step: Disposable = yield sequence.position(position);
            step[Symbol.dispose]();
          }));
        const tasks = [take(1), take(2), take(3)];
        yield sleep(1);
        tasks[1]!.cancel();
        yield sleep(1);
        assert(tasks[1]!.cancelled());
        for (const position of [0, 2]) {
          const error = tasks[position]!.exception();
          assert(error instanceof InvalidStateError);
          assertEquals(
            error.message,
            `Cannot take position ${
              position + 1
            } in a sequence: it is broken, as position 2 was given up`,
          );
        }
        try {
          yield sequence.position(0);
          assert(false);
        } catch (error) {
          assert(error instanceof InvalidStateError);
        }
      })()
    );
  });
}

Deno.test("a sequence refuses wrong positions, and one that was taken", async () => {
  const sequence = new Sequencer();
  assertThrows(() => sequence.position(-1), RangeError, "integer >= 0");
  assertThrows(() => sequence.position("1" as never), TypeError, "a number");
  await run(async () => {
    using _step = await sequence.position(0);
    await assertRejects(
      async () => await sequence.position(0),
      MisuseError,
      "it was taken before",
    );
  }, { host: "virtual" });
});

// -- Checkpoints --

const WITH: Readonly<Record<string, Steps<unknown>>> = {
  *"sleep(0)"() {
    yield sleep(0);
  },
  *"a timer"() {
    yield sleep(5);
  },
  *"a lock that is taken"() {
    const lock = new Lock();
    yield lock.acquire();
    getRunningLoop().callLater(5, () => lock.release());
    yield lock.acquire();
    lock.release();
  },
  *"a promise"() {
    yield until(Promise.resolve());
  },
  *"a timeout with a wait inside"() {
    yield timeout(10, function* () {
      yield* sleep(1);
    });
  },
};

const WITHOUT: Readonly<Record<string, Steps<unknown>>> = {
  *"nothing"() {},
  *"a lock that is free"() {
    const lock = new Lock();
    yield lock.acquire();
    lock.release();
  },
  *"a queue with items"() {
    const queue = new Queue<number>();
    for (let n = 0; n < 20; n++) yield queue.put(n);
    for (let n = 0; n < 20; n++) yield queue.get();
  },
};

for (const style of STYLES) {
  const settle = async (steps: Steps<unknown>): Promise<string[]> => {
    const outcomes: string[] = [];
    for (const check of [assertCheckpoints, assertNoCheckpoints]) {
      await runTestLoop(async () => {
        try {
          await check(inStyle(style, steps));
          outcomes.push("passes");
        } catch (error) {
          assert(error instanceof AssertionError);
          outcomes.push("fails");
        }
      });
    }
    return outcomes;
  };
  for (const [name, steps] of Object.entries(WITH)) {
    Deno.test(`${name} is a checkpoint, in ${style}`, async () => {
      assertEquals(await settle(steps), ["passes", "fails"]);
    });
  }
  for (const [name, steps] of Object.entries(WITHOUT)) {
    Deno.test(`${name} is no checkpoint, in ${style}`, async () => {
      assertEquals(await settle(steps), ["fails", "passes"]);
    });
  }

  Deno.test(`results, errors and cancellations pass through, in ${style}`, async () => {
    await runTestLoop(async () => {
      const value = await assertCheckpoints(inStyle(style, function* () {
        yield sleep(1);
        return 5;
      }));
      assertEquals(value, 5);
      await assertRejects(
        async () =>
          await assertCheckpoints(inStyle(style, function* () {
            throw new RangeError("its own");
          })),
        RangeError,
        "its own",
      );
      const task = createTask(() =>
        assertNoCheckpoints(inStyle(style, function* () {
          yield sleep(100);
        }))
      );
      await sleep(1);
      task.cancel();
      await assertRejects(async () => await task, CancelledError);
    });
  });
}

Deno.test("a foreign promise alone is no checkpoint", async () => {
  await run(async () => {
    await assertNoCheckpoints(async () => {
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
    });
  }, { host: "virtual" });
});

Deno.test("the checkpoint assertions refuse what is no function", () => {
  assertThrows(() => assertCheckpoints(1 as never), TypeError, "body must be");
  assertThrows(() => assertNoCheckpoints(1 as never), TypeError, "body must");
});
