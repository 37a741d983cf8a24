/**
 * Bad arguments of every public function and method of the loop and its hosts:
 * refused by a message that names the argument, what it must be and what came,
 * before anything has changed.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  allTasks,
  each,
  eagerTaskFactory,
  EventLoop,
  type EventLoopOptions,
  Future,
  getEventLoopPolicy,
  items,
  newEventLoop,
  Operation,
  Pipe,
  run,
  Runner,
  scoped,
  setEventLoopPolicy,
  sleep,
  Task,
  TaskLocal,
  until,
  VirtualHost,
  yieldNow,
} from "../mod.ts";
import { openLoop } from "./support/loops.ts";
import { ROOT } from "./support/run_deno.ts";

/** What a call is given that checks nothing at compile time. */
// deno-lint-ignore no-explicit-any
type Any = any;

const NOT_FUNCTIONS = [undefined, null, 5, "work", {}, []];
const NOT_NUMBERS = [undefined, null, "5", {}, [5], true, 5n, () => 5];
const NOT_SIGNALS = [null, 5, "abort", {}, new AbortController()];
const NOT_OPTIONS = [null, 5, "fast", true];
const NOT_STRINGS = [null, 5, {}, true];
const NOT_BODIES = [
  undefined,
  null,
  5,
  "work",
  {},
  [],
  new Promise<void>(() => {}),
];
const NOT_LOOPS = [undefined, null, 5, {}];
const NOT_BYTES = [
  undefined,
  null,
  5,
  "bytes",
  [1, 2],
  {},
  new ArrayBuffer(8),
  new Uint16Array(1),
];

const work = function* () {};

/** A call with a bad argument, and what its message must name. */
interface Case {
  /** What is called. */
  readonly what: string;
  /** The argument, as the message names it. */
  readonly names: string;
  readonly values: readonly unknown[];
  readonly call: (value: Any, fixture: Fixture) => unknown;
  /** Which error it must be. */
  readonly error?: typeof TypeError | typeof RangeError;
}

/** What the calls work on; none of it may change. */
interface Fixture {
  readonly loop: EventLoop;
  readonly future: Future<Any>;
  readonly task: Task<Any>;
  readonly pipe: Pipe;
}

const LOOP_OPTIONS: readonly [
  keyof EventLoopOptions,
  readonly unknown[],
  typeof RangeError?,
][] = [
  ["host", [null, 5, "epoll", true, {}, { now: () => 0 }]],
  ["debug", [null, 1, "yes"]],
  ["slowCallbackMs", NOT_NUMBERS.slice(1)],
  ["slowCallbackMs", [NaN, -1, -Infinity], RangeError],
  ["timerPrecision", [null, "exact", true]],
  ["asyncContext", [null, "none", true]],
  ["deadlock", [null, "throw", true]],
  ["outsideWaits", [null, "skip", true]],
  ["cancelWarnMs", NOT_NUMBERS.slice(1)],
  ["cancelWarnMs", [NaN, -1], RangeError],
];

const RUN_OPTIONS: readonly [string, readonly unknown[], typeof RangeError?][] =
  [
    ["loopFactory", NOT_FUNCTIONS.slice(1)],
    ["name", NOT_STRINGS],
    ["cancelGraceMs", NOT_NUMBERS.slice(1)],
    ["cancelGraceMs", [NaN, -1], RangeError],
    ["handleInterrupt", [null, 1, "yes"]],
  ];

const CASES: readonly Case[] = [
  // -- The loop --
  ...(["EventLoop", "newEventLoop()", "run()", "Runner"] as const).flatMap(
    (what): Case[] => {
      const make = (options: Any) =>
        what === "EventLoop"
          ? new EventLoop(options)
          : what === "newEventLoop()"
          ? newEventLoop(options)
          : what === "Runner"
          ? new Runner(options).getLoop()
          : run(work, options);
      return [
        { what, names: "options", values: NOT_OPTIONS, call: make },
        ...LOOP_OPTIONS.map(([names, values, error = TypeError]): Case => ({
          what,
          names,
          values,
          error,
          call: (value) => make({ host: "virtual", [names]: value }),
        })),
      ];
    },
  ),
  {
    what: "callSoon()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { loop }) => loop.callSoon(value),
  },
  {
    what: "callLater()",
    names: "delayMs",
    values: NOT_NUMBERS,
    call: (value, { loop }) => loop.callLater(value, () => {}),
  },
  {
    what: "callLater()",
    names: "delayMs",
    values: [NaN],
    error: RangeError,
    call: (value, { loop }) => loop.callLater(value, () => {}),
  },
  {
    what: "callLater()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { loop }) => loop.callLater(5, value),
  },
  {
    what: "callAt()",
    names: "whenMs",
    values: NOT_NUMBERS,
    call: (value, { loop }) => loop.callAt(value, () => {}),
  },
  {
    what: "callAt()",
    names: "whenMs",
    values: [NaN],
    error: RangeError,
    call: (value, { loop }) => loop.callAt(value, () => {}),
  },
  {
    what: "callAt()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { loop }) => loop.callAt(5, value),
  },
  {
    what: "createFuture()",
    names: "label",
    values: NOT_STRINGS,
    call: (value, { loop }) => loop.createFuture(value),
  },
  {
    what: "createTask()",
    names: "body",
    values: NOT_BODIES,
    call: (value, { loop }) => loop.createTask(value),
  },
  {
    what: "createTask()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value, { loop }) => loop.createTask(work, value),
  },
  {
    what: "createTask()",
    names: "name",
    values: NOT_STRINGS,
    call: (value, { loop }) => loop.createTask(work, { name: value }),
  },
  {
    what: "createTask()",
    names: "signal",
    values: NOT_SIGNALS,
    call: (value, { loop }) => loop.createTask(work, { signal: value }),
  },
  {
    what: "createTask()",
    names: "eager",
    values: [null, 1, "yes"],
    call: (value, { loop }) => loop.createTask(work, { eager: value }),
  },
  {
    what: "setTaskFactory()",
    names: "factory",
    values: NOT_FUNCTIONS.filter((value) => value !== null),
    call: (value, { loop }) => loop.setTaskFactory(value),
  },
  {
    what: "runUntilComplete()",
    names: "body",
    values: NOT_BODIES,
    call: (value, { loop }) => loop.runUntilComplete(value),
  },
  ...(["addReader", "addWriter"] as const).flatMap((what): Case[] => [
    {
      what: `${what}()`,
      names: "descriptor",
      values: [undefined, null, "0", {}, { fd: "0" }, () => {}],
      call: (value, { loop }) => loop[what](value, () => {}),
    },
    {
      what: `${what}()`,
      names: "descriptor",
      values: [-1, 0.5, NaN, Infinity, 2 ** 31],
      error: RangeError,
      call: (value, { loop }) => loop[what](value, () => {}),
    },
    {
      what: `${what}()`,
      names: "callback",
      values: NOT_FUNCTIONS,
      call: (value, { loop, pipe }) => loop[what](pipe.readFd, value),
    },
  ]),
  ...(["removeReader", "removeWriter"] as const).flatMap((what): Case[] => [
    {
      what: `${what}()`,
      names: "descriptor",
      values: [undefined, null, "0", {}, { fd: "0" }],
      call: (value, { loop }) => loop[what](value),
    },
    {
      what: `${what}()`,
      names: "descriptor",
      values: [-1, 0.5, NaN, Infinity, 2 ** 31],
      error: RangeError,
      call: (value, { loop }) => loop[what](value),
    },
  ]),
  {
    what: "addSignalHandler()",
    names: "signal",
    values: [undefined, null, 5, {}, "SIGNONSENSE", "", "sigint"],
    call: (value, { loop }) => loop.addSignalHandler(value, () => {}),
  },
  {
    what: "addSignalHandler()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { loop }) => loop.addSignalHandler("SIGUSR1", value),
  },
  {
    what: "removeSignalHandler()",
    names: "signal",
    values: [undefined, null, 5, {}],
    call: (value, { loop }) => loop.removeSignalHandler(value),
  },
  {
    what: "setExceptionHandler()",
    names: "handler",
    values: NOT_FUNCTIONS.filter((value) => value !== null),
    call: (value, { loop }) => loop.setExceptionHandler(value),
  },
  ...(["callExceptionHandler", "defaultExceptionHandler"] as const).map((
    what,
  ): Case => ({
    what: `${what}()`,
    names: "context",
    values: [undefined, null, 5, "it broke", {}, { message: 5 }],
    call: (value, { loop }) => loop[what](value),
  })),
  {
    what: "loop.debug",
    names: "debug",
    values: [undefined, null, 1, "yes"],
    call: (value, { loop }) => loop.debug = value,
  },
  {
    what: "loop.slowCallbackMs",
    names: "slowCallbackMs",
    values: NOT_NUMBERS,
    call: (value, { loop }) => loop.slowCallbackMs = value,
  },
  {
    what: "loop.slowCallbackMs",
    names: "slowCallbackMs",
    values: [NaN, -1],
    error: RangeError,
    call: (value, { loop }) => loop.slowCallbackMs = value,
  },
  {
    what: "allTasks()",
    names: "loop",
    values: NOT_LOOPS,
    call: (value) => allTasks(value),
  },
  {
    what: "eagerTaskFactory()",
    names: "loop",
    values: NOT_LOOPS,
    call: (value) => eagerTaskFactory(value, work, {}),
  },
  {
    what: "eagerTaskFactory()",
    names: "body",
    values: NOT_BODIES,
    call: (value, { loop }) => eagerTaskFactory(loop, value, {}),
  },
  {
    what: "TimerHandle.reschedule()",
    names: "whenMs",
    values: NOT_NUMBERS,
    call: (value, { loop }) =>
      withTimer(loop, (timer) => timer.reschedule(value)),
  },
  {
    what: "TimerHandle.reschedule()",
    names: "whenMs",
    values: [NaN],
    error: RangeError,
    call: (value, { loop }) =>
      withTimer(loop, (timer) => timer.reschedule(value)),
  },

  // -- Futures, tasks, operations --
  {
    what: "Future",
    names: "loop",
    values: NOT_LOOPS,
    call: (value) => new Future(value),
  },
  {
    what: "Future",
    names: "label",
    values: NOT_STRINGS,
    call: (value, { loop }) => new Future(loop, value),
  },
  {
    what: "Future.addDoneCallback()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { future }) => future.addDoneCallback(value),
  },
  {
    what: "Future.removeDoneCallback()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { future }) => future.removeDoneCallback(value),
  },
  {
    what: "Task",
    names: "loop",
    values: NOT_LOOPS,
    call: (value) => new Task(value, work, {}),
  },
  {
    what: "Task",
    names: "body",
    values: NOT_BODIES,
    call: (value, { loop }) => new Task(loop, value, {}),
  },
  {
    what: "Task.name",
    names: "name",
    values: [undefined, ...NOT_STRINGS],
    call: (value, { task }) => task.name = value,
  },
  {
    what: "Operation",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => new Operation(value),
  },
  {
    what: "Operation",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => new Operation(work, value),
  },
  {
    what: "Operation",
    names: "signal",
    values: NOT_SIGNALS,
    call: (value) => new Operation(work, { signal: value }),
  },
  {
    what: "Operation",
    names: "name",
    values: NOT_STRINGS,
    call: (value) => new Operation(work, { name: value }),
  },
  {
    what: "sleep()",
    names: "delayMs",
    values: NOT_NUMBERS,
    call: (value) => sleep(value),
  },
  {
    what: "sleep()",
    names: "delayMs",
    values: NOT_NUMBERS,
    call: (value) => sleep(value, { signal: new AbortController().signal }),
  },
  {
    what: "sleep()",
    names: "delayMs",
    values: [NaN],
    error: RangeError,
    call: (value) => sleep(value),
  },
  {
    what: "sleep()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => sleep(5, value),
  },
  ...[0, 5].map((delayMs): Case => ({
    what: `sleep(${delayMs})`,
    names: "signal",
    values: NOT_SIGNALS,
    call: (value) => sleep(delayMs, { signal: value }),
  })),
  {
    what: "yieldNow()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => yieldNow(value),
  },
  {
    what: "yieldNow()",
    names: "signal",
    values: NOT_SIGNALS,
    call: (value) => yieldNow({ signal: value }),
  },
  {
    what: "until()",
    names: "source",
    values: [undefined, null, 5, "promise", {}, []],
    call: (value) => until(value),
  },
  {
    what: "until()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => until(Promise.resolve(), value),
  },
  {
    what: "until()",
    names: "signal",
    values: NOT_SIGNALS,
    call: (value) => until(Promise.resolve(), { signal: value }),
  },
  {
    what: "each()",
    names: "source",
    values: [undefined, null, 5, {}, () => {}],
    call: (value) => each(value, work),
  },
  {
    what: "each()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => each([1], value),
  },
  {
    what: "scoped()",
    names: "resource",
    values: [undefined, null, 5, {}, () => {}],
    call: (value) => scoped(value, work),
  },
  {
    what: "scoped()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value, { pipe }) => scoped(pipe, value),
  },

  // -- run() and the policy --
  ...(["run()", "Runner.run()"] as const).map((what): Case => ({
    what,
    names: "body",
    values: NOT_BODIES,
    call: async (value) => {
      if (what === "run()") return await run(value, { host: "virtual" });
      await using runner = new Runner({ host: "virtual" });
      return await runner.run(value);
    },
  })),
  ...(["run()", "Runner"] as const).flatMap((what) =>
    RUN_OPTIONS.map(([names, values, error = TypeError]): Case => ({
      what,
      names,
      values,
      error,
      call: (value) => {
        const options = { host: "virtual", [names]: value } as Any;
        return what === "run()" ? run(work, options) : new Runner(options);
      },
    }))
  ),
  {
    what: "run()",
    names: "loopFactory",
    values: NOT_LOOPS,
    call: (value) => run(work, { loopFactory: () => value }),
  },
  {
    what: "setEventLoopPolicy()",
    names: "policy",
    values: [undefined, null, 5, {}, () => {}],
    call: (value) => setEventLoopPolicy(value),
  },

  // -- Hosts and pipes --
  {
    what: "VirtualHost",
    names: "startMs",
    values: NOT_NUMBERS.slice(1),
    call: (value) => new VirtualHost(value),
  },
  {
    what: "VirtualHost",
    names: "startMs",
    values: [NaN, Infinity, -Infinity],
    error: RangeError,
    call: (value) => new VirtualHost(value),
  },
  {
    what: "Pipe.read()",
    names: "buffer",
    values: NOT_BYTES,
    call: (value, { pipe }) => pipe.read(value),
  },
  {
    what: "Pipe.read()",
    names: "buffer",
    values: [new Uint8Array(0)],
    error: RangeError,
    call: (value, { pipe }) => pipe.read(value),
  },
  {
    what: "Pipe.write()",
    names: "bytes",
    values: NOT_BYTES,
    call: (value, { pipe }) => pipe.write(value),
  },
];

/** What is exported from the loop and its hosts and takes nothing that could be wrong, or anything. */
const NOTHING_TO_REFUSE = [
  "READABLE",
  "WRITABLE",
  "AttemptOperation", // made by the library
  "Block", // made by Task.openBlock()
  "Handle", // made by the loop
  "currentBlock",
  "currentTask",
  "getRunningLoop",
  "isFuture",
  "checkpoint",
  "getEventLoopPolicy",
  "EventLoopPolicy", // hands its options on
  "TaskLocal", // any value
  "items",
];

function withTimer(
  loop: EventLoop,
  body: (timer: ReturnType<EventLoop["callAt"]>) => void,
): void {
  const timer = loop.callAt(1_000, () => {});
  try {
    body(timer);
  } finally {
    assertEquals(timer.when(), 1_000);
    timer.cancel();
  }
}

/** A short text for what was given, to find the case by. */
function show(value: unknown): string {
  return Deno.inspect(value, { depth: 0, compact: true }).slice(0, 40);
}

async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    const result = call();
    if (result instanceof Promise) await result; // other thenables would begin to wait
  } catch (error) {
    return error;
  }
  return undefined;
}

const groups = Map.groupBy(
  CASES,
  ({ what, names }) => `${what} refuses a wrong ${names}`,
);
for (const [name, cases] of groups) {
  Deno.test(`${name}, by name, and changes nothing`, async () => {
    const { loop, reports } = openLoop({ host: "poll" });
    using pipe = Pipe.open();
    const fixture: Fixture = {
      loop,
      pipe,
      future: loop.createFuture<Any>(),
      task: loop.createTask(function* () {}, { name: "fixture" }),
    };
    const handler = loop.getExceptionHandler();
    const policy = getEventLoopPolicy();
    const before = loop.stats();
    for (const { names, values, call, error: expected = TypeError } of cases) {
      for (const value of values) {
        const error = await thrownBy(() => call(value, fixture));
        assert(
          error instanceof expected,
          `${show(value)}: ${error ?? "nothing was thrown"}`,
        );
        const { message } = error;
        assertMatch(message, /^Cannot [^]+ as [^]+ must [^]+/, show(value));
        assertMatch(message, /: received |must return/, show(value));
        assert(
          new RegExp(`\\b${names}\\b`).test(message),
          `"${message}" does not name ${names}`,
        );
        assert(
          !/undefined is|Cannot read propert|not iterable$/.test(message),
          message,
        );
      }
    }
    assertEquals(loop.stats(), before);
    assertEquals(loop.getExceptionHandler(), handler);
    assertEquals(loop.getTaskFactory(), null);
    assertEquals(getEventLoopPolicy(), policy);
    assertEquals([loop.debug, loop.slowCallbackMs], [false, 100]);
    assertEquals(fixture.task.name, "fixture");
    loop.stop();
    await loop.runForever();
    await loop.close();
    assertEquals(reports, []);
  });
}

Deno.test("Every value that mod.ts exports from the loop and its hosts is in the table", async () => {
  const source = await Deno.readTextFile(new URL("mod.ts", ROOT));
  const exported = [
    ...source.matchAll(/export \{([^}]*)\} from "\.\/src\/(?:loop|host)\//g),
  ]
    .flatMap(([, names]) => names!.split(","))
    .map((name) => name.trim())
    .filter((name) => name !== "" && !name.startsWith("type "));
  const covered = new Set([
    ...CASES.map(({ what }) => what.match(/^\w+/)![0]),
    ...NOTHING_TO_REFUSE,
  ]);
  assertEquals(exported.filter((name) => !covered.has(name)), []);
  void [TaskLocal, items];
});
