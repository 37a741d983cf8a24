/**
 * Tasks: what can be one, when its steps run, how it ends, and what is known of
 * it meanwhile.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  CancelledError,
  type Coroutine,
  currentTask,
  DeadlockError,
  eagerTaskFactory,
  type EventLoop,
  getRunningLoop,
  LoopClosedError,
  MisuseError,
  newEventLoop,
  Operation,
  run,
  sleep,
  Task,
  type TaskBody,
  taskGroup,
  type TaskOptions,
  until,
} from "../mod.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { inStyle, outcomeOf, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

// -- What can be a task --

const BODIES: Readonly<Record<string, () => TaskBody<number>>> = {
  "a generator function": () =>
    function* () {
      yield* sleep(1);
      return 7;
    },
  "a generator function that never waits": () =>
    function* () {
      return 7;
    },
  "an async function": () => async () => {
    await sleep(1);
    return 7;
  },
  "a function that returns a generator": () => () =>
    (function* (): Coroutine<number> {
      yield;
      return 7;
    })(),
  "a generator that has not started": () =>
    (function* (): Coroutine<number> {
      yield* sleep(1);
      return 7;
    })(),
  "an operation": () => sleep(1, { value: 7 }),
  "a function that returns an operation": () => () => sleep(1, { value: 7 }),
  "a function that returns a foreign promise": () => () => Promise.resolve(7),
  "a function that returns a plain value": () => () => 7,
  "a method that is bound": () => Number.prototype.valueOf.bind(7),
};

for (const [what, make] of Object.entries(BODIES)) {
  Deno.test(`A task can be ${what}`, async () => {
    assertEquals(await run(make(), VIRTUAL), 7);
    await run(async () => {
      const task = getRunningLoop().createTask(make());
      assert(!task.done(), "nothing has run yet");
      assertEquals(await task, 7);
    }, VIRTUAL);
  });
}

const NO_BODIES: Readonly<Record<string, readonly [unknown, string]>> = {
  "a promise": [
    Promise.resolve(),
    "received a promise, pass () => work() instead of work()",
  ],
  "undefined": [undefined, "received undefined"],
  "null": [null, "received null"],
  "a number": [5, "received 5"],
  "a string": ["work", 'received "work"'],
  "an array": [[], "received an array"],
};

for (const [what, [body, received]] of Object.entries(NO_BODIES)) {
  Deno.test(`createTask() and run() refuse ${what} as a body, with the reason`, async () => {
    const { loop } = openLoop();
    const reason =
      "its body must be a generator function, an async function, a coroutine or an operation: ";
    const error = assertThrows(
      () => loop.createTask(body as TaskBody<void>),
      TypeError,
    );
    assertEquals(error.message, `Cannot create a task as ${reason}${received}`);
    const rejection = await assertRejects(
      () => run(body as TaskBody<void>, VIRTUAL),
      TypeError,
    );
    assertEquals(
      rejection.message,
      `Cannot run a program as ${reason}${received}`,
    );
    assertEquals([allTasks(loop), loop.stats().ready], [[], 0]);
    await loop.close();
  });
}

Deno.test("createTask() refuses a signal that is none, and a closed loop, before it changes anything", async () => {
  const { loop } = openLoop();
  const options = { signal: {} } as unknown as TaskOptions;
  const error = assertThrows(
    () => loop.createTask(() => 1, options),
    TypeError,
  );
  assertEquals(
    error.message,
    "Cannot create a task as signal must be an AbortSignal: received an object",
  );
  assertEquals(loop.stats().tasks, 0);
  await loop.close();
  const closed = assertThrows(() => loop.createTask(() => 1), LoopClosedError);
  assertEquals(
    closed.message,
    "Cannot create a task: the event loop is closed",
  );
});

Deno.test("An operation that was waited for before makes a task that fails", async () => {
  const { loop } = openLoop();
  const operation = sleep(1);
  const [first, second] = [
    loop.createTask(operation),
    loop.createTask(operation),
  ];
  await runTurns(loop, 1);
  assertEquals(outcomeOf(first), "pending");
  const error = second.exception();
  assertInstanceOf(error, MisuseError);
  assertEquals(
    error.message,
    "Cannot wait for sleep() a second time: an operation starts once, make a new one",
  );
  await loop.runUntilComplete(first);
  await loop.close();
});

// -- Steps --

Deno.test("The first steps run in the next turn, in the order of creation", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  loop.createTask(function* () {
    log.push("generator");
  });
  loop.callSoon(() => log.push("callback"));
  loop.createTask(async () => void log.push("async"));
  assertEquals(log, []);
  await runTurns(loop, 1);
  assertEquals(log, ["generator", "callback", "async"]);
  await loop.close();
});

Deno.test("Who waits for a task goes on one turn after it has ended", async () => {
  const { loop } = openLoop();
  const inner = loop.createTask(function* () {
    yield;
    return "inner";
  });
  const outer = loop.createTask(function* () {
    return `outer of ${yield* inner}`;
  });
  await runTurns(loop, 2);
  assertEquals([outcomeOf(inner), outcomeOf(outer)], [
    "result: inner",
    "pending",
  ]);
  await runTurns(loop, 1);
  assertEquals(outcomeOf(outer), "result: outer of inner");
  await loop.close();
});

Deno.test("A bare yield is one turn, like sleep(0)", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  loop.createTask(function* () {
    for (let n = 1; n <= 3; n++) {
      log.push(`bare ${n}`);
      yield;
    }
  });
  loop.createTask(function* () {
    for (let n = 1; n <= 3; n++) {
      log.push(`sleep ${n}`);
      yield* sleep(0);
    }
  });
  await runTurns(loop, 3);
  assertEquals(log, [
    "bare 1",
    "sleep 1",
    "bare 2",
    "sleep 2",
    "bare 3",
    "sleep 3",
  ]);
  await runTurns(loop, 1);
  await loop.close();
});

Deno.test("A coroutine may wait for another by yield* without a turn in between", async () => {
  const { loop } = openLoop();
  const helper = function* (n: number): Coroutine<number> {
    return n === 0 ? 0 : 1 + (yield* helper(n - 1));
  };
  const task = loop.createTask(() => helper(50));
  await runTurns(loop, 1);
  assertEquals(task.result(), 50);
  await loop.close();
});

const WRONG_YIELDS: Readonly<
  Record<string, readonly [() => unknown, string]>
> = {
  "a number": [
    () => 5,
    'Cannot wait for 5: use "yield*" with an operation, future or task, and "yield* until(promise)" with a promise',
  ],
  "null": [
    () => null,
    'Cannot wait for null: use "yield*" with an operation, future or task, and "yield* until(promise)" with a promise',
  ],
  "a promise": [
    () => Promise.resolve(),
    'Cannot wait for a promise: use "yield*" with an operation, future or task, and "yield* until(promise)" with a promise',
  ],
  "a future without the star": [
    () => getRunningLoop().createFuture(),
    'use "yield*" with an operation, future or task',
  ],
  "an operation without the star": [
    () => sleep(1),
    'use "yield*" with an operation, future or task',
  ],
};

for (const [what, [make, message]] of Object.entries(WRONG_YIELDS)) {
  Deno.test(`Yielding ${what} throws at that place in the next turn, and the coroutine may go on`, async () => {
    const { loop, reports } = openLoop();
    const log: string[] = [];
    const task = loop.createTask(
      function* (): Generator {
        try {
          yield make();
        } catch (error) {
          assertInstanceOf(error, MisuseError);
          log.push(error.message);
        }
        yield* sleep(1);
        return "went on";
      } as () => Coroutine<string>,
    );
    await runTurns(loop, 1);
    assertEquals(log, []);
    assertEquals(await loop.runUntilComplete(task), "went on");
    assertEquals(log.length, 1);
    assert(log[0]!.includes(message), log[0]);
    await loop.close();
    // Only what was made and never waited for is complained about.
    for (const report of reports) assertMatch(report.message, /never waited/);
  });
}

for (const style of STYLES) {
  Deno.test(`A task that waits for itself in ${style} is told so`, async () => {
    const { loop } = openLoop();
    const task: Task<void> = loop.createTask(inStyle(style, function* () {
      yield currentTask()!;
    }));
    const error = await assertRejects(
      () => loop.runUntilComplete(task),
      MisuseError,
    );
    assertEquals(error.message, "Cannot wait for a task in itself");
    await loop.close();
  });

  Deno.test(`Tasks that wait for each other in ${style} are named by DeadlockError, and can be cancelled`, async () => {
    const log: string[] = [];
    const error = await assertRejects(() =>
      run(function* () {
        const loop = getRunningLoop();
        const tasks: Task<void>[] = [];
        for (const [n, name] of ["a", "b", "c"].entries()) {
          const body = inStyle(style, function* () {
            try {
              yield tasks[(n + 1) % 3]!;
            } finally {
              log.push(`${name} left`);
            }
          });
          tasks.push(loop.createTask(body, { name }));
        }
        yield* tasks[0]!;
      }, { ...VIRTUAL, name: "main" }), DeadlockError);
    assertEquals(error.tasks, [
      { name: "main", waitsFor: 'task "a"' },
      { name: "a", waitsFor: 'task "b"' },
      { name: "b", waitsFor: 'task "c"' },
      { name: "c", waitsFor: 'task "a"' },
    ]);
    // Nobody in the ring hangs: the end of the run cancelled them all.
    assertEquals(log.toSorted(), ["a left", "b left", "c left"]);
  });
}

// -- Ends --

for (const style of STYLES) {
  Deno.test(`What ${style} throws is what its task fails with, for everybody`, async () => {
    const { loop } = openLoop();
    const error = new Error("broken");
    const task = loop.createTask(inStyle(
      style,
      function* (): Generator {
        yield sleep(0);
        throw error;
      } as () => Generator<never, void>,
    ));
    const waiters = STYLES.map((waiting) =>
      loop.createTask(inStyle(waiting, function* () {
        try {
          yield task;
          return null;
        } catch (caught) {
          return caught;
        }
      }))
    );
    for (const waiter of waiters) {
      assertStrictEquals(await loop.runUntilComplete(waiter), error);
    }
    assertEquals([task.done(), task.cancelled()], [true, false]);
    assertStrictEquals(task.exception(), error);
    await loop.close();
  });

  Deno.test(`A CancelledError that ${style} throws by itself makes the task cancelled`, async () => {
    const { loop } = openLoop();
    const error = new CancelledError("by hand");
    const task = loop.createTask(inStyle(
      style,
      function* (): Generator {
        yield sleep(0);
        throw error;
      } as () => Generator<never, void>,
    ));
    await runTurns(loop, 3);
    assertEquals([task.cancelled(), task.cancelling()], [true, 0]);
    // The error itself for the first who asks, then new ones without a reason.
    assertStrictEquals(assertThrows(() => task.result()), error);
    const later = assertThrows(() => task.result(), CancelledError);
    assertNotStrictEquals(later as unknown, error);
    assertStrictEquals(later.reason, undefined);
    await loop.close();
  });
}

Deno.test("A body that throws before it is a coroutine or promise makes a task that fails", async () => {
  const { loop } = openLoop();
  const error = new Error("at once");
  const task = loop.createTask((): never => {
    throw error;
  });
  await runTurns(loop, 1);
  assertStrictEquals(task.exception(), error);
  await loop.close();
});

Deno.test("setResult() and setException() are not for tasks", async () => {
  const { loop } = openLoop();
  const task = loop.createTask(() => 1, { name: "t" });
  const result = assertThrows(() => task.setResult(5), MisuseError);
  const failure = assertThrows(() => task.setException(5), MisuseError);
  assertEquals(
    result.message,
    'Cannot set the result of task "t": its body decides it',
  );
  assertEquals(
    failure.message,
    'Cannot set the exception of task "t": its body decides it',
  );
  await runTurns(loop, 1);
  assertEquals(task.result(), 1);
  await loop.close();
});

Deno.test("result() of a task that runs names the task", async () => {
  const { loop } = openLoop();
  const task = loop.createTask(() => 1, { name: "slow one" });
  const error = assertThrows(() => task.result());
  assertInstanceOf(error, Error);
  assertEquals(
    error.message,
    'Cannot get the result of task "slow one": it is not done',
  );
  await runTurns(loop, 1);
  await loop.close();
});

// -- What is known of a task --

Deno.test("A task has an id of its own, a name made of it, and any name it is given", async () => {
  const { loop } = openLoop();
  const [first, second] = [loop.createTask(() => 1), loop.createTask(() => 2)];
  assert(second.id > first.id);
  assertEquals(first.name, `Task-${first.id}`);
  first.name = "renamed";
  assertEquals(first.name, "renamed");
  assertEquals(loop.createTask(() => 3, { name: "given" }).name, "given");
  await runTurns(loop, 1);
  await loop.close();
});

for (const style of STYLES) {
  Deno.test(`A task made in ${style} has that task as its parent until it has ended`, async () => {
    const { loop } = openLoop();
    let child!: Task<string | undefined>;
    const parent = loop.createTask(
      inStyle(style, function* () {
        yield sleep(1);
        child = loop.createTask(async () => {
          await Promise.resolve();
          return currentTask()?.parent?.name;
        });
        yield sleep(1);
      }),
      { name: "parent" },
    );
    await loop.runUntilComplete(parent);
    assertEquals(child.result(), "parent");
    assertStrictEquals(child.parent, null);
    assertStrictEquals(parent.parent, null);
    await loop.close();
  });

  Deno.test(`currentTask() is the task in each step of ${style}, and null in callbacks`, async () => {
    const { loop } = openLoop();
    const seen: unknown[] = [];
    loop.callSoon(() => seen.push(currentTask()));
    const task: Task<void> = loop.createTask(inStyle(style, function* () {
      seen.push(currentTask() === task);
      const callback = loop.createFuture<void>();
      loop.callSoon(() => {
        seen.push(currentTask());
        callback.setResult();
      });
      yield callback;
      seen.push(currentTask() === task);
      yield sleep(5);
      seen.push(currentTask() === task);
    }));
    task.addDoneCallback(() => seen.push(currentTask()));
    await loop.runUntilComplete(task);
    assertEquals(seen, [null, true, null, true, true, null]);
    assertStrictEquals(currentTask(), null);
    await loop.close();
  });
}

Deno.test("allTasks() lists the unfinished tasks in the order of creation", async () => {
  const { loop } = openLoop();
  const make = (name: string, turns: number) =>
    loop.createTask(function* () {
      for (; turns > 0; turns--) yield;
    }, { name });
  make("a", 3);
  make("b", 1);
  make("c", 2);
  const names = () => allTasks(loop).map((task) => task.name);
  assertEquals(names(), ["a", "b", "c"]);
  await runTurns(loop, 2);
  assertEquals(names(), ["a", "c"]);
  make("d", 0);
  assertEquals(names(), ["a", "c", "d"]);
  await runTurns(loop, 2);
  assertEquals(names(), []);
  assertEquals(loop.stats().tasks, 0);
  await loop.close();
});

Deno.test("A task knows where it was made in debug mode, and only there", async () => {
  const { loop } = openLoop({ debug: true });
  const { loop: quiet } = openLoop({ debug: false });
  function maker(from: typeof loop) {
    return from.createTask(() => 1);
  }
  assertMatch(maker(loop).creationStack() ?? "", /maker.*task_test\.ts/);
  assertStrictEquals(maker(quiet).creationStack(), undefined);
  await runTurns(loop, 1);
  await runTurns(quiet, 1);
  await loop.close();
  await quiet.close();
});

// -- Eager tasks --

for (const style of STYLES) {
  Deno.test(`An eager task takes its first step of ${style} inside createTask()`, async () => {
    await run(function* () {
      const loop = getRunningLoop();
      const log: string[] = [];
      const me = currentTask();
      const task: Task<string> = loop.createTask(
        inStyle(style, function* () {
          log.push(`first step of ${currentTask()?.name}`);
          yield sleep(1);
          log.push("second step");
          return "done";
        }),
        { eager: true, name: "eager" },
      );
      assertEquals(log, ["first step of eager"]);
      assertStrictEquals(currentTask(), me, "the creator is current again");
      assertEquals(yield* task, "done");
      assertEquals(log, ["first step of eager", "second step"]);
    }, VIRTUAL);
  });
}

Deno.test("An eager task that never waits is done at once, and its callbacks are queued", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const log: string[] = [];
    const good = loop.createTask(function* () {
      return 1;
    }, { eager: true });
    assertEquals(good.result(), 1);
    const error = new Error("at once");
    const bad = loop.createTask(function* () {
      throw error;
    }, { eager: true });
    assertStrictEquals(bad.exception(), error);
    good.addDoneCallback(() => log.push("callback"));
    assertEquals(log, []);
    yield* sleep(0);
    assertEquals(log, ["callback"]);
    assertEquals(allTasks(loop).length, 1);
  }, VIRTUAL);
});

Deno.test("An eager start inside a step leaves the waits of that step where they were", async () => {
  // The signal of the wait that follows has to end the wait of the creator.
  await run(function* () {
    const loop = getRunningLoop();
    const controller = new AbortController();
    loop.callLater(5, () => controller.abort(new Error("enough")));
    const eager = loop.createTask(function* () {
      yield* sleep(10);
      return "undisturbed";
    }, { eager: true });
    let caught: unknown;
    try {
      yield* sleep(50, { signal: controller.signal });
    } catch (error) {
      caught = error;
    }
    assertInstanceOf(caught, Error);
    assertEquals([caught.message, loop.time()], ["enough", 5]);
    assertEquals(yield* eager, "undisturbed");
  }, VIRTUAL);
});

Deno.test("On a loop that is not running, an eager task starts in the first turn", async () => {
  const { loop } = openLoop();
  const task = loop.createTask(() => 1, { eager: true });
  assert(!task.done());
  await runTurns(loop, 1);
  assertEquals(task.result(), 1);
  await loop.close();
});

Deno.test("A task factory makes every task, and eagerTaskFactory() leaves the choice to the call", async () => {
  const { loop } = openLoop();
  const names: (string | undefined)[] = [];
  loop.setTaskFactory((loop, body, options) => {
    names.push(options.name);
    return new Task(loop, body, options);
  });
  const main = loop.createTask(function* () {
    loop.setTaskFactory(eagerTaskFactory);
    const eager = loop.createTask(() => 1);
    const lazy = loop.createTask(() => 2, { eager: false });
    assertEquals([eager.done(), lazy.done()], [true, false]);
    yield* lazy;
  }, { name: "main" });
  await loop.runUntilComplete(main);
  assertEquals(names, ["main"]);
  assertStrictEquals(loop.getTaskFactory(), eagerTaskFactory);
  await loop.close();
});

// -- The loop and its tasks --

Deno.test("Closing a loop ends its tasks as cancelled, with a report of each", async () => {
  const { loop, reports } = openLoop();
  const log: string[] = [];
  const task = loop.createTask(function* () {
    try {
      yield* sleep(1_000);
    } finally {
      log.push("ran on");
    }
  }, { name: "left over" });
  await runTurns(loop, 1);
  await loop.close();
  assertEquals(log, [], "there is no loop to run it on");
  assertEquals(
    outcomeOf(task),
    "cancelled: Cancelled: the event loop was closed",
  );
  assertEquals(reports.map(({ message, name }) => [message, name]), [[
    'Task "left over" was destroyed while it waited for sleep(): its event loop was closed',
    "left over",
  ]]);
  await assertRejects(async () => await task, CancelledError);
});

Deno.test("run() takes every kind of main, and gives its error as it is", async () => {
  const error = new Error("broken");
  const rejection = await assertRejects(() =>
    run(async () => {
      await sleep(1);
      throw error;
    }, VIRTUAL)
  );
  assertStrictEquals(rejection, error);
  const operation = new Operation(function* (): Coroutine<string> {
    return yield* until(Promise.resolve("from an operation"));
  });
  assertEquals(await run(operation, VIRTUAL), "from an operation");
});

Deno.test("In debug mode a coroutine makes one task, and no second one", async () => {
  const { loop, reports } = openLoop({ debug: true });
  const log: number[] = [];
  const count = function* (): Coroutine<void> {
    log.push(1);
    yield* sleep(1);
    log.push(2);
  };
  const message =
    "Cannot create a task: another task was made of the same coroutine, call the generator function again";
  await loop.runUntilComplete(function* () {
    const coroutine = count();
    const task = loop.createTask(coroutine);
    assertThrows(() => loop.createTask(coroutine), MisuseError, message);
    yield* task;
    assertThrows(() => loop.createTask(coroutine), MisuseError, message);
    for (const discard of [false, true]) {
      yield* taskGroup(function* (group) {
        assertThrows(() => group.createTask(coroutine), MisuseError, message);
        assertEquals(group.size, 0);
        const fresh = count();
        group.createTask(fresh);
        assertThrows(() => group.createTask(fresh), MisuseError, message);
        assertEquals(group.size, 1);
      }, { discard });
    }
    assertEquals(loop.stats().tasks, 1);
  });
  assertEquals(log, [1, 2, 1, 2, 1, 2]);
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("A body that was refused for its options may still become a task", async () => {
  const { loop } = openLoop({ debug: true });
  const coroutine = function* (): Coroutine<number> {
    return 1;
  }();
  assertThrows(
    () => loop.createTask(coroutine, { name: 1 as never }),
    TypeError,
  );
  assertEquals(await loop.runUntilComplete(coroutine), 1);
  await loop.close();
});

Deno.test("A task factory and a subclass need not hand the options on", async () => {
  class Plain<T> extends Task<T> {
    constructor(loop: EventLoop, body: TaskBody<T>) {
      super(loop, body);
    }
  }
  const loop = newEventLoop({ host: "virtual" });
  loop.setTaskFactory((loop, body) => new Plain(loop, body));
  const outcome = await loop.runUntilComplete(async () => {
    const task = loop.createTask(() => sleep(1, { value: "plain" }), {
      name: "ignored",
    });
    return [await task, task instanceof Plain];
  });
  await loop.close();
  assertEquals(outcome, ["plain", true]);
});

Deno.test("An async function that fails after its loop was closed is reported", async () => {
  const reports: unknown[] = [];
  const loop = newEventLoop({ host: "virtual" });
  loop.setExceptionHandler((_, { exception }) => reports.push(exception));
  const gate = Promise.withResolvers<void>();
  const error = new Error("too late");
  await loop.runUntilComplete(async () => {
    loop.createTask(async () => {
      await gate.promise;
      throw error;
    });
    await sleep(0);
  });
  await loop.close();
  reports.length = 0;
  gate.resolve();
  for (let hop = 0; hop < 10; hop++) await Promise.resolve();
  assertEquals(reports, [error]);
});
