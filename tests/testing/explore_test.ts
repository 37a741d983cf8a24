/**
 * The explorer and its replays: what is found and said, strategies, bad input,
 * programs that are not deterministic.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  createTask,
  DeadlockError,
  EventLoop,
  type EventLoopOptions,
  gather,
  getRunningLoop,
  Lock,
  MisuseError,
  PriorityScheduler,
  Queue,
  sleep,
  taskGroup,
  until,
} from "../../mod.ts";
import {
  ExplorationError,
  type ExplorationFailure,
  explore,
  type ExploredProgram,
  type ExploreOptions,
  NondeterminismError,
  replay,
  ScheduleError,
} from "../../src/testing/mod.ts";
import { inStyle, STYLES } from "../support/styles.ts";

const STRATEGIES = ["random", "pct", "dfs", "round-robin"] as const;

async function failureOf(
  program: ExploredProgram,
  options: ExploreOptions = {},
): Promise<ExplorationFailure> {
  return (await errorOf(program, options)).failure;
}

function errorOf(
  program: ExploredProgram,
  options: ExploreOptions = {},
): Promise<ExplorationError> {
  return assertRejects(() => explore(program, options), ExplorationError);
}

/** Two tasks that each take so many steps; logs their order. */
function twoTasks(
  style: typeof STYLES[number],
  steps: number,
  orders: string[],
): ExploredProgram {
  return inStyle(style, function* () {
    let order = "";
    const tasks = ["a", "b"].map((name) =>
      createTask(
        inStyle(style, function* () {
          for (let step = 0; step < steps; step++) {
            order += name;
            if (step < steps - 1) yield sleep(0);
          }
        }),
        { name },
      )
    );
    yield gather(tasks);
    orders.push(order);
  });
}

/** Two tasks that add to a sum, with a wait between reading and writing. */
const lostUpdate = function* () {
  let sum = 0;
  const add = function* () {
    const before = sum;
    yield* sleep(0);
    sum = before + 1;
  };
  yield* gather([
    createTask(add, { name: "left" }),
    createTask(add, { name: "right" }),
  ]);
  if (sum !== 2) throw new RangeError(`sum is ${sum}`);
};

// -- Strategies --

for (const style of STYLES) {
  Deno.test(`"dfs" runs all interleavings of ${style}, and says so`, async () => {
    const orders: string[] = [];
    const report = await explore(twoTasks(style, 3, orders), {
      strategy: "dfs",
    });
    // The ways in which three steps of one and three of another can be mixed: 6! / (3! 3!).
    assertEquals(new Set(orders).size, 20);
    assertEquals(report.complete, true);
    assertEquals(report.runs, orders.length - 1); // the first is made twice
    const again: string[] = [];
    const cut = await explore(twoTasks(style, 3, again), {
      strategy: "dfs",
      iterations: report.runs - 1,
    });
    assertEquals([cut.complete, cut.runs], [false, report.runs - 1]);
    const exact = await explore(twoTasks(style, 3, []), {
      strategy: "dfs",
      iterations: report.runs,
    });
    assertEquals(exact.complete, true);
  });
}

Deno.test('"dfs" with a depth runs the schedules with so few preemptions', async () => {
  const sizes: number[] = [];
  for (const depth of [1, 2, 10]) {
    const orders: string[] = [];
    const { complete } = await explore(
      twoTasks("a generator", 3, orders),
      { strategy: "dfs", depth },
    );
    assertEquals(complete, true);
    sizes.push(new Set(orders).size);
  }
  // One leaves a task once: after its first or second step, or not at all, for two
  // tasks; and then it may do so at the end of the other.
  assertEquals(sizes[2], 20);
  assert(sizes[0]! < sizes[1]! && sizes[1]! < 20, sizes.join());
});

Deno.test('The same seed gives the same schedules, another seed others: "random" and "pct"', async () => {
  for (const strategy of ["random", "pct"] as const) {
    const ordersOf = async (seed: number) => {
      const orders: string[] = [];
      await explore(twoTasks("a generator", 4, orders), {
        strategy,
        seed,
        iterations: 50,
      });
      return orders;
    };
    assertEquals(await ordersOf(5), await ordersOf(5));
    assert((await ordersOf(5)).join() !== (await ordersOf(6)).join());
    assert(new Set(await ordersOf(5)).size > 5, strategy);
  }
});

Deno.test('"pct" with depth 1 leaves no task that can go on', async () => {
  const orders: string[] = [];
  await explore(twoTasks("a generator", 4, orders), {
    strategy: "pct",
    depth: 1,
    iterations: 100,
  });
  assertEquals([...new Set(orders)].sort(), ["aaaabbbb", "bbbbaaaa"]);
});

Deno.test('"round-robin" has tasks take turns, of more steps in each run', async () => {
  const orders: string[] = [];
  const report = await explore(twoTasks("a generator", 3, orders), {
    strategy: "round-robin",
  });
  assertEquals(orders.slice(1, 4), ["ababab", "aabbab", "aaabbb"]);
  assertEquals(report.complete, true);
});

Deno.test("A strategy that polls for others is no livelock", async () => {
  for (const strategy of STRATEGIES) {
    await explore(function* () {
      let ready = 0;
      const poll = function* () {
        while (ready < 2) yield* sleep(0);
      };
      const set = function* () {
        yield* sleep(0);
        ready++;
      };
      yield* gather([poll, poll, set, set].map((body) => createTask(body)));
    }, { strategy, iterations: 50, stepsMax: 2_000 });
  }
});

// -- What is found --

for (const style of STYLES) {
  const inThisStyle = (
    steps: Parameters<typeof inStyle>[1],
  ): ExploredProgram => inStyle(style, steps);

  Deno.test(`Each kind of failure is found in ${style}, shrunk and replayed`, async () => {
    const programs: Record<string, ExploredProgram> = {
      error: inThisStyle(function* () {
        yield sleep(1);
        throw new RangeError("wrong");
      }),
      unhandled: inThisStyle(function* () {
        getRunningLoop().callSoon(() => {
          throw new RangeError("wrong");
        });
        yield sleep(1);
      }),
      deadlock: inThisStyle(function* () {
        yield new Queue<number>().get();
      }),
      livelock: inThisStyle(function* () {
        for (;;) yield sleep(1);
      }),
    };
    for (const [kind, program] of Object.entries(programs)) {
      for (const strategy of STRATEGIES) {
        const error = await errorOf(program, { strategy, stepsMax: 200 });
        const { failure, message } = error;
        assertEquals([failure.kind, failure.runs], [kind, 1]);
        assertStringIncludes(message, `strategy "${strategy}" with seed 1`);
        assertStringIncludes(message, failure.schedule);
        assertStringIncludes(message, failure.table);
        const again = await assertRejects(
          () => replay(program, failure.schedule),
          ExplorationError,
        );
        assertEquals(again.failure, {
          ...failure,
          strategy: "replay",
          seed: null,
        });
        assertEquals(
          (again.cause as Error).message,
          (error.cause as Error).message,
        );
      }
    }
  });
}

Deno.test("The cause is the very error of the program", async () => {
  const wrong = new RangeError("wrong");
  const error = await errorOf(function* () {
    yield* sleep(1);
    throw wrong;
  });
  assertStrictEquals(error.cause, wrong);
  assertInstanceOf(
    (await errorOf(function* () {
      yield* getRunningLoop().createFuture();
    })).cause,
    DeadlockError,
  );
});

Deno.test("Tasks that are left are cancelled, and clean up under the schedule", async () => {
  let cleanedUp = 0;
  await explore(function* () {
    createTask(function* () {
      try {
        yield* sleep(1_000);
      } finally {
        yield* sleep(1);
        cleanedUp++;
      }
    });
    yield* sleep(0);
  }, { iterations: 10 });
  // All but those that were cancelled before they began.
  assert(cleanedUp > 0 && cleanedUp <= 11, `${cleanedUp}`);
  const failure = await failureOf(function* () {
    createTask(function* () {
      try {
        yield* sleep(1_000);
      } catch {
        throw new RangeError("in the clean-up");
      }
    });
    yield* sleep(1);
  });
  assertEquals(failure.kind, "unhandled");
  assertEquals(
    (await failureOf(function* () {
      createTask(function* () {
        try {
          yield* sleep(1_000);
        } finally {
          yield* getRunningLoop().createFuture();
        }
      });
      yield* sleep(1);
    })).kind,
    "deadlock",
  );
});

Deno.test("A program that waits for something outside for ever is told after a second", async () => {
  const timers: ReturnType<typeof setTimeout>[] = [];
  const error = await errorOf(async () => {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 5_000);
      Deno.unrefTimer(timer);
      timers.push(timer);
    });
  });
  timers.forEach((timer) => clearTimeout(timer));
  assertEquals(error.failure.kind, "standstill");
  assertStringIncludes(error.message, "something outside the loop");
  assertStringIncludes(error.message, "not controlled: setTimeout at ");
});

Deno.test("What is outside may end: foreign promises are no failure", async () => {
  const report = await explore(async () => {
    await Promise.resolve();
    assertEquals(await until(Promise.resolve(3)), 3);
  }, { iterations: 5 });
  assertEquals(report.runs, 5);
});

Deno.test("The table has the tasks side by side, with what each waits for", async () => {
  const { table, preemptions } = await failureOf(lostUpdate);
  assertEquals(preemptions, 1);
  assertEquals(
    table.split("\n").map((line) => line.replaceAll(/ +/g, " ")).slice(0, 6),
    [
      "step | main (1) | left (2) | right (3) | loop",
      "1 | waits: gather | | |",
      "2 | | goes on | |",
      "3 | | | goes on |",
      "4 | | | ends |",
      "5 | | ends | |",
    ],
  );
});

Deno.test("Long tables are cut, names stay on one line, and time is shown", async () => {
  const { table } = await failureOf(function* () {
    const tasks = Array.from(
      { length: 2 },
      (_, number) =>
        createTask(function* () {
          for (let step = 0; step < 70; step++) yield* sleep(number + 1);
        }, { name: `a\n|${"x".repeat(100)}` }),
    );
    yield* gather(tasks);
    throw new Error("at the end");
  });
  const lines = table.split("\n");
  assert(lines.length < 130, `${lines.length}`);
  assertStringIncludes(table, "lines\n");
  assertStringIncludes(table, "@140 ms");
  assert(lines.every((line) => line.length < 200));
});

Deno.test("Around priorities only the most urgent may be next", async () => {
  const orders = new Set<string>();
  const program = function* () {
    let order = "";
    yield* gather(
      ([["a", 1], ["b", 1], ["c", 0]] as const).map(([name, priority]) =>
        createTask(function* () {
          order += name;
          yield* sleep(0);
          order += name;
        }, { priority })
      ),
    );
    orders.add(order);
  };
  const scheduler = () => new PriorityScheduler({ ageEvery: Infinity });
  const { complete } = await explore(program, { strategy: "dfs", scheduler });
  assertEquals(complete, true);
  assertEquals(
    [...orders].sort(),
    ["aabbcc", "ababcc", "abbacc", "baabcc", "babacc", "bbaacc"],
  );
});

Deno.test("Groups, limits of time and cancellations run under the explorer", async () => {
  for (const style of STYLES) {
    const { complete } = await explore(
      inStyle(style, function* () {
        const lock = new Lock();
        let inside = 0;
        yield taskGroup(
          inStyle(style, function* () {
            const use = inStyle(style, function* () {
              const permit = yield lock.acquire();
              assertEquals(++inside, 1);
              yield sleep(0);
              inside--;
              permit.release();
            });
            createTask(use);
            yield createTask(use);
          }) as () => Promise<void>,
        );
        yield sleep(1);
      }),
      { strategy: "dfs", depth: 2, iterations: 5_000 },
    );
    assertEquals(complete, true, style);
  }
});

// -- Schedules as text --

Deno.test("A schedule of 100 steps takes at most 200 characters, also with a thousand tasks", async () => {
  for (const tasks of [3, 60, 1_000]) {
    const error = await errorOf(function* () {
      for (let task = 0; task < tasks; task++) {
        createTask(function* () {
          for (;;) yield* sleep(0);
        });
      }
      yield* sleep(0);
      for (let step = 0;; step++) {
        yield* sleep(0);
      }
    }, { stepsMax: 1_000, iterations: 1 });
    const { schedule, steps } = error.failure;
    assert(
      schedule.length <= 2 * steps,
      `${tasks} tasks: ${schedule.length} characters, ${steps} steps`,
    );
    assertMatch(schedule, /^[\w.-]+$/);
  }
});

Deno.test("A schedule that is broken, cut or of another version is refused before anything runs", async () => {
  let runs = 0;
  const program = function* () {
    runs++;
    yield* lostUpdate();
  };
  const { schedule } = await failureOf(program);
  runs = 0;
  const broken = [
    "",
    "no schedule",
    schedule.slice(1),
    schedule.slice(0, -1),
    `${schedule}0`,
    schedule.replace(/^r1/, "r2"),
    schedule.replace(/^r1e/, "r1x"),
    schedule.replace(/^r1e/, "r1d"),
    schedule.replaceAll(".", ","),
    ...Array.from(
      schedule,
      (digit, index) =>
        schedule.slice(0, index) + (digit === "0" ? "1" : "0") +
        schedule.slice(index + 1),
    ),
  ];
  for (const text of broken) {
    const error = await assertRejects(
      () => replay(program, text),
      ScheduleError,
      "Cannot replay a program as schedule must be",
      text,
    );
    assertEquals(error.step, null);
  }
  assertEquals(runs, 0);
  await assertRejects(
    () => replay(program, schedule.replace(/^r1/, "r2")),
    ScheduleError,
    "of version r1: received one of version r2",
  );
  await assertRejects(() => replay(program, 3 as never), TypeError);
  await assertRejects(
    () => replay(program, ` ${schedule}\n`),
    ExplorationError,
  );
});

Deno.test("A schedule of another program is refused, with the step", async () => {
  const { schedule } = await failureOf(lostUpdate);
  const named = (name: string) =>
    function* () {
      yield* gather([
        createTask(() => sleep(0), { name }),
        createTask(() => sleep(0), { name: "right" }),
      ]);
      throw new RangeError("another program");
    };
  const others: ExploredProgram[] = [
    named("other"),
    function* () {},
    function* () {
      for (;;) yield* sleep(0);
    },
    function* () {
      yield* getRunningLoop().createFuture();
    },
    async () => {
      await sleep(1_000);
    },
    function* () { // repaired
      yield* gather([
        createTask(() => sleep(0), { name: "left" }),
        createTask(() => sleep(0), { name: "right" }),
      ]);
    },
  ];
  for (const program of others) {
    const error = await assertRejects(
      () => replay(program, schedule),
      ScheduleError,
      "so it is not the one that was recorded, or has changed since",
    );
    assert(typeof error.step === "number");
  }
});

// -- Programs that are not deterministic --

Deno.test("A program that keeps state from run to run is told so, with the step", async () => {
  let run = 0;
  const program = function* () {
    const tasks = ++run % 2 === 0 ? 2 : 3;
    yield* sleep(0);
    yield* gather(
      Array.from({ length: tasks }, () => createTask(() => sleep(0))),
    );
  };
  const error = await assertRejects(
    () => explore(program),
    NondeterminismError,
    "at step 3 it differs; ready at first: task 2, task 3, task 4; then: task 2, task 3",
  );
  assertEquals(error.step, 3);
  assertStringIncludes(error.message, "keep state from one run to the next");
});

Deno.test("Chance, clocks and timers of the runtime are named where they are used", async () => {
  const names = async (use: () => unknown) => {
    const error = await assertRejects(
      () =>
        explore(async () => {
          await use();
          throw new Error("found");
        }),
      ExplorationError,
    );
    assertEquals(error.failure.uncontrolled.length, 1, error.message);
    assertStringIncludes(error.message, "not controlled: ");
    assertMatch(error.failure.uncontrolled[0]!, /explore_test\.ts:\d+:\d+$/);
    return error.failure.uncontrolled[0]!.split(" at ")[0];
  };
  assertEquals(await names(() => Math.random()), "Math.random");
  assertEquals(await names(() => Date.now()), "Date.now");
  assertEquals(await names(() => new Date()), "new Date()");
  assertEquals(await names(() => performance.now()), "performance.now");
  assertEquals(
    await names(() => crypto.randomUUID()),
    "crypto.randomUUID",
  );
  assertEquals(
    await names(() => new Promise((go) => setTimeout(go, 1))),
    "setTimeout",
  );
  const report = await explore(async () => {
    new Date(0);
    Math.floor(1.5);
    await sleep(1);
  }, { iterations: 2 });
  assertEquals(report.uncontrolled, []);
});

Deno.test("A program that goes by chance is told what it uses", async () => {
  let lastDigit = 0;
  const error = await assertRejects(
    () =>
      explore(function* () {
        // Another number in each run, for certain.
        lastDigit = (lastDigit + 1 + Math.floor(Math.random())) % 10;
        for (let step = 0; step < lastDigit; step++) yield* sleep(1);
      }),
    NondeterminismError,
    "It uses Math.random at ",
  );
  assertEquals(error.uncontrolled.length, 1);
});

Deno.test("The globals are put back, whatever comes", async () => {
  const globals = () => [
    Math.random,
    Date,
    Date.now,
    performance.now,
    crypto.getRandomValues,
    crypto.randomUUID,
    setTimeout,
    setInterval,
    setImmediate,
    fetch,
  ];
  const own = () =>
    [Math, Date, performance, crypto, globalThis].map((owner) =>
      Object.getOwnPropertyNames(owner).length
    );
  const before = [globals(), own()];
  let inside: unknown[] = [];
  await explore(() => {
    inside = globals();
  }, { iterations: 1 });
  assert(inside.every((one, index) => one !== before[0]![index]));
  await assertRejects(() => explore(() => Promise.reject(new Error("x"))));
  await assertRejects(() =>
    explore(() => sleep(1), {
      loopFactory: () => new EventLoop({ host: "portable" }),
    })
  );
  // Explorations that overlap, and end in the order in which they began.
  const waits = (turns: number) => async () => {
    for (let turn = 0; turn < turns; turn++) {
      await sleep(1);
      await Promise.resolve();
    }
  };
  await Promise.all(
    [3, 20, 3, 40].map((turns) => explore(waits(turns), { iterations: 3 })),
  );
  assertEquals([globals(), own()], before);
});

// -- Bad input --

Deno.test("explore() and replay() refuse wrong arguments before anything runs", async () => {
  let runs = 0;
  const program = () => {
    runs++;
  };
  const ranges: ExploreOptions[] = [
    { depth: 0 },
    { depth: 1.5 },
    { depth: NaN },
    { iterations: 0 },
    { iterations: Infinity },
    { stepsMax: 0 },
    { stepsMax: -1 },
    { seed: 0.5 },
    { seed: Infinity },
    { seed: NaN },
  ];
  for (const options of ranges) {
    const [name] = Object.keys(options);
    await assertRejects(
      () => explore(program, options),
      RangeError,
      `Cannot explore a program as ${name} must`,
    );
  }
  const types = [
    { strategy: "luck" },
    { depth: "3" },
    { seed: "1" },
    { iterations: null },
    { stepsMax: true },
    { scheduler: new PriorityScheduler() },
    { loopFactory: {} },
    { signal: {} },
    null,
    3,
  ];
  for (const options of types) {
    await assertRejects(
      () => explore(program, options as ExploreOptions),
      TypeError,
      "Cannot explore a program as ",
    );
  }
  for (const wrong of [undefined, 3, {}, lostUpdate()]) {
    await assertRejects(() => explore(wrong as never), TypeError);
    await assertRejects(() => replay(wrong as never, ""), TypeError);
  }
  await assertRejects(
    () => replay(program, "", { scheduler: 3 } as never),
    TypeError,
  );
  assertEquals(runs, 0);
});

Deno.test("An explorer on a loop with a real host, or without its scheduler, is refused", async () => {
  const loops: EventLoop[] = [];
  const make = (options: EventLoopOptions) => {
    const loop = new EventLoop(options);
    loops.push(loop);
    return loop;
  };
  await assertRejects(
    () =>
      explore(lostUpdate, {
        loopFactory: ({ scheduler }) => make({ scheduler, host: "portable" }),
      }),
    MisuseError,
    'its host is "portable", and on a real clock no schedule can be made again',
  );
  await assertRejects(
    () =>
      explore(lostUpdate, {
        loopFactory: ({ host }) => make({ host }),
      }),
    MisuseError,
    "it has another scheduler",
  );
  await assertRejects(
    () => explore(lostUpdate, { loopFactory: () => 3 as never }),
    TypeError,
    "loopFactory must return an EventLoop: received 3",
  );
  await assertRejects(
    () =>
      explore(lostUpdate, {
        scheduler: () => ({ push() {}, shift: () => undefined, clear() {} }),
      }),
    TypeError,
    "must return a Scheduler with candidates and take",
  );
  assertEquals(loops.map((loop) => loop.isClosed()), [true, true]);
  class MyLoop extends EventLoop {}
  const seen = new Set<unknown>();
  await explore(function* () {
    seen.add(getRunningLoop().constructor);
    yield* sleep(1);
  }, { loopFactory: (options) => new MyLoop(options), iterations: 3 });
  assertEquals([...seen], [MyLoop]);
});

Deno.test("A program that cannot be called ends the run as its error", async () => {
  assertEquals(
    (await failureOf(() => {
      throw new Error("at once");
    })).kind,
    "error",
  );
  const report = await explore(() => 3, { iterations: 2 });
  assertEquals(report.runs, 2);
});

Deno.test("A signal ends an exploration between two runs", async () => {
  const controller = new AbortController();
  let runs = 0;
  await assertRejects(
    () =>
      explore(() => {
        if (++runs === 5) controller.abort(new RangeError("enough"));
      }, { signal: controller.signal }),
    RangeError,
    "enough",
  );
  assertEquals(runs, 5);
});

Deno.test("Explorations run beside each other, and inside a loop", async () => {
  const kinds = await Promise.all([
    failureOf(lostUpdate),
    failureOf(lostUpdate, { strategy: "pct" }),
  ]);
  assertEquals(kinds.map(({ kind }) => kind), ["error", "error"]);
  await using loop = new EventLoop({ host: "portable" });
  const failure = await loop.runUntilComplete(() => failureOf(lostUpdate));
  assertEquals(failure.kind, "error");
});
