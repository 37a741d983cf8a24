/**
 * Instruments: which hooks are called, and in which order; coming, going and failing
 * while the loop runs.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  createTask,
  currentTask,
  EventLoop,
  type EventLoopOptions,
  gather,
  getRunningLoop,
  LoopClosedError,
  MisuseError,
  newEventLoop,
  PriorityScheduler,
  Queue,
  run,
  sleep,
  type Task,
  until,
  waitFor,
} from "../mod.ts";
import type { Instrument } from "../src/loop/instrument.ts";
import { isCancellation } from "../src/loop/cancellation.ts";
import { collectReports } from "./support/loops.ts";
import { inStyle, STYLES } from "./support/styles.ts";

const VIRTUAL = { host: "virtual" } as const;

/** An instrument that writes down all it is told, but the hooks in `without`. */
function recorder(
  log: string[],
  without: readonly (keyof Instrument)[] = [],
): Instrument {
  const all: Required<Instrument> = {
    turnBegins: (turn) => log.push(`turn ${turn}`),
    turnEnds: (turn) => log.push(`turn ${turn} ends`),
    taskMade: ({ name }) => log.push(`${name} made`),
    stepBegins: ({ name }) => log.push(`${name} {`),
    stepEnds: ({ name }) => log.push(`${name} }`),
    taskBlocks: (task, on) =>
      log.push(
        `${task.name} blocks on ${on === null ? null : task.waits()[0]?.kind}`,
      ),
    taskWakes: ({ name }, by) => log.push(`${name} woken by ${by?.name}`),
    taskEnds: (task) =>
      log.push(
        `${task.name} ${
          task.cancelled() ? "cancelled" : task.failed() ? "failed" : "done"
        }`,
      ),
    callbackBegins: (callback) => log.push(`${nameOf(callback)}() {`),
    callbackEnds: (callback) => log.push(`${nameOf(callback)}() }`),
    parks: (untilMs) => log.push(`parks until ${untilMs}`),
    wakes: () => log.push("wakes"),
  };
  return Object.fromEntries(
    Object.entries(all).filter(([name]) =>
      !without.includes(name as keyof Instrument)
    ),
  );
}

function nameOf(callback: object): string {
  return callback.constructor.name;
}

const NO_TURNS = ["turnBegins", "turnEnds", "parks", "wakes"] as const;

/** Runs `main` on a loop of its own; nothing after its end is told. */
async function told(
  main: () => unknown,
  instrument: Instrument,
  options: EventLoopOptions = VIRTUAL,
): Promise<void> {
  await using loop = new EventLoop({ ...options, instruments: [instrument] });
  const task = loop.createTask(main as () => Promise<unknown>, {
    name: "main",
  });
  await loop.runUntilComplete(task);
  loop.removeInstrument(instrument);
}

// -- The hooks and their order --

Deno.test("An instrument is told turns, steps, waits and the sleep of the loop, of generators", async () => {
  const log: string[] = [];
  await told(function* () {
    const child = createTask(function* () {
      yield* sleep(5);
      return 1;
    }, { name: "child" });
    yield* sleep(0);
    return yield* child;
  }, recorder(log));
  assertEquals(log.slice(0, -1), [
    "main made",
    "turn 1",
    "main {",
    "child made",
    "main }",
    "turn 1 ends",
    "turn 2",
    "child {",
    "child }",
    "child blocks on sleep",
    "main {",
    "main }",
    "main blocks on task",
    "turn 2 ends",
    "parks until 5",
    "wakes",
    "turn 3",
    "child woken by undefined",
    "turn 3 ends",
    "turn 4",
    "child {",
    "main woken by child",
    "child done",
    "child }",
    "turn 4 ends",
    "turn 5",
    "main {",
    "main done",
    "main }",
    "turn 5 ends",
    "turn 6",
    "DoneCallback() {",
    "DoneCallback() }",
  ]);
});

Deno.test("An instrument is told the same of async functions, whose steps are between the turns", async () => {
  const log: string[] = [];
  await told(async () => {
    const child = createTask(async () => {
      await sleep(5);
      return 1;
    }, { name: "child" });
    await sleep(0);
    return await child;
  }, recorder(log));
  assertEquals(log.slice(0, -1), [
    "main made",
    "turn 1",
    "main {",
    "child made",
    "main }",
    "turn 1 ends",
    "turn 2",
    "child {",
    "child }",
    "turn 2 ends",
    "main {",
    "main }",
    "child blocks on sleep",
    "main blocks on task",
    "parks until 5",
    "wakes",
    "turn 3",
    "child woken by undefined",
    "turn 3 ends",
    "turn 4",
    "turn 4 ends",
    "child {",
    "child }",
    "main woken by child",
    "child done",
    "turn 5",
    "turn 5 ends",
    "main {",
    "main }",
    "main done",
    "turn 6",
    "DoneCallback() {",
    "DoneCallback() }",
  ]);
});

for (const style of STYLES) {
  Deno.test(`Blocks and wakes of ${style} come in pairs, with the task that has woken it`, async () => {
    const log: string[] = [];
    const without = [
      ...NO_TURNS,
      "stepBegins",
      "stepEnds",
      "callbackBegins",
      "callbackEnds",
    ] as const;
    await told(
      inStyle(style, function* () {
        const queue = new Queue<number>();
        const getter = createTask(
          inStyle(style, function* () {
            yield queue.get();
            yield queue.get();
            yield sleep(1_000);
          }),
          { name: "getter" },
        );
        yield sleep(1);
        queue.putNowait(1);
        yield sleep(1);
        queue.putNowait(2);
        yield sleep(1);
        getter.cancel();
        yield gather([getter], { returnExceptions: true });
      }),
      recorder(log, without),
    );
    assertEquals(log, [
      "main made",
      "getter made",
      ...style === "a generator"
        ? ["main blocks on sleep", "getter blocks on Queue.get"]
        : ["getter blocks on Queue.get", "main blocks on sleep"].sort()
          .reverse(),
      "main woken by undefined",
      "getter woken by main",
      "main blocks on sleep",
      "getter blocks on Queue.get",
      "main woken by undefined",
      "getter woken by main",
      "main blocks on sleep",
      "getter blocks on sleep",
      "main woken by undefined",
      "getter woken by main",
      "main blocks on gather",
      "getter cancelled",
      "main woken by getter",
      "main done",
    ]);
  });
}

Deno.test("A foreign promise is a wait for nothing of the loop, which nobody is seen to end", async () => {
  const log: string[] = [];
  await told(async () => {
    await sleep(1);
    await new Promise((resolve) => setTimeout(resolve, 1));
    await until(Promise.resolve());
  }, recorder(log, [...NO_TURNS, "callbackBegins", "callbackEnds"]));
  assertEquals(log, [
    "main made",
    "main {",
    "main }",
    "main blocks on sleep",
    "main woken by undefined",
    "main {",
    "main }",
    "main blocks on null",
    "main {",
    "main }",
    "main done",
  ]);
});

Deno.test("Callbacks, timers and posted functions are told, also those that throw", async () => {
  const log: string[] = [];
  await using loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler(() => {});
  loop.addInstrument(recorder(log, NO_TURNS));
  loop.callSoon(() => log.push("soon"));
  loop.callSoon(() => {
    throw new Error("by design");
  });
  loop.callSoon(() => log.push("never")).cancel();
  loop.callLater(5, () => log.push("later"));
  loop.postTask(() => log.push("posted"));
  loop.callLater(10, () => loop.stop());
  await loop.runForever();
  assertEquals(log, [
    "Handle() {",
    "soon",
    "Handle() }",
    "Handle() {",
    "Handle() }",
    "PostedTask() {",
    "posted",
    "PostedTask() }",
    "TimerHandle() {",
    "later",
    "TimerHandle() }",
    "TimerHandle() {",
    "TimerHandle() }",
  ]);
});

Deno.test("The first step of an eager task is told inside the step that makes it", async () => {
  const log: string[] = [];
  await told(
    function* () {
      createTask(function* () {
        log.push("eager");
      }, { name: "child", eager: true });
      log.push("after");
    },
    recorder(log, [...NO_TURNS, "callbackBegins", "callbackEnds"]),
  );
  assertEquals(log, [
    "main made",
    "main {",
    "child made",
    "child {",
    "eager",
    "child done",
    "child }",
    "after",
    "main done",
    "main }",
  ]);
});

Deno.test("Tasks that are destroyed with their loop are told to end", async () => {
  const log: string[] = [];
  const loop = newEventLoop(VIRTUAL);
  loop.setExceptionHandler(() => {});
  loop.addInstrument(recorder(log, ["turnBegins", "turnEnds"]));
  for (const style of STYLES) {
    loop.createTask(
      inStyle(style, function* () {
        yield sleep(1_000);
      }),
      { name: style },
    );
  }
  loop.callSoon(() => loop.stop());
  await loop.runForever();
  log.length = 0;
  await loop.close();
  assertEquals(log, [
    "a generator cancelled",
    "an async function cancelled",
  ]);
});

Deno.test("A promise in until() blocks its task and wakes it, in both styles", async () => {
  for (const style of STYLES) {
    const log: string[] = [];
    await told(
      inStyle(style, function* () {
        yield sleep(1);
        yield until(new Promise((resolve) => setTimeout(resolve, 2)));
      }),
      recorder(log, [
        ...NO_TURNS,
        "stepBegins",
        "stepEnds",
        "callbackBegins",
        "callbackEnds",
      ]),
    );
    assertEquals(log, [
      "main made",
      "main blocks on sleep",
      "main woken by undefined",
      "main blocks on until",
      "main woken by undefined",
      "main done",
    ]);
  }
});

// -- The same on each host, with a strategy, a subclass and in debug mode --

/** A program whose hooks are the same wherever it runs. */
function program(): () => unknown {
  return function* () {
    const queue = new Queue<string>();
    const workers = STYLES.map((style) =>
      createTask(
        inStyle(style, function* () {
          for (let n = 0; n < 2; n++) yield queue.get();
        }),
        { name: style },
      )
    );
    for (let n = 0; n < 4; n++) {
      yield* sleep(2);
      queue.putNowait(`item ${n}`);
    }
    yield* gather(workers);
  };
}

class Overridden extends EventLoop {
  override callSoon<A extends unknown[]>(
    callback: (...args: A) => unknown,
    ...args: A
  ) {
    return super.callSoon(callback, ...args);
  }
}

Deno.test("Hooks of tasks are the same on each host, with a scheduler, in a subclass and in debug mode", async () => {
  const without = [...NO_TURNS, "callbackBegins", "callbackEnds"] as const;
  const logs: string[][] = [];
  const loops: (() => EventLoop)[] = [
    () => new EventLoop(VIRTUAL),
    () => new EventLoop({ host: "portable" }),
    () => new EventLoop({ host: "native" }),
    () => new EventLoop({ host: "poll" }),
    () => new EventLoop({ host: "virtual", debug: true }),
    () =>
      new EventLoop({ host: "virtual", scheduler: new PriorityScheduler() }),
    () =>
      new EventLoop({
        host: "virtual",
        debug: true,
        scheduler: new PriorityScheduler(),
      }),
    () => new Overridden(VIRTUAL),
    () => new EventLoop({ host: "portable", timerPrecision: "precise" }),
    () => new EventLoop({ host: "virtual", asyncContext: "inherit" }),
  ];
  for (const open of loops) {
    const log: string[] = [];
    await using loop = open();
    const instrument = recorder(log, without);
    loop.addInstrument(instrument);
    const main = loop.createTask(program() as () => Promise<unknown>, {
      name: "main",
    });
    await loop.runUntilComplete(main);
    logs.push(log.filter((line) => !/[{}]$/.test(line)));
  }
  assert(logs[0]!.length > 20, logs[0]!.join("\n"));
  for (const log of logs) assertEquals(log, logs[0]);
});

Deno.test("Turns that are told are the turns of the loop, with and without a scheduler", async () => {
  for (const scheduler of [undefined, new PriorityScheduler()]) {
    const turns: number[] = [];
    let open = 0;
    await using loop = new EventLoop({
      host: "virtual",
      scheduler,
      instruments: [{
        turnBegins: (turn) => {
          turns.push(turn);
          assertEquals(++open, 1);
        },
        turnEnds: (turn) => {
          assertEquals(turn, turns.at(-1));
          assertEquals(--open, 0);
        },
      }],
    });
    await loop.runUntilComplete(program() as () => Promise<unknown>);
    assertEquals(
      turns,
      Array.from({ length: loop.stats().turns }, (_, index) => index + 1),
    );
  }
});

Deno.test("A program runs in the same turns, at the same times, with an instrument and without", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const logs: string[][] = [];
    for (const instruments of [[], [{}], [recorder([])]]) {
      const random = seeded(seed);
      const log: string[] = [];
      await using loop = new EventLoop({ host: "virtual", instruments });
      loop.setExceptionHandler(() => {});
      const queue = new Queue<number>(2);
      const note = (what: string) =>
        log.push(`${what} at ${loop.time()}, turn ${loop.stats().turns}`);
      const tasks = Array.from(
        { length: 8 },
        (_, n) =>
          loop.createTask(inStyle(STYLES[n % 2]!, function* () {
            for (let step = 0; step < 8; step++) {
              const way = Math.floor(random() * 5);
              if (way === 0) yield sleep(0);
              else if (way === 1) yield sleep(random() * 5);
              else if (way === 2) yield queue.put(n);
              else if (way === 3) {
                yield waitFor(queue.get(), 4);
              } else tasks[Math.floor(random() * 8)]!.cancel();
              note(`${n}.${step}`);
            }
          })),
      );
      loop.callLater(50, () => {
        for (const task of tasks) task.cancel();
      });
      await loop.runUntilComplete(
        loop.createTask(async () => {
          await gather(tasks, { returnExceptions: true });
          note("end");
        }),
      );
      logs.push(log);
    }
    assertEquals(logs[1], logs[0], `seed ${seed}`);
    assertEquals(logs[2], logs[0], `seed ${seed}`);
  }
});

// -- Coming and going --

Deno.test("An instrument that is added in a step is told of the next turn, and one that is removed of nothing more", async () => {
  const log: string[] = [];
  const instrument = recorder(log);
  await run(function* () {
    const loop = getRunningLoop();
    yield* sleep(0);
    assertEquals(loop.removeInstrument(instrument), false);
    loop.addInstrument(instrument);
    createTask(function* () {
      yield* sleep(0);
      log.push("other");
    }, { name: "other" });
    yield* sleep(0);
    log.push("body");
    assertEquals(loop.removeInstrument(instrument), true);
    assertEquals(loop.removeInstrument(instrument), false);
    yield* sleep(0);
    yield* sleep(0);
    assertEquals(log, [
      "turn 3",
      "other {",
      "other }",
      `${currentTask()!.name} {`,
      "body",
      "other",
    ]);
    loop.addInstrument(instrument);
    loop.removeInstrument(instrument);
    const { length } = log;
    yield* sleep(1);
    assertEquals(log.length, length);
  }, VIRTUAL);
});

Deno.test("Instruments come and go while tasks of both styles run, and nothing is lost or told twice", async () => {
  const random = seeded(7);
  await run(function* () {
    const loop = getRunningLoop();
    const active = new Set<Instrument>();
    const open = new Map<Instrument, Task<unknown> | null>();
    const make = (): Instrument => {
      const instrument: Instrument = {
        stepBegins: (task) => {
          assert(active.has(instrument));
          assertEquals(open.get(instrument) ?? null, null);
          open.set(instrument, task);
        },
        stepEnds: (task) => {
          assert(active.has(instrument));
          assert([null, undefined, task].includes(open.get(instrument)));
          open.set(instrument, null);
        },
      };
      return instrument;
    };
    const tasks = Array.from(
      { length: 12 },
      (_, n) =>
        createTask(inStyle(STYLES[n % 2]!, function* () {
          for (let step = 0; step < 60; step++) {
            if (random() < 0.1) {
              const instrument = make();
              active.add(instrument);
              loop.addInstrument(instrument);
            }
            const [some] = active;
            if (some !== undefined && random() < 0.12) {
              loop.removeInstrument(some);
              active.delete(some);
            }
            yield sleep(random() < 0.5 ? 0 : random() * 3);
          }
          return n;
        })),
    );
    assertEquals(yield* gather(tasks), tasks.map((_, n) => n));
    for (const instrument of active) loop.removeInstrument(instrument);
  }, VIRTUAL);
});

function seeded(seed: number): () => number {
  return () => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return seed / 0x8000_0000;
  };
}

Deno.test("A hook that throws ends its instrument, which is told once; the others and the loop go on", async () => {
  for (
    const hook of [
      "turnBegins",
      "turnEnds",
      "taskMade",
      "stepBegins",
      "stepEnds",
      "taskBlocks",
      "taskWakes",
      "taskEnds",
      "callbackBegins",
      "callbackEnds",
      "parks",
      "wakes",
    ] as const
  ) {
    for (const style of STYLES) {
      await using loop = newEventLoop(VIRTUAL);
      const reports = collectReports(loop);
      const log: string[] = [];
      let calls = 0;
      const bad: Instrument = {
        [hook]: () => {
          calls++;
          throw new Error("by design");
        },
      };
      loop.addInstrument(bad);
      loop.addInstrument(recorder(log, ["turnBegins"]));
      loop.callSoon(() => {});
      const result = await loop.runUntilComplete(
        loop.createTask(
          inStyle(style, function* () {
            const child = createTask(
              inStyle(style, function* () {
                yield sleep(1);
                return 6;
              }),
            );
            return 7 * Number(yield child);
          }) as () => Promise<number>,
          { name: "main" },
        ),
      );
      assertEquals([result, calls], [42, 1], hook);
      assertEquals(reports.map(({ message }) => message), [
        `${hook}() of an instrument threw: the instrument was removed`,
      ]);
      assert(log.includes("main done"), hook);
      assertEquals(loop.removeInstrument(bad), false);
    }
  }
});

Deno.test("Hooks may make tasks, wake others, add and remove instruments", async () => {
  const log: string[] = [];
  await run(function* () {
    const loop = getRunningLoop();
    const future = loop.createFuture<string>();
    let made = false;
    const instrument: Instrument = {
      parks: () => {
        if (future.done()) return;
        future.setResult("from parks()");
      },
      stepBegins: () => {
        if (made) return;
        made = true;
        loop.addInstrument({ taskEnds: ({ name }) => log.push(name) });
        createTask(() => 1, { name: "from stepBegins()" });
        loop.removeInstrument(instrument);
        loop.addInstrument(instrument);
      },
    };
    loop.addInstrument(instrument);
    yield* sleep(0);
    assertEquals(yield* future, "from parks()");
  }, VIRTUAL);
  assertEquals(log[0], "from stepBegins()");
});

Deno.test("An instrument may stop the loop from a hook, at any of them", async () => {
  for (const hook of ["turnBegins", "stepEnds", "parks", "wakes"] as const) {
    await using loop = newEventLoop(VIRTUAL);
    let calls = 0;
    const instrument: Instrument = {
      [hook]: () => {
        calls++;
        loop.stop();
      },
    };
    loop.addInstrument(instrument);
    loop.createTask(function* () {
      yield* sleep(5);
    });
    await loop.runForever();
    assert(calls > 0);
    loop.removeInstrument(instrument);
    loop.setExceptionHandler(() => {});
  }
});

Deno.test("With an instrument waits tell their milliseconds, and queues who serves them", async () => {
  await run(function* () {
    const loop = getRunningLoop();
    const early = createTask(function* () {
      yield* sleep(Infinity);
    });
    yield* sleep(0);
    const instrument: Instrument = {};
    loop.addInstrument(instrument);
    const queue = new Queue<number>();
    const producer = createTask(function* () {
      for (let n = 0;; n++) {
        yield* sleep(10);
        queue.putNowait(n);
      }
    }, { name: "producer" });
    for (const style of STYLES) {
      const consumer = createTask(inStyle(style, function* () {
        yield queue.get();
        yield queue.get();
      }));
      const startMs = loop.time();
      yield* sleep(15);
      const [found] = consumer.waits();
      assertEquals(found!.sinceMs, startMs + 10);
      assertEquals(found!.heldBy, [producer]);
      yield* consumer;
      yield* sleep(Math.ceil(loop.time() / 10) * 10 - loop.time());
    }
    assertEquals(early.waits()[0]!.sinceMs, null);
    producer.cancel();
    early.cancel();
    yield* gather([producer, early], { returnExceptions: true });
  }, VIRTUAL);
});

// -- Arguments --

Deno.test("Instruments are checked before anything changes", async () => {
  const loop = newEventLoop(VIRTUAL);
  for (const wrong of [undefined, null, 1, "x", () => {}]) {
    assertThrows(
      () => loop.addInstrument(wrong as unknown as Instrument),
      TypeError,
      "Cannot add an instrument as instrument must be an object with hooks: received",
    );
  }
  assertThrows(
    () => loop.addInstrument({ parks: 1 } as unknown as Instrument),
    TypeError,
    "Cannot add an instrument as instrument.parks must be a function: received 1",
  );
  const instrument: Instrument = {};
  for (
    const [instruments, error] of [
      [{}, TypeError],
      [[null], TypeError],
      [[{ wakes: "x" }], TypeError],
      [[instrument, instrument], MisuseError],
    ] as const
  ) {
    assertThrows(
      () => new EventLoop({ instruments: instruments as Instrument[] }),
      error,
      "Cannot create an event loop",
    );
  }
  loop.addInstrument(instrument);
  assertThrows(
    () => loop.addInstrument(instrument),
    MisuseError,
    "Cannot add an instrument: the loop has it already",
  );
  await using other = new EventLoop({ ...VIRTUAL, instruments: [instrument] });
  assertEquals(other.removeInstrument(instrument), true);
  await loop.close();
  assertThrows(() => loop.addInstrument(instrument), LoopClosedError);
  assertEquals(loop.removeInstrument(instrument), false);
});

Deno.test("run() takes instruments, which see its main task and its end", async () => {
  const log: string[] = [];
  const ends = run(async () => await sleep(Infinity), {
    host: "virtual",
    deadlock: "error",
    instruments: [recorder(log, NO_TURNS)],
  });
  await ends.catch((error) => assert(!isCancellation(error)));
  assertEquals(log.filter((line) => / (made|cancelled)$/.test(line)).length, 2);
});
