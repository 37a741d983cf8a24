/**
 * Bad arguments of every public function and method: refused by a message that names the argument, what it must be and what came,
 * before anything has changed.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  allTasks,
  asCompleted,
  AttemptOperation,
  Barrier,
  BoundedSemaphore,
  CancelScope,
  cancelScope,
  CapacityLimiter,
  Channel,
  ConcurrencyLimit,
  Condition,
  type Coroutine,
  each,
  eagerTaskFactory,
  ensureFuture,
  EventLoop,
  type EventLoopOptions,
  every,
  failAfter,
  failAt,
  Flag,
  Future,
  gather,
  getEventLoopPolicy,
  getRunningLoop,
  items,
  LifoQueue,
  Lock,
  MisuseError,
  moveOnAfter,
  moveOnAt,
  newEventLoop,
  Operation,
  Pipe,
  PriorityQueue,
  PriorityScheduler,
  Queue,
  RateLimiter,
  run,
  Runner,
  scoped,
  Semaphore,
  setEventLoopPolicy,
  shield,
  sleep,
  Task,
  TaskGroup,
  taskGroup,
  TaskLocal,
  timeout,
  timeoutAt,
  until,
  VirtualHost,
  wait,
  waitFor,
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
const NOT_PRIORITIES = [null, "high", "", NaN, {}, true, 5n, () => 5];
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

const NOT_BOOLEANS = [null, 1, "yes", {}];
const NOT_WAITABLES = [undefined, null, 5, "work", {}, [], { then: 5 }];
const NOT_LISTS = [
  undefined,
  null,
  5,
  "ab",
  {},
  () => [],
  Promise.resolve([]),
  (function* () {})(),
];
const NOT_COUNTS = [null, "5", {}, [5], true, 5n, () => 5];

const VIRTUAL = { host: "virtual" } as const;

const work = function* () {};

class Attempt extends AttemptOperation<void> {
  protected attempt(): undefined {}
  protected *wait(): Coroutine<void> {}
}

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

const RATE = { permits: 5, intervalMs: 1_000 };

/** What waits, with its options. */
const WAITS: readonly [string, (options: Any) => unknown][] = [
  ["AttemptOperation", (options) => new Attempt({ name: "attempt" }, options)],
  ["Barrier.wait()", (options) => new Barrier(1).wait(options)],
  ["Barrier.reset()", (options) => new Barrier(1).reset(options)],
  ["Barrier.abort()", (options) => new Barrier(1).abort(options)],
  ["Channel.send()", (options) => new Channel().send(5, options)],
  ["Channel.receive()", (options) => new Channel().receive(options)],
  ["Condition.acquire()", (options) => new Condition().acquire(options)],
  ["Condition.wait()", (options) => new Condition().wait(options)],
  [
    "Condition.waitFor()",
    (options) => new Condition().waitFor(() => true, options),
  ],
  ["Flag.wait()", (options) => new Flag().wait(options)],
  ["Lock.acquire()", (options) => new Lock().acquire(options)],
  [
    "CapacityLimiter.acquire()",
    (options) => new CapacityLimiter(1).acquire(options),
  ],
  [
    "CapacityLimiter.acquireOnBehalfOf()",
    (options) => new CapacityLimiter(1).acquireOnBehalfOf({}, options),
  ],
  [
    "ConcurrencyLimit.onIdle()",
    (options) => new ConcurrencyLimit(1).onIdle(options),
  ],
  [
    "ConcurrencyLimit.onSizeBelow()",
    (options) => new ConcurrencyLimit(1).onSizeBelow(1, options),
  ],
  [
    "RateLimiter.acquire()",
    (options) => new RateLimiter(RATE).acquire(options),
  ],
  ["Semaphore.acquire()", (options) => new Semaphore().acquire(options)],
  ["Queue.get()", (options) => new Queue().get(options)],
  ["Queue.put()", (options) => new Queue().put(5, options)],
  ["Queue.join()", (options) => new Queue().join(options)],
];

/** What limits the time of a body: its time, and whether that may be null. */
const LIMITS: readonly [
  string,
  string,
  boolean,
  (ms: Any, body: Any, options?: Any) => unknown,
][] = [
  ["timeout()", "delayMs", true, timeout],
  ["timeoutAt()", "whenMs", true, timeoutAt],
  [
    "waitFor()",
    "timeoutMs",
    true,
    (ms, body, options) => waitFor(body, ms, options),
  ],
  ["moveOnAfter()", "delayMs", false, moveOnAfter],
  ["moveOnAt()", "deadlineMs", false, moveOnAt],
  ["failAfter()", "delayMs", false, failAfter],
  ["failAt()", "deadlineMs", false, failAt],
];

const NOT_INTERVALS = [undefined, null, "5", {}, [5], true, 5n, () => 5];

const PERIODIC_OPTIONS: readonly [
  string,
  readonly unknown[],
  typeof RangeError?,
][] = [
  ["name", NOT_STRINGS],
  ["signal", NOT_SIGNALS],
  ["missedTicks", [null, "late", true]],
  ["overrun", [null, "drop", true]],
  ["jitterMs", NOT_NUMBERS.slice(1)],
  ["jitterMs", [NaN, -1, Infinity], RangeError],
  ["seed", NOT_COUNTS],
  ["seed", [0.5, NaN, Infinity, 2 ** 60], RangeError],
  ["maxRuns", NOT_COUNTS],
  ["maxRuns", [0, -1, 1.5, NaN], RangeError],
  ["immediate", [null, 1, "yes"]],
  ["priority", [null, "high", NaN, {}]],
  ["onError", [null, "ignore", {}]],
  ["wallClockMs", NOT_FUNCTIONS.slice(1)],
  ["loop", NOT_LOOPS.slice(1)],
];

const CASES: readonly Case[] = [
  // -- Periodic work --
  {
    what: "every()",
    names: "interval",
    values: NOT_INTERVALS,
    call: (value, { loop }) => every(value, work, { loop }),
  },
  {
    what: "every()",
    names: "interval",
    values: [0, -1, NaN, Infinity],
    error: RangeError,
    call: (value, { loop }) => every(value, work, { loop }),
  },
  {
    what: "every()",
    names: "fn",
    values: [null, 5, "work", {}, []],
    call: (value, { loop }) => every(5, value, { loop }),
  },
  {
    what: "every()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => every(5, work, value),
  },
  {
    what: "every() of a schedule",
    names: "nextRun",
    values: [undefined, 5, "soon", new Date(NaN)],
    call: (value, { loop }) => every({ nextRun: () => value }, work, { loop }),
  },
  {
    what: "every() of a schedule",
    names: "nextRun",
    values: [new Date(-1e12)],
    error: RangeError,
    call: (value, { loop }) => every({ nextRun: () => value }, work, { loop }),
  },
  {
    what: "every() of a schedule",
    names: "wallClockMs",
    values: [undefined, "5", NaN],
    call: (value, { loop }) =>
      every({ nextRun: () => null }, work, {
        loop,
        wallClockMs: () => value,
      }),
  },
  ...PERIODIC_OPTIONS.map(([names, values, error = TypeError]): Case => ({
    what: "every()",
    names,
    values,
    error,
    call: (value, { loop }) => every(5, work, { loop, [names]: value }),
  })),
  {
    what: "PeriodicTask.reschedule()",
    names: "interval",
    values: NOT_INTERVALS,
    call: (value) => every(5, { loop: openLoop().loop }).reschedule(value),
  },
  {
    what: "PeriodicTask.reschedule()",
    names: "interval",
    values: [0, -1, NaN, Infinity],
    error: RangeError,
    call: (value) => every(5, { loop: openLoop().loop }).reschedule(value),
  },
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
    what: "createTask()",
    names: "priority",
    values: NOT_PRIORITIES,
    call: (value, { loop }) => loop.createTask(work, { priority: value }),
  },
  {
    what: "callWithPriority()",
    names: "priority",
    values: [undefined, ...NOT_PRIORITIES],
    call: (value, { loop }) => loop.callWithPriority(value, () => {}),
  },
  {
    what: "callWithPriority()",
    names: "callback",
    values: NOT_FUNCTIONS,
    call: (value, { loop }) => loop.callWithPriority(0, value),
  },
  {
    what: "setPriority() of a task",
    names: "priority",
    values: [undefined, ...NOT_PRIORITIES],
    call: (value, { task }) => task.setPriority(value),
  },
  {
    what: "postTask()",
    names: "fn",
    values: NOT_FUNCTIONS,
    call: (value, { loop }) => loop.postTask(value),
  },
  {
    what: "postTask()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value, { loop }) => loop.postTask(() => {}, value),
  },
  {
    what: "postTask()",
    names: "priority",
    values: NOT_PRIORITIES,
    call: (value, { loop }) => loop.postTask(() => {}, { priority: value }),
  },
  {
    what: "postTask()",
    names: "signal",
    values: NOT_SIGNALS,
    call: (value, { loop }) => loop.postTask(() => {}, { signal: value }),
  },
  {
    what: "postTask()",
    names: "delayMs",
    values: NOT_NUMBERS.slice(1),
    call: (value, { loop }) => loop.postTask(() => {}, { delayMs: value }),
  },
  {
    what: "postTask()",
    names: "delayMs",
    values: [-1, NaN],
    error: RangeError,
    call: (value, { loop }) => loop.postTask(() => {}, { delayMs: value }),
  },
  {
    what: "PriorityScheduler",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => new PriorityScheduler(value),
  },
  ...(["ageEvery", "handlesPerTurnMax"] as const).flatMap((option): Case[] => [
    {
      what: "PriorityScheduler",
      names: option,
      values: NOT_NUMBERS.slice(1),
      call: (value) => new PriorityScheduler({ [option]: value }),
    },
    {
      what: "PriorityScheduler",
      names: option,
      values: [0, -1, 0.5, NaN],
      error: RangeError,
      call: (value) => new PriorityScheduler({ [option]: value }),
    },
  ]),
  {
    what: "EventLoop",
    names: "scheduler",
    values: [null, 5, "fifo", {}, { push() {}, shift() {} }],
    call: (value) => new EventLoop({ ...VIRTUAL, scheduler: value }),
  },
  {
    what: "EventLoop",
    names: "handlesPerTurnMax",
    values: [0, NaN, "5"],
    error: RangeError,
    call: (value) =>
      new EventLoop({
        ...VIRTUAL,
        scheduler: {
          push() {},
          shift() {},
          clear() {},
          handlesPerTurnMax: value,
        },
      } as Any),
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

  // -- Blocks and tasks --
  {
    what: "Task",
    names: "options",
    values: NOT_OPTIONS,
    call: (value, { loop }) => new Task(loop, work, value),
  },
  {
    what: "Task",
    names: "signal",
    values: NOT_SIGNALS,
    call: (value, { loop }) => new Task(loop, work, { signal: value }),
  },
  {
    what: "Task.postponeCancel()",
    names: "error",
    values: [undefined, null, 5, "cancelled", {}, new Error("other")],
    call: (value, { task }) => task.postponeCancel(value),
  },
  {
    what: "Task.openBlock()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value, { task }) => task.openBlock(value),
  },
  {
    what: "Task.openBlock()",
    names: "cancels",
    values: [null, 5, "twice", {}],
    call: (value, { task }) => task.openBlock({ cancels: value }),
  },
  {
    what: "Task.openBlock()",
    names: "shielded",
    values: NOT_BOOLEANS,
    call: (value, { task }) => task.openBlock({ shielded: value }),
  },
  {
    what: "Block.shielded",
    names: "shielded",
    values: [undefined, ...NOT_BOOLEANS],
    call: (value, { task }) =>
      withBlock(task, (block) => block.shielded = value),
  },
  {
    what: "Block.run()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value, { task }) =>
      withBlock(task, (block) => block.run(value, null)),
  },

  // -- Locks, queues and channels --
  ...WAITS.flatMap(([what, call]): Case[] => [
    { what, names: "options", values: NOT_OPTIONS, call },
    {
      what,
      names: "signal",
      values: NOT_SIGNALS,
      call: (value) => call({ signal: value }),
    },
  ]),
  {
    what: "Barrier",
    names: "parties",
    values: [undefined, ...NOT_COUNTS],
    call: (value) => new Barrier(value),
  },
  {
    what: "Barrier",
    names: "parties",
    values: [NaN, 0, -0, -1, 0.5, Infinity],
    error: RangeError,
    call: (value) => new Barrier(value),
  },
  ...[Semaphore, BoundedSemaphore].flatMap((Class): Case[] => [
    {
      what: Class.name,
      names: "value",
      values: NOT_COUNTS,
      call: (value) => new Class(value),
    },
    {
      what: Class.name,
      names: "value",
      values: [NaN, -1, 0.5, Infinity, -Infinity],
      error: RangeError,
      call: (value) => new Class(value),
    },
  ]),
  {
    what: "Condition",
    names: "lock",
    values: [null, 5, {}, new Semaphore(), Lock],
    call: (value) => new Condition(value),
  },
  {
    what: "Condition.waitFor()",
    names: "predicate",
    values: NOT_FUNCTIONS,
    call: (value) => new Condition().waitFor(value),
  },
  {
    what: "Condition.notify()",
    names: "count",
    values: NOT_COUNTS,
    call: (value) => new Condition().notify(value),
  },
  {
    what: "Condition.notify()",
    names: "count",
    values: [NaN, -1, 0.5, -Infinity],
    error: RangeError,
    call: (value) => new Condition().notify(value),
  },
  {
    what: "Channel",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => new Channel(value),
  },
  {
    what: "Channel",
    names: "capacity",
    values: NOT_COUNTS,
    call: (value) => new Channel({ capacity: value }),
  },
  {
    what: "Channel",
    names: "capacity",
    values: [NaN, -1, 0.5, -Infinity],
    error: RangeError,
    call: (value) => new Channel({ capacity: value }),
  },
  ...[Queue, LifoQueue, PriorityQueue].flatMap((Class): Case[] => [
    {
      what: Class.name,
      names: "maxSize",
      values: [...NOT_COUNTS, Symbol("5"), Object.create(null)],
      call: (value) => new Class(value),
    },
    {
      what: Class.name,
      names: "maxSize",
      values: [NaN, 0.5, -0.5, -Infinity],
      error: RangeError,
      call: (value) => new Class(value),
    },
  ]),
  {
    what: "PriorityQueue",
    names: "compare",
    values: NOT_FUNCTIONS.slice(1),
    call: (value) => new PriorityQueue(5, value),
  },
  {
    what: "Queue.shutdown()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => new Queue().shutdown(value),
  },
  {
    what: "Queue.shutdown()",
    names: "immediate",
    values: NOT_BOOLEANS,
    call: (value) => new Queue().shutdown({ immediate: value }),
  },

  // -- Limits --
  {
    what: "CapacityLimiter",
    names: "totalTokens",
    values: [undefined, ...NOT_COUNTS],
    call: (value) => new CapacityLimiter(value),
  },
  {
    what: "CapacityLimiter",
    names: "totalTokens",
    values: [NaN, -1, 0.5, -Infinity],
    error: RangeError,
    call: (value) => {
      const limiter = new CapacityLimiter(3);
      try {
        limiter.totalTokens = value;
      } finally {
        assertEquals(limiter.totalTokens, 3);
      }
    },
  },
  ...([
    "acquireOnBehalfOf",
    "tryAcquireOnBehalfOf",
    "releaseOnBehalfOf",
  ] as const)
    .map((method): Case => ({
      what: `CapacityLimiter.${method}()`,
      names: "borrower",
      values: [undefined, null, 5, "me", true],
      call: (value) => new CapacityLimiter(1)[method](value),
    })),
  ...(["ConcurrencyLimit", "ConcurrencyLimit.resize()"] as const).flatMap(
    (what): Case[] => {
      const call = (value: Any) => {
        if (what === "ConcurrencyLimit") return new ConcurrencyLimit(value);
        const limit = new ConcurrencyLimit(3);
        try {
          return limit.resize(value);
        } finally {
          assertEquals(limit.size, 3);
        }
      };
      return [
        { what, names: "size", values: [undefined, ...NOT_COUNTS], call },
        {
          what,
          names: "size",
          values: [NaN, 0, -1, 0.5, -Infinity],
          error: RangeError,
          call,
        },
      ];
    },
  ),
  {
    what: "ConcurrencyLimit",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => new ConcurrencyLimit(1, value),
  },
  ...([
    ["highWaterMark", NOT_COUNTS],
    ["highWaterMark", [NaN, -1, 0.5, -Infinity], RangeError],
    ["overload", [null, "drop", true]],
  ] as [string, unknown[], typeof RangeError?][]).map((
    [names, values, error = TypeError],
  ): Case => ({
    what: "ConcurrencyLimit",
    names,
    values,
    error,
    call: (value) => new ConcurrencyLimit(1, { [names]: value }),
  })),
  {
    what: "ConcurrencyLimit.run()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => new ConcurrencyLimit(1).run(value),
  },
  {
    what: "ConcurrencyLimit.run()",
    names: "options",
    values: NOT_OPTIONS,
    call: (value) => new ConcurrencyLimit(1).run(work, value),
  },
  ...([
    ["name", NOT_STRINGS],
    ["signal", NOT_SIGNALS],
    ["priority", [null, NaN, "high", {}, true]],
    ["weight", NOT_COUNTS],
    ["weight", [NaN, 0, -1, 0.5, 4, Infinity], RangeError],
    ["detached", NOT_BOOLEANS],
  ] as [string, unknown[], typeof RangeError?][]).map((
    [names, values, error = TypeError],
  ): Case => ({
    what: "ConcurrencyLimit.run()",
    names,
    values,
    error,
    call: (value) => {
      const limit = new ConcurrencyLimit(3);
      try {
        limit.run(work, { [names]: value });
      } finally {
        assertEquals([limit.running, limit.pending], [0, 0]);
      }
    },
  })),
  ...(["map", "mapSettled"] as const).flatMap((method): Case[] => {
    const what = `ConcurrencyLimit.${method}()`;
    return [
      {
        what,
        names: "source",
        values: [undefined, null, 5, {}, work],
        call: (value) => new ConcurrencyLimit(1)[method](value, work),
      },
      {
        what,
        names: "body",
        values: NOT_FUNCTIONS,
        call: (value) => new ConcurrencyLimit(1)[method]([], value),
      },
      {
        what,
        names: "options",
        values: NOT_OPTIONS,
        call: (value) => new ConcurrencyLimit(1)[method]([], work, value),
      },
      ...([
        ["ordered", NOT_BOOLEANS],
        ["signal", NOT_SIGNALS],
        ["priority", [null, NaN, "high", {}, true]],
        ["bufferSize", NOT_COUNTS],
        ["bufferSize", [NaN, 0, -1, 0.5, -Infinity], RangeError],
      ] as [string, unknown[], typeof RangeError?][]).map((
        [names, values, error = TypeError],
      ): Case => ({
        what,
        names,
        values,
        error,
        call: (value) =>
          new ConcurrencyLimit(1)[method]([], work, { [names]: value }),
      })),
    ];
  }),
  {
    what: "ConcurrencyLimit.onSizeBelow()",
    names: "count",
    values: [undefined, ...NOT_COUNTS],
    call: (value) => new ConcurrencyLimit(1).onSizeBelow(value),
  },
  {
    what: "ConcurrencyLimit.onSizeBelow()",
    names: "count",
    values: [NaN, 0, -1, 0.5, Infinity],
    error: RangeError,
    call: (value) => new ConcurrencyLimit(1).onSizeBelow(value),
  },
  {
    what: "RateLimiter",
    names: "options",
    values: [undefined, ...NOT_OPTIONS].filter((value) => value !== undefined),
    call: (value) => new RateLimiter(value),
  },
  ...([
    ["permits", [undefined, ...NOT_COUNTS]],
    ["permits", [NaN, 0, -1, 0.5, Infinity], RangeError],
    ["intervalMs", [undefined, ...NOT_COUNTS]],
    ["intervalMs", [NaN, 0, -1, Infinity], RangeError],
    ["algorithm", [null, "leaky", true]],
    ["burst", NOT_COUNTS],
    ["burst", [NaN, 0, -1, 0.5, Infinity], RangeError],
    ["onLimit", [null, "wait", true]],
  ] as [string, unknown[], typeof RangeError?][]).map((
    [names, values, error = TypeError],
  ): Case => ({
    what: "RateLimiter",
    names,
    values,
    error,
    call: (value) => new RateLimiter({ ...RATE, [names]: value }),
  })),
  {
    what: "RateLimiter",
    names: "burst",
    values: [5],
    call: (value) =>
      new RateLimiter({ ...RATE, algorithm: "fixed-window", burst: value }),
  },
  ...(["acquire", "tryAcquire", "retryAfterMs"] as const).flatMap(
    (method): Case[] => {
      const what = `RateLimiter.${method}()`;
      const call = (value: Any) => {
        const limiter = new RateLimiter(RATE);
        return method === "acquire"
          ? limiter.acquire({ weight: value })
          : limiter[method](value);
      };
      return [
        { what, names: "weight", values: NOT_COUNTS, call },
        {
          what,
          names: "weight",
          values: [NaN, 0, -1, 0.5, 6, Infinity],
          error: RangeError,
          call,
        },
      ];
    },
  ),

  // -- Time limits, scopes and groups --
  ...LIMITS.flatMap(([what, names, orNull, call]): Case[] => [
    {
      what,
      names,
      values: NOT_NUMBERS.filter((value) => !(orNull && value === null)),
      call: (value) => call(value, work),
    },
    {
      what,
      names,
      values: [NaN],
      error: RangeError,
      call: (value) => call(value, work),
    },
    {
      what,
      names: what === "waitFor()" ? "waitable" : "body",
      values: what === "waitFor()" ? NOT_WAITABLES : NOT_FUNCTIONS,
      call: (value) => call(5, value),
    },
    {
      what,
      names: "options",
      values: NOT_OPTIONS,
      call: (value) => call(5, work, value),
    },
    {
      what,
      names: "signal",
      values: NOT_SIGNALS,
      call: (value) => call(5, work, { signal: value }),
    },
  ]),
  {
    what: "Timeout.reschedule()",
    names: "whenMs",
    values: NOT_NUMBERS.filter((value) => value !== null),
    call: (value) =>
      run(() => timeout(null, (scope) => scope.reschedule(value)), VIRTUAL),
  },
  {
    what: "Timeout.reschedule()",
    names: "whenMs",
    values: [NaN],
    error: RangeError,
    call: (value) =>
      run(() => timeout(null, (scope) => scope.reschedule(value)), VIRTUAL),
  },
  ...(["CancelScope", "cancelScope()"] as const).flatMap((what): Case[] => {
    const make = (options: Any) =>
      what === "CancelScope"
        ? new CancelScope(options)
        : cancelScope(work, options);
    return [
      { what, names: "options", values: NOT_OPTIONS, call: make },
      ...(["deadlineMs", "delayMs"] as const).flatMap((names): Case[] => [
        {
          what,
          names,
          values: NOT_NUMBERS.slice(1),
          call: (value) => make({ [names]: value }),
        },
        {
          what,
          names,
          values: [NaN],
          error: RangeError,
          call: (value) => make({ [names]: value }),
        },
      ]),
      {
        what,
        names: "shield",
        values: NOT_BOOLEANS,
        call: (value) => make({ shield: value }),
      },
      {
        what,
        names: "signal",
        values: NOT_SIGNALS,
        call: (value) => make({ signal: value }),
      },
    ];
  }),
  {
    what: "cancelScope()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => cancelScope(value),
  },
  {
    what: "CancelScope.run()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => new CancelScope().run(value),
  },
  {
    what: "CancelScope.deadlineMs",
    names: "deadlineMs",
    values: NOT_NUMBERS,
    call: (value) => new CancelScope().deadlineMs = value,
  },
  {
    what: "CancelScope.deadlineMs",
    names: "deadlineMs",
    values: [NaN],
    error: RangeError,
    call: (value) => new CancelScope().deadlineMs = value,
  },
  {
    what: "CancelScope.shield",
    names: "shield",
    values: [undefined, ...NOT_BOOLEANS],
    call: (value) => new CancelScope().shield = value,
  },
  ...(["TaskGroup", "taskGroup()"] as const).flatMap((what): Case[] => {
    const make = (options: Any) =>
      what === "TaskGroup" ? new TaskGroup(options) : taskGroup(work, options);
    return [
      { what, names: "options", values: NOT_OPTIONS, call: make },
      {
        what,
        names: "name",
        values: NOT_STRINGS,
        call: (value) => make({ name: value }),
      },
      {
        what,
        names: "limit",
        values: NOT_COUNTS,
        call: (value) => make({ limit: value }),
      },
      {
        what,
        names: "limit",
        values: [NaN, 0, -0, -1, 0.5, -Infinity],
        error: RangeError,
        call: (value) => make({ limit: value }),
      },
      {
        what,
        names: "discard",
        values: NOT_BOOLEANS,
        call: (value) => make({ discard: value }),
      },
      {
        what,
        names: "signal",
        values: NOT_SIGNALS,
        call: (value) => make({ signal: value }),
      },
    ];
  }),
  {
    what: "taskGroup()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => taskGroup(value),
  },
  {
    what: "TaskGroup.run()",
    names: "body",
    values: NOT_FUNCTIONS,
    call: (value) => new TaskGroup().run(value),
  },
  ...(["createTask", "spawn", "start"] as const).flatMap((method): Case[] => {
    const what = `TaskGroup.${method}()`;
    // In an open group, whether limited or not: no error but that of the argument.
    const make = (body: Any, options?: Any) =>
      run(function* () {
        for (const limit of [1, Infinity]) {
          const group = new TaskGroup({ limit });
          let error: unknown;
          yield* group.run(function* () {
            try {
              group[method](body, options);
            } catch (thrown) {
              error = thrown;
            }
            assertEquals(group.size, 0);
          });
          if (limit === Infinity || error === undefined) throw error;
        }
      }, VIRTUAL);
    return [
      {
        what,
        names: "body",
        values: method === "start" ? NOT_FUNCTIONS : NOT_BODIES,
        call: (value) => make(value),
      },
      {
        what,
        names: "options",
        values: NOT_OPTIONS,
        call: (value) => make(work, value),
      },
      {
        what,
        names: "name",
        values: NOT_STRINGS,
        call: (value) => make(work, { name: value }),
      },
      {
        what,
        names: "signal",
        values: NOT_SIGNALS,
        call: (value) => make(work, { signal: value }),
      },
      {
        what,
        names: "eager",
        values: NOT_BOOLEANS,
        call: (value) => make(work, { eager: value }),
      },
      {
        what,
        names: "priority",
        values: NOT_PRIORITIES,
        call: (value) => make(work, { priority: value }),
      },
    ];
  }),

  // -- Waiting for many --
  ...(["gather", "asCompleted", "wait"] as const).flatMap((name): Case[] => {
    const what = `${name}()`;
    const names = name === "wait" ? "futures" : "entries";
    const make: (entries: Any, options?: Any) => unknown = name === "gather"
      ? gather
      : name === "wait"
      ? wait
      : asCompleted;
    return [
      {
        what,
        names,
        values: [
          ...NOT_LISTS,
          ...[undefined, null, 5, {}].map((entry) => [entry]),
          // deno-lint-ignore no-sparse-arrays
          [,],
          new Set([5]),
        ],
        call: (value) => make(value),
      },
      {
        what,
        names,
        values: NOT_WAITABLES,
        call: (value, { future }) => make([future, value]),
      },
      {
        what,
        names,
        values: [0],
        call: (_, { future }) => make(future),
      },
      {
        what,
        names: "options",
        values: NOT_OPTIONS,
        call: (value, { future }) => make([future], value),
      },
    ];
  }),
  ...(["asCompleted()", "wait()"] as const).flatMap((what): Case[] => {
    const make: (entries: Any, options?: Any) => unknown = what === "wait()"
      ? wait
      : asCompleted;
    return [
      {
        what,
        names: "timeoutMs",
        values: NOT_COUNTS.slice(1),
        call: (value, { future }) => make([future], { timeoutMs: value }),
      },
      {
        what,
        names: "timeoutMs",
        values: [NaN],
        error: RangeError,
        call: (value, { future }) => make([future], { timeoutMs: value }),
      },
      {
        what,
        names: "signal",
        values: NOT_SIGNALS,
        call: (value, { future }) => make([future], { signal: value }),
      },
    ];
  }),
  ...LIMITS.slice(3).map(([what, , , limit]): Case => ({
    what,
    names: "shield",
    values: NOT_BOOLEANS,
    call: (value) => limit(5, work, { shield: value }),
  })),
  {
    what: "gather()",
    names: "returnExceptions",
    values: NOT_BOOLEANS,
    call: (value, { future }) => gather([future], { returnExceptions: value }),
  },
  {
    what: "wait()",
    names: "returnWhen",
    values: [null, 5, "first", {}],
    call: (value, { future }) => wait([future], { returnWhen: value }),
  },
  {
    what: "wait()",
    names: "futures",
    values: [[], new Set()],
    error: RangeError,
    call: (value) => wait(value),
  },
  {
    what: "wait()",
    names: "futures",
    values: [work, Promise.resolve()],
    call: (value, { future }) => wait([future, value]),
  },
  ...(["ensureFuture()", "shield()"] as const).flatMap((what): Case[] => {
    const make: (waitable: Any, options?: Any) => unknown = what === "shield()"
      ? shield
      : ensureFuture;
    return [
      {
        what,
        names: "waitable",
        values: NOT_WAITABLES,
        call: (value, { loop }) => make(value, { loop }),
      },
      {
        what,
        names: "options",
        values: NOT_OPTIONS,
        call: (value, { future }) => make(future, value),
      },
    ];
  }),
  ...(["gather", "asCompleted", "ensureFuture", "shield"] as const).map(
    (name): Case => ({
      what: `${name}()`,
      names: "loop",
      values: [...NOT_LOOPS.slice(1), EventLoop],
      call: (value, { future }) =>
        name === "gather"
          ? gather([future, work], { loop: value })
          : name === "asCompleted"
          ? asCompleted([future, work], { loop: value })
          : name === "shield"
          ? shield(future, { loop: value })
          : ensureFuture(future, { loop: value }),
    }),
  ),
];

/** What is exported and takes nothing that could be wrong, or anything. */
const NOTHING_TO_REFUSE = [
  "PriorityHandle",
  "PostedTask",
  "READABLE",
  "WRITABLE",
  "AsCompleted", // made by asCompleted()
  "BaseQueue", // what the queues have in common
  "LimitMap", // made by a limit
  "currentEffectiveDeadline",
  "Handle", // made by the loop
  "currentBlock",
  "currentTask",
  "getRunningLoop",
  "isCancellation",
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

function withBlock(task: Task<Any>, body: (block: Any) => void): void {
  const block = task.openBlock();
  try {
    body(block);
  } finally {
    assertEquals(block.shielded, false);
    block.close();
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

Deno.test("Every value that mod.ts exports is in the table", async () => {
  const source = await Deno.readTextFile(new URL("mod.ts", ROOT));
  const exported = [
    ...source.matchAll(
      /export \{([^}]*)\} from "\.\/src\/(?:loop|host|sync|structured|schedule)\//g,
    ),
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

/** An iterable that may be gone through once, and tells whether it was. */
function once(entry: unknown): { list: Iterable<Any>; taken: () => boolean } {
  let taken = false;
  const list = {
    *[Symbol.iterator]() {
      taken = true;
      yield entry;
    },
  };
  return { list, taken: () => taken };
}

Deno.test("A refused call starts, closes and consumes nothing", async () => {
  await run(async () => {
    const ran: string[] = [];
    const body = function* () {
      ran.push("body");
    };
    for (const call of [gather, asCompleted] as Any[]) {
      assertThrows(() => call([body, 5]), TypeError, "entries[1]");
      const { list, taken } = once(body);
      assertThrows(() => call(list, { loop: 5 }), TypeError);
      assertThrows(() => call(list, { signal: 5 }), TypeError);
      assertEquals(taken(), false);
    }
    const queue = new Queue<number>();
    queue.putNowait(1);
    const failing = {
      get immediate(): boolean {
        throw new Error("getter");
      },
    };
    assertThrows(() => queue.shutdown(failing), Error, "getter");
    assertThrows(() => queue.shutdown(null as Any), TypeError);
    queue.putNowait(2);

    await taskGroup(async (group) => {
      const coroutine = body();
      for (
        const bad of [null, { name: 5 }, { eager: "yes" }, {
          priority: "high",
        }] as Any[]
      ) {
        assertThrows(() => group.createTask(coroutine, bad), TypeError);
      }
      assertEquals([group.size, ran.length], [0, 0]);
      await group.createTask(coroutine);
    });
    await sleep(1);
    assertEquals(ran, ["body"]);
  }, VIRTUAL);
});

Deno.test("The array given to gather() and asCompleted() may change meanwhile", async () => {
  await run(async () => {
    for (const call of [gather, asCompleted] as Any[]) {
      const entries: unknown[] = [];
      entries.push({
        then(resolve: (value: number) => void) {
          entries.push(undefined);
          resolve(1);
        },
      });
      const gathered = call(entries);
      if (call === gather) assertEquals(await gathered, [1]);
      else for (const next of gathered) assertEquals(await next, 1);
    }
  }, VIRTUAL);
});

Deno.test("What is called in the wrong place throws a MisuseError", async () => {
  const other = openLoop({ host: "virtual" }).loop;
  const foreign = other.createFuture<number>();
  await run(async () => {
    for (const timeoutMs of [0, 5, null]) {
      await assertRejects(
        async () => await waitFor(foreign, timeoutMs),
        MisuseError,
        "another event loop",
      );
      assertEquals(foreign.done(), false, `${timeoutMs}`);
    }
    await assertRejects(
      async () => {
        for (const next of asCompleted([foreign])) await next;
      },
      MisuseError,
      "another event loop",
    );
    const scope = new CancelScope();
    await scope.run(work);
    await assertRejects(async () => await scope.run(work), MisuseError);
    const group = new TaskGroup();
    await group.run(work);
    await assertRejects(async () => await group.run(work), MisuseError);
    let left: Any;
    await timeout(null, (timeout) => {
      left = timeout;
    });
    assertThrows(() => left.reschedule(5), MisuseError);
  }, VIRTUAL);
  // By hand, outside of any task.
  const step = () => {
    for (
      const operation of [
        timeout(5, work),
        cancelScope(work),
        taskGroup(work, { name: "stray" }),
      ]
    ) {
      assertThrows(() => operation[Symbol.iterator]().next(), MisuseError);
    }
  };
  step();
  await run(async () => {
    const stepped = Promise.withResolvers<void>();
    getRunningLoop().callSoon(() => {
      try {
        stepped.resolve(step());
      } catch (error) {
        stepped.reject(error);
      }
    });
    await until(stepped.promise);
  }, VIRTUAL);
  await other.close();
});

Deno.test("Cancelling a block that was closed does nothing", async () => {
  await run(async () => {
    const task = ensureFuture(async () => {
      for (const cancels of ["once", "level"] as const) {
        const block = task.openBlock({ cancels });
        block.close();
        assertThrows(() => block.close(), MisuseError);
        assertEquals(block.cancel(), false);
        await sleep(1);
      }
      assertEquals(task.cancelling(), 0);
      return "done";
    }) as Task<string>;
    assertEquals(await task, "done");
  }, VIRTUAL);
});

Deno.test("-0 counts as 0", () => {
  assertEquals(new Semaphore(-0).value, 0);
  assertEquals(new Channel({ capacity: -0 }).capacity, 0);
  assertEquals(new Queue(-0).maxSize, Infinity);
});
