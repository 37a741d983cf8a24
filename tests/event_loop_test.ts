/**
 * The loop: the order of a turn, running and stopping, closing, and whose
 * context callbacks run in.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  allTasks,
  CancelledError,
  currentTask,
  eagerTaskFactory,
  EventLoop,
  type Future,
  getRunningLoop,
  LoopClosedError,
  MisuseError,
  newEventLoop,
  run,
  sleep,
  Task,
  type TaskFactory,
  type TimerHandle,
  until,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { collectReports, openLoop, runTurns } from "./support/loops.ts";
import { ManualHost } from "./support/manual_host.ts";
import { runProgram } from "./support/program.ts";

const VIRTUAL = { host: "virtual" } as const;

// -- The order of a turn --

Deno.test("callSoon() runs callbacks in the order of the calls, with their arguments", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: unknown[] = [];
  loop.callSoon((...args: unknown[]) => log.push(args), 1, "two", null);
  loop.callSoon(() => log.push("none"));
  loop.callSoon((list: number[]) => log.push(list), [1, 2]);
  assertEquals(log, [], "nothing runs inside the call");
  await runTurns(loop);
  assertEquals(log, [[1, "two", null], "none", [1, 2]]);
});

Deno.test("What a callback adds runs in the next turn, after all of this one", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(() => {
    log.push("a");
    loop.callSoon(() => log.push("added by a"));
  });
  loop.callSoon(() => log.push("b"));
  await runTurns(loop);
  assertEquals(log, ["a", "b"]);
  await runTurns(loop);
  assertEquals(log, ["a", "b", "added by a"]);
});

Deno.test("A timer that is due runs behind what was ready already", async () => {
  const host = new ManualHost();
  await using loop = newEventLoop({ host });
  const log: string[] = [];
  loop.callLater(0, () => log.push("delay 0"));
  loop.callLater(-5, () => log.push("delay -5"));
  loop.callAt(3, () => log.push("not due"));
  loop.callSoon(() => log.push("soon"));
  host.nowMs = 2;
  await runTurns(loop);
  assertEquals(log, ["soon", "delay -5", "delay 0"]);
});

Deno.test("A timer set in a callback with delay 0 does not run in the same turn", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(() => {
    loop.callLater(0, () => log.push("timer"));
    loop.callSoon(() => log.push("soon"));
  });
  await runTurns(loop);
  assertEquals(log, []);
  await runTurns(loop);
  assertEquals(log, ["soon", "timer"]);
});

Deno.test("A task's first step runs in the next turn, and tasks share the queue with callbacks", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const steps = function* (name: string) {
    log.push(`${name} 1`);
    yield;
    log.push(`${name} 2`);
  };
  loop.callSoon(() => log.push("before"));
  loop.createTask(() => steps("a"));
  loop.callSoon(() => log.push("between"));
  loop.createTask(() => steps("b"));
  assertEquals(log, []);
  await runTurns(loop);
  assertEquals(log, ["before", "a 1", "between", "b 1"]);
  await runTurns(loop);
  assertEquals(log.slice(4), ["a 2", "b 2"]);
});

Deno.test("Promise continuations run between two turns", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(() => {
    Promise.resolve().then(() => log.push("microtask"));
    loop.callSoon(() => {
      log.push("next turn");
      loop.stop();
    });
  });
  loop.callSoon(() => log.push("same turn"));
  await loop.runForever();
  assertEquals(log, ["same turn", "microtask", "next turn"]);
});

// -- Against a model --

/** What a random program can do; handles are numbers in the order of their creation. */
interface Machine {
  time(): number;
  soon(callback: () => void): void;
  later(delayMs: number, callback: () => void): void;
  at(whenMs: number, callback: () => void): void;
  task(step: () => boolean): void;
  cancel(handle: number): void;
  reschedule(handle: number, whenMs: number): void;
  describe(handle: number): string;
  stop(): void;
  /** Calls `callback` long after everything else; it is no handle. */
  end(callback: () => void): void;
}

interface ModelHandle {
  callback: (() => void) | null;
  whenMs: number | null;
  sequence: number;
  place: "ready" | "timers" | "none";
}

/** asyncio's turn, as naively as it can be written. */
class Model implements Machine {
  nowMs = 0;
  handles: ModelHandle[] = [];
  ready: ModelHandle[] = [];
  sequence = 0;
  stopping = false;
  #end: ModelHandle | null = null;

  time = () => this.nowMs;
  stop = () => void (this.stopping = true);
  add(callback: () => void, whenMs: number | null): void {
    const place = whenMs === null ? "ready" as const : "timers" as const;
    const handle = { callback, whenMs, sequence: this.sequence++, place };
    this.handles.push(handle);
    if (place === "ready") this.ready.push(handle);
  }
  soon = (callback: () => void) => this.add(callback, null);
  at = (whenMs: number, callback: () => void) => this.add(callback, whenMs);
  later = (delayMs: number, callback: () => void) =>
    this.add(callback, this.nowMs + delayMs);
  task(step: () => boolean): void {
    const handle: ModelHandle = {
      callback: null,
      whenMs: null,
      sequence: 0,
      place: "ready",
    };
    handle.callback = () => void (step() && this.ready.push(handle));
    this.ready.push(handle);
  }
  cancel = (index: number) => {
    this.handles[index]!.callback = null;
    if (this.handles[index]!.place === "timers") {
      this.handles[index]!.place = "none";
    }
  };
  reschedule(index: number, whenMs: number): void {
    const handle = this.handles[index]!;
    if (handle.callback === null || handle.whenMs === null) return;
    this.ready = this.ready.map((entry) =>
      entry === handle ? { ...handle, callback: null } : entry
    );
    Object.assign(handle, {
      whenMs,
      sequence: this.sequence++,
      place: "timers",
    });
  }
  describe = (index: number) =>
    `${this.handles[index]!.callback === null} ${this.handles[index]!.whenMs}`;
  end(callback: () => void): void {
    this.#end = { callback, whenMs: END_MS, sequence: 0, place: "timers" };
  }
  turn(): void {
    const timers = () =>
      [...this.handles, this.#end!].filter((handle) =>
        handle.place === "timers"
      );
    if (this.ready.length === 0 && !this.stopping) {
      this.nowMs = Math.max(
        this.nowMs,
        Math.min(...timers().map((timer) => timer.whenMs!)),
      );
    }
    const due = timers().filter((timer) => timer.whenMs! <= this.nowMs);
    due.sort((a, b) => a.whenMs! - b.whenMs! || a.sequence - b.sequence);
    for (const timer of due) timer.place = "ready";
    this.ready.push(...due);
    for (let left = this.ready.length; left > 0; left--) {
      this.ready.shift()!.callback?.();
    }
  }
  runForever(): void {
    do this.turn(); while (!this.stopping);
    this.stopping = false;
  }
}

/** The loop itself in the terms of the model. */
class Subject implements Machine {
  readonly loop: EventLoop;
  readonly #handles: { cancel(): void; cancelled(): boolean }[] = [];

  constructor(loop: EventLoop) {
    this.loop = loop;
  }
  time = () => this.loop.time();
  stop = () => this.loop.stop();
  soon = (callback: () => void) =>
    void this.#handles.push(this.loop.callSoon(callback));
  at = (whenMs: number, callback: () => void) =>
    void this.#handles.push(this.loop.callAt(whenMs, callback));
  later = (delayMs: number, callback: () => void) =>
    void this.#handles.push(this.loop.callLater(delayMs, callback));
  task(step: () => boolean): void {
    this.loop.createTask(function* () {
      while (step()) yield;
    });
  }
  cancel = (index: number) => this.#handles[index]!.cancel();
  end = (callback: () => void) => void this.loop.callAt(END_MS, callback);
  reschedule(index: number, whenMs: number): void {
    const handle = this.#handles[index]! as TimerHandle;
    if ("reschedule" in handle && !handle.cancelled()) {
      handle.reschedule(whenMs);
    }
  }
  describe = (index: number) => {
    const handle = this.#handles[index]! as TimerHandle;
    return `${handle.cancelled()} ${"when" in handle ? handle.when() : null}`;
  };
}

const DELAYS_MS = [
  -5,
  -0,
  0,
  0,
  0.25,
  1,
  1,
  1,
  2,
  3,
  3,
  7.5,
  2 ** 31,
  Infinity,
];
const END_MS = 2 ** 45;

/** A program of random actions, which it draws while it runs. */
function randomProgram(
  machine: Machine,
  seed: number,
  log: string[],
  end: () => void,
): void {
  const random = new SeededRandom(seed);
  let fuel = 30 + random.nextInt(120);
  let handles = 0;
  let callbacks = 0;
  const delay = () => DELAYS_MS[random.nextInt(DELAYS_MS.length)]!;
  const callback = () => {
    const id = callbacks++;
    handles++;
    return () => {
      log.push(`${id} at ${machine.time()}`);
      actions();
    };
  };
  const actions = () => {
    for (let left = random.nextInt(4); left > 0 && fuel > 0; left--) {
      fuel--;
      switch (random.nextInt(10)) {
        case 0:
        case 1:
        case 2:
          machine.soon(callback());
          break;
        case 3:
        case 4:
          machine.later(delay(), callback());
          break;
        case 5:
          machine.at(random.nextInt(8) - 2 + machine.time(), callback());
          break;
        case 6:
          machine.cancel(random.nextInt(handles));
          break;
        case 7: {
          const handle = random.nextInt(handles);
          machine.reschedule(handle, machine.time() + delay());
          log.push(machine.describe(handle));
          break;
        }
        case 8: {
          let steps = random.nextInt(4);
          const id = callbacks++;
          machine.task(() => {
            log.push(`task ${id} at ${machine.time()}`);
            actions();
            return steps-- > 0;
          });
          break;
        }
        case 9:
          machine.stop();
      }
    }
  };
  for (let first = 0; first < 5; first++) machine.soon(callback());
  machine.end(end);
}

Deno.test("Random programs run in the order of a naive model of asyncio's turn", async () => {
  const base = Math.floor(performance.timeOrigin) % 1_000_000_000;
  console.log(`seeds ${base} to ${base + 1_999}`);
  for (let seed = base; seed < base + 2_000; seed++) {
    const model = new Model();
    const expected: string[] = [];
    let modelEnded = false;
    randomProgram(model, seed, expected, () => {
      modelEnded = true;
      model.stop();
    });
    while (!modelEnded) {
      model.runForever();
      expected.push("stopped");
    }

    const { loop, reports } = openLoop();
    const log: string[] = [];
    let ended = false;
    randomProgram(new Subject(loop), seed, log, () => {
      ended = true;
      loop.stop();
    });
    while (!ended) {
      await loop.runForever();
      log.push("stopped");
    }
    await loop.close();
    assertEquals(log, expected, `seed ${seed}`);
    assertEquals(reports, [], `seed ${seed}`);
  }
});

// -- Running and stopping --

Deno.test("stop() before runForever() makes it run one turn", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const again = (count: number) => {
    log.push(`turn ${count}`);
    loop.callSoon(again, count + 1);
  };
  loop.callSoon(again, 1);
  await runTurns(loop);
  assertEquals(log, ["turn 1"]);
  assertEquals(loop.isRunning(), false);
  await runTurns(loop);
  assertEquals(log, ["turn 1", "turn 2"]);
});

Deno.test("stop() before runForever() does not wait for a timer, but runs one that is due", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callAt(10, () => log.push("later"));
  loop.callAt(0, () => log.push("due"));
  await runTurns(loop);
  assertEquals(log, ["due"]);
  assertEquals(loop.time(), 0);
});

Deno.test("stop() in a turn completes that turn and keeps the rest for the next run", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(() => {
    loop.stop();
    loop.stop();
    loop.callSoon(() => log.push("next run"));
  });
  loop.callSoon(() => log.push("same turn"));
  await loop.runForever();
  assertEquals(log, ["same turn"]);
  loop.callSoon(() => loop.stop());
  await loop.runForever();
  assertEquals(log, ["same turn", "next run"]);
});

Deno.test("stop() from outside ends a loop that waits, on every host", async () => {
  for (const host of ["virtual", "portable", "native", "poll"] as const) {
    await using loop = newEventLoop({ host });
    const ended = loop.runForever();
    assertEquals(loop.isRunning(), true, host);
    setTimeout(() => loop.stop(), 1);
    await ended;
    assertEquals(loop.isRunning(), false, host);
  }
});

Deno.test("No turn runs inside the call of runForever(), and none while the loop is stopped", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  loop.callSoon(() => log.push("ran"));
  const ended = runTurns(loop);
  assertEquals(log, []);
  await ended;
  loop.callSoon(() => log.push("queued"));
  for (let pass = 0; pass < 3; pass++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assertEquals(log, ["ran"]);
});

Deno.test("runUntilComplete() gives the result of a task, a future, an operation or an async function", async () => {
  await using loop = newEventLoop(VIRTUAL);
  assertEquals(
    await loop.runUntilComplete(function* () {
      return 1;
    }),
    1,
  );
  assertEquals(await loop.runUntilComplete(async () => 2), 2);
  const future = loop.createFuture<number>();
  loop.callLater(5, () => future.setResult(3));
  assertEquals(await loop.runUntilComplete(future), 3);
  assertEquals(await loop.runUntilComplete(future), 3, "a future that is done");
  assertEquals(await loop.runUntilComplete(sleep(1, { value: 4 })), 4);
  assertEquals(
    await loop.runUntilComplete((function* () {
      yield* sleep(1);
      return 5;
    })()),
    5,
  );
});

Deno.test("runUntilComplete() rejects with what its main fails with, and reports nothing", async () => {
  const { loop, reports } = openLoop();
  await assertRejects(
    () =>
      loop.runUntilComplete(function* () {
        throw new RangeError("no");
      }),
    RangeError,
    "no",
  );
  await loop.close();
  assertEquals(reports, []);
});

Deno.test("runUntilComplete() completes the turn in which it learns that its main is done", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const main = loop.createFuture<string>();
  loop.callSoon(() => {
    main.setResult("done");
    loop.callSoon(() => {
      log.push("in the turn of the end");
      loop.callSoon(() => log.push("too late"));
    });
  });
  assertEquals(await loop.runUntilComplete(main), "done");
  assertEquals(log, ["in the turn of the end"]);
});

Deno.test("runUntilComplete() tells done callbacks that were added before it first", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const log: string[] = [];
  const main = loop.createTask(function* () {});
  main.addDoneCallback(() => log.push("callback"));
  await loop.runUntilComplete(main);
  assertEquals(log, ["callback"]);
});

Deno.test("runUntilComplete() says so when the loop is stopped before its main is done", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const main = loop.createTask(function* () {
    yield* sleep(10);
    return "in the end";
  }, { name: "patient" });
  loop.callLater(5, () => loop.stop());
  await assertRejects(
    () => loop.runUntilComplete(main),
    MisuseError,
    'Cannot complete task "patient": the event loop was stopped before',
  );
  assertEquals(main.done(), false);
  assertEquals(await loop.runUntilComplete(main), "in the end");
});

Deno.test("A run that was stopped early leaves nothing behind that would stop the next one", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const first = loop.createFuture<void>();
  loop.callSoon(() => loop.stop());
  await assertRejects(() => loop.runUntilComplete(first), MisuseError);
  loop.callSoon(() => first.setResult());
  let late = false;
  loop.callLater(5, () => {
    late = true;
    loop.stop();
  });
  await loop.runForever();
  assertEquals(
    late,
    true,
    "the end of the first run's main must not stop the second",
  );
});

Deno.test("A loop that is running cannot be run again", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const message = "Cannot run the event loop: it is running already";
  let started = false;
  await loop.runUntilComplete(async () => {
    await assertRejects(() => loop.runForever(), MisuseError, message);
    await assertRejects(
      () =>
        loop.runUntilComplete(async () => {
          started = true;
        }),
      MisuseError,
      message,
    );
    assertEquals(loop.stats().tasks, 1);
  });
  assertEquals(started, false);
});

Deno.test("A refused run leaves the running one as it is", async () => {
  await using loop = newEventLoop(VIRTUAL);
  let later = false;
  let refused: Promise<unknown> | undefined;
  loop.callSoon(() => {
    refused = assertRejects(
      () => loop.runForever(),
      MisuseError,
      "Cannot run the event loop: it is running already",
    );
    loop.callSoon(() => {
      later = true;
      loop.stop();
    });
  });
  await loop.runForever();
  await refused;
  assertEquals(later, true);
});

Deno.test("runUntilComplete() refuses a future of another loop", async () => {
  await using loop = newEventLoop(VIRTUAL);
  await using other = newEventLoop(VIRTUAL);
  await assertRejects(
    () => loop.runUntilComplete(other.createFuture()),
    MisuseError,
    "it belongs to another event loop",
  );
  assertEquals(loop.isRunning(), false);
});

Deno.test("Several loops run side by side, each with its own tasks and time", async () => {
  await using a = newEventLoop(VIRTUAL);
  await using b = newEventLoop(VIRTUAL);
  await using c = newEventLoop({ host: "portable" });
  const work = (loop: EventLoop, delayMs: number) => async () => {
    assertStrictEquals(getRunningLoop(), loop);
    await sleep(delayMs);
    assertStrictEquals(getRunningLoop(), loop);
    await Promise.resolve();
    assertStrictEquals(getRunningLoop(), loop);
    assertStrictEquals(currentTask()?.loop, loop);
    return loop.time();
  };
  const times = await Promise.all([
    a.runUntilComplete(work(a, 10)),
    b.runUntilComplete(work(b, 20)),
    c.runUntilComplete(work(c, 1)),
  ]);
  assertEquals(times.slice(0, 2), [10, 20]);
});

Deno.test("A task of one loop can run another loop", async () => {
  const result = await run(async () => {
    const outer = getRunningLoop();
    const inner = await until(() =>
      run(async () => {
        assertNotStrictEquals(getRunningLoop(), outer);
        await sleep(7);
        return getRunningLoop().time();
      }, VIRTUAL)
    );
    assertStrictEquals(getRunningLoop(), outer);
    return inner;
  }, VIRTUAL);
  assertEquals(result, 7);
});

Deno.test("getRunningLoop() is an error outside, and where it could be one of two", async () => {
  assertThrows(() => getRunningLoop(), MisuseError, "no loop is running");
  await using a = newEventLoop(VIRTUAL);
  await using b = newEventLoop(VIRTUAL);
  const runA = a.runForever();
  assertStrictEquals(getRunningLoop(), a);
  const runB = b.runForever();
  assertThrows(() => getRunningLoop(), MisuseError, "2 loops are running");
  a.stop();
  b.stop();
  await Promise.all([runA, runB]);
  assertThrows(() => getRunningLoop(), MisuseError);
});

// -- Closing --

Deno.test("close() may be called twice, at once or later, and disposal is the same", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  await Promise.all([loop.close(), loop.close()]);
  await loop.close();
  await loop[Symbol.asyncDispose]();
  assertEquals(loop.isClosed(), true);
  assert(host.closed >= 1);
});

Deno.test("close() refuses while the loop runs, and changes nothing", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const result = await loop.runUntilComplete(async () => {
    await assertRejects(
      () => loop.close(),
      MisuseError,
      "Cannot close the event loop: it is running",
    );
    await sleep(5);
    return "went on";
  });
  assertEquals(result, "went on");
  assertEquals(loop.isClosed(), false);
});

Deno.test("A closed loop refuses everything that would schedule, and says that it is closed", async () => {
  const loop = newEventLoop(VIRTUAL);
  const timer = loop.callLater(5, () => {});
  await loop.close();
  const closed = "the event loop is closed";
  for (
    const refused of [
      () => loop.callSoon(() => {}),
      () => loop.callLater(1, () => {}),
      () => loop.callAt(1, () => {}),
      () => loop.createTask(function* () {}),
      () => loop.addReader(0, () => {}),
      () => loop.addWriter(0, () => {}),
      () => loop.addSignalHandler("SIGUSR1", () => {}),
      () => timer.reschedule(9),
    ]
  ) {
    const error = assertThrows(refused, LoopClosedError, closed);
    assertInstanceOf(error, MisuseError);
  }
  await assertRejects(() => loop.runForever(), LoopClosedError, closed);
  await assertRejects(
    () => loop.runUntilComplete(async () => {}),
    LoopClosedError,
    closed,
  );
  timer.cancel();
  timer.ref();
  timer.unref();
  assertEquals(loop.removeReader(0), false);
  assertEquals(loop.removeSignalHandler("SIGUSR1"), false);
  loop.stop();
  assertEquals(loop.stats().timers, 0);
});

Deno.test("Callbacks that are queued when the loop closes never run", async () => {
  const loop = newEventLoop(VIRTUAL);
  let ran = false;
  loop.callSoon(() => ran = true);
  loop.callAt(0, () => ran = true);
  const future = loop.createFuture<void>();
  future.addDoneCallback(() => ran = true);
  future.setResult();
  await loop.close();
  await new Promise((resolve) => setImmediate(resolve));
  assertEquals(ran, false);
  const { ready, timers, tasks } = loop.stats();
  assertEquals({ ready, timers, tasks }, { ready: 0, timers: 0, tasks: 0 });
});

Deno.test("close() reports tasks that have not ended, by name and wait, and ends them as cancelled", async () => {
  const { loop, reports } = openLoop();
  let wentOn = false;
  const never = loop.createFuture<void>("an answer");
  const tasks = [
    loop.createTask(function* () {
      try {
        yield* never;
      } finally {
        wentOn = true;
      }
    }, { name: "generator" }),
    loop.createTask(async () => {
      try {
        await sleep(1_000);
      } finally {
        wentOn = true;
      }
    }, { name: "async" }),
    loop.createTask(async () => {
      await Promise.withResolvers<void>().promise;
    }, { name: "outside" }),
  ];
  await runTurns(loop);
  const unstarted = loop.createTask(function* () {
    wentOn = true;
  }, { name: "unstarted" });
  await loop.close();
  assertEquals(wentOn, false);
  assertEquals(reports.map(({ name, task }) => [name, task?.name]), [
    ["generator", "generator"],
    ["async", "async"],
    ["outside", "outside"],
    ["unstarted", "unstarted"],
  ]);
  assertEquals(
    reports[0]!.message,
    'Task "generator" was destroyed while it waited for an answer: its event loop was closed',
  );
  assertEquals(
    reports[1]!.message.includes("sleep()"),
    true,
    reports[1]!.message,
  );
  for (const task of [...tasks, unstarted]) {
    assertEquals(task.cancelled(), true);
  }
  assertEquals(allTasks(loop), []);
});

for (
  const [style, make] of [
    ["EventLoop", () => openLoop()],
    ["a loop that overrides callSoon()", () => {
      class Logging extends EventLoop {
        override callSoon<A extends unknown[]>(
          callback: (...args: A) => unknown,
          ...args: A
        ) {
          return super.callSoon(callback, ...args);
        }
      }
      const loop = new Logging(VIRTUAL);
      return { loop, reports: collectReports(loop) };
    }],
  ] as const
) {
  Deno.test(`close() of ${style} settles every promise that somebody holds`, async () => {
    const { loop } = make();
    const pending = loop.createFuture<void>("a message");
    const failed = loop.createFuture<number>();
    const finished = loop.createFuture<number>();
    const task = loop.createTask(function* () {
      yield* pending;
    });
    await runTurns(loop);
    const settled: Record<string, unknown> = {};
    const settle = (name: string, promise: PromiseLike<unknown>) =>
      promise.then(
        (value) => settled[name] = value,
        (error) => settled[name] = error,
      );
    const waits = [
      settle("pending", pending),
      settle("task", task),
      settle("derived", pending.then(() => 1)),
      settle("promise", Promise.resolve(pending)),
      settle("finished", finished),
      settle("failed", failed),
    ];
    await Promise.resolve(); // Promise.resolve(thenable) asks one microtask later
    finished.setResult(42);
    failed.setException(new RangeError("broken"));
    await loop.close();
    await Promise.all(waits);
    assertInstanceOf(settled.pending, LoopClosedError);
    assertEquals(
      (settled.pending as Error).message,
      "Cannot wait for a message: its loop is closed",
    );
    assertInstanceOf(settled.derived, LoopClosedError);
    assertInstanceOf(settled.promise, LoopClosedError);
    assertInstanceOf(settled.task, CancelledError);
    assertEquals(settled.finished, 42);
    assertInstanceOf(settled.failed, RangeError);
  });

  Deno.test(`Futures of ${style} that is closed settle whoever asks later`, async () => {
    const { loop } = make();
    const pending = loop.createFuture<void>("a message");
    const finished = loop.createFuture<number>();
    finished.setResult(42);
    const failed = loop.createFuture<number>();
    failed.setException(new RangeError("broken"));
    const cancelled = loop.createFuture<number>();
    cancelled.cancel("not needed");
    await loop.close();
    await assertRejects(
      async () => await pending,
      LoopClosedError,
      "a message",
    );
    assertEquals(await finished, 42);
    await assertRejects(async () => await failed, RangeError, "broken");
    await assertRejects(
      async () => await cancelled,
      CancelledError,
      "not needed",
    );
  });
}

Deno.test("close() reports failures that nobody looked at, once, and not the others", async () => {
  const { loop, reports } = openLoop();
  const seen = loop.createTask(function* () {
    throw new Error("seen");
  });
  loop.createTask(function* () {
    throw new Error("unseen");
  }, { name: "careless" });
  loop.createTask(function* () {
    try {
      yield* seen;
    } catch {
      // as planned
    }
  });
  for (let turn = 0; turn < 5; turn++) await runTurns(loop);
  await loop.close();
  await loop.close();
  assertEquals(reports.map(({ message, name }) => [message, name]), [
    ['task "careless" failed and nobody ever looked at the error', "careless"],
  ]);
});

Deno.test("close() gives the host back once everything else is", async () => {
  const host = new ManualHost();
  const loop = newEventLoop({ host });
  assertEquals([host.opened, host.closed], [1, 0]);
  const ended = loop.runForever();
  loop.stop();
  await ended;
  assertEquals(host.rested, 1);
  await loop.close();
  assertEquals(host.closed, 1);
});

Deno.test("await using closes the loop", async () => {
  let inner: EventLoop;
  {
    await using loop = newEventLoop(VIRTUAL);
    inner = loop;
  }
  assertEquals(inner.isClosed(), true);
});

// -- Looking in --

Deno.test("stats() counts what the loop has in hand, in a frozen snapshot", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const zero = loop.stats();
  assertEquals(zero, {
    host: "virtual",
    turns: 0,
    ready: 0,
    timers: 0,
    descriptors: 0,
    signals: 0,
    tasks: 0,
    outsideWaits: 0,
    ioGates: 0,
  });
  assert(Object.isFrozen(zero));
  loop.callSoon(() => {});
  loop.callLater(5, () => {}).unref();
  loop.callLater(Infinity, () => {});
  const { promise, resolve } = Promise.withResolvers<void>();
  const main = loop.createTask(function* () {
    yield* until(promise);
  });
  loop.addSignalHandler("SIGUSR1", () => {});
  assertEquals(loop.stats(), {
    ...zero,
    ready: 2,
    timers: 2,
    tasks: 1,
    signals: 1,
  });
  await runTurns(loop);
  assertEquals(loop.stats(), {
    ...zero,
    turns: 1,
    timers: 2,
    tasks: 1,
    signals: 1,
    outsideWaits: 1,
  });
  loop.removeSignalHandler("SIGUSR1");
  resolve();
  await loop.runUntilComplete(main);
  const { outsideWaits, tasks, signals } = loop.stats();
  assertEquals({ outsideWaits, tasks, signals }, {
    outsideWaits: 0,
    tasks: 0,
    signals: 0,
  });
  assertEquals(zero.turns, 0, "a snapshot does not change");
});

Deno.test("stats() names the host", async () => {
  for (const host of ["virtual", "portable", "poll"] as const) {
    await using loop = newEventLoop({ host });
    assertEquals(loop.stats().host, host);
  }
  await using native = newEventLoop({ host: "native" });
  await using auto = newEventLoop();
  assertEquals(
    auto.stats().host,
    native.stats().host,
    "with FFI granted, auto is native",
  );
});

Deno.test("allTasks() gives unfinished tasks in the order of their creation", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const [a, b, c] = ["a", "b", "c"].map((name) =>
    loop.createTask(function* () {
      yield* sleep(name === "b" ? 1 : 2);
    }, { name })
  ) as [Task<void>, Task<void>, Task<void>];
  assertEquals(allTasks(loop), [a, b, c]);
  await loop.runUntilComplete(b);
  assertEquals(allTasks(loop), [a, c]);
  await loop.runUntilComplete(c);
  assertEquals(allTasks(loop), []);
});

// -- Task factories --

Deno.test("A task factory makes all tasks of createTask(), with the options it was given", async () => {
  await using loop = newEventLoop(VIRTUAL);
  class Named<T> extends Task<T> {}
  const seen: unknown[] = [];
  const factory: TaskFactory = (loop, body, options) => {
    seen.push(options);
    return new Named(loop, body, { ...options, name: `my ${options.name}` });
  };
  assertEquals(loop.getTaskFactory(), null);
  loop.setTaskFactory(factory);
  assertStrictEquals(loop.getTaskFactory(), factory);
  const task = loop.createTask(function* () {
    return 1;
  }, { name: "task" });
  assertInstanceOf(task, Named);
  assertEquals(task.name, "my task");
  assertEquals(await loop.runUntilComplete(task), 1);
  await loop.runUntilComplete(async () => {});
  assertEquals(seen.length, 2, "the main of a run as well");
  loop.setTaskFactory(null);
  assertEquals(loop.createTask(function* () {}) instanceof Named, false);
  await runTurns(loop);
});

Deno.test("eagerTaskFactory runs the first step in createTask(), but only on a running loop", async () => {
  await using loop = newEventLoop(VIRTUAL);
  loop.setTaskFactory(eagerTaskFactory);
  const log: string[] = [];
  const outside = loop.createTask(function* () {
    log.push("outside");
  });
  assertEquals(log, []);
  await loop.runUntilComplete(function* () {
    log.push("main");
    const main = currentTask();
    const task = loop.createTask(function* () {
      log.push("child");
      assertEquals(currentTask()?.name, "child");
      yield* sleep(1);
      return "late";
    }, { name: "child" });
    log.push("main again");
    assertStrictEquals(currentTask(), main);
    assertEquals(task.done(), false);
    assertEquals(
      loop.createTask(function* () {
        return "at once";
      }).result(),
      "at once",
    );
    assertEquals(yield* task, "late");
  });
  assertEquals(outside.done(), true);
  assertEquals(log, ["outside", "main", "child", "main again"]);
});

Deno.test("An eager task that is not wanted as such starts in the next turn", async () => {
  await using loop = newEventLoop(VIRTUAL);
  loop.setTaskFactory(eagerTaskFactory);
  await loop.runUntilComplete(function* () {
    let started = false;
    const task = loop.createTask(function* () {
      started = true;
    }, { eager: false });
    assertEquals(started, false);
    yield* task;
  });
});

// -- Whose async context --

const storage = new AsyncLocalStorage<string>();

/** Every way to get a callback or task onto a loop, each logging what it sees. */
function scheduleAll(
  loop: EventLoop,
  log: (what: string) => void,
): Future<void> {
  loop.callSoon(() => log("callSoon"));
  loop.callLater(1, () => log("callLater"));
  loop.callAt(loop.time() - 1, () => log("callAt in the past"));
  const future = loop.createFuture<void>();
  future.addDoneCallback(() => log("done callback"));
  loop.callSoon(() => future.setResult());
  loop.createTask(function* () {
    log("generator");
    yield* sleep(0);
    log("generator, second step");
    yield* sleep(1);
    log("generator, after a timer");
  });
  loop.createTask(async () => {
    log("async");
    await sleep(0);
    log("async, after an operation");
    await Promise.resolve();
    log("async, after a promise");
  });
  const end = loop.createFuture<void>();
  loop.callLater(20, () => end.setResult());
  return end;
}

for (const host of ["virtual", "portable", "native", "poll"] as const) {
  Deno.test(`Turns run in the empty async context, whoever schedules or runs (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const seen: Record<string, string | undefined> = {};
    const log = (what: string) => seen[what] = storage.getStore();
    await storage.run("runner", () => {
      const end = storage.run("submitter", () => scheduleAll(loop, log));
      return loop.runUntilComplete(end);
    });
    assertEquals(Object.keys(seen).length, 10);
    for (const [what, context] of Object.entries(seen)) {
      assertEquals(context, undefined, what);
    }
  });

  Deno.test(`asyncContext "inherit" runs each in the context of its submitter (${host})`, async () => {
    await using loop = newEventLoop({ host, asyncContext: "inherit" });
    const seen: Record<string, string | undefined> = {};
    const log = (what: string) => seen[what] = storage.getStore();
    await storage.run("runner", () => {
      const end = storage.run("submitter", () => scheduleAll(loop, log));
      return loop.runUntilComplete(end);
    });
    assertEquals(Object.keys(seen).length, 10);
    for (const [what, context] of Object.entries(seen)) {
      assertEquals(context, "submitter", what);
    }
  });

  Deno.test(`Whoever wakes a waiting loop does not lend it a context (${host})`, async () => {
    await using loop = newEventLoop({ host });
    const wakers: Record<string, (callback: () => void) => void> = {
      callSoon: (callback) => loop.callSoon(callback),
      callLater: (callback) => loop.callLater(1, callback),
      "callLater without delay": (callback) => loop.callLater(0, callback),
      "callAt in the past": (callback) =>
        loop.callAt(loop.time() - 1, callback),
      reschedule: (callback) =>
        loop.callLater(Infinity, callback).reschedule(loop.time()),
      "createTask with an async function": (callback) =>
        loop.createTask(async () => {
          await sleep(0);
          callback();
        }),
      "a future": (callback) => {
        const future = loop.createFuture<void>();
        future.addDoneCallback(callback);
        future.setResult();
      },
    };
    for (const [name, waker] of Object.entries(wakers)) {
      const seen: (string | undefined)[] = [];
      const ended = loop.runForever();
      // Two macrotasks: the loop has found nothing to do and waits.
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      storage.run("waker", () =>
        waker(() => {
          seen.push(storage.getStore());
          loop.callSoon(() => {
            seen.push(storage.getStore());
            loop.callLater(1, () => {
              seen.push(storage.getStore());
              loop.stop();
            });
          });
        }));
      await ended;
      assertEquals(seen, [undefined, undefined, undefined], name);
    }
  });
}

Deno.test("A virtual clock that was held by a promise moves on in the empty context", async () => {
  await using loop = newEventLoop(VIRTUAL);
  const seen: (string | undefined)[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const main = storage.run("submitter", () =>
    loop.createTask(async () => {
      await promise; // outside: the clock stands still
      loop.callLater(10, () => seen.push(storage.getStore()));
      await sleep(5);
      await sleep(10);
    }));
  const ended = loop.runUntilComplete(main);
  await new Promise((resolve) => setImmediate(resolve));
  storage.run("resolver", () => resolve());
  await ended;
  assertEquals(seen, [undefined]);
});

// -- Process lifetime --

/**
 * Async programs, and whether the process lives until they end. They are not
 * awaited at the top level: while a module awaits something, the runtime counts
 * even timers that hold nothing.
 */
const LIFETIMES: readonly {
  readonly name: string;
  readonly source: string;
  readonly lives: boolean;
}[] = [
  {
    name: "runForever() with nothing to do keeps it alive",
    source: `
      const loop = newEventLoop(OPTIONS);
      unheld(() => loop.stop());
      await loop.runForever();`,
    lives: true,
  },
  {
    name: "runUntilComplete() of a future that nobody completes does not",
    source: `
      const loop = newEventLoop(OPTIONS);
      const future = loop.createFuture();
      unheld(() => future.setResult());
      await loop.runUntilComplete(future);`,
    lives: false,
  },
  {
    name: "run() of a sleeping task keeps it alive",
    source: `await run(function* () { yield* sleep(60); }, OPTIONS);`,
    lives: true,
  },
  {
    name: "run() of a task with until() keeps it alive",
    source: `
      await run(async () => {
        await until(new Promise((resolve) => unheld(resolve)));
      }, OPTIONS);`,
    lives: true,
  },
  {
    name: "run() of a task in a foreign promise does not",
    source: `
      await run(async () => {
        await new Promise((resolve) => unheld(resolve));
      }, OPTIONS);`,
    lives: false,
  },
  {
    name: "a signal handler keeps it alive",
    source: `
      const loop = newEventLoop(OPTIONS);
      const future = loop.createFuture();
      loop.addSignalHandler("SIGUSR1", () => future.setResult());
      unheld(() => Deno.kill(Deno.pid, "SIGUSR1"));
      await loop.runUntilComplete(future);
      await loop.close();`,
    lives: true,
  },
  {
    name: "run() of a task that sleeps for ever does not",
    source: `await run(function* () { yield* sleep(Infinity); }, OPTIONS);`,
    lives: false,
  },
  {
    name: "a stopped loop with a pending timer does not",
    source: `
      const loop = newEventLoop(OPTIONS);
      loop.callLater(60_000, () => {});
      loop.stop();
      await loop.runForever();
      await new Promise((resolve) => unheld(resolve));`,
    lives: false,
  },
];

for (const host of ["portable", "native", "poll"] as const) {
  for (const { name, source, lives } of LIFETIMES) {
    Deno.test(`Process lifetime: ${name} (${host})`, async () => {
      const { code, killed, stdout, stderr } = await runProgram(`
        import { newEventLoop, run, sleep, until } from "@rota/rota";
        const OPTIONS = { host: "${host}" };
        const unheld = (callback) => Deno.unrefTimer(setTimeout(callback, 100));
        const main = async () => {
          ${source}
          console.log("lived");
        };
        main();
      `);
      assertEquals({ code, killed, stdout, stderr }, {
        code: 0,
        killed: false,
        stdout: lives ? "lived\n" : "",
        stderr: "",
      });
    });
  }

  Deno.test(`Process lifetime: a top-level await of a run that nothing can end is an error (${host})`, async () => {
    const { code, killed, stdout, stderr } = await runProgram(`
      import { run, sleep } from "@rota/rota";
      await run(function* () { yield* sleep(Infinity); }, {
        host: "${host}",
        handleInterrupt: false,
      });
      console.log("lived");
    `);
    assertEquals({ code, killed, stdout }, {
      code: 1,
      killed: false,
      stdout: "",
    });
    assert(stderr.includes("Top-level await promise never resolved"), stderr);
  });

  Deno.test(`Process lifetime: it ends by itself after run() and close() (${host})`, async () => {
    const { code, killed, stdout, stderr } = await runProgram(`
      import { newEventLoop, run, sleep } from "@rota/rota";
      await run(() => sleep(5), { host: "${host}" });
      const loop = newEventLoop({ host: "${host}" });
      loop.callLater(60_000, () => {});
      await loop.runUntilComplete(function* () { yield* sleep(1); });
      await loop.close();
      newEventLoop({ host: "${host}" }); // never run, never closed
      console.log("done");
    `);
    assertEquals({ code, killed, stdout, stderr }, {
      code: 0,
      killed: false,
      stdout: "done\n",
      stderr: "",
    });
  });
}
