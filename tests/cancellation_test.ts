/**
 * Cancelling tasks: where it arrives, in which turn, with which reason, and
 * what a task may do about it. Every rule is tested in both styles.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  CancelledError,
  currentTask,
  type EventLoop,
  type Future,
  Operation,
  sleep,
  type Task,
  until,
} from "../mod.ts";
import { SeededRandom } from "../src/structures/random.ts";
import { openLoop, runTurns } from "./support/loops.ts";
import {
  type Awaitable,
  inStyle,
  outcomeOf,
  type Style,
  STYLES,
} from "./support/styles.ts";

/** What a case has in hand. */
interface Scene {
  readonly loop: EventLoop;
  readonly log: string[];
  readonly future: Future<string>;
}

/** One way in which a cancellation can meet a task. */
interface Case {
  readonly name: string;
  readonly steps: (
    scene: Scene,
  ) => Generator<Awaitable, string, string | undefined>;
  /** How many turns the task runs before `act`. */
  readonly turns: number;
  readonly act: (task: Task<string>, scene: Scene) => void;
  /** How many turns run after `act` until the task has ended. */
  readonly turnsAfter: number;
  readonly log: readonly string[];
  readonly outcome: string;
  /** What `cancelling()` says at the end. */
  readonly requests: number;
  /** What differs in async functions, where the rules do. */
  readonly inAsync?: Partial<Pick<Case, "log" | "outcome">>;
}

/** A body that writes down how its one wait ends. */
function* watched(
  { log }: Scene,
  make: () => Awaitable,
): Generator<Awaitable, string, string | undefined> {
  log.push("started");
  try {
    return `got ${yield make()}`;
  } catch (error) {
    log.push(error instanceof CancelledError ? `thrown ${error.reason}` : "?");
    throw error;
  } finally {
    log.push("cleaned up");
  }
}

const PLAIN_END = ["started", "thrown why", "cleaned up"];

const CASES: readonly Case[] = [
  {
    name: "before its first step never runs",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 0,
    act: (task) => task.cancel("why"),
    turnsAfter: 1,
    log: [],
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "in a sleep is woken in the next turn, and the timer is gone",
    steps: (scene) => watched(scene, () => sleep(1_000)),
    turns: 1,
    act: (task, { loop }) => {
      assertEquals(loop.stats().timers, 1); // none is left at the end
      task.cancel("why");
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "in a bare turn of sleep(0) is thrown at in that turn",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 1,
    act: (task) => task.cancel("why"),
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "in a future cancels the future",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task, { future }) => {
      task.cancel("why");
      assertEquals(outcomeOf(future), "cancelled: Cancelled: why");
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "in an operation of its own is thrown at inside of that",
    steps: (scene) =>
      watched(scene, () =>
        new Operation(function* () {
          try {
            return yield* scene.future;
          } finally {
            scene.log.push("operation cleaned up");
          }
        })),
    turns: 1,
    act: (task) => task.cancel("why"),
    turnsAfter: 1,
    log: ["started", "operation cleaned up", "thrown why", "cleaned up"],
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "about to be woken with a result in the same turn loses the result",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task, { future }) => {
      future.setResult("value");
      task.cancel("why");
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name:
      "about to be woken with an error in the same turn ends as its style has it",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task, { future }) => {
      future.setException(new Error("other"));
      task.cancel("why");
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
    // Nobody else would be told of the failure, so that it is delivered first. The request
    // stays due for the next wait, and this task has none: it ends with its own error.
    inAsync: { log: ["started", "?", "cleaned up"], outcome: "failed: other" },
  },
  {
    name: "about to be woken with a CancelledError gets that one",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task, { future }) => {
      future.setException(new CancelledError("its own"));
      task.cancel("why");
    },
    turnsAfter: 1,
    log: ["started", "thrown its own", "cleaned up"],
    outcome: "cancelled: Cancelled: its own",
    requests: 1,
  },
  {
    name: "about to be woken by the cancelled future gets the reason of that",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task, { future }) => {
      future.cancel("its own");
      task.cancel("why");
    },
    turnsAfter: 1,
    log: ["started", "thrown its own", "cleaned up"],
    outcome: "cancelled: Cancelled: its own",
    requests: 1,
  },
  {
    name:
      "twice in the same turn in a future gets one error, with the first reason",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task) => {
      assert(task.cancel("why"));
      assert(task.cancel("second"));
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 2,
  },
  {
    name:
      "twice in the same turn in sleep(0) gets one error, with the last reason",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 1,
    act: (task) => {
      assert(task.cancel("first"));
      assert(task.cancel("why"));
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 2,
  },
  {
    name: "twice before its first step keeps the last reason",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 0,
    act: (task) => {
      task.cancel("first");
      task.cancel("why");
    },
    turnsAfter: 1,
    log: [],
    outcome: "cancelled: Cancelled: why",
    requests: 2,
  },
  {
    name: "may wait while it cleans up",
    steps: function* (scene) {
      try {
        yield sleep(1_000);
        return "unreachable";
      } finally {
        scene.log.push("cleaning");
        yield sleep(0);
        yield sleep(0);
        scene.log.push("cleaned up");
      }
    },
    turns: 1,
    act: (task) => task.cancel("why"),
    turnsAfter: 3,
    log: ["cleaning", "cleaned up"],
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "and again while it cleans up leaves the outer clean-up whole",
    steps: function* (scene) {
      try {
        try {
          yield sleep(1_000);
          return "unreachable";
        } finally {
          scene.log.push("first begins");
          scene.loop.callSoon(() => currentOf(scene).cancel("again"));
          yield scene.future;
          scene.log.push("first ends");
        }
      } finally {
        scene.log.push("second begins");
        yield sleep(0);
        scene.log.push("second ends");
      }
    },
    turns: 1,
    act: (task, scene) => {
      tasks.set(scene, task);
      task.cancel("why");
    },
    turnsAfter: 4,
    log: ["first begins", "second begins", "second ends"],
    outcome: "cancelled: Cancelled: again",
    requests: 2,
  },
  {
    name: "may swallow it and go on, and the request still counts",
    steps: function* (scene) {
      try {
        yield scene.future;
      } catch {
        scene.log.push("swallowed");
      }
      yield sleep(0);
      return "went on";
    },
    turns: 1,
    act: (task) => task.cancel("why"),
    turnsAfter: 2,
    log: ["swallowed"],
    outcome: "result: went on",
    requests: 1,
  },
  {
    name: "may fail with something else",
    steps: function* (scene) {
      try {
        yield scene.future;
      } catch {
        throw new Error("clean-up failed");
      }
      return "unreachable";
    },
    turns: 1,
    act: (task) => task.cancel("why"),
    turnsAfter: 1,
    log: [],
    outcome: "failed: clean-up failed",
    requests: 1,
  },
  {
    name: "by itself and then ends is cancelled, not fulfilled",
    steps: function* ({ log }) {
      yield sleep(0);
      log.push(`accepted ${currentTask()!.cancel("why")}`);
      return "lost";
    },
    turns: 1,
    act: () => {},
    turnsAfter: 1,
    log: ["accepted true"],
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "by itself and then waits for a future takes that along",
    steps: function* (scene) {
      yield sleep(0);
      currentTask()!.cancel("why");
      scene.log.push(outcomeOf(scene.future));
      try {
        yield scene.future;
      } finally {
        scene.log.push(outcomeOf(scene.future));
      }
      return "unreachable";
    },
    turns: 1,
    act: () => {},
    turnsAfter: 2,
    log: ["pending", "cancelled: Cancelled: why"],
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "by itself and then sleeps is thrown at in the next turn",
    steps: function* (scene) {
      yield sleep(0);
      currentTask()!.cancel("why");
      return yield* watched(scene, () => sleep(0));
    },
    turns: 1,
    act: () => {},
    turnsAfter: 2,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "and uncancelled before its first step runs",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 0,
    act: (task) => {
      task.cancel("why");
      assertEquals(task.uncancel(), 0);
    },
    turnsAfter: 2,
    log: ["started", "cleaned up"],
    outcome: "result: got undefined",
    requests: 0,
  },
  {
    name: "and uncancelled in a sleep(0) goes on as if nothing had happened",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 1,
    act: (task) => {
      task.cancel("why");
      task.uncancel();
    },
    turnsAfter: 1,
    log: ["started", "cleaned up"],
    outcome: "result: got undefined",
    requests: 0,
  },
  {
    name: "and uncancelled about to be woken gets its result after all",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task, { future }) => {
      future.setResult("value");
      task.cancel("why");
      task.uncancel();
    },
    turnsAfter: 1,
    log: ["started", "cleaned up"],
    outcome: "result: got value",
    requests: 0,
  },
  {
    name:
      "and uncancelled about to be woken in an operation gets its result after all",
    steps: (scene) =>
      watched(scene, () =>
        new Operation(function* () {
          return yield* scene.future;
        })),
    turns: 1,
    act: (task, { future }) => {
      future.setResult("value");
      task.cancel("why");
      task.uncancel();
    },
    turnsAfter: 1,
    log: ["started", "cleaned up"],
    outcome: "result: got value",
    requests: 0,
  },
  {
    name: "twice and uncancelled once is still cancelled",
    steps: (scene) => watched(scene, () => sleep(0)),
    turns: 1,
    act: (task) => {
      task.cancel("first");
      task.cancel("why");
      assertEquals(task.uncancel(), 1);
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
  {
    name: "in a future and uncancelled is thrown at, as the future is gone",
    steps: (scene) => watched(scene, () => scene.future),
    turns: 1,
    act: (task) => {
      task.cancel("why");
      task.uncancel();
    },
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 0,
  },
  {
    name: "for the sake of until() leaves the promise alone",
    steps: (scene) => watched(scene, () => until(new Promise(() => {}))),
    turns: 1,
    act: (task) => task.cancel("why"),
    turnsAfter: 1,
    log: PLAIN_END,
    outcome: "cancelled: Cancelled: why",
    requests: 1,
  },
];

/** For callbacks that have to find the task of their case. */
const tasks = new WeakMap<Scene, Task<string>>();

function currentOf(scene: Scene): Task<string> {
  return tasks.get(scene)!;
}

for (const style of STYLES) {
  for (const testCase of CASES) {
    const { name, steps, turns, act, turnsAfter, log, outcome, requests } = {
      ...testCase,
      ...(style === "an async function" ? testCase.inAsync : undefined),
    };
    Deno.test(`A task in ${style} that is cancelled ${name}`, async () => {
      const { loop, reports } = openLoop();
      const scene: Scene = {
        loop,
        log: [],
        future: loop.createFuture("the future"),
      };
      const task = loop.createTask(inStyle(style, () => steps(scene)));
      await runTurns(loop, turns);
      act(task, scene);
      await runTurns(loop, turnsAfter - 1);
      assert(!task.done(), `it took ${turnsAfter} turns`);
      await runTurns(loop, 1);
      assertEquals(task.cancelling(), requests);
      assertEquals(outcomeOf(task), outcome);
      assertEquals(scene.log, log);
      // Nothing is left behind, and nothing runs on.
      if (scene.future.done() && !scene.future.cancelled()) {
        scene.future.exception();
      }
      await runTurns(loop, 3);
      assertEquals(scene.log, log);
      const { ready, timers, tasks, outsideWaits } = loop.stats();
      assertEquals([ready, timers, tasks, outsideWaits], [0, 0, 0, 0]);
      await loop.close();
      assertEquals(reports, []);
    });
  }

  Deno.test(`A task in ${style} that waits for another task takes it along, the inner one first`, async () => {
    const { loop } = openLoop();
    const log: string[] = [];
    const note = (name: string, make: () => Awaitable) =>
      function* () {
        try {
          yield make();
        } catch (error) {
          assertInstanceOf(error, CancelledError);
          log.push(`${name} cancelled for ${error.reason}`);
          throw error;
        }
      };
    const inner = loop.createTask(
      inStyle(style, note("inner", () => sleep(1_000))),
    );
    const middle = loop.createTask(inStyle(style, note("middle", () => inner)));
    const outer = loop.createTask(inStyle(style, note("outer", () => middle)));
    await runTurns(loop, 2);
    assert(outer.cancel("why"));
    assertEquals(
      [inner, middle, outer].map((task) => task.cancelling()),
      [1, 1, 1],
    );
    await runTurns(loop, 1);
    assertEquals(log, ["inner cancelled for why"]);
    await runTurns(loop, 1);
    // The error of a task that ended by one goes to the first who asks.
    assertEquals(log.slice(1), ["middle cancelled for why"]);
    await runTurns(loop, 1);
    assertEquals(log.slice(2), ["outer cancelled for why"]);
    assert(outer.cancelled());
    await loop.close();
  });

  Deno.test(`A task in ${style} whose inner task swallows the cancellation gets its result`, async () => {
    const { loop } = openLoop();
    const inner = loop.createTask(inStyle(style, function* () {
      try {
        yield sleep(1_000);
      } catch {
        return "stubborn";
      }
      return "unreachable";
    }));
    const outer = loop.createTask(inStyle(style, function* () {
      return yield inner;
    }));
    await runTurns(loop, 2);
    outer.cancel();
    await loop.runUntilComplete(outer);
    assertEquals(outer.result(), "stubborn");
    assertEquals(outer.cancelling(), 1);
    await loop.close();
  });

  Deno.test(`cancel() on a task in ${style} that has ended does nothing`, async () => {
    const { loop } = openLoop();
    const ends = [
      loop.createTask(inStyle(style, function* () {
        yield sleep(0);
        return "fine";
      })),
      loop.createTask(inStyle(
        style,
        function* () {
          yield sleep(0);
          throw new Error("broken");
        } as () => Generator<Awaitable, string>,
      )),
    ];
    await runTurns(loop, 3);
    assertEquals(ends.map((task) => task.cancel("late")), [false, false]);
    assertEquals(ends.map((task) => task.cancelling()), [0, 0]);
    assertEquals(ends.map(outcomeOf), ["result: fine", "failed: broken"]);
    await loop.close();
  });

  Deno.test(`The reason of a cancellation in ${style} arrives as what it is`, async () => {
    const { loop } = openLoop();
    const own = new CancelledError("made by hand");
    const reasons = [undefined, null, 0, "text", { code: 5 }, new Error("e")];
    for (const reason of [...reasons, own]) {
      const future = loop.createFuture();
      let caught: unknown;
      const task = loop.createTask(inStyle(style, function* () {
        try {
          yield future;
        } catch (error) {
          caught = error;
          throw error;
        }
      }));
      await runTurns(loop, 1);
      task.cancel(reason);
      await runTurns(loop, 1);
      assertInstanceOf(caught, CancelledError);
      if (reason === own) assertStrictEquals(caught as unknown, own);
      else assertStrictEquals(caught.reason, reason);
      // What was thrown into the task is what it ended with.
      assertStrictEquals(assertThrows(() => task.result()), caught);
    }
    await loop.close();
  });

  Deno.test(`A task in ${style} that returned too late to be cancelled keeps the reason for everybody`, async () => {
    const { loop } = openLoop();
    const task = loop.createTask(inStyle(style, function* () {
      yield sleep(0);
      currentTask()!.cancel("why");
    }));
    await runTurns(loop, 2);
    const first = assertThrows(() => task.result(), CancelledError);
    const second = assertThrows(() => task.result(), CancelledError);
    assertNotStrictEquals(first, second);
    assertEquals([first.reason, second.reason], ["why", "why"]);
    await loop.close();
  });

  Deno.test(`A cancelled task in ${style} is a failure to nobody`, async () => {
    const { loop, reports } = openLoop();
    const task = loop.createTask(inStyle(style, function* () {
      yield sleep(1_000);
    }));
    await runTurns(loop, 1);
    task.cancel();
    await runTurns(loop, 3);
    assert(task.cancelled());
    await loop.close();
    assertEquals(reports, []);
  });

  Deno.test(`The signal given to createTask() cancels a task in ${style} with the signal's reason`, async () => {
    const { loop } = openLoop();
    const controller = new AbortController();
    const log: string[] = [];
    const task = loop.createTask(
      inStyle(style, function* () {
        try {
          yield sleep(1_000);
        } catch (error) {
          log.push(String(error));
          throw error;
        }
      }),
      { signal: controller.signal },
    );
    await runTurns(loop, 1);
    const reason = new Error("enough");
    controller.abort(reason);
    assertEquals(task.cancelling(), 1);
    await runTurns(loop, 1);
    assertEquals(log, ["CancelledError: Cancelled: enough"]);
    const error = assertThrows(() => task.result(), CancelledError);
    assertStrictEquals(error.reason, reason);
    await loop.close();
  });

  Deno.test(`A signal that has aborted keeps a task in ${style} from starting`, async () => {
    const { loop } = openLoop();
    const log: string[] = [];
    const task = loop.createTask(
      inStyle(style, function* () {
        log.push("started");
        yield sleep(0);
      }),
      { signal: AbortSignal.abort("no") },
    );
    await runTurns(loop, 2);
    assertEquals([outcomeOf(task), log], ["cancelled: Cancelled: no", []]);
    await loop.close();
  });
}

Deno.test("A generator that is cancelled by itself goes through futures that are done, and stops at the next wait", async () => {
  const { loop } = openLoop();
  const done = loop.createFuture<string>();
  done.setResult("value");
  const log: string[] = [];
  const task = loop.createTask(function* () {
    currentTask()!.cancel("why");
    log.push(yield* done);
    log.push(yield* done);
    yield* sleep(0);
    log.push("unreachable");
  });
  await runTurns(loop, 2);
  assertEquals(log, ["value", "value"]);
  assertEquals(outcomeOf(task), "cancelled: Cancelled: why");
  await loop.close();
});

Deno.test("An async function that is cancelled by itself stops at its next await of the loop", async () => {
  const { loop } = openLoop();
  const done = loop.createFuture<string>();
  done.setResult("value");
  const log: string[] = [];
  const task = loop.createTask(async () => {
    currentTask()!.cancel("why");
    log.push(await Promise.resolve("foreign"));
    log.push(await done);
  });
  await runTurns(loop, 3);
  assertEquals(log, ["foreign"]);
  assertEquals(outcomeOf(task), "cancelled: Cancelled: why");
  await loop.close();
});

Deno.test("Cancelling in a bare yield of a generator throws at the yield", async () => {
  const { loop } = openLoop();
  const log: string[] = [];
  const task = loop.createTask(function* () {
    try {
      yield;
      log.push("unreachable");
    } finally {
      log.push("cleaned up");
    }
  });
  await runTurns(loop, 1);
  task.cancel("why");
  await runTurns(loop, 1);
  assertEquals(log, ["cleaned up"]);
  assertEquals(outcomeOf(task), "cancelled: Cancelled: why");
  await loop.close();
});

Deno.test("What a cancelled waiter did not get stays for others to see", async () => {
  const { loop, reports } = openLoop();
  const future = loop.createFuture<void>("the future");
  const error = new Error("other");
  const task = loop.createTask(function* () {
    yield* future;
  });
  await runTurns(loop, 1);
  future.setException(error);
  task.cancel();
  await runTurns(loop, 1);
  assert(task.cancelled());
  await loop.close();
  // Nobody else looked either, so it is told, and once.
  assertEquals(reports.map((report) => report.exception), [error]);
});

// -- A sweep over all places where a task can be cancelled --

/** A body with a wait of each kind, and clean-up that waits at two levels. */
function* manyWaits(
  loop: EventLoop,
  log: string[],
): Generator<Awaitable, string, unknown> {
  const future = loop.createFuture<string>();
  loop.callLater(5, () => {
    if (!future.done()) future.setResult("value");
  });
  log.push("open outer");
  try {
    yield sleep(0);
    log.push("1");
    yield sleep(2);
    log.push("2");
    log.push("open inner");
    try {
      yield future;
      log.push("3");
      yield loop.createTask(function* () {
        yield* sleep(1);
      });
      log.push("4");
      yield until(Promise.resolve());
      log.push("5");
      yield helper(log);
      log.push("6");
    } finally {
      log.push("closing inner");
      yield sleep(1);
      yield sleep(0);
      log.push("closed inner");
    }
    yield sleep(1);
    log.push("7");
    return "done";
  } finally {
    log.push("closing outer");
    yield sleep(0);
    log.push("closed outer");
  }
}

function helper(log: string[]): Operation<void> {
  return new Operation(function* () {
    log.push("open helper");
    try {
      yield* sleep(1);
      yield* sleep(0);
    } finally {
      log.push("closing helper");
      yield* sleep(1);
      log.push("closed helper");
    }
  });
}

/** Runs {@linkcode manyWaits} and cancels it `turns` turns after the moment `atMs`. */
async function cancelAt(
  style: Style,
  atMs: number,
  turns: number,
): Promise<{ log: string[]; outcome: string; cancelled: boolean }> {
  const { loop, reports } = openLoop();
  const log: string[] = [];
  const task = loop.createTask(inStyle(style, () => manyWaits(loop, log)));
  let cancelled = false;
  const cancel = () => {
    if (turns-- > 0) loop.callSoon(cancel);
    else {
      log.push("-- cancel --");
      cancelled = task.cancel("sweep");
    }
  };
  if (atMs === 0) cancel();
  else loop.callAt(atMs, cancel);
  const outcome = await loop.runUntilComplete(task).then(String, String);
  const ended = log.filter((line) => line !== "-- cancel --").length;
  await runTurns(loop, 12);
  assertEquals(
    log.filter((line) => line !== "-- cancel --").length,
    ended,
    "nothing runs on",
  );
  await loop.close();
  assertEquals(reports, []);
  return { log, outcome, cancelled };
}

for (const style of STYLES) {
  Deno.test(`Wherever a task in ${style} is cancelled, what was opened is closed and nothing runs on`, async () => {
    const whole = await cancelAt(style, Infinity, 0);
    assertEquals(whole.outcome, "done");
    const places = new Set<string>();
    for (let atMs = 0; atMs <= 14; atMs++) {
      for (let turns = 0; turns < 8; turns++) {
        const { log, outcome, cancelled } = await cancelAt(style, atMs, turns);
        if (!cancelled) continue;
        const where = `${turns} turns after ${atMs} ms: ${log.join(", ")}`;
        assertEquals(outcome, "CancelledError: Cancelled: sweep", where);
        const at = log.indexOf("-- cancel --");
        places.add(log.slice(0, at).join());
        for (const part of ["outer", "inner", "helper"]) {
          const opened = log.includes(`open ${part}`);
          const closing = log.indexOf(`closing ${part}`);
          // A clean-up that the cancellation itself met does not end.
          const broken = closing >= 0 && closing < at &&
            !log.slice(0, at).includes(`closed ${part}`);
          assertEquals(closing >= 0, opened, `${part} ${where}`);
          assertEquals(
            log.includes(`closed ${part}`),
            opened && !broken,
            `${part} ${where}`,
          );
        }
        const later = log.slice(at + 1).filter((line) => !/clos/.test(line));
        assertEquals(later, [], where);
      }
    }
    // Before the start, and behind each line of the log that a wait follows.
    assertEquals(places.size, 11);
  });
}

Deno.test("Random cancellations of random tasks run each clean-up once and leave nothing behind", async () => {
  const seed = Date.now() >>> 0;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 100; round++) {
    const { loop, reports } = openLoop();
    const opened: number[] = [];
    const closed: number[] = [];
    const all: Task<void>[] = [];
    const shared = loop.createFuture<void>();
    const body = (id: number) =>
      function* (): Generator<Awaitable, void> {
        const steps = Array.from({ length: 4 }, () => random.nextInt(5));
        opened.push(id);
        try {
          for (const step of steps) {
            if (step === 0) yield sleep(0);
            else if (step === 1) yield sleep(random.nextInt(4));
            else if (step === 2 && id > 0) yield all[random.nextInt(id)]!;
            else if (step === 3) yield until(Promise.resolve());
            else yield shared;
          }
        } finally {
          yield sleep(random.nextInt(2));
          closed.push(id);
        }
      };
    for (let id = 0; id < 8; id++) {
      const style = STYLES[random.nextInt(2)]!;
      all.push(loop.createTask(inStyle(style, body(id))));
    }
    for (let n = 0; n < 6; n++) {
      const victim = all[random.nextInt(all.length)]!;
      loop.callLater(random.nextInt(6), () => {
        const alive = !victim.done();
        const before = victim.cancelling();
        assertEquals(victim.cancel(n), alive);
        assertEquals(victim.cancelling() >= before, true);
      });
    }
    loop.callLater(10, () => shared.done() || shared.setResult());
    // Whoever is cancelled while it cleans up is no longer counted.
    const end = loop.createTask(function* () {
      for (const task of all) {
        while (!task.done()) yield* sleep(1);
      }
    });
    await loop.runUntilComplete(end);
    const where = `seed ${seed}, round ${round}`;
    assert(all.every((task) => task.done()), where);
    assertEquals(new Set(closed).size, closed.length, where);
    assert(closed.every((id) => opened.includes(id)), where);
    for (const [id, task] of all.entries()) {
      if (!opened.includes(id)) assert(task.cancelled(), where);
      if (!task.cancelled()) {
        assertStrictEquals(task.exception(), undefined, where);
        assert(closed.includes(id), where);
      }
    }
    await runTurns(loop, 3);
    const { ready, tasks, outsideWaits } = loop.stats();
    assertEquals([ready, tasks, outsideWaits], [0, 0, 0], where);
    await loop.close();
    assertEquals(reports, [], where);
  }
});
