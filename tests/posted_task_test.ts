/**
 * What `postTask()` gives: each kind of function, each end there is, and
 * withdrawing, moving and ranking it in every state.
 *
 * @module
 */

import { core } from "../src/loop/core.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  CancelledError,
  currentTask,
  type EventLoop,
  type EventLoopOptions,
  getRunningLoop,
  InvalidStateError,
  LoopClosedError,
  MisuseError,
  type PostedTask,
  PriorityScheduler,
  run,
  sleep,
  yieldNow,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import { runProgram } from "./support/program.ts";
import { outcomeOf } from "./support/styles.ts";

/** Everything holds on a loop that goes by priority, and on one that does not. */
const LOOPS: Record<string, () => EventLoopOptions> = {
  "by priority": () => ({ scheduler: new PriorityScheduler() }),
  "in order": () => ({}),
};

type Opened = ReturnType<typeof openLoop>;

function testBoth(name: string, body: (opened: Opened) => Promise<void>): void {
  for (const [kind, options] of Object.entries(LOOPS)) {
    Deno.test(`${name} (${kind})`, async () => {
      const opened = openLoop(options());
      await body(opened);
      await opened.loop.close();
      assertEquals(opened.reports, [], "reports that the test did not expect");
    });
  }
}

/** Runs until nothing is ready, continuations of async functions included. */
async function settled(loop: EventLoop): Promise<void> {
  do {
    await runTurns(loop, 3);
    await new Promise<void>((resolve) => setImmediate(resolve));
  } while (loop.stats().ready > 0);
}

const REASON = new Error("broken");

// -- What a function gives --

testBoth("Every kind of function may be posted", async ({ loop }) => {
  const asyncSum = async (a: number, b: number) => {
    await sleep(1);
    assertEquals(currentTask()?.loop, loop);
    return a + b;
  };
  const posted = [
    loop.postTask(() => 1),
    loop.postTask(() => undefined),
    loop.postTask(async () => {
      await sleep(5);
      return 2;
    }),
    loop.postTask(async () => 3),
    loop.postTask(function* () {
      yield* sleep(5);
      return 4;
    }),
    loop.postTask(function* () {
      return 5;
    }),
    loop.postTask(() => asyncSum(2, 4)),
    loop.postTask(() => Promise.resolve(7)),
    loop.postTask(() => sleep(5, { value: 8 })),
    loop.postTask((function* () {
      yield* yieldNow();
      return 9;
    }).bind(null)),
    loop.postTask(() => loop.createTask(() => sleep(1, { value: 10 }))),
    loop.postTask(() => {
      const future = loop.createFuture<number>();
      loop.callLater(3, () => future.setResult(11));
      return future;
    }),
  ];
  const results = await loop.runUntilComplete(async () => {
    const results = [];
    for (const task of posted) results.push(await task);
    return results;
  });
  assertEquals(results, [1, undefined, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  assertEquals(
    Object.prototype.toString.call(posted[0]),
    "[object PostedTask]",
  );
});

testBoth(
  "A function runs in a turn to come, and its first step when its turn has come",
  async ({ loop }) => {
    const log: string[] = [];
    loop.postTask(() => log.push("plain"));
    loop.postTask(async () => {
      log.push("async 1");
      await sleep(0);
      log.push("async 2");
    });
    loop.postTask(function* () {
      log.push("generator 1");
      yield* sleep(0);
      log.push("generator 2");
    });
    loop.callSoon(() => log.push("callback"));
    assertEquals(log, []);
    await runTurns(loop);
    assertEquals(log.slice(0, 4), [
      "plain",
      "async 1",
      "generator 1",
      "callback",
    ]);
    await settled(loop);
    assertEquals(log.slice(4).sort(), ["async 2", "generator 2"]);
  },
);

testBoth(
  "What a function calls that is async belongs to its task",
  async ({ loop }) => {
    const log: string[] = [];
    const helper = async (name: string) => {
      try {
        await sleep(10);
        log.push(`${name} ended`);
      } catch (error) {
        log.push(`${name}: ${(error as CancelledError).reason}`);
        throw error;
      }
    };
    const one = loop.postTask(() => helper("one"));
    const two = loop.postTask(() => helper("two"));
    loop.callLater(5, () => one.cancel("not needed"));
    await loop.runUntilComplete(() => sleep(20));
    assertEquals(log, ["one: not needed", "two ended"]);
    assertEquals([one, two].map(outcomeOf), [
      "cancelled: Cancelled: not needed",
      "result: undefined",
    ]);
  },
);

Deno.test("A posted function runs in the async context of whoever posted it, if the loop is to inherit it", async () => {
  const storage = new AsyncLocalStorage<string>();
  for (const asyncContext of ["inherit", "empty"] as const) {
    const { loop } = openLoop({ asyncContext });
    const posted = storage.run("mine", () => [
      loop.postTask(() => storage.getStore()),
      loop.postTask(async () => {
        await sleep(0);
        return storage.getStore();
      }),
      loop.postTask(function* () {
        yield* sleep(0);
        return storage.getStore();
      }),
    ]);
    await settled(loop);
    const expected = asyncContext === "inherit" ? "mine" : undefined;
    assertEquals(posted.map((task) => task.result()), [
      expected,
      expected,
      expected,
    ]);
    await loop.close();
  }
});

// -- Errors --

const FAILING: Record<string, () => unknown> = {
  "a plain function": () => {
    throw REASON;
  },
  "an async function": async () => {
    throw REASON;
  },
  "an async function that waits": async () => {
    await sleep(1);
    throw REASON;
  },
  "a generator function": function* () {
    throw REASON;
  },
  "a generator function that waits": function* () {
    yield* sleep(1);
    throw REASON;
  },
  "a function that returns a rejected promise": () => Promise.reject(REASON),
};

for (const [name, fn] of Object.entries(FAILING)) {
  testBoth(
    `The error of ${name} goes to all who wait, and to nobody else`,
    async ({ loop, reports }) => {
      const posted = loop.postTask(fn);
      const waiters = [
        loop.createTask(async () => {
          await posted;
        }),
        loop.createTask(function* () {
          yield* posted;
        }),
      ];
      await loop.runUntilComplete(() => sleep(10));
      for (const waiter of waiters) {
        assertStrictEquals(waiter.exception(), REASON);
      }
      assertStrictEquals(posted.exception(), REASON);
      assertEquals(reports, []);
    },
  );

  testBoth(
    `The error of ${name} is reported once, if nobody looks at it before the loop closes`,
    async ({ loop, reports }) => {
      loop.postTask(fn);
      await loop.runUntilComplete(() => sleep(10));
      assertEquals(reports, []);
      await loop.close();
      assertEquals(reports.map(({ exception }) => exception), [REASON]);
      assertEquals(
        reports.splice(0)[0]!.message,
        "a posted function failed and nobody ever looked at the error",
      );
    },
  );
}

Deno.test("The error of a posted function that nobody keeps is reported once, when it is collected", async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { EventLoop, PriorityScheduler, sleep } from "@rota/rota";
    const loop = new EventLoop({ host: "portable", scheduler: new PriorityScheduler() });
    loop.setExceptionHandler((_, { exception }) => console.log(String(exception)));
    loop.postTask(() => { throw new Error("plain"); });
    loop.postTask(async () => { await sleep(0); throw new Error("async"); });
    await loop.runUntilComplete(async () => {
      for (let n = 0; n < 20; n++) {
        await sleep(5);
        gc();
      }
    });
    console.log("closing");
    await loop.close();
    `,
    { flags: ["-A", "--v8-flags=--expose-gc"] },
  );
  const lines = stdout.trim().split("\n");
  assertEquals([code, stderr], [0, ""]);
  assertEquals(lines.toSorted(), ["Error: async", "Error: plain", "closing"]);
  assertEquals(lines.at(-1), "closing");
});

testBoth(
  "A task factory that throws fails the posted function",
  async ({ loop }) => {
    loop.setTaskFactory(() => {
      throw REASON;
    });
    const posted = loop.postTask(async () => {});
    await settled(loop);
    assertStrictEquals(posted.exception(), REASON);
  },
);

testBoth("Nobody but its function decides what it gives", async ({ loop }) => {
  const posted = loop.postTask(() => 5);
  assertThrows(
    () => posted.setResult(6),
    MisuseError,
    "Cannot set the result of postTask(): its function decides it",
  );
  assertThrows(
    () => posted.setException(REASON),
    MisuseError,
    "Cannot set the exception of postTask(): its function decides it",
  );
  await settled(loop);
  assertEquals(posted.result(), 5);
});

// -- Delay and signal --

testBoth("delayMs puts the function off, and 0 does not", async ({ loop }) => {
  const log: string[] = [];
  for (const delayMs of [10, 0, 2.5, undefined]) {
    loop.postTask(() => log.push(`${delayMs} at ${loop.time()}`), { delayMs });
  }
  const never = loop.postTask(() => log.push("never"), { delayMs: Infinity });
  await loop.runUntilComplete(() => sleep(1_000));
  assertEquals(log, ["0 at 0", "undefined at 0", "2.5 at 2.5", "10 at 10"]);
  assertEquals(never.done(), false);
  never.cancel();
});

testBoth(
  "A signal that has aborted withdraws the function at once",
  async ({ loop }) => {
    const posted = loop.postTask(() => assert(false), {
      signal: AbortSignal.abort("over"),
      delayMs: 5,
    });
    assertEquals([posted.cancelled(), loop.stats().timers], [true, 0]);
    const error = assertThrows(() => posted.result(), CancelledError);
    assertEquals((error as CancelledError).reason, "over");
    await settled(loop);
  },
);

testBoth(
  "A signal withdraws what is queued, put off or running, and nothing else",
  async ({ loop }) => {
    const controller = new AbortController();
    const { signal } = controller;
    const early = loop.postTask(() => "early", { signal });
    await settled(loop);
    const posted = [
      loop.postTask(() => assert(false), { signal, delayMs: 5 }),
      loop.postTask(async () => {
        await sleep(5);
      }, { signal }),
      loop.postTask(function* () {
        yield* sleep(5);
      }, { signal }),
    ];
    await settled(loop);
    const queued = loop.postTask(() => assert(false), { signal });
    controller.abort("over");
    await settled(loop);
    assertEquals(
      [early, ...posted, queued].map(outcomeOf),
      ["result: early", ...Array(4).fill("cancelled: Cancelled: over")],
    );
    assertEquals(loop[core].strays.subscriptions.size, 0);
  },
);

testBoth(
  "100,000 functions may share a signal, and leave nothing on it",
  async ({ loop }) => {
    const controller = new AbortController();
    const { signal } = controller;
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = function (...args: unknown[]) {
      listeners++;
      return addEventListener.apply(this, args as never);
    };
    signal.removeEventListener = function (...args: unknown[]) {
      listeners--;
      return removeEventListener.apply(this, args as never);
    };
    const post = (count: number) =>
      Array.from({ length: count }, () => loop.postTask(() => {}, { signal }));
    post(1_000);
    await settled(loop);
    assertEquals(listeners, 0);
    const posted = post(100_000);
    assertEquals(listeners, 1);
    controller.abort();
    assertEquals(posted.every((task) => task.cancelled()), true);
    await settled(loop);
  },
);

// -- Every state --

/** How to bring a posted function into a state. */
const STATES: Record<
  string,
  (
    loop: EventLoop,
    log: string[],
  ) => Promise<{ readonly posted: PostedTask<unknown> }>
> = {
  async queued(loop, log) {
    return { posted: loop.postTask(() => log.push("ran")) };
  },
  async "put off"(loop, log) {
    return {
      posted: loop.postTask(() => log.push("ran"), { delayMs: 10 }),
    };
  },
  async "waiting in an async function"(loop, log) {
    const posted = loop.postTask(async () => {
      await sleep(10);
      log.push("ran");
    });
    await settled(loop);
    return { posted };
  },
  async "waiting in a generator"(loop, log) {
    const posted = loop.postTask(function* () {
      yield* sleep(10);
      log.push("ran");
    });
    await settled(loop);
    return { posted };
  },
  async ended(loop, log) {
    const posted = loop.postTask(() => log.push("ran"));
    await settled(loop);
    return { posted };
  },
  async failed(loop) {
    const posted = loop.postTask(() => {
      throw REASON;
    });
    await settled(loop);
    posted.exception();
    return { posted };
  },
  async cancelled(loop) {
    const posted = loop.postTask(() => {});
    posted.cancel("before");
    return { posted };
  },
};

const BEGUN = [
  "waiting in an async function",
  "waiting in a generator",
  "ended",
  "failed",
];

for (const [state, bring] of Object.entries(STATES)) {
  const isOver = ["ended", "failed", "cancelled"].includes(state);

  testBoth(`cancel(): ${state}`, async ({ loop }) => {
    const log: string[] = [];
    const { posted } = await bring(loop, log);
    const before = outcomeOf(posted);
    const waiter = loop.createTask(async () => {
      try {
        return await posted;
      } catch (error) {
        return error;
      }
    });
    await settled(loop);
    if (state === "queued") {
      // It has run in the meantime.
      assertEquals(posted.cancel(), false);
      const { posted: another } = await bring(loop, log);
      assertEquals(another.cancel("why"), true);
      assertEquals(outcomeOf(another), "cancelled: Cancelled: why");
    } else {
      assertEquals(posted.cancel("why"), !isOver);
      await settled(loop);
      assertEquals(
        outcomeOf(posted),
        isOver ? before : "cancelled: Cancelled: why",
      );
      assertEquals(waiter.done(), true);
      if (!isOver) {
        const error = waiter.result();
        assertInstanceOf(error, CancelledError);
        assertEquals(error.reason, "why");
      }
    }
    assertEquals(posted.cancel("again"), false);
    await loop.runUntilComplete(() => sleep(50));
    assertEquals(log.length, ["queued", "ended"].includes(state) ? 1 : 0);
    assertEquals([loop.stats().timers, loop.stats().tasks], [0, 0]);
  });

  testBoth(`reschedule(): ${state}`, async ({ loop }) => {
    const log: string[] = [];
    const { posted } = await bring(loop, log);
    if (BEGUN.includes(state) || state === "cancelled") {
      assertThrows(
        () => posted.reschedule(5),
        InvalidStateError,
        `Cannot reschedule a posted task: it ${
          state === "cancelled" ? "was cancelled" : "has begun"
        }`,
      );
    } else {
      posted.reschedule(30);
      posted.addDoneCallback(() => log.push(`at ${loop.time()}`));
      await loop.runUntilComplete(() => sleep(20));
      assertEquals(log, []);
      posted.reschedule(25);
      await loop.runUntilComplete(() => sleep(20));
      assertEquals(log, ["ran", "at 25"]);
    }
    await loop.runUntilComplete(() => sleep(50));
    posted.cancel();
  });

  testBoth(`setPriority(): ${state}`, async ({ loop }) => {
    const { posted } = await bring(loop, []);
    posted.setPriority("user-blocking");
    assertEquals(posted.priority, isOver ? 0 : 10);
    posted.setPriority(-3);
    assertEquals(posted.priority, isOver ? 0 : -3);
    await loop.runUntilComplete(() => sleep(50));
    assertEquals(posted.done(), true);
    posted.setPriority(7);
    assertEquals(posted.priority, isOver ? 0 : -3);
  });
}

testBoth(
  "reschedule() brings forward, and the past means as soon as possible",
  async ({ loop }) => {
    const log: string[] = [];
    const later = loop.postTask(() => log.push(`later at ${loop.time()}`), {
      delayMs: 100,
    });
    const past = loop.postTask(() => log.push(`past at ${loop.time()}`), {
      delayMs: 100,
    });
    later.reschedule(5);
    past.reschedule(-Infinity);
    await loop.runUntilComplete(() => sleep(50));
    assertEquals(log, ["past at 0", "later at 5"]);
  },
);

testBoth(
  "reschedule() of what is queued, and due again, runs it once",
  async ({ loop }) => {
    let ran = 0;
    const posted = loop.postTask(() => ran++);
    for (let n = 0; n < 10; n++) posted.reschedule(0);
    await loop.runUntilComplete(() => sleep(10));
    assertEquals([ran, loop.stats().ready], [1, 0]);
  },
);

Deno.test("What is put off while it waits behind a flood loses its place, and is not run twice", async () => {
  const { loop } = openLoop({
    scheduler: new PriorityScheduler({
      ageEvery: Infinity,
      handlesPerTurnMax: 4,
    }),
  });
  const log: string[] = [];
  let left = 100;
  const flood = () => {
    if (left-- > 0) loop.postTask(flood, { priority: 5 });
  };
  flood();
  const first = loop.postTask(() => log.push("first"));
  loop.postTask(() => log.push("second"));
  await runTurns(loop, 3);
  first.reschedule(0);
  await runTurns(loop, 3); // it is due, and queued anew
  assertEquals(log, []);
  while (loop.stats().ready > 0) await runTurns(loop);
  assertEquals(log, ["second", "first"]);
  await loop.close();
});

Deno.test("setPriority() moves it, also before it is due and after that", async () => {
  const { loop } = openLoop({
    scheduler: new PriorityScheduler({ ageEvery: Infinity }),
  });
  const log: string[] = [];
  const add = (name: string, priority: number, delayMs = 0) =>
    loop.postTask(() => log.push(name), { priority, delayMs });
  const lowered = add("lowered", 5);
  add("middle", 0);
  const raised = add("raised", -5);
  lowered.setPriority(-1);
  raised.setPriority(1);
  const soon = add("soon", -20, 10);
  add("late", 0, 10);
  soon.setPriority(20);
  await loop.runUntilComplete(() => sleep(20));
  assertEquals(log, ["raised", "middle", "lowered", "soon", "late"]);
  await loop.close();
});

testBoth(
  "A function that withdraws itself runs to its end",
  async ({ loop }) => {
    const posted: PostedTask<unknown>[] = [
      loop.postTask(() => {
        assertEquals(posted[0]!.cancel("plain"), true);
        return "dropped";
      }),
      loop.postTask(() => {
        posted[1]!.cancel("lost to the error");
        throw REASON;
      }),
      loop.postTask(async () => {
        posted[2]!.cancel("async");
        await sleep(1_000);
      }),
      loop.postTask(function* () {
        posted[3]!.cancel("generator");
        yield* sleep(1_000);
      }),
      loop.postTask(() => {
        posted[4]!.cancel("promised");
        return sleep(1_000);
      }),
    ];
    await settled(loop);
    assertEquals(posted.map(outcomeOf), [
      "cancelled: Cancelled: plain",
      "failed: broken",
      "cancelled: Cancelled: async",
      "cancelled: Cancelled: generator",
      "cancelled: Cancelled: promised",
    ]);
  },
);

testBoth(
  "A function may change its own priority in its first step",
  async ({ loop }) => {
    const seen: unknown[] = [];
    const posted: PostedTask<void> = loop.postTask(function* () {
      posted.setPriority(7);
      yield* sleep(1);
      seen.push(currentTask()?.priority);
    }, { priority: -7 });
    await loop.runUntilComplete(posted);
    assertEquals([seen, posted.priority], [[7], 7]);
  },
);

testBoth(
  "A waiter that is cancelled takes the function along",
  async ({ loop }) => {
    const posted = loop.postTask(() => assert(false), { delayMs: 10 });
    const waiter = loop.createTask(function* () {
      yield* posted;
    });
    await settled(loop);
    waiter.cancel("enough");
    await settled(loop);
    assertEquals(outcomeOf(posted), "cancelled: Cancelled: enough");
    assertEquals(loop.stats().timers, 0);
  },
);

// -- Closing --

testBoth("A closed loop takes nothing on", async ({ loop }) => {
  const posted = loop.postTask(() => {});
  await loop.close();
  assertThrows(
    () => loop.postTask(() => {}),
    LoopClosedError,
    "Cannot post a task: the event loop is closed",
  );
  assertThrows(
    () => posted.reschedule(5),
    LoopClosedError,
    "Cannot reschedule a posted task: the event loop is closed",
  );
  posted.setPriority(5);
  assertEquals(posted.cancel(), true);
  assertEquals(loop.stats().ready, 0);
});

testBoth(
  "Those who wait outside are told when the loop closes",
  async ({ loop, reports }) => {
    const controller = new AbortController();
    const { signal } = controller;
    const pending = [
      loop.postTask(() => {}, { signal, delayMs: 10 }),
      loop.postTask(() => sleep(10), { signal }),
      loop.postTask(async () => await sleep(10), { signal }),
    ];
    await settled(loop);
    pending.push(loop.postTask(() => {}, { signal }));
    const told = pending.map((task) =>
      assertRejects(async () => await task, LoopClosedError)
    );
    const hub = loop[core].strays.subscriptions;
    assertEquals(hub.size, 4);
    await loop.close();
    await Promise.all(told);
    assertEquals(hub.size, 0);
    assertEquals(reports.splice(0).length, 2); // the two tasks
    await assertRejects(async () => await pending[0], LoopClosedError);
  },
);

Deno.test("postTask() takes the priority of the code that posts", async () => {
  for (const options of Object.values(LOOPS)) {
    const seen: number[] = [];
    await run(function* () {
      const loop = getRunningLoop();
      yield* loop.createTask(function* () {
        seen.push(loop.postTask(() => {}).priority);
        const inner = loop.postTask(async () => {
          await sleep(0);
          return loop.postTask(() => {}).priority;
        }, { priority: 4 });
        seen.push(yield* inner);
      }, { priority: 3 });
    }, { host: "virtual", ...options() });
    assertEquals(seen, [3, 4]);
  }
});

// -- A model of the order --

/** Both the model and the loop can do this. */
interface Machine {
  time(): number;
  soon(callback: () => void): void;
  /** Without a priority it has that of what runs. Gives a number. */
  post(callback: () => void, priority?: number, delayMs?: number): void;
  later(delayMs: number, callback: () => void): void;
  setPriority(id: number, priority: number): void;
  cancel(id: number): boolean;
  reschedule(id: number, whenMs: number): boolean;
  stop(): void;
}

class Subject implements Machine {
  readonly loop: EventLoop;
  readonly #posted: PostedTask<void>[] = [];
  constructor(loop: EventLoop) {
    this.loop = loop;
  }
  time() {
    return this.loop.time();
  }
  soon(callback: () => void) {
    this.loop.callSoon(callback);
  }
  post(callback: () => void, priority?: number, delayMs?: number) {
    this.#posted.push(this.loop.postTask(callback, { priority, delayMs }));
  }
  later(delayMs: number, callback: () => void) {
    this.loop.callLater(delayMs, callback);
  }
  setPriority(id: number, priority: number) {
    this.#posted[id]!.setPriority(priority);
  }
  cancel(id: number) {
    return this.#posted[id]!.cancel();
  }
  reschedule(id: number, whenMs: number) {
    try {
      this.#posted[id]!.reschedule(whenMs);
      return true;
    } catch (error) {
      assertInstanceOf(error, InvalidStateError);
      return false;
    }
  }
  stop() {
    this.loop.stop();
  }
}

/** Something in the model: a posted function, or a callback. */
interface Thing {
  priority: number;
  run: (() => void) | null;
  over: boolean;
  /** Whether it goes to the queue once more when its timer has run. */
  readonly posted: boolean;
}

interface Place {
  readonly thing: Thing;
  readonly priority: number;
  readonly sequence: number;
  readonly whenMs: number;
  /** Whether it stands for a timer that is due. */
  readonly timer: boolean;
}

/** Arrays that are sorted anew each time. */
class Model implements Machine {
  readonly #ageEvery: number;
  readonly #perTurn: number;
  readonly #posted: Thing[] = [];
  #ready: Place[] = [];
  #timers: Place[] = [];
  #sequence = 0;
  #shifts = 0;
  #nowMs = 0;
  #running = 0;
  #stopping = false;
  constructor(ageEvery: number, perTurn: number) {
    this.#ageEvery = ageEvery;
    this.#perTurn = perTurn;
  }
  time() {
    return this.#nowMs;
  }
  #enter(thing: Thing, timer = false) {
    const { priority } = thing;
    this.#ready.push({
      thing,
      priority,
      timer,
      sequence: this.#sequence++,
      whenMs: 0,
    });
  }
  #enterTimer(thing: Thing, whenMs: number) {
    const { priority } = thing;
    this.#timers.push({
      thing,
      priority,
      timer: true,
      sequence: this.#sequence++,
      whenMs,
    });
  }
  soon(run: () => void) {
    this.#enter({ run, over: false, priority: this.#running, posted: false });
  }
  post(run: () => void, priority = this.#running, delayMs = 0) {
    const thing = { run, over: false, priority, posted: true };
    this.#posted.push(thing);
    if (delayMs > 0) this.#enterTimer(thing, this.#nowMs + delayMs);
    else this.#enter(thing);
  }
  later(delayMs: number, run: () => void) {
    const thing = {
      run,
      over: false,
      priority: this.#running,
      posted: false,
    };
    this.#enterTimer(thing, this.#nowMs + delayMs);
  }
  setPriority(id: number, priority: number) {
    const thing = this.#posted[id]!;
    if (thing.run === null || thing.priority === priority) return;
    thing.priority = priority;
    const place = this.#ready.find((place) => place.thing === thing);
    if (place === undefined) return;
    this.#ready = this.#ready.filter((other) => other !== place);
    this.#enter(thing, place.timer);
  }
  #remove(thing: Thing) {
    this.#ready = this.#ready.filter((place) => place.thing !== thing);
    this.#timers = this.#timers.filter((place) => place.thing !== thing);
  }
  cancel(id: number) {
    const thing = this.#posted[id]!;
    if (thing.over) return false;
    if (thing.run === null) return true; // it is running
    thing.run = null;
    thing.over = true;
    this.#remove(thing);
    return true;
  }
  reschedule(id: number, whenMs: number) {
    const thing = this.#posted[id]!;
    if (thing.run === null) return false;
    this.#remove(thing);
    this.#enterTimer(thing, whenMs);
    return true;
  }
  stop() {
    this.#stopping = true;
  }
  #shift(): Place {
    const byAge = ++this.#shifts % this.#ageEvery === 0;
    const [first] = this.#ready.toSorted((a, b) =>
      (byAge ? 0 : b.priority - a.priority) || a.sequence - b.sequence
    );
    this.#ready = this.#ready.filter((place) => place !== first);
    return first!;
  }
  runForever() {
    do this.#turn(); while (!this.#stopping);
    this.#stopping = false;
    this.#running = 0;
  }
  #turn() {
    const due = () =>
      this.#timers
        .filter(({ whenMs }) => whenMs <= this.#nowMs)
        .sort((a, b) => a.whenMs - b.whenMs || a.sequence - b.sequence);
    if (
      this.#ready.length === 0 && due().length === 0 && !this.#stopping
    ) {
      this.#nowMs = Math.min(...this.#timers.map(({ whenMs }) => whenMs));
    }
    for (const place of due()) {
      this.#timers = this.#timers.filter((other) => other !== place);
      this.#enter(place.thing, true);
    }
    let left = Math.min(this.#ready.length, this.#perTurn);
    for (; left > 0 && this.#ready.length > 0; left--) {
      const { thing, timer, priority } = this.#shift();
      this.#running = priority;
      if (timer && thing.posted) this.#enter(thing);
      else {
        const { run } = thing;
        thing.run = null;
        run!();
        thing.over = true;
      }
    }
  }
}

const PRIORITIES = [-10, -10, -1, 0, 0, 2.5, 10, 10];
const DELAYS_MS = [0, 0, 0.5, 1, 1, 2, 3, 10];
const END_MS = 1e6;

/** A program of random actions, which it draws while it runs. */
function randomProgram(machine: Machine, seed: number, log: string[]) {
  const random = new SeededRandom(seed);
  const pick = <T>(values: readonly T[]) =>
    values[random.nextInt(values.length)]!;
  let fuel = 40 + random.nextInt(150);
  let callbacks = 0;
  let posted = 0;
  const callback = () => {
    const id = callbacks++;
    return () => {
      log.push(`${id} at ${machine.time()}`);
      act(random.nextInt(5));
    };
  };
  const act = (count: number) => {
    for (; count > 0 && fuel > 0; count--) {
      fuel--;
      switch (random.nextInt(9)) {
        case 0:
        case 1:
          posted++;
          machine.post(callback(), pick(PRIORITIES));
          break;
        case 2:
          posted++;
          machine.post(callback(), pick(PRIORITIES), pick(DELAYS_MS));
          break;
        case 3:
          posted++;
          machine.post(callback(), undefined, pick(DELAYS_MS));
          break;
        case 4:
          machine.soon(callback());
          break;
        case 5:
          machine.later(pick(DELAYS_MS), callback());
          break;
        case 6:
          if (posted === 0) break;
          machine.setPriority(random.nextInt(posted), pick(PRIORITIES));
          break;
        case 7:
          if (posted === 0) break;
          if (random.nextInt(3) > 0) {
            const id = random.nextInt(posted);
            const whenMs = machine.time() + pick(DELAYS_MS) - 1;
            log.push(`moved ${machine.reschedule(id, whenMs)}`);
          } else {log.push(
              `cancelled ${machine.cancel(random.nextInt(posted))}`,
            );}
          break;
        case 8:
          if (random.nextInt(4) === 0) machine.stop();
      }
    }
  };
  return { act: () => act(10), outside: () => act(random.nextInt(6)) };
}

Deno.test("Random programs run in the order of a naive model", async () => {
  const base = Number(Deno.env.get("PRIORITY_SEED") ?? Date.now() >>> 0);
  console.log(`seeds ${base} to ${base + 999}`);
  for (let seed = base; seed < base + 1_000; seed++) {
    const random = new SeededRandom(seed);
    const ageEvery = [1, 2, 3, 5, 32, Infinity][random.nextInt(6)]!;
    const perTurn = [1, 2, 7, 64, Infinity][random.nextInt(5)]!;

    const expected: string[] = [];
    const model = new Model(ageEvery, perTurn);
    let ended = false;
    const end = (machine: Machine) => () => {
      ended = true;
      machine.stop();
    };
    const modelled = randomProgram(model, seed, expected);
    model.later(END_MS, end(model));
    modelled.act();
    while (!ended) {
      model.runForever();
      expected.push("stopped");
      modelled.outside();
    }

    ended = false;
    const log: string[] = [];
    const { loop, reports } = openLoop({
      scheduler: new PriorityScheduler({
        ageEvery,
        handlesPerTurnMax: perTurn,
      }),
    });
    const subject = new Subject(loop);
    const program = randomProgram(subject, seed, log);
    subject.later(END_MS, end(subject));
    program.act();
    while (!ended) {
      await loop.runForever();
      log.push("stopped");
      program.outside();
    }
    await loop.close();
    const where =
      `seed ${seed}, ageEvery ${ageEvery}, handlesPerTurnMax ${perTurn}`;
    assertEquals(log, expected, where);
    assertEquals(reports, [], where);
  }
});
