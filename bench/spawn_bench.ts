/**
 * Tasks that are made, run and joined, and do next to nothing: what a task costs.
 *
 * @module
 */
import { run, type TaskGroup, taskGroup } from "../mod.ts";
import { Effect, Fiber } from "effect";
import { run as runEffection, spawn } from "effection";
import {
  type Case,
  register,
  type Stopwatch,
  type Suite,
} from "./support/suite.ts";

/** How many tasks have run. */
interface Count {
  done: number;
}

/** An async function that waits once. */
function later(count: Count): () => Promise<void> {
  return async () => {
    await null;
    count.done++;
  };
}

/** How to fill a group with so many tasks. */
const FILL = {
  /** Generators of one function. */
  shared(group: TaskGroup, size: number, count: Count): void {
    const one = function* () {
      count.done++;
    };
    for (let n = 0; n < size; n++) group.createTask(one);
  },
  /** Generators of a function each, as programs write them. */
  fresh(group: TaskGroup, size: number, count: Count): void {
    for (let n = 0; n < size; n++) {
      group.createTask(function* () {
        count.done++;
      });
    }
  },
  /** Async functions that wait for nothing. */
  async(group: TaskGroup, size: number, count: Count): void {
    for (let n = 0; n < size; n++) {
      group.createTask(async () => {
        count.done++;
      });
    }
  },
  /** Async functions that wait once. */
  awaiting(group: TaskGroup, size: number, count: Count): void {
    const one = later(count);
    for (let n = 0; n < size; n++) group.createTask(one);
  },
};

/** Rota: a task group. */
export function spawnInGroup(
  kind: keyof typeof FILL,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    const count = { done: 0 };
    const fill = FILL[kind];
    await run(function* () {
      watch.start();
      yield* taskGroup((group) => fill(group, size, count));
      watch.end();
    }, { host: "portable" });
    return count.done;
  };
}

/** Async functions that wait once, without a loop. */
export async function spawnPromises(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const count = { done: 0 };
  const one = later(count);
  watch.start();
  const promises: Promise<void>[] = [];
  for (let n = 0; n < size; n++) promises.push(one());
  await Promise.all(promises);
  watch.end();
  return count.done;
}

/** Effect: fibers that are forked, then joined. */
export async function spawnInEffect(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  let done = 0;
  const body = Effect.sync(() => {
    done++;
  });
  watch.start();
  await Effect.runPromise(Effect.gen(function* () {
    const fibers = [];
    for (let n = 0; n < size; n++) fibers.push(yield* Effect.forkChild(body));
    for (const fiber of fibers) yield* Fiber.join(fiber);
  }));
  watch.end();
  return done;
}

/** effection: tasks that are spawned, then joined. */
export async function spawnInEffection(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  let done = 0;
  watch.start();
  await runEffection(function* () {
    const tasks = [];
    for (let n = 0; n < size; n++) {
      tasks.push(
        yield* spawn(function* () {
          done++;
        }),
      );
    }
    for (const task of tasks) yield* task;
  });
  watch.end();
  return done;
}

const shared: Case = {
  name: "Rota, generators",
  role: "rota",
  run: spawnInGroup("shared"),
};

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "spawn",
  title: "spawn and join",
  things: "tasks",
  size: 100_000,
  tinySize: 40,
  iterations: 10,
  cases: [
    shared,
    {
      name: "Rota, generators of a function each",
      role: "rota",
      run: spawnInGroup("fresh"),
    },
    {
      name: "Rota, async functions",
      role: "rota",
      run: spawnInGroup("async"),
    },
    {
      name: "Rota, async functions with an await",
      role: "rota",
      run: spawnInGroup("awaiting"),
    },
    { name: "Promise.all", role: "rival", run: spawnPromises },
    { name: "Effect", role: "rival", run: spawnInEffect },
  ],
  foreign: [
    {
      name: "asyncio TaskGroup",
      program: "python3",
      script: "spawn.py",
      figure: "spawn",
    },
  ],
}, {
  // effection takes a hundred times as long for each task, and longer the more there are.
  name: "spawn-few",
  title: "spawn and join, few",
  things: "tasks",
  size: 1_000,
  tinySize: 20,
  cases: [
    shared,
    { name: "effection", role: "rival", run: spawnInEffection },
  ],
}];
suites.forEach(register);
